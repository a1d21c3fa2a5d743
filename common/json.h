/* json.h - is this JSON, and where in it is what we need.
 *
 * Purpose    Check a JSON text strictly (RFC 8259, UTF-8 included) and find the parts of an insert
 *            body, without building anything.
 * Invariant  What passes ts_json_check() is one value that every strict parser accepts, nested at
 *            most TS_JSON_MAX_DEPTH deep. Two things are left to whoever converts: numbers may be
 *            out of any range, and a name may come twice.
 * Ownership  Nothing is allocated. Spans are views into the text that was given.
 * Threads    No state; any thread.
 * Errors     TS_E_JSON; the text says what is wrong, and past the first byte where. Outputs are
 *            untouched on failure.
 * Source     RFC 8259; RFC 3629 for UTF-8. The wording of errors is that of the first ts-store,
 *            whose clients match it.
 */
#ifndef TS_JSON_H
#define TS_JSON_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TS_JSON_MAX_DEPTH 64

/* A piece of a text. */
struct ts_span {
    const char *at; /* view */
    size_t bytes;
};

/* Checks that text is exactly one JSON value; blanks (space, tab, CR, LF) may surround it.
 * *out_value, which may be NULL, is the value without them. */
enum ts_err ts_json_check(const char *text, size_t bytes, struct ts_span *out_value) TS_MUST_USE;

/* What an insert body holds. */
struct ts_json_insert {
    bool has_time; /* a timestamp is there and is not null */
    int64_t time_ns;
    bool has_data;       /* a "data" field is there; null counts */
    struct ts_span data; /* view; the exact bytes of the value */
};

/* Takes {"timestamp": …, "data": …} apart. Names match without regard to case, of fields that come
 * twice the last wins, unknown ones are checked and ignored; the value null stands for an object
 * without fields. The timestamp is an integer that fits int64, or null. Bytes behind the object
 * are an error if strict_end, else they are not looked at. Nothing but blanks is the error "EOF",
 * a cut text "unexpected EOF" (with strict_end: "unexpected end of JSON input" for both). */
enum ts_err ts_json_insert(const char *text, size_t bytes, bool strict_end,
                           struct ts_json_insert *out) TS_MUST_USE;

#endif
