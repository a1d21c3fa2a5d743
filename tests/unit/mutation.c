/* mutation.c - what changes a store: who may, what is taken, what is answered. */
#include "tests/unit/mutation_scratch.h"

#include <pthread.h>

TestSuite(mutation, .init = set_up, .fini = tear_down);

static const struct {
    const char *key;
    const char *body;
    uint16_t status;
    const char *text;
} creations[] = {
    {"", "{\"name\":\"a\"}", 401, "admin key required"},
    {"wrong", "{\"name\":\"a\"}", 401, "invalid admin key"},
    {ADMIN_KEY, "", 400, "EOF"},
    {ADMIN_KEY, " \r\n", 400, "EOF"},
    {ADMIN_KEY, "z", 400, "invalid character 'z' looking for beginning of value"},
    {ADMIN_KEY, "[]", 400, "CreateStoreRequest"},
    {ADMIN_KEY, "null", 400, "CreateStoreRequest"},
    {ADMIN_KEY, "{}", 400, "Name"},
    {ADMIN_KEY, "{\"name\":\"\"}", 400, "Name"},
    {ADMIN_KEY, "{\"name\":null}", 400, "Name"},
    {ADMIN_KEY, "{\"name\":5}", 400, "CreateStoreRequest.name"},
    {ADMIN_KEY, "{\"name\":\"a\",\"num_blocks\":-1}", 400, "num_blocks"},
    {ADMIN_KEY, "{\"name\":\"a\",\"num_blocks\":1.5}", 400, "num_blocks"},
    {ADMIN_KEY, "{\"name\":\"a\",\"num_blocks\":\"5\"}", 400, "num_blocks"},
    {ADMIN_KEY, "{\"name\":\"a\",\"num_blocks\":4294967296}", 400, "num_blocks"},
    {ADMIN_KEY, "{\"name\":\"a\",\"data_block_size\":1000}", 400,
     "invalid config: block size must be a power of 2 and at least 64 bytes"},
    {ADMIN_KEY, "{\"name\":\"a\",\"data_block_size\":32}", 400, "invalid config: block size"},
    {ADMIN_KEY, "{\"name\":\"a\",\"data_type\":\"xml\"}", 400,
     "invalid data type: must be binary, text, json, or schema"},
    {ADMIN_KEY, "{\"name\":\"a\",\"sync\":\"never\"}", 400, "sync"},
    {ADMIN_KEY, "{\"name\":\"a\",\"codec\":\"rar\"}", 400, "codec"},
    {ADMIN_KEY, "{\"name\":\"a\",\"order\":\"any\"}", 400, "order"},
    {ADMIN_KEY, "{\"name\":\"../esc\"}", 400, "invalid store name"},
    {ADMIN_KEY, "{\"name\":\"a\\u0000b\"}", 400, ""},
    {ADMIN_KEY, "{\"name\":\"a b\"}", 400, "invalid store name"},
    {ADMIN_KEY,
     "{\"name\":"
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
     400, "invalid store name"},
};

Test(mutation, a_creation_is_refused_for_a_reason)
{
    size_t n_known, n_open;

    for (size_t i = 0; i < COUNTOF(creations); i++) {
        const uint16_t status =
            execute(CONTROL_CREATE_STORE, "", creations[i].key, "", creations[i].body);

        cr_expect_eq(status, creations[i].status, "%s: %u", creations[i].body, status);
        cr_expect_not_null(strstr(answer(), creations[i].text), "%s: %s", creations[i].body,
                           answer());
    }
    catalog_count(mutation.catalog, &n_known, &n_open);
    cr_expect_eq(n_known, 0);
}

