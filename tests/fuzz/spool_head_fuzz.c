/* fuzz: links engine */
/* The head of a waiting mail, of both formats: docs/format/spool-head.md. */
#include "base/assert.h"
#include "crypto/cobblestone.h"
#include "engine/spool_head.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* What is read fills what was given, and is written as it stood, but for the former format. */
static void head_check(const struct spool_head *head, const uint8_t *data, size_t bytes)
{
    uint8_t again[SPOOL_HEAD_FIXED_BYTES];
    ASSERT(head->number < COBBLE_NUMBERS_MAX);
    ASSERT(!head->alone || head->number == 0);
    ASSERT(head->service == data + SPOOL_HEAD_FIXED_BYTES);
    ASSERT(head->service_bytes <= SPOOL_HEAD_SERVICE_BYTES);
    ASSERT(head->meta_at == head->service + head->service_bytes);
    ASSERT(head->sealed == head->meta_at + head->meta_bytes);
    ASSERT(head->sealed + head->sealed_bytes == data + bytes);
    spool_head_write(again, head);
    ASSERT(head->alone || memcmp(again, data, sizeof(again)) == 0);
    ASSERT(memcmp(again + 4, data + 4, sizeof(again) - 4) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct spool_head head;
    if (spool_head_read(&head, data, bytes) == 0)
        head_check(&head, data, bytes);
    return 0;
}
