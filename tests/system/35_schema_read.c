/* 35_schema_read.c - schema stores on the way out: names, indices, versions. */
#include "tests/system/harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

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

TestSuite(schema_read, .init = start, .fini = site_stop);

static struct answer
put_schema(const char *fields)
{
    return CALL(.method = "PUT", .path = text("/api/stores/%s/schema", store.name),
                .key = store.key, .type = JSON_TYPE, .body = text("{\"fields\":[%s]}", fields));
}

static void
define(const char *fields)
{
    const struct answer answer = put_schema(fields);

    cr_assert_eq(answer.status, 200, "%s", answer.body);
}

/* "data" of the one object, as text. */
static const char *
get_data(int64_t time_ns, const char *query)
{
    const struct answer answer = store_get(&store, "/data/time/%jd%s", (intmax_t)time_ns, query);
    char *data;

    cr_assert_eq(answer.status, 200, "%s", answer.body);
    data = json_dumps(json_object_get(answer.json, "data"), JSON_COMPACT | JSON_ENCODE_ANY);
    cr_assert_not_null(data);
    keep(data, free);
    return data;
}

Test(schema_read, T110_other_stores_have_no_schema)
{
    const struct store other = store_fixture();

    expect_answer(store_get(&other, "/schema"), 400,
                  "schema endpoint only available for schema-type stores");
}

Test(schema_read, T111_T113_before_the_first_schema)
{
    expect_answer(store_get(&store, "/schema"), 404, "no schema defined");
    expect_answer(put_schema(""), 400, "invalid schema: no fields defined");
    expect_answer(store_get(&store, "/schema"), 404, "no schema defined");
    expect_answer(CALL(.path = text("/api/stores/%s/schema", store.name)), 401, "API key required");
}

Test(schema_read, T115_fields_come_in_the_order_given)
{
    define(CPU "," FLOW "," ID);
    cr_expect_str_eq(store_get(&store, "/schema").body,
                     "{\"version\":1,\"fields\":[" CPU "," FLOW "," ID "]}");
}

Test(schema_read, T116_T117_T120_names_or_indices)
{
    define(THREE);
    put_ok(&store, 1, "{\"flow\":2,\"cpu.pct\":5}");
    put_ok(&store, 2, "{\"id\":9007199254740993}");
    put_ok(&store, 3, "{}");
    put_ok(&store, 4, "{\"flow\":1.50}");
    cr_expect_str_eq(get_data(1, ""), "{\"flow\":2,\"cpu.pct\":5}");
    cr_expect_str_eq(get_data(1, "?format=compact"), "{\"1\":2,\"10\":5}");
    cr_expect_str_eq(get_data(1, "?format=Compact"), "{\"flow\":2,\"cpu.pct\":5}");
    cr_expect_str_eq(get_data(2, ""), "{\"id\":9007199254740993}");
    cr_expect_str_eq(get_data(3, ""), "{}");
    cr_expect_not_null(strstr(store_get(&store, "/data/oldest").body, "\"data\":{\"flow\":1.50}"));
    cr_expect_not_null(
        strstr(store_get(&store, "/data/newest?format=compact").body, "\"data\":{\"1\":1.50}"));
    cr_expect_not_null(
        strstr(store_get(&store, "/data/range?after=0&include_data=true").body, "\"cpu.pct\":5"));
}

Test(schema_read, T123_T124_later_versions_leave_old_objects_alone)
{
    define(THREE);
    put_ok(&store, 1, "{\"flow\":2,\"cpu.pct\":5}");
    cr_expect_str_eq(get_data(1, ""), "{\"flow\":2,\"cpu.pct\":5}");
    define(THREE "," FIELD(3, "new", "bool"));
    put_ok(&store, 2, "{\"new\":true,\"flow\":1}");
    cr_expect_str_eq(get_data(1, ""), "{\"flow\":2,\"cpu.pct\":5}");
    cr_expect_str_eq(get_data(2, ""), "{\"flow\":1,\"new\":true}");
    expect_answer(put_schema(FIELD(3, "new", "bool")), 400, NULL);
    cr_expect_eq(json_integer_value(json_object_get(store_get(&store, "/schema").json, "version")),
                 2);
}

