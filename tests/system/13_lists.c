/* 13_lists.c - oldest, newest, range: order, limits, bounds, durations, filters. */
#include "tests/system/harness.h"

#include <pthread.h>
#include <stdlib.h>

TestSuite(lists, .init = site_start, .fini = site_stop);

#define HOUR INT64_C(3600000000000)

/* How many objects of an answer carry data that is not null. */
static size_t
with_data(const struct answer *answer)
{
    json_t *objects = json_object_get(answer->json, "objects"), *object;
    size_t i, n = 0;

    json_array_foreach(objects, i, object)
    {
        json_t *data = json_object_get(object, "data");

        cr_expect_not_null(data, "an object without a data field");
        n += data != NULL && !json_is_null(data);
    }
    return n;
}

Test(lists, T080_an_empty_store_has_empty_lists)
{
    static const char *const queries[] = {"oldest", "newest", "range?since=1h", "range?after=0",
                                          "newest?since=1h"};
    struct store store = store_fixture();

    for (size_t i = 0; i < COUNTOF(queries); i++) {
        struct answer answer = store_get(&store, "/data/%s", queries[i]);

        cr_expect_eq(answer.status, 200, "%s", answer.body);
        cr_expect_str_eq(answer.body, "{\"objects\":[],\"count\":0}");
    }
}

