/* 16_command.c - tsstore: output and exit codes that scripts rely on; the daemons' settings. */
#include "tests/system/harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void
prepare(void)
{
    site_prepare(NULL);
}

TestSuite(command, .init = prepare, .fini = site_stop);

/* The last word of the line that starts with `head`, as a script would cut it out. */
static const char *
value_of(const char *output, const char *head)
{
    const char *line = strstr(output, head);

    cr_assert(line != NULL && (line == output || line[-1] == '\n'), "no \"%s\" in %s", head,
              output);
    line = text("%.*s", (int)strcspn(line, "\n"), line);
    return strrchr(line, ' ') + 1;
}

static bool
has(const char *haystack, const char *needle)
{
    return strstr(haystack, needle) != NULL;
}

/* A store made by the command line, with its key. */
static struct store
made(const char *name)
{
    struct run run = cli("create", name);
    struct store store;

    cr_assert_eq(run.status, 0, "%s", run.err);
    snprintf(store.name, sizeof store.name, "%s", name);
    snprintf(store.key, sizeof store.key, "%s", value_of(run.out, "API Key:"));
    return store;
}

Test(command, T260_usage_and_unknown_commands)
{
    struct run run = cli(NULL);

    cr_expect_eq(run.status, 1);
    cr_expect(has(run.out, "Usage"), "%s", run.out);
    run = cli("help");
    cr_expect_eq(run.status, 0);
    cr_expect(has(run.out, "Usage"), "%s", run.out);
    cr_expect_eq(cli("--help").status, 0);
    cr_expect_eq(cli("-h").status, 0);
    run = cli("nonsense");
    cr_expect_eq(run.status, 1);
    cr_expect(has(run.out, "Unknown command: nonsense") ||
              has(run.err, "Unknown command: nonsense"));
    run = cli("version");
    cr_expect_eq(run.status, 0);
    cr_expect_eq(strncmp(run.out, "tsstore v", 9), 0, "%s", run.out);
    cr_expect_eq(cli("key").status, 1);
    cr_expect_eq(cli("key", "nonsense").status, 1);
    cr_expect_eq(cli("create", "x", "--blokcs", "5").status, 1);
    cr_expect_eq(cli("create", "x", "--blocks", "many").status, 1);
    cr_expect_eq(cli("create", "--type", "json").status, 1);
}

Test(command, T261_create_shows_what_was_made_and_the_key_works)
{
    struct run run =
        cli("create", "s1", "--blocks", "100", "--data-size", "1024", "--type", "text");
    struct store store = {.name = "s1"};
    struct answer answer;

    cr_assert_eq(run.status, 0, "%s", run.err);
    snprintf(store.key, sizeof store.key, "%s", value_of(run.out, "API Key:"));
    cr_expect_str_eq(run.out, text("=== STORE CREATED ===\n"
                                   "Name:        s1\n"
                                   "Path:        %s/s1\n"
                                   "Data Type:   text\n"
                                   "Blocks:      100\n"
                                   "Data Size:   1024 bytes\n"
                                   "Index Size:  4096 bytes\n"
                                   "Codec:       zstd\n"
                                   "Sync:        interval:1000\n"
                                   "\n"
                                   "Key ID:      %.8s\n"
                                   "API Key:     %s\n"
                                   "\n"
                                   "WARNING: The API key is shown only once. Save it securely!\n",
                                   site.data, store.key + 8, store.key));
    ingestd_start();
    queryd_start(0);
    answer = store_get(&store, "/stats");
    cr_expect_eq(answer.status, 200, "%s", answer.body);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "num_blocks")), 100);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "data_block_size")), 1024);
    cr_expect_str_eq(json_string_value(json_object_get(answer.json, "data_type")), "text");
    cr_expect_eq(store_post(&store, "text/plain", "hello", 5).status, 201);
}

