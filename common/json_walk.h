/* json_walk.h - the members of an object, or the items of an array, one after the other.
 *
 * Purpose    Look at the top level of a JSON value without building anything.
 * Invariant  Whoever reaches TS_JSON_END has seen a value that ts_json_check() accepts, but for
 *            the depth: values in it may be nested TS_JSON_MAX_DEPTH deep themselves. Bytes that
 *            are no JSON are noticed at the latest in the step behind them.
 * Ownership  Nothing is allocated. Names and values are views into the text.
 * Threads    No state but the walk.
 * Errors     TS_JSON_MALFORMED is an answer; what ts_error_text() says then is of no use.
 */
#ifndef TS_JSON_WALK_H
#define TS_JSON_WALK_H

#include "common/json.h"

struct ts_json_walk {
    const char *at;  /* view; behind what was seen so far */
    const char *end; /* of the value */
    char closing;    /* of the object or array */
    bool is_first;
};

struct ts_json_member {
    struct ts_span name;   /* view; between the quotes; empty in arrays */
    bool name_has_escapes; /* if so, ts_json_unescape() it */
    struct ts_span value;  /* view; the exact bytes of the value */
};

enum ts_json_step { TS_JSON_MEMBER, TS_JSON_END, TS_JSON_MALFORMED };

/* True if the value is an object (or an array): then the walk stands before its first member. No
 * blanks may surround the value; those of ts_json_check() have none. */
bool ts_json_walk_object(struct ts_json_walk *walk, struct ts_span value);
bool ts_json_walk_array(struct ts_json_walk *walk, struct ts_span value);

/* Members come in their order, a name that comes twice comes twice. *out is set only with
 * TS_JSON_MEMBER. After another answer the walk is over. */
enum ts_json_step ts_json_walk_next(struct ts_json_walk *walk, struct ts_json_member *out);

/* Decodes what stands between the quotes of a string, at most `capacity` bytes; no more than
 * text.bytes are ever needed. A lone surrogate becomes U+FFFD. False if it does not fit or an
 * escape is wrong. */
bool ts_json_unescape(struct ts_span text, char *out, size_t capacity, size_t *out_bytes);

/* "object", "array", "string", "number", "bool" or "null", by the first byte of the value. */
const char *ts_json_kind(struct ts_span value);

static inline bool
ts_json_is_number(struct ts_span value)
{
    return *value.at == '-' || (*value.at >= '0' && *value.at <= '9');
}

static inline bool
ts_json_is_null(struct ts_span value)
{
    return *value.at == 'n';
}

#endif
