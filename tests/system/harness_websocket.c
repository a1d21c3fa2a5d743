/* harness_websocket.c - the client of a WebSocket.
 *
 * Frame by frame and in the test's own thread, on a connection that libcurl makes, with TLS if
 * asked for: a client that has threads of its own would read on while a test stands still, and
 * could miss what a server says last. It is strict: what RFC 6455 forbids a server fails the test.
 */
#include "tests/system/harness.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define MAX_MESSAGE_BYTES ((size_t)16 << 20) /* more than a daemon has reason to send */
#define MAX_HEAD_BYTES 16384u
#define MAX_CONTROL_BYTES 125u
#define READ_BYTES 65536u
#define HEAR_OUT_MS 5000

struct ws {
    struct ws *next; /* of all_open */
    CURL *curl;      /* owned; NULL when closed */
    curl_socket_t fd;
    int port;
    char *buffer; /* owned; what came and was not given out: start … used */
    size_t start, used, capacity;
    bool is_gone; /* the connection ended */
    bool said_close, heard_close;
    char farewell[5 + 1 + MAX_CONTROL_BYTES]; /* the server's close: "1001 server stops" */
    char *parts;                              /* owned; of a message that is not whole */
    size_t parts_bytes;
    bool has_parts;
    json_t *message; /* owned; the last one given out */
};

static struct ws *all_open;

struct frame {
    int opcode; /* FRAME_ENDED, FRAME_SILENCE: there is none */
    bool is_final;
    const char *data; /* view into the buffer, until the next one */
    size_t bytes;
};

/* ---- bytes ---- */

static bool
await_socket(const struct ws *ws, short events, int64_t until)
{
    struct pollfd fd = {.fd = ws->fd, .events = events};
    int ready;

    do {
        const int64_t left = until - clock_ms();

        ready = poll(&fd, 1, left > 0 ? (int)left : 0);
    } while (ready < 0 && errno == EINTR);
    return ready == 1;
}

/* False when the connection is dead, or takes nothing for too long. */
static bool
send_all(struct ws *ws, const void *data, size_t bytes)
{
    const int64_t until = clock_ms() + PATIENCE_MS;
    const char *at = data;

    while (bytes > 0) {
        size_t n = 0;
        const CURLcode code = curl_easy_send(ws->curl, at, bytes, &n);

        if (code == CURLE_AGAIN && await_socket(ws, POLLOUT, until))
            continue;
        if (code != CURLE_OK)
            return false;
        at += n;
        bytes -= n;
    }
    return true;
}

/* Reads some more, so that `want` bytes have room behind start. False when nothing came in time or
 * the connection ended. */
static bool
fill(struct ws *ws, size_t want, int64_t until)
{
    memmove(ws->buffer, ws->buffer + ws->start, ws->used - ws->start);
    ws->used -= ws->start;
    ws->start = 0;
    if (want > ws->capacity) {
        ws->capacity = want;
        ws->buffer = realloc(ws->buffer, want);
        cr_assert_not_null(ws->buffer);
    }
    while (!ws->is_gone) {
        size_t n = 0;
        const CURLcode code =
            curl_easy_recv(ws->curl, ws->buffer + ws->used, ws->capacity - ws->used, &n);

        ws->used += n;
        if (code == CURLE_OK && n > 0)
            return true;
        if (code != CURLE_AGAIN)
            ws->is_gone = true;
        else if (!await_socket(ws, POLLIN, until))
            return false;
    }
    return false;
}

/* ---- frames ---- */

/* The frame at the start of the buffer. Gives how many bytes it takes up, as far as is known; it is
 * whole when they are there. */
