/* extent.c - records to bytes and back, and bytes that nobody wrote. */
#include "tests/unit/store_scratch.h"

#define OPEN_BYTES 4096u
#define SEED 0x77u

TestSuite(extent, .timeout = 60);

static struct ts_extent_writer writer;
static struct ts_block block;
static struct ts_open_block open_block;
static uint8_t *slot;

static void
free_all(void)
{
    ts_extent_writer_done(&writer);
    ts_block_done(&block);
    free(slot);
    slot = NULL;
}

/* An open block of n records of up to max_bytes; returns a look at it. */
static struct ts_slot_look
fill(uint32_t n, uint32_t max_bytes)
{
    uint8_t body[OPEN_BYTES];

    slot = slot != NULL ? slot : aligned_alloc(64, OPEN_BYTES);
    memset(slot, 0, OPEN_BYTES);
    ts_slot_open(&open_block, (struct ts_slot *)(void *)slot, OPEN_BYTES, 3, 50, 0, SEED);
    for (uint32_t i = 1; i <= n; i++) {
        const uint32_t bytes = (uint32_t)rng_below(max_bytes + 1);

        record_fill(i * 1000, body, bytes);
        if (!ts_slot_has_room(&open_block, bytes))
            break;
        ts_slot_put(&open_block, i * 1000, 0, body, bytes);
    }
    return ts_slot_look(open_block.slot);
}

static enum ts_err
decode(uint32_t count)
{
    cr_assert_eq(ts_block_reserve(&block, writer.extent_bytes), TS_OK);
    memcpy(block.extent, writer.extent, writer.extent_bytes);
    return ts_extent_decode(&block, writer.extent_bytes, 3, 50, count, 1 << 20, SEED);
}

Test(extent, what_is_encoded_is_decoded, .fini = free_all)
{
    rng_start();
    for (int round = 0; round < 400; round++) {
        const enum ts_codec codec = rng_below(2) ? TS_CODEC_ZSTD : TS_CODEC_NONE;
        const struct ts_slot_look look =
            fill(1 + (uint32_t)rng_below(200), (uint32_t)rng_below(300));

        cr_assert_eq(ts_extent_from_slot(&writer, open_block.slot, OPEN_BYTES, &look, codec, SEED),
                     TS_OK);
        cr_assert_eq(writer.extent_bytes % 8, 0u);
        cr_assert_eq(writer.n_damaged, 0u);
        cr_assert_leq(writer.extent_bytes, ts_extent_raw_bytes(look.count, open_block.body_bytes));
        cr_assert_eq(decode(look.count), TS_OK, "%s", ts_error_text());
        cr_assert(block.seq == 3 && block.first_no == 50 && block.count == look.count);
        for (uint32_t i = 0; i < look.count; i++) {
            size_t bytes;
            const uint8_t *body = ts_block_body(&block, i, &bytes);

            cr_assert_eq(block.time_ns[i], (i + 1) * 1000);
            cr_assert(record_is((i + 1) * 1000, body, bytes));
            cr_assert_not(ts_block_is_deleted(&block, i) || ts_block_is_damaged(&block, i));
        }
        cr_assert_eq(writer.min_time_ns, 1000);
        cr_assert_eq(writer.max_time_ns, look.count * 1000);
    }
}

Test(extent, items_become_a_block_of_their_own, .fini = free_all)
{
    struct ts_batch_item items[3] = {
        {.data = "one", .bytes = 3}, {.data = NULL, .bytes = 0}, {.data = "three", .bytes = 5}};
    size_t bytes;

    for (int i = 0; i < 3; i++)
        items[i].done.time_ns = INT64_MIN + i;
    for (enum ts_codec codec = TS_CODEC_NONE; codec <= TS_CODEC_ZSTD; codec++) {
        cr_assert_eq(ts_extent_from_items(&writer, 3, items, 3, 8, codec, SEED), TS_OK);
        cr_assert_eq(decode(3), TS_OK, "%s", ts_error_text());
        cr_expect_eq(memcmp(ts_block_body(&block, 2, &bytes), "three", 5), 0);
        cr_expect_eq(bytes, 5u);
        cr_expect_eq(block.time_ns[2], INT64_MIN + 2);
        ts_block_body(&block, 1, &bytes);
        cr_expect_eq(bytes, 0u);
    }
}

