#include "envelope/deflate.h"

#include "base/assert.h"
#include "crypto/secret.h"
#include "envelope/deflate_tables.h"

#include <stdbool.h>
#include <string.h>

/* A stream with the mail's codes begins with 84 bytes that describe them. */
#define MAIL_CODES_BYTES_MIN 600
#define SAMPLE_BYTES         1024

struct deflate {
    _Alignas(CACHE_LINE) struct isal_zstream stream; /* its hash heads tell of the plaintext */
    _Alignas(CACHE_LINE) uint8_t out[DEFLATE_SRC_BYTES_MAX];
    bool used; /* since it was wiped */
};

size_t deflate_bytes(void)
{
    return sizeof(struct deflate);
}

/* Codes for mail are long for bytes beyond ASCII. */
static bool mail_like(const uint8_t *src, size_t src_bytes)
{
    const size_t sample_bytes = MIN(src_bytes, (size_t)SAMPLE_BYTES);
    uint32_t beyond_count = 0;

    for (size_t i = 0; i < sample_bytes; i++)
        beyond_count += src[i] >> 7;
    return src_bytes >= MAIL_CODES_BYTES_MIN && beyond_count < sample_bytes / 8;
}

HOT size_t deflate_try(struct deflate *deflate, uint8_t *dst, size_t dst_bytes_max,
                       const uint8_t *src, size_t src_bytes)
{
    struct isal_zstream *const stream = &deflate->stream;

    ASSERT((uintptr_t)deflate % CACHE_LINE == 0);
    ASSERT(src_bytes <= DEFLATE_SRC_BYTES_MAX);
    deflate->used = true;
    isal_deflate_stateless_init(stream);
    stream->end_of_stream = 1;
    stream->flush = NO_FLUSH;
    /* ISA-L's interface knows no const; it writes to neither. */
    if (mail_like(src, src_bytes))
        stream->hufftables = (struct isal_hufftables *)(uintptr_t)&deflate_mail_codes;
    else
        (void)isal_deflate_set_hufftables(stream, NULL, IGZIP_HUFFTABLE_STATIC);
    stream->next_in = (uint8_t *)(uintptr_t)src;
    stream->avail_in = (uint32_t)src_bytes;
    stream->next_out = deflate->out;
    stream->avail_out = (uint32_t)MIN(dst_bytes_max, sizeof(deflate->out));
    const int rc = isal_deflate_stateless(stream);
    const size_t bytes = stream->total_out;
    if (rc != COMP_OK)
        return 0;
    ASSERT(stream->avail_in == 0 && bytes <= dst_bytes_max);
    memcpy(dst, deflate->out, bytes);
    return bytes;
}

void deflate_wipe(struct deflate *deflate)
{
    if (!deflate->used)
        return;
    secret_wipe(deflate, sizeof(*deflate));
}