static size_t
parse_frame(const struct ws *ws, struct frame *out)
{
    const uint8_t *at = (const uint8_t *)ws->buffer + ws->start;
    const size_t have = ws->used - ws->start;
    uint64_t bytes = have >= 2 ? at[1] : 0;
    const size_t n_length_bytes = bytes == 126 ? 2 : bytes == 127 ? 8 : 0;
    const size_t head_bytes = 2 + n_length_bytes;

    if (have < head_bytes)
        return head_bytes;
    cr_assert_eq(at[0] & 0x70, 0, "reserved bits are set");
    cr_assert_eq(at[1] & 0x80, 0, "a server does not mask");
    if (n_length_bytes > 0)
        bytes = 0;
    for (size_t i = 0; i < n_length_bytes; i++)
        bytes = bytes << 8 | at[2 + i];
    cr_assert(n_length_bytes == 0 || bytes > (n_length_bytes == 2 ? 125 : UINT16_MAX),
              "%ju bytes have a shorter form", (uintmax_t)bytes);
    cr_assert_leq(bytes, MAX_MESSAGE_BYTES, "a frame of %ju bytes", (uintmax_t)bytes);
    *out = (struct frame){.opcode = at[0] & 0x0f,
                          .is_final = (at[0] & 0x80) != 0,
                          .data = (const char *)at + head_bytes,
                          .bytes = (size_t)bytes};
    cr_assert(out->opcode < FRAME_CLOSE || (out->is_final && bytes <= MAX_CONTROL_BYTES),
              "a control frame in parts, or of %ju bytes", (uintmax_t)bytes);
    return head_bytes + (size_t)bytes;
}

static void
hear_close(struct ws *ws, const struct frame *frame)
{
    const uint8_t *at = (const uint8_t *)frame->data;

    ws->heard_close = true;
    cr_assert_neq(frame->bytes, 1, "a close with half a code");
    if (frame->bytes == 0)
        return;
    snprintf(ws->farewell, sizeof ws->farewell, "%u%s%.*s", at[0] << 8 | at[1],
             frame->bytes > 2 ? " " : "", (int)frame->bytes - 2, frame->data + 2);
}

static struct frame
next_frame(struct ws *ws, int64_t until)
{
    struct frame frame = {.opcode = FRAME_SILENCE};
    size_t bytes;

    while ((bytes = parse_frame(ws, &frame)) > ws->used - ws->start) {
        if (!fill(ws, bytes, until)) {
            cr_assert(!ws->is_gone || ws->used == 0, "the connection ended within a frame");
            return (struct frame){.opcode = ws->is_gone ? FRAME_ENDED : FRAME_SILENCE};
        }
    }
    cr_assert(!ws->heard_close, "a frame behind the close: %d", frame.opcode);
    ws->start += bytes;
    if (frame.opcode == FRAME_CLOSE)
        hear_close(ws, &frame);
    return frame;
}

int
ws_next_frame(struct ws *ws, int timeout_ms, const char **out_data, size_t *out_bytes)
{
    const struct frame frame = next_frame(ws, clock_ms() + timeout_ms);

    *out_data = frame.data;
    *out_bytes = frame.bytes;
    return frame.opcode;
}

static bool
send_frame(struct ws *ws, int opcode, const void *data, size_t bytes)
{
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    const size_t n_length_bytes = bytes < 126 ? 0 : bytes <= UINT16_MAX ? 2 : 8;
    const size_t head_bytes = 2 + n_length_bytes + sizeof mask;
    uint8_t *frame = malloc(head_bytes + bytes);
    bool is_sent;

    cr_assert_not_null(frame);
    frame[0] = (uint8_t)(0x80 | opcode);
    frame[1] = (uint8_t)(0x80 | (n_length_bytes == 0 ? bytes : n_length_bytes == 2 ? 126 : 127));
    for (size_t i = 0; i < n_length_bytes; i++)
        frame[2 + i] = (uint8_t)((uint64_t)bytes >> 8 * (n_length_bytes - 1 - i));
    memcpy(frame + 2 + n_length_bytes, mask, sizeof mask);
    for (size_t i = 0; i < bytes; i++)
        frame[head_bytes + i] = ((const uint8_t *)data)[i] ^ mask[i % sizeof mask];
    is_sent = send_all(ws, frame, head_bytes + bytes);
    free(frame);
    ws->said_close |= opcode == FRAME_CLOSE;
    return is_sent;
}

void
ws_tell_frame(struct ws *ws, int opcode, const void *data, size_t bytes)
{
    cr_assert_not_null(ws->curl, "closed");
    cr_assert(send_frame(ws, opcode, data, bytes), "%zu bytes could not be sent", bytes);
}

void
ws_tell(struct ws *ws, const char *message)
{
    ws_tell_frame(ws, FRAME_TEXT, message, strlen(message));
}

/* ---- messages ---- */

