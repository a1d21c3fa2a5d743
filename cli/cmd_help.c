/* cmd_help.c - tsstore help [command]. */
#include "cli/output.h"
#include "cli/verbs.h"

#include <string.h>

static void
all_json(struct ts_text *out)
{
    ts_text_puts(out, "{\"commands\":[");
    for (size_t i = 0; i < cli_n_verbs; i++) {
        ts_text_puts(out, i == 0 ? "" : ",");
        cli_help_json(cli_verbs[i], out);
    }
    ts_text_puts(out, "]}");
}

static int
run(void *args)
{
    const struct cli_common *common = args;
    const struct cli_verb *verb = NULL;
    const char *group = NULL;
    int n_words = 0;
    struct ts_text out;
    enum ts_err err;

    if (common->n_arguments > 0) {
        verb = cli_find_verb((char *const *)common->arguments, (int)common->n_arguments, &n_words);
        group = cli_is_group(common->arguments[0]) ? common->arguments[0] : NULL;
        if (verb == NULL && group == NULL) {
            err = TS_FAIL(TS_E_USAGE, "Unknown command: %.64s", common->arguments[0]);
            return cli_fail(common, err, NULL);
        }
    }
    ts_text_init(&out);
    if (common->wants_json && verb == NULL)
        all_json(&out);
    else if (common->wants_json)
        cli_help_json(verb, &out);
    else if (verb != NULL)
        cli_help(verb, &out);
    else
        cli_usage(group, &out);
    if (common->wants_json)
        ts_text_puts(&out, "\n");
    err = cli_print(&out);
    ts_text_done(&out);
    return err == TS_OK ? 0 : cli_fail(common, err, NULL);
}

const struct cli_verb cmd_help = {
    .name = "help",
    .arguments = "[command]",
    .summary = "Show the commands, or one of them",
    .max_arguments = 2,
    .args_bytes = sizeof(struct cli_common),
    .run = run,
};
