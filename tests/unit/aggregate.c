/* aggregate.c - what clients may ask for, and what comes out of windows. */
#include "common/aggregate.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define SECOND INT64_C(1000000000)
#define SPAN(text) ((struct ts_span){.at = (text), .bytes = strlen(text)})

TestSuite(aggregate, .timeout = 120);

/* ---- parameters ---- */

static enum ts_err
plan_of(const char *window, const char *fields, const char *defaults,
        struct ts_aggregate_plan **out_plan)
{
    return ts_aggregate_plan_new(SPAN(window), SPAN(fields), SPAN(defaults), out_plan);
}

static const struct {
    const char *window, *fields, *defaults, *want;
} refused[] = {
    {"zz", "", "", "invalid agg_window: time: invalid duration \"zz\""},
    {"3600", "", "", "invalid agg_window: time: missing unit in duration \"3600\""},
    {"infd", "", "", "invalid agg_window: invalid duration: infd"},
    {"", "", "", "invalid agg_window: empty duration string"},
    {"0s", "", "", "aggregation window must be positive"},
    {"0", "", "", "aggregation window must be positive"},
    {"-1m", "", "", "aggregation window must be positive"},
    {"0.1ns", "", "", "aggregation window must be positive"},
    {"1m", "t", "",
     "invalid agg_fields: invalid field aggregation: \"t\" (expected field:function)"},
    {"1m", "t:avg, n ", "",
     "invalid agg_fields: invalid field aggregation: \"n\" (expected field:function)"},
    {"1m", "t:med", "", "invalid agg_fields: invalid aggregation function \"med\" for field \"t\""},
    {"1m", " t : avg+med ", "",
     "invalid agg_fields: invalid aggregation function \"med\" for field \"t\""},
    {"1m", "t:avg max", "",
     "invalid agg_fields: invalid aggregation function \"avg max\" for field \"t\""},
    {"1m", "t:Avg", "", "invalid agg_fields: invalid aggregation function \"Avg\" for field \"t\""},
    {"1m", "t:", "", "invalid agg_fields: invalid aggregation function \"\" for field \"t\""},
    {"1m", "t: + ", "", "invalid agg_fields: invalid aggregation function \"\" for field \"t\""},
    {"1m", "a:b:avg", "",
     "invalid agg_fields: invalid aggregation function \"b:avg\" for field \"a\""},
    {"1m", "", "med", "invalid default aggregation function: med"},
    {"1m", "", "avg,med", "invalid default aggregation function: med"},
    {"1m", "", "avg+max", "invalid default aggregation function: avg+max"},
    /* The first fault in the order of the parameters. */
    {"zz", "t", "med", "invalid agg_window: time: invalid duration \"zz\""},
    {"0s", "t", "med", "aggregation window must be positive"},
    {"1m", "t", "med",
     "invalid agg_fields: invalid field aggregation: \"t\" (expected field:function)"},
};

Test(aggregate, T137_T138_refuses_a_bad_plan_in_the_known_words)
{
    struct ts_aggregate_plan *plan = NULL;

    for (size_t i = 0; i < COUNTOF(refused); i++) {
        cr_expect_eq(plan_of(refused[i].window, refused[i].fields, refused[i].defaults, &plan),
                     TS_E_PARAM, "%s", refused[i].want);
        cr_expect_str_eq(ts_error_text(), refused[i].want, "%s", ts_error_text());
        cr_expect_null(plan);
    }
}

static const struct {
    const char *window, *fields, *defaults;
    int64_t want_ns;
} accepted[] = {
    {"1m", "", "", 60 * SECOND},
    {" 1m ", " , ,", " , ", 60 * SECOND},
    {"1d", "t:avg", "last", 86400 * SECOND},
    {"1ns", " t : avg + max ++ min , n:sum,", "avg, max", 1},
    {"1s", ":avg", "", SECOND},
};

Test(aggregate, accepts_blanks_and_empty_parts)
{
    struct ts_aggregate_plan *plan = NULL;

    for (size_t i = 0; i < COUNTOF(accepted); i++) {
        cr_expect_eq(plan_of(accepted[i].window, accepted[i].fields, accepted[i].defaults, &plan),
                     TS_OK, "%zu: %s", i, ts_error_text());
        cr_expect_eq(ts_aggregate_plan_window_ns(plan), accepted[i].want_ns);
        ts_aggregate_plan_free(plan);
        plan = NULL;
    }
    cr_expect_eq(ts_aggregate_plan_new(SPAN("1s"), (struct ts_span){0}, (struct ts_span){0}, &plan),
                 TS_OK);
    ts_aggregate_plan_free(plan);
    ts_aggregate_plan_free(NULL);
    ts_aggregate_free(NULL);
}

