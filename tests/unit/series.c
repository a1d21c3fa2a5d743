/* series.c - the series table: keys in, keys out, numbers used again, damage told apart. */
#include "tests/unit/series_scratch.h"

TestSuite(series, .timeout = 60);

/* ---- the file ---- */

Test(series, the_default_size_holds_keys_of_96_bytes_on_average_however_spread)
{
    static const uint32_t spreads[][4] = {
        {96, 96, 96, 96}, {33, 33, 33, 285}, {33, 93, 93, 153}, {1, 1, 1, 381}, {33, 159, 33, 159}};

    for (uint32_t n = 4; n <= 4096; n *= 4) {
        for (size_t s = 0; s < COUNTOF(spreads); s++) {
            uint32_t need = 0;

            for (uint32_t i = 0; i < n; i++)
                need += ts_series_chunks_of(spreads[s][i % 4]);
            cr_expect_leq(need, ts_series_default_chunks(n), "%u series, spread %zu", n, s);
        }
    }
    cr_expect_geq(ts_series_default_chunks(1), ts_series_chunks_of(TS_MAX_KEY_BYTES));
}

static const struct {
    const char *label;
    size_t off;
    uint32_t value; /* stored there, in place of what is */
    enum ts_err want;
    const char *text;
} bad_heads[] = {
    {"magic", 0, 0x58585858, TS_E_CORRUPT, "series.tsdb: damaged at offset 0:"},
    {"version", 8, 2, TS_E_VERSION, "version mismatch at offset 8: 2"},
    {"reserved", 8, 0x10000 | TS_FORMAT_VERSION, TS_E_CORRUPT, "at offset 28: checksum"},
    {"store", 12, STORE_ID + 1, TS_E_CORRUPT, "at offset 12: the file belongs to another"},
    {"no series", 16, 0, TS_E_CORRUPT, "at offset 16"},
    {"too many series", 16, TS_MAX_SERIES + 1, TS_E_CORRUPT, "at offset 16"},
    {"2^32 - 1 series", 16, UINT32_MAX, TS_E_CORRUPT, "at offset 16"},
    {"one series more", 16, 41, TS_E_CORRUPT, "bytes, its header asks for"},
    {"one chunk less", 20, 49, TS_E_CORRUPT, "bytes, its header asks for"},
    {"2^32 - 1 chunks", 20, UINT32_MAX, TS_E_CORRUPT, "at offset 20"},
    {"half the buckets", 24, 32, TS_E_CORRUPT, "at offset 24"},
    {"buckets that are no power", 24, 65, TS_E_CORRUPT, "at offset 24"},
    {"no buckets", 24, 0, TS_E_CORRUPT, "at offset 24"},
    {"checksum", 28, 0, TS_E_CORRUPT, "at offset 28"},
};

Test(series, a_bad_header_is_refused_with_file_and_offset)
{
    struct table table = table_new(40, 50);
    uint8_t good[64];

    memcpy(good, table.map.base, sizeof good);
    for (size_t i = 0; i < COUNTOF(bad_heads); i++) {
        struct ts_series series = {.n_series = 77};
        uint32_t checksum;

        memcpy(table.map.base, good, sizeof good);
        memcpy(table.map.base + bad_heads[i].off, &bad_heads[i].value, sizeof(uint32_t));
        if (bad_heads[i].off >= 12 && bad_heads[i].off < 28) {
            /* As hostile as can be: the checksum is right. */
            checksum = (uint32_t)ts_checksum(table.map.base, 28, 0);
            memcpy(table.map.base + 28, &checksum, sizeof checksum);
        }
        cr_expect_eq(ts_series_check(&table.map, STORE_ID, &series), bad_heads[i].want, "%s",
                     bad_heads[i].label);
        cr_expect_not_null(strstr(ts_error_text(), bad_heads[i].text), "%s: %s", bad_heads[i].label,
                           ts_error_text());
        cr_expect_eq(series.n_series, 77u, "%s: touched", bad_heads[i].label);
    }
    memcpy(table.map.base, good, sizeof good);
    table_free(&table);
}

