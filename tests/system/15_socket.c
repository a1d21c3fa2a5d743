/* 15_socket.c - the Unix socket: lines in, one answer per line. */
#include "tests/system/harness.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct store store;

static void
start(void)
{
    site_start();
    store = store_fixture();
}

TestSuite(socket_lines, .init = start, .fini = site_stop);

/* The timestamp of an "OK <ts>" answer. */
static int64_t
accepted(const char *answer)
{
    char *end;
    int64_t time_ns;

    cr_assert(answer != NULL && strncmp(answer, "OK ", 3) == 0, "%s",
              answer != NULL ? answer : "end of file");
    time_ns = strtoll(answer + 3, &end, 10);
    cr_assert(*end == '\0' && time_ns > 0, "%s", answer);
    return time_ns;
}

static void
expect_start(const char *answer, const char *want)
{
    cr_expect(answer != NULL && strncmp(answer, want, strlen(want)) == 0, "\"%s\", wanted \"%s\"",
              answer != NULL ? answer : "end of file", want);
}

static json_t *
newest_object(const struct store *of)
{
    struct answer answer = store_get(of, "/data/newest?limit=1");
    json_t *object = json_array_get(json_object_get(answer.json, "objects"), 0);

    cr_assert_not_null(object, "%s", answer.body);
    return object;
}

/* The newest object's data. */
static const char *
newest(const struct store *of)
{
    char *out =
        json_dumps(json_object_get(newest_object(of), "data"), JSON_COMPACT | JSON_ENCODE_ANY);

    cr_assert_not_null(out);
    keep(out, free);
    return out;
}

Test(socket_lines, T240_auth_a_line_and_quit)
{
    struct line_client client;
    int64_t before = clock_ns(), time_ns;

    line_login(&client, &store);
    time_ns = accepted(line_ask(&client, "{\"a\":1}"));
    cr_expect(time_ns >= before && time_ns <= clock_ns());
    cr_expect_str_eq(line_ask(&client, "QUIT"), "OK bye");
    cr_expect_null(line_read(&client));
    line_close(&client);
    cr_expect_str_eq(list_all(&store), text("%jd", (intmax_t)time_ns));
}

Test(socket_lines, T241_words_in_any_case)
{
    struct line_client client;

    line_open(&client);
    cr_expect_str_eq(line_ask(&client, "auth %s %s", store.name, store.key), "OK");
    cr_expect_str_eq(line_ask(&client, "quit"), "OK bye");
    cr_expect_null(line_read(&client));
    line_close(&client);
    line_open(&client);
    cr_expect_str_eq(line_ask(&client, "Auth %s %s\r", store.name, store.key), "OK");
    cr_expect_str_eq(line_ask(&client, " Quit \r"), "OK bye");
    line_close(&client);
}

Test(socket_lines, T242_a_first_line_of_another_shape)
{
    static const char *const lines[] = {"AUTH S",    "HELLO",      "AUTH", "AUTH S  key",
                                        "{\"a\":1}", "AUTH S k k", "QUIT"};

    for (size_t i = 0; i < COUNTOF(lines); i++) {
        struct line_client client;

        line_open(&client);
        cr_expect_str_eq(line_ask(&client, "%s", lines[i]),
                         "ERROR invalid auth format, expected: AUTH <store> <api-key>", "%s",
                         lines[i]);
        cr_expect_null(line_read(&client));
        line_close(&client);
    }
}

Test(socket_lines, T243_a_wrong_key_and_an_unknown_store_look_alike)
{
    const char *const lines[] = {
        text("AUTH %s tsstore_00000000-0000-0000-0000-000000000000", store.name),
        text("AUTH none %s", store.key), text("AUTH %s x", store.name),
        text("AUTH ../data/%s %s", store.name, store.key), text("AUTH . %s", store.key)};

    for (size_t i = 0; i < COUNTOF(lines); i++) {
        struct line_client client;

        line_open(&client);
        cr_expect_str_eq(line_ask(&client, "%s", lines[i]), "ERROR authentication failed", "%s",
                         lines[i]);
        cr_expect_null(line_read(&client));
        line_close(&client);
    }
}