/* ---- windows ---- */

struct reading {
    int64_t time_ns;
    const char *value;
};

/* All windows as "end:{…} end:{…}"; times and ends in `unit_ns`. */
static const char *
computed(const struct ts_aggregate_plan *plan, const struct ts_aggregate_options *options,
         const struct reading *readings, size_t n, int64_t unit_ns)
{
    static char all[1 << 16];
    struct ts_aggregate *aggregate = NULL;
    struct ts_aggregate_window window;
    struct ts_text text;
    size_t used = 0;
    bool is_complete;

    all[0] = '\0';
    ts_text_init(&text);
    cr_assert_eq(ts_aggregate_new(plan, options, &aggregate), TS_OK);
    for (size_t i = 0; i <= n; i++) {
        ts_text_clear(&text);
        if (i < n) {
            const struct reading *reading = &readings[options->backward ? n - 1 - i : i];
            const size_t bytes = strlen(reading->value);
            char *copy = malloc(bytes > 0 ? bytes : 1);

            cr_assert_not_null(copy);
            memcpy(copy, reading->value, bytes);
            is_complete =
                ts_aggregate_add(aggregate, reading->time_ns * unit_ns,
                                 (struct ts_span){.at = copy, .bytes = bytes}, &text, &window);
            free(copy); /* nothing of a record is looked at later */
        } else {
            is_complete = ts_aggregate_finish(aggregate, false, &text, &window);
        }
        if (is_complete) {
            cr_assert_eq(ts_json_check(text.at, text.bytes, NULL), TS_OK, "%.*s", (int)text.bytes,
                         text.at);
            used +=
                (size_t)snprintf(all + used, sizeof all - used, "%s%lld:%.*s", used > 0 ? " " : "",
                                 (long long)(window.end_ns / unit_ns), (int)text.bytes, text.at);
        } else {
            cr_assert_eq(text.bytes, 0);
        }
    }
    cr_assert_not(ts_aggregate_finish(aggregate, false, &text, &window));
    ts_aggregate_free(aggregate);
    ts_text_done(&text);
    return all;
}

static const char *
run(const char *window, const char *fields, const char *defaults, bool backward,
    const struct reading *readings, size_t n)
{
    const struct ts_aggregate_options options = {.backward = backward};
    struct ts_aggregate_plan *plan = NULL;
    const char *got;

    cr_assert_eq(plan_of(window, fields, defaults, &plan), TS_OK, "%s", ts_error_text());
    got = computed(plan, &options, readings, n, SECOND);
    ts_aggregate_plan_free(plan);
    return got;
}

/* b is a multiple of 60 s. */
#define B INT64_C(1700000040)

static const struct reading five[] = {
    {B, "{\"v\":10,\"s\":\"a\"}"},
    {B + 10, "{\"v\":20,\"s\":\"b\"}"},
    {B + 20, "{\"v\":30,\"s\":\"c\"}"},
    {B + 60, "{\"v\":100}"},
    {B + 180, "{\"v\":7}"},
};

static const struct {
    const char *fields, *defaults, *first, *second, *third;
} cases[] = {
    {"", "", "{\"s\":\"c\",\"v\":30}", "{\"v\":100}", "{\"v\":7}"},
    {"", "avg", "{\"s\":\"c\",\"v\":20}", "{\"v\":100}", "{\"v\":7}"},
    {"", "avg,avg", "{\"s\":\"c\",\"v\":20}", "{\"v\":100}", "{\"v\":7}"},
    {"", "sum", "{\"s\":\"c\",\"v\":60}", "{\"v\":100}", "{\"v\":7}"},
    {"", "avg,sum,min,max,count,last",
     "{\"s\":\"c\",\"v_avg\":20,\"v_count\":3,\"v_last\":30,\"v_max\":30,\"v_min\":10,\"v_sum\":"
     "60}",
     "{\"v_avg\":100,\"v_count\":1,\"v_last\":100,\"v_max\":100,\"v_min\":100,\"v_sum\":100}",
     "{\"v_avg\":7,\"v_count\":1,\"v_last\":7,\"v_max\":7,\"v_min\":7,\"v_sum\":7}"},
    {"v:avg+max,s:count", "last", "{\"s\":3,\"v_avg\":20,\"v_max\":30}",
     "{\"v_avg\":100,\"v_max\":100}", "{\"v_avg\":7,\"v_max\":7}"},
    {"s:max", "", "{\"s\":null,\"v\":30}", "{\"v\":100}", "{\"v\":7}"},
    {"", "max", "{\"s\":\"c\",\"v\":30}", "{\"v\":100}", "{\"v\":7}"},
    {"v:avg,v:min", "", "{\"s\":\"c\",\"v\":10}", "{\"v\":100}", "{\"v\":7}"},
    {"v:min,v:avg", "", "{\"s\":\"c\",\"v\":20}", "{\"v\":100}", "{\"v\":7}"},
};

