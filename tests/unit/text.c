/* text.c - what is written is right to the byte, whatever the input. */
#include "common/text.h"

#include <criterion/criterion.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT(literal) (literal), sizeof(literal) - 1

static struct ts_text text;

static void
begin(void)
{
    ts_text_init(&text);
}

static void
end(void)
{
    ts_text_done(&text);
}

TestSuite(text, .init = begin, .fini = end);

static bool
holds(const char *want)
{
    return !text.failed && text.bytes == strlen(want) &&
           (text.bytes == 0 || memcmp(text.at, want, text.bytes) == 0);
}

Test(text, grows_with_what_is_added_and_keeps_its_memory_when_cleared)
{
    size_t capacity;

    cr_expect(holds(""));
    ts_text_add(&text, NULL, 0);
    ts_text_puts(&text, "");
    cr_expect(holds(""));
    for (int i = 0; i < 1000; i++)
        ts_text_puts(&text, "0123456789");
    cr_expect_eq(text.bytes, 10000u);
    cr_expect(memcmp(text.at + 9990, "0123456789", 10) == 0);
    capacity = text.capacity;
    ts_text_clear(&text);
    cr_expect_eq(text.capacity, capacity);
    ts_text_printf(&text, "%s-%d%c", "a", 5, 0);
    cr_expect_eq(text.bytes, 4u);
    cr_expect(memcmp(text.at, "a-5", 4) == 0);
}

Test(text, fails_for_good_when_memory_runs_out)
{
    ts_text_puts(&text, "kept");
    cr_expect_not(ts_text_reserve(&text, SIZE_MAX - 4));
    cr_expect(text.failed);
    ts_text_puts(&text, "ignored");
    ts_text_i64(&text, 5);
    cr_expect_eq(text.bytes, 4u);
    cr_expect_not(ts_text_reserve(&text, 1));
    ts_text_clear(&text);
    ts_text_puts(&text, "again");
    cr_expect(holds("again"));
    cr_expect_not(ts_text_reserve(&text, SIZE_MAX));
}

/* ---- numbers ---- */

static void
expect_number(int64_t number)
{
    char want[32], digits[TS_FORMAT_NUMBER_BYTES];
    size_t bytes;

    snprintf(want, sizeof want, "%" PRId64, number);
    bytes = ts_format_i64(digits, number);
    cr_expect(bytes == strlen(want) && memcmp(digits, want, bytes) == 0, "%s: %.*s", want,
              (int)bytes, digits);
    ts_text_clear(&text);
    ts_text_i64(&text, number);
    cr_expect(holds(want), "%s", want);
    snprintf(want, sizeof want, "%" PRIu64, (uint64_t)number);
    ts_text_clear(&text);
    ts_text_u64(&text, (uint64_t)number);
    cr_expect(holds(want), "%s", want);
}

Test(text, writes_integers_of_every_length)
{
    uint64_t power = 1;

    for (int digits = 1; digits <= 20; digits++, power *= 10) {
        for (int64_t i = -3; i <= 3; i++) {
            expect_number((int64_t)(power + (uint64_t)i));
            expect_number((int64_t)(power * 7 + (uint64_t)i));
            expect_number((int64_t) - (power + (uint64_t)i));
        }
    }
    expect_number(INT64_MIN);
    expect_number(INT64_MAX);
    expect_number(1767225600123456789);
    for (int64_t i = 0; i < 2000; i++)
        expect_number(i);
}

/* ---- strings ---- */

