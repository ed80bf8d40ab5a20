#include "keyservice/server/account/code.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/server/language.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define NAME_BYTES 64

/* So many strangers cannot ask for codes that the one somebody waits for is given up for them. */
_Static_assert(STORE_PENDING_MAX > GUESS_MAIL_ALL_IN(CODE_LIFE_S), "no code in time is given up");

int code_make(char code[CODE_DIGITS + 1])
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    /* 2^64 mod 10^8 leaves a bias below 2^-37. */
    (void)snprintf(code, CODE_DIGITS + 1, "%08u", (unsigned)(random % 100000000U));
    return 0;
}

bool code_normalise(char code[CODE_DIGITS + 1], const char *typed)
{
    size_t digits_count = 0;
    for (; *typed != '\0'; typed++) {
        if (*typed == ' ' || *typed == '-')
            continue;
        if (*typed < '0' || *typed > '9' || digits_count == CODE_DIGITS)
            return false;
        code[digits_count++] = *typed;
    }
    code[digits_count] = '\0';
    return digits_count == CODE_DIGITS;
}

/* Keyed: eight digits would not outlast a search if the database were read. */
void code_hash(const struct service *service, const char *address, const char *code,
               uint8_t hash[STORE_HASH_BYTES])
{
    uint8_t text[ACCOUNT_ADDRESS_BYTES + CODE_DIGITS + 1];
    unsigned int hash_bytes = 0;
    const size_t address_bytes = strlen(address) + 1;
    memcpy(text, address, address_bytes);
    memcpy(text + address_bytes, code, CODE_DIGITS);
    const uint8_t *done = HMAC(EVP_sha256(), service->code_secret, sizeof(service->code_secret),
                               text, address_bytes + CODE_DIGITS, hash, &hash_bytes);
    ASSERT(done != NULL);
    ASSERT(hash_bytes == STORE_HASH_BYTES);
}

uint64_t code_take(const struct service *service, const struct http_request *request,
                   const char *address)
{
    uint8_t pair[ACCOUNT_ADDRESS_BYTES + HTTP_NETWORK_BYTES];
    struct guess *guess = service->guess;
    const uint64_t now_ns = clock_monotonic_ns();
    const size_t address_bytes = strlen(address);
    const size_t pair_bytes = address_bytes + 1 + HTTP_NETWORK_BYTES;
    memcpy(pair, address, address_bytes + 1);
    memcpy(pair + address_bytes + 1, request->network, HTTP_NETWORK_BYTES);
    uint64_t wait_ns =
        guess_take(guess, GUESS_MAIL_BY, request->network, HTTP_NETWORK_BYTES, now_ns);
    if (wait_ns != 0)
        return wait_ns;
    /* By network first: a stranger elsewhere cannot use up what the owner registers with. */
    wait_ns = guess_take(guess, GUESS_MAIL_TO, pair, pair_bytes, now_ns);
    if (wait_ns != 0)
        goto give_by;
    wait_ns = guess_take(guess, GUESS_MAIL_ALL, address, address_bytes, now_ns);
    if (wait_ns == 0)
        return 0;
    guess_give(guess, GUESS_MAIL_TO, pair, pair_bytes, now_ns);
give_by:
    guess_give(guess, GUESS_MAIL_BY, request->network, HTTP_NETWORK_BYTES, now_ns);
    return wait_ns;
}

uint64_t code_try(const struct service *service, const struct http_request *request)
{
    return guess_take(service->guess, GUESS_CODE, request->network, HTTP_NETWORK_BYTES,
                      clock_monotonic_ns());
}

bool code_mailable(const char *address)
{
    while (*address != '\0' && (uint8_t)*address < 0x80)
        address++;
    return *address == '\0';
}

/* The mail of the strings of that name; `message` borrows `text`. */
static void message_make(struct mail_message *message, char text[MAIL_TEXT_BYTES_MAX],
                         const struct pages *pages, const char *name, uint32_t locale,
                         const char *code, const char *url)
{
    char subject_name[NAME_BYTES];
    char text_name[NAME_BYTES];
    (void)snprintf(subject_name, sizeof(subject_name), "mail_%s_subject", name);
    (void)snprintf(text_name, sizeof(text_name), "mail_%s_text", name);
    pages_expand(text, MAIL_TEXT_BYTES_MAX, pages_string(pages, locale, text_name), code, url);
    message->subject = pages_string(pages, locale, subject_name);
    message->text = text;
    message->language = pages_locale_name(locale);
}

int code_mail(const struct service *service, const char *address, const char *name,
              const char *code, uint32_t locale)
{
    char text[MAIL_TEXT_BYTES_MAX];
    char shown[CODE_DIGITS + 2] = "";
    struct mail_message message = {.to = address};
    if (code != NULL)
        (void)snprintf(shown, sizeof(shown), "%.4s %.4s", code, code + 4);
    message_make(&message, text, service->pages, name, locale, shown, service->public_url);
    const int rc = mail_send(service->mail, &message, clock_unix_ns());
    secret_wipe(text, sizeof(text));
    secret_wipe(shown, sizeof(shown));
    return rc;
}

int code_notice_put(struct store *store, const struct config *config,
                    const struct store_account *account, const char *name)
{
    char text[MAIL_TEXT_BYTES_MAX];
    char mail[MAIL_BYTES_MAX];
    char why[PAGES_WHY_BYTES];
    uint8_t unique[OUTBOX_ID_BYTES];
    struct pages *pages = NULL;
    struct mail_message message = {.to = account->address};
    int rc = getrandom(unique, sizeof(unique), 0) == (ssize_t)sizeof(unique) ? 0 : -EIO;
    if (rc == 0)
        rc = pages_words_open(&pages, why);
    if (rc != 0)
        return rc;
    message_make(&message, text, pages, name,
                 language_of_choice(account->language, pages_locale("en")), "",
                 config->public_url[0] == '\0' ? "https://localhost" : config->public_url);
    const struct outbox_mail queued = {.id = unique,
                                       .from_envelope = "",
                                       .to = &message.to,
                                       .to_count = 1,
                                       .mail = mail,
                                       .mail_bytes = mail_format(mail, config->mail_from, &message,
                                                                 unique, clock_unix_ns()),
                                       .kind = OUTBOX_NOTICE};
    rc = queued.mail_bytes == 0 ? -EINVAL : outbox_put(store, &queued, clock_unix_ns() / NS_PER_MS);
    pages_close(pages);
    return rc;
}

void code_notice(const struct service *service, const struct http_request *request,
                 const struct store_account *account, const char *name)
{
    const uint32_t locale = language_of_choice(account->language, language_of_request(request));
    const int rc = code_mail(service, account->address, name, NULL, locale);
    if (rc != 0)
        log_line(LOG_LEVEL_WARNING, "notice_failed", "kind=%s errno=%d", name, -rc);
}
