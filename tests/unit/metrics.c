/* metrics.c - figures in the form that Prometheus reads. */
#include "daemon/metrics.h"

#include "daemon/http_metrics.h"
#include "daemon/store_metrics.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct ts_text out;

static void
start(void)
{
    ts_text_init(&out);
}

static void
stop(void)
{
    ts_text_done(&out);
}

TestSuite(metrics, .init = start, .fini = stop);

static void
expect_out(const char *want)
{
    cr_expect(out.bytes == strlen(want) && memcmp(out.at, want, out.bytes) == 0, "%.*s",
              (int)out.bytes, out.at);
    ts_text_clear(&out);
}

static bool
says(const char *line)
{
    return memmem(out.at, out.bytes, line, strlen(line)) != NULL;
}

Test(metrics, a_sample_has_braces_only_with_labels)
{
    metrics_one(&out, "m", "gauge", "Help.", 7);
    expect_out("# HELP m Help.\n# TYPE m gauge\nm 7\n");
    metrics_sample(&out, "m", "_sum");
    metrics_label(&out, "a", "b");
    metrics_label(&out, "c", "");
    metrics_number(&out, 0.5);
    expect_out("m_sum{a=\"b\",c=\"\"} 0.5\n");
}

Test(metrics, a_label_may_hold_anything)
{
    metrics_sample(&out, "m", "");
    metrics_label(&out, "a", "q\"b\\n\nl{");
    metrics_label(&out, "b", "x");
    metrics_u64(&out, UINT64_MAX);
    expect_out("m{a=\"q\\\"b\\\\n\\nl{\",b=\"x\"} 18446744073709551615\n");
}

static const struct {
    double value;
    const char *want;
} numbers[] = {
    {0, "m 0\n"},
    {0.1, "m 0.1\n"},
    {1700000040.123, "m 1700000040.123\n"},
    {1e300, "m 1e+300\n"},
    {NAN, "m NaN\n"},
    {INFINITY, "m +Inf\n"},
    {-INFINITY, "m -Inf\n"},
    {9007199254740993.0, "m 9007199254740992\n"},
};

Test(metrics, numbers_are_as_short_as_they_can_be)
{
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        metrics_sample(&out, "m", "");
        metrics_number(&out, numbers[i].value);
        expect_out(numbers[i].want);
    }
}

Test(metrics, a_process_tells_of_itself)
{
    metrics_process(&out, "queryd");
    cr_expect(says("tsstore_info{daemon=\"queryd\""));
    cr_expect(!says("\nprocess_threads 0\n"), "%.*s", (int)out.bytes, out.at);
    cr_expect(!says("process_resident_memory_bytes 0\n"));
}

/* ---- HTTP ---- */

Test(metrics, requests_go_to_their_route_status_and_time)
{
    static const struct http_route routes[] = {{"GET", "/a", NULL, NULL},
                                               {"POST", "/b", NULL, NULL}};
    const struct http_sample samples[] = {
        {.route_idx = 0, .status = 200, .took_ns = 100000, .body_bytes = 5, .answer_bytes = 10},
        {.route_idx = 0, .status = 200, .took_ns = 100001, .answer_bytes = 10},
        {.route_idx = 1, .status = 418, .took_ns = INT64_C(99000000000)},
        {.route_idx = 2, .status = 404, .took_ns = 0},
        {.route_idx = 0, .status = 101, .took_ns = -1},
    };
    struct http_metrics metrics;

    cr_assert(http_metrics_init(&metrics, 2));
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
        http_metrics_count(&metrics, &samples[i]);
    http_metrics_write(&metrics, routes, 3, &out);
    cr_expect(says("tsstore_http_requests_total{method=\"GET\",route=\"/a\",code=\"200\"} 2\n"));
    cr_expect(says("tsstore_http_requests_total{method=\"GET\",route=\"/a\",code=\"101\"} 1\n"));
    cr_expect(says("tsstore_http_requests_total{method=\"POST\",route=\"/b\",code=\"other\"} 1\n"));
    cr_expect(says("tsstore_http_requests_total{method=\"\",route=\"\",code=\"404\"} 1\n"));
    cr_expect(says("_bucket{method=\"GET\",route=\"/a\",le=\"0.0001\"} 1\n"));
    cr_expect(says("_bucket{method=\"GET\",route=\"/a\",le=\"0.00025\"} 2\n"));
    cr_expect(says("_bucket{method=\"POST\",route=\"/b\",le=\"10\"} 0\n"));
    cr_expect(says("_bucket{method=\"POST\",route=\"/b\",le=\"+Inf\"} 1\n"));
    cr_expect(says("_count{method=\"GET\",route=\"/a\"} 2\n"), "an upgrade has no duration");
    cr_expect(says("\ntsstore_http_request_body_bytes_total 5\n"));
    cr_expect(says("\ntsstore_http_response_bytes_total 20\n"));
    cr_expect(says("\ntsstore_http_connections 3\n"));
    http_metrics_done(&metrics);
}

