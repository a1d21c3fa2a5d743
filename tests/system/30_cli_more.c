/* 30_cli_more.c - tsstore: status, calc, config explain, keys with terms, the API page. */
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

TestSuite(cli_more, .init = prepare, .fini = site_stop);

static bool
has(const char *haystack, const char *needle)
{
    return strstr(haystack, needle) != NULL;
}

static void
write_file(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    cr_assert_geq(fputs(content, file), 0);
    fclose(file);
}

static json_t *
json_of(const char *output)
{
    json_error_t fault;
    json_t *root = json_loads(output, JSON_REJECT_DUPLICATES, &fault);

    cr_assert_not_null(root, "%s in %s", fault.text, output);
    keep(root, (void (*)(void *))json_decref);
    return root;
}

static const char *
string_of(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value != NULL ? value : "";
}

/* ---- calc ---- */

Test(cli_more, T266_calc_gives_the_published_figures)
{
    struct run run =
        cli("calc", "--blocks", "10000", "--block-size", "8192", "--object-size", "200");

    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect_eq(strncmp(run.out, "=== Storage Footprint ===\n", 26), 0, "%s", run.out);
    cr_expect(has(run.out, "\nTotal footprint: 82,080,064 (78.28 MB)\n"), "%s", run.out);
    cr_expect(has(run.out, "\nObject capacity for 200 byte objects:\n"
                           "  Objects per block: 36\n"
                           "  Total objects:     360,000\n"),
              "%s", run.out);
    run = cli("calc");
    cr_expect(has(run.out, "\nTotal footprint: 4,210,752 (4.02 MB)\n"), "%s", run.out);
    cr_expect(has(run.out, "         2048                  1          1,024\n"), "%s", run.out);
    run = cli("calc", "--object-size", "9000");
    cr_expect(has(run.out, "  Blocks per object: 3\n  Total objects:     341\n"), "%s", run.out);
    run = cli("calc", "--block-size", "100");
    cr_expect_eq(run.status, 1);
    cr_expect(has(run.err, "block size must be a power of 2 and at least 64 bytes"), "%s", run.err);
    cr_expect_eq(cli("calc", "--blocks", "0").status, 1);
    cr_expect_eq(cli("calc", "--blocks", "x").status, 1);
}

Test(cli_more, calc_knows_what_create_will_take)
{
    json_t *files;
    struct store store = {.name = "c"};

    files = json_object_get(
        json_of(cli("calc", "--blocks", "300", "--block-size", "512", "--json").out), "files");
    cr_assert_eq(cli("create", "c", "--blocks", "300", "--data-size", "512").status, 0);
    cr_expect_eq(json_integer_value(json_object_get(files, "total_bytes")), store_bytes(&store));
    cr_expect_eq(json_integer_value(json_object_get(files, "index_bytes")),
                 file_bytes(store_path(&store, "index.tsdb")));
}

/* ---- status ---- */

/* FNV-1a over the bytes of the store's files. */
static uint64_t
hash_of(const struct store *store)
{
    static const char *const files[] = {"meta.tsdb", "data.tsdb", "head.tsdb", "index.tsdb",
                                        "keys.json"};
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < COUNTOF(files); i++) {
        FILE *file = fopen(store_path(store, files[i]), "r");

        cr_assert_not_null(file, "%s", files[i]);
        for (int c; (c = getc(file)) != EOF;)
            hash = (hash ^ (uint64_t)c) * UINT64_C(0x100000001b3);
        fclose(file);
    }
    return hash;
}

