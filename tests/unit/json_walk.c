/* json_walk.c - what a walk over the top level of a value sees, and what it refuses. */
#include "common/json_walk.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))

TestSuite(json_walk, .timeout = 60);

/* Walks text as "name=value|name=value", "!" at the end if it is malformed, "?" if it is neither
 * object nor array. From memory that ends with the text, so that a sanitizer sees a read beyond. */
static const char *
walked(const char *text, size_t bytes)
{
    static char out[4096];
    char *copy = malloc(bytes > 0 ? bytes : 1);
    struct ts_json_member member;
    struct ts_json_walk walk;
    enum ts_json_step step;
    size_t used = 0;

    cr_assert_not_null(copy);
    memcpy(copy, text, bytes);
    out[0] = '\0';
    if (!ts_json_walk_object(&walk, (struct ts_span){.at = copy, .bytes = bytes}) &&
        !ts_json_walk_array(&walk, (struct ts_span){.at = copy, .bytes = bytes})) {
        free(copy);
        return "?";
    }
    while ((step = ts_json_walk_next(&walk, &member)) == TS_JSON_MEMBER)
        used +=
            (size_t)snprintf(out + used, sizeof out - used, "%s%.*s=%.*s", used > 0 ? "|" : "",
                             (int)member.name.bytes, member.name.bytes > 0 ? member.name.at : "",
                             (int)member.value.bytes, member.value.at);
    if (step == TS_JSON_MALFORMED)
        snprintf(out + used, sizeof out - used, "!");
    free(copy);
    return out;
}

static const struct {
    const char *text, *want;
} values[] = {
    {"{}", ""},
    {"{ \t\r\n}", ""},
    {"[]", ""},
    {"[ ]", ""},
    {"{\"a\":1}", "a=1"},
    {"{ \"a\" : 1 , \"b\" : \"x\" }", "a=1|b=\"x\""},
    {"{\"\":null}", "=null"},
    {"{\"a\":1,\"a\":2}", "a=1|a=2"},
    {"{\"a\":true,\"b\":false,\"c\":null}", "a=true|b=false|c=null"},
    {"{\"a\":-0.5e+10,\"b\":0,\"c\":-0}", "a=-0.5e+10|b=0|c=-0"},
    {"{\"a\":{\"b\":[1,2,{\"c\":\"}\"}]},\"d\":1}", "a={\"b\":[1,2,{\"c\":\"}\"}]}|d=1"},
    {"{\"a\":[ ],\"d\":{ } }", "a=[ ]|d={ }"},
    {"{\"a\":\"\\\"\\\\\",\"b\":\"\\u00e4\"}", "a=\"\\\"\\\\\"|b=\"\\u00e4\""},
    {"{\"a\\\"b\":1}", "a\\\"b=1"},
    {"{\"\303\244\":\"\303\244 and a long tail of ASCII\"}",
     "\303\244=\"\303\244 and a long tail of ASCII\""},
    {"{\"a name of more than sixteen bytes\":\"a value of more than sixteen bytes\"}",
     "a name of more than sixteen bytes=\"a value of more than sixteen bytes\""},
    {"[1,\"a\",{\"b\":2},[3]]", "=1|=\"a\"|={\"b\":2}|=[3]"},
    {"1", "?"},
    {"null", "?"},
    {"\"{}\"", "?"},
    {"", "?"},
    {" {}", "?"},
};

Test(json_walk, sees_each_member_of_the_top_level)
{
    for (size_t i = 0; i < COUNTOF(values); i++)
        cr_expect_str_eq(walked(values[i].text, strlen(values[i].text)), values[i].want, "%s",
                         values[i].text);
}

static const char *const malformed[] = {
    "{",
    "[",
    "{\"",
    "{\"a",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "[1,]",
    "[,1]",
    "{,}",
    "{\"a\":1 \"b\":2}",
    "{\"a\" 1}",
    "{\"a\"::1}",
    "{a:1}",
    "{1:1}",
    "{\"a\":1}}",
    "{\"a\":1} ",
    "{\"a\":1]",
    "[1}",
    "[\"a\":1]",
    "{\"a\"}",
    "{\"a\":01}",
    "{\"a\":-}",
    "{\"a\":1.}",
    "{\"a\":.5}",
    "{\"a\":+1}",
    "{\"a\":1e}",
    "{\"a\":1e+}",
    "{\"a\":0x1}",
    "{\"a\":1x}",
    "{\"a\":NaN}",
    "{\"a\":tru}",
    "{\"a\":truex}",
    "{\"a\":True}",
    "{\"a\":nul",
    "{\"a\":\"",
    "{\"a\":\"\\",
    "{\"a\":\"\\\"",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"\\u12\"}",
    "{\"a\":\"\\ud800\"}",
    "{\"a\":\"\n\"}",
    "{\"a\":\"\377\"}",
    "{\"a\":\"\303\"}",
    "{\"\377\":1}",
    "{\"a\":[}",
    "{\"a\":[1}",
    "{\"a\":{]}}",
    "{\"a\":[\"}",
    "{\"a\":[1,]}",
    "{\"a\":{\"b\"}}",
};

