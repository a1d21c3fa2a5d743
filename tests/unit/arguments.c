/* arguments.c - the table of options: what it takes, what it refuses, what it says. */
#include "cli/arguments.h"

#include <criterion/criterion.h>
#include <string.h>

struct args {
    struct cli_common common;
    struct cli_number blocks, wait, when;
    const char *type;
    bool follow;
};

static const struct cli_option options[] = {
    {.name = "blocks",
     .letter = 'n',
     .kind = CLI_NUMBER,
     .placeholder = "N",
     .help = "how many",
     .offset = offsetof(struct args, blocks),
     .min = 1,
     .max = 4294967295},
    {.name = "wait",
     .kind = CLI_DURATION,
     .placeholder = "DURATION",
     .help = "how long",
     .offset = offsetof(struct args, wait),
     .min = 1000,
     .max = 60000000000},
    {.name = "when",
     .kind = CLI_TIME,
     .placeholder = "TIME",
     .help = "at which time",
     .offset = offsetof(struct args, when)},
    {.name = "type",
     .kind = CLI_TEXT,
     .placeholder = "TYPE",
     .help = "which type",
     .offset = offsetof(struct args, type)},
    {.name = "follow",
     .letter = 'f',
     .kind = CLI_FLAG,
     .help = "go on",
     .offset = offsetof(struct args, follow)},
};

static const struct cli_verb verb = {
    .name = "make",
    .arguments = "<name>",
    .summary = "Make something",
    .options = options,
    .n_options = COUNTOF(options),
    .has_data_options = true,
    .min_arguments = 1,
    .max_arguments = 2,
    .missing_text = "Error: store name required",
    .args_bytes = sizeof(struct args),
};

/* Parses the words of `line`, which blanks separate; `storage` keeps them. */
static enum ts_err
parse(const char *line, char storage[256], struct args *out)
{
    char *words[16];
    int n = 0;

    memset(out, 0, sizeof *out);
    snprintf(storage, 256, "%s", line);
    for (char *word = strtok(storage, " "); word != NULL && n < 16; word = strtok(NULL, " "))
        words[n++] = word;
    return cli_parse(&verb, n, words, &out->common);
}

Test(arguments, takes_values_in_every_form)
{
    static const char *const lines[] = {
        "boiler --blocks 7 --type json -f",
        "--blocks=7 --type=json --follow boiler",
        "-n 7 --type json -f boiler",
        "-n7 --follow --type json -- boiler",
        "--blocks 9 --blocks 7 boiler --type text --type json -f",
    };

    for (size_t i = 0; i < COUNTOF(lines); i++) {
        char storage[256];
        struct args args;

        cr_expect_eq(parse(lines[i], storage, &args), TS_OK, "%s: %s", lines[i], ts_error_text());
        cr_expect(args.blocks.is_given && args.blocks.value == 7, "%s", lines[i]);
        cr_expect(args.follow, "%s", lines[i]);
        cr_expect_str_eq(args.type, "json", "%s", lines[i]);
        cr_assert_eq(args.common.n_arguments, 1, "%s", lines[i]);
        cr_expect_str_eq(args.common.arguments[0], "boiler", "%s", lines[i]);
    }
}

Test(arguments, takes_a_dash_and_what_stands_behind_two_dashes_as_arguments)
{
    char storage[256];
    struct args args;

    cr_assert_eq(parse("- -- --type", storage, &args), TS_OK);
    cr_expect_str_eq(args.common.arguments[0], "-");
    cr_expect_str_eq(args.common.arguments[1], "--type");
    cr_expect_null(args.type);
}

Test(arguments, knows_the_options_that_all_verbs_have)
{
    char storage[256];
    struct args args;

    cr_assert_eq(parse("s --path /d --config c.json --json", storage, &args), TS_OK);
    cr_expect_str_eq(args.common.data_dir, "/d");
    cr_expect_str_eq(args.common.config, "c.json");
    cr_expect(args.common.wants_json);
    cr_assert_eq(parse("s --data=/e", storage, &args), TS_OK);
    cr_expect_str_eq(args.common.data_dir, "/e");
}

Test(arguments, stops_at_help_whatever_comes_behind_it)
{
    char storage[256];
    struct args args;

    cr_expect_eq(parse("--help --nonsense", storage, &args), TS_OK);
    cr_expect(args.common.wants_help);
    cr_expect_eq(parse("-h", storage, &args), TS_OK);
    cr_expect(args.common.wants_help);
}

