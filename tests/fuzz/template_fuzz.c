/* fuzz: links envelope crypto base */
#include "base/assert.h"
#include "envelope/template.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Quoted-printable: ASCII, CRLF, lines of at most 76 with their soft break. */
static void check(const uint8_t *dst, size_t bytes)
{
    size_t line = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (dst[i] == '\r') {
            ASSERT(i + 1 < bytes && dst[i + 1] == '\n');
            line = 0;
            i++;
            continue;
        }
        ASSERT(dst[i] == '\t' || (dst[i] >= ' ' && dst[i] <= '~'));
        ASSERT(++line <= 76);
    }
}

/* The first byte cuts the input: a value, then the template. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct template_constants constants = {"https://keys.example.com", "<img\r\n>"};
    if (size == 0)
        return 0;
    const size_t value_bytes = MIN((size_t)data[0], size - 1);
    struct template_value values[TEMPLATE_VARIABLE_COUNT];
    for (uint32_t v = 0; v < TEMPLATE_VARIABLE_COUNT; v++)
        values[v] = (struct template_value){data + 1, value_bytes};
    const size_t text_bytes = size - 1 - value_bytes;
    char *text = malloc(text_bytes + 1);
    ASSERT(text != NULL);
    memcpy(text, data + 1 + value_bytes, text_bytes);
    text[text_bytes] = '\0';
    for (uint32_t kind = TEMPLATE_TEXT; kind <= TEMPLATE_HTML; kind++) {
        struct template *template = NULL;
        char why[TEMPLATE_WHY_BYTES] = "";
        const int rc =
            template_open(&template, (enum template_kind)kind, "template", text, &constants, why);
        ASSERT(rc == 0 || rc == -EINVAL || rc == -ENOMEM);
        if (rc != 0) {
            ASSERT(template == NULL && why[0] != '\0');
            continue;
        }
        const size_t room = template_bytes_max(template, values);
        uint8_t *dst = malloc(room + 1);
        ASSERT(dst != NULL);
        struct writer writer = writer_make(dst, room);
        template_render(template, &writer, values);
        check(dst, (size_t)(writer.at - dst));
        free(dst);
        template_close(template);
    }
    free(text);
    return 0;
}
