/* forward_http.h - the REST routes that change something: each is sent on to ingestd.
 *
 * Purpose    Handlers for routes.c; each answers its request with what ingestd says.
 * Invariant  The key is checked here only to spare a refused request the way: ingestd checks the
 *            one that goes along again.
 * Threads    Any number at once.
 */
#ifndef QUERYD_FORWARD_HTTP_H
#define QUERYD_FORWARD_HTTP_H

#include "daemon/http.h"

void forward_http_create_store(struct http_request *req, void *ctx);
void forward_http_drop_store(struct http_request *req, void *ctx);
void forward_http_reset_store(struct http_request *req, void *ctx);
void forward_http_insert(struct http_request *req, void *ctx);
void forward_http_insert_batch(struct http_request *req, void *ctx);
void forward_http_delete_time(struct http_request *req, void *ctx);
void forward_http_delete_range(struct http_request *req, void *ctx);
void forward_http_put_schema(struct http_request *req, void *ctx);

#endif
