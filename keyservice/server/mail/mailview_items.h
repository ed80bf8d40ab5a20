/*
 * mailview_items: writing items, and reading a part's bytes, for what reads mail by GMime.
 * Ownership: borrows; the caller frees what mailview_part_bytes() gives.
 * Threads:   one; in the process that reads mails (reader.h), nowhere else.
 * Units:     bytes.
 * Errors:    an item that does not fit makes `full`, and nothing more is written.
 */
#ifndef KEYSERVICE_SERVER_MAIL_MAILVIEW_ITEMS_H
#define KEYSERVICE_SERVER_MAIL_MAILVIEW_ITEMS_H

#include "keyservice/server/mail/mailview.h"

#include <gmime/gmime.h>

#define MAILVIEW_ITEM_HEAD_BYTES 5 /* the tag and a length, little-endian */

/* Items as they are written. */
struct mailview_items {
    uint8_t *dst;
    size_t bytes;
    size_t room;
    bool full;
};

void mailview_item_write(struct mailview_items *items, enum mailview_tag tag, const void *bytes_at,
                         size_t bytes);

/* The mail, which g_object_unref() frees; NULL: it is none. */
GMimeMessage *mailview_parse(const uint8_t *mail, size_t mail_bytes);
/* What a part holds, decoded. */
GByteArray *mailview_part_bytes(GMimeObject *object);

#endif
