/*
 * mark: a field that proves that a mail's body was sealed here, so that it is not sealed again.
 * Ownership: a running mark holds OpenSSL's state; mark_end() frees it.
 * Threads:   a key any; a running mark one.
 * Units:     bytes.
 * Errors:    -errno of the key's file, -EINVAL: too short or too long; a mark that cannot be made
 * is NULL and counts as none.
 *
 * `X-Bulla-Seal: 1 ID MAC`: the envelope's id in 32 and HMAC-SHA-256 in 64 hex digits, over
 * "bulla/mark/1", a zero byte, the id's digits and every byte of the body with CRLF. Whoever does
 * not have the key cannot make one for a body that was not sealed; headers are not covered, since a
 * sealed mail's subject stands in clear as well.
 */
#ifndef MTA_MILTER_MARK_H
#define MTA_MILTER_MARK_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define MARK_FIELD         "X-Bulla-Seal"
#define MARK_KEY_BYTES_MIN 32
#define MARK_KEY_BYTES_MAX 1024
#define MARK_ID_CHARS      32
#define MARK_VALUE_BYTES   112 /* with NUL */

struct mark_key {
    size_t bytes; /* 0: there is none */
    uint8_t at[MARK_KEY_BYTES_MAX];
};

MUST_USE int mark_key_read(struct mark_key *key, const char *path);

struct mark;

/* NULL when there is no key, no memory, or the id is not one. */
struct mark *mark_begin(const struct mark_key *key, const char *id);
void mark_update(struct mark *mark, const void *bytes_at, size_t bytes);
/* The field's value without a blank before it. False: it could not be made. Ends the mark. */
bool mark_write(struct mark *mark, char value[MARK_VALUE_BYTES]);
/* Whether this value, blanks around it or not, is the right one. Ends the mark. */
bool mark_matches(struct mark *mark, const char *value);
/* A whole sealed mail's: its header ends in the first span. False: it could not be made. */
bool mark_mail(const struct mark_key *key, const char *id, const struct iovec *spans,
               uint32_t spans_count, char value[MARK_VALUE_BYTES]);
void mark_end(struct mark *mark); /* NULL is harmless */
/* The id that a value names; false when it is no mark. */
bool mark_id(const char *value, char id[MARK_ID_CHARS + 1]);

#endif
