/* 40_operation.c - what the operator is told, and what limits, levels, keys and clients that say
 * nothing do while the daemons run. */
#include "tests/system/harness.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define JSON "application/json"

TestSuite(operation, .init = site_start, .fini = site_stop);

static void
prepare(void)
{
    site_prepare(NULL);
}

TestSuite(operation_bare, .init = prepare, .fini = site_stop);

static void
write_config(const char *json)
{
    FILE *file = fopen(site.config, "we");

    cr_assert_not_null(file);
    fputs(json, file);
    fclose(file);
}

/* How many lines of the process's log contain the text. */
static unsigned
lines_with(const struct process *process, const char *what)
{
    FILE *file = fopen(process->log, "re");
    char line[4096];
    unsigned n = 0;

    cr_assert_not_null(file);
    while (fgets(line, sizeof line, file) != NULL)
        n += strstr(line, what) != NULL;
    fclose(file);
    return n;
}

/* ---- limits that differ ---- */

Test(operation_bare, a_body_above_the_writers_limit_is_refused_by_name)
{
    static const char too_large[] = "request body too large";
    struct store store;
    char *body;

    write_config("{\"limits\":{\"max_body_bytes\":100000,\"max_line_bytes\":1000,"
                 "\"max_connections\":16}}");
    ingestd_start();
    write_config("{\"limits\":{\"max_connections\":16}}");
    queryd_start(0);
    store = store_create("{\"name\":\"s\",\"num_blocks\":4096,\"data_type\":\"text\"}");
    /* Above the limit, but not above what a message may be; and above both. */
    body = repeat('x', 200000);
    expect_answer(store_post(&store, "text/plain", body, 200000), 413, too_large);
    body = repeat('x', 3000000);
    expect_answer(store_post(&store, "text/plain", body, 3000000), 413, too_large);
    body = repeat('x', 99999);
    cr_expect_eq(store_post(&store, "text/plain", body, 99999).status, 201);
    cr_expect(process_is_alive(&site.ingestd));
    expect_answer(CALL(.method = "POST", .path = "/api/stores/s/data", .key = store.key,
                       .type = "text/plain", .body = repeat('x', 200000),
                       .port = site.ingestd.port),
                  413, too_large);
}

/* ---- keys ---- */

static void
damage_keys(const struct store *store)
{
    FILE *file = fopen(store_path(store, "keys.json"), "we");

    cr_assert_not_null(file);
    fputs("{\"keys\":[", file);
    fclose(file);
}

Test(operation, keys_that_cannot_be_read_are_told_to_the_operator)
{
    struct store store = store_fixture();
    const char *told = text("store %s: nobody gets in: keys.json: ", store.name);
    struct line_client client;

    for (int i = 0; i < 30; i++)
        expect_answer(CALL(.path = text("/api/stores/none%d/stats", i), .key = store.key), 401,
                      "authentication failed");
    cr_expect(!process_said(&site.queryd[0], "nobody gets in"), "no such store: nobody's fault");
    damage_keys(&store);
    for (int i = 0; i < 30; i++)
        expect_answer(store_get(&store, "/stats"), 401, "authentication failed");
    AWAIT(PATIENCE_MS, process_said(&site.queryd[0], told));
    cr_expect_leq(lines_with(&site.queryd[0], "nobody gets in"), 5);
    line_open(&client);
    cr_expect_str_eq(line_ask(&client, "AUTH %s %s", store.name, store.key),
                     "ERROR authentication failed");
    AWAIT(PATIENCE_MS, process_said(&site.ingestd, told));
    line_close(&client);
}

static bool
has_no_stream(void)
{
    return strstr(CALL(.path = "/metrics").body, "\ntsstore_streams 0\n") != NULL;
}

Test(operation, a_revoked_key_ends_a_stream_that_sleeps)
{
    struct store store = store_fixture();
    struct ws *ws = ws_read_open(&store, "from=0");
    char id[9];

    snprintf(id, sizeof id, "%s", store.key + strlen("tsstore_"));
    ws_expect(ws, "caught_up");
    cr_assert_eq(cli("key", "revoke", store.name, id).status, 0);
    /* Well before the next ping, after 30 s: by the event. */
    cr_expect_str_eq(ws_word(ws, 10000), "error invalid API key");
    AWAIT(PATIENCE_MS, has_no_stream());
    ws_close(ws);
}

