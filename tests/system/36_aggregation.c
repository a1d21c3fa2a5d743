/* 36_aggregation.c - windows over REST and streams. */
#include "tests/system/harness.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000000)
#define BASE (INT64_C(1700000040) * SECOND)

static struct store store;

static void
start(void)
{
    site_start();
    store = store_fixture();
}

TestSuite(aggregation, .init = start, .fini = site_stop);

static void
put_fixture(void)
{
    put_ok(&store, BASE, "{\"v\":10,\"s\":\"a\"}");
    put_ok(&store, BASE + 10 * SECOND, "{\"v\":20,\"s\":\"b\"}");
    put_ok(&store, BASE + 20 * SECOND, "{\"v\":30,\"s\":\"c\"}");
    put_ok(&store, BASE + 60 * SECOND, "{\"v\":100}");
    put_ok(&store, BASE + 180 * SECOND, "{\"v\":7}");
}

/* The objects as "<seconds behind BASE> <data>", one behind the other with "; " between. */
static const char *
windows(const char *query)
{
    const struct answer answer = store_get(&store, "/data/%s", query);
    json_t *objects = json_object_get(answer.json, "objects"), *object;
    char *all = text("%s", "");
    size_t i;

    if (answer.status != 200)
        return text("%d %s", answer.status, answer_error(&answer));
    cr_assert_not_null(answer.json, "%s", answer.body);
    json_array_foreach(objects, i, object)
    {
        const int64_t at = json_integer_value(json_object_get(object, "timestamp"));
        char *data = json_dumps(json_object_get(object, "data"),
                                JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);

        cr_expect_eq(json_integer_value(json_object_get(object, "block_num")), 0);
        cr_expect_eq(json_integer_value(json_object_get(object, "size")), 0);
        all = text("%s%s%jd %s", all, i > 0 ? "; " : "",
                   (intmax_t)(at == 0 ? 0 : (at - BASE) / SECOND), data);
        free(data);
    }
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "count")), (json_int_t)i);
    return all;
}

static const char *
range(const char *query)
{
    return windows(text("range?start_time=%jd&end_time=%jd&%s", (intmax_t)BASE,
                        (intmax_t)(BASE + 600 * SECOND), query));
}

Test(aggregation, T130_T131_T132_T133_T134_T135_T136_what_functions_give)
{
    static const struct {
        const char *query, *want;
    } rows[] = {
        {"agg_window=1m", "60 {\"s\":\"c\",\"v\":30}; 120 {\"v\":100}; 240 {\"v\":7}"},
        {"agg_window=1m&agg_default=avg",
         "60 {\"s\":\"c\",\"v\":20}; 120 {\"v\":100}; 240 {\"v\":7}"},
        {"agg_window=1m&agg_default=sum",
         "60 {\"s\":\"c\",\"v\":60}; 120 {\"v\":100}; 240 {\"v\":7}"},
        {"agg_window=1m&agg_default=avg,sum,min,max,count,last&limit=1",
         "60 {\"s\":\"c\",\"v_avg\":20,\"v_count\":3,\"v_last\":30,\"v_max\":30,\"v_min\":10,"
         "\"v_sum\":60}"},
        {"agg_window=1m&agg_fields=v:avg%2Bmax,s:count&agg_default=last&limit=1",
         "60 {\"s\":3,\"v_avg\":20,\"v_max\":30}"},
        {"agg_window=1m&agg_fields=v:avg,v:max&limit=1", "60 {\"s\":\"c\",\"v\":30}"},
        {"agg_window=1m&agg_fields=,%20v%20:%20avg%20%2B%20min%20,,s:count,&limit=1",
         "60 {\"s\":3,\"v_avg\":20,\"v_min\":10}"},
        {"agg_window=1m&agg_fields=s:max&limit=1", "60 {\"s\":null,\"v\":30}"},
        {"agg_window=1m&limit=2", "60 {\"s\":\"c\",\"v\":30}; 120 {\"v\":100}"},
        {"agg_window=1m&filter=100", "120 {\"v\":100}"},
        {"agg_window=1m&filter=nothing", ""},
        {"agg_window=1m&include_data=false&limit=1", "60 {\"s\":\"c\",\"v\":30}"},
    };

    put_fixture();
    for (size_t i = 0; i < COUNTOF(rows); i++)
        cr_expect_str_eq(range(rows[i].query), rows[i].want, "%s: %s", rows[i].query,
                         range(rows[i].query));
}

