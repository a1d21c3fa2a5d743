/* limits.h - a store's age limit and its guard against the future, as users write them.
 *
 * Purpose    What POST /api/stores and `tsstore create` have in common.
 * Threads    Any.
 * Errors     TS_E_CONFIG with a text that names the setting.
 */
#ifndef TS_LIMITS_H
#define TS_LIMITS_H

#include "common/text.h"
#include "common/tsstore.h"

struct ts_limits {
    const char *max_age;    /* a duration (common/duration.h) or "none" */
    const char *max_future; /* the same */
    const char *on_future;  /* refuse, clamp */
};

/* Sets those of the options that are given: neither NULL nor "". */
enum ts_err ts_limits_parse(const struct ts_limits *limits, struct ts_options *options) TS_MUST_USE;

/* Members of a JSON object, with a comma before each. */
void ts_limits_json(const struct ts_options *options, struct ts_text *out);

#endif
