/* tsstore.h - a time series store of fixed size, as a library.
 *
 * Purpose    Create a store, append records as its one writer, read them from any process.
 *
 * Caveats, first:
 *   - A store has exactly one writer at a time (struct ts_store); opening a second one fails with
 *     TS_E_LOCKED. Readers (struct ts_view) are unlimited, in any process, and never slow it.
 *   - The footprint never changes. When the ring is full the oldest records make room: a reader
 *     that is too slow is told how many records it lost (TS_STEP_GAP), never stopped, never fed
 *     foreign bytes.
 *   - TS_SYNC_NONE and an interval bound what a power failure may take; only TS_SYNC_EACH makes
 *     ts_store_append() wait for the disk. The death of a process never costs a record that was
 *     acknowledged.
 *   - The files must not live on a network file system: shared mappings are not coherent there.
 *
 * Ownership  Every open/new call fills *out, whose matching close/free call gives it all back and
 *            accepts NULL. Views and cursors die before the data directory's handle they came from.
 * Threads    A ts_store may be used from several threads. A ts_view may be shared by threads; a
 *            ts_cursor belongs to one thread at a time.
 * Errors     Calls return enum ts_err; ts_error_text() tells the calling thread what happened,
 *            until its next failing call. Outputs are untouched on failure.
 * Units      Times are signed Unix nanoseconds. Sizes are bytes. Record numbers start at 1, grow
 *            by one per record and are never reused within a generation (see ts_state).
 */
#ifndef TSSTORE_H
#define TSSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TS_EXPORT __attribute__((visibility("default")))
#define TS_MUST_USE __attribute__((warn_unused_result))

#define TS_VERSION "0.1.0"

#define TS_MAX_NAME_BYTES 128
#define TS_MAX_KEY_BYTES 4096 /* series key of a keyed store */

enum ts_err {
#define X(id, name, http, code, text) id,
#include "common/errors.def"
#undef X
};

/* What the last failing call of this thread said; "" before the first. Never NULL. */
TS_EXPORT const char *ts_error_text(void);

/* Stable machine-readable name of `err`, such as "timestamp_order". */
TS_EXPORT const char *ts_error_name(enum ts_err err);

/* ---- settings ---- */

enum ts_type { TS_TYPE_BINARY, TS_TYPE_TEXT, TS_TYPE_JSON, TS_TYPE_SCHEMA };
enum ts_codec { TS_CODEC_NONE, TS_CODEC_ZSTD };
enum ts_order { TS_ORDER_STRICT, TS_ORDER_SERIES, TS_ORDER_ANY };
enum ts_on_future { TS_ON_FUTURE_REFUSE, TS_ON_FUTURE_CLAMP };
enum ts_duplicates { TS_DUPLICATES_LAST, TS_DUPLICATES_FIRST, TS_DUPLICATES_KEEP };

#define TS_SYNC_EACH 0u          /* durable before it is acknowledged */
#define TS_SYNC_NONE UINT32_MAX  /* when the kernel likes */
#define TS_SYNC_DEFAULT_MS 1000u /* any other number: every so many milliseconds */

/* What is decided at creation and never changes. */
struct ts_options {
    uint32_t num_blocks;        /* 1 .. 2^32-1; the ring is num_blocks x data_block_bytes */
    uint32_t data_block_bytes;  /* power of two, at least 64 */
    uint32_t index_block_bytes; /* power of two, at least 64: the index file is a multiple of it */
    enum ts_type type;
    enum ts_codec codec;
    enum ts_order order;           /* this version: TS_ORDER_STRICT */
    enum ts_duplicates duplicates; /* of TS_ORDER_ANY stores */
    uint32_t sync_ms;
    int64_t max_age_ns;    /* records older than this, by the clock, are invisible; their bytes are
                            * used    again when the ring gets to them. 0: none is too old */
    int64_t max_future_ns; /* a time that the caller sets may be this far ahead of the clock; 0:
                            * any. Not looked at while the clock is older than this program */
    enum ts_on_future on_future; /* what is further ahead: refused, or stored as now */
};

