/* harness_stream.c - clients of the Unix socket and of bare TCP. */
#include "tests/system/harness.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
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
