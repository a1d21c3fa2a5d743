/* options.h - what a store was created with, and the sizes that follow from it.
 *
 * Purpose    One place that turns options into sizes of files and limits of blocks.
 * Invariant  Sizes depend on the options alone, so that creation and every later open agree.
 * Errors     TS_E_CONFIG with the contract's texts.
 */
#ifndef TS_OPTIONS_H
#define TS_OPTIONS_H

#include "common/error.h"
#include "proto/format.h"

struct ts_geometry {
    uint64_t ring_bytes;
    uint64_t n_index;     /* entries of index.tsdb */
    uint64_t index_bytes; /* of index.tsdb */
    uint64_t head_bytes;  /* of head.tsdb */
    uint64_t max_record_bytes;
    uint32_t open_bytes;        /* of one open block */
    uint32_t block_bytes_limit; /* an open block is closed before its raw extent gets larger */
    uint8_t open_shift, block_shift, index_shift;
};

/* Checks *options and computes what follows. */
enum ts_err ts_geometry_of(const struct ts_options *options,
                           struct ts_geometry *out_geometry) TS_MUST_USE;

/* Bytes of an uncompressed extent with `count` records of `body_bytes` together. */
static inline uint64_t
ts_extent_raw_bytes(uint64_t count, uint64_t body_bytes)
{
    const uint64_t payload = count * TS_EXTENT_RECORD_BYTES + body_bytes;
    const uint64_t delete_map = (count + 63) / 64 * 8;

    return sizeof(struct ts_extent) + ((payload + 7) & ~UINT64_C(7)) + delete_map;
}

#endif