Test(cli_more, T267_status_offline_reads_and_changes_nothing)
{
    struct store store;
    struct run run;
    json_t *root, *shown;
    uint64_t hash;

    ingestd_start();
    queryd_start(0);
    store = store_fixture();
    put_ok(&store, INT64_C(1767225600000000000), "1");
    put_ok(&store, INT64_C(1767229200000000000), "2");
    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);

    hash = hash_of(&store);
    run = cli("status", "--offline", "--json");
    cr_expect_eq(run.status, 0, "%s", run.err);
    root = json_of(run.out);
    cr_expect(json_is_false(json_object_get(root, "server_running")));
    cr_expect_null(json_object_get(root, "server_url"));
    cr_assert_eq(json_array_size(json_object_get(root, "stores")), 1);
    shown = json_array_get(json_object_get(root, "stores"), 0);
    cr_expect_str_eq(string_of(shown, "name"), "S");
    cr_expect_str_eq(string_of(shown, "data_type"), "json");
    cr_expect_eq(json_integer_value(json_object_get(shown, "num_blocks")), 64);
    cr_expect_eq(json_integer_value(json_object_get(shown, "data_block_size")), 256);
    cr_expect_eq(json_integer_value(json_object_get(shown, "file_size_bytes")),
                 store_bytes(&store));
    cr_expect_str_eq(string_of(shown, "oldest_time"), "2026-01-01T00:00:00Z");
    cr_expect_str_eq(string_of(shown, "newest_time"), "2026-01-01T01:00:00Z");
    cr_expect(json_is_real(json_object_get(shown, "usage_percent")));

    run = cli("status", "--offline", "--path", site.data);
    cr_expect(has(run.out, "=== Store Status ===\nServer: not running\n\nStore: S\n"
                           "  Type:         json\n"
                           "  Blocks:       1 / 64 (1.6% used)\n"
                           "  Block size:   256 B\n"),
              "%s", run.out);
    cr_expect(has(run.out, "  Time range:   2026-01-01T00:00:00Z to 2026-01-01T01:00:00Z\n\n"),
              "%s", run.out);
    cr_expect_eq(hash_of(&store), hash);
}

Test(cli_more, status_of_nothing)
{
    struct run run = cli("status", "--offline");

    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect(has(run.out, text("No stores found (data path: %s)\n", site.data)), "%s", run.out);
    run = cli("status", "--offline", "--json", "--path", text("%s/none", site.root));
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect(json_equal(json_of(run.out), json_of("{\"server_running\":false,\"stores\":[]}")),
              "%s", run.out);
    cr_expect_neq(access(text("%s/none", site.root), F_OK), 0);
}

Test(cli_more, status_asks_the_running_server)
{
    const char *env[3] = {NULL};
    struct store store;
    struct run run;
    json_t *root, *shown;

    ingestd_start();
    queryd_start(0);
    env[0] = text("TSSTORE_PORT=%d", site.queryd[0].port);
    env[1] = text("TSSTORE_DATA_PATH=%s", site.data);
    run = run_program(env, NULL, "tsstore", "status", NULL);
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect(has(run.out, text("Server: http://127.0.0.1:%d (running)\n", site.queryd[0].port)),
              "%s", run.out);
    cr_expect(has(run.out, "No stores open\n"), "%s", run.out);

    store = store_fixture();
    write_file(store_path(&store, "ws_connections.json"),
               "{\"connections\":[{\"id\":\"77aa01fe\",\"mode\":\"push\",\"url\":\"wss://hub/in\","
               "\"headers\":{\"Authorization\":\"Bearer abc\"}}]}");
    write_file(store_path(&store, "mqtt_connections.json"),
               "{\"connections\":[{\"id\":\"0c44b1aa\",\"broker_url\":\"tcp://b:1883\","
               "\"topic\":\"site7/boiler\",\"password\":\"hidden\"}]}");
    run = run_program(env, NULL, "tsstore", "status", NULL);
    cr_expect(has(run.out, "  Time range:   (empty)\n"
                           "  WS connections: 1\n    - 77aa01fe: wss://hub/in\n"
                           "  MQTT connections: 1\n"
                           "    - 0c44b1aa: tcp://b:1883 -> site7/boiler\n\n"),
              "%s", run.out);
    run = run_program(env, NULL, "tsstore", "status", "--json", NULL);
    cr_expect_not(has(run.out, "hidden") || has(run.out, "Bearer"), "%s", run.out);
    root = json_of(run.out);
    cr_expect(json_is_true(json_object_get(root, "server_running")));
    shown = json_array_get(json_object_get(root, "stores"), 0);
    shown = json_array_get(json_object_get(shown, "mqtt_connections"), 0);
    cr_expect_str_eq(string_of(shown, "status"), "configured");
    cr_expect_str_eq(string_of(shown, "topic"), "site7/boiler");

    run = run_program(env, NULL, "tsstore", "status", "--offline", NULL);
    cr_expect(has(run.out, "Server: not running\n"), "%s", run.out);
    cr_expect(has(run.out, "  WS connections: 1 (configured)\n"), "%s", run.out);
    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    run = run_program(env, NULL, "tsstore", "status", NULL);
    cr_expect(has(run.out, "Server: not running\n"), "%s", run.out);
}

