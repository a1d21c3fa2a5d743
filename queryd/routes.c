/* routes.c - the table of routes; those asked for most come first. */
#include "queryd/routes.h"

#include "queryd/forward_http.h"
#include "queryd/forward_websocket.h"
#include "queryd/out_metrics.h"
#include "queryd/out_rest.h"
#include "queryd/out_websocket.h"

#define STORE "/api/stores/:store"

const struct http_route routes[] = {
    {"GET", STORE "/data/newest", out_rest_newest, NULL},
    {"GET", STORE "/data/range", out_rest_range, NULL},
    {"GET", STORE "/data/oldest", out_rest_oldest, NULL},
    {"GET", STORE "/data/time/:timestamp", out_rest_find_time, NULL},
    {"POST", STORE "/data", forward_http_insert, NULL},
    {"POST", STORE "/data/batch", forward_http_insert_batch, NULL},
    {"GET", STORE "/ws/read", out_websocket_read, &out_websocket_hooks},
    {"GET", STORE "/ws/write", forward_websocket_write, &message_socket_hooks},
    {"DELETE", STORE "/data/time/:timestamp", forward_http_delete_time, NULL},
    {"DELETE", STORE "/data/range", forward_http_delete_range, NULL},
    {"GET", STORE "/schema", out_rest_schema, NULL},
    {"PUT", STORE "/schema", forward_http_put_schema, NULL},
    {"POST", STORE "/reset", forward_http_reset_store, NULL},
    {"DELETE", STORE, forward_http_drop_store, NULL},
    {"GET", STORE "/stats", out_rest_stats, NULL},
    {"GET", "/api/stores", out_rest_stores, NULL},
    {"POST", "/api/stores", forward_http_create_store, NULL},
    {"GET", "/health", out_rest_health, NULL},
    {"GET", "/healthz", out_metrics_alive, NULL},
    {"GET", "/readyz", out_metrics_ready, NULL},
    {"GET", "/metrics", out_metrics, NULL},
};

const size_t n_routes = sizeof routes / sizeof routes[0];
