/* cmd_config.c - tsstore config explain: each value that holds, and why this one. */
#include "cli/explain.h"
#include "cli/output.h"
#include "cli/verbs.h"

struct explain_args {
    struct cli_common common;
    const char *http, *ingest_http, *socket, *run_dir, *admin_key_file;
};

#define TEXT_ROW(option, field, value)                                                             \
    {                                                                                              \
        .name = option, .kind = CLI_TEXT, .placeholder = value,                                    \
        .help = "as for 'serve' and the daemons", .offset = offsetof(struct explain_args, field)   \
    }

static const struct cli_option options[] = {
    TEXT_ROW("http", http, "HOST:PORT"),
    TEXT_ROW("ingest-http", ingest_http, "HOST:PORT"),
    TEXT_ROW("socket", socket, "PATH"),
    TEXT_ROW("run-dir", run_dir, "DIR"),
    TEXT_ROW("admin-key-file", admin_key_file, "FILE"),
};

static enum ts_err
load(const struct explain_args *args, struct ts_config *out_config)
{
    const struct {
        const char *key, *option, *value;
    } flags[] = {
        {"server.http", "--http", args->http},
        {"server.ingest_http", "--ingest-http", args->ingest_http},
        {"server.socket_path", "--socket", args->socket},
        {"server.run_dir", "--run-dir", args->run_dir},
        {"server.admin_key_file", "--admin-key-file", args->admin_key_file},
    };
    enum ts_err err = cli_load_config(&args->common, out_config);

    for (size_t i = 0; i < COUNTOF(flags) && err == TS_OK; i++) {
        if (flags[i].value == NULL)
            continue;
        err = ts_config_set_flag(out_config, flags[i].key, flags[i].value);
        if (err != TS_OK)
            TS_CONTEXT("%s", flags[i].option);
    }
    return err;
}

static int
run(void *arguments)
{
    const struct explain_args *args = arguments;
    struct ts_config config;
    struct ts_text out;
    enum ts_err err = load(args, &config);

    if (err != TS_OK)
        return cli_fail(&args->common, err, NULL);
    /* Whoever asks need not be who may read the key's file; the other values are still true. */
    if (ts_config_read_admin_key(&config) != TS_OK)
        cli_notice("%s", ts_error_text());
    ts_text_init(&out);
    if (args->common.wants_json)
        explain_json(&config, &out);
    else
        explain_text(&config, &out);
    ts_config_wipe(&config);
    err = cli_print(&out);
    ts_text_done(&out);
    return err == TS_OK ? 0 : cli_fail(&args->common, err, NULL);
}

const struct cli_verb cmd_config_explain = {
    .name = "config explain",
    .arguments = "",
    .summary = "Show each setting and where it came from",
    .notes = "Default, then the file, then the environment, then the command line; the last one\n"
             "that sets a value wins. Secrets are never shown, only that they are set.\n",
    .options = options,
    .n_options = COUNTOF(options),
    .has_data_options = true,
    .args_bytes = sizeof(struct explain_args),
    .run = run,
};
