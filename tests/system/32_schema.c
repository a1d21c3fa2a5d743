/* 32_schema.c - schema stores on the way in: what is taken, and how it is kept. */
#include "tests/system/harness.h"

#include <stdio.h>

#define JSON_TYPE "application/json"
#define FIELD(index, name, type)                                                                   \
    "{\"index\":" #index ",\"name\":\"" name "\",\"type\":\"" type "\"}"
#define FLOW FIELD(1, "flow", "float64")
#define ID FIELD(2, "id", "uint64")
#define CPU FIELD(10, "cpu.pct", "int32")
#define THREE FLOW "," ID "," CPU

static struct store store;

static void
start(void)
{
    site_start();
    store = store_of_type("schema");
}

TestSuite(schema, .init = start, .fini = site_stop);

static struct answer
put_body_at(int port, const char *body)
{
    return CALL(.method = "PUT", .path = text("/api/stores/%s/schema", store.name),
                .key = store.key, .type = JSON_TYPE, .body = body, .port = port);
}

static struct answer
put_fields(const char *fields)
{
    return put_body_at(0, text("{\"fields\":[%s]}", fields));
}

static void
expect_version(struct answer answer, int version)
{
    expect_answer(answer, 200, NULL);
    cr_expect_str_eq(answer.body, text("{\"message\":\"schema updated\",\"version\":%d}", version));
}

/* "data" of GET …/data/time/:time, with a query. */
static const char *
data_of(int64_t time_ns, const char *query)
{
    const struct answer answer = store_get(&store, "/data/time/%jd%s", (intmax_t)time_ns, query);
    char *data;

    cr_assert_eq(answer.status, 200, "%s", answer.body);
    data = json_dumps(json_object_get(answer.json, "data"), JSON_COMPACT | JSON_ENCODE_ANY);
    keep(data, free);
    return data;
}

Test(schema, T110_other_stores_have_none)
{
    const struct store other = store_fixture();

    expect_answer(CALL(.method = "PUT", .path = text("/api/stores/%s/schema", other.name),
                       .key = other.key, .type = JSON_TYPE, .body = "{\"fields\":[" FLOW "]}"),
                  400, "schema endpoint only available for schema-type stores");
}

Test(schema, T112_nothing_is_taken_before_the_first_schema)
{
    expect_answer(put(&store, 1, "{}"), 400,
                  "schema validation failed: schema is required for schema data type");
    expect_answer(put(&store, 1, "{\"flow\":1}"), 400,
                  "schema validation failed: schema is required for schema data type");
}

Test(schema, T113_a_schema_has_fields)
{
    expect_answer(put_fields(""), 400, "invalid schema: no fields defined");
    expect_answer(put_body_at(0, "{}"), 400, "Key: 'SchemaRequest.Fields' Error:*");
    expect_answer(put_body_at(0, ""), 400, "EOF");
    expect_answer(put_body_at(0, "{\"fields\":["), 400, "unexpected EOF");
    expect_answer(put(&store, 1, "{}"), 400, "schema validation failed: schema is required*");
    expect_version(put_fields(FLOW), 1);
}

Test(schema, T114_a_field_that_is_none_is_refused)
{
    expect_answer(put_fields(FIELD(0, "a", "bool")), 400,
                  "invalid schema: field index must be positive: 0");
    expect_answer(put_fields(FIELD(1, "", "bool")), 400, "invalid schema: field name is required");
    expect_answer(put_fields(FIELD(1, "a", "int9")), 400, "invalid field type: int9");
    expect_answer(put_fields(FIELD(1, "a", "bool") "," FIELD(1, "b", "bool")), 400,
                  "invalid schema: duplicate field index: 1");
    expect_answer(put_fields(FIELD(1, "flow", "bool") "," FIELD(2, "flow", "bool")), 400,
                  "invalid schema: duplicate field name: flow");
}

Test(schema, T115_T116_T117_names_become_indices_and_numbers_stay)
{
    struct answer answer;

    expect_version(put_fields(THREE), 1);
    answer = put(&store, 1, "{\"flow\":2,\"cpu.pct\":5}");
    expect_answer(answer, 201, NULL);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "size")), 14);
    cr_expect_str_eq(data_of(1, "?format=compact"), "{\"1\":2,\"10\":5}");
    put_ok(&store, 2, "{\"id\":9007199254740993}");
    cr_expect_str_eq(data_of(2, ""), "{\"id\":9007199254740993}");
}

Test(schema, T118_T119_T120_T121_what_is_taken_and_what_is_not)
{
    struct answer answer;

    expect_version(put_fields(THREE), 1);
    expect_answer(put(&store, 1, "{\"zz\":1}"), 400,
                  "schema validation failed: field not found in schema: zz");
    expect_answer(put(&store, 1, "{\"1\":1}"), 400,
                  "schema validation failed: field not found in schema: 1");
    expect_answer(put(&store, 1, "[1]"), 400, "schema validation failed: invalid JSON: *");
    expect_answer(put(&store, 1, "\"x\""), 400, "schema validation failed: invalid JSON: *");
    answer = put(&store, 1, "{}");
    expect_answer(answer, 201, NULL);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "size")), 2);
    answer = put(&store, 2, "null");
    expect_answer(answer, 201, NULL);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "size")), 2);
    expect_answer(put(&store, 3, "{\"flow\":\"hot\"}"), 201, NULL);
    expect_answer(store_post(&store, "text/plain", "{\"data\":{}}", 0), 400,
                  "data does not match store's data type");
}