Test(command, T261_a_store_made_beside_running_daemons_can_be_used_at_once)
{
    struct store store;
    struct line_client client;

    ingestd_start();
    queryd_start(0);
    store = made("later");
    cr_expect_eq(store_get(&store, "/stats").status, 200);
    cr_expect_eq(put(&store, 1, "1").status, 201);
    line_login(&client, &store);
    cr_expect_str_eq(line_ask(&client, "@2 2"), "OK 2");
    line_close(&client);
    cr_expect_str_eq(list_all(&store), "1 2");
}

Test(command, T262_create_refuses)
{
    static const struct {
        const char *name, *option, *value, *error;
    } rows[] = {
        {"s1", NULL, NULL, "Failed to create store: store already exists"},
        {"s2", "--type", "foo",
         "Failed to create store: invalid data type: must be binary, text, json, or schema"},
        {"s2", "--data-size", "100",
         "Failed to create store: invalid config: block size must be a power of 2 and at least 64 "
         "bytes"},
        {"../s2", NULL, NULL, "Failed to create store: invalid store name"},
        {"", NULL, NULL, ""},
    };

    made("s1");
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct run run = cli("create", rows[i].name, rows[i].option, rows[i].value);

        cr_expect_eq(run.status, 1, "%s: %s%s", rows[i].name, run.out, run.err);
        cr_expect(has(run.err, rows[i].error), "%s", run.err);
        cr_expect_str_eq(run.out, "");
    }
    cr_expect_neq(access(text("%s/s2", site.data), F_OK), 0);
    cr_expect_neq(access(text("%s/s2", site.root), F_OK), 0);
}

Test(command, T263_keys_are_listed_and_revoked)
{
    struct store store = made("s1");
    const char *id = text("%.8s", store.key + 8);
    struct run run = cli("key", "list", "s1");
    const char *row;

    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect_eq(strncmp(run.out,
                         "API keys for store 's1':\n"
                         "ID        Created                    Note\n"
                         "--------  -------------------------  ----\n",
                         25 + 42 + 42),
                 0, "%s", run.out);
    row = strstr(run.out, id);
    cr_assert(row != NULL && has(row, "Initial key\n") && has(row, " UTC"), "%s", run.out);
    cr_expect_eq(strlen(strchr(row, '\n')), 1, "one row: %s", run.out);
    run = cli("key", "revoke", "s1", id);
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect(has(run.out, text("Key '%s' revoked for store 's1'", id)), "%s", run.out);
    run = cli("key", "list", "s1");
    cr_expect_eq(run.status, 0);
    cr_expect(has(run.out, "No API keys found for store 's1'"), "%s", run.out);
}

Test(command, T264_keys_of_nothing)
{
    struct run run;

    made("s1");
    run = cli("key", "list", "none");
    cr_expect_eq(run.status, 1);
    cr_expect(has(run.err, "Failed to list keys: store not found"), "%s", run.err);
    run = cli("key", "revoke", "s1", "zzz");
    cr_expect_eq(run.status, 1);
    cr_expect(has(run.err, "Failed to revoke key: API key not found"), "%s", run.err);
    run = cli("key", "list");
    cr_expect_eq(run.status, 1);
    cr_expect(has(run.err, "Error: store name required"), "%s", run.err);
    run = cli("key", "revoke", "s1");
    cr_expect_eq(run.status, 1);
    cr_expect(has(run.err, "Error: store name and key ID required"), "%s", run.err);
}

Test(command, T265_regenerate_makes_no_store)
{
    struct run run = cli("key", "regenerate", "none");

    cr_expect_eq(run.status, 1, "%s", run.out);
    cr_expect_neq(access(text("%s/none", site.data), F_OK), 0);
    cr_expect_eq(cli("create", "none").status, 0);
}

