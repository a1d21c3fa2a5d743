/* list_query.c - the parameters of lists against the contract's table of cases. */
#include "queryd/list_query.h"

#include "daemon/http_internal.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define NOW_NS INT64_C(1700000000000000000)
#define HOUR_NS INT64_C(3600000000000)

/* A request that consists of a query. */
struct asked {
    struct mg_request_info info;
    struct http_request request;
    char arena[1024];
};

static struct http_request *
ask(struct asked *asked, const char *query)
{
    memset(asked, 0, sizeof *asked);
    asked->info.query_string = query;
    asked->request.info = &asked->info;
    asked->request.arena = (struct http_arena){.at = asked->arena, .capacity = sizeof asked->arena};
    return &asked->request;
}

static const struct {
    const char *text;
    bool good;
    int64_t want;
} numbers[] = {
    {"0", true, 0},
    {"-0", true, 0},
    {"+5", true, 5},
    {"-5", true, -5},
    {"007", true, 7},
    {"9223372036854775807", true, INT64_MAX},
    {"-9223372036854775808", true, INT64_MIN},
    {"9223372036854775808", false, 0},
    {"-9223372036854775809", false, 0},
    {"99999999999999999999", false, 0},
    {"", false, 0},
    {"-", false, 0},
    {"+", false, 0},
    {"--1", false, 0},
    {"1 ", false, 0},
    {" 1", false, 0},
    {"1e3", false, 0},
    {"1.5", false, 0},
    {"0x10", false, 0},
    {"1_0", false, 0},
    {"x", false, 0},
};

Test(list_query, numbers_are_signed_decimals_of_64_bits)
{
    for (size_t i = 0; i < COUNTOF(numbers); i++) {
        const struct ts_span text = {.at = numbers[i].text, .bytes = strlen(numbers[i].text)};
        int64_t got = 0;

        cr_expect_eq(list_query_i64(&text, &got), numbers[i].good, "'%s'", numbers[i].text);
        cr_expect_eq(got, numbers[i].want, "'%s'", numbers[i].text);
    }
}

static const struct {
    enum list_kind kind;
    const char *query;
    const char *text; /* of the error */
} refused[] = {
    {LIST_RANGE, "", "start_time, end_time, after, or since parameter required"},
    {LIST_RANGE, "start_time=&after=", "start_time, end_time, after, or since parameter required"},
    {LIST_RANGE, "after=x", "invalid after timestamp"},
    {LIST_RANGE, "start_time=x", "invalid start_time"},
    {LIST_RANGE, "end_time=x", "invalid end_time"},
    {LIST_RANGE, "start_time=5&end_time=2", "invalid timestamp"},
    {LIST_RANGE, "since=zz", "invalid since duration: time: invalid duration \"zz\""},
    {LIST_RANGE, "since=3600", "invalid since duration: time: missing unit in duration \"3600\""},
    {LIST_RANGE, "since=1h30d", "invalid since duration: invalid duration: 1h30d"},
    {LIST_RANGE, "since=-5m", "invalid since duration: invalid duration: -5m"},
    {LIST_RANGE, "since=infd", "invalid since duration: invalid duration: infd"},
    {LIST_RANGE, "since=20000w", "invalid since duration: invalid duration: 20000w"},
    {LIST_NEWEST, "since=zz", "invalid since duration: time: invalid duration \"zz\""},
    {LIST_RANGE, "after=x&agg_window=zz", "invalid after timestamp"},
    {LIST_RANGE, "after=1&agg_window=zz", "invalid agg_window: time: invalid duration \"zz\""},
    {LIST_RANGE, "after=1&agg_window=0s", "aggregation window must be positive"},
    {LIST_NEWEST, "agg_window=-1m", "aggregation window must be positive"},
    {LIST_NEWEST, "agg_window=1m&agg_fields=v",
     "invalid agg_fields: invalid field aggregation: \"v\" (expected field:function)"},
    {LIST_NEWEST, "agg_window=1m&agg_fields=v:med",
     "invalid agg_fields: invalid aggregation function \"med\" for field \"v\""},
    {LIST_NEWEST, "agg_window=1m&agg_default=med", "invalid default aggregation function: med"},
};

