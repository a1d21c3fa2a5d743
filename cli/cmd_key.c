/* cmd_key.c - tsstore key list|regenerate|revoke, on the store's keys.json. */
#include "cli/output.h"
#include "cli/verbs.h"
#include "common/keys.h"
#include "proto/format.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the store of the first argument is. TS_E_NOT_FOUND unless there is one: nothing may be
 * made in a directory that only looks like a store's. */
static enum ts_err
find_store(const struct cli_common *common, char out_dir[PATH_MAX])
{
    const char *name = common->arguments[0];
    char meta[PATH_MAX + sizeof TS_META_FILE];
    struct ts_config config;
    enum ts_err err = cli_load_config(common, &config);

    if (err != TS_OK)
        return err;
    snprintf(out_dir, PATH_MAX, "%s/%s", config.base_path, name);
    ts_config_wipe(&config);
    if (!ts_name_is_valid(name))
        return TS_FAIL_PLAIN(TS_E_NAME);
    snprintf(meta, sizeof meta, "%s/%s", out_dir, TS_META_FILE);
    if (access(meta, F_OK) == 0)
        return TS_OK;
    return errno == ENOENT ? TS_FAIL_PLAIN(TS_E_NOT_FOUND) : TS_FAIL_ERRNO(TS_E_IO, "%s", meta);
}

static int
finish(const struct cli_common *common, struct ts_text *out)
{
    enum ts_err err = cli_print(out);

    ts_text_done(out);
    if (err == TS_OK)
        err = cli_flush();
    return err == TS_OK ? 0 : cli_fail(common, err, NULL);
}

/* "2026-03-01T08:00:00.123Z" as "2026-03-01 08:00:00 UTC"; what is no such time as it is. */
static void
add_created(const char *created_at, struct ts_text *out)
{
    const size_t bytes = strlen(created_at);

    if (bytes >= 20 && created_at[10] == 'T' && created_at[bytes - 1] == 'Z')
        ts_text_printf(out, "%.10s %.8s UTC  ", created_at, created_at + 11);
    else
        ts_text_printf(out, "%-25s", created_at);
}

static void
list_text(const char *name, const struct ts_key_info *keys, size_t n, struct ts_text *out)
{
    if (n == 0) {
        ts_text_printf(out, "No API keys found for store '%s'\n", name);
        return;
    }
    ts_text_printf(out, "API keys for store '%s':\n", name);
    ts_text_printf(out, "%-8s  %-25s  %s\n", "ID", "Created", "Note");
    ts_text_puts(out, "--------  -------------------------  ----\n");
    for (size_t i = 0; i < n; i++) {
        ts_text_printf(out, "%-8s  ", keys[i].id);
        add_created(keys[i].created_at, out);
        ts_text_puts(out, "  ");
        cli_add_visible(out, keys[i].note, strlen(keys[i].note));
        ts_text_puts(out, "\n");
    }
}

static void
list_json(const char *name, const struct ts_key_info *keys, size_t n, struct ts_text *out)
{
    static const struct {
        unsigned scope;
        const char *name;
    } scopes[] = {{TS_SCOPE_READ, "read"}, {TS_SCOPE_WRITE, "write"}, {TS_SCOPE_DELETE, "delete"}};

    cli_json_text(out, "{", "store", name);
    ts_text_puts(out, ",\"keys\":[");
    for (size_t i = 0; i < n; i++) {
        const char *comma = "";

        cli_json_text(out, i == 0 ? "{" : ",{", "id", keys[i].id);
        cli_json_text(out, ",", "created_at", keys[i].created_at);
        cli_json_text(out, ",", "note", keys[i].note);
        ts_text_puts(out, ",\"scopes\":[");
        for (size_t j = 0; j < COUNTOF(scopes); j++) {
            if ((keys[i].scopes & scopes[j].scope) != 0) {
                ts_text_printf(out, "%s\"%s\"", comma, scopes[j].name);
                comma = ",";
            }
        }
        ts_text_puts(out, "]}");
    }
    ts_text_puts(out, "]}\n");
}

