/* 38_metrics.c - what those see who watch over the daemons, and the limits they set. */
#include "tests/system/harness.h"

#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct store store;

static void
start_with(const char *config)
{
    site_prepare(config);
    ingestd_start();
    queryd_start(0);
    store = store_fixture();
}

static void
start(void)
{
    start_with("{\"limits\":{\"max_connections\":64},\"log\":{\"level\":\"debug\"}}");
}

static void
start_json(void)
{
    start_with("{\"log\":{\"level\":\"debug\",\"format\":\"json\"}}");
}

TestSuite(metrics, .init = start, .fini = site_stop);
TestSuite(metrics_json, .init = start_json, .fini = site_stop);

/* ---- reading figures ---- */

static const char *
figures_of(int port)
{
    const struct answer answer = CALL(.path = "/metrics", .port = port);

    cr_assert_eq(answer.status, 200, "%s", answer.body);
    cr_assert_str_eq(answer_header(&answer, "Content-Type"),
                     "text/plain; version=0.0.4; charset=utf-8");
    return answer.body;
}

/* The value of the sample that begins with exactly this; -1 if there is none. */
static double
value_of(const char *figures, const char *sample)
{
    const char *at = strstr(figures, text("\n%s ", sample));

    return at != NULL ? atof(at + strlen(sample) + 2) : -1;
}

static double
now_at(int port, const char *sample)
{
    return value_of(figures_of(port), sample);
}

/* Each line is of the format; a sample belongs to the metric that was begun last. */
static void
expect_well_formed(const char *figures)
{
    char metric[128] = "";
    regex_t sample;

    cr_assert_eq(regcomp(&sample,
                         "^[a-zA-Z_:][a-zA-Z0-9_:]*"
                         "(\\{([a-zA-Z_]+=\"([^\"\\\\]|\\\\.)*\",?)+\\})? "
                         "([-+]?[0-9.eE+-]+|NaN|[+-]Inf)$",
                         REG_EXTENDED | REG_NOSUB),
                 0);
    while (*figures != '\0') {
        const size_t bytes = strcspn(figures, "\n");
        const char *line = text("%.*s", (int)bytes, figures);

        cr_assert_eq(figures[bytes], '\n', "the last line has no end");
        if (strncmp(line, "# TYPE ", 7) == 0) {
            cr_assert_eq(sscanf(line, "# TYPE %127s", metric), 1);
        } else if (strncmp(line, "# HELP ", 7) != 0) {
            cr_expect_eq(regexec(&sample, line, 0, NULL, 0), 0, "%s", line);
            cr_expect_eq(strncmp(line, metric, strlen(metric)), 0, "%s stands under %s", line,
                         metric);
        }
        figures += bytes + 1;
    }
    regfree(&sample);
}

Test(metrics, both_daemons_tell_figures_of_the_right_form)
{
    put_run(&store, 1, 20, "{\"v\":1}");
    store_get(&store, "/data/newest");
    expect_well_formed(figures_of(site.queryd[0].port));
    expect_well_formed(figures_of(site.ingestd.port));
    cr_expect_eq(now_at(site.queryd[0].port, "tsstore_info{daemon=\"queryd\",version=\"0.1.0\"}"),
                 1);
    cr_expect_eq(now_at(site.ingestd.port, "tsstore_info{daemon=\"ingestd\",version=\"0.1.0\"}"),
                 1);
    cr_expect_eq(now_at(site.queryd[0].port, "tsstore_ingestd_connected"), 1);
}

Test(metrics, requests_are_counted_by_route_and_status)
{
    const int port = site.queryd[0].port;

    for (int i = 0; i < 3; i++)
        store_get(&store, "/data/newest");
    store_get(&store, "/data/newest?since=zz");
    CALL(.path = "/nowhere");
    CALL(.path = text("/api/stores/%s/stats", store.name));
    cr_expect_eq(now_at(port, "tsstore_http_requests_total{method=\"GET\","
                              "route=\"/api/stores/:store/data/newest\",code=\"200\"}"),
                 3);
    cr_expect_eq(now_at(port, "tsstore_http_requests_total{method=\"GET\","
                              "route=\"/api/stores/:store/data/newest\",code=\"400\"}"),
                 1);
    cr_expect_eq(now_at(port, "tsstore_http_requests_total{method=\"\",route=\"\",code=\"404\"}"),
                 1);
    cr_expect_eq(now_at(port, "tsstore_http_requests_total{method=\"GET\","
                              "route=\"/api/stores/:store/stats\",code=\"401\"}"),
                 1);
    cr_expect_eq(now_at(port, "tsstore_http_request_duration_seconds_count{method=\"GET\","
                              "route=\"/api/stores/:store/data/newest\"}"),
                 4);
    cr_expect_eq(now_at(port, "tsstore_http_request_duration_seconds_bucket{method=\"GET\","
                              "route=\"/api/stores/:store/data/newest\",le=\"+Inf\"}"),
                 4);
    cr_expect_gt(now_at(port, "tsstore_http_response_bytes_total"), 500);
}

