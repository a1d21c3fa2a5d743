/* cursor.c - every way to walk a store, compared with a model; laps; readers beside a writer. */
#include "tests/unit/store_scratch.h"

#include <pthread.h>

TestSuite(cursor, .init = scratch_start, .fini = scratch_end, .timeout = 200);

/* ---- a model ---- */

#define MODEL_MAX 40000

/* Record i + 1 has number i + 1; its id is its time. */
static struct {
    int64_t time_ns;
    size_t bytes;
} model[MODEL_MAX];
static uint64_t n_model;

static void
model_append(struct ts_store *store, size_t bytes)
{
    const int64_t time_ns =
        (n_model > 0 ? model[n_model - 1].time_ns : 0) + 1 + (int64_t)rng_below(20);

    cr_assert_lt(n_model, (uint64_t)MODEL_MAX);
    model[n_model].time_ns = time_ns;
    model[n_model].bytes = bytes;
    cr_assert_eq(must_append(store, (uint64_t)time_ns, time_ns, bytes), ++n_model);
}

/* Does the model's record belong into the range? */
static bool
is_wanted(const struct ts_range *range, uint64_t no)
{
    const int64_t time_ns = model[no - 1].time_ns;
    uint8_t *bytes;
    bool wanted;

    if (range->by_number
            ? (range->has_from && no < range->from_no) || (range->has_to && no > range->to_no)
            : (range->has_from && time_ns < range->from_time_ns) ||
                  (range->has_to && time_ns > range->to_time_ns))
        return false;
    if (range->filter_bytes == 0)
        return true;
    bytes = malloc(model[no - 1].bytes + 1);
    record_fill((uint64_t)time_ns, bytes, model[no - 1].bytes);
    wanted = memmem(bytes, model[no - 1].bytes, range->filter, range->filter_bytes) != NULL;
    free(bytes);
    return wanted;
}

/* The next number from `no` on that the walk has to deliver; 0 if there is none. */
static uint64_t
next_wanted(const struct ts_range *range, const struct ts_state *state, uint64_t no)
{
    for (; no >= state->oldest_no && no <= n_model; no += range->backward ? UINT64_MAX : 1)
        if (is_wanted(range, no))
            return no;
    return 0;
}

static void
check_record(const struct ts_record *record)
{
    const uint64_t no = record->no;

    cr_assert(no >= 1 && no <= n_model, "number %ju", (uintmax_t)no);
    cr_assert(record->time_ns == model[no - 1].time_ns && record->bytes == model[no - 1].bytes &&
                  record_is((uint64_t)record->time_ns, record->data, record->bytes),
              "number %ju is not what was written", (uintmax_t)no);
}

/* Walks the range in a store at rest and compares every step. Records that the ring has given up
 * may still be read from an open block that was not used again yet. */
static void
check_range(struct ts_cursor *cursor, const struct ts_range *range, const struct ts_state *state)
{
    uint64_t no = range->backward ? n_model : state->oldest_no, left = range->limit;
    uint64_t early = range->by_number && range->has_from && range->from_no > 0 ? range->from_no : 1;
    struct ts_record record;
    struct ts_gap gap;
    enum ts_step step;

    cr_assert_eq(ts_cursor_restart(cursor, range), TS_OK);
    while ((step = ts_cursor_next(cursor, &record, &gap)) != TS_STEP_END) {
        uint64_t want;

        if (step == TS_STEP_GAP) {
            /* What was overwritten is told if it was asked for, up to the end of the range. */
            const uint64_t to = range->has_to && range->to_no < state->oldest_no - 1
                                    ? range->to_no
                                    : state->oldest_no - 1;

            cr_assert(!range->backward && range->by_number && range->has_from);
            for (; early < gap.from_no; early++)
                cr_assert_not(is_wanted(range, early), "number %ju is missing", (uintmax_t)early);
            cr_assert(gap.from_no == early && gap.to_no == to && gap.lost == to - early + 1,
                      "gap %ju to %ju, not %ju to %ju", (uintmax_t)gap.from_no,
                      (uintmax_t)gap.to_no, (uintmax_t)early, (uintmax_t)to);
            early = to + 1;
            continue;
        }
        cr_assert_eq(step, TS_STEP_RECORD, "step %d: %s", (int)step, ts_error_text());
        cr_assert(range->limit == 0 || left-- > 0);
        check_record(&record);
        cr_assert(is_wanted(range, record.no));
        if (record.no < state->oldest_no) {
            cr_assert(range->backward ? next_wanted(range, state, no) == 0 : record.no >= early);
            early = record.no + 1;
            continue;
        }
        want = next_wanted(range, state, no);
        cr_assert_eq(record.no, want, "number %ju, not %ju", (uintmax_t)record.no, (uintmax_t)want);
        no = range->backward ? want - 1 : want + 1;
    }
    if (range->limit == 0 || left > 0)
        cr_assert_eq(next_wanted(range, state, no), 0, "number %ju is missing",
                     (uintmax_t)next_wanted(range, state, no));
    cr_assert_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_END);
}