/* What belongs to the protocol is answered; what says it may be gone by then. */
static void
answer_control(struct ws *ws, const struct frame *frame)
{
    if (frame->opcode == FRAME_PING)
        send_frame(ws, FRAME_PONG, frame->data, frame->bytes);
    else if (frame->opcode == FRAME_CLOSE && !ws->said_close)
        send_frame(ws, FRAME_CLOSE, frame->data, frame->bytes < 2 ? 0 : 2);
    else
        cr_assert(frame->opcode == FRAME_CLOSE || frame->opcode == FRAME_PONG, "opcode %d",
                  frame->opcode);
}

/* A part joins those before it. True when the message is whole, which *frame then is. */
static bool
join(struct ws *ws, struct frame *frame)
{
    cr_assert_eq(frame->opcode == FRAME_CONTINUED, ws->has_parts, "opcode %d in parts: %d",
                 frame->opcode, ws->has_parts);
    cr_assert(frame->opcode == FRAME_CONTINUED || frame->opcode == FRAME_TEXT, "opcode %d",
              frame->opcode);
    if (frame->is_final && !ws->has_parts)
        return true;
    cr_assert_leq(frame->bytes, MAX_MESSAGE_BYTES - ws->parts_bytes, "a message without end");
    ws->parts = realloc(ws->parts, ws->parts_bytes + frame->bytes + 1);
    cr_assert_not_null(ws->parts);
    memcpy(ws->parts + ws->parts_bytes, frame->data, frame->bytes);
    ws->parts_bytes += frame->bytes;
    ws->has_parts = !frame->is_final;
    if (ws->has_parts)
        return false;
    *frame = (struct frame){FRAME_TEXT, true, ws->parts, ws->parts_bytes};
    ws->parts_bytes = 0;
    return true;
}

/* The next text message; or one that is none, when the server took its leave, or until then. */
static struct frame
next_message(struct ws *ws, int64_t until)
{
    for (;;) {
        struct frame frame;

        if (ws->is_gone || ws->heard_close)
            return (struct frame){.opcode = FRAME_ENDED};
        frame = next_frame(ws, until);
        if (frame.opcode < 0)
            return frame;
        if (frame.opcode >= FRAME_CLOSE)
            answer_control(ws, &frame);
        else if (join(ws, &frame))
            return frame;
    }
}

