/* embed.c - what a program that embeds the store relies on: the shortcuts, the idioms that the
 * manual shows, and one store used from many threads at once.
 */
#include "tests/unit/store_scratch.h"

#include <pthread.h>
#include <stdatomic.h>

TestSuite(embed, .init = scratch_start, .fini = scratch_end, .timeout = 200);

#define TEXT(literal) (literal), sizeof(literal) - 1

static struct ts_store *
start(enum ts_type type)
{
    struct ts_options options = small_options(64, 1024, TS_CODEC_ZSTD, TS_SYNC_NONE);

    options.type = type;
    return must_create(STORE, &options);
}

/* A copy with nothing behind it, so that a sanitizer sees a step beyond the end. */
static char *
exact_copy(const char *text, size_t bytes)
{
    char *copy = malloc(bytes > 0 ? bytes : 1);

    memcpy(copy, text, bytes);
    return copy;
}

/* ---- one record ---- */

Test(embed, a_record_is_copied_to_the_callers_memory)
{
    struct ts_store *store = start(TS_TYPE_BINARY);
    struct ts_view *view = ts_store_view(store);
    struct ts_record record = {.no = 77};
    uint8_t *memory = malloc(100);

    cr_expect_eq(ts_view_get(view, 5, memory, 100, &record), TS_E_EMPTY);
    must_append_run(store, 1, 2000, 100); /* some are in the ring, the newest in an open block */
    cr_expect_eq(ts_view_get(view, 2001, memory, 100, &record), TS_E_NO_TIME);
    cr_expect_eq(ts_view_get(view, 1, memory, 100, &record), TS_E_NO_TIME, "overwritten");
    cr_expect_eq(record.no, 77u, "untouched on failure");
    for (uint64_t id = 1990; id <= 2000; id++) {
        memset(memory, 0, 100);
        cr_assert_eq(ts_view_get(view, (int64_t)id, memory, 100, &record), TS_OK, "%s",
                     ts_error_text());
        cr_expect(record.no == id && record.time_ns == (int64_t)id && record.bytes == 100);
        cr_expect_eq(record.data, memory);
        cr_expect(record_is(id, memory, 100));
    }
    free(memory);
    must_close(store);
}

Test(embed, memory_that_is_too_small_stays_as_it_was_and_the_size_is_told)
{
    struct ts_store *store = start(TS_TYPE_BINARY);
    struct ts_view *view = ts_store_view(store);
    struct ts_record record = {0};
    char memory[] = "1234";

    cr_assert_eq(ts_store_append(store, 1, "abcde", 5, NULL), TS_OK);
    cr_assert_eq(ts_store_append(store, 2, NULL, 0, NULL), TS_OK);
    cr_expect_eq(ts_view_get(view, 1, memory, 4, &record), TS_E_LIMIT);
    cr_expect_str_eq(ts_error_text(), "store s: the record has 5 bytes, there is room for 4");
    cr_expect(record.no == 1 && record.bytes == 5 && record.data == NULL);
    cr_expect_str_eq(memory, "1234");
    cr_expect_eq(ts_view_get(view, 1, NULL, 0, &record), TS_E_LIMIT);
    cr_expect_eq(ts_view_get(view, 2, NULL, 0, &record), TS_OK, "an empty record needs no memory");
    cr_expect(record.no == 2 && record.bytes == 0);
    must_close(store);
}

/* ---- JSON ---- */

static const struct {
    const char *text;
    size_t bytes;
    const char *stored; /* NULL: refused */
} texts[] = {
    {TEXT("{\"t\":21.50}"), "{\"t\":21.50}"},
    {TEXT(" \n[1, 2]\t"), "[1, 2]"},
    {TEXT("null"), "null"},
    {TEXT("12345678901234567890"), "12345678901234567890"},
    {TEXT(""), NULL},
    {TEXT("  "), NULL},
    {TEXT("{\"t\":"), NULL},
    {TEXT("{\"t\":NaN}"), NULL},
    {TEXT("{} {}"), NULL},
    {TEXT("{'t':1}"), NULL},
    {TEXT("\"\xff\""), NULL},
    {TEXT("{}\0"), NULL},
};

