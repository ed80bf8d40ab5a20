/* fuzz: links keyd envelope */
/* What is posted to /online: a line with the Content-Type, then the form and the fields in it. */
#include "base/assert.h"
#include "envelope/unsealed.h"
#include "keyservice/server/http/form.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_CHARS_MAX 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void letters_read(const struct form_field *fields, uint32_t fields_count, const uint8_t *end)
{
    struct unsealed_field letters[FORM_FIELDS_MAX];
    struct unsealed unsealed;
    for (uint32_t i = 0; i < fields_count; i++)
        letters[i] =
            (struct unsealed_field){.name = fields[i].name[0] != '\0' && fields[i].name[1] == '\0'
                                                ? fields[i].name[0]
                                                : '\0',
                                    .value = fields[i].value,
                                    .value_bytes = fields[i].value_bytes};
    const int rc = unsealed_read_fields(&unsealed, letters, fields_count, end);
    ASSERT(rc == 0 || rc == -EINVAL || rc == -ENODATA || rc == -EBADMSG || rc == -ENOMEM);
    if (rc == 0)
        unsealed_fini(&unsealed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct form_field fields[FORM_FIELDS_MAX];
    uint32_t fields_count = 0;
    char type[TYPE_CHARS_MAX + 1] = "";
    const uint8_t *line = memchr(data, '\n', MIN(bytes, (size_t)TYPE_CHARS_MAX + 1));
    if (line == NULL)
        return 0;
    memcpy(type, data, (size_t)(line - data));
    const uint8_t *body = line + 1;
    const uint8_t *end = data + bytes;
    const int rc = form_read(fields, &fields_count, type, body, (size_t)(end - body));
    ASSERT(rc == 0 || rc == -EBADMSG);
    if (rc != 0)
        return 0;
    const uint8_t *before = body;
    ASSERT(fields_count <= FORM_FIELDS_MAX);
    for (uint32_t i = 0; i < fields_count; i++) {
        ASSERT(strnlen(fields[i].name, sizeof(fields[i].name)) <= FORM_NAME_CHARS);
        ASSERT(fields[i].value > before &&
               fields[i].value_bytes <= (size_t)(end - fields[i].value));
        before = fields[i].value + fields[i].value_bytes;
    }
    letters_read(fields, fields_count, end);
    return 0;
}
