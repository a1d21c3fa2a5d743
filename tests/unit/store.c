/* store.c - one writer: what it accepts and refuses, who may be it, what is durable, what happens
 * when its files are taken away.
 */
#include "tests/unit/store_scratch.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

TestSuite(store, .init = scratch_start, .fini = scratch_end, .timeout = 200);

static const struct ts_options *
plain(void)
{
    static struct ts_options options;

    options = small_options(16, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    return &options;
}

/* ---- sizes ---- */

static const struct {
    uint32_t num_blocks, block_bytes;
    enum ts_codec codec;
} geometries[] = {
    {1, 64, TS_CODEC_NONE},    {1, 64, TS_CODEC_ZSTD},     {1, 128, TS_CODEC_NONE},
    {2, 64, TS_CODEC_NONE},    {3, 64, TS_CODEC_ZSTD},     {1, 512, TS_CODEC_NONE},
    {1, 1024, TS_CODEC_NONE},  {5, 1024, TS_CODEC_ZSTD},   {64, 1024, TS_CODEC_NONE},
    {1, 65536, TS_CODEC_ZSTD}, {16, 65536, TS_CODEC_NONE},
};

Test(store, records_from_nothing_to_the_largest_are_kept_and_one_byte_more_is_refused)
{
    for (size_t i = 0; i < COUNTOF(geometries); i++) {
        const struct ts_options options = small_options(
            geometries[i].num_blocks, geometries[i].block_bytes, geometries[i].codec, TS_SYNC_NONE);
        const uint64_t max = ts_max_record_bytes(&options);
        const uint64_t sizes[] = {0, 1, 7, 8, 9, max / 2, max - 1, max};
        struct ts_store *store = must_create(STORE, &options);
        uint8_t *bytes = calloc(1, max + 1);
        uint64_t id = 0;

        for (int turn = 0; turn < 40; turn++) {
            const uint64_t n = sizes[(size_t)turn % COUNTOF(sizes)];
            const struct ts_range newest = {.backward = true, .limit = 1};
            struct ts_cursor *cursor;
            struct ts_record record;
            struct ts_gap gap;
            struct ts_appended done = {.record_no = 77};

            id++;
            cr_assert_eq(must_append(store, id, (int64_t)id, (size_t)n), id);
            cr_assert_eq(ts_cursor_open(ts_store_view(store), &newest, &cursor), TS_OK);
            cr_assert_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_RECORD);
            cr_assert(record.no == id && record.bytes == n && record_is(id, record.data, n),
                      "%u x %u: %ju bytes", options.num_blocks, options.data_block_bytes,
                      (uintmax_t)n);
            ts_cursor_close(cursor);
            cr_expect_eq(ts_store_append(store, (int64_t)id + 1, bytes, (size_t)max + 1, &done),
                         TS_E_TOO_LARGE);
            cr_expect_str_eq(ts_error_text(), "object exceeds maximum block size");
            cr_expect_eq(done.record_no, 77u);
        }
        cr_expect_eq(ts_store_append(store, (int64_t)id + 1, bytes, SIZE_MAX, NULL),
                     TS_E_TOO_LARGE);
        cr_expect_eq(ts_store_append(store, (int64_t)id + 1, NULL, 0, NULL), TS_OK);
        free(bytes);
        must_close(store);
        remove_tree(AT_FDCWD, file_path(STORE, ""));
    }
}

/* ---- times ---- */

static const struct {
    int64_t time_ns;
    enum ts_err want;
} times[] = {
    {1, TS_OK},
    {1, TS_E_ORDER},
    {2, TS_OK},
    {1, TS_E_ORDER},
    {-1, TS_E_TIME},
    {INT64_MIN, TS_E_TIME},
    {1000, TS_OK},
    {999, TS_E_ORDER},
    {INT64_MAX - 1, TS_OK},
    {INT64_MAX, TS_OK},
    {INT64_MAX, TS_E_ORDER},
    {0, TS_E_ORDER}, /* no time is left for the server to give */
};

