/* config.c - the layers of the configuration: default, file, environment, command line. */
#include "common/config.h"

#include "common/config_table.h"
#include "common/smallfile.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_FILE "config.json"
#define FILE_LIMIT_BYTES (1024u * 1024u)
#define SECRET_FILE_LIMIT_BYTES 4096u
#define CREDENTIAL_NAME "admin_key"

/* run_dir follows the socket's path until somebody sets it. The last path that was not "" counts:
 * a daemon that was told to open no socket must still meet the other one. */
static void
derive(struct ts_config *config)
{
    const char *path = config->last_socket_path;
    const char *slash = strrchr(path, '/');

    if (config->sources[TS_ROW_RUN_DIR] > TS_SOURCE_DERIVED)
        return;
    if (slash == NULL)
        snprintf(config->run_dir, sizeof config->run_dir, ".");
    else
        snprintf(config->run_dir, sizeof config->run_dir, "%.*s",
                 slash == path ? 1 : (int)(slash - path), path);
    ts_config_row_note(config, TS_ROW_RUN_DIR, TS_ROW_SOCKET_PATH, TS_SOURCE_DERIVED);
}

void
ts_config_init(struct ts_config *config)
{
    memset(config, 0, sizeof *config);
    for (unsigned id = 0; id < TS_ROW_N_VALUES; id++)
        if (ts_config_rows[id].fallback != NULL)
            (void)!ts_config_row_set(config, (enum ts_config_row_id)id, ts_config_rows[id].fallback,
                                     TS_SOURCE_DEFAULT);
    derive(config);
}

static enum ts_err
fail_unknown(const char *key)
{
    return TS_FAIL(TS_E_CONFIG, "unknown key \"%s\": did you mean \"%s\"?", key,
                   ts_config_row_nearest(key));
}

/* ---- the file ---- */

static enum ts_err
set_from_json(struct ts_config *config, enum ts_config_row_id id, const json_t *value)
{
    const bool wants_number =
        ts_config_rows[id].kind == TS_KIND_NUMBER || ts_config_rows[id].kind == TS_KIND_POWER;
    char digits[24];
    const char *text = json_string_value(value);

    if (wants_number && !json_is_integer(value))
        return TS_FAIL(TS_E_CONFIG, "must be a whole number from %llu to %llu",
                       (unsigned long long)ts_config_rows[id].min,
                       (unsigned long long)ts_config_rows[id].max);
    if (!wants_number && text == NULL)
        return TS_FAIL(TS_E_CONFIG, "must be a string");
    if (wants_number) {
        snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        text = digits;
    } else if (text[0] == '\0' && (ts_config_rows[id].flags & TS_ROW_MAY_BE_EMPTY) == 0) {
        return TS_OK; /* as in the example of the original: "cert_file": "" */
    }
    return ts_config_row_set(config, id, text, TS_SOURCE_FILE);
}

/* `prefix` is "" or ends in a dot. Recursion ends with the groups: what is none is no object. */
static enum ts_err
set_from_object(struct ts_config *config, const char *prefix, json_t *object)
{
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        json_t *value = json_object_iter_value(at);
        char key[TS_CONFIG_KEY_BYTES];
        enum ts_err err = TS_OK;
        enum ts_config_row_id id;

        snprintf(key, sizeof key - 1, "%s%s", prefix, json_object_iter_key(at));
        if (ts_config_row_find(key, &id)) {
            if (!json_is_null(value))
                err = set_from_json(config, id, value);
            if (err != TS_OK)
                TS_CONTEXT("%s", key);
        } else if (!ts_config_row_is_group(key)) {
            err = fail_unknown(key);
        } else if (json_is_object(value)) {
            strcat(key, ".");
            err = set_from_object(config, key, value);
        } else if (!json_is_null(value)) {
            err = TS_FAIL(TS_E_CONFIG, "%s: must be an object", key);
        }
        if (err != TS_OK)
            return err;
    }
    return TS_OK;
}

/* The parser's own text quotes the bytes near a fault, which may be the admin key. */
static enum ts_err
fail_json(const json_error_t *fault)
{
    const char *what = "not valid JSON";

    switch (json_error_code(fault)) {
    case json_error_premature_end_of_input:
        what = "the JSON ends too early";
        break;
    case json_error_duplicate_key:
        what = "a key is there twice";
        break;
    case json_error_invalid_utf8:
        what = "not UTF-8";
        break;
    case json_error_out_of_memory:
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    default:
        break;
    }
    return TS_FAIL(TS_E_CONFIG, "%s at line %d, column %d", what, fault->line, fault->column);
}