Test(mutation, a_creation_takes_fields_in_any_case_and_zero_as_the_default)
{
    char key[TS_KEY_TEXT_BYTES];
    struct catalog_store *entry;
    const struct ts_options *options;

    create("{\"NAME\":\"a\",\"Num_Blocks\":0,\"data_block_size\":2048,\"Data_Type\":\"text\","
           "\"unknown\":[1],\"sync\":\"none\",\"codec\":\"none\"} behind",
           key);
    cr_assert_eq(catalog_find(mutation.catalog, span("a"), &entry), TS_OK);
    options = ts_view_options(ts_store_view(entry->store));
    cr_expect_eq(options->num_blocks, 16);
    cr_expect_eq(options->data_block_bytes, 2048);
    cr_expect_eq(options->type, TS_TYPE_TEXT);
    cr_expect_eq(options->codec, TS_CODEC_NONE);
    cr_expect_eq(options->sync_ms, TS_SYNC_NONE);
    catalog_release(entry);
    cr_expect_eq(execute(CONTROL_CREATE_STORE, "", ADMIN_KEY, "", "{\"name\":\"a\"}"), 409);
    cr_expect_not_null(strstr(answer(), "store already exists"));
}

Test(mutation, a_changed_admin_key_holds_at_once)
{
    struct ts_config config;

    settings_get(&settings, &config);
    strcpy(config.admin_key, "another-key-of-the-test");
    settings_replace(&settings, &config);
    cr_expect_eq(execute(CONTROL_CREATE_STORE, "", ADMIN_KEY, "", "{\"name\":\"a\"}"), 401);
    cr_expect_eq(
        execute(CONTROL_CREATE_STORE, "", "another-key-of-the-test", "", "{\"name\":\"a\"}"), 201);
}

static const struct {
    const char *type, *body;
    uint16_t status;
    const char *text;
} insertions[] = {
    {"application/json", "{\"timestamp\":1000,\"data\":{\"a\":1}}", 201,
     "{\"timestamp\":1000,\"block_num\":"},
    {"application/json; charset=utf-8", "{\"data\":null}", 201, "\"size\":4}"},
    {"APPLICATION/JSON", "{\"timestamp\":0,\"data\":1}", 201, "\"size\":1}"},
    {" application/json ;x", "{\"timestamp\":null,\"data\":[ 1 ]} x", 201, "\"size\":5}"},
    {"", "{\"data\":1}", 400, "data does not match store's data type"},
    {"text/plain", "{\"data\":1}", 400, "data does not match store's data type"},
    {"application/jsonx", "{\"data\":1}", 400, "data does not match store's data type"},
    {"application/json", "", 400, "\"EOF\""},
    {"application/json", "{\"data\":1", 400, "unexpected EOF"},
    {"application/json", "{}", 400, "data is required"},
    {"application/json", "{\"timestamp\":5}", 400, "data is required"},
    {"application/json", "{\"timestamp\":\"5\",\"data\":1}", 400, "int64"},
    {"application/json", "{\"timestamp\":1e3,\"data\":1}", 400, "int64"},
    {"application/json", "{\"timestamp\":9223372036854775808,\"data\":1}", 400, "int64"},
    {"application/json", "{\"timestamp\":-5,\"data\":1}", 400, "invalid timestamp"},
    {"application/json", "{\"timestamp\":1000,\"data\":1}", 409,
     "timestamp must be greater than newest entry"},
};

Test(mutation, an_insertion_is_answered_as_the_contract_has_it)
{
    char key[TS_KEY_TEXT_BYTES];

    create("{\"name\":\"a\"}", key);
    for (size_t i = 0; i < COUNTOF(insertions); i++) {
        const uint16_t status =
            execute(CONTROL_INSERT, "a", key, insertions[i].type, insertions[i].body);

        cr_expect_eq(status, insertions[i].status, "%s: %u", insertions[i].body, status);
        cr_expect_not_null(strstr(answer(), insertions[i].text), "%s: %s", insertions[i].body,
                           answer());
    }
}

Test(mutation, the_key_comes_before_all_else)
{
    static const char unknown[] = "tsstore_00000000-0000-4000-8000-000000000000";
    char key[TS_KEY_TEXT_BYTES];

    create("{\"name\":\"a\"}", key);
    cr_expect_eq(execute(CONTROL_INSERT, "a", "", "", ""), 401);
    cr_expect_not_null(strstr(answer(), "API key required"));
    cr_expect_eq(execute(CONTROL_INSERT, "nope", "short", "", ""), 401);
    cr_expect_not_null(strstr(answer(), "invalid API key format"));
    cr_expect_eq(execute(CONTROL_INSERT, "nope", key, "", ""), 401);
    cr_expect_not_null(strstr(answer(), "authentication failed"));
    cr_expect_eq(execute(CONTROL_INSERT, "../a", key, "", ""), 401);
    cr_expect_not_null(strstr(answer(), "authentication failed"));
    cr_expect_eq(execute(CONTROL_INSERT, "a", unknown, "", ""), 401);
    cr_expect_not_null(strstr(answer(), "invalid API key\""));
}

