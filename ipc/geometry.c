#include "ipc/geometry.h"

#include "base/assert.h"

#include <errno.h>
#include <string.h>

#define SLOT_BYTES 64

static uint64_t page_round(uint64_t bytes)
{
    return (bytes + IPC_PAGE_BYTES - 1) / IPC_PAGE_BYTES * IPC_PAGE_BYTES;
}

static bool slots_count_is_sound(uint32_t slots_count)
{
    return slots_count >= IPC_SLOTS_MIN && slots_count <= IPC_SLOTS_MAX &&
           (slots_count & (slots_count - 1)) == 0;
}

static bool arena_bytes_is_sound(uint64_t arena_bytes)
{
    return arena_bytes >= IPC_ARENA_BYTES_MIN && arena_bytes <= IPC_ARENA_BYTES_MAX &&
           arena_bytes % IPC_PAGE_BYTES == 0;
}

/* Sizes are checked: no sum below comes near 64 bits. */
static void geometry_place(struct geometry *geometry, uint32_t slots_count,
                           uint64_t constants_bytes, uint64_t arena_bytes)
{
    const uint64_t slots_end = IPC_PAGE_BYTES + page_round((uint64_t)slots_count * SLOT_BYTES);
    *geometry = (struct geometry){
        .slots_count = slots_count,
        .slots_offset = IPC_PAGE_BYTES,
        .constants_offset = constants_bytes == 0 ? 0 : slots_end,
        .constants_bytes = constants_bytes,
        .arena_offset = slots_end + constants_bytes,
        .arena_bytes = arena_bytes,
        .memfd_bytes = slots_end + constants_bytes + arena_bytes,
    };
}

int geometry_client(struct geometry *geometry, uint32_t slots_count, uint64_t arena_bytes)
{
    if (!slots_count_is_sound(slots_count) || !arena_bytes_is_sound(arena_bytes))
        return -EINVAL;
    geometry_place(geometry, slots_count, 0, arena_bytes);
    ASSERT(geometry->memfd_bytes % IPC_PAGE_BYTES == 0);
    return 0;
}

int geometry_engine(struct geometry *geometry, uint32_t slots_count, uint64_t constants_bytes,
                    uint64_t arena_bytes)
{
    if (!slots_count_is_sound(slots_count) || !arena_bytes_is_sound(arena_bytes))
        return -EINVAL;
    if (constants_bytes > IPC_ARENA_BYTES_MAX)
        return -EINVAL;
    const uint64_t two_pages = UINT64_C(2) * IPC_PAGE_BYTES;
    const uint64_t constants_rounded = (constants_bytes + two_pages - 1) / two_pages * two_pages;
    geometry_place(geometry, slots_count, constants_rounded, arena_bytes);
    ASSERT(geometry->memfd_bytes <= UINT32_MAX); /* spans are 32-bit offsets */
    return 0;
}

void geometry_write(const struct geometry *geometry, uint64_t magic, struct ipc_page *page)
{
    page->magic = magic;
    page->version = IPC_VERSION;
    page->slots_count = geometry->slots_count;
    page->slots_offset = geometry->slots_offset;
    page->constants_offset = geometry->constants_offset;
    page->constants_bytes = geometry->constants_bytes;
    page->arena_offset = geometry->arena_offset;
    page->arena_bytes = geometry->arena_bytes;
    page->memfd_bytes = geometry->memfd_bytes;
}

int geometry_read_engine(struct geometry *geometry, const struct ipc_page *page,
                         uint32_t slots_count, uint64_t memfd_bytes)
{
    struct ipc_page copy;
    memcpy(&copy, page, offsetof(struct ipc_page, tail));
    if (copy.magic != IPC_MAGIC_ENGINE || copy.version != IPC_VERSION ||
        copy.slots_count != slots_count)
        return -EBADMSG;
    struct geometry expected;
    if (geometry_engine(&expected, slots_count, copy.constants_bytes, copy.arena_bytes) != 0)
        return -EBADMSG;
    if (expected.slots_offset != copy.slots_offset ||
        expected.constants_offset != copy.constants_offset ||
        expected.constants_bytes != copy.constants_bytes ||
        expected.arena_offset != copy.arena_offset || expected.memfd_bytes != copy.memfd_bytes ||
        expected.memfd_bytes != memfd_bytes)
        return -EBADMSG;
    *geometry = expected;
    return 0;
}