Test(series, a_file_of_another_size_is_refused)
{
    struct table table = table_new(40, 50);
    const size_t good = table.map.bytes;
    struct ts_series series;

    for (table.map.bytes = 0; table.map.bytes < good; table.map.bytes++)
        cr_assert_eq(ts_series_check(&table.map, STORE_ID, &series), TS_E_CORRUPT);
    cr_expect_eq(ts_series_check(&table.map, STORE_ID, &series), TS_OK);
    table_free(&table);
}

/* ---- keys ---- */

static void
expect_key(const struct ts_series *series, uint32_t no, const void *want, size_t want_bytes,
           uint64_t want_born_no)
{
    uint8_t key[TS_MAX_KEY_BYTES];
    uint64_t born_no = 0, key_born_no = 0;
    uint32_t found = 0;
    size_t bytes = 0;

    cr_assert(ts_series_find(series, want, want_bytes, &found, &born_no), "%zu bytes", want_bytes);
    cr_assert(found == no && born_no == want_born_no, "%zu bytes", want_bytes);
    cr_assert(ts_series_key(series, no, key, &bytes, &key_born_no));
    cr_assert(bytes == want_bytes && memcmp(key, want, bytes) == 0, "%zu bytes", want_bytes);
    cr_assert_eq(key_born_no, want_born_no);
    cr_assert(ts_series_is_alive(series, no, want_born_no));
}

Test(series, keys_of_every_length_are_told_apart_by_length_and_last_byte)
{
    const uint32_t n = TS_MAX_KEY_BYTES;
    struct table table = table_new(2 * n, 68 * 2 * n);
    static uint8_t key[TS_MAX_KEY_BYTES + 1];
    uint64_t born_no;
    uint32_t no = 0;

    for (uint32_t bytes = 1; bytes <= n; bytes++) {
        cr_assert_eq(ts_series_register(&table.writer, key, bytes, bytes, &no), TS_OK);
        cr_assert_eq(no, 2 * bytes - 1);
        key[bytes - 1] = 1;
        cr_assert_not(ts_series_find(&table.series, key, bytes, &no, &born_no));
        cr_assert_eq(ts_series_register(&table.writer, key, bytes, bytes, &no), TS_OK);
        cr_assert_eq(no, 2 * bytes);
        key[bytes - 1] = 0;
    }
    for (uint32_t bytes = 1; bytes <= n; bytes++) {
        expect_key(&table.series, 2 * bytes - 1, key, bytes, bytes);
        key[bytes - 1] = 1;
        expect_key(&table.series, 2 * bytes, key, bytes, bytes);
        key[bytes - 1] = 0;
    }
    expect_sound(&table);
    table_free(&table);
}

Test(series, every_byte_is_a_key)
{
    struct table table = table_new(256, 0);
    uint32_t no = 0;

    for (int i = 0; i < 256; i++) {
        const uint8_t key = (uint8_t)i;

        cr_assert_eq(ts_series_register(&table.writer, &key, 1, 1, &no), TS_OK);
    }
    for (int i = 0; i < 256; i++) {
        const uint8_t key = (uint8_t)i;

        expect_key(&table.series, (uint32_t)i + 1, &key, 1, 1);
    }
    table_free(&table);
}

Test(series, ten_thousand_keys_are_found_before_and_after_opening_again)
{
    const uint32_t n = 10000;
    struct table table = table_new(n, 3 * n);

    for (uint32_t id = 0; id < n; id++)
        cr_assert_eq(must_add(&table, id, id + 1), id + 1);
    for (int round = 0; round < 2; round++) {
        uint64_t born_no = 0;

        for (uint32_t id = 0; id < n; id++) {
            cr_assert_eq(number_of(&table.series, id, &born_no), id + 1);
            cr_assert_eq(born_no, id + 1);
            cr_assert_eq(number_of(&table.series, id + n, &born_no), 0);
            cr_assert_eq(must_add(&table, id, 99), id + 1);
        }
        expect_sound(&table);
        cr_expect_eq(ts_series_n_used(&table.writer), n);
        cr_expect_eq(table.writer.n_dropped, 0);
        table_reopen(&table);
    }
    table_free(&table);
}

