/* 26_hostile_parameters.c - every parameter with what nobody would send, every body cut off at
 * every byte: an answer in the right form, and never a crash. */
#include "tests/system/harness.h"
#include "tests/unit/ws_client.h"

#include <stdlib.h>

#define JSON_TYPE "application/json"

static struct store store;

static void
start(void)
{
    site_start();
    store = store_fixture();
}

TestSuite(hostile_parameters, .init = start, .fini = site_stop);

/* Both doors. */
static int
port_of(int door)
{
    return door == 0 ? site.queryd[0].port : site.ingestd.port;
}
#define FOR_BOTH_DOORS for (int door = 0; door < 2; door++)

/* As they stand in a target. */
static const char *const values[] = {
    "",
    "0",
    "1",
    "-1",
    "+1",
    "%2B1",
    "007",
    "-9223372036854775808",
    "-9223372036854775809",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1e3",
    "1.5",
    "0x10",
    "1_000",
    "x",
    "true",
    "null",
    "NaN",
    "inf",
    "-0",
    "%00",
    "1%00",
    "%0A1",
    "1%0D%0AX-Injected:%20yes",
    "%FF%FE",
    "%C3",
    "%ED%A0%80",
    "%F4%90%80%80",
    "%F0%9F%98%80",
    "%25",
    "%",
    "%z1",
    "%2",
    "%20",
    "%D9%A3",
    "a:b:c",
    ":",
    ",",
    "v:sum,",
    "v:%2B",
    "%22%5C%7B%7D",
    "1m",
    "-1m",
    "1ns",
    "2562047h47m16.854775807s",
    "2562047h47m16.854775808s",
    "1e-400d",
    "....",
    "../../etc/passwd",
    "';--",
    "%3Cscript%3E",
};

/* Too long for a table. */
static const char *
value(size_t i)
{
    switch (i) {
    case COUNTOF(values):
        return repeat('9', 400);
    case COUNTOF(values) + 1:
        return repeat('a', 9000);
    case COUNTOF(values) + 2:
        return repeat(',', 9000);
    default:
        return values[i];
    }
}
#define N_VALUES (COUNTOF(values) + 3)

/* 200 with what the route gives, or 400 with one of its texts. */
static void
expect_list_or(struct answer answer, const char *error, const char *what)
{
    const json_t *objects = json_object_get(answer.json, "objects");

    cr_assert_not_null(answer.json, "%.300s: no JSON: %d %.300s", what, answer.status, answer.body);
    cr_expect_null(answer_header(&answer, "X-Injected"), "%.300s", what);
    if (answer.status == 200) {
        cr_expect(json_is_array(objects), "%.300s: %.300s", what, answer.body);
        cr_expect_eq(json_integer_value(json_object_get(answer.json, "count")),
                     (json_int_t)json_array_size(objects), "%.300s: %.300s", what, answer.body);
        return;
    }
    cr_expect_eq(answer.status, 400, "%.300s: %d %.300s", what, answer.status, answer.body);
    cr_expect(error != NULL && strncmp(answer_error(&answer), error, strlen(error)) == 0,
              "%.300s: %.300s", what, answer.body);
    cr_expect_not_null(json_string_value(json_object_get(answer.json, "code")), "%.300s", what);
}

Test(hostile_parameters, lists_take_or_refuse_whatever_comes)
{
    static const struct {
        const char *query; /* the value comes behind it */
        const char *error; /* NULL: nothing is refused */
    } rows[] = {
        {"oldest?limit=", NULL},
        {"newest?limit=", NULL},
        {"range?after=0&limit=", NULL},
        {"oldest?include_data=", NULL},
        {"range?after=0&include_data=", NULL},
        {"oldest?filter=", NULL},
        {"newest?filter_ignore_case=true&filter=", NULL},
        {"oldest?filter=x&filter_ignore_case=", NULL},
        {"oldest?format=", NULL},
        {"newest?since=", "invalid since duration: "},
        {"range?after=0&since=", "invalid since duration: "},
        {"range?start_time=1&after=", "invalid after timestamp"},
        {"range?end_time=9&start_time=", "invalid "},
        {"range?start_time=1&end_time=", "invalid "},
        {"range?after=0&agg_window=", ""},
        {"newest?agg_window=1m&agg_fields=", "invalid agg_fields: "},
        {"newest?agg_window=1m&agg_default=", "invalid default aggregation function: "},
        {"oldest?unknown=", NULL},
    };

    put_run(&store, 1, 5, "{\"v\":1}");
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        for (size_t k = 0; k < N_VALUES; k++) {
            const char *const query = text("%s%s", rows[i].query, value(k));
            const struct answer answer =
                CALL(.path = text("/api/stores/S/data/%s", query), .key = store.key);

            expect_list_or(answer, rows[i].error, query);
        }
    }
    cr_expect_str_eq(list_all(&store), "1 2 3 4 5");
}

