/* http_get.c - answers that are whole, cut, foreign or hostile; servers that are silent or gone. */
#include "cli/http_get.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNTOF(array) (sizeof(array) / sizeof((array)[0]))

TestSuite(http_get, .timeout = 60);

#define HEAD "HTTP/1.1 200 OK\r\n"

static const struct {
    const char *text;
    enum ts_err err;
    bool is_whole;
    int status;
    const char *body;
} answers[] = {
    {HEAD "Content-Length: 2\r\n\r\nok", TS_OK, true, 200, "ok"},
    {HEAD "content-length:2\r\nX: y\r\n\r\nokmore", TS_OK, true, 200, "ok"},
    {HEAD "Content-Length: 0\r\n\r\n", TS_OK, true, 200, ""},
    {"HTTP/1.0 404 Not Found\r\nContent-Length: 1\r\n\r\nx", TS_OK, true, 404, "x"},
    {"HTTP/1.1 204\r\nContent-Length: 0\r\n\r\n", TS_OK, true, 204, ""},
    {"", TS_OK, false, 0, NULL},
    {"HTTP/1.1 200", TS_OK, false, 0, NULL},
    {HEAD "Content-Length: 2\r\n", TS_OK, false, 0, NULL},
    {HEAD "Content-Length: 3\r\n\r\nok", TS_OK, false, 200, "ok"},
    {"\r\n\r\n", TS_E_PROTOCOL, false, 0, NULL},
    {"SSH-2.0-OpenSSH\r\n\r\n", TS_E_PROTOCOL, false, 0, NULL},
    {"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", TS_E_PROTOCOL, false, 0, NULL},
    {"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", TS_E_PROTOCOL, false, 0, NULL},
    {"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", TS_E_PROTOCOL, false, 0, NULL},
    {HEAD "\r\nok", TS_E_PROTOCOL, false, 0, NULL},
    {HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", TS_E_PROTOCOL, false, 0, NULL},
    {HEAD "Content-Length: -1\r\n\r\n", TS_E_PROTOCOL, false, 0, NULL},
    {HEAD "Content-Length: \r\n\r\n", TS_E_PROTOCOL, false, 0, NULL},
    {HEAD "Content-Length: 2 \r\n\r\nok", TS_E_PROTOCOL, false, 0, NULL},
    {HEAD "Content-Length: 99999999999999999999\r\n\r\n", TS_E_PROTOCOL, false, 0, NULL},
    {HEAD "Content-Length: 1\r\nContent-Length: 2\r\n\r\nok", TS_E_PROTOCOL, false, 0, NULL},
};

Test(http_get, answers_are_read_as_far_as_they_go)
{
    for (size_t i = 0; i < COUNTOF(answers); i++) {
        const size_t bytes = strlen(answers[i].text);
        char *text = malloc(bytes + 1); /* no NUL within reach */
        struct http_got got = {0};
        bool is_whole = true;

        memcpy(text, answers[i].text, bytes);
        cr_expect_eq(http_read_answer(text, bytes, &is_whole, &got), answers[i].err, "row %zu", i);
        cr_expect_eq(is_whole, answers[i].is_whole, "row %zu", i);
        cr_expect_eq(got.status, answers[i].status, "row %zu: %d", i, got.status);
        if (answers[i].body != NULL) {
            cr_expect_eq(got.body.bytes, strlen(answers[i].body), "row %zu", i);
            cr_expect_eq(memcmp(got.body.at, answers[i].body, got.body.bytes), 0, "row %zu", i);
        }
        free(text);
    }
}

Test(http_get, every_beginning_of_an_answer_is_no_whole_one)
{
    static const char text[] = HEAD "Server: x\r\nContent-Length: 5\r\n\r\nhello";

    for (size_t bytes = 0; bytes < sizeof text - 1; bytes++) {
        struct http_got got;
        bool is_whole = true;

        cr_expect_eq(http_read_answer(text, bytes, &is_whole, &got), TS_OK, "%zu", bytes);
        cr_expect_not(is_whole, "%zu", bytes);
    }
}

/* ---- a server of one connection, in a process of its own ---- */

struct server {
    int fd;
    uint16_t port;
    const char *answer;
    size_t repeats;  /* of `answer` */
    bool stays_open; /* and silent, until the client is gone */
};

static void
server_open(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;

    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(server->fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(server->fd, 1), 0);
    cr_assert_eq(getsockname(server->fd, (struct sockaddr *)&address, &bytes), 0);
    server->port = ntohs(address.sin_port);
}

static void
serve_one(const struct server *server)
{
    const int fd = accept(server->fd, NULL, NULL);
    char request[1024];
    size_t used = 0;
    ssize_t n;

    do {
        n = recv(fd, request + used, sizeof request - 1 - used, 0);
        used += n > 0 ? (size_t)n : 0;
        request[used] = '\0';
    } while (n > 0 && strstr(request, "\r\n\r\n") == NULL);
    for (size_t i = 0; i < server->repeats; i++)
        if (send(fd, server->answer, strlen(server->answer), MSG_NOSIGNAL) < 0)
            break;
    while (server->stays_open && recv(fd, request, sizeof request, 0) > 0)
        ;
    close(fd);
}

static enum ts_err
get_from(struct server *server, unsigned timeout_ms, struct ts_text *text, struct http_got *got)
{
    const struct http_place place = {.host = "127.0.0.1", .port = server->port};
    const pid_t pid = fork();
    enum ts_err err;
    int status;

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        alarm(60); /* whatever happens to the test */
        serve_one(server);
        _exit(0);
    }
    close(server->fd);
    err = http_get(&place, "/health", timeout_ms, text, got);
    cr_expect_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status), "the server ended with %d", status);
    return err;
}

