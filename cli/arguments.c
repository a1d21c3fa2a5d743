/* arguments.c - parsing, help and refusals, all from the verb's table. */
#include "cli/arguments.h"

#include "cli/when.h"
#include "common/duration.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORD_BYTES 64 /* longer words are near to nothing */
#define HELP_COLUMN 30

static const struct cli_option common_options[] = {
    {.name = "help",
     .letter = 'h',
     .kind = CLI_FLAG,
     .help = "show this text",
     .offset = offsetof(struct cli_common, wants_help)},
    {.name = "json",
     .kind = CLI_FLAG,
     .help = "output for programs",
     .offset = offsetof(struct cli_common, wants_json)},
};

static const struct cli_option data_options[] = {
    {.name = "path",
     .kind = CLI_TEXT,
     .placeholder = "DIR",
     .help = "data directory (TSSTORE_DATA_PATH, store.base_path)",
     .offset = offsetof(struct cli_common, data_dir)},
    {.name = "data",
     .kind = CLI_TEXT,
     .placeholder = "DIR",
     .help = "the same as --path",
     .offset = offsetof(struct cli_common, data_dir)},
    {.name = "config",
     .kind = CLI_TEXT,
     .placeholder = "FILE",
     .help = "configuration file (TSSTORE_CONFIG, config.json)",
     .offset = offsetof(struct cli_common, config)},
};

/* The idx-th option of `verb`, its own first, or NULL behind the last. */
static const struct cli_option *
option_at(const struct cli_verb *verb, size_t idx)
{
    if (idx < verb->n_options)
        return &verb->options[idx];
    idx -= verb->n_options;
    if (verb->has_data_options) {
        if (idx < COUNTOF(data_options))
            return &data_options[idx];
        idx -= COUNTOF(data_options);
    }
    return idx < COUNTOF(common_options) ? &common_options[idx] : NULL;
}

/* Levenshtein distance, two rows. Words are shorter than MAX_WORD_BYTES. */
static size_t
distance(const char *a, const char *b)
{
    size_t row[MAX_WORD_BYTES + 1], n_b = strlen(b);

    for (size_t j = 0; j <= n_b; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            const size_t shorter = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;

            diagonal = row[j];
            row[j] = replaced < shorter ? replaced : shorter;
        }
    }
    return row[n_b];
}

const char *
cli_nearest(const char *text, const char *const *words, size_t n)
{
    const char *nearest = NULL;
    size_t best = strlen(text) / 3 + 1; /* one letter in three may be wrong */

    for (size_t i = 0; i < n; i++) {
        size_t d;

        if (strlen(words[i]) > MAX_WORD_BYTES)
            continue;
        d = distance(text, words[i]);
        if (d <= best && d < strlen(words[i]) && (nearest == NULL || d < best)) {
            best = d;
            nearest = words[i];
        }
    }
    return nearest;
}

enum ts_err
cli_parse_number(const char *text, int64_t min, int64_t max, int64_t *out_value)
{
    const bool negative = *text == '-';
    const char *at = text + negative;
    int64_t value = 0;
    bool fits = true;

    if (*at == '\0')
        return TS_FAIL(TS_E_USAGE, "\"%.64s\" is not a number", text);
    for (; *at != '\0'; at++) {
        const int digit = *at - '0';

        if (digit < 0 || digit > 9)
            return TS_FAIL(TS_E_USAGE, "\"%.64s\" is not a number", text);
        fits = fits && !__builtin_mul_overflow(value, 10, &value) &&
               !__builtin_add_overflow(value, negative ? -digit : digit, &value);
    }
    if (!fits || value < min || value > max)
        return TS_FAIL(TS_E_USAGE, "%.64s is out of range: %" PRId64 " to %" PRId64, text, min,
                       max);
    *out_value = value;
    return TS_OK;
}

