#include "engine/spool_head.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/cobblestone.h"

#include <errno.h>
#include <string.h>

int spool_head_read(struct spool_head *head, const uint8_t *bytes_at, size_t bytes)
{
    if (bytes < SPOOL_HEAD_FIXED_BYTES)
        return -EBADMSG;
    const uint32_t magic = bytes_load_le32(bytes_at);
    const uint8_t flags = bytes_at[4];
    const struct spool_head read = {
        .notify = (flags & SPOOL_HEAD_NOTIFY) != 0,
        .alone = magic == SPOOL_HEAD_MAGIC_ALONE,
        .number = bytes_at[5],
        .service_bytes = bytes_load_le16(bytes_at + 6),
        .meta_bytes = bytes_load_le32(bytes_at + 8),
        .sealed_bytes = bytes_load_le32(bytes_at + 12),
    };
    if ((magic != SPOOL_HEAD_MAGIC && !read.alone) ||
        read.number >= (read.alone ? 1 : COBBLE_NUMBERS_MAX))
        return -EBADMSG;
    const uint64_t all =
        (uint64_t)SPOOL_HEAD_FIXED_BYTES + read.service_bytes + read.meta_bytes + read.sealed_bytes;
    if ((flags & ~(unsigned)SPOOL_HEAD_NOTIFY) != 0 ||
        read.service_bytes > SPOOL_HEAD_SERVICE_BYTES || all != bytes)
        return -EBADMSG;
    struct meta meta;
    const uint8_t *meta_at = bytes_at + SPOOL_HEAD_FIXED_BYTES + read.service_bytes;
    const int rc = meta_read(&meta, meta_at, read.meta_bytes);
    if (rc != 0)
        return rc;
    *head = read;
    head->service = bytes_at + SPOOL_HEAD_FIXED_BYTES;
    head->meta_at = meta_at;
    head->sealed = meta_at + read.meta_bytes;
    head->meta = meta;
    return 0;
}

void spool_head_write(uint8_t dst[SPOOL_HEAD_FIXED_BYTES], const struct spool_head *head)
{
    ASSERT(head->service_bytes <= SPOOL_HEAD_SERVICE_BYTES);
    ASSERT(head->number < COBBLE_NUMBERS_MAX);
    bytes_store_le32(dst, SPOOL_HEAD_MAGIC);
    dst[4] = head->notify ? SPOOL_HEAD_NOTIFY : 0;
    dst[5] = head->number;
    bytes_store_le16(dst + 6, head->service_bytes);
    bytes_store_le32(dst + 8, head->meta_bytes);
    bytes_store_le32(dst + 12, head->sealed_bytes);
}

uint32_t spool_head_context(uint8_t context[SPOOL_HEAD_CONTEXT_BYTES], bool alone,
                            const struct id *id)
{
    static const uint8_t names[2][14] = {"bulla/spool/2", "bulla/spool/1"}; /* with their NULs */
    _Static_assert(sizeof(names[0]) + ID_BYTES == SPOOL_HEAD_CONTEXT_BYTES, "name, NUL, id");
    memset(context, 0, SPOOL_HEAD_CONTEXT_BYTES);
    memcpy(context, names[alone], sizeof(names[0]));
    if (!alone)
        return sizeof(names[0]);
    memcpy(context + sizeof(names[0]), id->bytes, ID_BYTES);
    return SPOOL_HEAD_CONTEXT_BYTES;
}
