/* head.c - open blocks: what is added is read back, what is damaged is told apart. */
#include "tests/unit/store_scratch.h"

#define OPEN_BYTES 1024u
#define SEED 0x1234u

TestSuite(head, .timeout = 60);

static uint8_t *
new_slot(struct ts_open_block *block)
{
    uint8_t *bytes = aligned_alloc(64, OPEN_BYTES);

    memset(bytes, 0, OPEN_BYTES);
    ts_slot_open(block, (struct ts_slot *)(void *)bytes, OPEN_BYTES, 7, 100, 0, SEED);
    return bytes;
}

/* Fills it with records of `bytes` each; how many fitted. */
static uint32_t
fill(struct ts_open_block *block, uint32_t bytes)
{
    uint8_t body[OPEN_BYTES];
    uint32_t n = 0;

    while (ts_slot_has_room(block, bytes)) {
        record_fill(n + 1, body, bytes);
        ts_slot_put(block, (int64_t)n + 1, 0, body, bytes);
        n++;
    }
    return n;
}

Test(head, records_of_every_size_are_read_back_until_the_block_is_full)
{
    for (uint32_t bytes = 0; bytes <= ts_slot_max_body(OPEN_BYTES); bytes++) {
        struct ts_open_block block;
        uint8_t *slot = new_slot(&block);
        uint8_t body[OPEN_BYTES];
        const uint32_t n = fill(&block, bytes);
        const struct ts_slot_look look = ts_slot_look(block.slot);

        cr_assert(n > 0 && n <= ts_slot_max_count(OPEN_BYTES), "%u bytes: %u", bytes, n);
        cr_assert_eq(look.count, n);
        cr_assert_eq(look.seq, 7u);
        for (uint32_t i = 0; i < n; i++) {
            struct ts_record record;

            cr_assert_eq(ts_slot_read(block.slot, OPEN_BYTES, SEED, &look, i, body, &record),
                         TS_SLOT_RECORD, "%u bytes, record %u of %u", bytes, i, n);
            cr_assert(record.no == 100 + i && record.bytes == bytes &&
                      record.time_ns == (int64_t)i + 1 && record_is(i + 1, record.data, bytes));
        }
        free(slot);
    }
}

Test(head, the_largest_body_fits_an_empty_block_and_a_larger_one_does_not)
{
    static const uint32_t sizes[] = {512, 1024, 4096, 65536};

    for (size_t i = 0; i < COUNTOF(sizes); i++) {
        struct ts_open_block block = {.open_bytes = sizes[i], .used_bytes = TS_SLOT_HEADER_BYTES};
        const uint64_t max = ts_slot_max_body(sizes[i]);

        cr_expect(ts_slot_has_room(&block, max), "%u", sizes[i]);
        cr_expect_not(ts_slot_has_room(&block, max + 9), "%u", sizes[i]);
        cr_expect_not(ts_slot_has_room(&block, UINT32_MAX), "%u", sizes[i]);
    }
}

Test(head, a_record_is_not_seen_before_it_is_published)
{
    struct ts_open_block block;
    uint8_t *slot = new_slot(&block);

    ts_slot_add(&block, 1, 0, "a", 1, true);
    ts_slot_add(&block, 2, 0, "b", 1, false);
    cr_expect_eq(ts_slot_look(block.slot).count, 0u);
    ts_slot_publish(&block);
    cr_expect_eq(ts_slot_look(block.slot).count, 2u);
    free(slot);
}

Test(head, a_reader_of_a_block_that_was_reused_is_told)
{
    struct ts_open_block block;
    uint8_t *slot = new_slot(&block);
    struct ts_slot_look look;
    struct ts_record record;
    uint8_t body[OPEN_BYTES];

    fill(&block, 20);
    look = ts_slot_look(block.slot);
    ts_slot_open(&block, block.slot, OPEN_BYTES, 9, 200, 0, SEED);
    cr_expect_eq(ts_slot_read(block.slot, OPEN_BYTES, SEED, &look, 0, body, &record),
                 TS_SLOT_MOVED);
    look = ts_slot_look(block.slot);
    cr_expect(look.seq == 9 && look.first_no == 200 && look.count == 0);
    free(slot);
}

Test(head, marks_are_told_apart)
{
    static const struct {
        uint32_t flags;
        enum ts_slot_answer want;
    } rows[] = {
        {0, TS_SLOT_RECORD},
        {TS_RECORD_DELETED, TS_SLOT_DELETED},
        {TS_RECORD_DAMAGED, TS_SLOT_DAMAGED},
        {TS_RECORD_DELETED | TS_RECORD_DAMAGED, TS_SLOT_DAMAGED},
        {0x80, TS_SLOT_DAMAGED}, /* of no version that is known */
    };

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct ts_open_block block;
        uint8_t *slot = new_slot(&block);
        struct ts_record record = {.time_ns = -1};
        uint8_t body[OPEN_BYTES];
        struct ts_slot_look look;

        fill(&block, 20);
        look = ts_slot_look(block.slot);
        ((struct ts_slot_record *)(void *)(slot + TS_SLOT_HEADER_BYTES))->flags = rows[i].flags;
        cr_expect_eq(ts_slot_read(block.slot, OPEN_BYTES, SEED, &look, 0, body, &record),
                     rows[i].want, "flags %x", rows[i].flags);
        if (rows[i].want == TS_SLOT_DELETED)
            cr_expect_eq(record.time_ns, 1);
        free(slot);
    }
}

