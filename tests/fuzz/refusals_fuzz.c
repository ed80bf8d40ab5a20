/* fuzz: links ipc base */
/* Who was refused, as a collector says it: docs/format/shared-memory.md, "Refusals". */
#include "base/assert.h"
#include "ipc/refusals.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* What is read lies inside what was given, every recipient has a reply that is there, and one at
 * least was refused. */
static void refusals_check(const struct refusals *refusals, const uint8_t *data, size_t bytes)
{
    const uint8_t *end = data + bytes;
    uint32_t refused = 0;
    ASSERT(refusals->recipients_count > 0 && refusals->recipients_count <= IPC_RECIPIENTS_MAX);
    ASSERT(refusals->replies_count > 0 && refusals->replies_count <= IPC_REPLIES_MAX);
    for (uint32_t n = 0; n < refusals->replies_count; n++) {
        const struct refusals_reply *reply = &refusals->replies[n];
        const uint8_t *text = (const uint8_t *)reply->text;
        ASSERT(reply->enhanced[0] == 5 || memcmp(reply->enhanced, "\0\0\0", 3) == 0);
        ASSERT(reply->text_bytes <= IPC_REPLY_BYTES_MAX);
        ASSERT(text >= data && text <= end && reply->text_bytes <= end - text);
    }
    ASSERT(refusals->which + refusals->recipients_count == end);
    for (uint32_t n = 0; n < refusals->recipients_count; n++) {
        ASSERT(refusals->which[n] <= refusals->replies_count);
        refused += refusals->which[n] != 0;
    }
    ASSERT(refused > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct refusals refusals;
    if (refusals_read(&refusals, data, bytes) == 0)
        refusals_check(&refusals, data, bytes);
    return 0;
}
