#include "keyservice/server/http/form.h"

#include "base/assert.h"
#include "crypto/secret.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define FORM_TYPE      "multipart/form-data"
#define FORM_DELIMITER (4 + FORM_BOUNDARY_CHARS) /* CRLF, two dashes and the boundary */

/* What stands between values: "\r\n--" and the boundary. */
struct delimiter {
    char text[FORM_DELIMITER + 1];
    size_t bytes;
};

/* The value of a parameter that begins at `at`: a token or a quoted string without escapes. */
static bool parameter_value(const char *at, const char *end, const char **value, size_t *chars)
{
    const bool quoted = at != end && *at == '"';
    *value = quoted ? at + 1 : at;
    at = *value;
    while (at != end && (quoted ? *at != '"' : strchr("; \t\r\n", *at) == NULL)) {
        if (*at == '\\' || *at == '\0')
            return false;
        at++;
    }
    *chars = (size_t)(at - *value);
    return !quoted || at != end;
}

/* Looks for `; name=` in a header's parameters; false when it is not there or malformed. */
static bool parameter_find(const char *at, const char *end, const char *name, const char **value,
                           size_t *chars)
{
    const size_t name_chars = strlen(name);
    bool in_quotes = false;
    for (; at != end; at++) {
        if (*at == '"')
            in_quotes = !in_quotes;
        if (*at != ';' || in_quotes)
            continue;
        const char *next = at + 1;
        while (next != end && (*next == ' ' || *next == '\t'))
            next++;
        if ((size_t)(end - next) > name_chars && strncasecmp(next, name, name_chars) == 0 &&
            next[name_chars] == '=')
            return parameter_value(next + name_chars + 1, end, value, chars);
    }
    return false;
}

static int delimiter_read(struct delimiter *delimiter, const char *type)
{
    const char *value = NULL;
    size_t chars = 0;
    const size_t type_chars = sizeof(FORM_TYPE) - 1;
    if (strncasecmp(type, FORM_TYPE, type_chars) != 0 ||
        !parameter_find(type + type_chars, type + strlen(type), "boundary", &value, &chars) ||
        chars == 0 || chars > FORM_BOUNDARY_CHARS)
        return -EBADMSG;
    memcpy(delimiter->text, "\r\n--", 4);
    memcpy(delimiter->text + 4, value, chars);
    delimiter->bytes = 4 + chars;
    return 0;
}

static void name_take(struct form_field *field, const char *name, size_t chars)
{
    field->name[0] = '\0';
    if (chars > FORM_NAME_CHARS)
        return;
    for (size_t i = 0; i < chars; i++)
        if (!isalnum((unsigned char)name[i]))
            return;
    memcpy(field->name, name, chars);
    field->name[chars] = '\0';
}

/* A part's header lines, each ended by CRLF: exactly one Content-Disposition of form-data. */
static int head_read(struct form_field *field, const char *head, size_t head_bytes)
{
    static const char wanted[] = "Content-Disposition:";
    const char *end = head + head_bytes;
    const char *found = NULL;
    const char *found_end = NULL;
    const char *name = NULL;
    size_t chars = 0;
    for (const char *line = head; line < end;) { /* every round moves on */
        const char *stop = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (stop == NULL)
            stop = end;
        if ((size_t)(stop - line) >= sizeof(wanted) - 1 &&
            strncasecmp(line, wanted, sizeof(wanted) - 1) == 0) {
            if (found != NULL)
                return -EBADMSG;
            found = line + sizeof(wanted) - 1;
            found_end = stop;
        }
        line = stop == end ? end : stop + 2;
    }
    if (found == NULL || !parameter_find(found, found_end, "name", &name, &chars))
        return -EBADMSG;
    while (found != found_end && *found == ' ')
        found++;
    if ((size_t)(found_end - found) < 9 || strncasecmp(found, "form-data", 9) != 0)
        return -EBADMSG;
    name_take(field, name, chars);
    return 0;
}

