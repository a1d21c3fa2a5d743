/* waiters.c - no wake-up is lost, with events and without. */
#include "queryd/waiters.h"

#include "proto/control.h"

#include <criterion/criterion.h>
#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND_NS INT64_C(1000000000)

static char dir[64];

static void
make_dir(void)
{
    struct ts_options options;

    strcpy(dir, "/tmp/tsstore-wait-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    ts_options_init(&options);
    options.num_blocks = 64;
    cr_assert_eq(ts_store_create(dir, "s", &options), TS_OK, "%s", ts_error_text());
}

static void
remove_dir(void)
{
    char command[100];

    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(waiters, .init = make_dir, .fini = remove_dir, .timeout = 60);

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static void
pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static struct waiters *
open_waiters(void)
{
    struct waiters *waiters;

    cr_assert_eq(waiters_open(dir, &waiters), TS_OK, "%s", ts_error_text());
    return waiters;
}

static void
append(struct ts_store *store)
{
    struct ts_appended done;

    cr_assert_eq(ts_store_append(store, 0, "1", 1, &done), TS_OK, "%s", ts_error_text());
}

static struct ts_store *
open_store(void)
{
    struct ts_store *store;

    cr_assert_eq(ts_store_open(dir, "s", &store), TS_OK, "%s", ts_error_text());
    return store;
}

Test(waiters, what_came_before_the_sleep_is_not_slept_over)
{
    struct waiters *waiters = open_waiters();
    struct ts_store *store = open_store();
    struct waiter waiter;
    uint32_t seen_count;
    int64_t start_ns;

    waiters_add(waiters, &waiter, "s", ts_store_view(store));
    seen_count = waiter_count(&waiter);
    append(store);
    start_ns = now_ns();
    waiter_sleep(&waiter, seen_count, start_ns + 30 * SECOND_NS);
    cr_expect_lt(now_ns() - start_ns, SECOND_NS / 2);
    waiters_remove(waiters, &waiter);
    ts_store_close(store);
    waiters_close(waiters);
}

Test(waiters, a_sleep_ends_when_its_time_is_over)
{
    struct waiters *waiters = open_waiters();
    struct ts_store *store = open_store();
    struct waiter waiter;
    const int64_t start_ns = now_ns();

    waiters_add(waiters, &waiter, "s", ts_store_view(store));
    waiter_sleep(&waiter, waiter_count(&waiter), start_ns + SECOND_NS / 10);
    cr_expect_geq(now_ns() - start_ns, SECOND_NS / 10);
    cr_expect(!waiter_is_stopped(&waiter));
    waiters_remove(waiters, &waiter);
    ts_store_close(store);
    waiters_close(waiters);
}

struct sleeper {
    struct waiter waiter;
    atomic_bool is_awake;
};

static void *
sleep_once(void *arg)
{
    struct sleeper *sleeper = arg;

    waiter_sleep(&sleeper->waiter, waiter_count(&sleeper->waiter), now_ns() + 30 * SECOND_NS);
    atomic_store(&sleeper->is_awake, true);
    return NULL;
}

static int64_t
time_to_wake(struct sleeper *sleeper)
{
    const int64_t start_ns = now_ns();

    while (!atomic_load(&sleeper->is_awake) && now_ns() - start_ns < 20 * SECOND_NS)
        pause_ms(1);
    return now_ns() - start_ns;
}

Test(waiters, without_any_event_the_slow_look_wakes)
{
    struct waiters *waiters = open_waiters();
    struct ts_store *store = open_store();
    struct sleeper sleeper = {.is_awake = false};
    pthread_t thread;

    waiters_add(waiters, &sleeper.waiter, "s", ts_store_view(store));
    cr_assert_eq(pthread_create(&thread, NULL, sleep_once, &sleeper), 0);
    pause_ms(50);
    cr_expect(!atomic_load(&sleeper.is_awake));
    append(store);
    cr_expect_lt(time_to_wake(&sleeper), 5 * SECOND_NS);
    pthread_join(thread, NULL);
    waiters_remove(waiters, &sleeper.waiter);
    ts_store_close(store);
    waiters_close(waiters);
}

Test(waiters, an_event_wakes_those_of_its_store_only)
{
    const struct event event = {.kind = EVENT_RESET, .store = {.at = "s", .bytes = 1}};
    struct waiters *waiters = open_waiters();
    struct ts_store *store = open_store();
    struct sleeper sleeper = {.is_awake = false}, other = {.is_awake = false};
    char url[CONTROL_URL_BYTES];
    pthread_t threads[2];
    struct ts_text text;
    nng_socket pub;

    cr_assert_eq(control_url(dir, CONTROL_EVENT_SOCKET, url), TS_OK);
    cr_assert_eq(nng_pub0_open(&pub), 0);
    cr_assert_eq(nng_listen(pub, url, NULL, 0), 0);
    ts_text_init(&text);
    event_encode(&event, &text);
    waiters_add(waiters, &sleeper.waiter, "s", ts_store_view(store));
    waiters_add(waiters, &other.waiter, "s2", ts_store_view(store));
    cr_assert_eq(pthread_create(&threads[0], NULL, sleep_once, &sleeper), 0);
    cr_assert_eq(pthread_create(&threads[1], NULL, sleep_once, &other), 0);
    /* Rubbish in between is ignored; when the subscription stands is not to be seen from here. */
    for (int i = 0; i < 5000 && !atomic_load(&sleeper.is_awake); i++) {
        nng_send(pub, "rubbish", 7, 0);
        nng_send(pub, text.at, text.bytes, 0);
        pause_ms(1);
    }
    cr_expect(atomic_load(&sleeper.is_awake));
    cr_expect(!atomic_load(&other.is_awake));
    waiter_stop(&other.waiter);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    cr_expect(waiter_is_stopped(&other.waiter));
    waiters_remove(waiters, &sleeper.waiter);
    waiters_remove(waiters, &other.waiter);
    ts_text_done(&text);
    nng_close(pub);
    ts_store_close(store);
    waiters_close(waiters);
}

static void *
leave_when_stopped(void *arg)
{
    struct waiter *waiter = arg;

    while (!waiter_is_stopped(waiter))
        waiter_sleep(waiter, waiter_count(waiter), now_ns() + 30 * SECOND_NS);
    return NULL;
}

Test(waiters, stopping_all_wakes_all_and_those_who_come_later)
{
    struct waiters *waiters = open_waiters();
    struct ts_store *store = open_store();
    struct waiter waiter, late;
    pthread_t thread;

    waiters_add(waiters, &waiter, "s", ts_store_view(store));
    cr_assert_eq(pthread_create(&thread, NULL, leave_when_stopped, &waiter), 0);
    waiters_stop_all(waiters, 20);
    pthread_join(thread, NULL);
    waiters_add(waiters, &late, "s", ts_store_view(store));
    cr_expect(waiter_is_stopped(&late));
    waiters_remove(waiters, &waiter);
    waiters_remove(waiters, &late);
    waiters_stop_all(waiters, 20);
    ts_store_close(store);
    waiters_close(waiters);
}

#define N_RECORDS 20000

static void *
append_all(void *arg)
{
    for (int i = 0; i < N_RECORDS; i++)
        append(arg);
    return NULL;
}

Test(waiters, a_reader_that_sleeps_whenever_it_can_misses_nothing)
{
    const struct ts_range range = {.follow = true};
    struct waiters *waiters = open_waiters();
    struct ts_store *store = open_store();
    struct waiter waiter;
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    pthread_t thread;
    int64_t start_ns = now_ns();
    uint64_t n = 0;

    waiters_add(waiters, &waiter, "s", ts_store_view(store));
    cr_assert_eq(ts_cursor_open(ts_store_view(store), &range, &cursor), TS_OK);
    cr_assert_eq(pthread_create(&thread, NULL, append_all, store), 0);
    while (n < N_RECORDS && now_ns() - start_ns < 40 * SECOND_NS) {
        const uint32_t seen_count = waiter_count(&waiter);
        enum ts_step step;

        while ((step = ts_cursor_next(cursor, &record, &gap)) != TS_STEP_END)
            n += step == TS_STEP_RECORD ? 1 : gap.lost;
        if (n < N_RECORDS)
            waiter_sleep(&waiter, seen_count, now_ns() + 5 * SECOND_NS);
    }
    cr_expect_eq(n, N_RECORDS);
    pthread_join(thread, NULL);
    ts_cursor_close(cursor);
    waiters_remove(waiters, &waiter);
    ts_store_close(store);
    waiters_close(waiters);
}