Test(lists, T081_T082_T083_T084_limits)
{
    static const struct {
        const char *query, *want;
    } rows[] = {
        {"oldest", "1 2 3 4 5 6 7 8 9 10"},
        {"newest?limit=3", "15 14 13"},
        {"newest", "15 14 13 12 11 10 9 8 7 6"},
        {"oldest?limit=abc", "1 2 3 4 5 6 7 8 9 10"},
        {"oldest?limit=0", "1 2 3 4 5 6 7 8 9 10"},
        {"oldest?limit=-1", "1 2 3 4 5 6 7 8 9 10"},
        {"oldest?limit=", "1 2 3 4 5 6 7 8 9 10"},
        {"oldest?limit=2.5", "1 2 3 4 5 6 7 8 9 10"},
        {"oldest?limit=1&limit=5", "1"},
        {"newest?limit=9000000000000000000", "15 14 13 12 11 10 9 8 7 6 5 4 3 2 1"},
        {"range?after=0", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"},
        {"range?after=0&limit=1000000000", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"},
        {"oldest?since=1h&after=5&limit=2", "1 2"},
    };
    struct store store = store_fixture();

    put_run(&store, 1, 15, "1");
    for (size_t i = 0; i < COUNTOF(rows); i++)
        cr_expect_str_eq(list(&store, "%s", rows[i].query), rows[i].want, "%s: %s", rows[i].query,
                         list(&store, "%s", rows[i].query));
}

Test(lists, T085_T086_T088_data_is_left_out_on_the_exact_word_only)
{
    static const struct {
        const char *query;
        json_int_t count;
        size_t want;
    } rows[] = {
        {"oldest?limit=2&include_data=false", 2, 0},
        {"oldest?limit=2&include_data=0", 2, 2},
        {"oldest?limit=2&include_data=False", 2, 2},
        {"oldest?limit=2", 2, 2},
        {"newest?limit=2&include_data=false", 2, 0},
        {"newest?limit=2", 2, 2},
        {"range?start_time=3&end_time=5", 3, 0},
        {"range?start_time=3&end_time=5&include_data=1", 3, 0},
        {"range?start_time=3&end_time=5&include_data=true", 3, 3},
    };
    struct store store = store_fixture();

    put_run(&store, 1, 15, "{\"a\":1}");
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct answer answer = store_get(&store, "/data/%s", rows[i].query);

        cr_expect_eq(answer.status, 200, "%s", answer.body);
        cr_expect_eq(json_integer_value(json_object_get(answer.json, "count")), rows[i].count,
                     "%s: %s", rows[i].query, answer.body);
        cr_expect_eq(with_data(&answer), rows[i].want, "%s: %s", rows[i].query, answer.body);
    }
}

Test(lists, T087_T091_T093_bounds)
{
    static const struct {
        const char *query, *want;
    } rows[] = {
        {"range?start_time=3&end_time=5", "3 4 5"},
        {"range?start_time=13", "13 14 15"},
        {"range?end_time=2", "1 2"},
        {"range?start_time=0&end_time=2", "1 2"},
        {"range?start_time=14&end_time=0", "14 15"},
        {"range?start_time=-5&end_time=2", "1 2"},
        {"range?start_time=5&end_time=5", "5"},
        {"range?start_time=16", ""},
        {"range?start_time=9223372036854775807", ""},
        {"range?end_time=-1", ""},
        {"range?after=13", "14 15"},
        {"range?after=15", ""},
        {"range?after=-9223372036854775808&limit=2", "1 2"},
        {"range?after=9223372036854775807", ""},
        {"range?after=9223372036854775806", ""},
        {"range?after=13&start_time=1&end_time=2", "14 15"},
    };
    struct store store = store_fixture();

    put_run(&store, 1, 15, "1");
    for (size_t i = 0; i < COUNTOF(rows); i++)
        cr_expect_str_eq(list(&store, "%s", rows[i].query), rows[i].want, "%s: %s", rows[i].query,
                         list(&store, "%s", rows[i].query));
}

Test(lists, T091_a_lone_end_before_the_oldest_is_empty)
{
    struct store store = store_fixture();

    put_ok(&store, 1000, "1");
    cr_expect_str_eq(list(&store, "range?end_time=500"), "");
}

Test(lists, T089_T090_T092_refused_parameters)
{
    static const struct {
        const char *query, *error;
    } rows[] = {
        {"range", "start_time, end_time, after, or since parameter required"},
        {"range?since=&after=&start_time=&end_time=",
         "start_time, end_time, after, or since parameter required"},
        {"range?start_time=5&end_time=2", "invalid timestamp"},
        {"range?after=x", "invalid after timestamp"},
        {"range?after=99999999999999999999", "invalid after timestamp"},
        {"range?start_time=x", "invalid start_time"},
        {"range?end_time=x", "invalid end_time"},
        {"range?start_time=1&end_time=1.5", "invalid end_time"},
    };
    struct store store = store_fixture();

    put_run(&store, 1, 5, "1");
    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect_answer(store_get(&store, "/data/%s", rows[i].query), 400, rows[i].error);
}

Test(lists, T094_paging_with_after_skips_and_repeats_nothing)
{
    struct store store = store_fixture();
    const char *all = "";
    int64_t after = 0;

    put_run(&store, 1001, 1100, "{\"t\":21.5}");
    for (int page = 0; page < 20; page++) {
        const char *times = list(&store, "range?after=%jd&limit=12", (intmax_t)after);

        if (*times == '\0')
            break;
        all = text("%s%s%s", all, *all == '\0' ? "" : " ", times);
        after = strtoll(strrchr(times, ' ') != NULL ? strrchr(times, ' ') : times, NULL, 10);
    }
    cr_expect_str_eq(all, run_of(1001, 1100));
}

Test(lists, T095_a_range_may_start_inside_a_block)
{
    struct store store = store_fixture();

    put_run(&store, 1001, 1100, "{\"t\":21.5}");
    cr_expect_str_eq(list(&store, "range?start_time=1005&end_time=1030&limit=1000"),
                     run_of(1005, 1030));
    for (int64_t first = 1001; first <= 1100; first += 7)
        cr_expect_str_eq(list(&store, "range?start_time=%jd&limit=5", (intmax_t)first),
                         run_of(first, first + 4 < 1100 ? first + 4 : 1100));
}

Test(lists, T096_T097_a_spanning_object_hides_nothing)
{
    struct store store = store_fixture();

    for (int64_t t = 10; t <= 90; t += 10)
        put_ok(&store, t, text("\"%s\"", repeat('x', t == 50 ? 1300 : 120)));
    for (int64_t t = 10; t <= 90; t += 10)
        cr_expect_eq(store_get(&store, "/data/time/%jd", (intmax_t)t).status, 200, "%jd",
                     (intmax_t)t);
    cr_expect_str_eq(list(&store, "range?start_time=20&end_time=100"), "20 30 40 50 60 70 80 90");
    cr_expect_str_eq(list(&store, "range?start_time=1&end_time=45"), "10 20 30 40");
}

Test(lists, T098_T099_since_reads_durations)
{
    static const char *const long_enough[] = {"1.5h",  "1h30m",     "90m",    "2d",
                                              ".5d",   "1e2d",      "1w",     "%20%202h",
                                              "5400s", "5400000ms", "+1h30m", "1h29m59.999s"};
    static const char *const too_short[] = {"500ms", "0", "0s", "1us", "1%C2%B5s", "1ns", "59m"};
    struct store store = store_fixture();
    const int64_t then = clock_ns() - HOUR;

    put_ok(&store, then, "1");
    for (size_t i = 0; i < COUNTOF(long_enough); i++) {
        const char *since = strcmp(long_enough[i], "+1h30m") == 0 ? "%2B1h30m" : long_enough[i];

        cr_expect_str_eq(list(&store, "range?since=%s", since), text("%jd", (intmax_t)then),
                         "%s: %s", since, list(&store, "range?since=%s", since));
    }
    for (size_t i = 0; i < COUNTOF(too_short); i++)
        cr_expect_str_eq(list(&store, "range?since=%s", too_short[i]), "", "%s: %s", too_short[i],
                         list(&store, "range?since=%s", too_short[i]));
}

Test(lists, T100_T101_since_refuses_what_is_no_duration)
{
    static const char *const rows[] = {"zz",     "3600", "7D",   "1y",         "d",      "1h30d",
                                       "1d12h",  "-5m",  "infd", "NaNd",       "20000w", "%20",
                                       "1e400d", "h",    ".",    "9999999999h"};
    struct store store = store_fixture();

    put_ok(&store, 1, "1");
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        expect_answer(store_get(&store, "/data/range?since=%s", rows[i]), 400,
                      "invalid since duration: *");
        expect_answer(store_get(&store, "/data/newest?since=%s", rows[i]), 400,
                      "invalid since duration: *");
    }
}

