/*
 * https: one JSON request to the key service, one JSON answer.
 * Ownership: https_post() allocates the answer; https_answer_fini() wipes and frees it.
 * Threads:   one.
 * Units:     bytes; seconds for the whole exchange.
 * Errors:    0 when the service answered, whatever it said; else an exit status with a sentence in
 *            `why` that names the mend.
 */
#ifndef TOOLS_BULLA_HTTPS_H
#define TOOLS_BULLA_HTTPS_H

#include "base/macros.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define HTTPS_WHY_BYTES        512
#define HTTPS_ANSWER_BYTES_MAX (256 * 1024)

/* Borrowed for the call. */
struct https_request {
    const char *base_url; /* https://host[:port] */
    const char *path;     /* "/v1/open"          */
    const char *ca_file;  /* NULL: the system's  */
    uint32_t timeout_s;
    const json_t *body;
};

struct https_answer {
    long status;        /* HTTP's */
    long retry_after_s; /* 0 when the service did not say */
    char *text;
    size_t bytes;
    size_t room;
    json_t *json; /* NULL when the answer is no JSON object */
};

/* Call once before any JSON is made: from then on what jansson frees is wiped first. */
void https_init(void);
MUST_USE int https_post(const struct https_request *request, struct https_answer *answer,
                        char why[HTTPS_WHY_BYTES]);
void https_answer_fini(struct https_answer *answer);

/* "credentials", …: the code of the service's error object; "" when there is none. */
const char *https_error_code(const struct https_answer *answer);
/* Its sentence; "" when there is none. */
const char *https_error_message(const struct https_answer *answer);

#endif