static struct ts_range
random_range(const struct ts_state *state)
{
    static const char *const filters[] = {"a", "ab", "cc", "hgf", "abcd", "\xff"};
    struct ts_range range = {.backward = rng_below(2), .by_number = rng_below(2)};
    const uint64_t n = n_model + 5;

    (void)state;
    range.has_from = rng_below(3) > 0;
    range.has_to = rng_below(3) > 0;
    range.from_no = rng_below(n);
    range.to_no = rng_below(2) ? range.from_no + rng_below(30) : rng_below(n);
    range.from_time_ns = (int64_t)rng_below((uint64_t)model[n_model - 1].time_ns + 40) - 20;
    range.to_time_ns = rng_below(2) ? range.from_time_ns + (int64_t)rng_below(300)
                                    : (int64_t)rng_below((uint64_t)model[n_model - 1].time_ns + 40);
    if (rng_below(20) == 0)
        range.from_time_ns = INT64_MIN;
    if (rng_below(20) == 0)
        range.to_time_ns = INT64_MAX;
    if (rng_below(3) == 0)
        range.limit = 1 + rng_below(20);
    if (rng_below(4) == 0) {
        range.filter = filters[rng_below(COUNTOF(filters))];
        range.filter_bytes = strlen(range.filter);
    }
    return range;
}

static const struct {
    const char *label;
    uint32_t num_blocks, block_bytes;
    enum ts_codec codec;
    unsigned n_appends;
} stores[] = {
    {"the smallest", 1, 64, TS_CODEC_NONE, 600},
    {"the smallest, zstd", 1, 64, TS_CODEC_ZSTD, 600},
    {"two of 64", 2, 64, TS_CODEC_NONE, 600},
    {"one of 1024", 1, 1024, TS_CODEC_NONE, 1500},
    {"small", 16, 512, TS_CODEC_NONE, 3000},
    {"small, zstd", 16, 1024, TS_CODEC_ZSTD, 3000},
    {"larger, zstd", 64, 4096, TS_CODEC_ZSTD, 6000},
    {"larger", 32, 4096, TS_CODEC_NONE, 6000},
};

static size_t
random_bytes(uint64_t max)
{
    const uint64_t kind = rng_below(200);

    if (kind == 0)
        return (size_t)max;
    if (kind < 4)
        return (size_t)rng_below(max + 1);
    return (size_t)rng_below(max / (kind < 40 ? 16 : 64) + 9 < max ? max / (kind < 40 ? 16 : 64) + 9
                                                                   : max + 1);
}

Test(cursor, every_walk_agrees_with_a_model_while_the_ring_wraps_many_times)
{
    rng_start();
    for (size_t i = 0; i < COUNTOF(stores); i++) {
        const struct ts_options options =
            small_options(stores[i].num_blocks, stores[i].block_bytes, stores[i].codec, 1000);
        const uint64_t max = ts_max_record_bytes(&options);
        const struct ts_range any = {0};
        struct ts_store *store = must_create(STORE, &options);
        struct ts_view *view = must_view(STORE);
        struct ts_cursor *cursor;

        fprintf(stderr, "%s\n", stores[i].label);
        n_model = 0;
        cr_assert_eq(ts_cursor_open(view, &any, &cursor), TS_OK);
        for (unsigned k = 0; k < stores[i].n_appends; k++) {
            struct ts_state state;

            model_append(store, random_bytes(max));
            if (rng_below(15) != 0)
                continue;
            wait_for_sealer(store);
            ts_view_state(view, &state);
            cr_assert_eq(state.next_no, n_model + 1);
            cr_assert_leq(state.oldest_no, n_model, "the newest is always there");
            for (int turn = 0; turn < 3; turn++) {
                const struct ts_range range = random_range(&state);

                check_range(cursor, &range, &state);
            }
            check_range(cursor, &any, &state);
        }
        ts_cursor_close(cursor);
        ts_view_close(view);
        must_close(store);
        remove_tree(AT_FDCWD, file_path(STORE, ""));
    }
}

