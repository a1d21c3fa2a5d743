/* routes.c - the table of routes; those asked for most come first. */
#include "queryd/routes.h"

#include "queryd/out_rest.h"
#include "queryd/out_websocket.h"

#define STORE "/api/stores/:store"

const struct http_route routes[] = {
    {"GET", STORE "/data/newest", out_rest_newest, NULL},
    {"GET", STORE "/data/range", out_rest_range, NULL},
    {"GET", STORE "/data/oldest", out_rest_oldest, NULL},
    {"GET", STORE "/data/time/:timestamp", out_rest_find_time, NULL},
    {"POST", STORE "/data", out_rest_insert, NULL},
    {"GET", STORE "/ws/read", out_websocket_read, &out_websocket_hooks},
    {"GET", STORE "/stats", out_rest_stats, NULL},
    {"GET", "/api/stores", out_rest_stores, NULL},
    {"POST", "/api/stores", out_rest_create_store, NULL},
    {"GET", "/health", out_rest_health, NULL},
};

const size_t n_routes = sizeof routes / sizeof routes[0];
