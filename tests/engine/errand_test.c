/* What `bulla queue` asks of a worker, against a table of the test's own. */
#include "engine/errand.h"

#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TABLE_MAX 1000

struct entry {
    bool present;
    bool held;
    uint32_t busy_count; /* answers -EBUSY so often */
    uint32_t slow_count; /* polls until the disk has read it */
    int read_rc;
};

/* The fake is the worker: nothing here looks inside a real one. */
struct worker {
    struct entry entries[TABLE_MAX];
    uint32_t entries_count;
    uint32_t calls_count;
    uint8_t *meta;
    uint32_t *meta_bytes;
    int *read_done;
    uint32_t reading;
};

static struct errand errand;
static struct worker table;

static struct id id_of(uint32_t n)
{
    struct id id = {0};
    memcpy(id.bytes, &n, sizeof(n));
    return id;
}

static struct entry *entry_of(const struct worker *worker, const struct id *id)
{
    uint32_t n;
    memcpy(&n, id->bytes, sizeof(n));
    return n < worker->entries_count && worker->entries[n].present
               ? (struct entry *)(uintptr_t)&worker->entries[n]
               : NULL;
}

static struct waiting_item item_of(const struct worker *worker, uint32_t n)
{
    return (struct waiting_item){
        .id = id_of(n), .state = WAITING_KEY, .held = worker->entries[n].held, .cursor = n + 1};
}

uint32_t waiting_list(const struct worker *worker, uint32_t cursor, struct waiting_item *items,
                      uint32_t items_max)
{
    uint32_t count = 0;
    for (uint32_t n = cursor; n < worker->entries_count && count < items_max; n++) {
        if (worker->entries[n].present)
            items[count++] = item_of(worker, n);
    }
    return count;
}

int waiting_find(const struct worker *worker, const struct id *id, struct waiting_item *item)
{
    const struct entry *entry = entry_of(worker, id);
    if (entry == NULL)
        return -ENOENT;
    *item = item_of(worker, (uint32_t)(entry - worker->entries));
    return 0;
}

int waiting_show(struct worker *worker, const struct id *id, uint8_t *meta_bytes_at,
                 uint32_t *bytes, int *done)
{
    struct entry *entry = entry_of(worker, id);
    assert_null(worker->read_done); /* one at a time */
    if (entry == NULL)
        return -ENOENT;
    if (entry->busy_count > 0) {
        entry->busy_count--;
        return -EBUSY;
    }
    worker->meta = meta_bytes_at;
    worker->meta_bytes = bytes;
    worker->read_done = done;
    worker->reading = (uint32_t)(entry - worker->entries);
    return 0;
}

static int act(struct worker *worker, const struct id *id, struct entry **entry)
{
    *entry = entry_of(worker, id);
    worker->calls_count++;
    if (*entry == NULL)
        return -ENOENT;
    if ((*entry)->busy_count == 0)
        return 0;
    (*entry)->busy_count--;
    return -EBUSY;
}

int waiting_hold(struct worker *worker, const struct id *id)
{
    struct entry *entry;
    const int rc = act(worker, id, &entry);
    if (rc == 0)
        entry->held = true;
    return rc;
}

int waiting_release(struct worker *worker, const struct id *id)
{
    struct entry *entry;
    const int rc = act(worker, id, &entry);
    if (rc == 0)
        entry->held = false;
    return rc;
}

int waiting_remove(struct worker *worker, const struct id *id)
{
    struct entry *entry;
    const int rc = act(worker, id, &entry);
    if (rc == 0)
        entry->present = false;
    return rc;
}

uint32_t waiting_flush(struct worker *worker)
{
    return worker->entries_count;
}

void waiting_stats(const struct worker *worker, struct waiting_stats *stats)
{
    *stats = (struct waiting_stats){.held = worker->entries_count};
}

/* The disk: ends a read that was slow for long enough. */
static void disk_poll(void)
{
    struct entry *entry = &table.entries[table.reading];
    if (table.read_done == NULL)
        return;
    if (entry->slow_count > 0) {
        entry->slow_count--;
        return;
    }
    static const char *const recipients[] = {"ann@example.net", "eve@example.net"};
    const struct meta_source source = {.profile = "default",
                                       .sender = table.reading % 2 == 0 ? "bob@example.org" : "",
                                       .recipients = recipients,
                                       .recipients_count = 2};
    size_t bytes;
    assert_int_equal(meta_measure(&source, &bytes), 0);
    meta_write(&source, table.meta, bytes);
    *table.meta_bytes = (uint32_t)bytes;
    *table.read_done = entry->read_rc;
    table.read_done = NULL;
}

