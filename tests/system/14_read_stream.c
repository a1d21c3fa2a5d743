/* 14_read_stream.c - ws/read: history, caught_up, what comes then, gaps. */
#include "tests/system/harness.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct store store;

static void
start(void)
{
    site_start();
    store = store_fixture();
}

TestSuite(read_stream, .init = start, .fini = site_stop);

static void
put_three(void)
{
    put_ok(&store, 10, "\"a\"");
    put_ok(&store, 20, "\"needle\"");
    put_ok(&store, 30, "{\"n\":3}");
}

Test(read_stream, T170_from_0_is_the_whole_history_then_caught_up)
{
    struct ws *ws;

    put_three();
    ws = ws_read_open(&store, "from=0");
    ws_expect(ws, "data 10 \"a\"");
    ws_expect(ws, "data 20 \"needle\"");
    ws_expect(ws, "data 30 {\"n\":3}");
    ws_expect(ws, "caught_up");
    cr_expect_str_eq(ws_word(ws, 500), "silence");
    put_ok(&store, 40, "4");
    ws_expect(ws, "data 40 4");
}

Test(read_stream, T170_messages_carry_block_size_and_record_number)
{
    struct ws *ws;
    json_t *message;

    put_three();
    ws = ws_read_open(&store, "from=0");
    message = ws_next(ws, PATIENCE_MS, NULL);
    cr_assert_not_null(message);
    cr_expect_eq(json_integer_value(json_object_get(message, "size")), 3);
    cr_expect(json_is_integer(json_object_get(message, "block_num")));
    cr_expect_eq(json_integer_value(json_object_get(message, "record")), 1);
    message = ws_next(ws, PATIENCE_MS, NULL);
    cr_expect_eq(json_integer_value(json_object_get(message, "record")), 2);
}

Test(read_stream, T171_from_is_inclusive)
{
    struct ws *ws;

    put_three();
    ws = ws_read_open(&store, "from=20");
    ws_expect(ws, "data 20 \"needle\"");
    ws_expect(ws, "data 30 {\"n\":3}");
    ws_expect(ws, "caught_up");
}

Test(read_stream, T172_from_now_is_caught_up_at_once)
{
    static const char *const queries[] = {"", "from=now", "from=-1"};
    struct ws *streams[COUNTOF(queries)];

    put_three();
    for (size_t i = 0; i < COUNTOF(queries); i++) {
        streams[i] = ws_read_open(&store, queries[i]);
        ws_expect(streams[i], "caught_up");
    }
    put_ok(&store, 40, "4");
    for (size_t i = 0; i < COUNTOF(queries); i++)
        ws_expect(streams[i], "data 40 4");
}

Test(read_stream, T173_from_behind_all_data_waits_for_it)
{
    struct ws *ws;

    put_three();
    ws = ws_read_open(&store, "from=31");
    ws_expect(ws, "caught_up");
    put_ok(&store, 40, "4");
    ws_expect(ws, "data 40 4");
}

Test(read_stream, T173_from_in_the_future_sends_only_what_reaches_it)
{
    struct ws *ws;

    put_three();
    ws = ws_read_open(&store, "from=50");
    ws_expect(ws, "caught_up");
    put_ok(&store, 40, "4");
    put_ok(&store, 50, "5");
    ws_expect(ws, "data 50 5");
}

Test(read_stream, T173_an_empty_store_is_caught_up_then_sends)
{
    struct ws *ws = ws_read_open(&store, "from=0");

    ws_expect(ws, "caught_up");
    put_ok(&store, 1, "1");
    ws_expect(ws, "data 1 1");
}

Test(read_stream, T175_filtered_objects_send_nothing)
{
    struct ws *ws, *folded;

    put_three();
    ws = ws_read_open(&store, "from=0&filter=needle");
    folded = ws_read_open(&store, "from=0&filter=NEEDLE&filter_ignore_case=true");
    ws_expect(ws, "data 20 \"needle\"");
    ws_expect(ws, "caught_up");
    ws_expect(folded, "data 20 \"needle\"");
    ws_expect(folded, "caught_up");
    put_ok(&store, 40, "\"hay\"");
    put_ok(&store, 50, "\"a needle\"");
    ws_expect(ws, "data 50 \"a needle\"");
    ws_expect(folded, "data 50 \"a needle\"");
}