Test(hostile_parameters, of_one_that_comes_twice_the_first_counts)
{
    static const struct {
        const char *query, *want;
    } rows[] = {
        {"oldest?limit=1&limit=3", "1"},
        {"oldest?limit=&limit=3", "1 2 3 4 5"},
        {"range?after=3&after=x", "4 5"},
        {"range?start_time=2&end_time=3&end_time=1&start_time=x", "2 3"},
        {"oldest?filter=7&filter=1", ""},
        {"oldest?%6Cimit=2", "1 2"},
        {"oldest?LIMIT=2", "1 2 3 4 5"},
        {"oldest?&&&limit=2&&", "1 2"},
        {"oldest?limit", "1 2 3 4 5"},
        {"oldest?=2&limit=2", "1 2"},
    };

    put_run(&store, 1, 5, "1");
    for (size_t i = 0; i < COUNTOF(rows); i++)
        cr_expect_str_eq(list(&store, "%s", rows[i].query), rows[i].want, "%s", rows[i].query);
    /* With all others there is none of these. */
    expect_answer(store_get(&store, "/data/range?after=x&after=3"), 400, "invalid after timestamp");
}

/* A refusal in our form, or the plain text of what is no route and no path. */
static void
expect_refused(struct answer answer, const char *what)
{
    cr_expect(answer.status >= 400 && answer.status < 500, "%.300s: %d %.300s", what, answer.status,
              answer.body);
    if (answer.json != NULL)
        cr_expect(*answer_error(&answer) != '\0' && json_object_get(answer.json, "code") != NULL,
                  "%.300s: %.300s", what, answer.body);
    else
        cr_expect(strcmp(answer.body, "404 page not found") == 0 ||
                      strcmp(answer.body, "Bad Request") == 0,
                  "%.300s: %.300s", what, answer.body);
}

Test(hostile_parameters, paths_and_keys_are_refused_in_form)
{
    put_ok(&store, 5, "1");
    for (size_t k = 0; k < N_VALUES; k++) {
        const char *const it = value(k);

        FOR_BOTH_DOORS
        {
            expect_refused(CALL(.method = "DELETE", .path = text("/api/stores/S/data/time/%s", it),
                                .key = store.key, .port = port_of(door)),
                           it);
            expect_refused(CALL(.method = "POST", .path = text("/api/stores/%s/data", it),
                                .key = store.key, .type = JSON_TYPE, .body = "{\"data\":1}",
                                .port = port_of(door)),
                           it);
            expect_refused(CALL(.method = "POST", .path = text("/api/stores/S/data?api_key=%s", it),
                                .type = JSON_TYPE, .body = "{\"data\":1}", .port = port_of(door)),
                           it);
            expect_refused(CALL(.method = "POST", .path = text("/api/stores?admin_key=%s", it),
                                .type = JSON_TYPE, .body = "{\"name\":\"x\"}",
                                .port = port_of(door)),
                           it);
        }
        expect_refused(CALL(.path = text("/api/stores/S/data/time/%s", it), .key = store.key), it);
        expect_refused(CALL(.path = text("/api/stores/%s/stats", it), .key = store.key), it);
    }
    cr_expect_str_eq(list_all(&store), "5");
    cr_expect_str_eq(CALL(.path = "/api/stores").body, "{\"stores\":[\"S\"]}");
}

