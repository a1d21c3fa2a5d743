/* number.h - JSON numbers as values, and values as JSON numbers.
 *
 * Purpose    Read a decimal number exactly, and write a double in the fewest digits that read back
 *            as the same double.
 * Invariant  No locale decides anything, and reading rounds correctly for numbers of any length.
 * Threads    No state; any thread.
 * Errors     None but "this is no number".
 * Source     W. D. Clinger, "How to Read Floating Point Numbers Accurately" (the fast path); the
 *            layout of digits is that of ECMAScript's Number.toString().
 */
#ifndef TS_NUMBER_H
#define TS_NUMBER_H

#include "common/json.h"
#include "common/text.h"

struct ts_number {
    bool is_integer;  /* no fraction, no exponent, not -0, fits int64 or uint64 */
    __int128 integer; /* if is_integer, and exact */
    double real;      /* the nearest double; infinite beyond their range */
};

/* Reads a number as RFC 8259 has it, nothing around it. False for anything else; *out then is
 * undefined. */
bool ts_number_parse(struct ts_span text, struct ts_number *out);

/* Less than, equal to or greater than 0 as a is to b, by their exact values. */
int ts_number_compare(const struct ts_number *a, const struct ts_number *b);

/* Integers with all their digits, others as ts_text_double(). */
void ts_text_number(struct ts_text *text, const struct ts_number *number);

/* 21, 21.5, 1e-7, 1e+21; null if it is not finite, as JSON has no other word for it. */
void ts_text_double(struct ts_text *text, double value);

#endif
