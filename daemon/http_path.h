/* http_path.h - request targets taken apart.
 *
 * Purpose    Percent-decoding, the segments of a path, patterns of routes, query parameters.
 * Invariant  Everything is bounded by the arena that the caller gives: a decoded text is never
 *            longer than the encoded one, plus a NUL each.
 * Ownership  Results are views into the arena.
 * Threads    No state.
 * Errors     bool: false says that the text is not well-formed, or has too many parts.
 */
#ifndef DAEMON_HTTP_PATH_H
#define DAEMON_HTTP_PATH_H

#include "common/json.h" /* struct ts_span */

#include <stdbool.h>
#include <stddef.h>

#define HTTP_MAX_SEGMENTS 12 /* of a path; longer ones match no route */
#define HTTP_MAX_QUERY 32    /* query parameters looked at; those behind are ignored */

/* Memory for decoded text. */
struct http_arena {
    char *at; /* borrowed */
    size_t used, capacity;
};

/* What became of a path. */
enum http_path_err { HTTP_PATH_OK, HTTP_PATH_MALFORMED, HTTP_PATH_FOREIGN };

struct http_path {
    struct ts_span segments[HTTP_MAX_SEGMENTS]; /* decoded, NUL behind each */
    unsigned n_segments;
    bool has_trailing_slash; /* "/a/": one segment and this; not for "/" itself */
};

struct http_query {
    struct {
        struct ts_span name, value;
    } pairs[HTTP_MAX_QUERY];
    unsigned n_pairs;
};

/* Decodes %XX, and "+" to a blank if plus_is_blank. False for a broken escape and for lack of
 * room; the arena is then as before. */
bool http_decode(struct http_arena *arena, const char *text, size_t bytes, bool plus_is_blank,
                 struct ts_span *out);

/* Splits the path of a request target, without its query. MALFORMED: a broken escape or no slash
 * in front. FOREIGN: it can match no route (an empty segment, a NUL, too many segments). */
enum http_path_err http_path_split(struct http_arena *arena, const char *path, size_t bytes,
                                   struct http_path *out);

/* True if `pattern` matches all segments; params[] then holds the values of its ':' parts. */
bool http_path_match(const struct http_path *path, const char *pattern, struct ts_span params[],
                     unsigned max_params, unsigned *out_n_params);

/* Takes a query apart. Pairs with a broken escape, and empty ones, are left out. */
void http_query_split(struct http_arena *arena, const char *query, size_t bytes,
                      struct http_query *out);

/* The first value of `name`; NULL if there is none. */
const struct ts_span *http_query_find(const struct http_query *query, const char *name);

#endif
