/*
 * select: which messages a profile seals: all of them, or those that one of its lists names.
 * Ownership: a plain struct of fixed size; a message's strings are borrowed for the call.
 * Threads:   part of an immutable snapshot; any.
 * Units:     bytes; entries of all lists together.
 * Errors:    select_add() gives -EINVAL or -ENOSPC with a sentence that names the mend; what a
 *            message holds is never an error. What cannot be read to its end matches: fail closed.
 *
 * Letters are compared without regard to their case, ASCII ones only. bulla.conf(5) says what an
 * administrator writes.
 */
#ifndef POLICY_SELECT_H
#define POLICY_SELECT_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SELECT_TEXT_BYTES_MAX  16384 /* of one profile's lists together */
#define SELECT_ENTRY_BYTES_MAX 512
#define SELECT_WHY_BYTES       192

enum select_kind {
    SELECT_SCOPE,     /* "all", or "selected" by the lists                              */
    SELECT_SUBJECT,   /* a phrase that the decoded subject holds                        */
    SELECT_HEADER,    /* "Name: value", or "Name" with any value                        */
    SELECT_SENDER,    /* "user@domain", "@domain", "@.domain" for all below it: envelope */
    SELECT_RECIPIENT, /* the same, any one of the envelope's recipients                 */
};

struct select_rules {
    bool all;
    uint32_t entries_count;
    uint32_t text_bytes;
    char text[SELECT_TEXT_BYTES_MAX]; /* entries: the kind in one byte, clean text, NUL */
};

/* One header field; the value as it stands, folds included. */
struct select_field {
    const char *name;
    const char *value;
    size_t name_bytes;
    size_t value_bytes;
};

struct select_message {
    const char *sender; /* without angle brackets; "": the null sender */
    const char *const *recipients;
    uint32_t recipients_count;
    const struct select_field *fields;
    uint32_t fields_count;
};

void select_init(struct select_rules *rules);
MUST_USE int select_add(struct select_rules *rules, enum select_kind kind, const char *text,
                        char why[SELECT_WHY_BYTES]);
bool select_matches(const struct select_rules *rules, const struct select_message *message);

#endif
