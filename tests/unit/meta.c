/* meta.c - the 64-byte line: what is put in comes out, what is damaged is refused. */
#include "tests/unit/store_scratch.h"

TestSuite(meta, .timeout = 60);

static struct ts_meta
line(struct ts_options *out_options)
{
    struct ts_geometry g;
    struct ts_meta meta;

    ts_options_init(out_options);
    out_options->num_blocks = 77;
    out_options->data_block_bytes = 1024;
    out_options->index_block_bytes = 512;
    out_options->type = TS_TYPE_TEXT;
    out_options->codec = TS_CODEC_NONE;
    out_options->sync_ms = 5;
    out_options->max_future_ns = 0; /* head.tsdb has it */
    cr_assert_eq(ts_geometry_of(out_options, &g), TS_OK);
    ts_meta_init(&meta, out_options, &g, 0x12345678);
    return meta;
}

Test(meta, options_that_were_written_are_read_back)
{
    struct ts_options want, got;
    const struct ts_meta meta = line(&want);

    cr_assert_eq(ts_meta_check(&meta, &got), TS_OK, "%s", ts_error_text());
    cr_expect_eq(memcmp(&want, &got, sizeof want), 0);
    cr_expect_eq(ts_meta_generation(&meta), 1u);
    cr_expect_eq(ts_meta_tail(&meta), 1u);
    cr_expect_eq(ts_meta_sealed(&meta), 0u);
}

Test(meta, every_flipped_bit_is_found)
{
    struct ts_options options;
    const struct ts_meta good = line(&options);

    for (unsigned bit = 0; bit < 512; bit++) {
        struct ts_meta meta = good;
        struct ts_options got;
        struct ts_words words;
        enum ts_err err;
        size_t bad_off;

        ((uint8_t *)&meta)[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        err = ts_meta_check(&meta, &got);
        bad_off = ts_meta_words(&meta, &words);
        if (bit / 8 < offsetof(struct ts_meta, generation)) {
            cr_expect(err == TS_E_CORRUPT || err == TS_E_VERSION, "bit %u", bit);
            cr_expect(strstr(ts_error_text(), "meta.tsdb") != NULL &&
                          strstr(ts_error_text(), "offset ") != NULL,
                      "bit %u: %s", bit, ts_error_text());
            cr_expect_eq(bad_off, 0u, "bit %u", bit);
        } else {
            cr_expect_eq(err, TS_OK, "bit %u", bit);
            cr_expect_eq(bad_off, bit / 64 * 8, "bit %u: offset %zu", bit, bad_off);
        }
    }
}

Test(meta, a_word_is_not_taken_for_another)
{
    static const uint64_t values[] = {0, 1, 2, 0xffff, 1u << 31, TS_WORD_MAX - 1, TS_WORD_MAX};

    for (size_t i = 0; i < COUNTOF(values); i++)
        for (unsigned salt = 1; salt <= 3; salt++)
            for (unsigned other = 1; other <= 3; other++) {
                uint64_t value = 42;

                cr_expect_eq(ts_word_unpack(ts_word_pack(values[i], salt), other, &value),
                             salt == other);
                cr_expect_eq(value, salt == other ? values[i] : 42);
            }
}

Test(meta, a_newer_version_or_an_unknown_feature_says_so)
{
    struct ts_options options, got;
    struct ts_meta meta = line(&options);

    meta.version = TS_FORMAT_VERSION + 1;
    cr_expect_eq(ts_meta_check(&meta, &got), TS_E_VERSION);
    cr_expect(strstr(ts_error_text(), "store version mismatch") != NULL, "%s", ts_error_text());
    meta = line(&options);
    meta.incompat = 0x10;
    meta.checksum = (uint32_t)ts_checksum(&meta, offsetof(struct ts_meta, checksum), 0);
    cr_expect_eq(ts_meta_check(&meta, &got), TS_E_VERSION);
    meta = line(&options);
    meta.compat = 0x10; /* may be unknown */
    meta.checksum = (uint32_t)ts_checksum(&meta, offsetof(struct ts_meta, checksum), 0);
    cr_expect_eq(ts_meta_check(&meta, &got), TS_OK);
}

static void
set_block_shift(struct ts_meta *meta)
{
    meta->block_shift = 32;
}
static void
set_block_shift_high(struct ts_meta *meta)
{
    meta->block_shift = 255;
}
static void
set_small_blocks(struct ts_meta *meta)
{
    meta->block_shift = 5;
}
static void
set_index_shift(struct ts_meta *meta)
{
    meta->index_shift = 40;
}
static void
set_open_shift(struct ts_meta *meta)
{
    meta->open_shift = 31;
}
static void
set_no_blocks(struct ts_meta *meta)
{
    meta->num_blocks = 0;
}
static void
set_type(struct ts_meta *meta)
{
    meta->type = 4;
}
static void
set_codec(struct ts_meta *meta)
{
    meta->codec = 2;
}
static void
set_order(struct ts_meta *meta)
{
    meta->order = 1;
}

/* Lines with a good checksum that no writer makes. */
static void (*const impossible[])(struct ts_meta *) = {
    set_block_shift, set_block_shift_high, set_small_blocks, set_index_shift,
    set_open_shift,  set_no_blocks,        set_type,         set_codec,
    set_order,
};

Test(meta, impossible_values_are_refused_whatever_the_checksum_says)
{
    for (size_t i = 0; i < COUNTOF(impossible); i++) {
        struct ts_options options, got;
        struct ts_meta meta = line(&options);

        impossible[i](&meta);
        meta.checksum = (uint32_t)ts_checksum(&meta, offsetof(struct ts_meta, checksum), 0);
        cr_expect_eq(ts_meta_check(&meta, &got), TS_E_CORRUPT, "row %zu", i);
        cr_expect(strstr(ts_error_text(), "meta.tsdb") != NULL, "row %zu: %s", i, ts_error_text());
    }
}

Test(meta, seeds_of_stores_and_generations_differ)
{
    cr_expect_neq(ts_seed(1, 1), ts_seed(2, 1));
    cr_expect_neq(ts_seed(1, 1), ts_seed(1, 2));
    cr_expect_neq(ts_seed(1, 2), ts_seed(2, 1));
}
