/* fuzz: links envelope crypto base */
#include "base/assert.h"
#include "envelope/unsealed.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reading, and opening under a key that is not the one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct crypto_core *core;
    static const uint8_t key[COBBLE_KEY_BYTES_MAX];
    struct unsealed unsealed;
    uint8_t *mail = NULL;
    size_t mail_bytes = 0;

    if (core == NULL)
        ASSERT(crypto_core_open(&core, isa_best()) == 0);
    const int rc = unsealed_read(&unsealed, data, size);
    ASSERT(rc == 0 || rc == -EINVAL || rc == -ENODATA || rc == -EBADMSG || rc == -ENOMEM);
    if (rc != 0)
        return 0;
    ASSERT(unsealed_open(&unsealed, core, key, &mail, &mail_bytes) == -EBADMSG);
    ASSERT(mail == NULL);
    unsealed_fini(&unsealed);
    return 0;
}
