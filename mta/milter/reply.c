#include "mta/milter/reply.h"

#include "base/assert.h"
#include "policy/override.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define REPLY_TEXT_BYTES 512
#define REPLY_BODY_BYTES (1 << 20) /* in one call; libmilter cuts it further */

/* How many fields of that name stand before this one, and it: as milters count. */
static int field_number(const struct gather *gather, uint32_t field)
{
    const char *name = gather_name(gather, field);
    int number = 1;
    for (uint32_t i = 0; i < field; i++)
        number += strcasecmp(gather_name(gather, i), name) == 0;
    return number;
}

/* From the last to the first: taking one out leaves the numbers of those before it, whether or not
 * the mail server counts what was taken out. */
static int fields_remove(SMFICTX *ctx, const struct gather *gather, bool control_only,
                         const char *keep)
{
    for (uint32_t n = gather->fields_count; n > 0; n--) {
        const char *name = gather_name(gather, n - 1);
        if (control_only && !override_is_control(name))
            continue;
        if (keep != NULL && strcasecmp(name, keep) == 0)
            continue;
        /* libmilter takes char * and writes nothing there. */
        if (smfi_chgheader(ctx, (char *)(uintptr_t)name, field_number(gather, n - 1), NULL) !=
            MI_SUCCESS)
            return -EIO;
    }
    return 0;
}

int reply_stripped(SMFICTX *ctx, const struct gather *gather, const char *keep)
{
    ASSERT(!gather->header_over); /* what was not kept cannot be taken out */
    return fields_remove(ctx, gather, true, keep);
}

int reply_field(SMFICTX *ctx, const char *name, const char *value, bool lead_blank)
{
    char copy[REPLY_TEXT_BYTES];
    const int n = snprintf(copy, sizeof(copy), "%s%s", lead_blank ? " " : "", value);
    if (n < 0 || n >= REPLY_TEXT_BYTES ||
        smfi_addheader(ctx, (char *)(uintptr_t)name, copy) != MI_SUCCESS)
        return -EIO;
    return 0;
}

/* One field with its folds, as milters want it: bare LF, no final line end. */
static int field_add(SMFICTX *ctx, char *field, size_t bytes, bool lead_blank)
{
    size_t used = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (field[i] != '\r')
            field[used++] = field[i];
    }
    field[used] = '\0';
    char *colon = strchr(field, ':');
    if (colon == NULL || colon == field)
        return -EIO;
    *colon = '\0';
    char *value = colon + 1;
    if (!lead_blank && *value == ' ')
        value++;
    return smfi_addheader(ctx, field, value) == MI_SUCCESS ? 0 : -EIO;
}

/* Where the field that begins at `at` ends, without its CRLF; header_bytes ends with one. */
static size_t field_end(const char *header, size_t at, size_t header_bytes)
{
    for (;;) {
        const char *end = memmem(header + at, header_bytes - at, "\r\n", 2);
        if (end == NULL)
            return header_bytes;
        at = (size_t)(end - header);
        if (at + 2 >= header_bytes || (end[2] != ' ' && end[2] != '\t'))
            return at;
        at += 2;
    }
}

static int header_add(SMFICTX *ctx, const char *header, size_t header_bytes, bool lead_blank)
{
    char *field = malloc(header_bytes + 1);
    int rc = field == NULL ? -ENOMEM : 0;
    for (size_t at = 0; rc == 0 && at < header_bytes;) {
        const size_t end = field_end(header, at, header_bytes);
        memcpy(field, header + at, end - at);
        rc = field_add(ctx, field, end - at, lead_blank);
        at = end + 2;
    }
    free(field);
    return rc;
}

static int body_replace(SMFICTX *ctx, const uint8_t *body, size_t bytes)
{
    while (bytes > 0) {
        const size_t part = MIN(bytes, (size_t)REPLY_BODY_BYTES);
        if (smfi_replacebody(ctx, (unsigned char *)(uintptr_t)body, (int)part) != MI_SUCCESS)
            return -EIO;
        body += part;
        bytes -= part;
    }
    return 0;
}

int reply_sealed(SMFICTX *ctx, const struct gather *gather, const uint8_t *mail, size_t mail_bytes,
                 bool lead_blank)
{
    ASSERT(!gather->header_over);
    const uint8_t *empty = memmem(mail, mail_bytes, "\r\n\r\n", 4);
    if (empty == NULL)
        return -EIO;
    const size_t header_bytes = (size_t)(empty - mail) + 2;
    const uint8_t *body = empty + 4;
    int rc = fields_remove(ctx, gather, false, NULL);
    if (rc == 0)
        rc = header_add(ctx, (const char *)mail, header_bytes, lead_blank);
    if (rc == 0)
        rc = body_replace(ctx, body, mail_bytes - header_bytes - 2);
    return rc;
}

/* One line without what libmilter or the mail server would read as more than text. */
static void text_plain(const char *text, char plain[REPLY_TEXT_BYTES])
{
    size_t used = 0;
    for (; *text != '\0' && used < REPLY_TEXT_BYTES - 1; text++)
        plain[used++] = *text < 0x20 || *text > 0x7e || *text == '%' ? '?' : *text;
    plain[used] = '\0';
}

/* RFC 3463 to RFC 5321: too large, no such mailbox, policy; all else is 554. */
static const char *refusal_code(const char *enhanced_status)
{
    if (strcmp(enhanced_status, "5.3.4") == 0 || strcmp(enhanced_status, "5.2.3") == 0)
        return "552";
    if (strncmp(enhanced_status, "5.1.", 4) == 0 || strncmp(enhanced_status, "5.7.", 4) == 0)
        return "550";
    return "554";
}

static void reply_set(SMFICTX *ctx, const char *code, const char *enhanced_status, const char *text)
{
    char plain[REPLY_TEXT_BYTES];
    char code_copy[4];
    char status_copy[12];
    text_plain(text, plain);
    (void)snprintf(code_copy, sizeof(code_copy), "%s", code);
    (void)snprintf(status_copy, sizeof(status_copy), "%s", enhanced_status);
    /* When it fails the mail server says the same in words of its own. */
    (void)smfi_setreply(ctx, code_copy, status_copy, plain);
}

sfsistat reply_refused(SMFICTX *ctx, const char *enhanced_status, const char *text)
{
    if (enhanced_status[0] != '5')
        enhanced_status = "5.6.0";
    reply_set(ctx, refusal_code(enhanced_status), enhanced_status, text);
    return SMFIS_REJECT;
}

sfsistat reply_later(SMFICTX *ctx, const char *enhanced_status, const char *text)
{
    if (enhanced_status[0] != '4')
        enhanced_status = "4.3.0";
    reply_set(ctx, "451", enhanced_status, text);
    return SMFIS_TEMPFAIL;
}
