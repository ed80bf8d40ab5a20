/* fuzz: links keyservice */
/* What a key service answers to a batch of two records: docs/api/keyservice.md. */
#include "base/assert.h"
#include "keyservice/key_answer.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint8_t first[RECORD_ID_BYTES] = {0x01, 0x9b, [6] = 0x70, [8] = 0x80};
    static const uint8_t second[RECORD_ID_BYTES] = {0x01, 0x9c, [6] = 0x70, [8] = 0x80};
    static const char first_hex[] = "019b0000000070008000000000000000";
    static const char second_hex[] = "019c0000000070008000000000000000";
    static const char batch[] = "00112233445566778899aabbccddeeff";
    const uint8_t *const ids[] = {first, second};
    enum key_result_status statuses[2] = {KEY_AWAY, KEY_AWAY};
    if (key_answer_read((const char *)data, bytes, batch, ids, 2, statuses) != 0)
        return 0;
    /* What was believed names both records, each with a verdict, or the batch. A JSON string may
     * spell a digit as an escape, so only an answer without any is looked through. */
    ASSERT(statuses[0] != KEY_AWAY);
    ASSERT(statuses[1] != KEY_AWAY);
    const bool is_short = memmem(data, bytes, batch, sizeof(batch) - 1) != NULL;
    if (memchr(data, '\\', bytes) == NULL &&
        (!is_short || memmem(data, bytes, "results", 7) != NULL)) {
        ASSERT(memmem(data, bytes, first_hex, sizeof(first_hex) - 1) != NULL);
        ASSERT(memmem(data, bytes, second_hex, sizeof(second_hex) - 1) != NULL);
    }
    return 0;
}