/* Before ingestd tells of the change: what wakes the stream is not sent. */
Test(operation, what_wakes_a_stream_is_not_sent_for_a_revoked_key)
{
    struct store store = store_fixture(), writer = store;
    struct ws *ws = ws_read_open(&store, "from=0");
    struct run run = cli("key", "create", store.name, "--json");
    const int64_t began = clock_ms();
    json_t *json = json_loads(run.out, 0, NULL);
    const char *key = json_string_value(json_object_get(json, "api_key"));
    char id[9];

    cr_assert_not_null(key, "%s%s", run.out, run.err);
    snprintf(writer.key, sizeof writer.key, "%s", key);
    json_decref(json);
    snprintf(id, sizeof id, "%s", store.key + strlen("tsstore_"));
    put_ok(&writer, 10, "1");
    ws_expect(ws, "caught_up");
    ws_expect(ws, "data 10 1");
    /* A stream relies on its last look for a second; it looked when it heard of the second key,
     * some second after that was made. On a machine with nothing else to do half of this would do.
     */
    AWAIT(PATIENCE_MS, clock_ms() > began + 5000);
    cr_assert_eq(cli("key", "revoke", store.name, id).status, 0);
    put_ok(&writer, 20, "2");
    ws_expect(ws, "error invalid API key");
    AWAIT(PATIENCE_MS, has_no_stream());
    ws_close(ws);
}

/* ---- the start ---- */

Test(operation_bare, queryd_without_a_data_directory_says_so_and_ends)
{
    const struct run run = run_program(NULL, NULL, "queryd", "--data", "/nonexistent/data",
                                       "--run-dir", site.run, "--http", "127.0.0.1:0", NULL);

    cr_expect_eq(run.status, 1);
    cr_expect_not_null(strstr(run.err, "data directory /nonexistent/data"), "%s", run.err);
    cr_expect_not_null(strstr(run.err, "No such file or directory"), "%s", run.err);
    cr_expect_str_eq(run.out, "", "not ready");
}

static void
start_queryd_with(const char *option, const char *value)
{
    const char *argv[] = {"queryd", "--data",      site.data, "--run-dir", site.run,
                          "--http", "127.0.0.1:0", option,    value,       NULL};
    struct process *queryd = &site.queryd[0];

    snprintf(queryd->name, sizeof queryd->name, "queryd");
    snprintf(queryd->log, sizeof queryd->log, "%s/queryd-0.log", site.root);
    process_spawn(queryd, "queryd", NULL, argv);
    process_await_ready(queryd);
}

Test(operation_bare, both_daemons_take_a_log_level)
{
    static const char *const programs[] = {"ingestd", "queryd"};

    ingestd_start();
    start_queryd_with("--log-level", "debug");
    expect_answer(CALL(.path = "/health"), 200, NULL);
    AWAIT(PATIENCE_MS, process_said(&site.queryd[0], "debug queryd: http: "));
    for (size_t i = 0; i < COUNTOF(programs); i++) {
        struct run run = run_program(NULL, NULL, programs[i], "--help", NULL);

        cr_expect_eq(run.status, 0);
        cr_expect_not_null(strstr(run.out, "--log-level LEVEL"), "%s", run.out);
        run = run_program(NULL, NULL, programs[i], "--log-level", "loud", NULL);
        cr_expect_neq(run.status, 0);
        cr_expect_not_null(strstr(run.err, "log.level"), "%s", run.err);
    }
}

Test(operation_bare, mode_debug_lists_the_routes)
{
    static const char route[] = "route POST /api/stores/:store/data";

    write_config("{\"server\":{\"mode\":\"debug\"},\"limits\":{\"max_connections\":16}}");
    ingestd_start();
    queryd_start(0);
    AWAIT(PATIENCE_MS, process_said(&site.ingestd, route));
    AWAIT(PATIENCE_MS, process_said(&site.queryd[0], route));
    AWAIT(PATIENCE_MS, process_said(&site.queryd[0], "route GET /metrics"));
}

Test(operation, the_default_mode_lists_none)
{
    cr_expect(!process_said(&site.queryd[0], "route GET"));
}

/* ---- the command ---- */