Test(socket_lines, T244_a_bad_line_keeps_the_connection)
{
    static const char *const bad[] = {"bad",      "{\"t\":", "1 2", "{\"a\":1}x",
                                      "\"\xff\"", "[1,]",    "@",   "tru"};
    struct line_client client;

    line_login(&client, &store);
    for (size_t i = 0; i < COUNTOF(bad); i++)
        expect_start(line_ask(&client, "%s", bad[i]), "ERROR invalid JSON: ");
    cr_expect_str_eq(line_ask(&client, "{\"t\":"),
                     "ERROR invalid JSON: unexpected end of JSON input");
    accepted(line_ask(&client, "{\"a\":1}"));
    line_close(&client);
    cr_expect_str_eq(newest(&store), "{\"a\":1}");
}

Test(socket_lines, T245_two_lines_in_one_write)
{
    struct line_client client;
    int64_t first;

    line_login(&client, &store);
    line_send(&client, "{\"a\":1}\nbad\n{\"a\":2}\n");
    first = accepted(line_read(&client));
    expect_start(line_read(&client), "ERROR invalid JSON: ");
    cr_expect_gt(accepted(line_read(&client)), first);
    line_close(&client);
    cr_expect_str_eq(newest(&store), "{\"a\":2}");
}

Test(socket_lines, T245_auth_and_lines_in_one_write)
{
    struct line_client client;

    line_open(&client);
    line_send(&client, "AUTH %s %s\n{\"a\":1}\n{\"a\":2}\nQUIT\n{\"a\":3}\n", store.name,
              store.key);
    cr_expect_str_eq(line_read(&client), "OK");
    accepted(line_read(&client));
    accepted(line_read(&client));
    cr_expect_str_eq(line_read(&client), "OK bye");
    cr_expect_null(line_read(&client));
    line_close(&client);
    cr_expect_str_eq(newest(&store), "{\"a\":2}");
}

Test(socket_lines, T246_an_empty_line_has_no_answer)
{
    struct line_client client;

    line_login(&client, &store);
    line_send(&client, "\n\r\n   \n{\"a\":1}\n");
    accepted(line_read(&client));
    cr_expect_str_eq(line_ask(&client, "QUIT"), "OK bye");
    line_close(&client);
}

Test(socket_lines, T247_blanks_around_a_line_are_not_stored)
{
    struct line_client client;

    line_login(&client, &store);
    accepted(line_ask(&client, "{\"a\":2}\r"));
    cr_expect_str_eq(newest(&store), "{\"a\":2}");
    cr_expect_eq(json_integer_value(json_object_get(newest_object(&store), "size")), 7);
    accepted(line_ask(&client, "  [1,2]  "));
    cr_expect_str_eq(newest(&store), "[1,2]");
    cr_expect_eq(json_integer_value(json_object_get(newest_object(&store), "size")), 5);
    line_close(&client);
}

Test(socket_lines, T248_a_wrapper_is_stored_as_it_is)
{
    struct line_client client;

    line_login(&client, &store);
    cr_expect_gt(accepted(line_ask(&client, "{\"timestamp\":5,\"data\":1}")), 1000000);
    line_close(&client);
    cr_expect_str_eq(newest(&store), "{\"timestamp\":5,\"data\":1}");
}

Test(socket_lines, T250_a_line_may_come_in_two_halves_seconds_apart)
{
    struct line_client client;

    line_login(&client, &store);
    line_send(&client, "{\"a\":");
    sleep(3);
    accepted(line_ask(&client, "1}"));
    cr_expect_str_eq(line_ask(&client, "QUIT"), "OK bye");
    line_close(&client);
    cr_expect_str_eq(newest(&store), "{\"a\":1}");
}

Test(socket_lines, T250_a_line_may_come_byte_by_byte)
{
    static const char line[] = "{\"name\":\"byte by byte\"}\n";
    struct line_client client;

    line_login(&client, &store);
    for (size_t i = 0; i + 1 < sizeof line; i++)
        line_write(&client, line + i, 1);
    accepted(line_read(&client));
    line_close(&client);
}

