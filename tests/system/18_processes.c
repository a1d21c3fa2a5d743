/* 18_processes.c - one writer, any number of readers: they come and go independently. */
#include "tests/system/harness.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

TestSuite(processes, .init = site_start, .fini = site_stop);

static struct answer
create_at(int port, const char *name)
{
    return CALL(.method = "POST", .path = "/api/stores", .port = port, .admin_key = ADMIN_KEY,
                .type = "application/json",
                .body = text("{\"name\":\"%s\",\"num_blocks\":64,\"data_block_size\":256}", name));
}

/* A write that finds no ingestd. What was on its way when the connection broke may be answered 504,
 * for nobody knows what became of it; that ends as soon as queryd has seen the break. */
static struct answer
put_in_vain(const struct store *store, int64_t time_ns)
{
    struct answer answer = {0};

    AWAIT(5000, (answer = put(store, time_ns, "1")).status != 504);
    expect_answer(answer, 503, NULL);
    cr_expect_not_null(answer_header(&answer, "Retry-After"), "%s", answer.headers);
    return answer;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static struct answer
stats_at(int port, const struct store *store)
{
    return CALL(.path = text("/api/stores/%s/stats", store->name), .port = port, .key = store->key);
}

Test(processes, queryd_answers_reads_while_ingestd_is_dead_and_when_it_is_back)
{
    struct store store = store_fixture();
    struct ws *ws = ws_read_open(&store, "from=now");
    struct answer refused;
    const pid_t queryd = site.queryd[0].pid;

    ws_expect(ws, "caught_up");
    put_run(&store, 1, 20, "1");
    for (int64_t t = 1; t <= 20; t++)
        ws_expect(ws, text("data %jd 1", (intmax_t)t));
    process_kill(&site.ingestd);

    cr_expect_str_eq(list_all(&store), run_of(1, 20));
    cr_expect_eq(store_get(&store, "/stats").status, 200);
    cr_expect_eq(CALL(.path = "/api/stores").status, 200);
    put_in_vain(&store, 21);
    refused = create_at(0, "new");
    expect_answer(refused, 503, NULL);
    cr_expect_not_null(answer_header(&refused, "Retry-After"));

    ingestd_start();
    AWAIT(PATIENCE_MS, put(&store, 21, "1").status == 201);
    put_ok(&store, 22, "1");
    ws_expect(ws, "data 21 1");
    ws_expect(ws, "data 22 1");
    cr_expect_str_eq(list_all(&store), run_of(1, 22));
    cr_expect_eq(site.queryd[0].pid, queryd);
    cr_expect(process_is_alive(&site.queryd[0]));
}

Test(processes, an_absent_ingestd_is_told_quickly)
{
    struct store store = store_fixture();
    int64_t started;

    process_kill(&site.ingestd);
    started = clock_ms();
    put_in_vain(&store, 1);
    cr_expect_lt(clock_ms() - started, 5000);
}

Test(processes, an_insert_is_never_done_twice_across_a_restart)
{
    struct store store = store_fixture();
    int64_t t = 0;
    const char *times;

    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 10; i++)
            put_ok(&store, ++t, "1");
        process_kill(&site.ingestd);
        put_in_vain(&store, t + 1);
        ingestd_start();
        AWAIT(PATIENCE_MS, put(&store, t + 2, "1").status == 201);
        t += 2;
    }
    times = list_all(&store);
    /* The refused ones are not there, not even late. */
    for (int64_t refused = 11; refused < t; refused += 12)
        cr_expect_null(strstr(text(" %s ", times), text(" %jd ", (intmax_t)refused)), "%s", times);
    cr_expect_eq(json_integer_value(
                     json_object_get(store_get(&store, "/data/oldest?limit=1000").json, "count")),
                 5 * 11);
}