Test(aggregate, T130_to_T135_T140_computes_the_same_in_both_directions)
{
    char want[512];

    for (size_t i = 0; i < COUNTOF(cases); i++) {
        const char *got = run("1m", cases[i].fields, cases[i].defaults, false, five, COUNTOF(five));

        snprintf(want, sizeof want, "%lld:%s %lld:%s %lld:%s", (long long)B + 60, cases[i].first,
                 (long long)B + 120, cases[i].second, (long long)B + 240, cases[i].third);
        cr_expect_str_eq(got, want, "%s", got);
        got = run("1m", cases[i].fields, cases[i].defaults, true, five, COUNTOF(five));
        snprintf(want, sizeof want, "%lld:%s %lld:%s %lld:%s", (long long)B + 240, cases[i].third,
                 (long long)B + 120, cases[i].second, (long long)B + 60, cases[i].first);
        cr_expect_str_eq(got, want, "backward: %s", got);
    }
}

static const struct {
    const char *label;
    const char *values[4];
    const char *fields, *defaults, *want;
} mixtures[] = {
    {"T139", {"{\"v\":100}", "{\"v\":\"x\"}", "{\"v\":200}"}, "", "avg", "{\"v\":150}"},
    {"oldest is text", {"{\"v\":\"x\"}", "{\"v\":1}", "{\"v\":2}"}, "", "avg", "{\"v\":2}"},
    {"oldest is null", {"{\"v\":null}", "{\"v\":1}"}, "", "avg", "{\"v\":1}"},
    {"count counts all",
     {"{\"v\":1}", "{\"v\":\"x\"}", "{\"v\":null}"},
     "",
     "count,sum",
     "{\"v_count\":3,\"v_sum\":1}"},
    {"no numbers",
     {"{\"v\":\"x\"}", "{\"v\":true}"},
     "v:avg+sum+min+max+count+last",
     "",
     "{\"v_avg\":null,\"v_count\":2,\"v_last\":true,\"v_max\":null,\"v_min\":null,\"v_sum\":null}"},
    {"last of any type",
     {"{\"v\":1}", "{\"v\":{\"a\": [1, 2]}}"},
     "",
     "",
     "{\"v\":{\"a\": [1, 2]}}"},
    {"last keeps its text", {"{\"v\":1.50}"}, "", "", "{\"v\":1.50}"},
    {"last null", {"{\"v\":1}", "{\"v\":null}"}, "", "", "{\"v\":null}"},
    {"missing fields",
     {"{\"a\":1}", "{}", "{\"b\":2}", "{\"a\":3}"},
     "",
     "avg",
     "{\"a\":2,\"b\":2}"},
    {"nothing but empty", {"{}"}, "", "avg", "{}"},
    {"no objects are skipped", {"[1]", "7", "\"x\"", "{\"v\":1}"}, "", "count", "{\"v\":1}"},
    {"nor anything else", {"", "nonsense", "{\"v\":1}", "null"}, "", "count", "{\"v\":1}"},
    {"no JSON is skipped whole",
     {"{\"v\":1}", "{\"v\":2,", "{\"v\":3,\"w\":nul}"},
     "",
     "sum",
     "{\"v\":1}"},
    {"twice in a record",
     {"{\"v\":1,\"v\":5}", "{\"v\":2}"},
     "",
     "sum,count",
     "{\"v_count\":2,\"v_sum\":7}"},
    {"escaped name", {"{\"\\u0076\":1}", "{\"v\":2}"}, "v:sum", "", "{\"v\":3}"},
    {"empty name", {"{\"\":1,\"x\":1}", "{\"\":2}"}, ":sum", "", "{\"\":3,\"x\":1}"},
    {"name with a quote",
     {"{\"a\\\"b\":1}", "{\"a\\\"b\":2}"},
     "a\"b:sum+max",
     "",
     "{\"a\\\"b_max\":2,\"a\\\"b_sum\":3}"},
    {"name beyond ASCII",
     {"{\"\303\244\":1}", "{\"\\u00e4\":2}"},
     "\303\244:sum",
     "",
     "{\"\303\244\":3}"},
    {"order of fields", {"{\"b\":1,\"a\":1}", "{\"a\":2,\"b\":2}"}, "", "", "{\"a\":2,\"b\":2}"},
    {"nested are not fields",
     {"{\"o\":{\"v\":1}}", "{\"o\":{\"v\":2}}"},
     "v:sum",
     "avg",
     "{\"o\":{\"v\":2}}"},
    {"a name that is taken",
     {"{\"t\":1,\"t_avg\":\"x\",\"t_sum\":7}"},
     "t:avg+max",
     "",
     "{\"t_avg\":1,\"t_max\":1,\"t_sum\":7}"},
    {"a name that is not taken",
     {"{\"t\":1,\"t_avg\":\"x\"}"},
     "t:avg",
     "",
     "{\"t\":1,\"t_avg\":\"x\"}"},
    {"fractions",
     {"{\"v\":0.1}", "{\"v\":0.2}", "{\"v\":0.3}"},
     "",
     "sum,avg",
     "{\"v_avg\":0.19999999999999998,\"v_sum\":0.6}"},
    {"large and small",
     {"{\"v\":1e100}", "{\"v\":1.5}", "{\"v\":-1e100}"},
     "",
     "sum",
     "{\"v\":1.5}"},
    {"64 bits",
     {"{\"v\":9007199254740993}", "{\"v\":9007199254740995}"},
     "",
     "sum,min,max",
     "{\"v_max\":9007199254740995,\"v_min\":9007199254740993,\"v_sum\":18014398509481988}"},
    {"beyond 64 bits",
     {"{\"v\":18446744073709551615}", "{\"v\":18446744073709551615}"},
     "",
     "sum,max",
     "{\"v_max\":18446744073709551615,\"v_sum\":36893488147419103000}"},
    {"integers and fractions",
     {"{\"v\":1}", "{\"v\":0.5}"},
     "",
     "sum,min,max,last",
     "{\"v_last\":0.5,\"v_max\":1,\"v_min\":0.5,\"v_sum\":1.5}"},
    {"negative", {"{\"v\":-5}", "{\"v\":-7.5}"}, "", "min,max", "{\"v_max\":-5,\"v_min\":-7.5}"},
    {"beyond doubles",
     {"{\"v\":1e999}", "{\"v\":2}"},
     "",
     "sum,count,last",
     "{\"v_count\":2,\"v_last\":2,\"v_sum\":2}"},
    {"sum beyond doubles",
     {"{\"v\":1e308}", "{\"v\":1e308}"},
     "",
     "sum,max",
     "{\"v_max\":1e+308,\"v_sum\":null}"},
};

