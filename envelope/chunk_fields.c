#include "envelope/chunk_fields.h"

#include "base/assert.h"
#include "crypto/cobblestone.h"

#include <string.h>

#define FIELD_OPEN   "<input type=\"hidden\" name=\"c\" value=\"\r\n"
#define FIELD_CLOSE  "\">\r\n"
#define FIELD_CHUNKS 57
#define FIELD_BYTES  ((size_t)FIELD_CHUNKS * COBBLE_SEALED_CHUNK_BYTES)

_Static_assert(FIELD_BYTES % BASE64_LINE_BYTES == 0, "a full field is full lines");

bool chunk_fields_whole(size_t sealed_bytes)
{
    return sealed_bytes % COBBLE_SEALED_CHUNK_BYTES >= COBBLE_TAG_BYTES;
}

size_t chunk_fields_bytes_max(size_t sealed_bytes)
{
    const size_t fields_count = (sealed_bytes + FIELD_BYTES - 1) / FIELD_BYTES;
    return base64_lines_chars(sealed_bytes) +
           fields_count * (sizeof(FIELD_OPEN) + sizeof(FIELD_CLOSE)) + BASE64_SLACK_BYTES;
}

size_t chunk_fields_write(const struct base64_codec *codec, uint8_t *dst, const uint8_t *sealed,
                          size_t sealed_bytes)
{
    uint8_t *at = dst;
    ASSERT(chunk_fields_whole(sealed_bytes));
    for (size_t done = 0; done < sealed_bytes; done += FIELD_BYTES) {
        memcpy(at, FIELD_OPEN, sizeof(FIELD_OPEN) - 1);
        at += sizeof(FIELD_OPEN) - 1;
        at += base64_encode(codec, at, sealed + done, MIN(sealed_bytes - done, FIELD_BYTES));
        memcpy(at, FIELD_CLOSE, sizeof(FIELD_CLOSE) - 1);
        at += sizeof(FIELD_CLOSE) - 1;
    }
    ASSERT((size_t)(at - dst) <= chunk_fields_bytes_max(sealed_bytes));
    return (size_t)(at - dst);
}