Test(processes, several_queryds_see_the_same)
{
    struct store store = store_fixture(), other;
    struct ws *streams[3];
    struct answer answer;

    queryd_start(1);
    queryd_start(2);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(stats_at(site.queryd[i].port, &store).status, 200);
        streams[i] =
            ws_open_at(site.queryd[i].port, text("/api/stores/S/ws/read?api_key=%s", store.key));
        cr_assert_not_null(streams[i]);
        ws_expect(streams[i], "caught_up");
    }
    /* What goes in at any of them comes out at all. */
    for (unsigned i = 0; i < 3; i++) {
        answer = CALL(.method = "POST", .path = "/api/stores/S/data", .port = site.queryd[i].port,
                      .key = store.key, .type = "application/json",
                      .body = text("{\"timestamp\":%u,\"data\":%u}", i + 1, i));
        cr_expect_eq(answer.status, 201, "%s", answer.body);
        for (unsigned k = 0; k < 3; k++)
            ws_expect(streams[k], text("data %u %u", i + 1, i));
    }
    answer = create_at(site.queryd[2].port, "other");
    cr_assert_eq(answer.status, 201, "%s", answer.body);
    snprintf(other.name, sizeof other.name, "other");
    snprintf(other.key, sizeof other.key, "%s",
             json_string_value(json_object_get(answer.json, "api_key")));
    for (unsigned i = 0; i < 3; i++)
        AWAIT(PATIENCE_MS, stats_at(site.queryd[i].port, &other).status == 200);
    /* One of them dies: the others and the writer go on. */
    process_kill(&site.queryd[1]);
    put_ok(&store, 10, "10");
    ws_expect(streams[0], "data 10 10");
    ws_expect(streams[2], "data 10 10");
    queryd_start(1);
    answer = CALL(.path = "/api/stores/S/data/newest?limit=1", .port = site.queryd[1].port,
                  .key = store.key);
    cr_expect_not_null(strstr(answer.body, "\"timestamp\":10"), "%s", answer.body);
}

Test(processes, queryd_may_start_before_ingestd)
{
    struct store store;

    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    queryd_start(0);
    cr_expect_eq(CALL(.path = "/health").status, 200);
    cr_expect_eq(CALL(.path = "/api/stores").status, 200);
    expect_answer(create_at(0, "early"), 503, NULL);
    ingestd_start();
    AWAIT(PATIENCE_MS, create_at(0, "later").status == 201);
    store = store_fixture();
    put_ok(&store, 1, "1");
    cr_expect_str_eq(list_all(&store), "1");
}

Test(processes, a_store_may_go_and_come_back_under_a_running_queryd)
{
    struct store old = store_fixture(), store;
    struct ws *ws = ws_read_open(&old, "from=0");
    const char *word;

    put_run(&old, 1, 5, "1");
    cr_expect_str_eq(list_all(&old), run_of(1, 5));
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    nftw(store_path(&old, ""), remove_one, 8, FTW_DEPTH | FTW_PHYS);
    AWAIT(PATIENCE_MS, store_get(&old, "/stats").status == 401);
    expect_answer(store_get(&old, "/stats"), 401, "authentication failed");
    cr_expect_str_eq(CALL(.path = "/api/stores").body, "{\"stores\":[]}");
    ingestd_start();
    AWAIT(PATIENCE_MS, create_at(0, "probe").status == 201);
    store = store_fixture();
    expect_answer(store_get(&old, "/stats"), 401, "invalid API key");
    cr_expect_str_eq(list_all(&store), "");
    put_ok(&store, 3, "\"new\"");
    cr_expect_str_eq(list_all(&store), "3");
    /* The stream of the old store shows nothing of the new one. */
    do
        word = ws_word(ws, 3000);
    while (strncmp(word, "data ", 5) == 0 && strstr(word, "new") == NULL);
    cr_expect_null(strstr(word, "new"), "%s", word);
}

Test(processes, T271_a_second_ingestd_is_refused_and_told_who)
{
    struct store store = store_fixture();
    const char *const own_run = text("%s/other-run", site.root);
    struct run second;

    cr_assert_eq(mkdir(own_run, 0755), 0);
    second = run_program((const char *const[]){"TSSTORE_ADMIN_KEY=" ADMIN_KEY, NULL}, NULL,
                         "ingestd", "--config", site.config, "--data", site.data, "--run-dir",
                         own_run, "--socket", text("%s/s", own_run), "--http", "127.0.0.1:0", NULL);
    cr_expect_eq(second.status, 1);
    cr_expect_not_null(strstr(second.err, text("%d", (int)site.ingestd.pid)), "%s", second.err);
    cr_expect_not_null(strstr(second.err, "locked by"), "%s", second.err);
    put_ok(&store, 1, "1");
    cr_expect(process_is_alive(&site.ingestd));
}

