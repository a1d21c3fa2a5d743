/* http_server.c - the server as a client on the loopback sees it. */
#include "daemon/http.h"

#include "daemon/credential.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define ANSWER_BYTES 1000000
#define WAIT_MS 5000

/* ---- a server to be tested ---- */

static void
say(struct http_request *req, void *ctx)
{
    const char *word = http_path_param(req, 0);

    (void)ctx;
    http_answer(req, 200, HTTP_TYPE_TEXT, word, strlen(word));
}

static void
repeat_body(struct http_request *req, void *ctx)
{
    struct ts_span body;
    enum ts_err err;

    (void)ctx;
    err = http_body(req, 10, &body);
    if (err != TS_OK)
        http_answer_error(req, err);
    else
        http_answer(req, 201, HTTP_TYPE_TEXT, body.at, body.bytes);
}

static void
count_up(struct http_request *req, void *ctx)
{
    const int n = atoi(http_path_param(req, 0));

    (void)ctx;
    for (int i = 0; i < n; i++) {
        ts_text_printf(http_out(req), "%d\n", i);
        if (!http_send_part(req, 200, HTTP_TYPE_TEXT))
            break;
    }
    http_send(req, 200, HTTP_TYPE_TEXT);
}

static void
tell_key(struct http_request *req, void *ctx)
{
    struct ts_span key, admin;

    (void)ctx;
    credential_store_key(req, &key);
    credential_admin_key(req, &admin);
    ts_text_printf(http_out(req), "[%.*s|%.*s]", (int)key.bytes, key.at, (int)admin.bytes,
                   admin.at);
    http_send(req, 200, HTTP_TYPE_TEXT);
}

static void
stay_silent(struct http_request *req, void *ctx)
{
    (void)req;
    (void)ctx;
}

static atomic_int n_open; /* upgrades accepted and not yet closed */

static void
upgrade(struct http_request *req, void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&n_open, 1);
    if (!http_accept_socket(req, &n_open))
        atomic_fetch_sub(&n_open, 1);
}

static void
on_ready(struct http_socket *socket, void *arg)
{
    uint8_t frame[HTTP_FRAME_HEAD_BYTES + 5];
    const size_t head_bytes = http_frame_head(HTTP_FRAME_TEXT, 5, frame);

    (void)arg;
    memcpy(frame + head_bytes, "hello", 5);
    http_socket_write(socket, frame, head_bytes + 5);
}

static bool
on_frame(struct http_socket *socket, void *arg, int opcode, bool is_final, const void *data,
         size_t bytes)
{
    (void)arg;
    (void)is_final;
    if (opcode == HTTP_FRAME_TEXT && bytes == 3 && memcmp(data, "end", 3) == 0)
        http_socket_close(socket, 1001, "going away");
    return true;
}

static void
on_closed(void *arg)
{
    atomic_fetch_sub((atomic_int *)arg, 1);
}

static const struct http_socket_hooks hooks = {on_ready, on_frame, on_closed};

static const struct http_route routes[] = {
    {"GET", "/say/:word", say, NULL},      {"POST", "/repeat", repeat_body, NULL},
    {"GET", "/count/:n", count_up, NULL},  {"GET", "/key", tell_key, NULL},
    {"GET", "/silent", stay_silent, NULL}, {"GET", "/socket", upgrade, &hooks},
};

static struct http_server *
start(unsigned max_connections)
{
    const struct http_options options = {.host = "127.0.0.1",
                                         .max_connections = max_connections,
                                         .routes = routes,
                                         .n_routes = COUNTOF(routes)};
    struct http_server *server;

    cr_assert_eq(http_server_start(&options, &server), TS_OK, "%s", ts_error_text());
    return server;
}

/* ---- a client ---- */

static int
connect_to(const struct http_server *server)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(http_server_port(server)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Reads until `enough` is in it, or the end. */
static char *
read_until(int fd, const char *enough)
{
    char *answer = calloc(1, ANSWER_BYTES);
    size_t bytes = 0;

    while (bytes < ANSWER_BYTES - 1 &&
           (enough == NULL || memmem(answer, bytes, enough, strlen(enough)) == NULL)) {
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&pollfd, 1, WAIT_MS) != 1)
            break;
        n = read(fd, answer + bytes, ANSWER_BYTES - 1 - bytes);
        if (n <= 0)
            break;
        bytes += (size_t)n;
    }
    return answer;
}

