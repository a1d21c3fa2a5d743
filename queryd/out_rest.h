/* out_rest.h - the REST routes of queryd.
 *
 * Purpose    Handlers for routes.c; each answers its request.
 * Threads    Any number at once.
 */
#ifndef QUERYD_OUT_REST_H
#define QUERYD_OUT_REST_H

#include "daemon/http.h"

void out_rest_health(struct http_request *req, void *ctx);
void out_rest_stores(struct http_request *req, void *ctx);
void out_rest_stats(struct http_request *req, void *ctx);
void out_rest_find_time(struct http_request *req, void *ctx);
void out_rest_schema(struct http_request *req, void *ctx);

/* In out_list.c. */
void out_rest_oldest(struct http_request *req, void *ctx);
void out_rest_newest(struct http_request *req, void *ctx);
void out_rest_range(struct http_request *req, void *ctx);

#endif