Test(embed, only_json_is_appended_as_json)
{
    struct ts_store *store = start(TS_TYPE_JSON);
    struct ts_record record;
    char memory[64];

    for (size_t i = 0; i < COUNTOF(texts); i++) {
        char *text = exact_copy(texts[i].text, texts[i].bytes);
        struct ts_appended done = {.record_no = 77};
        const int64_t time_ns = (int64_t)i + 1;
        enum ts_err err = ts_store_append_json(store, time_ns, text, texts[i].bytes, &done);

        cr_expect_eq(err, texts[i].stored != NULL ? TS_OK : TS_E_JSON, "row %zu", i);
        cr_expect_eq(ts_json_is_valid(text, texts[i].bytes), texts[i].stored != NULL, "row %zu", i);
        cr_expect_eq(done.time_ns, err == TS_OK ? time_ns : 0);
        if (err == TS_OK) {
            cr_assert_eq(
                ts_view_get_json(ts_store_view(store), time_ns, memory, sizeof memory, &record),
                TS_OK);
            cr_expect(record.bytes == strlen(texts[i].stored) &&
                          memcmp(memory, texts[i].stored, record.bytes) == 0,
                      "row %zu", i);
        }
        free(text);
    }
    cr_expect_not(ts_json_is_valid(NULL, 0));
    cr_expect_eq(ts_store_append_json(store, 0, NULL, 0, NULL), TS_E_JSON);
    cr_expect_str_eq(ts_error_text(), "unexpected end of JSON input");
    cr_expect_eq(ts_store_append_json(store, 1, TEXT("{}"), NULL), TS_E_ORDER);
    must_close(store);
}

Test(embed, a_record_that_is_no_json_is_not_given_as_json)
{
    struct ts_store *store = start(TS_TYPE_JSON);
    struct ts_record record = {.no = 77};
    char memory[8] = "";

    /* The plain call takes any bytes. */
    cr_assert_eq(ts_store_append(store, 1, TEXT("{\"t\":"), NULL), TS_OK);
    cr_expect_eq(ts_view_get_json(ts_store_view(store), 1, memory, sizeof memory, &record),
                 TS_E_JSON);
    cr_expect(record.no == 77 && memory[0] == '\0');
    cr_expect_eq(ts_view_get(ts_store_view(store), 1, memory, sizeof memory, &record), TS_OK);
    must_close(store);
}

/* ---- the store as a whole ---- */

Test(embed, an_open_store_tells_its_options_path_sizes_and_figures)
{
    struct ts_store *store = start(TS_TYPE_TEXT);
    struct ts_view *view = ts_store_view(store);
    struct ts_stats stats;
    char path[128];

    snprintf(path, sizeof path, "%s/" STORE, scratch);
    must_append_run(store, 1, 10, 20);
    cr_expect_eq(ts_view_options(view)->type, TS_TYPE_TEXT);
    cr_expect_eq(ts_view_options(view)->num_blocks, 64u);
    cr_expect_str_eq(ts_view_path(view), path);
    cr_expect_str_eq(ts_view_name(view), STORE);
    cr_expect_gt(ts_max_record_bytes(ts_view_options(view)), 1024u);
    cr_assert_eq(ts_view_stats(view, &stats), TS_OK);
    cr_expect(stats.n_records == 10 && stats.oldest_time_ns == 1 && stats.newest_time_ns == 10);
    must_close(store);
}

