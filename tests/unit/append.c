/* append.c - times that are too far ahead of the clock. */
#include "tests/unit/store_scratch.h"

#define SECOND INT64_C(1000000000)
#define HOUR (3600 * SECOND)

TestSuite(append, .init = scratch_start, .fini = scratch_end, .timeout = 60);

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

static struct ts_store *
guarded(int64_t max_future_ns, enum ts_on_future on_future)
{
    struct ts_options options = small_options(64, 1024, TS_CODEC_NONE, TS_SYNC_NONE);

    options.max_future_ns = max_future_ns;
    options.on_future = on_future;
    return must_create(STORE, &options);
}

Test(append, a_time_too_far_ahead_is_refused_and_one_within_a_day_is_not)
{
    struct ts_store *store = guarded(24 * HOUR, TS_ON_FUTURE_REFUSE);
    struct ts_future_counts counts;
    struct ts_appended done = {.record_no = 77};

    cr_expect_eq(ts_store_append(store, now_ns() + 23 * HOUR, "a", 1, NULL), TS_OK);
    cr_expect_eq(ts_store_append(store, now_ns() + 25 * HOUR, "b", 1, &done), TS_E_FUTURE);
    cr_expect_str_eq(ts_error_text(), "timestamp is too far in the future");
    cr_expect_eq(done.record_no, 77u);
    cr_expect_eq(ts_store_append(store, INT64_MAX, "b", 1, &done), TS_E_FUTURE);
    cr_expect_eq(ts_store_append(store, 0, "c", 1, &done), TS_OK);
    cr_expect_eq(done.record_no, 2u);
    ts_store_future_counts(store, &counts);
    cr_expect_eq(counts.n_refused, 2u);
    cr_expect_eq(counts.n_clamped, 0u);
    must_close(store);
}

Test(append, a_clamped_time_is_stored_as_now_and_counted)
{
    struct ts_store *store = guarded(HOUR, TS_ON_FUTURE_CLAMP);
    const int64_t before_ns = now_ns();
    struct ts_future_counts counts;
    struct ts_appended done;

    for (int i = 0; i < 100; i++) {
        cr_assert_eq(ts_store_append(store, INT64_MAX - i, "b", 1, &done), TS_OK);
        cr_expect(done.time_ns >= before_ns && done.time_ns <= now_ns());
    }
    ts_store_future_counts(store, &counts);
    cr_expect_eq(counts.n_refused, 0u);
    cr_expect_eq(counts.n_clamped, 100u);
    must_close(store);
    store = must_open(STORE);
    cr_expect_eq(ts_view_options(ts_store_view(store))->on_future, TS_ON_FUTURE_CLAMP);
    cr_expect_eq(ts_view_options(ts_store_view(store))->max_future_ns, HOUR);
    must_close(store);
}

Test(append, a_batch_has_each_of_its_times_judged)
{
    struct ts_store *store = guarded(HOUR, TS_ON_FUTURE_REFUSE);
    const int64_t now = now_ns();
    struct ts_batch_item items[] = {
        {.time_ns = now, .data = "a", .bytes = 1},
        {.time_ns = now + 2 * HOUR, .data = "b", .bytes = 1},
        {.time_ns = now + HOUR / 2, .data = "c", .bytes = 1},
    };
    size_t bad = 0;

    cr_expect_eq(ts_store_append_batch(store, items, 3), 2u);
    cr_expect(items[0].err == TS_OK && items[1].err == TS_E_FUTURE && items[2].err == TS_OK);
    items[0].time_ns = now + HOUR / 2 + 1;
    cr_expect_eq(ts_store_append_all(store, items, 2, &bad), TS_E_FUTURE);
    cr_expect_eq(bad, 1u);
    must_close(store);
}

Test(append, without_a_limit_any_time_is_taken)
{
    struct ts_store *store = guarded(0, TS_ON_FUTURE_REFUSE);

    cr_expect_eq(ts_store_append(store, INT64_MAX, "b", 1, NULL), TS_OK);
    must_close(store);
}
