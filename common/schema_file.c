/* schema_file.c - schema.json as the first ts-store wrote it. */
#include "common/schema_file.h"

#include "common/smallfile.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_LIMIT_BYTES (16u * 1024 * 1024)
#define LOCK_WAIT_MS 2000
#define MAX_VERSION INT32_MAX

/* ---- reading ---- */

static enum ts_err
corrupt(const char *what)
{
    return TS_FAIL(TS_E_CORRUPT, "%s: %s", TS_SCHEMA_FILE, what);
}

/* One version as the fields of a request, so that one parser judges both. */
static enum ts_err
parse_version(const json_t *entry, uint32_t version, struct ts_schema **out_schema)
{
    char *text = json_dumps(entry, JSON_COMPACT);
    enum ts_err err;

    if (text == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    err = ts_schema_parse(text, strlen(text), version, out_schema);
    free(text);
    if (err == TS_OK || err == TS_E_NOMEM)
        return err;
    TS_CONTEXT("%s: version %u", TS_SCHEMA_FILE, version);
    return TS_E_CORRUPT;
}

/* The current schema in `root`. NULL if there is no version: what a failed first request left. */
static enum ts_err
parse_current(const json_t *root, struct ts_schema **out_schema)
{
    const json_t *current = json_object_get(root, "current_version");
    const json_t *schemas = json_object_get(root, "schemas"), *entry;
    const json_int_t version = json_integer_value(current);
    char key[24];

    if (!json_is_object(root))
        return corrupt("is not an object");
    if (schemas == NULL || json_is_null(schemas) || json_object_size(schemas) == 0) {
        *out_schema = NULL;
        return schemas == NULL || json_is_null(schemas) || json_is_object(schemas)
                   ? TS_OK
                   : corrupt("schemas is not an object");
    }
    if (!json_is_integer(current) || version < 1 || version > MAX_VERSION)
        return corrupt("current_version is not a version number");
    snprintf(key, sizeof key, "%lld", (long long)version);
    entry = json_object_get(schemas, key);
    if (!json_is_object(entry))
        return corrupt("the current version is not there");
    return parse_version(entry, (uint32_t)version, out_schema);
}

/* *out_root is a new object if there is no file. */
static enum ts_err
read_file(int dir_fd, json_t **out_root)
{
    json_error_t fault;
    char *text = NULL;
    enum ts_err err;
    json_t *root;
    size_t n = 0;

    err = ts_smallfile_read(dir_fd, TS_SCHEMA_FILE, FILE_LIMIT_BYTES, &text, &n, NULL);
    if (err == TS_E_NOT_FOUND) {
        root = json_object();
        err = root != NULL ? TS_OK : TS_FAIL_PLAIN(TS_E_NOMEM);
    } else if (err == TS_OK) {
        root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &fault);
        if (root == NULL && json_error_code(&fault) == json_error_out_of_memory)
            err = TS_FAIL_PLAIN(TS_E_NOMEM);
        else if (root == NULL)
            err = TS_FAIL(TS_E_CORRUPT, "%s: no JSON at byte %d (line %d)", TS_SCHEMA_FILE,
                          fault.position, fault.line);
    }
    free(text);
    if (err == TS_OK)
        *out_root = root;
    return err;
}

enum ts_err
ts_schema_load(const char *store_dir, struct ts_schema **out_schema)
{
    json_t *root = NULL;
    int dir_fd = -1;
    enum ts_err err;

    err = ts_smallfile_open_dir(store_dir, &dir_fd);
    if (err != TS_OK)
        return err;
    err = read_file(dir_fd, &root);
    if (err == TS_OK)
        err = parse_current(root, out_schema);
    json_decref(root);
    close(dir_fd);
    return err;
}

/* ---- adding a version ---- */

