#include "tests/envelope/sealing.h"

#include "base/assert.h"
#include "base/macros.h"
#include "envelope/sealer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void text_room(struct text *text, size_t *room, size_t bytes)
{
    if (text->bytes + bytes <= *room)
        return;
    *room = 2 * (text->bytes + bytes);
    text->at = realloc(text->at, *room);
    ASSERT(text->at != NULL);
}

static void text_add(struct text *text, size_t *room, const void *bytes, size_t bytes_count)
{
    text_room(text, room, bytes_count);
    memcpy(text->at + text->bytes, bytes, bytes_count);
    text->bytes += bytes_count;
}

static void text_string(struct text *text, size_t *room, const char *string)
{
    text_add(text, room, string, strlen(string));
}

struct sealing sealing_random(struct mailgen *gen)
{
    struct sealing sealing = {
        .isa = isa_best(), .suite = COBBLE_AES_256, .slice_bytes = SEALER_SLICE_BYTES};

    mailgen_bytes(gen, sealing.key, sizeof(sealing.key));
    mailgen_bytes(gen, sealing.salt, sizeof(sealing.salt));
    mailgen_bytes(gen, sealing.id.bytes, sizeof(sealing.id.bytes));
    return sealing;
}

static void derive(const struct sealing *sealing, struct crypto_core *core, struct cobble *cobble,
                   uint8_t commitment[COBBLE_COMMITMENT_BYTES])
{
    uint8_t context[ID_CONTEXT_BYTES];
    struct cobble_derivation derivation = {.suite = sealing->suite,
                                           .key = sealing->key,
                                           .salt = sealing->salt,
                                           .context = context,
                                           .context_bytes = sizeof(context),
                                           .cobble = cobble};

    id_context(context, sealing->suite, &sealing->id);
    cobble_derive_burst(core, &derivation, 1);
    memcpy(commitment, derivation.commitment, COBBLE_COMMITMENT_BYTES);
}

static size_t slice_next(const struct sealing *sealing, struct mailgen *gen, size_t left_bytes)
{
    size_t bytes = sealing->slice_bytes;

    if (bytes == 0)
        bytes = 1 + mailgen_below(gen, mailgen_below(gen, 4) == 0 ? SEALER_SLICE_BYTES : 900);
    return MIN(bytes, MIN(left_bytes, (size_t)SEALER_SLICE_BYTES));
}

struct text sealing_fields(const struct sealing *sealing, struct crypto_core *core,
                           struct mailgen *gen, const uint8_t *mail, size_t mail_bytes,
                           uint8_t commitment[COBBLE_COMMITMENT_BYTES])
{
    struct sealer *sealer = aligned_alloc(CACHE_LINE, (sealer_bytes() + 63) / 64 * 64);
    struct sealer_scratch *scratch =
        aligned_alloc(CACHE_LINE, (sealer_scratch_bytes() + 63) / 64 * 64);
    const size_t room = sealer_fields_bytes_max(mail_bytes);
    struct text fields = {.at = malloc(room)};
    size_t at = 0;
    bool last = false;

    ASSERT(sealer != NULL && scratch != NULL && fields.at != NULL);
    memset(sealer, 0xa5, sealer_bytes()); /* nothing may count on zeros */
    memset(scratch, 0, sealer_scratch_bytes());
    sealer_init(sealer, base64_codec(sealing->isa), sealing->compress);
    derive(sealing, core, sealer_cobble(sealer), commitment);
    while (!last) {
        const size_t bytes = slice_next(sealing, gen, mail_bytes - at);
        uint8_t *src = malloc(bytes + 1); /* of its own, so that reading past it is seen */
        ASSERT(src != NULL);
        memcpy(src, mail + at, bytes);
        last = at + bytes == mail_bytes;
        fields.bytes += sealer_step(sealer, core, scratch, bytes == 0 ? NULL : src, bytes, last,
                                    fields.at + fields.bytes, room - fields.bytes);
        ASSERT(fields.bytes + BASE64_SLACK_BYTES <= room);
        free(src);
        at += bytes;
    }
    sealer_wipe(sealer);
    free(sealer);
    free(scratch);
    return fields;
}