Test(metrics, a_store_tells_where_it_stands)
{
    const int ports[] = {site.queryd[0].port, site.ingestd.port};
    const char *name = store.name;

    put_run(&store, INT64_C(1000000000), INT64_C(1000000000) + 199, "{\"some\":\"payload\"}");
    for (size_t i = 0; i < COUNTOF(ports); i++) {
        const char *all = figures_of(ports[i]);

        cr_expect_eq(value_of(all, text("tsstore_store_next_record{store=\"%s\"}", name)), 201);
        cr_expect_gt(value_of(all, text("tsstore_store_records{store=\"%s\"}", name)), 10);
        cr_expect_geq(
            value_of(all, text("tsstore_store_oldest_timestamp_seconds{store=\"%s\"}", name)), 1);
        cr_expect_gt(value_of(all, text("tsstore_store_file_bytes{store=\"%s\"}", name)), 0);
        cr_expect_geq(value_of(all, text("tsstore_store_durable_lag_records{store=\"%s\"}", name)),
                      0);
        cr_expect_eq(value_of(all, "tsstore_stores"), 1);
    }
}

/* 60 s of records fill a part of the ring; the whole ring takes in proportion longer. */
Test(metrics, syncs_and_those_that_failed_are_counted)
{
    struct store careful = store_create("{\"name\":\"careful\",\"num_blocks\":64,"
                                        "\"data_block_size\":256,\"sync\":\"each\"}");
    const int port = site.ingestd.port;

    put_ok(&careful, 1, "1");
    cr_expect_geq(now_at(port, "tsstore_syncs_total{store=\"careful\"}"), 1);
    cr_expect_eq(now_at(port, "tsstore_sync_failures_total{store=\"careful\"}"), 0);
    cr_expect_eq(now_at(site.queryd[0].port, "tsstore_syncs_total{store=\"careful\"}"), -1,
                 "it is not queryd that syncs");
    cr_assert_eq(truncate(store_path(&careful, "data.tsdb"), 1000), 0);
    cr_expect_neq(put(&careful, 2, "2").status, 201);
    cr_expect_geq(now_at(port, "tsstore_sync_failures_total{store=\"careful\"}"), 1);
    cr_assert_eq(CALL(.method = "DELETE", .path = "/api/stores/careful", .key = careful.key).status,
                 200);
}

Test(metrics, seconds_until_overwrite_are_told_once_there_is_something_to_go_by)
{
    const char *sample = text("tsstore_store_seconds_until_overwrite{store=\"%s\"}", store.name);
    const int64_t base = INT64_C(1700000000) * 1000000000;
    double left;

    cr_expect_eq(now_at(site.queryd[0].port, sample), -1);
    for (int i = 0; i < 60; i++)
        put_ok(&store, base + i * INT64_C(1000000000), text("\"%0150d\"", i * 7919));
    left = now_at(site.queryd[0].port, sample);
    cr_expect_geq(left, 10);
    cr_expect_leq(left, 10000);
}

Test(metrics, ingestd_tells_what_it_took_and_what_it_refused_and_why)
{
    const int port = site.ingestd.port;
    struct line_client feeder;

    put_ok(&store, 100, "1");
    expect_answer(put(&store, 100, "1"), 409, NULL);
    expect_answer(put(&store, 50, "1"), 409, NULL);
    expect_answer(store_post(&store, "text/plain", "x", 1), 400, NULL);
    line_login(&feeder, &store);
    line_ask(&feeder, "{\"a\":1}");
    line_ask(&feeder, "zz");
    cr_expect_eq(now_at(port, "tsstore_feeders"), 1);
    cr_expect_eq(now_at(port, "tsstore_appended_total{way=\"http\"}"), 1);
    cr_expect_eq(now_at(port, "tsstore_appended_total{way=\"socket\"}"), 1);
    cr_expect_eq(now_at(port, "tsstore_refused_total{way=\"http\",reason=\"timestamp_order\"}"), 2);
    cr_expect_eq(now_at(port, "tsstore_refused_total{way=\"http\",reason=\"content_type\"}"), 1);
    cr_expect_eq(now_at(port, "tsstore_refused_total{way=\"socket\",reason=\"json\"}"), 1);
    cr_expect_eq(now_at(port, "tsstore_refused_total{way=\"socket\",reason=\"timestamp_order\"}"),
                 0);
    cr_expect_gt(now_at(port, "tsstore_events_sent_total"), 0);
    cr_expect_eq(now_at(port, "tsstore_loop_alive"), 1);
    line_close(&feeder);
    AWAIT(PATIENCE_MS, now_at(port, "tsstore_feeders") == 0);
}

