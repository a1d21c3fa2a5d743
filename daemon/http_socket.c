/* http_socket.c - WebSockets: the upgrade, frames in, frames out.
 *
 * civetweb does the handshake and reads frames in the worker thread of the connection. What it
 * would send itself takes two send()s a frame, so frames are composed here and written whole. */
#include "daemon/http_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_CONTROL_PAYLOAD_BYTES 125
#define MAX_REASON_BYTES 120

static bool
is_handshake(const struct http_request *req)
{
    const char *upgrade = http_header(req, "Upgrade");
    const char *connection = http_header(req, "Connection");

    return upgrade != NULL && strcasestr(upgrade, "websocket") != NULL && connection != NULL &&
           strcasestr(connection, "upgrade") != NULL &&
           http_header(req, "Sec-WebSocket-Key") != NULL && !req->is_old;
}

bool
http_accept_socket(struct http_request *req, void *arg)
{
    struct http_socket *socket;

    if (req->state != HTTP_UNANSWERED)
        return false;
    if (!is_handshake(req)) {
        http_answer(req, 400, HTTP_TYPE_TEXT, "Bad Request", 11);
        return false;
    }
    socket = malloc(sizeof *socket);
    if (socket == NULL) {
        http_answer_error(req, TS_FAIL(TS_E_NOMEM, "no memory for a connection"));
        return false;
    }
    *socket = (struct http_socket){
        .server = req->server, .conn = req->conn, .hooks = req->route->socket, .arg = arg};
    mg_set_user_connection_data(req->conn, socket);
    req->state = HTTP_UPGRADED;
    atomic_fetch_add_explicit(&req->server->metrics.n_sockets, 1, memory_order_relaxed);
    return true;
}

int
http_socket_connect(const struct mg_connection *conn, void *arg)
{
    (void)arg;
    return http_socket_of(conn) != NULL ? 0 : 1;
}

void
http_socket_ready(struct mg_connection *conn, void *arg)
{
    struct http_socket *socket = mg_get_user_connection_data(conn);

    (void)arg;
    socket->hooks->ready(socket, socket->arg);
}

/* Nothing goes out behind a close, whoever's it was. */
static bool
write_frames(struct http_socket *socket, const void *frames, size_t bytes, bool is_close)
{
    int sent = -1;

    mg_lock_connection(socket->conn);
    /* relaxed: it is set before this lock is taken to send the close */
    if (is_close || !atomic_load_explicit(&socket->sent_close, memory_order_relaxed))
        sent = mg_write(socket->conn, frames, bytes);
    mg_unlock_connection(socket->conn);
    return sent >= 0 && (size_t)sent == bytes;
}

/* Sends back what came: a pong with the ping's payload, or a close with its code. */
static void
answer_control(struct http_socket *socket, enum http_opcode opcode, const char *data, size_t bytes)
{
    uint8_t frame[HTTP_FRAME_HEAD_BYTES + MAX_CONTROL_PAYLOAD_BYTES];
    size_t head_bytes;

    if (bytes > MAX_CONTROL_PAYLOAD_BYTES)
        bytes = 0;
    head_bytes = http_frame_head(opcode, bytes, frame);
    if (bytes > 0)
        memcpy(frame + head_bytes, data, bytes);
    write_frames(socket, frame, head_bytes + bytes, opcode == HTTP_FRAME_CLOSE);
}

int
http_socket_data(struct mg_connection *conn, int bits, char *data, size_t bytes, void *arg)
{
    struct http_socket *socket = mg_get_user_connection_data(conn);
    const int opcode = bits & 0x0f;
    bool goes_on;

    (void)arg;
    goes_on = socket->hooks->frame(socket, socket->arg, opcode, (bits & 0x80) != 0, data, bytes);
    if (opcode == HTTP_FRAME_PING)
        answer_control(socket, HTTP_FRAME_PONG, data, bytes);
    if (opcode == HTTP_FRAME_CLOSE) {
        /* The answer to our own close frame is not answered again. */
        if (!atomic_exchange_explicit(&socket->sent_close, true, memory_order_relaxed))
            answer_control(socket, HTTP_FRAME_CLOSE, data, bytes < 2 ? 0 : 2);
        return 0;
    }
    return goes_on ? 1 : 0;
}

void
http_socket_finish(struct http_socket *socket)
{
    socket->hooks->closed(socket->arg);
    atomic_fetch_sub_explicit(&socket->server->metrics.n_sockets, 1, memory_order_relaxed);
    free(socket);
}

bool
http_socket_write(struct http_socket *socket, const void *frames, size_t bytes)
{
    return write_frames(socket, frames, bytes, false);
}

void
http_socket_close(struct http_socket *socket, unsigned code, const char *reason)
{
    uint8_t frame[HTTP_FRAME_HEAD_BYTES + MAX_CONTROL_PAYLOAD_BYTES];
    const size_t reason_bytes = strnlen(reason, MAX_REASON_BYTES);
    size_t head_bytes;

    if (code != 0 && !atomic_exchange_explicit(&socket->sent_close, true, memory_order_relaxed)) {
        head_bytes = http_frame_head(HTTP_FRAME_CLOSE, 2 + reason_bytes, frame);
        frame[head_bytes] = (uint8_t)(code >> 8);
        frame[head_bytes + 1] = (uint8_t)code;
        memcpy(frame + head_bytes + 2, reason, reason_bytes);
        write_frames(socket, frame, head_bytes + 2 + reason_bytes, true);
    }
    /* The worker that reads from the connection leaves it at its next look. Not
     * mg_close_connection(): once that worker has left, it would close what is being closed. */
    mg_disable_connection_keep_alive(socket->conn);
}

size_t
http_frame_head(enum http_opcode opcode, uint64_t bytes, uint8_t out_head[HTTP_FRAME_HEAD_BYTES])
{
    size_t n_length_bytes = 0;

    out_head[0] = (uint8_t)(0x80 | opcode);
    if (bytes < 126) {
        out_head[1] = (uint8_t)bytes;
    } else if (bytes <= UINT16_MAX) {
        out_head[1] = 126;
        n_length_bytes = 2;
    } else {
        out_head[1] = 127;
        n_length_bytes = 8;
    }
    for (size_t i = 0; i < n_length_bytes; i++)
        out_head[2 + i] = (uint8_t)(bytes >> 8 * (n_length_bytes - 1 - i));
    return 2 + n_length_bytes;
}
