/* socket_line.c - what the lines of a feeder mean, good ones and hostile ones. */
#include "ingestd/socket_line.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))

static bool
span_is(struct ts_span got, const char *want)
{
    return got.bytes == strlen(want) && memcmp(got.at, want, got.bytes) == 0;
}

/* In memory of just its size, so that a sanitizer sees a byte too many that is read. */
static char *
exact(const char *text, size_t bytes)
{
    char *copy = malloc(bytes + (bytes == 0));

    memcpy(copy, text, bytes);
    return copy;
}

static const struct {
    const char *line;
    const char *store, *key; /* NULL: refused */
} first_lines[] = {
    {"AUTH boiler tsstore_x", "boiler", "tsstore_x"},
    {"auth boiler k", "boiler", "k"},
    {"aUtH b k\r", "b", "k"},
    {"  AUTH b k \t", "b", "k"},
    {"AUTH ../../etc k", "../../etc", "k"},
    {"", NULL, NULL},
    {"AUTH", NULL, NULL},
    {"AUTH ", NULL, NULL},
    {"AUTH S", NULL, NULL},
    {"AUTH S ", NULL, NULL},
    {"AUTH  k", NULL, NULL},
    {"AUTH  S k", NULL, NULL},
    {"AUTH S  k", NULL, NULL},
    {"AUTH S k x", NULL, NULL},
    {"AUTH\tS k", NULL, NULL},
    {"AUTH S\r k", NULL, NULL},
    {"AUTH S k\tx", NULL, NULL},
    {"AUTHS k", NULL, NULL},
    {"HELLO", NULL, NULL},
    {"{\"a\":1}", NULL, NULL},
};

Test(socket_line, the_first_line_names_a_store_and_a_key_or_is_refused)
{
    for (size_t i = 0; i < COUNTOF(first_lines); i++) {
        const size_t bytes = strlen(first_lines[i].line);
        char *line = exact(first_lines[i].line, bytes);
        struct socket_auth auth;
        const enum ts_err err = socket_line_auth(line, bytes, &auth);

        if (first_lines[i].store == NULL) {
            cr_expect_eq(err, TS_E_USAGE, "'%s'", first_lines[i].line);
            cr_expect_str_eq(ts_error_text(),
                             "invalid auth format, expected: AUTH <store> <api-key>");
        } else {
            cr_expect_eq(err, TS_OK, "'%s'", first_lines[i].line);
            cr_expect(span_is(auth.store, first_lines[i].store), "'%s'", first_lines[i].line);
            cr_expect(span_is(auth.key, first_lines[i].key), "'%s'", first_lines[i].line);
        }
        free(line);
    }
}

#define REFUSED (-1)

static const struct {
    enum ts_type type;
    const char *line;
    int kind; /* or REFUSED */
    enum ts_err err;
    int64_t time_ns;
    const char *data; /* or the error's text */
} lines[] = {
    {TS_TYPE_JSON, "{\"a\":1}", SOCKET_LINE_RECORD, TS_OK, 0, "{\"a\":1}"},
    {TS_TYPE_JSON, "{\"a\":2}\r", SOCKET_LINE_RECORD, TS_OK, 0, "{\"a\":2}"},
    {TS_TYPE_JSON, "  [1,2]  ", SOCKET_LINE_RECORD, TS_OK, 0, "[1,2]"},
    {TS_TYPE_JSON, "{\"a\" : 1}", SOCKET_LINE_RECORD, TS_OK, 0, "{\"a\" : 1}"},
    {TS_TYPE_JSON, "\"QUIT\"", SOCKET_LINE_RECORD, TS_OK, 0, "\"QUIT\""},
    {TS_TYPE_JSON, "@5 {\"a\":1}", SOCKET_LINE_RECORD, TS_OK, 5, "{\"a\":1}"},
    {TS_TYPE_JSON, "@5   1", SOCKET_LINE_RECORD, TS_OK, 5, "1"},
    {TS_TYPE_JSON, "@0 1", SOCKET_LINE_RECORD, TS_OK, 0, "1"},
    {TS_TYPE_JSON, "@-7 1", SOCKET_LINE_RECORD, TS_OK, -7, "1"},
    {TS_TYPE_JSON, "@9223372036854775807 1", SOCKET_LINE_RECORD, TS_OK, INT64_MAX, "1"},
    {TS_TYPE_JSON, "@-9223372036854775808 1", SOCKET_LINE_RECORD, TS_OK, INT64_MIN, "1"},
    {TS_TYPE_JSON, "", SOCKET_LINE_EMPTY, TS_OK, 0, NULL},
    {TS_TYPE_JSON, " \t\r", SOCKET_LINE_EMPTY, TS_OK, 0, NULL},
    {TS_TYPE_JSON, "QUIT", SOCKET_LINE_QUIT, TS_OK, 0, NULL},
    {TS_TYPE_JSON, " quit\r", SOCKET_LINE_QUIT, TS_OK, 0, NULL},
    {TS_TYPE_JSON, "@9223372036854775808 1", REFUSED, TS_E_TIME, 0, "invalid timestamp"},
    {TS_TYPE_JSON, "@-9223372036854775809 1", REFUSED, TS_E_TIME, 0, "invalid timestamp"},
    {TS_TYPE_JSON, "@99999999999999999999999 1", REFUSED, TS_E_TIME, 0, "invalid timestamp"},
    {TS_TYPE_JSON, "@5", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_JSON, "@", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_JSON, "@-", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_JSON, "@- 1", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_JSON, "@ 1", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_JSON, "@5x 1", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_JSON, "@1e3 1", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_JSON, "@5{\"a\":1}", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_JSON, "bad", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_JSON, "QUITE", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_JSON, "1 2", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_JSON, "{\"t\":", REFUSED, TS_E_JSON, 0, "unexpected end of JSON input"},
    {TS_TYPE_JSON, "\"\xff\"", REFUSED, TS_E_JSON, 0, NULL},
    {TS_TYPE_TEXT, "hello", SOCKET_LINE_RECORD, TS_OK, 0, "hello"},
    {TS_TYPE_TEXT, "gr\xc3\xbc\xc3\x9f", SOCKET_LINE_RECORD, TS_OK, 0, "gr\xc3\xbc\xc3\x9f"},
    {TS_TYPE_TEXT, " a  b ", SOCKET_LINE_RECORD, TS_OK, 0, "a  b"},
    {TS_TYPE_TEXT, "@5 hello", SOCKET_LINE_RECORD, TS_OK, 5, "hello"},
    {TS_TYPE_TEXT, "@5", SOCKET_LINE_RECORD, TS_OK, 0, "@5"},
    {TS_TYPE_TEXT, "@home now", SOCKET_LINE_RECORD, TS_OK, 0, "@home now"},
    {TS_TYPE_TEXT, "quit", SOCKET_LINE_QUIT, TS_OK, 0, NULL},
    {TS_TYPE_TEXT, "\xff", REFUSED, TS_E_CONTENT, 0, NULL},
    {TS_TYPE_TEXT, "\xed\xa0\x80", REFUSED, TS_E_CONTENT, 0, NULL},
    {TS_TYPE_BINARY, "\xff\x01", SOCKET_LINE_RECORD, TS_OK, 0, "\xff\x01"},
    {TS_TYPE_SCHEMA, " zz ", SOCKET_LINE_RECORD, TS_OK, 0, "zz"},
    {TS_TYPE_SCHEMA, "QUIT", SOCKET_LINE_QUIT, TS_OK, 0, NULL},
};

