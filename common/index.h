/* index.h - find a block by sequence number, record number or time.
 *
 * Purpose    Read and write entries of index.tsdb; bisect over the live ones.
 * Invariant  Blocks grow in sequence number, record number and (order strict) time together.
 * Threads    Entries are written by the ring's writer only, before ts_meta_publish_sealed();
 *            readers copy an entry and check it, and look at the tail when the check fails.
 * Errors     None: a bad entry is an answer, and a search goes round it.
 */
#ifndef TS_INDEX_H
#define TS_INDEX_H

#include "common/meta.h"

struct ts_index {
    uint8_t *base; /* view: first byte of the mapping */
    uint64_t n_entries;
};

/* Copies the entry of block `seq`; false if what is there is not a whole entry of that block. */
bool ts_index_read(const struct ts_index *index, uint64_t seq, uint64_t seed,
                   struct ts_index_entry *out_entry);

/* Computes the checksum of *entry and writes it to its place. The old entry there must have been
 * reclaimed. */
void ts_index_write(const struct ts_index *index, struct ts_index_entry *entry, uint64_t seed);

/* File offset of the entry of block seq: for messages. */
uint64_t ts_index_off(const struct ts_index *index, uint64_t seq);

/* The first block in [from_seq, to_seq] whose last record is no or greater. Entries that fail
 * their check are passed over. False if there is none. */
bool ts_index_find_no(const struct ts_index *index, uint64_t from_seq, uint64_t to_seq,
                      uint64_t seed, uint64_t no, struct ts_index_entry *out_entry);

/* The first block in [from_seq, to_seq] whose greatest time is time_ns or greater. */
bool ts_index_find_time(const struct ts_index *index, uint64_t from_seq, uint64_t to_seq,
                        uint64_t seed, int64_t time_ns, struct ts_index_entry *out_entry);

/* The first block in [from_seq, to_seq] that begins at ring_pos or behind it. */
bool ts_index_find_pos(const struct ts_index *index, uint64_t from_seq, uint64_t to_seq,
                       uint64_t seed, uint64_t ring_pos, struct ts_index_entry *out_entry);

#endif
