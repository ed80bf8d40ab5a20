/* fuzz: links keyservice */
/* A batch of key records as an engine sends it: docs/format/key-batch.md. */
#include "base/assert.h"
#include "keyservice/record.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* What was read writes the very bytes it was read from. */
static void record_check(const struct record *record, const uint8_t *wire, size_t wire_bytes)
{
    static uint8_t again[RECORD_BYTES_MAX];
    const uint8_t *address = NULL;
    uint16_t address_bytes = 0;
    uint32_t offset = 0;
    uint32_t recipients_count = 0;
    ASSERT(record_write(again, sizeof(again), record) == wire_bytes);
    ASSERT(memcmp(again, wire, wire_bytes) == 0);
    while (record_recipient(record, &offset, &address, &address_bytes))
        recipients_count++;
    ASSERT(recipients_count == record->recipients_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint32_t records_count = 0;
    size_t offset = RECORD_BATCH_HEAD_BYTES;
    if (bytes > RECORD_BATCH_BYTES_MAX || record_batch_check(data, bytes, &records_count) != 0)
        return 0;
    for (uint32_t i = 0; i < records_count; i++) {
        struct record record;
        const size_t start = offset;
        if (record_read(&record, data, bytes, &offset) != 0)
            return 0;
        ASSERT(offset > start && offset <= bytes);
        record_check(&record, data + start, offset - start);
    }
    return 0;
}
