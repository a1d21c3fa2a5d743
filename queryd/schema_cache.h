/* schema_cache.h - the schema of one store, as schema.json has it now.
 *
 * Purpose    Hand out the current schema without reading the file each time.
 * Invariant  What is handed out is what the file says: it is looked at each time, and read again
 *            when it changed.
 * Ownership  The schema handed out is held by the caller: ts_schema_release().
 * Threads    All calls but init and done from any thread.
 * Errors     TS_E_CORRUPT when the file cannot be used: nothing remembered is used instead.
 */
#ifndef QUERYD_SCHEMA_CACHE_H
#define QUERYD_SCHEMA_CACHE_H

#include "common/schema.h"
#include "common/smallfile.h"

#include <pthread.h>

struct schema_cache {
    pthread_mutex_t lock; /* guards the rest */
    struct ts_smallfile_watch watch;
    struct ts_schema *schema; /* held; of the watched file */
};

void schema_cache_init(struct schema_cache *cache);
void schema_cache_done(struct schema_cache *cache);

/* *out_schema is NULL for a store that has no schema yet. One system call while nothing changes. */
enum ts_err schema_cache_hold(struct schema_cache *cache, const char *store_dir,
                              struct ts_schema **out_schema) TS_MUST_USE;

#endif