Test(series, keys_of_a_bad_length_are_refused_and_never_found)
{
    struct table table = table_new(4, 100);
    static const uint8_t key[TS_MAX_KEY_BYTES + 1];
    uint64_t born_no = 5;
    uint32_t no = 7;

    cr_expect_eq(ts_series_register(&table.writer, key, 0, 1, &no), TS_E_PARAM);
    cr_expect_eq(ts_series_register(&table.writer, key, sizeof key, 1, &no), TS_E_PARAM);
    cr_expect_str_eq(ts_error_text(), "a series key has 1 to 4096 bytes, not 4097");
    cr_expect_not(ts_series_find(&table.series, key, 0, &no, &born_no));
    cr_expect_not(ts_series_find(&table.series, key, sizeof key, &no, &born_no));
    cr_expect(no == 7 && born_no == 5, "untouched");
    table_free(&table);
}

Test(series, numbers_outside_the_table_are_no_series)
{
    struct table table = table_new(4, 0);
    static const uint32_t numbers[] = {0, 2, 5, 1u << 31, UINT32_MAX};
    uint8_t key[TS_MAX_KEY_BYTES];
    uint64_t born_no;
    size_t bytes;

    must_add(&table, 6, 1);
    for (size_t i = 0; i < COUNTOF(numbers); i++) {
        uint32_t no = numbers[i];

        cr_expect_not(ts_series_key(&table.series, no, key, &bytes, &born_no));
        cr_expect_not(ts_series_is_alive(&table.series, no, 1));
        cr_expect(numbers[i] == 0 || !ts_series_next(&table.series, &no, key, &bytes, &born_no));
    }
    ts_series_note_block(&table.series, 0, 3);
    ts_series_note_block(&table.series, 5, 3);
    cr_expect_eq(ts_series_bound(&table.series, 0, 9), 9u);
    cr_expect_eq(ts_series_bound(&table.series, 5, 9), 9u);
    table_free(&table);
}

/* ---- full, and used again ---- */

Test(series, a_full_table_refuses_new_keys_and_still_finds_the_old)
{
    struct table table = table_new(20, 68);
    uint32_t no = 0;

    for (uint32_t id = 0; id < 20; id++)
        must_add(&table, id * 6, 1); /* of 4 bytes */
    cr_expect_eq(add(&table, 600, 1, &no), TS_E_SERIES_FULL);
    cr_expect_str_eq(ts_error_text(), "series table is full");
    cr_expect_str_eq(ts_error_name(TS_E_SERIES_FULL), "series_full");
    cr_expect_eq(ts_error_http_status(TS_E_SERIES_FULL), 507);
    cr_expect_eq(no, 0u);
    cr_expect_eq(must_add(&table, 12, 1), 3u);
    table_free(&table);
}

Test(series, a_key_that_finds_no_chunks_is_refused_and_leaves_nothing_behind)
{
    struct table table = table_new(20, 69);
    uint32_t no = 0;

    must_add(&table, 49, 1); /* of 4096 bytes: 68 chunks */
    cr_expect_eq(add(&table, 5, 1, &no), TS_E_SERIES_FULL);
    cr_expect_str_eq(ts_error_text(), "series table is full: no room for a key of 150 bytes");
    expect_sound(&table);
    cr_expect_eq(must_add(&table, 2, 1), 2u); /* of 33 bytes: 1 chunk */
    cr_expect_eq(must_add(&table, 6, 1), 3u);
    expect_sound(&table);
    table_free(&table);
}

Test(series, no_number_is_given_out_before_the_first_sync)
{
    struct table table = table_new(20, 68);
    uint32_t no = 0;

    must_add(&table, 1, 1);
    ts_series_writer_done(&table.writer);
    table_open(&table);
    cr_expect_eq(must_add(&table, 1, 1), 1u);
    cr_expect_eq(add(&table, 2, 1, &no), TS_E_SERIES_FULL);
    cr_expect_eq(ts_series_retire(&table.writer, 0, nothing_in_use, NULL), 19u, "they wait");
    table_synced(&table);
    cr_expect_eq(must_add(&table, 2, 1), 2u);
    table_free(&table);
}

static bool
is_listed(void *ctx, uint32_t no)
{
    for (const uint32_t *listed = ctx; *listed != 0; listed++)
        if (*listed == no)
            return true;
    return false;
}

