/*
 * mailview: what a mail shows to a reader whose browser runs no script: header, text, files.
 * Ownership: mailview_write() borrows the mail; a mailview_item borrows what it was read from.
 * Threads:   one; it runs in the process that reads mails (reader.h), nowhere else.
 * Units:     bytes; parts are counted from 1, 0 is the message.
 * Errors:    -EBADMSG: no mail; -ENOENT: no such part; -EFBIG: more than there is room for.
 *
 * GMime reads the mail. What it gives is made clean (envelope/text.h) and written as items, each a
 * tag, its length and its bytes, which whoever reads them takes for what a stranger wrote.
 */
#ifndef KEYSERVICE_SERVER_MAIL_MAILVIEW_H
#define KEYSERVICE_SERVER_MAIL_MAILVIEW_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAILVIEW_PARTS_MAX      1000
#define MAILVIEW_FILES_MAX      200
#define MAILVIEW_TEXT_BYTES_MAX (UINT32_C(2) << 20) /* of all texts together */
#define MAILVIEW_LINE_BYTES_MAX 4096                /* of a header field */
#define MAILVIEW_NAME_BYTES_MAX 100
/* The message's items need no more. */
#define MAILVIEW_SHOW_BYTES_MAX (UINT32_C(4) << 20)
/* Items of a part: its bytes, its name, and what a mail within a mail may gain by being written. */
#define MAILVIEW_PART_SLACK_BYTES (UINT32_C(1) << 20)

enum mailview_tag {
    MAILVIEW_FROM = 'f',
    MAILVIEW_TO = 't',
    MAILVIEW_CC = 'c',
    MAILVIEW_SUBJECT = 's',
    MAILVIEW_DATE = 'd',
    MAILVIEW_MESSAGE_ID = 'i', /* this and the next: for an answer to name */
    MAILVIEW_REFERENCES = 'r',
    MAILVIEW_TEXT = 'x', /* of one body; lines end in LF */
    MAILVIEW_CUT = 'k',  /* there is more text, or there are more files, than is shown */
    MAILVIEW_FILE = 'a', /* the name of the next part */
    MAILVIEW_NAME = 'n', /* of the part that was asked for, and its bytes */
    MAILVIEW_BYTES = 'b',
    MAILVIEW_ENVELOPE = 'e', /* of a mail that came here: received.h */
};

struct mailview_item {
    enum mailview_tag tag;
    const uint8_t *bytes_at;
    size_t bytes;
};

void mailview_init(void); /* once, before the first */
MUST_USE int mailview_write(uint8_t *dst, size_t room, size_t *written, const uint8_t *mail,
                            size_t mail_bytes, uint32_t part);
/* The item at *offset, which moves on; false at the end, or where the rest is malformed. */
bool mailview_next(struct mailview_item *item, const uint8_t *items, size_t items_bytes,
                   size_t *offset);

#endif
