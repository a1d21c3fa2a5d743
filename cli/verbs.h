/* verbs.h - all verbs of the command, in the order of the help.
 *
 * Purpose    Each cmd_<verb>.c defines its table entries; main finds them here, so does the help.
 */
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

#include "cli/arguments.h"

extern const struct cli_verb cmd_calc, cmd_config_explain, cmd_create, cmd_feed, cmd_help,
    cmd_key_create, cmd_key_list, cmd_key_regenerate, cmd_key_revoke, cmd_list, cmd_query,
    cmd_serve, cmd_stats, cmd_status, cmd_swagger, cmd_tail, cmd_version;

extern const struct cli_verb *const cli_verbs[];
extern const size_t cli_n_verbs;

/* The verb that words[0..n) begin with, or NULL. *out_n_words is how many of them are its name. */
const struct cli_verb *cli_find_verb(char *const *words, int n, int *out_n_words);

/* True if verbs of two words start with `word`, as "key". */
bool cli_is_group(const char *word);

/* What `tsstore help` shows; with a group only its verbs. */
void cli_usage(const char *group, struct ts_text *out);

#endif
