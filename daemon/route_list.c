/* route_list.c - see route_list.h. */
#include "daemon/route_list.h"

#include "common/log.h"

void
route_list_log(const struct http_route *routes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ts_log(TS_LOG_INFO, "route %s %s%s", routes[i].method, routes[i].pattern,
               routes[i].socket != NULL ? " (WebSocket)" : "");
}
