#include "keyservice/server/preview.h"

#include "base/macros.h"

#include <string.h>
#include <strings.h>

/* How a file of each type begins; of a RIFF file the form's name stands behind its size. */
static const struct {
    const char *type;
    const char *begins;
    size_t begins_bytes;
    size_t form_at;
    const char *form;
} types[] = {
    {.type = "image/png", .begins = "\x89PNG\r\n\x1a\n", .begins_bytes = 8},
    {.type = "image/jpeg", .begins = "\xff\xd8\xff", .begins_bytes = 3},
    {.type = "image/gif", .begins = "GIF87a", .begins_bytes = 6},
    {.type = "image/gif", .begins = "GIF89a", .begins_bytes = 6},
    {.type = "image/webp", .begins = "RIFF", .begins_bytes = 4, .form_at = 8, .form = "WEBP"},
    {.type = "application/pdf", .begins = "%PDF-", .begins_bytes = 5},
};

bool preview_named(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf"};
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending != NULL && i < ARRAY_COUNT(endings); i++) {
        if (strcasecmp(ending, endings[i]) == 0)
            return true;
    }
    return false;
}

const char *preview_type(const uint8_t *bytes_at, size_t bytes)
{
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        const size_t form_bytes = types[i].form == NULL ? 0 : strlen(types[i].form);
        if (bytes >= types[i].begins_bytes && bytes >= types[i].form_at + form_bytes &&
            memcmp(bytes_at, types[i].begins, types[i].begins_bytes) == 0 &&
            (form_bytes == 0 ||
             memcmp(bytes_at + types[i].form_at, types[i].form, form_bytes) == 0))
            return types[i].type;
    }
    return NULL;
}