Test(list_query, what_is_wrong_is_told_in_the_contracts_words)
{
    for (size_t i = 0; i < COUNTOF(refused); i++) {
        struct list_query query;
        struct asked asked;
        const enum ts_err err = list_query_parse(ask(&asked, refused[i].query), refused[i].kind,
                                                 TS_TYPE_JSON, NOW_NS, &query);

        cr_expect_eq(ts_error_http_status(err), 400, "'%s'", refused[i].query);
        cr_expect_str_eq(ts_error_text(), refused[i].text);
    }
}

static const struct {
    enum list_kind kind;
    const char *query;
    uint64_t limit;
    bool with_data, has_from, has_to;
    int64_t from_ns, to_ns;
} taken[] = {
    {LIST_OLDEST, "", 10, true, false, false, 0, 0},
    {LIST_OLDEST, "limit=abc", 10, true, false, false, 0, 0},
    {LIST_OLDEST, "limit=0", 10, true, false, false, 0, 0},
    {LIST_OLDEST, "limit=-1", 10, true, false, false, 0, 0},
    {LIST_OLDEST, "limit=3&include_data=0", 3, true, false, false, 0, 0},
    {LIST_OLDEST, "include_data=false&since=zz", 10, false, false, false, 0, 0},
    {LIST_OLDEST, "limit=9000000000000000000", 9000000000000000000u, true, false, false, 0, 0},
    {LIST_OLDEST, "limit=99999999999999999999", 10, true, false, false, 0, 0},
    {LIST_NEWEST, "after=x&start_time=x", 10, true, false, false, 0, 0},
    {LIST_NEWEST, "since=1h", 10, true, true, true, NOW_NS - HOUR_NS, NOW_NS},
    {LIST_RANGE, "since=1h", 100, false, true, true, NOW_NS - HOUR_NS, NOW_NS},
    {LIST_RANGE, "since=0", 100, false, true, true, NOW_NS, NOW_NS},
    {LIST_RANGE, "since=1h&after=x", 100, false, true, true, NOW_NS - HOUR_NS, NOW_NS},
    {LIST_RANGE, "after=5&start_time=x", 100, false, true, false, 6, 0},
    {LIST_RANGE, "after=-5", 100, false, true, false, -4, 0},
    {LIST_RANGE, "after=9223372036854775806", 100, false, true, false, INT64_MAX, 0},
    {LIST_RANGE, "start_time=3&end_time=5", 100, false, true, true, 3, 5},
    {LIST_RANGE, "start_time=5&end_time=5", 100, false, true, true, 5, 5},
    {LIST_RANGE, "start_time=0&end_time=5", 100, false, false, true, 0, 5},
    {LIST_RANGE, "start_time=5&end_time=0", 100, false, true, false, 5, 0},
    {LIST_RANGE, "end_time=5&include_data=true", 100, true, false, true, 0, 5},
    {LIST_RANGE, "end_time=5&include_data=1", 100, false, false, true, 0, 5},
};

Test(list_query, ranges_and_limits_are_taken_as_the_contract_says)
{
    for (size_t i = 0; i < COUNTOF(taken); i++) {
        const char *text = taken[i].query;
        struct list_query query;
        struct asked asked;

        cr_assert_eq(
            list_query_parse(ask(&asked, text), taken[i].kind, TS_TYPE_JSON, NOW_NS, &query), TS_OK,
            "'%s'", text);
        cr_expect_eq(query.range.limit, taken[i].limit, "'%s'", text);
        cr_expect_eq(query.with_data, taken[i].with_data, "'%s'", text);
        cr_expect_eq(query.range.has_from, taken[i].has_from, "'%s'", text);
        cr_expect_eq(query.range.has_to, taken[i].has_to, "'%s'", text);
        if (taken[i].has_from)
            cr_expect_eq(query.range.from_time_ns, taken[i].from_ns, "'%s'", text);
        if (taken[i].has_to)
            cr_expect_eq(query.range.to_time_ns, taken[i].to_ns, "'%s'", text);
        cr_expect_eq(query.range.backward, taken[i].kind == LIST_NEWEST, "'%s'", text);
        cr_expect(!query.is_empty, "'%s'", text);
    }
}

