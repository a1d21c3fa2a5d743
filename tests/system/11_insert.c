/* 11_insert.c - POST …/data: what is stored, what is refused. */
#include "tests/system/harness.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

TestSuite(insert, .init = site_start, .fini = site_stop);

#define JSON "application/json"

static struct answer
post(const struct store *store, const char *body)
{
    return store_post(store, JSON, body, 0);
}

static int64_t
member(const struct answer *answer, const char *name)
{
    json_t *value = json_object_get(answer->json, name);

    cr_assert(json_is_integer(value), "%s in %s", name, answer->body);
    return json_integer_value(value);
}

/* `data` of the object at this time, as compact JSON. */
static const char *
data_at(const struct store *store, int64_t time_ns)
{
    struct answer answer = store_get(store, "/data/time/%jd", (intmax_t)time_ns);
    char *out = json_dumps(json_object_get(answer.json, "data"),
                           JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

    cr_assert_eq(answer.status, 200, "get %jd: %s", (intmax_t)time_ns, answer.body);
    cr_assert_not_null(out, "%s", answer.body);
    keep(out, free);
    return out;
}

/* The same of the newest object, as a list shows it. */
static const char *
listed_data(const struct store *store)
{
    struct answer answer = store_get(store, "/data/newest?limit=1");
    json_t *object = json_array_get(json_object_get(answer.json, "objects"), 0);
    char *out = json_dumps(json_object_get(object, "data"),
                           JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

    cr_assert_eq(answer.status, 200, "%s", answer.body);
    cr_assert_not_null(out, "%s", answer.body);
    keep(out, free);
    return out;
}

static struct store
small_ring(void)
{
    return store_create("{\"name\":\"N8\",\"num_blocks\":8,\"data_block_size\":256,"
                        "\"index_block_size\":64}");
}

/* A JSON string of n letters. */
static const char *
letters(size_t n)
{
    return text("\"%s\"", repeat('a', n));
}

Test(insert, T030_answers_timestamp_block_and_size)
{
    struct store store = store_fixture();
    struct answer answer = put(&store, 1000, "{\"a\":1}");

    cr_expect_eq(answer.status, 201, "%s", answer.body);
    cr_expect_eq(member(&answer, "timestamp"), 1000);
    cr_expect_eq(member(&answer, "size"), 7);
    cr_expect_lt(member(&answer, "block_num"), 64);
    cr_expect_geq(member(&answer, "block_num"), 0);
}

Test(insert, T031_T032_without_a_timestamp_the_server_gives_now)
{
    static const char *const bodies[] = {"{\"data\":{\"a\":1}}", "{\"timestamp\":0,\"data\":1}",
                                         "{\"timestamp\":null,\"data\":1}"};
    struct store store = store_fixture();

    for (size_t i = 0; i < COUNTOF(bodies); i++) {
        const int64_t before = clock_ns();
        struct answer answer = post(&store, bodies[i]);

        cr_assert_eq(answer.status, 201, "%s", answer.body);
        cr_expect_geq(member(&answer, "timestamp"), before);
        cr_expect_leq(member(&answer, "timestamp"), clock_ns());
    }
}

Test(insert, T031_the_server_gives_newest_plus_one_when_the_clock_is_behind)
{
    struct store store = store_fixture();
    const int64_t ahead = clock_ns() + INT64_C(3600000000000);
    struct answer answer;

    put_ok(&store, ahead, "1");
    answer = post(&store, "{\"data\":2}");
    cr_assert_eq(answer.status, 201, "%s", answer.body);
    cr_expect_eq(member(&answer, "timestamp"), ahead + 1);
}

Test(insert, T033_T034_refuses_what_is_no_timestamp)
{
    static const struct {
        const char *timestamp, *error;
    } rows[] = {
        {"-5", "invalid timestamp"},
        {"-9223372036854775808", "invalid timestamp"},
        {"\"5\"", NULL},
        {"1e3", NULL},
        {"1.5", NULL},
        {"9223372036854775808", NULL},
        {"true", NULL},
        {"[]", NULL},
    };
    struct store store = store_fixture();

    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect_answer(post(&store, text("{\"timestamp\":%s,\"data\":1}", rows[i].timestamp)), 400,
                      rows[i].error);
    cr_expect_str_eq(list_all(&store), "");
}

Test(insert, T035_T036_T037_refuses_a_body_without_data)
{
    static const struct {
        const char *body, *error;
    } rows[] = {
        {"{}", "data is required"},
        {"{\"timestamp\":7}", "data is required"},
        {"", "EOF"},
        {"{\"data\":{\"a\":1}", "unexpected EOF"},
        {"{\"data\":tru}", NULL},
        {"{\"data\":\"\xff\"}", NULL},
        {"[1]", NULL},
        {"junk", NULL},
    };
    struct store store = store_fixture();

    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect_answer(post(&store, rows[i].body), 400, rows[i].error);
    cr_expect_str_eq(list_all(&store), "");
}

Test(insert, T038_null_is_a_value)
{
    struct store store = store_fixture();
    struct answer answer = post(&store, "{\"timestamp\":9,\"data\":null}");

    cr_expect_eq(answer.status, 201, "%s", answer.body);
    cr_expect_eq(member(&answer, "size"), 4);
    cr_expect_str_eq(data_at(&store, 9), "null");
    cr_expect_str_eq(list_all(&store), "9");
    cr_expect_str_eq(listed_data(&store), "null");
}

Test(insert, T039_T040_T041_refuses_a_timestamp_that_is_not_newer)
{
    struct store store = store_fixture();

    put_ok(&store, 1000, "1");
    expect_answer(put(&store, 1000, "1"), 409, "timestamp must be greater than newest entry");
    put_ok(&store, 1001, "1");
    expect_answer(put(&store, 1001, "1"), 409, "timestamp must be greater than newest entry");
    put_ok(&store, 1002, "1");
    expect_answer(put(&store, 1001, "1"), 409, "timestamp must be greater than newest entry");
    expect_answer(put(&store, 1, "1"), 409, "timestamp must be greater than newest entry");
    cr_expect_str_eq(list_all(&store), "1000 1001 1002");
}

Test(insert, T039_order_holds_behind_a_spanning_object_and_a_restart)
{
    struct store store = store_fixture();

    put_ok(&store, 10, "1");
    put_ok(&store, 20, letters(900));
    expect_answer(put(&store, 15, "1"), 409, "timestamp must be greater than newest entry");
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    ingestd_start();
    AWAIT(PATIENCE_MS, put(&store, 20, "1").status == 409);
    put_ok(&store, 21, "1");
    cr_expect_str_eq(list_all(&store), "10 20 21");
}

Test(insert, T042_T043_T044_T045_the_content_type_must_fit)
{
    static const struct {
        const char *type;
        int status;
    } rows[] = {
        {"text/plain", 400},
        {NULL, 400},
        {"application/octet-stream", 400},
        {"application/jsonx", 400},
        {JSON, 201},
        {"application/json; charset=utf-8", 201},
        {"application/json;charset=utf-8", 201},
        {"APPLICATION/JSON", 201},
    };
    struct store store = store_fixture();

    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect_answer(store_post(&store, rows[i].type, "{\"data\":1}", 0), rows[i].status,
                      rows[i].status == 400 ? "data does not match store's data type" : NULL);
}

Test(insert, T046_stores_the_bytes_of_data_as_they_are)
{
    struct store store = store_fixture();
    struct answer answer = put(&store, 1, "{\"a\" : \"x<y>&z\"}");

    cr_expect_eq(member(&answer, "size"), 16);
    cr_expect_str_eq(data_at(&store, 1), "{\"a\":\"x<y>&z\"}");
}

Test(insert, T047_keeps_all_digits)
{
    struct store store = store_fixture();
    struct answer answer;

    put_ok(&store, 1, "{\"n\":12345678901234567890123,\"m\":1.50,\"x\":1e400}");
    answer = store_get(&store, "/data/time/1");
    cr_expect_eq(answer.status, 200);
    cr_expect_not_null(strstr(answer.body, "12345678901234567890123"), "%s", answer.body);
    cr_expect_not_null(strstr(answer.body, "1.50"), "%s", answer.body);
    cr_expect_not_null(strstr(answer.body, "1e400"), "%s", answer.body);
}

Test(insert, T048_T049_T051_binary_stores_take_bytes)
{
    struct store store = store_of_type("binary");
    struct answer answer = store_post(&store, "application/octet-stream", "\x00\xff\x41", 3);
    struct answer empty;

    cr_assert_eq(answer.status, 201, "%s", answer.body);
    cr_expect_eq(member(&answer, "size"), 3);
    cr_expect_str_eq(data_at(&store, member(&answer, "timestamp")), "\"AP9B\"");
    empty = store_post(&store, "application/octet-stream", NULL, 0);
    cr_assert_eq(empty.status, 201, "%s", empty.body);
    cr_expect_eq(member(&empty, "size"), 0);
    cr_expect_str_eq(listed_data(&store), "\"\"");
    cr_expect_str_eq(data_at(&store, member(&empty, "timestamp")), "\"\"");
    expect_answer(post(&store, "{\"data\":1}"), 400, "data does not match store's data type");
}

Test(insert, T050_text_stores_take_any_bytes_and_show_utf8)
{
    struct store store = store_of_type("text");
    struct answer answer = store_post(&store, "text/plain", "he\xffy", 4);
    const char *listed = listed_data(&store);
    struct answer marked = store_post(&store, "Text/Plain; charset=utf-8", "a\"\\\n\x01z", 6);
    struct answer empty = store_post(&store, "text/plain", NULL, 0);

    cr_assert_eq(answer.status, 201, "%s", answer.body);
    cr_expect_eq(member(&answer, "size"), 4);
    cr_expect_str_eq(data_at(&store, member(&answer, "timestamp")), "\"he\\uFFFDy\"");
    cr_expect_str_eq(listed, "\"he\\uFFFDy\"");
    cr_assert_eq(marked.status, 201, "%s", marked.body);
    cr_expect_str_eq(data_at(&store, member(&marked, "timestamp")), "\"a\\\"\\\\\\n\\u0001z\"");
    cr_assert_eq(empty.status, 201, "%s", empty.body);
    cr_expect_str_eq(data_at(&store, member(&empty, "timestamp")), "\"\"");
}

Test(insert, T052_T053_sizes_around_the_block_come_back_equal)
{
    static const size_t sizes[] = {200, 206, 207, 208, 229, 230, 231,  232,  253,  254,
                                   255, 256, 400, 511, 512, 513, 1000, 4000, 12000};
    struct store store = store_fixture();
    const char *listed;
    int n = 0;

    for (size_t i = 0; i < COUNTOF(sizes); i++)
        put_ok(&store, (int64_t)i + 1, letters(sizes[i]));
    /* The ring holds 16 KiB, so the first may be gone; what is listed is whole. */
    listed = list_all(&store);
    while (*listed != '\0') {
        const int64_t t = strtoll(listed, (char **)&listed, 10);

        cr_assert(t >= 1 && t <= (int64_t)COUNTOF(sizes));
        cr_expect_str_eq(data_at(&store, t), letters(sizes[t - 1]));
        n++;
    }
    cr_expect_geq(n, 1);
}

Test(insert, T052_T053_payloads_of_a_block_and_one_more_come_back)
{
    struct store store = store_fixture();

    put_ok(&store, 1, letters(200));
    put_ok(&store, 2, letters(206));
    put_ok(&store, 3, letters(207));
    cr_expect_str_eq(data_at(&store, 1), letters(200));
    cr_expect_str_eq(data_at(&store, 2), letters(206));
    cr_expect_str_eq(data_at(&store, 3), letters(207));
}

Test(insert, T054_a_spanning_object_leaves_its_neighbours_alone)
{
    struct store store = store_fixture();

    put_ok(&store, 1, "\"s\"");
    put_ok(&store, 2, letters(400));
    put_ok(&store, 3, "\"t\"");
    cr_expect_str_eq(list_all(&store), "1 2 3");
    cr_expect_str_eq(data_at(&store, 1), "\"s\"");
    cr_expect_str_eq(data_at(&store, 2), letters(400));
    cr_expect_str_eq(data_at(&store, 3), "\"t\"");
}

Test(insert, T055_an_object_larger_than_the_ring_touches_nothing)
{
    struct store store = small_ring();

    put_run(&store, 1, 9, "1");
    expect_answer(put(&store, 100, letters(4000)), 413, "object exceeds maximum block size");
    cr_expect_str_eq(list_all(&store), run_of(1, 9));
    put_ok(&store, 10, "1");
}

Test(insert, T056_a_full_ring_gives_up_the_oldest_and_never_grows)
{
    struct store store = small_ring();
    const int64_t bytes = store_bytes(&store);
    const char *all;
    int64_t first;

    put_run(&store, 1, 200, letters(100));
    all = list_all(&store);
    first = strtoll(all, NULL, 10);
    cr_expect_str_eq(all, run_of(first, 200));
    cr_expect_leq(first, 197);
    cr_expect_geq(first, 1);
    cr_expect_eq(store_bytes(&store), bytes);
    for (int64_t t = first; t <= 200; t++)
        cr_expect_str_eq(data_at(&store, t), letters(100));
}

struct poster {
    const struct store *store;
    int64_t times[50];
};

static void *
post_fifty(void *arg)
{
    struct poster *poster = arg;

    for (size_t i = 0; i < COUNTOF(poster->times); i++) {
        struct answer answer = post(poster->store, "{\"data\":{\"a\":1}}");

        poster->times[i] = answer.status == 201 ? member(&answer, "timestamp") : -1;
    }
    return NULL;
}

static int
compare_times(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

Test(insert, T057_parallel_posts_get_different_timestamps)
{
    struct store store = store_create("{\"name\":\"wide\"}");
    static struct poster posters[20];
    static int64_t times[20 * 50];
    pthread_t threads[20];
    const char *listed;

    for (size_t i = 0; i < COUNTOF(posters); i++) {
        posters[i].store = &store;
        cr_assert_eq(pthread_create(&threads[i], NULL, post_fifty, &posters[i]), 0);
    }
    for (size_t i = 0; i < COUNTOF(posters); i++) {
        pthread_join(threads[i], NULL);
        memcpy(times + i * 50, posters[i].times, sizeof posters[i].times);
    }
    qsort(times, COUNTOF(times), sizeof times[0], compare_times);
    cr_assert_gt(times[0], 0, "a post was refused");
    for (size_t i = 1; i < COUNTOF(times); i++)
        cr_assert_gt(times[i], times[i - 1]);
    listed = list(&store, "oldest?limit=2000&include_data=false");
    for (size_t i = 0; i < COUNTOF(times); i++) {
        cr_assert_eq(strtoll(listed, (char **)&listed, 10), times[i], "object %zu", i);
    }
}

Test(insert, a_body_above_the_limit_is_refused)
{
    struct store store;
    struct answer answer;

    site_stop();
    site_prepare("{\"limits\":{\"max_body_bytes\":100000,\"max_connections\":16}}");
    ingestd_start();
    queryd_start(0);
    store = store_create("{\"name\":\"limited\"}");
    answer = put(&store, 1, letters(200000));
    expect_answer(answer, 413, NULL);
    put_ok(&store, 2, letters(50000));
    cr_expect_str_eq(list_all(&store), "2");
}

Test(insert, codecs_and_sync_modes_hold_the_same)
{
    static const char *const settings[] = {
        "\"codec\":\"none\",\"sync\":\"none\"", "\"codec\":\"none\",\"sync\":\"each\"",
        "\"codec\":\"zstd\",\"sync\":\"each\"", "\"codec\":\"zstd\",\"sync\":\"interval:50\""};

    for (size_t i = 0; i < COUNTOF(settings); i++) {
        struct store store = store_create(text(
            "{\"name\":\"s%zu\",\"num_blocks\":16,\"data_block_size\":256,%s}", i, settings[i]));
        const char *times;
        struct answer stats;

        put_run(&store, 1, 150, letters(90));
        stats = store_get(&store, "/stats");
        if (strstr(settings[i], "each") != NULL)
            cr_expect_eq(member(&stats, "durable_record"), 150, "%s", stats.body);
        times = list_all(&store);
        cr_expect_str_eq(times, run_of(strtoll(times, NULL, 10), 150), "%s", settings[i]);
        cr_expect_str_eq(data_at(&store, 150), letters(90));
    }
}

Test(insert, a_store_larger_than_the_disk_is_refused_and_leaves_nothing)
{
    struct answer answer =
        CALL(.method = "POST", .path = "/api/stores", .admin_key = ADMIN_KEY, .type = JSON,
             .body = "{\"name\":\"huge\",\"num_blocks\":134217728,"
                     "\"data_block_size\":65536}");

    expect_answer(answer, 507, NULL);
    cr_expect_neq(access(text("%s/huge", site.data), F_OK), 0);
    cr_expect_str_eq(CALL(.path = "/api/stores").body, "{\"stores\":[]}");
    cr_expect(process_is_alive(&site.ingestd));
}

Test(insert, ingestd_takes_the_same_on_its_own_port)
{
    struct store store = store_fixture();
    const char *path = text("/api/stores/%s/data", store.name);
    struct answer answer =
        CALL(.method = "POST", .path = path, .port = site.ingestd.port, .key = store.key,
             .type = JSON, .body = "{\"timestamp\":5,\"data\":{\"a\":1}}");

    cr_expect_eq(answer.status, 201, "%s", answer.body);
    cr_expect_eq(member(&answer, "timestamp"), 5);
    answer = CALL(.method = "POST", .path = path, .port = site.ingestd.port, .type = JSON,
                  .body = "{\"data\":1}");
    expect_answer(answer, 401, "API key required");
    answer = CALL(.method = "POST", .path = path, .port = site.ingestd.port, .key = store.key,
                  .type = JSON, .body = "{\"timestamp\":5,\"data\":1}");
    expect_answer(answer, 409, "timestamp must be greater than newest entry");
    cr_expect_str_eq(list_all(&store), "5");
}