Test(aggregate, T139_takes_whatever_records_hold)
{
    struct reading readings[4];
    char want[512];

    for (size_t i = 0; i < COUNTOF(mixtures); i++) {
        size_t n = 0;

        for (; n < 4 && mixtures[i].values[n] != NULL; n++)
            readings[n] =
                (struct reading){.time_ns = 60 + (int64_t)n, .value = mixtures[i].values[n]};
        snprintf(want, sizeof want, "120:%s", mixtures[i].want);
        for (int backward = 0; backward <= 1; backward++) {
            const char *got =
                run("1m", mixtures[i].fields, mixtures[i].defaults, backward, readings, n);

            /* Sums of fractions may differ in the last digit, as the order of adding does. */
            if (backward && strcmp(mixtures[i].label, "fractions") == 0)
                continue;
            cr_expect_str_eq(got, want, "%s, backward %d: %s", mixtures[i].label, backward, got);
        }
    }
}

Test(aggregate, begins_windows_at_multiples_before_1970_too)
{
    static const struct reading readings[] = {
        {-61, "{\"v\":1}"}, {-60, "{\"v\":2}"}, {-1, "{\"v\":3}"},
        {0, "{\"v\":4}"},   {59, "{\"v\":5}"},  {60, "{\"v\":6}"},
    };

    cr_expect_str_eq(run("1m", "", "sum", false, readings, COUNTOF(readings)),
                     "-60:{\"v\":1} 0:{\"v\":5} 60:{\"v\":9} 120:{\"v\":6}");
    cr_expect_str_eq(run("1m", "", "sum", true, readings, COUNTOF(readings)),
                     "120:{\"v\":6} 60:{\"v\":9} 0:{\"v\":5} -60:{\"v\":1}");
}