Test(embed, a_store_is_removed_unless_somebody_writes_it)
{
    struct ts_store *store = start(TS_TYPE_TEXT);
    struct ts_view *view = must_view(STORE);

    cr_expect_eq(ts_store_remove(scratch, STORE), TS_E_LOCKED);
    must_close(store);
    cr_expect_not(ts_view_is_stale(view));
    cr_expect_eq(ts_store_remove(scratch, STORE), TS_OK);
    cr_expect(ts_view_is_stale(view));
    cr_expect_eq(ts_store_remove(scratch, STORE), TS_OK, "there is none");
    cr_expect_eq(ts_store_remove(scratch, "../x"), TS_E_NAME);
    cr_expect_eq(scratch_count(), 0);
    ts_view_close(view);
}

/* Both open blocks were used before the reset, one is used after it. */
Test(embed, a_store_that_was_reset_opens_for_new_readers_and_again_for_its_writer)
{
    struct ts_store *store = start(TS_TYPE_BINARY);
    struct ts_recovery recovery;

    for (int turn = 0; turn < 3; turn++) {
        must_append_run(store, 1, 300, 100);
        cr_assert_eq(ts_store_reset(store), TS_OK);
        ts_view_close(must_view(STORE));
        must_append_run(store, 1, 3, 100);
        ts_view_close(must_view(STORE));
        must_close(store);
        ts_view_close(must_view(STORE));
        store = must_open(STORE);
        ts_store_recovery(store, &recovery);
        cr_expect(recovery.was_clean && recovery.n_damaged == 0, "%s", recovery.text);
        cr_expect_eq(ts_store_append(store, 3, "x", 1, NULL), TS_E_ORDER);
        cr_assert_eq(ts_store_reset(store), TS_OK);
    }
    must_close(store);
}

/* ---- what the manual shows ---- */

/* Numbers of the records of a walk, "1 2 3"; then the step that ended it if it is not the end. */
static const char *
numbers(struct ts_view *view, struct ts_range range)
{
    static const char *const steps[] = {"", " gap", " damaged", " reset", "", " gone"};
    static char text[256];
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    enum ts_step step;
    size_t used = 0;

    text[0] = '\0';
    cr_assert_eq(ts_cursor_open(view, &range, &cursor), TS_OK);
    while ((step = ts_cursor_next(cursor, &record, &gap)) == TS_STEP_RECORD)
        used += (size_t)snprintf(text + used, sizeof text - used, used > 0 ? " %ju" : "%ju",
                                 (uintmax_t)record.no);
    snprintf(text + used, sizeof text - used, "%s", steps[step]);
    ts_cursor_close(cursor);
    return text;
}

Test(embed, lists_of_the_original_are_ranges_of_a_cursor)
{
    struct ts_store *store = start(TS_TYPE_BINARY);
    struct ts_view *view = ts_store_view(store);

    must_append_run(store, 1, 9, 100);
    cr_expect_str_eq(numbers(view, (struct ts_range){.limit = 3}), "1 2 3");
    cr_expect_str_eq(numbers(view, (struct ts_range){.backward = true, .limit = 3}), "9 8 7");
    cr_expect_str_eq(numbers(view, (struct ts_range){.has_from = true, .from_time_ns = 8}), "8 9");
    cr_expect_str_eq(numbers(view, (struct ts_range){.has_from = true,
                                                     .has_to = true,
                                                     .from_time_ns = 3,
                                                     .to_time_ns = 5}),
                     "3 4 5");
    must_close(store);
}

Test(embed, a_record_number_is_a_handle_that_tells_when_its_record_is_gone)
{
    struct ts_store *store = start(TS_TYPE_BINARY);
    struct ts_view *view = ts_store_view(store);
    struct ts_range one = {
        .by_number = true, .has_from = true, .has_to = true, .from_no = 4, .to_no = 4};

    must_append_run(store, 1, 9, 100);
    cr_expect_str_eq(numbers(view, one), "4");
    cr_assert_eq(ts_store_delete_time(store, 4), TS_OK);
    cr_expect_str_eq(numbers(view, one), "", "deleted");
    one.from_no = one.to_no = 10;
    cr_expect_str_eq(numbers(view, one), "", "not written yet");
    must_append_run(store, 10, 3000, 100);
    one.from_no = one.to_no = 5;
    cr_expect_str_eq(numbers(view, one), " gap", "overwritten");
    must_close(store);
}

