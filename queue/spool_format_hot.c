#include "queue/spool_format.h"

#include "queue/crc32c.h"

#include <string.h>

void format_head_seal(struct format_head *head)
{
    head->magic = FORMAT_MAGIC_HEAD;
    head->version = 1;
    head->crc = crc32c(0, head, offsetof(struct format_head, crc));
}

bool format_head_is(const struct format_head *head, uint32_t lane, uint64_t offset)
{
    if (head->magic != FORMAT_MAGIC_HEAD || head->version != 1 || head->offset != offset ||
        head->lane != lane)
        return false;
    if (head->kind < FORMAT_MAIL || head->kind > FORMAT_INDEX ||
        (head->flags & ~FORMAT_HELD) != 0 || head->spans_count > SPOOL_SPANS_MAX ||
        head->head_bytes > SPOOL_HEAD_BYTES_MAX || head->inline_bytes > head->body_bytes)
        return false;
    return head->crc == crc32c(0, head, offsetof(struct format_head, crc));
}

bool format_record_is(const uint8_t *at, uint64_t room, uint32_t lane, uint64_t offset)
{
    struct format_head head;
    struct format_tail tail;
    if (room < sizeof(head))
        return false;
    memcpy(&head, at, sizeof(head));
    if (!format_head_is(&head, lane, offset))
        return false;
    const uint64_t bytes = format_head_record_bytes(&head);
    if (bytes > room)
        return false;
    const uint8_t *spans = at + sizeof(head);
    const size_t spans_bytes = sizeof(struct format_span) * head.spans_count + head.head_bytes;
    memcpy(&tail, at + bytes - sizeof(tail), sizeof(tail));
    return tail.magic == FORMAT_MAGIC_TAIL && head.head_crc == crc32c(0, spans, spans_bytes) &&
           tail.body_crc == crc32c(0, spans + spans_bytes, head.inline_bytes);
}

const uint8_t *format_body(const uint8_t *record)
{
    struct format_head head;
    memcpy(&head, record, sizeof(head));
    return record + sizeof(head) + sizeof(struct format_span) * head.spans_count + head.head_bytes;
}
