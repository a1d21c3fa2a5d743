/* http_internal.h - what the http_*.c files share; nobody else includes it.
 *
 * Purpose    The structs behind http.h.
 * Ownership  A worker thread owns one struct http_thread from its first request on; the request in
 * it is that thread's current one. A socket is owned by its connection (user data) from the
 *            accepted upgrade to civetweb's end_request.
 * Threads    server->n_connections is atomic; all else is set before the threads start, or
 *            belongs to one worker.
 */
#ifndef DAEMON_HTTP_INTERNAL_H
#define DAEMON_HTTP_INTERNAL_H

#include "daemon/http.h"
#include "daemon/http_metrics.h"
#include "daemon/http_path.h"
#include "daemon/peer_limit.h"
#include "daemon/silent.h"
#include "daemon/tls.h"

#include <civetweb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <time.h>

#define HTTP_MAX_HEAD_BYTES 16384 /* request line and headers; more is answered 431 */
/* What civetweb reads of a head: if it is longer still, all it knows is that something is wrong. */
#define HTTP_READ_HEAD_BYTES 65536
#define HTTP_ARENA_BYTES (HTTP_MAX_HEAD_BYTES + 4 * HTTP_MAX_QUERY + 64)
#define HTTP_HEAD_ROOM 4096    /* in front of a body, for head or chunk size */
#define HTTP_ADDED_BYTES 2560  /* headers that a handler added */
#define HTTP_KEEP_BYTES 262144 /* a thread's buffer larger than this is given back */
#define HTTP_SPARE_THREADS 16  /* to answer 503 on connections beyond the limit */
#define HTTP_ID_BYTES 64
#define HTTP_DISCARD_BYTES 65536 /* an unread body up to this is skipped to keep the connection */

enum http_answer_state { HTTP_UNANSWERED, HTTP_STREAMING, HTTP_ANSWERED, HTTP_UPGRADED };

struct http_request {
    struct http_server *server;         /* borrowed */
    struct http_thread *thread;         /* borrowed */
    struct mg_connection *conn;         /* borrowed */
    const struct mg_request_info *info; /* borrowed */
    const struct http_route *route;     /* borrowed; NULL: none matched */
    struct ts_span params[HTTP_MAX_PARAMS];
    unsigned n_params;
    struct http_arena arena; /* in thread->arena */
    struct http_query query; /* valid if has_query */
    bool has_query;
    bool is_head;
    bool is_chunked_body, has_body; /* has_body: body was read */
    bool is_old;                    /* HTTP/1.0: no chunks */
    bool closes;                    /* the connection ends with this answer */
    bool is_dead;                   /* a write failed */
    enum http_answer_state state;
    int status;            /* of the answer; 0: none yet */
    uint64_t answer_bytes; /* that were sent */
    char id[HTTP_ID_BYTES + 1];
    char added[HTTP_ADDED_BYTES]; /* "Name: value\r\n"... */
    size_t added_bytes;
};

struct http_thread {
    struct http_request request;
    struct ts_text out;  /* HTTP_HEAD_ROOM bytes, then the body of the answer */
    struct ts_text body; /* of the request */
    time_t date_s;       /* what `date` says */
    char date[40];       /* "Date: …\r\n" */
    uint64_t id_state;   /* what the next made request id is made of; random at first */
    char arena[HTTP_ARENA_BYTES];
};

/* What civetweb keeps per worker thread. */
struct http_worker {
    struct http_thread *thread; /* owned; NULL until its first request */
};

struct http_socket {
    struct http_server *server;            /* borrowed */
    struct mg_connection *conn;            /* borrowed */
    const struct http_socket_hooks *hooks; /* borrowed */
    void *arg;                             /* the accepting handler's */
    atomic_bool sent_close;                /* by any thread, once */
};

struct http_server {
    struct mg_context *context; /* owned */
    struct http_options options;
    struct in_addr address; /* to reach it */
    uint16_t port;
    atomic_uint n_connections; /* civetweb's workers raise and lower it */
    struct http_metrics metrics;
    struct tls *tls; /* owned; NULL: plain HTTP */
    struct peer_limit key_failures;
    struct silent *silent; /* owned */
};

/* Sends all of it or marks the request dead; a short count means that the peer is gone. */
bool http_request_write(struct http_request *req, const void *data, size_t bytes);

/* Has the request answered: by its handler, if there is one. */
void http_route_request(struct http_request *req);

/* Answers with a head only: 204, or a redirect. */
void http_answer_bare(struct http_request *req, int status);

/* civetweb's callbacks for sockets; the user data of the connection is the struct http_socket. */
int http_socket_connect(const struct mg_connection *conn, void *arg);
void http_socket_ready(struct mg_connection *conn, void *arg);
int http_socket_data(struct mg_connection *conn, int bits, char *data, size_t bytes, void *arg);

/* The socket that a connection became; NULL if it did not. */
struct http_socket *http_socket_of(const struct mg_connection *conn);

/* Ends an accepted upgrade, whether the handshake worked or not, and frees the socket. */
void http_socket_finish(struct http_socket *socket);

#endif
