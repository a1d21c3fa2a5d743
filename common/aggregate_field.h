/* aggregate_field.h - one field of an open window.
 *
 * Purpose    Take the values of one field as they come, and write what its functions make of them.
 * Invariant  What is kept does not depend on how many values came.
 * Ownership  A field owns its last value; its name belongs to the window.
 */
#ifndef TS_AGGREGATE_FIELD_H
#define TS_AGGREGATE_FIELD_H

#include "common/aggregate_plan.h"
#include "common/number.h"

struct ts_aggregate_field {
    size_t name_off, name_bytes; /* in the window's names */
    uint64_t name_hash;
    uint32_t rank; /* in the schema; only in schema stores */

    unsigned functions; /* 0: decided by the oldest value, if a number `defaults`, else last */
    unsigned defaults;  /* if functions is 0 */

    uint64_t record_idx;    /* of the record that `pending` is of, from 1 */
    struct ts_span pending; /* view; what this record has for the field, until all of it is read */

    uint64_t n_values, n_numbers;
    bool oldest_is_number;
    bool is_dropped; /* the last value was too large to be kept */
    bool has_fractions;
    __int128 integers;                /* their sum; 64 bits each, 2^63 of them fit */
    double fractions, lost;           /* sum of the others, and what rounding took from it */
    struct ts_number least, greatest; /* if n_numbers > 0 */
    struct ts_text last;              /* owned; the last value's exact bytes */
};

/* Empties the field for another window; what memory it has is kept. */
void ts_aggregate_field_clear(struct ts_aggregate_field *field);

/* Takes a checked value. `held` counts the bytes that all last values of the window occupy. False
 * if there was no room to keep it as the last one. */
bool ts_aggregate_field_add(struct ts_aggregate_field *field, struct ts_span value, bool backward,
                            size_t *held);

/* The functions, now that all values have come. */
unsigned ts_aggregate_field_functions(const struct ts_aggregate_field *field);

/* Adds the value of one function as JSON. */
void ts_aggregate_field_write(const struct ts_aggregate_field *field, unsigned function,
                              bool unfinished, struct ts_text *out);

#endif
