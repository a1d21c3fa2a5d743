/* duration.c - what clients may write, and what is refused in which words. */
#include "common/duration.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))

#define US INT64_C(1000)
#define MS (1000 * US)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/* From memory that ends with the text, so that a sanitizer sees a read beyond it. */
static enum ts_err
parse(const char *text, int64_t *out_ns)
{
    const size_t bytes = strlen(text);
    char *copy = malloc(bytes > 0 ? bytes : 1);
    enum ts_err err;

    cr_assert_not_null(copy);
    memcpy(copy, text, bytes);
    err = ts_duration_parse(copy, bytes, out_ns);
    free(copy);
    return err;
}

static const struct {
    const char *text;
    int64_t want_ns;
} accepted[] = {
    {"0", 0},
    {"-0", 0},
    {"+0", 0},
    {"0s", 0},
    {"0d", 0},
    {"1ns", 1},
    {"1us", US},
    {"1\302\265s", US},
    {"1\316\274s", US},
    {"500ms", 500 * MS},
    {"1s", SECOND},
    {"90m", 90 * MINUTE},
    {"1.5h", 90 * MINUTE},
    {"1h30m", 90 * MINUTE},
    {"1h1m1s1ms1us1ns", HOUR + MINUTE + SECOND + MS + US + 1},
    {"30m1h", 90 * MINUTE},
    {"1h1h", 2 * HOUR},
    {" \t15m\r\n", 15 * MINUTE},
    {"-5m", -5 * MINUTE},
    {"+5m", 5 * MINUTE},
    {".5s", 500 * MS},
    {"5.s", 5 * SECOND},
    {"0.1s", 100 * MS},
    {"1.000000001s", SECOND + 1},
    {"0.9ns", 0},
    {"0.33333333333333333333333333333333h", 1200 * SECOND - 1},
    {"000000000000000000000000000000001s", SECOND},
    {"7d", 7 * DAY},
    {"1.5d", 36 * HOUR},
    {"1.1d", 95040 * SECOND},
    {".5w", 84 * HOUR},
    {"5.d", 5 * DAY},
    {"1e2d", 100 * DAY},
    {"1E-3d", 86400 * MS},
    {"1.5e+1d", 15 * DAY},
    {"-2w", -14 * DAY},
    {"+2w", 14 * DAY},
    {" 1d ", DAY},
    {"3650d", 3650 * DAY},
    {"0e999999999999d", 0},
    {"1e-999999999999d", 0},
    {"10000000000000000000000000e-25d", DAY},
    {"9223372036854775807ns", INT64_MAX},
    {"-9223372036854775807ns", -INT64_MAX},
    {"2562047h47m16.854775807s", INT64_MAX},
    {"106751d", 106751 * DAY},
};

Test(duration, reads_every_form_exactly)
{
    for (size_t i = 0; i < COUNTOF(accepted); i++) {
        int64_t ns = -1;

        cr_expect_eq(parse(accepted[i].text, &ns), TS_OK, "%s: %s", accepted[i].text,
                     ts_error_text());
        cr_expect_eq(ns, accepted[i].want_ns, "%s: %lld", accepted[i].text, (long long)ns);
    }
}

static const struct {
    const char *text, *want;
} refused[] = {
    {"", "empty duration string"},
    {" \t", "empty duration string"},
    {"zz", "time: invalid duration \"zz\""},
    {"-", "time: invalid duration \"-\""},
    {"+", "time: invalid duration \"+\""},
    {"--5m", "time: invalid duration \"--5m\""},
    {".", "time: invalid duration \".\""},
    {".s", "time: invalid duration \".s\""},
    {"s", "time: invalid duration \"s\""},
    {"- 5m", "time: invalid duration \"- 5m\""},
    {"infs", "time: invalid duration \"infs\""},
    {"a\"\\\001\377s", "time: invalid duration \"a\\\"\\\\\\x01\\xffs\""},
    {"3600", "time: missing unit in duration \"3600\""},
    {"1h30", "time: missing unit in duration \"1h30\""},
    {"00", "time: missing unit in duration \"00\""},
    {"1.5.5s", "time: missing unit in duration \"1.5.5s\""},
    {"1y", "time: unknown unit \"y\" in duration \"1y\""},
    {"1H", "time: unknown unit \"H\" in duration \"1H\""},
    {"7D", "time: unknown unit \"D\" in duration \"7D\""},
    {"1 h", "time: unknown unit \" h\" in duration \"1 h\""},
    {"1d12h", "time: unknown unit \"d\" in duration \"1d12h\""},
    {"1e3s", "time: unknown unit \"e\" in duration \"1e3s\""},
    {"1m s", "time: unknown unit \"m s\" in duration \"1m s\""},
    {"1h30d", "invalid duration: 1h30d"},
    {"d", "invalid duration: d"},
    {"w", "invalid duration: w"},
    {".d", "invalid duration: .d"},
    {"-d", "invalid duration: -d"},
    {"1 d", "invalid duration: 1 d"},
    {"1dd", "invalid duration: 1dd"},
    {"1ed", "invalid duration: 1ed"},
    {"1e+d", "invalid duration: 1e+d"},
    {"e5d", "invalid duration: e5d"},
    {"1_0d", "invalid duration: 1_0d"},
    {"0x1d", "invalid duration: 0x1d"},
    {"infd", "invalid duration: infd"},
    {"-infw", "invalid duration: -infw"},
    {"NaNd", "invalid duration: NaNd"},
    {"20000w", "invalid duration: 20000w"},
    {"106752d", "invalid duration: 106752d"},
    {"1e99999999999999999999d", "invalid duration: 1e99999999999999999999d"},
    {"9223372036854775808ns", "invalid duration: 9223372036854775808ns"},
    {"-9223372036854775808ns", "invalid duration: -9223372036854775808ns"},
    {"2562047h47m16.854775808s", "invalid duration: 2562047h47m16.854775808s"},
    {"99999999999999999999999999999999999999999999ns",
     "invalid duration: 99999999999999999999999999999999999999999999ns"},
    {"18446744073709551616h", "invalid duration: 18446744073709551616h"},
};

Test(duration, refuses_the_rest_in_the_words_clients_know)
{
    for (size_t i = 0; i < COUNTOF(refused); i++) {
        int64_t ns = 77;

        cr_expect_eq(parse(refused[i].text, &ns), TS_E_PARAM, "%s", refused[i].text);
        cr_expect_str_eq(ts_error_text(), refused[i].want);
        cr_expect_eq(ns, 77, "%s", refused[i].text);
    }
}

Test(duration, quotes_only_the_beginning_of_a_long_text)
{
    char text[100000];
    int64_t ns;

    memset(text, '\377', sizeof text);
    cr_expect_eq(ts_duration_parse(text, sizeof text, &ns), TS_E_PARAM);
    memset(text, '9', sizeof text);
    text[sizeof text - 1] = 'd';
    cr_expect_eq(ts_duration_parse(text, sizeof text, &ns), TS_E_PARAM);
    cr_expect_leq(strlen(ts_error_text()), 200u);
    memset(text, '0', sizeof text);
    text[1] = '.';
    text[sizeof text - 1] = 's';
    cr_expect_eq(ts_duration_parse(text, sizeof text, &ns), TS_OK);
    cr_expect_eq(ns, 0);
}
