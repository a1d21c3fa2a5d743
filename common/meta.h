/* meta.h - the 64-byte line of a store: its options, and the three words that move.
 *
 * Purpose    Build and check meta.tsdb; load and store generation, tail and sealed.
 * Invariant  A word holds 48 bits of value and 16 bits of check, so that a flipped bit is seen
 *            although the words move one at a time and no checksum could cover them together.
 * Threads    One writer; any readers. The order of each access is said at the function.
 * Errors     TS_E_CORRUPT, TS_E_VERSION; the text names file and offset.
 */
#ifndef TS_META_H
#define TS_META_H

#include "common/options.h"

/* Fills a line for a new store. */
void ts_meta_init(struct ts_meta *meta, const struct ts_options *options,
                  const struct ts_geometry *geometry, uint32_t store_id);

/* Checks magic, version, checksum and feature bits of a mapped or copied line, and reads the
 * options from it. */
enum ts_err ts_meta_check(const struct ts_meta *meta, struct ts_options *out_options) TS_MUST_USE;

/* Value with its check; `salt` keeps the three words from standing in for one another. */
uint64_t ts_word_pack(uint64_t value, unsigned salt);
bool ts_word_unpack(uint64_t word, unsigned salt, uint64_t *out_value);

enum { TS_WORD_GENERATION = 1, TS_WORD_TAIL = 2, TS_WORD_SEALED = 3 };

struct ts_words {
    uint64_t generation, tail_seq, sealed_seq;
};

/* Loads the words in this order with acquire. 0, or the file offset of one that fails its check:
 * then the file is damaged. */
size_t ts_meta_words(const struct ts_meta *meta, struct ts_words *out);

/* Loads with acquire: what the writer published before the word is seen after it. */
static inline uint64_t
ts_meta_generation(const struct ts_meta *meta)
{
    return atomic_load_explicit(&meta->generation, memory_order_acquire) >> 16;
}

static inline uint64_t
ts_meta_tail(const struct ts_meta *meta)
{
    /* acquire: entries and extents from this block on are read after it. Readers look again
     * behind an acquire fence once they have copied. Pairs with ts_ring_reclaim(). */
    return atomic_load_explicit(&meta->tail_seq, memory_order_acquire) >> 16;
}

static inline uint64_t
ts_meta_sealed(const struct ts_meta *meta)
{
    return atomic_load_explicit(&meta->sealed_seq, memory_order_acquire) >> 16;
}

/* release: the extent and its index entry are there before the word says so. */
static inline void
ts_meta_publish_sealed(struct ts_meta *meta, uint64_t seq)
{
    atomic_store_explicit(&meta->sealed_seq, ts_word_pack(seq, TS_WORD_SEALED),
                          memory_order_release);
}

static inline void
ts_meta_publish_generation(struct ts_meta *meta, uint64_t generation)
{
    atomic_store_explicit(&meta->generation, ts_word_pack(generation, TS_WORD_GENERATION),
                          memory_order_release);
}

/* The seed of all checksums of one generation of one store: bytes of another store, or of before
 * a reset, never pass for this one's. */
uint64_t ts_seed(uint32_t store_id, uint64_t generation);

#endif
