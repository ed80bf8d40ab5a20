/* fuzz: links envelope crypto base */
#include "base/assert.h"
#include "envelope/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any bytes are a message; what is found lies inside it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct header header;
    header_read(&header, data, size, size);
    ASSERT(header.header_bytes <= size);
    ASSERT(header.header_bytes <= HEADER_BYTES_MAX);
    ASSERT((header.repeated & ~header.present) == 0);
    for (uint32_t f = 0; f < HEADER_FIELD_COUNT; f++) {
        const struct header_span span = header.field[f];
        ASSERT((uint64_t)span.offset + span.bytes <= header.header_bytes);
        ASSERT((header.present >> f & 1) != 0 || span.bytes == 0);
    }
    return 0;
}
