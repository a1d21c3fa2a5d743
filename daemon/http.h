/* http.h - the HTTP and WebSocket server that both daemons stand on.
 *
 * Purpose    Routes, parameters, bodies, answers and upgrades over civetweb, as the wire contract
 *            wants them; a handler only says what is asked for and what the answer is.
 * Invariant  Every request is answered exactly once: what a handler leaves unanswered becomes a
 *            500. An answer that fits goes out in one send(). No handler meets a body, a list or
 *            a connection without a limit.
 * Ownership  A request and all that is read from it die when its handler returns. A socket dies
 *            when its `closed` hook returns.
 * Threads    Handlers run in many threads at once, one request in one thread. http_socket_write()
 *            and http_socket_close() may be called from any thread until `closed` returns.
 * Errors     enum ts_err with the thread's text; http_answer_error() turns both into an answer.
 * Units      bytes, milliseconds.
 */
#ifndef DAEMON_HTTP_H
#define DAEMON_HTTP_H

#include "common/error.h"
#include "common/json.h" /* struct ts_span */
#include "common/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_MAX_PARAMS 4       /* ":name" parts of one pattern */
#define HTTP_STREAM_BYTES 65536 /* a streamed answer goes out in pieces of about this size */
#define HTTP_TYPE_JSON "application/json; charset=utf-8"
#define HTTP_TYPE_TEXT "text/plain"

struct http_request;
struct http_socket;
struct http_server;

/* Must answer, or accept an upgrade, before it returns. `ctx` is that of struct http_options. */
typedef void (*http_handler)(struct http_request *req, void *ctx);

/* What happens to a WebSocket that a handler accepted with http_accept_socket(req, arg). */
struct http_socket_hooks {
    /* The handshake is done: from now on `socket` may be written to. */
    void (*ready)(struct http_socket *socket, void *arg);
    /* A frame came; false ends the connection. opcode: 0 continuation, 1 text, 2 binary,
     * 8 close, 9 ping, 10 pong; is_final: the last frame of its message. Pings and closes are
     * answered by the server. */
    bool (*frame)(struct http_socket *socket, void *arg, int opcode, bool is_final,
                  const void *data, size_t bytes);
    /* Called once for each accepted upgrade, also when the handshake failed and `ready` never
     * came. On return nothing may touch the socket: stop and join your threads here. */
    void (*closed)(void *arg);
};

struct http_route {
    const char *method;  /* "GET" also answers HEAD */
    const char *pattern; /* "/api/stores/:store/data": a part with ':' matches one whole segment,
                          * which is handed on percent-decoded */
    http_handler handle;
    const struct http_socket_hooks *socket; /* NULL: an ordinary route */
};

struct http_options {
    const char *host;                /* numeric IPv4 address, or "localhost" */
    uint16_t port;                   /* 0: any free one, see http_server_port() */
    unsigned max_connections;        /* 0: 256. One more is answered 503 */
    size_t max_body_bytes;           /* 0: 64 MiB. For http_body() with limit 0 */
    unsigned request_timeout_ms;     /* 0: 30000. To read a request, and for a blocked send */
    unsigned idle_timeout_ms;        /* 0: 60000. Between requests of one connection */
    const struct http_route *routes; /* borrowed while the server runs */
    size_t n_routes;
    void *ctx;
    void (*log)(const char *text); /* what civetweb has to say; may be NULL */
    /* Both: HTTPS, on the same port. "" is as NULL. Borrowed during the start only. */
    const char *tls_cert_file, *tls_key_file;
};

/* Listens and serves. TS_E_CONFIG for an address that is none, or when TLS is asked for and not
 * possible; TS_E_IO when it cannot listen. */
enum ts_err http_server_start(const struct http_options *options,
                              struct http_server **out_server) TS_MUST_USE;

/* The port it really listens on. */
uint16_t http_server_port(const struct http_server *server);

/* Connections now open, without those that did not send a request yet. */
unsigned http_server_connections(const struct http_server *server);

/* New connections get this certificate; those there are keep theirs. TS_E_CONFIG, and nothing
 * changed, if the files cannot be used, or if the server was started without TLS. */
enum ts_err http_server_load_tls(struct http_server *server, const char *cert_file,
                                 const char *key_file) TS_MUST_USE;

/* What the server counted, as figures for Prometheus. */
void http_server_metrics(const struct http_server *server, struct ts_text *out);

/* Ends all connections and waits for their handlers and hooks. Accepts NULL. */
void http_server_stop(struct http_server *server);

/* ---- the request ---- */

