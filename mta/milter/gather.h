/*
 * gather: one message as the mail server hands it over: addresses, header, body; never on disk.
 * Ownership: copies all it is given; gather_fini() wipes and frees.
 * Threads:   one at a time; the budget is shared by all.
 * Units:     bytes; header values have bare LF between their lines, as milters get them.
 * Errors:    -ENOMEM: no memory, or none left in the budget; -EMSGSIZE: over a limit. The message
 * is then told off or put off, and never goes on in part.
 */
#ifndef MTA_MILTER_GATHER_H
#define MTA_MILTER_GATHER_H

#include "base/macros.h"
#include "policy/select.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATHER_FIELDS_MAX           2000
#define GATHER_HEADER_BYTES_MAX     (2 * 1024 * 1024)
#define GATHER_RECIPIENTS_MAX       1000        /* IPC_RECIPIENTS_MAX                       */
#define GATHER_RECIPIENTS_BYTES_MAX (60 * 1024) /* the most that fits IPC_META_BYTES_MAX */

/* What all messages under way may take together. */
struct gather_budget {
    _Atomic uint64_t used_bytes;
    uint64_t bytes_max;
};

/* Bytes that grow. */
struct gather_bytes {
    uint8_t *at;
    size_t bytes;
    size_t room;
};

struct gather {
    struct gather_budget *budget;
    size_t answer_bytes;       /* of the budget, for the sealed mail */
    struct gather_bytes texts; /* sender, recipients, names and values, each with its NUL */
    struct gather_bytes body;
    size_t sender_offset;
    size_t recipient_offsets[GATHER_RECIPIENTS_MAX];
    uint32_t recipients_count;
    size_t recipients_bytes;
    size_t name_offsets[GATHER_FIELDS_MAX];
    size_t value_offsets[GATHER_FIELDS_MAX];
    uint32_t fields_count;
    bool header_over;   /* more header than the limits allow: it is not whole */
    bool has_control;   /* X-PostX-* or X-Bulla-* is among the fields         */
    bool keep_off_disk; /* DSN options that only the mail server can keep    */
};

void gather_init(struct gather *gather, struct gather_budget *budget);
void gather_fini(struct gather *gather); /* and ready for the next message */

/* `arguments` as the milter protocol has them: the path first, then ESMTP ones; NULL ends them. */
MUST_USE int gather_sender(struct gather *gather, char **arguments);
MUST_USE int gather_recipient(struct gather *gather, char **arguments);
/* A field too many, or too long, sets header_over and is no error: the message may yet pass. */
MUST_USE int gather_field(struct gather *gather, const char *name, const char *value);
MUST_USE int gather_body(struct gather *gather, const uint8_t *bytes_at, size_t bytes,
                         uint64_t mail_bytes_max);

/* Takes from the budget what the sealed mail will need, until gather_fini(). */
MUST_USE int gather_expect_answer(struct gather *gather);

const char *gather_name(const struct gather *gather, uint32_t field);
const char *gather_value(const struct gather *gather, uint32_t field);
const char *gather_sender_text(const struct gather *gather);

/* Borrowed views for select_matches(): `recipients` and `fields` are the caller's room. */
struct gather_view {
    const char *recipients[GATHER_RECIPIENTS_MAX];
    struct select_field fields[GATHER_FIELDS_MAX];
};
struct select_message gather_view(const struct gather *gather, struct gather_view *view);

/* The message's header as it will be sealed: CRLF, without control and Bcc fields, with the empty
 * line. `lead` is put between colon and value where the mail server keeps the blank to itself. */
MUST_USE int gather_header(const struct gather *gather, const char *lead, uint8_t **header,
                           size_t *header_bytes);

#endif