Test(store, times_are_strictly_increasing)
{
    struct ts_options options = *plain();
    struct ts_store *store;
    uint64_t n = 0;

    options.max_future_ns = 0;
    store = must_create(STORE, &options);
    for (size_t i = 0; i < COUNTOF(times); i++) {
        struct ts_appended done = {0};

        cr_expect_eq(ts_store_append(store, times[i].time_ns, "x", 1, &done), times[i].want,
                     "row %zu", i);
        if (times[i].want == TS_OK) {
            cr_expect_eq(done.record_no, ++n);
            cr_expect_eq(done.time_ns, times[i].time_ns);
        } else {
            cr_expect_eq(done.record_no, 0u);
        }
    }
    must_close(store);
    store = must_open(STORE); /* the newest time is remembered */
    cr_expect_eq(ts_store_append(store, 5, "x", 1, NULL), TS_E_ORDER);
    cr_expect_str_eq(ts_error_text(), "timestamp must be greater than newest entry");
    must_close(store);
}

Test(store, the_newest_time_is_remembered_wherever_its_record_is)
{
    const struct ts_options options = small_options(4, 512, TS_CODEC_ZSTD, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    const uint64_t max = ts_max_record_bytes(&options);

    for (int64_t time = 10; time < 400; time += 10) {
        must_append(store, (uint64_t)time, time, time % 70 == 0 ? (size_t)max : 50);
        must_close(store);
        store = must_open(STORE);
        cr_assert_eq(ts_store_append(store, time, "x", 1, NULL), TS_E_ORDER, "time %jd",
                     (intmax_t)time);
        cr_assert_eq(ts_store_append(store, time + 1, "x", 1, NULL), TS_OK);
    }
    must_close(store);
}

/* ---- threads ---- */

#define N_THREADS 8
#define N_EACH 1500

static struct {
    struct ts_store *store;
    struct ts_appended done[N_THREADS][N_EACH];
} feeders;

static void *
feed_main(void *arg)
{
    struct ts_appended *done = arg;

    for (int i = 0; i < N_EACH; i++) {
        const uint64_t word = (uint64_t)(uintptr_t)&done[i];

        cr_assert_eq(ts_store_append(feeders.store, 0, &word, sizeof word, &done[i]), TS_OK, "%s",
                     ts_error_text());
    }
    return NULL;
}

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

Test(store, times_of_the_server_are_now_or_one_more_than_the_newest_from_eight_threads)
{
    const struct ts_options options = small_options(64, 65536, TS_CODEC_ZSTD, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    const int64_t future = now_ns() + 3600 * INT64_C(1000000000);
    const struct ts_range all = {0};
    pthread_t threads[N_THREADS];
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    uint64_t n = 0;
    int64_t before = now_ns();

    feeders.store = store;
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < N_THREADS; i++)
            pthread_create(&threads[i], NULL, feed_main, feeders.done[i]);
        for (int i = 0; i < N_THREADS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < N_THREADS; i++)
            for (int k = 0; k < N_EACH; k++) {
                const struct ts_appended *done = &feeders.done[i][k];

                cr_assert(k == 0 || (done->record_no > done[-1].record_no &&
                                     done->time_ns > done[-1].time_ns));
                /* The clock was set back an hour: one more than the newest, nothing is refused. */
                cr_assert(turn == 0 ? done->time_ns >= before &&
                                          done->time_ns <= now_ns() + N_THREADS * N_EACH
                                    : done->time_ns == future + (int64_t)done->record_no -
                                                           N_THREADS * N_EACH - 1);
            }
        if (turn == 0)
            must_append(store, 0, future, 8);
    }
    cr_assert_eq(ts_cursor_open(ts_store_view(store), &all, &cursor), TS_OK);
    while (ts_cursor_next(cursor, &record, &gap) == TS_STEP_RECORD) {
        cr_assert_eq(record.no, ++n);
        cr_assert(n == 1 || record.time_ns > before);
        before = record.time_ns;
    }
    cr_assert_eq(n, 2u * N_THREADS * N_EACH + 1);
    ts_cursor_close(cursor);
    must_close(store);
}