/* ---- single things ---- */

static struct ts_store *
store_of(uint64_t n_records)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);

    must_append_run(store, 1, n_records, 30);
    wait_for_sealer(store);
    return store;
}

Test(cursor, a_lapped_reader_learns_exactly_what_it_lost)
{
    struct ts_store *store = store_of(10);
    struct ts_view *view = must_view(STORE);
    const struct ts_range range = {
        .by_number = true, .has_from = true, .from_no = 1, .follow = true};
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_state state;
    struct ts_gap gap;
    uint64_t expected = 1;

    cr_assert_eq(ts_cursor_open(view, &range, &cursor), TS_OK);
    for (uint64_t id = 11; id < 4000; id += 397) {
        enum ts_step step;

        ts_view_state(view, &state);
        step = ts_cursor_next(cursor, &record, &gap);
        if (expected < state.oldest_no) {
            /* Also what it holds a copy of may be delivered first. */
            while (step == TS_STEP_RECORD) {
                cr_assert_eq(record.no, expected++);
                step = ts_cursor_next(cursor, &record, &gap);
            }
            cr_assert_eq(step, TS_STEP_GAP);
            cr_assert_eq(gap.from_no, expected);
            cr_assert_eq(gap.to_no, state.oldest_no - 1);
            cr_assert_eq(gap.lost, state.oldest_no - expected);
            expected = state.oldest_no;
            step = ts_cursor_next(cursor, &record, &gap);
        }
        cr_assert_eq(step, TS_STEP_RECORD);
        cr_assert_eq(record.no, expected++);
        cr_assert_eq(ts_cursor_position(cursor), expected);
        must_append_run(store, id, id + 396, 30);
        wait_for_sealer(store);
    }
    ts_cursor_close(cursor);
    ts_view_close(view);
    must_close(store);
}

Test(cursor, a_reader_resumes_by_the_position_it_had)
{
    struct ts_store *store = store_of(150);
    struct ts_view *view = ts_store_view(store);
    uint64_t expected, from_no;
    struct ts_state state;

    ts_view_state(view, &state);
    expected = from_no = state.oldest_no;
    while (expected < state.next_no) {
        const struct ts_range range = {
            .by_number = true, .has_from = true, .from_no = from_no, .limit = 7};
        struct ts_cursor *cursor;
        struct ts_record record;
        struct ts_gap gap;

        cr_assert_eq(ts_cursor_open(view, &range, &cursor), TS_OK);
        while (ts_cursor_next(cursor, &record, &gap) == TS_STEP_RECORD)
            cr_assert_eq(record.no, expected++);
        from_no = ts_cursor_position(cursor);
        cr_assert_eq(from_no, expected);
        ts_cursor_close(cursor);
    }
    must_close(store);
}

Test(cursor, following_ends_for_now_and_goes_on)
{
    struct ts_store *store = store_of(3);
    struct ts_view *view = must_view(STORE);
    const struct ts_range follow = {
        .by_number = true, .has_from = true, .from_no = 4, .follow = true};
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;

    cr_assert_eq(ts_cursor_open(view, &follow, &cursor), TS_OK);
    for (uint64_t id = 4; id < 700; id++) {
        cr_assert_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_END);
        must_append(store, id, (int64_t)id, 30);
        cr_assert_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_RECORD);
        cr_assert(record.no == id && record_is(id, record.data, record.bytes));
    }
    ts_cursor_close(cursor);
    ts_view_close(view);
    must_close(store);
}