Test(aggregate, cuts_windows_at_the_ends_of_time)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX - 1, INT64_MAX};
    static const char *const windows[] = {"1ns", "2ns", "7ns", "1m", "9223372036854775807ns"};
    const struct ts_aggregate_options options = {0};
    struct ts_aggregate_window window;
    struct ts_aggregate *aggregate;
    struct ts_aggregate_plan *plan;
    struct ts_text text;

    ts_text_init(&text);
    for (size_t w = 0; w < COUNTOF(windows); w++) {
        cr_assert_eq(plan_of(windows[w], "", "", &plan), TS_OK);
        cr_assert_eq(ts_aggregate_new(plan, &options, &aggregate), TS_OK);
        for (size_t i = 0; i < COUNTOF(times); i++) {
            (void)ts_aggregate_add(aggregate, times[i], SPAN("{}"), &text, &window);
            cr_assert(ts_aggregate_peek(aggregate, &window));
            cr_expect_leq(window.start_ns, times[i]);
            cr_expect(window.end_ns > times[i] || window.end_ns == INT64_MAX);
            ts_aggregate_reset(aggregate);
        }
        ts_aggregate_free(aggregate);
        ts_aggregate_plan_free(plan);
    }
    ts_text_done(&text);
}

/* ---- the life of a stream ---- */

struct stream {
    struct ts_aggregate_plan *plan;
    struct ts_aggregate *aggregate;
    struct ts_aggregate_window window;
    struct ts_text text;
};

static struct stream
open_stream(const char *fields, const char *defaults, struct ts_aggregate_options options)
{
    struct stream stream = {0};

    ts_text_init(&stream.text);
    cr_assert_eq(plan_of("1m", fields, defaults, &stream.plan), TS_OK);
    cr_assert_eq(ts_aggregate_new(stream.plan, &options, &stream.aggregate), TS_OK);
    return stream;
}

static void
close_stream(struct stream *stream)
{
    ts_aggregate_free(stream->aggregate);
    ts_aggregate_plan_free(stream->plan);
    ts_text_done(&stream->text);
}

/* The result, or NULL if no window was complete. */
static const char *
add(struct stream *stream, int64_t time_s, const char *value)
{
    ts_text_clear(&stream->text);
    if (!ts_aggregate_add(stream->aggregate, time_s * SECOND, SPAN(value), &stream->text,
                          &stream->window))
        return NULL;
    ts_text_add(&stream->text, "", 1);
    return stream->text.at;
}

static const char *
finish(struct stream *stream, bool cut_short)
{
    ts_text_clear(&stream->text);
    if (!ts_aggregate_finish(stream->aggregate, cut_short, &stream->text, &stream->window))
        return NULL;
    ts_text_add(&stream->text, "", 1);
    return stream->text.at;
}

Test(aggregate, T132_has_no_sum_for_a_window_that_is_not_over)
{
    struct stream stream =
        open_stream("", "sum,count",
                    (struct ts_aggregate_options){.has_finished_until = true,
                                                  .finished_until_ns = 120 * SECOND});

    cr_expect_null(add(&stream, 60, "{\"v\":1}"));
    cr_expect_str_eq(add(&stream, 120, "{\"v\":2}"), "{\"v_count\":1,\"v_sum\":1}");
    cr_expect_str_eq(add(&stream, 180, "{\"v\":3}"), "{\"v_count\":1,\"v_sum\":null}");
    cr_expect_str_eq(finish(&stream, false), "{\"v_count\":1,\"v_sum\":null}");
    close_stream(&stream);

    stream = open_stream("", "sum", (struct ts_aggregate_options){0});
    cr_expect_null(add(&stream, 60, "{\"v\":1}"));
    cr_expect_str_eq(finish(&stream, true), "{\"v\":null}");
    cr_expect_null(finish(&stream, true));
    close_stream(&stream);
}

Test(aggregate, sends_each_window_once_though_a_timer_closed_it)
{
    struct stream stream = open_stream("", "sum", (struct ts_aggregate_options){0});
    struct ts_aggregate_window window;

    cr_expect_not(ts_aggregate_peek(stream.aggregate, &window));
    cr_expect_null(add(&stream, 61, "{\"v\":1}"));
    cr_expect_null(add(&stream, 62, "{\"v\":2}"));
    cr_expect(ts_aggregate_peek(stream.aggregate, &window));
    cr_expect_eq(window.start_ns, 60 * SECOND);
    cr_expect_eq(window.end_ns, 120 * SECOND);
    cr_expect_eq(window.n_records, 2);
    cr_expect_str_eq(finish(&stream, false), "{\"v\":3}");
    cr_expect_eq(stream.window.n_records, 2);
    cr_expect_null(add(&stream, 63, "{\"v\":4}"));
    cr_expect_null(finish(&stream, false));
    cr_expect_null(add(&stream, 120, "{\"v\":5}"));
    cr_expect_str_eq(add(&stream, 180, "{\"v\":6}"), "{\"v\":5}");
    cr_expect_eq(stream.window.end_ns, 180 * SECOND);
    close_stream(&stream);
}