Test(aggregation, T137_T138_T141_what_is_refused)
{
    static const struct {
        const char *query, *want;
    } rows[] = {
        {"agg_window=0s", "400 aggregation window must be positive"},
        {"agg_window=-1m", "400 aggregation window must be positive"},
        {"agg_window=zz", "400 invalid agg_window: time: invalid duration \"zz\""},
        {"agg_window=1m&agg_fields=v",
         "400 invalid agg_fields: invalid field aggregation: \"v\" (expected field:function)"},
        {"agg_window=1m&agg_fields=v:med",
         "400 invalid agg_fields: invalid aggregation function \"med\" for field \"v\""},
        {"agg_window=1m&agg_default=med", "400 invalid default aggregation function: med"},
    };
    const struct store words = store_of_type("text");

    for (size_t i = 0; i < COUNTOF(rows); i++)
        cr_expect_str_eq(range(rows[i].query), rows[i].want, "%s: %s", rows[i].query,
                         range(rows[i].query));
    expect_answer(store_get(&words, "/data/newest?agg_window=1m"), 400,
                  "aggregation is only supported for json and schema stores");
    expect_answer(store_get(&store, "/data/newest?agg_window=zz&since=yy"), 400,
                  "invalid since duration: *");
}

Test(aggregation, T139_T143_mixed_values_and_plain_lists)
{
    put_ok(&store, BASE, "{\"v\":100}");
    put_ok(&store, BASE + 1, "{\"v\":\"x\"}");
    put_ok(&store, BASE + 2, "[1,2]");
    put_ok(&store, BASE + 3, "{\"v\":200}");
    cr_expect_str_eq(range("agg_window=1m&agg_default=avg"), "60 {\"v\":150}");
    cr_expect_str_eq(range("agg_window=1m&agg_fields=v:count%2Bsum%2Bmin%2Bmax%2Blast"),
                     "60 {\"v_count\":3,\"v_last\":200,\"v_max\":200,\"v_min\":100,\"v_sum\":300}");
    cr_expect_not_null(strstr(store_get(&store, "/data/oldest?agg_window=1m").body, "[1,2]"));
    cr_expect_str_eq(list(&store, "oldest?agg_window=1m&agg_default=avg"), list_all(&store));
    /* The first value of a window says what the field is in it; null is a value. */
    put_ok(&store, BASE + 60 * SECOND, "{\"v\":\"x\"}");
    put_ok(&store, BASE + 61 * SECOND, "{\"v\":7}");
    put_ok(&store, BASE + 120 * SECOND, "{\"v\":7}");
    put_ok(&store, BASE + 121 * SECOND, "{\"v\":null}");
    cr_expect_str_eq(range("agg_window=1m&agg_default=avg,count"),
                     "60 {\"v_avg\":150,\"v_count\":3}; 120 {\"v\":7}; "
                     "180 {\"v_avg\":7,\"v_count\":2}");
    cr_expect_str_eq(range("agg_window=1m"), "60 {\"v\":200}; 120 {\"v\":7}; 180 {\"v\":null}");
}