Test(cursor, a_list_without_an_end_never_chases_the_writer)
{
    struct ts_store *store = store_of(20);
    const struct ts_range all = {0};
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    uint64_t n = 0;

    cr_assert_eq(ts_cursor_open(ts_store_view(store), &all, &cursor), TS_OK);
    while (ts_cursor_next(cursor, &record, &gap) == TS_STEP_RECORD) {
        n++;
        must_append(store, 20 + n, (int64_t)(20 + n), 30);
    }
    cr_expect_eq(n, 20u);
    ts_cursor_close(cursor);
    must_close(store);
}

Test(cursor, following_backwards_is_refused)
{
    struct ts_store *store = store_of(1);
    const struct ts_range range = {.backward = true, .follow = true};
    struct ts_cursor *cursor = NULL;

    cr_expect_eq(ts_cursor_open(ts_store_view(store), &range, &cursor), TS_E_PARAM);
    cr_expect_null(cursor);
    ts_cursor_close(NULL);
    must_close(store);
}

Test(cursor, a_time_is_found_or_told_to_be_unknown)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_ZSTD, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    const struct ts_range any = {0};
    struct ts_cursor *cursor;
    struct ts_record record;

    cr_assert_eq(ts_cursor_open(ts_store_view(store), &any, &cursor), TS_OK);
    cr_expect_eq(ts_cursor_find_time(cursor, 1, &record), TS_E_EMPTY);
    for (uint64_t id = 10; id <= 1000; id += 10)
        must_append(store, id, (int64_t)id, 20);
    for (int64_t time = 1; time <= 1010; time++) {
        const enum ts_err err = ts_cursor_find_time(cursor, time, &record);

        cr_assert_eq(err, time % 10 == 0 && time <= 1000 ? TS_OK : TS_E_NO_TIME, "time %jd",
                     (intmax_t)time);
        cr_assert(err != TS_OK ||
                  (record.time_ns == time && record_is((uint64_t)time, record.data, 20)));
    }
    cr_expect_eq(ts_cursor_find_time(cursor, INT64_MAX, &record), TS_E_NO_TIME);
    cr_expect_eq(ts_cursor_find_time(cursor, INT64_MIN, &record), TS_E_NO_TIME);
    ts_cursor_close(cursor);
    must_close(store);
}

Test(cursor, the_filter_folds_case_if_asked)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    struct ts_range range = {.filter = "needle", .filter_bytes = 6};
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;

    cr_assert_eq(ts_store_append(store, 1, "a NeedLE", 8, NULL), TS_OK);
    cr_assert_eq(ts_store_append(store, 2, "a needle", 8, NULL), TS_OK);
    cr_assert_eq(ts_store_append(store, 3, "none", 4, NULL), TS_OK);
    cr_assert_eq(ts_cursor_open(ts_store_view(store), &range, &cursor), TS_OK);
    cr_expect(ts_cursor_next(cursor, &record, &gap) == TS_STEP_RECORD && record.no == 2);
    cr_expect_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_END);
    range.filter_fold = true;
    cr_assert_eq(ts_cursor_restart(cursor, &range), TS_OK);
    cr_expect(ts_cursor_next(cursor, &record, &gap) == TS_STEP_RECORD && record.no == 1);
    cr_expect(ts_cursor_next(cursor, &record, &gap) == TS_STEP_RECORD && record.no == 2);
    cr_expect_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_END);
    ts_cursor_close(cursor);
    must_close(store);
}

Test(cursor, a_reset_is_told_and_what_comes_after_is_read)
{
    struct ts_store *store = store_of(300);
    struct ts_view *view = must_view(STORE);
    const struct ts_range follow = {.follow = true};
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    enum ts_step step;

    cr_assert_eq(ts_cursor_open(view, &follow, &cursor), TS_OK);
    cr_assert_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_RECORD);
    cr_assert_eq(ts_store_reset(store), TS_OK);
    while ((step = ts_cursor_next(cursor, &record, &gap)) == TS_STEP_RECORD)
        ;
    cr_assert_eq(step, TS_STEP_RESET);
    cr_assert_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_END);
    must_append(store, 5, 5, 30); /* any time */
    cr_assert_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_RECORD);
    cr_assert(record.no == 301 && record.time_ns == 5);
    ts_cursor_close(cursor);
    ts_view_close(view);
    must_close(store);
}

