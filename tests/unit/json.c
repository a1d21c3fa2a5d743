/* json.c - the validator against a table of hostile rows and against jansson. */
#include "common/json.h"

#include <criterion/criterion.h>
#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT(literal) (literal), sizeof(literal) - 1

/* A copy with nothing behind it, so that a sanitizer sees a read beyond the end. */
static char *
exact_copy(const char *text, size_t bytes)
{
    char *copy = malloc(bytes > 0 ? bytes : 1);

    cr_assert_not_null(copy);
    memcpy(copy, text, bytes);
    return copy;
}

static enum ts_err
check(const char *text, size_t bytes)
{
    char *copy = exact_copy(text, bytes);
    const enum ts_err err = ts_json_check(copy, bytes, NULL);

    free(copy);
    return err;
}

/* ---- accepted ---- */

static const struct {
    const char *text;
    size_t bytes;
    const char *value;
} accepted[] = {
    {TEXT("0"), "0"},
    {TEXT("-0"), "-0"},
    {TEXT(" \t\r\n 12 \n"), "12"},
    {TEXT("-0.5e+10"), "-0.5e+10"},
    {TEXT("1E400"), "1E400"},
    {TEXT("123456789012345678901234567890"), "123456789012345678901234567890"},
    {TEXT("0.00000000000000001"), "0.00000000000000001"},
    {TEXT("\"\""), "\"\""},
    {TEXT("true"), "true"},
    {TEXT("false"), "false"},
    {TEXT("null"), "null"},
    {TEXT("[]"), "[]"},
    {TEXT("{}"), "{}"},
    {TEXT(" [ ] "), "[ ]"},
    {TEXT("{ }"), "{ }"},
    {TEXT("[[],{},[{}]]"), "[[],{},[{}]]"},
    {TEXT("{\"a\" : [ 1 , {\"b\":null} ] }"), "{\"a\" : [ 1 , {\"b\":null} ] }"},
    {TEXT("{\"a\":1,\"a\":2}"), "{\"a\":1,\"a\":2}"},
    {TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uFfFf\""),
     "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uFfFf\""},
    {TEXT("\"\\ud83d\\ude00\""), "\"\\ud83d\\ude00\""},
    {TEXT("\"\x7f\""), "\"\x7f\""},
    {TEXT("\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""),
     "\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""},
    {TEXT("\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""), "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""},
};

Test(json, accepts_what_the_rfc_allows_and_finds_the_value)
{
    for (size_t i = 0; i < COUNTOF(accepted); i++) {
        char *copy = exact_copy(accepted[i].text, accepted[i].bytes);
        struct ts_span value = {0};
        const enum ts_err err = ts_json_check(copy, accepted[i].bytes, &value);

        cr_expect_eq(err, TS_OK, "%s: %s", accepted[i].text, ts_error_text());
        cr_expect(err != TS_OK || (value.bytes == strlen(accepted[i].value) &&
                                   memcmp(value.at, accepted[i].value, value.bytes) == 0),
                  "%s: value is %.*s", accepted[i].text, (int)value.bytes, value.at);
        free(copy);
    }
}

/* ---- refused ---- */

#define CUT "unexpected end of JSON input"

static const struct {
    const char *text;
    size_t bytes;
    const char *want; /* the error's text */
} refused[] = {
    {TEXT(""), CUT},
    {TEXT(" \n"), CUT},
    {TEXT("{"), CUT},
    {TEXT("["), CUT},
    {TEXT("{\"t\":"), CUT},
    {TEXT("{\"a\""), CUT},
    {TEXT("{\"a\":1"), CUT},
    {TEXT("{\"a\":1,"), CUT},
    {TEXT("[1"), CUT},
    {TEXT("[1,"), CUT},
    {TEXT("\""), CUT},
    {TEXT("\"abcdefghijklm"), CUT},
    {TEXT("\"\\"), CUT},
    {TEXT("\"\\u12"), CUT},
    {TEXT("\"\\ud800"), CUT},
    {TEXT("\"\\ud800\\"), CUT},
    {TEXT("\"\\ud800\\udc0"), CUT},
    {TEXT("\"\xf0\x90\x80"), CUT},
    {TEXT("tru"), CUT},
    {TEXT("-"), CUT},
    {TEXT("1."), CUT},
    {TEXT("1e"), CUT},
    {TEXT("1e+"), CUT},
    {TEXT("z"), "invalid character 'z' looking for beginning of value"},
    {TEXT("  z"), "invalid character 'z' looking for beginning of value at byte 2"},
    {TEXT("\0"), "invalid character '\\x00' looking for beginning of value"},
    {TEXT("\xef\xbb\xbf{}"), "invalid character 'ï' looking for beginning of value"},
    {TEXT("\x80"), "invalid character '\\u0080' looking for beginning of value"},
    {TEXT("\v1"), "invalid character '\\v' looking for beginning of value"},
    {TEXT("'a'"), "invalid character '\\'' looking for beginning of value"},
    {TEXT("+1"), "invalid character '+' looking for beginning of value"},
    {TEXT(".5"), "invalid character '.' looking for beginning of value"},
    {TEXT("NaN"), "invalid character 'N' looking for beginning of value"},
    {TEXT("Infinity"), "invalid character 'I' looking for beginning of value"},
    {TEXT("-Infinity"), "invalid character 'I' in numeric literal at byte 1"},
    {TEXT("/*c*/1"), "invalid character '/' looking for beginning of value"},
    {TEXT("nul1"), "invalid character '1' in literal null (expecting 'l') at byte 3"},
    {TEXT("tRue"), "invalid character 'R' in literal true (expecting 'r') at byte 1"},
    {TEXT("fals\0"), "invalid character '\\x00' in literal false (expecting 'e') at byte 4"},
    {TEXT("truex"), "invalid character 'x' after top-level value at byte 4"},
    {TEXT("1 2"), "invalid character '2' after top-level value at byte 2"},
    {TEXT("{}{}"), "invalid character '{' after top-level value at byte 2"},
    {TEXT("{}\0"), "invalid character '\\x00' after top-level value at byte 2"},
    {TEXT("01"), "invalid character '1' after top-level value at byte 1"},
    {TEXT("0x10"), "invalid character 'x' after top-level value at byte 1"},
    {TEXT("-x"), "invalid character 'x' in numeric literal at byte 1"},
    {TEXT("1.x"), "invalid character 'x' after decimal point in numeric literal at byte 2"},
    {TEXT("1.e5"), "invalid character 'e' after decimal point in numeric literal at byte 2"},
    {TEXT("1ex"), "invalid character 'x' in exponent of numeric literal at byte 2"},
    {TEXT("1e+ "), "invalid character ' ' in exponent of numeric literal at byte 3"},
    {TEXT("[,1]"), "invalid character ',' looking for beginning of value at byte 1"},
    {TEXT("[1,]"), "invalid character ']' looking for beginning of value at byte 3"},
    {TEXT("[1 2]"), "invalid character '2' after array element at byte 3"},
    {TEXT("[1}"), "invalid character '}' after array element at byte 2"},
    {TEXT("{]"), "invalid character ']' looking for beginning of object key string at byte 1"},
    {TEXT("{a:1}"), "invalid character 'a' looking for beginning of object key string at byte 1"},
    {TEXT("{1:1}"), "invalid character '1' looking for beginning of object key string at byte 1"},
    {TEXT("{\"a\":1,}"),
     "invalid character '}' looking for beginning of object key string at byte 7"},
    {TEXT("{,}"), "invalid character ',' looking for beginning of object key string at byte 1"},
    {TEXT("{\"a\" 1}"), "invalid character '1' after object key at byte 5"},
    {TEXT("{\"a\":}"), "invalid character '}' looking for beginning of value at byte 5"},
    {TEXT("{\"a\":1]"), "invalid character ']' after object key:value pair at byte 6"},
    {TEXT("{\"a\":1 \"b\":2}"), "invalid character '\"' after object key:value pair at byte 7"},
    {TEXT("\"a\nb\""), "invalid character '\\n' in string literal at byte 2"},
    {TEXT("\"a\tb345678\""), "invalid character '\\t' in string literal at byte 2"},
    {TEXT("\"a\0b\""), "invalid character '\\x00' in string literal at byte 2"},
    {TEXT("\"\x1f\""), "invalid character '\\x1f' in string literal at byte 1"},
    {TEXT("\"\\x\""), "invalid character 'x' in string escape code at byte 2"},
    {TEXT("\"\\\0\""), "invalid character '\\x00' in string escape code at byte 2"},
    {TEXT("\"\\u12g4\""), "invalid character 'g' in \\u hexadecimal character escape at byte 5"},
    {TEXT("\"\\u123\""), "invalid character '\"' in \\u hexadecimal character escape at byte 6"},
    {TEXT("\"\\ud800\""), "unpaired surrogate in string literal at byte 1"},
    {TEXT("\"\\udc00\""), "unpaired surrogate in string literal at byte 1"},
    {TEXT("\"\\ud800\\u0041\""), "unpaired surrogate in string literal at byte 1"},
    {TEXT("\"\\ud800\\ud800\""), "unpaired surrogate in string literal at byte 1"},
    {TEXT("\"\\ud800\\n\""), "unpaired surrogate in string literal at byte 1"},
    {TEXT("\"\xff\""), "invalid UTF-8 in string literal at byte 1"},
    {TEXT("\"\x80\""), "invalid UTF-8 in string literal at byte 1"},
    {TEXT("\"\xc0\xaf\""), "invalid UTF-8 in string literal at byte 1"},
    {TEXT("\"\xc1\xbf\""), "invalid UTF-8 in string literal at byte 1"},
    {TEXT("\"\xe0\x9f\xbf\""), "invalid UTF-8 in string literal at byte 1"},
    {TEXT("\"\xed\xa0\x80\""), "invalid UTF-8 in string literal at byte 1"},
    {TEXT("\"\xf0\x8f\xbf\xbf\""), "invalid UTF-8 in string literal at byte 1"},
    {TEXT("\"\xf4\x90\x80\x80\""), "invalid UTF-8 in string literal at byte 1"},
    {TEXT("\"\xf5\x80\x80\x80\""), "invalid UTF-8 in string literal at byte 1"},
    {TEXT("\"ab\xc3\""), "invalid UTF-8 in string literal at byte 3"},
    {TEXT("\"\xc3\xa9\xe2\x82\""), "invalid UTF-8 in string literal at byte 3"},
};

Test(json, refuses_everything_else_and_says_why)
{
    for (size_t i = 0; i < COUNTOF(refused); i++) {
        const enum ts_err err = check(refused[i].text, refused[i].bytes);

        cr_expect_eq(err, TS_E_JSON, "row %zu: %s", i, refused[i].text);
        cr_expect_str_eq(ts_error_text(), refused[i].want, "row %zu: %s", i, refused[i].text);
    }
}

Test(json, leaves_the_output_alone_on_failure)
{
    struct ts_span value = {.at = "untouched", .bytes = 9};
    struct ts_json_insert insert = {.time_ns = 77};

    cr_expect_eq(ts_json_check(TEXT("[1"), &value), TS_E_JSON);
    cr_expect_str_eq(value.at, "untouched");
    cr_expect_eq(ts_json_insert(TEXT("{\"timestamp\":5"), true, &insert), TS_E_JSON);
    cr_expect_eq(insert.time_ns, 77);
    cr_expect_eq(ts_json_check(NULL, 0, &value), TS_E_JSON);
}

Test(json, allows_64_levels_and_no_more)
{
    for (unsigned kind = 0; kind < 2; kind++) {
        const char *const open = kind ? "{\"a\":" : "[", *const close = kind ? "}" : "]";

        for (int depth = 63; depth <= 66; depth++) {
            char text[66 * 6 + 2] = "";
            enum ts_err err;

            for (int i = 0; i < depth; i++)
                strcat(text, open);
            strcat(text, "1");
            for (int i = 0; i < depth; i++)
                strcat(text, close);
            err = check(text, strlen(text));
            cr_expect_eq(err, depth <= 64 ? TS_OK : TS_E_JSON, "%d deep", depth);
            cr_expect(depth <= 64 || strncmp(ts_error_text(), "exceeded max depth", 18) == 0, "%s",
                      ts_error_text());
        }
    }
}

Test(json, remembers_which_container_is_open_at_every_level)
{
    char text[2 * TS_JSON_MAX_DEPTH * 5];

    /* Objects at the set bits of a pattern; then one closing bracket of the other kind. */
    for (int wrong = -1; wrong < TS_JSON_MAX_DEPTH; wrong++) {
        const uint64_t pattern = UINT64_C(0x9a3c5f0172e4b68d);
        char *at = text;

        for (int i = 0; i < TS_JSON_MAX_DEPTH; i++)
            at = stpcpy(at, pattern >> i & 1 ? "{\"\":" : "[");
        *at++ = '7';
        for (int i = TS_JSON_MAX_DEPTH - 1; i >= 0; i--)
            *at++ = ((pattern >> i & 1) != 0) != (i == wrong) ? '}' : ']';
        cr_expect_eq(check(text, (size_t)(at - text)), wrong < 0 ? TS_OK : TS_E_JSON,
                     "wrong bracket at level %d", wrong);
    }
}

Test(json, calls_every_cut_of_a_document_an_early_end)
{
    static const char text[] =
        " {\"name\":\"caf\xc3\xa9 \\ud83d\\ude00 \xf0\x9f\x98\x80 and a longer plain run\",\"n\" : "
        "[ -12.5e+3, 0, true,false ,null, {\"\":{}}, [[]] ], \"z\":12345678901234}";

    for (size_t bytes = 0; bytes < sizeof text - 1; bytes++) {
        cr_expect_eq(check(text, bytes), TS_E_JSON, "%zu bytes", bytes);
        cr_expect_str_eq(ts_error_text(), CUT, "%zu bytes", bytes);
    }
    cr_expect_eq(check(text, sizeof text - 1), TS_OK);
}

Test(json, finds_each_special_byte_at_each_place_of_a_word)
{
    static const char specials[] = {'\0', '\x1f', '\n', '\x80', '\xff', '"'};

    for (size_t length = 0; length < 40; length++) {
        for (size_t i = 0; i < COUNTOF(specials); i++) {
            char text[48];

            memset(text, 'x', sizeof text);
            text[0] = text[length + 2] = '"';
            text[length + 1] = specials[i];
            cr_expect_eq(check(text, length + 3), TS_E_JSON, "byte %d behind %zu", specials[i],
                         length);
            text[length + 1] = '~';
            cr_expect_eq(check(text, length + 3), TS_OK, "%zu", length);
        }
    }
}

/* ---- differential ---- */

static uint64_t random_state;

static unsigned
random_below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 11) % n);
}

