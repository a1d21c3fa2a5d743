/* number.c - one pass over the digits; the C library only where 64 bits don't decide.
 *
 * strtod() and snprintf() ask the locale for the decimal point. So they are never shown one: digits
 * go in as an integer with an exponent, and come out with whatever stands between them ignored.
 */
#include "common/number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Half way between two doubles lies a number of at most 767 digits: what follows can only decide
 * by being there at all. */
#define MAX_DIGITS 780

#define MAX_EXACT_POWER 22 /* 10^22 is the last power of ten that is a double */
#define MAX_EXACT_INTEGER (UINT64_C(1) << 53)
#define MAX_EXPONENT 100000 /* far beyond: 0 or infinite, whatever the digits are */

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- reading ---- */

struct decimal {
    const char *digits, *digits_end; /* view; the mantissa, its point included */
    uint64_t mantissa;               /* if it is of at most 19 digits */
    size_t n_digits;                 /* without leading zeros */
    int64_t exponent;                /* of the last digit */
    bool is_negative, is_plain;      /* plain: neither fraction nor exponent */
};

static const char *
take_digits(const char *at, const char *end, struct decimal *out)
{
    for (; at < end && is_digit(*at); at++) {
        if (out->n_digits > 0 || *at != '0')
            out->n_digits++;
        out->mantissa = out->mantissa * 10 + (uint64_t)(*at - '0'); /* wraps: then it is not used */
    }
    return at;
}

static const char *
take_exponent(const char *at, const char *end, struct decimal *out)
{
    bool is_negative = false;
    int64_t exponent = 0;
    const char *digits;

    if (at < end && (*at == '+' || *at == '-'))
        is_negative = *at++ == '-';
    for (digits = at; at < end && is_digit(*at); at++)
        /* Held far from overflow, and far from what any number of digits makes up for. */
        if (exponent < INT64_MAX / 100)
            exponent = exponent * 10 + (*at - '0');
    out->exponent += is_negative ? -exponent : exponent;
    return at > digits ? at : NULL;
}

static bool
scan(struct ts_span text, struct decimal *out)
{
    const char *at = text.at, *const end = text.at + text.bytes, *fraction;

    *out = (struct decimal){.is_plain = true};
    if (at < end && *at == '-') {
        out->is_negative = true;
        at++;
    }
    out->digits = at;
    at = take_digits(at, end, out);
    if (at == out->digits || (*out->digits == '0' && at > out->digits + 1))
        return false;
    out->digits_end = at;
    if (at < end && *at == '.') {
        fraction = at + 1;
        at = take_digits(fraction, end, out);
        if (at == fraction)
            return false;
        out->exponent = -(int64_t)(at - fraction);
        out->digits_end = at;
        out->is_plain = false;
    }
    if (at < end && (*at | 0x20) == 'e') {
        out->is_plain = false;
        at = take_exponent(at + 1, end, out);
    }
    return at == end;
}

/* With the C library: correct for any number of digits. */
static double
convert(const struct decimal *number)
{
    char copy[MAX_DIGITS + 32];
    int64_t exponent = number->exponent;
    size_t n = 0, n_left = number->n_digits;
    bool has_rest = false;

    for (const char *at = number->digits; at < number->digits_end; at++) {
        if (*at == '.' || (n == 0 && *at == '0'))
            continue;
        if (n == MAX_DIGITS) {
            exponent += (int64_t)n_left;
            for (; at < number->digits_end; at++)
                has_rest = has_rest || (*at != '.' && *at != '0');
            break;
        }
        copy[n++] = *at;
        n_left--;
    }
    if (n == 0)
        return 0;
    if (has_rest) {
        copy[n++] = '1';
        exponent--;
    }
    if (exponent > MAX_EXPONENT)
        exponent = MAX_EXPONENT;
    if (exponent < -MAX_EXPONENT)
        exponent = -MAX_EXPONENT;
    snprintf(copy + n, sizeof copy - n, "e%d", (int)exponent);
    return strtod(copy, NULL);
}

