/* schema_file.c - schema.json: what is written, kept, read, and refused. */
#include "common/schema_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))

#define FLOW "{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"}"
#define VALVE "{\"index\":2,\"name\":\"valve.open\",\"type\":\"bool\"}"

static char dir[] = "/tmp/tsstore-schema-XXXXXX";
static char file[64];

static void
make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/schema.json", dir);
}

static void
remove_dir(void)
{
    unlink(file);
    rmdir(dir);
}

TestSuite(schema_file, .init = make_dir, .fini = remove_dir, .timeout = 60);

static void
write_file(const char *text)
{
    FILE *stream = fopen(file, "w");

    cr_assert_not_null(stream);
    fputs(text, stream);
    fclose(stream);
}

static const char *
read_file(void)
{
    static char text[8192];
    FILE *stream = fopen(file, "r");
    size_t n;

    if (stream == NULL)
        return "";
    n = fread(text, 1, sizeof text - 1, stream);
    text[n] = '\0';
    fclose(stream);
    return text;
}

static enum ts_err
put(const char *request, struct ts_schema **out_schema)
{
    return ts_schema_put(dir, request, strlen(request), TS_SCHEMA_AS_IS, out_schema);
}

/* Version of the current schema, 0 for none, -1 if it can't be read. */
static int
loaded_version(void)
{
    struct ts_schema *schema = NULL;
    int version;

    if (ts_schema_load(dir, &schema) != TS_OK)
        return -1;
    version = (int)ts_schema_version(schema);
    ts_schema_release(schema);
    return version;
}

