/* extent.h - a full open block becomes bytes for the ring, and back.
 *
 * Purpose    Encode records as columns, compressed or not, with a checksum; decode and check.
 * Invariant  What is decoded is what was encoded, or the answer is an error: every length is
 *            checked against the bytes that are there before it is used.
 * Ownership  A ts_extent_writer owns its buffers and its zstd context, a ts_block likewise; both
 *            grow to the largest block met and are reused.
 * Threads    One thread at a time per object.
 * Errors     TS_E_NOMEM; TS_E_CORRUPT, with the offset within the extent in the text.
 */
#ifndef TS_EXTENT_H
#define TS_EXTENT_H

#include "common/head.h"

struct ts_extent_writer {
    uint8_t *extent; /* owned; the finished extent */
    uint8_t *plain;  /* owned; columns and bodies before compression */
    size_t extent_capacity, plain_capacity;
    void *zstd;          /* owned; ZSTD_CCtx, made at first use */
    size_t extent_bytes; /* of the finished extent, a multiple of 8 */
    uint32_t count;
    uint32_t n_damaged; /* of the records of an open block */
    int64_t min_time_ns, max_time_ns;
};

void ts_extent_writer_done(struct ts_extent_writer *writer);

/* Encodes the records of a closed open block. Each is checked once more: damage must not get a good
 * checksum by being sealed. Those that fail are marked damaged; if all do, the times are INT64_MIN.
 */
enum ts_err ts_extent_from_slot(struct ts_extent_writer *writer, const struct ts_slot *slot,
                                uint32_t open_bytes, const struct ts_slot_look *look,
                                enum ts_codec codec, uint64_t seed) TS_MUST_USE;

/* The same without that check, for a block that cannot have decayed since it was appended. Lengths
 * are still checked: if the block is not what its writer knows of it, the answer is that of
 * ts_extent_from_slot(). */
enum ts_err ts_extent_from_fresh(struct ts_extent_writer *writer, const struct ts_open_block *block,
                                 unsigned flags, enum ts_codec codec) TS_MUST_USE;

/* Encodes items[0..n), of body_bytes together, as an extent of their own; their times are in
 * done.time_ns. */
enum ts_err ts_extent_from_items(struct ts_extent_writer *writer, uint64_t seq,
                                 const struct ts_batch_item *items, uint32_t n, uint64_t body_bytes,
                                 enum ts_codec codec, uint64_t seed) TS_MUST_USE;

/* A decoded block. */
struct ts_block {
    uint64_t seq; /* 0: empty */
    uint64_t first_no;
    uint32_t count, block_num;
    const int64_t *time_ns; /* views into the buffers below */
    const uint32_t *end;    /* end of each body */
    const uint8_t *bodies;
    const uint8_t *delete_map;  /* one bit per record, as it was when the block was copied */
    uint64_t map_pos;           /* where in the ring the map lies, to look at it again */
    const uint8_t *damaged_map; /* one bit per record; NULL if none is damaged */
    uint8_t *extent;            /* owned; filled by the caller of ts_extent_decode() */
    uint8_t *plain;             /* owned */
    size_t extent_capacity, plain_capacity;
    void *zstd; /* owned; ZSTD_DCtx, made at first use */
};

void ts_block_done(struct ts_block *block);

/* Makes room for `bytes` in block->extent. */
enum ts_err ts_block_reserve(struct ts_block *block, size_t bytes) TS_MUST_USE;

/* Checks and decodes block->extent[0..bytes), which must be block `seq` with `count` records and
 * at most raw_limit bytes when decompressed. On failure block->seq is 0. */
enum ts_err ts_extent_decode(struct ts_block *block, size_t bytes, uint64_t seq, uint64_t first_no,
                             uint32_t count, uint64_t raw_limit, uint64_t seed) TS_MUST_USE;

static inline bool
ts_block_is_deleted(const struct ts_block *block, uint32_t idx)
{
    return (block->delete_map[idx / 8] >> (idx % 8)) & 1;
}

static inline bool
ts_block_is_damaged(const struct ts_block *block, uint32_t idx)
{
    return block->damaged_map != NULL && ((block->damaged_map[idx / 8] >> (idx % 8)) & 1);
}

static inline const uint8_t *
ts_block_body(const struct ts_block *block, uint32_t idx, size_t *out_bytes)
{
    const uint32_t start = idx == 0 ? 0 : block->end[idx - 1];

    *out_bytes = block->end[idx] - start;
    return block->bodies + start;
}

#endif
