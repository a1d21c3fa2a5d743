/* list.h - one list on its way out: what out_list.c and list_windows.c share.
 *
 * Purpose    The state of an answer of oldest, newest or range.
 * Ownership  The list owns what it holds; the request and the query outlive it.
 * Threads    One list, one thread.
 */
#ifndef QUERYD_LIST_H
#define QUERYD_LIST_H

#include "common/aggregate.h"
#include "queryd/list_query.h"
#include "queryd/shape.h"
#include "queryd/views.h"

struct list {
    struct http_request *req;       /* borrowed */
    const struct list_query *query; /* borrowed */
    struct store *store;            /* held */
    struct ts_cursor *cursor;       /* owned */
    struct shape shape;
    uint64_t n_objects;     /* that the answer has so far */
    struct ts_text damages; /* what `damaged` in the answer will hold */
    unsigned n_damages;
    struct ts_gap more_damage; /* lost is 0 until there are more than are told one by one */

    /* Of an aggregated one: */
    struct ts_aggregate *aggregate; /* owned */
    struct ts_text result;          /* of a window */
    bool has_nothing;               /* no window at all */
};

/* These records cannot be read: the log is told once, the client always. */
void list_note_damage(struct list *list, const struct ts_gap *gap);

/* Lets the cursor, which stands where the query says, begin where the first window does. */
enum ts_err list_begin_windows(struct list *list) TS_MUST_USE;

/* Adds the objects of an aggregated list. */
void list_add_windows(struct list *list);

#endif