/* What a stream cannot take ends it with an error message; the others begin. */
Test(hostile_parameters, streams_begin_or_say_why_not)
{
    static const char *const names[] = {"from",   "after_record", "format",
                                        "filter", "agg_window",   "agg_window=1m&agg_default"};

    put_ok(&store, 5, "{\"v\":1}");
    for (size_t i = 0; i < COUNTOF(names); i++) {
        for (size_t k = 0; k < COUNTOF(values); k++) {
            const char *const query = text("%s=%s", names[i], values[k]);
            const char *message, *type;
            json_t *root;
            int fd;

            cr_assert_eq(ws_dial(site.queryd[0].port, text("/api/stores/S/ws/read?%s", query),
                                 text("X-API-Key: %s\r\n", store.key), &fd),
                         101, "%s", query);
            message = ws_hear_text(fd);
            root = json_loads(message, 0, NULL);
            type = json_string_value(json_object_get(root, "type"));
            cr_assert_not_null(type, "%s: %s", query, message);
            cr_expect(strcmp(type, "caught_up") == 0 || strcmp(type, "data") == 0 ||
                          (strcmp(type, "error") == 0 &&
                           json_is_string(json_object_get(root, "message"))),
                      "%s: %s", query, message);
            json_decref(root);
            close(fd);
        }
    }
    cr_expect_eq(CALL(.path = "/health").status, 200);
}

/* ---- bodies ---- */

static const struct {
    const char *method, *path, *type, *body;
} bodies[] = {
    {"POST", "/api/stores/S/data", JSON_TYPE,
     "{\"timestamp\":77,\"data\":{\"a\":[1,2.5e3,\"\\u00e4\\n\",null,true]}}"},
    {"POST", "/api/stores/S/data/batch?atomic=true", JSON_TYPE,
     "[{\"timestamp\":77,\"data\":1},{\"timestamp\":78,\"data\":\"x\"}]"},
    {"PUT", "/api/stores/schema-store/schema", JSON_TYPE,
     "{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"}],\"strict\":true}"},
    {"POST", "/api/stores", JSON_TYPE,
     "{\"name\":\"x\",\"num_blocks\":4,\"data_block_size\":256,\"data_type\":\"text\"}"},
};

static struct answer
send_body(int door, size_t i, const char *key, const char *body, size_t bytes)
{
    return CALL(.method = bodies[i].method, .path = bodies[i].path, .key = key,
                .admin_key = ADMIN_KEY, .type = bodies[i].type, .body = body, .bytes = bytes,
                .port = port_of(door));
}

static const char *
key_of(size_t i, const struct store *schema)
{
    return strstr(bodies[i].path, "schema-store") != NULL ? schema->key : store.key;
}

Test(hostile_parameters, a_body_cut_off_anywhere_changes_nothing)
{
    const struct store schema = store_of_type("schema");

    FOR_BOTH_DOORS for (size_t i = 0; i < COUNTOF(bodies); i++)
    {
        for (size_t n = 0; n < strlen(bodies[i].body); n++) {
            const struct answer answer =
                send_body(door, i, key_of(i, &schema), text("%.*s", (int)n, bodies[i].body), 0);

            cr_expect_eq(answer.status, 400, "%s: %zu bytes: %s", bodies[i].path, n, answer.body);
            expect_refused(answer, bodies[i].path);
        }
    }
    cr_expect_str_eq(list_all(&store), "");
    expect_answer(store_get(&schema, "/schema"), 404, "no schema defined");
    cr_expect_str_eq(CALL(.path = "/api/stores").body, "{\"stores\":[\"S\",\"schema-store\"]}");
    for (size_t i = 0; i < COUNTOF(bodies); i++) {
        const struct answer answer =
            send_body(0, i, i == 1 ? store.key : key_of(i, &schema), bodies[i].body, 0);

        /* The batch has a timestamp of the first one. */
        cr_expect_eq(answer.status, i == 1 ? 409 : i == 2 ? 200 : 201, "%s", answer.body);
    }
}

Test(hostile_parameters, bodies_may_not_be_nested_without_end)
{
    const struct store schema = store_of_type("schema");
    static const char *const around[][2] = {
        {"[", "]"}, {"{\"a\":", "}"}, {"{\"data\":", "}"}, {"[{\"data\":", "}]"}};
    enum { LEVELS = 100000 };

    FOR_BOTH_DOORS for (size_t i = 0; i < COUNTOF(bodies); i++)
    {
        for (size_t k = 0; k < COUNTOF(around); k++) {
            const size_t open = strlen(around[k][0]), close = strlen(around[k][1]);
            char *const deep = repeat('1', LEVELS * (open + close) + 1);

            for (size_t level = 0; level < LEVELS; level++) {
                memcpy(deep + level * open, around[k][0], open);
                memcpy(deep + LEVELS * open + 1 + level * close, around[k][1], close);
            }
            expect_refused(send_body(door, i, key_of(i, &schema), deep, 0), bodies[i].path);
            deep[LEVELS * open] = '\0'; /* and the same without an end */
            expect_refused(send_body(door, i, key_of(i, &schema), deep, 0), bodies[i].path);
        }
    }
    cr_expect_str_eq(list_all(&store), "");
    cr_expect(process_is_alive(&site.ingestd) && process_is_alive(&site.queryd[0]));
}

