#include "keyservice/server/http/http_framing.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#define LENGTH_DIGITS_MAX 18

struct framing {
    bool sound;
    uint32_t lengths_count;
    uint32_t encodings_count;
    uint32_t hosts_count;
};

static bool is_name(const char *name, const char *text, size_t bytes)
{
    return strlen(name) == bytes && strncasecmp(name, text, bytes) == 0;
}

/* RFC 9110, 5.6.2. */
static bool is_token(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (text[i] <= 0x20 || text[i] == 0x7f || strchr("\"(),/:;<=>?@[\\]{}", text[i]) != NULL)
            return false;
    return bytes > 0;
}

/* RFC 9110, 5.5: no control but the tab. A folded line has lost its break here, but not its tab or
 * blank, which is harmless in the fields that are looked at. */
static bool is_value(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
            return false;
    return true;
}

static bool is_length(const char *text, size_t bytes)
{
    return bytes > 0 && bytes <= LENGTH_DIGITS_MAX && strspn(text, "0123456789") == bytes;
}

static enum MHD_Result look(void *context, enum MHD_ValueKind kind, const char *key,
                            size_t key_bytes, const char *value, size_t value_bytes)
{
    struct framing *framing = context;
    (void)kind;
    framing->sound = framing->sound && is_token(key, key_bytes) &&
                     (value == NULL || is_value(value, value_bytes));
    if (is_name("Content-Length", key, key_bytes)) {
        framing->lengths_count++;
        framing->sound = framing->sound && value != NULL && is_length(value, value_bytes);
    } else if (is_name("Transfer-Encoding", key, key_bytes)) {
        framing->encodings_count++;
        framing->sound = framing->sound && value != NULL && is_name("chunked", value, value_bytes);
    } else if (is_name("Host", key, key_bytes)) {
        framing->hosts_count++;
    }
    return framing->sound ? MHD_YES : MHD_NO;
}

bool http_framing_sound(struct MHD_Connection *connection, const char *version)
{
    struct framing framing = {.sound = true};
    const bool newer = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    (void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, look, &framing);
    return framing.sound && framing.lengths_count + framing.encodings_count <= 1 &&
           framing.hosts_count <= 1 && (!newer || framing.hosts_count == 1) &&
           (newer || framing.encodings_count == 0);
}
