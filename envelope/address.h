/*
 * address: mail addresses of RFC 5321, 5322 and 6531, out of hostile header text.
 * Ownership: borrows the text; a mailbox is the caller's memory.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    address_parse() gives -EINVAL; the list reader leaves out what is no address.
 *
 * What comes out is canonical: `local@domain` without comments, white space or needless quoting,
 * and holds no control byte, no angle bracket and no line end.
 */
#ifndef ENVELOPE_ADDRESS_H
#define ENVELOPE_ADDRESS_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS_BYTES_MAX      320  /* RFC 3696, 3; beyond RFC 5321's path, as real senders go */
#define ADDRESS_NAME_BYTES_MAX 256  /* of a display name, decoded                              */
#define ADDRESS_RAW_BYTES_MAX  1024 /* of a display name or comment as it stands              */

struct address {
    uint8_t text[ADDRESS_BYTES_MAX];
    uint32_t bytes;
    uint32_t domain_offset; /* of the first byte after the at sign */
    bool ascii;             /* false: needs SMTPUTF8; never written to a header */
};

struct address_mailbox {
    struct address address;
    uint8_t name[ADDRESS_NAME_BYTES_MAX]; /* clean UTF-8 (envelope/text.h), may be empty */
    uint32_t name_bytes;
    bool atoms; /* the name is known to be atoms with single blanks between: it needs no quotes */
};

/* One address alone: a local part (dot-atom or quoted), an at sign, a domain or a literal. Angle
 * brackets around it, as an SMTP path has, are taken off. */
MUST_USE HOT int address_parse(struct address *address, const uint8_t *src, size_t bytes);

/* A domain name or an address literal, as it may stand after the at sign. */
bool address_domain_ok(const uint8_t *src, size_t bytes);

struct address_list {
    const uint8_t *at;
    const uint8_t *end;
    const uint8_t *readable_end; /* of the memory around it; ≥ end */
};

/* Reads an address-list field body: mailboxes and groups, whose members count and whose names do
 * not; obsolete routes, comments and empty members are read past. Linear time over the list. */
static inline struct address_list address_list_make(const uint8_t *src, size_t bytes)
{
    return (struct address_list){src, src + bytes, src + bytes};
}

/* Of a text with more memory after it, which may be read, not believed. */
static inline struct address_list address_list_within(const uint8_t *src, size_t bytes,
                                                      const uint8_t *readable_end)
{
    return (struct address_list){src, src + bytes, readable_end};
}

/* The next valid address; false at the end. */
HOT bool address_list_next(struct address_list *list, struct address_mailbox *mailbox);

#endif
