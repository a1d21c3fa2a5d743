/* ring.h - where extents lie in data.tsdb.
 *
 * Purpose    Place the next extent, reclaim the oldest, copy one out.
 * Invariant  tail_pos <= every live byte < head_pos <= tail_pos + ring bytes. The tail is moved,
 *            and fenced, before a byte behind it is overwritten; the extent and its index entry
 *            are written before sealed_seq counts it.
 * Ownership  Views into the store's mappings.
 * Threads    One thread at a time writes (the sealer, or an append that holds the store's lock
 *            while the sealer has nothing to do). Readers are any.
 * Errors     ts_ring_copy() answers lapped by false.
 * Units      Positions count bytes since creation or reset and never wrap.
 */
#ifndef TS_RING_H
#define TS_RING_H

#include "common/index.h"

struct ts_ring {
    struct ts_meta *meta; /* view */
    uint8_t *base;        /* view: data.tsdb */
    uint64_t ring_bytes;
    struct ts_index index;
    /* The writer's alone: */
    uint64_t seed;
    uint64_t tail_seq, tail_pos;
    uint64_t sealed_seq, head_pos;
    uint64_t next_no;     /* behind the last sealed record */
    int64_t high_time_ns; /* greatest sealed time */
};

/* Gives up every block before `new_tail_seq`; their bytes may be reused on return. */
void ts_ring_reclaim(struct ts_meta *meta, uint64_t new_tail_seq);

/* Writes an extent and its index entry, reclaiming what is in the way, and publishes it.
 * entry->seq must be greater than sealed_seq; ring_pos and the checksum are filled in. */
void ts_ring_write(struct ts_ring *ring, const uint8_t *extent, struct ts_index_entry *entry);

/* Copies the extent of *entry to target; false if it was reclaimed meanwhile. */
bool ts_ring_copy(const struct ts_meta *meta, const uint8_t *base, uint64_t ring_bytes,
                  const struct ts_index_entry *entry, uint8_t *target);

#endif
