/* forward_websocket.h - ws/write on queryd: messages that are sent on to ingestd.
 *
 * Purpose    GET /api/stores/:store/ws/write. All messages that came while the last ones were on
 *            their way go on together, as one request: so they are many at once, and in order.
 * Errors     While ingestd is away each message is answered with that error; the connection stays.
 */
#ifndef QUERYD_FORWARD_WEBSOCKET_H
#define QUERYD_FORWARD_WEBSOCKET_H

#include "daemon/message_socket.h"

/* For a route with message_socket_hooks. */
void forward_websocket_write(struct http_request *req, void *ctx);

#endif
