/* 10_general.c - health, catalogue, keys, and what every answer has in common. */
#include "tests/system/harness.h"

#include <regex.h>
#include <unistd.h>

TestSuite(general, .init = site_start, .fini = site_stop);

static bool
matches(const char *subject, const char *pattern)
{
    regex_t regex;
    bool is_match;

    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    is_match = subject != NULL && regexec(&regex, subject, 0, NULL, 0) == 0;
    regfree(&regex);
    return is_match;
}

static struct answer
create(const char *body)
{
    return CALL(.method = "POST", .path = "/api/stores", .admin_key = ADMIN_KEY,
                .type = "application/json", .body = body);
}

/* The names in GET /api/stores with a blank between. */
static const char *
names(void)
{
    struct answer answer = CALL(.path = "/api/stores");
    json_t *stores = json_object_get(answer.json, "stores");
    const char *out = "";

    cr_assert(answer.status == 200 && json_is_array(stores), "%s", answer.body);
    for (size_t i = 0; i < json_array_size(stores); i++)
        out = text("%s%s%s", out, i == 0 ? "" : " ", json_string_value(json_array_get(stores, i)));
    return out;
}

Test(general, T001_health_needs_no_key)
{
    struct answer answer = CALL(.path = "/health");

    cr_expect_eq(answer.status, 200);
    cr_expect_str_eq(json_string_value(json_object_get(answer.json, "status")), "ok");
    cr_expect(matches(json_string_value(json_object_get(answer.json, "time")),
                      "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
              "%s", answer.body);
    cr_expect_str_eq(answer_header(&answer, "Content-Type"), "application/json; charset=utf-8");
}

Test(general, T002_an_empty_catalogue_is_an_empty_array)
{
    struct answer answer = CALL(.path = "/api/stores");

    cr_expect_eq(answer.status, 200);
    cr_expect(json_is_array(json_object_get(answer.json, "stores")), "%s", answer.body);
    cr_expect_str_eq(names(), "");
}

Test(general, T003_stores_are_listed_sorted)
{
    store_create("{\"name\":\"b\"}");
    store_create("{\"name\":\"a\"}");
    cr_expect_str_eq(names(), "a b");
}

Test(general, T004_an_unknown_path_is_plain_text_404)
{
    static const char *const paths[] = {"/nowhere", "/api", "/api/storesx", "/"};

    for (size_t i = 0; i < COUNTOF(paths); i++) {
        struct answer answer = CALL(.path = paths[i]);

        cr_expect_eq(answer.status, 404, "%s", paths[i]);
        cr_expect_str_eq(answer.body, "404 page not found", "%s", paths[i]);
        cr_expect_eq(strncmp(answer_header(&answer, "Content-Type"), "text/plain", 10), 0);
    }
}

Test(general, T004_an_unknown_method_is_no_route_either)
{
    static const char *const methods[] = {"PUT", "PATCH", "DELETE", "POST"};

    for (size_t i = 0; i < COUNTOF(methods); i++) {
        struct answer answer = CALL(.method = methods[i], .path = "/health");

        cr_expect_eq(answer.status, 404, "%s", methods[i]);
        cr_expect_str_eq(answer.body, "404 page not found", "%s", methods[i]);
    }
}

Test(general, T005_options_answers_204_for_any_path)
{
    static const char *const paths[] = {"/api/stores/x/data", "/not/even/known"};

    for (size_t i = 0; i < COUNTOF(paths); i++) {
        struct answer answer =
            CALL(.method = "OPTIONS", .path = paths[i], .header = {"Origin: http://o.example"});

        cr_expect_eq(answer.status, 204);
        cr_expect_eq(answer.bytes, 0);
        cr_expect_str_eq(answer_header(&answer, "Access-Control-Allow-Origin"), "http://o.example");
        cr_expect_str_eq(answer_header(&answer, "Access-Control-Max-Age"), "86400");
        cr_expect_str_eq(answer_header(&answer, "Access-Control-Allow-Credentials"), "true");
        cr_expect_str_eq(answer_header(&answer, "Access-Control-Allow-Methods"),
                         "GET, POST, PUT, DELETE, OPTIONS");
        cr_expect_not_null(
            strstr(answer_header(&answer, "Access-Control-Allow-Headers"), "X-API-Key"));
        cr_expect_not_null(
            strstr(answer_header(&answer, "Access-Control-Allow-Headers"), "X-Admin-Key"));
    }
}

Test(general, T006_answers_allow_any_origin)
{
    static const char *const paths[] = {"/health", "/api/stores", "/nowhere",
                                        "/api/stores/x/stats"};

    for (size_t i = 0; i < COUNTOF(paths); i++) {
        struct answer answer = CALL(.path = paths[i]);
        const char *origin = answer_header(&answer, "Access-Control-Allow-Origin");

        cr_expect(origin != NULL && strcmp(origin, "*") == 0, "%s", paths[i]);
    }
}

Test(general, T007_a_trailing_slash_is_redirected)
{
    struct answer got = CALL(.path = "/api/stores/");
    struct answer posted =
        CALL(.method = "POST", .path = "/api/stores/", .body = "{}", .type = "application/json");

    cr_expect_eq(got.status, 301);
    cr_expect_str_eq(answer_header(&got, "Location"), "/api/stores");
    cr_expect_eq(posted.status, 307);
    cr_expect_str_eq(answer_header(&posted, "Location"), "/api/stores");
}

Test(general, T008_head_is_get_without_body)
{
    struct answer answer = CALL(.method = "HEAD", .path = "/health");
    const char *raw =
        tcp_exchange(site.queryd[0].port,
                     "HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", PATIENCE_MS);

    cr_expect_eq(answer.status, 200);
    cr_expect_eq(answer.bytes, 0);
    cr_assert_not_null(strstr(raw, "\r\n\r\n"), "%s", raw);
    cr_expect_str_eq(strstr(raw, "\r\n\r\n"), "\r\n\r\n");
}

Test(general, T008_head_is_there_where_get_is)
{
    struct store store = store_fixture();
    static const char *const tails[] = {"stats", "data/oldest", "data/newest", "data/range?after=0",
                                        "data/time/1"};

    put_ok(&store, 1, "1");
    for (size_t i = 0; i < COUNTOF(tails); i++) {
        const char *path = text("/api/stores/%s/%s", store.name, tails[i]);
        struct answer got = CALL(.path = path, .key = store.key);
        struct answer head = CALL(.method = "HEAD", .path = path, .key = store.key);

        cr_expect_eq(head.status, 200, "%s", tails[i]);
        cr_expect_eq(head.bytes, 0, "%s", tails[i]);
        cr_expect_str_eq(answer_header(&head, "Content-Length"),
                         answer_header(&got, "Content-Length"), "%s", tails[i]);
        cr_expect_eq(CALL(.method = "HEAD", .path = path).status, 401, "%s", tails[i]);
    }
}

Test(general, T009_T010_creating_takes_the_admin_key)
{
    struct answer answer = CALL(.method = "POST", .path = "/api/stores", .body = "{\"name\":\"n\"}",
                                .type = "application/json");

    expect_answer(answer, 401, "admin key required");
    answer = CALL(.method = "POST", .path = "/api/stores", .body = "{\"name\":\"n\"}",
                  .type = "application/json", .admin_key = "another-key-of-good-length");
    expect_answer(answer, 401, "invalid admin key");
    /* The header is looked at first, and the query only if it is empty. */
    answer = CALL(.method = "POST", .path = "/api/stores?admin_key=" ADMIN_KEY,
                  .body = "{\"name\":\"n\"}", .type = "application/json",
                  .admin_key = "another-key-of-good-length");
    expect_answer(answer, 401, "invalid admin key");
    cr_expect_str_eq(names(), "");
    answer =
        CALL(.method = "POST", .path = "/api/stores?admin_key=" ADMIN_KEY,
             .body = "{\"name\":\"n\"}", .type = "application/json", .header = {"X-Admin-Key;"});
    expect_answer(answer, 201, NULL);
}

Test(general, T011_a_new_store_shows_its_key_once)
{
    struct answer answer = CALL(.method = "POST", .path = "/api/stores?admin_key=" ADMIN_KEY,
                                .body = "{\"name\":\"q1\"}", .type = "application/json");
    const char *key = json_string_value(json_object_get(answer.json, "api_key"));
    const char *id = json_string_value(json_object_get(answer.json, "key_id"));

    cr_assert_eq(answer.status, 201, "%s", answer.body);
    cr_expect_str_eq(json_string_value(json_object_get(answer.json, "name")), "q1");
    cr_assert(matches(key, "^tsstore_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                           "[0-9a-f]{12}$"),
              "%s", answer.body);
    cr_expect_str_eq(id, text("%.8s", key + 8));
}

Test(general, T012_a_name_is_taken_once)
{
    cr_expect_eq(create("{\"name\":\"q1\"}").status, 201);
    expect_answer(create("{\"name\":\"q1\"}"), 409, "store already exists");
}

Test(general, T013_a_missing_name_is_named)
{
    static const char *const bodies[] = {"{}", "{\"name\":\"\"}", "{\"num_blocks\":5}"};

    for (size_t i = 0; i < COUNTOF(bodies); i++) {
        struct answer answer = create(bodies[i]);

        expect_answer(answer, 400, NULL);
        cr_expect_not_null(strcasestr(answer_error(&answer), "name"), "%s", answer.body);
    }
}

Test(general, T014_T015_T016_bad_settings_create_nothing)
{
    static const char size_text[] =
        "invalid config: block size must be a power of 2 and at least 64 bytes";
    static const struct {
        const char *body, *error;
    } rows[] = {
        {"{\"name\":\"n\",\"data_block_size\":1000}", size_text},
        {"{\"name\":\"n\",\"data_block_size\":32}", size_text},
        {"{\"name\":\"n\",\"index_block_size\":65}", size_text},
        {"{\"name\":\"n\",\"data_type\":\"xml\"}",
         "invalid data type: must be binary, text, json, or schema"},
        {"{\"name\":\"n\",\"num_blocks\":-1}", NULL},
        {"{\"name\":\"n\",\"num_blocks\":1.5}", NULL},
        {"{\"name\":\"n\",\"num_blocks\":\"5\"}", NULL},
        {"{\"name\":\"n\",\"num_blocks\":4294967296}", NULL},
        {"{\"name\":7}", NULL},
        {"[]", NULL},
        {"zz", NULL},
        {"", "EOF"},
        {"{\"name\":\"n\"", NULL},
    };

    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect_answer(create(rows[i].body), 400, rows[i].error);
    cr_expect_str_eq(names(), "");
}

Test(general, T017_a_hostile_name_stays_inside)
{
    const char *const hostile[] = {"../esc", "a/b", "..",     ".",       ".hidden",
                                   "-x",     "a b", "a\\\\b", "\\u00e4", repeat('a', 129)};

    for (size_t i = 0; i < COUNTOF(hostile); i++)
        expect_answer(create(text("{\"name\":\"%s\"}", hostile[i])), 400, "invalid store name*");
    expect_answer(create("{\"name\":\"a\\u0000b\"}"), 400, NULL);
    cr_expect_str_eq(names(), "");
    cr_expect_neq(access(text("%s/esc", site.root), F_OK), 0);
    cr_expect_eq(create(text("{\"name\":\"%s\"}", repeat('a', 128))).status, 201);
}

Test(general, T018_a_store_has_defaults_and_says_them)
{
    struct store store = store_create("{\"name\":\"d0\"}");
    struct answer answer = store_get(&store, "/stats");

    cr_assert_eq(answer.status, 200, "%s", answer.body);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "num_blocks")), 1024);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "data_block_size")), 4096);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "index_block_size")), 4096);
    cr_expect_str_eq(json_string_value(json_object_get(answer.json, "data_type")), "json");
    cr_expect_null(json_object_get(answer.json, "oldest_timestamp"));
    cr_expect_null(json_object_get(answer.json, "newest_time"));
}

