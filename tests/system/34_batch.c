/* 34_batch.c - many records in one request: one result each, or all or nothing; and resends. */
#include "tests/system/harness.h"

#include <stdio.h>
#include <stdlib.h>

#define NDJSON "application/x-ndjson"

static struct store store;

static void
start(void)
{
    site_start();
    store = store_fixture();
}

TestSuite(batch, .init = start, .fini = site_stop);

static int
port_of(int door)
{
    return door == 0 ? 0 : site.ingestd.port;
}
#define FOR_BOTH_DOORS for (int door = 0; door < 2; door++)

static struct answer
post(int door, const struct store *of, const char *query, const char *type, const char *body,
     const char *resend_key)
{
    return CALL(.method = "POST", .path = text("/api/stores/%s/data/batch%s", of->name, query),
                .key = of->key, .type = type, .body = body, .port = port_of(door),
                .header = {resend_key != NULL ? text("Idempotency-Key: %s", resend_key) : NULL});
}

static void
expect_counts(struct answer answer, int accepted, int refused)
{
    expect_answer(answer, 200, NULL);
    cr_expect_eq(json_array_size(json_object_get(answer.json, "results")),
                 (size_t)(accepted + refused));
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "count")), accepted + refused);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "accepted")), accepted);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "refused")), refused);
}

Test(batch, each_line_has_its_result)
{
    FOR_BOTH_DOORS
    {
        const struct store one = store_create(text("{\"name\":\"b%d\"}", door));
        const struct answer answer =
            post(door, &one, "", NDJSON,
                 "{\"timestamp\":1,\"data\":{\"a\":1}}\n\njunk\r\n{\"timestamp\":1,\"data\":2}\n"
                 "{\"timestamp\":2,\"data\":2}",
                 NULL);
        const json_t *results = json_object_get(answer.json, "results");

        expect_counts(answer, 2, 2);
        cr_expect_eq(json_integer_value(json_object_get(json_array_get(results, 0), "size")), 7);
        cr_expect_str_eq(json_string_value(json_object_get(json_array_get(results, 1), "code")),
                         "json");
        cr_expect_str_eq(json_string_value(json_object_get(json_array_get(results, 2), "error")),
                         "timestamp must be greater than newest entry");
        cr_expect_eq(json_integer_value(json_object_get(json_array_get(results, 3), "timestamp")),
                     2);
        cr_expect_str_eq(list_all(&one), "1 2");
    }
}

Test(batch, an_array_and_lines_of_text_are_batches_too)
{
    const struct store words = store_of_type("text");

    expect_counts(post(0, &store, "", "application/json",
                       "[{\"timestamp\":1,\"data\":1},{\"timestamp\":2,\"data\":[]},7]", NULL),
                  2, 1);
    expect_counts(post(0, &words, "", "text/plain; charset=utf-8", "one\ntwo\r\n", NULL), 2, 0);
    cr_expect_str_eq(list_all(&store), "1 2");
    cr_expect_not_null(strstr(store_get(&words, "/data/newest?limit=1").body, "\"two\""));
    expect_answer(post(0, &store, "", "text/plain", "x", NULL), 400,
                  "data does not match store's data type");
    expect_answer(post(0, &store, "", "application/json", "{\"data\":1}", NULL), 400,
                  "json: cannot unmarshal object into value of type array");
    expect_answer(post(0, &store, "", NDJSON, "", NULL), 400, "EOF");
}

Test(batch, an_atomic_batch_is_all_or_nothing)
{
    struct ws *stream = ws_read_open(&store, "from=now");

    ws_expect(stream, "caught_up");
    FOR_BOTH_DOORS
    {
        const struct answer answer =
            post(door, &store, "?atomic=true", NDJSON,
                 "{\"timestamp\":1,\"data\":1}\n{\"timestamp\":2,\"data\":1}\njunk\n", NULL);

        expect_answer(answer, 400, NULL);
        cr_expect_eq(json_integer_value(json_object_get(answer.json, "index")), 2);
    }
    expect_answer(post(0, &store, "?atomic=true", NDJSON,
                       "{\"timestamp\":5,\"data\":1}\n{\"timestamp\":5,\"data\":1}\n", NULL),
                  409, "timestamp must be greater than newest entry");
    cr_expect_str_eq(list_all(&store), "");
    expect_counts(post(0, &store, "?atomic=true", NDJSON,
                       "{\"timestamp\":1,\"data\":1}\n{\"timestamp\":2,\"data\":1}\n", NULL),
                  2, 0);
    cr_expect_str_eq(list_all(&store), "1 2");
    ws_expect(stream, "data 1 1");
    ws_expect(stream, "data 2 1");
    expect_answer(
        post(0, &store, "?atomic=true", NDJSON,
             text("{\"data\":\"%s\"}\n{\"data\":\"%s\"}\n", repeat('a', 9000), repeat('b', 9000)),
             NULL),
        413, "object exceeds maximum block size");
    cr_expect_str_eq(list_all(&store), "1 2");
}

