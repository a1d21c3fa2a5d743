/* series.h - the series table of a keyed store: key to number, and where its newest block is.
 *
 * Purpose    Give each key (1 to TS_MAX_KEY_BYTES bytes, any bytes) a number from 1 to n_series, in
 *            a file of fixed size; tell per number behind which block there is nothing of it.
 * Invariant  A number means the key of its entry for records from born_no on; smaller records of
 *            that number belong to a series whose data is gone. An entry whose checksum fails is
 *            no series. A freed number is given out again only when the disk has forgotten the old
 *            key: no power failure makes a new record one of an old series.
 * Ownership  Everything but the writer's lists lives in the mapping; a struct ts_series is a view
 *            into it and dies with it.
 * Threads    One writer (under the store's lock), any readers in any process. Who writes a word is
 *            said in proto/format.h; ts_series_note_block() belongs to whoever seals.
 * Errors     Lookups have answers. Whatever bytes the file holds, a reader ends, stays within the
 *            mapping, and answers with a whole key or none.
 * Units      Record numbers (_no of records), block numbers (_seq), series numbers from 1.
 */
#ifndef TS_SERIES_H
#define TS_SERIES_H

#include "common/map.h"
#include "common/meta.h"

#define TS_MAX_SERIES (UINT32_C(1) << 24)
#define TS_MAX_SERIES_CHUNKS (UINT32_C(1) << 30)

struct ts_series {
    struct ts_series_head *head;     /* view */
    uint32_t *buckets;               /* view: heads of the hash chains */
    struct ts_series_entry *entries; /* view: series number 1 is entries[0] */
    struct ts_series_hot *hot;       /* view */
    struct ts_series_chunk *chunks;  /* view: chunk number 1 is chunks[0] */
    uint32_t n_series, n_chunks, n_buckets;
    uint64_t seed;
};

/* ---- the file ---- */

/* Chunks for n_series keys of 96 bytes on average, however they are spread, and one of the longest.
 */
uint32_t ts_series_default_chunks(uint32_t n_series);

/* Size of the file; n_series is 1 to TS_MAX_SERIES, n_chunks 0 to TS_MAX_SERIES_CHUNKS. */
uint64_t ts_series_file_bytes(uint32_t n_series, uint32_t n_chunks);

/* Makes a fresh file of zeros an empty table: only its first 64 bytes are written. */
void ts_series_init(uint8_t *base, uint32_t store_id, uint32_t n_series, uint32_t n_chunks);

/* Checks a mapped file's header and size and fills *out_series. TS_E_CORRUPT or TS_E_VERSION, and
 * the text names file and offset. Entries are checked whenever one is read. */
enum ts_err ts_series_check(const struct ts_map *map, uint32_t store_id,
                            struct ts_series *out_series) TS_MUST_USE;

/* ---- reading, beside the writer or without ---- */

/* The number of a key. True only for a whole entry of exactly this key. False may be wrong in a
 * file whose chains a power failure damaged, until its writer has opened it. */
bool ts_series_find(const struct ts_series *series, const void *key, size_t bytes, uint32_t *out_no,
                    uint64_t *out_born_no);

/* The key of a number, into key[TS_MAX_KEY_BYTES]. False, and only key[] was touched, if the number
 * is not in use. */
bool ts_series_key(const struct ts_series *series, uint32_t no, uint8_t *key, size_t *out_bytes,
                   uint64_t *out_born_no);

/* Moves *no to the next number in use and copies its key; begin with 0. False at the end. */
bool ts_series_next(const struct ts_series *series, uint32_t *no, uint8_t *key, size_t *out_bytes,
                    uint64_t *out_born_no);

/* True if the number still means what it meant when born_no was read with it. Ask behind an acquire
 * (a record was copied): if the record is of a later series, the answer is false. */
bool ts_series_is_alive(const struct ts_series *series, uint32_t no, uint64_t born_no);