/* The part whose header begins at `at`; its value ends at the delimiter that is found. */
static int part_read(struct form_field *field, const struct delimiter *delimiter, const uint8_t *at,
                     const uint8_t *end)
{
    const size_t room = MIN((size_t)(end - at), (size_t)FORM_HEAD_BYTES_MAX);
    const uint8_t *blank = memmem(at, room, "\r\n\r\n", 4);
    if (blank == NULL || head_read(field, (const char *)at, (size_t)(blank - at)) != 0)
        return -EBADMSG;
    const uint8_t *value = blank + 4;
    const uint8_t *stop = memmem(value, (size_t)(end - value), delimiter->text, delimiter->bytes);
    if (stop == NULL)
        return -EBADMSG;
    field->value = value;
    field->value_bytes = (size_t)(stop - value);
    return 0;
}

int form_read(struct form_field fields[FORM_FIELDS_MAX], uint32_t *fields_count, const char *type,
              const uint8_t *body, size_t body_bytes)
{
    struct delimiter delimiter;
    uint32_t count = 0;
    if (body == NULL || delimiter_read(&delimiter, type) != 0)
        return -EBADMSG;
    const uint8_t *end = body + body_bytes;
    /* The first delimiter has no line before it. */
    if (body_bytes < delimiter.bytes || memcmp(body, delimiter.text + 2, delimiter.bytes - 2) != 0)
        return -EBADMSG;
    const uint8_t *at = body + delimiter.bytes - 2;
    for (;;) {
        if (end - at >= 2 && memcmp(at, "--", 2) == 0)
            break;
        if (end - at < 2 || memcmp(at, "\r\n", 2) != 0 || count == FORM_FIELDS_MAX ||
            part_read(&fields[count], &delimiter, at + 2, end) != 0)
            return -EBADMSG;
        at = fields[count].value + fields[count].value_bytes + delimiter.bytes;
        count++;
    }
    *fields_count = count;
    return 0;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* "a+b%20c" as text; false when it is malformed, has a NUL, or is too long. */
static bool text_decode(char *text, size_t room, const uint8_t *at, const uint8_t *end)
{
    size_t bytes = 0;
    for (; at < end; at++) {
        int c = *at == '+' ? ' ' : *at;
        if (*at == '%') {
            if (end - at < 3 || hex_value(at[1]) < 0 || hex_value(at[2]) < 0)
                return false;
            c = hex_value(at[1]) * 16 + hex_value(at[2]);
            at += 2;
        }
        if (c == 0 || bytes + 1 >= room)
            return false;
        text[bytes++] = (char)c;
    }
    text[bytes] = '\0';
    return true;
}

/* "name=value", its name without any escape. */
static bool pair_take(const struct form_text *texts, uint32_t texts_count, const uint8_t *at,
                      const uint8_t *end)
{
    const uint8_t *equals = memchr(at, '=', (size_t)(end - at));
    if (equals == NULL)
        return false;
    for (uint32_t i = 0; i < texts_count; i++)
        if (strlen(texts[i].name) == (size_t)(equals - at) &&
            memcmp(texts[i].name, at, (size_t)(equals - at)) == 0)
            return texts[i].text[0] == '\0' &&
                   text_decode(texts[i].text, texts[i].room, equals + 1, end);
    return false;
}

int form_read_texts(const struct form_text *texts, uint32_t texts_count, const uint8_t *body,
                    size_t body_bytes)
{
    bool fine = true;
    for (uint32_t i = 0; i < texts_count; i++)
        texts[i].text[0] = '\0';
    const uint8_t *end = body + body_bytes;
    for (const uint8_t *at = body; fine && at < end;) { /* every round moves on */
        const uint8_t *stop = memchr(at, '&', (size_t)(end - at));
        if (stop == NULL)
            stop = end;
        fine = pair_take(texts, texts_count, at, stop);
        at = stop == end ? end : stop + 1;
    }
    for (uint32_t i = 0; i < texts_count && !fine; i++)
        secret_wipe(texts[i].text, texts[i].room);
    return fine ? 0 : -EBADMSG;
}
