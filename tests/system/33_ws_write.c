/* 33_ws_write.c - records as WebSocket messages, to ingestd itself and through queryd. */
#include "tests/system/harness.h"
#include "tests/unit/ws_client.h"

#include <stdio.h>

static struct store store;

static void
start(void)
{
    site_start();
    store = store_fixture();
}

TestSuite(ws_write, .init = start, .fini = site_stop);

/* Both doors. */
static int
port_of(int door)
{
    return door == 0 ? site.queryd[0].port : site.ingestd.port;
}
#define FOR_BOTH_DOORS for (int door = 0; door < 2; door++)

static char *
path_of(const struct store *of, const char *query)
{
    return text("/api/stores/%s/ws/write%s", of->name, query);
}

static int
open_with(int door, const struct store *of, const char *query)
{
    int fd;

    cr_assert_eq(
        ws_dial(port_of(door), path_of(of, query), text("X-API-Key: %s\r\n", of->key), &fd), 101);
    return fd;
}

/* The answer as one word: "ack <time> <size>" or "error <text>"; else what else came. */
static const char *
hear(int fd)
{
    const char *message = ws_hear_text(fd);
    json_t *root = json_loads(message, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "type"));
    char *word;

    if (type == NULL)
        return text("%s", message);
    if (strcmp(type, "ack") == 0) {
        cr_expect(json_is_integer(json_object_get(root, "block_num")));
        word = text("ack %jd %jd", (intmax_t)json_integer_value(json_object_get(root, "timestamp")),
                    (intmax_t)json_integer_value(json_object_get(root, "size")));
    } else {
        word = text("%s %s", type, json_string_value(json_object_get(root, "message")));
    }
    json_decref(root);
    return word;
}

static const char *
ask(int fd, const char *message)
{
    ws_say(fd, message);
    return hear(fd);
}

Test(ws_write, T150_the_key_comes_by_query_or_header_and_must_be_there)
{
    FOR_BOTH_DOORS
    {
        int fd;

        cr_expect_eq(
            ws_dial(port_of(door), path_of(&store, text("?api_key=%s", store.key)), "", &fd), 101);
        close(fd);
        cr_expect_eq(ws_dial(port_of(door), path_of(&store, ""),
                             text("Authorization: Bearer %s\r\n", store.key), &fd),
                     101);
        close(fd);
        cr_expect_eq(ws_dial(port_of(door), path_of(&store, ""), "", &fd), 401);
        close(fd);
        expect_answer(CALL(.path = path_of(&store, ""), .port = port_of(door)), 401,
                      "API key required");
    }
}

Test(ws_write, T151_a_plain_get_is_400)
{
    FOR_BOTH_DOORS
    {
        const struct answer answer =
            CALL(.path = path_of(&store, ""), .key = store.key, .port = port_of(door));

        cr_expect_eq(answer.status, 400);
        cr_expect_str_eq(answer.body, "Bad Request");
        cr_expect_eq(strncmp(answer_header(&answer, "Content-Type"), "text/plain", 10), 0);
    }
}

Test(ws_write, T152_T153_T154_each_message_has_one_answer)
{
    FOR_BOTH_DOORS
    {
        const struct store one = store_create(text("{\"name\":\"ws%d\"}", door));
        const int fd = open_with(door, &one, "");

        cr_expect_str_eq(ask(fd, "{\"timestamp\":1000,\"data\":{\"a\":1}}"), "ack 1000 7");
        cr_expect_str_eq(ask(fd, "{\"timestamp\":1000,\"data\":{\"a\":1}}"),
                         "error timestamp must be greater than newest entry");
        cr_expect_str_eq(ask(fd, "{\"timestamp\":1001,\"data\":2}"), "ack 1001 1");
        cr_expect_eq(strncmp(ask(fd, "zz"), "error ", 6), 0);
        cr_expect_eq(strncmp(ask(fd, ""), "error ", 6), 0);
        cr_expect_eq(strncmp(ask(fd, "[1]"), "error ", 6), 0);
        cr_expect_str_eq(ask(fd, "{}"), "error unexpected end of JSON input");
        cr_expect_str_eq(ask(fd, "{\"timestamp\":-1,\"data\":2}"), "error invalid timestamp");
        cr_expect_eq(strncmp(ask(fd, "{\"data\":2} x"), "error ", 6), 0);
        cr_expect_eq(strncmp(ask(fd, "{\"data\":3}"), "ack ", 4), 0);
        cr_expect_eq(strncmp(list_all(&one), "1000 1001 ", 10), 0);
        close(fd);
    }
}

