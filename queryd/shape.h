/* shape.h - how the data of a store's records is shown.
 *
 * Purpose    Type, format and schema of the records of one answer or stream.
 * Invariant  A record is shown with a schema at least as new as the one it was written with.
 * Ownership  shape_init() borrows the store, which must be mapped and held until shape_done().
 * Threads    A shape belongs to one thread.
 * Errors     None: a schema that cannot be read is logged, and records come as they are stored.
 */
#ifndef QUERYD_SHAPE_H
#define QUERYD_SHAPE_H

#include "common/schema.h"
#include "queryd/views.h"

struct shape {
    enum ts_type type;
    bool is_compact;          /* of schema stores: indices as keys, as stored */
    struct ts_schema *schema; /* held; NULL: none yet, or not needed */

    /* shape.c's own: */
    struct store *store; /* borrowed */
    const struct ts_view *view;
    uint64_t fresh_until_no; /* records below were written with this schema or an older one */
};

void shape_init(struct shape *shape, struct store *store, const struct ts_view *view,
                bool is_compact);
void shape_done(struct shape *shape);

/* To be called with each record of a schema store before it is shown expanded or aggregated. True
 * if the schema is another one now. */
bool shape_meet(struct shape *shape, uint64_t record_no);

/* The record's bytes without blanks around them, as JSON is read. A view. */
struct ts_span shape_value(const struct ts_record *record);

/* Records before this are of another life of the store. */
void shape_reset(struct shape *shape);

#endif