static void *
small_main(void *arg)
{
    _Atomic bool *is_over = arg;

    while (!atomic_load(is_over))
        cr_assert_eq(ts_store_append(feeders.store, 0, "small", 5, NULL), TS_OK);
    return NULL;
}

Test(store, large_records_are_not_starved_by_a_stream_of_small_ones)
{
    const struct ts_options options = small_options(1024, 1024, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    uint8_t *large = calloc(1, 200000);
    _Atomic bool is_over = false;
    pthread_t threads[4];
    uint64_t n_blocks, n_records;
    struct ts_state state;

    feeders.store = store;
    for (size_t i = 0; i < COUNTOF(threads); i++)
        pthread_create(&threads[i], NULL, small_main, &is_over);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(ts_store_append(store, 0, large, 200000, NULL), TS_OK);
    atomic_store(&is_over, true);
    for (size_t i = 0; i < COUNTOF(threads); i++)
        pthread_join(threads[i], NULL);
    wait_for_sealer(store);
    ts_view_state(ts_store_view(store), &state);
    n_records = state.next_no - 1;
    n_blocks = store->ring.sealed_seq;
    fprintf(stderr, "%ju blocks for %ju records\n", (uintmax_t)n_blocks, (uintmax_t)n_records);
    /* Each large one costs a block of its own and one that it found begun, not dozens. */
    cr_expect_leq(n_blocks, n_records / 1500 + 50 * 2 + 10, "%ju blocks for %ju records",
                  (uintmax_t)n_blocks, (uintmax_t)n_records);
    free(large);
    must_close(store);
}

/* ---- batches ---- */

Test(store, a_batch_takes_each_on_its_own)
{
    struct ts_store *store = must_create(STORE, plain());
    struct ts_batch_item items[] = {
        {.time_ns = 5, .data = "a", .bytes = 1},  {.time_ns = 5, .data = "b", .bytes = 1},
        {.time_ns = -5, .data = "c", .bytes = 1}, {.time_ns = 6, .data = NULL, .bytes = 0},
        {.time_ns = 0, .data = "e", .bytes = 1},  {.time_ns = 7, .data = "f", .bytes = 1},
    };

    cr_expect_eq(ts_store_append_batch(store, items, COUNTOF(items)), 3u);
    cr_expect(items[0].err == TS_OK && items[0].done.record_no == 1);
    cr_expect_eq(items[1].err, TS_E_ORDER);
    cr_expect_eq(items[2].err, TS_E_TIME);
    cr_expect(items[3].err == TS_OK && items[3].done.record_no == 2);
    cr_expect(items[4].err == TS_OK && items[4].done.record_no == 3);
    cr_expect_eq(items[5].err, TS_E_ORDER); /* now is later than 7 */
    cr_expect_eq(ts_store_append_batch(store, items, 0), 0u);
    must_close(store);
}

Test(store, a_batch_that_counts_whole_or_not_at_all_does)
{
    struct ts_store *store = must_create(STORE, plain());
    struct ts_batch_item items[50];
    uint8_t bytes[200] = {0};
    struct ts_state state;
    size_t bad = 99;

    for (int turn = 0; turn < 60; turn++) {
        const size_t n = 1 + (size_t)turn % COUNTOF(items);

        for (size_t i = 0; i < n; i++)
            items[i] = (struct ts_batch_item){
                .time_ns = turn * 100 + 1 + (int64_t)i, .data = bytes, .bytes = i * 3};
        cr_assert_eq(ts_store_append_all(store, items, n, &bad), TS_OK, "%s", ts_error_text());
        ts_view_state(ts_store_view(store), &state);
        cr_assert_eq(state.next_no, items[n - 1].done.record_no + 1);
        cr_assert_eq(items[n - 1].done.record_no, items[0].done.record_no + n - 1);
        /* One that is out of order spoils it. */
        for (size_t i = 0; i < n; i++)
            items[i].time_ns = turn * 100 + 60 + (int64_t)i;
        items[n / 2].time_ns = 1;
        cr_assert_eq(ts_store_append_all(store, items, n, &bad), TS_E_ORDER);
        cr_assert_eq(bad, n / 2);
        ts_view_state(ts_store_view(store), &state);
        cr_assert_eq(state.next_no, items[0].done.record_no + n);
    }
    items[0] = (struct ts_batch_item){.data = bytes, .bytes = 100};
    items[1] = (struct ts_batch_item){.data = bytes, .bytes = (size_t)ts_max_record_bytes(plain())};
    cr_expect_eq(ts_store_append_all(store, items, 2, &bad), TS_E_TOO_LARGE);
    items[1].bytes = SIZE_MAX;
    cr_expect_eq(ts_store_append_all(store, items, 2, &bad), TS_E_TOO_LARGE);
    cr_expect_eq(bad, 1u);
    cr_expect_eq(ts_store_append_all(store, items, 0, &bad), TS_OK);
    must_close(store);
}

/* ---- one writer ---- */

Test(store, a_second_writer_is_refused_and_told_who_holds_it)
{
    struct ts_store *store = must_create(STORE, plain()), *second = NULL;
    char want[64];
    int status;
    pid_t child;

    cr_expect_eq(ts_store_open(scratch, STORE, &second), TS_E_LOCKED);
    snprintf(want, sizeof want, "process %d", (int)getpid());
    cr_expect(strstr(ts_error_text(), want) != NULL, "%s", ts_error_text());
    cr_expect_null(second);
    child = fork();
    if (child == 0)
        _exit(ts_store_open(scratch, STORE, &second) == TS_E_LOCKED &&
                      strstr(ts_error_text(), want) != NULL
                  ? 0
                  : 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    must_append(store, 1, 1, 10); /* the refused ones did no harm */
    must_close(store);
    must_close(must_open(STORE));
}

Test(store, the_lock_dies_with_its_process)
{
    struct ts_store *store = NULL;
    int ready[2], status;
    pid_t child;
    char byte;

    cr_assert_eq(ts_store_create(scratch, STORE, plain()), TS_OK);
    cr_assert_eq(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        if (ts_store_open(scratch, STORE, &store) != TS_OK || write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_expect_eq(ts_store_open(scratch, STORE, &store), TS_E_LOCKED);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    must_close(must_open(STORE));
    close(ready[0]);
    close(ready[1]);
}

Test(store, a_store_that_is_not_there_is_not_made)
{
    struct ts_store *store = NULL;

    cr_expect_eq(ts_store_open(scratch, "none", &store), TS_E_NOT_FOUND);
    cr_expect_eq(ts_store_open(scratch, "../x", &store), TS_E_NAME);
    cr_expect_null(store);
    cr_expect_eq(scratch_count(), 0);
    cr_expect_eq(ts_store_close(NULL), TS_OK);
}

/* ---- durable ---- */

static _Atomic unsigned n_told;

static void
on_durable(void *arg)
{
    atomic_fetch_add(&n_told, arg == &n_told);
}

Test(store, what_is_durable_is_told)
{
    struct ts_store *store = must_create(STORE, plain());

    ts_store_on_durable(store, on_durable, &n_told);
    cr_expect_eq(ts_store_durable_no(store), 0u);
    cr_expect_eq(ts_store_commit(store, 0), TS_OK);
    cr_expect_eq(ts_store_commit(store, 1), TS_E_PARAM); /* there is none to wait for */
    must_append_run(store, 1, 10, 30);
    cr_expect_eq(ts_store_durable_no(store), 0u);
    cr_expect_eq(ts_store_commit(store, 10), TS_OK);
    cr_expect_eq(ts_store_durable_no(store), 10u);
    while (atomic_load(&n_told) == 0) /* it is told a moment after who waits is woken */
        sched_yield();
    must_append_run(store, 11, 500, 30);
    cr_expect_eq(ts_store_commit(store, 300), TS_OK);
    cr_expect_geq(ts_store_durable_no(store), 300u);
    ts_store_commit_start(store);
    while (ts_store_durable_no(store) < 500)
        sched_yield();
    must_close(store);
}

Test(store, with_sync_each_an_append_is_durable_when_it_returns)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, TS_SYNC_EACH);
    struct ts_store *store = must_create(STORE, &options);

    for (uint64_t id = 1; id <= 200; id++) {
        must_append(store, id, (int64_t)id, 30);
        cr_assert_eq(ts_store_durable_no(store), id);
    }
    must_append(store, 201, 201, 3000);
    cr_assert_eq(ts_store_durable_no(store), 201u);
    must_close(store);
}

Test(store, with_an_interval_it_becomes_durable_by_itself)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, 5);
    struct ts_store *store = must_create(STORE, &options);

    for (uint64_t id = 1; id <= 5; id++) {
        must_append(store, id, (int64_t)id, 30);
        while (ts_store_durable_no(store) < id)
            sched_yield();
    }
    must_close(store);
}

