#include "crypto/secret.h"

#include "base/assert.h"
#include "base/kept.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool ct_equal(const void *a, const void *b, size_t bytes)
{
    const uint8_t *left = a;
    const uint8_t *right = b;
    uint8_t differing = 0;
    for (size_t i = 0; i < bytes; i++)
        differing = (uint8_t)(differing | (left[i] ^ right[i]));
    /* The compiler may not look into `differing`, so it cannot leave the loop early. */
    __asm__ volatile("" : "+r"(differing));
    return differing == 0;
}

void secret_wipe(void *bytes_at, size_t bytes)
{
    if (bytes == 0)
        return;
    explicit_bzero(bytes_at, bytes);
}

void secret_wipe_32(uint8_t (*bytes_at)[32])
{
    secret_wipe(*bytes_at, sizeof(*bytes_at));
}

__attribute__((noinline)) void secret_wipe_stack(void)
{
    uint8_t below[SECRET_STACK_BYTES];
    secret_wipe(below, sizeof(below));
}

static size_t whole_pages(size_t bytes)
{
    const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

int secret_pages_open(void **pages, size_t bytes)
{
    ASSERT(pages != NULL);
    ASSERT(bytes > 0);

    const size_t mapped_bytes = whole_pages(bytes);
    void *at = mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return -errno;
    /* A kernel built without transparent huge pages answers EINVAL, and then there are none. */
    if (madvise(at, mapped_bytes, MADV_NOHUGEPAGE) != 0 && errno != EINVAL)
        goto unmap;
    if (madvise(at, mapped_bytes, MADV_DONTDUMP) != 0)
        goto unmap;
    /* The generator's safety over a fork rests on this one: without it there are no pages. */
    if (madvise(at, mapped_bytes, MADV_WIPEONFORK) != 0)
        goto unmap;
    /* Locking is as far as RLIMIT_MEMLOCK allows; a page that may be swapped is still a page. */
    (void)mlock(at, mapped_bytes);
    /* Touched even where nothing may be locked: nothing faults later, or is moved elsewhere. */
    memset(at, 0, mapped_bytes);
    kept_stay(at, mapped_bytes);
    *pages = at;
    return 0;

unmap:;
    const int rc = -errno;
    (void)munmap(at, mapped_bytes);
    return rc;
}

void secret_pages_close(void *pages, size_t bytes)
{
    if (pages == NULL)
        return;
    ASSERT(bytes > 0);
    secret_wipe(pages, bytes);
    (void)munmap(pages, whole_pages(bytes));
}
