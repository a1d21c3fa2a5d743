/* aggregate_plan.h - the inside of a plan: which functions for which field.
 *
 * Purpose    Let the computing ask for a field's functions.
 * Invariant  fields[] is sorted by name, each name once. No set of functions in it is empty, but
 *            `defaults` may be.
 * Ownership  A plan owns its fields and their names.
 */
#ifndef TS_AGGREGATE_PLAN_H
#define TS_AGGREGATE_PLAN_H

#include "common/aggregate.h"

/* A set of functions. Ordered as their names are, which is the order in a result. */
enum ts_function {
    TS_FUNCTION_AVG = 1,
    TS_FUNCTION_COUNT = 2,
    TS_FUNCTION_LAST = 4,
    TS_FUNCTION_MAX = 8,
    TS_FUNCTION_MIN = 16,
    TS_FUNCTION_SUM = 32
};

#define TS_N_FUNCTIONS 6

/* Of the i-th function, 1 << i: "avg" and so on. */
extern const char *const ts_function_names[TS_N_FUNCTIONS];

struct ts_plan_field {
    struct ts_span name; /* view into the plan's text */
    unsigned functions;
};

struct ts_aggregate_plan {
    int64_t window_ns;
    unsigned defaults; /* of numeric fields; 0 if not given */
    size_t n_fields;
    struct ts_plan_field *fields; /* owned */
    char *text;                   /* owned; what fields[] point into */
};

/* The functions asked for by the field's name, 0 if it was not named. */
unsigned ts_plan_functions(const struct ts_aggregate_plan *plan, struct ts_span name);

#endif