Test(general, stats_tell_the_true_oldest_and_newest)
{
    struct store store = store_fixture();
    struct answer answer;

    put_ok(&store, 1767225600000000000, "1");
    put_ok(&store, 1767229200000000000, "2");
    answer = store_get(&store, "/stats");
    cr_assert_eq(answer.status, 200, "%s", answer.body);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "oldest_timestamp")),
                 1767225600000000000);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "newest_timestamp")),
                 1767229200000000000);
    cr_expect_str_eq(json_string_value(json_object_get(answer.json, "oldest_time")),
                     "2026-01-01T00:00:00Z");
    cr_expect_str_eq(json_string_value(json_object_get(answer.json, "newest_time")),
                     "2026-01-01T01:00:00Z");
    cr_expect(json_is_integer(json_object_get(answer.json, "head_block")));
    cr_expect(json_is_integer(json_object_get(answer.json, "tail_block")));
    cr_expect(json_is_integer(json_object_get(answer.json, "write_offset")));
    cr_expect(json_is_integer(json_object_get(answer.json, "active_blocks")));
}

Test(general, T019_T020_T021_T022_keys_are_checked_in_order)
{
    static const struct {
        const char *store, *key, *error;
    } rows[] = {
        {"S", NULL, "API key required"},
        {"S", "", "API key required"},
        {"S", "x", "invalid API key format"},
        {"S", "tsstore_0000", "invalid API key format"},
        {"S", "xxstore_00000000-0000-0000-0000-000000000000", "invalid API key format"},
        {"S", "tsstore_00000000-0000-0000-0000-000000000000", "invalid API key"},
        {"S", "tsstore_00000000-0000-0000-0000-0000000000000000", "invalid API key"},
        {"none", NULL, "API key required"},
        {"none", "x", "invalid API key format"},
        {"none", "tsstore_00000000-0000-0000-0000-000000000000", "authentication failed"},
        {"%2e%2e", "tsstore_00000000-0000-0000-0000-000000000000", "authentication failed"},
        {"..%2fdata%2fS", "tsstore_00000000-0000-0000-0000-000000000000", "authentication failed"},
    };
    static const char *const tails[] = {"stats", "data/oldest", "data/range", "data/time/5"};

    struct store store = store_fixture();

    for (size_t i = 0; i < COUNTOF(rows); i++)
        for (size_t k = 0; k < COUNTOF(tails); k++) {
            struct answer answer = CALL(.path = text("/api/stores/%s/%s", rows[i].store, tails[k]),
                                        .key = rows[i].key);

            expect_answer(answer, 401, rows[i].error);
        }
    /* Even one that opens another store. */
    for (size_t k = 0; k < COUNTOF(tails); k++)
        expect_answer(CALL(.path = text("/api/stores/none/%s", tails[k]), .key = store.key), 401,
                      "authentication failed");
}

