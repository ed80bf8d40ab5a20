/* Preloaded into bulla-keyd by alike_test.py: notes every password that is hashed or verified in
 * $BULLA_ARGON2_LOG, as what was done and at which cost. What no hash was computed for is not
 * noted: an encoding that cannot be read costs nothing. */
#include <argon2.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *next_find(const char *name)
{
    void *next = dlsym(RTLD_NEXT, name);
    if (next == NULL)
        abort();
    return next;
}

/* One append: lines of several threads do not mix. */
static void run_note(const char *what, const char *cost, int cost_chars)
{
    char line[128];
    const char *log = getenv("BULLA_ARGON2_LOG");
    const int fd = log == NULL ? -1 : open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    const int n = snprintf(line, sizeof(line), "%s %.*s\n", what, cost_chars, cost);
    if (n < 0 || (size_t)n >= sizeof(line) || write(fd, line, (size_t)n) != n)
        abort();
    (void)close(fd);
}

/* $argon2id$v=19$m=19456,t=2,p=1$SALT$TAG */
static void encoded_note(const char *what, const char *encoded)
{
    const char *cost = strstr(encoded, "$m=");
    if (cost != NULL)
        run_note(what, cost + 1, (int)strcspn(cost + 1, "$"));
}

int argon2id_verify(const char *encoded, const void *password, size_t password_bytes)
{
    int (*next)(const char *, const void *, size_t) = NULL;
    *(void **)&next = next_find("argon2id_verify");
    const int rc = next(encoded, password, password_bytes);
    if (rc == ARGON2_OK || rc == ARGON2_VERIFY_MISMATCH)
        encoded_note("verify", encoded);
    return rc;
}

int argon2id_hash_encoded(const uint32_t passes, const uint32_t kib, const uint32_t lanes,
                          const void *password, const size_t password_bytes, const void *salt,
                          const size_t salt_bytes, const size_t tag_bytes, char *encoded,
                          const size_t encoded_bytes)
{
    int (*next)(uint32_t, uint32_t, uint32_t, const void *, size_t, const void *, size_t, size_t,
                char *, size_t) = NULL;
    *(void **)&next = next_find("argon2id_hash_encoded");
    const int rc = next(passes, kib, lanes, password, password_bytes, salt, salt_bytes, tag_bytes,
                        encoded, encoded_bytes);
    if (rc == ARGON2_OK)
        encoded_note("hash", encoded);
    return rc;
}
