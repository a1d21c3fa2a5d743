/* series_internal.h - what series.c and series_writer.c share.
 *
 * Purpose    Places in the mapping, and whole copies of what lies there.
 * Invariant  No number from the mapping is used before it was compared with the table's size.
 * Threads    As series.h says: loads beside the writer, stores as the writer.
 */
#ifndef TS_SERIES_INTERNAL_H
#define TS_SERIES_INTERNAL_H

#include "common/series.h"
#include "common/shared.h"

/* Salts of ts_word_pack(), behind those of meta.tsdb. */
enum { TS_WORD_NEWEST = 4, TS_WORD_BEFORE = 5 };

/* A private copy of an entry: the rest of the key follows its first bytes, in whole chunks. */
union ts_series_copy {
    struct ts_series_entry entry;
    uint8_t bytes[sizeof(struct ts_series_entry) + TS_MAX_KEY_BYTES - TS_SERIES_INLINE_BYTES +
                  TS_SERIES_CHUNK_BYTES];
};
#define TS_SERIES_KEY_OFF offsetof(struct ts_series_entry, key)
static_assert(TS_SERIES_KEY_OFF + TS_SERIES_INLINE_BYTES == sizeof(struct ts_series_entry),
              "the key goes on behind the entry");

static inline struct ts_series_entry *
ts_series_entry_of(const struct ts_series *series, uint32_t no)
{
    return &series->entries[no - 1];
}

static inline uint32_t *
ts_series_bucket_of(const struct ts_series *series, uint32_t hash)
{
    return &series->buckets[hash & (series->n_buckets - 1)];
}

/* The number that a link leads to from number `from`, or 0: chains ascend.
 * acquire: the entry that it leads to is whole. Pairs with ts_series_store_link(). */
static inline uint32_t
ts_series_follow(const struct ts_series *series, const uint32_t *link, uint32_t from)
{
    const uint32_t no = atomic_load_explicit((const _Atomic uint32_t *)link, memory_order_acquire);

    return no > from && no <= series->n_series ? no : 0;
}

/* True if the entry is not a free one; whether it is whole is another question. */
static inline bool
ts_series_is_used(const struct ts_series *series, uint32_t no)
{
    const _Atomic uint8_t *state = (const _Atomic uint8_t *)&ts_series_entry_of(series, no)->state;

    return atomic_load_explicit(state, memory_order_relaxed) != TS_SERIES_FREE;
}

/* Chunks that a key of so many bytes needs besides its entry. */
static inline uint32_t
ts_series_chunks_of(size_t key_bytes)
{
    if (key_bytes <= TS_SERIES_INLINE_BYTES)
        return 0;
    return (uint32_t)((key_bytes - TS_SERIES_INLINE_BYTES + TS_SERIES_CHUNK_BYTES - 1) /
                      TS_SERIES_CHUNK_BYTES);
}

/* A bound of struct ts_series_hot; false if its check fails. */
static inline bool
ts_series_load_bound(const _Atomic uint64_t *word, unsigned salt, memory_order order,
                     uint64_t *out_seq)
{
    return ts_word_unpack(atomic_load_explicit(word, order), salt, out_seq);
}

uint32_t ts_series_hash(const struct ts_series *series, const void *key, size_t bytes);
uint64_t ts_series_checksum(const struct ts_series *series, uint32_t no,
                            const union ts_series_copy *copy);

/* Copies entry and key; false if that is no whole entry. */
bool ts_series_copy_entry(const struct ts_series *series, uint32_t no, union ts_series_copy *copy);
bool ts_series_copy_is(const union ts_series_copy *copy, const void *key, size_t bytes);

/* Looks for a key along its chain, once. */
bool ts_series_walk(const struct ts_series *series, uint32_t hash, const void *key, size_t bytes,
                    uint32_t *out_no, uint64_t *out_born_no);

/* Sets both bounds, before_seq first. */
void ts_series_store_bounds(struct ts_series_hot *hot, uint64_t newest_seq, uint64_t before_seq);

#endif
