/* http_path.c - request targets, as they should be and as they should not. */
#include "daemon/http_path.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))

/* In memory of just its size, so that a sanitizer sees a byte too many that is read or written. */
static char *
exact(const char *text, size_t bytes)
{
    char *copy = malloc(bytes + (bytes == 0));

    memcpy(copy, text, bytes);
    return copy;
}

static struct http_arena
arena_of(size_t bytes)
{
    return (struct http_arena){.at = malloc(bytes), .capacity = bytes};
}

static const struct {
    const char *text;
    bool plus;
    const char *want; /* NULL: refused */
} decodings[] = {
    {"", false, ""},        {"abc", false, "abc"},         {"%41%62", false, "Ab"},
    {"a+b", false, "a+b"},  {"a+b", true, "a b"},          {"%2B", true, "+"},
    {"%2f%2F", true, "//"}, {"%c3%a4", false, "\xc3\xa4"}, {"%", false, NULL},
    {"%4", false, NULL},    {"a%", false, NULL},           {"a%4", false, NULL},
    {"%zz", false, NULL},   {"%4g", false, NULL},          {"%-1", false, NULL},
    {"%%41", false, NULL},  {"% 41", false, NULL},
};

Test(http_path, escapes_are_decoded_and_broken_ones_refused)
{
    for (size_t i = 0; i < COUNTOF(decodings); i++) {
        const size_t bytes = strlen(decodings[i].text);
        struct http_arena arena = arena_of(bytes + 1);
        char *text = exact(decodings[i].text, bytes);
        struct ts_span out = {0};
        const bool good = http_decode(&arena, text, bytes, decodings[i].plus, &out);

        cr_expect_eq(good, decodings[i].want != NULL, "'%s'", decodings[i].text);
        if (good) {
            cr_expect_eq(out.bytes, strlen(decodings[i].want), "'%s'", decodings[i].text);
            cr_expect_str_eq(out.at, decodings[i].want);
        } else {
            cr_expect_eq(arena.used, 0, "'%s'", decodings[i].text);
        }
        free(text);
        free(arena.at);
    }
}

Test(http_path, decoding_never_leaves_the_arena)
{
    struct http_arena arena = arena_of(4);
    struct ts_span out;

    cr_expect(!http_decode(&arena, "abcd", 4, false, &out));
    cr_expect(http_decode(&arena, "abc", 3, false, &out));
    cr_expect(!http_decode(&arena, "", 0, false, &out));
    free(arena.at);
}

static const struct {
    const char *path;
    enum http_path_err want;
    unsigned n_segments;
    bool trailing;
} paths[] = {
    {"/", HTTP_PATH_OK, 0, false},
    {"/a", HTTP_PATH_OK, 1, false},
    {"/a/", HTTP_PATH_OK, 1, true},
    {"/a/b/c", HTTP_PATH_OK, 3, false},
    {"/a%2Fb", HTTP_PATH_OK, 1, false},
    {"/..", HTTP_PATH_OK, 1, false},
    {"", HTTP_PATH_MALFORMED, 0, false},
    {"*", HTTP_PATH_MALFORMED, 0, false},
    {"a/b", HTTP_PATH_MALFORMED, 0, false},
    {"/a%", HTTP_PATH_MALFORMED, 0, false},
    {"//", HTTP_PATH_FOREIGN, 0, false},
    {"//a", HTTP_PATH_FOREIGN, 0, false},
    {"/a//", HTTP_PATH_FOREIGN, 0, false},
    {"/a%00b", HTTP_PATH_FOREIGN, 0, false},
    {"/1/2/3/4/5/6/7/8/9/10/11/12", HTTP_PATH_OK, 12, false},
    {"/1/2/3/4/5/6/7/8/9/10/11/12/13", HTTP_PATH_FOREIGN, 0, false},
};

Test(http_path, a_path_is_split_or_told_malformed_or_foreign)
{
    for (size_t i = 0; i < COUNTOF(paths); i++) {
        const size_t bytes = strlen(paths[i].path);
        struct http_arena arena = arena_of(100);
        char *text = exact(paths[i].path, bytes);
        struct http_path path;
        const enum http_path_err err = http_path_split(&arena, text, bytes, &path);

        cr_expect_eq(err, paths[i].want, "'%s'", paths[i].path);
        if (err == HTTP_PATH_OK) {
            cr_expect_eq(path.n_segments, paths[i].n_segments, "'%s'", paths[i].path);
            cr_expect_eq(path.has_trailing_slash, paths[i].trailing, "'%s'", paths[i].path);
        }
        free(text);
        free(arena.at);
    }
}

