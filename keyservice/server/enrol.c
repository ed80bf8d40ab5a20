#include "keyservice/server/enrol.h"

#include "base/assert.h"

#include <errno.h>
#include <openssl/sha.h>
#include <sys/random.h>

int enrol_code_make(char code[ENROL_CODE_BYTES], uint8_t hash[STORE_HASH_BYTES])
{
    /* 32 letters, so that five bits choose without bias; none looks like another. */
    static const char letters[] = "abcdefghjkmnpqrstuvwxyz234567890";
    uint8_t random[ENROL_CODE_CHARS];
    size_t used = 0;
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    for (size_t i = 0; i < sizeof(random); i++) {
        if (i > 0 && i % 6 == 0)
            code[used++] = '-';
        code[used++] = letters[random[i] & 31];
    }
    ASSERT(used == ENROL_CODE_BYTES - 1);
    code[used] = '\0';
    (void)SHA256((const uint8_t *)code, used, hash);
    return 0;
}