Test(ws_write, T155_T156_T157_binary_frames_fragments_pings_and_the_close)
{
    FOR_BOTH_DOORS
    {
        const struct store one = store_create(text("{\"name\":\"ws%d\"}", door));
        const int fd = open_with(door, &one, "");
        static const char message[] = "{\"timestamp\":2,\"data\":\"in three parts\"}";
        const struct ws_frame *frame;

        ws_send(fd, WS_BINARY, true, "{\"timestamp\":1,\"data\":1}", 24);
        cr_expect_str_eq(hear(fd), "ack 1 1");
        ws_send(fd, WS_TEXT, false, message, 10);
        ws_send(fd, WS_PING, true, "are you there", 13);
        ws_send(fd, WS_CONTINUED, false, message + 10, 5);
        ws_send(fd, WS_CONTINUED, true, message + 15, sizeof message - 1 - 15);
        frame = ws_hear(fd, WS_PATIENCE_MS);
        cr_expect_eq(frame->opcode, WS_PONG);
        cr_expect_str_eq(frame->data, "are you there");
        cr_expect_str_eq(hear(fd), "ack 2 16");
        ws_say(fd, "{\"timestamp\":3,\"data\":3}");
        ws_send(fd, WS_CLOSE, true, "\x03\xe8", 2);
        cr_expect_str_eq(hear(fd), "ack 3 1");
        cr_expect_str_eq(hear(fd), "close 1000");
        cr_expect_str_eq(hear(fd), "end");
        cr_expect_str_eq(list_all(&one), "1 2 3");
        close(fd);
    }
}

static void
define(const struct store *of)
{
    expect_answer(CALL(.method = "PUT", .path = text("/api/stores/%s/schema", of->name),
                       .key = of->key, .type = "application/json",
                       .body = "{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"bool\"},"
                               "{\"index\":10,\"name\":\"cpu\",\"type\":\"bool\"}]}"),
                  200, NULL);
}

Test(ws_write, T158_T159_T160_schema_stores_take_names_or_indices)
{
    FOR_BOTH_DOORS
    {
        const struct store one =
            store_create(text("{\"name\":\"ws%d\",\"data_type\":\"schema\"}", door));
        int fd = open_with(door, &one, "");

        cr_expect_str_eq(ask(fd, "{\"data\":{}}"), "error schema is required for schema data type");
        define(&one);
        cr_expect_str_eq(ask(fd, "{\"timestamp\":1,\"data\":{\"cpu\":2,\"flow\":1}}"), "ack 1 14");
        cr_expect_str_eq(ask(fd, "{\"data\":{\"q\":1}}"), "error field not found in schema: q");
        cr_expect_str_eq(ask(fd, "{}"), "error invalid JSON: unexpected end of JSON input");
        cr_expect_eq(strncmp(ask(fd, "{\"data\":[1]}"), "error invalid JSON: ", 20), 0);
        close(fd);
        fd = open_with(door, &one, "?format=compact");
        cr_expect_str_eq(ask(fd, "{\"timestamp\":2,\"data\":{\"1\":5}}"), "ack 2 7");
        cr_expect_eq(strncmp(ask(fd, "{\"data\":\"junk\"}"), "error ", 6), 0);
        cr_expect_eq(strncmp(ask(fd, "{}"), "error ", 6), 0);
        cr_expect_eq(strncmp(ask(fd, "{\"data\":{\"flow\":5}}"), "error ", 6), 0);
        cr_expect_eq(strncmp(ask(fd, "{\"data\":{\"2\":5}}"), "error ", 6), 0);
        close(fd);
        cr_expect_str_eq(list_all(&one), "1 2");
        cr_expect_not_null(strstr(store_get(&one, "/data/newest?limit=1").body, "{\"flow\":5}"));
    }
}

Test(ws_write, T161_text_is_a_string_and_binary_base64)
{
    FOR_BOTH_DOORS
    {
        const struct store words =
            store_create(text("{\"name\":\"wt%d\",\"data_type\":\"text\"}", door));
        const struct store bytes =
            store_create(text("{\"name\":\"wb%d\",\"data_type\":\"binary\"}", door));
        int fd = open_with(door, &words, "");

        cr_expect_str_eq(ask(fd, "{\"timestamp\":1,\"data\":\"hello\"}"), "ack 1 5");
        cr_expect_str_eq(ask(fd, "{}"), "error data is required");
        cr_expect_eq(strncmp(ask(fd, "{\"data\":5}"), "error ", 6), 0);
        close(fd);
        cr_expect_not_null(strstr(store_get(&words, "/data/newest").body, "\"data\":\"hello\""));
        fd = open_with(door, &bytes, "");
        cr_expect_str_eq(ask(fd, "{\"timestamp\":1,\"data\":\"AP9B\"}"), "ack 1 3");
        cr_expect_str_eq(ask(fd, "{\"data\":\"?\"}"), "error illegal base64 data");
        close(fd);
        cr_expect_not_null(strstr(store_get(&bytes, "/data/newest").body, "\"data\":\"AP9B\""));
    }
}

