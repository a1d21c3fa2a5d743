/* store_schema.c - see store_schema.h. */
#include "ingestd/store_schema.h"

#include "common/json_walk.h"
#include "common/schema_file.h"
#include "common/smallfile.h"

#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FILE_LIMIT_BYTES ((size_t)16 << 20)
/* As many fields as there may be, with long names. */
#define REQUEST_LIMIT_BYTES ((size_t)4 << 20)

struct store_schema {
    char dir[PATH_MAX];
    char path[PATH_MAX];
    pthread_mutex_t lock; /* guards the rest */
    struct ts_smallfile_watch watch;
    struct ts_schema *schema; /* held; of the watched file */
    bool is_strict;
};

enum ts_err
store_schema_new(const char *data_dir, const char *name, struct store_schema **out)
{
    struct store_schema *store = calloc(1, sizeof *store);

    if (store == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    store->watch.fd = -1;
    pthread_mutex_init(&store->lock, NULL);
    if (snprintf(store->dir, sizeof store->dir, "%s/%s", data_dir, name) >=
            (int)sizeof store->dir ||
        snprintf(store->path, sizeof store->path, "%s/%s/" TS_SCHEMA_FILE, data_dir, name) >=
            (int)sizeof store->path) {
        store_schema_free(store);
        return TS_FAIL(TS_E_USAGE, "store %s: its path is too long", name);
    }
    *out = store;
    return TS_OK;
}

void
store_schema_free(struct store_schema *store)
{
    if (store == NULL)
        return;
    ts_smallfile_watch_done(&store->watch);
    ts_schema_release(store->schema);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

/* ---- reading ---- */

/* The member "strict" of the file; what is no such file has none. */
static bool
says_strict(const char *text, size_t bytes)
{
    json_t *root = json_loadb(text, bytes, 0, NULL);
    const bool is_strict = json_is_true(json_object_get(root, TS_SCHEMA_STRICT));

    json_decref(root);
    return is_strict;
}

/* Holds the lock. The watch is taken before the schema: of a file that is replaced between the
 * two, the next look sees that it changed. */
static enum ts_err
read_again(struct store_schema *store)
{
    struct ts_schema *schema = NULL;
    char *text = NULL;
    size_t bytes = 0;
    int dir_fd = -1;
    enum ts_err err = ts_smallfile_open_dir(store->dir, &dir_fd);

    if (err == TS_OK)
        err = ts_smallfile_read(dir_fd, TS_SCHEMA_FILE, FILE_LIMIT_BYTES, &text, &bytes,
                                &store->watch);
    if (err == TS_E_NOT_FOUND && dir_fd >= 0)
        err = TS_OK;
    if (err == TS_OK)
        err = ts_schema_load(store->dir, &schema);
    if (err == TS_OK) {
        ts_schema_release(store->schema);
        store->schema = schema;
        store->is_strict = text != NULL && says_strict(text, bytes);
    } else {
        ts_smallfile_watch_done(&store->watch); /* so that the next look reads, too */
    }
    free(text);
    if (dir_fd >= 0)
        close(dir_fd);
    return err;
}

enum ts_err
store_schema_hold(struct store_schema *store, struct store_schema_now *out)
{
    enum ts_err err = TS_OK;

    pthread_mutex_lock(&store->lock);
    if (!ts_smallfile_is_current(&store->watch, store->path))
        err = read_again(store);
    if (err == TS_OK)
        *out = (struct store_schema_now){.schema = ts_schema_hold(store->schema),
                                         .is_strict = store->is_strict};
    pthread_mutex_unlock(&store->lock);
    return err;
}

/* ---- adding a version ---- */

/* What a request says about "strict". If it is no object, the one who reads the fields says so. */
static enum ts_err
find_wish(struct ts_span request, enum ts_schema_wish *out)
{
    struct ts_json_member member;
    struct ts_json_walk walk;

    while (request.bytes > 0 && memchr(" \t\r\n", *request.at, 4) != NULL) {
        request.at++;
        request.bytes--;
    }
    if (request.bytes == 0 || !ts_json_walk_object(&walk, request))
        return TS_OK;
    while (ts_json_walk_next(&walk, &member) == TS_JSON_MEMBER) {
        if (member.name.bytes != strlen(TS_SCHEMA_STRICT) ||
            strncasecmp(member.name.at, TS_SCHEMA_STRICT, member.name.bytes) != 0)
            continue;
        if (*member.value.at != 't' && *member.value.at != 'f')
            return TS_FAIL(TS_E_SCHEMA, "invalid schema: strict must be true or false");
        *out = *member.value.at == 't' ? TS_SCHEMA_STRICTLY : TS_SCHEMA_LOOSE;
    }
    return TS_OK;
}

enum ts_err
store_schema_put(struct store_schema *store, struct ts_span request, uint32_t *out_version)
{
    struct ts_schema *schema = NULL;
    enum ts_schema_wish wish = TS_SCHEMA_AS_IS;
    enum ts_err err;

    if (request.bytes > REQUEST_LIMIT_BYTES)
        return TS_FAIL(TS_E_LIMIT, "schema of %zu bytes, at most %zu are allowed", request.bytes,
                       REQUEST_LIMIT_BYTES);
    err = find_wish(request, &wish);
    if (err == TS_OK)
        err = ts_schema_put(store->dir, request.at, request.bytes, wish, &schema);
    if (err != TS_OK)
        return err;
    *out_version = ts_schema_version(schema);
    ts_schema_release(schema);
    return TS_OK;
}
