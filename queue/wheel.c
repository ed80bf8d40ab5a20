#include "queue/wheel.h"

#include "base/assert.h"

#include <inttypes.h>

#define LOOSE           (WHEEL_LISTS - 1)
#define DUMP_ENDS_SHOWN 4

/* What a link names: 0 in a node that is in no wheel, then each list, then each node. The list
 * stands in its own ring, so a node leaves without anyone knowing which list it was in. */
#define LINK_NONE 0
#define LINK_LIST 1
#define LINK_NODE (LINK_LIST + WHEEL_LISTS)

_Static_assert((uint64_t)WHEEL_NODES_MAX + LINK_NODE < UINT32_MAX, "a link names every node");
_Static_assert(WHEEL_LEVELS *WHEEL_SLOT_BITS >= 64, "every end has a level");
_Static_assert(WHEEL_SLOTS == 1 << WHEEL_SLOT_BITS, "a slot for each value");

void wheel_init(struct wheel *wheel, struct wheel_node *nodes, uint32_t nodes_max, uint64_t now_s)
{
    ASSERT(nodes_max <= WHEEL_NODES_MAX);
    *wheel = (struct wheel){.nodes = nodes, .nodes_max = nodes_max, .now_s = now_s};
    for (uint32_t n = 0; n < WHEEL_LISTS; n++)
        wheel->lists[n] = (struct wheel_link){LINK_LIST + n, LINK_LIST + n};
}

static bool list_is_empty(const struct wheel *wheel, uint32_t list)
{
    return wheel->lists[list].next == LINK_LIST + list;
}

static struct wheel_link *link_at(struct wheel *wheel, uint32_t at)
{
    ASSERT(at != LINK_NONE);
    return at < LINK_NODE ? &wheel->lists[at - LINK_LIST] : &wheel->nodes[at - LINK_NODE].link;
}

/* The level is that of the highest digit in which the end and now differ: so as long as now stays
 * before a slot, that slot is also where its nodes would be put now. */
static uint32_t list_of(uint64_t now_s, uint64_t end_s)
{
    if (end_s <= now_s)
        return LOOSE;
    const uint32_t highest_bit = 63 - (uint32_t)__builtin_clzll(end_s ^ now_s);
    const uint32_t level = highest_bit / WHEEL_SLOT_BITS;
    const uint32_t slot = (uint32_t)(end_s >> (level * WHEEL_SLOT_BITS)) % WHEEL_SLOTS;
    return level * WHEEL_SLOTS + slot;
}

static void occupied_mark(struct wheel *wheel, uint32_t list)
{
    if (list == LOOSE)
        return;
    const uint64_t bit = (uint64_t)1 << list % WHEEL_SLOTS;
    if (list_is_empty(wheel, list))
        wheel->occupied[list / WHEEL_SLOTS] &= ~bit;
    else
        wheel->occupied[list / WHEEL_SLOTS] |= bit;
}

static void list_append(struct wheel *wheel, uint32_t list, uint32_t node_index)
{
    struct wheel_link *head = &wheel->lists[list];
    wheel->nodes[node_index].link = (struct wheel_link){LINK_LIST + list, head->prev};
    link_at(wheel, head->prev)->next = LINK_NODE + node_index;
    head->prev = LINK_NODE + node_index;
    occupied_mark(wheel, list);
}

static void list_unlink(struct wheel *wheel, uint32_t node_index)
{
    struct wheel_link *link = &wheel->nodes[node_index].link;
    link_at(wheel, link->next)->prev = link->prev;
    link_at(wheel, link->prev)->next = link->next;
    if (link->next == link->prev && link->next < LINK_NODE)
        occupied_mark(wheel, link->next - LINK_LIST);
    *link = (struct wheel_link){LINK_NONE, LINK_NONE};
}

/* Moves a whole slot behind the loose nodes, whatever its length, in one step. */
static void list_loosen(struct wheel *wheel, uint32_t list)
{
    struct wheel_link *from = &wheel->lists[list];
    struct wheel_link *loose = &wheel->lists[LOOSE];
    if (list_is_empty(wheel, list))
        return;
    link_at(wheel, loose->prev)->next = from->next;
    link_at(wheel, from->next)->prev = loose->prev;
    link_at(wheel, from->prev)->next = LINK_LIST + LOOSE;
    loose->prev = from->prev;
    *from = (struct wheel_link){LINK_LIST + list, LINK_LIST + list};
    occupied_mark(wheel, list);
}

bool wheel_has(const struct wheel *wheel, uint32_t node_index)
{
    ASSERT(node_index < wheel->nodes_max);
    return wheel->nodes[node_index].link.next != LINK_NONE;
}

uint64_t wheel_end_s(const struct wheel *wheel, uint32_t node_index)
{
    ASSERT(wheel_has(wheel, node_index));
    return wheel->nodes[node_index].end_s;
}

void wheel_add(struct wheel *wheel, uint32_t node_index, uint64_t end_s)
{
    ASSERT(!wheel_has(wheel, node_index));
    wheel->nodes[node_index].end_s = end_s;
    list_append(wheel, list_of(wheel->now_s, end_s), node_index);
    wheel->nodes_count++;
}

void wheel_remove(struct wheel *wheel, uint32_t node_index)
{
    ASSERT(wheel_has(wheel, node_index));
    ASSERT(wheel->nodes_count > 0);
    list_unlink(wheel, node_index);
    wheel->nodes_count--;
}

void wheel_move(struct wheel *wheel, uint32_t node_index, uint64_t end_s)
{
    wheel_remove(wheel, node_index);
    wheel_add(wheel, node_index, end_s);
}