Test(aggregation, T140_newest_comes_backwards_but_ascending_with_since)
{
    const int64_t now = clock_ns(), minute = 60 * SECOND;
    const int64_t this_minute = now - now % minute;

    put_fixture();
    cr_expect_str_eq(windows("newest?agg_window=1m&agg_default=max"),
                     "240 {\"v\":7}; 120 {\"v\":100}; 60 {\"s\":\"c\",\"v\":30}");
    cr_expect_str_eq(windows("newest?agg_window=1m&agg_default=max&limit=2"),
                     "240 {\"v\":7}; 120 {\"v\":100}");
    for (int i = 5; i > 0; i--)
        put_ok(&store, this_minute - i * minute, text("{\"v\":%d}", i));
    cr_expect_str_eq(windows("newest?agg_window=1m&since=2h&limit=2"),
                     text("%jd {\"v\":2}; %jd {\"v\":1}",
                          (intmax_t)((this_minute - minute - BASE) / SECOND),
                          (intmax_t)((this_minute - BASE) / SECOND)));
    cr_expect_eq(json_integer_value(json_object_get(
                     store_get(&store, "/data/newest?agg_window=1m&since=2h").json, "count")),
                 5);
    cr_expect_str_eq(windows("newest?agg_window=1m&since=1us"), "");
}

Test(aggregation, sum_is_null_only_while_the_window_is_not_over)
{
    const int64_t now = clock_ns();

    put_fixture();
    put_ok(&store, now, "{\"v\":5}");
    cr_expect_not_null(strstr(windows("newest?agg_window=1000w&agg_default=sum&limit=1"),
                              "{\"s\":\"c\",\"v\":null}"),
                       "%s", windows("newest?agg_window=1000w&agg_default=sum&limit=1"));
    cr_expect_str_eq(windows(text("range?start_time=%jd&end_time=%jd&agg_window=1m&agg_default=sum",
                                  (intmax_t)BASE, (intmax_t)(BASE + 15 * SECOND))),
                     "60 {\"s\":\"b\",\"v\":null}");
}

Test(aggregation, T142_compact_lists_begin_with_a_legend)
{
    store = store_of_type("schema");
    cr_assert_eq(CALL(.method = "PUT", .path = text("/api/stores/%s/schema", store.name),
                      .key = store.key, .type = "application/json",
                      .body = "{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"},"
                              "{\"index\":2,\"name\":\"valve.open\",\"type\":\"bool\"}]}")
                     .status,
                 200);
    put_ok(&store, BASE, "{\"flow\":1,\"valve.open\":false}");
    put_ok(&store, BASE + SECOND, "{\"flow\":2,\"valve.open\":true}");
    put_ok(&store, BASE + 70 * SECOND, "{\"flow\":9}");
    cr_expect_str_eq(
        range("agg_window=1m&agg_default=avg&format=compact"),
        "0 {\"_schema\":{\"1\":\"flow\",\"2\":\"valve.open\"}}; 60 {\"1\":1.5,\"2\":true}; "
        "120 {\"1\":9}");
    cr_expect_str_eq(range("agg_window=1m&agg_fields=flow:min%2Bmax&format=compact&limit=1"),
                     "0 {\"_schema\":{\"1\":\"flow\",\"2\":\"valve.open\"}}; "
                     "60 {\"2\":true,\"flow_max\":2,\"flow_min\":1}");
    cr_expect_str_eq(range("agg_window=1m&agg_default=avg"),
                     "60 {\"flow\":1.5,\"valve.open\":true}; 120 {\"flow\":9}");
}

/* Far more than any limit on records would let through. */
Test(aggregation, all_records_count_however_many)
{
    struct line_client feeder;
    char *line;

    store = store_create("{\"name\":\"many\",\"num_blocks\":4096}");
    line_login(&feeder, &store);
    line = repeat('x', 0);
    for (int i = 0; i < 150; i++) {
        line = text("%s{\"v\":2}\n", line);
    }
    for (int i = 0; i < 1000; i++) {
        line_write(&feeder, line, strlen(line));
        for (int j = 0; j < 150; j++)
            cr_assert_not_null(line_read(&feeder));
    }
    line_close(&feeder);
    cr_expect_not_null(
        strstr(store_get(&store, "/data/newest?agg_window=1000w&agg_default=count&limit=1").body,
               "{\"v\":150000}"));
}

/* ---- streams ---- */

#define AGGREGATED "agg_window=1m&agg_default=sum"