Test(lists, T100_the_reason_names_the_fault)
{
    static const struct {
        const char *since, *error;
    } rows[] = {
        {"zz", "invalid since duration: time: invalid duration \"zz\""},
        {"3600", "invalid since duration: time: missing unit in duration \"3600\""},
        {"1y", "invalid since duration: time: unknown unit \"y\" in duration \"1y\""},
        {"1h30d", "invalid since duration: invalid duration: 1h30d"},
    };
    struct store store = store_fixture();

    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect_answer(store_get(&store, "/data/range?since=%s", rows[i].since), 400, rows[i].error);
}

Test(lists, T102_since_wins_over_the_others)
{
    struct store store = store_fixture();

    cr_expect_eq(store_get(&store, "/data/range?since=1h&after=x&start_time=y").status, 200);
}

Test(lists, T103_newest_with_since_is_the_newest_ascending)
{
    struct store store = store_fixture();
    const int64_t base = clock_ns() - HOUR / 2;
    const char *all = "";

    for (int64_t i = 0; i < 5; i++) {
        put_ok(&store, base + i, "1");
        all = text("%s%s%jd", all, i == 0 ? "" : " ", (intmax_t)(base + i));
    }
    cr_expect_str_eq(list(&store, "newest?limit=2&since=3650d"),
                     text("%jd %jd", (intmax_t)(base + 3), (intmax_t)(base + 4)));
    cr_expect_str_eq(list(&store, "newest?limit=10&since=3650d"), all);
    cr_expect_str_eq(list(&store, "newest?limit=2&since=1m"), "");
}