Test(series, only_dead_series_are_retired_and_their_numbers_mean_new_keys)
{
    struct table table = table_new(4, 300);
    uint32_t in_use[] = {2, 0}, no;
    uint64_t born_no = 0, mark;

    for (uint32_t id = 0; id < 4; id++)
        cr_assert_eq(must_add(&table, id * 50 + 49, 10), id + 1);
    ts_series_note_block(&table.series, 1, 4); /* dead */
    ts_series_note_block(&table.series, 2, 4); /* in an open block */
    ts_series_note_block(&table.series, 3, 5); /* in the oldest block */
    ts_series_note_block(&table.series, 4, 3); /* dead */
    cr_expect_eq(ts_series_retire(&table.writer, 3, is_listed, in_use), 0u);
    mark = ts_series_mark(&table.writer);
    cr_expect_eq(ts_series_retire(&table.writer, 5, is_listed, in_use), 2u);
    expect_sound(&table);
    cr_expect_eq(number_of(&table.series, 49, &born_no), 0u);
    cr_expect_not(ts_series_is_alive(&table.series, 1, 10));
    cr_expect_eq(number_of(&table.series, 99, &born_no), 2u);
    cr_expect_eq(number_of(&table.series, 149, &born_no), 3u);
    cr_expect_eq(add(&table, 249, 20, &no), TS_E_SERIES_FULL, "not before the sync");
    ts_series_synced(&table.writer, mark);
    cr_expect_eq(add(&table, 249, 20, &no), TS_E_SERIES_FULL, "that sync began too early");
    table_synced(&table);
    cr_expect_eq(must_add(&table, 249, 20) + must_add(&table, 49, 21), 5u, "numbers 1 and 4");
    no = number_of(&table.series, 49, &born_no);
    cr_expect_eq(born_no, 21u, "the key came back as a new series");
    cr_expect(ts_series_is_alive(&table.series, no, 21) &&
              !ts_series_is_alive(&table.series, no, 10));
    cr_expect_eq(ts_series_bound(&table.series, no, 9), 0u, "nothing of it is sealed");
    cr_expect_eq(add(&table, 299, 22, &no), TS_E_SERIES_FULL);
    expect_sound(&table);
    table_free(&table);
}

static bool
count_calls(void *ctx, uint32_t no)
{
    (void)no;
    ++*(uint32_t *)ctx;
    return false;
}

Test(series, retiring_goes_round_in_steps_and_a_table_without_dead_ones_is_refused_at_once)
{
    struct table table = table_new(200, 0);
    uint32_t n_calls = 0;

    for (uint32_t id = 0; id < 200; id++) {
        must_add(&table, id * 6, 1);
        ts_series_note_block(&table.series, id + 1, 10 + id % 2);
    }
    cr_expect_eq(ts_series_retire(&table.writer, 10, count_calls, &n_calls), 0u);
    cr_expect_eq(table.writer.least_newest_seq, 10u);
    cr_expect_eq(ts_series_retire(&table.writer, 11, count_calls, &n_calls), 64u);
    cr_expect_eq(ts_series_retire(&table.writer, 11, count_calls, &n_calls), 100u);
    cr_expect_eq(n_calls, 100u, "each was asked about once");
    cr_expect_eq(ts_series_retire(&table.writer, 11, count_calls, &n_calls), 100u);
    cr_expect_eq(table.writer.least_newest_seq, 11u);
    table_synced(&table);
    cr_expect_eq(ts_series_retire(&table.writer, 11, count_calls, &n_calls), 0u);
    /* A key without a record is dead at once: no answer from memory may hide it. */
    must_add(&table, 6000, 2);
    cr_expect_eq(ts_series_retire(&table.writer, 11, count_calls, &n_calls), 1u);
    expect_sound(&table);
    table_free(&table);
}

Test(series, clearing_forgets_all_keys_and_frees_their_numbers_behind_a_sync)
{
    struct table table = table_new(30, 100);
    uint64_t born_no;
    uint32_t no;

    for (uint32_t id = 0; id < 30; id++)
        must_add(&table, id, 1);
    ts_series_clear(&table.writer);
    for (uint32_t id = 0; id < 30; id++)
        cr_expect_eq(number_of(&table.series, id, &born_no), 0u);
    expect_sound(&table);
    cr_expect_eq(ts_series_n_used(&table.writer), 0u);
    cr_expect_eq(add(&table, 3, 2, &no), TS_E_SERIES_FULL);
    table_synced(&table);
    for (uint32_t id = 30; id > 0; id--)
        must_add(&table, id, 2);
    expect_sound(&table);
    table_free(&table);
}