/* ---- threads ---- */

#define N_APPENDERS 4
#define N_READERS 2
#define N_EACH 2000  /* records of each appender, at least */
#define N_RESETS 12  /* at least */
#define N_DELETES 40 /* at least */

static struct {
    struct ts_store *store;
    _Atomic bool is_over;
    _Atomic unsigned n_resets, n_deletes;
} shared;

static void
pause_us(long us)
{
    nanosleep(&(struct timespec){0, us * 1000}, NULL);
}

static bool
is_enough(uint64_t n)
{
    return n >= N_EACH && atomic_load(&shared.n_resets) >= N_RESETS &&
           atomic_load(&shared.n_deletes) >= N_DELETES;
}

/* The first byte of a record is the number of its appender, but for JSON's. */
static uint64_t
id_of(uint64_t thread, uint64_t n)
{
    return n << 8 | thread;
}

static size_t
size_of(uint64_t n)
{
    return sizeof n + n % 150;
}

static void
append_one(uint64_t n)
{
    uint8_t bytes[200];

    record_fill(id_of(0, n), bytes, size_of(n));
    cr_assert_eq(ts_store_append(shared.store, 0, bytes, size_of(n), NULL), TS_OK, "%s",
                 ts_error_text());
}

/* Four at once: each on its own, or all together. */
static void
append_four(uint64_t thread, uint64_t n)
{
    uint8_t bytes[4][200];
    struct ts_batch_item items[4];
    size_t bad;

    for (size_t i = 0; i < 4; i++) {
        record_fill(id_of(thread, n + i), bytes[i], size_of(n + i));
        items[i] = (struct ts_batch_item){.data = bytes[i], .bytes = size_of(n + i)};
    }
    if (thread == 1)
        cr_assert_eq(ts_store_append_batch(shared.store, items, 4), 4u, "%s", ts_error_text());
    else
        cr_assert_eq(ts_store_append_all(shared.store, items, 4, &bad), TS_OK, "%s",
                     ts_error_text());
    cr_assert_eq(items[3].done.record_no > items[0].done.record_no, true);
}

static void
append_json(uint64_t n)
{
    struct ts_appended done;
    char text[64];
    int bytes = snprintf(text, sizeof text, "{\"n\":%ju}", (uintmax_t)n);

    cr_assert_eq(ts_store_append_json(shared.store, 0, text, (size_t)bytes, &done), TS_OK, "%s",
                 ts_error_text());
    if (n % 100 == 0)
        cr_assert_eq(ts_store_commit(shared.store, done.record_no), TS_OK, "%s", ts_error_text());
}

static void *
appender_main(void *arg)
{
    const uint64_t thread = (uint64_t)(uintptr_t)arg;

    for (uint64_t n = 0; !is_enough(n); n += thread == 1 || thread == 2 ? 4 : 1) {
        if (thread == 0)
            append_one(n);
        else if (thread == 3)
            append_json(n);
        else
            append_four(thread, n);
        if (n >= N_EACH)
            pause_us(100); /* the others are not there yet */
    }
    return NULL;
}

/* What a reader knows of what it saw. */
struct seen {
    uint64_t n_records, n_resets, last_no;
    int64_t last_time_ns;
    uint64_t next[N_APPENDERS]; /* the least that may come of each appender */
};

