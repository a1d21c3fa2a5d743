/* cmd_status.c - tsstore status: is the server there, and how are the stores?
 *
 * The server is asked two questions that need no key; all else is read from the files, which a
 * server that writes them does not notice.
 */
#include "cli/http_get.h"
#include "cli/output.h"
#include "cli/store_status.h"
#include "cli/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define TIMEOUT_MS 2000

struct status_args {
    struct cli_common common;
    bool offline;
};

static const struct cli_option options[] = {
    {.name = "offline",
     .kind = CLI_FLAG,
     .help = "do not ask the server",
     .offset = offsetof(struct status_args, offline)},
};

struct status {
    struct ts_config config;
    bool is_running;
    struct ts_text url;
    json_t *names; /* owned; array of strings */
};

/* ---- what the server says ---- */

/* The strings of {"stores":[…]}, or NULL. */
static json_t *
names_of_answer(const struct http_got *got)
{
    json_t *root = json_loadb(got->body.at, got->body.bytes, 0, NULL);
    json_t *stores = json_object_get(root, "stores");
    json_t *names = json_is_array(stores) || json_is_null(stores) ? json_array() : NULL;

    for (size_t i = 0; i < json_array_size(stores); i++) {
        json_t *name = json_array_get(stores, i);

        if (json_is_string(name))
            json_array_append(names, name);
    }
    json_decref(root);
    return names;
}

/* Sets is_running, and names if the server has told them. */
static void
ask_server(struct status *status)
{
    const struct ts_config *config = &status->config;
    const struct http_place place = {
        .host = config->host, .port = config->port, .has_tls = config->tls_cert_file[0] != '\0'};
    struct http_got got;
    struct ts_text text;

    ts_text_init(&text);
    http_place_url(&place, &status->url);
    status->is_running =
        http_get(&place, "/health", TIMEOUT_MS, &text, &got) == TS_OK && got.status == 200;
    if (status->is_running && http_get(&place, "/api/stores", TIMEOUT_MS, &text, &got) == TS_OK &&
        got.status == 200)
        status->names = names_of_answer(&got);
    ts_text_done(&text);
}

/* The names of the data directory; none if there is no such directory. */
static enum ts_err
list_files(struct status *status)
{
    const char *dir = status->config.base_path;
    char **names = NULL;
    struct stat st;
    size_t n = 0;
    enum ts_err err;

    status->names = json_array();
    if (stat(dir, &st) != 0 && errno == ENOENT)
        return TS_OK;
    err = ts_store_list(dir, &names, &n);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(status->names, json_string(names[i]));
    free(names);
    return err;
}

/* ---- what is shown ---- */

static void
show_text(const struct status *status, struct ts_text *out)
{
    const size_t n = json_array_size(status->names);
    struct store_status store;

    ts_text_puts(out, "=== Store Status ===\nServer: ");
    if (status->is_running)
        ts_text_printf(out, "%.*s (running)\n\n", (int)status->url.bytes, status->url.at);
    else
        ts_text_puts(out, "not running\n\n");
    if (n == 0 && status->is_running)
        ts_text_puts(out, "No stores open\n");
    else if (n == 0)
        ts_text_printf(out, "No stores found (data path: %s)\n", status->config.base_path);
    for (size_t i = 0; i < n; i++) {
        store_status_read(status->config.base_path,
                          json_string_value(json_array_get(status->names, i)), &store);
        store_status_text(&store, status->is_running, out);
        store_status_done(&store);
    }
}

static enum ts_err
show_json(const struct status *status, struct ts_text *out)
{
    json_t *root = json_pack("{s:b}", "server_running", status->is_running);
    json_t *stores = json_array();
    struct store_status store;
    char *text;
    int rc = 0;

    if (status->is_running)
        rc = json_object_set_new(root, "server_url",
                                 json_stringn(status->url.at, status->url.bytes));
    for (size_t i = 0; i < json_array_size(status->names); i++) {
        store_status_read(status->config.base_path,
                          json_string_value(json_array_get(status->names, i)), &store);
        rc |= json_array_append_new(stores, store_status_json(&store, status->is_running));
        store_status_done(&store);
    }
    rc |= json_object_set_new(root, "stores", stores);
    text = rc == 0 ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(root);
    if (text == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    ts_text_puts(out, text);
    ts_text_puts(out, "\n");
    free(text);
    return TS_OK;
}

static int
run(void *arguments)
{
    const struct status_args *args = arguments;
    struct status status = {0};
    struct ts_text out;
    enum ts_err err = cli_load_config(&args->common, &status.config);

    if (err != TS_OK)
        return cli_fail(&args->common, err, NULL);
    ts_config_wipe(&status.config);
    ts_text_init(&out);
    ts_text_init(&status.url);
    if (!args->offline)
        ask_server(&status);
    if (status.names == NULL)
        err = list_files(&status);
    if (err == TS_OK && args->common.wants_json)
        err = show_json(&status, &out);
    else if (err == TS_OK)
        show_text(&status, &out);
    if (err == TS_OK)
        err = cli_print(&out);
    json_decref(status.names);
    ts_text_done(&status.url);
    ts_text_done(&out);
    return err == TS_OK ? 0 : cli_fail(&args->common, err, NULL);
}

const struct cli_verb cmd_status = {
    .name = "status",
    .arguments = "",
    .summary = "Show whether the server runs, and all stores",
    .notes = "The server of server.host and server.port is asked for its health and the names of\n"
             "its stores; everything else is read from the files, which changes nothing there.\n",
    .options = options,
    .n_options = COUNTOF(options),
    .has_data_options = true,
    .args_bytes = sizeof(struct status_args),
    .run = run,
};