/* ---- bounds ---- */

static const struct {
    const char *label;
    uint64_t notes[4];
    uint64_t sealed_seq, want, want_recovered; /* of sealed_seq + 10, after recovering to it */
} bounds[] = {
    {"never sealed", {0}, 9, 0, 0},
    {"sealed once", {5}, 9, 5, 5},
    {"sealed in the newest block", {5, 9}, 9, 9, 9},
    {"noted, not yet sealed", {5, 10}, 9, 5, 5},
    {"its first block is not yet sealed", {10}, 9, 0, 0},
    {"noted twice ahead", {5, 10, 11}, 9, 9, 9},
    {"noted again", {5, 10, 10}, 9, 5, 5},
    {"noted late", {5, 4, 3}, 9, 5, 5},
};

Test(series, a_bound_is_the_least_that_is_known_and_holds)
{
    for (size_t i = 0; i < COUNTOF(bounds); i++) {
        struct table table = table_new(3, 0);

        must_add(&table, 0, 1);
        for (size_t k = 0; k < COUNTOF(bounds[i].notes); k++)
            ts_series_note_block(&table.series, 1, bounds[i].notes[k]);
        cr_expect_eq(ts_series_bound(&table.series, 1, bounds[i].sealed_seq), bounds[i].want, "%s",
                     bounds[i].label);
        ts_series_recover(&table.writer, bounds[i].sealed_seq);
        cr_expect_eq(ts_series_bound(&table.series, 1, bounds[i].sealed_seq + 10),
                     bounds[i].want_recovered, "%s", bounds[i].label);
        table_free(&table);
    }
}

Test(series, a_damaged_bound_says_nothing_until_the_next_block)
{
    struct table table = table_new(3, 0);
    uint64_t *newest = (uint64_t *)(void *)&table.series.hot[0].newest_seq;

    for (unsigned bit = 0; bit < 64; bit++) {
        ts_series_writer_done(&table.writer);
        memset(table.map.base + 64, 0, table.map.bytes - 64);
        table_open(&table);
        table_synced(&table);
        must_add(&table, 0, 1);
        ts_series_note_block(&table.series, 1, 3);
        ts_series_note_block(&table.series, 1, 7);
        *newest ^= UINT64_C(1) << bit;
        cr_assert_eq(ts_series_bound(&table.series, 1, 12), 12u, "bit %u", bit);
        cr_assert_eq(ts_series_retire(&table.writer, EVER, nothing_in_use, NULL), 0u);
        ts_series_note_block(&table.series, 1, 20);
        cr_assert_eq(ts_series_bound(&table.series, 1, 25), 20u);
        cr_assert_eq(ts_series_bound(&table.series, 1, 19), 19u);
        *newest ^= UINT64_C(1) << bit;
        ts_series_recover(&table.writer, 21);
        cr_assert_eq(ts_series_bound(&table.series, 1, 25), 21u);
    }
    table_free(&table);
}

/* ---- against a model ---- */

#define N_MODEL 60u
#define N_IDS 150u

static bool
is_in_model_block(void *ctx, uint32_t no)
{
    return ((const bool *)ctx)[no];
}

