#include "envelope/frame.h"

#include "base/assert.h"
#include "envelope/address.h"
#include "envelope/frame_internal.h"
#include "envelope/markup.h"
#include "envelope/outer.h"
#include "envelope/subject.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SHELL_BYTES_MAX      ((size_t)4 * 1024 * 1024)
#define SHELL_LINE_CHARS_MAX 998 /* RFC 5322, 2.1.1, which 7bit inherits */
#define LOGO_BYTES_MAX       ((size_t)200 * 1024)
#define LOGO_LINE_CHARS      76
#define URL_BYTES_MAX        255

static const char FIELDS_MARKER[] = "{{fields}}";

static int PRINTF_LIKE(2, 3) refuse(char why[FRAME_WHY_BYTES], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, FRAME_WHY_BYTES, format, args);
    va_end(args);
    return -EINVAL;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Every byte is a visible ASCII character that means nothing to HTML, CSP or a header. */
static bool is_url_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~' || strchr("\"'<>\\^`{|},;*", *text) != NULL)
            return false;
    }
    return true;
}

/* An origin: nothing in it may end a CSP directive or an attribute. Plain http serves a key
 * service on this very machine, in tests and trials, and nobody else. */
static int check_origin(const char *name, const char *url, char why[FRAME_WHY_BYTES])
{
    const char *host = NULL;
    if (url == NULL || strlen(url) > URL_BYTES_MAX || !is_url_text(url))
        return refuse(why, "%s: write https://host or https://host:port", name);
    if (starts_with(url, "https://"))
        host = url + 8;
    else if (starts_with(url, "http://127.0.0.1") || starts_with(url, "http://[::1]") ||
             starts_with(url, "http://localhost"))
        host = url + 7;
    else
        return refuse(why, "%s %.100s: write https:// in front", name, url);
    if (*host == '\0' || strpbrk(host, "/?#@%&=()!$+~") != NULL)
        return refuse(why, "%s %.100s: only host and port may follow https://", name, url);
    return 0;
}

static int check_logo(const struct frame_config *config, char why[FRAME_WHY_BYTES])
{
    static const char *const types[] = {"data:image/png;base64,", "data:image/jpeg;base64,",
                                        "data:image/gif;base64,", "data:image/webp;base64,",
                                        "data:image/svg+xml;base64,"};
    const char *url = config->logo_data_url;
    if (config->logo_link != NULL &&
        (!starts_with(config->logo_link, "https://") || strlen(config->logo_link) == 8 ||
         strlen(config->logo_link) > URL_BYTES_MAX || !is_url_text(config->logo_link)))
        return refuse(why, "logo link: write an https:// address of at most %u characters",
                      URL_BYTES_MAX);
    if (url == NULL)
        return 0;
    if (strlen(url) > LOGO_BYTES_MAX)
        return refuse(why, "logo: larger than %zu KiB; choose a smaller picture",
                      LOGO_BYTES_MAX / 1024 * 3 / 4);
    for (uint32_t n = 0; n < ARRAY_COUNT(types); n++) {
        const size_t bytes = strlen(types[n]);
        if (strncmp(url, types[n], bytes) != 0)
            continue;
        const size_t span = strspn(
            url + bytes, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
        if (url[bytes] != '\0' && url[bytes + span] == '\0')
            return 0;
        break;
    }
    return refuse(why, "logo: not a PNG, JPEG, GIF, WebP or SVG picture as a base64 data URL");
}

static int check_config(const struct frame_config *config, char why[FRAME_WHY_BYTES])
{
    const char *host = config->message_id_host;
    if (config->suite != COBBLE_AES_256 && config->suite != COBBLE_AES_192)
        return refuse(why, "suite %d: envelopes are sealed with AES-256 or AES-192",
                      (int)config->suite);
    if (host == NULL || strlen(host) > FRAME_HOST_BYTES_MAX ||
        !address_domain_ok((const uint8_t *)host, strlen(host)))
        return refuse(why, "host name for Message-IDs: write this host's full name");
    for (const char *c = host; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~')
            return refuse(why, "host name for Message-IDs: write it in ASCII (xn--…)");
    }
    int rc = check_origin("key service address", config->key_service_url, why);
    if (rc == 0 && config->online_url != NULL)
        rc = check_origin("payload transport address", config->online_url, why);
    return rc != 0 ? rc : check_logo(config, why);
}

/* The logo as HTML, its data in short lines, which URL parsers join again. Caller frees. */
static char *logo_element(const struct frame_config *config)
{
    const char *url = config->logo_data_url;
    const size_t data_bytes = url == NULL ? 0 : strlen(url);
    const size_t room = 2048 + data_bytes + data_bytes / LOGO_LINE_CHARS * 2 + URL_BYTES_MAX * 8;
    char *element = calloc(1, room);
    if (element == NULL || url == NULL)
        return element;
    struct writer out = writer_make((uint8_t *)element, room - 1);
    if (config->logo_link != NULL) {
        writer_literal(&out, "<a href=\"");
        markup_write(&out, (const uint8_t *)config->logo_link, strlen(config->logo_link),
                     URL_BYTES_MAX * 8);
        writer_literal(&out, "\" target=\"_blank\" rel=\"noopener noreferrer\">\r\n");
    }
    writer_literal(&out,
                   "<img class=\"logo\" alt=\"\" style=\"max-width:240px;max-height:64px\"\r\n"
                   " src=\"");
    for (size_t at = 0; at < data_bytes; at += LOGO_LINE_CHARS) {
        if (at > 0)
            writer_literal(&out, "\r\n");
        writer_copy(&out, url + at, MIN(data_bytes - at, (size_t)LOGO_LINE_CHARS));
    }
    writer_literal(&out, "\">");
    if (config->logo_link != NULL)
        writer_literal(&out, "</a>");
    return element;
}

/* ── the shell ─────────────────────────────────────────────────────────────────────────────── */

struct shell_reader {
    struct writer out;
    const char *key_service; /* as HTML, like the others */
    const char *online;
    const char *logo;
    uint32_t logos_count;
    uint32_t fields_count;
    uint32_t line;
    size_t line_chars;
};

/* Adds bytes as they are, but for line ends, which become CRLF. -EINVAL: a byte or a line that may
 * not travel as 7bit. */
static int shell_put(struct shell_reader *reader, const char *src, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const uint8_t c = (uint8_t)src[i];
        /* The line feed may stand first in the next piece; a NUL stands after the last one. */
        if (c == '\r' && src[i + 1] == '\n')
            continue;
        if (c == '\n') {
            writer_literal(&reader->out, "\r\n");
            reader->line_chars = 0;
            continue;
        }
        if ((c < ' ' && c != '\t') || c > '~' || ++reader->line_chars > SHELL_LINE_CHARS_MAX)
            return -EINVAL;
        writer_byte(&reader->out, c);
    }
    return 0;
}

/* What stands for the marker at `at`, if one does; *at moves behind it. */
static const char *marker_value(struct shell_reader *reader, const char **at)
{
    const struct {
        const char *marker;
        const char *value;
    } markers[] = {{"{{key_service}}", reader->key_service},
                   {"{{online}}", reader->online},
                   {"{{logo}}", reader->logo}};
    for (uint32_t n = 0; n < ARRAY_COUNT(markers); n++) {
        if (!starts_with(*at, markers[n].marker))
            continue;
        *at += strlen(markers[n].marker);
        reader->logos_count += markers[n].value == reader->logo ? 1U : 0U;
        return markers[n].value;
    }
    return NULL;
}

/* Splits the shell where {{fields}} stands and fills in the rest. */
static int shell_read(struct frame_shell *made, struct shell_reader *reader, const char *shell,
                      char why[FRAME_WHY_BYTES])
{
    const char *at = shell;
    reader->line = 1;
    while (*at != '\0') {
        int rc;
        const char *value = marker_value(reader, &at);
        if (value != NULL) {
            rc = shell_put(reader, value, strlen(value));
        } else if (starts_with(at, FIELDS_MARKER)) {
            const char *after = at + strlen(FIELDS_MARKER);
            const char *end = after + strspn(after, "\r");
            if (reader->line_chars != 0 || *end != '\n')
                return refuse(why, "envelope shell, line %u: {{fields}} must stand alone",
                              reader->line);
            made->head_bytes = (size_t)(reader->out.at - made->text);
            made->tail_offset = made->head_bytes;
            reader->fields_count++;
            at = end + 1;
            reader->line++;
            continue;
        } else {
            const size_t bytes = 1 + strcspn(at + 1, "{\n");
            rc = shell_put(reader, at, bytes);
            reader->line += at[0] == '\n' ? 1U : 0U;
            at += bytes;
        }
        if (rc != 0)
            return refuse(why, "envelope shell, line %u: not ASCII, or longer than %u characters",
                          reader->line, SHELL_LINE_CHARS_MAX);
    }
    if (reader->fields_count != 1 || reader->logos_count != 1)
        return refuse(why, "envelope shell: {{fields}} and {{logo}} must stand in it once");
    made->tail_bytes = (size_t)(reader->out.at - made->text) - made->tail_offset;
    return 0;
}

/* An address as HTML text, NUL-terminated. */
#define URL_CHARS_MAX (URL_BYTES_MAX * MARKUP_CHARS_PER_BYTE_MAX)
static void url_markup(char html[URL_CHARS_MAX + 1], const char *url)
{
    struct writer out = writer_make((uint8_t *)html, URL_CHARS_MAX);
    markup_write(&out, (const uint8_t *)url, strlen(url), URL_CHARS_MAX);
    html[(size_t)(out.at - (uint8_t *)html)] = '\0';
}

static int shell_open(struct frame_shell *made, const char *shell,
                      const struct frame_config *config, const char *logo,
                      char why[FRAME_WHY_BYTES])
{
    char key_service[URL_CHARS_MAX + 1];
    char online[URL_CHARS_MAX + 1];
    url_markup(key_service, config->key_service_url);
    url_markup(online, config->online_url != NULL ? config->online_url : config->key_service_url);
    const size_t insert_bytes = MAX(MAX(strlen(key_service), strlen(online)), strlen(logo));
    size_t room = strlen(shell) * 2 + 1;
    for (const char *at = strstr(shell, "{{"); at != NULL; at = strstr(at + 2, "{{"))
        room += insert_bytes * 2;
    if (room > SHELL_BYTES_MAX * 4)
        return refuse(why, "envelope shell: too large");
    made->text = malloc(room);
    if (made->text == NULL)
        return -ENOMEM;
    struct shell_reader reader = {.out = writer_make(made->text, room),
                                  .key_service = key_service,
                                  .online = online,
                                  .logo = logo};
    return shell_read(made, &reader, shell, why);
}

/* ── subject and templates ─────────────────────────────────────────────────────────────────── */

/* Whose subject counts: the profile's, its template's, the locale's. */
static int templates_open(struct frame *frame, const struct frame_config *config,
                          const char *text_default, const char *html_default, const char *logo,
                          char why[FRAME_WHY_BYTES])
{
    const struct template_constants constants = {config->key_service_url, logo};
    const char *subject = NULL;
    const char *default_subject = NULL;
    size_t subject_bytes = 0;
    size_t default_bytes = 0;
    const char *text = text_default;
    (void)template_subject(text_default, &default_subject, &default_bytes);
    if (config->text_template != NULL) {
        text = config->text_template;
        (void)template_subject(text, &subject, &subject_bytes);
    }
    if (config->notification_subject != NULL) {
        subject = config->notification_subject;
        subject_bytes = strlen(subject);
    }
    if (subject == NULL) {
        subject = default_subject;
        subject_bytes = default_bytes;
    }
    int rc = subject_open(&frame->subject_line, &frame->subject_line_bytes, "notification subject",
                          subject, subject_bytes, why);
    if (rc != 0)
        return rc;
    rc = template_open(&frame->text, TEMPLATE_TEXT, "text template", text, &constants, why);
    if (rc != 0)
        return rc;
    rc = template_open(&frame->html, TEMPLATE_HTML, "HTML template",
                       config->html_template != NULL ? config->html_template : html_default,
                       &constants, why);
    return rc != 0 ? rc : frame_script_open(frame);
}
_Static_assert(FRAME_WHY_BYTES == TEMPLATE_WHY_BYTES, "one buffer serves both");
_Static_assert(FRAME_WHY_BYTES == SUBJECT_WHY_BYTES, "and the subject");

int frame_open_parts(struct frame **frame, const struct frame_config *config,
                     const struct frame_parts *parts, char why[FRAME_WHY_BYTES])
{
    ASSERT(parts->text != NULL && parts->html != NULL);
    why[0] = '\0';
    int rc = check_config(config, why);
    if (rc != 0)
        return rc;
    char *logo = NULL;
    struct frame *f = calloc(1, sizeof(*f));
    rc = -ENOMEM;
    if (f == NULL)
        goto failed;
    f->suite = config->suite;
    f->hide_subject = config->hide_subject;
    f->keep_references = config->keep_references;
    f->codec = base64_codec(isa_best());
    f->host_bytes = (uint32_t)strlen(config->message_id_host);
    memcpy(f->host, config->message_id_host, f->host_bytes);
    logo = logo_element(config);
    if (logo == NULL)
        goto failed;
    rc = 0;
    for (uint32_t v = 0; v < FRAME_VARIANT_COUNT && rc == 0; v++)
        rc = shell_open(&f->shells[v], parts->shells[v], config, logo, why);
    if (rc == 0)
        rc = templates_open(f, config, parts->text, parts->html, logo, why);
    if (rc != 0)
        goto failed;
    free(logo);
    *frame = f;
    return 0;

failed:
    free(logo);
    frame_close(f);
    if (why[0] == '\0')
        (void)refuse(why, "out of memory");
    return rc;
}

void frame_close(struct frame *frame)
{
    if (frame == NULL)
        return;
    frame_script_close(frame);
    template_close(frame->text);
    template_close(frame->html);
    for (uint32_t v = 0; v < FRAME_VARIANT_COUNT; v++)
        free(frame->shells[v].text);
    free(frame->subject_line);
    free(frame);
}