Test(socket_lines, T251_a_line_of_64_MB_is_refused_and_costs_no_memory)
{
    const char *mega = repeat('a', 1 << 20);
    struct line_client client;
    long before;

    line_login(&client, &store);
    accepted(line_ask(&client, "1"));
    before = process_rss_kib(&site.ingestd);
    line_write(&client, "\"", 1);
    for (int i = 0; i < 64; i++)
        line_write(&client, mega, 1 << 20);
    cr_expect_str_eq(line_ask(&client, "\""), "ERROR line too long");
    accepted(line_ask(&client, "2"));
    cr_expect_lt(process_rss_kib(&site.ingestd) - before, 16 * 1024);
    line_close(&client);
    cr_expect_str_eq(newest(&store), "2");
}

Test(socket_lines, T251_a_line_larger_than_the_ring_is_refused)
{
    struct line_client client;

    line_login(&client, &store);
    accepted(line_ask(&client, "1"));
    cr_expect_str_eq(line_ask(&client, "\"%s\"", repeat('a', 100000)),
                     "ERROR store failed: object exceeds maximum block size");
    accepted(line_ask(&client, "2"));
    line_close(&client);
    cr_expect_eq(strchr(list_all(&store), ' ') != NULL, true);
}

Test(socket_lines, T252_a_last_line_without_newline_is_dropped)
{
    struct line_client client;

    line_login(&client, &store);
    accepted(line_ask(&client, "1"));
    line_send(&client, "2");
    shutdown(client.fd, SHUT_WR);
    cr_expect_null(line_read(&client));
    line_close(&client);
    cr_expect_str_eq(newest(&store), "1");
}

Test(socket_lines, T253_text_stores_take_any_line_of_utf8)
{
    struct store plain = store_of_type("text");
    struct line_client client;

    line_login(&client, &plain);
    accepted(line_ask(&client, "hello"));
    cr_expect_str_eq(newest(&plain), "\"hello\"");
    accepted(line_ask(&client, "  {\"not\": parsed \xc3\xa4  "));
    cr_expect_str_eq(newest(&plain), "\"{\\\"not\\\": parsed \xc3\xa4\"");
    line_close(&client);
}

Test(socket_lines, a_line_may_bring_its_own_timestamp)
{
    struct line_client client;

    line_login(&client, &store);
    cr_expect_str_eq(line_ask(&client, "@5000 {\"a\":1}"), "OK 5000");
    cr_expect_str_eq(line_ask(&client, "@5000 {\"a\":1}"),
                     "ERROR store failed: timestamp must be greater than newest entry");
    cr_expect_str_eq(line_ask(&client, "@4999 1"),
                     "ERROR store failed: timestamp must be greater than newest entry");
    expect_start(line_ask(&client, "@-5 1"), "ERROR ");
    expect_start(line_ask(&client, "@x 1"), "ERROR ");
    expect_start(line_ask(&client, "@99999999999999999999 1"), "ERROR ");
    expect_start(line_ask(&client, "@6000"), "ERROR ");
    cr_expect_str_eq(line_ask(&client, "@6000 [1]"), "OK 6000");
    line_close(&client);
    cr_expect_str_eq(list_all(&store), "5000 6000");
}

