/* explain.h - a configuration, value by value, each with where it came from.
 *
 * Purpose    The page of `tsstore config explain`, for people and for programs.
 * Invariant  A secret is "(set)" or "(not set)", wherever it came from.
 * Threads    No state.
 */
#ifndef CLI_EXPLAIN_H
#define CLI_EXPLAIN_H

#include "common/config.h"
#include "common/text.h"

void explain_text(const struct ts_config *config, struct ts_text *out);

/* {"file":…,"values":[{"key":…,"value":…,"source":…,"origin":…,"environment":…}]} and a newline. */
void explain_json(const struct ts_config *config, struct ts_text *out);

#endif
