/* publish.c - movements are told once at the start of a burst, seldom within, and at its end. */
#include "ingestd/publish.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char dir[64];
static struct publish *publish;
static struct ts_store *store;
static struct publish_slot slot;
static nng_socket subscriber;

static void
set_up(void)
{
    struct ts_options options;

    strcpy(dir, "/tmp/tsstore-publish-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    ts_options_init(&options);
    options.num_blocks = 16;
    cr_assert_eq(ts_store_create(dir, "b", &options), TS_OK, "%s", ts_error_text());
    cr_assert_eq(ts_store_open(dir, "b", &store), TS_OK, "%s", ts_error_text());
    cr_assert_eq(publish_open(dir, 77, &publish), TS_OK, "%s", ts_error_text());
    slot = (struct publish_slot){.name = "b", .view = ts_store_view(store)};
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static void
tear_down(void)
{
    publish_close(publish);
    nng_close(subscriber);
    ts_store_close(store);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(publish, .init = set_up, .fini = tear_down, .timeout = 60);

/* Receives one event. `data` keeps its bytes. */
static bool
receive(struct event *out, char data[256])
{
    size_t bytes = 256;

    return nng_recv(subscriber, data, &bytes, 0) == 0 && event_decode(data, bytes, out) == TS_OK;
}

/* Connects, and waits until the publisher knows of it. */
static void
subscribe(void)
{
    char url[CONTROL_URL_BYTES], data[256];
    struct event event;

    cr_assert_eq(control_url(dir, CONTROL_EVENT_SOCKET, url), TS_OK);
    cr_assert_eq(nng_sub0_open(&subscriber), 0);
    nng_socket_set(subscriber, NNG_OPT_SUB_SUBSCRIBE, "", 0);
    nng_socket_set_ms(subscriber, NNG_OPT_RECVTIMEO, 20);
    cr_assert_eq(nng_dial(subscriber, url, NULL, 0), 0);
    do
        publish_catalogue(publish, EVENT_KEYS, "hello");
    while (!receive(&event, data));
    while (receive(&event, data))
        continue;
}

static void
append(void)
{
    struct ts_appended done;

    cr_assert_eq(ts_store_append(store, 0, "1", 1, &done), TS_OK);
}

Test(publish, nothing_is_sent_or_timed_while_nobody_listens)
{
    struct pollfd timer = {.fd = publish_timer_fd(publish), .events = POLLIN};

    for (int i = 0; i < 10; i++)
        publish_moved(publish, &slot);
    cr_expect_eq(publish_count(publish), 0);
    cr_expect_eq(poll(&timer, 1, 5), 0);
}

Test(publish, the_first_movement_is_told_at_once_and_the_last_for_certain)
{
    struct pollfd timer = {.fd = publish_timer_fd(publish), .events = POLLIN};
    char data[256];
    struct event event = {0};

    subscribe();
    append();
    publish_moved(publish, &slot);
    cr_assert(receive(&event, data));
    cr_expect_eq(event.kind, EVENT_HEAD);
    cr_expect_eq(event.instance, 77);
    cr_expect_eq(event.next_no, 2);
    cr_expect_eq(event.oldest_no, 1);
    cr_expect_eq(event.store.bytes, 1);
    cr_expect_eq(event.store.at[0], 'b');

    append();
    publish_moved(publish, &slot); /* may be at once or not, by the clock */
    append();
    publish_moved(publish, &slot);
    cr_expect_lt(publish_count(publish), 3, "not each one");
    cr_assert_eq(poll(&timer, 1, 5000), 1);
    publish_due(publish);
    while (event.next_no != 4)
        cr_assert(receive(&event, data), "the last movement was not told");
    cr_expect_not(receive(&event, data), "and it was told once");
}

Test(publish, a_long_burst_is_told_once_per_interval)
{
    struct timespec before, now;
    int64_t elapsed_ns;

    subscribe();
    clock_gettime(CLOCK_MONOTONIC, &before);
    do {
        append();
        publish_moved(publish, &slot);
        publish_due(publish);
        clock_gettime(CLOCK_MONOTONIC, &now);
        elapsed_ns =
            (now.tv_sec - before.tv_sec) * INT64_C(1000000000) + now.tv_nsec - before.tv_nsec;
    } while (elapsed_ns < 50000000);
    cr_expect_geq(publish_count(publish), 2);
    cr_expect_leq(publish_count(publish), (uint64_t)(elapsed_ns / PUBLISH_INTERVAL_NS) + 2);
}

Test(publish, many_stores_share_a_budget_and_none_is_forgotten)
{
    enum { SLOTS = 100 };
    static struct publish_slot slots[SLOTS];
    static char names[SLOTS][8];
    struct pollfd timer = {.fd = publish_timer_fd(publish), .events = POLLIN};

    subscribe();
    for (int i = 0; i < SLOTS; i++) {
        snprintf(names[i], sizeof names[i], "s%d", i);
        slots[i] = (struct publish_slot){.name = names[i], .view = slot.view};
        publish_moved(publish, &slots[i]);
    }
    cr_expect_lt(publish_count(publish), SLOTS);
    while (publish_count(publish) < SLOTS) {
        cr_assert_eq(poll(&timer, 1, 5000), 1);
        publish_due(publish);
    }
    for (int i = 0; i < SLOTS; i++)
        cr_expect_not(slots[i].is_pending);
}

Test(publish, a_forgotten_slot_is_not_touched_again)
{
    struct publish_slot other = slot, third = slot;

    subscribe();
    publish_moved(publish, &slot);
    publish_moved(publish, &slot);
    publish_moved(publish, &other);
    publish_moved(publish, &other);
    publish_moved(publish, &third);
    publish_moved(publish, &third);
    publish_forget(publish, &other);
    cr_expect_not(other.is_pending);
    memset(&other, 0xff, sizeof other);
    for (int i = 0; i < 10; i++) {
        usleep(1000);
        publish_due(publish);
    }
    cr_expect_not(slot.is_pending);
    cr_expect_not(third.is_pending);
    publish_forget(publish, &slot);
    publish_forget(publish, &third);
    publish_moved(publish, &slot); /* has no view any more */
}

Test(publish, a_catalogue_event_goes_out_at_once)
{
    char data[256];
    struct event event;

    subscribe();
    publish_catalogue(publish, EVENT_CREATED, "new");
    cr_assert(receive(&event, data));
    cr_expect_eq(event.kind, EVENT_CREATED);
    cr_expect_eq(event.store.bytes, 3);
}

Test(publish, a_reset_tells_where_the_store_stands)
{
    struct ts_state state;
    char data[256];
    struct event event;

    subscribe();
    ts_view_state(slot.view, &state);
    publish_reset(publish, &slot);
    cr_assert(receive(&event, data));
    cr_expect_eq(event.kind, EVENT_RESET);
    cr_expect_eq(event.generation, state.generation);
    cr_expect_eq(event.next_no, state.next_no);
    publish_forget(publish, &slot);
    publish_reset(publish, &slot); /* of a store that is gone nothing is told */
    publish_catalogue(publish, EVENT_SCHEMA, "b");
    cr_assert(receive(&event, data));
    cr_expect_eq(event.kind, EVENT_SCHEMA);
}

Test(publish, no_publisher_is_none_to_fail)
{
    publish_moved(NULL, &slot);
    publish_attach(NULL, &slot, slot.view);
    publish_reset(NULL, &slot);
    publish_catalogue(NULL, EVENT_CREATED, "x");
    publish_forget(NULL, &slot);
    publish_close(NULL);
    cr_expect_eq(slot.sent_ns, 0);
}
