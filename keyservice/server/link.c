#include "keyservice/server/link.h"

#include "base/assert.h"
#include "crypto/base64.h"
#include "crypto/secret.h"
#include "keyservice/server/config.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define LINK_URL_BYTES (CONFIG_TEXT_BYTES + sizeof(LINK_PREFIX) + LINK_TOKEN_CHARS)

int link_token_make(struct link_token *token)
{
    uint8_t random[LINK_TOKEN_BYTES];
    uint8_t text[LINK_TOKEN_CHARS + 1 + BASE64_SLACK_BYTES];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    const size_t chars = base64url_encode_run(text, random, sizeof(random));
    ASSERT(chars == LINK_TOKEN_CHARS);
    memcpy(token->text, text, chars);
    token->text[chars] = '\0';
    secret_wipe(random, sizeof(random));
    secret_wipe(text, sizeof(text));
    return 0;
}

bool link_token_read(struct link_token *token, const char *text)
{
    uint8_t decoded[LINK_TOKEN_CHARS + BASE64_SLACK_BYTES];
    size_t bytes = 0;
    if (strnlen(text, LINK_TOKEN_CHARS + 1) != LINK_TOKEN_CHARS ||
        base64url_decode(decoded, (const uint8_t *)text, LINK_TOKEN_CHARS, &bytes) != 0 ||
        bytes != LINK_TOKEN_BYTES)
        return false;
    memcpy(token->text, text, LINK_TOKEN_CHARS + 1);
    return true;
}

void link_name(const struct link_token *token, uint8_t name[STORE_LINK_NAME_BYTES])
{
    (void)SHA256((const uint8_t *)token->text, LINK_TOKEN_CHARS, name);
}

int link_mail_write(struct link_mail *mail, const struct link_mail_words *words,
                    uint64_t now_unix_ns)
{
    char url[LINK_URL_BYTES];
    char text[MAIL_TEXT_BYTES_MAX];
    *mail = (struct link_mail){.to = words->to};
    if (getrandom(mail->id, sizeof(mail->id), 0) != (ssize_t)sizeof(mail->id))
        return -EIO;
    (void)snprintf(url, sizeof(url), "%s" LINK_PREFIX "%s", words->public_url, words->token->text);
    pages_expand(text, sizeof(text), pages_string(words->pages, words->locale, "mail_link_text"),
                 "", url);
    const struct mail_message message = {.to = words->to,
                                         .subject = pages_string(words->pages, words->locale,
                                                                 "mail_link_subject"),
                                         .text = text,
                                         .language = pages_locale_name(words->locale)};
    const size_t bytes = mail_format(mail->text, words->from, &message, mail->id, now_unix_ns);
    mail->outbox = (struct outbox_mail){.id = mail->id,
                                        .from_envelope = "",
                                        .to = &mail->to,
                                        .to_count = 1,
                                        .mail = mail->text,
                                        .mail_bytes = bytes,
                                        .kind = OUTBOX_NOTICE};
    secret_wipe(url, sizeof(url));
    secret_wipe(text, sizeof(text));
    return bytes == 0 ? -EINVAL : 0;
}
