/* fuzz: links envelope crypto base */
#include "base/assert.h"
#include "base/macros.h"
#include "envelope/pack.h"
#include "envelope/unpack.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct deflate *deflate_shared(void)
{
    static struct deflate *deflate;

    if (deflate == NULL) {
        deflate = aligned_alloc(CACHE_LINE, deflate_bytes());
        ASSERT(deflate != NULL);
        memset(deflate, 0, deflate_bytes());
    }
    return deflate;
}

/* The first two bytes choose slice length, how much the caller keeps and, when the second is odd,
 * that literals are deflated; the rest is the mail. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const size_t slice_bytes = data[0] == 0 ? PACK_SLICE_BYTES : data[0];
    const size_t kept_modulus = (size_t)data[1] * 16 + 1;
    const uint8_t *mail = data + 2;
    const size_t mail_bytes = size - 2;
    const size_t steps_count = mail_bytes / slice_bytes + 1;
    uint8_t *packed = malloc(pack_bytes_max(mail_bytes, steps_count) + PACK_STEP_ROOM(slice_bytes));
    size_t packed_bytes = 0;
    struct pack pack;

    ASSERT(packed != NULL);
    pack_init(&pack, base64_codec(isa_best()));
    for (size_t at = 0, step = 0; step < steps_count; step++) {
        const size_t bytes = MIN(slice_bytes, mail_bytes - at);
        const size_t kept_bytes = packed_bytes % kept_modulus;
        uint8_t *dst = packed + packed_bytes - kept_bytes;
        const bool last = step + 1 == steps_count;
        packed_bytes += data[1] % 2 == 0 ? pack_step(&pack, dst, kept_bytes, mail + at, bytes, last)
                                         : pack_step_deflated(&pack, deflate_shared(), dst,
                                                              kept_bytes, mail + at, bytes, last);
        at += bytes;
        ASSERT(packed_bytes <= pack_bytes_max(at, step + 1));
    }

    size_t unpacked_bytes = 0;
    ASSERT(unpack_bytes(packed, packed_bytes, &unpacked_bytes) == 0);
    ASSERT(unpacked_bytes == mail_bytes);
    uint8_t *unpacked = malloc(mail_bytes + 1);
    ASSERT(unpacked != NULL);
    ASSERT(unpack(unpacked, mail_bytes, packed, packed_bytes) == 0);
    ASSERT(memcmp(unpacked, mail, mail_bytes) == 0);
    free(unpacked);
    free(packed);
    return 0;
}
