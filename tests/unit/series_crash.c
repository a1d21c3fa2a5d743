/* series_crash.c - the series table after kills, power failures and damage.
 *
 * A child changes a shared table one machine instruction at a time; every state of the bytes on the
 * way is what kill -9 would leave, and mixing its sectors with those of the last sync gives what
 * power failures leave.
 */
#include "tests/unit/series_scratch.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#define SECTOR 512u
#define N_SERIES 12u
#define N_KEYS 14u

TestSuite(series_crash, .timeout = 110);

/* Ids of keys that share one hash chain; some are long. */
static uint32_t ids[N_KEYS];

static void
choose_ids(const struct ts_series *series)
{
    uint8_t key[TS_MAX_KEY_BYTES];
    uint32_t n = 0;

    for (uint32_t id = 0; n < N_KEYS; id++) {
        const size_t bytes = key_fill(id, key);

        if (ts_series_hash(series, key, bytes) % series->n_buckets == 3 && (id < 300 || n < 11))
            ids[n++] = id;
    }
}

static struct table
copy_of(const struct table *table, const uint8_t *image)
{
    struct table copy = {.map = {.bytes = table->map.bytes}};

    copy.map.base = shared_bytes(copy.map.bytes);
    memcpy(copy.map.base, image, copy.map.bytes);
    return copy;
}

/* ---- killed anywhere ---- */

/* What is true of a key in the states before and after the change. */
struct truth {
    uint32_t no[N_KEYS];
    uint64_t born_no[N_KEYS];
};

static struct truth
truth_of(const struct ts_series *series)
{
    struct truth truth = {0};

    for (uint32_t i = 0; i < N_KEYS; i++)
        truth.no[i] = number_of(series, ids[i], &truth.born_no[i]);
    return truth;
}

/* Each key is as it was, or as it became; what did not change must be there. */
static void
expect_between(const struct truth *now, const struct truth *before, const struct truth *after,
               const char *what)
{
    for (uint32_t i = 0; i < N_KEYS; i++) {
        const bool is_old = now->no[i] == before->no[i] && now->born_no[i] == before->born_no[i];
        const bool is_new = now->no[i] == after->no[i] && now->born_no[i] == after->born_no[i];

        cr_assert(is_old || is_new, "%s: key %u is number %u, was %u, becomes %u", what, i,
                  now->no[i], before->no[i], after->no[i]);
    }
}

/* A later writer opens what was left. */
static void
expect_opens(const struct table *table, const uint8_t *image, const struct truth *before,
             const struct truth *after, uint32_t most_dropped, const char *what)
{
    struct table copy = copy_of(table, image);
    struct truth now;
    uint32_t no;

    table_open(&copy);
    cr_assert_leq(copy.writer.n_dropped, most_dropped, "%s: %u dropped", what,
                  copy.writer.n_dropped);
    expect_sound(&copy);
    now = truth_of(&copy.series);
    expect_between(&now, before, after, what);
    table_synced(&copy);
    for (uint32_t i = 0; i < N_KEYS && add(&copy, ids[i], 1000, &no) == TS_OK; i++)
        ;
    expect_sound(&copy);
    table_free(&copy);
}

enum change { ADD_SHORT, ADD_LONG, RETIRE, CLEAR, OPEN, N_CHANGES };

static bool
all_but_some(void *ctx, uint32_t no)
{
    (void)ctx;
    return no != 2 && no != 5 && no != 6;
}

static void
do_change(struct table *table, enum change change)
{
    uint32_t no;

    if (change == ADD_SHORT || change == ADD_LONG)
        (void)!add(table, ids[change == ADD_SHORT ? 10 : 11], 500, &no);
    else if (change == RETIRE)
        ts_series_retire(&table->writer, EVER, all_but_some, NULL);
    else if (change == CLEAR)
        ts_series_clear(&table->writer);
    else
        (void)!ts_series_writer_init(&table->writer, &table->series);
}

static bool
is_permitted(void)
{
    const pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : 1);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Runs the change in a child, and look() at the bytes whenever they moved. Returns how often. */
static uint32_t
step_through(struct table *table, enum change change,
             void (*look)(const struct table *table, const uint8_t *image, void *ctx), void *ctx)
{
    uint8_t *seen = malloc(table->map.bytes);
    const pid_t pid = fork();
    uint32_t n = 0;
    int status;

    cr_assert(pid >= 0);
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        do_change(table, change);
        _exit(0);
    }
    memcpy(seen, table->map.base, table->map.bytes);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    while (WIFSTOPPED(status)) {
        cr_assert(WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP);
        if (memcmp(seen, table->map.base, table->map.bytes) != 0) {
            memcpy(seen, table->map.base, table->map.bytes);
            look(table, seen, ctx);
            n++;
        }
        cr_assert_eq((int)ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
    }
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    free(seen);
    return n;
}

