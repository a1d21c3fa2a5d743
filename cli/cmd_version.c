/* cmd_version.c - tsstore version. */
#include "cli/output.h"
#include "cli/verbs.h"

static int
run(void *args)
{
    const struct cli_common *common = args;

    if (common->wants_json)
        printf("{\"version\":\"%s\"}\n", ts_version());
    else
        printf("tsstore v%s\n", ts_version());
    return 0;
}

const struct cli_verb cmd_version = {
    .name = "version",
    .arguments = "",
    .summary = "Show the version",
    .args_bytes = sizeof(struct cli_common),
    .run = run,
};
