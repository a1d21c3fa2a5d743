/* arguments.h - one table per verb drives parsing, help and the refusal of what is unknown.
 *
 * Purpose    Turn argv into a verb's argument struct, or say precisely what is wrong with it.
 * Invariant  The argument struct of every verb starts with struct cli_common; option rows say by
 *            offset where in it a value goes. Nothing is guessed: no abbreviations, no number cut
 *            short, no option swallowed as a name.
 * Ownership  Texts in the struct are views into argv.
 * Threads    None of its own; the tables are constant.
 * Errors     TS_E_USAGE with a text that names the option, the verb and, if one is near, the
 *            option that was probably meant. The struct may then be partly filled.
 * Units      Durations and times arrive as nanoseconds.
 */
#ifndef CLI_ARGUMENTS_H
#define CLI_ARGUMENTS_H

#include "common/error.h"
#include "common/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CLI_MAX_ARGUMENTS 4
#define COUNTOF(array) (sizeof(array) / sizeof((array)[0]))

/* What an option's value is, and the type of the field that `offset` points at. */
enum cli_kind {
    CLI_FLAG,     /* bool; takes no value */
    CLI_TEXT,     /* const char *, NULL when absent */
    CLI_NUMBER,   /* struct cli_number: decimal integer, min .. max */
    CLI_DURATION, /* struct cli_number: "1h30m" as nanoseconds, min .. max */
    CLI_TIME      /* struct cli_number: Unix nanoseconds, or RFC 3339 */
};

struct cli_number {
    bool is_given;
    int64_t value;
};

struct cli_option {
    const char *name; /* without the dashes */
    char letter;      /* short form, or 0 */
    enum cli_kind kind;
    const char *placeholder; /* of the value in the help; NULL for a flag */
    const char *help;
    size_t offset;
    int64_t min, max; /* of numbers and durations */
};

/* First member of each verb's argument struct. */
struct cli_common {
    bool wants_help, wants_json;
    const char *data_dir; /* of verbs with has_data_options; NULL when absent */
    const char *config;
    const char *arguments[CLI_MAX_ARGUMENTS]; /* what is not an option, in order */
    size_t n_arguments;
};

struct cli_verb {
    const char *name;      /* one or two words: "create", "key list" */
    const char *arguments; /* for the help: "<store> <id>", or "" */
    const char *summary;
    const char *notes; /* behind the options in the help, or NULL */
    const struct cli_option *options;
    size_t n_options;
    bool has_data_options;    /* --path, --data, --config */
    size_t min_arguments;     /* of what is not an option */
    size_t max_arguments;     /* at most CLI_MAX_ARGUMENTS */
    const char *missing_text; /* when there are fewer than min_arguments */
    size_t args_bytes;        /* of the argument struct; zeroed before parsing */
    int (*run)(void *args);   /* gives the exit code */
};

/* Fills *args (zeroed by the caller) from argv[0..argc). Stops at --help: then wants_help is set
 * and the rest of the line was not looked at. "--" ends the options, "-" alone is no option. */
enum ts_err cli_parse(const struct cli_verb *verb, int argc, char *const *argv,
                      struct cli_common *args) TS_MUST_USE;

/* The help page of one verb, as people read it and as programs do. */
void cli_help(const struct cli_verb *verb, struct ts_text *out);
void cli_help_json(const struct cli_verb *verb, struct ts_text *out);

/* The word of words[0..n) that `text` was probably meant to be, or NULL if none is near. */
const char *cli_nearest(const char *text, const char *const *words, size_t n);

/* Reads all of `text` as a decimal integer. TS_E_USAGE if it is none, or out of range. */
enum ts_err cli_parse_number(const char *text, int64_t min, int64_t max,
                             int64_t *out_value) TS_MUST_USE;

#endif
