/* store_status.c - a look at the files of a store, and its two forms. */
#include "cli/store_status.h"

#include "cli/output.h"
#include "common/smallfile.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECTIONS_LIMIT_BYTES (16u * 1024u * 1024u)

/* ---- reading ---- */

/* The array of connections in a file of the store. A missing file is no error. */
static enum ts_err
read_connections(const char *store_dir, const char *file, json_t **out)
{
    char *text = NULL;
    json_t *root = NULL, *connections;
    enum ts_err err;
    int dir_fd = -1;
    size_t n = 0;

    err = ts_smallfile_open_dir(store_dir, &dir_fd);
    if (err == TS_OK)
        err = ts_smallfile_read(dir_fd, file, CONNECTIONS_LIMIT_BYTES, &text, &n, NULL);
    if (dir_fd >= 0)
        close(dir_fd);
    if (err != TS_OK)
        return err == TS_E_NOT_FOUND ? TS_OK : err;
    root = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    explicit_bzero(text, n); /* it has passwords */
    free(text);
    connections = json_object_get(root, "connections");
    if (json_is_array(connections) && json_array_size(connections) > 0)
        *out = json_incref(connections);
    else if (!json_is_array(connections) && !json_is_null(connections))
        err = TS_FAIL(TS_E_CORRUPT, "%s: has no list of connections", file);
    json_decref(root);
    return err;
}

void
store_status_read(const char *data_dir, const char *name, struct store_status *out)
{
    char store_dir[PATH_MAX];
    struct ts_view *view = NULL;
    enum ts_err err = ts_view_open(data_dir, name, &view);

    *out = (struct store_status){.name = name};
    if (err == TS_OK)
        err = ts_view_stats(view, &out->stats);
    if (err == TS_OK) {
        out->has_stats = true;
        out->options = *ts_view_options(view);
        snprintf(store_dir, sizeof store_dir, "%s/%s", data_dir, name);
        err = read_connections(store_dir, "ws_connections.json", &out->ws);
    }
    if (err == TS_OK)
        err = read_connections(store_dir, "mqtt_connections.json", &out->mqtt);
    if (err != TS_OK)
        snprintf(out->error, sizeof out->error, "%s", ts_error_text());
    ts_view_close(view);
}

void
store_status_done(struct store_status *status)
{
    json_decref(status->ws);
    json_decref(status->mqtt);
    status->ws = status->mqtt = NULL;
}

double
store_status_percent(const struct store_status *status)
{
    return 100.0 * status->stats.active_blocks / status->options.num_blocks;
}

/* ---- for people ---- */

static void
add_field(const json_t *connection, const char *field, struct ts_text *out)
{
    const char *value = json_string_value(json_object_get(connection, field));

    if (value == NULL)
        value = "?";
    cli_add_visible(out, value, strlen(value));
}

/* `second`, if not NULL, is a field behind an arrow. */
static void
connections_text(const json_t *connections, const char *kind, bool is_running, const char *first,
                 const char *second, struct ts_text *out)
{
    if (connections == NULL)
        return;
    ts_text_printf(out, "  %s connections: %zu%s\n", kind, json_array_size(connections),
                   is_running ? "" : " (configured)");
    for (size_t i = 0; i < json_array_size(connections); i++) {
        const json_t *connection = json_array_get(connections, i);

        ts_text_puts(out, "    - ");
        add_field(connection, "id", out);
        ts_text_puts(out, ": ");
        add_field(connection, first, out);
        if (second != NULL) {
            ts_text_puts(out, " -> ");
            add_field(connection, second, out);
        }
        ts_text_puts(out, "\n");
    }
}

static void
stats_text(const struct store_status *status, struct ts_text *out)
{
    const struct ts_stats *stats = &status->stats;
    char active[CLI_GROUPED_BYTES], all[CLI_GROUPED_BYTES];
    char block[CLI_HUMAN_BYTES], total[CLI_HUMAN_BYTES];

    cli_grouped(stats->active_blocks, active);
    cli_grouped(status->options.num_blocks, all);
    cli_human_bytes(status->options.data_block_bytes, block);
    cli_human_bytes(stats->file_bytes, total);
    ts_text_printf(out, "  Type:         %s\n", ts_type_name(status->options.type));
    ts_text_printf(out, "  Blocks:       %s / %s (%.1f%% used)\n", active, all,
                   store_status_percent(status));
    ts_text_printf(out, "  Block size:   %s\n  Total size:   %s\n  Time range:   ", block, total);
    if (stats->has_records) {
        ts_text_time(out, stats->oldest_time_ns);
        ts_text_puts(out, " to ");
        ts_text_time(out, stats->newest_time_ns);
        ts_text_puts(out, "\n");
    } else {
        ts_text_puts(out, "(empty)\n");
    }
}

