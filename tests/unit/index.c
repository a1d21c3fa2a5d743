/* index.c - the search over blocks, with and without damage. */
#include "tests/unit/store_scratch.h"

#define N_ENTRIES 64u
#define SEED 0x55u

TestSuite(index, .timeout = 60);

static struct ts_index idx;

/* Blocks from..to, the n-th with 10 records from number 10 n and times 100 n to 100 n + 90, at
 * position 1000 n. */
static void
fill(uint64_t from, uint64_t to)
{
    if (idx.base == NULL)
        idx = (struct ts_index){calloc(N_ENTRIES, sizeof(struct ts_index_entry)), N_ENTRIES};
    for (uint64_t n = from; n <= to; n++) {
        struct ts_index_entry entry = {.seq = n,
                                       .first_no = 10 * n,
                                       .count = 10,
                                       .min_time_ns = (int64_t)(100 * n),
                                       .max_time_ns = (int64_t)(100 * n + 90),
                                       .ring_pos = 1000 * n,
                                       .extent_bytes = 1000};

        ts_index_write(&idx, &entry, SEED);
    }
}

static void
free_all(void)
{
    free(idx.base);
}

static void
damage(uint64_t seq)
{
    idx.base[ts_index_off(&idx, seq) + 20] ^= 1;
}

Test(index, an_entry_is_read_back_and_only_as_what_it_is, .fini = free_all)
{
    struct ts_index_entry entry = {.seq = 99};

    fill(1, 100);
    cr_assert(ts_index_read(&idx, 100, SEED, &entry));
    cr_expect(entry.seq == 100 && entry.first_no == 1000 && entry.count == 10);
    cr_expect_not(ts_index_read(&idx, 36, SEED, &entry)); /* its place is block 100's by now */
    cr_expect_not(ts_index_read(&idx, 101, SEED, &entry));
    cr_expect_not(ts_index_read(&idx, 100, SEED + 1, &entry));
    cr_expect_eq(entry.seq, 100u); /* untouched */
    cr_expect(ts_index_read(&idx, 37, SEED, &entry));
}

Test(index, every_flipped_bit_of_an_entry_is_found, .fini = free_all)
{
    struct ts_index_entry entry;

    fill(1, 64);
    for (size_t bit = 0; bit < sizeof entry * 8; bit++) {
        uint8_t *byte = idx.base + ts_index_off(&idx, 17) + bit / 8;

        *byte ^= (uint8_t)(1u << (bit % 8));
        cr_expect_not(ts_index_read(&idx, 17, SEED, &entry), "bit %zu", bit);
        *byte ^= (uint8_t)(1u << (bit % 8));
    }
    cr_expect(ts_index_read(&idx, 17, SEED, &entry));
}

Test(index, a_number_a_time_and_a_position_are_found_in_their_block, .fini = free_all)
{
    struct ts_index_entry entry;

    fill(1, 100);
    for (uint64_t no = 0; no < 1020; no++) {
        const uint64_t want = no < 410 ? 41 : no / 10;
        const bool found = ts_index_find_no(&idx, 41, 100, SEED, no, &entry);

        cr_assert_eq(found, want <= 100, "number %ju", (uintmax_t)no);
        cr_assert(!found || entry.seq == want, "number %ju", (uintmax_t)no);
    }
    for (int64_t time = 0; time < 10200; time += 5) {
        const uint64_t want = time <= 4190 ? 41 : (uint64_t)(time + 9) / 100;
        const bool found = ts_index_find_time(&idx, 41, 100, SEED, time, &entry);

        cr_assert_eq(found, time <= 10090, "time %jd", (intmax_t)time);
        cr_assert(!found || entry.seq == want, "time %jd: %ju", (intmax_t)time,
                  (uintmax_t)entry.seq);
    }
    cr_assert(ts_index_find_pos(&idx, 41, 100, SEED, 50001, &entry));
    cr_expect_eq(entry.seq, 51u);
    cr_assert(ts_index_find_pos(&idx, 41, 100, SEED, 0, &entry));
    cr_expect_eq(entry.seq, 41u);
    cr_expect_not(ts_index_find_pos(&idx, 41, 100, SEED, 100001, &entry));
}

Test(index, an_empty_range_holds_nothing, .fini = free_all)
{
    struct ts_index_entry entry;

    fill(1, 10);
    cr_expect_not(ts_index_find_no(&idx, 11, 10, SEED, 0, &entry));
    cr_expect_not(ts_index_find_time(&idx, 1, 0, SEED, INT64_MIN, &entry));
    cr_expect_not(ts_index_find_no(&idx, 20, 30, SEED, 0, &entry));
}

Test(index, damaged_entries_are_gone_round, .fini = free_all)
{
    rng_start();
    for (int round = 0; round < 300; round++) {
        bool is_bad[101] = {false};
        const uint64_t n_bad = rng_below(60);

        fill(41, 100);
        for (uint64_t i = 0; i < n_bad; i++) {
            const uint64_t seq = 41 + rng_below(60);

            if (!is_bad[seq])
                damage(seq);
            is_bad[seq] = true;
        }
        for (uint64_t no = 405; no < 1015; no += 3) {
            struct ts_index_entry entry = {0};
            uint64_t want = no < 410 ? 41 : no / 10;
            bool found;

            while (want <= 100 && is_bad[want])
                want++;
            found = ts_index_find_no(&idx, 41, 100, SEED, no, &entry);
            cr_assert_eq(found, want <= 100, "number %ju", (uintmax_t)no);
            cr_assert(!found || entry.seq == want, "number %ju: %ju, not %ju", (uintmax_t)no,
                      (uintmax_t)entry.seq, (uintmax_t)want);
        }
    }
}
