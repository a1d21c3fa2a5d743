/* in_http.h - ingestd's own HTTP: for feeders that want no hop over queryd.
 *
 * Purpose    GET /health, POST /api/stores, and of a store: insert one, many, by WebSocket; delete,
 *            reset, drop, set the schema. For those who watch: /metrics, /healthz, /readyz.
 * Ownership  in_http_start() gives *out, in_http_stop() takes it; the mutation outlives it.
 * Threads    Start and stop from one thread.
 * Errors     Those of http_server_start().
 */
#ifndef INGESTD_IN_HTTP_H
#define INGESTD_IN_HTTP_H

#include "daemon/http.h"
#include "ingestd/mutation.h"

struct in_http;

/* Listens where the settings say; their limits hold as they are now. */
enum ts_err in_http_start(struct mutation *mutation, struct in_http **out) TS_MUST_USE;

/* New connections get the certificate that the config names now. As http_server_load_tls(). */
enum ts_err in_http_load_tls(struct in_http *in, const struct ts_config *config) TS_MUST_USE;

uint16_t in_http_port(const struct in_http *in);
void in_http_stop(struct in_http *in);

#endif
