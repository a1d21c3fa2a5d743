/* ring.c - extents are placed, given up and copied out. */
#include "tests/unit/store_scratch.h"

#define RING_BYTES 1024u
#define N_ENTRIES 64u
#define SEED 0x99u

TestSuite(ring, .timeout = 60);

static struct ts_meta meta;
static struct ts_ring ring;
static uint64_t next_no;

static void
start(void)
{
    memset(&meta, 0, sizeof meta);
    ts_meta_publish_sealed(&meta, 0);
    ts_ring_reclaim(&meta, 1);
    ring = (struct ts_ring){.meta = &meta,
                            .base = aligned_alloc(64, RING_BYTES),
                            .ring_bytes = RING_BYTES,
                            .index = {calloc(N_ENTRIES, sizeof(struct ts_index_entry)), N_ENTRIES},
                            .seed = SEED,
                            .tail_seq = 1,
                            .next_no = 1,
                            .high_time_ns = INT64_MIN};
    next_no = 1;
}

static void
end(void)
{
    free(ring.base);
    free(ring.index.base);
}

/* Puts an extent of `bytes` that are all `fill`. */
static void
put(uint64_t seq, uint32_t bytes, uint8_t fill)
{
    struct ts_index_entry entry = {.seq = seq,
                                   .first_no = next_no,
                                   .count = 2,
                                   .min_time_ns = (int64_t)seq,
                                   .max_time_ns = (int64_t)seq,
                                   .extent_bytes = bytes};
    uint8_t *extent = malloc(bytes);

    memset(extent, fill, bytes);
    ts_ring_write(&ring, extent, &entry);
    next_no += 2;
    free(extent);
}

/* True if block seq can be copied and is all `fill`. */
static bool
holds(uint64_t seq, uint8_t fill)
{
    uint8_t target[RING_BYTES];
    struct ts_index_entry entry;

    if (!ts_index_read(&ring.index, seq, SEED, &entry) ||
        !ts_ring_copy(&meta, ring.base, RING_BYTES, &entry, target))
        return false;
    for (uint32_t i = 0; i < entry.extent_bytes; i++)
        if (target[i] != fill)
            return false;
    return true;
}

Test(ring, an_extent_that_wraps_is_copied_whole, .init = start, .fini = end)
{
    put(1, 800, 0x11);
    put(2, 400, 0x22); /* 224 before the end, 176 behind */
    cr_expect(holds(2, 0x22));
    cr_expect_not(holds(1, 0x11));
    cr_expect_eq(ts_meta_tail(&meta), 2u);
    cr_expect_eq(ts_meta_sealed(&meta), 2u);
}

Test(ring, an_extent_of_the_whole_ring_takes_the_place_of_all, .init = start, .fini = end)
{
    put(1, 200, 0x11);
    put(2, 200, 0x22);
    put(3, RING_BYTES, 0x33);
    cr_expect(holds(3, 0x33));
    cr_expect_eq(ts_meta_tail(&meta), 3u);
    put(4, 8, 0x44);
    cr_expect(holds(4, 0x44));
    cr_expect_eq(ts_meta_tail(&meta), 4u);
}

Test(ring, the_oldest_go_and_only_as_many_as_must, .init = start, .fini = end)
{
    uint32_t bytes[20000];
    uint64_t head = 0, tail = 1, used = 0;

    rng_start();
    for (uint64_t seq = 1; seq < COUNTOF(bytes); seq++) {
        bytes[seq] = 8 * (1 + (uint32_t)rng_below(seq % 100 == 0 ? RING_BYTES / 8 : 12));
        put(seq, bytes[seq], (uint8_t)seq);
        head += bytes[seq];
        used += bytes[seq];
        while (used > RING_BYTES || seq - tail >= N_ENTRIES)
            used -= bytes[tail++];
        cr_assert_eq(ts_meta_tail(&meta), tail, "block %ju", (uintmax_t)seq);
        cr_assert_eq(ring.head_pos, head);
        cr_assert_eq(ring.head_pos - ring.tail_pos, used);
        if (seq % 50 == 0)
            for (uint64_t i = tail; i <= seq; i++)
                cr_assert(holds(i, (uint8_t)i), "block %ju", (uintmax_t)i);
    }
}

Test(ring, the_index_bounds_the_blocks_too, .init = start, .fini = end)
{
    for (uint64_t seq = 1; seq <= 1000; seq++)
        put(seq, 8, (uint8_t)seq);
    cr_expect_eq(ts_meta_tail(&meta), 1000 - N_ENTRIES + 1);
    cr_expect(holds(1000 - N_ENTRIES + 1, (uint8_t)(1000 - N_ENTRIES + 1)));
}

Test(ring, damaged_entries_do_not_stop_it, .init = start, .fini = end)
{
    rng_start();
    for (uint64_t seq = 1; seq <= 5000; seq++) {
        put(seq, 8 * (1 + (uint32_t)rng_below(20)), (uint8_t)seq);
        cr_assert(holds(seq, (uint8_t)seq), "block %ju", (uintmax_t)seq);
        if (rng_below(5) == 0)
            ring.index.base[ts_index_off(&ring.index, seq - rng_below(seq < 10 ? seq : 10)) +
                            rng_below(64)] ^= 0x10;
        cr_assert_leq(ts_meta_tail(&meta), seq);
        cr_assert_leq(ring.head_pos - ring.tail_pos, RING_BYTES);
    }
}

Test(ring, numbers_of_blocks_may_leave_some_out, .init = start, .fini = end)
{
    put(1, 8, 1);
    put(5, 8, 5);
    cr_expect(holds(1, 1) && holds(5, 5));
    put(9, RING_BYTES, 9);
    cr_expect(holds(9, 9));
    cr_expect_eq(ts_meta_tail(&meta), 9u);
}
