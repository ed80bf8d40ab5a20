/* The table of live records: 32 bytes each, in a list of their segment. */
#include "queue/spool_internal.h"

uint32_t entry_take(struct spool *spool)
{
    uint32_t index = spool->entry_free;
    if (index != NONE) {
        spool->entry_free = spool->entries[index].next;
    } else {
        if (spool->entries_count == spool->entries_max)
            return NONE;
        index = spool->entries_count++;
    }
    struct entry *entry = &spool->entries[index];
    ASSERT(entry->state == ENTRY_FREE);
    const uint32_t generation = entry->generation + 1;
    *entry = (struct entry){.generation = generation, .next = NONE, .previous = NONE};
    return index;
}

void entry_give(struct spool *spool, uint32_t index)
{
    struct entry *entry = &spool->entries[index];
    ASSERT(entry->state == ENTRY_FREE);
    entry->next = spool->entry_free;
    spool->entry_free = index;
}

static void bit_set(uint64_t *bits, uint32_t n, bool value)
{
    const uint64_t mask = UINT64_C(1) << (n % 64);
    bits[n / 64] = value ? bits[n / 64] | mask : bits[n / 64] & ~mask;
}

void entry_place(struct spool *spool, uint32_t index, uint32_t segment_index, uint64_t at,
                 uint32_t bytes, uint32_t ordinal)
{
    struct entry *entry = &spool->entries[index];
    struct segment *segment = &spool->segments[segment_index];
    ASSERT(entry->state == ENTRY_FREE);
    ASSERT(ordinal < spool->bits_bytes * 8);
    entry->state = ENTRY_LIVE;
    entry->at = (uint32_t)(at / FORMAT_ALIGN);
    entry->bytes = bytes;
    entry->ordinal = ordinal;
    entry->segment = (uint16_t)segment_index;
    entry->previous = NONE;
    entry->next = segment->first;
    if (segment->first != NONE)
        spool->entries[segment->first].previous = index;
    segment->first = index;
    segment->live_count++;
    segment->bytes_live += bytes;
    bit_set(segment->live, ordinal, true);
    bit_set(segment->held, ordinal, (entry->flags & ENTRY_HELD) != 0);
    spool->stats.records++;
    spool->stats.bytes_live += bytes;
}

void entry_unplace(struct spool *spool, uint32_t index)
{
    struct entry *entry = &spool->entries[index];
    struct segment *segment = &spool->segments[entry->segment];
    ASSERT(entry->state == ENTRY_LIVE);
    ASSERT(segment->live_count > 0);
    if (entry->previous != NONE)
        spool->entries[entry->previous].next = entry->next;
    else
        segment->first = entry->next;
    if (entry->next != NONE)
        spool->entries[entry->next].previous = entry->previous;
    segment->live_count--;
    if (segment->live_count == 0)
        spool->recycle_due = true;
    segment->bytes_live -= entry->bytes;
    bit_set(segment->live, entry->ordinal, false);
    bit_set(segment->held, entry->ordinal, false);
    spool->stats.records--;
    spool->stats.bytes_live -= entry->bytes;
    entry->state = ENTRY_FREE;
}

void entry_hold(struct spool *spool, uint32_t index, bool held)
{
    struct entry *entry = &spool->entries[index];
    ASSERT(entry->state == ENTRY_LIVE);
    entry->flags = (uint8_t)((entry->flags & ~ENTRY_HELD) | (held ? ENTRY_HELD : 0));
    bit_set(spool->segments[entry->segment].held, entry->ordinal, held);
}

struct entry *entry_of(struct spool *spool, uint64_t place)
{
    const uint32_t index = (uint32_t)place;
    ASSERT(index < spool->entries_count);
    struct entry *entry = &spool->entries[index];
    ASSERT(entry->generation == (uint32_t)(place >> 32)); /* not forgotten before */
    ASSERT(entry->state == ENTRY_LIVE);
    return entry;
}

uint64_t entry_place_of(const struct spool *spool, uint32_t index)
{
    return (uint64_t)spool->entries[index].generation << 32 | index;
}