Test(cli_more, status_tells_which_store_cannot_be_read)
{
    struct store good = {.name = "good"};
    struct run run;
    json_t *stores;

    cr_assert_eq(cli("create", "bad").status, 0);
    cr_assert_eq(cli("create", "good").status, 0);
    cr_assert_eq(truncate(text("%s/bad/data.tsdb", site.data), 100), 0);
    write_file(store_path(&good, "mqtt_connections.json"), "{\"connections\":");
    run = cli("status", "--offline");
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect(has(run.out, "Store: bad\n  Error: "), "%s", run.out);
    cr_expect(has(run.out, "Store: good\n  Type:"), "%s", run.out);
    cr_expect(has(run.out, "  Error: mqtt_connections.json: "), "%s", run.out);
    stores = json_object_get(json_of(cli("status", "--offline", "--json").out), "stores");
    cr_expect(has(string_of(json_array_get(stores, 0), "error"), "data.tsdb"));
    cr_expect_str_eq(string_of(json_array_get(stores, 1), "data_type"), "json");
}

/* ---- config ---- */

Test(cli_more, config_explain_tells_where_each_value_is_from)
{
    const char *const file = text("%s/config.json", site.root);
    const char *env[3] = {text("TSSTORE_PORT=1234"), "TSSTORE_ADMIN_KEY=" ADMIN_KEY, NULL};
    struct run run;

    write_file(file, "{\"store\":{\"num_blocks\":77}}");
    run = run_program(env, NULL, "tsstore", "config", "explain", "--path", "/from/flag", NULL);
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect(has(run.out, "Config file: config.json\n"), "%s", run.out);
    cr_expect(has(run.out, "environment TSSTORE_PORT\n"), "%s", run.out);
    cr_expect(has(run.out, "command line\n"), "%s", run.out);
    cr_expect(has(run.out, "file config.json\n"), "%s", run.out);
    cr_expect(has(run.out, "(set)"), "%s", run.out);
    cr_expect_not(has(run.out, ADMIN_KEY), "%s", run.out);
    run = run_program(env, NULL, "tsstore", "config", "explain", "--json", NULL);
    cr_expect_eq(run.status, 0, "%s", run.err);
    cr_expect_str_eq(string_of(json_of(run.out), "file"), "config.json");
    cr_expect_not(has(run.out, ADMIN_KEY), "%s", run.out);

    write_file(file, "{\"store\":{\"num_block\":77}}");
    run = run_program(env, NULL, "tsstore", "config", "explain", NULL);
    cr_expect_eq(run.status, 1, "%s", run.out);
    cr_expect(has(run.err, "Failed to load config: ") && has(run.err, "store.num_blocks"), "%s",
              run.err);
}

/* ---- keys with terms ---- */

/* The key of `tsstore key create …`, as a store. */
static struct store
key_of(const struct run *run, const char *name)
{
    const char *line = strstr(run->out, "\nAPI Key: ");
    struct store store;

    cr_assert_eq(run->status, 0, "%s", run->err);
    cr_assert_not_null(line, "%s", run->out);
    line += 10;
    snprintf(store.name, sizeof store.name, "%s", name);
    snprintf(store.key, sizeof store.key, "%.*s", (int)strcspn(line, "\n"), line);
    return store;
}

Test(cli_more, a_key_may_do_what_its_scopes_say)
{
    struct store all, reader, writer;
    struct run run;

    ingestd_start();
    queryd_start(0);
    all = store_fixture();
    run = cli("key", "create", "S", "--scopes", "read", "--note", "dashboard");
    cr_expect_eq(strncmp(run.out, "=== NEW API KEY ===\nStore:   S\n", 31), 0, "%s", run.out);
    cr_expect(has(run.out, "Scopes:  read\nExpires: never\n"), "%s", run.out);
    reader = key_of(&run, "S");
    run = cli("key", "create", "S", "--scopes", "write");
    writer = key_of(&run, "S");

    cr_expect_eq(put(&writer, 1, "1").status, 201);
    cr_expect_eq(store_get(&reader, "/data/oldest").status, 200);
    cr_expect_eq(store_get(&all, "/data/oldest").status, 200);
    expect_answer(store_get(&writer, "/data/oldest"), 403, "key lacks the right to do this");
    expect_answer(put(&reader, 2, "2"), 403, "key lacks the right to do this");
    cr_expect_eq(put(&all, 3, "3").status, 201);
}