/* Upper case as sent; "HEAD" for a HEAD that a GET route answers. */
const char *http_method(const struct http_request *req);

/* The i-th ":name" part, decoded, NUL-terminated; "" if there is none. A part with a NUL in it
 * never reaches a handler (404). */
const char *http_path_param(const struct http_request *req, unsigned i);

/* First occurrence of `name` in the query, decoded ("%41", "+" is a blank), NUL-terminated behind
 * out->bytes. False if it is not there; a parameter without '=' is there and empty. */
bool http_query(struct http_request *req, const char *name, struct ts_span *out);

/* As http_query(), true only if the value is exactly `want`. */
bool http_query_is(struct http_request *req, const char *name, const char *want);

/* What X-Request-Id of the answer says: the client's own if it is 1 to 64 bytes of A-Z a-z 0-9 and
 * "._:/+=@-", else one made here. */
const char *http_request_id(const struct http_request *req);

/* The server that the request came to. */
const struct http_server *http_server_of(const struct http_request *req);

/* First header of that name, whatever its case; NULL if missing. */
const char *http_header(const struct http_request *req, const char *name);

/* Reads the whole body, chunked or not, once; later calls give the same bytes. NUL-terminated
 * behind out->bytes. limit 0: the server's. TS_E_LIMIT (413) if it is longer, TS_E_PROTOCOL when
 * it is cut off or takes too long; the connection ends after either. */
enum ts_err http_body(struct http_request *req, size_t limit, struct ts_span *out) TS_MUST_USE;

/* True once a handler answered (also by an accepted upgrade). */
bool http_is_answered(const struct http_request *req);

/* ---- the answer ---- */

/* Adds a header to the answer to come, 2.5 KiB of them in all. One that holds control characters,
 * or does not fit any more, is left out. */
void http_add_answer_header(struct http_request *req, const char *name, const char *value);

/* Answers, in one send() if head and body are below some 64 KiB. */
void http_answer(struct http_request *req, int status, const char *content_type, const void *body,
                 size_t bytes);

/* {"error":"<text>","code":"<name>"} with the status of `err`; 503 gets Retry-After: 1. A wrong key
 * is counted, see http_key_failed(). */
void http_answer_error(struct http_request *req, enum ts_err err);

/* Another key of this peer turned out to be wrong. False if it may be told so; true if that was one
 * too many lately: then it was answered 429 here. */
bool http_key_failed(struct http_request *req);

/* The answer's body, to be appended to (never cleared) and then sent by http_send(). It is a
 * buffer of the thread: no allocation once it has grown. */
struct ts_text *http_out(struct http_request *req);

/* To be called between parts of a long answer: sends what is in http_out() as one chunk if it has
 * passed HTTP_STREAM_BYTES. False: the client is gone (or asked by HEAD), stop composing and call
 * http_send(). */
bool http_send_part(struct http_request *req, int status, const char *content_type);

/* Ends the answer: all at once with its length if no part was sent before, else the last chunk.
 * If http_out() ran out of memory it is a 500, or, after a part was sent, a cut connection. */
void http_send(struct http_request *req, int status, const char *content_type);

/* ---- WebSockets ---- */

/* Lets the upgrade happen when the handler returns; `arg` goes to the hooks of the route. False,
 * answered 400 and no hook will be called, if the request is no WebSocket handshake. */
bool http_accept_socket(struct http_request *req, void *arg);

/* Sends ready-made frames (see http_frame_head()) in one send(). Blocks while the client does not
 * read, request_timeout_ms at most. False: the connection is dead, or a close was sent; close it.
 */
bool http_socket_write(struct http_socket *socket, const void *frames, size_t bytes);

/* Ends the connection: `closed` follows within some two seconds. code 0: without a close frame, for
 * a connection that is dead; else a frame with the code (RFC 6455, 7.4) and the reason, which is
 * cut to 120 bytes. */
void http_socket_close(struct http_socket *socket, unsigned code, const char *reason);

#define HTTP_FRAME_HEAD_BYTES 10
enum http_opcode {
    HTTP_FRAME_TEXT = 1,
    HTTP_FRAME_BINARY,
    HTTP_FRAME_CLOSE = 8,
    HTTP_FRAME_PING,
    HTTP_FRAME_PONG
};

/* The head of an unmasked, final frame for `bytes` of payload; returns its length. */
size_t http_frame_head(enum http_opcode opcode, uint64_t bytes,
                       uint8_t out_head[HTTP_FRAME_HEAD_BYTES]);

#endif