struct text sealing_html(const struct sealing *sealing, struct crypto_core *core,
                         struct mailgen *gen, const uint8_t *mail, size_t mail_bytes)
{
    static const char head[] =
        "<!DOCTYPE html>\r\n<html lang=\"en\"><head><meta charset=\"utf-8\">\r\n"
        "<!-- an <input type=\"hidden\" name=\"v\" value=\"9\"> in a comment -->\r\n"
        "<script type=\"application/json\" id=\"bulla-strings\">{\"a\":\"b\"}</script>\r\n"
        "<script>const x = '<input type=\"hidden\" name=\"e\" value=\"1\">', y = 1 < "
        "2;</script>\r\n"
        "</head><body><p>1 &lt; 2</p><form id=\"bulla\" method=\"post\">\r\n"
        "<input type=\"password\" name=\"v\" value=\"2\">\r\n";
    uint8_t header[COBBLE_HEADER_BYTES];
    char k[BASE64_LINE_CHARS + BASE64_SLACK_BYTES];
    char hex[ID_HEX_CHARS];
    char small[1024];
    size_t room = 0;
    struct text html = {0};

    struct text fields =
        sealing_fields(sealing, core, gen, mail, mail_bytes, header + COBBLE_SALT_BYTES);
    memcpy(header, sealing->salt, COBBLE_SALT_BYTES);
    const size_t k_chars = base64_encode_run((uint8_t *)k, header, sizeof(header));
    id_to_hex(hex, &sealing->id);
    (void)snprintf(small, sizeof(small),
                   "<input type=\"hidden\" name=\"v\" value=\"1\">\r\n"
                   "<input type=\"hidden\" name=\"s\" value=\"%d\">\r\n"
                   "<input type=\"hidden\" name=\"m\" value=\"%.32s\">\r\n"
                   "<input type=\"hidden\" name=\"f\" value=\"a&#64;example.com\">\r\n"
                   "<input type=\"hidden\" name=\"u\" value=\"\">\r\n"
                   "<input type=\"hidden\" name=\"t\" value=\"1700000000\">\r\n"
                   "<input type=\"hidden\" name=\"k\" value=\"%.*s\">\r\n",
                   (int)sealing->suite, hex, (int)k_chars, k);
    text_string(&html, &room, head);
    text_string(&html, &room, small);
    text_add(&html, &room, fields.at, fields.bytes);
    text_string(&html, &room,
                "<input type=\"hidden\" name=\"e\" value=\"1\">\r\n</form></body></html>\r\n");
    free(fields.at);
    return html;
}

static void quoted_printable(struct text *mail, size_t *room, const struct text *html)
{
    uint32_t column = 0;

    for (size_t i = 0; i < html->bytes; i++) {
        char code[8];
        if (column > 70 && html->at[i] != '\r' && html->at[i] != '\n') {
            text_string(mail, room, "=  \r\n"); /* with the blanks some relays leave */
            column = 0;
        }
        if (html->at[i] == '=') {
            (void)snprintf(code, sizeof(code), "=3%c", i % 2 == 0 ? 'D' : 'd');
            text_string(mail, room, code);
        } else {
            text_add(mail, room, html->at + i, 1);
        }
        column = html->at[i] == '\n' ? 0 : column + 3;
    }
}

static void base64(struct text *mail, size_t *room, const struct text *html)
{
    text_room(mail, room, base64_lines_chars(html->bytes) + BASE64_SLACK_BYTES);
    mail->bytes +=
        base64_encode(base64_codec(ISA_SCALAR), mail->at + mail->bytes, html->at, html->bytes);
}

static bool after(const struct text *text, size_t at, const char *before)
{
    const size_t bytes = strlen(before);
    return at >= bytes && memcmp(text->at + at - bytes, before, bytes) == 0;
}