Test(head, no_flipped_bit_of_a_record_makes_a_wrong_record)
{
    struct ts_open_block block;
    uint8_t *slot = new_slot(&block);
    struct ts_slot_look look;
    uint8_t body[OPEN_BYTES];
    uint32_t n;

    n = fill(&block, 13);
    look = ts_slot_look(block.slot);
    for (uint32_t bit = TS_SLOT_HEADER_BYTES * 8; bit < OPEN_BYTES * 8; bit++) {
        unsigned n_wrong = 0;

        slot[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        for (uint32_t i = 0; i < n; i++) {
            struct ts_record record;
            const enum ts_slot_answer answer =
                ts_slot_read(block.slot, OPEN_BYTES, SEED, &look, i, body, &record);

            if (answer == TS_SLOT_RECORD)
                cr_assert(record.bytes == 13 && record_is(i + 1, record.data, 13) &&
                              record.time_ns == (int64_t)i + 1,
                          "bit %u, record %u", bit, i);
            else
                n_wrong++;
        }
        cr_assert_leq(n_wrong, 1u, "bit %u", bit);
        slot[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    free(slot);
}

Test(head, rubbish_in_a_slot_is_never_read_outside_of_it)
{
    struct ts_open_block block;
    uint8_t *slot = new_slot(&block); /* the address sanitizer watches its ends */
    uint8_t body[OPEN_BYTES];

    rng_start();
    for (int round = 0; round < 3000; round++) {
        const struct ts_slot_look look = {.seq = 7, .first_no = rng_next(), .count = UINT32_MAX};
        struct ts_record record;

        for (size_t i = TS_SLOT_HEADER_BYTES; i < OPEN_BYTES; i++)
            slot[i] = (uint8_t)(rng_below(3) == 0 ? rng_next() : 0);
        for (int i = 0; i < 40; i++)
            cr_assert_neq(ts_slot_read(block.slot, OPEN_BYTES, SEED, &look,
                                       (uint32_t)rng_below(i < 30 ? 300 : UINT32_MAX), body,
                                       &record),
                          TS_SLOT_RECORD);
    }
    free(slot);
}

Test(head, a_record_proves_its_number_and_its_store)
{
    const uint32_t good = ts_record_checksum(SEED, 5, 6, 7, "body", 4);

    cr_expect_neq(ts_record_checksum(SEED + 1, 5, 6, 7, "body", 4), good);
    cr_expect_neq(ts_record_checksum(SEED, 6, 6, 7, "body", 4), good);
    cr_expect_neq(ts_record_checksum(SEED, 5, 7, 7, "body", 4), good);
    cr_expect_neq(ts_record_checksum(SEED, 5, 6, 8, "body", 4), good);
    cr_expect_neq(ts_record_checksum(SEED, 5, 6, 7, "bodx", 4), good);
    cr_expect_neq(ts_record_checksum(SEED, 5, 6, 7, "body", 3), good);
    cr_expect_neq(ts_record_checksum(SEED, 5, 6, 7, "body", 4 | TS_RECORD_MORE), good);
}

Test(head, a_slots_words_and_header_are_compared)
{
    struct ts_open_block block;
    uint8_t *slot = new_slot(&block);

    fill(&block, 20);
    cr_expect(ts_slot_is_consistent(block.slot, OPEN_BYTES, SEED));
    cr_expect_not(ts_slot_is_consistent(block.slot, OPEN_BYTES, SEED + 1));
    for (unsigned bit = 0; bit < sizeof(struct ts_slot) * 8; bit++) {
        const bool is_reserved = bit / 8 >= 40 && bit / 8 < 56;
        bool is_small_count; /* some other number of records, as it may be */

        slot[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        is_small_count = bit / 32 == 4 && block.slot->count <= ts_slot_max_count(OPEN_BYTES);
        cr_expect_eq(ts_slot_is_consistent(block.slot, OPEN_BYTES, SEED),
                     is_reserved || is_small_count, "bit %u", bit);
        slot[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    atomic_store(&block.slot->seq, 0); /* being opened: nothing to compare */
    cr_expect(ts_slot_is_consistent(block.slot, OPEN_BYTES, SEED));
    free(slot);
}

Test(head, every_flipped_bit_of_the_files_header_is_found)
{
    struct ts_options options;
    struct ts_head head;

    memset(&head, 0, sizeof head);
    ts_options_init(&options);
    ts_head_init(&head, &options, 12, 99);
    cr_expect_eq(ts_head_check(&head, 12, 99), TS_OK);
    cr_expect_eq(ts_head_check(&head, 13, 99), TS_E_CORRUPT);
    cr_expect_eq(ts_head_check(&head, 12, 98), TS_E_CORRUPT);
    cr_expect(strstr(ts_error_text(), "another store") != NULL);
    for (unsigned bit = 0; bit < 64 * 8; bit++) {
        ((uint8_t *)&head)[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        cr_expect_neq(ts_head_check(&head, 12, 99), TS_OK, "bit %u", bit);
        cr_expect(strstr(ts_error_text(), "head.tsdb") != NULL &&
                      strstr(ts_error_text(), "offset ") != NULL,
                  "bit %u: %s", bit, ts_error_text());
        ((uint8_t *)&head)[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}
