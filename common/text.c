/* text.c - growing, and the forms of numbers, strings, bytes and times. */
#include "common/text.h"

#include "common/swar.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 256
#define TIME_BYTES 20 /* 2026-01-01T00:00:00Z */

/* ---- the growable text ---- */

void
ts_text_init(struct ts_text *text)
{
    *text = (struct ts_text){0};
}

void
ts_text_done(struct ts_text *text)
{
    free(text->at);
    ts_text_init(text);
}

void
ts_text_clear(struct ts_text *text)
{
    text->bytes = 0;
    text->failed = false;
}

/* Doubling, so that many small adds cost one copy of each byte on average. */
static bool
grow(struct ts_text *text, size_t more)
{
    size_t need, capacity = text->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : text->capacity;
    char *at;

    /* No object is larger than PTRDIFF_MAX: below it, doubling can't overflow. */
    if (__builtin_add_overflow(text->bytes, more, &need) || need > PTRDIFF_MAX) {
        text->failed = true;
        return false;
    }
    while (capacity < need)
        capacity *= 2;
    at = realloc(text->at, capacity);
    if (at == NULL) {
        text->failed = true;
        return false;
    }
    text->at = at;
    text->capacity = capacity;
    return true;
}

bool
ts_text_reserve(struct ts_text *text, size_t more)
{
    if (text->failed)
        return false;
    if (more <= text->capacity - text->bytes && text->at != NULL)
        return true;
    return grow(text, more);
}

void
ts_text_add(struct ts_text *text, const void *data, size_t bytes)
{
    if (bytes == 0 || !ts_text_reserve(text, bytes))
        return;
    memcpy(text->at + text->bytes, data, bytes);
    text->bytes += bytes;
}

void
ts_text_puts(struct ts_text *text, const char *string)
{
    ts_text_add(text, string, strlen(string));
}

void
ts_text_printf(struct ts_text *text, const char *format, ...)
{
    va_list args, again;
    int bytes;

    va_start(args, format);
    va_copy(again, args);
    bytes = vsnprintf(NULL, 0, format, args);
    if (bytes < 0)
        text->failed = true;
    /* vsnprintf() wants room for a NUL, which does not count as written. */
    else if (ts_text_reserve(text, (size_t)bytes + 1))
        text->bytes += (size_t)vsnprintf(text->at + text->bytes, (size_t)bytes + 1, format, again);
    va_end(again);
    va_end(args);
}

/* ---- numbers ---- */

static const char digit_pairs[] = "0001020304050607080910111213141516171819"
                                  "2021222324252627282930313233343536373839"
                                  "4041424344454647484950515253545556575859"
                                  "6061626364656667686970717273747576777879"
                                  "8081828384858687888990919293949596979899";

static void
put_pair(char *out, unsigned below_100)
{
    memcpy(out, digit_pairs + below_100 * 2, 2);
}

/* Eight digits, leading zeros included. */
static void
put_eight(char *out, unsigned number)
{
    const unsigned high = number / 10000, low = number % 10000;

    put_pair(out, high / 100);
    put_pair(out + 2, high % 100);
    put_pair(out + 4, low / 100);
    put_pair(out + 6, low % 100);
}

/* Times have 19 digits: two groups of eight that do not wait for each other, then what is left.
 * Digits are made from the right, and moved to the front by one copy of constant size. */
static size_t
format_number(char out[TS_FORMAT_NUMBER_BYTES], uint64_t number, bool is_negative)
{
    char digits[2 * TS_FORMAT_NUMBER_BYTES + 2] = "";
    size_t idx = TS_FORMAT_NUMBER_BYTES + 2;
    const size_t end = idx;

    while (number >= 100000000) {
        idx -= 8;
        put_eight(digits + idx, (unsigned)(number % 100000000));
        number /= 100000000;
    }
    while (number >= 10) {
        idx -= 2;
        put_pair(digits + idx, (unsigned)(number % 100));
        number /= 100;
    }
    /* Nothing is left if a pair was the front of the number. */
    if (number > 0 || idx == end)
        digits[--idx] = (char)('0' + number);
    if (is_negative)
        digits[--idx] = '-';
    memcpy(out, digits + idx, TS_FORMAT_NUMBER_BYTES);
    return end - idx;
}

size_t
ts_format_u64(char out[TS_FORMAT_NUMBER_BYTES], uint64_t number)
{
    return format_number(out, number, false);
}

size_t
ts_format_i64(char out[TS_FORMAT_NUMBER_BYTES], int64_t number)
{
    /* Negated as unsigned: INT64_MIN has no positive counterpart. */
    return format_number(out, number < 0 ? -(uint64_t)number : (uint64_t)number, number < 0);
}

void
ts_text_i64(struct ts_text *text, int64_t number)
{
    if (ts_text_reserve(text, TS_FORMAT_NUMBER_BYTES))
        text->bytes += ts_format_i64(text->at + text->bytes, number);
}

void
ts_text_u64(struct ts_text *text, uint64_t number)
{
    if (ts_text_reserve(text, TS_FORMAT_NUMBER_BYTES))
        text->bytes += ts_format_u64(text->at + text->bytes, number);
}

/* ---- strings ---- */

