/* http_path.c - segments, patterns and parameters, all within the caller's arena. */
#include "daemon/http_path.h"

#include <string.h>

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool
http_decode(struct http_arena *arena, const char *text, size_t bytes, bool plus_is_blank,
            struct ts_span *out)
{
    char *to = arena->at + arena->used;
    size_t n = 0;

    if (bytes >= arena->capacity - arena->used)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];

        if (c == '%') {
            const int high = bytes - i > 2 ? hex_digit(text[i + 1]) : -1;
            const int low = bytes - i > 2 ? hex_digit(text[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        to[n++] = c;
    }
    to[n] = '\0';
    arena->used += n + 1;
    *out = (struct ts_span){.at = to, .bytes = n};
    return true;
}

enum http_path_err
http_path_split(struct http_arena *arena, const char *path, size_t bytes, struct http_path *out)
{
    size_t i = 1;

    out->n_segments = 0;
    out->has_trailing_slash = false;
    if (bytes == 0 || path[0] != '/')
        return HTTP_PATH_MALFORMED;
    while (i < bytes) {
        const char *slash = memchr(path + i, '/', bytes - i);
        const size_t length = slash != NULL ? (size_t)(slash - path) - i : bytes - i;
        struct ts_span *segment = &out->segments[out->n_segments];

        if (out->n_segments == HTTP_MAX_SEGMENTS || length == 0)
            return HTTP_PATH_FOREIGN;
        if (!http_decode(arena, path + i, length, false, segment))
            return HTTP_PATH_MALFORMED;
        if (memchr(segment->at, '\0', segment->bytes) != NULL)
            return HTTP_PATH_FOREIGN;
        out->n_segments++;
        i += length + 1;
    }
    out->has_trailing_slash = bytes > 1 && path[bytes - 1] == '/';
    return HTTP_PATH_OK;
}

bool
http_path_match(const struct http_path *path, const char *pattern, struct ts_span params[],
                unsigned max_params, unsigned *out_n_params)
{
    unsigned n_params = 0;

    for (unsigned i = 0; i < path->n_segments; i++) {
        const struct ts_span *segment = &path->segments[i];
        size_t length;

        if (*pattern != '/')
            return false;
        pattern++;
        length = strcspn(pattern, "/");
        if (*pattern == ':') {
            if (n_params == max_params)
                return false;
            params[n_params++] = *segment;
        } else if (length != segment->bytes || memcmp(pattern, segment->at, length) != 0) {
            return false;
        }
        pattern += length;
    }
    /* "/" alone has no segment, and neither has the path that it matches. */
    if (path->n_segments == 0 && strcmp(pattern, "/") == 0)
        pattern++;
    *out_n_params = n_params;
    return *pattern == '\0';
}

static void
add_pair(struct http_arena *arena, const char *pair, size_t bytes, struct http_query *out)
{
    const char *equals = memchr(pair, '=', bytes);
    const size_t name_bytes = equals != NULL ? (size_t)(equals - pair) : bytes;
    const size_t value_off = equals != NULL ? name_bytes + 1 : bytes;
    const size_t used_before = arena->used;
    struct ts_span name, value;

    if (!http_decode(arena, pair, name_bytes, true, &name))
        return;
    if (!http_decode(arena, pair + value_off, bytes - value_off, true, &value)) {
        arena->used = used_before;
        return;
    }
    out->pairs[out->n_pairs].name = name;
    out->pairs[out->n_pairs].value = value;
    out->n_pairs++;
}

void
http_query_split(struct http_arena *arena, const char *query, size_t bytes, struct http_query *out)
{
    size_t i = 0;

    out->n_pairs = 0;
    while (i < bytes && out->n_pairs < HTTP_MAX_QUERY) {
        const char *and = memchr(query + i, '&', bytes - i);
        const size_t length = and != NULL ? (size_t)(and-query) - i : bytes - i;

        if (length > 0)
            add_pair(arena, query + i, length, out);
        i += length + 1;
    }
}

const struct ts_span *
http_query_find(const struct http_query *query, const char *name)
{
    const size_t bytes = strlen(name);

    for (unsigned i = 0; i < query->n_pairs; i++) {
        const struct ts_span *candidate = &query->pairs[i].name;

        if (candidate->bytes == bytes && memcmp(candidate->at, name, bytes) == 0)
            return &query->pairs[i].value;
    }
    return NULL;
}