Test(metrics, streams_their_messages_and_their_gaps_are_counted)
{
    const int port = site.queryd[0].port;
    struct ws *ws;

    put_run(&store, 1, 2000, text("\"%s\"", repeat('x', 100)));
    ws = ws_read_open(&store, "after_record=1");
    ws_expect(ws, "gap");
    cr_expect_eq(now_at(port, "tsstore_streams"), 1);
    cr_expect_eq(now_at(port, "tsstore_websockets"), 1);
    while (strcmp(ws_word(ws, PATIENCE_MS), "caught_up") != 0)
        ;
    AWAIT(PATIENCE_MS, now_at(port, "tsstore_stream_messages_total") > 5);
    cr_expect_eq(now_at(port, "tsstore_stream_gaps_total"), 1);
    cr_expect_gt(now_at(port, "tsstore_stream_gap_records_total"), 100);
    ws_close(ws);
    AWAIT(PATIENCE_MS, now_at(port, "tsstore_streams") == 0);
    AWAIT(PATIENCE_MS, now_at(port, "tsstore_websockets") == 0);
}

Test(metrics, alive_and_ready)
{
    const int ports[] = {site.queryd[0].port, site.ingestd.port};
    const char *away = text("%s.away", site.data);

    for (size_t i = 0; i < COUNTOF(ports); i++) {
        expect_answer(CALL(.path = "/healthz", .port = ports[i]), 200, NULL);
        expect_answer(CALL(.path = "/readyz", .port = ports[i]), 200, NULL);
        expect_answer(CALL(.method = "HEAD", .path = "/readyz", .port = ports[i]), 200, NULL);
    }
    cr_assert_eq(rename(site.data, away), 0);
    expect_answer(CALL(.path = "/readyz"), 503, "the data directory cannot be read");
    expect_answer(CALL(.path = "/healthz"), 200, NULL);
    cr_assert_eq(rename(away, site.data), 0);
    expect_answer(CALL(.path = "/readyz"), 200, NULL);
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    expect_answer(CALL(.path = "/readyz"), 200, NULL);
    AWAIT(PATIENCE_MS, now_at(site.queryd[0].port, "tsstore_ingestd_connected") == 0);
    ingestd_start();
}

/* ---- request ids ---- */

Test(metrics, a_request_id_is_echoed_or_made)
{
    static const char *const bad[] = {"with blank", "quote\"", "\xc3\xa4", ""};
    struct answer one = CALL(.path = "/health", .header = {"X-Request-Id: abc-1.2:3/4"});
    struct answer two = CALL(.path = "/nowhere"), three = CALL(.path = "/nowhere");

    cr_expect_str_eq(answer_header(&one, "X-Request-Id"), "abc-1.2:3/4");
    cr_expect_eq(strlen(answer_header(&two, "X-Request-Id")), 16);
    cr_expect_str_neq(answer_header(&two, "X-Request-Id"), answer_header(&three, "X-Request-Id"));
    one = CALL(.path = "/health", .port = site.ingestd.port, .header = {"x-request-id: q"});
    cr_expect_str_eq(answer_header(&one, "X-Request-Id"), "q");
    for (size_t i = 0; i < COUNTOF(bad); i++) {
        one = CALL(.path = "/health", .header = {text("X-Request-Id: %s", bad[i])});
        cr_expect_eq(strlen(answer_header(&one, "X-Request-Id")), 16, "'%s'", bad[i]);
    }
    one = CALL(.path = "/health", .header = {text("X-Request-Id: %s", repeat('a', 64))});
    cr_expect_eq(strlen(answer_header(&one, "X-Request-Id")), 64);
    one = CALL(.path = "/health", .header = {text("X-Request-Id: %s", repeat('a', 65))});
    cr_expect_eq(strlen(answer_header(&one, "X-Request-Id")), 16);
}

/* ---- the log ---- */

