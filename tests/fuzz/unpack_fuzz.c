/* fuzz: links envelope crypto base */
#include "base/assert.h"
#include "envelope/unpack.h"

#include <stdlib.h>

#define MAIL_BYTES_MAX (64u << 20) /* what a fuzzer's memory limit bears */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t mail_bytes = 0;

    if (unpack_bytes(data, size, &mail_bytes) != 0 || mail_bytes > MAIL_BYTES_MAX)
        return 0;
    uint8_t *mail = malloc(mail_bytes + 1);
    ASSERT(mail != NULL);
    (void)!unpack(mail, mail_bytes, data, size);
    free(mail);
    return 0;
}
