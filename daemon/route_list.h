/* route_list.h - the routes of a server, logged at its start if server.mode is "debug".
 *
 * Purpose    What the first ts-store printed in that mode.
 */
#ifndef DAEMON_ROUTE_LIST_H
#define DAEMON_ROUTE_LIST_H

#include "daemon/http.h"

/* One line each, level info. */
void route_list_log(const struct http_route *routes, size_t n);

#endif