Test(cli_more, a_key_ends_when_it_expires)
{
    struct store all, guest;
    struct line_client client;
    struct run run;
    json_t *made;

    ingestd_start();
    queryd_start(0);
    all = store_fixture();
    run = cli("key", "create", "S", "--expires", "4s", "--json");
    cr_assert_eq(run.status, 0, "%s", run.err);
    made = json_of(run.out);
    guest = all;
    snprintf(guest.key, sizeof guest.key, "%s", string_of(made, "api_key"));
    cr_expect_eq(strlen(string_of(made, "expires_at")), strlen("2026-03-01T08:00:00Z"));

    cr_expect_eq(store_get(&guest, "/stats").status, 200);
    AWAIT(10000, store_get(&guest, "/stats").status != 200);
    expect_answer(store_get(&guest, "/stats"), 401, "invalid API key");
    expect_answer(put(&guest, 1, "1"), 401, "invalid API key");
    line_open(&client);
    cr_expect_str_eq(line_ask(&client, "AUTH S %s", guest.key), "ERROR authentication failed");
    line_close(&client);
    cr_expect_eq(store_get(&all, "/stats").status, 200);
    run = cli("key", "list", "S");
    cr_expect(has(run.out, " (expired)\n"), "%s", run.out);
}

Test(cli_more, key_list_has_more_columns_only_if_there_is_something_in_them)
{
    static const char plain[] = "ID        Created                    Note\n"
                                "--------  -------------------------  ----\n";
    struct run run;
    json_t *keys;

    cr_assert_eq(cli("create", "s1").status, 0);
    cr_assert_eq(cli("key", "create", "s1", "--note", "second").status, 0);
    run = cli("key", "list", "s1");
    cr_expect(has(run.out, plain) && has(run.out, " UTC    second\n"), "%s", run.out);

    run = cli("key", "create", "s1", "--scopes", "delete,read", "--expires", "2999-01-01");
    cr_expect_eq(run.status, 1, "beyond what nanoseconds can say: %s", run.out);
    run = cli("key", "create", "s1", "--scopes", "delete,read", "--expires", "2200-01-01");
    cr_expect_eq(run.status, 0, "%s", run.err);
    run = cli("key", "list", "s1");
    cr_expect_not(has(run.out, plain), "%s", run.out);
    cr_expect(has(run.out, "Note             Scopes             Expires\n"), "%s", run.out);
    cr_expect(has(run.out, "Created via CLI  read,delete        2200-01-01 00:00:00 UTC\n"), "%s",
              run.out);
    cr_expect(has(run.out, "second           read,write,delete  never\n"), "%s", run.out);
    keys = json_object_get(json_of(cli("key", "list", "s1", "--json").out), "keys");
    cr_assert_eq(json_array_size(keys), 3);
    cr_expect_null(json_object_get(json_array_get(keys, 0), "expires_at"));
    cr_expect_str_eq(string_of(json_array_get(keys, 2), "expires_at"), "2200-01-01T00:00:00Z");
}

Test(cli_more, key_create_refuses)
{
    static const struct {
        const char *store, *option, *value, *error;
    } rows[] = {
        {"s1", "--scopes", "fly", "\"fly\" is none of read, write, delete"},
        {"s1", "--scopes", "", "is none of read, write, delete"},
        {"s1", "--scopes", "read,", "is none of read, write, delete"},
        {"s1", "--expires", "soon", "neither a duration"},
        {"s1", "--expires", "2020-01-01T00:00:00Z", "is over already"},
        {"s1", "--expires", "-1h", "is over already"},
        {"s1", "--note", "a\nb", "control character"},
        {"none", NULL, NULL, "store not found"},
        {"../s1", NULL, NULL, "invalid store name"},
    };
    struct run run;

    cr_assert_eq(cli("create", "s1").status, 0);
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        run = cli("key", "create", rows[i].store, rows[i].option, rows[i].value);
        cr_expect_eq(run.status, 1, "row %zu: %s", i, run.out);
        cr_expect(has(run.err, "Failed to create key: ") && has(run.err, rows[i].error), "%s",
                  run.err);
    }
    cr_expect_eq(
        json_array_size(json_object_get(json_of(cli("key", "list", "s1", "--json").out), "keys")),
        1);
    run = cli("key", "create");
    cr_expect_eq(run.status, 1);
    cr_expect(has(run.err, "Error: store name required"), "%s", run.err);
}

/* ---- swagger ---- */

static void
swagger_start(struct process *process)
{
    const char *const env[] = {"TSSTORE_PORT=4321", NULL};
    const char *const argv[] = {"tsstore", "swagger", "--no-browser", "--port", "0", NULL};

    snprintf(process->log, sizeof process->log, "%s/swagger.log", site.root);
    process_spawn(process, "tsstore", env, argv);
    process_await_ready(process);
}