Test(schema_file, holds_every_version_in_the_known_layout)
{
    static const char want[] = "{\n"
                               "  \"current_version\": 2,\n"
                               "  \"schemas\": {\n"
                               "    \"1\": {\n"
                               "      \"version\": 1,\n"
                               "      \"fields\": [\n"
                               "        {\n"
                               "          \"index\": 1,\n"
                               "          \"name\": \"flow\",\n"
                               "          \"type\": \"float64\"\n"
                               "        }\n"
                               "      ]\n"
                               "    },\n"
                               "    \"2\": {\n"
                               "      \"version\": 2,\n"
                               "      \"fields\": [\n"
                               "        {\n"
                               "          \"index\": 2,\n"
                               "          \"name\": \"valve.open\",\n"
                               "          \"type\": \"bool\"\n"
                               "        },\n"
                               "        {\n"
                               "          \"index\": 1,\n"
                               "          \"name\": \"flow\",\n"
                               "          \"type\": \"float64\"\n"
                               "        }\n"
                               "      ]\n"
                               "    }\n"
                               "  }\n"
                               "}";
    struct ts_schema *schema = NULL;
    struct stat st;

    cr_expect_eq(loaded_version(), 0);
    cr_expect_eq(put("{\"fields\":[" FLOW "]}", &schema), TS_OK);
    cr_expect_eq(ts_schema_version(schema), 1);
    ts_schema_release(schema);
    schema = NULL;
    cr_expect_eq(put("{\"fields\":[" VALVE "," FLOW "]}", &schema), TS_OK);
    cr_expect_eq(ts_schema_version(schema), 2);
    ts_schema_release(schema);
    cr_expect_str_eq(read_file(), want);
    cr_expect_eq(stat(file, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0644);
    cr_expect_eq(loaded_version(), 2);
}

Test(schema_file, T126_gives_the_same_after_it_was_read_again)
{
    struct ts_schema *schema = NULL, *again = NULL;
    struct ts_text first, second;

    ts_text_init(&first);
    ts_text_init(&second);
    cr_expect_eq(put("{\"fields\":[" VALVE
                     ",{\"index\":12,\"name\":\"a\\\"\\u00e4\\u001f\",\"type\":"
                     "\"uint64\"}," FLOW "]}",
                     &schema),
                 TS_OK);
    cr_expect_eq(ts_schema_load(dir, &again), TS_OK);
    cr_expect_eq(ts_schema_render(schema, &first), TS_OK);
    cr_expect_eq(ts_schema_render(again, &second), TS_OK);
    cr_expect(first.bytes == second.bytes && memcmp(first.at, second.at, first.bytes) == 0);
    ts_schema_release(schema);
    ts_schema_release(again);
    ts_text_done(&first);
    ts_text_done(&second);
}

static const char *const refused[] = {
    "",
    "{}",
    "{\"fields\":[]}",
    "{\"fields\":[" VALVE "]}",
    "{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"int8\"}]}",
};

Test(schema_file, T113_T124_stays_as_it_was_when_a_request_is_refused)
{
    struct ts_schema *schema = NULL;
    char *before;

    for (size_t i = 0; i < COUNTOF(refused) - 2; i++) {
        cr_expect_neq(put(refused[i], &schema), TS_OK);
        cr_expect_eq(loaded_version(), 0);
        cr_expect_neq(access(file, F_OK), 0);
    }
    cr_expect_eq(put("{\"fields\":[" FLOW "]}", &schema), TS_OK);
    ts_schema_release(schema);
    schema = NULL;
    before = strdup(read_file());
    for (size_t i = 0; i < COUNTOF(refused); i++) {
        cr_expect_neq(put(refused[i], &schema), TS_OK, "%s", refused[i]);
        cr_expect_null(schema);
        cr_expect_str_eq(read_file(), before);
    }
    free(before);
}

Test(schema_file, goes_on_from_a_file_of_the_first_tsstore)
{
    struct ts_schema *schema = NULL;

    /* Its versions may have dropped fields; only the current one binds. */
    write_file("{\"current_version\":11,\"schemas\":{"
               "\"9\":{\"version\":9,\"fields\":[" VALVE "]},"
               "\"11\":{\"version\":11,\"fields\":[" FLOW "]}},\"more\":true}");
    cr_expect_eq(loaded_version(), 11);
    cr_expect_eq(put("{\"fields\":[" FLOW "]}", &schema), TS_OK);
    cr_expect_eq(ts_schema_version(schema), 12);
    ts_schema_release(schema);
    cr_expect_not_null(strstr(read_file(), "\"9\": {"));
    cr_expect_not_null(strstr(read_file(), "\"12\": {"));
    cr_expect_not_null(strstr(read_file(), "\"more\": true"));
}

static const struct {
    const char *text;
    int want_version; /* -1: TS_E_CORRUPT */
} files[] = {
    {"{}", 0},
    {"{\"current_version\":0,\"schemas\":{}}", 0},
    {"{\"current_version\":0,\"schemas\":null}", 0},
    {"{\"current_version\":1,\"schemas\":{\"1\":{\"fields\":[" FLOW "]}}}", 1},
    {"", -1},
    {"[]", -1},
    {"null", -1},
    {"{\"current_version\":1", -1},
    {"{\"current_version\":1,\"schemas\":[]}", -1},
    {"{\"current_version\":1,\"schemas\":[1]}", -1},
    {"{\"current_version\":1,\"schemas\":7}", -1},
    {"{\"current_version\":2,\"schemas\":{\"1\":{\"fields\":[" FLOW "]}}}", -1},
    {"{\"current_version\":0,\"schemas\":{\"1\":{\"fields\":[" FLOW "]}}}", -1},
    {"{\"current_version\":-1,\"schemas\":{\"-1\":{\"fields\":[" FLOW "]}}}", -1},
    {"{\"current_version\":4294967297,\"schemas\":{\"1\":{\"fields\":[" FLOW "]}}}", -1},
    {"{\"current_version\":\"1\",\"schemas\":{\"1\":{\"fields\":[" FLOW "]}}}", -1},
    {"{\"current_version\":1,\"schemas\":{\"1\":[]}}", -1},
    {"{\"current_version\":1,\"schemas\":{\"1\":{\"fields\":[]}}}", -1},
    {"{\"current_version\":1,\"schemas\":{\"1\":{\"fields\":[{\"index\":0}]}}}", -1},
    {"{\"current_version\":1,\"current_version\":1,\"schemas\":{\"1\":{\"fields\":[" FLOW "]}}}",
     -1},
};

Test(schema_file, that_cannot_be_read_is_an_error_and_stays)
{
    struct ts_schema *schema = NULL;

    for (size_t i = 0; i < COUNTOF(files); i++) {
        write_file(files[i].text);
        cr_expect_eq(loaded_version(), files[i].want_version, "%s", files[i].text);
        if (files[i].want_version >= 0)
            continue;
        cr_expect_eq(ts_schema_load(dir, &schema), TS_E_CORRUPT, "%s", files[i].text);
        cr_expect(strncmp(ts_error_text(), "schema.json: ", 13) == 0, "%s", ts_error_text());
        cr_expect_eq(put("{\"fields\":[" FLOW "]}", &schema), TS_E_CORRUPT, "%s", files[i].text);
        cr_expect_str_eq(read_file(), files[i].text);
        cr_expect_null(schema);
    }
}

Test(schema_file, of_the_last_version_number_takes_no_more)
{
    struct ts_schema *schema = NULL;

    write_file("{\"current_version\":2147483647,\"schemas\":{\"2147483647\":{\"fields\":[" FLOW
               "]}}}");
    cr_expect_eq(loaded_version(), 2147483647);
    cr_expect_eq(put("{\"fields\":[" FLOW "]}", &schema), TS_E_LIMIT);
}

Test(schema_file, needs_a_directory)
{
    struct ts_schema *schema = NULL;

    cr_expect_eq(ts_schema_load("/tmp/tsstore-no-such-directory", &schema), TS_E_NOT_FOUND);
    cr_expect_eq(ts_schema_put("/tmp/tsstore-no-such-directory", "{}", 2, TS_SCHEMA_AS_IS, &schema),
                 TS_E_NOT_FOUND);
}

Test(schema_file, of_many_writers_at_once_loses_no_version)
{
    enum { WRITERS = 4, EACH = 5 };
    pid_t children[WRITERS];
    int status;

    for (int i = 0; i < WRITERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct ts_schema *schema = NULL;
            int failed = 0;

            for (int k = 0; k < EACH; k++) {
                failed += put("{\"fields\":[" FLOW "]}", &schema) != TS_OK;
                ts_schema_release(schema);
                schema = NULL;
            }
            _exit(failed);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        cr_expect_eq(waitpid(children[i], &status, 0), children[i]);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    cr_expect_eq(loaded_version(), WRITERS * EACH);
}