static void
check_record(struct seen *seen, const struct ts_record *record)
{
    uint64_t thread, n;

    cr_assert_gt(record->no, seen->last_no);
    cr_assert_gt(record->time_ns, seen->last_time_ns);
    if (record->data[0] == '{') {
        char text[64] = "";

        cr_assert(record->bytes < sizeof text &&
                  ts_json_is_valid((const char *)record->data, record->bytes));
        memcpy(text, record->data, record->bytes);
        thread = 3;
        n = strtoull(text + 5, NULL, 10);
    } else {
        uint64_t id;

        cr_assert_geq(record->bytes, sizeof id);
        memcpy(&id, record->data, sizeof id);
        thread = id & 255;
        n = id >> 8;
        cr_assert(thread < 3 && record->bytes == size_of(n) &&
                  record_is(id, record->data, record->bytes));
    }
    cr_assert_geq(n, seen->next[thread], "appender %ju", (uintmax_t)thread);
    seen->next[thread] = n + 1;
    seen->last_no = record->no;
    seen->last_time_ns = record->time_ns;
    seen->n_records++;
}

/* Until nothing more is there. */
static void
drain(struct ts_cursor *cursor, struct seen *seen)
{
    struct ts_record record;
    struct ts_gap gap;
    enum ts_step step;

    while ((step = ts_cursor_next(cursor, &record, &gap)) != TS_STEP_END) {
        cr_assert(step == TS_STEP_RECORD || step == TS_STEP_GAP || step == TS_STEP_RESET,
                  "step %d: %s", (int)step, ts_error_text());
        if (step == TS_STEP_RECORD) {
            check_record(seen, &record);
        } else if (step == TS_STEP_GAP) {
            cr_assert(gap.from_no > seen->last_no && gap.lost == gap.to_no - gap.from_no + 1);
            seen->last_no = gap.to_no;
        } else {
            seen->last_time_ns = 0;
            seen->n_resets++;
        }
    }
}

static void *
reader_main(void *arg)
{
    const struct ts_range range = {.follow = true};
    struct ts_view *view = ts_store_view(shared.store);
    struct ts_cursor *cursor;
    struct ts_state state;
    struct ts_stats stats;
    struct seen *seen = arg;
    bool is_over;

    cr_assert_eq(ts_cursor_open(view, &range, &cursor), TS_OK);
    do {
        is_over = atomic_load(&shared.is_over); /* before the last look */
        drain(cursor, seen);
        cr_assert_eq(ts_view_stats(view, &stats), TS_OK);
        cr_assert_leq(stats.state.oldest_no, stats.state.next_no);
        pause_us(200);
    } while (!is_over);
    ts_view_state(view, &state);
    cr_expect_eq(ts_cursor_position(cursor), state.next_no);
    ts_cursor_close(cursor);
    return NULL;
}

/* Deletes whatever is the newest, over and over; what was deleted is gone at once. */
static void *
deleter_main(void *arg)
{
    struct ts_view *view = ts_store_view(shared.store);
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;

    (void)arg;
    cr_assert_eq(ts_cursor_open(view, &(struct ts_range){.limit = 1}, &cursor), TS_OK);
    while (!atomic_load(&shared.is_over)) {
        enum ts_err err = TS_E_EMPTY;

        cr_assert_eq(ts_cursor_restart(cursor, &(struct ts_range){.backward = true, .limit = 1}),
                     TS_OK);
        if (ts_cursor_next(cursor, &record, &gap) == TS_STEP_RECORD)
            err = ts_store_delete_time(shared.store, record.time_ns);
        cr_assert(err == TS_OK || err == TS_E_NO_TIME || err == TS_E_EMPTY, "%s", ts_error_text());
        if (err == TS_OK) {
            const struct ts_range one = {.by_number = true,
                                         .has_from = true,
                                         .has_to = true,
                                         .from_no = record.no,
                                         .to_no = record.no};

            cr_assert_eq(ts_cursor_restart(cursor, &one), TS_OK);
            cr_assert_neq(ts_cursor_next(cursor, &record, &gap), TS_STEP_RECORD);
            atomic_fetch_add(&shared.n_deletes, 1);
        }
        pause_us(500);
    }
    ts_cursor_close(cursor);
    return NULL;
}