Test(metrics, each_known_status_has_a_place_and_a_text)
{
    cr_expect_str_eq(http_status_text(431), "Request Header Fields Too Large");
    cr_expect_str_eq(http_status_text(999), "Status");
    cr_expect_eq(http_status_idx(999), HTTP_N_STATUS - 1);
    cr_expect_neq(http_status_idx(200), http_status_idx(201));
}

/* ---- stores ---- */

static const struct {
    const char *label;
    struct ts_stats stats;
    double want;
} stats_rows[] = {
    {"no record", {.ring_bytes = 100, .ring_used_bytes = 50}, -1},
    {"nothing sealed", {.has_records = true, .newest_time_ns = 2000000000, .ring_bytes = 100}, -1},
    {"one time only", {.has_records = true, .ring_bytes = 100, .ring_used_bytes = 50}, -1},
    {"half full in 10 s",
     {.has_records = true, .newest_time_ns = 10000000000, .ring_bytes = 100, .ring_used_bytes = 50},
     20},
    {"the widest span",
     {.has_records = true,
      .oldest_time_ns = INT64_MIN,
      .newest_time_ns = INT64_MAX,
      .ring_bytes = 1,
      .ring_used_bytes = 1},
     18446744073.709552},
};

Test(metrics, the_time_until_overwriting_is_in_proportion_to_what_is_there)
{
    for (size_t i = 0; i < sizeof stats_rows / sizeof stats_rows[0]; i++)
        cr_expect_float_eq(store_metrics_seconds_left(&stats_rows[i].stats), stats_rows[i].want,
                           1e-3, "%s", stats_rows[i].label);
}

Test(metrics, all_samples_of_one_metric_stand_together)
{
    struct ts_stats stats = {.state = {.next_no = 8, .oldest_no = 1}, .durable_no = 5};
    struct store_metrics metrics;

    store_metrics_init(&metrics, 2);
    store_metrics_add(&metrics, "a", &stats, &(struct store_syncs){.n_done = 7, .n_failed = 1});
    stats.durable_no = 100;
    store_metrics_add(&metrics, "b", &stats, NULL);
    store_metrics_add(&metrics, "one too many", &stats, NULL);
    store_metrics_write(&metrics, &out);
    cr_expect(says("tsstore_store_durable_lag_records{store=\"a\"} 2\n"
                   "tsstore_store_durable_lag_records{store=\"b\"} 0\n"));
    cr_expect(says("\ntsstore_stores 2\n"));
    cr_expect(says("\ntsstore_syncs_total{store=\"a\"} 7\n"));
    cr_expect(says("\ntsstore_sync_failures_total{store=\"a\"} 1\n"));
    cr_expect(!says("tsstore_syncs_total{store=\"b\"}"), "another process syncs it");
    cr_expect(!says("one too many"));
    cr_expect(!says("tsstore_store_oldest_timestamp_seconds{"));
    store_metrics_done(&metrics);
}
