/* series_scratch.h - what the tests of the series table share: a table in memory, keys that follow
 * from a number, and what has to be true of every table that was opened.
 *
 * Purpose    A key is made from a number (its id), so that a test needs no copy of what it wrote.
 * Ownership  table_new() gives mapping and writer, table_free() takes both.
 */
#ifndef SERIES_SCRATCH_H
#define SERIES_SCRATCH_H

#include "common/checksum.h"
#include "common/series_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define COUNTOF(array) (sizeof(array) / sizeof((array)[0]))
#define UNUSED __attribute__((unused))
#define STORE_ID 0x51c3u
#define EVER UINT64_MAX /* a tail behind every block */

struct table {
    struct ts_map map;
    struct ts_series series;
    struct ts_series_writer writer;
};

/* Shared, so that a child can be the writer. */
static uint8_t *
shared_bytes(size_t bytes)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    cr_assert_neq(base, MAP_FAILED);
    return base;
}

UNUSED static void
table_synced(struct table *table)
{
    ts_series_synced(&table->writer, ts_series_mark(&table->writer));
}

UNUSED static void
table_open(struct table *table)
{
    cr_assert_eq(ts_series_check(&table->map, STORE_ID, &table->series), TS_OK, "%s",
                 ts_error_text());
    cr_assert_eq(ts_series_writer_init(&table->writer, &table->series), TS_OK);
}

UNUSED static void
table_reopen(struct table *table)
{
    ts_series_writer_done(&table->writer);
    table_open(table);
    table_synced(table);
}

UNUSED static struct table
table_new(uint32_t n_series, uint32_t n_chunks)
{
    struct table table = {.map = {.bytes = (size_t)ts_series_file_bytes(n_series, n_chunks)}};

    table.map.base = shared_bytes(table.map.bytes);
    ts_series_init(table.map.base, STORE_ID, n_series, n_chunks);
    table_open(&table);
    table_synced(&table);
    return table;
}

UNUSED static void
table_free(struct table *table)
{
    ts_series_writer_done(&table->writer);
    munmap(table->map.base, table->map.bytes);
}

/* Key `id`: some are short, some end at the inline part or one behind it, most share a beginning,
 * some are binary, every 50th is of the greatest length. Returns its length. */
UNUSED static size_t
key_fill(uint32_t id, uint8_t key[TS_MAX_KEY_BYTES])
{
    static const size_t sizes[] = {4, 32, 33, 92, 93, 150};
    const size_t bytes = id % 50 == 49 ? TS_MAX_KEY_BYTES : sizes[id % COUNTOF(sizes)];

    memset(key, id % 2 == 0 ? 'k' : 0, bytes);
    memcpy(key + bytes - sizeof id, &id, sizeof id);
    return bytes;
}

UNUSED static enum ts_err
add(struct table *table, uint32_t id, uint64_t born_no, uint32_t *out_no)
{
    uint8_t key[TS_MAX_KEY_BYTES];
    const size_t bytes = key_fill(id, key);

    return ts_series_register(&table->writer, key, bytes, born_no, out_no);
}

UNUSED static uint32_t
must_add(struct table *table, uint32_t id, uint64_t born_no)
{
    uint32_t no = 0;

    cr_assert_eq(add(table, id, born_no, &no), TS_OK, "key %u: %s", id, ts_error_text());
    return no;
}

/* The number of key `id`, or 0. */
UNUSED static uint32_t
number_of(const struct ts_series *series, uint32_t id, uint64_t *out_born_no)
{
    uint8_t key[TS_MAX_KEY_BYTES];
    const size_t bytes = key_fill(id, key);
    uint32_t no = 0;

    return ts_series_find(series, key, bytes, &no, out_born_no) ? no : 0;
}

UNUSED static bool
nothing_in_use(void *ctx, uint32_t no)
{
    (void)ctx;
    (void)no;
    return false;
}

/* Every key is found under its number, the numbers add up, and so do the chunks. */
UNUSED static void
expect_sound(const struct table *table)
{
    const struct ts_series_writer *w = &table->writer;
    uint32_t no = 0, n = 0, n_chunks = w->n_free_chunks, found;
    uint8_t key[TS_MAX_KEY_BYTES];
    uint64_t born_no, found_born_no;
    size_t bytes;

    while (ts_series_next(&table->series, &no, key, &bytes, &born_no)) {
        n++;
        n_chunks += ts_series_chunks_of(bytes);
        cr_assert(ts_series_find(&table->series, key, bytes, &found, &found_born_no), "number %u",
                  no);
        cr_assert(found == no && found_born_no == born_no, "%u is found as %u", no, found);
    }
    cr_assert_eq(n, ts_series_n_used(w));
    cr_assert_eq(n_chunks, w->series.n_chunks);
}

/* ---- random ---- */

static uint64_t rng_state;

/* Starts from TEST_SEED, or from the clock; prints it, since a failure must be repeatable. */
UNUSED static void
rng_start(void)
{
    const char *given = getenv("TEST_SEED");

    rng_state = given != NULL ? strtoull(given, NULL, 0)
                              : (uint64_t)time(NULL) * 2654435761u ^ (uint64_t)getpid() << 32;
    fprintf(stderr, "TEST_SEED=%ju\n", (uintmax_t)rng_state);
    rng_state |= 1;
}

UNUSED static uint64_t
rng_below(uint64_t n)
{
    rng_state ^= rng_state >> 12;
    rng_state ^= rng_state << 25;
    rng_state ^= rng_state >> 27;
    return rng_state * UINT64_C(2685821657736338717) % n;
}

#endif
