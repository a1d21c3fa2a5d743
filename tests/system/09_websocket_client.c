/* 09_websocket_client.c - the harness's client understands what no daemon of ours sends, too. */
#include "tests/system/harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void
prepare(void)
{
    site_prepare(NULL);
}

TestSuite(websocket_client, .init = prepare, .fini = site_stop);

/* Accepts one client, sends it what it is told to, and keeps what comes. */
struct server {
    int fd;
    int port;
    uint8_t script[200000]; /* behind the handshake */
    size_t n;
    bool is_dribbling; /* byte by byte */
    char heard[65536];
    size_t n_heard;
    pthread_t thread;
};

static bool
hear(struct server *server, int fd)
{
    struct pollfd in = {.fd = fd, .events = POLLIN};
    ssize_t n = -1;

    if (poll(&in, 1, PATIENCE_MS) == 1)
        n = recv(fd, server->heard + server->n_heard, sizeof server->heard - server->n_heard, 0);
    server->n_heard += n > 0 ? (size_t)n : 0;
    return n > 0;
}

static void *
serve(void *arg)
{
    static const char accepted[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    struct server *server = arg;
    const int fd = accept(server->fd, NULL, NULL);
    const size_t step = server->is_dribbling ? 1 : server->n;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    while (memmem(server->heard, server->n_heard, "\r\n\r\n", 4) == NULL && hear(server, fd))
        continue;
    server->n_heard = 0;
    /* What comes first may come with the handshake. */
    send(fd, accepted, sizeof accepted - 1, MSG_NOSIGNAL | MSG_MORE);
    for (size_t i = 0; i < server->n; i += step)
        send(fd, server->script + i, step, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (hear(server, fd))
        continue;
    close(fd);
    return NULL;
}

static struct ws *
open_to(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    struct ws *ws;

    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(server->fd, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(listen(server->fd, 1), 0);
    cr_assert_eq(getsockname(server->fd, (struct sockaddr *)&address, &bytes), 0);
    server->port = ntohs(address.sin_port);
    cr_assert_eq(pthread_create(&server->thread, NULL, serve, server), 0);
    ws = ws_open_at(server->port, "/");
    cr_assert_not_null(ws);
    return ws;
}

static void
end(struct server *server, struct ws *ws)
{
    ws_close(ws);
    pthread_join(server->thread, NULL);
    close(server->fd);
}

/* The server will send one more frame; `first` has opcode and end. */
static void
add_frame(struct server *server, uint8_t first, const char *data)
{
    const size_t bytes = strlen(data);
    uint8_t *at = server->script + server->n;

    *at++ = first;
    if (bytes < 126) {
        *at++ = (uint8_t)bytes;
    } else {
        const size_t n_length_bytes = bytes <= UINT16_MAX ? 2 : 8;

        *at++ = n_length_bytes == 2 ? 126 : 127;
        for (size_t i = n_length_bytes; i-- > 0;)
            *at++ = (uint8_t)((uint64_t)bytes >> 8 * i);
    }
    memcpy(at, data, bytes);
    server->n = (size_t)(at - server->script) + bytes;
}

static bool
has_heard(const struct server *server, const char *frame, size_t bytes)
{
    return memmem(server->heard, server->n_heard, frame, bytes) != NULL;
}

Test(websocket_client, joins_parts_and_answers_what_comes_between_them)
{
    static struct server server;

    for (int round = 0; round < 2; round++) {
        struct ws *ws;

        server = (struct server){.is_dribbling = round == 1};
        add_frame(&server, 0x01, "{\"ty");
        add_frame(&server, 0x89, "\x12");
        add_frame(&server, 0x00, "");
        add_frame(&server, 0x8a, "nobody asked");
        add_frame(&server, 0x80, "pe\":\"gap\"}");
        add_frame(&server, 0x81, "{\"type\":\"reset\"}");
        add_frame(&server, 0x88, "\x03\xe9");
        ws = open_to(&server);
        ws_expect(ws, "gap");
        ws_expect(ws, "reset");
        ws_expect(ws, "end");
        ws_expect(ws, "end");
        cr_expect_str_eq(ws_await_end(ws), "1001");
        end(&server, ws);
        /* Masked with 12 34 56 78. */
        cr_expect(has_heard(&server, "\x8a\x81\x12\x34\x56\x78\0", 7));
        cr_expect(has_heard(&server, "\x88\x82\x12\x34\x56\x78\x11\xdd", 8));
        cr_expect_eq(server.n_heard, 15);
    }
}

Test(websocket_client, takes_messages_of_any_length)
{
    static const size_t lengths[] = {100, 126, 65535, 65536, 120000};
    static struct server server;

    for (size_t i = 0; i < COUNTOF(lengths); i++) {
        struct ws *ws;
        json_t *message;

        server = (struct server){0};
        add_frame(&server, 0x81, text("[\"%s\"]", repeat('x', lengths[i] - 4)));
        add_frame(&server, 0x81, "[2]");
        ws = open_to(&server);
        message = ws_next(ws, PATIENCE_MS, NULL);
        cr_expect_eq(json_string_length(json_array_get(message, 0)), lengths[i] - 4);
        message = ws_next(ws, PATIENCE_MS, NULL);
        cr_expect_eq(json_integer_value(json_array_get(message, 0)), 2);
        cr_expect_str_eq(ws_await_end(ws), "", "it went without a word");
        end(&server, ws);
    }
}
