/*
 * audit: an append-only, hash-chained line for every release, refusal, lock, expiry and sign-in.
 * Ownership: audit_open() opens or makes the file, or connects to the database; the opener closes.
 * Threads:   any; processes too: each append takes the file's lock and goes on from its last line,
 *            and in a database that several services share it goes on from the newest row.
 * Units:     unix nanoseconds, passed in.
 * Errors:    -errno; -EBADMSG where the chain is broken. Once a sync has failed, every append that
 *            is to be durable fails, until the file is opened again.
 *
 * docs/keyservice/audit.md. With `durable` the line is on stable storage when audit_append()
 * returns; appends side by side share one fdatasync. Never a key, code, password or subject.
 */
#ifndef KEYSERVICE_SERVER_AUDIT_AUDIT_H
#define KEYSERVICE_SERVER_AUDIT_AUDIT_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUDIT_LINE_BYTES_MAX 2048
#define AUDIT_HASH_CHARS     64

struct audit;

/* NULL or "" where a member has no meaning. Strings are hostile: they are escaped as JSON. */
struct audit_event {
    const char *event;   /* "release", "refuse", "lock", "sign_in", … */
    const char *outcome; /* error code of docs/api/keyservice.md      */
    const char *id;      /* envelope, 32 hex digits                   */
    const char *user;
    const char *from;   /* network address                                 */
    const char *by;     /* who did it to `user`, where that is someone else */
    const char *detail; /* a reason, a role, a name                        */
};

/* `place`: a file's path, or the postgresql:// URL of the service's database. */
MUST_USE int audit_open(struct audit **audit, const char *place);
void audit_close(struct audit *audit); /* NULL is harmless */
MUST_USE int audit_append(struct audit *audit, const struct audit_event *event, bool durable,
                          uint64_t now_unix_ns);
/* Writes of `store` may bring lines from now on (struct store_line), until either is closed. */
struct store;
void audit_join(struct audit *audit, struct store *store);

/* The newest line's number and hash: written to the log, they anchor the chain outside its file. */
MUST_USE int audit_head(struct audit *audit, uint64_t *sequence, char hash[AUDIT_HASH_CHARS + 1]);

/* Each line with its newline, from the one after number `after`; anything but 0 ends it. */
typedef int audit_visit(void *context, const char *line, size_t line_bytes);
MUST_USE int audit_each(const char *place, uint64_t after, audit_visit *visit, void *context);
/* The same of a log that is open, over what it is open by. */
MUST_USE int audit_read(struct audit *audit, uint64_t after, audit_visit *visit, void *context);

struct audit_check {
    uint64_t lines_count;
    uint64_t bad_line; /* 0: none */
    char hash[AUDIT_HASH_CHARS + 1];
};
MUST_USE int audit_verify(const char *place, struct audit_check *check);
MUST_USE int audit_check(struct audit *audit, struct audit_check *check);

#endif