static int
run_list(void *args)
{
    const struct cli_common *common = args;
    struct ts_key_info *keys = NULL;
    char dir[PATH_MAX];
    struct ts_text out;
    size_t n = 0;
    enum ts_err err = find_store(common, dir);

    if (err == TS_OK)
        err = ts_keys_list(dir, &keys, &n);
    if (err != TS_OK)
        return cli_fail(common, err, "Failed to list keys");
    ts_text_init(&out);
    if (common->wants_json)
        list_json(common->arguments[0], keys, n, &out);
    else
        list_text(common->arguments[0], keys, n, &out);
    free(keys);
    return finish(common, &out);
}

static int
run_regenerate(void *args)
{
    const struct cli_common *common = args;
    const char *name = common->arguments[0];
    char dir[PATH_MAX], key[TS_KEY_TEXT_BYTES], id[TS_KEY_ID_BYTES];
    struct ts_text out;
    int exit_code;
    enum ts_err err = find_store(common, dir);

    if (err == TS_OK)
        err = ts_keys_regenerate(dir, name, key);
    if (err != TS_OK)
        return cli_fail(common, err, "Failed to regenerate key");
    ts_key_id(key, id);
    ts_text_init(&out);
    if (common->wants_json) {
        cli_json_text(&out, "{", "store", name);
        cli_json_text(&out, ",", "key_id", id);
        cli_json_text(&out, ",", "api_key", key);
        ts_text_puts(&out, "}\n");
    } else {
        ts_text_puts(&out, "=== NEW API KEY ===\n");
        ts_text_printf(&out, "Store:   %s\nKey ID:  %s\nAPI Key: %s\n", name, id, key);
        ts_text_puts(&out, "\nWARNING: This key is shown only once. Save it securely!\n"
                           "All previous keys have been revoked.\n");
    }
    exit_code = finish(common, &out);
    explicit_bzero(key, sizeof key);
    return exit_code;
}

static int
run_revoke(void *args)
{
    const struct cli_common *common = args;
    const char *name = common->arguments[0], *id = common->arguments[1];
    char dir[PATH_MAX];
    struct ts_text out;
    enum ts_err err = find_store(common, dir);

    if (err == TS_OK)
        err = ts_keys_revoke(dir, id);
    if (err != TS_OK)
        return cli_fail(common, err, "Failed to revoke key");
    ts_text_init(&out);
    if (common->wants_json) {
        cli_json_text(&out, "{", "store", name);
        cli_json_text(&out, ",", "revoked", id);
        ts_text_puts(&out, "}\n");
    } else {
        ts_text_printf(&out, "Key '%s' revoked for store '%s'\n", id, name);
    }
    return finish(common, &out);
}

#define KEY_NOTES                                                                                  \
    "Works on the store's keys.json; running servers follow at the next request they get.\n"

const struct cli_verb cmd_key_list = {
    .name = "key list",
    .arguments = "<store>",
    .summary = "List the API keys of a store",
    .notes = KEY_NOTES,
    .has_data_options = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .missing_text = "Error: store name required",
    .args_bytes = sizeof(struct cli_common),
    .run = run_list,
};

const struct cli_verb cmd_key_regenerate = {
    .name = "key regenerate",
    .arguments = "<store>",
    .summary = "Replace all API keys by a new one",
    .notes = KEY_NOTES,
    .has_data_options = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .missing_text = "Error: store name required",
    .args_bytes = sizeof(struct cli_common),
    .run = run_regenerate,
};

const struct cli_verb cmd_key_revoke = {
    .name = "key revoke",
    .arguments = "<store> <id>",
    .summary = "Revoke one API key",
    .notes = KEY_NOTES,
    .has_data_options = true,
    .min_arguments = 2,
    .max_arguments = 2,
    .missing_text = "Error: store name and key ID required",
    .args_bytes = sizeof(struct cli_common),
    .run = run_revoke,
};