Test(series, random_changes_are_those_of_a_model)
{
    struct table table = table_new(N_MODEL, 150);
    uint64_t born[N_IDS] = {0}, newest[N_MODEL + 1] = {0}, tail = 1, seq = 1;
    bool is_open[N_MODEL + 1] = {false};
    uint64_t n_full = 0, n_again = 0;

    rng_start();
    for (uint64_t step = 1; step <= 30000; step++) {
        const uint32_t id = (uint32_t)rng_below(N_IDS);
        const uint64_t what = rng_below(100);
        uint64_t born_no = 0;
        uint32_t no = number_of(&table.series, id, &born_no);

        cr_assert_eq(no != 0, born[id] != 0, "step %ju, key %u", (uintmax_t)step, id);
        cr_assert(no == 0 || born_no == born[id]);
        if (what < 60) {
            if (add(&table, id, step, &no) == TS_OK) {
                n_again += born[id] == 0 && newest[no] != 0;
                if (born[id] == 0)
                    newest[no] = 0;
                born[id] = born[id] != 0 ? born[id] : step;
                is_open[no] = true;
            } else {
                n_full++;
            }
        } else if (what < 75) { /* a block is sealed */
            for (uint32_t i = 1; i <= N_MODEL; i++)
                if (is_open[i])
                    ts_series_note_block(&table.series, i, newest[i] = seq);
            memset(is_open, 0, sizeof is_open);
            seq++;
        } else if (what < 85) {
            tail += rng_below(seq - tail + 1);
        } else if (what < 98) {
            ts_series_retire(&table.writer, tail, is_in_model_block, is_open);
            for (uint32_t i = 0; i < N_IDS; i++)
                if (born[i] != 0 && number_of(&table.series, i, &born_no) == 0)
                    born[i] = 0; /* which ones may: below */
            for (uint32_t i = 1; i <= N_MODEL; i++)
                cr_assert(ts_series_is_used(&table.series, i) || (newest[i] < tail && !is_open[i]));
            table_synced(&table);
        } else if (what == 98) {
            table_reopen(&table);
            cr_assert_eq(table.writer.n_dropped, 0u);
        }
        if (step % 500 == 0)
            expect_sound(&table);
        for (uint32_t i = 1; i <= N_MODEL; i++)
            cr_assert(!ts_series_is_used(&table.series, i) ||
                      ts_series_bound(&table.series, i, seq - 1) == newest[i]);
    }
    cr_expect(n_full > 100 && n_again > 100, "%ju refused, %ju used again", (uintmax_t)n_full,
              (uintmax_t)n_again);
    table_free(&table);
}

/* ---- the page ---- */

static const struct {
    const char *type, *field;
    size_t off, bytes;
} fields[] = {
#define FIELD(t, f)                                                                                \
    {                                                                                              \
#t, #f, offsetof(struct t, f), sizeof(((struct t *)0)->f)                                  \
    }
    FIELD(ts_series_head, magic),        FIELD(ts_series_head, version),
    FIELD(ts_series_head, reserved1),    FIELD(ts_series_head, store_id),
    FIELD(ts_series_head, n_series),     FIELD(ts_series_head, n_chunks),
    FIELD(ts_series_head, n_buckets),    FIELD(ts_series_head, checksum),
    FIELD(ts_series_head, change),       FIELD(ts_series_head, reserved2),
    FIELD(ts_series_entry, checksum),    FIELD(ts_series_entry, next),
    FIELD(ts_series_entry, first_chunk), FIELD(ts_series_entry, born_no),
    FIELD(ts_series_entry, hash),        FIELD(ts_series_entry, key_bytes),
    FIELD(ts_series_entry, state),       FIELD(ts_series_entry, reserved),
    FIELD(ts_series_entry, key),         FIELD(ts_series_hot, newest_seq),
    FIELD(ts_series_hot, before_seq),    FIELD(ts_series_chunk, key),
    FIELD(ts_series_chunk, next),
};

Test(series, the_tables_of_the_page_are_those_of_the_header)
{
    FILE *page = fopen("docs/format.md", "r");
    char line[1024], type[64] = "", name[64];
    size_t off, bytes, i = 0;

    cr_assert_not_null(page, "docs/format.md: run the tests from the top of the tree");
    while (fgets(line, sizeof line, page) != NULL) {
        if (line[0] == '#')
            type[0] = '\0';
        if (sscanf(line, "### %*[A-Za-z ]: `struct %63[a-z_]`", name) == 1) {
            strcpy(type, name);
        } else if (strncmp(type, "ts_series_", 10) == 0 &&
                   sscanf(line, "| %zu | %zu | `%63[a-z0-9_]` |", &off, &bytes, name) == 3) {
            cr_assert_lt(i, COUNTOF(fields));
            cr_expect(strcmp(fields[i].type, type) == 0 && strcmp(fields[i].field, name) == 0,
                      "%s.%s where %s.%s should be", type, name, fields[i].type, fields[i].field);
            cr_expect(fields[i].off == off && fields[i].bytes == bytes, "%s.%s", type, name);
            i++;
        }
    }
    fclose(page);
    cr_expect_eq(i, COUNTOF(fields), "the page has %zu rows", i);
}
