/* fuzz: links policy base */
#include "base/assert.h"
#include "policy/override.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct override *override)
{
    ASSERT((override->values & ~(override->set & OVERRIDE_VALUES)) == 0);
    ASSERT((override->set & OVERRIDE_EXPIRES) != 0
               ? override->expires_after_s >= OVERRIDE_AFTER_S_MIN &&
                     override->expires_after_s <= OVERRIDE_AFTER_S_MAX
               : override->expires_after_s == 0);
    ASSERT((override->set & OVERRIDE_READ_BY) != 0
               ? override->read_by_after_s >= OVERRIDE_AFTER_S_MIN &&
                     override->read_by_after_s <= OVERRIDE_AFTER_S_MAX
               : override->read_by_after_s == 0);
}

/* A header: fields of "name: body", one a line; a NUL ends a body, as in C strings it does. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct override override;
    char why[OVERRIDE_WHY_BYTES];
    char *text = malloc(size + 1);
    ASSERT(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    override_init(&override);
    for (char *at = text, *next; at < text + size; at = next) {
        char *end = memchr(at, '\n', (size_t)(text + size - at));
        next = end == NULL ? text + size : end + 1;
        if (end != NULL)
            *end = '\0';
        char *colon = strchr(at, ':');
        if (colon == NULL)
            continue;
        *colon = '\0';
        const struct override before = override;
        memset(why, 0, sizeof(why));
        const enum override_verdict verdict = override_read(&override, at, colon + 1, why);
        check(&override);
        ASSERT(verdict == OVERRIDE_NOT_OURS || override_is_control(at));
        ASSERT((verdict == OVERRIDE_MALFORMED) == (why[0] != '\0'));
        if (verdict != OVERRIDE_TAKEN)
            ASSERT(memcmp(&before, &override, sizeof(before)) == 0);
    }
    free(text);
    return 0;
}