struct doc {
    char text[4096];
    size_t bytes;
};

static void
add(struct doc *doc, const char *text)
{
    const size_t bytes = strlen(text);

    if (doc->bytes + bytes < sizeof doc->text) {
        memcpy(doc->text + doc->bytes, text, bytes);
        doc->bytes += bytes;
    }
}

static void
add_one_of(struct doc *doc, const char *const *choices, size_t n)
{
    add(doc, choices[random_below((unsigned)n)]);
}

static void
add_string(struct doc *doc)
{
    static const char *const pieces[] = {
        "a",
        "temperature",
        " ",
        "north wing, floor 3",
        "\\n",
        "\\u0041",
        "\\ud83d\\ude00",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "\\\\",
        "\\\"",
        "12345678",
        "/",
        "\x7f",
    };

    add(doc, "\"");
    for (unsigned n = random_below(6); n > 0; n--)
        add_one_of(doc, pieces, COUNTOF(pieces));
    add(doc, "\"");
}

static void
add_blank(struct doc *doc)
{
    static const char *const blanks[] = {"", "", "", " ", "\n", "\t", "\r\n "};

    add_one_of(doc, blanks, COUNTOF(blanks));
}

static void
add_value(struct doc *doc, unsigned depth)
{
    static const char *const scalars[] = {
        "0",    "-0",   "1",        "21.5",  "-3.25e2", "1E-5",  "1767225600000000000",
        "true", "null", "12345678", "false", "0.125",   "1e+10",
    };
    const unsigned kind = random_below(depth < 6 ? 5 : 3);
    const bool is_object = kind == 4;

    add_blank(doc);
    if (kind == 0) {
        add_string(doc);
    } else if (kind < 3) {
        add_one_of(doc, scalars, COUNTOF(scalars));
    } else {
        add(doc, is_object ? "{" : "[");
        add_blank(doc);
        for (unsigned n = random_below(5); n > 0; n--) {
            if (is_object) {
                add_string(doc);
                add_blank(doc);
                add(doc, ":");
            }
            add_value(doc, depth + 1);
            if (n > 1)
                add(doc, ",");
            add_blank(doc);
        }
        add(doc, is_object ? "}" : "]");
    }
    add_blank(doc);
}