Test(schema_read, T125_a_filter_sees_what_is_stored)
{
    define(THREE);
    put_ok(&store, 1, "{\"flow\":2}");
    cr_expect_str_eq(list(&store, "oldest?filter=flow"), "");
    cr_expect_str_eq(list(&store, "oldest?filter=%%221%%22:2"), "1");
}

Test(schema_read, T126_a_restart_changes_nothing)
{
    define(THREE);
    put_ok(&store, 1, "{\"flow\":2,\"cpu.pct\":5}");
    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    ingestd_start();
    queryd_start(0);
    cr_expect_str_eq(get_data(1, ""), "{\"flow\":2,\"cpu.pct\":5}");
    cr_expect_eq(json_integer_value(json_object_get(store_get(&store, "/schema").json, "version")),
                 1);
}

Test(schema_read, T176_streams_give_names_or_indices)
{
    struct ws *full, *compact;

    define(THREE);
    put_ok(&store, 1, "{\"flow\":2,\"cpu.pct\":5}");
    full = ws_read_open(&store, "from=0");
    compact = ws_read_open(&store, "from=0&format=compact");
    ws_expect(full, "data 1 {\"flow\":2,\"cpu.pct\":5}");
    ws_expect(compact, "data 1 {\"1\":2,\"10\":5}");
    ws_expect(full, "caught_up");
    ws_expect(compact, "caught_up");
    define(THREE "," FIELD(3, "new", "bool"));
    put_ok(&store, 2, "{\"new\":true}");
    ws_expect(full, "data 2 {\"new\":true}");
    ws_expect(compact, "data 2 {\"3\":true}");
}

/* A field that was just defined is never missing from an object that uses it. */
static _Atomic bool is_over;

static void *
evolve(void *arg)
{
    char *fields = strdup(FLOW);

    for (int i = 2; i < 40; i++) {
        char *longer;
        struct answer answer;

        cr_assert_gt(asprintf(&longer, "%s,{\"index\":%d,\"name\":\"f%d\",\"type\":\"int64\"}",
                              fields, i, i),
                     0);
        free(fields);
        fields = longer;
        answer =
            CALL(.method = "PUT", .path = text("/api/stores/%s/schema", store.name),
                 .key = store.key, .type = JSON_TYPE, .body = text("{\"fields\":[%s]}", fields));
        cr_expect_eq(answer.status, 200, "%s", answer.body);
        answer = CALL(.method = "POST", .path = text("/api/stores/%s/data", store.name),
                      .key = store.key, .type = JSON_TYPE,
                      .body = text("{\"data\":{\"f%d\":%d}}", i, i));
        cr_expect_eq(answer.status, 201, "%s", answer.body);
    }
    free(fields);
    atomic_store(&is_over, true);
    return arg;
}

Test(schema_read, a_record_never_comes_without_a_field_that_it_was_written_with)
{
    struct ws *ws;
    pthread_t writer;

    define(FLOW);
    ws = ws_read_open(&store, "from=0");
    ws_expect(ws, "caught_up");
    cr_assert_eq(pthread_create(&writer, NULL, evolve, NULL), 0);
    for (int i = 2; i < 40; i++) {
        const char *word = ws_word(ws, PATIENCE_MS);

        cr_expect_not_null(strstr(word, text("{\"f%d\":%d}", i, i)), "%s", word);
    }
    pthread_join(writer, NULL);
    cr_expect(atomic_load(&is_over));
}

Test(schema_read, a_schema_file_that_cannot_be_read_costs_the_names_only)
{
    define(THREE);
    put_ok(&store, 1, "{\"flow\":2}");
    cr_expect_str_eq(get_data(1, ""), "{\"flow\":2}");
    file_poke(store_path(&store, "schema.json"), 0, "x", 1);
    cr_expect_str_eq(get_data(1, "?format=compact"), "{\"1\":2}");
    expect_answer(store_get(&store, "/schema"), 500, NULL);
    cr_expect_eq(store_get(&store, "/data/oldest").status, 200);
}
