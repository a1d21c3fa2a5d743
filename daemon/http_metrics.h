/* http_metrics.h - what a server counts.
 *
 * Purpose    Requests by route and status, how long they took, bytes, connections, WebSockets.
 * Invariant  Counting takes no lock: each word is added to with a relaxed atomic.
 * Ownership  http_metrics_init() allocates, http_metrics_done() frees.
 * Threads    All calls but init and done from any thread.
 * Units      nanoseconds in, seconds out.
 */
#ifndef DAEMON_HTTP_METRICS_H
#define DAEMON_HTTP_METRICS_H

#include "daemon/http.h"

#include <stdatomic.h>

#define HTTP_N_BUCKETS 16 /* of the histogram, without the last one, which has no bound */
#define HTTP_N_STATUS 26

struct http_route_counts {
    _Alignas(64) _Atomic uint64_t by_status[HTTP_N_STATUS];
    _Atomic uint64_t by_time[HTTP_N_BUCKETS + 1]; /* not cumulative */
    _Atomic uint64_t time_ns;
};

struct http_metrics {
    struct http_route_counts *routes; /* owned; n_routes and one for what matched none */
    size_t n_routes;
    _Atomic uint64_t body_bytes, answer_bytes;
    _Atomic uint64_t n_connections, n_refused; /* accepted, and sent away as too many */
    _Atomic uint64_t n_malformed;
    _Atomic int64_t n_sockets; /* open now */
};

/* One request that was answered. route_idx n_routes: none matched. */
struct http_sample {
    size_t route_idx;
    int status;
    int64_t took_ns; /* below 0: not told, an upgrade */
    uint64_t body_bytes, answer_bytes;
};

bool http_metrics_init(struct http_metrics *metrics, size_t n_routes);
void http_metrics_done(struct http_metrics *metrics);
void http_metrics_count(struct http_metrics *metrics, const struct http_sample *sample);

/* Where a status is counted; the last place is for those not known. */
unsigned http_status_idx(int status);

/* "OK", "Created"…; "Status" for those not known. */
const char *http_status_text(int status);

void http_metrics_write(const struct http_metrics *metrics, const struct http_route *routes,
                        unsigned n_connections, struct ts_text *out);

#endif