Test(socket_lines, T254_the_socket_file_has_mode_0660_and_goes_with_the_daemon)
{
    struct stat st;

    cr_assert_eq(stat(site.socket, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0660);
    cr_expect(S_ISSOCK(st.st_mode));
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    cr_expect_neq(stat(site.socket, &st), 0);
}

Test(socket_lines, T255_a_silent_client_does_not_hold_up_the_stop)
{
    struct line_client silent, half, logged_in;

    line_open(&silent);
    line_open(&half);
    line_send(&half, "AUTH S");
    line_login(&logged_in, &store);
    cr_expect_eq(process_stop(&site.ingestd, 5000), 0);
    cr_expect_null(line_read(&silent));
    line_close(&silent);
    line_close(&half);
    line_close(&logged_in);
}

Test(socket_lines, a_client_that_does_not_authenticate_is_sent_away)
{
    struct line_client silent, dripping, logged_in;
    struct pollfd end;
    int64_t started;

    site_stop();
    site_prepare("{\"limits\":{\"auth_timeout_ms\":700,\"max_connections\":16}}");
    ingestd_start();
    queryd_start(0);
    store = store_fixture();
    line_login(&logged_in, &store);
    started = clock_ms();
    line_open(&silent);
    line_open(&dripping);
    end = (struct pollfd){.fd = dripping.fd, .events = POLLIN};
    while (poll(&end, 1, 100) == 0 && clock_ms() - started < PATIENCE_MS)
        send(dripping.fd, " ", 1, MSG_NOSIGNAL);
    cr_expect_geq(clock_ms() - started, 600);
    cr_expect_lt(clock_ms() - started, 10000);
    while (line_read(&silent) != NULL)
        continue;
    /* Who said the right words may then be silent for as long as he likes. */
    accepted(line_ask(&logged_in, "1"));
    line_close(&silent);
    line_close(&dripping);
    line_close(&logged_in);
}

struct pipeliner {
    struct line_client client;
    int n_lines;
};

static void *
send_many(void *arg)
{
    struct pipeliner *pipeliner = arg;

    for (int i = 1; i <= pipeliner->n_lines; i++)
        line_send(&pipeliner->client, "{\"n\":%d}\n", i);
    return NULL;
}

Test(socket_lines, a_feeder_that_reads_late_gets_every_answer)
{
    struct store wide = store_create("{\"name\":\"wide\"}");
    static struct pipeliner pipeliner = {.n_lines = 100000};
    struct pollfd out;
    pthread_t thread;
    int64_t before = 0;
    long rss;

    line_login(&pipeliner.client, &wide);
    rss = process_rss_kib(&site.ingestd);
    cr_assert_eq(pthread_create(&thread, NULL, send_many, &pipeliner), 0);
    /* Until the way is full: the daemon waits for its reader instead of piling up answers. */
    out = (struct pollfd){.fd = pipeliner.client.fd, .events = POLLOUT};
    for (int64_t until = clock_ms() + 3000; clock_ms() < until && poll(&out, 1, 0) == 1;)
        pause_briefly();
    cr_expect_lt(process_rss_kib(&site.ingestd) - rss, 16 * 1024);
    for (int i = 0; i < pipeliner.n_lines; i++) {
        const int64_t time_ns = accepted(line_read(&pipeliner.client));

        cr_assert_gt(time_ns, before);
        before = time_ns;
    }
    pthread_join(thread, NULL);
    line_close(&pipeliner.client);
    cr_expect_str_eq(newest(&wide), "{\"n\":100000}");
}

Test(socket_lines, feeders_beside_each_other_lose_nothing)
{
    enum { FEEDERS = 8, LINES = 500 };
    struct store wide = store_create("{\"name\":\"wide\"}");
    static struct line_client clients[FEEDERS];
    const char *listed;
    size_t n = 1;

    for (int i = 0; i < FEEDERS; i++)
        line_login(&clients[i], &wide);
    for (int round = 0; round < LINES; round++) {
        for (int i = 0; i < FEEDERS; i++)
            line_send(&clients[i], "{\"f\":%d,\"r\":%d}\n", i, round);
        for (int i = 0; i < FEEDERS; i++)
            accepted(line_read(&clients[i]));
    }
    for (int i = 0; i < FEEDERS; i++)
        line_close(&clients[i]);
    listed = list_all(&wide);
    for (; (listed = strchr(listed, ' ')) != NULL; listed++)
        n++;
    cr_expect_eq(n, FEEDERS * LINES);
}

Test(socket_lines, stores_answer_for_themselves_on_one_socket)
{
    struct store other = store_create("{\"name\":\"other\"}");
    struct line_client a, b;

    line_login(&a, &store);
    line_login(&b, &other);
    line_send(&a, "@1 1\n");
    line_send(&b, "@1 2\n");
    cr_expect_str_eq(line_read(&a), "OK 1");
    cr_expect_str_eq(line_read(&b), "OK 1");
    line_close(&a);
    line_close(&b);
    cr_expect_str_eq(newest(&store), "1");
    cr_expect_str_eq(newest(&other), "2");
}