static void *
resetter_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&shared.is_over)) {
        pause_us(10000);
        cr_assert_eq(ts_store_reset(shared.store), TS_OK, "%s", ts_error_text());
        atomic_fetch_add(&shared.n_resets, 1);
    }
    return NULL;
}

Test(embed, a_store_may_be_used_by_many_threads_for_all_it_does)
{
    pthread_t appenders[N_APPENDERS], others[N_READERS + 2];
    struct seen seen[N_READERS] = {0};
    struct walk walk;
    struct ts_view *view;

    shared.store = start(TS_TYPE_BINARY);
    for (size_t i = 0; i < N_READERS; i++)
        pthread_create(&others[i], NULL, reader_main, &seen[i]);
    pthread_create(&others[N_READERS], NULL, deleter_main, NULL);
    pthread_create(&others[N_READERS + 1], NULL, resetter_main, NULL);
    for (size_t i = 0; i < N_APPENDERS; i++)
        pthread_create(&appenders[i], NULL, appender_main, (void *)(uintptr_t)i);
    for (size_t i = 0; i < N_APPENDERS; i++)
        pthread_join(appenders[i], NULL);
    atomic_store(&shared.is_over, true);
    for (size_t i = 0; i < COUNTOF(others); i++)
        pthread_join(others[i], NULL);
    for (size_t i = 0; i < N_READERS; i++) {
        cr_expect_gt(seen[i].n_records, 0u);
        cr_expect_gt(seen[i].n_resets, 0u);
    }
    must_append(shared.store, 7, 0, 8);
    must_close(shared.store);
    view = must_view(STORE); /* and the files are those of an orderly store */
    walk = walk_view(view, 0, false);
    cr_expect(walk.n_records > 0 && walk.n_damaged == 0 && walk.n_gap == 0, "%s", walk.text);
    ts_view_close(view);
}

/* ---- resets without a pause ---- */

#define N_STORM 20000 /* resets, at most */
#define STORM_SECONDS 4

/* Follows; nothing was damaged, and nothing comes twice, whatever a reset does meanwhile. */
static void *
storm_reader_main(void *arg)
{
    const struct ts_range range = {.follow = true};
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    uint64_t last_no = 0;

    (void)arg;
    cr_assert_eq(ts_cursor_open(ts_store_view(shared.store), &range, &cursor), TS_OK);
    while (!atomic_load(&shared.is_over)) {
        const enum ts_step step = ts_cursor_next(cursor, &record, &gap);

        cr_assert(step != TS_STEP_DAMAGED && step != TS_STEP_GONE, "%s", ts_error_text());
        if (step == TS_STEP_RECORD || step == TS_STEP_GAP) {
            cr_assert_gt(step == TS_STEP_RECORD ? record.no : gap.from_no, last_no);
            last_no = step == TS_STEP_RECORD ? record.no : gap.to_no;
        }
    }
    ts_cursor_close(cursor);
    return NULL;
}

static void *
storm_opener_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&shared.is_over))
        ts_view_close(must_view(STORE));
    return NULL;
}

Test(embed, a_reset_is_never_taken_for_damage)
{
    const time_t end = time(NULL) + STORM_SECONDS;
    pthread_t threads[3];

    shared.store = start(TS_TYPE_BINARY);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, i < 2 ? storm_reader_main : storm_opener_main, NULL);
    for (int n = 0; n < N_STORM && time(NULL) < end; n++) {
        for (int i = 0; i < n % 7; i++)
            cr_assert_eq(ts_store_append(shared.store, 0, "hello", 5, NULL), TS_OK);
        cr_assert_eq(ts_store_reset(shared.store), TS_OK);
    }
    atomic_store(&shared.is_over, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    must_close(shared.store);
}
