/*
 * link: the one-time link that opens a message which was forwarded to the service: its token, and
 * the mail that it goes out in.
 * Ownership: plain structs; a struct link_mail holds the bytes that its `outbox` points to, so it
 *            must not be moved.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    -EIO without random numbers; -EINVAL for an address that cannot stand in a mail.
 *
 * docs/keyservice/receive.md. The token is 256 random bits, stands in that mail alone, and leads
 * only to ciphertext: who clicks still has to be let in, as at every other door.
 */
#ifndef KEYSERVICE_SERVER_LINK_H
#define KEYSERVICE_SERVER_LINK_H

#include "keyservice/server/pages.h"
#include "keyservice/server/store/store_link.h"

#define LINK_PREFIX      "/link/"
#define LINK_TOKEN_BYTES 32
#define LINK_TOKEN_CHARS 43 /* base64url */

struct link_token {
    char text[LINK_TOKEN_CHARS + 1];
};

MUST_USE int link_token_make(struct link_token *token);
/* False: no token of ours. */
bool link_token_read(struct link_token *token, const char *text);
/* What the link stands under in the database. */
void link_name(const struct link_token *token, uint8_t name[STORE_LINK_NAME_BYTES]);

struct link_mail_words {
    const struct pages *pages;
    uint32_t locale;
    const char *from;
    const char *to;
    const char *public_url;
    const struct link_token *token;
};

struct link_mail {
    struct outbox_mail outbox;
    const char *to;
    uint8_t id[OUTBOX_ID_BYTES];
    char text[MAIL_BYTES_MAX];
};

/* It names nothing of the message. */
MUST_USE int link_mail_write(struct link_mail *mail, const struct link_mail_words *words,
                             uint64_t now_unix_ns);

#endif