/* 1024 blocks of 4096 bytes, JSON, zstd, strict, synced each second; kept until overwritten, at
 * most a day ahead of the clock. */
TS_EXPORT void ts_options_init(struct ts_options *options);

/* Name <-> number. ts_type_parse() and its kin answer TS_E_TYPE or TS_E_CONFIG. */
TS_EXPORT enum ts_err ts_type_parse(const char *text, enum ts_type *out_type) TS_MUST_USE;
TS_EXPORT const char *ts_type_name(enum ts_type type);
TS_EXPORT enum ts_err ts_codec_parse(const char *text, enum ts_codec *out_codec) TS_MUST_USE;
TS_EXPORT const char *ts_codec_name(enum ts_codec codec);
TS_EXPORT const char *ts_order_name(enum ts_order order);
TS_EXPORT enum ts_err ts_on_future_parse(const char *text, enum ts_on_future *out) TS_MUST_USE;
TS_EXPORT const char *ts_on_future_name(enum ts_on_future on_future);

/* "each", "none", "interval:<ms>". */
TS_EXPORT enum ts_err ts_sync_parse(const char *text, uint32_t *out_sync_ms) TS_MUST_USE;
TS_EXPORT void ts_sync_name(uint32_t sync_ms, char *out_text, size_t out_bytes);

/* True for 1 to 128 bytes of A-Z a-z 0-9 . _ - that start with neither . nor -. */
TS_EXPORT bool ts_name_is_valid(const char *name);

/* ---- creating and removing ---- */

/* Creates <data_dir>/<name> with all its bytes written and synced. On failure (TS_E_NAME,
 * TS_E_CONFIG, TS_E_EXISTS, TS_E_FULL, TS_E_IO) nothing is left behind. data_dir must exist. */
TS_EXPORT enum ts_err ts_store_create(const char *data_dir, const char *name,
                                      const struct ts_options *options) TS_MUST_USE;

/* Removes what creations that were killed left behind. For the one writer of data_dir, at start. */
TS_EXPORT void ts_store_sweep(const char *data_dir);

/* The names of all stores below data_dir, sorted, NULL behind the last, in one allocation that
 * the caller frees with free(). */
TS_EXPORT enum ts_err ts_store_list(const char *data_dir, char ***out_names,
                                    size_t *out_count) TS_MUST_USE;

/* ---- writing ---- */

struct ts_store;
struct ts_range;

/* Opens for writing; recovers after a crash. TS_E_NOT_FOUND, TS_E_LOCKED (text names the
 * holder's pid), TS_E_CORRUPT (text names file and offset), TS_E_VERSION, TS_E_IO. */
TS_EXPORT enum ts_err ts_store_open(const char *data_dir, const char *name,
                                    struct ts_store **out_store) TS_MUST_USE;

/* Syncs and closes. The first failure of a sync is returned; it is closed all the same. */
TS_EXPORT enum ts_err ts_store_close(struct ts_store *store);

struct ts_appended {
    uint64_t record_no;
    int64_t time_ns;
    uint32_t block_num; /* informative */
};

/* Appends one record. time_ns 0: the store assigns max(now, newest + 1). On return the record is
 * visible to every reader; with TS_SYNC_EACH it is also durable.
 * TS_E_TIME, TS_E_ORDER, TS_E_FUTURE, TS_E_TOO_LARGE and nothing was touched; TS_E_IO, TS_E_CLOSED.
 */
TS_EXPORT enum ts_err ts_store_append(struct ts_store *store, int64_t time_ns, const void *data,
                                      size_t bytes, struct ts_appended *out) TS_MUST_USE;

/* One record of a batch. The caller sets the first three, the store the last two. */
struct ts_batch_item {
    int64_t time_ns; /* 0: assigned */
    const void *data;
    size_t bytes;
    enum ts_err err;
    struct ts_appended done; /* if err is TS_OK */
};

