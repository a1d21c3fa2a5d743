/* when.c - RFC 3339 to Unix nanoseconds and back, without the C library's calendar. */
#include "cli/when.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000

static const char bad_time[] = "cannot read time \"%.64s\": expected Unix nanoseconds or RFC 3339, "
                               "such as 2026-01-01T00:00:00Z";

/* Days from 1970-01-01 to the given day. Years start in March here, so that the leap day is the
 * last of its year. */
static int64_t
days_from_civil(int64_t year, unsigned month, unsigned day)
{
    const int64_t y = year - (month <= 2);
    const int64_t era = (y >= 0 ? y : y - 399) / 400;
    const int64_t year_of_era = y - era * 400;
    const int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static void
civil_from_days(int64_t days, int64_t *out_year, unsigned *out_month, unsigned *out_day)
{
    const int64_t z = days + 719468;
    const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    const int64_t doe = z - era * 146097;
    const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const unsigned mp = (unsigned)((5 * doy + 2) / 153);

    *out_day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    *out_month = mp < 10 ? mp + 3 : mp - 9;
    *out_year = yoe + era * 400 + (*out_month <= 2);
}

void
cli_time_text(int64_t time_ns, char out_text[CLI_TIME_BYTES])
{
    int64_t s = time_ns / NS_PER_S, ns = time_ns % NS_PER_S, days, in_day, year;
    unsigned month, day;
    char text[96];

    if (ns < 0) {
        ns += NS_PER_S;
        s--;
    }
    days = s / 86400;
    in_day = s % 86400;
    if (in_day < 0) {
        in_day += 86400;
        days--;
    }
    civil_from_days(days, &year, &month, &day);
    /* 64 bits of nanoseconds end in the years 1677 and 2262: always four digits. */
    snprintf(text, sizeof text,
             "%04" PRId64 "-%02u-%02uT%02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%09" PRId64 "Z",
             year, month, day, in_day / 3600, in_day / 60 % 60, in_day % 60, ns);
    memcpy(out_text, text, CLI_TIME_BYTES - 1);
    out_text[CLI_TIME_BYTES - 1] = '\0';
}

/* Reads exactly n digits at *at. */
static bool
take_digits(const char **at, unsigned n, unsigned *out_value)
{
    unsigned value = 0;

    for (unsigned i = 0; i < n; i++) {
        const char c = (*at)[i];

        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (unsigned)(c - '0');
    }
    *at += n;
    *out_value = value;
    return true;
}

static bool
take_char(const char **at, const char *allowed)
{
    if (**at == '\0' || strchr(allowed, **at) == NULL)
        return false;
    (*at)++;
    return true;
}

/* ".123" as nanoseconds; more than nine digits are refused, they could not be kept. */
static bool
take_fraction(const char **at, unsigned *out_ns)
{
    unsigned scale = NS_PER_S / 10, n_digits = 0, digit, ns = 0;

    *out_ns = 0;
    if (!take_char(at, "."))
        return true;
    while (take_digits(at, 1, &digit)) {
        if (++n_digits > 9)
            return false;
        ns += digit * scale;
        scale /= 10;
    }
    *out_ns = ns;
    return n_digits > 0;
}

static bool
take_offset(const char **at, int *out_offset_s)
{
    unsigned hour, minute;
    bool west;

    *out_offset_s = 0;
    if (take_char(at, "Zz"))
        return true;
    west = **at == '-';
    if (!take_char(at, "+-") || !take_digits(at, 2, &hour) || !take_char(at, ":") ||
        !take_digits(at, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *out_offset_s = (int)(hour * 3600 + minute * 60) * (west ? -1 : 1);
    return true;
}

static bool
day_exists(unsigned year, unsigned month, unsigned day)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month >= 1 && month <= 12 && day >= 1 &&
           day <= days[month - 1] + (unsigned)(month == 2 && leap);
}

static bool
parse_rfc3339(const char *at, int64_t *out_time_ns)
{
    unsigned year, month, day, hour = 0, minute = 0, second = 0, ns = 0;
    int offset_s = 0;
    int64_t s;

    if (!take_digits(&at, 4, &year) || !take_char(&at, "-") || !take_digits(&at, 2, &month) ||
        !take_char(&at, "-") || !take_digits(&at, 2, &day) || !day_exists(year, month, day))
        return false;
    if (*at != '\0' &&
        (!take_char(&at, "Tt ") || !take_digits(&at, 2, &hour) || !take_char(&at, ":") ||
         !take_digits(&at, 2, &minute) || !take_char(&at, ":") || !take_digits(&at, 2, &second) ||
         !take_fraction(&at, &ns) || !take_offset(&at, &offset_s)))
        return false;
    /* Second 60, the leap second, is no point of Unix time. */
    if (*at != '\0' || hour > 23 || minute > 59 || second > 59)
        return false;
    s = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s;
    /* In the first second of the range s * 10^9 alone would overflow: build it one second up. */
    if (s < 0)
        return !__builtin_mul_overflow(s + 1, NS_PER_S, &s) &&
               !__builtin_add_overflow(s, (int64_t)ns - NS_PER_S, out_time_ns);
    return !__builtin_mul_overflow(s, NS_PER_S, &s) &&
           !__builtin_add_overflow(s, (int64_t)ns, out_time_ns);
}

enum ts_err
cli_time_parse(const char *text, int64_t *out_time_ns)
{
    int64_t time_ns = 0;

    if (!parse_rfc3339(text, &time_ns))
        return TS_FAIL(TS_E_USAGE, bad_time, text);
    *out_time_ns = time_ns;
    return TS_OK;
}

static int64_t
clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t
cli_now_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

int64_t
cli_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}
