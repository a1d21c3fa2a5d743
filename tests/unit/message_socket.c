/* message_socket.c - messages are answered in order, whatever the frames they come in. */
#include "daemon/message_socket.h"

#include "proto/control.h"
#include "tests/unit/ws_client.h"

#include <stdatomic.h>
#include <time.h>

#define MAX_MESSAGE_BYTES 5000

static struct message_sockets group;
static struct http_server *server;
static atomic_int n_done, n_batches;
static atomic_int pause_ms; /* of each batch */
static _Atomic uint16_t status;

/* Gives each message back with its bytes in brackets. */
static uint16_t
answer(void *arg, struct ts_span messages, struct ts_text *out)
{
    const int ms = atomic_load(&pause_ms);
    struct ts_span one;

    (void)arg;
    atomic_fetch_add(&n_batches, 1);
    nanosleep(&(struct timespec){.tv_nsec = ms % 1000 * 1000000L, .tv_sec = ms / 1000}, NULL);
    if (status != 200) {
        ts_text_puts(out, "{\"error\":\"no \\\"luck\\\"\",\"code\":\"x\"}");
        return status;
    }
    while (control_frame_take(&messages, &one)) {
        const size_t start = control_frame_begin(out);

        ts_text_printf(out, "[%zu]", one.bytes);
        ts_text_add(out, one.at, one.bytes < 20 ? one.bytes : 20);
        control_frame_end(out, start);
    }
    return 200;
}

static void
done(void *arg)
{
    (void)arg;
    atomic_fetch_add(&n_done, 1);
}

static void
upgrade(struct http_request *req, void *ctx)
{
    const struct message_socket_options options = {
        .answer = answer, .done = done, .max_message_bytes = MAX_MESSAGE_BYTES, .group = &group};

    (void)ctx;
    message_socket_accept(req, &options);
}

static void
set_up(void)
{
    static const struct http_route routes[] = {{"GET", "/w", upgrade, &message_socket_hooks}};
    const struct http_options options = {
        .host = "127.0.0.1", .max_connections = 8, .routes = routes, .n_routes = 1};

    status = 200;
    message_sockets_init(&group);
    cr_assert_eq(http_server_start(&options, &server), TS_OK, "%s", ts_error_text());
}

static void
tear_down(void)
{
    message_sockets_stop(&group, 500);
    http_server_stop(server);
    message_sockets_done(&group);
}

TestSuite(message_socket, .init = set_up, .fini = tear_down, .timeout = 60);

static int
open_socket(void)
{
    int fd;

    cr_assert_eq(ws_dial(http_server_port(server), "/w", "", &fd), 101);
    return fd;
}

static void
await_done(int n)
{
    for (int i = 0; i < 1000 && atomic_load(&n_done) < n; i++)
        usleep(10000);
    cr_expect_eq(atomic_load(&n_done), n);
}

Test(message_socket, each_message_is_answered_in_order)
{
    const int fd = open_socket();

    ws_say(fd, "one");
    cr_expect_str_eq(ws_hear_text(fd), "[3]one");
    ws_say(fd, "");
    ws_send(fd, WS_BINARY, true, "two", 3);
    cr_expect_str_eq(ws_hear_text(fd), "[0]");
    cr_expect_str_eq(ws_hear_text(fd), "[3]two");
    close(fd);
    await_done(1);
}

Test(message_socket, a_message_in_fragments_is_one)
{
    const int fd = open_socket();

    ws_send(fd, WS_TEXT, false, "ab", 2);
    ws_send(fd, WS_PING, true, "hi", 2);
    ws_send(fd, WS_CONTINUED, false, "", 0);
    ws_send(fd, WS_CONTINUED, true, "cd", 2);
    ws_say(fd, "x");
    cr_expect_eq(ws_hear(fd, WS_PATIENCE_MS)->opcode, WS_PONG);
    cr_expect_str_eq(ws_hear_text(fd), "[4]abcd");
    cr_expect_str_eq(ws_hear_text(fd), "[1]x");
    close(fd);
    await_done(1);
}