Test(aggregate, forgets_all_when_the_store_was_reset)
{
    struct stream stream = open_stream("", "sum", (struct ts_aggregate_options){0});

    cr_expect_null(add(&stream, 61, "{\"v\":1}"));
    cr_expect_not_null(finish(&stream, false));
    cr_expect_null(add(&stream, 121, "{\"v\":1}"));
    ts_aggregate_reset(stream.aggregate);
    cr_expect_null(add(&stream, 62, "{\"v\":5}"));
    cr_expect_str_eq(finish(&stream, false), "{\"v\":5}");
    close_stream(&stream);
}

Test(aggregate, adds_to_the_text_that_is_there)
{
    struct stream stream = open_stream("", "", (struct ts_aggregate_options){0});

    cr_expect_null(add(&stream, 61, "{\"v\":1}"));
    ts_text_clear(&stream.text);
    ts_text_puts(&stream.text, "\"data\":");
    cr_expect(ts_aggregate_finish(stream.aggregate, false, &stream.text, &stream.window));
    ts_text_add(&stream.text, "", 1);
    cr_expect_str_eq(stream.text.at, "\"data\":{\"v\":1}");
    close_stream(&stream);
}

/* ---- schema stores ---- */

static struct ts_schema *
schema_of(const char *fields)
{
    struct ts_schema *schema = NULL;
    char text[1024];

    snprintf(text, sizeof text, "{\"fields\":[%s]}", fields);
    cr_assert_eq(ts_schema_parse(text, strlen(text), 1, &schema), TS_OK, "%s", ts_error_text());
    return schema;
}