Test(mutation, a_key_without_the_right_to_write_does_not_write)
{
    char key[TS_KEY_TEXT_BYTES], reader[TS_KEY_TEXT_BYTES];
    char path[128];

    create("{\"name\":\"a\"}", key);
    snprintf(path, sizeof path, "%s/a", dir);
    cr_assert_eq(ts_keys_create_scoped(path, "a", "reader", TS_SCOPE_READ, reader), TS_OK);
    cr_expect_eq(execute(CONTROL_INSERT, "a", reader, "application/json", "{\"data\":1}"), 403);
    cr_expect_eq(execute(CONTROL_INSERT, "a", key, "application/json", "{\"data\":1}"), 201);
}

Test(mutation, text_and_binary_are_stored_as_they_come)
{
    char text_key[TS_KEY_TEXT_BYTES], binary_key[TS_KEY_TEXT_BYTES];

    create("{\"name\":\"t\",\"data_type\":\"text\"}", text_key);
    create("{\"name\":\"b\",\"data_type\":\"binary\"}", binary_key);
    cr_expect_eq(execute(CONTROL_INSERT, "t", text_key, "text/plain", "he\xffy"), 201);
    cr_expect_not_null(strstr(answer(), "\"size\":4}"));
    cr_expect_eq(execute(CONTROL_INSERT, "b", binary_key, "application/octet-stream", ""), 201);
    cr_expect_not_null(strstr(answer(), "\"size\":0}"));
    cr_expect_eq(execute(CONTROL_INSERT, "b", binary_key, "application/json", "{\"data\":1}"), 400);
}

Test(mutation, a_record_larger_than_the_ring_is_413)
{
    char key[TS_KEY_TEXT_BYTES];
    char *large = malloc(40000);

    create("{\"name\":\"t\",\"data_type\":\"text\"}", key);
    memset(large, 'x', 39999);
    large[39999] = '\0';
    cr_expect_eq(execute(CONTROL_INSERT, "t", key, "text/plain", large), 413);
    cr_expect_not_null(strstr(answer(), "object exceeds maximum block size"));
    free(large);
}

Test(mutation, a_schema_store_without_a_schema_says_so)
{
    char key[TS_KEY_TEXT_BYTES];

    create("{\"name\":\"s\",\"data_type\":\"schema\"}", key);
    cr_expect_eq(execute(CONTROL_INSERT, "s", key, "application/json", "{\"data\":{}}"), 400);
    cr_expect_not_null(
        strstr(answer(), "schema validation failed: schema is required for schema data type"));
}

Test(mutation, an_operation_of_a_newer_queryd_is_501)
{
    cr_expect_eq(execute(999, "a", ADMIN_KEY, "", ""), 501);
}

/* ---- delete, reset, drop ---- */

#define ASK(...) ask(&(struct control_request){__VA_ARGS__})

static void
put(const char *key, int64_t from, int64_t to)
{
    for (int64_t i = from; i <= to; i++) {
        char text[64];

        snprintf(text, sizeof text, "{\"timestamp\":%jd,\"data\":%jd}", (intmax_t)i, (intmax_t)i);
        cr_assert_eq(execute(CONTROL_INSERT, "a", key, "application/json", text), 201, "%s",
                     answer());
    }
}

static uint16_t
delete_at(const char *key, const char *time)
{
    return ASK(.op = CONTROL_DELETE_TIME, .store = span("a"), .credential = span(key),
               .argument = span(time));
}

Test(mutation, a_deleted_record_is_gone_and_its_neighbours_stay)
{
    char key[TS_KEY_TEXT_BYTES];

    create("{\"name\":\"a\"}", key);
    cr_expect_eq(delete_at(key, "2"), 404);
    cr_expect_not_null(strstr(answer(), "store is empty"));
    put(key, 1, 3);
    cr_expect_eq(delete_at(key, "2"), 200);
    cr_expect_str_eq(answer(), "{\"message\":\"object deleted\"}");
    cr_expect_str_eq(times_of("a"), "1 3");
    cr_expect_eq(delete_at(key, "2"), 404);
    cr_expect_not_null(strstr(answer(), "timestamp not found"));
    put(key, 4, 4);
    cr_expect_str_eq(times_of("a"), "1 3 4");
}

