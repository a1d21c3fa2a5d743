/* cmd_key.c - tsstore key list|create|regenerate|revoke, on the store's keys.json. */
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/when.h"
#include "common/duration.h"
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

static const struct {
    unsigned scope;
    const char *name;
} scope_names[] = {{TS_SCOPE_READ, "read"}, {TS_SCOPE_WRITE, "write"}, {TS_SCOPE_DELETE, "delete"}};

/* "read,write", or each name in quotes. */
static void
add_scopes(unsigned scopes, const char *quote, struct ts_text *out)
{
    const char *comma = "";

    for (size_t i = 0; i < COUNTOF(scope_names); i++) {
        if ((scopes & scope_names[i].scope) == 0)
            continue;
        ts_text_printf(out, "%s%s%s%s", comma, quote, scope_names[i].name, quote);
        comma = ",";
    }
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

/* Characters of a UTF-8 text: its width, as long as none is wide or combining. */
static size_t
count_characters(const char *text, size_t bytes)
{
    size_t n = 0;

    for (size_t i = 0; i < bytes; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

/* Columns behind those of the first ts-store, only for stores that have something to show there:
 * scripts know the rows of the others. */
struct key_columns {
    bool has_terms;
    size_t note_width;
};

static struct key_columns
measure(const struct ts_key_info *keys, size_t n)
{
    struct key_columns columns = {.note_width = sizeof "Note" - 1};

    for (size_t i = 0; i < n; i++) {
        const size_t width = count_characters(keys[i].note, strlen(keys[i].note));

        columns.note_width = width > columns.note_width ? width : columns.note_width;
        columns.has_terms = columns.has_terms || keys[i].scopes != TS_SCOPE_ALL ||
                            keys[i].expires_ns != TS_KEY_NEVER;
    }
    return columns;
}

static void
list_heading(const struct key_columns *columns, struct ts_text *out)
{
    ts_text_printf(out, "%-8s  %-25s  %s", "ID", "Created", "Note");
    if (columns->has_terms)
        ts_text_printf(out, "%*s  %-17s  %s", (int)columns->note_width - 4, "", "Scopes",
                       "Expires");
    ts_text_puts(out, "\n--------  -------------------------  ----");
    if (columns->has_terms) {
        for (size_t i = 4; i < columns->note_width; i++)
            ts_text_puts(out, "-");
        ts_text_puts(out, "  -----------------  -----------------------");
    }
    ts_text_puts(out, "\n");
}

/* Behind a note of `note_width` characters. */
static void
list_terms(const struct key_columns *columns, const struct ts_key_info *key, size_t note_width,
           struct ts_text *out)
{
    char expires[CLI_TIME_BYTES];
    size_t start;

    ts_text_printf(
        out, "%*s",
        (int)(note_width < columns->note_width ? columns->note_width - note_width : 0) + 2, "");
    start = out->bytes;
    if (key->scopes != 0)
        add_scopes(key->scopes, "", out);
    else
        ts_text_puts(out, "none");
    ts_text_printf(out, "%*s", (int)(17 - (out->bytes - start)) + 2, "");
    if (key->expires_ns == TS_KEY_NEVER) {
        ts_text_puts(out, "never");
        return;
    }
    cli_time_text(key->expires_ns, expires);
    ts_text_printf(out, "%.10s %.8s UTC%s", expires, expires + 11,
                   key->expires_ns <= cli_now_ns() ? " (expired)" : "");
}

static void
list_text(const char *name, const struct ts_key_info *keys, size_t n, struct ts_text *out)
{
    const struct key_columns columns = measure(keys, n);

    if (n == 0) {
        ts_text_printf(out, "No API keys found for store '%s'\n", name);
        return;
    }
    ts_text_printf(out, "API keys for store '%s':\n", name);
    list_heading(&columns, out);
    for (size_t i = 0; i < n; i++) {
        size_t start;

        ts_text_printf(out, "%-8s  ", keys[i].id);
        add_created(keys[i].created_at, out);
        ts_text_puts(out, "  ");
        start = out->bytes;
        cli_add_visible(out, keys[i].note, strlen(keys[i].note));
        if (columns.has_terms && !out->failed)
            list_terms(&columns, &keys[i], count_characters(out->at + start, out->bytes - start),
                       out);
        ts_text_puts(out, "\n");
    }
}

static void
list_json(const char *name, const struct ts_key_info *keys, size_t n, struct ts_text *out)
{
    cli_json_text(out, "{", "store", name);
    ts_text_puts(out, ",\"keys\":[");
    for (size_t i = 0; i < n; i++) {
        cli_json_text(out, i == 0 ? "{" : ",{", "id", keys[i].id);
        cli_json_text(out, ",", "created_at", keys[i].created_at);
        cli_json_text(out, ",", "note", keys[i].note);
        ts_text_puts(out, ",\"scopes\":[");
        add_scopes(keys[i].scopes, "\"", out);
        ts_text_puts(out, "]");
        if (keys[i].expires_ns != TS_KEY_NEVER) {
            ts_text_puts(out, ",\"expires_at\":\"");
            ts_text_time(out, keys[i].expires_ns);
            ts_text_puts(out, "\"");
        }
        ts_text_puts(out, "}");
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

/* ---- create ---- */

struct create_args {
    struct cli_common common;
    const char *scopes, *expires, *note;
};

static const struct cli_option create_options[] = {
    {.name = "scopes",
     .kind = CLI_TEXT,
     .placeholder = "LIST",
     .help = "of read,write,delete (default: all)",
     .offset = offsetof(struct create_args, scopes)},
    {.name = "expires",
     .kind = CLI_TEXT,
     .placeholder = "WHEN",
     .help = "from now (30d, 12h), or a time (2027-01-01T00:00:00Z)",
     .offset = offsetof(struct create_args, expires)},
    {.name = "note",
     .kind = CLI_TEXT,
     .placeholder = "TEXT",
     .help = "what the key is for",
     .offset = offsetof(struct create_args, note)},
};

/* The scope that text[0..bytes) names, or 0. */
static unsigned
scope_of(const char *text, size_t bytes)
{
    for (size_t i = 0; i < COUNTOF(scope_names); i++) {
        if (strlen(scope_names[i].name) == bytes && memcmp(scope_names[i].name, text, bytes) == 0)
            return scope_names[i].scope;
    }
    return 0;
}

static enum ts_err
parse_scopes(const char *text, unsigned *out_scopes)
{
    unsigned scopes = 0;

    for (;;) {
        const size_t bytes = strcspn(text, ",");
        const unsigned scope = scope_of(text, bytes);

        if (scope == 0)
            return TS_FAIL(TS_E_USAGE, "--scopes: \"%.*s\" is none of read, write, delete",
                           (int)(bytes < 40 ? bytes : 40), text);
        scopes |= scope;
        if (text[bytes] == '\0')
            break;
        text += bytes + 1;
    }
    *out_scopes = scopes;
    return TS_OK;
}

static enum ts_err
parse_expires(const char *text, int64_t *out_expires_ns)
{
    const int64_t now_ns = cli_now_ns();
    int64_t expires_ns;

    if (ts_duration_parse(text, strlen(text), &expires_ns) == TS_OK) {
        if (__builtin_add_overflow(now_ns, expires_ns, &expires_ns))
            return TS_FAIL(TS_E_USAGE, "--expires: %.40s is too long", text);
    } else if (cli_time_parse(text, &expires_ns) != TS_OK) {
        return TS_FAIL(TS_E_USAGE,
                       "--expires: \"%.64s\" is neither a duration (30d, 12h) nor a time "
                       "(2027-01-01T00:00:00Z)",
                       text);
    }
    /* The file has whole seconds: one that has begun would be over at once. */
    if (expires_ns < now_ns + 1000000000)
        return TS_FAIL(TS_E_USAGE, "--expires: %.64s is over already", text);
    *out_expires_ns = expires_ns;
    return TS_OK;
}

static void
show_created(const char *name, const char *key, const struct ts_key_terms *terms, bool as_json,
             struct ts_text *out)
{
    const bool expires = terms->expires_ns != TS_KEY_NEVER;
    char id[TS_KEY_ID_BYTES];

    ts_key_id(key, id);
    if (as_json) {
        cli_json_text(out, "{", "store", name);
        cli_json_text(out, ",", "key_id", id);
        cli_json_text(out, ",", "api_key", key);
        ts_text_puts(out, ",\"scopes\":[");
        add_scopes(terms->scopes, "\"", out);
        ts_text_puts(out, expires ? "],\"expires_at\":\"" : "]");
        if (expires)
            ts_text_time(out, terms->expires_ns);
        ts_text_puts(out, expires ? "\"}\n" : "}\n");
        return;
    }
    ts_text_printf(out, "=== NEW API KEY ===\nStore:   %s\nKey ID:  %s\nScopes:  ", name, id);
    add_scopes(terms->scopes, "", out);
    ts_text_puts(out, "\nExpires: ");
    if (expires)
        ts_text_time(out, terms->expires_ns);
    else
        ts_text_puts(out, "never");
    ts_text_printf(out, "\nAPI Key: %s\n", key);
    ts_text_puts(out, "\nWARNING: This key is shown only once. Save it securely!\n");
}

static int
run_create(void *arguments)
{
    const struct create_args *args = arguments;
    const char *name = args->common.arguments[0];
    struct ts_key_terms terms = {.note = args->note != NULL ? args->note : "Created via CLI",
                                 .scopes = TS_SCOPE_ALL,
                                 .expires_ns = TS_KEY_NEVER};
    char dir[PATH_MAX], key[TS_KEY_TEXT_BYTES];
    struct ts_text out;
    int exit_code;
    enum ts_err err = TS_OK;

    if (args->scopes != NULL)
        err = parse_scopes(args->scopes, &terms.scopes);
    if (err == TS_OK && args->expires != NULL)
        err = parse_expires(args->expires, &terms.expires_ns);
    if (err == TS_OK)
        err = find_store(&args->common, dir);
    if (err == TS_OK)
        err = ts_keys_add(dir, name, &terms, key);
    if (err != TS_OK)
        return cli_fail(&args->common, err, "Failed to create key");
    ts_text_init(&out);
    show_created(name, key, &terms, args->common.wants_json, &out);
    exit_code = finish(&args->common, &out);
    explicit_bzero(key, sizeof key);
    return exit_code;
}

/* ---- regenerate, revoke ---- */

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

const struct cli_verb cmd_key_create = {
    .name = "key create",
    .arguments = "<store>",
    .summary = "Add an API key beside the others",
    .notes = KEY_NOTES "Without --scopes the key may do everything, without --expires for ever.\n"
                       "The API key is on the line that starts with \"API Key:\"; it is shown "
                       "this once.\n",
    .options = create_options,
    .n_options = COUNTOF(create_options),
    .has_data_options = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .missing_text = "Error: store name required",
    .args_bytes = sizeof(struct create_args),
    .run = run_create,
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
