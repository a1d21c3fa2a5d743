/* footprint.h - what a store of given sizes takes and holds: the first ts-store's, and ours.
 *
 * Purpose    The arithmetic of `tsstore calc`.
 * Invariant  The two never mix: FORMULA is what the first ts-store published and what its users
 *            planned with; what our files really take follows from common/options.h.
 * Threads    No state.
 * Errors     None; options were checked by ts_geometry_of().
 * Units      bytes. Counts are rounded towards zero: what surely fits.
 * Source     FORMULA: the first ts-store's blocks of B bytes have a header of 24, each object one
 * of 24, and an index entry takes 16.
 */
#ifndef CLI_FOOTPRINT_H
#define CLI_FOOTPRINT_H

#include "common/options.h"

#include <stdint.h>

/* ---- FORMULA ---- */

#define FORMULA_BLOCK_HEADER_BYTES 24
#define FORMULA_OBJECT_HEADER_BYTES 24
#define FORMULA_INDEX_ENTRY_BYTES 16
#define FORMULA_META_BYTES 64

struct formula_files {
    uint64_t data_bytes, index_bytes, meta_bytes, total_bytes;
};
struct formula_files formula_files_of(const struct ts_options *options);

/* Objects of one size. Either several share a block or one spans several blocks. */
struct formula_objects {
    uint64_t per_block;         /* 0: it spans */
    uint64_t blocks_per_object; /* 1 unless it spans */
    uint64_t total;
};
struct formula_objects formula_objects_of(const struct ts_options *options, uint64_t object_bytes);

/* ---- ours ---- */

/* Uncompressed records of one size, in blocks that were full when they were sealed. */
struct footprint_records {
    bool fits;            /* false: no record of this size is ever taken; the rest is 0 */
    uint32_t per_block;   /* records sealed together */
    uint64_t block_bytes; /* that they take in the ring */
    uint64_t per_mib;     /* of ring */
    uint64_t in_ring;     /* at least; the open blocks hold some more */
};
struct footprint_records footprint_records_of(const struct ts_geometry *geometry,
                                              uint64_t record_bytes);

#endif