static double
value_of(const struct decimal *number)
{
    static const double powers[MAX_EXACT_POWER + 1] = {
        1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const int64_t exponent = number->exponent;

    /* Both factors are exact, so one operation rounds once. Not where registers are wider. */
    if (FLT_EVAL_METHOD == 0 && number->n_digits <= 19 && number->mantissa <= MAX_EXACT_INTEGER &&
        exponent >= -MAX_EXACT_POWER && exponent <= MAX_EXACT_POWER)
        return exponent < 0 ? (double)number->mantissa / powers[-exponent]
                            : (double)number->mantissa * powers[exponent];
    return convert(number);
}

bool
ts_number_parse(struct ts_span text, struct ts_number *out)
{
    struct decimal number;

    if (!scan(text, &number))
        return false;
    out->is_integer = false;
    /* 20 digits may wrap around: 19 always fit. */
    if (number.is_plain && number.n_digits <= 20 && !(number.is_negative && number.n_digits == 0)) {
        unsigned __int128 magnitude = number.mantissa;

        if (number.n_digits == 20) {
            magnitude = 0;
            for (const char *at = number.digits; at < number.digits_end; at++)
                magnitude = magnitude * 10 + (unsigned)(*at - '0');
        }
        out->integer = number.is_negative ? -(__int128)magnitude : (__int128)magnitude;
        out->is_integer = out->integer >= INT64_MIN && out->integer <= (__int128)UINT64_MAX;
    }
    if (out->is_integer)
        out->real = (double)out->integer;
    else
        out->real = number.is_negative ? -value_of(&number) : value_of(&number);
    return true;
}

/* ---- comparing ---- */

static int
compare_to_real(__int128 integer, double real)
{
    __int128 whole;

    if (real >= 0x1p65)
        return -1;
    if (real <= -0x1p65)
        return 1;
    whole = (__int128)real; /* towards 0 */
    if (integer != whole)
        return integer < whole ? -1 : 1;
    return (real < (double)whole) - (real > (double)whole);
}

int
ts_number_compare(const struct ts_number *a, const struct ts_number *b)
{
    if (a->is_integer && b->is_integer)
        return (a->integer > b->integer) - (a->integer < b->integer);
    if (a->is_integer)
        return compare_to_real(a->integer, b->real);
    if (b->is_integer)
        return -compare_to_real(b->integer, a->real);
    return (a->real > b->real) - (a->real < b->real);
}

/* ---- writing ---- */

struct digits {
    char at[DBL_DECIMAL_DIG + 1]; /* without trailing zeros */
    int n;
    int exponent; /* of the first digit */
};

static bool
reads_back(const struct digits *digits, double value)
{
    char text[64];

    snprintf(text, sizeof text, "%.*se%d", digits->n, digits->at, digits->exponent - digits->n + 1);
    return strtod(text, NULL) == value;
}

/* The `precision` digits nearest to value. */
static void
find_nearest(double value, int precision, struct digits *out)
{
    char printed[64];
    const char *at = printed;

    snprintf(printed, sizeof printed, "%.*e", precision - 1, value);
    out->n = 0;
    for (; *at != 'e' && *at != '\0'; at++)
        if (is_digit(*at) && out->n < DBL_DECIMAL_DIG)
            out->at[out->n++] = *at;
    out->exponent = *at == 'e' ? (int)strtol(at + 1, NULL, 10) : 0;
}

/* Every decimal of up to 15 digits survives being a double, so the shortest form of at most 15 is
 * what 15 digits give without their zeros. Not so among subnormals, which have fewer. At a power of
 * two doubles are twice as far apart above as below: the next decimal above the nearest one may
 * read back where the nearest does not. */
static void
find_shortest(double value, struct digits *out)
{
    int precision = value < DBL_MIN ? 1 : DBL_DIG;

    for (; precision < DBL_DECIMAL_DIG; precision++) {
        find_nearest(value, precision, out);
        if (reads_back(out, value))
            break;
        if (out->at[out->n - 1] < '9') {
            out->at[out->n - 1]++;
            if (reads_back(out, value))
                break;
        }
    }
    if (precision == DBL_DECIMAL_DIG)
        find_nearest(value, precision, out);
    while (out->n > 1 && out->at[out->n - 1] == '0')
        out->n--;
}

static void
add_zeros(struct ts_text *text, int n)
{
    static const char zeros[] = "000000000000000000000";

    ts_text_add(text, zeros, (size_t)n);
}

static void
lay_out(struct ts_text *text, const struct digits *digits)
{
    const int point = digits->exponent + 1; /* how many digits stand before it */
    const size_t n = (size_t)digits->n;

    if (point > 21 || point <= -6) {
        ts_text_add(text, digits->at, 1);
        if (n > 1)
            ts_text_add(text, ".", 1);
        ts_text_add(text, digits->at + 1, n - 1);
        ts_text_printf(text, "e%+d", digits->exponent);
    } else if (point <= 0) {
        ts_text_add(text, "0.", 2);
        add_zeros(text, -point);
        ts_text_add(text, digits->at, n);
    } else if (point >= digits->n) {
        ts_text_add(text, digits->at, n);
        add_zeros(text, point - digits->n);
    } else {
        ts_text_add(text, digits->at, (size_t)point);
        ts_text_add(text, ".", 1);
        ts_text_add(text, digits->at + point, n - (size_t)point);
    }
}

void
ts_text_double(struct ts_text *text, double value)
{
    struct digits digits;

    if (!isfinite(value)) {
        ts_text_add(text, "null", 4);
        return;
    }
    /* Also the way of -0, which is 0. */
    if (fabs(value) <= (double)MAX_EXACT_INTEGER && value == (double)(int64_t)value) {
        ts_text_i64(text, (int64_t)value);
        return;
    }
    if (value < 0)
        ts_text_add(text, "-", 1);
    find_shortest(fabs(value), &digits);
    lay_out(text, &digits);
}

void
ts_text_number(struct ts_text *text, const struct ts_number *number)
{
    if (!number->is_integer)
        ts_text_double(text, number->real);
    else if (number->integer < 0)
        ts_text_i64(text, (int64_t)number->integer);
    else
        ts_text_u64(text, (uint64_t)number->integer);
}
