/* in_metrics.h - for those who watch over ingestd.
 *
 * Purpose    GET /metrics, /healthz and /readyz.
 * Threads    Any number at once.
 */
#ifndef INGESTD_IN_METRICS_H
#define INGESTD_IN_METRICS_H

#include "daemon/http.h"
#include "ingestd/mutation.h"

/* This process, its HTTP server, what came in, and every open store. */
void in_metrics_answer(struct http_request *req, struct mutation *mutation);

/* 200: the process answers. */
void in_metrics_alive(struct http_request *req, void *ctx);

/* 200 while the loop that appends goes round, else 503. */
void in_metrics_ready(struct http_request *req, void *ctx);

#endif