Test(mutation, a_time_to_delete_is_a_decimal_of_64_bits)
{
    static const char *const texts[] = {"",
                                        "x",
                                        "+",
                                        "-",
                                        "1.5",
                                        "1e3",
                                        " 1",
                                        "1 ",
                                        "0x1",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "99999999999999999999"};
    static const char *const legal[] = {"0", "-1", "+7", "9223372036854775807",
                                        "-9223372036854775808"};
    char key[TS_KEY_TEXT_BYTES];

    create("{\"name\":\"a\"}", key);
    put(key, 1, 1);
    for (size_t i = 0; i < COUNTOF(texts); i++) {
        cr_expect_eq(delete_at(key, texts[i]), 400, "'%s'", texts[i]);
        cr_expect_not_null(strstr(answer(), "invalid timestamp"));
    }
    for (size_t i = 0; i < COUNTOF(legal); i++)
        cr_expect_eq(delete_at(key, legal[i]), 404, "'%s'", legal[i]);
    cr_expect_str_eq(times_of("a"), "1");
}

Test(mutation, a_reset_store_is_empty_and_takes_any_time)
{
    char key[TS_KEY_TEXT_BYTES];

    create("{\"name\":\"a\"}", key);
    put(key, 1, 30);
    cr_expect_eq(ASK(.op = CONTROL_RESET_STORE, .store = span("a"), .credential = span(key)), 200);
    cr_expect_str_eq(answer(), "{\"message\":\"store reset\"}");
    cr_expect_str_eq(times_of("a"), "");
    put(key, 7, 7);
    cr_expect_str_eq(times_of("a"), "7");
}

Test(mutation, a_dropped_store_is_gone_with_its_key)
{
    char key[TS_KEY_TEXT_BYTES], again[TS_KEY_TEXT_BYTES], path[128];

    create("{\"name\":\"a\"}", key);
    put(key, 1, 3);
    cr_expect_eq(ASK(.op = CONTROL_DROP_STORE, .store = span("a"), .credential = span(key)), 200);
    cr_expect_str_eq(answer(), "{\"message\":\"store deleted\"}");
    snprintf(path, sizeof path, "%s/a", dir);
    cr_expect_neq(access(path, F_OK), 0);
    cr_expect_eq(execute(CONTROL_INSERT, "a", key, "application/json", "{\"data\":1}"), 401);
    cr_expect_not_null(strstr(answer(), "authentication failed"));
    cr_expect_eq(ASK(.op = CONTROL_DROP_STORE, .store = span("a"), .credential = span(key)), 401);
    create("{\"name\":\"a\"}", again);
    cr_expect_eq(execute(CONTROL_INSERT, "a", key, "application/json", "{\"data\":1}"), 401);
    cr_expect_not_null(strstr(answer(), "invalid API key\""));
    put(again, 1, 1);
    cr_expect_str_eq(times_of("a"), "1");
}

Test(mutation, each_operation_wants_its_scope)
{
    static const struct {
        uint16_t op;
        unsigned scope;
    } operations[] = {
        {CONTROL_INSERT, TS_SCOPE_WRITE},          {CONTROL_INSERT_BATCH, TS_SCOPE_WRITE},
        {CONTROL_INSERT_MESSAGES, TS_SCOPE_WRITE}, {CONTROL_PUT_SCHEMA, TS_SCOPE_WRITE},
        {CONTROL_DELETE_TIME, TS_SCOPE_DELETE},    {CONTROL_RESET_STORE, TS_SCOPE_DELETE},
        {CONTROL_DROP_STORE, TS_SCOPE_DELETE},
    };
    char key[TS_KEY_TEXT_BYTES], path[128];

    create("{\"name\":\"a\"}", key);
    snprintf(path, sizeof path, "%s/a", dir);
    for (size_t i = 0; i < COUNTOF(operations); i++) {
        char weak[TS_KEY_TEXT_BYTES], right[TS_KEY_TEXT_BYTES];

        cr_assert_eq(
            ts_keys_create_scoped(path, "a", "weak", TS_SCOPE_ALL & ~operations[i].scope, weak),
            TS_OK);
        cr_assert_eq(ts_keys_create_scoped(path, "a", "right", operations[i].scope, right), TS_OK);
        cr_expect_eq(ASK(.op = operations[i].op, .store = span("a"), .credential = span(weak)), 403,
                     "operation %u", operations[i].op);
        cr_expect_neq(ASK(.op = operations[i].op, .store = span("a"), .credential = span(right)),
                      403, "operation %u", operations[i].op);
    }
}