Test(metrics, each_request_is_a_line_at_debug_level_without_its_key)
{
    struct answer answer =
        CALL(.path = text("/api/stores/%s/stats?api_key=%s", store.name, store.key),
             .header = {"X-Request-Id: findme"});

    cr_assert_eq(answer.status, 200);
    AWAIT(PATIENCE_MS, process_said(&site.queryd[0], "request findme"));
    cr_expect(process_said(&site.queryd[0], text("GET /api/stores/%s/stats: 200", store.name)));
    cr_expect(!process_said(&site.queryd[0], store.key));
}

Test(metrics_json, each_line_of_the_log_is_json_if_so_wished)
{
    char line[4096];
    size_t n = 0;
    FILE *log;

    CALL(.path = "/a%22b%5Cc%0Ad%FFe");
    AWAIT(PATIENCE_MS, process_said(&site.queryd[0], "404"));
    log = fopen(site.queryd[0].log, "re");
    cr_assert_not_null(log);
    while (fgets(line, sizeof line, log) != NULL) {
        json_t *json = json_loads(line, 0, NULL);

        cr_assert_not_null(json, "%s", line);
        cr_expect_str_eq(json_string_value(json_object_get(json, "program")), "queryd");
        cr_expect_not_null(json_string_value(json_object_get(json, "message")));
        cr_expect_not_null(json_string_value(json_object_get(json, "level")));
        cr_expect_eq(strlen(json_string_value(json_object_get(json, "time"))), 24);
        json_decref(json);
        n++;
    }
    fclose(log);
    cr_expect_gt(n, 0);
}

/* ---- limits ---- */

Test(metrics_json, an_idle_queryd_has_no_more_threads_than_it_may_have_clients)
{
    cr_expect_lt(now_at(site.queryd[0].port, "process_threads"), 310);
}

Test(metrics, a_head_that_is_too_large_is_told_so)
{
    const char *request =
        text("GET /health HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", repeat('x', 20000));
    const int ports[] = {site.queryd[0].port, site.ingestd.port};

    for (size_t i = 0; i < COUNTOF(ports); i++) {
        char *answer = tcp_exchange(ports[i], request, 5000);

        cr_expect_eq(strncmp(answer, "HTTP/1.1 431 Request Header Fields Too Large\r\n", 46), 0,
                     "%.200s", answer);
        cr_expect_not_null(strstr(answer, "\"error\":\"request head too large\""));
        answer = tcp_exchange(ports[i], "GET /health HTTP/1.1\r\nHost: \x01\r\n\r\n", 5000);
        cr_expect_eq(strncmp(answer, "HTTP/1.1 400 Bad Request\r\n", 26), 0, "%.200s", answer);
        cr_expect_eq(now_at(ports[i], "tsstore_http_malformed_requests_total"), 1);
        cr_expect_eq(
            now_at(ports[i], "tsstore_http_requests_total{method=\"\",route=\"\",code=\"431\"}"),
            1);
    }
}

Test(metrics, one_client_too_many_is_told_so)
{
    int fds[80];
    char answer[2048] = "";

    for (size_t i = 0; i < COUNTOF(fds); i++) {
        fds[i] = tcp_connect(site.queryd[0].port, 0);
        cr_assert_geq(fds[i], 0);
    }
    for (size_t i = 0; i < COUNTOF(fds); i++)
        cr_assert_eq(send(fds[i], "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 33, MSG_NOSIGNAL), 33);
    for (size_t i = 0; i < COUNTOF(fds) && strstr(answer, " 503 ") == NULL; i++) {
        const ssize_t n = recv(fds[i], answer, sizeof answer - 1, 0);

        answer[n > 0 ? n : 0] = '\0';
    }
    cr_expect_not_null(strstr(answer, " 503 "), "%s", answer);
    cr_expect_not_null(strstr(answer, "too many connections"), "%s", answer);
    cr_expect_not_null(strstr(answer, "Retry-After: 1"), "%s", answer);
    for (size_t i = 0; i < COUNTOF(fds); i++)
        close(fds[i]);
    AWAIT(PATIENCE_MS, CALL(.path = "/health").status == 200);
    cr_expect_gt(now_at(site.queryd[0].port, "tsstore_http_connections_refused_total"), 0);
    AWAIT(PATIENCE_MS, now_at(site.queryd[0].port, "tsstore_http_connections") <= 2);
}

/* Who only listens has nothing long to say. */
Test(metrics, a_long_message_on_a_read_stream_ends_it_with_1009)
{
    struct ws *ws = ws_read_open(&store, "");

    ws_expect(ws, "caught_up");
    ws_tell(ws, repeat('x', 65536));
    ws_tell(ws, repeat('x', 65537));
    cr_expect_str_eq(ws_await_end(ws), "1009 message too large");
}