static json_t *
entry_of(const struct ts_schema *schema)
{
    json_t *fields = json_array(), *entry;

    for (size_t i = 0; i < ts_schema_n_fields(schema); i++) {
        const struct ts_schema_field *field = ts_schema_field(schema, i);

        entry =
            json_pack("{s:I, s:s%, s:s}", "index", (json_int_t)field->index, "name", field->name.at,
                      field->name.bytes, "type", ts_schema_type_name(field->type));
        if (json_array_append_new(fields, entry) != 0) {
            json_decref(fields);
            return NULL;
        }
    }
    return json_pack("{s:I, s:o}", "version", (json_int_t)ts_schema_version(schema), "fields",
                     fields);
}

static enum ts_err
set_strict(json_t *root, enum ts_schema_wish wish)
{
    const bool is_strict = json_is_true(json_object_get(root, TS_SCHEMA_STRICT));

    if (wish == TS_SCHEMA_AS_IS || is_strict == (wish == TS_SCHEMA_STRICTLY))
        return TS_OK;
    if (json_object_set_new(root, TS_SCHEMA_STRICT, json_boolean(!is_strict)) != 0)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    return TS_OK;
}

/* Puts the version where the others are, and makes it the current one. */
static enum ts_err
add_version(json_t *root, const struct ts_schema *schema)
{
    json_t *schemas = json_object_get(root, "schemas");
    char key[16];
    int failed;

    snprintf(key, sizeof key, "%u", ts_schema_version(schema));
    failed = json_object_set_new(root, "current_version",
                                 json_integer((json_int_t)ts_schema_version(schema)));
    if (!json_is_object(schemas)) {
        failed |= json_object_set_new(root, "schemas", json_object());
        schemas = json_object_get(root, "schemas");
    }
    failed |= json_object_set_new(schemas, key, entry_of(schema));
    return failed == 0 ? TS_OK : TS_FAIL_PLAIN(TS_E_NOMEM);
}

static enum ts_err
write_file(int dir_fd, const json_t *root)
{
    char *text = json_dumps(root, JSON_INDENT(2));
    enum ts_err err;

    if (text == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    if (strlen(text) > FILE_LIMIT_BYTES)
        err = TS_FAIL(TS_E_LIMIT, "%s: would be larger than %u bytes", TS_SCHEMA_FILE,
                      FILE_LIMIT_BYTES);
    else
        err = ts_smallfile_replace(dir_fd, TS_SCHEMA_FILE, text, strlen(text), 0644);
    free(text);
    return err;
}

/* What the file says, and what it would say. */
static enum ts_err
put_below(int dir_fd, const char *request, size_t bytes, enum ts_schema_wish wish,
          struct ts_schema **out_schema)
{
    struct ts_schema *old = NULL, *schema = NULL;
    json_t *root = NULL;
    enum ts_err err;

    err = read_file(dir_fd, &root);
    if (err == TS_OK)
        err = parse_current(root, &old);
    if (err == TS_OK && ts_schema_version(old) == MAX_VERSION)
        err = TS_FAIL(TS_E_LIMIT, "%s: no version number is left", TS_SCHEMA_FILE);
    if (err == TS_OK)
        err = ts_schema_parse(request, bytes, ts_schema_version(old) + 1, &schema);
    if (err == TS_OK)
        err = ts_schema_check_successor(old, schema);
    if (err == TS_OK)
        err = add_version(root, schema);
    if (err == TS_OK)
        err = set_strict(root, wish);
    if (err == TS_OK)
        err = write_file(dir_fd, root);
    if (err == TS_OK)
        *out_schema = schema;
    else
        ts_schema_release(schema);
    ts_schema_release(old);
    json_decref(root);
    return err;
}

enum ts_err
ts_schema_put(const char *store_dir, const char *request, size_t bytes, enum ts_schema_wish wish,
              struct ts_schema **out_schema)
{
    int dir_fd = -1;
    enum ts_err err;

    err = ts_smallfile_open_dir(store_dir, &dir_fd);
    if (err != TS_OK)
        return err;
    err = ts_smallfile_lock(dir_fd, LOCK_WAIT_MS);
    if (err == TS_OK)
        err = put_below(dir_fd, request, bytes, wish, out_schema);
    close(dir_fd);
    return err;
}