static enum ts_err
parse_duration(const char *text, int64_t min_ns, int64_t max_ns, int64_t *out_ns)
{
    int64_t ns;
    enum ts_err err = ts_duration_parse(text, strlen(text), &ns);

    if (err != TS_OK)
        return TS_E_USAGE; /* with the reason that is already set */
    if (ns < min_ns || ns > max_ns)
        return TS_FAIL(TS_E_USAGE, "%.64s is out of range", text);
    *out_ns = ns;
    return TS_OK;
}

static enum ts_err
parse_time(const char *text, int64_t *out_ns)
{
    if (cli_parse_number(text, INT64_MIN, INT64_MAX, out_ns) == TS_OK)
        return TS_OK;
    return cli_time_parse(text, out_ns);
}

/* Stores the value of one option. `text` is NULL for a flag. */
static enum ts_err
set_value(const struct cli_option *option, const char *text, void *args)
{
    void *field = (char *)args + option->offset;
    struct cli_number number = {.is_given = true};
    enum ts_err err = TS_OK;

    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)field = true;
        return TS_OK;
    case CLI_TEXT:
        *(const char **)field = text;
        return TS_OK;
    case CLI_NUMBER:
        err = cli_parse_number(text, option->min, option->max, &number.value);
        break;
    case CLI_DURATION:
        err = parse_duration(text, option->min, option->max, &number.value);
        break;
    case CLI_TIME:
        err = parse_time(text, &number.value);
        break;
    }
    if (err != TS_OK) {
        TS_CONTEXT("--%s", option->name);
        return err;
    }
    *(struct cli_number *)field = number;
    return TS_OK;
}

static enum ts_err
unknown_option(const struct cli_verb *verb, const char *text)
{
    const char *names[64];
    const char *near;
    size_t n = 0, name_bytes;
    char name[MAX_WORD_BYTES + 1];

    name_bytes = strcspn(text, "=");
    snprintf(name, sizeof name, "%.*s", (int)(name_bytes < sizeof name ? name_bytes : 0), text);
    for (const struct cli_option *o; n < COUNTOF(names) && (o = option_at(verb, n)) != NULL; n++)
        names[n] = o->name;
    near = cli_nearest(name + strspn(name, "-"), names, n);
    if (near != NULL)
        return TS_FAIL(TS_E_USAGE, "unknown option %.*s of '%s': did you mean --%s?",
                       (int)(name_bytes < 80 ? name_bytes : 80), text, verb->name, near);
    return TS_FAIL(TS_E_USAGE, "unknown option %.*s of '%s'",
                   (int)(name_bytes < 80 ? name_bytes : 80), text, verb->name);
}

/* Finds the option that `text`, which starts with '-', names. *out_value is what stands behind
 * "=" or a letter, or NULL if the value is the next argument. */
static const struct cli_option *
find_option(const struct cli_verb *verb, const char *text, const char **out_value)
{
    const bool is_long = text[1] == '-';
    const char *name = text + 1 + is_long;
    const size_t bytes = strcspn(name, "=");
    const struct cli_option *option;

    for (size_t i = 0; (option = option_at(verb, i)) != NULL; i++) {
        if (is_long && strlen(option->name) == bytes && memcmp(option->name, name, bytes) == 0) {
            *out_value = name[bytes] == '=' ? name + bytes + 1 : NULL;
            return option;
        }
        if (!is_long && option->letter != 0 && option->letter == name[0]) {
            *out_value = name[1] != '\0' ? name + 1 : NULL;
            return option;
        }
    }
    return NULL;
}

/* One option and its value. *idx is moved to the last argument used. */
static enum ts_err
parse_option(const struct cli_verb *verb, int argc, char *const *argv, int *idx,
             struct cli_common *args)
{
    const char *text = argv[*idx], *value = NULL;
    const struct cli_option *option = find_option(verb, text, &value);