Test(read_stream, T177_binary_and_text_are_shown_as_in_lists)
{
    struct store binary = store_of_type("binary"), plain = store_of_type("text");
    struct ws *of_binary = ws_read_open(&binary, ""), *of_text = ws_read_open(&plain, "");

    ws_expect(of_binary, "caught_up");
    ws_expect(of_text, "caught_up");
    cr_assert_eq(store_post(&binary, "application/octet-stream", "\x00\xff\x41", 3).status, 201);
    cr_assert_eq(store_post(&binary, "application/octet-stream", NULL, 0).status, 201);
    cr_assert_eq(store_post(&plain, "text/plain", "he\xffy", 4).status, 201);
    cr_assert_eq(store_post(&plain, "text/plain", NULL, 0).status, 201);
    cr_expect_not_null(strstr(ws_word(of_binary, PATIENCE_MS), " \"AP9B\""));
    cr_expect_not_null(strstr(ws_word(of_binary, PATIENCE_MS), " \"\""));
    cr_expect_not_null(strstr(ws_word(of_text, PATIENCE_MS), " \"he\xef\xbf\xbdy\""));
    cr_expect_not_null(strstr(ws_word(of_text, PATIENCE_MS), " \"\""));
}

/* Sends objects first … last over the socket, `window` of them without waiting. */
static void
feed(const struct store *to, int64_t first, int64_t last, int window, int pad)
{
    struct line_client client;
    int64_t answered = first;

    line_login(&client, to);
    for (int64_t t = first; t <= last; t++) {
        line_send(&client, "@%jd {\"t\":%jd,\"p\":\"%0*d\"}\n", (intmax_t)t, (intmax_t)t, pad, 0);
        for (; answered <= t && (t - answered >= window || t == last); answered++)
            cr_assert_eq(strncmp(line_read(&client), "OK ", 3), 0);
    }
    line_close(&client);
}

Test(read_stream, T178_five_thousand_arrive_in_order_each_once)
{
    struct store wide = store_create("{\"name\":\"wide\"}");
    struct ws *ws = ws_read_open(&wide, "from=now");

    ws_expect(ws, "caught_up");
    feed(&wide, 1, 5000, 100, 8);
    for (int64_t t = 1; t <= 5000; t++) {
        json_t *message = ws_next(ws, PATIENCE_MS, NULL);

        cr_assert_not_null(message, "nothing after %jd", (intmax_t)t - 1);
        cr_assert_str_eq(json_string_value(json_object_get(message, "type")), "data");
        cr_assert_eq(json_integer_value(json_object_get(message, "timestamp")), t);
        cr_assert_eq(json_integer_value(json_object_get(json_object_get(message, "data"), "t")), t);
    }
    cr_expect_str_eq(ws_word(ws, 200), "silence");
}

Test(read_stream, T178_history_and_news_join_without_seam)
{
    struct store wide = store_create("{\"name\":\"wide\"}");
    struct ws *ws;
    int64_t next = 1;
    int n_caught_up = 0;

    feed(&wide, 1, 3000, 100, 8);
    ws = ws_read_open(&wide, "from=0");
    feed(&wide, 3001, 6000, 100, 8);
    while (next <= 6000) {
        json_t *message = ws_next(ws, PATIENCE_MS, NULL);
        const char *type = json_string_value(json_object_get(message, "type"));

        cr_assert_not_null(type, "nothing after %jd", (intmax_t)next - 1);
        if (strcmp(type, "caught_up") == 0) {
            n_caught_up++;
            cr_expect_gt(next, 3000, "caught up at %jd", (intmax_t)next - 1);
            continue;
        }
        cr_assert_eq(json_integer_value(json_object_get(message, "timestamp")), next);
        next++;
    }
    if (n_caught_up == 0)
        ws_expect(ws, "caught_up");
    cr_expect_leq(n_caught_up, 1);
}

/* ---- a client that can stop reading ---- */

struct raw_ws {
    int fd;
    bool has_ended;
    size_t start, used;
    uint8_t buffer[1 << 20];
};

static struct raw_ws raw;

static bool
raw_fill(void)
{
    struct pollfd in = {.fd = raw.fd, .events = POLLIN};
    ssize_t n;

    memmove(raw.buffer, raw.buffer + raw.start, raw.used - raw.start);
    raw.used -= raw.start;
    raw.start = 0;
    if (poll(&in, 1, PATIENCE_MS) != 1)
        return false;
    n = recv(raw.fd, raw.buffer + raw.used, sizeof raw.buffer - raw.used, 0);
    raw.used += n > 0 ? (size_t)n : 0;
    raw.has_ended = n <= 0;
    return n > 0;
}