Test(list_query, after_the_last_possible_time_there_is_nothing)
{
    struct list_query query;
    struct asked asked;

    cr_assert_eq(list_query_parse(ask(&asked, "after=9223372036854775807"), LIST_RANGE,
                                  TS_TYPE_JSON, NOW_NS, &query),
                 TS_OK);
    cr_expect(query.is_empty);
}

Test(list_query, newest_since_is_ascending_and_newest_alone_is_not)
{
    struct list_query query;
    struct asked asked;

    cr_assert_eq(
        list_query_parse(ask(&asked, "since=1h"), LIST_NEWEST, TS_TYPE_JSON, NOW_NS, &query),
        TS_OK);
    cr_expect(query.is_newest_ascending);
    cr_assert_eq(list_query_parse(ask(&asked, ""), LIST_NEWEST, TS_TYPE_JSON, NOW_NS, &query),
                 TS_OK);
    cr_expect(!query.is_newest_ascending);
}

Test(list_query, case_is_folded_only_by_exactly_true)
{
    struct list_query query;
    struct asked asked;

    cr_assert_eq(list_query_parse(ask(&asked, "filter=B1&filter_ignore_case=true"), LIST_OLDEST,
                                  TS_TYPE_TEXT, NOW_NS, &query),
                 TS_OK);
    cr_expect_eq(query.range.filter_bytes, 2);
    cr_expect(query.range.filter_fold);
    cr_assert_eq(list_query_parse(ask(&asked, "filter=B1&filter_ignore_case=1"), LIST_OLDEST,
                                  TS_TYPE_TEXT, NOW_NS, &query),
                 TS_OK);
    cr_expect(!query.range.filter_fold);
    cr_assert_eq(
        list_query_parse(ask(&asked, "filter="), LIST_OLDEST, TS_TYPE_TEXT, NOW_NS, &query), TS_OK);
    cr_expect_eq(query.range.filter_bytes, 0);
}

Test(list_query, an_aggregation_counts_windows_and_needs_objects)
{
    struct list_query query;
    struct asked asked;

    cr_expect_eq(
        list_query_parse(ask(&asked, "agg_window=1m"), LIST_NEWEST, TS_TYPE_TEXT, NOW_NS, &query),
        TS_E_PARAM);
    cr_expect_str_eq(ts_error_text(), "aggregation is only supported for json and schema stores");
    cr_assert_eq(list_query_parse(ask(&asked, "agg_window=1m&limit=7"), LIST_NEWEST, TS_TYPE_JSON,
                                  NOW_NS, &query),
                 TS_OK);
    cr_expect_not_null(query.plan);
    cr_expect_eq(query.limit, 7);
    cr_expect_eq(query.range.limit, 0);
    cr_expect_eq(query.finished_until_ns, NOW_NS);
    list_query_done(&query);
    cr_assert_eq(list_query_parse(ask(&asked, "start_time=1&end_time=500&agg_window=1m"),
                                  LIST_RANGE, TS_TYPE_SCHEMA, NOW_NS, &query),
                 TS_OK);
    cr_expect_eq(query.finished_until_ns, 500);
    list_query_done(&query);
    cr_assert_eq(
        list_query_parse(ask(&asked, "agg_window=1m"), LIST_OLDEST, TS_TYPE_TEXT, NOW_NS, &query),
        TS_OK);
    cr_expect_null(query.plan);
    cr_assert_eq(
        list_query_parse(ask(&asked, "agg_window="), LIST_NEWEST, TS_TYPE_TEXT, NOW_NS, &query),
        TS_OK);
    cr_expect_null(query.plan);
}