Test(message_socket, many_messages_at_once_are_answered_in_few_batches)
{
    static uint8_t frames[1000 * 20];
    const int fd = open_socket();
    size_t n = 0;

    for (int i = 0; i < 1000; i++) {
        char text[16];

        n += ws_frame_put(frames + n, WS_TEXT, true, text,
                          (size_t)snprintf(text, sizeof text, "m%d", i));
    }
    atomic_store(&pause_ms, 5);
    ws_write_all(fd, frames, n);
    for (int i = 0; i < 1000; i++) {
        char want[32];

        snprintf(want, sizeof want, "[%d]m%d", 1 + snprintf(NULL, 0, "%d", i), i);
        cr_assert_str_eq(ws_hear_text(fd), want);
    }
    cr_expect_lt(atomic_load(&n_batches), 200);
    close(fd);
    await_done(1);
}

Test(message_socket, a_close_is_answered_after_what_came_before_it)
{
    const int fd = open_socket();

    atomic_store(&pause_ms, 200);
    ws_say(fd, "one");
    ws_say(fd, "two");
    ws_send(fd, WS_CLOSE, true, "\x03\xe8", 2);
    cr_expect_str_eq(ws_hear_text(fd), "[3]one");
    cr_expect_str_eq(ws_hear_text(fd), "[3]two");
    cr_expect_str_eq(ws_hear_text(fd), "close 1000");
    cr_expect_str_eq(ws_hear_text(fd), "end");
    close(fd);
    await_done(1);
}

Test(message_socket, what_breaks_the_protocol_is_closed_with_the_reason)
{
    static char large[MAX_MESSAGE_BYTES + 1];
    int fd = open_socket();

    ws_send(fd, WS_TEXT, true, large, MAX_MESSAGE_BYTES);
    cr_expect_eq(ws_hear(fd, WS_PATIENCE_MS)->opcode, WS_TEXT);
    ws_send(fd, WS_TEXT, true, large, sizeof large);
    cr_expect_str_eq(ws_hear_text(fd), "close 1009");
    close(fd);
    fd = open_socket();
    ws_send(fd, WS_TEXT, false, large, MAX_MESSAGE_BYTES);
    ws_send(fd, WS_CONTINUED, true, large, 1);
    cr_expect_str_eq(ws_hear_text(fd), "close 1009");
    close(fd);
    fd = open_socket();
    ws_send(fd, WS_CONTINUED, true, "x", 1);
    cr_expect_str_eq(ws_hear_text(fd), "close 1002");
    close(fd);
    fd = open_socket();
    ws_send(fd, WS_TEXT, false, "x", 1);
    ws_send(fd, WS_TEXT, true, "x", 1);
    cr_expect_str_eq(ws_hear_text(fd), "close 1002");
    close(fd);
    fd = open_socket();
    ws_send(fd, 3, true, "x", 1);
    cr_expect_str_eq(ws_hear_text(fd), "close 1002");
    close(fd);
    await_done(5);
}

Test(message_socket, an_error_of_all_is_told_to_each_and_a_refused_key_ends_it)
{
    const int fd = open_socket();

    status = 503;
    ws_say(fd, "one");
    cr_expect_str_eq(ws_hear_text(fd), "{\"type\":\"error\",\"message\":\"no \\\"luck\\\"\"}");
    status = 200;
    ws_say(fd, "two");
    cr_expect_str_eq(ws_hear_text(fd), "[3]two");
    status = 401;
    ws_say(fd, "three");
    cr_expect_str_eq(ws_hear_text(fd), "{\"type\":\"error\",\"message\":\"no \\\"luck\\\"\"}");
    cr_expect_str_eq(ws_hear_text(fd), "close 1008");
    close(fd);
    await_done(1);
}

Test(message_socket, messages_of_a_client_that_left_are_still_taken)
{
    const int fd = open_socket();

    atomic_store(&pause_ms, 100);
    ws_say(fd, "one");
    ws_say(fd, "two");
    close(fd);
    await_done(1);
    cr_expect_geq(atomic_load(&n_batches), 1);
}

Test(message_socket, a_stop_says_good_bye)
{
    const int fd = open_socket();

    ws_say(fd, "one");
    cr_expect_str_eq(ws_hear_text(fd), "[3]one");
    message_sockets_stop(&group, 5000);
    cr_expect_str_eq(ws_hear_text(fd), "close 1001");
    close(fd);
    await_done(1);
}

Test(message_socket, a_request_that_is_no_upgrade_is_400)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    char text[64] = "";
    int why;

    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    ws_write_all(fd, "GET /w HTTP/1.1\r\nHost: x\r\n\r\n", 28);
    cr_assert(ws_read_exactly(fd, text, 12, WS_PATIENCE_MS, &why));
    cr_expect_str_eq(text, "HTTP/1.1 400");
    close(fd);
    await_done(1);
}