Test(processes, T271_a_second_serve_is_refused_and_told_who)
{
    struct store store = store_fixture();
    const char *const env[] = {"TSSTORE_ADMIN_KEY=" ADMIN_KEY,
                               text("TSSTORE_CONFIG=%s", site.config),
                               text("TSSTORE_DATA_PATH=%s", site.data),
                               text("TSSTORE_RUN_DIR=%s/other-run", site.root),
                               text("TSSTORE_SOCKET_PATH=%s/other-run/s", site.root),
                               "TSSTORE_PORT=0",
                               "TSSTORE_INGEST_HTTP=127.0.0.1:0",
                               NULL};
    struct run second = run_program(env, NULL, "tsstore", "serve", NULL);

    cr_expect_eq(second.status, 1, "%s", second.err);
    cr_expect_not_null(strstr(second.err, text("locked by ingestd, pid %d", site.ingestd.pid)),
                       "%s", second.err);
    put_ok(&store, 1, "1");
    cr_expect(process_is_alive(&site.ingestd));
    cr_expect(process_is_alive(&site.queryd[0]));
}

Test(processes, T271_the_socket_of_a_living_ingestd_is_not_taken)
{
    struct store store = store_fixture();
    const char *const data = text("%s/other-data", site.root);
    const char *const own_run = text("%s/other-run", site.root);
    struct line_client client;
    struct run second;

    cr_assert_eq(mkdir(data, 0755), 0);
    cr_assert_eq(mkdir(own_run, 0755), 0);
    second = run_program((const char *const[]){"TSSTORE_ADMIN_KEY=" ADMIN_KEY, NULL}, NULL,
                         "ingestd", "--config", site.config, "--data", data, "--run-dir", own_run,
                         "--socket", site.socket, "--http", "127.0.0.1:0", NULL);
    cr_expect_eq(second.status, 1, "%s", second.err);
    line_login(&client, &store);
    cr_expect_str_eq(line_ask(&client, "@1 1"), "OK 1");
    line_close(&client);
}

Test(processes, a_graceful_stop_answers_what_was_read)
{
    struct store store = store_create("{\"name\":\"wide\"}");
    struct line_client client;
    const char *answer, *times;
    int64_t t = 0, n_answered = 0;

    line_login(&client, &store);
    for (int i = 1; i <= 2000; i++)
        line_send(&client, "@%d {\"n\":%d}\n", i, i);
    cr_expect_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    while ((answer = line_read(&client)) != NULL && strncmp(answer, "OK ", 3) == 0)
        cr_assert_eq(strtoll(answer + 3, NULL, 10), ++n_answered);
    line_close(&client);
    ingestd_start();
    times = list_all(&store);
    while (*times != '\0')
        cr_assert_eq(strtoll(times, (char **)&times, 10), ++t);
    cr_expect_eq(t, n_answered, "%jd stored, %jd answered", (intmax_t)t, (intmax_t)n_answered);
}

Test(processes, a_hang_up_reloads_and_keeps_every_connection)
{
    struct store store = store_fixture();
    struct ws *ws = ws_read_open(&store, "from=now");
    struct line_client client;

    ws_expect(ws, "caught_up");
    line_login(&client, &store);
    kill(site.ingestd.pid, SIGHUP);
    kill(site.queryd[0].pid, SIGHUP);
    cr_expect_str_eq(line_ask(&client, "@1 1"), "OK 1");
    ws_expect(ws, "data 1 1");
    line_close(&client);
    cr_expect(process_is_alive(&site.ingestd));
    cr_expect(process_is_alive(&site.queryd[0]));
}

/* Receives one notification of the service manager's protocol. */
static const char *
notification(int fd)
{
    char *message = repeat('\0', 1024);
    struct pollfd in = {.fd = fd, .events = POLLIN};

    cr_assert_eq(poll(&in, 1, PATIENCE_MS), 1, "no notification");
    cr_assert_gt(recv(fd, message, 1023, 0), 0);
    return message;
}

