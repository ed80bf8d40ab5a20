/*
 * stand_in: a key service for tests: real TLS with client certificates, answers as it is told.
 * Ownership: stand_in_open() makes a folder of its own with certificates; close removes it.
 * Threads:   the test's; the server has a thread of its own.
 * Units:     records.
 * Errors:    a stand-in that cannot start fails the test.
 */
#ifndef TESTS_KEYSERVICE_STAND_IN_H
#define TESTS_KEYSERVICE_STAND_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stand_in_mode {
    STAND_IN_STORES,         /* all of it, in the short form where that is asked */
    STAND_IN_STORES_LONG,    /* all of it, one result a record                  */
    STAND_IN_CONFLICTS,      /* every record: 409                               */
    STAND_IN_CONFLICTS_ONCE, /* the next batch; then it stores                  */
    STAND_IN_INVALID,        /* "invalid" for every record                      */
    STAND_IN_LOSES_ANSWER,   /* stores, then hangs up without an answer         */
    STAND_IN_GARBAGE,        /* 200 with something that is no JSON              */
    STAND_IN_CUT_JSON,       /* 200 with half of the JSON                       */
    STAND_IN_CUT_BODY,       /* 200, hangs up before the promised length        */
    STAND_IN_OTHER_ID,       /* 200, "stored" for ids that nobody sent          */
    STAND_IN_SHORT,          /* 200, one result too few                         */
    STAND_IN_OTHER_BATCH,    /* 200, all of the batch before this one stored    */
    STAND_IN_OTHER_COUNT,    /* 200, one more stored than was sent              */
    STAND_IN_SHORT_409,      /* 409, and yet all stored                         */
    STAND_IN_TWICE,          /* 200, the honest answer two times                */
    STAND_IN_ENDLESS,        /* 200, megabytes of white space                   */
    STAND_IN_FAILS,          /* 500                                             */
    STAND_IN_REFUSES_WHOLE,  /* 400 for a batch with a record of profile "bad"  */
};

struct stand_in;

struct stand_in *stand_in_open(void);
void stand_in_close(struct stand_in *stand_in);

void stand_in_set(struct stand_in *stand_in, enum stand_in_mode mode);
/* From now on connections are refused, or accepted again on the same port. */
void stand_in_stop(struct stand_in *stand_in);
void stand_in_start(struct stand_in *stand_in);

uint32_t stand_in_requests(const struct stand_in *stand_in);
/* Distinct ids that were stored. */
uint32_t stand_in_stored(const struct stand_in *stand_in);
bool stand_in_has(const struct stand_in *stand_in, const uint8_t id[16], uint8_t key[32]);

uint16_t stand_in_port(const struct stand_in *stand_in);
const char *stand_in_url(const struct stand_in *stand_in);
const char *stand_in_folder(const struct stand_in *stand_in);
const char *stand_in_ca(const struct stand_in *stand_in);
const char *stand_in_certificate(const struct stand_in *stand_in);
const char *stand_in_private_key(const struct stand_in *stand_in);

#endif
