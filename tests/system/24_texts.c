/* 24_texts.c - the words that clients match are the same on every way in; what was decided where
 * the first program and its documents disagreed. */
#include "tests/system/harness.h"
#include "tests/unit/ws_client.h"

#include <sys/stat.h>

#define JSON_TYPE "application/json"

static struct store store;

static void
start(void)
{
    site_start();
    store = store_fixture();
}

TestSuite(texts, .init = start, .fini = site_stop);

/* Both doors. */
static int
port_of(int door)
{
    return door == 0 ? site.queryd[0].port : site.ingestd.port;
}
#define FOR_BOTH_DOORS for (int door = 0; door < 2; door++)

/* ---- the ways in ---- */

static const char *
said_by_http(int door, const struct store *to, const char *message)
{
    const struct answer answer =
        CALL(.method = "POST", .path = text("/api/stores/%s/data", to->name), .key = to->key,
             .type = JSON_TYPE, .body = message, .port = port_of(door));

    return answer_error(&answer);
}

/* As the only line of a batch. */
static const char *
said_by_batch(int door, const struct store *to, const char *message)
{
    const struct answer answer =
        CALL(.method = "POST", .path = text("/api/stores/%s/data/batch", to->name), .key = to->key,
             .type = "application/x-ndjson", .body = message, .port = port_of(door));
    const json_t *result = json_array_get(json_object_get(answer.json, "results"), 0);
    const char *error = json_string_value(json_object_get(result, "error"));

    cr_expect_eq(answer.status, 200, "%s", answer.body);
    return error != NULL ? error : "";
}

static const char *
said_by_websocket(int door, const struct store *to, const char *message)
{
    const char *answer = "";
    json_t *root;
    int fd;

    cr_assert_eq(ws_dial(port_of(door), text("/api/stores/%s/ws/write", to->name),
                         text("X-API-Key: %s\r\n", to->key), &fd),
                 101);
    ws_say(fd, message);
    root = json_loads(ws_hear_text(fd), 0, NULL);
    if (json_object_get(root, "message") != NULL)
        answer = text("%s", json_string_value(json_object_get(root, "message")));
    json_decref(root);
    close(fd);
    return answer;
}

static const char *
said_by_socket(const struct store *to, const char *line)
{
    struct line_client client;
    const char *answer;

    line_login(&client, to);
    answer = text("%s", line_ask(&client, "%s", line));
    line_close(&client);
    return answer;
}

Test(texts, a_fault_has_the_same_words_on_every_way_in)
{
    const char *const large = repeat('a', 20000);
    const struct {
        const char *message, *error;
        const char *line; /* for the Unix socket; NULL: cannot be said there */
    } rows[] = {
        {"{\"timestamp\":1000,\"data\":1}", "timestamp must be greater than newest entry",
         "@1000 1"},
        {"{\"timestamp\":1,\"data\":1}", "timestamp must be greater than newest entry", "@1 1"},
        {"{\"timestamp\":-1,\"data\":1}", "invalid timestamp", NULL},
        {text("{\"data\":\"%s\"}", large), "object exceeds maximum block size",
         text("\"%s\"", large)},
    };

    put_ok(&store, 1000, "1");
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        FOR_BOTH_DOORS
        {
            cr_expect_str_eq(said_by_http(door, &store, rows[i].message), rows[i].error);
            cr_expect_str_eq(said_by_batch(door, &store, rows[i].message), rows[i].error);
            cr_expect_str_eq(said_by_websocket(door, &store, rows[i].message), rows[i].error);
        }
        if (rows[i].line != NULL)
            cr_expect_str_eq(said_by_socket(&store, rows[i].line),
                             text("ERROR store failed: %s", rows[i].error));
    }
    cr_expect_str_eq(list_all(&store), "1000");
}

Test(texts, data_that_do_not_fit_a_schema_are_told_so_on_every_way_in)
{
    static const struct {
        const char *data, *error;
    } rows[] = {
        {"{\"zz\":1}", "field not found in schema: zz"},
        {"{\"1\":1}", "field not found in schema: 1"},
        {"[1]", "invalid JSON: json: cannot unmarshal array into value of type object"},
    };
    const struct store schema = store_of_type("schema");

    cr_expect_str_eq(said_by_http(0, &schema, "{\"data\":{}}"),
                     "schema validation failed: schema is required for schema data type");
    expect_answer(CALL(.method = "PUT", .path = text("/api/stores/%s/schema", schema.name),
                       .key = schema.key, .type = JSON_TYPE,
                       .body = "{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"bool\"}]}"),
                  200, NULL);
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        const char *const message = text("{\"data\":%s}", rows[i].data);
        const char *const error = text("schema validation failed: %s", rows[i].error);

        FOR_BOTH_DOORS
        {
            cr_expect_str_eq(said_by_http(door, &schema, message), error);
            cr_expect_str_eq(said_by_batch(door, &schema, message), error);
            /* Here the contract has them without what is in front. */
            cr_expect_str_eq(said_by_websocket(door, &schema, message), rows[i].error);
        }
        cr_expect_str_eq(said_by_socket(&schema, rows[i].data), text("ERROR %s", error));
    }
    cr_expect_str_eq(list_all(&schema), "");
}