static void *
insert_all_the_time(void *arg)
{
    const struct control_request request = {.op = CONTROL_INSERT,
                                            .store = span("a"),
                                            .credential = span(arg),
                                            .content_type = span("application/json"),
                                            .body = span("{\"data\":1}")};
    struct ts_text out;
    uint16_t status;

    ts_text_init(&out);
    do {
        ts_text_clear(&out);
        status = mutation_execute(&mutation, &request, &out);
    } while (status == 201);
    ts_text_done(&out);
    return (void *)(uintptr_t)status;
}

Test(mutation, a_store_can_be_dropped_while_others_write, .timeout = 60)
{
    char key[TS_KEY_TEXT_BYTES];
    pthread_t threads[4];
    void *status;

    create("{\"name\":\"a\"}", key);
    for (size_t i = 0; i < COUNTOF(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, insert_all_the_time, key), 0);
    usleep(20000);
    cr_expect_eq(ASK(.op = CONTROL_DROP_STORE, .store = span("a"), .credential = span(key)), 200);
    for (size_t i = 0; i < COUNTOF(threads); i++) {
        pthread_join(threads[i], &status);
        cr_expect((uintptr_t)status == 401 || (uintptr_t)status == 500, "%ju", (uintmax_t)status);
    }
}

/* ---- resends ---- */

static uint16_t
insert_once(const char *store, const char *key, const char *resend_key, const char *text)
{
    return ASK(.op = CONTROL_INSERT, .store = span(store), .credential = span(key),
               .content_type = span("application/json"), .argument = span(resend_key),
               .body = span(text));
}

Test(mutation, a_resend_under_the_same_key_gets_the_first_answer)
{
    char key[TS_KEY_TEXT_BYTES], other[TS_KEY_TEXT_BYTES];

    create("{\"name\":\"a\"}", key);
    create("{\"name\":\"b\"}", other);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(insert_once("a", key, "k 1", "{\"timestamp\":5,\"data\":1}"), 201);
        cr_expect_not_null(strstr(answer(), "\"timestamp\":5,"));
    }
    cr_expect_eq(insert_once("a", key, "k 2", "{\"timestamp\":5,\"data\":1}"), 409);
    cr_expect_not_null(strstr(answer(), "timestamp must be greater"));
    cr_expect_eq(insert_once("a", key, "k 1", "{\"timestamp\":6,\"data\":1}"), 409);
    cr_expect_not_null(strstr(answer(), "\"idempotency_key\""));
    cr_expect_eq(insert_once("b", other, "k 1", "{\"timestamp\":6,\"data\":1}"), 201);
    cr_expect_str_eq(times_of("a"), "5");
    cr_expect_eq(ASK(.op = CONTROL_RESET_STORE, .store = span("a"), .credential = span(key)), 200);
    cr_expect_eq(insert_once("a", key, "k 1", "{\"timestamp\":3,\"data\":1}"), 201);
}

Test(mutation, a_resend_key_is_short_and_printable)
{
    char key[TS_KEY_TEXT_BYTES], text[MUTATION_RESENDS] = "";

    create("{\"name\":\"a\"}", key);
    memset(text, 'k', 128);
    cr_expect_eq(insert_once("a", key, text, "{\"data\":1}"), 201);
    text[128] = 'k';
    cr_expect_eq(insert_once("a", key, text, "{\"data\":1}"), 400);
    cr_expect_eq(insert_once("a", key, "a\tb", "{\"data\":1}"), 400);
    cr_expect_eq(insert_once("a", key, "caf\xc3\xa9", "{\"data\":1}"), 400);
}
