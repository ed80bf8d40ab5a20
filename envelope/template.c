#include "envelope/template.h"

#include "base/assert.h"
#include "envelope/markup.h"
#include "envelope/template_internal.h"
#include "envelope/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_BYTES_MAX 32
/* A byte becomes at most three, and a line of 73 gains three more; variables gain a break each. */
#define ENCODED_BYTES_MAX(bytes) ((bytes)*4 + (size_t)TEMPLATE_SEGMENTS_MAX * 8 + 64)

static const char *const VARIABLES[TEMPLATE_VARIABLE_COUNT] = {
    [TEMPLATE_SENDER] = "sender",         [TEMPLATE_SENDER_NAME] = "sender_name",
    [TEMPLATE_SUBJECT] = "subject",       [TEMPLATE_DATE] = "date",
    [TEMPLATE_ATTACHMENT] = "attachment",
};
static const char *const VARIABLES_FAILURE[TEMPLATE_FAILURE_VARIABLE_COUNT] = {
    [TEMPLATE_FAILURE_SENDER] = "sender",
    [TEMPLATE_FAILURE_RECIPIENTS] = "recipients",
    [TEMPLATE_FAILURE_DATE] = "date",
    [TEMPLATE_FAILURE_REASON] = "reason",
    [TEMPLATE_FAILURE_MESSAGE_ID] = "message_id",
};
_Static_assert(TEMPLATE_VARIABLE_COUNT == TEMPLATE_FAILURE_VARIABLE_COUNT, "one array holds both");

/* One compilation: where it reads, what it writes, and whom it tells what is wrong. */
struct compiler {
    struct template *template;
    struct writer out;
    size_t column;
    uint32_t segment_offset;
    uint32_t line;
    const char *name;
    char *why;
};

