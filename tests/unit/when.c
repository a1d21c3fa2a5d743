/* when.c - times as people write them. */
#include "cli/when.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    const char *text;
    int64_t time_ns;
} times[] = {
    {"1970-01-01T00:00:00.000000000Z", 0},
    {"1969-12-31T23:59:59.999999999Z", -1},
    {"2026-01-01T00:00:00.000000000Z", 1767225600000000000},
    {"2024-02-29T12:34:56.000000789Z", 1709210096000000789},
    {"2000-02-29T00:00:00.000000000Z", 951782400000000000},
    {"2262-04-11T23:47:16.854775807Z", INT64_MAX},
    {"1677-09-21T00:12:43.145224192Z", INT64_MIN},
};

Test(when, writes_and_reads_every_time)
{
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char text[CLI_TIME_BYTES];
        int64_t time_ns = 12345;

        cli_time_text(times[i].time_ns, text);
        cr_expect_str_eq(text, times[i].text);
        cr_expect_eq(cli_time_parse(text, &time_ns), TS_OK, "%s", text);
        cr_expect_eq(time_ns, times[i].time_ns, "%s", text);
    }
}

Test(when, reads_shorter_forms_and_offsets)
{
    static const char *const same[] = {
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "2026-01-01 00:00:00z",
        "2026-01-01t00:00:00Z",
        "2026-01-01T00:00:00.0Z",
        "2026-01-01T01:30:00+01:30",
        "2025-12-31T19:00:00-05:00",
    };

    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        int64_t time_ns = 0;

        cr_expect_eq(cli_time_parse(same[i], &time_ns), TS_OK, "%s", same[i]);
        cr_expect_eq(time_ns, 1767225600000000000, "%s", same[i]);
    }
}

Test(when, refuses_what_is_no_time)
{
    static const char *const bad[] = {
        "",
        "x",
        "2026",
        "2026-1-1",
        "2026-00-01",
        "2026-13-01",
        "2026-02-29",
        "1900-02-29",
        "2026-04-31",
        "2026-01-01T",
        "2026-01-01T00:00",
        "2026-01-01T00:00:00",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1234567890Z",
        "2026-01-01T00:00:00Zx",
        "2026-01-01T00:00:00+1:00",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+01:60",
        "2262-04-11T23:47:16.854775808Z",
        "1677-09-21T00:12:43.145224191Z",
        "9999-12-31T23:59:59Z",
        "0000-01-01",
        "-026-01-01",
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t time_ns = 7;

        cr_expect_eq(cli_time_parse(bad[i], &time_ns), TS_E_USAGE, "%s", bad[i]);
        cr_expect_eq(time_ns, 7, "%s", bad[i]);
    }
}
