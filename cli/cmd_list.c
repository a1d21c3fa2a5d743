/* cmd_list.c - tsstore list: what is below the data directory. */
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/when.h"

#include <inttypes.h>
#include <stdlib.h>

/* A store that can't be read has its reason in the place of its numbers; the others are shown. */
static void
add_store(const char *data_dir, const char *name, bool as_json, struct ts_text *out)
{
    struct ts_view *view = NULL;
    struct ts_stats stats;
    char newest[CLI_TIME_BYTES] = "-", size[CLI_HUMAN_BYTES];
    enum ts_err err = ts_view_open(data_dir, name, &view);
    const char *type;

    if (err == TS_OK)
        err = ts_view_stats(view, &stats);
    if (as_json)
        cli_json_text(out, "{", "name", name);
    else
        ts_text_printf(out, "%-24s ", name);
    if (err != TS_OK) {
        if (as_json)
            cli_json_text(out, ",", "error", ts_error_text());
        else
            ts_text_printf(out, "Error: %s\n", ts_error_text());
        goto out;
    }
    type = ts_type_name(ts_view_options(view)->type);
    if (stats.has_records)
        cli_time_text(stats.newest_time_ns, newest);
    if (as_json) {
        cli_json_text(out, ",", "data_type", type);
        cli_json_number(out, ",", "record_count", (int64_t)stats.n_records);
        cli_json_number(out, ",", "file_bytes", (int64_t)stats.file_bytes);
        if (stats.has_records)
            cli_json_number(out, ",", "newest_timestamp", stats.newest_time_ns);
    } else {
        cli_human_bytes(stats.file_bytes, size);
        ts_text_printf(out, "%-7s %12" PRIu64 " %11s  %s\n", type, stats.n_records, size, newest);
    }
out:
    if (as_json)
        ts_text_puts(out, "}");
    ts_view_close(view);
}

static int
run(void *args)
{
    const struct cli_common *common = args;
    struct ts_config config;
    char **names = NULL;
    struct ts_text out;
    size_t n = 0;
    enum ts_err err = cli_load_config(common, &config);

    if (err == TS_OK)
        err = ts_store_list(config.base_path, &names, &n);
    if (err != TS_OK)
        return cli_fail(common, err, NULL);
    ts_text_init(&out);
    if (common->wants_json)
        ts_text_puts(&out, "{\"stores\":[");
    else if (n == 0)
        ts_text_printf(&out, "No stores found (data path: %s)\n", config.base_path);
    else
        ts_text_printf(&out, "%-24s %-7s %12s %11s  %s\n", "NAME", "TYPE", "RECORDS", "SIZE",
                       "NEWEST");
    for (size_t i = 0; i < n; i++) {
        if (common->wants_json && i > 0)
            ts_text_puts(&out, ",");
        add_store(config.base_path, names[i], common->wants_json, &out);
    }
    if (common->wants_json)
        ts_text_puts(&out, "]}\n");
    free(names);
    ts_config_wipe(&config);
    err = cli_print(&out);
    ts_text_done(&out);
    return err == TS_OK ? 0 : cli_fail(common, err, NULL);
}

const struct cli_verb cmd_list = {
    .name = "list",
    .arguments = "",
    .summary = "List the stores of the data directory",
    .has_data_options = true,
    .args_bytes = sizeof(struct cli_common),
    .run = run,
};