/* The same fields to a browser, as another program would write them. */
static void wrapped(struct text *mail, size_t *room, const struct text *html)
{
    static const char field[] = "<input type=\"hidden\" name=\"";

    for (size_t i = 0; i < html->bytes;) {
        if (html->bytes - i > sizeof(field) &&
            memcmp(html->at + i, field, sizeof(field) - 1) == 0) {
            const uint8_t name = html->at[i + sizeof(field) - 1];
            text_string(mail, room, "<INPUT\r\n  Name=");
            text_add(mail, room, &name, 1);
            text_string(mail, room, "\t type = HIDDEN\r\n  data-x value\r\n=\r\n\"  ");
            i += sizeof(field) + 9; /* name, quote, blank, value=" */
        } else if (html->at[i] == '\r') {
            i++; /* lines of another length: none are broken off where they were */
        } else if (html->at[i] == '\n' && i % 3 != 0 && !after(html, i, ">")) {
            i++;
        } else {
            text_add(mail, room, html->at + i, 1);
            i++;
        }
    }
}

static const char part_names[] =
    "Content-Disposition: attachment;\r\n\tfilename=\"securedoc_20260101T000000.html\"\r\n";

static void part_open(struct text *mail, size_t *room, enum sealing_form form)
{
    static const char *const encodings[SEALING_FORM_COUNT] = {
        [SEALING_7BIT] = "7bit",
        [SEALING_LF] = "7BIT",
        [SEALING_QUOTED_PRINTABLE] = "Quoted-Printable",
        [SEALING_BASE64] = " (as it is) BASE64",
        [SEALING_NESTED] = "7bit",
        [SEALING_UNNAMED] = "base64",
        [SEALING_WRAPPED] = "8bit",
    };

    text_string(mail, room,
                form == SEALING_UNNAMED || form == SEALING_7BIT
                    ? "Content-Type: text/HTML; charset=us-ascii\r\n"
                    : "Content-Type: application/octet-stream\r\n");
    text_string(mail, room, "Content-Transfer-Encoding: ");
    text_string(mail, room, encodings[form]);
    text_string(mail, room, "\r\n");
    if (form != SEALING_UNNAMED)
        text_string(mail, room, part_names);
    text_string(mail, room, "\r\n");
}

static void part_body(struct text *mail, size_t *room, enum sealing_form form,
                      const struct text *html)
{
    switch (form) {
    case SEALING_QUOTED_PRINTABLE: quoted_printable(mail, room, html); break;
    case SEALING_BASE64:
    case SEALING_UNNAMED: base64(mail, room, html); break;
    case SEALING_WRAPPED: wrapped(mail, room, html); break;
    case SEALING_7BIT:
    case SEALING_LF:
    case SEALING_NESTED:
    case SEALING_FORM_COUNT: text_add(mail, room, html->at, html->bytes); break;
    }
}

struct text sealing_mail(enum sealing_form form, const struct text *html)
{
    struct text mail = {0};
    size_t room = 0;

    text_string(&mail, &room, "Received: by gateway\r\nMIME-Version: 1.0\r\n");
    if (form == SEALING_NESTED)
        text_string(
            &mail, &room,
            "content-type: multipart/mixed; (a comment \\) ; boundary=no) boundary=\"out\\er\"\r\n"
            "\r\npreamble\r\n--outer\r\n\r\nThis list adds a word.\r\n--outer \r\n"
            "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n");
    text_string(
        &mail, &room,
        "Content-Type: multipart/mixed;\r\n boundary=\"=_in\"\r\n\r\npreamble\r\n--=_in\r\n"
        "Content-Type: multipart/alternative; boundary==_in2\r\n\r\n--=_in2\r\n\r\ntext\r\n"
        "--=_in2\r\nContent-Type: text/html\r\n\r\n<p>Open the attachment</p>\r\n--=_in2--\r\n"
        "--=_in\r\n");
    part_open(&mail, &room, form);
    part_body(&mail, &room, form, html);
    text_string(&mail, &room, "\r\n--=_in--\r\nepilogue\r\n");
    if (form == SEALING_NESTED)
        text_string(&mail, &room,
                    "--outer\r\nContent-Type: text/html\r\n\r\n<p>footer\r\n--outer--\r\n");
    if (form == SEALING_LF) {
        size_t kept = 0;
        for (size_t i = 0; i < mail.bytes; i++)
            if (mail.at[i] != '\r')
                mail.at[kept++] = mail.at[i];
        mail.bytes = kept;
    }
    return mail;
}