Test(lists, T104_filter_is_exact_unless_told_otherwise)
{
    static const struct {
        const char *query, *want;
    } rows[] = {
        {"oldest?filter=B1", "1"},
        {"oldest?filter=B1&filter_ignore_case=true", "1 2"},
        {"oldest?filter=B1&filter_ignore_case=1", "1"},
        {"newest?filter=b1", "2"},
        {"range?after=0&filter=B1", "1"},
        {"oldest?filter=", "1 2 3 4 5"},
        {"oldest?filter=zz", ""},
        {"oldest?filter=%C3%84", "3"},
        {"oldest?filter=%C3%84&filter_ignore_case=true", "3 4"},
        {"oldest?filter=%22a%22%3A%201", "5"},
        {"oldest?filter=%22a%22%3A1", ""},
    };
    struct store store = store_fixture();

    put_ok(&store, 1, "{\"s\":\"B1\"}");
    put_ok(&store, 2, "{\"s\":\"b1\"}");
    put_ok(&store, 3, "{\"s\":\"\xc3\x84\"}");
    put_ok(&store, 4, "{\"s\":\"\xc3\xa4\"}");
    put_ok(&store, 5, "{\"a\": 1}");
    for (size_t i = 0; i < COUNTOF(rows); i++)
        cr_expect_str_eq(list(&store, "%s", rows[i].query), rows[i].want, "%s: %s", rows[i].query,
                         list(&store, "%s", rows[i].query));
}

Test(lists, T104_filter_sees_the_raw_bytes_of_binary_stores)
{
    struct store store = store_of_type("binary");
    struct answer first = store_post(&store, "application/octet-stream", "\x00needle\xff", 8);

    cr_assert_eq(first.status, 201);
    cr_assert_eq(store_post(&store, "application/octet-stream", "hay", 3).status, 201);
    cr_expect_str_eq(
        list(&store, "oldest?filter=needle"),
        text("%jd", (intmax_t)json_integer_value(json_object_get(first.json, "timestamp"))));
}

Test(lists, T105_filter_applies_before_limit)
{
    struct store store = store_fixture();

    put_run(&store, 1, 99, "{\"s\":\"hay\"}");
    put_ok(&store, 100, "{\"s\":\"needle\"}");
    cr_expect_str_eq(list(&store, "oldest?limit=1&filter=needle"), "100");
    cr_expect_str_eq(list(&store, "range?start_time=5&limit=1&filter=needle"), "100");
}

Test(lists, T106_objects_ahead_of_the_clock_are_there)
{
    struct store store = store_fixture();
    const int64_t ahead = clock_ns() + HOUR;
    const char *want = text("%jd", (intmax_t)ahead);

    put_ok(&store, ahead, "1");
    cr_expect_str_eq(list(&store, "newest"), want);
    cr_expect_str_eq(list(&store, "oldest"), want);
    cr_expect_str_eq(list(&store, "range?after=0"), want);
    cr_expect_str_eq(list(&store, "range?start_time=1"), want);
    cr_expect_str_eq(list(&store, "range?since=2h"), "");
}

Test(lists, objects_keep_their_fields_in_every_list)
{
    struct store store = store_fixture();
    static const char *const queries[] = {"oldest", "newest", "range?after=0&include_data=true"};

    put_ok(&store, 7, "{\"a\": [1, 2]}");
    for (size_t i = 0; i < COUNTOF(queries); i++) {
        struct answer answer = store_get(&store, "/data/%s", queries[i]);
        json_t *object = json_array_get(json_object_get(answer.json, "objects"), 0);

        cr_assert_not_null(object, "%s", answer.body);
        cr_expect_eq(json_integer_value(json_object_get(object, "timestamp")), 7);
        cr_expect_eq(json_integer_value(json_object_get(object, "size")), 13);
        cr_expect(json_is_integer(json_object_get(object, "block_num")));
        cr_expect_eq(json_array_size(json_object_get(json_object_get(object, "data"), "a")), 2);
    }
}