Test(cli_more, swagger_serves_description_and_page_until_an_interrupt)
{
    struct process process = {0};
    struct answer answer;
    struct run run;

    write_file(text("%s/swagger.yaml", site.root),
               "openapi: 3.0.3\npaths:\n  /health:\n    get: {summary: well?}\n");
    swagger_start(&process);
    answer = CALL(.path = "/swagger.yaml", .port = process.port);
    cr_expect_eq(answer.status, 200);
    cr_expect_eq(strncmp(answer.body, "openapi: 3.0.3\n", 15), 0, "%s", answer.body);
    answer = CALL(.path = "/swagger.json", .port = process.port);
    cr_expect(json_equal(answer.json, json_of("{\"openapi\":\"3.0.3\",\"paths\":{\"/health\":"
                                              "{\"get\":{\"summary\":\"well?\"}}}}")),
              "%s", answer.body);
    answer = CALL(.path = "/server.json", .port = process.port);
    cr_expect_str_eq(answer.body, "{\"url\":\"http://127.0.0.1:4321\"}");
    answer = CALL(.path = "/", .port = process.port);
    cr_expect_eq(answer.status, 200);
    cr_expect(has(answer_header(&answer, "Content-Type"), "text/html"));
    cr_expect(has(answer.body, "</html>") && !has(answer.body, "src="), "it loads nothing");
    cr_expect_eq(CALL(.path = "/etc/passwd", .port = process.port).status, 404);

    run = cli("swagger", "--no-browser", "--port", text("%d", process.port));
    cr_expect_eq(run.status, 1);
    cr_expect(has(run.err, text("listen on port %d: ", process.port)), "%s", run.err);
    kill(process.pid, SIGINT);
    cr_expect_eq(process_await_end(&process, PATIENCE_MS), 0);
}

Test(cli_more, swagger_shows_what_it_cannot_read_as_it_is)
{
    struct process process = {0};
    struct answer answer;

    write_file(text("%s/swagger.yaml", site.root), "a: 1\nb: &x 2\n");
    swagger_start(&process);
    answer = CALL(.path = "/server.json", .port = process.port);
    cr_expect(has(string_of(answer.json, "error"), "line 2: "), "%s", answer.body);
    answer = CALL(.path = "/swagger.yaml", .port = process.port);
    cr_expect_str_eq(answer.body, "a: 1\nb: &x 2\n");
    cr_expect_eq(process_stop(&process, PATIENCE_MS), 0);
}

Test(cli_more, swagger_without_a_description_fails)
{
    const char *bin = getenv("TSSTORE_BIN_DIR");
    const char *alone = text("%s/bin", site.root);
    struct run run = cli("swagger", "--no-browser", "--port", "0", "--file", "none.yaml");

    cr_expect_eq(run.status, 1);
    cr_expect(has(run.err, "Failed to read none.yaml: "), "%s", run.err);
    /* A program without its tree or installation around it. */
    cr_assert_eq(mkdir(alone, 0755), 0);
    cr_assert_eq(system(text("cp '%s/tsstore' %s/", bin != NULL ? bin : "build/bin", alone)), 0);
    setenv("TSSTORE_BIN_DIR", alone, 1);
    run = cli("swagger", "--no-browser", "--port", "0");
    cr_expect_eq(run.status, 1);
    cr_expect(has(run.err, "Failed to read swagger.yaml: "), "%s", run.err);
    cr_expect_str_eq(run.out, "");
}

Test(cli_more, swagger_finds_what_was_installed)
{
    const char *build = getenv("TSSTORE_BUILD_DIR");
    const char *dest = text("%s/dest", site.root);
    struct process process = {0};
    struct answer answer;

    /* The make that runs this test lends neither its job server nor its sanitizers. */
    cr_assert_eq(system(text("env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s install "
                             "CONFIG=release BUILD='%s' DESTDIR=%s PREFIX=/usr >/dev/null",
                             build != NULL ? build : "build", dest)),
                 0);
    setenv("TSSTORE_BIN_DIR", text("%s/usr/bin", dest), 1);
    swagger_start(&process);
    cr_expect(has(process.banner, text("file=%s/usr/share/tsstore/openapi.yaml", dest)), "%s",
              process.banner);
    answer = CALL(.path = "/swagger.json", .port = process.port);
    cr_expect_eq(strncmp(string_of(answer.json, "openapi"), "3.", 2), 0);
    cr_expect_gt(json_object_size(json_object_get(answer.json, "paths")), 5);
    cr_expect_eq(process_stop(&process, PATIENCE_MS), 0);
}
