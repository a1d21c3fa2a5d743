/* stream_windows.h - the windows of an aggregated stream.
 *
 * Purpose    Turn the records of a stream into windows, each sent once: when a record beyond it
 *            comes, or when its end is past and nothing came for as long as it is.
 * Ownership  The owner of the stream zeroes the struct and sets the plan, which is given back by
 *            stream_windows_done() with the rest.
 * Threads    One.
 * Errors     Running out of memory while a window is written shows in the text it is added to.
 * Units      due times are of CLOCK_MONOTONIC.
 */
#ifndef QUERYD_STREAM_WINDOWS_H
#define QUERYD_STREAM_WINDOWS_H

#include "common/aggregate.h"
#include "common/tsstore.h"
#include "queryd/shape.h"

struct stream_windows {
    struct ts_aggregate_plan *plan; /* owned; NULL: records go out as they are */
    struct ts_aggregate *aggregate; /* owned; there if there is a plan, once begun */
    struct ts_text result;          /* of a window */
    uint64_t last_no;               /* of the last record that was taken */
    int64_t last_taken_ns;          /* when that was */
};

/* Does nothing without a plan. */
enum ts_err stream_windows_begin(struct stream_windows *windows, struct shape *shape) TS_MUST_USE;
void stream_windows_done(struct stream_windows *windows);

/* The next three return how many frames they added to `out`: 0 or 1. */
unsigned stream_windows_take(struct stream_windows *windows, struct shape *shape,
                             const struct ts_record *record, struct ts_text *out);

/* Closes the open window if it is due. */
unsigned stream_windows_close_due(struct stream_windows *windows, struct ts_text *out);

/* The stream ends: what is open goes out as far as it came. */
unsigned stream_windows_cut(struct stream_windows *windows, struct ts_text *out);

/* When the open window will be due; INT64_MAX if none is open. */
int64_t stream_windows_due_ns(const struct stream_windows *windows);

/* Forgets the open window: its records are of another life of the store. */
void stream_windows_reset(struct stream_windows *windows);

#endif
