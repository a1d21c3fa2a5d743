/* yaml.c - documents and the JSON they mean; what is refused, and at which line. */
#include "cli/yaml.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTOF(array) (sizeof(array) / sizeof((array)[0]))

TestSuite(yaml, .timeout = 60);

/* Parses a copy that ends where the text ends, so that a read behind it is noticed. */
static enum ts_err
parse(const char *text, size_t bytes, json_t **out)
{
    char *copy = malloc(bytes > 0 ? bytes : 1);
    enum ts_err err;

    memcpy(copy, text, bytes);
    err = yaml_parse(copy, bytes, out);
    free(copy);
    return err;
}

static const struct {
    const char *yaml, *json;
} documents[] = {
    /* scalars */
    {"a", "\"a\""},
    {"--- a\n", "\"a\""},
    {"\xef\xbb\xbf"
     "a: 1\r\nb: 2\r\n",
     "{\"a\":1,\"b\":2}"},
    {"- 1\n- -7\n- +3\n- 1767225600000000000\n- 007\n- 1.5\n- .5\n- 1e3\n- 99999999999999999999\n",
     "[1,-7,3,1767225600000000000,7,1.5,0.5,1000.0,1e20]"},
    {"- 3.0.3\n- 1e\n- 0x1f\n- .inf\n- 12:30\n- '12'\n- \"1\"\n- -\n- 1 2\n",
     "[\"3.0.3\",\"1e\",\"0x1f\",\".inf\",\"12:30\",\"12\",\"1\",[null],\"1 2\"]"},
    {"- null\n- ~\n-\n- true\n- FALSE\n- yes\n- nul\n",
     "[null,null,null,true,false,\"yes\",\"nul\"]"},
    {"a: http://x/y#z\nb: a#b # c\nc: it's\nd: -x\ne: ?x\nf: \":\"\n",
     "{\"a\":\"http://x/y#z\",\"b\":\"a#b\",\"c\":\"it's\",\"d\":\"-x\",\"e\":\"?x\",\"f\":\":\"}"},
    {"'it''s'", "\"it's\""},
    {"\"a\\n\\t\\\"\\\\\\/\\u00e9\\x41\\U0001F600\"", "\"a\\n\\t\\\"\\\\/\xc3\xa9"
                                                      "A\xf0\x9f\x98\x80\""},
    /* folding */
    {"a: one\n  two\n\n  three\nb: x", "{\"a\":\"one two\\nthree\",\"b\":\"x\"}"},
    {"a: 'one\n  two\n\n  three'", "{\"a\":\"one two\\nthree\"}"},
    {"a: \"one \\\n  two \\ \n  three\"", "{\"a\":\"one two   three\"}"},
    {"- one\n  - two\n", "[\"one - two\"]"},
    {"a: one # c\nb: 2", "{\"a\":\"one\",\"b\":2}"},
    /* mappings and sequences */
    {"a:\n  b:\n    c: 1\n  d:\ne: 2\n", "{\"a\":{\"b\":{\"c\":1},\"d\":null},\"e\":2}"},
    {"a:\n- 1\n- 2\nb:\n  - 3\n", "{\"a\":[1,2],\"b\":[3]}"},
    {"- a: 1\n  b: 2\n- c: 3\n-\n  d: 4\n", "[{\"a\":1,\"b\":2},{\"c\":3},{\"d\":4}]"},
    {"- - 1\n  - 2\n- - 3\n", "[[1,2],[3]]"},
    {"'200':\n  x: 1\n404: {}\n\"a b\" : 2\n", "{\"200\":{\"x\":1},\"404\":{},\"a b\":2}"},
    {"# c\n\na: 1 # c\n  # c\n\n# c\nb: 2\n", "{\"a\":1,\"b\":2}"},
    {"/api/{store}:\n  get: x\n", "{\"/api/{store}\":{\"get\":\"x\"}}"},
    {"a:\n  # c\n  - b:\n    - c\n  # c\n  - d\n", "{\"a\":[{\"b\":[\"c\"]},\"d\"]}"},
    {"a: |\n  x\n  # no comment\nb: 1\n", "{\"a\":\"x\\n# no comment\\n\",\"b\":1}"},
    /* blocks of text */
    {"a: |\n  one\n   two\n\n  three\n\n\nb: 1", "{\"a\":\"one\\n two\\n\\nthree\\n\",\"b\":1}"},
    {"a: |-\n  one\n\n", "{\"a\":\"one\"}"},
    {"a: |+\n  one\n\nb: 1", "{\"a\":\"one\\n\\n\",\"b\":1}"},
    {"a: |2\n    x\nb: 1", "{\"a\":\"  x\\n\",\"b\":1}"},
    {"a: >\n  one\n  two\n\n  three\n    deep\n  four\n",
     "{\"a\":\"one two\\nthree\\n  deep\\nfour\\n\"}"},
    {"a: >- # c\n  one\n  two", "{\"a\":\"one two\"}"},
    {"a: |\nb: 1", "{\"a\":\"\",\"b\":1}"},
    {"- |\n  x\n- >\n  y\n", "[\"x\\n\",\"y\\n\"]"},
    /* flows */
    {"{}", "{}"},
    {"a: [1, two, 'three', {b: c}, [], ]\n", "{\"a\":[1,\"two\",\"three\",{\"b\":\"c\"},[]]}"},
    {"a: { type: string, enum: [x, y] } # c\n",
     "{\"a\":{\"type\":\"string\",\"enum\":[\"x\",\"y\"]}}"},
    {"a: [\n  1, # c\n  2\n]\nb: 3\n", "{\"a\":[1,2],\"b\":3}"},
    {"{\"a\":1,\"b\":[true,null]}", "{\"a\":1,\"b\":[true,null]}"},
    {"{a, b: , c: http://x}", "{\"a\":null,\"b\":null,\"c\":\"http://x\"}"},
    {"[one\n  two, \"a\n  b\"]", "[\"one two\",\"a b\"]"},
    {"a: [a: b]", "{\"a\":[{\"a\":\"b\"}]}"},
    {"? a\n: b\n", "{\"a\":\"b\"}"},
    /* JSON, with what only JSON has */
    {" {\"a\":\"\\ud83d\\ude00\", \"b\": \"\x7f\"}\n",
     "{\"a\":\"\xf0\x9f\x98\x80\",\"b\":\"\x7f\"}"},
    {"$ref: '#/components/x'\n", "{\"$ref\":\"#/components/x\"}"},
};