static int PRINTF_LIKE(2, 3) refuse(const struct compiler *c, const char *format, ...)
{
    char reason[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    (void)snprintf(c->why, TEMPLATE_WHY_BYTES, "%s, line %u: %s", c->name, c->line, reason);
    return -EINVAL;
}

static void soft_break(struct compiler *c)
{
    writer_literal(&c->out, "=\r\n");
    c->column = 0;
}

static void put_escape(struct compiler *c, uint8_t byte)
{
    static const char digits[] = "0123456789ABCDEF";
    if (c->column + 3 > TEMPLATE_LINE_CHARS_MAX - 1)
        soft_break(c);
    writer_byte(&c->out, '=');
    writer_byte(&c->out, (uint8_t)digits[byte >> 4]);
    writer_byte(&c->out, (uint8_t)digits[byte & 15]);
    c->column += 3;
}

/* `next` is what follows in the template, 0 at its end. */
static void put(struct compiler *c, uint8_t byte, uint8_t next)
{
    if (byte == '\r' && next == '\n')
        return;
    if (byte == '\n' || byte == '\r') {
        writer_literal(&c->out, "\r\n");
        c->column = 0;
        return;
    }
    /* A blank at the end of a line would be lost; "From " and a lone dot at the start of one mean
     * something to mailboxes and to SMTP. */
    const bool last = next == '\n' || next == '\r' || next == 0;
    const bool blank = byte == ' ' || byte == '\t';
    const bool first = c->column == 0 && (byte == 'F' || byte == '.');
    if (byte == '=' || byte < ' ' || byte > '~' || (blank && last) || first) {
        put_escape(c, byte);
        return;
    }
    if (c->column + 1 > TEMPLATE_LINE_CHARS_MAX - 1)
        soft_break(c);
    writer_byte(&c->out, byte);
    c->column++;
}

static int end_segment(struct compiler *c, uint32_t variable)
{
    struct template *t = c->template;
    if (t->segments_count == TEMPLATE_SEGMENTS_MAX)
        return refuse(c, "more than %u variables; use fewer", TEMPLATE_SEGMENTS_MAX - 1);
    const uint32_t at = (uint32_t)(c->out.at - t->encoded);
    t->segments[t->segments_count++] =
        (struct template_segment){c->segment_offset, at - c->segment_offset, variable};
    c->segment_offset = at;
    return 0;
}

static void put_constant(struct compiler *c, const char *value, bool escape)
{
    const size_t bytes = strlen(value);
    if (!escape) {
        for (size_t i = 0; i < bytes; i++)
            put(c, (uint8_t)value[i], i + 1 < bytes ? (uint8_t)value[i + 1] : 'x');
        return;
    }
    uint8_t escaped[TEMPLATE_WHY_BYTES * MARKUP_CHARS_PER_BYTE_MAX];
    struct writer out = writer_make(escaped, sizeof(escaped));
    markup_write(&out, (const uint8_t *)value, MIN(bytes, (size_t)TEMPLATE_WHY_BYTES),
                 sizeof(escaped));
    for (const uint8_t *at = escaped; at < out.at; at++)
        put(c, *at, 'x');
}

static int put_variable(struct compiler *c, const char *name, size_t name_bytes,
                        const struct template_constants *constants)
{
    struct template *t = c->template;
    const bool html = t->kind == TEMPLATE_HTML;
    if (name_bytes == strlen("key_service") && memcmp(name, "key_service", name_bytes) == 0) {
        put_constant(c, constants->key_service, html);
        return 0;
    }
    if (name_bytes == strlen("logo") && memcmp(name, "logo", name_bytes) == 0) {
        if (!html)
            return refuse(c, "{{logo}} is for HTML templates alone; take it out");
        put_constant(c, constants->logo_element, false);
        return 0;
    }
    const char *const *variables = t->kind == TEMPLATE_FAILURE ? VARIABLES_FAILURE : VARIABLES;
    for (uint32_t v = 0; v < TEMPLATE_VARIABLE_COUNT; v++) {
        if (strlen(variables[v]) != name_bytes || memcmp(variables[v], name, name_bytes) != 0)
            continue;
        if (c->column > 0)
            soft_break(c);
        t->uses[v]++;
        return end_segment(c, v);
    }
    return refuse(c, "unknown variable {{%.*s}}; known are %s",
                  (int)MIN(name_bytes, (size_t)NAME_BYTES_MAX), name,
                  t->kind == TEMPLATE_FAILURE
                      ? "sender, recipients, date, reason, message_id and key_service"
                      : "sender, sender_name, subject, date, attachment, key_service and, in HTML, "
                        "logo");
}

/* Reads the variable whose braces open at `at`; *after is where text goes on. */
static int compile_variable(struct compiler *c, const char *at, const char *end,
                            const struct template_constants *constants, const char **after)
{
    const char *name = at + 2;
    while (name < end && *name == ' ')
        name++;
    const char *name_end = name;
    while (name_end < end && name_end - name <= NAME_BYTES_MAX &&
           ((*name_end >= 'a' && *name_end <= 'z') || *name_end == '_'))
        name_end++;
    const char *close = name_end;
    while (close < end && *close == ' ')
        close++;
    if (end - close < 2 || close[0] != '}' || close[1] != '}' || name_end == name)
        return refuse(c, "\"{{\" does not open a variable; write {{name}}, names are a-z and _");
    *after = close + 2;
    return put_variable(c, name, (size_t)(name_end - name), constants);
}

static int compile(struct compiler *c, const char *text, size_t bytes,
                   const struct template_constants *constants)
{
    const char *at = text;
    const char *end = text + bytes;
    while (at < end) {
        if (end - at >= 2 && at[0] == '{' && at[1] == '{') {
            const int rc = compile_variable(c, at, end, constants, &at);
            if (rc != 0)
                return rc;
            continue;
        }
        const uint8_t *character = (const uint8_t *)at;
        const uint32_t code_point = text_next(&character, (const uint8_t *)end);
        if (code_point == TEXT_MALFORMED)
            return refuse(c, "not UTF-8; save the template as UTF-8");
        if (code_point < ' ' && *at != '\t' && *at != '\n' && *at != '\r')
            return refuse(c, "control character 0x%02x; take it out", code_point);
        while (at < (const char *)character) {
            put(c, (uint8_t)*at, at + 1 < end ? (uint8_t)at[1] : 0);
            at++;
        }
        if (code_point == '\n')
            c->line++;
    }
    if (c->column > 0)
        writer_literal(&c->out, "\r\n");
    return end_segment(c, TEMPLATE_VARIABLE_COUNT);
}

/* Every {{…}} of a constant may grow the text by the constant's length. */
static size_t expanded_bytes_max(const char *text, const struct template_constants *constants)
{
    const size_t constant_bytes = MAX(strlen(constants->key_service) * MARKUP_CHARS_PER_BYTE_MAX,
                                      strlen(constants->logo_element));
    size_t total = strlen(text);
    for (const char *at = strstr(text, "{{"); at != NULL; at = strstr(at + 2, "{{"))
        total += constant_bytes;
    return total;
}

static uint32_t lines_between(const char *from, const char *to)
{
    uint32_t lines = 0;
    for (; from < to; from++)
        lines += *from == '\n' ? 1U : 0U;
    return lines;
}

int template_open(struct template **template, enum template_kind kind, const char *name,
                  const char *text, const struct template_constants *constants,
                  char why[TEMPLATE_WHY_BYTES])
{
    ASSERT(text != NULL && constants->key_service != NULL && constants->logo_element != NULL);
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark that an editor left */
        text += 3;
    const char *subject;
    size_t subject_bytes;
    const char *body =
        kind == TEMPLATE_HTML ? text : template_subject(text, &subject, &subject_bytes);
    const size_t bytes_max = ENCODED_BYTES_MAX(expanded_bytes_max(text, constants));
    if (bytes_max > (size_t)TEMPLATE_BYTES_MAX * 8) {
        (void)snprintf(why, TEMPLATE_WHY_BYTES, "%s: larger than %u KiB; make it shorter", name,
                       TEMPLATE_BYTES_MAX / 1024);
        return -EINVAL;
    }
    struct template *t = calloc(1, sizeof(*t));
    if (t == NULL)
        goto no_memory;
    t->kind = kind;
    t->encoded = malloc(bytes_max);
    if (t->encoded == NULL)
        goto no_memory;
    struct compiler c = {.template = t,
                         .out = writer_make(t->encoded, bytes_max),
                         .line = 1 + lines_between(text, body),
                         .name = name,
                         .why = why};
    const int rc = compile(&c, body, strlen(body), constants);
    if (rc != 0) {
        template_close(t);
        return rc;
    }
    t->encoded_bytes = (size_t)(c.out.at - t->encoded);
    *template = t;
    return 0;

no_memory:
    template_close(t);
    (void)snprintf(why, TEMPLATE_WHY_BYTES, "%s: out of memory", name);
    return -ENOMEM;
}

void template_close(struct template *template)
{
    if (template == NULL)
        return;
    free(template->encoded);
    free(template);
}

const char *template_subject(const char *text, const char **subject, size_t *subject_bytes)
{
    if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    *subject = NULL;
    *subject_bytes = 0;
    if (strncmp(text, "Subject:", 8) != 0)
        return text;
    const char *start = text + 8;
    start += strspn(start, " \t");
    const size_t bytes = strcspn(start, "\r\n");
    *subject = start;
    *subject_bytes = bytes;
    /* The line's end, and the empty lines that set it off. */
    return start + bytes + strspn(start + bytes, "\r\n");
}
