/* aggregate.h - records of a window of time as one record.
 *
 * Purpose    Compute sum, avg, max, min, count and last of fields over windows, in one pass over
 *            records that come in order, ascending or descending.
 * Invariant  Memory is bounded by the limits below, not by the number of records. While they are
 *            not met, the result of a window depends neither on the direction nor on the order of
 *            fields in a record, but for the rounding of sums of fractions. Windows begin at
 *            multiples of their length, before 1970 too.
 * Ownership  ts_aggregate_new() borrows the plan until ts_aggregate_free(), and holds the schema.
 * Threads    A plan is never changed; any number of aggregates may share it. An aggregate belongs
 *            to one thread at a time.
 * Errors     TS_E_PARAM with the words of the first ts-store, TS_E_NOMEM. Memory that runs out
 * later sets `failed` in the text of the result. Units      nanoseconds Source     A. Neumaier's
 * variant of Kahan's summation for fractions; integers are exact.
 */
#ifndef TS_AGGREGATE_H
#define TS_AGGREGATE_H

#include "common/json.h"
#include "common/schema.h"
#include "common/text.h"

#define TS_AGGREGATE_MAX_FIELDS 1024              /* of a window, and in agg_fields */
#define TS_AGGREGATE_MAX_BYTES (4u * 1024 * 1024) /* of a window's names and last values */

/* ---- what is asked for ---- */

struct ts_aggregate_plan;

/* Reads agg_window, agg_fields and agg_default; empty ones of the latter two are as if missing.
 * The first fault in this order is told. */
enum ts_err ts_aggregate_plan_new(struct ts_span window, struct ts_span fields,
                                  struct ts_span defaults,
                                  struct ts_aggregate_plan **out_plan) TS_MUST_USE;
void ts_aggregate_plan_free(struct ts_aggregate_plan *plan);
int64_t ts_aggregate_plan_window_ns(const struct ts_aggregate_plan *plan);

/* ---- computing it ---- */

struct ts_aggregate_options {
    bool is_schema_store;     /* records are in stored form, with indices as keys */
    struct ts_schema *schema; /* of such a store; NULL: none yet, no index is known */
    bool compact;             /* indices as keys of the result, where a field keeps its name */
    bool backward;            /* records come newest first */
    bool has_finished_until;  /* the sum of a window that ends after this is null: */
    int64_t finished_until_ns;
};

/* A window that is complete. */
struct ts_aggregate_window {
    int64_t start_ns, end_ns; /* the end does not belong to it; it is the result's timestamp */
    uint64_t n_records;
    uint64_t n_dropped; /* values that were left out because a limit was met */
};

struct ts_aggregate;

enum ts_err ts_aggregate_new(const struct ts_aggregate_plan *plan,
                             const struct ts_aggregate_options *options,
                             struct ts_aggregate **out_aggregate) TS_MUST_USE;
void ts_aggregate_free(struct ts_aggregate *aggregate);

/* Takes one record. If it is not of the open window, that one is complete: true, *out_window is
 * set and its result, an object such as {"t_avg":21.5,"t_max":23}, was added to `out`; the record
 * opens the next one. Values that are no JSON objects are skipped, as are records of a window
 * that ts_aggregate_finish() has closed last: each window comes once. */
bool ts_aggregate_add(struct ts_aggregate *aggregate, int64_t time_ns, struct ts_span value,
                      struct ts_text *out, struct ts_aggregate_window *out_window);

/* Closes the open window, as if a record beyond it had come; false if none is open. `cut_short`:
 * it is not over, so that its sums are null. */
bool ts_aggregate_finish(struct ts_aggregate *aggregate, bool cut_short, struct ts_text *out,
                         struct ts_aggregate_window *out_window);

/* The window that is open now, for a timer; false if none is. */
bool ts_aggregate_peek(const struct ts_aggregate *aggregate,
                       struct ts_aggregate_window *out_window);

/* Forgets the open window and the last closed one: the store was reset. */
void ts_aggregate_reset(struct ts_aggregate *aggregate);

/* The schema of the windows that open from now on. */
void ts_aggregate_set_schema(struct ts_aggregate *aggregate, struct ts_schema *schema);

#endif
