/* out_websocket.h - ws/read: a store as a stream of messages.
 *
 * Purpose    History from where the client says, then what comes, each message a text frame.
 * Invariant  In order, each record once. What was overwritten before it could be sent is announced
 *            as a gap; caught_up is sent exactly once.
 * Threads    One small thread per stream sends; civetweb's worker of the connection reads.
 */
#ifndef QUERYD_OUT_WEBSOCKET_H
#define QUERYD_OUT_WEBSOCKET_H

#include "daemon/http.h"

extern const struct http_socket_hooks out_websocket_hooks;

/* GET /api/stores/:store/ws/read */
void out_websocket_read(struct http_request *req, void *ctx);

#endif
