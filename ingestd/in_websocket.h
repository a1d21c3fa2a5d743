/* in_websocket.h - ws/write: records as messages.
 *
 * Purpose    GET /api/stores/:store/ws/write on ingestd's own HTTP.
 * Ownership  The group and the mutation are borrowed and outlive the server.
 * Threads    The handler from any of the server's.
 */
#ifndef INGESTD_IN_WEBSOCKET_H
#define INGESTD_IN_WEBSOCKET_H

#include "daemon/message_socket.h"
#include "ingestd/mutation.h"

/* Answers, or lets the upgrade happen. */
void in_websocket_write(struct http_request *req, struct mutation *mutation,
                        struct message_sockets *group);

#endif
