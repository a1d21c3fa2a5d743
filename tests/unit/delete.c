/* delete.c - ranges of records are deleted: in open and sealed blocks, for good. */
#include "tests/unit/store_scratch.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { MOST = 4000 };

/* What must be there: record `no` has the time 10 * no. Shared with the process that is killed. */
static bool *is_there;
static uint64_t *newest;
#define newest_no (*newest)

static void
start(void)
{
    scratch_start();
    newest = mmap(NULL, sizeof *newest + MOST + 1, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(newest, MAP_FAILED);
    is_there = (bool *)(newest + 1);
}

TestSuite(delete, .init = start, .fini = scratch_end, .timeout = 110);

static void
append(struct ts_store *store, unsigned n)
{
    for (unsigned i = 0; i < n && newest_no < MOST; i++) {
        uint8_t bytes[120];
        const size_t size = (size_t)rng_below(sizeof bytes);

        newest_no++;
        record_fill(newest_no, bytes, size);
        cr_assert_eq(ts_store_append(store, (int64_t)newest_no * 10, bytes, size, NULL), TS_OK);
        is_there[newest_no] = true;
    }
}

static struct ts_range
between(uint64_t from_no, uint64_t to_no, bool by_number)
{
    return by_number ? (struct ts_range){.by_number = true,
                                         .has_from = true,
                                         .has_to = true,
                                         .from_no = from_no,
                                         .to_no = to_no}
                     : (struct ts_range){.has_from = true,
                                         .has_to = true,
                                         .from_time_ns = (int64_t)from_no * 10 - 5,
                                         .to_time_ns = (int64_t)to_no * 10 + 5};
}

/* Deletes [from_no, to_no] of store and model. */
static void
delete_both(struct ts_store *store, uint64_t from_no, uint64_t to_no, bool by_number)
{
    const struct ts_range range = between(from_no, to_no, by_number);
    uint64_t n_deleted, want = 0;

    for (uint64_t no = from_no; no <= to_no && no <= newest_no; no++) {
        want += is_there[no];
        is_there[no] = false;
    }
    cr_assert_eq(ts_store_delete_range(store, &range, &n_deleted), TS_OK, "%s", ts_error_text());
    cr_expect_eq(n_deleted, want, "%ju to %ju: %ju, want %ju", (uintmax_t)from_no, (uintmax_t)to_no,
                 (uintmax_t)n_deleted, (uintmax_t)want);
}

static void
compare(struct ts_view *view, bool backward)
{
    const struct ts_range range = {.backward = backward};
    uint64_t no = backward ? newest_no : 1;
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    enum ts_step step;

    cr_assert_eq(ts_cursor_open(view, &range, &cursor), TS_OK);
    while ((step = ts_cursor_next(cursor, &record, &gap)) == TS_STEP_RECORD) {
        while (no >= 1 && no <= newest_no && !is_there[no])
            no += backward ? -UINT64_C(1) : 1;
        cr_assert_eq(record.no, no, "%ju is there, want %ju", (uintmax_t)record.no, (uintmax_t)no);
        cr_assert(record_is(no, record.data, record.bytes));
        no += backward ? -UINT64_C(1) : 1;
    }
    cr_assert_eq(step, TS_STEP_END);
    while (no >= 1 && no <= newest_no && !is_there[no])
        no += backward ? -UINT64_C(1) : 1;
    cr_assert_eq(no, backward ? 0 : newest_no + 1);
    ts_cursor_close(cursor);
}

/* Random appends and deletes. */
static struct ts_store *
play(enum ts_codec codec)
{
    const struct ts_options options = small_options(2048, 1024, codec, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);

    for (unsigned round = 0; round < 40; round++) {
        append(store, 1 + (unsigned)rng_below(150));
        for (unsigned i = 0; i < 3; i++) {
            const uint64_t from_no = 1 + rng_below(newest_no);

            delete_both(store, from_no, from_no + rng_below(i == 0 ? 300 : 5), rng_below(2) == 0);
        }
        compare(ts_store_view(store), round % 2 == 0);
    }
    return store;
}

/* What was played must be there when the store was closed, or its process killed. */
static void
play_and_end(enum ts_codec codec, bool is_killed)
{
    struct ts_store *store;
    struct ts_view *view;

    rng_start();
    if (is_killed) {
        const pid_t child = fork();
        int status;

        if (child == 0) {
            play(codec);
            kill(getpid(), SIGKILL);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", status);
    } else {
        must_close(play(codec));
    }
    view = must_view(STORE);
    compare(view, false);
    ts_view_close(view);
    store = must_open(STORE);
    compare(ts_store_view(store), true);
    append(store, 50);
    compare(ts_store_view(store), false);
    must_close(store);
}

Test(delete, ranges_are_gone_after_a_close_of_a_raw_store)
{
    play_and_end(TS_CODEC_NONE, false);
}

Test(delete, ranges_are_gone_after_a_close_of_a_compressed_store)
{
    play_and_end(TS_CODEC_ZSTD, false);
}

Test(delete, ranges_are_gone_after_a_crash_of_a_raw_store)
{
    play_and_end(TS_CODEC_NONE, true);
}

Test(delete, ranges_are_gone_after_a_crash_of_a_compressed_store)
{
    play_and_end(TS_CODEC_ZSTD, true);
}

Test(delete, a_range_with_more_than_bounds_is_refused)
{
    const struct ts_options options = small_options(64, 1024, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    const struct ts_range ranges[] = {
        {.limit = 1}, {.filter = "x", .filter_bytes = 1}, {.follow = true}, {.backward = true}};
    const struct ts_range all = {0};
    uint64_t n = 77;

    for (size_t i = 0; i < COUNTOF(ranges); i++)
        cr_expect_eq(ts_store_delete_range(store, &ranges[i], &n), TS_E_PARAM);
    cr_expect_eq(n, 77u);
    cr_expect_eq(ts_store_delete_range(store, &all, &n), TS_OK);
    cr_expect_eq(n, 0u);
    must_close(store);
}