size_t
ts_utf8_sequence_bytes(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint8_t second_min = 0x80, second_max = 0xbf;
    size_t need;

    if (bytes == 0)
        return 0;
    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0; /* a continuation, or the first byte of an overlong or too great one */
    need = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (bytes < need)
        return 0;
    if (at[0] == 0xe0)
        second_min = 0xa0; /* below: overlong */
    else if (at[0] == 0xed)
        second_max = 0x9f; /* above: surrogates */
    else if (at[0] == 0xf0)
        second_min = 0x90; /* below: overlong */
    else if (at[0] == 0xf4)
        second_max = 0x8f; /* above: beyond U+10FFFF */
    if (at[1] < second_min || at[1] > second_max)
        return 0;
    for (size_t i = 2; i < need; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return need;
}

bool
ts_utf8_is_valid(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    size_t i = 0, step;

    while (i < bytes) {
        if (bytes - i >= TS_SWAR_BYTES && (ts_swar_load(at + i) & TS_SWAR_ALL(0x80)) == 0) {
            i += TS_SWAR_BYTES;
            continue;
        }
        step = ts_utf8_sequence_bytes(at + i, bytes - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

/* How many bytes from here stand for themselves in a JSON string. */
static size_t
plain_run(const uint8_t *at, size_t bytes)
{
    size_t i = 0, step;

    while (i < bytes) {
        if (bytes - i >= TS_SWAR_BYTES && ts_swar_json_special(ts_swar_load(at + i)) == 0) {
            i += TS_SWAR_BYTES;
            continue;
        }
        if (at[i] == '"' || at[i] == '\\' || at[i] < 0x20)
            break;
        step = ts_utf8_sequence_bytes(at + i, bytes - i);
        if (step == 0)
            break;
        i += step;
    }
    return i;
}

static void
add_escaped(struct ts_text *text, uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";
    static const char short_names[] = "btn\0fr"; /* 0x08 to 0x0d; 0x0b has none */
    char escape[6] = "\\u00";

    if (byte >= 0x80) {
        ts_text_puts(text, "\\ufffd");
    } else if (byte == '"' || byte == '\\') {
        escape[1] = (char)byte;
        ts_text_add(text, escape, 2);
    } else if (byte >= 0x08 && byte <= 0x0d && byte != 0x0b) {
        escape[1] = short_names[byte - 0x08];
        ts_text_add(text, escape, 2);
    } else {
        escape[4] = hex[byte >> 4];
        escape[5] = hex[byte & 15];
        ts_text_add(text, escape, sizeof escape);
    }
}

void
ts_text_json_string(struct ts_text *text, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    size_t run;

    ts_text_add(text, "\"", 1);
    while (bytes > 0) {
        run = plain_run(at, bytes);
        ts_text_add(text, at, run);
        at += run;
        bytes -= run;
        if (bytes > 0) {
            add_escaped(text, *at);
            at++;
            bytes--;
        }
    }
    ts_text_add(text, "\"", 1);
}

static void
put_base64(char out[4], unsigned bits)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    out[0] = letters[bits >> 18];
    out[1] = letters[bits >> 12 & 63];
    out[2] = letters[bits >> 6 & 63];
    out[3] = letters[bits & 63];
}

void
ts_text_base64(struct ts_text *text, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    size_t need;
    char *to;

    if (bytes == 0)
        return;
    if (__builtin_mul_overflow((bytes - 1) / 3 + 1, 4, &need)) {
        text->failed = true;
        return;
    }
    if (!ts_text_reserve(text, need))
        return;
    to = text->at + text->bytes;
    text->bytes += need;
    for (; bytes >= 3; bytes -= 3, from += 3, to += 4)
        put_base64(to, (unsigned)from[0] << 16 | (unsigned)from[1] << 8 | from[2]);
    if (bytes > 0) {
        put_base64(to, (unsigned)from[0] << 16 | (bytes == 2 ? (unsigned)from[1] << 8 : 0));
        to[3] = '=';
        if (bytes == 1)
            to[2] = '=';
    }
}

/* ---- times ---- */

/* Proleptic Gregorian date of a day counted from 1970-01-01.
 * Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: eras of
 * 400 years that begin on 1 March, so that the leap day comes last. */
static void
civil_from_day(int64_t day, unsigned *out_year, unsigned *out_month, unsigned *out_day)
{
    const int64_t from_0000 = day + 719468; /* 0000-03-01; int64 nanoseconds never get below it */
    const unsigned era = (unsigned)(from_0000 / 146097);
    const unsigned of_era = (unsigned)(from_0000 % 146097);
    const unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    const unsigned month = (5 * of_year + 2) / 153; /* 0 is March */

    *out_day = of_year - (153 * month + 2) / 5 + 1;
    *out_month = month < 10 ? month + 3 : month - 9;
    *out_year = year + era * 400 + (*out_month <= 2);
}

void
ts_text_time(struct ts_text *text, int64_t time_ns)
{
    /* Division rounds towards 0, a time before 1970 must be rounded towards the past. */
    const int64_t seconds = time_ns / 1000000000 - (time_ns % 1000000000 < 0);
    const int64_t day = seconds / 86400 - (seconds % 86400 < 0);
    const unsigned of_day = (unsigned)(seconds - day * 86400);
    unsigned year, month, month_day;
    char *out;

    if (!ts_text_reserve(text, TIME_BYTES))
        return;
    civil_from_day(day, &year, &month, &month_day);
    out = text->at + text->bytes;
    memcpy(out, "....-..-..T..:..:..Z", TIME_BYTES);
    put_pair(out, year / 100);
    put_pair(out + 2, year % 100);
    put_pair(out + 5, month);
    put_pair(out + 8, month_day);
    put_pair(out + 11, of_day / 3600);
    put_pair(out + 14, of_day / 60 % 60);
    put_pair(out + 17, of_day % 60);
    text->bytes += TIME_BYTES;
}
