/* list_query.c - what the contract says about the parameters of lists. */
#include "queryd/list_query.h"

#include "common/duration.h"

#include <string.h>

#define DEFAULT_LIMIT 10
#define DEFAULT_RANGE_LIMIT 100

bool
list_query_i64(const struct ts_span *text, int64_t *out)
{
    const bool is_negative = text->bytes > 0 && text->at[0] == '-';
    const size_t first = is_negative || (text->bytes > 0 && text->at[0] == '+') ? 1 : 0;
    int64_t value = 0; /* kept negative: there is one more of them */

    if (first == text->bytes)
        return false;
    for (size_t i = first; i < text->bytes; i++) {
        const int digit = text->at[i] - '0';

        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return false;
    }
    if (!is_negative && __builtin_sub_overflow(0, value, &value))
        return false;
    *out = value;
    return true;
}

/* A parameter that is there and not empty. */
static bool
find(struct http_request *req, const char *name, struct ts_span *out)
{
    return http_query(req, name, out) && out->bytes > 0;
}

static uint64_t
limit_of(struct http_request *req, uint64_t otherwise)
{
    struct ts_span text;
    int64_t limit;

    if (!find(req, "limit", &text) || !list_query_i64(&text, &limit) || limit <= 0)
        return otherwise;
    return (uint64_t)limit;
}

void
list_query_filter(struct http_request *req, struct ts_range *range)
{
    struct ts_span text;

    if (!find(req, "filter", &text))
        return;
    range->filter = text.at;
    range->filter_bytes = text.bytes;
    range->filter_fold = http_query_is(req, "filter_ignore_case", "true");
}

static enum ts_err
parse_since(const struct ts_span *text, int64_t now_ns, struct ts_range *range)
{
    int64_t duration_ns;
    enum ts_err err;

    err = ts_duration_parse(text->at, text->bytes, &duration_ns);
    if (err == TS_OK && duration_ns < 0)
        err = TS_FAIL(TS_E_PARAM, "invalid duration: %.*s", (int)text->bytes, text->at);
    if (err != TS_OK) {
        TS_CONTEXT("invalid since duration");
        return err;
    }
    range->has_from = range->has_to = true;
    range->from_time_ns = now_ns - duration_ns;
    range->to_time_ns = now_ns;
    return TS_OK;
}

static enum ts_err
parse_after(const struct ts_span *text, struct list_query *out)
{
    int64_t after_ns;

    if (!list_query_i64(text, &after_ns))
        return TS_FAIL(TS_E_PARAM, "invalid after timestamp");
    out->is_empty = after_ns == INT64_MAX;
    out->range.has_from = true;
    out->range.from_time_ns = out->is_empty ? after_ns : after_ns + 1;
    return TS_OK;
}

/* start_time, end_time: 0 or missing leaves that end open. */
static enum ts_err
parse_ends(struct http_request *req, struct list_query *out)
{
    struct ts_range *range = &out->range;
    struct ts_span start, end;
    const bool has_start = find(req, "start_time", &start);
    const bool has_end = find(req, "end_time", &end);

    if (!has_start && !has_end)
        return TS_FAIL(TS_E_PARAM, "start_time, end_time, after, or since parameter required");
    if (has_start && !list_query_i64(&start, &range->from_time_ns))
        return TS_FAIL(TS_E_PARAM, "invalid start_time");
    if (has_end && !list_query_i64(&end, &range->to_time_ns))
        return TS_FAIL(TS_E_PARAM, "invalid end_time");
    range->has_from = has_start && range->from_time_ns != 0;
    range->has_to = has_end && range->to_time_ns != 0;
    if (range->has_from && range->has_to && range->from_time_ns > range->to_time_ns)
        return TS_FAIL_PLAIN(TS_E_TIME);
    return TS_OK;
}

static enum ts_err
parse_period(struct http_request *req, enum list_kind kind, int64_t now_ns, struct list_query *out)
{
    struct ts_span text;

    switch (kind) {
    case LIST_OLDEST:
        return TS_OK;
    case LIST_NEWEST:
        out->range.backward = true;
        if (!find(req, "since", &text))
            return TS_OK;
        out->is_newest_ascending = true;
        return parse_since(&text, now_ns, &out->range);
    case LIST_RANGE:
        break;
    }
    if (find(req, "since", &text))
        return parse_since(&text, now_ns, &out->range);
    if (find(req, "after", &text))
        return parse_after(&text, out);
    return parse_ends(req, out);
}

/* A missing parameter is an empty one. */
static struct ts_span
find_or_empty(struct http_request *req, const char *name)
{
    struct ts_span text;

    return http_query(req, name, &text) ? text : (struct ts_span){.at = "", .bytes = 0};
}

enum ts_err
list_query_plan(struct http_request *req, enum ts_type type, struct ts_aggregate_plan **out_plan)
{
    struct ts_span window;

    *out_plan = NULL;
    if (!find(req, "agg_window", &window))
        return TS_OK;
    if (type != TS_TYPE_JSON && type != TS_TYPE_SCHEMA)
        return TS_FAIL(TS_E_PARAM, "aggregation is only supported for json and schema stores");
    return ts_aggregate_plan_new(window, find_or_empty(req, "agg_fields"),
                                 find_or_empty(req, "agg_default"), out_plan);
}

/* The limit then counts windows, and no window after the end that was asked for is over. */
static void
set_aggregated(struct list_query *out, int64_t now_ns)
{
    out->range.limit = 0;
    out->finished_until_ns = now_ns;
    if (out->range.has_to && out->range.to_time_ns < now_ns)
        out->finished_until_ns = out->range.to_time_ns;
}

void
list_query_done(struct list_query *query)
{
    ts_aggregate_plan_free(query->plan);
    query->plan = NULL;
}

enum ts_err
list_query_parse(struct http_request *req, enum list_kind kind, enum ts_type type, int64_t now_ns,
                 struct list_query *out)
{
    enum ts_err err;

    *out = (struct list_query){0};
    out->limit = limit_of(req, kind == LIST_RANGE ? DEFAULT_RANGE_LIMIT : DEFAULT_LIMIT);
    out->range.limit = out->limit;
    out->with_data = kind == LIST_RANGE ? http_query_is(req, "include_data", "true")
                                        : !http_query_is(req, "include_data", "false");
    out->is_compact = http_query_is(req, "format", "compact");
    list_query_filter(req, &out->range);
    err = parse_period(req, kind, now_ns, out);
    if (err == TS_OK && kind != LIST_OLDEST)
        err = list_query_plan(req, type, &out->plan);
    if (err == TS_OK && out->plan != NULL)
        set_aggregated(out, now_ns);
    return err;
}
