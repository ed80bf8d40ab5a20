/* Tasks of the service's own thread: at their time, again while there is more, after a failure. */
#include "keyservice/server/tend.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct counter {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    uint32_t runs_count;
    uint32_t asked_count;
    int rc;
    bool may;
};

static struct counter counter_make(int rc)
{
    struct counter counter = {.rc = rc, .may = true};
    (void)pthread_mutex_init(&counter.mutex, NULL);
    (void)pthread_cond_init(&counter.moved, NULL);
    return counter;
}

static int count_run(void *context)
{
    struct counter *counter = context;
    (void)pthread_mutex_lock(&counter->mutex);
    counter->runs_count++;
    (void)pthread_cond_broadcast(&counter->moved);
    (void)pthread_mutex_unlock(&counter->mutex);
    return counter->rc;
}

static bool count_may(void *context)
{
    struct counter *counter = context;
    (void)pthread_mutex_lock(&counter->mutex);
    counter->asked_count++;
    (void)pthread_cond_broadcast(&counter->moved);
    (void)pthread_mutex_unlock(&counter->mutex);
    return counter->may;
}

static void wait_for(struct counter *counter, const uint32_t *count, uint32_t at_least)
{
    (void)pthread_mutex_lock(&counter->mutex);
    while (*count < at_least) /* the test's own time limit bounds it */
        (void)pthread_cond_wait(&counter->moved, &counter->mutex);
    (void)pthread_mutex_unlock(&counter->mutex);
}

static void a_task_runs_again_while_there_is_more_to_do(void **state)
{
    struct tend *tend = NULL;
    struct counter more = counter_make(TEND_AGAIN);
    struct counter other = counter_make(0);
    (void)state;
    assert_int_equal(tend_open(&tend, NULL, NULL), 0);
    assert_int_equal(tend_add(tend, "more", 1, count_run, &more), 0);
    assert_int_equal(tend_add(tend, "other", 1, count_run, &other), 0);
    assert_int_equal(tend_start(tend), 0);
    wait_for(&more, &more.runs_count, TEND_AGAIN_MAX);
    wait_for(&other, &other.runs_count, 1);
    tend_close(tend);
}

struct pair {
    struct counter more;
    struct counter other;
    uint32_t other_runs; /* when the first went on after its pause */
};

static int pair_run(void *context)
{
    struct pair *pair = context;
    (void)pthread_mutex_lock(&pair->other.mutex);
    if (pair->more.runs_count == TEND_AGAIN_MAX + 1)
        pair->other_runs = pair->other.runs_count;
    (void)pthread_mutex_unlock(&pair->other.mutex);
    return count_run(&pair->more);
}

/* Else more might come in until then than it does at once. */
static void much_work_goes_on_after_a_pause_and_not_at_its_next_time(void **state)
{
    struct tend *tend = NULL;
    struct pair pair = {.more = counter_make(TEND_AGAIN), .other = counter_make(0)};
    (void)state;
    assert_int_equal(tend_open(&tend, NULL, NULL), 0);
    assert_int_equal(tend_add(tend, "other", 4, count_run, &pair.other), 0);
    assert_int_equal(tend_add(tend, "more", 4, pair_run, &pair), 0);
    assert_int_equal(tend_start(tend), 0);
    wait_for(&pair.more, &pair.more.runs_count, TEND_AGAIN_MAX + 2);
    tend_close(tend);
    assert_int_equal(pair.other_runs, 1);
}

static void a_task_that_failed_is_run_at_its_next_time(void **state)
{
    struct tend *tend = NULL;
    struct counter fails = counter_make(-EIO);
    (void)state;
    assert_int_equal(tend_open(&tend, NULL, NULL), 0);
    assert_int_equal(tend_add(tend, "fails", 1, count_run, &fails), 0);
    assert_int_equal(tend_start(tend), 0);
    wait_for(&fails, &fails.runs_count, 2);
    tend_close(tend);
}

static void a_node_that_may_not_runs_nothing(void **state)
{
    struct tend *tend = NULL;
    struct counter counter = counter_make(0);
    (void)state;
    counter.may = false;
    assert_int_equal(tend_open(&tend, count_may, &counter), 0);
    assert_int_equal(tend_add(tend, "counter", 1, count_run, &counter), 0);
    assert_int_equal(tend_start(tend), 0);
    wait_for(&counter, &counter.asked_count, 1);
    tend_close(tend);
    assert_int_equal(counter.runs_count, 0);
}

static void more_tasks_than_there_is_room_for_are_refused(void **state)
{
    struct tend *tend = NULL;
    struct counter counter = counter_make(0);
    (void)state;
    assert_int_equal(tend_open(&tend, NULL, NULL), 0);
    for (uint32_t i = 0; i < TEND_TASKS_MAX; i++)
        assert_int_equal(tend_add(tend, "counter", 1, count_run, &counter), 0);
    assert_int_equal(tend_add(tend, "counter", 1, count_run, &counter), -ENOSPC);
    tend_close(tend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_runs_again_while_there_is_more_to_do),
        cmocka_unit_test(much_work_goes_on_after_a_pause_and_not_at_its_next_time),
        cmocka_unit_test(a_task_that_failed_is_run_at_its_next_time),
        cmocka_unit_test(a_node_that_may_not_runs_nothing),
        cmocka_unit_test(more_tasks_than_there_is_room_for_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