static void
raw_open(const char *query)
{
    char request[512];
    uint8_t *end;
    int n = snprintf(request, sizeof request,
                     "GET /api/stores/%s/ws/read?%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-API-Key: %s\r\n\r\n",
                     store.name, query, store.key);

    raw.start = raw.used = 0;
    raw.fd = tcp_connect(site.queryd[0].port, 4096);
    cr_assert_eq(send(raw.fd, request, (size_t)n, 0), n);
    while ((end = memmem(raw.buffer, raw.used, "\r\n\r\n", 4)) == NULL)
        cr_assert(raw_fill(), "no handshake");
    cr_assert_eq(strncmp((char *)raw.buffer, "HTTP/1.1 101 ", 13), 0, "%.200s", raw.buffer);
    cr_expect_not_null(memmem(raw.buffer, raw.used, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28));
    raw.start = (size_t)(end - raw.buffer) + 4;
}

/* The opcode of the next frame and its payload, which is valid until the next call. -1: the end. */
static int
raw_frame(const uint8_t **out_payload, size_t *out_bytes)
{
    for (;;) {
        const uint8_t *at = raw.buffer + raw.start;
        const size_t have = raw.used - raw.start;
        size_t head = 2, bytes = have >= 2 ? at[1] & 0x7fu : 0;

        if (have >= 4 && bytes == 126) {
            head = 4;
            bytes = (size_t)at[2] << 8 | at[3];
        } else if (have >= 10 && bytes == 127) {
            head = 10;
            bytes = (size_t)at[6] << 24 | (size_t)at[7] << 16 | (size_t)at[8] << 8 | at[9];
        } else if (bytes >= 126) {
            head = sizeof raw.buffer; /* its length is not there yet */
        }
        if (have >= 2 && head <= have && bytes <= have - head) {
            *out_payload = at + head;
            *out_bytes = bytes;
            raw.start += head + bytes;
            return at[0] & 15;
        }
        if (!raw_fill())
            return -1;
    }
}

static void
raw_send(int opcode, const char *payload, size_t bytes)
{
    uint8_t frame[6 + 125] = {(uint8_t)(0x80 | opcode), (uint8_t)(0x80 | bytes)};

    cr_assert(bytes <= 125);
    memcpy(frame + 6, payload, bytes); /* a mask of zeros */
    cr_assert_eq(send(raw.fd, frame, 6 + bytes, MSG_NOSIGNAL), (ssize_t)(6 + bytes));
}

static json_t *
raw_message(void)
{
    const uint8_t *payload;
    size_t bytes;
    int opcode;

    while ((opcode = raw_frame(&payload, &bytes)) == 9 || opcode == 10)
        continue;
    return opcode == 1 ? json_loadb((const char *)payload, bytes, 0, NULL) : NULL;
}

/* By hand, because nng's client does not always notice an end that was announced. */
Test(read_stream, T174_a_bad_from_is_an_error_and_the_end)
{
    static const char *const queries[] = {"from=abc", "from=1.5", "from=99999999999999999999"};

    put_three();
    for (size_t i = 0; i < COUNTOF(queries); i++) {
        const uint8_t *payload;
        size_t bytes;
        json_t *message;

        raw_open(queries[i]);
        message = raw_message();
        cr_assert_not_null(message, "%s", queries[i]);
        cr_expect_str_eq(json_string_value(json_object_get(message, "type")), "error");
        cr_expect_not_null(json_string_value(json_object_get(message, "message")));
        json_decref(message);
        cr_assert_eq(raw_frame(&payload, &bytes), 8, "%s", queries[i]);
        cr_expect(bytes >= 2 && payload[0] == 1008 >> 8 && payload[1] == (1008 & 255));
        cr_expect_eq(raw_frame(&payload, &bytes), -1);
        cr_expect_eq(raw.has_ended, true, "%s: the connection stays", queries[i]);
        close(raw.fd);
    }
}

Test(read_stream, a_stream_of_a_dropped_store_is_told_and_closed)
{
    const uint8_t *payload;
    struct answer answer;
    json_t *message;
    size_t bytes;

    put_three();
    raw_open("from=now");
    message = raw_message();
    cr_assert_not_null(message);
    cr_expect_str_eq(json_string_value(json_object_get(message, "type")), "caught_up");
    json_decref(message);
    answer = CALL(.method = "DELETE", .path = text("/api/stores/%s", store.name), .key = store.key);
    cr_assert_eq(answer.status, 200, "%s", answer.body);
    message = raw_message();
    cr_assert_not_null(message);
    cr_expect_str_eq(json_string_value(json_object_get(message, "message")), "store is closed");
    json_decref(message);
    cr_assert_eq(raw_frame(&payload, &bytes), 8);
    cr_expect(bytes >= 2 && payload[0] == 1001 >> 8 && payload[1] == (1001 & 255));
    cr_expect_eq(raw_frame(&payload, &bytes), -1);
    close(raw.fd);
}