static void
send_text(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void
wait_until_closed(void)
{
    for (int i = 0; i < WAIT_MS && atomic_load(&n_open) > 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    cr_expect_eq(atomic_load(&n_open), 0);
}

#define CLOSE "Connection: close\r\n\r\n"

static const struct {
    const char *request;
    const char *status;
    const char *has[3]; /* each is in the answer */
} exchanges[] = {
    {"GET /say/hi HTTP/1.1\r\n" CLOSE,
     "HTTP/1.1 200 OK\r\n",
     {"\r\n\r\nhi", "Content-Length: 2\r\n", "Access-Control-Allow-Origin: *\r\n"}},
    {"GET /say/a%20b%2Fc HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200", {"\r\n\r\na b/c"}},
    {"GET /say/hi HTTP/1.1\r\nOrigin: http://o.example\r\n" CLOSE,
     "HTTP/1.1 200",
     {"Access-Control-Allow-Origin: http://o.example\r\n"}},
    {"HEAD /say/hi HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200", {"Content-Length: 2\r\n"}},
    {"GET /say/hi HTTP/1.0\r\n\r\n", "HTTP/1.1 200", {"\r\n\r\nhi", "Connection: close\r\n"}},
    {"GET /nowhere HTTP/1.1\r\n" CLOSE, "HTTP/1.1 404", {"\r\n\r\n404 page not found"}},
    {"GET /say HTTP/1.1\r\n" CLOSE, "HTTP/1.1 404", {"text/plain"}},
    {"POST /say/hi HTTP/1.1\r\n" CLOSE, "HTTP/1.1 404", {"404 page not found"}},
    {"GET /say/%zz HTTP/1.1\r\n" CLOSE, "HTTP/1.1 400", {"Bad Request"}},
    {"GET /say/a%00b HTTP/1.1\r\n" CLOSE, "HTTP/1.1 404", {"404"}},
    {"GET //say/x HTTP/1.1\r\n" CLOSE, "HTTP/1.1 404", {"404"}},
    {"GET /say/hi/?a=b HTTP/1.1\r\n" CLOSE, "HTTP/1.1 301", {"Location: /say/hi?a=b\r\n"}},
    {"POST /repeat/ HTTP/1.1\r\n" CLOSE, "HTTP/1.1 307", {"Location: /repeat\r\n"}},
    {"GET /nowhere/ HTTP/1.1\r\n" CLOSE, "HTTP/1.1 404", {"404"}},
    {"OPTIONS /what/ever HTTP/1.1\r\nOrigin: http://o\r\n" CLOSE,
     "HTTP/1.1 204",
     {"Access-Control-Allow-Origin: http://o\r\n", "X-Admin-Key", "Max-Age: 86400\r\n"}},
    {"POST /repeat HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
     "HTTP/1.1 201",
     {"\r\n\r\nabc"}},
    {"POST /repeat HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
     "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
     "HTTP/1.1 201",
     {"\r\n\r\nabc"}},
    {"POST /repeat HTTP/1.1\r\n" CLOSE, "HTTP/1.1 201", {"Content-Length: 0\r\n"}},
    {"POST /repeat HTTP/1.1\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789",
     "HTTP/1.1 201",
     {"0123456789"}},
    {"POST /repeat HTTP/1.1\r\nContent-Length: 11\r\nConnection: close\r\n\r\n01234567890",
     "HTTP/1.1 413",
     {"\"code\":\"limit\""}},
    {"POST /repeat HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
     "b\r\n01234567890\r\n0\r\n\r\n",
     "HTTP/1.1 413",
     {"\"code\":\"limit\""}},
    {"POST /repeat HTTP/1.1\r\nContent-Length: 9000000000000000000\r\n\r\n", "HTTP/1.1 413", {""}},
    {"POST /repeat HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n"
     "Connection: close\r\n\r\nx",
     "HTTP/1.1 100",
     {"HTTP/1.1 201"}},
    {"GET /silent HTTP/1.1\r\n" CLOSE, "HTTP/1.1 500", {"\"code\":\"system\""}},
    {"GET /socket HTTP/1.1\r\n" CLOSE, "HTTP/1.1 400", {"\r\n\r\nBad Request"}},
    {"GET /count/3 HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200", {"Content-Length: 6\r\n", "0\n1\n2\n"}},
    {"FOO /say/hi HTTP/1.1\r\n" CLOSE, "HTTP/1.1 400", {"\"code\":\"protocol\""}},
    {"rubbish\r\n\r\n", "HTTP/1.1 400", {"\"code\":\"protocol\""}},
    {"GET /key?api_key=q&admin_key=r HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200", {"[q|r]"}},
    {"GET /key?api_key=q HTTP/1.1\r\nX-API-Key: h\r\nAuthorization: Bearer b\r\n" CLOSE,
     "HTTP/1.1 200",
     {"[h|]"}},
    {"GET /key?api_key=q HTTP/1.1\r\nX-API-Key: \r\nAuthorization: Bearer b\r\n" CLOSE,
     "HTTP/1.1 200",
     {"[b|]"}},
    {"GET /key?api_key=q HTTP/1.1\r\nAuthorization: bearer b\r\nX-Admin-Key: a\r\n" CLOSE,
     "HTTP/1.1 200",
     {"[q|a]"}},
    {"GET /key HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200", {"[|]"}},
};

Test(http_server, answers_as_the_contract_says, .timeout = 60)
{
    struct http_server *server = start(4);

    for (size_t i = 0; i < COUNTOF(exchanges); i++) {
        const int fd = connect_to(server);
        char *answer;

        send_text(fd, exchanges[i].request);
        answer = read_until(fd, NULL);
        cr_expect_eq(strncmp(answer, exchanges[i].status, strlen(exchanges[i].status)), 0,
                     "%s -> %s", exchanges[i].request, answer);
        for (size_t k = 0; k < COUNTOF(exchanges[i].has) && exchanges[i].has[k] != NULL; k++)
            cr_expect_not_null(strstr(answer, exchanges[i].has[k]), "%s -> %s, without %s",
                               exchanges[i].request, answer, exchanges[i].has[k]);
        free(answer);
        close(fd);
    }
    http_server_stop(server);
}

Test(http_server, a_connection_is_kept_also_after_a_refusal, .timeout = 30)
{
    struct http_server *server = start(4);
    const int fd = connect_to(server);

    for (int i = 0; i < 3; i++) {
        char *answer;

        send_text(fd, "GET /nowhere HTTP/1.1\r\n\r\n");
        answer = read_until(fd, "page not found");
        cr_expect_not_null(strstr(answer, "page not found"), "request %d", i);
        free(answer);
    }
    close(fd);
    http_server_stop(server);
}

Test(http_server, a_long_answer_is_streamed_and_complete, .timeout = 30)
{
    struct http_server *server = start(4);
    char *answer, *at, *want = calloc(1, ANSWER_BYTES), *end = want;
    int fd = connect_to(server);

    for (int i = 0; i < 20000; i++)
        end += sprintf(end, "%d\n", i);
    send_text(fd, "GET /count/20000 HTTP/1.1\r\n" CLOSE);
    answer = read_until(fd, NULL);
    cr_expect_not_null(strstr(answer, "Transfer-Encoding: chunked\r\n"));
    cr_expect_not_null(strstr(answer, "\r\n0\r\n\r\n"));
    free(answer);
    close(fd);

    /* Without chunks the body can be compared as it is. */
    fd = connect_to(server);
    send_text(fd, "GET /count/20000 HTTP/1.0\r\n\r\n");
    answer = read_until(fd, NULL);
    at = strstr(answer, "\r\n\r\n");
    cr_assert_not_null(at);
    cr_expect_str_eq(at + 4, want);
    free(answer);
    free(want);
    close(fd);
    http_server_stop(server);
}

Test(http_server, a_connection_too_many_is_told_so, .timeout = 30)
{
    struct http_server *server = start(2);
    int fds[3];
    char *answer;

    for (int i = 0; i < 3; i++) {
        fds[i] = connect_to(server);
        send_text(fds[i], "GET /say/hi HTTP/1.1\r\n\r\n");
        answer = read_until(fds[i], i < 2 ? "\r\n\r\nhi" : NULL);
        cr_expect_not_null(strstr(answer, i < 2 ? "HTTP/1.1 200" : "HTTP/1.1 503"), "%d", i);
        cr_expect_eq(strstr(answer, "Retry-After: 1\r\n") != NULL, i == 2);
        free(answer);
    }
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    http_server_stop(server);
}

static const char handshake[] = "GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

Test(http_server, a_socket_is_upgraded_answers_pings_and_closes_in_order, .timeout = 30)
{
    static const char ping_end[] = "\x89\x82\0\0\0\0pp\x81\x83\0\0\0\0end";
    struct http_server *server = start(2);
    const int fd = connect_to(server);
    char *answer;

    send_text(fd, handshake);
    answer = read_until(fd, "hello");
    cr_expect_not_null(strstr(answer, "HTTP/1.1 101"));
    cr_expect_not_null(strstr(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    cr_expect_not_null(strstr(answer, "\x81\x05hello"));
    free(answer);
    cr_assert_eq(write(fd, ping_end, sizeof ping_end - 1), (ssize_t)sizeof ping_end - 1);
    answer = read_until(fd, NULL);
    cr_expect_eq(strncmp(answer, "\x8a\x02pp\x88\x0c\x03\xe9going away", 18), 0);
    free(answer);
    close(fd);
    wait_until_closed();
    http_server_stop(server);
}

Test(http_server, a_socket_that_fails_or_vanishes_is_closed_once, .timeout = 30)
{
    struct http_server *server = start(4);
    int fd = connect_to(server);
    char *answer;

    /* An old version: the handler accepts, civetweb refuses. */
    send_text(fd, "GET /socket HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 7\r\n\r\n");
    answer = read_until(fd, NULL);
    cr_expect_not_null(strstr(answer, "HTTP/1.1 4"), "%s", answer);
    free(answer);
    close(fd);
    wait_until_closed();

    for (int i = 0; i < 8; i++) {
        fd = connect_to(server);
        send_text(fd, handshake);
        answer = read_until(fd, "hello");
        cr_expect_not_null(strstr(answer, "hello"), "%d", i);
        free(answer);
        close(fd);
        wait_until_closed();
    }
    http_server_stop(server);
}

Test(http_server, stopping_ends_open_sockets, .timeout = 30)
{
    struct http_server *server = start(4);
    const int fd = connect_to(server);
    char *answer;

    send_text(fd, handshake);
    answer = read_until(fd, "hello");
    cr_expect_not_null(strstr(answer, "hello"));
    free(answer);
    http_server_stop(server);
    cr_expect_eq(atomic_load(&n_open), 0);
    close(fd);
}

static const struct {
    const char *host;
    enum ts_err want;
} hosts[] = {
    {"127.0.0.1", TS_OK},        {"localhost", TS_OK},     {"", TS_E_CONFIG},
    {"example", TS_E_CONFIG},    {"127.0.0", TS_E_CONFIG}, {"127.0.0.256", TS_E_CONFIG},
    {"127.0.0.1 ", TS_E_CONFIG}, {"::1", TS_E_CONFIG},     {"127.0.0.1,8080", TS_E_CONFIG},
};

Test(http_server, an_address_that_is_none_is_refused, .timeout = 30)
{
    for (size_t i = 0; i < COUNTOF(hosts); i++) {
        const struct http_options options = {.host = hosts[i].host, .max_connections = 1};
        struct http_server *server = NULL;

        cr_expect_eq(http_server_start(&options, &server), hosts[i].want, "'%s'", hosts[i].host);
        http_server_stop(server);
    }
}

Test(http_server, a_port_in_use_is_an_error_that_names_it, .timeout = 30)
{
    struct http_server *server = start(1), *other = NULL;
    const struct http_options options = {
        .host = "127.0.0.1", .port = http_server_port(server), .max_connections = 1};
    char port[8];

    snprintf(port, sizeof port, ":%u", http_server_port(server));
    cr_expect_eq(http_server_start(&options, &other), TS_E_IO);
    cr_expect_not_null(strstr(ts_error_text(), port), "%s", ts_error_text());
    http_server_stop(server);
}

static const struct {
    uint64_t bytes;
    size_t want_bytes;
    uint8_t want[HTTP_FRAME_HEAD_BYTES];
} heads[] = {
    {0, 2, {0x81, 0}},
    {125, 2, {0x81, 125}},
    {126, 4, {0x81, 126, 0, 126}},
    {65535, 4, {0x81, 126, 0xff, 0xff}},
    {65536, 10, {0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
};

Test(http_server, frame_heads_have_the_shortest_length)
{
    for (size_t i = 0; i < COUNTOF(heads); i++) {
        uint8_t head[HTTP_FRAME_HEAD_BYTES];

        cr_expect_eq(http_frame_head(HTTP_FRAME_TEXT, heads[i].bytes, head), heads[i].want_bytes);
        cr_expect_eq(memcmp(head, heads[i].want, heads[i].want_bytes), 0);
    }
}
