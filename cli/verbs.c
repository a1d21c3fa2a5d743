/* verbs.c - the list of verbs, and the page that shows it. */
#include "cli/verbs.h"

#include <string.h>

const struct cli_verb *const cli_verbs[] = {
    &cmd_serve,          &cmd_status,     &cmd_create, &cmd_list,           &cmd_stats,
    &cmd_query,          &cmd_tail,       &cmd_feed,   &cmd_key_list,       &cmd_key_create,
    &cmd_key_regenerate, &cmd_key_revoke, &cmd_calc,   &cmd_config_explain, &cmd_swagger,
    &cmd_version,        &cmd_help,
};
const size_t cli_n_verbs = COUNTOF(cli_verbs);

/* Bytes of the first word if `name` has two and starts with `word`, else 0. */
static size_t
group_bytes(const char *name, const char *word)
{
    const char *blank = strchr(name, ' ');
    const size_t bytes = blank != NULL ? (size_t)(blank - name) : 0;

    return bytes > 0 && strlen(word) == bytes && memcmp(name, word, bytes) == 0 ? bytes : 0;
}

const struct cli_verb *
cli_find_verb(char *const *words, int n, int *out_n_words)
{
    for (size_t i = 0; i < cli_n_verbs; i++) {
        const char *name = cli_verbs[i]->name;
        const size_t in_group = n > 0 ? group_bytes(name, words[0]) : 0;

        if (n > 0 && strcmp(name, words[0]) == 0) {
            *out_n_words = 1;
            return cli_verbs[i];
        }
        if (in_group > 0 && n > 1 && strcmp(name + in_group + 1, words[1]) == 0) {
            *out_n_words = 2;
            return cli_verbs[i];
        }
    }
    return NULL;
}

bool
cli_is_group(const char *word)
{
    for (size_t i = 0; i < cli_n_verbs; i++) {
        if (group_bytes(cli_verbs[i]->name, word) > 0)
            return true;
    }
    return false;
}

void
cli_usage(const char *group, struct ts_text *out)
{
    ts_text_printf(out, "Usage: tsstore %s [arguments] [options]\n\nCommands:\n",
                   group != NULL ? group : "<command>");
    for (size_t i = 0; i < cli_n_verbs; i++) {
        const struct cli_verb *verb = cli_verbs[i];
        char left[64];

        if (group != NULL && group_bytes(verb->name, group) == 0)
            continue;
        snprintf(left, sizeof left, "%s %s", verb->name, verb->arguments);
        ts_text_printf(out, "  %-26s %s\n", left, verb->summary);
    }
    ts_text_puts(out, "\n'tsstore <command> --help' shows the options of a command.\n");
}
