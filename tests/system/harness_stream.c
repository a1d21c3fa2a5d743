/* harness_stream.c - clients of the Unix socket, of WebSockets, of bare TCP. */
#include "tests/system/harness.h"

#include <errno.h>
#include <netinet/in.h>
#include <nng/nng.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the Unix socket ---- */

void
line_open(struct line_client *client)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *client = (struct line_client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", site.socket);
    cr_assert(client->fd >= 0);
    cr_assert_eq(connect(client->fd, (struct sockaddr *)&address, sizeof address), 0, "%s: %s",
                 site.socket, strerror(errno));
}

void
line_close(struct line_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

void
line_login(struct line_client *client, const struct store *store)
{
    const char *answer;

    line_open(client);
    answer = line_ask(client, "AUTH %s %s", store->name, store->key);
    cr_assert(answer != NULL && strcmp(answer, "OK") == 0, "AUTH: %s",
              answer != NULL ? answer : "end of file");
}

void
line_write(struct line_client *client, const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        ssize_t n = send(client->fd, at, bytes, MSG_NOSIGNAL);

        cr_assert(n > 0 || errno == EINTR, "send: %s", strerror(errno));
        at += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
}

void
line_send(struct line_client *client, const char *format, ...)
{
    va_list args;
    char *line;
    int n;

    va_start(args, format);
    n = vasprintf(&line, format, args);
    va_end(args);
    cr_assert(n >= 0);
    line_write(client, line, (size_t)n);
    free(line);
}

const char *
line_read(struct line_client *client)
{
    for (;;) {
        char *line = client->buffer + client->start;
        char *end = memchr(line, '\n', client->used - client->start);
        struct pollfd in = {.fd = client->fd, .events = POLLIN};
        ssize_t n;

        if (end != NULL) {
            *end = '\0';
            client->start = (size_t)(end - client->buffer) + 1;
            return line;
        }
        memmove(client->buffer, line, client->used - client->start);
        client->used -= client->start;
        client->start = 0;
        cr_assert(client->used < sizeof client->buffer, "an answer without end");
        cr_assert_eq(poll(&in, 1, PATIENCE_MS), 1, "no answer on the socket");
        n = recv(client->fd, client->buffer + client->used, sizeof client->buffer - client->used,
                 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return NULL;
        cr_assert(n > 0, "recv: %s", strerror(errno));
        client->used += (size_t)n;
    }
}

const char *
line_ask(struct line_client *client, const char *format, ...)
{
    va_list args;
    char *line;
    int n;

    va_start(args, format);
    n = vasprintf(&line, format, args);
    va_end(args);
    cr_assert(n >= 0);
    line[n] = '\n'; /* in place of the NUL */
    line_write(client, line, (size_t)n + 1);
    free(line);
    return line_read(client);
}

/* ---- WebSocket ---- */

struct ws {
    nng_stream_dialer *dialer;
    nng_stream *stream;
    nng_aio *aio;
    char *buffer;
    size_t start, used, capacity;
    bool has_ended;
    json_t *message; /* the last one given out */
};

static void
ws_release(void *arg)
{
    struct ws *ws = arg;

    ws_close(ws);
    json_decref(ws->message);
    free(ws->buffer);
    free(ws);
}

void
ws_close(struct ws *ws)
{
    if (ws->stream != NULL)
        nng_stream_close(ws->stream);
    nng_stream_free(ws->stream);
    nng_stream_dialer_free(ws->dialer);
    nng_aio_free(ws->aio);
    ws->stream = NULL;
    ws->dialer = NULL;
    ws->aio = NULL;
    ws->has_ended = true;
}

struct ws *
ws_open_at(int port, const char *path_and_query)
{
    struct ws *ws = calloc(1, sizeof *ws);

    cr_assert_not_null(ws);
    keep(ws, ws_release);
    cr_assert_eq(
        nng_stream_dialer_alloc(&ws->dialer, text("ws://127.0.0.1:%d%s", port, path_and_query)), 0);
    cr_assert_eq(nng_stream_dialer_set_bool(ws->dialer, "ws:recv-text", true), 0);
    cr_assert_eq(nng_stream_dialer_set_bool(ws->dialer, "ws:send-text", true), 0);
    cr_assert_eq(nng_aio_alloc(&ws->aio, NULL, NULL), 0);
    nng_aio_set_timeout(ws->aio, PATIENCE_MS);
    nng_stream_dialer_dial(ws->dialer, ws->aio);
    nng_aio_wait(ws->aio);
    if (nng_aio_result(ws->aio) != 0)
        return NULL;
    ws->stream = nng_aio_get_output(ws->aio, 0);
    return ws;
}

struct ws *
ws_read_open(const struct store *store, const char *query)
{
    struct ws *ws =
        ws_open_at(site.queryd[0].port, text("/api/stores/%s/ws/read?api_key=%s%s%s", store->name,
                                             store->key, *query != '\0' ? "&" : "", query));

    cr_assert_not_null(ws, "ws/read?%s is refused", query);
    return ws;
}

/* Takes the next whole JSON value out of the buffer: frames may be cut and joined on the way. */
static json_t *
ws_parse(struct ws *ws)
{
    json_error_t error;
    json_t *message;

    while (ws->start < ws->used && strchr(" \r\n\t", ws->buffer[ws->start]) != NULL)
        ws->start++;
    if (ws->start == ws->used)
        return NULL;
    message =
        json_loadb(ws->buffer + ws->start, ws->used - ws->start, JSON_DISABLE_EOF_CHECK, &error);
    if (message != NULL) {
        ws->start += (size_t)error.position;
        return message;
    }
    cr_assert_eq(json_error_code(&error), json_error_premature_end_of_input, "%s in %.*s",
                 error.text, (int)(ws->used - ws->start), ws->buffer + ws->start);
    return NULL;
}

/* Reads some more. False when nothing came in time or the connection ended. */
static bool
ws_fill(struct ws *ws, int64_t until)
{
    const int64_t left = until - clock_ms();
    nng_iov iov;

    if (ws->has_ended)
        return false;
    if (ws->used > 0)
        memmove(ws->buffer, ws->buffer + ws->start, ws->used - ws->start);
    ws->used -= ws->start;
    ws->start = 0;
    if (ws->capacity - ws->used < 4096) {
        ws->capacity = ws->capacity * 2 + 65536;
        ws->buffer = realloc(ws->buffer, ws->capacity);
        cr_assert_not_null(ws->buffer);
    }
    iov = (nng_iov){ws->buffer + ws->used, ws->capacity - ws->used};
    nng_aio_set_timeout(ws->aio, left > 1 ? (nng_duration)left : 1);
    cr_assert_eq(nng_aio_set_iov(ws->aio, 1, &iov), 0);
    nng_stream_recv(ws->stream, ws->aio);
    nng_aio_wait(ws->aio);
    if (nng_aio_result(ws->aio) == NNG_ETIMEDOUT)
        return false;
    if (nng_aio_result(ws->aio) != 0) {
        ws->has_ended = true;
        return false;
    }
    ws->used += nng_aio_count(ws->aio);
    return true;
}

json_t *
ws_next(struct ws *ws, int timeout_ms, bool *out_ended)
{
    const int64_t until = clock_ms() + timeout_ms;

    json_decref(ws->message);
    while ((ws->message = ws_parse(ws)) == NULL && ws_fill(ws, until))
        continue;
    if (out_ended != NULL)
        *out_ended = ws->message == NULL && ws->has_ended;
    return ws->message;
}

const char *
ws_word(struct ws *ws, int timeout_ms)
{
    bool has_ended;
    json_t *message = ws_next(ws, timeout_ms, &has_ended);
    const char *type = json_string_value(json_object_get(message, "type"));
    const char *reason;
    char *data;

    if (message == NULL)
        return has_ended ? "end" : "silence";
    cr_assert_not_null(type);
    reason = json_string_value(json_object_get(message, "message"));
    if (strcmp(type, "error") == 0)
        return text("error %s", reason != NULL ? reason : "");
    if (strcmp(type, "data") != 0)
        return text("%s", type);
    data = json_dumps(json_object_get(message, "data"), JSON_COMPACT | JSON_ENCODE_ANY);
    cr_assert_not_null(data, "a data message without data");
    keep(data, free);
    return text("data %jd %s", (intmax_t)json_integer_value(json_object_get(message, "timestamp")),
                data);
}

/* ---- TCP ---- */

int
tcp_connect(int port, int receive_bytes)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(fd >= 0);
    if (receive_bytes != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0, "%s",
                 strerror(errno));
    return fd;
}

char *
tcp_exchange(int port, const char *request, int timeout_ms)
{
    int fd = tcp_connect(port, 0);
    size_t used = 0, capacity = 65536;
    char *out = malloc(capacity + 1);

    cr_assert_not_null(out);
    keep(out, free);
    cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    while (used < capacity) {
        struct pollfd in = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&in, 1, timeout_ms) != 1)
            break;
        n = recv(fd, out + used, capacity - used, 0);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    out[used] = '\0';
    close(fd);
    return out;
}