Test(processes, a_service_manager_hears_of_readiness_life_and_stop)
{
    const char *const path = text("%s/notify", site.root);
    const char *const common[] = {text("NOTIFY_SOCKET=%s", path), "WATCHDOG_USEC=400000",
                                  "TSSTORE_ADMIN_KEY=" ADMIN_KEY, NULL};
    const char *const argv[2][12] = {{"ingestd", "--config", site.config, "--data", site.data,
                                      "--run-dir", site.run, "--socket", site.socket, "--http",
                                      "127.0.0.1:0"},
                                     {"queryd", "--config", site.config, "--data", site.data,
                                      "--run-dir", site.run, "--http", "127.0.0.1:0"}};
    struct process *const daemons[] = {&site.ingestd, &site.queryd[0]};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    for (size_t i = 0; i < COUNTOF(daemons); i++) {
        const char *message;

        process_spawn(daemons[i], argv[i][0], common, argv[i]);
        process_await_ready(daemons[i]);
        cr_expect_not_null(strstr(notification(fd), "READY=1"), "%s", argv[i][0]);
        for (int k = 0; k < 3; k++)
            cr_expect_not_null(strstr(notification(fd), "WATCHDOG=1"), "%s", argv[i][0]);
        kill(daemons[i]->pid, SIGTERM);
        do
            message = notification(fd);
        while (strstr(message, "WATCHDOG=1") != NULL);
        cr_expect_not_null(strstr(message, "STOPPING=1"), "%s: %s", argv[i][0], message);
        cr_expect_eq(process_await_end(daemons[i], PATIENCE_MS), 0);
    }
    close(fd);
}

Test(processes, ingestd_without_socket_or_http_still_serves_queryd)
{
    const char *const argv[] = {"ingestd",   "--config", site.config,   "--data",    site.data,
                                "--run-dir", site.run,   "--no-socket", "--no-http", NULL};
    struct store store;

    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    process_spawn(&site.ingestd, "ingestd", NULL, argv);
    process_await_ready(&site.ingestd);
    cr_expect_neq(access(site.socket, F_OK), 0);
    AWAIT(PATIENCE_MS, create_at(0, "probe").status == 201);
    store = store_fixture();
    put_ok(&store, 1, "1");
    cr_expect_str_eq(list_all(&store), "1");
}

Test(processes, more_connections_than_allowed_are_told_503)
{
    static const char request[] = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    struct store store = store_fixture();
    char buffer[2048];
    int fds[72]; /* within the few workers that only say no */

    /* Each is used once, so that it is known to be counted, and kept. */
    for (size_t i = 0; i < COUNTOF(fds); i++) {
        ssize_t n;

        fds[i] = tcp_connect(site.queryd[0].port, 0);
        cr_assert_eq(send(fds[i], request, sizeof request - 1, MSG_NOSIGNAL),
                     (ssize_t)sizeof request - 1);
        n = recv(fds[i], buffer, sizeof buffer - 1, 0);
        cr_assert_gt(n, 12, "connection %zu", i);
        buffer[n] = '\0';
        cr_expect_eq(strncmp(buffer, "HTTP/1.1 ", 9), 0, "%s", buffer);
        /* 64 are allowed, one of which the harness may hold. */
        if (i < 60)
            cr_expect_eq(strncmp(buffer + 9, "200", 3), 0, "connection %zu: %s", i, buffer);
        if (i >= 64) {
            cr_expect_eq(strncmp(buffer + 9, "503", 3), 0, "connection %zu: %s", i, buffer);
            cr_expect_not_null(strcasestr(buffer, "\r\nRetry-After: "), "%s", buffer);
        }
    }
    for (size_t i = 0; i < COUNTOF(fds); i++)
        close(fds[i]);
    AWAIT(PATIENCE_MS, CALL(.path = "/health").status == 200);
    put_ok(&store, 1, "1");
}

Test(processes, bad_flags_are_refused)
{
    static const char *const programs[] = {"ingestd", "queryd"};

    for (size_t i = 0; i < COUNTOF(programs); i++) {
        struct run run = run_program(NULL, NULL, programs[i], "--nonsense", NULL);

        cr_expect_neq(run.status, 0);
        cr_expect_not_null(strstr(run.err, "--nonsense"), "%s", run.err);
        run = run_program(NULL, NULL, programs[i], "--help", NULL);
        cr_expect_eq(run.status, 0);
        run = run_program(NULL, NULL, programs[i], "--http", "127.0.0.1:99999", NULL);
        cr_expect_neq(run.status, 0);
    }
}
