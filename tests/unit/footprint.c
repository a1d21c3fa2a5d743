/* footprint.c - the published formula's figures, and ours held against a full store. */
#include "cli/footprint.h"

#include "tests/unit/store_scratch.h"

TestSuite(footprint, .init = scratch_start, .fini = scratch_end, .timeout = 120);

static struct ts_options
sizes(uint32_t num_blocks, uint32_t block_bytes)
{
    struct ts_options options;

    ts_options_init(&options);
    options.num_blocks = num_blocks;
    options.data_block_bytes = block_bytes;
    return options;
}

Test(footprint, T266_the_formula_gives_the_published_figures)
{
    static const struct {
        uint32_t blocks, block_bytes;
        uint64_t object_bytes, total_bytes, per_block, blocks_per_object, total;
    } rows[] = {
        {10000, 8192, 200, 82080064, 36, 1, 360000},
        {1024, 4096, 200, 4210752, 18, 1, 18432},
        {4, 128, 80, 640, 1, 1, 4},  /* the largest that fits one block: block size less 48 */
        {4, 128, 81, 640, 0, 2, 2},  /* one byte more */
        {4, 128, 184, 640, 0, 2, 2}, /* the last that two blocks hold */
        {4, 128, 185, 640, 0, 3, 1},
        {4, 128, 392, 640, 0, 4, 1}, /* the largest that this ring can hold */
        {4, 128, 393, 640, 0, 5, 0},
        {1, 64, 0, 144, 1, 1, 1},
        {UINT32_MAX, UINT32_C(1) << 31, UINT32_MAX, UINT64_C(9223372103426768944), 0, 3,
         1431655765},
    };

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        const struct ts_options options = sizes(rows[i].blocks, rows[i].block_bytes);
        const struct formula_files files = formula_files_of(&options);
        const struct formula_objects objects = formula_objects_of(&options, rows[i].object_bytes);

        cr_expect_eq(files.total_bytes, rows[i].total_bytes, "row %zu: %ju", i,
                     (uintmax_t)files.total_bytes);
        cr_expect_eq(objects.per_block, rows[i].per_block, "row %zu", i);
        cr_expect_eq(objects.blocks_per_object, rows[i].blocks_per_object, "row %zu", i);
        cr_expect_eq(objects.total, rows[i].total, "row %zu: %ju", i, (uintmax_t)objects.total);
    }
}

/* Writes until the ring was overwritten several times and gives what is in it then. */
static uint64_t
records_in_full_ring(const struct ts_options *options, size_t record_bytes, uint64_t n)
{
    struct ts_store *store = must_create(STORE, options);
    struct ts_state state;
    uint64_t sealed;

    must_append_run(store, 1, n, record_bytes);
    wait_for_sealer(store);
    ts_view_state(ts_store_view(store), &state);
    sealed = store->block[store->current].first_no;
    must_close(store);
    remove_tree(AT_FDCWD, scratch);
    cr_assert_eq(mkdir(scratch, 0700), 0);
    cr_assert_gt(state.oldest_no, 1, "the ring did not get full");
    return sealed - state.oldest_no;
}

Test(footprint, our_figures_are_what_a_full_ring_holds)
{
    static const struct {
        uint32_t blocks, block_bytes;
        size_t record_bytes;
    } rows[] = {{64, 4096, 200}, {64, 4096, 1},      {64, 4096, 0},
                {64, 256, 37},   {64, 4096, 100000}, {256, 4096, 4097}};

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct ts_options options =
            small_options(rows[i].blocks, rows[i].block_bytes, TS_CODEC_NONE, TS_SYNC_NONE);
        struct ts_geometry geometry;
        struct footprint_records records;

        cr_assert_eq(ts_geometry_of(&options, &geometry), TS_OK);
        records = footprint_records_of(&geometry, rows[i].record_bytes);
        cr_expect(records.fits);
        cr_expect_eq(records_in_full_ring(&options, rows[i].record_bytes,
                                          3 * records.in_ring + 2 * records.per_block + 1),
                     records.in_ring, "row %zu: %ju", i, (uintmax_t)records.in_ring);
    }
}

Test(footprint, records_that_no_ring_takes_are_told_as_such)
{
    const struct ts_options options = sizes(4, 128);
    struct ts_geometry geometry;

    cr_assert_eq(ts_geometry_of(&options, &geometry), TS_OK);
    cr_expect(footprint_records_of(&geometry, geometry.max_record_bytes).fits);
    cr_expect_eq(footprint_records_of(&geometry, geometry.max_record_bytes).in_ring, 1);
    cr_expect_not(footprint_records_of(&geometry, geometry.max_record_bytes + 1).fits);
    cr_expect_not(footprint_records_of(&geometry, UINT64_MAX).fits);
}