Test(ws_write, T162_a_silent_client_that_answers_pings_stays, .timeout = 120)
{
    const int fds[2] = {open_with(0, &store, ""), open_with(1, &store, "")};
    const int64_t until = clock_ms() + 75000;
    int n_pings[2] = {0, 0};

    while (clock_ms() < until) {
        FOR_BOTH_DOORS
        {
            const struct ws_frame *frame = ws_hear(fds[door], 250);

            cr_assert(frame->opcode == -2 || frame->opcode == WS_PING, "%d", frame->opcode);
            if (frame->opcode == WS_PING) {
                ws_send(fds[door], WS_PONG, true, frame->data, frame->bytes);
                n_pings[door]++;
            }
        }
    }
    FOR_BOTH_DOORS
    {
        cr_expect(n_pings[door] >= 1 && n_pings[door] <= 4, "%d pings", n_pings[door]);
        cr_expect_eq(strncmp(ask(fds[door], "{\"data\":1}"), "ack ", 4), 0);
        close(fds[door]);
    }
}

Test(ws_write, thousands_of_messages_in_one_go_are_answered_in_order)
{
    enum { N = 5000 };
    static uint8_t frames[N * 64];

    FOR_BOTH_DOORS
    {
        const struct store one =
            store_create(text("{\"name\":\"ws%d\",\"num_blocks\":1024}", door));
        const int fd = open_with(door, &one, "");
        size_t n = 0, sent = 0;

        for (int i = 1; i <= N; i++) {
            char message[48];
            const int bytes =
                snprintf(message, sizeof message, "{\"timestamp\":%d,\"data\":%d}", i, i);

            n += ws_frame_put(frames + n, WS_TEXT, true, message, (size_t)bytes);
        }
        /* While answers come: they are more than a connection holds. */
        for (int i = 1; i <= N; i++) {
            while (sent < n) {
                const ssize_t more = send(fd, frames + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (more <= 0)
                    break;
                sent += (size_t)more;
            }
            cr_assert_eq(strncmp(hear(fd), text("ack %d ", i), strlen(text("ack %d ", i))), 0);
        }
        close(fd);
        cr_expect_str_eq(list_all(&one), run_of(1, N));
    }
}

Test(ws_write, a_message_that_is_too_long_closes_with_1009)
{
    FOR_BOTH_DOORS
    {
        const int fd = open_with(door, &store, "");
        const char *large = repeat(' ', 1100000);

        ws_send(fd, WS_TEXT, true, large, strlen(large));
        cr_expect_str_eq(hear(fd), "close 1009");
        close(fd);
    }
}

Test(ws_write, frames_that_make_no_sense_close_with_1002)
{
    FOR_BOTH_DOORS
    {
        int fd = open_with(door, &store, "");

        ws_send(fd, WS_CONTINUED, true, "x", 1);
        cr_expect_str_eq(hear(fd), "close 1002");
        close(fd);
        fd = open_with(door, &store, "");
        ws_send(fd, 5, true, "x", 1);
        cr_expect_str_eq(hear(fd), "close 1002");
        close(fd);
    }
}

Test(ws_write, a_drop_ends_the_connection)
{
    FOR_BOTH_DOORS
    {
        const struct store one = store_create(text("{\"name\":\"ws%d\"}", door));
        const int fd = open_with(door, &one, "");

        cr_expect_str_eq(ask(fd, "{\"timestamp\":1,\"data\":1}"), "ack 1 1");
        expect_answer(
            CALL(.method = "DELETE", .path = text("/api/stores/%s", one.name), .key = one.key), 200,
            NULL);
        cr_expect_str_eq(ask(fd, "{\"timestamp\":2,\"data\":1}"), "error authentication failed");
        cr_expect_str_eq(hear(fd), "close 1008");
        close(fd);
    }
}

Test(ws_write, through_queryd_the_connection_outlives_ingestd)
{
    const int fd = open_with(0, &store, "");
    int refused;

    cr_expect_str_eq(ask(fd, "{\"timestamp\":1,\"data\":1}"), "ack 1 1");
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    cr_expect_str_eq(ask(fd, "{\"timestamp\":2,\"data\":1}"), "error ingestd is not running");
    cr_expect_eq(
        ws_dial(port_of(0), path_of(&store, ""), text("X-API-Key: %s\r\n", store.key), &refused),
        503);
    close(refused);
    ingestd_start();
    AWAIT(PATIENCE_MS, strncmp(ask(fd, "{\"data\":3}"), "ack ", 4) == 0);
    close(fd);
}

Test(ws_write, a_stop_says_1001)
{
    const int fds[2] = {open_with(0, &store, ""), open_with(1, &store, "")};

    cr_expect_eq(strncmp(ask(fds[0], "{\"data\":1}"), "ack ", 4), 0);
    cr_expect_eq(strncmp(ask(fds[1], "{\"data\":1}"), "ack ", 4), 0);
    cr_expect_eq(process_stop(&site.ingestd, 5000), 0);
    cr_expect_str_eq(hear(fds[1]), "close 1001");
    cr_expect_eq(process_stop(&site.queryd[0], 5000), 0);
    cr_expect_str_eq(hear(fds[0]), "close 1001");
    close(fds[0]);
    close(fds[1]);
}
