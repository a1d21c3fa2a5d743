/* footprint.c - products and quotients; nothing can overflow: blocks and sizes have 32 bits. */
#include "cli/footprint.h"

#include "common/head.h"

#define MIB_BYTES (UINT64_C(1) << 20)

struct formula_files
formula_files_of(const struct ts_options *options)
{
    struct formula_files files = {
        .data_bytes = (uint64_t)options->num_blocks * options->data_block_bytes,
        /* Not rounded up to the index block: the published figures are not. */
        .index_bytes = (uint64_t)options->num_blocks * FORMULA_INDEX_ENTRY_BYTES,
        .meta_bytes = FORMULA_META_BYTES,
    };

    files.total_bytes = files.data_bytes + files.index_bytes + files.meta_bytes;
    return files;
}

struct formula_objects
formula_objects_of(const struct ts_options *options, uint64_t object_bytes)
{
    const uint64_t usable = options->data_block_bytes - FORMULA_BLOCK_HEADER_BYTES;
    const uint64_t needed = FORMULA_OBJECT_HEADER_BYTES + object_bytes;
    struct formula_objects objects = {.per_block = usable / needed, .blocks_per_object = 1};

    if (objects.per_block > 0) {
        objects.total = objects.per_block * options->num_blocks;
    } else {
        objects.blocks_per_object = needed / usable + (needed % usable != 0);
        objects.total = options->num_blocks / objects.blocks_per_object;
    }
    return objects;
}

/* How many records an open block takes before it is closed. The writer's two conditions, see
 * fits_current() in common/append.c: room in the slot, and a bound on the sealed block. */
static uint64_t
records_of_open_block(const struct ts_geometry *geometry, uint64_t record_bytes)
{
    const uint64_t in_slot =
        (geometry->open_bytes - TS_SLOT_HEADER_BYTES) / ts_slot_record_bytes(record_bytes);
    uint64_t low = 1, high = in_slot;

    /* The sealed size grows with the count: bisect for the last that is within the bound. */
    while (low < high) {
        const uint64_t middle = low + (high - low + 1) / 2;

        if (ts_extent_raw_bytes(middle, middle * record_bytes) <= geometry->block_bytes_limit)
            low = middle;
        else
            high = middle - 1;
    }
    return in_slot == 0 ? 1 : low; /* what no slot takes becomes a block of its own */
}

struct footprint_records
footprint_records_of(const struct ts_geometry *geometry, uint64_t record_bytes)
{
    struct footprint_records records = {0};
    uint64_t n_blocks;

    if (record_bytes > geometry->max_record_bytes)
        return records;
    records.fits = true;
    records.per_block = (uint32_t)records_of_open_block(geometry, record_bytes);
    records.block_bytes = ts_extent_raw_bytes(records.per_block, records.per_block * record_bytes);
    records.per_mib = MIB_BYTES * records.per_block / records.block_bytes;
    n_blocks = geometry->ring_bytes / records.block_bytes;
    if (n_blocks > geometry->n_index)
        n_blocks = geometry->n_index;
    records.in_ring = n_blocks * records.per_block;
    return records;
}
