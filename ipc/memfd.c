#include "ipc/memfd.h"

#include "base/assert.h"
#include "ipc/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

_Static_assert(MEMFD_SEALS == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE),
               "the kernel's numbers");

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

#define MEMFD_HUGE_BYTES (UINT64_C(2) << 20)
#define STAT_BLOCK_BYTES 512 /* st_blocks counts these, whatever the file system's block is */

/*
 * The kernel gives tmpfs huge pages to whom touches memory that was advised so, and only where its
 * administrator lets it: docs/engine/memory.md. Whole ones alone, so that no more is taken than was
 * said. What comes of it is a matter of speed; fallocate() allocates the rest.
 */
static void memfd_touch_huge(uint8_t *at, uint64_t bytes)
{
    const uint64_t whole_bytes = bytes - bytes % MEMFD_HUGE_BYTES;
    if (whole_bytes > 0 && madvise(at, whole_bytes, MADV_HUGEPAGE) == 0)
        (void)madvise(at, whole_bytes, MADV_POPULATE_WRITE);
}

/* Every page, whatever its size. Nothing is touched that could be missing: that would kill. */
static int memfd_fill(int fd, uint8_t *at, uint64_t bytes, enum memfd_pages pages)
{
    if (pages == MEMFD_PAGES_HUGE)
        memfd_touch_huge(at, bytes);
    while (fallocate(fd, 0, 0, (off_t)bytes) != 0)
        if (errno != EINTR)
            return -errno;
    (void)madvise(at, bytes, MADV_POPULATE_WRITE); /* else the first use of each page maps it */
    return 0;
}

int memfd_open(struct memfd *memfd, const char *name, uint64_t bytes, enum memfd_pages pages)
{
    ASSERT(bytes > 0);
    ASSERT(bytes % IPC_PAGE_BYTES == 0);
    int rc = 0;

    const int fd = memfd_create(name, MFD_ALLOW_SEALING | MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)bytes) != 0) {
        rc = -errno;
        goto close_fd;
    }
    /* The mapping comes first: FUTURE_WRITE refuses every later one. */
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        rc = -errno;
        goto close_fd;
    }
    rc = memfd_fill(fd, at, bytes, pages);
    if (rc != 0)
        goto unmap;
    if (fcntl(fd, F_ADD_SEALS, MEMFD_SEALS) != 0) {
        rc = -errno;
        goto unmap;
    }
    /* Mail in clear may stand here: not in a core dump. A forked child must not write either. */
    (void)madvise(at, bytes, MADV_DONTDUMP);
    (void)madvise(at, bytes, MADV_DONTFORK);
    *memfd = (struct memfd){.fd = fd, .at = at, .bytes = bytes};
    return 0;

unmap:
    (void)munmap(at, bytes);
close_fd:
    (void)close(fd);
    return rc;
}

/* Seals are asked for first: a descriptor that has them is a memfd, and fixed in size. */
static bool memfd_is_sound(int fd, uint64_t bytes)
{
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & MEMFD_SEALS) != MEMFD_SEALS)
        return false;
    struct statfs volume;
    if (fstatfs(fd, &volume) != 0 || volume.f_type != TMPFS_MAGIC) /* not hugetlbfs */
        return false;
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return false;
    return status.st_size >= 0 && (uint64_t)status.st_size == bytes &&
           (uint64_t)status.st_blocks * STAT_BLOCK_BYTES >= bytes;
}

int memfd_map_peer(struct memfd *memfd, int fd, uint64_t bytes)
{
    ASSERT(bytes > 0);
    ASSERT(bytes % IPC_PAGE_BYTES == 0);

    if (!memfd_is_sound(fd, bytes))
        return -EBADMSG;
    void *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    /* A huge page that reaches beyond the end counts blocks that are none of the memory's: as many
     * may be missing elsewhere. They are filled now, or this fails; later the reader would be
     * killed. A kernel before 5.14 does not know this, and maps each page at its first use. */
    if (madvise(at, bytes, MADV_POPULATE_READ) != 0 && errno != EINVAL) {
        const int rc = -errno;
        (void)munmap(at, bytes);
        return rc;
    }
    (void)madvise(at, bytes, MADV_DONTDUMP);
    (void)madvise(at, bytes, MADV_DONTFORK);
    *memfd = (struct memfd){.fd = fd, .at = at, .bytes = bytes};
    return 0;
}

void memfd_close(struct memfd *memfd)
{
    if (memfd->at != NULL)
        (void)munmap(memfd->at, memfd->bytes);
    if (memfd->fd >= 0)
        (void)close(memfd->fd);
    *memfd = MEMFD_NONE;
}