void
store_status_text(const struct store_status *status, bool is_running, struct ts_text *out)
{
    ts_text_puts(out, "Store: ");
    cli_add_visible(out, status->name, strlen(status->name));
    ts_text_puts(out, "\n");
    if (status->has_stats)
        stats_text(status, out);
    connections_text(status->ws, "WS", is_running, "url", NULL, out);
    connections_text(status->mqtt, "MQTT", is_running, "broker_url", "topic", out);
    if (status->error[0] != '\0') {
        ts_text_puts(out, "  Error: ");
        cli_add_visible(out, status->error, strlen(status->error));
        ts_text_puts(out, "\n");
    }
    ts_text_puts(out, "\n");
}

/* ---- for programs ---- */

static int
set_time(json_t *object, const char *name, int64_t time_ns)
{
    struct ts_text text;
    int rc;

    ts_text_init(&text);
    ts_text_time(&text, time_ns);
    rc = json_object_set_new(object, name, json_stringn(text.at, text.bytes));
    ts_text_done(&text);
    return rc;
}

/* Only the named fields: the others may be secrets. */
static json_t *
connections_json(const json_t *connections, bool is_running, const char *const *fields)
{
    json_t *out = json_array();

    for (size_t i = 0; i < json_array_size(connections); i++) {
        const json_t *connection = json_array_get(connections, i);
        json_t *shown = json_object();

        for (size_t j = 0; fields[j] != NULL; j++) {
            json_t *value = json_object_get(connection, fields[j]);

            if (json_is_string(value))
                json_object_set(shown, fields[j], value);
        }
        if (is_running)
            json_object_set_new(shown, "status", json_string("configured"));
        json_array_append_new(out, shown);
    }
    return out;
}

static int
stats_json(const struct store_status *status, json_t *out)
{
    const struct ts_options *options = &status->options;
    const struct ts_stats *stats = &status->stats;
    char human[CLI_HUMAN_BYTES];
    json_t *numbers;
    int rc;

    cli_human_bytes(stats->file_bytes, human);
    numbers =
        json_pack("{s:s, s:I, s:I, s:I, s:f}", "data_type", ts_type_name(options->type),
                  "num_blocks", (json_int_t)options->num_blocks, "data_block_size",
                  (json_int_t)options->data_block_bytes, "active_blocks",
                  (json_int_t)stats->active_blocks, "usage_percent", store_status_percent(status));
    rc = json_object_update(out, numbers);
    json_decref(numbers);
    if (stats->has_records) {
        rc |= set_time(out, "oldest_time", stats->oldest_time_ns);
        rc |= set_time(out, "newest_time", stats->newest_time_ns);
    }
    rc |= json_object_set_new(out, "file_size_bytes", json_integer((json_int_t)stats->file_bytes));
    rc |= json_object_set_new(out, "file_size_human", json_string(human));
    return rc;
}

json_t *
store_status_json(const struct store_status *status, bool is_running)
{
    static const char *const ws_fields[] = {"id", "url", NULL};
    static const char *const mqtt_fields[] = {"id", "broker_url", "topic", NULL};
    json_t *out = json_object();
    int rc = json_object_set_new(out, "name", json_string(status->name));

    if (status->has_stats)
        rc |= stats_json(status, out);
    if (status->ws != NULL)
        rc |= json_object_set_new(out, "ws_connections",
                                  connections_json(status->ws, is_running, ws_fields));
    if (status->mqtt != NULL)
        rc |= json_object_set_new(out, "mqtt_connections",
                                  connections_json(status->mqtt, is_running, mqtt_fields));
    /* json_stringn refuses what is no UTF-8, which a path in the text may be. */
    if (status->error[0] != '\0' &&
        json_object_set_new(out, "error", json_string(status->error)) != 0)
        rc |= json_object_set_new(out, "error", json_string("store cannot be read"));
    if (rc != 0) {
        json_decref(out);
        return NULL;
    }
    return out;
}