/* Appends items[0..n) in order under one lock, each on its own: a refused one does not stop the
 * next. Does not wait for the disk. Returns the number appended. */
TS_EXPORT size_t ts_store_append_batch(struct ts_store *store, struct ts_batch_item *items,
                                       size_t n);

/* Appends items[0..n) whole or not at all, for readers and across every crash. They have to fit one
 * block together (TS_E_TOO_LARGE: at most what the ring holds). On failure *out_bad is the index
 * of the item to blame and nothing was touched. Does not wait for the disk. */
TS_EXPORT enum ts_err ts_store_append_all(struct ts_store *store, struct ts_batch_item *items,
                                          size_t n, size_t *out_bad) TS_MUST_USE;

/* The greatest record number that survives a power failure now. */
TS_EXPORT uint64_t ts_store_durable_no(const struct ts_store *store);

/* Waits until record_no is durable, asking for a sync if need be. TS_E_IO if syncing fails,
 * TS_E_PARAM if there is no such record yet. */
TS_EXPORT enum ts_err ts_store_commit(struct ts_store *store, uint64_t record_no) TS_MUST_USE;

/* Asks for a sync and returns at once; `fn` (see ts_store_on_durable) hears of it. */
TS_EXPORT void ts_store_commit_start(struct ts_store *store);

/* `fn(arg)` is called from a thread of the store each time ts_store_durable_no() moved or a sync
 * failed. Set it before the first append; it must not call into the store. */
TS_EXPORT void ts_store_on_durable(struct ts_store *store, void (*fn)(void *arg), void *arg);

/* TS_OK as long as the store takes changes; else why not: its disk failed, a file was damaged. */
TS_EXPORT enum ts_err ts_store_check(struct ts_store *store) TS_MUST_USE;

/* Waits until everything done so far is durable: appends, deletes, resets. TS_E_IO. */
TS_EXPORT enum ts_err ts_store_flush(struct ts_store *store) TS_MUST_USE;

/* Deletes the record with exactly this time: gone at once for every reader, its bytes stay until
 * they are overwritten. Its time stays spent: later records must be newer still. Durable as an
 * append is. TS_E_EMPTY, TS_E_NO_TIME, TS_E_IO. */
TS_EXPORT enum ts_err ts_store_delete_time(struct ts_store *store, int64_t time_ns) TS_MUST_USE;

/* Deletes every record of the range, which has no limit and no filter, and does not follow; says
 * how many that were. A crash in the middle leaves some of them. Records that are appended
 * meanwhile are spared, even if their times are in the range. Durable on return. TS_E_PARAM,
 * TS_E_IO, TS_E_CORRUPT (what could be read is deleted). */
TS_EXPORT enum ts_err ts_store_delete_range(struct ts_store *store, const struct ts_range *range,
                                            uint64_t *out_deleted) TS_MUST_USE;

/* How many records' times were too far ahead, since the store was opened. */
struct ts_future_counts {
    uint64_t n_refused, n_clamped;
};
TS_EXPORT void ts_store_future_counts(struct ts_store *store, struct ts_future_counts *out);

/* Empties the store in constant time; any positive time is accepted next. Options, keys and schema
 * stay, record numbers go on, cursors are told by TS_STEP_RESET. Durable on return. */
TS_EXPORT enum ts_err ts_store_reset(struct ts_store *store) TS_MUST_USE;

/* Removes the store and closes it, whatever is returned. Readers are told by TS_STEP_GONE. */
TS_EXPORT enum ts_err ts_store_drop(struct ts_store *store);

/* A reader of the same store in this process. Borrowed: it dies with the store. */
TS_EXPORT struct ts_view *ts_store_view(struct ts_store *store);