Test(hostile_parameters, bytes_that_are_no_text_are_refused_where_text_is_wanted)
{
    static const char *const inside[] = {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                         "\xc3", "\x01",     "\x7f\xff"};
    static const char *const around[][2] = {
        {"{\"timestamp\":77,\"data\":\"", "\"}"},
        {"[{\"timestamp\":77,\"data\":\"", "\"}]"},
        {"{\"fields\":[{\"index\":1,\"name\":\"", "\",\"type\":\"bool\"}]}"},
        {"{\"name\":\"", "\"}"},
    };
    const struct store schema = store_of_type("schema");

    FOR_BOTH_DOORS for (size_t i = 0; i < COUNTOF(bodies); i++)
    {
        char *const cut = text("%s", bodies[i].body);

        for (size_t k = 0; k < COUNTOF(inside); k++)
            expect_refused(send_body(door, i, key_of(i, &schema),
                                     text("%s%s%s", around[i][0], inside[k], around[i][1]), 0),
                           bodies[i].path);
        cut[3] = '\0'; /* a NUL in the middle */
        expect_refused(send_body(door, i, key_of(i, &schema), cut, strlen(bodies[i].body)),
                       bodies[i].path);
    }
    cr_expect_str_eq(list_all(&store), "");
}

/* ---- frames ---- */

static const struct {
    const char *label, *bytes;
    size_t n;
} frames[] = {
    {"not masked", "\x81\x02{}", 4},
    {"reserved bits", "\xf1\x80\0\0\0\0", 6},
    {"an unknown kind", "\x83\x80\0\0\0\0", 6},
    {"an unknown control", "\x8f\x80\0\0\0\0", 6},
    {"a ping in parts", "\x09\x80\0\0\0\0", 6},
    {"a long ping", "\x89\xfe\x00\x7e\0\0\0\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 40},
    {"a continuation of nothing", "\x80\x80\0\0\0\0", 6},
    {"two beginnings", "\x01\x80\0\0\0\0\x01\x80\0\0\0\0", 12},
    {"2^63-1 bytes", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14},
    {"2^64-1 bytes", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14},
    {"a length in too many bytes", "\x81\xff\0\0\0\0\0\0\0\1\0\0\0\0{", 15},
    {"a close of one byte", "\x88\x81\0\0\0\0\x03", 7},
    {"a close with a code that is none", "\x88\x82\0\0\0\0\x00\x01", 8},
    {"no UTF-8", "\x81\x82\0\0\0\0\xff\xfe", 8},
    {"half a head", "\x81", 1},
    {"another request", "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 33},
    {"a TLS greeting", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11},
};

/* Sends a frame and leaves without a word; some are waited for, until nothing more comes. */
static void
send_frame(int port, const char *target, size_t i)
{
    int fd;

    cr_assert_eq(ws_dial(port, target, text("X-API-Key: %s\r\n", store.key), &fd), 101);
    ws_write_all(fd, frames[i].bytes, frames[i].n);
    for (int n = 0; i % 2 == 0 && n < 4; n++)
        if (ws_hear(fd, 100)->opcode < 0)
            break;
    close(fd);
}

Test(hostile_parameters, frames_that_nobody_would_send_harm_nobody)
{
    int64_t last_ns;

    for (size_t i = 0; i < COUNTOF(frames); i++) {
        send_frame(site.queryd[0].port, "/api/stores/S/ws/read", i);
        FOR_BOTH_DOORS
        send_frame(port_of(door), "/api/stores/S/ws/write", i);
        cr_assert(process_is_alive(&site.ingestd) && process_is_alive(&site.queryd[0]), "%s",
                  frames[i].label);
    }
    last_ns = clock_ns() + INT64_C(3600) * 1000000000; /* behind all that they may have left */
    put_ok(&store, last_ns, "1");
    ws_expect(ws_read_open(&store, text("from=%jd", (intmax_t)last_ns)),
              text("data %jd 1", (intmax_t)last_ns));
    cr_expect_str_eq(list_all(&store), text("%jd", (intmax_t)last_ns));
}