json_t *
ws_next(struct ws *ws, int timeout_ms, bool *out_ended)
{
    const struct frame frame = next_message(ws, clock_ms() + timeout_ms);
    json_error_t error;

    json_decref(ws->message);
    ws->message = NULL;
    if (out_ended != NULL)
        *out_ended = frame.opcode == FRAME_ENDED;
    if (frame.opcode != FRAME_TEXT)
        return NULL;
    ws->message = json_loadb(frame.data, frame.bytes, 0, &error);
    cr_assert_not_null(ws->message, "%s in %.*s", error.text, (int)frame.bytes, frame.data);
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

const char *
ws_await_end(struct ws *ws)
{
    const int64_t until = clock_ms() + PATIENCE_MS;
    struct frame frame;

    while (next_message(ws, until).opcode == FRAME_TEXT)
        continue;
    while ((frame = next_frame(ws, until)).opcode >= 0)
        continue;
    cr_assert_eq(frame.opcode, FRAME_ENDED, "the connection stays");
    return text("%s", ws->farewell);
}

void
ws_hear_out(int port)
{
    const int64_t until = clock_ms() + HEAR_OUT_MS;

    for (struct ws *ws = all_open; ws != NULL; ws = ws->next)
        while (ws->port == port && next_message(ws, until).opcode == FRAME_TEXT)
            continue;
}

/* ---- the connection ---- */

void
ws_close(struct ws *ws)
{
    struct ws **at = &all_open;

    if (ws->curl == NULL)
        return;
    while (*at != ws)
        at = &(*at)->next;
    *at = ws->next;
    if (!ws->is_gone && !ws->said_close)
        send_frame(ws, FRAME_CLOSE, "\x03\xe8", 2);
    curl_easy_cleanup(ws->curl);
    ws->curl = NULL;
    ws->is_gone = true;
    ws->start = ws->used = 0;
}

static void
ws_release(void *arg)
{
    struct ws *ws = arg;

    ws_close(ws);
    json_decref(ws->message);
    free(ws->parts);
    free(ws->buffer);
    free(ws);
}

static void
release_list(void *list)
{
    curl_slist_free_all(list);
}

static int
set_receive_bytes(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    const struct ws_request *request = arg;

    (void)purpose;
    if (request->receive_bytes > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &request->receive_bytes,
                   sizeof request->receive_bytes);
    return CURL_SOCKOPT_OK;
}

/* The server's certificate is for a name, but the name is not looked up. */
static void
connect_to(struct ws *ws, const struct ws_request *request)
{
    struct curl_slist *address = curl_slist_append(NULL, "::127.0.0.1:");
    const bool is_tls = request->ca_file != NULL;
    CURLcode code;

    keep(address, release_list);
    keep(ws, ws_release); /* before the list, which its handle uses */
    ws->curl = curl_easy_init();
    cr_assert_not_null(ws->curl);
    ws->next = all_open;
    all_open = ws;
    curl_easy_setopt(ws->curl, CURLOPT_URL,
                     text("http%s://localhost:%d/", is_tls ? "s" : "", ws->port));
    curl_easy_setopt(ws->curl, CURLOPT_CONNECT_TO, address);
    curl_easy_setopt(ws->curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(ws->curl, CURLOPT_TIMEOUT_MS, (long)PATIENCE_MS);
    curl_easy_setopt(ws->curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(ws->curl, CURLOPT_SOCKOPTFUNCTION, set_receive_bytes);
    curl_easy_setopt(ws->curl, CURLOPT_SOCKOPTDATA, (void *)(uintptr_t)request);
    if (is_tls)
        curl_easy_setopt(ws->curl, CURLOPT_CAINFO, request->ca_file);
    ws->is_gone = true; /* until it is there */
    code = curl_easy_perform(ws->curl);
    cr_assert_eq(code, CURLE_OK, "connect to %d: %s", ws->port, curl_easy_strerror(code));
    ws->is_gone = false;
    curl_easy_getinfo(ws->curl, CURLINFO_ACTIVESOCKET, &ws->fd);
}

/* False if the answer is no upgrade. The key and what it must be answered with are RFC 6455's. */
static bool
shake_hands(struct ws *ws, const struct ws_request *request)
{
    const int64_t until = clock_ms() + PATIENCE_MS;
    const char *ask =
        text("GET %s HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
             request->path, ws->port, request->key != NULL ? "X-API-Key: " : "",
             request->key != NULL ? request->key : "", request->key != NULL ? "\r\n" : "");
    const char *end;

    cr_assert(send_all(ws, ask, strlen(ask)), "the handshake could not be sent");
    while ((end = memmem(ws->buffer, ws->used, "\r\n\r\n", 4)) == NULL) {
        cr_assert_lt(ws->used, MAX_HEAD_BYTES, "a head without end");
        cr_assert(fill(ws, 0, until), "no whole answer to %s: %.*s", request->path, (int)ws->used,
                  ws->buffer);
    }
    if (strncmp(ws->buffer, "HTTP/1.1 101 ", 13) != 0)
        return false;
    ws->start = (size_t)(end - ws->buffer) + 4;
    cr_assert_not_null(memmem(ws->buffer, ws->start, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28));
    return true;
}

struct ws *
ws_open(const struct ws_request *request)
{
    struct ws *ws = calloc(1, sizeof *ws);

    cr_assert_not_null(ws);
    ws->capacity = READ_BYTES;
    ws->buffer = malloc(ws->capacity);
    cr_assert_not_null(ws->buffer);
    ws->port = request->port != 0 ? request->port : site.queryd[0].port;
    connect_to(ws, request);
    if (shake_hands(ws, request))
        return ws;
    ws->said_close = true; /* to nobody */
    ws_close(ws);
    return NULL;
}

struct ws *
ws_open_at(int port, const char *path_and_query)
{
    return WS_OPEN(.port = port, .path = path_and_query);
}

struct ws *
ws_open_tls(int port, const char *path_and_query, const char *ca_file)
{
    return WS_OPEN(.port = port, .path = path_and_query, .ca_file = ca_file);
}

struct ws *
ws_read_open(const struct store *store, const char *query)
{
    struct ws *ws = WS_OPEN(.path = text("/api/stores/%s/ws/read?api_key=%s%s%s", store->name,
                                         store->key, *query != '\0' ? "&" : "", query));

    cr_assert_not_null(ws, "ws/read?%s is refused", query);
    return ws;
}