/* No block behind the result and up to sealed_seq holds the series; at most sealed_seq. sealed_seq
 * is from a snapshot, taken before. */
uint64_t ts_series_bound(const struct ts_series *series, uint32_t no, uint64_t sealed_seq);

/* ---- writing ---- */

/* Block `seq` holds the series; called before the block is published as sealed, blocks in
 * ascending order. A bound that is there already stays, so calling it again does no harm. */
void ts_series_note_block(const struct ts_series *series, uint32_t no, uint64_t seq);

/* What one ts_series_retire() frees at most. */
#define TS_SERIES_RETIRE_MAX 64u

/* The writer's private knowledge. Memory: 4 bytes per series and per chunk. */
struct ts_series_writer {
    struct ts_series series; /* views */
    uint32_t *free_nos;      /* owned: first n_free that may be given out, then n_waiting */
    uint32_t n_free, n_waiting;
    uint32_t *free_chunks; /* owned */
    uint32_t n_free_chunks;
    uint32_t hand;             /* where ts_series_retire() goes on */
    uint32_t n_dropped;        /* entries that opening found damaged or doubled */
    uint64_t least_newest_seq; /* no series in use is older; 0: not known */
    uint64_t change;           /* value of the word in the header */
    uint64_t n_changes;        /* of entries, since opening */
    uint64_t waiting_mark;     /* n_changes of the newest change that freed a number */
};

/* Opens the table for writing, in O(n_series + n_chunks): drops entries that are damaged, whose
 * chunks are another's too, or whose key has a newer entry (n_dropped); mends the chains; clears up
 * behind a writer that died. No number is free before the first ts_series_synced(). TS_E_NOMEM. */
enum ts_err ts_series_writer_init(struct ts_series_writer *writer,
                                  const struct ts_series *series) TS_MUST_USE;
void ts_series_writer_done(struct ts_series_writer *writer);

/* Finds the key, or adds it with born_no, the number of its first record (from 1). The file has to
 * be synced before, or together with, the first record that carries a new number is told durable.
 * TS_E_PARAM: bad length. TS_E_SERIES_FULL: no number is free, or too few chunks are. */
enum ts_err ts_series_register(struct ts_series_writer *writer, const void *key, size_t bytes,
                               uint64_t born_no, uint32_t *out_no) TS_MUST_USE;

/* True if an unsealed record carries the number, or one that is about to be appended. */
typedef bool ts_series_in_use_fn(void *ctx, uint32_t no);

/* Frees up to TS_SERIES_RETIRE_MAX series whose blocks are all before tail_seq and which are not in
 * use. Returns how many numbers wait for ts_series_synced(): 0 means that none can be had now.
 * Their chunks are free at once; if a long key still finds too few, sync and call again until it is
 * 0. Goes on where it stopped; a table without dead series is refused in O(1) until the tail moves.
 */
uint32_t ts_series_retire(struct ts_series_writer *writer, uint64_t tail_seq,
                          ts_series_in_use_fn *is_in_use, void *ctx);

/* Take the mark, sync the file, tell that it was: numbers freed up to the mark may be given out. */
static inline uint64_t
ts_series_mark(const struct ts_series_writer *writer)
{
    return writer->n_changes;
}
void ts_series_synced(struct ts_series_writer *writer, uint64_t mark);

/* For a reset: no key is there any more. Numbers are free again when it was synced. A writer that
 * dies over it leaves some of the keys: whoever ends the reset clears again. */
void ts_series_clear(struct ts_series_writer *writer);

/* After a crash: makes the bounds fit a ring whose newest block is sealed_seq. After a power
 * failure note the blocks behind the last sync point again, too: their notes may not have reached
 * the disk.
 */
void ts_series_recover(struct ts_series_writer *writer, uint64_t sealed_seq);

/* Numbers in use. */
static inline uint32_t
ts_series_n_used(const struct ts_series_writer *writer)
{
    return writer->series.n_series - writer->n_free - writer->n_waiting;
}

#endif
