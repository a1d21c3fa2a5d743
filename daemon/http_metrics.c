/* http_metrics.c - see http_metrics.h. */
#include "daemon/http_metrics.h"

#include "daemon/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int status;
    const char *text;
} statuses[] = {
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {307, "Temporary Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Payload Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {507, "Insufficient Storage"},
};

#define N_KNOWN (sizeof statuses / sizeof statuses[0])

_Static_assert(N_KNOWN + 1 == HTTP_N_STATUS, "one place for each status and one for the others");

static const struct {
    int64_t up_to_ns;
    const char *seconds;
} buckets[HTTP_N_BUCKETS] = {
    {100000, "0.0001"},  {250000, "0.00025"}, {500000, "0.0005"},  {1000000, "0.001"},
    {2500000, "0.0025"}, {5000000, "0.005"},  {10000000, "0.01"},  {25000000, "0.025"},
    {50000000, "0.05"},  {100000000, "0.1"},  {250000000, "0.25"}, {500000000, "0.5"},
    {1000000000, "1"},   {2500000000, "2.5"}, {5000000000, "5"},   {10000000000, "10"},
};

unsigned
http_status_idx(int status)
{
    unsigned i = 0;

    while (i < N_KNOWN && statuses[i].status != status)
        i++;
    return i;
}

const char *
http_status_text(int status)
{
    const unsigned i = http_status_idx(status);

    return i < N_KNOWN ? statuses[i].text : "Status";
}

bool
http_metrics_init(struct http_metrics *metrics, size_t n_routes)
{
    const size_t bytes = (n_routes + 1) * sizeof *metrics->routes;

    *metrics = (struct http_metrics){.n_routes = n_routes};
    metrics->routes = aligned_alloc(_Alignof(struct http_route_counts), bytes);
    if (metrics->routes == NULL)
        return false;
    memset(metrics->routes, 0, bytes);
    return true;
}

void
http_metrics_done(struct http_metrics *metrics)
{
    free(metrics->routes);
    metrics->routes = NULL;
}

static void
add(_Atomic uint64_t *counter, uint64_t n)
{
    /* relaxed: each counter stands for itself */
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t
get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void
http_metrics_count(struct http_metrics *metrics, const struct http_sample *sample)
{
    struct http_route_counts *route = &metrics->routes[sample->route_idx];
    unsigned bucket = 0;

    add(&route->by_status[http_status_idx(sample->status)], 1);
    if (sample->body_bytes > 0)
        add(&metrics->body_bytes, sample->body_bytes);
    if (sample->answer_bytes > 0)
        add(&metrics->answer_bytes, sample->answer_bytes);
    if (sample->took_ns < 0)
        return;
    while (bucket < HTTP_N_BUCKETS && sample->took_ns > buckets[bucket].up_to_ns)
        bucket++;
    add(&route->by_time[bucket], 1);
    add(&route->time_ns, (uint64_t)sample->took_ns);
}

/* ---- out ---- */

static void
add_route(struct ts_text *out, const struct http_route *route)
{
    metrics_label(out, "method", route != NULL ? route->method : "");
    metrics_label(out, "route", route != NULL ? route->pattern : "");
}

static void
write_requests(const struct http_metrics *metrics, const struct http_route *routes,
               struct ts_text *out)
{
    static const char name[] = "tsstore_http_requests_total";
    char code[16];

    metrics_begin(out, name, "counter", "Requests answered; an empty route matched none.");
    for (size_t i = 0; i <= metrics->n_routes; i++) {
        for (unsigned s = 0; s < HTTP_N_STATUS; s++) {
            const uint64_t n = get(&metrics->routes[i].by_status[s]);

            if (n == 0)
                continue;
            snprintf(code, sizeof code, "%d", s < N_KNOWN ? statuses[s].status : 0);
            metrics_sample(out, name, "");
            add_route(out, i < metrics->n_routes ? &routes[i] : NULL);
            metrics_label(out, "code", s < N_KNOWN ? code : "other");
            metrics_u64(out, n);
        }
    }
}

static void
write_times_of(const struct http_route_counts *counts, const struct http_route *route,
               struct ts_text *out)
{
    static const char name[] = "tsstore_http_request_duration_seconds";
    uint64_t n = 0;

    for (unsigned b = 0; b <= HTTP_N_BUCKETS; b++) {
        n += get(&counts->by_time[b]);
        metrics_sample(out, name, "_bucket");
        add_route(out, route);
        metrics_label(out, "le", b < HTTP_N_BUCKETS ? buckets[b].seconds : "+Inf");
        metrics_u64(out, n);
    }
    metrics_sample(out, name, "_sum");
    add_route(out, route);
    metrics_number(out, (double)get(&counts->time_ns) / 1e9);
    metrics_sample(out, name, "_count");
    add_route(out, route);
    metrics_u64(out, n);
}

static bool
was_asked(const struct http_route_counts *counts)
{
    uint64_t n = 0;

    for (unsigned b = 0; b <= HTTP_N_BUCKETS; b++)
        n += get(&counts->by_time[b]);
    return n > 0;
}

void
http_metrics_write(const struct http_metrics *metrics, const struct http_route *routes,
                   unsigned n_connections, struct ts_text *out)
{
    const int64_t n_sockets = atomic_load_explicit(&metrics->n_sockets, memory_order_relaxed);

    write_requests(metrics, routes, out);
    metrics_begin(out, "tsstore_http_request_duration_seconds", "histogram",
                  "From the end of a request's head to the end of its answer.");
    for (size_t i = 0; i <= metrics->n_routes; i++)
        if (was_asked(&metrics->routes[i]))
            write_times_of(&metrics->routes[i], i < metrics->n_routes ? &routes[i] : NULL, out);
    metrics_one(out, "tsstore_http_request_body_bytes_total", "counter", "Bodies of requests.",
                get(&metrics->body_bytes));
    metrics_one(out, "tsstore_http_response_bytes_total", "counter",
                "Answers, heads included, before TLS.", get(&metrics->answer_bytes));
    metrics_one(out, "tsstore_http_connections", "gauge", "Connections open now.", n_connections);
    metrics_one(out, "tsstore_http_connections_total", "counter", "Connections accepted.",
                get(&metrics->n_connections));
    metrics_one(out, "tsstore_http_connections_refused_total", "counter",
                "Connections answered 503 because there were too many.", get(&metrics->n_refused));
    metrics_one(out, "tsstore_http_malformed_requests_total", "counter",
                "Requests that could not be read.", get(&metrics->n_malformed));
    metrics_one(out, "tsstore_websockets", "gauge", "WebSockets open now.",
                n_sockets > 0 ? (uint64_t)n_sockets : 0);
}