Test(operation, list_names_its_fields_as_stats_does)
{
    struct store store = store_fixture();
    struct run run;
    json_t *listed, *stats, *first;

    put_run(&store, 1, 3, "1");
    run = cli("list", "--json");
    listed = json_loads(run.out, 0, NULL);
    first = json_array_get(json_object_get(listed, "stores"), 0);
    run = cli("stats", store.name, "--json");
    stats = json_loads(run.out, 0, NULL);
    cr_expect_eq(json_integer_value(json_object_get(first, "record_count")), 3, "%s", run.out);
    for (void *at = json_object_iter(first); at != NULL; at = json_object_iter_next(first, at))
        cr_expect(json_equal(json_object_iter_value(at),
                             json_object_get(stats, json_object_iter_key(at))),
                  "%s", json_object_iter_key(at));
    json_decref(listed);
    json_decref(stats);
}

/* ---- clients that say nothing ---- */

#define SILENT 40

static void
connect_silent(int fds[SILENT], int port, const char *first_bytes)
{
    for (int i = 0; i < SILENT; i++) {
        fds[i] = tcp_connect(port, 0);
        cr_assert(fds[i] >= 0);
        if (first_bytes != NULL)
            cr_assert_eq(write(fds[i], first_bytes, strlen(first_bytes)),
                         (ssize_t)strlen(first_bytes));
    }
}

static void
close_all(const int fds[SILENT])
{
    for (int i = 0; i < SILENT; i++)
        close(fds[i]);
}

static size_t
drop(char *data, size_t size, size_t n, void *arg)
{
    (void)data;
    (void)arg;
    return size * n;
}

/* Status of GET /health on a connection of its own; 0: none in ten seconds. */
static long
health_of(const char *scheme, int port)
{
    CURL *curl = curl_easy_init();
    long status = 0;

    cr_assert_not_null(curl);
    curl_easy_setopt(curl, CURLOPT_URL, text("%s://127.0.0.1:%d/health", scheme, port));
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 10000L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    return status;
}

/* 16 connections may be there, and as many workers are spared: all are taken. */
static void
expect_good_client_served(const char *scheme, const char *first_bytes)
{
    struct process *const daemons[] = {&site.queryd[0], &site.ingestd};
    int fds[SILENT];

    for (size_t i = 0; i < COUNTOF(daemons); i++) {
        connect_silent(fds, daemons[i]->port, first_bytes);
        const long status = health_of(scheme, daemons[i]->port);
        cr_expect_eq(status, 200, "%s, %s: %ld", daemons[i]->name, scheme, status);
        AWAIT(PATIENCE_MS, process_said(daemons[i], "that did not say what they want"));
        close_all(fds);
    }
}

Test(operation_bare, clients_that_say_nothing_do_not_keep_others_out)
{
    write_config("{\"limits\":{\"max_connections\":16}}");
    ingestd_start();
    queryd_start(0);
    expect_good_client_served("http", NULL);
    expect_good_client_served("http", "GET /health HTTP/1.1\r\nX-Slow: ");
}

Test(operation_bare, unfinished_handshakes_do_not_keep_others_out)
{
    cr_assert_eq(system(text("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
                             "-nodes -days 30 -subj /CN=t -keyout %s/t.key -out %s/t.crt "
                             "2>/dev/null",
                             site.root, site.root)),
                 0, "is openssl installed?");
    write_config(text("{\"limits\":{\"max_connections\":16},\"server\":{\"tls\":{"
                      "\"cert_file\":\"%s/t.crt\",\"key_file\":\"%s/t.key\"}}}",
                      site.root, site.root));
    ingestd_start();
    queryd_start(0);
    expect_good_client_served("https", NULL);
    expect_good_client_served("https", "\x16\x03\x01");
}

/* One that spoke once may be silent for as long as the server allows. */
Test(operation, a_client_that_spoke_may_pause)
{
    static const char request[] = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    const int fd = tcp_connect(site.queryd[0].port, 0);
    const int64_t began = clock_ms();
    char answer[4096];

    cr_assert_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    cr_assert(read(fd, answer, sizeof answer) > 0);
    AWAIT(PATIENCE_MS, clock_ms() > began + 6500);
    cr_assert_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    cr_expect(read(fd, answer, sizeof answer) > 0, "the connection was closed");
    close(fd);
}