Test(read_stream, T179_a_lapped_reader_is_told_what_it_lost)
{
    enum { LAST = 120000 };
    int64_t n_seen = 0, n_lost = 0, n_gaps = 0, next = 1;

    raw_open("from=0");
    /* Far more than the ring and all buffers on the way hold: some 30 MB of messages. */
    feed(&store, 1, LAST, 1000, 150);
    while (next <= LAST) {
        json_t *message = raw_message();
        const char *type = json_string_value(json_object_get(message, "type"));

        cr_assert_not_null(type, "the stream ended after %jd", (intmax_t)next - 1);
        if (strcmp(type, "gap") == 0) {
            const int64_t from = json_integer_value(json_object_get(message, "from"));
            const int64_t to = json_integer_value(json_object_get(message, "to"));
            const int64_t lost = json_integer_value(json_object_get(message, "lost"));

            /* In this store record numbers and timestamps are the same numbers. */
            cr_assert_eq(from, next);
            cr_assert_eq(to - from + 1, lost);
            cr_assert_gt(lost, 0);
            n_gaps++;
            n_lost += lost;
            next = to + 1;
        } else if (strcmp(type, "data") == 0) {
            cr_assert_eq(json_integer_value(json_object_get(message, "timestamp")), next);
            cr_assert_eq(json_integer_value(json_object_get(json_object_get(message, "data"), "t")),
                         next);
            n_seen++;
            next++;
        }
        json_decref(message);
    }
    close(raw.fd);
    cr_expect_geq(n_gaps, 1);
    cr_expect_eq(n_seen + n_lost, LAST);
}

Test(read_stream, a_reader_that_stops_holds_up_nobody)
{
    struct ws *ws = ws_read_open(&store, "from=now");
    struct store other = store_create("{\"name\":\"other\"}");
    int64_t before;

    ws_expect(ws, "caught_up");
    raw_open("from=0");
    feed(&store, 1, 60000, 1000, 150);
    before = clock_ms();
    put_ok(&other, 1, "1");
    cr_expect_str_eq(list_all(&other), "1");
    put_ok(&store, 70000, "7");
    for (const char *word = ""; strcmp(word, "data 70000 7") != 0;) {
        word = ws_word(ws, PATIENCE_MS);
        cr_assert(strncmp(word, "data ", 5) == 0 || strcmp(word, "gap") == 0, "%s", word);
    }
    cr_expect_lt(clock_ms() - before, 20000);
    close(raw.fd);
}

Test(read_stream, pings_are_answered_and_a_close_is_returned)
{
    const uint8_t *payload;
    size_t bytes;
    int opcode;

    raw_open("from=now");
    raw_send(9, "hello", 5);
    while ((opcode = raw_frame(&payload, &bytes)) == 1)
        continue;
    cr_expect_eq(opcode, 10);
    cr_expect(bytes == 5 && memcmp(payload, "hello", 5) == 0);
    raw_send(1, "messages of the client are ignored", 34);
    raw_send(8, "\x03\xe8", 2);
    do
        opcode = raw_frame(&payload, &bytes);
    while (opcode != 8 && opcode != -1);
    cr_expect_eq(opcode, 8);
    cr_expect(bytes >= 2 && payload[0] == 3 && payload[1] == 0xe8);
    while (opcode != -1)
        opcode = raw_frame(&payload, &bytes);
    close(raw.fd);
}

Test(read_stream, a_refused_key_is_an_ordinary_answer)
{
    const char *path = text("/api/stores/%s/ws/read", store.name);

    cr_expect_null(ws_open_at(site.queryd[0].port, path));
    expect_answer(CALL(.path = path), 401, "API key required");
    expect_answer(CALL(.path = path, .key = "tsstore_00000000-0000-0000-0000-000000000000"), 401,
                  "invalid API key");
    cr_expect_eq(CALL(.path = path, .key = store.key).status, 400);
}

Test(read_stream, after_record_resumes_behind_a_record)
{
    struct ws *ws;

    put_three();
    ws = ws_read_open(&store, "after_record=2");
    ws_expect(ws, "data 30 {\"n\":3}");
    ws_expect(ws, "caught_up");
}