Test(extent, a_large_record_that_compresses_well_is_decoded, .fini = free_all)
{
    const size_t bytes = 1 << 20;
    uint8_t *body = malloc(bytes);
    struct ts_batch_item item = {.data = body, .bytes = bytes, .done.time_ns = 5};
    size_t got;

    memset(body, 'x', bytes);
    cr_assert_eq(ts_extent_from_items(&writer, 3, &item, 1, bytes, TS_CODEC_ZSTD, SEED), TS_OK);
    cr_expect_lt(writer.extent_bytes, 4096u);
    cr_assert_eq(ts_block_reserve(&block, writer.extent_bytes), TS_OK);
    memcpy(block.extent, writer.extent, writer.extent_bytes);
    /* A limit below what it claims to hold refuses it before anything is allocated for it. */
    cr_expect_eq(ts_extent_decode(&block, writer.extent_bytes, 3, 50, 1, bytes, SEED),
                 TS_E_CORRUPT);
    cr_assert_eq(ts_extent_decode(&block, writer.extent_bytes, 3, 50, 1, bytes + 12, SEED), TS_OK);
    cr_expect_eq(memcmp(ts_block_body(&block, 0, &got), body, bytes), 0);
    cr_expect_eq(got, bytes);
    free(body);
}

Test(extent, deleted_records_stay_deleted_and_damaged_ones_damaged, .fini = free_all)
{
    struct ts_slot_look look;
    struct ts_slot_record *record;

    rng_start();
    for (enum ts_codec codec = TS_CODEC_NONE; codec <= TS_CODEC_ZSTD; codec++) {
        look = fill(100, 20);
        record = (void *)(slot + ts_slot_record_off(open_block.slot, OPEN_BYTES, 2));
        record->flags = TS_RECORD_DELETED;
        record = (void *)(slot + ts_slot_record_off(open_block.slot, OPEN_BYTES, 0));
        record->flags = TS_RECORD_DAMAGED;
        record = (void *)(slot + ts_slot_record_off(open_block.slot, OPEN_BYTES, 70));
        record->bytes = 0x7fffffff; /* would reach far out of the block */
        /* Two array entries that lead nowhere. */
        ts_store_u32(slot + ts_slot_array_off(OPEN_BYTES, 50), UINT32_MAX);
        ts_store_u32(slot + ts_slot_array_off(OPEN_BYTES, 51), 0);
        cr_assert_eq(ts_extent_from_slot(&writer, open_block.slot, OPEN_BYTES, &look, codec, SEED),
                     TS_OK);
        cr_expect_eq(writer.n_damaged, 4u);
        cr_assert_eq(decode(look.count), TS_OK, "%s", ts_error_text());
        for (uint32_t i = 0; i < look.count; i++) {
            const bool is_damaged = i == 0 || i == 70 || i == 50 || i == 51;
            size_t bytes;
            const uint8_t *body = ts_block_body(&block, i, &bytes);

            cr_expect_eq(ts_block_is_damaged(&block, i), is_damaged, "record %u", i);
            cr_expect_eq(ts_block_is_deleted(&block, i), i == 2, "record %u", i);
            cr_expect(is_damaged || record_is((i + 1) * 1000, body, bytes), "record %u", i);
            cr_expect(i == 0 || block.time_ns[i] >= block.time_ns[i - 1], "record %u", i);
        }
    }
}

