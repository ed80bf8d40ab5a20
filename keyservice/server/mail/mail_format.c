#include "keyservice/server/mail/mail.h"

#include "base/clock.h"
#include "crypto/base64.h"
#include "envelope/address_report.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAIL_WORD_BYTES 42 /* of text in one encoded word: 76 characters in all */

/* Appends the subject as RFC 2047 encoded words, cut between characters; 0 when there is no room.
 */
static size_t subject_append(char *mail, size_t used, size_t room, const char *subject)
{
    size_t left = strlen(subject);
    const char *at = subject;
    while (left > 0) {
        uint8_t word[4 * MAIL_WORD_BYTES + BASE64_SLACK_BYTES];
        size_t take = MIN(left, (size_t)MAIL_WORD_BYTES);
        while (take > 0 && take < left && ((unsigned char)at[take] & 0xc0) == 0x80)
            take--;
        if (take == 0)
            return 0;
        const size_t chars = base64_encode_run(word, (const uint8_t *)at, take);
        const int n =
            snprintf(mail + used, room - used, "%s=?UTF-8?B?%.*s?=", at == subject ? "" : "\r\n ",
                     (int)chars, (const char *)word);
        if (n < 0 || (size_t)n >= room - used)
            return 0;
        used += (size_t)n;
        at += take;
        left -= take;
    }
    return used;
}

/* The text with CRLF line ends, as base64 lines. */
static size_t text_append(char *mail, size_t used, size_t room, const char *text)
{
    uint8_t lines[2 * MAIL_TEXT_BYTES_MAX];
    size_t bytes = 0;
    for (; *text != '\0' && bytes + 2 < sizeof(lines); text++) {
        if (*text == '\n')
            lines[bytes++] = '\r';
        lines[bytes++] = (uint8_t)*text;
    }
    if (*text != '\0' || used + base64_lines_chars(bytes) + BASE64_SLACK_BYTES > room)
        return 0;
    return used + base64_encode(base64_codec(isa_best()), (uint8_t *)mail + used, lines, bytes);
}

/* Appends; 0 where there is no room, or was none before. */
__attribute__((format(printf, 3, 4))) static size_t put(char *mail, size_t used, const char *format,
                                                        ...)
{
    va_list arguments;
    if (used == 0)
        return 0;
    va_start(arguments, format);
    const int n = vsnprintf(mail + used, MAIL_BYTES_MAX - used, format, arguments);
    va_end(arguments);
    return n < 0 || (size_t)n >= MAIL_BYTES_MAX - used ? 0 : used + (size_t)n;
}

static size_t put_date(char *mail, size_t used, const char *field, uint64_t unix_s)
{
    char date[64];
    struct tm utc;
    const time_t at = (time_t)unix_s;
    if (gmtime_r(&at, &utc) == NULL ||
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &utc) == 0)
        return 0;
    return put(mail, used, "%s: %s\r\n", field, date);
}

/* The text, its own header and the empty line before it. */
static size_t put_text(char *mail, size_t used, const struct mail_message *message)
{
    used = put(mail, used,
               "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
               "Content-Language: %s\r\n\r\n",
               message->language);
    return used == 0 ? 0 : text_append(mail, used, MAIL_BYTES_MAX, message->text);
}

/* RFC 8098, 3: who opened it clicked; that this is sent was nobody's click. */
static size_t put_receipt(char *mail, size_t used, const char *host,
                          const struct mail_receipt *receipt)
{
    uint8_t reader[ADDRESS_REPORT_CHARS_MAX];
    const size_t reader_chars =
        address_report_write(reader, (const uint8_t *)receipt->reader, strlen(receipt->reader));
    used = put(mail, used,
               "Content-Type: message/disposition-notification\r\n\r\n"
               "Reporting-UA: %s; bulla-keyd\r\nFinal-Recipient: %.*s\r\n"
               "Disposition: manual-action/MDN-sent-automatically; displayed\r\n"
               "X-Bulla-Envelope: %s\r\n",
               host, (int)reader_chars, (const char *)reader, receipt->envelope);
    return put_date(mail, used, "X-Bulla-Opened", receipt->opened_unix_ms / 1000);
}

static size_t put_body(char *mail, size_t used, const char *host, const char *unique,
                       const struct mail_message *message)
{
    if (message->receipt == NULL)
        return put_text(mail, used, message);
    /* "=_" begins no line of base64 and no field. */
    used = put(mail, used,
               "Content-Type: multipart/report; report-type=disposition-notification;\r\n"
               " boundary=\"=_r_%s\"\r\n\r\n--=_r_%s\r\n",
               unique, unique);
    used = put_text(mail, used, message);
    used = put(mail, used, "\r\n--=_r_%s\r\n", unique);
    used = put_receipt(mail, used, host, message->receipt);
    return put(mail, used, "\r\n--=_r_%s--\r\n", unique);
}

static bool message_sound(const char *from, const struct mail_message *message)
{
    return relay_address_plain(from) && relay_address_plain(message->to) &&
           strlen(message->subject) <= MAIL_SUBJECT_BYTES_MAX &&
           strlen(message->text) <= MAIL_TEXT_BYTES_MAX &&
           strpbrk(message->subject, "\r\n") == NULL &&
           (message->about == NULL || strpbrk(message->about, "\r\n<> ") == NULL);
}

size_t mail_format(char mail[MAIL_BYTES_MAX], const char *from, const struct mail_message *message,
                   const uint8_t unique[16], uint64_t now_unix_ns)
{
    char hex[2 * 16 + 1];
    if (!message_sound(from, message))
        return 0;
    const char *at = strrchr(from, '@');
    for (size_t i = 0; i < 16; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", unique[i]);
    const int n = snprintf(mail, MAIL_BYTES_MAX, "From: <%s>\r\nTo: <%s>\r\n", from, message->to);
    size_t used = n > 0 && n < MAIL_BYTES_MAX ? (size_t)n : 0;
    used = put_date(mail, used, "Date", now_unix_ns / NS_PER_S);
    used = put(mail, used, "Message-ID: <%s%s>\r\n", hex, at);
    if (message->about != NULL)
        used = put(mail, used, "References: <%s>\r\n", message->about);
    used = put(mail, used, "Auto-Submitted: %s\r\nSubject: ",
               message->receipt != NULL ? "auto-replied" : "auto-generated");
    if (used > 0)
        used = subject_append(mail, used, MAIL_BYTES_MAX, message->subject);
    used = put(mail, used, "\r\nMIME-Version: 1.0\r\n");
    return put_body(mail, used, at + 1, hex, message);
}