struct look {
    const char *what;
    struct truth before, after;
    const uint8_t *synced; /* borrowed: the bytes before the change */
    uint8_t *mix;          /* owned */
};

static void
mix_sectors(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += SECTOR) {
        const size_t part = bytes - at < SECTOR ? bytes - at : SECTOR;

        memcpy(out + at, rng_below(2) == 0 ? a + at : b + at, part);
    }
}

static void
look_at_state(const struct table *table, const uint8_t *image, void *ctx)
{
    struct look *look = ctx;
    struct table copy = copy_of(table, image);
    struct truth now;

    /* A reader that nobody opened anything for. */
    cr_assert_eq(ts_series_check(&copy.map, STORE_ID, &copy.series), TS_OK);
    now = truth_of(&copy.series);
    expect_between(&now, &look->before, &look->after, look->what);
    table_free(&copy);
    expect_opens(table, image, &look->before, &look->after, 0, look->what);
    /* The kernel may write a page at any moment, and power may fail. */
    for (int i = 0; i < 3; i++) {
        mix_sectors(look->mix, look->synced, image, table->map.bytes);
        expect_opens(table, look->mix, &look->before, &look->after, 4, look->what);
    }
}

/* Ten keys in one chain. Number 4, in the middle of it, is given out next, and was never used. */
static struct table
new_table(void)
{
    struct table table = table_new(N_SERIES, 200);
    uint32_t *const free_nos = table.writer.free_nos;

    choose_ids(&table.series);
    free_nos[N_SERIES - 4] = free_nos[0];
    free_nos[0] = 4;
    for (uint32_t i = 0; i < 10; i++)
        ts_series_note_block(&table.series, must_add(&table, ids[i], i + 1), 9);
    free_nos[0] = free_nos[1];
    free_nos[1] = 4;
    return table;
}

static uint32_t
kill_anywhere(enum change change, const char *what)
{
    struct table table = new_table(), after;
    uint8_t *synced = malloc(table.map.bytes);
    struct look look = {.what = what, .synced = synced, .mix = malloc(table.map.bytes)};
    uint32_t n;

    memcpy(synced, table.map.base, table.map.bytes);
    look.before = truth_of(&table.series);
    after = new_table(); /* the same again, to know what comes out */
    do_change(&after, change);
    look.after = truth_of(&after.series);
    table_free(&after);
    n = step_through(&table, change, look_at_state, &look);
    table_free(&table);
    free(synced);
    free(look.mix);
    return n;
}

Test(series_crash, killed_at_any_instruction_each_key_is_as_before_or_as_after)
{
    static const struct {
        const char *what;
        enum change change;
        uint32_t least; /* states, at any width of stores */
    } changes[] = {{"add a short key", ADD_SHORT, 6},
                   {"add a long key", ADD_LONG, 30},
                   {"retire three", RETIRE, 12},
                   {"clear", CLEAR, 20}};

    if (!is_permitted()) {
        cr_log_warn("tracing a child is forbidden here: nothing was tried");
        return;
    }
    rng_start();
    for (size_t i = 0; i < COUNTOF(changes); i++) {
        const uint32_t n = kill_anywhere(changes[i].change, changes[i].what);

        cr_expect_geq(n, changes[i].least, "%s: %u states", changes[i].what, n);
    }
}

#define N_PICKED 6u

struct pick {
    uint8_t *images; /* owned */
    uint32_t n, n_seen, of;
};

static void
pick_state(const struct table *table, const uint8_t *image, void *ctx)
{
    struct pick *pick = ctx;

    if (pick->n_seen++ % pick->of == 0 && pick->n < N_PICKED)
        memcpy(pick->images + table->map.bytes * pick->n++, image, table->map.bytes);
}