Test(general, T023_T024_T025_a_key_has_three_places)
{
    struct store store = store_fixture();
    const char *path = text("/api/stores/%s/stats", store.name);
    const char *wrong = "tsstore_00000000-0000-0000-0000-000000000000";
    const char *bearer = text("Authorization: Bearer %s", store.key);
    struct answer answer;

    cr_expect_eq(CALL(.path = path, .header = {bearer}).status, 200);
    cr_expect_eq(CALL(.path = text("%s?api_key=%s", path, store.key)).status, 200);
    /* The first that is not empty counts. */
    cr_expect_eq(CALL(.path = path, .header = {"X-API-Key;", bearer}).status, 200);
    cr_expect_eq(CALL(.path = text("%s?api_key=%s", path, store.key),
                      .header = {"X-API-Key;", "Authorization: Bearer "})
                     .status,
                 200);
    answer = CALL(.path = path, .key = wrong, .header = {bearer});
    expect_answer(answer, 401, "invalid API key");
    answer = CALL(.path = text("%s?api_key=%s", path, store.key),
                  .header = {text("Authorization: Bearer %s", wrong)});
    expect_answer(answer, 401, "invalid API key");
    /* The word is case-sensitive. */
    answer = CALL(.path = path, .header = {text("Authorization: bearer %s", store.key)});
    expect_answer(answer, 401, "API key required");
}

Test(general, T026_a_key_opens_its_own_store_only)
{
    struct store a = store_create("{\"name\":\"A\"}");
    struct store b = store_create("{\"name\":\"B\"}");

    expect_answer(CALL(.path = "/api/stores/B/stats", .key = a.key), 401, "invalid API key");
    cr_expect_eq(CALL(.path = "/api/stores/B/stats", .key = b.key).status, 200);
    expect_answer(CALL(.method = "POST", .path = "/api/stores/B/data", .key = a.key,
                       .type = "application/json", .body = "{\"data\":1}"),
                  401, "invalid API key");
}

Test(general, errors_carry_a_stable_code)
{
    struct answer answer = CALL(.path = "/api/stores/S/stats");

    cr_expect_str_eq(json_string_value(json_object_get(answer.json, "code")), "key_required");
    cr_expect_str_eq(answer_header(&answer, "Content-Type"), "application/json; charset=utf-8");
}