enum ts_err
ts_config_parse(struct ts_config *config, const char *text, size_t bytes)
{
    json_error_t fault;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &fault);
    enum ts_err err;

    if (root == NULL)
        return fail_json(&fault);
    if (json_is_object(root))
        err = set_from_object(config, "", root);
    else
        err = TS_FAIL(TS_E_CONFIG, "must be a JSON object");
    json_decref(root);
    derive(config);
    return err;
}

static const char *
env_of(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

static enum ts_err
load_file(struct ts_config *config, const char *config_flag)
{
    const char *path = config_flag != NULL ? config_flag : env_of("TSSTORE_CONFIG");
    char *text = NULL;
    enum ts_err err;
    size_t n = 0;

    if (path == NULL)
        path = DEFAULT_FILE;
    if (strlen(path) >= sizeof config->file)
        return TS_FAIL(TS_E_CONFIG, "path is longer than %zu bytes", sizeof config->file - 1);
    err = ts_smallfile_read_path(path, FILE_LIMIT_BYTES, &text, &n);
    if (err == TS_E_NOT_FOUND && config_flag == NULL)
        return TS_OK;
    if (err != TS_OK)
        return TS_E_CONFIG; /* the text says what happened to which file */
    err = ts_config_parse(config, text, n);
    if (err != TS_OK)
        TS_CONTEXT("%s", path);
    else
        snprintf(config->file, sizeof config->file, "%s", path);
    explicit_bzero(text, n);
    free(text);
    return err;
}

static enum ts_err
load_env(struct ts_config *config)
{
    for (unsigned id = 0; id < TS_ROW_N; id++) {
        const char *value = ts_config_rows[id].env != NULL ? env_of(ts_config_rows[id].env) : NULL;
        enum ts_err err;

        if (value == NULL)
            continue;
        err = ts_config_row_set(config, (enum ts_config_row_id)id, value, TS_SOURCE_ENV);
        if (err != TS_OK) {
            TS_CONTEXT("%s", ts_config_rows[id].env);
            return err;
        }
    }
    derive(config);
    return TS_OK;
}

enum ts_err
ts_config_load(struct ts_config *config, const char *config_flag)
{
    struct ts_config loaded;
    enum ts_err err;

    ts_config_init(&loaded);
    err = load_file(&loaded, config_flag);
    if (err == TS_OK)
        err = load_env(&loaded);
    if (err == TS_OK)
        *config = loaded;
    else
        TS_CONTEXT("Failed to load config");
    ts_config_wipe(&loaded);
    return err;
}

enum ts_err
ts_config_set_flag(struct ts_config *config, const char *key, const char *value)
{
    struct ts_config changed = *config;
    enum ts_config_row_id id;
    enum ts_err err;

    if (!ts_config_row_find(key, &id)) {
        err = fail_unknown(key);
        goto out;
    }
    if ((ts_config_rows[id].flags & TS_ROW_IS_SECRET) != 0)
        err = TS_FAIL(TS_E_USAGE, "not on the command line, where ps shows it: use %s, or %s",
                      "server.admin_key_file", ts_config_rows[id].env);
    else if (value[0] == '\0' && (ts_config_rows[id].flags & TS_ROW_MAY_BE_EMPTY) == 0)
        err = TS_FAIL(TS_E_USAGE, "needs a value");
    else
        err = ts_config_row_set(&changed, id, value, TS_SOURCE_FLAG);
    if (err != TS_OK) {
        TS_CONTEXT("%s", key);
        goto out;
    }
    derive(&changed);
    *config = changed;
out:
    ts_config_wipe(&changed);
    return err == TS_OK ? TS_OK : TS_E_USAGE;
}

/* ---- the admin key ---- */

static enum ts_err
read_secret(struct ts_config *config, const char *path, enum ts_config_source source)
{
    char *text = NULL;
    enum ts_err err;
    size_t n = 0;

    err = ts_smallfile_read_path(path, SECRET_FILE_LIMIT_BYTES, &text, &n);
    if (err != TS_OK)
        return err;
    while (n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL && text[n - 1] != '\0')
        text[--n] = '\0';
    if (strlen(text) != n)
        err = TS_FAIL(TS_E_CONFIG, "contains a NUL");
    else
        err = ts_config_row_set(config, TS_ROW_ADMIN_KEY, text, source);
    if (err != TS_OK)
        TS_CONTEXT("%s", path);
    else
        ts_config_row_note(config, TS_ROW_ADMIN_KEY, TS_ROW_ADMIN_KEY_FILE, source);
    explicit_bzero(text, n);
    free(text);
    return err;
}

/* True if systemd passed one: *err is then how reading it went. */
static bool
read_credential(struct ts_config *config, enum ts_err *err)
{
    const char *dir = env_of("CREDENTIALS_DIRECTORY");
    char path[TS_CONFIG_PATH_BYTES];

    if (dir == NULL || strlen(dir) + sizeof "/" CREDENTIAL_NAME > sizeof path)
        return false;
    snprintf(path, sizeof path, "%s/%s", dir, CREDENTIAL_NAME);
    if (access(path, F_OK) != 0)
        return false;
    *err = read_secret(config, path, TS_SOURCE_CREDENTIAL);
    return true;
}

enum ts_err
ts_config_read_admin_key(struct ts_config *config)
{
    const enum ts_config_source key_source = config->sources[TS_ROW_ADMIN_KEY];
    const enum ts_config_source file_source = config->sources[TS_ROW_ADMIN_KEY_FILE];
    /* What an earlier call put there does not count: its file may have changed. */
    const bool is_read = key_source == TS_SOURCE_DERIVED || key_source == TS_SOURCE_CREDENTIAL;
    const enum ts_config_source given = is_read ? TS_SOURCE_DEFAULT : key_source;
    enum ts_err err = TS_OK;

    if (given != TS_SOURCE_DEFAULT && given == file_source)
        return TS_FAIL(TS_E_CONFIG, "server.admin_key and server.admin_key_file are both set: "
                                    "only one of them can count");
    if (is_read) {
        ts_config_wipe(config);
        ts_config_row_note(config, TS_ROW_ADMIN_KEY, TS_ROW_ADMIN_KEY, TS_SOURCE_DEFAULT);
    }
    if (given < TS_SOURCE_CREDENTIAL && file_source < TS_SOURCE_CREDENTIAL &&
        read_credential(config, &err))
        return err == TS_OK ? TS_OK : TS_E_CONFIG;
    if (file_source <= given)
        return TS_OK;
    err = read_secret(config, config->admin_key_file, TS_SOURCE_DERIVED);
    if (err == TS_OK)
        return TS_OK;
    TS_CONTEXT("server.admin_key_file");
    return TS_E_CONFIG;
}

/* ---- what a daemon needs ---- */

enum ts_err
ts_config_check_files(const struct ts_config *config)
{
    const bool has_cert = config->tls_cert_file[0] != '\0';
    const bool has_key = config->tls_key_file[0] != '\0';

    if (has_cert != has_key)
        return TS_FAIL(TS_E_CONFIG, "TLS requires both cert and key: set both TSSTORE_TLS_CERT "
                                    "and TSSTORE_TLS_KEY");
    if (has_cert && access(config->tls_cert_file, F_OK) != 0)
        return TS_FAIL(TS_E_CONFIG, "TLS certificate file not found: %s", config->tls_cert_file);
    if (has_key && access(config->tls_key_file, F_OK) != 0)
        return TS_FAIL(TS_E_CONFIG, "TLS key file not found: %s", config->tls_key_file);
    if (strlen(config->run_dir) > TS_CONFIG_RUN_DIR_MAX)
        return TS_FAIL(TS_E_CONFIG, "Run directory is longer than %d bytes, no socket fits: %s",
                       TS_CONFIG_RUN_DIR_MAX, config->run_dir);
    return TS_OK;
}

enum ts_err
ts_config_check_serve(struct ts_config *config)
{
    enum ts_err err = ts_config_read_admin_key(config);

    if (err != TS_OK)
        return err;
    if (config->admin_key[0] == '\0')
        return TS_FAIL(TS_E_CONFIG, "Admin key required: set TSSTORE_ADMIN_KEY environment "
                                    "variable or admin_key in config");
    if (strlen(config->admin_key) < TS_CONFIG_ADMIN_KEY_MIN)
        return TS_FAIL(TS_E_CONFIG, "Admin key must be at least %d characters",
                       TS_CONFIG_ADMIN_KEY_MIN);
    return ts_config_check_files(config);
}

void
ts_config_wipe(struct ts_config *config)
{
    explicit_bzero(config->admin_key, sizeof config->admin_key);
}