Test(command, T028_a_regenerated_key_holds_within_two_seconds)
{
    struct store old, store;
    struct line_client client;
    struct run run;
    int64_t started;

    ingestd_start();
    queryd_start(0);
    store = store_fixture();
    put_ok(&store, 1, "1");
    cr_expect_eq(store_get(&store, "/stats").status, 200);
    run = cli("key", "regenerate", "S");
    cr_assert_eq(run.status, 0, "%s", run.err);
    cr_expect_eq(strncmp(run.out, "=== NEW API KEY ===\n", 20), 0, "%s", run.out);
    cr_expect(has(run.out, "WARNING: This key is shown only once. Save it securely!"));
    cr_expect(has(run.out, "All previous keys have been revoked."));
    old = store;
    snprintf(store.key, sizeof store.key, "%s", value_of(run.out, "API Key:"));
    started = clock_ms();
    AWAIT(2000,
          store_get(&old, "/stats").status == 401 && store_get(&store, "/stats").status == 200);
    AWAIT(2000 - (clock_ms() - started), put(&old, 2, "2").status == 401);
    put_ok(&store, 3, "3");
    line_open(&client);
    cr_expect_str_eq(line_ask(&client, "AUTH S %s", old.key), "ERROR authentication failed");
    line_close(&client);
    line_login(&client, &store);
    line_close(&client);
}

/* ---- serve ---- */

static const char *
setting(const char *name, const char *value)
{
    return text("TSSTORE_%s=%s", name, value);
}

Test(command, T268_serve_refuses_bad_settings)
{
    const char *const data = setting("DATA_PATH", site.data);
    const char *const run_dir = setting("RUN_DIR", site.run);
    const char *const rows[][5] = {
        {data, run_dir, "TSSTORE_HOST=127.0.0.1", NULL},
        {data, run_dir, "TSSTORE_ADMIN_KEY=nineteen-characters", NULL},
        {data, run_dir, "TSSTORE_ADMIN_KEY=" ADMIN_KEY, "TSSTORE_TLS_CERT=/tmp/none.pem", NULL},
    };
    static const char *const errors[] = {
        "Admin key required: set TSSTORE_ADMIN_KEY environment variable or admin_key in config",
        "Admin key must be at least 20 characters",
        "TLS requires both cert and key: set both TSSTORE_TLS_CERT and TSSTORE_TLS_KEY",
    };

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        struct run run = run_program(rows[i], NULL, "tsstore", "serve", NULL);

        cr_expect_eq(run.status, 1, "%s", run.out);
        cr_expect(has(run.err, errors[i]), "%s", run.err);
    }
}

Test(command, T270_a_broken_config_is_fatal)
{
    static const char *const programs[][2] = {
        {"tsstore", "serve"}, {"ingestd", NULL}, {"queryd", NULL}};
    const char *const broken = text("%s/broken.json", site.root);
    const char *const env[] = {setting("CONFIG", broken), setting("ADMIN_KEY", ADMIN_KEY),
                               setting("DATA_PATH", site.data), setting("RUN_DIR", site.run), NULL};
    int fd = open(broken, O_WRONLY | O_CREAT, 0600);

    cr_assert_eq(write(fd, "{\"server\":", 10), 10);
    close(fd);
    for (size_t i = 0; i < COUNTOF(programs); i++) {
        struct run run = run_program(env, NULL, programs[i][0], programs[i][1], NULL);

        cr_expect_eq(run.status, 1, "%s: %s", programs[i][0], run.err);
        cr_expect(has(run.err, "Failed to load config"), "%s: %s", programs[i][0], run.err);
    }
}

static void
write_text(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    cr_assert_geq(fputs(content, file), 0);
    fclose(file);
}

/* Starts `tsstore serve` with these settings and waits for its line. */
static void
serve(struct process *process, const char *const *env, const char *a, const char *b)
{
    const char *const argv[] = {"tsstore", "serve", a, b, NULL};

    snprintf(process->log, sizeof process->log, "%s/serve.log", site.root);
    process_spawn(process, "tsstore", env, argv);
    process_await_ready(process);
}