static const struct {
    const char *line;
    const char *text; /* part of what is said */
} refused[] = {
    {"", "Error: store name required"},
    {"a b c", "takes no argument \"c\""},
    {"a --nonsense", "unknown option --nonsense of 'make'"},
    {"a --block 3", "did you mean --blocks?"},
    {"a --blocsk=3", "did you mean --blocks?"},
    {"a --folow", "did you mean --follow?"},
    {"a -x", "unknown option -x"},
    {"a -fn3", "unknown option -fn3"},
    {"a --follow=yes", "--follow takes no value"},
    {"a --type", "--type needs a value: TYPE"},
    {"a -n", "--blocks needs a value: N"},
    {"a --blocks=", "is not a number"},
    {"a --blocks x", "--blocks: \"x\" is not a number"},
    {"a --blocks 1x", "is not a number"},
    {"a --blocks 1.5", "is not a number"},
    {"a --blocks 0x10", "is not a number"},
    {"a --blocks +1", "is not a number"},
    {"a --blocks -", "is not a number"},
    {"a --blocks 0", "out of range: 1 to 4294967295"},
    {"a --blocks -1", "out of range"},
    {"a --blocks 4294967296", "out of range"},
    {"a --blocks 99999999999999999999999999", "out of range"},
    {"a --wait 5y", "--wait: "},
    {"a --wait 5", "--wait: "},
    {"a --wait 1ns", "--wait: 1ns is out of range"},
    {"a --wait -5s", "out of range"},
    {"a --wait 2m", "out of range"},
    {"a --when noon", "--when: cannot read time \"noon\""},
    {"a --when 9223372036854775808", "cannot read time"},
};

Test(arguments, refuses_what_it_does_not_understand_and_says_what)
{
    for (size_t i = 0; i < COUNTOF(refused); i++) {
        char storage[256];
        struct args args;

        cr_expect_eq(parse(refused[i].line, storage, &args), TS_E_USAGE, "%s", refused[i].line);
        cr_expect_not_null(strstr(ts_error_text(), refused[i].text), "%s: %s", refused[i].line,
                           ts_error_text());
    }
}

Test(arguments, survives_an_option_of_any_length)
{
    static char option[100000] = "--";
    char *words[] = {option};
    struct args args = {0};

    memset(option + 2, 'b', sizeof option - 3);
    cr_expect_eq(cli_parse(&verb, 1, words, &args.common), TS_E_USAGE);
    option[5] = '=';
    cr_expect_eq(cli_parse(&verb, 1, words, &args.common), TS_E_USAGE);
    option[1] = 'b';
    cr_expect_eq(cli_parse(&verb, 1, words, &args.common), TS_E_USAGE);
}

Test(arguments, reads_durations_and_times_as_nanoseconds)
{
    char storage[256];
    struct args args;

    cr_assert_eq(parse("s --wait 1.5s --when -5", storage, &args), TS_OK, "%s", ts_error_text());
    cr_expect_eq(args.wait.value, 1500000000);
    cr_expect_eq(args.when.value, -5);
    cr_assert_eq(parse("s --when 2026-01-01T00:00:00Z", storage, &args), TS_OK);
    cr_expect_eq(args.when.value, 1767225600000000000);
}

Test(arguments, reads_numbers_at_both_ends_of_their_type)
{
    int64_t value = 0;

    cr_expect_eq(cli_parse_number("9223372036854775807", INT64_MIN, INT64_MAX, &value), TS_OK);
    cr_expect_eq(value, INT64_MAX);
    cr_expect_eq(cli_parse_number("-9223372036854775808", INT64_MIN, INT64_MAX, &value), TS_OK);
    cr_expect_eq(value, INT64_MIN);
    cr_expect_eq(cli_parse_number("-9223372036854775809", INT64_MIN, INT64_MAX, &value),
                 TS_E_USAGE);
    cr_expect_eq(value, INT64_MIN, "untouched on failure");
}

Test(arguments, helps_with_every_option_of_the_table)
{
    struct ts_text help, json;

    ts_text_init(&help);
    ts_text_init(&json);
    cli_help(&verb, &help);
    cli_help_json(&verb, &json);
    ts_text_add(&help, "", 1);
    ts_text_add(&json, "", 1);
    cr_assert_not(help.failed || json.failed);
    cr_expect_not_null(strstr(help.at, "Usage: tsstore make <name> [options]"));
    for (size_t i = 0; i < COUNTOF(options); i++) {
        char row[64];

        snprintf(row, sizeof row, "--%s", options[i].name);
        cr_expect_not_null(strstr(help.at, row), "%s", row);
        snprintf(row, sizeof row, "{\"name\":\"%s\"", options[i].name);
        cr_expect_not_null(strstr(json.at, row), "%s", row);
    }
    cr_expect_not_null(strstr(help.at, "--path DIR"));
    cr_expect_not_null(strstr(help.at, "-h, --help"));
    ts_text_done(&help);
    ts_text_done(&json);
}

Test(arguments, finds_the_nearest_word_only_if_one_is_near)
{
    static const char *const words[] = {"create", "list", "stats", "query", "tail"};

    cr_expect_str_eq(cli_nearest("craete", words, COUNTOF(words)), "create");
    cr_expect_str_eq(cli_nearest("stat", words, COUNTOF(words)), "stats");
    cr_expect_str_eq(cli_nearest("tial", words, COUNTOF(words)), "tail");
    cr_expect_null(cli_nearest("nonsense", words, COUNTOF(words)));
    cr_expect_null(cli_nearest("", words, COUNTOF(words)));
}

Test(arguments, finds_no_word_near_when_one_is_of_any_length)
{
    static char endless[10000];
    const char *const words[] = {endless, "list"};

    memset(endless, 'l', sizeof endless - 1);
    cr_expect_str_eq(cli_nearest("lis", words, COUNTOF(words)), "list");
    cr_expect_null(cli_nearest(endless, words, COUNTOF(words)));
}