Test(series_crash, opening_after_a_kill_may_be_killed_too_and_hides_no_key_meanwhile)
{
    struct table table = new_table();
    uint8_t *synced = malloc(table.map.bytes);
    struct pick pick = {.images = malloc(N_PICKED * table.map.bytes), .of = 3};
    struct look look = {.what = "open", .synced = synced, .mix = malloc(table.map.bytes)};

    if (is_permitted()) {
        rng_start();
        look.before = truth_of(&table.series);
        memcpy(synced, table.map.base, table.map.bytes);
        step_through(&table, RETIRE, pick_state, &pick);
        look.after = truth_of(&table.series);
        cr_assert_geq(pick.n, 4u);
        for (uint32_t i = 0; i < pick.n; i++) {
            memcpy(table.map.base, pick.images + table.map.bytes * i, table.map.bytes);
            cr_assert_geq(step_through(&table, OPEN, look_at_state, &look), 2u);
        }
    }
    table_free(&table);
    free(pick.images);
    free(synced);
    free(look.mix);
}

/* ---- power failures ---- */

/* A table, and what of it is on the disk. */
struct powered {
    struct table memory, disk;
    uint64_t next_born_no, n_lost, n_again, n_failures;
};

static void
sync_to_disk(struct powered *p)
{
    memcpy(p->disk.map.base, p->memory.map.base, p->memory.map.bytes);
    table_synced(&p->memory);
}

static void
fail_power(struct powered *p)
{
    mix_sectors(p->memory.map.base, p->disk.map.base, p->memory.map.base, p->memory.map.bytes);
    memcpy(p->disk.map.base, p->memory.map.base, p->memory.map.bytes);
    ts_series_writer_done(&p->memory.writer);
    table_open(&p->memory);
    expect_sound(&p->memory);
    p->n_failures++;
}

/* Adds a key. A number that means a new key from now on must mean nothing on the disk. */
static void
add_powered(struct powered *p, uint32_t id)
{
    uint64_t born_no;
    const bool is_known = number_of(&p->memory.series, id, &born_no) != 0;
    uint32_t no = 0;

    if (add(&p->memory, id, p->next_born_no, &no) != TS_OK || is_known)
        return;
    cr_assert_not(ts_series_is_used(&p->disk.series, no), "number %u is another key on the disk",
                  no);
    p->next_born_no++;
    ts_series_note_block(&p->memory.series, no, p->next_born_no);
    p->n_again++;
}

/* Every key is one that was added, whole, and of two entries the newer one counts. */
static void
expect_known_keys(struct powered *p, const uint64_t *born_no, uint32_t n_ids)
{
    uint8_t key[TS_MAX_KEY_BYTES], want[TS_MAX_KEY_BYTES];
    uint64_t found_born_no;
    uint32_t no = 0, id;
    size_t bytes;

    while (ts_series_next(&p->memory.series, &no, key, &bytes, &found_born_no)) {
        memcpy(&id, key + bytes - sizeof id, sizeof id);
        cr_assert(id < n_ids && key_fill(id, want) == bytes && memcmp(key, want, bytes) == 0);
        cr_assert_leq(found_born_no, born_no[id]);
        p->n_lost += found_born_no != born_no[id];
    }
}

Test(series_crash, no_power_failure_tears_a_key_or_gives_a_number_to_two)
{
    enum { N_IDS = 120 };
    struct powered p = {.memory = table_new(40, 60), .disk = table_new(40, 60), .next_born_no = 1};
    uint64_t newest_born_no[N_IDS] = {0}, born_no;

    rng_start();
    sync_to_disk(&p);
    for (uint64_t step = 1; step <= 40000; step++) {
        const uint64_t what = rng_below(1000);
        const uint32_t id = (uint32_t)rng_below(N_IDS);

        if (what < 700) {
            add_powered(&p, id);
            if (number_of(&p.memory.series, id, &born_no) != 0)
                newest_born_no[id] = born_no;
        } else if (what < 900) {
            ts_series_retire(&p.memory.writer, rng_below(p.next_born_no + 1), nothing_in_use, NULL);
        } else if (what < 950) {
            sync_to_disk(&p);
        } else if (what < 970) {
            table_open((ts_series_writer_done(&p.memory.writer), &p.memory)); /* killed */
            cr_assert_eq(p.memory.writer.n_dropped, 0u);
        } else if (what < 990) {
            fail_power(&p);
            expect_known_keys(&p, newest_born_no, N_IDS);
        }
    }
    cr_expect(p.n_again > 1000 && p.n_failures > 100, "%ju added, %ju failures",
              (uintmax_t)p.n_again, (uintmax_t)p.n_failures);
    table_free(&p.memory);
    table_free(&p.disk);
}

