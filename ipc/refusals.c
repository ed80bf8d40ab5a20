#include "ipc/refusals.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define FIXED_BYTES 3
#define REPLY_BYTES 4
#define PLAIN_MIN   4 /* replies that no text takes: statuses are told exactly for longer */

_Static_assert(FIXED_BYTES + IPC_REPLIES_MAX * (REPLY_BYTES + IPC_REPLY_BYTES_MAX) +
                       IPC_RECIPIENTS_MAX <=
                   IPC_REFUSALS_BYTES_MAX,
               "the largest fits");
_Static_assert(IPC_REPLY_BYTES_MAX <= UINT8_MAX, "a length is a byte");

void refusals_begin(struct refusals_draft *draft, uint32_t recipients_count)
{
    ASSERT(recipients_count > 0 && recipients_count <= IPC_RECIPIENTS_MAX);
    draft->recipients_count = (uint16_t)recipients_count;
    draft->replies_count = 0;
    memset(draft->which, 0, recipients_count);
}

/* The reply of these very words, from 1; 0: there is none. */
static uint32_t reply_find(const struct refusals_draft *draft, const uint8_t enhanced[3],
                           const char *text, size_t text_bytes)
{
    for (uint32_t n = 0; n < draft->replies_count; n++) {
        const struct refusals_reply *reply = &draft->replies[n];
        if (memcmp(reply->enhanced, enhanced, sizeof(reply->enhanced)) == 0 &&
            reply->text_bytes == text_bytes && memcmp(draft->texts[n], text, text_bytes) == 0)
            return n + 1;
    }
    return 0;
}

static uint32_t reply_make(struct refusals_draft *draft, const uint8_t enhanced[3],
                           const char *text, size_t text_bytes)
{
    const uint32_t n = draft->replies_count++;
    ASSERT(n < IPC_REPLIES_MAX);
    memcpy(draft->replies[n].enhanced, enhanced, sizeof(draft->replies[n].enhanced));
    draft->replies[n].text_bytes = (uint8_t)text_bytes;
    memcpy(draft->texts[n], text, text_bytes);
    return n + 1;
}

void refusals_add(struct refusals_draft *draft, uint32_t recipient, const uint8_t enhanced[3],
                  const char *text)
{
    static const uint8_t none[3] = {0};
    char plain[IPC_REPLY_BYTES_MAX];
    size_t bytes = 0;
    ASSERT(recipient < draft->recipients_count);
    for (; text != NULL && bytes < sizeof(plain) && text[bytes] != '\0' && text[bytes] != '\r' &&
           text[bytes] != '\n';
         bytes++)
        plain[bytes] = text[bytes] >= 0x20 && text[bytes] <= 0x7e ? text[bytes] : '?';
    const uint32_t room = IPC_REPLIES_MAX - draft->replies_count;
    uint32_t which = reply_find(draft, enhanced, plain, bytes);
    if (which == 0 && room > PLAIN_MIN)
        which = reply_make(draft, enhanced, plain, bytes);
    /* Without its text, then: servers put the address into it, so that each is another. */
    if (which == 0)
        which = reply_find(draft, enhanced, plain, 0);
    if (which == 0 && room > 1)
        which = reply_make(draft, enhanced, plain, 0);
    if (which == 0)
        which = reply_find(draft, none, plain, 0);
    if (which == 0)
        which = reply_make(draft, none, plain, 0);
    draft->which[recipient] = (uint8_t)which;
}

uint32_t refusals_write(const struct refusals_draft *draft, uint8_t *dst)
{
    uint8_t *at = dst;
    ASSERT(draft->replies_count > 0);
    bytes_store_le16(at, draft->recipients_count);
    at[2] = draft->replies_count;
    at += FIXED_BYTES;
    for (uint32_t n = 0; n < draft->replies_count; n++) {
        const struct refusals_reply *reply = &draft->replies[n];
        memcpy(at, reply->enhanced, sizeof(reply->enhanced));
        at[3] = reply->text_bytes;
        memcpy(at + REPLY_BYTES, draft->texts[n], reply->text_bytes);
        at += REPLY_BYTES + reply->text_bytes;
    }
    memcpy(at, draft->which, draft->recipients_count);
    return (uint32_t)(at - dst) + draft->recipients_count;
}

static bool enhanced_sound(const uint8_t enhanced[3])
{
    return enhanced[0] == 5 || (enhanced[0] == 0 && enhanced[1] == 0 && enhanced[2] == 0);
}

int refusals_read(struct refusals *refusals, const uint8_t *bytes_at, size_t bytes)
{
    struct refusals read = {0};
    if (bytes < FIXED_BYTES || bytes > IPC_REFUSALS_BYTES_MAX)
        return -EBADMSG;
    read.recipients_count = bytes_load_le16(bytes_at);
    read.replies_count = bytes_at[2];
    if (read.recipients_count == 0 || read.recipients_count > IPC_RECIPIENTS_MAX ||
        read.replies_count == 0 || read.replies_count > IPC_REPLIES_MAX)
        return -EBADMSG;
    size_t at = FIXED_BYTES;
    for (uint32_t n = 0; n < read.replies_count; n++) {
        if (bytes - at < REPLY_BYTES)
            return -EBADMSG;
        struct refusals_reply *reply = &read.replies[n];
        memcpy(reply->enhanced, bytes_at + at, sizeof(reply->enhanced));
        reply->text_bytes = bytes_at[at + 3];
        reply->text = (const char *)bytes_at + at + REPLY_BYTES;
        at += REPLY_BYTES;
        if (!enhanced_sound(reply->enhanced) || reply->text_bytes > IPC_REPLY_BYTES_MAX ||
            reply->text_bytes > bytes - at)
            return -EBADMSG;
        at += reply->text_bytes;
    }
    if (bytes - at != read.recipients_count)
        return -EBADMSG;
    read.which = bytes_at + at;
    uint32_t refused = 0;
    for (uint32_t n = 0; n < read.recipients_count; n++) {
        if (read.which[n] > read.replies_count)
            return -EBADMSG;
        refused += read.which[n] != 0;
    }
    if (refused == 0)
        return -EBADMSG;
    *refusals = read;
    return 0;
}