Test(yaml, documents_mean_what_yaml_says)
{
    for (size_t i = 0; i < COUNTOF(documents); i++) {
        json_t *want = json_loads(documents[i].json, JSON_DECODE_ANY, NULL), *got = NULL;
        char *text;

        cr_assert_not_null(want, "row %zu: %s", i, documents[i].json);
        cr_expect_eq(parse(documents[i].yaml, strlen(documents[i].yaml), &got), TS_OK,
                     "row %zu: %s in %s", i, ts_error_text(), documents[i].yaml);
        text = json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY);
        cr_expect(json_equal(want, got), "%s\ngives %s\nwant  %s", documents[i].yaml, text,
                  documents[i].json);
        free(text);
        json_decref(want);
        json_decref(got);
    }
}

/* The start of the text; what follows is libyaml's. */
static const struct {
    const char *yaml, *error;
} refused[] = {
    {"", "line 1: the document is empty"},
    {"# only a comment\n\n", "line 3: the document is empty"},
    {"a: 1\na: 2", "line 2: a key is there twice"},
    {"{a: 1, a: 2}", "line 1: a key is there twice"},
    {"{\"a\": 1,\n\"a\": 2}", "line 2: a key is there twice"},
    {"a: b: c", "line 1: "},
    {"a: 1\n b: 2", "line 2: "},
    {"a:\n    b: 1\n  c: 2", "line 3: "},
    {"a: 'x'\n  b: 2", "line 2: "},
    {"a: 1\nb\n", "line 3: while scanning a simple key from line 2, "},
    {"a: 1\n- b\n", "line 2: "},
    {"a: 1\n- b: 1\n", "line 2: "},
    {"- 1\nb: 2\n", "line 2: "},
    {"a:\n\tb: 1\n", "line 2: "},
    {"a: &x 1", "line 1: anchors, aliases and tags are not read"},
    {"a: 1\nb: &x [1]", "line 2: anchors, aliases and tags are not read"},
    {"&x a: 1", "line 1: anchors, aliases and tags are not read"},
    {"a: *x", "line 1: anchors, aliases and tags are not read"},
    {"*x : 1", "line 1: a key is no text"},
    {"a: !!str 1", "line 1: anchors, aliases and tags are not read"},
    {"a: !!map {}", "line 1: anchors, aliases and tags are not read"},
    {"%YAML 1.2\n---\na: 1\n", "line 1: directives are not read"},
    {"%TAG !e! tag:e,2000:\n---\na: 1\n", "line 1: directives are not read"},
    {"a: 1\n---\nb: 2\n", "line 2: a second document"},
    {"a: @x", "line 1: "},
    {"a: - b", "line 1: "},
    {"a: 'x", "line 1: "},
    {"a: \"x\\", "line 1: "},
    {"a: \"\\q\"", "line 1: "},
    {"a: \"\\u12\"", "line 1: "},
    {"a: \"\\ud800\"", "line 1: "},
    {"a: \"\\ud800\\u0041\"", "line 1: "},
    {"a: \"\\u0000\"", "line 1: a text has a NUL"},
    {"\"a\\0\": 1", "line 1: a text has a NUL"},
    {"{\"a\": \"\\u0000\"}", "line 1: a text has a NUL"},
    {"a: 'x' y", "line 1: "},
    {"a: [1 2", "line 2: while parsing a flow sequence from line 1, "},
    {"a: [1, , 2]", "line 1: "},
    {"a: {[x]: 1}", "line 1: a key is no text"},
    {"a: [1] x", "line 1: "},
    {"a: ]", "line 1: "},
    {"a: |x\n  y", "line 1: "},
    {"\xff", "line 1: "},
    {"a: 1\nb: \xc3", "line 2: "},
    {"a: 1\n\nb: \x01", "line 3: "},
    {"\xff\xfe"
     "a",
     "line 1: "},
};

