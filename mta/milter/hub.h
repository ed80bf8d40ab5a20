/*
 * hub: one thread that owns the attachments to the engine and carries everybody's messages.
 * Ownership: hub_open() starts the thread; a request is borrowed until hub_seal() returns; an
 *            answer's mail is the caller's, to free by hub_answer_fini().
 * Threads:   hub_seal() from any number; open and close from one.
 * Units:     milliseconds of monotonic time; bytes.
 * Errors:    an answer for every request: whatever goes wrong here is BULLA_RETRY with one line.
 *
 * The engine may come and go: the hub attaches when there is something to carry, once for each of
 * its workers, and gives each message to the attachment that has the fewest. A message that the
 * engine had when it went is answered RETRY: nobody knows whether it was kept, so it may come
 * twice, sealed, and is never lost.
 */
#ifndef MTA_MILTER_HUB_H
#define MTA_MILTER_HUB_H

#include "base/macros.h"
#include "mta/bulla.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HUB_JOBS_MAX   1024 /* waiting and at the engine                        */
#define HUB_LINKS_MAX  8    /* attachments, however many workers there are      */
#define HUB_TEXT_BYTES 513
#define HUB_PARTS      2

/* Strings are borrowed for the open. */
struct hub_config {
    const char *socket_path;
    size_t mail_bytes_max; /* the largest message that will be asked for  */
    uint32_t timeout_ms;   /* for an answer                               */
    uint32_t patience_ms;  /* how long an engine may be absent            */
};

struct hub_request {
    const char *profile;
    const char *sender;
    const char *const *recipients;
    uint32_t recipients_count;
    bool may_queue; /* the engine may take the message over and emit it later */
    const struct bulla_options *options; /* NULL: the profile's */
    struct iovec parts[HUB_PARTS];       /* the message, in this order */
    void (*progress)(void *context);     /* called now and then while waiting */
    void *context;
};

struct hub_answer {
    enum bulla_status status;
    char enhanced_status[12]; /* "" when sealed */
    char text[HUB_TEXT_BYTES];
    char envelope_id[33];
    uint8_t *mail; /* when sealed */
    size_t mail_bytes;
};

struct hub;

MUST_USE int hub_open(struct hub **hub, const struct hub_config *config);
void hub_close(struct hub *hub); /* what waits is answered RETRY; NULL is harmless */
void hub_seal(struct hub *hub, const struct hub_request *request, struct hub_answer *answer);
void hub_answer_fini(struct hub_answer *answer);

#endif
