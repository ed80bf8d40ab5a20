#include "engine/spool_head.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>
#include <string.h>

int spool_head_read(struct spool_head *head, const uint8_t *bytes_at, size_t bytes)
{
    if (bytes < SPOOL_HEAD_FIXED_BYTES || bytes_load_le32(bytes_at) != SPOOL_HEAD_MAGIC)
        return -EBADMSG;
    const uint16_t flags = bytes_load_le16(bytes_at + 4);
    const struct spool_head read = {
        .notify = (flags & SPOOL_HEAD_NOTIFY) != 0,
        .service_bytes = bytes_load_le16(bytes_at + 6),
        .meta_bytes = bytes_load_le32(bytes_at + 8),
        .sealed_bytes = bytes_load_le32(bytes_at + 12),
    };
    const uint64_t all =
        (uint64_t)SPOOL_HEAD_FIXED_BYTES + read.service_bytes + read.meta_bytes + read.sealed_bytes;
    if ((flags & ~SPOOL_HEAD_NOTIFY) != 0 || read.service_bytes > SPOOL_HEAD_SERVICE_BYTES ||
        all != bytes)
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
    bytes_store_le32(dst, SPOOL_HEAD_MAGIC);
    bytes_store_le16(dst + 4, head->notify ? SPOOL_HEAD_NOTIFY : 0);
    bytes_store_le16(dst + 6, head->service_bytes);
    bytes_store_le32(dst + 8, head->meta_bytes);
    bytes_store_le32(dst + 12, head->sealed_bytes);
}

void spool_head_context(uint8_t context[SPOOL_HEAD_CONTEXT_BYTES], const struct id *id)
{
    static const uint8_t name[] = "bulla/spool/1"; /* its NUL is part of it */
    _Static_assert(sizeof(name) + ID_BYTES == SPOOL_HEAD_CONTEXT_BYTES, "name, NUL, id");
    memcpy(context, name, sizeof(name));
    memcpy(context + sizeof(name), id->bytes, ID_BYTES);
}
