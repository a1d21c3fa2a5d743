/* number.c - numbers read exactly, and written so that they read back. */
#include "common/number.h"

#include <criterion/criterion.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))

TestSuite(number, .timeout = 60);

static bool
parse(const char *text, struct ts_number *out)
{
    const size_t bytes = strlen(text);
    char *copy = malloc(bytes > 0 ? bytes : 1);
    bool ok;

    cr_assert_not_null(copy);
    memcpy(copy, text, bytes);
    ok = ts_number_parse((struct ts_span){.at = copy, .bytes = bytes}, out);
    free(copy);
    return ok;
}

static const char *
written(double value)
{
    static char out[64];
    struct ts_text text;

    ts_text_init(&text);
    ts_text_double(&text, value);
    cr_assert(!text.failed && text.bytes < sizeof out);
    memcpy(out, text.at, text.bytes);
    out[text.bytes] = '\0';
    ts_text_done(&text);
    return out;
}

static const struct {
    double value;
    const char *want;
} doubles[] = {
    {0, "0"},
    {-0.0, "0"},
    {1, "1"},
    {-1, "-1"},
    {21.5, "21.5"},
    {0.1, "0.1"},
    {0.1 + 0.2, "0.30000000000000004"},
    {1.0 / 3, "0.3333333333333333"},
    {100, "100"},
    {123456789012, "123456789012"},
    {9007199254740992, "9007199254740992"},
    {-9007199254740992, "-9007199254740992"},
    {9007199254740994, "9007199254740994"},
    {123456789012345680000.0, "123456789012345680000"},
    {1e20, "100000000000000000000"},
    {1e21, "1e+21"},
    {-1.5e300, "-1.5e+300"},
    {0.000001, "0.000001"},
    {0.00000123, "0.00000123"},
    {1e-7, "1e-7"},
    {-1.25e-7, "-1.25e-7"},
    {DBL_MAX, "1.7976931348623157e+308"},
    {DBL_MIN, "2.2250738585072014e-308"},
    {5e-324, "5e-324"},
    {1.5e-323, "1.5e-323"},
    {0x1p-44, "5.684341886080802e-14"},
    {2e-44, "2e-44"},
    {INFINITY, "null"},
    {-INFINITY, "null"},
    {NAN, "null"},
};

Test(number, writes_the_shortest_form)
{
    for (size_t i = 0; i < COUNTOF(doubles); i++)
        cr_expect_str_eq(written(doubles[i].value), doubles[i].want, "%s: %s", doubles[i].want,
                         written(doubles[i].value));
}

static const struct {
    const char *text;
    bool is_integer;
    double want;
} numbers[] = {
    {"0", true, 0},
    {"-0", false, -0.0},
    {"7", true, 7},
    {"-7", true, -7},
    {"9007199254740993", true, 9007199254740992},
    {"9223372036854775807", true, 9223372036854775807.0},
    {"-9223372036854775808", true, -9223372036854775808.0},
    {"-9223372036854775809", false, -9223372036854775808.0},
    {"18446744073709551615", true, 18446744073709551615.0},
    {"18446744073709551616", false, 18446744073709551616.0},
    {"99999999999999999999", false, 1e20},
    {"100000000000000000000000", false, 1e23},
    {"1.0", false, 1},
    {"1e3", false, 1000},
    {"1E+3", false, 1000},
    {"21.5", false, 21.5},
    {"-0.001", false, -0.001},
    {"0.000", false, 0},
    {"0e99999999999999999999", false, 0},
    {"1e400", false, INFINITY},
    {"-1e99999999999999999999999", false, -INFINITY},
    {"1e-400", false, 0},
    {"4.9406564584124654e-324", false, 5e-324},
    {"2.4703282292062327e-324", false, 0},
    {"2.4703282292062328e-324", false, 5e-324},
    {"1.7976931348623157e308", false, DBL_MAX},
    {"1.7976931348623159e308", false, INFINITY},
    {"123456789.123456789123456789", false, 123456789.123456789123456789},
    {"8.5070591730234615847396907784232501249e37", false, 0x1p126},
};

Test(number, reads_numbers_exactly)
{
    struct ts_number number;

    for (size_t i = 0; i < COUNTOF(numbers); i++) {
        cr_assert(parse(numbers[i].text, &number), "%s", numbers[i].text);
        cr_expect_eq(number.is_integer, numbers[i].is_integer, "%s", numbers[i].text);
        cr_expect(number.real == numbers[i].want, "%s: %.17g", numbers[i].text, number.real);
    }
}

static const char *const not_numbers[] = {
    "",   "-",  "+1",  ".5",  "1.",  "1.e5", "1e",  "1e+",   "01",    "-01",   "00",       "1a",
    " 1", "1 ", "0x1", "1_0", "NaN", "inf",  "--1", "1.2.3", "1e5.5", "1e5e5", "Infinity", "1,5",
};