static const struct {
    const char *data;
    size_t bytes;
    const char *want;
} strings[] = {
    {TEXT(""), "\"\""},
    {TEXT("plain"), "\"plain\""},
    {TEXT("a longer plain text, of some words"), "\"a longer plain text, of some words\""},
    {TEXT("\"\\/"), "\"\\\"\\\\/\""},
    {TEXT("\b\t\n\v\f\r"), "\"\\b\\t\\n\\u000b\\f\\r\""},
    {TEXT("\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\x7f\""},
    {TEXT("12345678\n12345678\""), "\"12345678\\n12345678\\\"\""},
    {TEXT("<&>"), "\"<&>\""},
    {TEXT("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"),
     "\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\""},
    {TEXT("he\xffy"), "\"he\\ufffdy\""},
    {TEXT("\xc3"), "\"\\ufffd\""},
    {TEXT("\xe2\x82"), "\"\\ufffd\\ufffd\""},
    {TEXT("\xe2\x82x"), "\"\\ufffd\\ufffdx\""},
    {TEXT("\xc0\x80"), "\"\\ufffd\\ufffd\""},
    {TEXT("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\""},
    {TEXT("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
    {TEXT("\x80\xc3\xa9\x80"), "\"\\ufffd\xc3\xa9\\ufffd\""},
};

Test(text, escapes_strings_and_replaces_each_bad_byte)
{
    for (size_t i = 0; i < COUNTOF(strings); i++) {
        ts_text_clear(&text);
        ts_text_json_string(&text, strings[i].data, strings[i].bytes);
        cr_expect(holds(strings[i].want), "%s: %.*s", strings[i].want, (int)text.bytes, text.at);
    }
}

static const struct {
    const char *data, *want;
} base64[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

Test(text, writes_base64_with_padding)
{
    for (size_t i = 0; i < COUNTOF(base64); i++) {
        ts_text_clear(&text);
        ts_text_base64(&text, base64[i].data, strlen(base64[i].data));
        cr_expect(holds(base64[i].want), "%s: %.*s", base64[i].want, (int)text.bytes, text.at);
    }
    ts_text_clear(&text);
    ts_text_base64(&text, TEXT("\0\xff\x41"));
    cr_expect(holds("AP9B"));
    ts_text_clear(&text);
    ts_text_base64(&text, TEXT("\xfb\xef\xbe\xff\xff\xff"));
    cr_expect(holds("++++////"));
}

/* ---- times ---- */

static void
expect_time(int64_t time_ns)
{
    const time_t seconds = time_ns / 1000000000 - (time_ns % 1000000000 < 0);
    char want[40];
    struct tm parts;

    cr_assert_not_null(gmtime_r(&seconds, &parts));
    strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%SZ", &parts);
    ts_text_clear(&text);
    ts_text_time(&text, time_ns);
    cr_expect(holds(want), "%s: %.*s", want, (int)text.bytes, text.at);
}

Test(text, writes_every_time_that_fits_as_the_c_library_does)
{
    /* A step of some 11 days that is no multiple of a day, over all 584 years. */
    for (int64_t i = -9223; i <= 9223; i++)
        expect_time(i * 1000003000007007);
    for (int64_t day = 0; day < 1500; day++) /* every day of a leap cycle, to the second */
        for (int64_t edge = -1; edge <= 1; edge++)
            expect_time((day * 86400 + edge) * 1000000000);
    expect_time(INT64_MIN);
    expect_time(INT64_MAX);
    expect_time(-1);
    expect_time(0);
    expect_time(999999999);
    expect_time(1767225600000000000);
    cr_expect(holds("2026-01-01T00:00:00Z"));
}

/* ---- UTF-8 ---- */

static size_t
encode(char out[4], uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

Test(text, takes_exactly_the_code_points_of_unicode_for_utf_8)
{
    unsigned n_wrong = 0;

    for (uint32_t code = 0; code < 0x1fffff; code++) {
        const bool want = code < 0xd800 || (code > 0xdfff && code < 0x110000);
        char bytes[12] = "abcdefghijk";
        const size_t n = encode(bytes + 3, code);

        n_wrong += ts_utf8_sequence_bytes(bytes + 3, n) != (want ? n : 0);
        n_wrong += n > 1 && ts_utf8_sequence_bytes(bytes + 3, n - 1) != 0;
        n_wrong += ts_utf8_is_valid(bytes, 11) != want;
    }
    cr_expect_eq(n_wrong, 0u);
}

static const struct {
    const char *data;
    size_t bytes;
    bool want;
} utf8[] = {
    {TEXT(""), true},
    {TEXT("a\0b"), true},
    {TEXT("12345678\xff"), false},
    {TEXT("1234567\xc3\xa9"), true},
    {TEXT("1234567\xc3"), false},
    {TEXT("\x80"), false},
    {TEXT("\xc0\x80"), false},
    {TEXT("\xc1\xbf"), false},
    {TEXT("\xe0\x80\xaf"), false},
    {TEXT("\xf0\x80\x80\x80"), false},
    {TEXT("\xf8\x88\x80\x80\x80"), false},
    {TEXT("\xc3\x28"), false},
    {TEXT("\xe2\x28\xa1"), false},
    {TEXT("\xe2\x82\x28"), false},
    {TEXT("\xf0\x9f\x98\xc0"), false},
};

Test(text, refuses_bytes_that_are_no_utf_8)
{
    cr_expect_eq(ts_utf8_sequence_bytes("a", 0), 0u);
    for (size_t i = 0; i < COUNTOF(utf8); i++)
        cr_expect_eq(ts_utf8_is_valid(utf8[i].data, utf8[i].bytes), utf8[i].want, "row %zu", i);
}