#define FIELDS                                                                                     \
    "{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"},"                                        \
    "{\"index\":2,\"name\":\"valve.open\",\"type\":\"bool\"},"                                     \
    "{\"index\":10,\"name\":\"id\",\"type\":\"uint64\"}"

static const struct {
    bool compact;
    const char *fields, *defaults, *want;
} schema_cases[] = {
    {false, "", "", "{\"flow\":\"x\",\"id\":9,\"valve.open\":false}"},
    {true, "", "", "{\"1\":\"x\",\"10\":9,\"2\":false}"},
    {false, "", "max", "{\"flow\":1.5,\"id\":9007199254740993,\"valve.open\":false}"},
    {true, "", "max", "{\"1\":1.5,\"10\":9007199254740993,\"2\":false}"},
    {false, "flow:count,valve.open:sum", "max",
     "{\"flow\":2,\"id\":9007199254740993,\"valve.open\":null}"},
    {true, "flow:count+sum", "min", "{\"10\":9,\"2\":false,\"flow_count\":2,\"flow_sum\":1.5}"},
};

Test(aggregate, T142_maps_indices_to_names_and_knows_types)
{
    /* 3 is of no field that this version knows. */
    static const struct reading readings[] = {
        {60, "{\"1\":1.5,\"10\":9007199254740993,\"2\":true,\"3\":7}"},
        {61, "{\"1\":\"x\",\"10\":9,\"2\":false,\"left\":1}"},
    };
    struct ts_schema *schema = schema_of(FIELDS);
    struct ts_aggregate_plan *plan;
    char want[256];

    for (size_t i = 0; i < COUNTOF(schema_cases); i++) {
        cr_assert_eq(plan_of("1m", schema_cases[i].fields, schema_cases[i].defaults, &plan), TS_OK);
        for (int backward = 0; backward <= 1; backward++) {
            const struct ts_aggregate_options options = {.is_schema_store = true,
                                                         .schema = schema,
                                                         .compact = schema_cases[i].compact,
                                                         .backward = backward};
            const char *got = computed(plan, &options, readings, COUNTOF(readings), SECOND);

            snprintf(want, sizeof want, "120:%s", schema_cases[i].want);
            cr_expect_str_eq(got, want, "%zu, backward %d: %s", i, backward, got);
        }
        ts_aggregate_plan_free(plan);
    }
    ts_schema_release(schema);
}

Test(aggregate, takes_a_new_schema_at_the_next_window)
{
    struct ts_schema *old = schema_of("{\"index\":1,\"name\":\"a\",\"type\":\"int8\"}");
    struct ts_schema *schema = schema_of("{\"index\":2,\"name\":\"b\",\"type\":\"int8\"},"
                                         "{\"index\":1,\"name\":\"a\",\"type\":\"int8\"}");
    struct stream stream = open_stream(
        "", "sum", (struct ts_aggregate_options){.is_schema_store = true, .schema = old});

    ts_schema_release(old);
    cr_expect_null(add(&stream, 60, "{\"1\":1}"));
    ts_aggregate_set_schema(stream.aggregate, schema);
    ts_aggregate_set_schema(stream.aggregate, schema);
    cr_expect_null(add(&stream, 61, "{\"1\":1,\"2\":5}"));
    cr_expect_str_eq(add(&stream, 120, "{\"1\":1,\"2\":5}"), "{\"a\":2}");
    cr_expect_str_eq(finish(&stream, false), "{\"a\":1,\"b\":5}");
    close_stream(&stream);
    stream = open_stream("", "sum", (struct ts_aggregate_options){.is_schema_store = true});
    cr_expect_null(add(&stream, 60, "{\"1\":1}"));
    ts_aggregate_set_schema(stream.aggregate, schema);
    cr_expect_str_eq(finish(&stream, false), "{}");
    close_stream(&stream);
    ts_schema_release(schema);
}

/* ---- limits ---- */

Test(aggregate, leaves_out_fields_beyond_the_limit_and_says_so)
{
    struct stream stream = open_stream("", "sum", (struct ts_aggregate_options){0});
    const char *got, *comma;
    char value[32];
    int n = 1;

    for (int i = 0; i < 2 * TS_AGGREGATE_MAX_FIELDS; i++) {
        snprintf(value, sizeof value, "{\"f%d\":1}", i);
        cr_expect_null(add(&stream, 60, value));
    }
    cr_expect_null(add(&stream, 60, "{\"f0\":1,\"f9999\":1}"));
    got = finish(&stream, false);
    for (comma = got; (comma = strchr(comma, ',')) != NULL; comma++)
        n++;
    cr_expect_eq(n, TS_AGGREGATE_MAX_FIELDS);
    cr_expect_not_null(strstr(got, "\"f0\":2,"));
    cr_expect_eq(stream.window.n_dropped, TS_AGGREGATE_MAX_FIELDS + 1);
    /* The next window has its own. */
    cr_expect_null(add(&stream, 120, "{\"f9999\":1}"));
    cr_expect_str_eq(finish(&stream, false), "{\"f9999\":1}");
    cr_expect_eq(stream.window.n_dropped, 0);
    close_stream(&stream);
}

Test(aggregate, holds_no_more_of_last_values_than_the_limit)
{
    struct stream stream = open_stream("", "", (struct ts_aggregate_options){0});
    const size_t bytes = TS_AGGREGATE_MAX_BYTES / 4;
    char *value = malloc(bytes + 64);
    const char *got;

    cr_assert_not_null(value);
    for (int i = 0; i < 6; i++) {
        const int n = snprintf(value, 64, "{\"f%d\":\"", i);

        memset(value + n, 'x', bytes);
        memcpy(value + n + bytes, "\"}", 3);
        cr_expect_null(add(&stream, 60, value));
    }
    cr_expect_null(add(&stream, 61, "{\"f5\":1}")); /* small again: it is kept */
    got = finish(&stream, false);
    cr_expect_leq(strlen(got), (size_t)TS_AGGREGATE_MAX_BYTES);
    cr_expect_not_null(strstr(got, "\"f0\":\"xxx"));
    cr_expect_null(strstr(got, "\"f4\":"));
    cr_expect_not_null(strstr(got, "\"f5\":1"));
    cr_expect_gt(stream.window.n_dropped, 0);
    cr_expect_null(add(&stream, 120, value));
    cr_expect_not_null(finish(&stream, false));
    cr_expect_eq(stream.window.n_dropped, 0);
    free(value);
    close_stream(&stream);
}

/* ---- against a model ---- */

#define N_NAMES 5

struct model_value {
    int kind; /* 0: the record has no such field, 1: integer, 2: fraction, 3: text */
    double number;
};

struct model_record {
    int64_t time_ns;
    struct model_value values[N_NAMES];
    char text[256];
};

static void
make_record(struct model_record *record)
{
    size_t used = (size_t)snprintf(record->text, sizeof record->text, "{");
    const int first = rand() % N_NAMES;

    for (int k = 0; k < N_NAMES; k++) {
        const int i = (first + k) % N_NAMES;
        struct model_value *value = &record->values[i];

        value->kind = rand() % 4;
        if (i == 0 && value->kind == 3)
            value->kind = 1;
        if (value->kind == 0)
            continue;
        used += (size_t)snprintf(record->text + used, sizeof record->text - used,
                                 "%s\"f%d\":", used > 1 ? "," : "", i);
        if (value->kind == 3) {
            used += (size_t)snprintf(record->text + used, sizeof record->text - used, "\"x%d\"",
                                     rand() % 10);
            continue;
        }
        value->number = value->kind == 1 ? rand() % 2001 - 1000 : (rand() % 20001 - 10000) / 64.0;
        used += (size_t)snprintf(record->text + used, sizeof record->text - used, "%.17g",
                                 value->number);
    }
    snprintf(record->text + used, sizeof record->text - used, "}");
}

/* What the window [from, to) of records must give for functions sum, min, max, count of all fields,
 * naively: every value is a multiple of 1/64, so sums are exact in whatever order. */
static void
model_window(const struct model_record *records, size_t n, bool all_named, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "{");

    for (int i = 0; i < N_NAMES; i++) {
        double sum = 0, least = INFINITY, greatest = -INFINITY;
        int n_values = 0, n_numbers = 0, oldest_kind = 0;
        const char *last = NULL;

        for (size_t r = 0; r < n; r++) {
            const struct model_value *value = &records[r].values[i];
            char key[16];

            if (value->kind == 0)
                continue;
            snprintf(key, sizeof key, "\"f%d\":", i);
            last = strstr(records[r].text, key) + 5;
            if (n_values++ == 0)
                oldest_kind = value->kind;
            if (value->kind == 3)
                continue;
            n_numbers++;
            sum += value->number;
            least = fmin(least, value->number);
            greatest = fmax(greatest, value->number);
        }
        if (n_values == 0)
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s", used > 1 ? "," : "");
        if (!all_named && oldest_kind == 3)
            used += (size_t)snprintf(out + used, size - used, "\"f%d\":%.*s", i,
                                     (int)strcspn(last, ",}"), last);
        else if (n_numbers == 0)
            used += (size_t)snprintf(out + used, size - used,
                                     "\"f%d_count\":%d,\"f%d_max\":null,\"f%d_min\":null,"
                                     "\"f%d_sum\":null",
                                     i, n_values, i, i, i);
        else
            used += (size_t)snprintf(out + used, size - used,
                                     "\"f%d_count\":%d,\"f%d_max\":%.17g,\"f%d_min\":%.17g,"
                                     "\"f%d_sum\":%.17g",
                                     i, n_values, i, greatest, i, least, i, sum + 0.0);
    }
    snprintf(out + used, size - used, "}");
}