    if (option == NULL)
        return unknown_option(verb, text);
    if (option->kind == CLI_FLAG) {
        if (value != NULL && text[1] == '-')
            return TS_FAIL(TS_E_USAGE, "--%s takes no value", option->name);
        if (value != NULL) /* letters are not bundled: "-fn" is no "-f -n" */
            return unknown_option(verb, text);
    } else if (value == NULL) {
        if (*idx + 1 >= argc)
            return TS_FAIL(TS_E_USAGE, "--%s needs a value: %s", option->name, option->placeholder);
        value = argv[++*idx];
    }
    return set_value(option, value, args);
}

enum ts_err
cli_parse(const struct cli_verb *verb, int argc, char *const *argv, struct cli_common *args)
{
    bool options_end = false;

    for (int i = 0; i < argc; i++) {
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (!options_end && argv[i][0] == '-' && argv[i][1] != '\0') {
            const enum ts_err err = parse_option(verb, argc, argv, &i, args);

            if (err != TS_OK || args->wants_help)
                return err;
        } else if (args->n_arguments >= verb->max_arguments) {
            return TS_FAIL(TS_E_USAGE, "'%s' takes no argument \"%.64s\"", verb->name, argv[i]);
        } else {
            args->arguments[args->n_arguments++] = argv[i];
        }
    }
    if (args->n_arguments < verb->min_arguments)
        return TS_FAIL(TS_E_USAGE, "%s", verb->missing_text);
    return TS_OK;
}

static void
help_row(const struct cli_option *option, struct ts_text *out)
{
    char left[80];
    const char *gap = option->placeholder != NULL ? " " : "";
    const char *value = option->placeholder != NULL ? option->placeholder : "";

    if (option->letter != 0)
        snprintf(left, sizeof left, "  -%c, --%s%s%s", option->letter, option->name, gap, value);
    else
        snprintf(left, sizeof left, "      --%s%s%s", option->name, gap, value);
    ts_text_printf(out, "%-*s %s\n", HELP_COLUMN, left, option->help);
}

void
cli_help(const struct cli_verb *verb, struct ts_text *out)
{
    const struct cli_option *option;

    ts_text_printf(out, "Usage: tsstore %s%s%s [options]\n\n%s\n\nOptions:\n", verb->name,
                   verb->arguments[0] != '\0' ? " " : "", verb->arguments, verb->summary);
    for (size_t i = 0; (option = option_at(verb, i)) != NULL; i++)
        help_row(option, out);
    if (verb->notes != NULL)
        ts_text_printf(out, "\n%s", verb->notes);
    ts_text_puts(out, "\nExit codes: 0 done, 1 failed or refused, 130 interrupted.\n");
}

static void
json_member(struct ts_text *out, const char *before, const char *name, const char *value)
{
    ts_text_printf(out, "%s\"%s\":", before, name);
    ts_text_json_string(out, value, strlen(value));
}

void
cli_help_json(const struct cli_verb *verb, struct ts_text *out)
{
    static const char *const kinds[] = {[CLI_FLAG] = "flag",
                                        [CLI_TEXT] = "text",
                                        [CLI_NUMBER] = "number",
                                        [CLI_DURATION] = "duration",
                                        [CLI_TIME] = "time"};
    const struct cli_option *option;

    json_member(out, "{", "name", verb->name);
    json_member(out, ",", "arguments", verb->arguments);
    json_member(out, ",", "summary", verb->summary);
    ts_text_puts(out, ",\"options\":[");
    for (size_t i = 0; (option = option_at(verb, i)) != NULL; i++) {
        const char letter[2] = {option->letter, '\0'};

        json_member(out, i == 0 ? "{" : ",{", "name", option->name);
        if (option->letter != 0)
            json_member(out, ",", "letter", letter);
        json_member(out, ",", "kind", kinds[option->kind]);
        json_member(out, ",", "help", option->help);
        ts_text_puts(out, "}");
    }
    ts_text_puts(out, "]}");
}