Test(series_crash, a_key_that_came_back_beside_its_newer_entry_is_the_newer_one)
{
    for (int round = 0; round < 2; round++) {
        struct table table = table_new(4, 68), copy;
        uint64_t born_no = 0;
        uint8_t *old = malloc(table.map.bytes);
        const uint32_t number =
            round == 0 ? 1 : 3; /* the older one has the smaller number, or not */
        size_t off;

        must_add(&table, 0, 1);
        must_add(&table, 6, 1);
        must_add(&table, 12, 1);
        off = (size_t)((uint8_t *)&table.series.entries[number - 1] - table.map.base);
        table_reopen(&table);
        memcpy(old, table.map.base, table.map.bytes);
        ts_series_retire(&table.writer, 1, nothing_in_use, NULL);
        table_synced(&table);
        table.writer.free_nos[table.writer.n_free - 1] = 2;
        cr_assert_eq(must_add(&table, number == 1 ? 0 : 12, 9), 2u);
        memcpy(table.map.base + off, old + off, 64);
        copy = copy_of(&table, table.map.base);
        table_open(&copy);
        cr_expect_eq(copy.writer.n_dropped, 1u);
        cr_expect_eq(number_of(&copy.series, number == 1 ? 0 : 12, &born_no), 2u);
        cr_expect_eq(born_no, 9u);
        expect_sound(&copy);
        table_free(&copy);
        table_free(&table);
        free(old);
    }
}

/* ---- damage ---- */

Test(series_crash, a_flipped_bit_never_makes_another_key_and_opening_mends_the_rest)
{
    struct table table = table_new(5, 6);
    static const uint32_t keys[] = {0, 1, 4, 5}; /* of 4, 32, 93 and 150 bytes */
    uint8_t *good = malloc(table.map.bytes);

    for (uint32_t i = 0; i < COUNTOF(keys); i++) {
        must_add(&table, keys[i], i + 1);
        ts_series_note_block(&table.series, i + 1, 3);
        ts_series_note_block(&table.series, i + 1, 7);
    }
    memcpy(good, table.map.base, table.map.bytes);
    for (size_t bit = 64 * 8; bit < table.map.bytes * 8; bit++) {
        uint32_t n_found = 0;

        memcpy(table.map.base, good, table.map.bytes);
        table.map.base[bit / 8] ^= (uint8_t)(1u << bit % 8);
        for (int round = 0; round < 2; round++) {
            n_found = 0;
            for (uint32_t i = 0; i < COUNTOF(keys); i++) {
                uint64_t born_no = 0;
                const uint32_t no = number_of(&table.series, keys[i], &born_no);

                cr_assert(no == 0 || (no == i + 1 && born_no == i + 1), "bit %zu", bit);
                cr_assert_geq(ts_series_bound(&table.series, i + 1, 12), 7u, "bit %zu", bit);
                n_found += no != 0;
            }
            if (round == 0)
                table_reopen(&table);
        }
        if (bit / 8 / 64 == 6) /* the free entry: no harm was done */
            cr_assert_eq(n_found, COUNTOF(keys), "bit %zu", bit);
        else
            cr_assert_eq(n_found + table.writer.n_dropped, COUNTOF(keys), "bit %zu", bit);
        cr_assert_leq(table.writer.n_dropped, 1u, "bit %zu", bit);
        expect_sound(&table);
    }
    free(good);
    table_free(&table);
}

/* Makes the checksum of entry `no`, and its hash if asked, that of what it says now. */
static void
prove(const struct ts_series *series, uint32_t no, bool with_hash)
{
    struct ts_series_entry *entry = &series->entries[no - 1];
    union ts_series_copy copy;

    (void)ts_series_copy_entry(series, no, &copy);
    if (with_hash)
        copy.entry.hash =
            ts_series_hash(series, copy.bytes + TS_SERIES_KEY_OFF, copy.entry.key_bytes);
    entry->hash = copy.entry.hash;
    entry->checksum = ts_series_checksum(series, no, &copy);
}