static void *
commit_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        struct ts_appended done;

        cr_assert_eq(ts_store_append(feeders.store, 0, "12345678", 8, &done), TS_OK, "%s",
                     ts_error_text());
        cr_assert_eq(ts_store_commit(feeders.store, done.record_no), TS_OK, "%s", ts_error_text());
        cr_assert_geq(ts_store_durable_no(feeders.store), done.record_no);
    }
    return NULL;
}

Test(store, eight_threads_commit_at_once)
{
    static const uint32_t sync_ms[] = {TS_SYNC_EACH, TS_SYNC_NONE, 1};

    for (size_t k = 0; k < COUNTOF(sync_ms); k++) {
        const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, sync_ms[k]);
        pthread_t threads[8];

        feeders.store = must_create(STORE, &options);
        for (int i = 0; i < 8; i++)
            pthread_create(&threads[i], NULL, commit_main, NULL);
        for (int i = 0; i < 8; i++)
            pthread_join(threads[i], NULL);
        cr_expect_eq(ts_store_durable_no(feeders.store), 1600u);
        must_close(feeders.store);
        remove_tree(AT_FDCWD, file_path(STORE, ""));
    }
}

/* ---- deleting, resetting ---- */

Test(store, a_deleted_record_is_gone_for_every_reader_and_after_reopening)
{
    struct ts_store *store = must_create(STORE, plain());
    struct ts_view *view = must_view(STORE);
    struct walk before, after;
    uint64_t n_deleted = 0;

    must_append_run(store, 1, 300, 30);
    wait_for_sealer(store);
    before = walk_view(view, 0, false);
    for (uint64_t no = before.first_no; no <= 300; no += 7) {
        cr_assert_eq(ts_store_delete_time(store, (int64_t)no), TS_OK, "%s", ts_error_text());
        cr_assert_eq(ts_store_delete_time(store, (int64_t)no), TS_E_NO_TIME);
        n_deleted++;
    }
    after = walk_view(view, 0, false);
    cr_expect(after.n_records == before.n_records - n_deleted && after.n_damaged == 0);
    cr_expect_eq(ts_store_append(store, 300, "x", 1, NULL), TS_E_ORDER); /* its time is spent */
    must_close(store);
    store = must_open(STORE);
    after = walk_view(view, 0, true);
    cr_expect(after.n_records == before.n_records - n_deleted && after.n_damaged == 0);
    cr_assert_eq(ts_store_reset(store), TS_OK);
    cr_expect_eq(walk_view(view, 0, false).n_records, 0u);
    cr_expect_eq(must_append(store, 1, 1, 10), 301u); /* numbers go on, times begin anew */
    must_close(store);
    store = must_open(STORE);
    cr_expect_eq(walk_view(view, 0, false).n_records, 1u);
    must_close(store);
    ts_view_close(view);
}