Test(command, T269_flags_win_over_environment_over_file)
{
    const char *const file = text("%s/config.json", site.root);
    const char *const body = text(
        "{\"server\":{\"port\":1,\"ingest_port\":0,\"socket_path\":\"%s/of-file\",\"admin_key\":"
        "\"%s\"},\"store\":{\"base_path\":\"%s\",\"num_blocks\":77},"
        "\"limits\":{\"max_connections\":32}}",
        site.run, ADMIN_KEY, site.data);
    const char *const socket_env = text("%s/of-env", site.run);
    const char *const socket_flag = text("%s/of-flag", site.run);
    const char *const env[] = {setting("CONFIG", file), "TSSTORE_PORT=0", NULL};
    const char *const with_socket[] = {setting("CONFIG", file), "TSSTORE_PORT=0",
                                       setting("SOCKET_PATH", socket_env), NULL};
    struct process process = {0};
    struct store store;
    struct answer answer;
    int fd = open(file, O_WRONLY | O_CREAT, 0600);

    cr_assert_eq(write(fd, body, strlen(body)), (ssize_t)strlen(body));
    close(fd);

    serve(&process, env, NULL, NULL); /* the port of the environment: 1 could not be had */
    cr_expect(has(process.banner, "/of-file"), "%s", process.banner);
    answer = CALL(.method = "POST", .path = "/api/stores", .port = process.port,
                  .admin_key = ADMIN_KEY, .type = "application/json", .body = "{\"name\":\"n\"}");
    cr_expect_eq(answer.status, 201, "%s", answer.body);
    snprintf(store.key, sizeof store.key, "%s",
             json_string_value(json_object_get(answer.json, "api_key")));
    answer = CALL(.path = "/api/stores/n/stats", .port = process.port, .key = store.key);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "num_blocks")), 77);
    cr_expect_eq(process_stop(&process, PATIENCE_MS), 0);

    serve(&process, with_socket, NULL, NULL);
    cr_expect(has(process.banner, "/of-env"), "%s", process.banner);
    cr_expect_eq(access(socket_env, F_OK), 0);
    cr_expect_eq(process_stop(&process, PATIENCE_MS), 0);
    cr_expect_neq(access(socket_env, F_OK), 0);

    serve(&process, with_socket, "--socket", socket_flag);
    cr_expect(has(process.banner, "/of-flag"), "%s", process.banner);
    cr_expect_eq(access(socket_flag, F_OK), 0);
    cr_expect_neq(access(socket_env, F_OK), 0);
    cr_expect_eq(process_stop(&process, PATIENCE_MS), 0);

    serve(&process, with_socket, "--no-socket", NULL);
    cr_expect_neq(access(socket_env, F_OK), 0);
    cr_expect_neq(access(socket_flag, F_OK), 0);
    cr_expect_eq(process_stop(&process, PATIENCE_MS), 0);
}

Test(command, serve_runs_both_daemons_and_one_interrupt_ends_them)
{
    const char *const env[] = {setting("DATA_PATH", site.data),
                               setting("ADMIN_KEY", ADMIN_KEY),
                               setting("SOCKET_PATH", site.socket),
                               setting("CONFIG", site.config),
                               setting("PORT", "0"),
                               setting("INGEST_HTTP", "127.0.0.1:0"),
                               NULL};
    struct process process = {0};
    struct answer answer;

    serve(&process, env, NULL, NULL);
    answer = CALL(.method = "POST", .path = "/api/stores", .port = process.port,
                  .admin_key = ADMIN_KEY, .type = "application/json", .body = "{\"name\":\"n\"}");
    cr_expect_eq(answer.status, 201, "%s", answer.body);
    kill(process.pid, SIGINT);
    cr_expect_eq(process_await_end(&process, PATIENCE_MS), 0);
    cr_expect(process_said(&process, "Server stopped"));
    cr_expect_neq(access(site.socket, F_OK), 0);
}