Test(series_crash, chains_that_loop_lead_outside_or_cross_end)
{
    static const uint32_t links[] = {0, 1, 2, 3, 4, 5, UINT32_MAX};
    struct table table = table_new(4, 8);
    uint8_t *good = malloc(table.map.bytes);
    uint64_t born_no;
    uint32_t no;

    for (uint32_t i = 0; i < 4; i++)
        must_add(&table, 150 + i, 1); /* 150 + 3 is of 92 bytes */
    memcpy(good, table.map.base, table.map.bytes);
    for (size_t i = 0; i < COUNTOF(links); i++) {
        for (uint32_t k = 0; k < 16; k++)
            table.series.buckets[k] = links[i];
        for (uint32_t k = 0; k < 4; k++)
            table.series.entries[k].next = links[(i + k) % COUNTOF(links)];
        for (uint32_t k = 0; k < 8; k++)
            table.series.chunks[k].next = links[(i + k) % COUNTOF(links)];
        for (uint32_t id = 150; id < 156; id++) {
            no = number_of(&table.series, id, &born_no);
            cr_assert(no == 0 || no == id - 149);
        }
        table_reopen(&table);
        expect_sound(&table);
        memcpy(table.map.base, good, table.map.bytes);
    }
    table_reopen(&table);
    cr_expect_eq(ts_series_n_used(&table.writer), 4u);
    free(good);
    table_free(&table);
}

Test(series_crash, entries_that_share_chunks_or_use_one_twice_are_dropped)
{
    struct table table = table_new(4, 8);
    struct ts_series_entry *entries = table.series.entries;

    must_add(&table, 5, 1); /* of 150 bytes: 2 chunks */
    must_add(&table, 4, 1); /* of 93 bytes: 2 chunks */
    must_add(&table, 11, 1);
    entries[1].first_chunk = entries[0].first_chunk;
    table.series.chunks[entries[2].first_chunk - 1].next = entries[2].first_chunk;
    prove(&table.series, 2, true);
    prove(&table.series, 3, true);
    table_reopen(&table);
    cr_expect_eq(table.writer.n_dropped, 2u);
    cr_expect_eq(ts_series_n_used(&table.writer), 1u, "one of the two that share");
    expect_sound(&table);
    table_free(&table);
}

Test(series_crash, an_entry_in_another_place_is_no_series)
{
    struct table table = table_new(4, 8);
    uint64_t born_no;

    must_add(&table, 5, 1);
    must_add(&table, 11, 2);
    table.series.entries[2] = table.series.entries[0];
    table.series.entries[1] = table.series.entries[0];
    table_reopen(&table);
    cr_expect_eq(table.writer.n_dropped, 2u);
    cr_expect_eq(number_of(&table.series, 5, &born_no), 1u);
    cr_expect_eq(ts_series_n_used(&table.writer), 1u);
    table_free(&table);
}

static const struct {
    const char *label;
    size_t off;
    uint32_t value, bytes;
} lies[] = {
    {"no length", offsetof(struct ts_series_entry, key_bytes), 0, 2},
    {"a length past the greatest", offsetof(struct ts_series_entry, key_bytes), 4097, 2},
    {"the greatest number as length", offsetof(struct ts_series_entry, key_bytes), 65535, 2},
    {"a length past its chunks", offsetof(struct ts_series_entry, key_bytes), 4096, 2},
    {"no chunk", offsetof(struct ts_series_entry, first_chunk), 0, 4},
    {"a chunk outside", offsetof(struct ts_series_entry, first_chunk), 9, 4},
    {"a chunk far outside", offsetof(struct ts_series_entry, first_chunk), UINT32_MAX, 4},
    {"a state of another version", offsetof(struct ts_series_entry, state), 2, 1},
    {"a hash of another key", offsetof(struct ts_series_entry, hash), 1, 4},
    {"no birth", offsetof(struct ts_series_entry, born_no), 0, 8},
};

Test(series_crash, entries_that_lie_with_a_good_checksum_are_no_series_to_a_writer)
{
    for (size_t i = 0; i < COUNTOF(lies); i++) {
        struct table table = table_new(4, 8);
        const uint64_t value = lies[i].value;
        uint64_t born_no;
        uint32_t no;

        must_add(&table, 5, 1);
        must_add(&table, 11, 1);
        memcpy((uint8_t *)&table.series.entries[0] + lies[i].off, &value, lies[i].bytes);
        if (table.series.entries[0].key_bytes <= TS_MAX_KEY_BYTES)
            prove(&table.series, 1, lies[i].off != offsetof(struct ts_series_entry, hash));
        no = number_of(&table.series, 5, &born_no);
        cr_expect(no <= 1, "%s", lies[i].label);
        table_reopen(&table);
        cr_expect_eq(table.writer.n_dropped, 1u, "%s", lies[i].label);
        cr_expect_eq(number_of(&table.series, 5, &born_no), 0u, "%s", lies[i].label);
        cr_expect_eq(number_of(&table.series, 11, &born_no), 2u, "%s", lies[i].label);
        expect_sound(&table);
        table_free(&table);
    }
}