static void
delete_while_sealing(enum ts_codec codec)
{
    const struct ts_options options = small_options(16, 512, codec, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    uint64_t n_deleted = 0;
    struct walk walk;
    struct ts_state state;

    for (uint64_t id = 1; id <= 3000; id++) {
        must_append(store, id, (int64_t)id, 30);
        if (id % 3 == 0) {
            cr_assert_eq(ts_store_delete_time(store, (int64_t)id - 2), TS_OK, "%ju: %s",
                         (uintmax_t)id, ts_error_text());
            n_deleted++;
        }
    }
    wait_for_sealer(store);
    walk = walk_view(ts_store_view(store), 0, false);
    ts_view_state(ts_store_view(store), &state);
    for (uint64_t no = state.oldest_no; no < state.next_no; no++)
        n_deleted -= no % 3 == 1 && no + 2 <= 3000;
    cr_expect_eq(walk.n_damaged, 0u);
    for (uint64_t no = state.oldest_no, left = walk.n_records; no < state.next_no; no++) {
        left -= no % 3 != 1 || no + 2 > 3000;
        cr_assert(no + 1 < state.next_no || left == 0, "%ju too many", (uintmax_t)left);
    }
    must_close(store);
}

/* Compression is the sealing thread's: the deletes come while it is at the block. */
Test(store, deletes_beside_the_sealer_are_not_forgotten)
{
    delete_while_sealing(TS_CODEC_ZSTD);
}

Test(store, deletes_from_blocks_that_the_next_append_seals_are_not_forgotten)
{
    delete_while_sealing(TS_CODEC_NONE);
}

/* ---- decay ---- */

/* Fills a block, spoils its first record where it lies in the file, and has it sealed. */
static uint64_t
count_damaged_after_decay(bool is_old, bool is_recovered)
{
    const struct ts_options options = small_options(64, 4096, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    struct ts_open_block *block;
    struct walk walk;

    must_append_run(store, 1, 20, 30);
    if (is_recovered) {
        ts_store_abandon(store);
        store = must_open(STORE);
    }
    block = &store->block[store->current];
    ((uint8_t *)block->slot)[TS_SLOT_HEADER_BYTES + sizeof(struct ts_slot_record)] ^= 1;
    if (is_old)
        block->opened_ns -= INT64_C(2000000000);
    pthread_mutex_lock(&store->lock);
    cr_assert_eq(ts_store_drain_locked(store), TS_OK);
    pthread_mutex_unlock(&store->lock);
    must_append(store, 21, 21, 30); /* elsewhere than the readers may still look */
    ts_store_abandon(store);
    store = must_open(STORE);
    walk = walk_view(ts_store_view(store), 0, false);
    must_close(store);
    return walk.n_damaged;
}

Test(store, a_record_that_decayed_in_an_old_block_is_told_and_not_sealed_as_good)
{
    cr_expect_eq(count_damaged_after_decay(true, false), 1u);
}

Test(store, a_record_that_decayed_after_recovery_is_told_and_not_sealed_as_good)
{
    cr_expect_eq(count_damaged_after_decay(false, true), 1u);
}

/* ---- files that are taken away ---- */

Test(store, a_file_that_is_truncated_meanwhile_ends_appends_and_no_process)
{
    ts_map_guard_install();
    for (int file = 0; file < TS_N_FILES; file++) {
        struct ts_store *store = must_create(STORE, plain());
        struct ts_view *view = must_view(STORE);
        enum ts_err err = TS_OK;
        struct walk walk;
        uint64_t id;

        must_append_run(store, 1, 300, 30);
        wait_for_sealer(store);
        cr_assert_eq(truncate(file_path(STORE, ts_file_names[file]), 0), 0);
        walk = walk_view(view, 0, false);
        cr_expect_not(walk.is_wrong || walk.is_truncated, "%s", ts_file_names[file]);
        cr_expect_lt(walk.n_records, 300u);
        walk = walk_view(view, 0, true);
        cr_expect_not(walk.is_wrong || walk.is_truncated, "%s", ts_file_names[file]);
        for (id = 301; id < 20000 && err == TS_OK; id++)
            err = ts_store_append(store, (int64_t)id, "0123456789", 10, NULL);
        if (err == TS_OK) /* nothing of that file was touched: a sync looks at it */
            err = ts_store_commit(store, id - 1);
        cr_expect_eq(err, TS_E_CORRUPT, "%s", ts_file_names[file]);
        cr_expect(strstr(ts_error_text(), ts_file_names[file]) != NULL &&
                      strstr(ts_error_text(), "offset 0") != NULL,
                  "%s: %s", ts_file_names[file], ts_error_text());
        cr_expect_eq(ts_store_append(store, 100000, "x", 1, NULL), TS_E_CORRUPT);
        cr_expect_eq(ts_store_close(store), TS_E_CORRUPT);
        ts_view_close(view);
        remove_tree(AT_FDCWD, file_path(STORE, ""));
    }
}

Test(store, an_append_into_a_page_that_vanished_is_not_acknowledged)
{
    const struct ts_options options = small_options(64, 65536, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    struct ts_view *view = must_view(STORE);
    uint64_t n_acknowledged = 0;
    uint8_t bytes[100];
    enum ts_err err = TS_OK;

    ts_map_guard_install();
    /* The array of offsets and the first records stay, what comes between goes. */
    must_append(store, 1, 1, 100);
    n_acknowledged++;
    cr_assert_eq(truncate(file_path(STORE, TS_HEAD_FILE), 4096), 0);
    cr_assert_eq(
        truncate(file_path(STORE, TS_HEAD_FILE), (off_t)store->view.map[TS_FILE_HEAD].bytes), 0);
    for (uint64_t id = 2; id < 20; id++) /* these pages are back: zeros, but of the file */
        n_acknowledged += must_append(store, id, (int64_t)id, 100) == id;
    cr_assert_eq(truncate(file_path(STORE, TS_HEAD_FILE), 8192), 0);
    for (uint64_t id = 20; id < 300 && err == TS_OK; id++) {
        record_fill(id, bytes, sizeof bytes);
        err = ts_store_append(store, (int64_t)id, bytes, sizeof bytes, NULL);
        n_acknowledged += err == TS_OK;
    }
    cr_expect_eq(err, TS_E_CORRUPT);
    /* 128 bytes each, the array at the end: what the next append would have touched is gone. */
    cr_expect_eq(n_acknowledged, 19u, "%ju are acknowledged, and are in no file",
                 (uintmax_t)n_acknowledged);
    ts_view_close(view);
    cr_expect_eq(ts_store_close(store), TS_E_CORRUPT);
}

Test(store, other_stores_go_on_when_one_is_damaged)
{
    struct ts_store *good = must_create("good", plain()), *bad = must_create("bad", plain());

    ts_map_guard_install();
    must_append_run(good, 1, 10, 30);
    must_append_run(bad, 1, 10, 30);
    cr_assert_eq(truncate(file_path("bad", TS_HEAD_FILE), 0), 0);
    cr_expect_eq(ts_store_append(bad, 11, "x", 1, NULL), TS_E_CORRUPT);
    must_append_run(good, 11, 500, 30);
    cr_expect_eq(ts_store_commit(good, 500), TS_OK);
    cr_expect_not(walk_view(ts_store_view(good), 0, false).is_wrong);
    cr_expect_eq(ts_store_close(bad), TS_E_CORRUPT);
    must_close(good);
}