/* The first slot in time, or LOOSE when all are empty. A level's slots all end before the next
 * level's begin, and on each level only slots after now's own are in use. */
static uint32_t slot_first(const struct wheel *wheel, uint64_t *begin_s)
{
    for (uint32_t level = 0; level < WHEEL_LEVELS; level++) {
        if (wheel->occupied[level] == 0)
            continue;
        const uint32_t slot = (uint32_t)__builtin_ctzll(wheel->occupied[level]);
        const uint32_t shift = level * WHEEL_SLOT_BITS;
        const uint64_t above =
            level + 1 < WHEEL_LEVELS ? wheel->now_s >> (shift + WHEEL_SLOT_BITS) : 0;
        *begin_s = (above << WHEEL_SLOT_BITS | slot) << shift;
        return level * WHEEL_SLOTS + slot;
    }
    return LOOSE;
}

/* The clock was set back: every slot is too far on, and each node is looked at again. */
static void step_back(struct wheel *wheel, uint64_t now_s)
{
    for (uint32_t list = 0; list < LOOSE; list++)
        list_loosen(wheel, list);
    wheel->now_s = now_s;
}

uint32_t wheel_advance(struct wheel *wheel, uint64_t now_s, uint32_t *ended, uint32_t nodes_max)
{
    uint32_t ended_count = 0;
    uint32_t nodes_seen = 0;
    if (wheel->now_s > now_s && wheel->now_s - now_s > WHEEL_STEP_BACK_S)
        step_back(wheel, now_s);
    while (nodes_seen < nodes_max) {
        uint64_t begin_s = 0;
        if (list_is_empty(wheel, LOOSE)) {
            const uint32_t list = slot_first(wheel, &begin_s);
            if (list == LOOSE || begin_s > now_s)
                break;
            ASSERT(begin_s > wheel->now_s);
            wheel->now_s = begin_s;
            list_loosen(wheel, list);
        }
        const uint32_t node_index = wheel->lists[LOOSE].next - LINK_NODE;
        const uint64_t end_s = wheel->nodes[node_index].end_s;
        nodes_seen++;
        list_unlink(wheel, node_index);
        if (end_s <= now_s) {
            ended[ended_count++] = node_index;
            wheel->nodes_count--;
            continue;
        }
        /* After a short step back its end may have no slot: the next second's has room. */
        list_append(wheel, list_of(wheel->now_s, MAX(end_s, wheel->now_s + 1)), node_index);
    }
    if (nodes_seen < nodes_max && now_s > wheel->now_s)
        wheel->now_s = now_s; /* no slot is in use up to here */
    return ended_count;
}

uint64_t wheel_next_s(const struct wheel *wheel)
{
    uint64_t begin_s = 0;
    if (!list_is_empty(wheel, LOOSE))
        return 0;
    return slot_first(wheel, &begin_s) == LOOSE ? WHEEL_NEVER : begin_s;
}

/* Follows one list; false when a link or an end is not as it must be. */
static bool list_validate(const struct wheel *wheel, uint32_t list, uint32_t *nodes_count)
{
    uint32_t before = LINK_LIST + list;
    uint32_t at = wheel->lists[list].next;
    while (at != LINK_LIST + list) {
        if (at < LINK_NODE || at - LINK_NODE >= wheel->nodes_max)
            return false;
        const struct wheel_node *node = &wheel->nodes[at - LINK_NODE];
        const uint64_t end_s = MAX(node->end_s, wheel->now_s + 1);
        if (node->link.prev != before || ++*nodes_count > wheel->nodes_count)
            return false;
        if (list != LOOSE && list_of(wheel->now_s, end_s) != list)
            return false;
        before = at;
        at = node->link.next;
    }
    return wheel->lists[list].prev == before;
}

bool wheel_validate(const struct wheel *wheel)
{
    uint32_t nodes_count = 0;
    uint32_t linked_count = 0;
    for (uint32_t list = 0; list < WHEEL_LISTS; list++) {
        const bool marked =
            list != LOOSE && (wheel->occupied[list / WHEEL_SLOTS] >> list % WHEEL_SLOTS & 1);
        if (list != LOOSE && marked == list_is_empty(wheel, list))
            return false;
        if (!list_validate(wheel, list, &nodes_count))
            return false;
    }
    for (uint32_t n = 0; n < wheel->nodes_max; n++)
        linked_count += wheel_has(wheel, n);
    return nodes_count == wheel->nodes_count && linked_count == wheel->nodes_count;
}

static void list_dump(const struct wheel *wheel, uint32_t list, FILE *to)
{
    uint32_t nodes_count = 0;
    if (list == LOOSE)
        (void)fprintf(to, "  loose:");
    else
        (void)fprintf(to, "  level %u slot %u:", list / WHEEL_SLOTS, list % WHEEL_SLOTS);
    for (uint32_t at = wheel->lists[list].next; at != LINK_LIST + list;
         at = wheel->nodes[at - LINK_NODE].link.next) {
        if (nodes_count++ < DUMP_ENDS_SHOWN)
            (void)fprintf(to, " %u ends %" PRIu64, at - LINK_NODE,
                          wheel->nodes[at - LINK_NODE].end_s);
    }
    (void)fprintf(to, "%s (%u)\n", nodes_count > DUMP_ENDS_SHOWN ? " ..." : "", nodes_count);
}

void wheel_dump(const struct wheel *wheel, FILE *to)
{
    (void)fprintf(to, "wheel: now %" PRIu64 ", %u of %u nodes\n", wheel->now_s, wheel->nodes_count,
                  wheel->nodes_max);
    for (uint32_t list = 0; list < WHEEL_LISTS; list++) {
        if (!list_is_empty(wheel, list))
            list_dump(wheel, list, to);
    }
}