Test(yaml, what_is_not_understood_is_refused_with_its_line)
{
    for (size_t i = 0; i < COUNTOF(refused); i++) {
        json_t *got = NULL;

        cr_expect_eq(parse(refused[i].yaml, strlen(refused[i].yaml), &got), TS_E_PARAM, "%s",
                     refused[i].yaml);
        cr_expect_eq(strncmp(ts_error_text(), refused[i].error, strlen(refused[i].error)), 0,
                     "%s: %s", refused[i].yaml, ts_error_text());
        cr_expect_null(got);
    }
    cr_expect_eq(parse("a: \0", 4, &(json_t *){NULL}), TS_E_PARAM);
}

Test(yaml, nesting_is_bounded_in_every_form)
{
    static const char *const units[] = {"- ", "[", "{a: "};
    char *text = malloc(100000 * 4 + 1);

    for (size_t i = 0; i < COUNTOF(units); i++) {
        json_t *got = NULL;
        char *at = text;

        for (size_t n = 0; n < 100000; n++)
            at = stpcpy(at, units[i]);
        cr_expect_eq(yaml_parse(text, (size_t)(at - text), &got), TS_E_PARAM, "%s", units[i]);
        cr_expect_eq(strcmp(ts_error_text(), "line 1: nested too deep"), 0, "%s", ts_error_text());
    }
    for (size_t n = YAML_MAX_DEPTH; n <= YAML_MAX_DEPTH + 1; n++) {
        json_t *got = NULL;

        memset(text, '[', n); /* JSON, too */
        memset(text + n, ']', n);
        cr_expect_eq(yaml_parse(text, 2 * n, &got), n == YAML_MAX_DEPTH ? TS_OK : TS_E_PARAM);
        json_decref(got);
    }
    memset(text, ' ', 100000);
    cr_expect_eq(yaml_parse(text, YAML_MAX_BYTES + 1ul, &(json_t *){NULL}), TS_E_LIMIT);
    free(text);
}