/* What opening had to do. */
struct ts_recovery {
    bool was_clean;          /* closed in order, or nothing was lost */
    bool power_lost;         /* another boot since: checksums decided */
    uint64_t n_head_records; /* records found again in the open blocks */
    uint64_t n_damaged;      /* records given up because their bytes are damaged */
    uint64_t elapsed_ns;
    char text[256]; /* a line for the log; "" if there is nothing to tell */
};
TS_EXPORT void ts_store_recovery(const struct ts_store *store, struct ts_recovery *out);

/* The largest payload this geometry can hold. */
TS_EXPORT uint64_t ts_max_record_bytes(const struct ts_options *options);

/* ---- reading ---- */

struct ts_view;

/* Opens for reading, without a lock, beside a writer or without one. TS_E_NOT_FOUND,
 * TS_E_CORRUPT, TS_E_VERSION, TS_E_IO. */
TS_EXPORT enum ts_err ts_view_open(const char *data_dir, const char *name,
                                   struct ts_view **out_view) TS_MUST_USE;
TS_EXPORT void ts_view_close(struct ts_view *view);

/* True once the store behind this view was dropped or replaced: close it and open again. */
TS_EXPORT bool ts_view_is_stale(const struct ts_view *view);

/* The half of it that asks no file system: true once the store was dropped, or cannot be read. */
TS_EXPORT bool ts_view_is_gone(const struct ts_view *view);

TS_EXPORT const struct ts_options *ts_view_options(const struct ts_view *view);
TS_EXPORT const char *ts_view_name(const struct ts_view *view);

/* One consistent look. Numbers are of `generation`, which a reset raises. */
struct ts_state {
    uint64_t generation;
    uint64_t oldest_no; /* the oldest record still there; == next_no when empty */
    uint64_t next_no;   /* the number that the next record will get */
};
TS_EXPORT void ts_view_state(const struct ts_view *view, struct ts_state *out);

/* A number that changes whenever a record is published; cheap enough to poll. */
TS_EXPORT uint32_t ts_view_publish_count(const struct ts_view *view);

struct ts_stats {
    struct ts_state state;
    uint64_t n_records;
    bool has_records;
    int64_t oldest_time_ns, newest_time_ns; /* if has_records */
    uint64_t durable_no;                    /* as of the last sync that the files tell of */
    uint64_t ring_bytes, ring_used_bytes;
    uint64_t n_sealed_blocks; /* blocks in the ring */
    uint64_t file_bytes;      /* of all fixed-size files of the store */
    uint32_t head_block, tail_block, write_offset, active_blocks; /* informative */
};
TS_EXPORT enum ts_err ts_view_stats(struct ts_view *view, struct ts_stats *out) TS_MUST_USE;

/* ---- cursors: the one read path ---- */

struct ts_cursor;

/* What a cursor walks. Zero it, then set what matters. All bounds are inclusive. */
struct ts_range {
    bool by_number;        /* from_no/to_no instead of from_time_ns/to_time_ns */
    bool backward;         /* newest first */
    bool follow;           /* forward only: at TS_STEP_END more may come; call next again */
    bool has_from, has_to; /* a missing bound is open */
    int64_t from_time_ns, to_time_ns;
    uint64_t from_no, to_no;
    uint64_t limit;      /* records; 0: no limit */
    const char *filter;  /* borrowed until the cursor is closed; stored bytes contain this */
    size_t filter_bytes; /* 0: no filter */
    bool filter_fold;    /* without regard to case (Unicode simple folding) */
};

enum ts_step {
    TS_STEP_RECORD,  /* *out_record is set */
    TS_STEP_GAP,     /* *out_gap is set: these records were overwritten before they were read */
    TS_STEP_DAMAGED, /* *out_gap is set: these records' bytes fail their checksum;
                      * ts_error_text() names file and offset */
    TS_STEP_RESET,   /* the store was reset: the cursor goes on at the new beginning */
    TS_STEP_END,     /* nothing more; with `follow`: for now */
    TS_STEP_GONE     /* the store was dropped */
};

