/* 31_mutations.c - delete, reset, drop: gone at once, everywhere, and after a restart. */
#include "tests/system/harness.h"
#include "tests/unit/ws_client.h"

#include <pthread.h>
#include <unistd.h>

static struct store store;

static void
start(void)
{
    site_start();
    store = store_fixture();
}

TestSuite(mutations, .init = start, .fini = site_stop);

static struct answer
change(int port, const struct store *of, const char *method, const char *path)
{
    return CALL(.method = method, .path = text("/api/stores/%s%s", of->name, path), .key = of->key,
                .port = port);
}

#define delete_at(time) change(0, &store, "DELETE", "/data/time/" time)

static void
expect_message(struct answer answer, const char *message)
{
    expect_answer(answer, 200, NULL);
    cr_expect_str_eq(answer.body, text("{\"message\":\"%s\"}", message));
}

static void
restart_ingestd(void)
{
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    ingestd_start();
}

static void
restart_all(void)
{
    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    restart_ingestd();
    queryd_start(0);
}

/* ---- drop ---- */

static void
expect_dropped(int port)
{
    const struct store one = store_create(text("{\"name\":\"drop%d\"}", port));
    char *dir = text("%s/%s", site.data, one.name);

    put_run(&one, 1, 3, "1");
    expect_message(change(port, &one, "DELETE", ""), "store deleted");
    expect_answer(store_get(&one, "/stats"), 401, "authentication failed");
    expect_answer(store_get(&one, "/data/newest"), 401, "authentication failed");
    expect_answer(put(&one, 4, "1"), 401, "authentication failed");
    expect_answer(change(port, &one, "DELETE", ""), 401, "authentication failed");
    cr_expect_neq(access(dir, F_OK), 0, "the directory stays");
}

Test(mutations, T027_a_dropped_store_and_its_key_are_gone)
{
    expect_dropped(0);
    expect_dropped(site.ingestd.port);
}

Test(mutations, a_store_of_the_same_name_is_a_new_one)
{
    struct store again;

    put_run(&store, 1, 10, "1");
    expect_message(change(0, &store, "DELETE", ""), "store deleted");
    again = store_create(text("{\"name\":\"%s\"}", store.name));
    expect_answer(store_get(&store, "/data/newest"), 401, "invalid API key");
    cr_expect_str_eq(list_all(&again), "");
    put_ok(&again, 5, "5");
    cr_expect_str_eq(list_all(&again), "5");
    restart_ingestd();
    cr_expect_str_eq(list_all(&again), "5");
}

Test(mutations, a_feeder_and_a_stream_learn_that_their_store_was_dropped)
{
    struct line_client feeder;
    int stream;

    cr_assert_eq(ws_dial(site.queryd[0].port, text("/api/stores/%s/ws/read", store.name),
                         text("X-API-Key: %s\r\n", store.key), &stream),
                 101);
    cr_expect_str_eq(ws_hear_text(stream), "{\"type\":\"caught_up\"}");
    line_login(&feeder, &store);
    cr_expect_str_eq(line_ask(&feeder, "@1 1"), "OK 1");
    cr_expect_not_null(strstr(ws_hear_text(stream), "\"timestamp\":1,"));
    expect_message(change(0, &store, "DELETE", ""), "store deleted");
    cr_expect_str_eq(line_ask(&feeder, "2"), "ERROR store failed: store is closed");
    cr_expect_str_eq(line_ask(&feeder, "3"), "ERROR store failed: store is closed");
    cr_expect_str_eq(ws_hear_text(stream), "{\"type\":\"error\",\"message\":\"store is closed\"}");
    cr_expect_str_eq(ws_hear_text(stream), "close 1001");
    cr_expect_str_eq(ws_hear_text(stream), "end");
    line_close(&feeder);
    close(stream);
}

static void *
put_until_refused(void *arg)
{
    static int statuses[4];
    const int i = *(int *)arg;
    struct answer answer;

    do {
        answer = CALL(.method = "POST", .path = text("/api/stores/%s/data", store.name),
                      .key = store.key, .type = "application/json", .body = "{\"data\":1}",
                      .port = i % 2 == 0 ? 0 : site.ingestd.port);
    } while (answer.status == 201);
    statuses[i] = answer.status;
    cr_expect_str_eq(answer_error(&answer),
                     answer.status == 500 ? "store is closed" : "authentication failed");
    return &statuses[i];
}

