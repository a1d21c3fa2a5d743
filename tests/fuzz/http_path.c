/* http_path.c - any bytes as a request target: what comes out lies in the arena. */
#include "daemon/http_path.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void
expect_inside(const struct http_arena *arena, const struct ts_span *span)
{
    if (span->at < arena->at || span->at + span->bytes >= arena->at + arena->used ||
        span->at[span->bytes] != '\0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const patterns[] = {"/", "/health", "/api/stores/:store/data/time/:ts",
                                           "/:a/:b/:c/:d/:e"};
    const char *target = (const char *)data + 1;
    struct ts_span params[4];
    struct http_arena arena;
    struct http_query query;
    struct http_path path;
    const char *mark;
    size_t path_bytes;
    unsigned n_params;

    if (bytes == 0)
        return 0;
    bytes--;
    /* The first byte sizes the arena: often too small, sometimes ample. */
    arena = (struct http_arena){.capacity = (size_t)data[0] * 8 + 1};
    arena.at = malloc(arena.capacity);
    mark = bytes > 0 ? memchr(target, '?', bytes) : NULL;
    path_bytes = mark != NULL ? (size_t)(mark - target) : bytes;
    if (http_path_split(&arena, target, path_bytes, &path) == HTTP_PATH_OK) {
        for (unsigned i = 0; i < path.n_segments; i++)
            expect_inside(&arena, &path.segments[i]);
        for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
            if (http_path_match(&path, patterns[i], params, 4, &n_params))
                for (unsigned k = 0; k < n_params; k++)
                    expect_inside(&arena, &params[k]);
    }
    if (mark != NULL) {
        http_query_split(&arena, mark + 1, bytes - path_bytes - 1, &query);
        for (unsigned i = 0; i < query.n_pairs; i++) {
            expect_inside(&arena, &query.pairs[i].name);
            expect_inside(&arena, &query.pairs[i].value);
        }
        (void)http_query_find(&query, "filter");
    }
    free(arena.at);
    return 0;
}
