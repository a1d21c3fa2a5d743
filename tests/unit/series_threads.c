/* series_threads.c - readers beside the writer of the series table. */
#include "tests/unit/series_scratch.h"

#include <pthread.h>

#define N_SERIES 60u
#define N_STAYING 10u /* keys that are never retired; at the ends of their chains */
#define N_KEYS 150u   /* the first N_STAYING of them stay */
#define N_BORN 400000u
#define N_READERS 3

TestSuite(series_threads, .timeout = 110);

/* All keys are in one chain or another, and numbers move between the two: a reader that stands on a
 * number is led astray as often as can be. */
static uint32_t ids[N_KEYS];

/* Which key was added with which born_no: written before the entry, so a reader may look it up. */
static _Atomic uint32_t key_of[N_BORN];
static _Atomic bool is_over;
static struct table table;

struct seen {
    uint64_t rng;
    uint64_t n_found, n_missed;
};

static uint64_t
next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

static void
choose_ids(void)
{
    uint8_t key[TS_MAX_KEY_BYTES];
    uint32_t n = 0;

    for (uint32_t id = 0; n < N_KEYS; id++) {
        const size_t bytes = key_fill(id, key);

        if (bytes < 100 &&
            ts_series_hash(&table.series, key, bytes) % table.series.n_buckets == n % 2)
            ids[n++] = id;
    }
}

static void
look_for(uint32_t i, struct seen *seen)
{
    uint64_t born_no = 0;
    const uint32_t no = number_of(&table.series, ids[i], &born_no);

    if (no == 0) {
        cr_assert_geq(i, N_STAYING, "key %u is always there", i);
        seen->n_missed++;
        return;
    }
    cr_assert(born_no > 0 && born_no < N_BORN);
    cr_assert_eq(atomic_load(&key_of[born_no]), i, "key %u as number %u", i, no);
    cr_assert(i >= N_STAYING || ts_series_is_alive(&table.series, no, born_no));
    seen->n_found++;
}

/* Each number's key is the one that was added with its born_no. */
static void
list_all(void)
{
    uint8_t key[TS_MAX_KEY_BYTES], want[TS_MAX_KEY_BYTES];
    uint64_t born_no;
    uint32_t no = 0, n_staying = 0;
    size_t bytes;

    while (ts_series_next(&table.series, &no, key, &bytes, &born_no)) {
        uint32_t i;

        cr_assert(born_no > 0 && born_no < N_BORN);
        i = atomic_load(&key_of[born_no]);
        cr_assert_eq(key_fill(ids[i], want), bytes);
        cr_assert_eq(memcmp(key, want, bytes), 0);
        n_staying += i < N_STAYING;
    }
    cr_assert_eq(n_staying, N_STAYING);
}

static void *
reader_main(void *arg)
{
    struct seen *seen = arg;

    while (!atomic_load(&is_over)) {
        for (int i = 0; i < 500; i++)
            look_for((uint32_t)(next_random(&seen->rng) % (i % 5 == 0 ? N_KEYS : N_STAYING)), seen);
        list_all();
    }
    return NULL;
}

static bool
is_not_chosen(void *ctx, uint32_t no)
{
    return no != *(const uint32_t *)ctx;
}

/* Adds a key that is not there, under the next born_no. */
static void
add_new(uint32_t i, uint64_t *born_no)
{
    uint64_t found_born_no;

    if (number_of(&table.series, ids[i], &found_born_no) != 0)
        return;
    atomic_store(&key_of[*born_no], i);
    must_add(&table, ids[i], (*born_no)++);
}

/* For seconds: frees a number, and gives it to another key at once. */
static uint64_t
churn(uint64_t born_no, double seconds)
{
    const clock_t start = clock();
    uint64_t rng = 42;

    while (born_no < N_BORN &&
           (double)(clock() - start) < seconds * (N_READERS + 1) * (double)CLOCKS_PER_SEC) {
        uint32_t no = 1 + (uint32_t)(next_random(&rng) % (N_SERIES - N_STAYING));

        ts_series_retire(&table.writer, EVER, is_not_chosen, &no);
        table_synced(&table);
        while (table.writer.n_free > 0)
            add_new(N_STAYING + (uint32_t)(next_random(&rng) % (N_KEYS - N_STAYING)), &born_no);
    }
    return born_no;
}

Test(series_threads, a_reader_finds_the_right_key_or_none_and_never_misses_one_that_stays)
{
    pthread_t readers[N_READERS];
    struct seen seen[N_READERS] = {{0}};
    uint64_t born_no = 1;

    table = table_new(N_SERIES, 200);
    choose_ids();
    for (uint32_t i = 0; i < N_SERIES; i++)
        add_new((N_STAYING + i) % N_SERIES, &born_no);
    for (int i = 0; i < N_READERS; i++) {
        seen[i].rng = (uint64_t)i + 1;
        cr_assert_eq(pthread_create(&readers[i], NULL, reader_main, &seen[i]), 0);
    }
    born_no = churn(born_no, 0.5);
    atomic_store(&is_over, true);
    for (int i = 0; i < N_READERS; i++) {
        pthread_join(readers[i], NULL);
        cr_expect(seen[i].n_found > 0 && seen[i].n_missed > 0, "reader %d: %ju, %ju", i,
                  (uintmax_t)seen[i].n_found, (uintmax_t)seen[i].n_missed);
    }
    cr_expect_gt(born_no, N_SERIES * 3, "numbers were used again");
    expect_sound(&table);
    table_free(&table);
}

/* A block is noted before it is published; a bound taken for a published one covers it. */
static _Atomic uint64_t sealed_seq;

static void *
bound_main(void *arg)
{
    uint64_t last_seq = 0;

    (void)arg;
    while (last_seq < 200000) {
        const uint64_t seq = atomic_load_explicit(&sealed_seq, memory_order_acquire);
        const uint64_t bound = ts_series_bound(&table.series, 1, seq);

        /* The series is in every third block. */
        cr_assert(bound <= seq && bound >= seq / 3 * 3, "sealed %ju, bound %ju", (uintmax_t)seq,
                  (uintmax_t)bound);
        last_seq = seq;
    }
    return NULL;
}

Test(series_threads, a_bound_holds_while_blocks_are_sealed)
{
    pthread_t reader;

    table = table_new(4, 0);
    must_add(&table, 0, 1);
    cr_assert_eq(pthread_create(&reader, NULL, bound_main, NULL), 0);
    for (uint64_t seq = 1; seq <= 200000; seq++) {
        if (seq % 3 == 0)
            ts_series_note_block(&table.series, 1, seq);
        atomic_store_explicit(&sealed_seq, seq, memory_order_release);
    }
    pthread_join(reader, NULL);
    table_free(&table);
}