Test(socket_line, a_line_is_a_record_a_command_or_refused)
{
    for (size_t i = 0; i < COUNTOF(lines); i++) {
        const size_t bytes = strlen(lines[i].line);
        char *line = exact(lines[i].line, bytes);
        struct socket_line got = {.kind = SOCKET_LINE_QUIT, .time_ns = 77};
        const enum ts_err err = socket_line_parse(line, bytes, lines[i].type, &got);

        cr_expect_eq(err, lines[i].err, "'%s': %s", lines[i].line, ts_error_name(err));
        if (lines[i].kind == REFUSED) {
            cr_expect_eq(got.time_ns, 77, "'%s': output touched", lines[i].line);
            if (lines[i].data != NULL)
                cr_expect_str_eq(ts_error_text(), lines[i].data);
        } else {
            cr_expect_eq((int)got.kind, lines[i].kind, "'%s'", lines[i].line);
        }
        if (lines[i].kind == SOCKET_LINE_RECORD) {
            cr_expect_eq(got.time_ns, lines[i].time_ns, "'%s'", lines[i].line);
            cr_expect(span_is(got.data, lines[i].data), "'%s'", lines[i].line);
        }
        free(line);
    }
}

Test(socket_line, a_binary_line_may_hold_a_nul)
{
    struct socket_line got;

    cr_assert_eq(socket_line_parse("a\0b", 3, TS_TYPE_BINARY, &got), TS_OK);
    cr_expect_eq(got.data.bytes, 3);
}

Test(socket_line, an_answer_is_ok_and_the_timestamp)
{
    static const struct {
        int64_t time_ns;
        const char *want;
    } rows[] = {
        {1767225600000000001, "OK 1767225600000000001\n"},
        {1, "OK 1\n"},
        {INT64_MAX, "OK 9223372036854775807\n"},
        {INT64_MIN, "OK -9223372036854775808\n"},
    };

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        char out[SOCKET_LINE_OK_BYTES];
        const size_t bytes = socket_line_ok(out, rows[i].time_ns);

        cr_assert_leq(bytes, sizeof out);
        cr_expect(span_is((struct ts_span){out, bytes}, rows[i].want), "%s", rows[i].want);
    }
}

Test(socket_line, an_error_says_which_part_refused)
{
    cr_expect_str_eq(socket_line_error_prefix(TS_E_JSON), "invalid JSON: ");
    cr_expect_str_eq(socket_line_error_prefix(TS_E_SCHEMA), "schema validation failed: ");
    cr_expect_str_eq(socket_line_error_prefix(TS_E_ORDER), "store failed: ");
    cr_expect_str_eq(socket_line_error_prefix(TS_E_CONTENT), "store failed: ");
}