struct ts_record {
    uint64_t no;
    int64_t time_ns;
    const uint8_t *data; /* view into the cursor: valid until its next call */
    size_t bytes;
    uint32_t block_num; /* informative */
    uint32_t series_no; /* 0 in stores that are not keyed */
};

struct ts_gap {
    uint64_t from_no, to_no, lost; /* first and last number lost, and how many records */
};

/* Memory use is bounded by the block size and the largest record met. TS_E_PARAM, TS_E_NOMEM. */
TS_EXPORT enum ts_err ts_cursor_open(struct ts_view *view, const struct ts_range *range,
                                     struct ts_cursor **out_cursor) TS_MUST_USE;

/* The same cursor over another range: its buffers are used again. As ts_cursor_open(). */
TS_EXPORT enum ts_err ts_cursor_restart(struct ts_cursor *cursor,
                                        const struct ts_range *range) TS_MUST_USE;
/* The one exception to "outputs are untouched": *out_record may be written without TS_STEP_RECORD.
 */
TS_EXPORT enum ts_step ts_cursor_next(struct ts_cursor *cursor, struct ts_record *out_record,
                                      struct ts_gap *out_gap);

/* The number of the next record the cursor will look at: resume with from_no. */
TS_EXPORT uint64_t ts_cursor_position(const struct ts_cursor *cursor);
TS_EXPORT void ts_cursor_close(struct ts_cursor *cursor);

/* The record with exactly this time. TS_E_EMPTY, TS_E_NO_TIME, TS_E_CORRUPT. `cursor` holds the
 * bytes; it is one opened on the same view and its position is undefined afterwards. */
TS_EXPORT enum ts_err ts_cursor_find_time(struct ts_cursor *cursor, int64_t time_ns,
                                          struct ts_record *out_record) TS_MUST_USE;

/* True if data contains text; empty text is in everything. fold: without regard to case. */
TS_EXPORT bool ts_filter_matches(const void *data, size_t bytes, const char *text,
                                 size_t text_bytes, bool fold);

/* ---- shortcuts: each is a few of the calls above ---- */

/* The store's directory: <data_dir>/<name>, as they were given. */
TS_EXPORT const char *ts_view_path(const struct ts_view *view);

/* The record with exactly this time, its bytes copied to memory[0..capacity); out_record->data is
 * memory. As ts_cursor_find_time(), and TS_E_LIMIT if it does not fit: then, unlike other outputs,
 * *out_record is set but for its data (NULL), so that the caller knows how much to bring. Who wants
 * many keeps a cursor, which this opens each time. */
TS_EXPORT enum ts_err ts_view_get(struct ts_view *view, int64_t time_ns, void *memory,
                                  size_t capacity, struct ts_record *out_record) TS_MUST_USE;

/* The same, and TS_E_JSON if the record is not JSON. */
TS_EXPORT enum ts_err ts_view_get_json(struct ts_view *view, int64_t time_ns, char *text,
                                       size_t capacity, struct ts_record *out_record) TS_MUST_USE;

/* Appends a JSON text, without the blanks around it. TS_E_JSON if it is none, and nothing was
 * touched; else as ts_store_append(), which does not look at what it is given. */
TS_EXPORT enum ts_err ts_store_append_json(struct ts_store *store, int64_t time_ns,
                                           const char *text, size_t bytes,
                                           struct ts_appended *out) TS_MUST_USE;

/* True if it is one value as RFC 8259 has it, in UTF-8, at most 64 deep; blanks may surround it.
 * If not, ts_error_text() says what is wrong. */
TS_EXPORT bool ts_json_is_valid(const char *text, size_t bytes);

/* Removes a store that nobody writes; that there is none is no error. As ts_store_open() and
 * ts_store_drop(): what is too damaged to be opened stays. */
TS_EXPORT enum ts_err ts_store_remove(const char *data_dir, const char *name) TS_MUST_USE;

TS_EXPORT const char *ts_version(void);

#ifdef __cplusplus
}
#endif

#endif