/* ---- T107 ---- */

struct churn {
    struct store store;
    _Atomic bool is_over;
    int64_t written;
};

/* What object t holds, so that a reader can tell foreign bytes. */
static int
content(int64_t t, char out[256])
{
    return snprintf(out, 256, "{\"t\":%jd,\"p\":\"%.*s\"}", (intmax_t)t, (int)(t * 7 % 180),
                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                    "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
                    "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz");
}

static void *
write_on(void *arg)
{
    struct churn *churn = arg;
    struct line_client client;
    char line[256];

    line_login(&client, &churn->store);
    for (int64_t t = 1; !churn->is_over; t++) {
        const char *answer;

        content(t, line);
        answer = line_ask(&client, "@%jd %s", (intmax_t)t, line);
        cr_assert(answer != NULL && strncmp(answer, "OK ", 3) == 0, "%s", answer);
        churn->written = t;
    }
    line_close(&client);
    return NULL;
}

static void
check_objects(json_t *objects, bool is_ascending)
{
    json_t *object;
    int64_t before = is_ascending ? 0 : INT64_MAX;
    size_t i;

    json_array_foreach(objects, i, object)
    {
        const int64_t t = json_integer_value(json_object_get(object, "timestamp"));
        char want[256];
        const int bytes = content(t, want);
        json_t *wanted = json_loadb(want, (size_t)bytes, 0, NULL);

        cr_assert(is_ascending ? t > before : t < before, "%jd behind %jd", (intmax_t)t,
                  (intmax_t)before);
        cr_assert_eq(json_integer_value(json_object_get(object, "size")), bytes);
        cr_assert(json_equal(json_object_get(object, "data"), wanted), "foreign bytes at %jd",
                  (intmax_t)t);
        json_decref(wanted);
        before = t;
    }
}

Test(lists, T107_lists_of_a_full_ring_are_whole_while_it_is_written)
{
    static struct churn churn;
    const int64_t until = clock_ms() + 10000;
    pthread_t writer;
    long n_lists = 0;

    churn.store = store_create("{\"name\":\"N8\",\"num_blocks\":8,\"data_block_size\":256,"
                               "\"index_block_size\":64}");
    cr_assert_eq(pthread_create(&writer, NULL, write_on, &churn), 0);
    while (clock_ms() < until) {
        struct answer answer = store_get(&churn.store, "/data/%s?limit=100000",
                                         n_lists % 2 == 0 ? "oldest" : "newest");

        cr_assert_eq(answer.status, 200, "%s", answer.body);
        cr_assert_not_null(answer.json, "%s", answer.body);
        check_objects(json_object_get(answer.json, "objects"), n_lists % 2 == 0);
        n_lists++;
    }
    churn.is_over = true;
    pthread_join(writer, NULL);
    cr_expect_gt(n_lists, 10);
    cr_expect_gt(churn.written, 200);
}

Test(lists, a_large_list_is_streamed_whole)
{
    struct store store = store_create("{\"name\":\"large\"}");
    struct line_client client;
    const char *listed;
    long rss;

    line_login(&client, &store);
    for (int64_t t = 1; t <= 20000; t += 100) {
        for (int64_t i = t; i < t + 100; i++)
            line_send(&client, "@%jd {\"t\":%jd,\"pad\":\"%040jd\"}\n", (intmax_t)i, (intmax_t)i,
                      (intmax_t)i);
        for (int64_t i = t; i < t + 100; i++)
            cr_assert_str_eq(line_read(&client), text("OK %jd", (intmax_t)i));
    }
    line_close(&client);
    cr_assert_not_null(list(&store, "newest?limit=100"));
    rss = process_rss_kib(&site.queryd[0]);
    listed = list(&store, "oldest?limit=1000000");
    cr_expect(strcmp(listed, run_of(1, 20000)) == 0, "starts with %.60s", listed);
    cr_expect_lt(process_rss_kib(&site.queryd[0]) - rss, 32 * 1024);
}