static const struct {
    const char *pattern, *path;
    bool want;
    const char *first, *second; /* parameters, or NULL */
} matches[] = {
    {"/", "/", true, NULL, NULL},
    {"/", "/a", false, NULL, NULL},
    {"/health", "/health", true, NULL, NULL},
    {"/health", "/healt", false, NULL, NULL},
    {"/health", "/healthy", false, NULL, NULL},
    {"/health", "/", false, NULL, NULL},
    {"/health", "/Health", false, NULL, NULL},
    {"/health", "/%68ealth", true, NULL, NULL},
    {"/api/stores", "/api", false, NULL, NULL},
    {"/api/stores", "/api/stores/x", false, NULL, NULL},
    {"/s/:a", "/s/boiler", true, "boiler", NULL},
    {"/s/:a", "/s", false, NULL, NULL},
    {"/s/:a/t/:b", "/s/x/t/12", true, "x", "12"},
    {"/s/:a/t/:b", "/s/x%20y/t/%2f", true, "x y", "/"},
    {"/s/:a/t/:b", "/s/x/u/12", false, NULL, NULL},
    {"/s/:a/t", "/s/x/t", true, "x", NULL},
};

Test(http_path, patterns_match_whole_decoded_segments)
{
    for (size_t i = 0; i < COUNTOF(matches); i++) {
        struct http_arena arena = arena_of(100);
        struct ts_span params[2] = {{0}};
        struct http_path path;
        unsigned n = 0;

        cr_assert_eq(http_path_split(&arena, matches[i].path, strlen(matches[i].path), &path),
                     HTTP_PATH_OK);
        cr_expect_eq(http_path_match(&path, matches[i].pattern, params, 2, &n), matches[i].want,
                     "%s on %s", matches[i].path, matches[i].pattern);
        if (matches[i].first != NULL)
            cr_expect_str_eq(params[0].at, matches[i].first);
        if (matches[i].second != NULL)
            cr_expect_str_eq(params[1].at, matches[i].second);
        free(arena.at);
    }
}

Test(http_path, more_parameters_than_there_is_room_for_do_not_match)
{
    struct http_arena arena = arena_of(100);
    struct ts_span params[1];
    struct http_path path;
    unsigned n;

    cr_assert_eq(http_path_split(&arena, "/a/b", 4, &path), HTTP_PATH_OK);
    cr_expect(!http_path_match(&path, "/:x/:y", params, 1, &n));
    free(arena.at);
}

static const struct {
    const char *query, *name;
    const char *want; /* NULL: not there */
} queries[] = {
    {"", "a", NULL},          {"a=1", "a", "1"},       {"a=1&a=2", "a", "1"},
    {"a", "a", ""},           {"a=", "a", ""},         {"=1", "", "1"},
    {"a=b=c", "a", "b=c"},    {"&&a=1&", "a", "1"},    {"%61=x%20y+z", "a", "x y z"},
    {"a=%zz&b=1", "a", NULL}, {"a=%zz&b=1", "b", "1"}, {"a=%zz&a=2", "a", "2"},
    {"A=1", "a", NULL},       {"aa=1", "a", NULL},     {"filter=%22v%22%3A1", "filter", "\"v\":1"},
};

Test(http_path, the_first_well_formed_parameter_of_a_name_counts)
{
    for (size_t i = 0; i < COUNTOF(queries); i++) {
        const size_t bytes = strlen(queries[i].query);
        struct http_arena arena = arena_of(200);
        char *text = exact(queries[i].query, bytes);
        const struct ts_span *value;
        struct http_query query;

        http_query_split(&arena, text, bytes, &query);
        value = http_query_find(&query, queries[i].name);
        cr_expect_eq(value != NULL, queries[i].want != NULL, "'%s'", queries[i].query);
        if (value != NULL && queries[i].want != NULL)
            cr_expect_str_eq(value->at, queries[i].want);
        free(text);
        free(arena.at);
    }
}

Test(http_path, parameters_beyond_the_limit_are_not_looked_at)
{
    struct http_arena arena = arena_of(1000);
    struct http_query query;
    char text[400] = "";

    for (int i = 0; i < HTTP_MAX_QUERY; i++)
        strcat(text, "x=1&");
    strcat(text, "late=1");
    http_query_split(&arena, text, strlen(text), &query);
    cr_expect_eq(query.n_pairs, HTTP_MAX_QUERY);
    cr_expect_null(http_query_find(&query, "late"));
    free(arena.at);
}
