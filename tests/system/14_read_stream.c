/* 14_read_stream.c - ws/read: history, caught_up, what comes then, gaps. */
#include "tests/system/harness.h"

#include <stdlib.h>

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
    cr_expect_str_eq(ws_word(ws, 200), "silence");
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

/* As above, one POST each, through queryd. */
Test(read_stream, T178_five_thousand_posts_arrive_in_order_each_once)
{
    struct store wide = store_create("{\"name\":\"wide\"}");
    struct ws *ws = ws_read_open(&wide, "from=now");

    ws_expect(ws, "caught_up");
    for (int64_t t = 1; t <= 5000; t++) {
        put_ok(&wide, t, "1");
        if (t % 1000 != 0)
            continue;
        for (int64_t seen = t - 999; seen <= t; seen++)
            ws_expect(ws, text("data %jd 1", (intmax_t)seen));
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

/* ---- the end ---- */

Test(read_stream, T174_a_bad_from_is_an_error_and_the_end)
{
    static const char *const queries[] = {"from=abc", "from=1.5", "from=99999999999999999999"};

    put_three();
    for (size_t i = 0; i < COUNTOF(queries); i++) {
        struct ws *ws = ws_read_open(&store, queries[i]);
        const char *word = ws_word(ws, PATIENCE_MS);

        cr_expect_eq(strncmp(word, "error ", 6), 0, "%s: %s", queries[i], word);
        cr_expect_str_eq(ws_await_end(ws), "1008 bad parameter");
    }
}

Test(read_stream, a_stream_of_a_dropped_store_is_told_and_closed)
{
    struct ws *ws;
    struct answer answer;
    const char *data;
    size_t bytes;

    put_three();
    ws = ws_read_open(&store, "from=now");
    ws_expect(ws, "caught_up");
    answer = CALL(.method = "DELETE", .path = text("/api/stores/%s", store.name), .key = store.key);
    cr_assert_eq(answer.status, 200, "%s", answer.body);
    ws_expect(ws, "error store is closed");
    /* Who does not answer the close is left, too. */
    cr_assert_eq(ws_next_frame(ws, PATIENCE_MS, &data, &bytes), FRAME_CLOSE);
    cr_expect_str_eq(ws_await_end(ws), "1001 store is closed");
}

Test(read_stream, pings_are_answered_and_a_close_is_returned)
{
    struct ws *ws = ws_read_open(&store, "from=now");
    const char *data;
    size_t bytes;
    int opcode;

    ws_tell_frame(ws, FRAME_PING, "hello", 5);
    while ((opcode = ws_next_frame(ws, PATIENCE_MS, &data, &bytes)) == FRAME_TEXT)
        continue;
    cr_assert_eq(opcode, FRAME_PONG);
    cr_expect(bytes == 5 && memcmp(data, "hello", 5) == 0);
    ws_tell(ws, "messages of the client are ignored");
    ws_tell_frame(ws, FRAME_CLOSE, "\x03\xe8", 2);
    cr_expect_str_eq(ws_await_end(ws), "1000");
}

/* The client says so while the stream's sender is at it. */
Test(read_stream, nothing_comes_behind_the_answer_to_a_close)
{
    struct store wide = store_create("{\"name\":\"wide\"}");

    feed(&wide, 1, 20000, 100, 8);
    for (int i = 0; i < 50; i++) {
        struct ws *ws = ws_read_open(&wide, "from=0");

        cr_assert_not_null(ws_next(ws, PATIENCE_MS, NULL));
        ws_tell_frame(ws, FRAME_CLOSE, "\x03\xe8", 2);
        cr_expect_str_eq(ws_await_end(ws), "1000");
    }
}

/* ---- a client that stops reading ---- */

static struct ws *
open_still(void)
{
    struct ws *ws = WS_OPEN(.path = text("/api/stores/%s/ws/read?from=0", store.name),
                            .key = store.key, .receive_bytes = 4096);

    cr_assert_not_null(ws);
    return ws;
}

/* By all streams together. */
static int64_t
n_sent(void)
{
    static const char name[] = "\ntsstore_stream_messages_total ";
    const char *at = strstr(CALL(.path = "/metrics").body, name);

    cr_assert_not_null(at);
    return strtoll(at + sizeof name - 1, NULL, 10);
}

/* The number of objects up to the one at `last`, lost ones not counted. */
static int64_t
read_up_to(struct ws *ws, int64_t last)
{
    const char *end = text("data %jd ", (intmax_t)last);
    int64_t n = 0;

    for (;;) {
        const char *word = ws_word(ws, PATIENCE_MS);

        if (strcmp(word, "gap") == 0)
            continue;
        cr_assert_eq(strncmp(word, "data ", 5), 0, "%s", word);
        n++;
        if (strncmp(word, end, strlen(end)) == 0)
            return n;
    }
}

/* Feeds until a stream whose client stands still is stuck, with all buffers on the way full, and
 * was lapped; `along`, unless NULL, is read meanwhile. Gives the last object's time. What is waited
 * for is this, and no amount: queryd gives up who takes nothing for 30 s. */
static int64_t
feed_until_stuck(struct ws *along)
{
    enum { SLICE = 2000, RING = 500 };
    int64_t last = 0, n_along = 0, before, n = 0;

    do {
        cr_assert_lt(last, 1000000, "it takes everything");
        before = n;
        feed(&store, last + 1, last + SLICE, 1000, 150);
        last += SLICE;
        if (along != NULL)
            n_along += read_up_to(along, last);
        n = n_sent() - n_along;
    } while (n != before || last - n < RING + SLICE);
    return last;
}

Test(read_stream, T179_a_lapped_reader_is_told_what_it_lost)
{
    struct ws *ws = open_still();
    const int64_t last = feed_until_stuck(NULL);
    int64_t n_seen = 0, n_lost = 0, n_gaps = 0, next = 1;

    while (next <= last) {
        json_t *message = ws_next(ws, PATIENCE_MS, NULL);
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
    }
    cr_expect_geq(n_gaps, 1);
    cr_expect_eq(n_seen + n_lost, last);
}

Test(read_stream, a_reader_that_stops_holds_up_nobody)
{
    struct ws *ws = ws_read_open(&store, "from=now");
    struct store other = store_create("{\"name\":\"other\"}");
    int64_t last, before;

    ws_expect(ws, "caught_up");
    open_still();
    last = feed_until_stuck(ws);
    before = clock_ms();
    put_ok(&other, 1, "1");
    cr_expect_str_eq(list_all(&other), "1");
    put_ok(&store, last + 1, "7");
    ws_expect(ws, text("data %jd 7", (intmax_t)last + 1));
    cr_expect_lt(clock_ms() - before, 20000);
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
