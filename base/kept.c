#include "base/kept.h"

#include "base/assert.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int kept_open(void **pages, size_t bytes)
{
    ASSERT(bytes > 0);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                    -1, 0);
    if (at == MAP_FAILED)
        return -errno;
    kept_stay(at, bytes);
    *pages = at;
    return 0;
}

void kept_close(void *pages, size_t bytes)
{
    if (pages != NULL)
        (void)munmap(pages, bytes);
}

/* Without MPOL_MF_MOVE nothing moves: the policy is for faults to come, of which there are none. */
void kept_stay(void *pages, size_t bytes)
{
    (void)syscall(SYS_mbind, pages, bytes, MPOL_LOCAL, NULL, 0UL, 0U);
}