Test(schema, T122_T123_T124_versions_only_add_fields)
{
    expect_version(put_fields(THREE), 1);
    put_ok(&store, 1, "{\"flow\":1,\"id\":2}");
    expect_answer(put_fields(FIELD(1, "stream", "float64") "," ID "," CPU), 400,
                  "invalid schema: cannot modify existing field 1");
    expect_answer(put_fields(FIELD(1, "flow", "bool") "," ID "," CPU), 400,
                  "invalid schema: cannot modify existing field 1");
    expect_version(put_fields(THREE "," FIELD(3, "valve.open", "bool")), 2);
    expect_answer(put_fields(FIELD(3, "valve.open", "bool")), 400,
                  "invalid schema: cannot remove existing field 1");
    cr_expect_str_eq(data_of(1, ""), "{\"flow\":1,\"id\":2}");
    put_ok(&store, 2, "{\"valve.open\":true}");
    cr_expect_str_eq(data_of(2, "?format=compact"), "{\"3\":true}");
}

Test(schema, T125_the_stored_form_is_what_is_filtered)
{
    expect_version(put_fields(THREE), 1);
    put_ok(&store, 1, "{\"flow\":2}");
    cr_expect_str_eq(list(&store, "oldest?filter=flow"), "");
    cr_expect_str_eq(list(&store, "oldest?filter=%%221%%22:2"), "1");
}

Test(schema, T126_a_restart_changes_nothing)
{
    expect_version(put_fields(THREE), 1);
    expect_version(put_fields(THREE), 2);
    put_ok(&store, 1, "{\"flow\":2}");
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    ingestd_start();
    queryd_start(0);
    cr_expect_str_eq(data_of(1, ""), "{\"flow\":2}");
    put_ok(&store, 2, "{\"id\":7}");
    expect_version(put_fields(THREE), 3);
}

Test(schema, both_daemons_know_a_new_field_at_once)
{
    expect_version(put_body_at(site.ingestd.port, "{\"fields\":[" FLOW "]}"), 1);
    put_ok(&store, 1, "{\"flow\":1}");
    cr_expect_str_eq(data_of(1, ""), "{\"flow\":1}");
    for (int i = 2; i <= 20; i++) {
        char fields[2000] = FLOW, more[100];

        for (int j = 2; j <= i; j++) {
            snprintf(more, sizeof more, ",{\"index\":%d,\"name\":\"f%d\",\"type\":\"bool\"}", j, j);
            strcat(fields, more);
        }
        expect_version(put_fields(fields), i);
        put_ok(&store, i, text("{\"f%d\":true}", i));
        cr_expect_str_eq(data_of(i, ""), text("{\"f%d\":true}", i));
    }
}

Test(schema, T249_lines_of_the_socket_are_compacted)
{
    struct line_client client;
    const char *answer;

    expect_version(put_fields(THREE), 1);
    line_login(&client, &store);
    answer = line_ask(&client, "{\"cpu.pct\":1, \"flow\":2.50}");
    cr_expect_eq(strncmp(answer, "OK ", 3), 0, "%s", answer);
    cr_expect_str_eq(line_ask(&client, "{\"q\":1}"),
                     "ERROR schema validation failed: field not found in schema: q");
    cr_expect_eq(strncmp(line_ask(&client, "[1]"), "ERROR schema validation failed: ", 32), 0);
    cr_expect_eq(strncmp(line_ask(&client, "bad"), "ERROR invalid JSON: ", 20), 0);
    expect_version(put_fields(THREE "," FIELD(3, "q", "bool")), 2);
    answer = line_ask(&client, "{\"q\":1}");
    cr_expect_eq(strncmp(answer, "OK ", 3), 0, "a field of a new version: %s", answer);
    line_close(&client);
    cr_expect_not_null(strstr(store_get(&store, "/data/oldest?format=compact").body,
                              "\"data\":{\"1\":2.50,\"10\":1}"));
}

Test(schema, a_strict_store_checks_values)
{
    expect_version(put_body_at(0, "{\"strict\":true,\"fields\":[" THREE "]}"), 1);
    put_ok(&store, 1, "{\"flow\":1.5,\"id\":18446744073709551615,\"cpu.pct\":-2147483648}");
    expect_answer(put(&store, 2, "{\"flow\":\"hot\"}"), 400,
                  "schema validation failed: field flow*");
    expect_answer(put(&store, 2, "{\"id\":-1}"), 400, "schema validation failed: field id*");
    expect_answer(put(&store, 2, "{\"cpu.pct\":2147483648}"), 400,
                  "schema validation failed: field cpu.pct*");
    expect_answer(put(&store, 2, "{\"flow\":null}"), 400, "schema validation failed: field flow*");
    put_ok(&store, 2, "{}");
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    ingestd_start();
    expect_answer(put(&store, 3, "{\"flow\":\"hot\"}"), 400,
                  "schema validation failed: field flow*");
    expect_version(put_body_at(0, "{\"strict\":false,\"fields\":[" THREE "]}"), 2);
    put_ok(&store, 3, "{\"flow\":\"hot\"}");
    expect_answer(put_body_at(0, "{\"strict\":\"yes\",\"fields\":[" THREE "]}"), 400,
                  "invalid schema: strict must be true or false");
}