Test(json_walk, notices_whatever_is_not_json)
{
    for (size_t i = 0; i < COUNTOF(malformed); i++) {
        const char *seen = walked(malformed[i], strlen(malformed[i]));

        cr_expect(strchr(seen, '!') != NULL, "%s: %s", malformed[i], seen);
        cr_expect_neq(ts_json_check(malformed[i], strlen(malformed[i]), NULL) == TS_OK &&
                          malformed[i][strlen(malformed[i]) - 1] != ' ',
                      true, "%s", malformed[i]);
    }
}

/* A value with one byte changed, cut, or doubled is still JSON or it is not: both must agree. */
Test(json_walk, agrees_with_the_checker_on_damaged_text)
{
    static const char text[] = "{\"t\":21.5,\"n\\u0061\":[1,{\"x\":\"\303\274\\n\"}],\"ok\":true,"
                               "\"none\":null,\"k\":-1e-3,\"s\":\"plain text, long\"}";
    static const char bytes[] = "{}[]\",:\\0159-+.eEutfn \n\t\303\377x";
    const unsigned seed = (unsigned)(getenv("TS_SEED") != NULL ? atoi(getenv("TS_SEED")) : 1);
    char changed[sizeof text];
    unsigned n_sound = 0;

    srand(seed);
    for (int round = 0; round < 20000; round++) {
        size_t n = sizeof text - 1;

        memcpy(changed, text, n);
        for (int k = rand() % 3; k >= 0; k--)
            changed[(size_t)rand() % n] = bytes[(size_t)rand() % (sizeof bytes - 1)];
        if (rand() % 4 == 0)
            n = (size_t)rand() % n;
        if (n == 0 || changed[0] != '{')
            continue;
        bool sound = strchr(walked(changed, n), '!') == NULL;
        struct ts_span value;
        bool wanted = ts_json_check(changed, n, &value) == TS_OK && value.bytes == n;

        /* No '!' is among the bytes: one in the answer means malformed. */
        cr_assert_eq(sound, wanted, "seed %u: %.*s", seed, (int)n, changed);
        n_sound += sound;
    }
    cr_expect_gt(n_sound, 100);
}

static const struct {
    const char *text, *want;
    size_t capacity;
} strings[] = {
    {"", "", 8},
    {"plain", "plain", 8},
    {"plain", "plain", 5},
    {"plain", NULL, 4},
    {"\\u0074", "t", 1},
    {"\\u0074", NULL, 0},
    {"a\\n\\t\\\"\\\\\\/\\b\\f\\r", "a\n\t\"\\/\b\f\r", 16},
    {"\\u00e4\\u20ac", "\303\244\342\202\254", 5},
    {"\\u00e4\\u20ac", NULL, 4},
    {"\\ud83d\\ude00", "\360\237\230\200", 4},
    {"\\ud83d", "\357\277\275", 8},
    {"\\ude00x", "\357\277\275x", 8},
    {"\\ud83d\\u0041", "\357\277\275A", 8},
    {"\303\244", "\303\244", 2},
    {"\\", NULL, 8},
    {"\\x", NULL, 8},
    {"\\u", NULL, 8},
    {"\\u12", NULL, 8},
    {"\\u12g4", NULL, 8},
};

Test(json_walk, decodes_escapes_into_bounded_room)
{
    for (size_t i = 0; i < COUNTOF(strings); i++) {
        char *room = malloc(strings[i].capacity > 0 ? strings[i].capacity : 1);
        const struct ts_span text = {.at = strings[i].text, .bytes = strlen(strings[i].text)};
        size_t n = 99;
        bool ok;

        cr_assert_not_null(room);
        ok = ts_json_unescape(text, room, strings[i].capacity, &n);
        cr_expect_eq(ok, strings[i].want != NULL, "%s", strings[i].text);
        if (ok && strings[i].want != NULL)
            cr_expect(n == strlen(strings[i].want) && memcmp(room, strings[i].want, n) == 0, "%s",
                      strings[i].text);
        else
            cr_expect_eq(n, 99, "%s", strings[i].text);
        free(room);
    }
}

Test(json_walk, names_the_kind_of_a_value)
{
    static const char *const kinds[][2] = {{"{}", "object"},  {"[]", "array"}, {"\"\"", "string"},
                                           {"-1", "number"},  {"0", "number"}, {"true", "bool"},
                                           {"false", "bool"}, {"null", "null"}};

    for (size_t i = 0; i < COUNTOF(kinds); i++) {
        const struct ts_span value = {.at = kinds[i][0], .bytes = strlen(kinds[i][0])};

        cr_expect_str_eq(ts_json_kind(value), kinds[i][1]);
        cr_expect_eq(ts_json_is_number(value), strcmp(kinds[i][1], "number") == 0);
        cr_expect_eq(ts_json_is_null(value), strcmp(kinds[i][1], "null") == 0);
    }
}