Test(aggregation, a_stream_sends_each_window_of_the_history_once)
{
    struct ws *ws;

    put_fixture();
    ws = ws_read_open(&store, "from=0&" AGGREGATED);
    ws_expect(ws, text("data %jd {\"s\":\"c\",\"v\":60}", (intmax_t)(BASE + 60 * SECOND)));
    ws_expect(ws, text("data %jd {\"v\":100}", (intmax_t)(BASE + 120 * SECOND)));
    ws_expect(ws, "caught_up");
    cr_expect_str_eq(ws_word(ws, 300), "silence");
    put_ok(&store, BASE + 200 * SECOND, "{\"v\":8}");
    put_ok(&store, BASE + 300 * SECOND, "{\"v\":1}");
    ws_expect(ws, text("data %jd {\"v\":15}", (intmax_t)(BASE + 240 * SECOND)));
    cr_expect_str_eq(ws_word(ws, 300), "silence");
}

Test(aggregation, a_window_that_is_over_is_sent_when_nothing_more_comes)
{
    struct ws *ws = ws_read_open(&store, "agg_window=1s&agg_default=sum,count");
    const int64_t now = clock_ns(), end = now - now % SECOND + SECOND;

    ws_expect(ws, "caught_up");
    /* Together: a window is also over when nothing came for as long as it is. */
    cr_assert_eq(CALL(.method = "POST", .path = text("/api/stores/%s/data/batch", store.name),
                      .key = store.key, .type = "application/json",
                      .body = text("[{\"timestamp\":%jd,\"data\":{\"v\":1}},"
                                   "{\"timestamp\":%jd,\"data\":{\"v\":2}}]",
                                   (intmax_t)now, (intmax_t)now + 1))
                     .status,
                 200);
    ws_expect(ws, text("data %jd {\"v_count\":2,\"v_sum\":3}", (intmax_t)end));
    cr_expect_geq(clock_ns(), end);
    cr_expect_str_eq(ws_word(ws, 2500), "silence");
    put_ok(&store, end + 5 * SECOND, "{\"v\":4}");
    put_ok(&store, end + 6 * SECOND, "{\"v\":5}");
    ws_expect(ws, text("data %jd {\"v_count\":1,\"v_sum\":4}", (intmax_t)(end + 6 * SECOND)));
}

Test(aggregation, a_window_carries_the_number_to_go_on_from)
{
    struct ws *ws;
    json_t *message;

    put_fixture();
    ws = ws_read_open(&store, "from=0&" AGGREGATED);
    message = ws_next(ws, PATIENCE_MS, NULL);
    cr_expect_eq(json_integer_value(json_object_get(message, "record")), 3);
    ws = ws_read_open(&store, "after_record=3&" AGGREGATED);
    ws_expect(ws, text("data %jd {\"v\":100}", (intmax_t)(BASE + 120 * SECOND)));
}

Test(aggregation, the_end_of_the_server_cuts_the_open_window)
{
    struct ws *ws = ws_read_open(&store, "agg_window=1000w&agg_default=sum,count");

    ws_expect(ws, "caught_up");
    put_ok(&store, clock_ns(), "{\"v\":1}");
    cr_expect_str_eq(ws_word(ws, 500), "silence");
    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    cr_expect_not_null(strstr(ws_word(ws, PATIENCE_MS), "{\"v_count\":1,\"v_sum\":null}"));
}

Test(aggregation, a_stream_refuses_what_a_list_refuses)
{
    const struct store words = store_of_type("text");
    struct ws *ws = ws_read_open(&store, "agg_window=zz");

    ws_expect(ws, "error invalid agg_window: time: invalid duration \"zz\"");
    ws = ws_read_open(&words, "agg_window=1m");
    ws_expect(ws, "error aggregation is only supported for json and schema stores");
}

Test(aggregation, a_filter_comes_before_the_windows)
{
    struct ws *ws;

    put_fixture();
    ws = ws_read_open(&store, "from=0&filter=00&" AGGREGATED);
    ws_expect(ws, "caught_up");
    put_ok(&store, BASE + 240 * SECOND, "{\"v\":1}");
    put_ok(&store, BASE + 300 * SECOND, "{\"v\":200}");
    ws_expect(ws, text("data %jd {\"v\":100}", (intmax_t)(BASE + 120 * SECOND)));
}