Test(cursor, damaged_times_in_an_open_block_do_not_lead_a_search_astray)
{
    const struct ts_options options = small_options(64, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    struct ts_slot *slot = ts_view_slot(&store->view, 0);

    must_append_run(store, 1, 12, 30); /* times 1 to 12 in the first open block */
    for (uint32_t bad = 0; bad < 12; bad++) {
        struct ts_slot_record *record =
            (void *)((uint8_t *)slot +
                     ts_slot_record_off(slot, store->view.geometry.open_bytes, bad));

        for (unsigned bit = 0; bit < 63; bit += 2) {
            record->time_ns ^= INT64_C(1) << bit;
            for (int64_t time = 1; time <= 12; time++) {
                const struct ts_range up = {.has_from = true, .from_time_ns = time};
                const struct ts_range down = {.has_to = true, .to_time_ns = time, .backward = true};
                struct ts_cursor *cursor;
                struct ts_record found;
                struct ts_gap gap;
                enum ts_step step;
                uint64_t n = 0;

                cr_assert_eq(ts_cursor_open(ts_store_view(store), &up, &cursor), TS_OK);
                while ((step = ts_cursor_next(cursor, &found, &gap)) != TS_STEP_END)
                    n += step == TS_STEP_RECORD;
                cr_assert_eq(n, 13 - (uint64_t)time - (bad + 1 >= time),
                             "record %u bit %u from %jd", bad, bit, (intmax_t)time);
                n = 0;
                cr_assert_eq(ts_cursor_restart(cursor, &down), TS_OK);
                while ((step = ts_cursor_next(cursor, &found, &gap)) != TS_STEP_END)
                    n += step == TS_STEP_RECORD;
                cr_assert_eq(n, (uint64_t)time - (bad + 1 <= time), "record %u bit %u to %jd", bad,
                             bit, (intmax_t)time);
                ts_cursor_close(cursor);
            }
            record->time_ns ^= INT64_C(1) << bit;
        }
    }
    must_close(store);
}

/* ---- beside a writer ---- */

static struct {
    struct ts_view *view;
    _Atomic uint64_t n_appended;
    _Atomic bool is_over;
    _Atomic uint64_t n_read, n_lost, n_laps;
} race;

/* Follows from the beginning: every number is a record or told to be lost, each once, in order. */
static void *
follow_main(void *arg)
{
    const struct ts_range range = {
        .by_number = true, .has_from = true, .from_no = 1, .follow = true};
    struct ts_cursor *cursor = NULL;
    struct ts_record record;
    struct ts_gap gap;
    uint64_t expected = 1;
    bool was_over = false;

    (void)arg;
    cr_assert_eq(ts_cursor_open(race.view, &range, &cursor), TS_OK);
    for (;;) {
        const enum ts_step step = ts_cursor_next(cursor, &record, &gap);

        if (step == TS_STEP_RECORD) {
            cr_assert_eq(record.no, expected, "number %ju, not %ju", (uintmax_t)record.no,
                         (uintmax_t)expected);
            cr_assert(record.time_ns == (int64_t)expected &&
                      record_is(expected, record.data, record.bytes));
            expected++;
            atomic_fetch_add_explicit(&race.n_read, 1, memory_order_relaxed);
        } else if (step == TS_STEP_GAP) {
            cr_assert(gap.from_no == expected && gap.lost == gap.to_no - gap.from_no + 1);
            expected = gap.to_no + 1;
            atomic_fetch_add_explicit(&race.n_lost, gap.lost, memory_order_relaxed);
            atomic_fetch_add_explicit(&race.n_laps, 1, memory_order_relaxed);
        } else {
            cr_assert_eq(step, TS_STEP_END, "step %d: %s", (int)step, ts_error_text());
            if (was_over)
                break;
            was_over = atomic_load(&race.is_over);
        }
    }
    cr_assert_eq(expected, atomic_load(&race.n_appended) + 1);
    ts_cursor_close(cursor);
    return NULL;
}

/* Walks lists in both directions: nothing inside of one is missing. */
static void *
list_main(void *arg)
{
    const bool backward = arg != NULL;
    struct ts_cursor *cursor = NULL;
    struct ts_range range = {.backward = backward, .limit = 40};
    struct ts_record record;
    struct ts_gap gap;

    cr_assert_eq(ts_cursor_open(race.view, &range, &cursor), TS_OK);
    while (!atomic_load(&race.is_over)) {
        const uint64_t appended = atomic_load_explicit(&race.n_appended, memory_order_acquire);
        uint64_t before = 0;
        enum ts_step step;

        cr_assert_eq(ts_cursor_restart(cursor, &range), TS_OK);
        while ((step = ts_cursor_next(cursor, &record, &gap)) != TS_STEP_END) {
            if (step == TS_STEP_GAP) {
                cr_assert_not(backward);
                cr_assert(before == 0 || gap.from_no == before + 1);
                before = gap.to_no;
                continue;
            }
            cr_assert_eq(step, TS_STEP_RECORD, "step %d: %s", (int)step, ts_error_text());
            cr_assert(record_is((uint64_t)record.time_ns, record.data, record.bytes));
            cr_assert(before == 0 || record.no == (backward ? before - 1 : before + 1),
                      "%ju behind %ju", (uintmax_t)record.no, (uintmax_t)before);
            if (before == 0 && backward)
                cr_assert_geq(record.no, appended, "what was acknowledged is seen");
            before = record.no;
        }
        range.by_number = !range.by_number;
    }
    ts_cursor_close(cursor);
    return NULL;
}

static void
run_race(const struct ts_options *options, uint64_t n_records, size_t large_bytes, size_t max_small)
{
    struct ts_store *store = must_create(STORE, options);
    pthread_t threads[3];

    memset(&race, 0, sizeof race);
    race.view = must_view(STORE);
    pthread_create(&threads[0], NULL, follow_main, NULL);
    pthread_create(&threads[1], NULL, list_main, NULL);
    pthread_create(&threads[2], NULL, list_main, "backward");
    for (uint64_t id = 1; id <= n_records; id++) {
        must_append(store, id, (int64_t)id, id % 61 == 0 ? large_bytes : id % (max_small + 1));
        atomic_store_explicit(&race.n_appended, id, memory_order_release);
        if (id % 997 == 0)
            sched_yield();
    }
    atomic_store(&race.is_over, true);
    for (size_t i = 0; i < COUNTOF(threads); i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(race.n_read + race.n_lost, n_records);
    fprintf(stderr, "%ju read, %ju lost in %ju laps\n", (uintmax_t)race.n_read,
            (uintmax_t)race.n_lost, (uintmax_t)race.n_laps);
    ts_view_close(race.view);
    must_close(store);
    remove_tree(AT_FDCWD, file_path(STORE, ""));
}

Test(cursor, readers_beside_a_writer_see_whole_records_and_learn_of_all_others)
{
    struct ts_options options = small_options(2, 512, TS_CODEC_NONE, TS_SYNC_NONE);

    run_race(&options, 40000, 600, 46);
    options = small_options(64, 1024, TS_CODEC_ZSTD, 1);
    run_race(&options, 40000, 5000, 46);
    options = small_options(1, 64, TS_CODEC_NONE, TS_SYNC_NONE);
    run_race(&options, 20000, 12, 12);
}

/* Looks again and again: at any moment the open blocks follow the ring and each other. */
static void *
look_main(void *arg)
{
    uint64_t next_no = 0, oldest_no = 0;

    (void)arg;
    while (!atomic_load(&race.is_over)) {
        const uint64_t appended = atomic_load_explicit(&race.n_appended, memory_order_acquire);
        struct ts_snapshot s;

        ts_view_snapshot(race.view, &s);
        for (unsigned i = 0; i < s.n_open; i++)
            cr_assert_eq(s.open[i].seq, s.sealed_seq + 1 + i, "block %ju at place %u behind %ju",
                         (uintmax_t)s.open[i].seq, i, (uintmax_t)s.sealed_seq);
        if (s.n_open == 2)
            cr_assert_eq(s.open[1].first_no, s.open[0].first_no + s.open[0].count,
                         "%u of %ju are seen", s.open[0].count,
                         (uintmax_t)(s.open[1].first_no - s.open[0].first_no));
        cr_assert(s.next_no > appended && s.next_no >= next_no && s.oldest_no >= oldest_no &&
                  s.oldest_no <= s.next_no);
        next_no = s.next_no;
        oldest_no = s.oldest_no;
    }
    return NULL;
}

Test(cursor, a_look_beside_a_writer_is_of_one_moment)
{
    /* Each record closes a block here, so that blocks change as fast as they can. */
    const struct ts_options tiny = small_options(1, 64, TS_CODEC_NONE, TS_SYNC_NONE);
    const struct ts_options small = small_options(4, 512, TS_CODEC_NONE, TS_SYNC_NONE);

    for (int turn = 0; turn < 2; turn++) {
        struct ts_store *store = must_create(STORE, turn == 0 ? &tiny : &small);
        pthread_t threads[2];

        memset(&race, 0, sizeof race);
        race.view = must_view(STORE);
        for (int i = 0; i < 2; i++)
            pthread_create(&threads[i], NULL, look_main, NULL);
        for (uint64_t id = 1; id <= 60000; id++) {
            must_append(store, id, (int64_t)id, id % 12);
            atomic_store_explicit(&race.n_appended, id, memory_order_release);
        }
        atomic_store(&race.is_over, true);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        ts_view_close(race.view);
        must_close(store);
        remove_tree(AT_FDCWD, file_path(STORE, ""));
    }
}

/* ---- age ---- */

#define SECOND INT64_C(1000000000)

static int64_t
clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

/* Of 1000 records a second apart, the newest of this moment, those older than `age_s` seconds and a
 * half must be invisible, whichever way one looks. */
static void
expect_age(struct ts_view *view, int64_t newest_ns, unsigned age_s)
{
    const uint64_t first_no = 1000 - age_s;
    const struct ts_range forward = {0}, backward = {.backward = true},
                          from = {.by_number = true, .has_from = true, .from_no = 10},
                          before = {.has_to = true, .to_time_ns = newest_ns - 800 * SECOND};
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_stats stats;
    struct ts_gap gap;
    uint64_t n = 0;

    cr_assert_eq(ts_cursor_open(view, &forward, &cursor), TS_OK);
    cr_assert_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_RECORD);
    cr_expect_eq(record.no, first_no, "%ju", (uintmax_t)record.no);
    cr_assert_eq(ts_cursor_restart(cursor, &backward), TS_OK);
    while (ts_cursor_next(cursor, &record, &gap) == TS_STEP_RECORD)
        cr_expect_eq(record.no, 1000 - n++);
    cr_expect_eq(n, 1000 - first_no + 1);
    /* Who asks for a number is told what is gone. */
    cr_assert_eq(ts_cursor_restart(cursor, &from), TS_OK);
    cr_assert_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_GAP);
    cr_expect(gap.from_no == 10 && gap.to_no == first_no - 1 && gap.lost == first_no - 10);
    cr_assert_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_RECORD);
    cr_expect_eq(record.no, first_no);
    cr_assert_eq(ts_cursor_restart(cursor, &before), TS_OK);
    cr_expect_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_END);
    cr_expect_eq(ts_cursor_find_time(cursor, newest_ns - 900 * SECOND, &record), TS_E_NO_TIME);
    cr_expect_eq(ts_cursor_find_time(cursor, newest_ns - 10 * SECOND, &record), TS_OK);
    ts_cursor_close(cursor);
    cr_assert_eq(ts_view_stats(view, &stats), TS_OK);
    cr_expect_eq(stats.oldest_time_ns, newest_ns - (int64_t)age_s * SECOND);
}

Test(cursor, records_older_than_the_store_keeps_are_invisible_also_after_reopening)
{
    struct ts_options options = small_options(512, 1024, TS_CODEC_NONE, TS_SYNC_NONE);
    const int64_t newest_ns = clock_now_ns();
    struct ts_store *store;
    uint8_t bytes[40];

    options.max_age_ns = 300 * SECOND + SECOND / 2;
    store = must_create(STORE, &options);
    for (uint64_t no = 1; no <= 1000; no++) {
        record_fill(no, bytes, sizeof bytes);
        cr_assert_eq(ts_store_append(store, newest_ns - (int64_t)(1000 - no) * SECOND, bytes,
                                     sizeof bytes, NULL),
                     TS_OK);
    }
    expect_age(ts_store_view(store), newest_ns, 300);
    must_close(store);
    store = must_open(STORE);
    expect_age(ts_store_view(store), newest_ns, 300);
    must_close(store);
}
