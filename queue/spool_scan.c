#include "queue/spool_scan.h"

#include "base/bytes.h"

#include <string.h>

static bool head_at(const struct scan *scan, uint64_t offset, struct format_head *head)
{
    if (offset + sizeof(*head) > scan->bytes ||
        bytes_load_le32(scan->at + offset) != FORMAT_MAGIC_HEAD)
        return false;
    memcpy(head, scan->at + offset, sizeof(*head));
    return format_head_is(head, scan->lane, offset) && head->segment_number == scan->number &&
           head->epoch == scan->epoch;
}

static bool record_at(const struct scan *scan, uint64_t offset, struct format_head *head)
{
    return head_at(scan, offset, head) &&
           format_record_is(scan->at + offset, scan->bytes - offset, scan->lane, offset);
}

/* What is acknowledged is told by every later head: the highest that any of them says. */
static uint64_t acknowledged_end(const struct scan *scan, uint64_t from)
{
    struct format_head head;
    uint64_t end = 0;
    for (uint64_t n = from; n + sizeof(head) <= scan->bytes; n += FORMAT_ALIGN)
        if (head_at(scan, n, &head))
            end = MAX(end, MIN(head.durable, n));
    return end;
}

static uint64_t record_after(const struct scan *scan, uint64_t from, uint64_t sequence,
                             struct format_head *head)
{
    for (uint64_t n = from; n + sizeof(*head) <= scan->bytes; n += FORMAT_ALIGN)
        if (record_at(scan, n, head) && head->sequence >= sequence)
            return n;
    return SCAN_UNKNOWN;
}

void scan_segment(struct scan *scan)
{
    struct format_head head;
    uint64_t at = 0;
    uint64_t sequence = 0;
    uint64_t end = scan->limit;
    scan->damaged = 0;
    for (;;) { /* `at` grows with every pass */
        const uint64_t next_block = format_blocks(at);
        bool found = at < scan->limit && record_at(scan, at, &head);
        if (!found && at != next_block && next_block < scan->limit &&
            record_at(scan, next_block, &head) && head.sequence == sequence) {
            at = next_block;
            found = true;
        }
        if (!found) {
            if (end == SCAN_UNKNOWN)
                end = acknowledged_end(scan, at);
            if (at >= end)
                break;
            const uint64_t next = record_after(scan, at + FORMAT_ALIGN, sequence, &head);
            if (next == SCAN_UNKNOWN || next >= end) {
                scan->damaged++;
                at = end;
                break;
            }
            scan->damaged += MAX(head.sequence - sequence, UINT64_C(1));
            at = next;
        }
        const uint64_t bytes = format_head_record_bytes(&head);
        if (scan->limit != SCAN_UNKNOWN && at + bytes > scan->limit)
            break;
        scan->record(scan->user, &head, scan->at + at);
        at += bytes;
        sequence = head.sequence + 1;
    }
    scan->ended = at;
}

uint64_t scan_number(const uint8_t *at, uint64_t bytes, uint32_t lane, uint64_t *epoch)
{
    struct format_head head;
    uint64_t number = 0;
    /* From behind the header, which perhaps was never finished. */
    for (uint64_t n = FORMAT_ALIGN; n + sizeof(head) <= bytes; n += FORMAT_ALIGN) {
        if (bytes_load_le32(at + n) != FORMAT_MAGIC_HEAD)
            continue;
        memcpy(&head, at + n, sizeof(head));
        if (!format_head_is(&head, lane, n) || head.segment_number <= number)
            continue;
        number = head.segment_number;
        *epoch = head.epoch;
    }
    return number;
}