Test(http_get, a_server_is_asked_and_its_answer_taken)
{
    struct server server = {.answer = HEAD "Content-Length: 15\r\n\r\n{\"status\":\"ok\"}",
                            .repeats = 1};
    struct ts_text text;
    struct http_got got = {0};

    ts_text_init(&text);
    server_open(&server);
    cr_assert_eq(get_from(&server, 10000, &text, &got), TS_OK, "%s", ts_error_text());
    cr_expect_eq(got.status, 200);
    cr_expect_eq(got.body.bytes, 15);
    cr_expect_eq(memcmp(got.body.at, "{\"status\":\"ok\"}", 15), 0);
    ts_text_done(&text);
}

Test(http_get, an_answer_is_whole_before_the_connection_ends)
{
    struct server server = {
        .answer = HEAD "Content-Length: 0\r\n\r\n", .repeats = 1, .stays_open = true};
    struct ts_text text;
    struct http_got got = {0};

    ts_text_init(&text);
    server_open(&server);
    cr_expect_eq(get_from(&server, 20000, &text, &got), TS_OK, "%s", ts_error_text());
    ts_text_done(&text);
}

Test(http_get, nobody_silence_and_nonsense_are_told_apart)
{
    static const struct {
        struct server server;
        enum ts_err err;
    } rows[] = {
        {{.answer = "", .repeats = 0}, TS_E_UNAVAILABLE},
        {{.answer = HEAD, .repeats = 1}, TS_E_UNAVAILABLE},
        {{.answer = HEAD "Content-Length: 9\r\n\r\nshort", .repeats = 1}, TS_E_UNAVAILABLE},
        {{.answer = "220 mail ready\r\n\r\n", .repeats = 1}, TS_E_PROTOCOL},
        {{.answer = "HTTP/1.1 200 OK and so on ", .repeats = 1000000}, TS_E_PROTOCOL},
        {{.answer = HEAD "Content-Length: 999999999\r\n\r\n"
                         "0123456789012345678901234567890123456789012345678901234567890123456789",
          .repeats = 1000000},
         TS_E_LIMIT},
        {{.answer = "", .repeats = 0, .stays_open = true}, TS_E_TIMEOUT},
        {{.answer = HEAD, .repeats = 1, .stays_open = true}, TS_E_TIMEOUT},
    };
    struct ts_text text;

    ts_text_init(&text);
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        const unsigned timeout_ms = rows[i].err == TS_E_TIMEOUT ? 300 : 20000;
        struct server server = rows[i].server;
        struct timespec start, end;
        struct http_got got;

        server_open(&server);
        clock_gettime(CLOCK_MONOTONIC, &start);
        cr_expect_eq(get_from(&server, timeout_ms, &text, &got), rows[i].err, "row %zu: %s", i,
                     ts_error_text());
        clock_gettime(CLOCK_MONOTONIC, &end);
        cr_expect_lt(end.tv_sec - start.tv_sec, 15, "row %zu", i);
        cr_expect_lt(text.capacity, 3 * HTTP_GET_MAX_BYTES, "row %zu", i);
    }
    ts_text_done(&text);
}

Test(http_get, a_port_that_nobody_listens_on_is_unavailable)
{
    struct server server = {0};
    struct http_place place = {.host = "0.0.0.0"};
    struct ts_text text;
    struct http_got got;

    ts_text_init(&text);
    server_open(&server);
    close(server.fd);
    place.port = server.port;
    cr_expect_eq(http_get(&place, "/", 10000, &text, &got), TS_E_UNAVAILABLE);
    place.has_tls = true;
    cr_expect_eq(http_get(&place, "/", 10000, &text, &got), TS_E_UNAVAILABLE);
    ts_text_clear(&text);
    http_place_url(&place, &text);
    ts_text_add(&text, "", 1);
    cr_expect_eq(strncmp(text.at, "https://127.0.0.1:", 18), 0, "%s", text.at);
    ts_text_done(&text);
}
