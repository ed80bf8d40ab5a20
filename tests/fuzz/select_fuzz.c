/* fuzz: links policy envelope crypto base */
#include "base/assert.h"
#include "policy/select.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte chooses the kind, a line end ends the entry, the rest is what a message holds. An
 * entry that was taken is found where it stands alone. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct select_rules rules;
    char entry[SELECT_ENTRY_BYTES_MAX * 2];
    char rest[4096];
    char why[SELECT_WHY_BYTES];
    if (size == 0)
        return 0;
    const enum select_kind kind = (enum select_kind)(data[0] % (SELECT_RECIPIENT + 1));
    const uint8_t *line = memchr(data, '\n', size);
    const size_t entry_end = line == NULL ? size : (size_t)(line - data);
    const size_t entry_bytes = MIN(entry_end - 1 + (entry_end == 0), sizeof(entry) - 1);
    memcpy(entry, data + 1, entry_end == 0 ? 0 : entry_bytes);
    entry[entry_end == 0 ? 0 : entry_bytes] = '\0';
    const size_t rest_bytes = MIN(size - entry_end, sizeof(rest) - 1);
    memcpy(rest, data + entry_end, rest_bytes);
    rest[rest_bytes] = '\0';

    select_init(&rules);
    if (select_add(&rules, kind, entry, why) != 0) {
        ASSERT(rules.entries_count == 0);
        ASSERT(strlen(why) > 0);
        return 0;
    }
    const char *const recipients[] = {rest};
    const struct select_field fields[] = {{"Subject", rest, 7, rest_bytes},
                                          {rest, rest, rest_bytes / 2, rest_bytes}};
    const struct select_message message = {.sender = rest,
                                           .recipients = recipients,
                                           .recipients_count = 1,
                                           .fields = fields,
                                           .fields_count = 2};
    (void)select_matches(&rules, &message);
    if (kind == SELECT_SENDER && entry[0] != '@') {
        const struct select_message same = {.sender = entry};
        ASSERT(select_matches(&rules, &same));
    }
    return 0;
}