Test(aggregate, agrees_with_a_naive_model)
{
    const unsigned seed = (unsigned)(getenv("TS_SEED") != NULL ? atoi(getenv("TS_SEED")) : 1);
    static struct model_record records[64];
    static struct reading readings[64];
    static char forward[1 << 15], backward[1 << 15];

    srand(seed);
    for (int round = 0; round < 400; round++) {
        const size_t n = 1 + (size_t)rand() % COUNTOF(records);
        const bool all_named = rand() % 2;
        int64_t time_ns = rand() % 100 - 50;
        const char *got;
        size_t used = 0, begin = 0;

        for (size_t i = 0; i < n; i++) {
            make_record(&records[i]);
            records[i].time_ns = time_ns;
            readings[i] = (struct reading){.time_ns = time_ns, .value = records[i].text};
            time_ns += rand() % 7;
        }
        forward[0] = backward[0] = '\0';
        for (size_t i = 1; i <= n; i++) {
            const int64_t window_no = (int64_t)floor((double)records[begin].time_ns / 10);
            char one[1024], joined[sizeof backward + 2 * sizeof one];

            if (i < n && (int64_t)floor((double)records[i].time_ns / 10) == window_no)
                continue;
            model_window(&records[begin], i - begin, all_named, one, sizeof one);
            used += (size_t)snprintf(forward + used, sizeof forward - used, "%s%lld:%s",
                                     used > 0 ? " " : "", (long long)(window_no + 1) * 10, one);
            snprintf(joined, sizeof joined, "%lld:%s%s%s", (long long)(window_no + 1) * 10, one,
                     *backward != '\0' ? " " : "", backward);
            cr_assert_lt(strlen(joined), sizeof backward);
            memcpy(backward, joined, strlen(joined) + 1);
            begin = i;
        }
        for (int back = 0; back <= 1; back++) {
            const char *fields = all_named ? "f0:sum+min+max+count,f1:sum+min+max+count,"
                                             "f2:sum+min+max+count,f3:sum+min+max+count,"
                                             "f4:sum+min+max+count"
                                           : "";
            const struct ts_aggregate_options options = {.backward = back};
            struct ts_aggregate_plan *plan = NULL;

            cr_assert_eq(plan_of("10ns", fields, "sum,count,max,min", &plan), TS_OK);
            got = computed(plan, &options, readings, n, 1);
            cr_assert_str_eq(got, back ? backward : forward,
                             "seed %u round %d backward %d:\n%s\n%s", seed, round, back, got,
                             back ? backward : forward);
            ts_aggregate_plan_free(plan);
        }
    }
}
