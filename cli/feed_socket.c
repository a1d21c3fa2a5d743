/* feed_socket.c - one connection to ingestd's Unix socket. */
#include "cli/feed.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/when.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_WITHIN_NS 10000000000 /* a sync of a slow disk may lie in between */
#define N_TOLD_REFUSALS 10

/* Waits until fd is ready for `events`. */
static enum ts_err
wait_ready(int fd, short events, int64_t deadline_ns)
{
    struct pollfd ready[] = {{.fd = fd, .events = events}, {.fd = cli_stop_fd(), .events = POLLIN}};

    for (;;) {
        const int64_t left_ns = deadline_ns - cli_monotonic_ns();
        const struct timespec left = {.tv_sec = left_ns / 1000000000,
                                      .tv_nsec = left_ns % 1000000000};

        if (cli_stop_asked())
            return TS_FAIL(TS_E_UNAVAILABLE, "interrupted");
        if (left_ns <= 0)
            return TS_FAIL(TS_E_UNAVAILABLE, "no answer within %lld s",
                           (long long)(ANSWER_WITHIN_NS / 1000000000));
        if (ppoll(ready, COUNTOF(ready), &left, NULL) < 0 && errno != EINTR)
            return TS_FAIL_ERRNO(TS_E_SYSTEM, "poll");
        if (ready[0].revents != 0)
            return TS_OK;
    }
}

static enum ts_err
send_all(int fd, const char *data, size_t bytes, int64_t deadline_ns)
{
    while (bytes > 0) {
        const ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);

        if (sent >= 0) {
            data += sent;
            bytes -= (size_t)sent;
        } else if (errno == EAGAIN) {
            const enum ts_err err = wait_ready(fd, POLLOUT, deadline_ns);

            if (err != TS_OK)
                return err;
        } else if (errno != EINTR) {
            return TS_FAIL_ERRNO(TS_E_UNAVAILABLE, "send");
        }
    }
    return TS_OK;
}

enum ts_err
feed_receive(struct feed_socket *socket)
{
    ssize_t got;

    if (socket->off > 0) {
        socket->bytes -= socket->off;
        memmove(socket->answers, socket->answers + socket->off, socket->bytes);
        socket->off = 0;
    }
    if (socket->bytes == sizeof socket->answers)
        return TS_FAIL(TS_E_PROTOCOL, "the server's answer has no end");
    do {
        got = recv(socket->fd, socket->answers + socket->bytes,
                   sizeof socket->answers - socket->bytes, 0);
    } while (got < 0 && errno == EINTR && !cli_stop_asked());
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return TS_OK;
    if (got < 0)
        return TS_FAIL_ERRNO(TS_E_UNAVAILABLE, "receive");
    if (got == 0)
        return TS_FAIL(TS_E_UNAVAILABLE, "the server closed the connection");
    socket->bytes += (size_t)got;
    return TS_OK;
}

bool
feed_take_answer(struct feed_socket *socket, char out_answer[FEED_ANSWER_BYTES])
{
    const char *start = socket->answers + socket->off;
    const char *newline = memchr(start, '\n', socket->bytes - socket->off);
    size_t bytes, kept;

    if (newline == NULL)
        return false;
    bytes = (size_t)(newline - start);
    kept = bytes < FEED_ANSWER_BYTES ? bytes : FEED_ANSWER_BYTES - 1;
    memcpy(out_answer, start, kept);
    out_answer[kept] = '\0';
    socket->off += bytes + 1;
    return true;
}

bool
feed_answer_is_ok(const char *answer)
{
    return strncmp(answer, "OK", 2) == 0 && (answer[2] == ' ' || answer[2] == '\0');
}

enum ts_err
feed_ask(struct feed_socket *socket, const char *line, size_t bytes, bool *out_is_stored,
         char out_answer[FEED_ANSWER_BYTES])
{
    const int64_t deadline_ns = cli_monotonic_ns() + ANSWER_WITHIN_NS;
    enum ts_err err = send_all(socket->fd, line, bytes, deadline_ns);

    while (err == TS_OK && !feed_take_answer(socket, out_answer)) {
        err = wait_ready(socket->fd, POLLIN, deadline_ns);
        if (err == TS_OK)
            err = feed_receive(socket);
    }
    if (err == TS_OK)
        *out_is_stored = feed_answer_is_ok(out_answer);
    return err;
}

static enum ts_err
connect_to(const char *path, int *out_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    enum ts_err err = TS_OK;
    int fd;

    if (strlen(path) >= sizeof address.sun_path)
        return TS_FAIL(TS_E_CONFIG, "socket path is too long: %.64s…", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "socket");
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        err = TS_FAIL_ERRNO(TS_E_UNAVAILABLE, "connect to %s", path);
    else if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        err = TS_FAIL_ERRNO(TS_E_SYSTEM, "fcntl");
    if (err != TS_OK) {
        close(fd);
        return err;
    }
    *out_fd = fd;
    return TS_OK;
}

enum ts_err
feed_open(const struct feed_target *target, struct feed_socket *out)
{
    char answer[FEED_ANSWER_BYTES];
    bool is_stored = false;
    struct ts_text hello;
    enum ts_err err;

    out->fd = -1;
    out->off = out->bytes = 0;
    err = connect_to(target->socket_path, &out->fd);
    if (err != TS_OK)
        return err;
    ts_text_init(&hello);
    ts_text_printf(&hello, "AUTH %s %s\n", target->store, target->key);
    if (hello.failed)
        err = TS_FAIL_PLAIN(TS_E_NOMEM);
    else
        err = feed_ask(out, hello.at, hello.bytes, &is_stored, answer);
    if (hello.at != NULL)
        explicit_bzero(hello.at, hello.bytes);
    ts_text_done(&hello);
    if (err == TS_OK && !is_stored)
        err = TS_FAIL(TS_E_KEY_INVALID, "store %s: the server says: %.200s", target->store, answer);
    if (err != TS_OK)
        feed_close(out);
    return err;
}

void
feed_close(struct feed_socket *socket)
{
    if (socket->fd >= 0)
        close(socket->fd);
    socket->fd = -1;
    socket->off = socket->bytes = 0;
}

void
feed_tell_refusal(const struct feed_job *job, uint64_t line_no, const char *answer)
{
    struct ts_text visible;

    if (job->n_refused > N_TOLD_REFUSALS)
        return;
    ts_text_init(&visible);
    cli_add_visible(&visible, answer, strlen(answer));
    cli_notice("line %ju: %.*s", (uintmax_t)line_no, (int)visible.bytes,
               visible.at != NULL ? visible.at : "");
    ts_text_done(&visible);
    if (job->n_refused == N_TOLD_REFUSALS)
        cli_notice("further refusals are only counted");
}