Test(command, serve_passes_a_hangup_on_to_both_daemons)
{
    static const char form[] =
        "{\"server\":{\"port\":0,\"ingest_port\":0,\"socket_path\":\"%s\",\"admin_key\":\"%s\"},"
        "\"store\":{\"base_path\":\"%s\"}}";
    const char *const file = text("%s/config.json", site.root);
    const char *const env[] = {setting("CONFIG", file), NULL};
    const char *const other = "another-admin-key-for-the-tests";
    struct process process = {0};
    struct answer answer;

    write_text(file, text(form, site.socket, ADMIN_KEY, site.data));
    serve(&process, env, NULL, NULL);
    write_text(file, text(form, site.socket, other, site.data));
    kill(process.pid, SIGHUP);
    AWAIT(PATIENCE_MS, (answer = CALL(.method = "POST", .path = "/api/stores", .port = process.port,
                                      .admin_key = other, .type = "application/json",
                                      .body = "{\"name\":\"n\"}"),
                        answer.status == 201));
    cr_expect(process_is_alive(&process));
    cr_expect(process_said(&process, "SIGHUP: passed on"));
    write_text(file, "{"); /* both say that they keep what they have */
    kill(process.pid, SIGHUP);
    AWAIT(PATIENCE_MS, process_said(&process, "configuration not changed: "));
    AWAIT(PATIENCE_MS, process_said(&process, "reload: "));
    cr_expect_eq(process_stop(&process, PATIENCE_MS), 0);
}

/* ---- what reads and feeds ---- */

Test(command, list_stats_query_and_tail_need_no_server)
{
    struct store store;
    struct run run;
    json_t *stats, *routed;

    ingestd_start();
    queryd_start(0);
    store = store_fixture();
    put_run(&store, 1, 5, "{\"v\":1}");
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    routed = store_get(&store, "/stats").json;
    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);

    run = cli("list");
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect(has(run.out, "S"), "%s", run.out);
    run = cli("stats", "S", "--json");
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect(has(run.out, "\"num_blocks\":64") || has(run.out, "\"num_blocks\": 64"), "%s",
              run.out);
    stats = json_loads(run.out, 0, NULL); /* as the route gives it, and the name */
    cr_expect_str_eq(json_string_value(json_object_get(stats, "name")), "S");
    json_object_del(stats, "name");
    cr_expect(json_equal(stats, routed), "%s", run.out);
    json_decref(stats);
    run = cli("query", "S", "--json");
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect(has(run.out, "\"count\":5"), "%s", run.out);
    run = cli("query", "S", "--newest", "--limit", "2", "--ndjson");
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect(has(run.out, "\"timestamp\":5") && !has(run.out, "\"timestamp\":3"), "%s", run.out);
    run = cli("tail", "S", "--lines", "1", "--json");
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect(has(run.out, "\"timestamp\":5") && !has(run.out, "\"timestamp\":4"), "%s", run.out);
    cr_expect_neq(cli("query", "none").status, 0);
}

Test(command, feed_sends_standard_input_and_readings_of_this_machine)
{
    struct store store;
    const char *env[8];
    struct run run;

    ingestd_start();
    queryd_start(0);
    store = store_fixture();
    env[0] = setting("DATA_PATH", site.data);
    env[1] = setting("SOCKET_PATH", site.socket);
    env[2] = setting("API_KEY", store.key);
    env[3] = NULL;
    run = run_program(env, "@10 {\"a\":1}\n@20 {\"a\":2}\n", "tsstore", "feed", "-", "--store", "S",
                      NULL);
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect_str_eq(list_all(&store), "10 20");
    run = run_program(env, "{\"a\":3}\nbad\n", "tsstore", "feed", "-", "--store", "S", NULL);
    cr_expect_eq(run.status, 1, "%s", run.out);
    run = run_program(env, NULL, "tsstore", "feed", "system", "--store", "S", "--count", "2",
                      "--interval", "20ms", NULL);
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect_eq(json_array_size(
                     json_object_get(store_get(&store, "/data/oldest?limit=100").json, "objects")),
                 5);
}
