/* main.c - tsstore: finds the verb, reads its options, runs it.
 *
 * Exit codes: 0 done, 1 failed or refused (wrong usage, too), 130 interrupted.
 */
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/verbs.h"
#include "common/log.h"

#include <assert.h>
#include <string.h>

#define MAX_ARGS_BYTES 1024

static int
print_and_exit(struct ts_text *text, int exit_code)
{
    static const struct cli_common plain;
    const enum ts_err err = cli_print(text);

    ts_text_done(text);
    return err == TS_OK ? exit_code : cli_fail(&plain, err, NULL);
}

static int
usage(const char *group, int exit_code)
{
    struct ts_text out;

    ts_text_init(&out);
    cli_usage(group, &out);
    return print_and_exit(&out, exit_code);
}

static int
show_help(const struct cli_verb *verb, bool as_json, int exit_code)
{
    struct ts_text out;

    ts_text_init(&out);
    if (as_json) {
        cli_help_json(verb, &out);
        ts_text_puts(&out, "\n");
    } else {
        cli_help(verb, &out);
    }
    return print_and_exit(&out, exit_code);
}

/* True if --json stands anywhere, for what went wrong before it was read. */
static bool
has_json_option(int argc, char *const *argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return true;
    }
    return false;
}

static int
run_verb(const struct cli_verb *verb, int argc, char *const *argv)
{
    /* Room for every verb's argument struct, which starts with a struct cli_common. */
    _Alignas(max_align_t) char storage[MAX_ARGS_BYTES] = {0};
    struct cli_common *args = (struct cli_common *)storage;
    enum ts_err err;

    assert(verb->args_bytes <= sizeof storage);
    err = cli_parse(verb, argc, argv, args);
    args->wants_json = args->wants_json || has_json_option(argc, argv);
    if (err == TS_OK && args->wants_help)
        return show_help(verb, args->wants_json, 0);
    if (err != TS_OK) {
        cli_fail(args, err, NULL);
        if (args->n_arguments < verb->min_arguments && !args->wants_json)
            return show_help(verb, false, 1);
        return 1;
    }
    return verb->run(args);
}

/* "key" alone, "key --help", "key nonsense". */
static int
run_group(const char *group, int argc, char *const *argv)
{
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0))
        return usage(group, 0);
    if (argc > 0)
        fprintf(stderr, "Unknown %s subcommand: %.64s\n", group, argv[0]);
    return usage(group, 1);
}

static int
unknown_command(const char *word)
{
    const char *names[32];
    const char *near;
    size_t n = 0;

    for (; n < cli_n_verbs && n < COUNTOF(names); n++)
        names[n] = cli_verbs[n]->name;
    near = cli_nearest(word, names, n);
    fprintf(stderr, "Unknown command: %.64s\n", word);
    if (near != NULL)
        fprintf(stderr, "Did you mean '%s'?\n", near);
    return usage(NULL, 1);
}

static int
dispatch(int argc, char **argv)
{
    const struct cli_verb *verb;
    int n_words = 0;

    if (argc < 2)
        return usage(NULL, 1);
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
        return run_verb(&cmd_help, argc - 2, argv + 2);
    if (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0)
        return run_verb(&cmd_version, argc - 2, argv + 2);
    verb = cli_find_verb(argv + 1, argc - 1, &n_words);
    if (verb != NULL)
        return run_verb(verb, argc - 1 - n_words, argv + 1 + n_words);
    if (cli_is_group(argv[1]))
        return run_group(argv[1], argc - 2, argv + 2);
    return unknown_command(argv[1]);
}

int
main(int argc, char **argv)
{
    const struct cli_common plain = {0};
    int exit_code;
    enum ts_err err;

    ts_log_init("tsstore", TS_LOG_INFO);
    exit_code = dispatch(argc, argv);
    err = cli_flush();
    if (err != TS_OK && exit_code == 0 && !cli_stop_asked())
        exit_code = cli_fail(&plain, err, NULL);
    return exit_code;
}