Test(number, refuses_what_is_no_json_number)
{
    struct ts_number number;

    for (size_t i = 0; i < COUNTOF(not_numbers); i++)
        cr_expect_not(parse(not_numbers[i], &number), "%s", not_numbers[i]);
}

/* 2^53 + 1 lies half way; only what comes 900 digits later decides. */
Test(number, looks_at_every_digit)
{
    char text[1100] = "9007199254740993.";
    struct ts_number number;
    const size_t n = strlen(text);

    memset(text + n, '0', 1000);
    text[n + 1000] = '\0';
    cr_assert(parse(text, &number));
    cr_expect(number.real == 9007199254740992.0);
    text[n + 999] = '1';
    cr_assert(parse(text, &number));
    cr_expect(number.real == 9007199254740994.0);
    /* A thousand zeros in front and an exponent that takes them back. */
    snprintf(text, sizeof text, "0.%0900d%s", 0, "125e903");
    cr_assert(parse(text, &number));
    cr_expect(number.real == 125, "%.17g", number.real);
}

Test(number, of_any_double_is_read_back)
{
    struct ts_number number;
    double value;

    srand(7);
    for (int round = 0; round < 30000; round++) {
        const uint64_t bits = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();

        memcpy(&value, &bits, sizeof value);
        if (round % 3 == 0)
            value = rand() % 100000 / 100.0;
        if (!isfinite(value))
            continue;
        cr_assert(parse(written(value), &number), "%s", written(value));
        cr_assert(number.real == value, "%.17g as %s", value, written(value));
    }
}

Test(number, of_random_digits_is_what_the_c_library_reads)
{
    struct ts_number number;
    char text[80];

    srand(8);
    for (int round = 0; round < 30000; round++) {
        size_t n = 0;

        if (rand() % 2)
            text[n++] = '-';
        text[n++] = (char)('1' + rand() % 9);
        for (int i = rand() % 24; i > 0; i--)
            text[n++] = (char)('0' + rand() % 10);
        if (rand() % 2) {
            text[n++] = '.';
            for (int i = rand() % 24; i >= 0; i--)
                text[n++] = (char)('0' + rand() % 10);
        }
        text[n] = '\0';
        if (rand() % 2)
            snprintf(text + n, sizeof text - n, "e%d", rand() % 700 - 350);
        cr_assert(parse(text, &number), "%s", text);
        cr_assert(number.real == strtod(text, NULL), "%s: %.17g", text, number.real);
    }
}

static const struct {
    const char *a, *b;
    int want;
} pairs[] = {
    {"1", "2", -1},
    {"2", "1", 1},
    {"1", "1.0", 0},
    {"1.5", "1", 1},
    {"1", "1.5", -1},
    {"-1", "-1.5", 1},
    {"9007199254740993", "9007199254740992.0", 1},
    {"9007199254740992.0", "9007199254740993", -1},
    {"9007199254740992", "9007199254740993", -1},
    {"18446744073709551615", "1e300", -1},
    {"18446744073709551615", "-1e300", 1},
    {"18446744073709551615", "18446744073709551616", -1},
    {"0", "-0", 0},
    {"1e-300", "0", 1},
};

Test(number, is_compared_by_exact_value)
{
    struct ts_number a, b;

    for (size_t i = 0; i < COUNTOF(pairs); i++) {
        cr_assert(parse(pairs[i].a, &a) && parse(pairs[i].b, &b));
        cr_expect_eq(ts_number_compare(&a, &b), pairs[i].want, "%s, %s", pairs[i].a, pairs[i].b);
        cr_expect_eq(ts_number_compare(&b, &a), -pairs[i].want, "%s, %s", pairs[i].b, pairs[i].a);
    }
}

Test(number, keeps_all_digits_of_integers)
{
    static const char *const texts[] = {"9007199254740993", "18446744073709551615",
                                        "-9223372036854775808", "0", "-1"};
    struct ts_number number;
    struct ts_text text;

    ts_text_init(&text);
    for (size_t i = 0; i < COUNTOF(texts); i++) {
        ts_text_clear(&text);
        cr_assert(parse(texts[i], &number));
        ts_text_number(&text, &number);
        cr_expect(text.bytes == strlen(texts[i]) && memcmp(text.at, texts[i], text.bytes) == 0,
                  "%s", texts[i]);
    }
    ts_text_done(&text);
}

Test(number, does_not_ask_the_locale)
{
    struct ts_number number;

    /* Where there is a locale with a comma, it must change nothing. */
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8") == NULL && setlocale(LC_NUMERIC, "de_DE") == NULL)
        (void)setlocale(LC_NUMERIC, "C");
    cr_expect_str_eq(written(0.30000000000000004), "0.30000000000000004");
    cr_expect(parse("0.30000000000000000000000000004", &number) && number.real == 0.3);
}