Test(mutations, a_store_can_be_dropped_while_clients_write)
{
    int numbers[4] = {0, 1, 2, 3};
    pthread_t threads[4];
    void *status;

    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, put_until_refused, &numbers[i]), 0);
    AWAIT(PATIENCE_MS, strlen(list_all(&store)) > 100);
    expect_message(change(0, &store, "DELETE", ""), "store deleted");
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &status);
        cr_expect(*(int *)status == 401 || *(int *)status == 500, "%d", *(int *)status);
    }
    cr_expect(process_is_alive(&site.ingestd) && process_is_alive(&site.queryd[0]));
}

/* ---- delete ---- */

Test(mutations, T065_T068_a_deleted_object_is_gone_and_its_neighbours_stay)
{
    put_run(&store, 1, 3, "1");
    expect_message(delete_at("2"), "object deleted");
    cr_expect_str_eq(list_all(&store), "1 3");
    expect_answer(store_get(&store, "/data/time/1"), 200, NULL);
    expect_answer(store_get(&store, "/data/time/3"), 200, NULL);
    expect_answer(store_get(&store, "/data/time/2"), 404, "timestamp not found");
    expect_answer(delete_at("2"), 404, "timestamp not found");
}

Test(mutations, T066_T067_the_oldest_can_be_deleted_and_writing_goes_on)
{
    put_run(&store, 1, 3, "1");
    expect_message(delete_at("1"), "object deleted");
    cr_expect_str_eq(list_all(&store), "2 3");
    expect_answer(store_get(&store, "/data/time/2"), 200, NULL);
    expect_answer(store_get(&store, "/data/time/3"), 200, NULL);
    expect_answer(store_get(&store, "/data/time/1"), 404, "timestamp not found");
    put_ok(&store, 4, "1");
    expect_answer(store_get(&store, "/data/time/4"), 200, NULL);
}

Test(mutations, a_deleted_newest_still_bounds_what_comes_next)
{
    put_run(&store, 1, 3, "1");
    expect_message(delete_at("3"), "object deleted");
    expect_answer(put(&store, 3, "1"), 409, "timestamp must be greater than newest entry");
    put_ok(&store, 4, "1");
    cr_expect_str_eq(list_all(&store), "1 2 4");
}

Test(mutations, T069_deleting_from_an_empty_store_is_404)
{
    expect_answer(delete_at("1"), 404, "store is empty");
    expect_answer(change(site.ingestd.port, &store, "DELETE", "/data/time/1"), 404,
                  "store is empty");
}

Test(mutations, a_time_that_is_none_is_400)
{
    static const char *const times[] = {
        "x", "1.5", "1e3", "99999999999999999999", "%20", "%00", "1x", "--1", "%2B", "0x10"};

    put_ok(&store, 1, "1");
    for (size_t i = 0; i < COUNTOF(times); i++) {
        const struct answer answer = change(0, &store, "DELETE", text("/data/time/%s", times[i]));

        if (strcmp(times[i], "%00") == 0)
            cr_expect_eq(answer.status, 404);
        else
            expect_answer(answer, 400, "invalid timestamp");
    }
    expect_answer(delete_at("-1"), 404, "timestamp not found");
    expect_answer(delete_at("0"), 404, "timestamp not found");
}

Test(mutations, T070_deleted_objects_stay_away_after_a_restart)
{
    const char *after;

    put_run(&store, 1, 100, "1");
    expect_message(delete_at("1"), "object deleted");
    expect_message(delete_at("50"), "object deleted");
    expect_message(delete_at("100"), "object deleted");
    restart_all();
    after = list_all(&store);
    cr_expect_eq(strncmp(after, "2 3 ", 4), 0, "%.20s", after);
    cr_expect_not_null(strstr(after, " 49 51 "));
    cr_expect_not_null(strstr(after, " 98 99"));
    cr_expect_null(strstr(after, "100"));
    cr_expect_eq(
        json_integer_value(json_object_get(
            store_get(&store, "/data/oldest?limit=1000&include_data=false").json, "count")),
        97);
}

Test(mutations, a_deleted_object_is_not_streamed)
{
    struct ws *stream;

    put_run(&store, 1, 5, "1");
    expect_message(delete_at("3"), "object deleted");
    stream = ws_read_open(&store, "from=0");
    ws_expect(stream, "data 1 1");
    ws_expect(stream, "data 2 1");
    ws_expect(stream, "data 4 1");
}

/* ---- reset ---- */

Test(mutations, T071_T072_T073_a_reset_store_is_empty_and_stays_so)
{
    put_run(&store, 1, 30, "1");
    expect_message(change(0, &store, "POST", "/reset"), "store reset");
    cr_expect_str_eq(list_all(&store), "");
    cr_expect_null(json_object_get(store_get(&store, "/stats").json, "oldest_timestamp"));
    expect_answer(store_get(&store, "/data/time/5"), 404, NULL);
    put_ok(&store, 7, "1");
    cr_expect_str_eq(list_all(&store), "7");
    restart_all();
    cr_expect_str_eq(list_all(&store), "7");
}