static void
mutate(struct doc *doc)
{
    static const char bytes[] = "{}[],:\"\\0123456789.eE+-truefalsnu \t\n\r\x00\x1f\x80\xc0\xc3"
                                "\xa9\xe0\xed\xa0\xf0\xf4\x90\xff'/dD89abAB";
    const char byte = bytes[random_below(sizeof bytes - 1)];
    const size_t at = doc->bytes > 0 ? random_below((unsigned)doc->bytes) : 0;
    size_t n;

    switch (random_below(4)) {
    case 0:
        if (doc->bytes > 0)
            doc->text[at] = byte;
        break;
    case 1:
        if (doc->bytes < sizeof doc->text) {
            memmove(doc->text + at + 1, doc->text + at, doc->bytes - at);
            doc->text[at] = byte;
            doc->bytes++;
        }
        break;
    case 2:
        n = doc->bytes - at < 3 ? doc->bytes - at : 1 + random_below(3);
        memmove(doc->text + at, doc->text + at + n, doc->bytes - at - n);
        doc->bytes -= n;
        break;
    default:
        if (random_below(8) == 0)
            doc->bytes = at;
        break;
    }
}

enum verdict { ACCEPTS, REFUSES, CANNOT_TELL };

static enum verdict
ask_jansson(const char *text, size_t bytes)
{
    json_error_t error;
    json_t *value;

    /* No JSON text holds one, but jansson takes it for the end of the text. */
    if (memchr(text, '\0', bytes) != NULL)
        return REFUSES;
    value = json_loadb(text, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (value != NULL) {
        json_decref(value);
        return ACCEPTS;
    }
    /* These two are limits of its own, met before it has seen the rest. */
    if (json_error_code(&error) == json_error_numeric_overflow ||
        json_error_code(&error) == json_error_null_byte_in_key)
        return CANNOT_TELL;
    return REFUSES;
}

/* Says so and returns false if the two disagree. */
static bool
agree(const struct doc *doc, unsigned *n_accepted)
{
    const enum verdict want = ask_jansson(doc->text, doc->bytes);
    const enum ts_err err = check(doc->text, doc->bytes);

    if (want == CANNOT_TELL || (err != TS_OK && strstr(ts_error_text(), "max depth") != NULL))
        return true;
    *n_accepted += err == TS_OK;
    if ((err == TS_OK) == (want == ACCEPTS))
        return true;
    fprintf(stderr, "%s but jansson %s: ", err == TS_OK ? "accepted" : ts_error_text(),
            want == ACCEPTS ? "accepts" : "refuses");
    fwrite(doc->text, 1, doc->bytes, stderr);
    fputc('\n', stderr);
    return false;
}

/* TSSTORE_TEST_SEED repeats a run. */
Test(json, agrees_with_jansson_on_random_documents_and_their_mutations, .timeout = 60)
{
    const char *given = getenv("TSSTORE_TEST_SEED");
    const uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    unsigned n = 0, n_accepted = 0;
    bool all = true;

    random_state = seed * 0x9e3779b97f4a7c15 | 1;
    fprintf(stderr, "json: seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 4000 && all; i++) {
        struct doc doc = {.bytes = 0};

        add_value(&doc, 0);
        all = agree(&doc, &n_accepted);
        for (unsigned k = random_below(10); k > 0 && all; k--, n++) {
            mutate(&doc);
            all = agree(&doc, &n_accepted);
        }
    }
    cr_expect(all, "seed %llu", (unsigned long long)seed);
    /* Else the test compares nothing but refusals. */
    cr_expect_gt(n_accepted, 4000u, "%u of %u mutations", n_accepted, n);
}

/* ---- insert ---- */

#define NONE INT64_MIN

static const struct {
    const char *text;
    int64_t time_ns;  /* NONE: has none */
    const char *data; /* NULL: has none */
} inserts[] = {
    {"{\"timestamp\":1767225600000000000,\"data\":{\"t\": 21.5 }}", 1767225600000000000,
     "{\"t\": 21.5 }"},
    {" { \"data\" : [ 1 ] , \"timestamp\" : 7 } ", 7, "[ 1 ]"},
    {"{\"data\":1}", NONE, "1"},
    {"{\"data\":null}", NONE, "null"},
    {"{\"data\":\"\\u0041\"}", NONE, "\"\\u0041\""},
    {"{\"timestamp\":null,\"data\":1}", NONE, "1"},
    {"{\"timestamp\":0,\"data\":1}", 0, "1"},
    {"{\"timestamp\":-0}", 0, NULL},
    {"{\"timestamp\":-5}", -5, NULL},
    {"{\"timestamp\":9223372036854775807}", INT64_MAX, NULL},
    {"{\"timestamp\":-9223372036854775807}", -INT64_MAX, NULL},
    {"{}", NONE, NULL},
    {"null", NONE, NULL},
    {"{\"type\":\"data\",\"x\":{\"data\":1,\"timestamp\":2},\"data\":3}", NONE, "3"},
    {"{\"DATA\":1,\"TimeStamp\":2}", 2, "1"},
    {"{\"d\\u0061t\\u0041\":1,\"time\\u017ftamp\":2}", 2, "1"},
    {"{\"time\xc5\xbftamp\":2}", 2, NULL},
    {"{\"data \":1,\"dat\":1,\"dataa\":1,\"\":1,\"d\\u0000ta\":1,\"d\xc3\xa1ta\":1}", NONE, NULL},
    {"{\"dat\\n\":1,\"\\\"data\":2,\"dat\\u00e1\":3,\"dat\\ud83d\\ude00\":4}", NONE, NULL},
    {"{\"data\":1,\"data\":2,\"timestamp\":3,\"timestamp\":4}", 4, "2"},
    {"{\"timestamp\":3,\"timestamp\":null}", NONE, NULL},
};

Test(json, takes_an_insert_body_apart)
{
    for (size_t i = 0; i < COUNTOF(inserts); i++) {
        const char *const want = inserts[i].data;
        const size_t bytes = strlen(inserts[i].text);
        char *copy = exact_copy(inserts[i].text, bytes);
        struct ts_json_insert body = {0};

        cr_expect_eq(ts_json_insert(copy, bytes, true, &body), TS_OK, "%s: %s", inserts[i].text,
                     ts_error_text());
        cr_expect_eq(body.has_time, inserts[i].time_ns != NONE, "%s", inserts[i].text);
        cr_expect(!body.has_time || body.time_ns == inserts[i].time_ns, "%s: %lld", inserts[i].text,
                  (long long)body.time_ns);
        cr_expect_eq(body.has_data, want != NULL, "%s", inserts[i].text);
        cr_expect(want == NULL || (body.data.bytes == strlen(want) &&
                                   memcmp(body.data.at, want, body.data.bytes) == 0),
                  "%s: %.*s", inserts[i].text, (int)body.data.bytes, body.data.at);
        free(copy);
    }
}

#define MISTYPED(what) "json: cannot unmarshal " what " into field timestamp of type int64"

static const struct {
    const char *text;
    const char *want, *want_strict; /* the error's text; NULL: accepted */
} bad_inserts[] = {
    {"", "EOF", CUT},
    {" \n", "EOF", CUT},
    {"{", "unexpected EOF", CUT},
    {"{\"data\":{\"a\":1}", "unexpected EOF", CUT},
    {"{\"data\"", "unexpected EOF", CUT},
    {"{\"data\":", "unexpected EOF", CUT},
    {"{\"data\":1,", "unexpected EOF", CUT},
    {"nul", "unexpected EOF", CUT},
    {"zz", "invalid character 'z' looking for beginning of value",
     "invalid character 'z' looking for beginning of value"},
    {"{\"data\":1,}", "invalid character '}' looking for beginning of object key string at byte 10",
     "invalid character '}' looking for beginning of object key string at byte 10"},
    {"{\"data\":1;", "invalid character ';' after object key:value pair at byte 9",
     "invalid character ';' after object key:value pair at byte 9"},
    {"{\"data\":1} x", NULL, "invalid character 'x' after top-level value at byte 11"},
    {"{\"data\":1}{", NULL, "invalid character '{' after top-level value at byte 10"},
    {"[1]", "json: cannot unmarshal array into value of type object",
     "json: cannot unmarshal array into value of type object"},
    {"\"data\"", "json: cannot unmarshal string into value of type object",
     "json: cannot unmarshal string into value of type object"},
    {"7", "json: cannot unmarshal number into value of type object",
     "json: cannot unmarshal number into value of type object"},
    {"true", "json: cannot unmarshal bool into value of type object",
     "json: cannot unmarshal bool into value of type object"},
    {"{\"timestamp\":\"5\"}", MISTYPED("string"), MISTYPED("string")},
    {"{\"timestamp\":1e3}", MISTYPED("number 1e3"), MISTYPED("number 1e3")},
    {"{\"timestamp\":1.5}", MISTYPED("number 1.5"), MISTYPED("number 1.5")},
    {"{\"timestamp\":9223372036854775808}", MISTYPED("number 9223372036854775808"),
     MISTYPED("number 9223372036854775808")},
    {"{\"timestamp\":-9223372036854775809}", MISTYPED("number -9223372036854775809"),
     MISTYPED("number -9223372036854775809")},
    {"{\"timestamp\":true}", MISTYPED("bool"), MISTYPED("bool")},
    {"{\"timestamp\":[1]}", MISTYPED("array"), MISTYPED("array")},
    {"{\"timestamp\":{\"a\":1}}", MISTYPED("object"), MISTYPED("object")},
    {"{\"timestamp\":\"5\",\"timestamp\":6}", MISTYPED("string"), MISTYPED("string")},
    /* A fault of syntax goes before one of type. */
    {"{\"timestamp\":\"5\",\"data\":", "unexpected EOF", CUT},
    {"{\"timestamp\":01}", "invalid character '1' after object key:value pair at byte 14",
     "invalid character '1' after object key:value pair at byte 14"},
};

Test(json, refuses_a_bad_insert_body_in_the_words_clients_know)
{
    for (size_t i = 0; i < COUNTOF(bad_inserts); i++) {
        const size_t bytes = strlen(bad_inserts[i].text);
        char *copy = exact_copy(bad_inserts[i].text, bytes);

        for (int strict = 0; strict < 2; strict++) {
            const char *want = strict ? bad_inserts[i].want_strict : bad_inserts[i].want;
            struct ts_json_insert body;
            const enum ts_err err = ts_json_insert(copy, bytes, strict, &body);

            cr_expect_eq(err, want != NULL ? TS_E_JSON : TS_OK, "%s", bad_inserts[i].text);
            cr_expect(want == NULL || strcmp(ts_error_text(), want) == 0, "%s: %s, not %s",
                      bad_inserts[i].text, ts_error_text(), want);
        }
        free(copy);
    }
}

Test(json, allows_data_as_deep_as_a_text_of_its_own)
{
    char text[160] = "{\"data\":";
    struct ts_json_insert body;

    memset(text + 8, '[', 64);
    memset(text + 72, ']', 64);
    text[136] = '}';
    cr_expect_eq(ts_json_insert(text, 137, true, &body), TS_OK, "%s", ts_error_text());
    cr_expect_eq(ts_json_check(body.data.at, body.data.bytes, NULL), TS_OK);
}