static int table_up(void **state)
{
    (void)state;
    memset(&table, 0, sizeof(table));
    memset(&errand, 0, sizeof(errand));
    table.entries_count = 150;
    for (uint32_t n = 0; n < table.entries_count; n++)
        table.entries[n].present = true;
    errand.items_max = ERRAND_ITEMS_MAX;
    return 0;
}

/* Milliseconds that it took, one a step. */
static uint64_t run(void)
{
    uint64_t now_ns = NS_PER_S;
    errand_begin(&errand, now_ns);
    for (uint32_t n = 0; n < 10000; n++) {
        if (errand_step(&errand, &table, now_ns))
            return (now_ns - NS_PER_S) / NS_PER_MS;
        disk_poll();
        now_ns += NS_PER_MS;
    }
    fail_msg("it never ended");
    return 0;
}

static void lists_page_by_page_with_addresses(void **state)
{
    (void)state;
    static const uint32_t pages[] = {64, 64, 22, 0};
    uint32_t seen = 0;
    for (size_t page = 0; page < ARRAY_COUNT(pages); page++) {
        (void)run();
        assert_int_equal(errand.items_count, pages[page]);
        for (uint32_t n = 0; n < errand.items_count; n++, seen++) {
            const struct errand_item *item = &errand.items[n];
            const struct id id = id_of(seen);
            assert_memory_equal(&item->item.id, &id, sizeof(id));
            assert_true(item->has_addresses);
            assert_string_equal(item->sender, seen % 2 == 0 ? "bob@example.org" : "");
            assert_string_equal(item->recipient, "ann@example.net");
            assert_int_equal(item->recipients_count, 2);
        }
        if (errand.items_count < ERRAND_ITEMS_MAX)
            break;
        assert_int_equal(errand.next_cursor, seen);
        errand.cursor = errand.next_cursor;
    }
    assert_int_equal(seen, 150);
    assert_int_equal(errand.next_cursor, 0);
}

static void a_brief_list_reads_nothing(void **state)
{
    (void)state;
    errand.brief = true;
    errand.items_max = 10;
    errand.cursor = 145;
    (void)run();
    assert_int_equal(errand.items_count, 5);
    assert_false(errand.items[0].has_addresses);
    assert_null(table.meta);
}

static void a_list_shows_what_cannot_be_read_without_addresses(void **state)
{
    (void)state;
    errand.items_max = 4;
    table.entries[0].read_rc = -EIO;
    table.entries[1].busy_count = UINT32_MAX;
    table.entries[2].busy_count = 3;
    table.entries[3].present = false;
    const uint64_t ms = run();
    assert_int_equal(errand.items_count, 4);
    assert_false(errand.items[0].has_addresses);
    assert_false(errand.items[1].has_addresses);
    assert_true(errand.items[2].has_addresses);
    assert_true(errand.items[3].has_addresses); /* the fifth */
    assert_int_equal(errand.next_cursor, 5);
    assert_in_range(ms, 100, 200);
}

static void a_slow_list_ends_its_page_early(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 150; n++)
        table.entries[n].slow_count = 500;
    const uint64_t ms = run();
    assert_in_range(errand.items_count, 1, 5);
    assert_int_equal(errand.next_cursor, errand.items_count);
    assert_in_range(ms, 2000, 2600);
    assert_null(table.read_done); /* the disk has nothing of ours any more */
}

static void shows_one_or_says_why_not(void **state)
{
    (void)state;
    struct meta meta;
    errand.kind = ERRAND_SHOW;
    errand.id = id_of(7);
    table.entries[7].slow_count = 3;
    (void)run();
    assert_int_equal(errand.rc, 0);
    assert_int_equal(errand.items_count, 1);
    assert_int_equal(meta_read(&meta, errand.meta, errand.meta_bytes), 0);
    assert_int_equal(meta.recipients_count, 2);

    errand.id = id_of(200);
    (void)run();
    assert_int_equal(errand.rc, -ENOENT);
    assert_int_equal(errand.items_count, 0);
    errand.id = id_of(8);
    table.entries[8].read_rc = -EIO;
    (void)run();
    assert_int_equal(errand.rc, -EIO);
    assert_int_equal(errand.items_count, 1);
    errand.id = id_of(9);
    table.entries[9].busy_count = UINT32_MAX;
    assert_in_range(run(), 99, 110);
    assert_int_equal(errand.rc, -EBUSY);
}

