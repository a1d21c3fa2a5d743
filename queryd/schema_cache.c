/* schema_cache.c - see schema_cache.h. */
#include "queryd/schema_cache.h"

#include "common/schema_file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_LIMIT_BYTES ((size_t)16 << 20)

void
schema_cache_init(struct schema_cache *cache)
{
    *cache = (struct schema_cache){.watch = {.fd = -1}};
    pthread_mutex_init(&cache->lock, NULL);
}

void
schema_cache_done(struct schema_cache *cache)
{
    ts_smallfile_watch_done(&cache->watch);
    ts_schema_release(cache->schema);
    pthread_mutex_destroy(&cache->lock);
}

/* Holds the lock. The watch is taken before the schema: of a file that is replaced between the
 * two, the next look sees that it changed. */
static enum ts_err
read_again(struct schema_cache *cache, const char *store_dir)
{
    struct ts_schema *schema = NULL;
    char *text = NULL;
    size_t bytes = 0;
    int dir_fd = -1;
    enum ts_err err = ts_smallfile_open_dir(store_dir, &dir_fd);

    if (err == TS_OK)
        err = ts_smallfile_read(dir_fd, TS_SCHEMA_FILE, FILE_LIMIT_BYTES, &text, &bytes,
                                &cache->watch);
    if (err == TS_E_NOT_FOUND && dir_fd >= 0)
        err = TS_OK;
    if (err == TS_OK)
        err = ts_schema_load(store_dir, &schema);
    if (err == TS_OK) {
        ts_schema_release(cache->schema);
        cache->schema = schema;
    } else {
        ts_smallfile_watch_done(&cache->watch); /* so that the next look reads, too */
    }
    free(text);
    if (dir_fd >= 0)
        close(dir_fd);
    return err;
}

enum ts_err
schema_cache_hold(struct schema_cache *cache, const char *store_dir, struct ts_schema **out_schema)
{
    char path[PATH_MAX];
    enum ts_err err = TS_OK;

    if (snprintf(path, sizeof path, "%s/" TS_SCHEMA_FILE, store_dir) >= (int)sizeof path)
        return TS_FAIL(TS_E_USAGE, "%s: path too long", store_dir);
    pthread_mutex_lock(&cache->lock);
    if (!ts_smallfile_is_current(&cache->watch, path))
        err = read_again(cache, store_dir);
    if (err == TS_OK)
        *out_schema = ts_schema_hold(cache->schema);
    pthread_mutex_unlock(&cache->lock);
    return err;
}