Test(mutations, T074_a_reset_keeps_schema_and_key)
{
    const struct store schema = store_of_type("schema");

    expect_answer(CALL(.method = "PUT", .path = text("/api/stores/%s/schema", schema.name),
                       .key = schema.key, .type = "application/json",
                       .body = "{\"fields\":[{\"index\":1,\"name\":\"a\",\"type\":\"bool\"}]}"),
                  200, NULL);
    put_ok(&schema, 1, "{\"a\":true}");
    expect_message(change(0, &schema, "POST", "/reset"), "store reset");
    put_ok(&schema, 1, "{\"a\":false}");
    expect_answer(put(&schema, 2, "{\"b\":1}"), 400, "schema validation failed: *");
    cr_expect_str_eq(list_all(&schema), "1");
    cr_expect_str_eq(store_get(&schema, "/schema").body,
                     "{\"version\":1,\"fields\":[{\"index\":1,\"name\":\"a\",\"type\":\"bool\"}]}");
}

Test(mutations, a_stream_is_told_of_a_reset_and_goes_on)
{
    struct ws *stream;

    put_run(&store, 1, 3, "1");
    stream = ws_read_open(&store, "from=now");
    ws_expect(stream, "caught_up");
    expect_message(change(0, &store, "POST", "/reset"), "store reset");
    ws_expect(stream, "reset");
    put_ok(&store, 2, "2");
    ws_expect(stream, "data 2 2");
}

/* ---- who may ---- */

Test(mutations, a_key_without_the_scope_changes_nothing)
{
    static const struct {
        const char *method, *path;
    } changes[] = {{"DELETE", ""}, {"POST", "/reset"}, {"DELETE", "/data/time/1"}};
    const struct run run = run_program(NULL, NULL, "tsstore", "key", "create", store.name,
                                       "--scopes", "read,write", NULL);
    char *key = strstr(run.out, "tsstore_");
    struct store weak = store;

    cr_assert_eq(run.status, 0, "%s", run.err);
    cr_assert_not_null(key);
    snprintf(weak.key, sizeof weak.key, "%.44s", key);
    put_ok(&weak, 1, "1");
    for (size_t i = 0; i < COUNTOF(changes); i++) {
        expect_answer(change(0, &weak, changes[i].method, changes[i].path), 403, NULL);
        expect_answer(change(site.ingestd.port, &weak, changes[i].method, changes[i].path), 403,
                      NULL);
    }
    cr_expect_str_eq(list_all(&store), "1");
}

Test(mutations, without_ingestd_nothing_is_changed_and_it_is_said)
{
    put_ok(&store, 1, "1");
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    expect_answer(delete_at("1"), 503, "ingestd is not running");
    expect_answer(change(0, &store, "POST", "/reset"), 503, "ingestd is not running");
    expect_answer(change(0, &store, "DELETE", ""), 503, "ingestd is not running");
    cr_expect_str_eq(list_all(&store), "1");
}

/* ---- guessing ---- */

static void
expect_guesses_limited(int port)
{
    static const char wrong[] = "tsstore_00000000-0000-4000-8000-000000000000";
    struct answer answer = {0};
    int n = 0;

    do {
        answer =
            CALL(.method = "POST", .path = text("/api/stores/%s/data", store.name), .key = wrong,
                 .type = "application/json", .body = "{\"data\":1}", .port = port);
        n++;
    } while (answer.status == 401 && n < 2000);
    expect_answer(answer, 429, "too many failed attempts");
    cr_expect_str_eq(json_string_value(json_object_get(answer.json, "code")), "rate_limited");
    cr_expect_not_null(answer_header(&answer, "Retry-After"));
    cr_expect_gt(n, 200, "a site whose keys changed is no attack: %d", n);
    expect_answer(CALL(.method = "POST", .path = text("/api/stores/%s/data", store.name),
                       .key = store.key, .type = "application/json", .body = "{\"data\":1}",
                       .port = port),
                  201, NULL);
    expect_answer(CALL(.method = "POST", .path = text("/api/stores/%s/data", store.name),
                       .type = "application/json", .body = "{\"data\":1}", .port = port),
                  401, "API key required");
}

Test(mutations, guesses_are_limited_and_right_keys_never)
{
    expect_guesses_limited(0);
    expect_guesses_limited(site.ingestd.port);
    cr_expect(process_said(&site.queryd[0], "too many wrong keys"));
    cr_expect(process_said(&site.ingestd, "too many wrong keys"));
}
