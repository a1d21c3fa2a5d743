/* routes.h - what queryd answers, as one table.
 *
 * Purpose    Method and path to handler.
 */
#ifndef QUERYD_ROUTES_H
#define QUERYD_ROUTES_H

#include "daemon/http.h"

extern const struct http_route routes[];
extern const size_t n_routes;

#endif