Test(batch, a_resend_is_answered_and_stores_nothing)
{
    FOR_BOTH_DOORS
    {
        const struct store one = store_create(text("{\"name\":\"b%d\"}", door));
        const char *body = "{\"data\":1}\nbad\n{\"data\":2}\n";
        const struct answer first = post(door, &one, "", NDJSON, body, "key 1");
        const struct answer again = post(1 - door, &one, "", NDJSON, body, "key 1");

        expect_counts(first, 2, 1);
        cr_expect_str_eq(again.body, first.body, "by the other door");
        expect_counts(post(door, &one, "", NDJSON, body, "key 2"), 2, 1);
        expect_answer(post(door, &one, "", NDJSON, "{\"data\":3}\n", "key 1"), 409,
                      "this Idempotency-Key was used for another request");
        expect_answer(post(door, &one, "", NDJSON, body, repeat('k', 129)), 400,
                      "Idempotency-Key has 129 bytes, at most 128 are allowed");
        expect_answer(post(door, &one, "", NDJSON, body, repeat('k', 300)), 400,
                      "Idempotency-Key has 300 bytes, at most 128 are allowed");
        cr_expect_eq(json_integer_value(
                         json_object_get(store_get(&one, "/data/oldest?limit=100").json, "count")),
                     4);
    }
}

Test(batch, a_single_record_can_be_resent_too)
{
    struct answer first, again;

    FOR_BOTH_DOORS
    {
        const struct call insert = {.method = "POST",
                                    .path = text("/api/stores/%s/data", store.name),
                                    .key = store.key,
                                    .type = "application/json",
                                    .body = "{\"data\":1}",
                                    .port = port_of(door),
                                    .header = {text("Idempotency-Key: once %d", door)}};

        first = call(&insert);
        again = call(&insert);
        cr_expect_eq(first.status, 201);
        cr_expect_eq(again.status, 201);
        cr_expect_str_eq(again.body, first.body);
    }
    cr_expect_eq(
        json_integer_value(json_object_get(store_get(&store, "/data/oldest").json, "count")), 2);
}

Test(batch, a_restart_of_ingestd_forgets_the_keys)
{
    expect_counts(post(0, &store, "", NDJSON, "{\"data\":1}\n", "key"), 1, 0);
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    ingestd_start();
    expect_counts(post(0, &store, "", NDJSON, "{\"data\":1}\n", "key"), 1, 0);
    cr_expect_eq(
        json_integer_value(json_object_get(store_get(&store, "/data/oldest").json, "count")), 2);
}

static char *
many_lines(int n)
{
    char *body = malloc((size_t)n * 48 + 1), *at = body;

    cr_assert_not_null(body);
    keep(body, free);
    for (int i = 1; i <= n; i++)
        at += sprintf(at, "{\"timestamp\":%d,\"data\":%d}\n", i, i);
    return body;
}

Test(batch, a_large_batch_arrives_whole_and_in_order)
{
    FOR_BOTH_DOORS
    {
        const struct store one = store_create(text("{\"name\":\"b%d\",\"num_blocks\":2048}", door));

        expect_counts(post(door, &one, "", NDJSON, many_lines(50000), NULL), 50000, 0);
        cr_expect_str_eq(list_all(&one), run_of(1, 50000));
        expect_answer(post(door, &one, "", NDJSON, many_lines(65537), NULL), 413,
                      "batch of 65537 records, at most 65536 are allowed");
    }
}

Test(batch, the_key_and_the_body_have_their_limits)
{
    struct store wrong = store;

    memcpy(wrong.key, "tsstore_00000000-0000-4000-8000-000000000000", 45);
    expect_answer(post(0, &wrong, "", NDJSON, "{\"data\":1}\n", NULL), 401, "invalid API key");
    expect_answer(post(1, &wrong, "", NDJSON, "{\"data\":1}\n", NULL), 401, "invalid API key");
    cr_expect_str_eq(list_all(&store), "");
}

Test(batch, a_schema_batch_has_names)
{
    const struct store one = store_of_type("schema");
    struct answer answer;

    expect_answer(CALL(.method = "PUT", .path = text("/api/stores/%s/schema", one.name),
                       .key = one.key, .type = "application/json",
                       .body = "{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"bool\"}]}"),
                  200, NULL);
    answer = post(0, &one, "", NDJSON,
                  "{\"timestamp\":1,\"data\":{\"flow\":1}}\n{\"data\":{\"q\":1}}\n", NULL);
    expect_counts(answer, 1, 1);
    cr_expect_not_null(
        strstr(answer.body, "schema validation failed: field not found in schema: q"));
    cr_expect_str_eq(list_all(&one), "1");
}

Test(batch, durable_batches_are_durable)
{
    const struct store one = store_create("{\"name\":\"each\",\"sync\":\"each\"}");

    expect_counts(post(0, &one, "", NDJSON, many_lines(1000), NULL), 1000, 0);
    expect_counts(post(0, &one, "?atomic=true", NDJSON, "{\"data\":1}\n{\"data\":2}\n", NULL), 2,
                  0);
    cr_expect_geq(
        json_integer_value(json_object_get(store_get(&one, "/stats").json, "durable_record")),
        1002);
}
