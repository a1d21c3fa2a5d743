/* view.h - the files of one store, mapped for reading, and one consistent look at them.
 *
 * Purpose    What reader and writer share: mappings, geometry, the look that every read begins
 *            with.
 * Invariant  A snapshot's numbers were all true at one moment.
 * Ownership  A view owns its mappings; the one inside a ts_store borrows the store's.
 * Threads    Any number of threads may use one view; nothing in it changes after opening.
 */
#ifndef TS_VIEW_H
#define TS_VIEW_H

#include "common/head.h"
#include "common/index.h"
#include "common/map.h"

#include <sys/types.h>

enum ts_file { TS_FILE_META, TS_FILE_DATA, TS_FILE_HEAD, TS_FILE_INDEX, TS_N_FILES };

struct ts_view {
    char name[TS_MAX_NAME_BYTES + 1];
    char *dir; /* owned: <data_dir>/<name> */
    int dir_fd;
    dev_t dir_dev;
    ino_t dir_ino;
    struct ts_options options;
    struct ts_geometry geometry;
    uint32_t store_id;
    struct ts_map map[TS_N_FILES];
    struct ts_index index; /* view into map[TS_FILE_INDEX] */
};

extern const char *const ts_file_names[TS_N_FILES];

/* Opens in place, for either side. On failure *view is closed. */
enum ts_err ts_view_init(struct ts_view *view, const char *data_dir, const char *name,
                         enum ts_map_mode mode) TS_MUST_USE;
void ts_view_done(struct ts_view *view);

static inline struct ts_meta *
ts_view_meta(const struct ts_view *view)
{
    return (struct ts_meta *)(void *)view->map[TS_FILE_META].base;
}

static inline struct ts_head *
ts_view_head(const struct ts_view *view)
{
    return (struct ts_head *)(void *)view->map[TS_FILE_HEAD].base;
}

static inline struct ts_slot *
ts_view_slot(const struct ts_view *view, unsigned i)
{
    return ts_head_slot(view->map[TS_FILE_HEAD].base, i, view->geometry.open_bytes);
}

/* Block number, as the contract counts them, of a ring position. Informative. */
static inline uint32_t
ts_view_block_num(const struct ts_view *view, uint64_t ring_pos)
{
    return (uint32_t)(ring_pos % view->geometry.ring_bytes >> view->geometry.block_shift);
}

struct ts_snapshot {
    uint64_t generation, seed;
    uint64_t tail_seq, sealed_seq;           /* blocks in the ring, empty if tail > sealed */
    struct ts_slot_look open[TS_HEAD_SLOTS]; /* blocks behind sealed_seq, in order */
    unsigned open_slot[TS_HEAD_SLOTS];       /* which slot each is in */
    unsigned n_open;
    uint64_t oldest_no, next_no;
};

/* A look at slot i, with a count that fits it. */
struct ts_slot_look ts_view_look(const struct ts_view *view, unsigned i);
void ts_view_snapshot(const struct ts_view *view, struct ts_snapshot *out);

#endif