Test(extent, a_slot_that_became_zeros_makes_a_block_of_damaged_records, .fini = free_all)
{
    struct ts_slot_look look;

    rng_start();
    look = fill(100, 20);
    memset(slot, 0, OPEN_BYTES); /* the file was truncated under the mapping */
    cr_assert_eq(
        ts_extent_from_slot(&writer, open_block.slot, OPEN_BYTES, &look, TS_CODEC_ZSTD, SEED),
        TS_OK);
    cr_expect_eq(writer.n_damaged, look.count);
    cr_assert_eq(decode(look.count), TS_OK);
    cr_expect(ts_block_is_damaged(&block, 0) && ts_block_is_damaged(&block, look.count - 1));
}

Test(extent, every_flipped_bit_is_found_but_for_the_delete_map, .fini = free_all)
{
    for (enum ts_codec codec = TS_CODEC_NONE; codec <= TS_CODEC_ZSTD; codec++) {
        struct ts_slot_look look;
        size_t map_bytes, payload_end;

        rng_start();
        look = fill(40, 20);
        map_bytes = (look.count + 63u) / 64 * 8;
        cr_assert_eq(ts_extent_from_slot(&writer, open_block.slot, OPEN_BYTES, &look, codec, SEED),
                     TS_OK);
        payload_end = sizeof(struct ts_extent) +
                      ((const struct ts_extent *)(const void *)writer.extent)->stored_bytes;
        for (size_t bit = 0; bit < payload_end * 8; bit++) {
            writer.extent[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            cr_assert_eq(decode(look.count), TS_E_CORRUPT, "bit %zu", bit);
            cr_assert_eq(block.seq, 0u);
            cr_assert(strstr(ts_error_text(), "byte ") == ts_error_text(), "%s", ts_error_text());
            writer.extent[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        cr_assert_eq(decode(look.count), TS_OK);
        cr_assert_lt(payload_end, writer.extent_bytes - map_bytes + 8);
    }
}

Test(extent, a_block_of_another_store_number_or_count_is_refused, .fini = free_all)
{
    struct ts_slot_look look;
    size_t n;

    rng_start();
    look = fill(40, 20);
    cr_assert_eq(
        ts_extent_from_slot(&writer, open_block.slot, OPEN_BYTES, &look, TS_CODEC_NONE, SEED),
        TS_OK);
    n = writer.extent_bytes;
    cr_assert_eq(decode(look.count), TS_OK);
    cr_expect_eq(ts_extent_decode(&block, n, 3, 50, look.count, 1 << 20, SEED + 1), TS_E_CORRUPT);
    cr_expect_eq(ts_extent_decode(&block, n, 4, 50, look.count, 1 << 20, SEED), TS_E_CORRUPT);
    cr_expect_eq(ts_extent_decode(&block, n, 3, 50, look.count + 1, 1 << 20, SEED), TS_E_CORRUPT);
    cr_expect_eq(ts_extent_decode(&block, n, 3, 50, 0, 1 << 20, SEED), TS_E_CORRUPT);
    cr_expect_eq(ts_extent_decode(&block, n - 8, 3, 50, look.count, 1 << 20, SEED), TS_E_CORRUPT);
    cr_expect_eq(ts_extent_decode(&block, 31, 3, 50, look.count, 1 << 20, SEED), TS_E_CORRUPT);
    cr_expect_eq(ts_extent_decode(&block, 0, 3, 50, look.count, 1 << 20, SEED), TS_E_CORRUPT);
}

/* Headers with a good checksum that no writer makes: a reader must not overrun because of them. */
Test(extent, impossible_headers_and_columns_are_refused_whatever_the_checksum_says,
     .fini = free_all)
{
    rng_start();
    for (int round = 0; round < 20000; round++) {
        const struct ts_slot_look look = fill(1 + (uint32_t)rng_below(5), 30);
        struct ts_extent *header;
        uint32_t count = look.count;
        uint64_t stored;

        cr_assert_eq(ts_extent_from_slot(&writer, open_block.slot, OPEN_BYTES, &look,
                                         rng_below(2) ? TS_CODEC_ZSTD : TS_CODEC_NONE, SEED),
                     TS_OK);
        header = (void *)writer.extent;
        for (int n = 1 + (int)rng_below(3); n > 0; n--) {
            const size_t at = 8 + rng_below(writer.extent_bytes - 8);

            writer.extent[at] = (uint8_t)rng_next();
        }
        if (rng_below(4) == 0)
            count = header->count;
        stored = header->stored_bytes;
        if (sizeof *header + stored <= writer.extent_bytes)
            header->checksum = ts_checksum(writer.extent + 8, sizeof *header + stored - 8, SEED);
        if (decode(count) == TS_OK)
            for (uint32_t i = 0; i < block.count; i++) {
                size_t bytes;
                const uint8_t *body = ts_block_body(&block, i, &bytes);
                volatile uint8_t sum = 0;

                for (size_t k = 0; k < bytes; k++)
                    sum = (uint8_t)(sum + body[k]); /* the address sanitizer looks */
                (void)ts_block_is_deleted(&block, i);
                (void)ts_block_is_damaged(&block, i);
            }
    }
}

/* ---- blocks that cannot have decayed ---- */

static struct ts_slot_record *
slot_record(uint32_t idx)
{
    return (void *)(slot + ts_slot_record_off(open_block.slot, OPEN_BYTES, idx));
}

Test(extent, a_fresh_block_becomes_the_same_bytes_without_the_check, .fini = free_all)
{
    rng_start();
    for (int round = 0; round < 400; round++) {
        const enum ts_codec codec = rng_below(2) ? TS_CODEC_ZSTD : TS_CODEC_NONE;
        const struct ts_slot_look look =
            fill(1 + (uint32_t)rng_below(200), (uint32_t)rng_below(300));
        size_t bytes;
        uint8_t *checked;

        for (uint32_t i = 0; i < look.count; i++)
            if (rng_below(10) == 0)
                slot_record(i)->flags = TS_RECORD_DELETED;
        cr_assert_eq(ts_extent_from_slot(&writer, open_block.slot, OPEN_BYTES, &look, codec, SEED),
                     TS_OK);
        bytes = writer.extent_bytes;
        checked = malloc(bytes);
        memcpy(checked, writer.extent, bytes);
        cr_assert_eq(ts_extent_from_fresh(&writer, &open_block, 0, codec), TS_OK);
        cr_assert_eq(writer.extent_bytes, bytes);
        cr_assert_eq(memcmp(writer.extent, checked, bytes), 0);
        cr_assert_eq(writer.min_time_ns, 1000);
        cr_assert_eq(writer.max_time_ns, look.count * 1000);
        free(checked);
    }
}

/* Bytes of the mapping that are not what their writer left: whoever they come from, no length among
 * them leads out of the block, and the records are checked after all. */
Test(extent, a_fresh_block_with_impossible_lengths_is_checked_after_all, .fini = free_all)
{
    static const uint32_t lengths[] = {0, 1, 8, 300, 4000, 4096, 70000, 0x7fffffff, UINT32_MAX};

    rng_start();
    for (size_t i = 0; i < COUNTOF(lengths); i++) {
        for (uint32_t idx = 0; idx < 60; idx += 59) {
            const struct ts_slot_look look = fill(60, 20);

            cr_assert_eq(look.count, 60u);
            if (slot_record(idx)->bytes == lengths[i])
                continue;
            slot_record(idx)->bytes = lengths[i];
            cr_assert_eq(ts_extent_from_fresh(&writer, &open_block, 0, TS_CODEC_NONE), TS_OK);
            cr_expect_eq(writer.n_damaged, 1u, "length %u of record %u: %u damaged", lengths[i],
                         idx, writer.n_damaged);
            cr_assert_eq(decode(look.count), TS_OK, "%s", ts_error_text());
            cr_expect(ts_block_is_damaged(&block, idx));
        }
    }
}

Test(extent, a_fresh_block_that_became_zeros_is_damaged, .fini = free_all)
{
    rng_start();
    fill(60, 20);
    memset(slot, 0, OPEN_BYTES);
    cr_assert_eq(ts_extent_from_fresh(&writer, &open_block, 0, TS_CODEC_NONE), TS_OK);
    cr_expect_eq(writer.n_damaged, 60u);
}
