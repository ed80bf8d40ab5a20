#include "envelope/subject.h"

#include "envelope/encoded_word.h"
#include "envelope/text.h"
#include "envelope/writer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES_MAX 16 /* name, blank and line end */

static bool subject_clean(struct text *out, const char *text, size_t text_bytes)
{
    if (text == NULL || !text_is_utf8((const uint8_t *)text, text_bytes) ||
        memchr(text, '\n', text_bytes) != NULL || memchr(text, '\r', text_bytes) != NULL)
        return false;
    text_put_utf8(out, (const uint8_t *)text, text_bytes);
    return out->bytes > 0 && !out->dirty && !out->cut;
}

int subject_open(uint8_t **line, size_t *line_bytes, const char *name, const char *text,
                 size_t text_bytes, char why[SUBJECT_WHY_BYTES])
{
    uint8_t clean[SUBJECT_TEXT_BYTES_MAX];
    struct text out = text_make(clean, sizeof(clean));
    if (!subject_clean(&out, text, text_bytes)) {
        (void)snprintf(why, SUBJECT_WHY_BYTES, "%s: write one line of UTF-8, at most %u bytes",
                       name, SUBJECT_TEXT_BYTES_MAX);
        return -EINVAL;
    }
    const size_t room = encoded_word_write_bytes_max(out.bytes) + LINE_BYTES_MAX;
    uint8_t *made = malloc(room);
    if (made == NULL) {
        (void)snprintf(why, SUBJECT_WHY_BYTES, "%s: out of memory", name);
        return -ENOMEM;
    }
    struct writer writer = writer_make(made, room);
    size_t column = sizeof("Subject: ") - 1;
    writer_literal(&writer, "Subject: ");
    encoded_word_write(&writer, clean, out.bytes, ENCODED_WORD_UNSTRUCTURED, &column);
    writer_literal(&writer, "\r\n");
    *line = made;
    *line_bytes = (size_t)(writer.at - made);
    return 0;
}