static void acts_on_one_and_waits_a_little_when_it_is_busy(void **state)
{
    (void)state;
    errand.kind = ERRAND_HOLD;
    errand.id = id_of(3);
    table.entries[3].busy_count = 20;
    (void)run();
    assert_int_equal(errand.rc, 0);
    assert_int_equal(errand.done_count, 1);
    assert_true(table.entries[3].held);
    errand.kind = ERRAND_RELEASE;
    table.entries[3].busy_count = UINT32_MAX;
    (void)run();
    assert_int_equal(errand.rc, -EBUSY);
    assert_int_equal(errand.done_count, 0);
    errand.kind = ERRAND_REMOVE;
    table.entries[3].held = false;
    (void)run();
    assert_int_equal(errand.rc, -EBUSY);
    table.entries[3].busy_count = 1; /* free for the hold that comes after the refused removal */
    (void)run();
    assert_true(table.entries[3].held);
    assert_int_equal(errand.rc, 0);
    (void)run();
    assert_int_equal(errand.rc, -ENOENT);
}

static void acts_on_all_and_counts_what_it_could_not(void **state)
{
    (void)state;
    errand.all = true;
    errand.kind = ERRAND_HOLD;
    table.entries[10].busy_count = UINT32_MAX;
    table.entries[11].held = true;
    (void)run();
    assert_int_equal(errand.rc, 0);
    assert_int_equal(errand.done_count, 148);
    assert_int_equal(errand.busy_count, 1);
    assert_int_equal(errand.next_cursor, 0);
    table.entries[10].busy_count = 0;
    table.calls_count = 0;
    (void)run(); /* what is held already is not asked again */
    assert_int_equal(table.calls_count, 1);
    errand.kind = ERRAND_RELEASE;
    (void)run();
    assert_int_equal(errand.done_count, 150);
    errand.kind = ERRAND_REMOVE;
    (void)run();
    assert_int_equal(errand.done_count, 150);
    (void)run();
    assert_int_equal(errand.done_count, 0);
}

static void all_goes_on_where_time_ended_it(void **state)
{
    (void)state;
    errand.all = true;
    errand.kind = ERRAND_REMOVE;
    table.entries_count = TABLE_MAX;
    for (uint32_t n = 0; n < TABLE_MAX; n++)
        table.entries[n] = (struct entry){.present = true, .busy_count = 8};
    uint64_t done_count = 0;
    uint32_t runs = 0;
    do {
        assert_in_range(run(), 0, 2010);
        done_count += errand.done_count;
        errand.cursor = errand.next_cursor;
        runs++;
    } while (errand.next_cursor != 0 && runs < 20);
    assert_int_equal(done_count, TABLE_MAX);
    assert_in_range(runs, 2, 4);
}

static void flush_and_stats_are_one_step(void **state)
{
    (void)state;
    errand.kind = ERRAND_FLUSH;
    assert_int_equal(run(), 0);
    assert_int_equal(errand.done_count, 150);
    errand.kind = ERRAND_STATS;
    assert_int_equal(run(), 0);
    assert_int_equal(errand.stats.held, 150);
}

#define TEST(name) cmocka_unit_test_setup(name, table_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lists_page_by_page_with_addresses),
        TEST(a_brief_list_reads_nothing),
        TEST(a_list_shows_what_cannot_be_read_without_addresses),
        TEST(a_slow_list_ends_its_page_early),
        TEST(shows_one_or_says_why_not),
        TEST(acts_on_one_and_waits_a_little_when_it_is_busy),
        TEST(acts_on_all_and_counts_what_it_could_not),
        TEST(all_goes_on_where_time_ended_it),
        TEST(flush_and_stats_are_one_step),
    };
    return cmocka_run_group_tests_name("errand", tests, NULL, NULL);
}
