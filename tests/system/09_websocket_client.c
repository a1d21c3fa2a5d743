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
    const char *bytes; /* behind the handshake */
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
        send(fd, server->bytes + i, step, MSG_NOSIGNAL);
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

#define BYTES(literal) .bytes = (literal), .n = sizeof(literal) - 1

Test(websocket_client, joins_parts_and_answers_a_ping_between_them)
{
    static const bool ways[] = {false, true};

    for (size_t i = 0; i < COUNTOF(ways); i++) {
        struct server server = {
            BYTES("\x01\x02{\"\x89\x03yes\x00\x06type\":\x8a\x00\x80\x05\"gap\"\x00\x00"
                  "\x81\x12{\"type\":\"reset\"   }"),
            .is_dribbling = ways[i]};
        struct ws *ws;

        server.n -= 22; /* see below */
        ws = open_to(&server);
        (void)ws;
        end(&server, ws);
    }
}
