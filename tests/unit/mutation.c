/* mutation.c - what changes a store: who may, what is taken, what is answered. */
#include "ingestd/mutation.h"

#include "common/log.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define ADMIN_KEY "an-admin-key-of-the-test"

static char dir[64];
static struct settings settings;
static struct mutation mutation;
static struct ts_text body;

static void
set_up(void)
{
    struct ts_config config;

    strcpy(dir, "/tmp/tsstore-mutation-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_geq(sodium_init(), 0);
    ts_log_set_level(TS_LOG_ERROR);
    ts_config_init(&config);
    config.num_blocks = 16;
    config.data_block_bytes = 1024;
    strcpy(config.admin_key, ADMIN_KEY);
    settings_init(&settings, &config);
    mutation.settings = &settings;
    cr_assert_eq(catalog_open(dir, NULL, -1, &mutation.catalog), TS_OK, "%s", ts_error_text());
    ts_text_init(&body);
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static void
tear_down(void)
{
    ts_text_done(&body);
    catalog_close(mutation.catalog);
    settings_done(&settings);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(mutation, .init = set_up, .fini = tear_down);

static struct ts_span
span(const char *text)
{
    return (struct ts_span){.at = text, .bytes = strlen(text)};
}

/* The answer's body as a string. */
static const char *
answer(void)
{
    ts_text_add(&body, "", 1);
    body.bytes--;
    return body.at;
}

static uint16_t
execute(uint16_t op, const char *store, const char *credential, const char *type, const char *text)
{
    const struct control_request request = {.op = op,
                                            .store = span(store),
                                            .credential = span(credential),
                                            .content_type = span(type),
                                            .body = span(text)};

    ts_text_clear(&body);
    return mutation_execute(&mutation, &request, &body);
}

/* Creates a store and gives its key. */
static void
create(const char *request, char out_key[TS_KEY_TEXT_BYTES])
{
    const char *key;

    cr_assert_eq(execute(CONTROL_CREATE_STORE, "", ADMIN_KEY, "", request), 201, "%s", answer());
    key = strstr(answer(), "\"api_key\":\"");
    cr_assert_not_null(key);
    memcpy(out_key, key + 11, TS_KEY_TEXT_BYTES - 1);
    out_key[TS_KEY_TEXT_BYTES - 1] = '\0';
}

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
