/* out_metrics.h - for those who watch over queryd.
 *
 * Purpose    GET /metrics, /healthz and /readyz.
 * Threads    Any number at once.
 */
#ifndef QUERYD_OUT_METRICS_H
#define QUERYD_OUT_METRICS_H

#include "daemon/http.h"

/* This server's requests and streams, and every store as its files tell of it now. */
void out_metrics(struct http_request *req, void *ctx);

/* 200: the process answers. */
void out_metrics_alive(struct http_request *req, void *ctx);

/* 200 if the data directory can be read, else 503. That no ingestd runs is no reason: reads work.
 */
void out_metrics_ready(struct http_request *req, void *ctx);

#endif
