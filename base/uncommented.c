#include "base/uncommented.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Behind the string that begins at `at`: its own quote ends it, unless a backslash is before. */
static size_t string_end(const char *text, size_t at, size_t bytes)
{
    const char quote = text[at++];
    while (at < bytes && text[at] != quote)
        at += text[at] == '\\' ? 2 : 1;
    return at < bytes ? at + 1 : bytes;
}

/* Behind the comment that begins at `at`; `at` itself when none does. */
static size_t comment_end(const char *text, size_t at, size_t bytes)
{
    const bool two = at + 1 < bytes;
    const char *end = NULL;
    if (text[at] == '#' || (two && text[at] == '/' && text[at + 1] == '/'))
        end = memchr(text + at, '\n', bytes - at);
    else if (two && text[at] == '/' && text[at + 1] == '*') {
        end = memmem(text + at + 2, bytes - at - 2, "*/", 2);
        end = end == NULL ? NULL : end + 2;
    } else
        return at;
    return end == NULL ? bytes : (size_t)(end - text);
}

void uncommented_blank(char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        if (text[at] == '"' || text[at] == '\'') {
            at = string_end(text, at, bytes);
            continue;
        }
        const size_t end = comment_end(text, at, bytes);
        for (size_t n = at; n < end; n++)
            text[n] = text[n] == '\n' ? '\n' : ' ';
        at = end == at ? at + 1 : end;
    }
}

int uncommented_open(struct uncommented *uncommented, const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -errno;
    int rc = 0;
    size_t bytes = 0;
    char *text = malloc(UNCOMMENTED_BYTES_MAX + 1);
    if (text == NULL) {
        rc = -ENOMEM;
    } else {
        bytes = fread(text, 1, UNCOMMENTED_BYTES_MAX + 1, file);
        rc = ferror(file) ? -EIO : bytes > UNCOMMENTED_BYTES_MAX ? -EFBIG : 0;
    }
    (void)fclose(file);
    if (rc != 0)
        goto free_text;
    uncommented_blank(text, bytes);
    text[bytes] = '\n'; /* fmemopen() refuses nothing at all */
    FILE *stream = fmemopen(text, bytes + 1, "r");
    if (stream == NULL) {
        rc = -errno;
        goto free_text;
    }
    *uncommented = (struct uncommented){.stream = stream, .text = text};
    return 0;

free_text:
    free(text);
    return rc;
}

void uncommented_close(struct uncommented *uncommented)
{
    if (uncommented->stream != NULL)
        (void)fclose(uncommented->stream);
    free(uncommented->text);
    *uncommented = (struct uncommented){0};
}
