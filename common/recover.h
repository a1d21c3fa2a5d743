/* recover.h - what the parts of recovery share; see recover.c.
 *
 * Purpose    The state of one recovery, and its steps in their order.
 * Threads    None but the caller's: the store's threads do not run yet.
 * Errors     TS_E_NOMEM, TS_E_IO. Damage is no error: it is counted, and what is whole is kept.
 */
#ifndef TS_RECOVER_H
#define TS_RECOVER_H

#include "common/store.h"

struct ts_recovering {
    struct ts_store *store;
    struct ts_meta *meta;
    struct ts_block scratch;
    struct ts_sync_point point; /* if has_point */
    bool has_point, is_trusted;
    bool must_jump;         /* numbers were given out whose records are lost */
    bool must_close;        /* what was found is not to be appended to */
    bool is_number_unknown; /* the newest block of the ring does not tell its numbers */
    enum ts_err failed;     /* memory ran out: that is not to be taken for damage */
    uint64_t seed;
};

/* recover_ring.c: finds the oldest and the newest block of the ring and publishes them. */
enum ts_err ts_recover_ring(struct ts_recovering *r) TS_MUST_USE;

/* recover_slots.c: finds the (at most two) blocks behind the ring, the newer of which becomes the
 * current one. */
enum ts_err ts_recover_slots(struct ts_recovering *r) TS_MUST_USE;

/* Leaves an open block to append to: the one that was found or, after a jump, a new one. Also a new
 * one if records of the found one are damaged: should power fail, it would be read up to these. */
enum ts_err ts_recover_begin_block(struct ts_recovering *r) TS_MUST_USE;

#endif