Test(texts, a_body_that_breaks_off_could_not_be_read)
{
    static const char *const bodies[] = {
        "Content-Length: 100\r\n\r\n{\"data\":",
        "Transfer-Encoding: chunked\r\n\r\nff\r\n{\"data\":",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n{\"data\":1}",
    };

    FOR_BOTH_DOORS for (size_t i = 0; i < COUNTOF(bodies); i++)
    {
        const char *const request =
            text("POST /api/stores/%s/data HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n"
                 "Content-Type: application/json\r\n%s",
                 store.name, store.key, bodies[i]);
        const int fd = tcp_connect(port_of(door), 0);
        char answer[2048];
        size_t used = 0;
        ssize_t n;

        cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
        shutdown(fd, SHUT_WR);
        while ((n = recv(fd, answer + used, sizeof answer - 1 - used, 0)) > 0)
            used += (size_t)n;
        answer[used] = '\0';
        close(fd);
        cr_expect_eq(strncmp(answer, "HTTP/1.1 400 ", 13), 0, "%s", answer);
        cr_expect_not_null(
            strstr(answer, "\r\n\r\n{\"error\":\"failed to read body\",\"code\":\"protocol\"}"),
            "%s", answer);
    }
    cr_expect_str_eq(list_all(&store), "");
}

Test(texts, a_store_that_is_not_there_has_one_text_on_the_command_line)
{
    static const struct {
        const char *words[4];
        const char *error;
    } rows[] = {
        {{"key", "list", "none"}, "Failed to list keys: store not found\n"},
        {{"key", "revoke", "none", "12345678"}, "Failed to revoke key: store not found\n"},
        {{"key", "regenerate", "none"}, "store not found\n"},
        {{"stats", "none"}, "store not found\n"},
        {{"query", "none"}, "store not found\n"},
        {{"tail", "none"}, "store not found\n"},
    };

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        const struct run run =
            cli(rows[i].words[0], rows[i].words[1], rows[i].words[2], rows[i].words[3]);

        cr_expect_eq(run.status, 1, "%s", run.out);
        cr_expect_str_eq(run.out, "");
        cr_expect_not_null(strstr(run.err, rows[i].error), "%s", run.err);
    }
}

/* ---- decisions ---- */

static void
expect_zeros(json_t *message)
{
    cr_assert_not_null(message);
    cr_expect(json_is_integer(json_object_get(message, "block_num")));
    cr_expect(json_is_integer(json_object_get(message, "size")));
    cr_expect_eq(json_integer_value(json_object_get(message, "block_num")), 0);
    cr_expect_eq(json_integer_value(json_object_get(message, "size")), 0);
}

Test(texts, D19_a_block_and_a_size_of_0_are_sent)
{
    const struct store plain = store_of_type("text");
    json_t *ack;
    int fd;

    cr_assert_eq(ws_dial(port_of(0), text("/api/stores/%s/ws/write", plain.name),
                         text("X-API-Key: %s\r\n", plain.key), &fd),
                 101);
    ws_say(fd, "{\"timestamp\":1,\"data\":\"\"}");
    ack = json_loads(ws_hear_text(fd), 0, NULL);
    expect_zeros(ack);
    json_decref(ack);
    close(fd);
    expect_zeros(ws_next(ws_read_open(&plain, "from=0"), PATIENCE_MS, NULL));
}

Test(texts, D17_without_an_address_only_this_machine_is_served)
{
    const char *const run_dir = text("%s/other-run", site.root);
    const char *const env[] = {text("TSSTORE_CONFIG=%s", site.config),
                               text("TSSTORE_DATA_PATH=%s", site.data),
                               text("TSSTORE_RUN_DIR=%s", run_dir),
                               "TSSTORE_ADMIN_KEY=" ADMIN_KEY,
                               "TSSTORE_PORT=0",
                               NULL};
    const char *const argv[] = {"queryd", NULL};

    cr_assert_eq(mkdir(run_dir, 0755), 0);
    process_spawn(&site.queryd[1], "queryd", env, argv);
    process_await_ready(&site.queryd[1]);
    cr_expect_not_null(strstr(site.queryd[1].banner, "http=127.0.0.1:"), "%s",
                       site.queryd[1].banner);
}
