/* locate.h - where a record is at this moment, and a copy of it.
 *
 * Purpose    What cursors stand on: a number or a time becomes a place, a place becomes a record.
 * Invariant  Everything is copied before it is believed; see head.c and ring.c for the fences.
 * Ownership  A locator owns its buffers: one decoded block, one record of an open block. A record
 *            that it hands out lies in them.
 * Threads    One thread at a time.
 * Errors     Places and answers tell of damage; ts_error_text() then names file and offset.
 */
#ifndef TS_LOCATE_H
#define TS_LOCATE_H

#include "common/extent.h"
#include "common/view.h"

struct ts_locator {
    struct ts_view *view; /* borrowed */
    uint64_t generation, seed;
    struct ts_block block;                   /* the decoded one */
    struct ts_slot_look look[TS_HEAD_SLOTS]; /* as last seen */
    uint64_t open_block_seq;                 /* block whose informative number this is: */
    uint32_t open_block_num;
    uint8_t *body; /* owned; a record copied from an open block */
};

enum ts_err ts_locator_init(struct ts_locator *l, struct ts_view *view) TS_MUST_USE;
void ts_locator_done(struct ts_locator *l);

/* Forgets what was found so far: another generation may have come. */
void ts_locator_forget(struct ts_locator *l);

/* From here on numbers are those of the snapshot's generation. */
static inline void
ts_locator_adopt(struct ts_locator *l, const struct ts_snapshot *s)
{
    l->generation = s->generation;
    l->seed = s->seed;
}

enum ts_place {
    TS_PLACE_SLOT,    /* look[slot] holds it: it is copied record by record */
    TS_PLACE_BLOCK,   /* block holds it, copied whole, checked and decoded */
    TS_PLACE_BELOW,   /* overwritten; hi is the last number that is gone */
    TS_PLACE_ABOVE,   /* not written yet; hi is the next to be */
    TS_PLACE_HOLE,    /* [lo, hi] were never given to a record that survived */
    TS_PLACE_DAMAGED, /* [lo, hi] are in a block that cannot be read; the text is set */
    TS_PLACE_RESET    /* of another generation */
};

struct ts_found {
    enum ts_place place;
    unsigned slot;
    uint64_t lo, hi;
};

struct ts_found ts_locate(struct ts_locator *l, uint64_t no);

/* The number of the first record at time_ns or later, in a store in order of time; next_no if there
 * is none. A damaged block that may hold it is answered by its first number: reading it will tell.
 * *s is the look that the answer is of, and its generation is adopted. */
uint64_t ts_locate_time(struct ts_locator *l, int64_t time_ns, struct ts_snapshot *s);

enum ts_fetched {
    TS_FETCH_RECORD,
    TS_FETCH_DELETED, /* it is there no more */
    TS_FETCH_DAMAGED, /* the text is set */
    TS_FETCH_AGAIN    /* it moved: locate it again */
};

/* Copies record `no`, which is at *found. */
enum ts_fetched ts_fetch(struct ts_locator *l, const struct ts_found *found, uint64_t no,
                         struct ts_record *out_record);

#endif
