/* message_socket.h - a WebSocket whose messages are all answered, in order.
 *
 * Purpose    Collect the messages of one client, have as many as came together answered at once,
 *            and send the answers as frames in one write.
 * Invariant  One answer per message, in order, before a close frame is answered. While messages
 *            wait, so many of them or one of the longest, nothing is read: memory per connection is
 *            bounded. Messages that came are answered, that is stored, also when the client left.
 * Ownership  message_socket_accept() takes options->arg in every case: options->done gets it when
 *            nothing refers to it any more. A group outlives its sockets.
 * Threads    The connection's worker takes messages, a thread of its own answers them. A group may
 *            be stopped from any thread.
 * Errors     A message that is too long, or frames in an order that the protocol does not know, end
 *            the connection with a close frame that says so.
 * Source     RFC 6455.
 */
#ifndef DAEMON_MESSAGE_SOCKET_H
#define DAEMON_MESSAGE_SOCKET_H

#include "daemon/http.h"

#include <pthread.h>
#include <sys/queue.h>

/* So many may wait to be answered, and are answered together; CONTROL_MESSAGES_BYTES of them. */
#define MESSAGE_SOCKET_MESSAGES 1024u

struct message_socket;

/* Those of one server, to end them all. */
struct message_sockets {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t left;  /* one of them said good-bye */
    LIST_HEAD(, message_socket) all;
    bool is_ending;
};

struct message_socket_options {
    /* Answers messages: control frames (proto/control.h) in, as many out, appended to *out.
     * Returns 200, or the HTTP status of an error that concerns all, whose body {"error":…} is then
     * in *out: each message is answered with it, and 401 and 403 end the connection. */
    uint16_t (*answer)(void *arg, struct ts_span messages, struct ts_text *out);
    void (*done)(void *arg);
    void *arg;
    size_t max_message_bytes;
    struct message_sockets *group;
};

extern const struct http_socket_hooks message_socket_hooks;

void message_sockets_init(struct message_sockets *group);
void message_sockets_done(struct message_sockets *group);

/* Ends all of the group with 1001, those that come from now on too, and waits until they are told,
 * timeout_ms at most: a client that does not read is left to the end of the server. */
void message_sockets_stop(struct message_sockets *group, unsigned timeout_ms);

/* For the handler of a route with message_socket_hooks, once it knows who asks. Answers if it
 * cannot be. */
void message_socket_accept(struct http_request *req, const struct message_socket_options *options);

#endif
