/* limits.c - see limits.h. */
#include "common/limits.h"

#include "common/duration.h"
#include "common/error.h"

#include <inttypes.h>
#include <string.h>

static bool
is_given(const char *text)
{
    return text != NULL && *text != '\0';
}

static enum ts_err
parse_limit(const char *name, const char *text, int64_t *out_ns)
{
    int64_t ns;

    if (strcmp(text, "none") == 0) {
        *out_ns = 0;
        return TS_OK;
    }
    if (ts_duration_parse(text, strlen(text), &ns) != TS_OK || ns <= 0)
        return TS_FAIL(TS_E_CONFIG,
                       "invalid config: %s must be none or a duration such as 30d or 12h", name);
    *out_ns = ns;
    return TS_OK;
}

enum ts_err
ts_limits_parse(const struct ts_limits *limits, struct ts_options *options)
{
    struct ts_options taken = *options;
    enum ts_err err = TS_OK;

    if (is_given(limits->max_age))
        err = parse_limit("max_age", limits->max_age, &taken.max_age_ns);
    if (err == TS_OK && is_given(limits->max_future))
        err = parse_limit("max_future", limits->max_future, &taken.max_future_ns);
    if (err == TS_OK && is_given(limits->on_future))
        err = ts_on_future_parse(limits->on_future, &taken.on_future);
    if (err == TS_OK)
        *options = taken;
    return err;
}

void
ts_limits_json(const struct ts_options *options, struct ts_text *out)
{
    ts_text_printf(
        out, ",\"max_age_ns\":%" PRId64 ",\"max_future_ns\":%" PRId64 ",\"on_future\":\"%s\"",
        options->max_age_ns, options->max_future_ns, ts_on_future_name(options->on_future));
}
