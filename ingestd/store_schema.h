/* store_schema.h - the schema of one schema store, as schema.json has it now.
 *
 * Purpose    Hand out the current schema to who takes records in; add a version.
 * Invariant  What is handed out is what the file says: it is looked at each time, and read again
 *            when it changed, whoever changed it.
 * Ownership  store_schema_new() gives *out, store_schema_free() takes it. The schema in *out of
 *            store_schema_hold() is held by the caller; ts_schema_release() gives it back.
 * Threads    All calls from any thread but store_schema_free().
 * Errors     TS_E_CORRUPT when the file can't be used: nothing remembered is used instead.
 */
#ifndef INGESTD_STORE_SCHEMA_H
#define INGESTD_STORE_SCHEMA_H

#include "common/schema.h"

struct store_schema;

struct store_schema_now {
    struct ts_schema *schema; /* held; NULL: none was set yet */
    bool is_strict;           /* values are checked for type and range */
};

enum ts_err store_schema_new(const char *data_dir, const char *name,
                             struct store_schema **out) TS_MUST_USE;
void store_schema_free(struct store_schema *store);

/* One system call while the file stays as it is. */
enum ts_err store_schema_hold(struct store_schema *store, struct store_schema_now *out) TS_MUST_USE;

/* Takes the body of PUT …/schema: {"fields":[…]}, with "strict": true or false if that is to
 * change. What ts_schema_put() says. */
enum ts_err store_schema_put(struct store_schema *store, struct ts_span request,
                             uint32_t *out_version) TS_MUST_USE;

#endif
