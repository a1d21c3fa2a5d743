/* schema_file.h - schema.json: every version a store's schema ever had.
 *
 * Purpose    Read the current schema of a store, and add a version.
 * Invariant  Versions that are in the file stay there as they are, and so do members of the file
 *            that are not ours. A reader sees it before or after a new version, never between.
 * Threads    Any thread and process; who adds a version holds the directory's lock meanwhile.
 * Errors     Those of schema.h and smallfile.h; TS_E_CORRUPT if the file can't be read as a schema.
 */
#ifndef TS_SCHEMA_FILE_H
#define TS_SCHEMA_FILE_H

#include "common/schema.h"

#define TS_SCHEMA_FILE "schema.json"

/* A member of the file, and of a request: true if values are checked for type and range. */
#define TS_SCHEMA_STRICT "strict"

enum ts_schema_wish { TS_SCHEMA_AS_IS, TS_SCHEMA_LOOSE, TS_SCHEMA_STRICTLY };

/* The current schema of the store in this directory. Without a file, or with one that has no
 * version, there is none: TS_OK and *out_schema NULL. */
enum ts_err ts_schema_load(const char *store_dir, struct ts_schema **out_schema) TS_MUST_USE;

/* Takes a request as ts_schema_parse() does. If it may follow the current version, or is the first
 * one, it becomes the current one, durably, and TS_SCHEMA_STRICT what the wish is, in the same
 * step; the caller holds *out_schema. */
enum ts_err ts_schema_put(const char *store_dir, const char *request, size_t bytes,
                          enum ts_schema_wish wish, struct ts_schema **out_schema) TS_MUST_USE;

#endif
