/* explain.c - each value with its origin, and no secret, in both forms. */
#include "cli/explain.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNTOF(array) (sizeof(array) / sizeof((array)[0]))
#define SECRET "s3cret-s3cret-s3cret-s3cret"

static char dir[] = "/tmp/tsstore-explain-XXXXXX";

static void
start_clean(void)
{
    /* No variable of whoever runs the test. */
    cr_assert_eq(clearenv(), 0);
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
}

static void
clean_up(void)
{
    unlink("config.json");
    unlink("key");
    rmdir(dir);
}

TestSuite(explain, .init = start_clean, .fini = clean_up, .timeout = 30);

static void
put(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

/* The page of what holds now; with the admin key read, as the verb does it. */
static char *
page(void (*show)(const struct ts_config *, struct ts_text *), const char *data_flag)
{
    struct ts_config config;
    struct ts_text text;

    cr_assert_eq(ts_config_load(&config, NULL), TS_OK, "%s", ts_error_text());
    if (data_flag != NULL)
        cr_assert_eq(ts_config_set_flag(&config, "store.base_path", data_flag), TS_OK);
    cr_assert_eq(ts_config_read_admin_key(&config), TS_OK, "%s", ts_error_text());
    ts_text_init(&text);
    show(&config, &text);
    ts_text_add(&text, "", 1);
    cr_assert_not(text.failed);
    return text.at;
}

/* The value with this key in the page for programs. */
static json_t *
value_of(json_t *root, const char *key)
{
    json_t *values = json_object_get(root, "values");

    for (size_t i = 0; i < json_array_size(values); i++) {
        json_t *value = json_array_get(values, i);

        if (strcmp(json_string_value(json_object_get(value, "key")), key) == 0)
            return value;
    }
    cr_assert_fail("no key %s", key);
    return NULL;
}

static const struct {
    const char *key, *value, *source, *origin;
} expected[] = {
    {"server.host", "127.0.0.1", "default", "default"},
    {"server.port", "7", "environment", "environment TSSTORE_PORT"},
    {"server.mode", "debug", "file", "file config.json"},
    {"server.socket_path", "/x/y.sock", "file", "file config.json"},
    {"server.run_dir", "/x", "derived", "from server.socket_path"},
    {"server.ingest_port", "9", "environment", "environment TSSTORE_INGEST_HTTP"},
    {"store.base_path", "/flag", "flag", "command line"},
    {"server.admin_key", "(set)", "file", "file config.json"},
};

Test(explain, each_value_tells_where_it_came_from)
{
    json_error_t fault;
    json_t *root;
    char *text;

    put("config.json", "{\"server\":{\"port\":5,\"mode\":\"debug\",\"socket_path\":\"/x/y.sock\","
                       "\"admin_key\":\"" SECRET "\"},\"store\":{\"base_path\":\"/file\"}}");
    setenv("TSSTORE_PORT", "7", 1);
    setenv("TSSTORE_INGEST_HTTP", "127.0.0.1:9", 1);
    text = page(explain_json, "/flag");
    root = json_loads(text, JSON_REJECT_DUPLICATES, &fault);
    cr_assert_not_null(root, "%s: %s", fault.text, text);
    cr_expect_str_eq(json_string_value(json_object_get(root, "file")), "config.json");
    for (size_t i = 0; i < COUNTOF(expected); i++) {
        json_t *value = value_of(root, expected[i].key);

        cr_expect_str_eq(json_string_value(json_object_get(value, "value")), expected[i].value);
        cr_expect_str_eq(json_string_value(json_object_get(value, "source")), expected[i].source);
        cr_expect_str_eq(json_string_value(json_object_get(value, "origin")), expected[i].origin);
    }
    json_decref(root);
    free(text);

    text = page(explain_text, "/flag");
    cr_expect_eq(strncmp(text, "Config file: config.json\n\n", 26), 0, "%s", text);
    for (size_t i = 0; i < COUNTOF(expected); i++) {
        const char *line = strstr(text, expected[i].key);
        const char *value, *origin;

        cr_assert_not_null(line, "%s", expected[i].key);
        value = strstr(line, expected[i].value);
        cr_assert_not_null(value, "%s", line);
        origin = strstr(value, expected[i].origin);
        cr_assert_not_null(origin, "%s", line);
        cr_expect_null(memchr(line, '\n', (size_t)(origin - line)), "%s", line);
        cr_expect_eq(origin[strlen(expected[i].origin)], '\n', "%s", line);
    }
    free(text);
}

Test(explain, a_secret_is_never_shown_wherever_it_is_from)
{
    void (*const shows[])(const struct ts_config *, struct ts_text *) = {explain_text,
                                                                         explain_json};
    static const char *const origins[] = {"from server.admin_key_file",
                                          "environment TSSTORE_ADMIN_KEY"};

    put("key", SECRET "\n");
    for (size_t from = 0; from < COUNTOF(origins); from++) {
        if (from == 0) {
            setenv("TSSTORE_ADMIN_KEY_FILE", "key", 1);
        } else {
            unsetenv("TSSTORE_ADMIN_KEY_FILE");
            setenv("TSSTORE_ADMIN_KEY", SECRET, 1);
        }
        for (size_t i = 0; i < COUNTOF(shows); i++) {
            char *text = page(shows[i], NULL);

            cr_expect_null(strstr(text, SECRET), "%s", text);
            cr_expect_not_null(strstr(text, "(set)"), "%s", text);
            cr_expect_not_null(strstr(text, origins[from]), "%s", text);
            free(text);
        }
    }
}

Test(explain, odd_bytes_in_a_path_break_neither_form)
{
    char *text;
    json_t *root;

    setenv("TSSTORE_DATA_PATH", "/\xff\xc2\x9b\"\\", 1);
    text = page(explain_json, NULL);
    root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    cr_expect_not_null(root, "%s", text);
    json_decref(root);
    free(text);
    text = page(explain_text, NULL);
    cr_expect_not_null(strstr(text, "/\\xff\\xc2\\x9b\"\\"), "%s", text);
    cr_expect_eq(strncmp(text, "Config file: none\n", 18), 0);
    free(text);
}
