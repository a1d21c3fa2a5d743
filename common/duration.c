/* duration.c - decimal numbers with a unit, added up in integers.
 *
 * No floating point: 1.1d is exact, and no locale decides what a decimal point is.
 */
#include "common/duration.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What is quoted of a text in an error. */
#define MAX_QUOTED_BYTES 128

/* Significant digits that are kept; times the longest unit they fit 128 bits. */
#define MAX_DIGITS 19

#define DAY_NS UINT64_C(86400000000000)

struct part {
    const char *at;
    const char *end;
};

static const struct {
    const char *name;
    uint64_t ns;
} units[] = {
    {"ns", 1},
    {"us", 1000},
    {"\302\265s", 1000}, /* U+00B5, micro sign */
    {"\316\274s", 1000}, /* U+03BC, Greek mu */
    {"ms", 1000000},
    {"s", 1000000000},
    {"m", UINT64_C(60000000000)},
    {"h", UINT64_C(3600000000000)},
};

/* ---- reasons ---- */

/* Copies at most MAX_QUOTED_BYTES of it, made fit to print. */
static const char *
printable(char out[4 * MAX_QUOTED_BYTES + 1], struct part part)
{
    size_t used = 0;

    for (size_t i = 0; part.at + i < part.end && i < MAX_QUOTED_BYTES; i++) {
        const unsigned char byte = (unsigned char)part.at[i];

        if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\')
            out[used++] = (char)byte;
        else if (byte == '"' || byte == '\\')
            used += (size_t)snprintf(out + used, 5, "\\%c", byte);
        else
            used += (size_t)snprintf(out + used, 5, "\\x%02x", byte);
    }
    out[used] = '\0';
    return out;
}

static enum ts_err
invalid(struct part whole)
{
    char text[4 * MAX_QUOTED_BYTES + 1];

    return TS_FAIL(TS_E_PARAM, "invalid duration: %s", printable(text, whole));
}

static enum ts_err
malformed(struct part whole)
{
    char text[4 * MAX_QUOTED_BYTES + 1];

    return TS_FAIL(TS_E_PARAM, "time: invalid duration \"%s\"", printable(text, whole));
}

static enum ts_err
unknown_unit(struct part unit, struct part whole)
{
    char name[4 * MAX_QUOTED_BYTES + 1], text[4 * MAX_QUOTED_BYTES + 1];

    if (unit.at == unit.end)
        return TS_FAIL(TS_E_PARAM, "time: missing unit in duration \"%s\"", printable(text, whole));
    return TS_FAIL(TS_E_PARAM, "time: unknown unit \"%s\" in duration \"%s\"",
                   printable(name, unit), printable(text, whole));
}

/* ---- numbers ---- */

static bool
is_digit(const struct part *rest)
{
    return rest->at < rest->end && *rest->at >= '0' && *rest->at <= '9';
}

/* digits x 10^exponent */
struct decimal {
    uint64_t digits;
    int64_t exponent;
};

/* Adds one digit. The 20th and later significant ones count as 0: they are below a nanosecond, or
 * the number is out of range anyway. */
static void
add_digit(struct decimal *number, unsigned digit, bool is_fraction)
{
    if (number->digits >= UINT64_C(1000000000000000000)) {
        number->exponent += !is_fraction;
        return;
    }
    number->digits = number->digits * 10 + digit;
    number->exponent -= is_fraction;
}

/* Reads digits with at most one point; false if there is no digit. */
static bool
take_decimal(struct part *rest, struct decimal *out)
{
    bool any = false;

    *out = (struct decimal){0};
    for (; is_digit(rest); rest->at++, any = true)
        add_digit(out, (unsigned)(*rest->at - '0'), false);
    if (rest->at < rest->end && *rest->at == '.')
        for (rest->at++; is_digit(rest); rest->at++, any = true)
            add_digit(out, (unsigned)(*rest->at - '0'), true);
    return any;
}

/* Reads an exponent if one begins here; false if what begins is none. */
static bool
take_exponent(struct part *rest, struct decimal *number)
{
    int64_t exponent = 0;
    bool negative = false;

    if (rest->at == rest->end || (*rest->at | 0x20) != 'e')
        return true;
    rest->at++;
    if (rest->at < rest->end && (*rest->at == '+' || *rest->at == '-'))
        negative = *rest->at++ == '-';
    if (!is_digit(rest))
        return false;
    for (; is_digit(rest); rest->at++)
        if (exponent < 1000000000)
            exponent = exponent * 10 + (*rest->at - '0');
    number->exponent += negative ? -exponent : exponent;
    return true;
}

/* Adds number x unit_ns, cut to whole nanoseconds; false beyond int64. */
static bool
add_scaled(struct decimal number, uint64_t unit_ns, int64_t *sum_ns)
{
    unsigned __int128 value = (unsigned __int128)number.digits * unit_ns;

    for (; number.exponent < 0 && value != 0; number.exponent++)
        value /= 10;
    for (; number.exponent > 0 && value != 0; number.exponent--) {
        if (value > INT64_MAX)
            return false;
        value *= 10;
    }
    if (value > INT64_MAX)
        return false;
    return !__builtin_add_overflow(*sum_ns, (int64_t)value, sum_ns);
}

/* ---- the two forms ---- */

/* One number, of days or weeks. */
static enum ts_err
parse_days(struct part rest, struct part whole, uint64_t unit_ns, int64_t *out_ns)
{
    struct decimal number;

    if (!take_decimal(&rest, &number) || !take_exponent(&rest, &number) || rest.at != rest.end)
        return invalid(whole);
    if (!add_scaled(number, unit_ns, out_ns))
        return invalid(whole);
    return TS_OK;
}

static uint64_t
find_unit(struct part name)
{
    const size_t bytes = (size_t)(name.end - name.at);

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strlen(units[i].name) == bytes && memcmp(units[i].name, name.at, bytes) == 0)
            return units[i].ns;
    return 0;
}

/* Numbers with units, one behind the other. */
static enum ts_err
parse_sum(struct part rest, struct part whole, int64_t *out_ns)
{
    if (rest.end - rest.at == 1 && *rest.at == '0')
        return TS_OK;
    if (rest.at == rest.end)
        return malformed(whole);
    while (rest.at < rest.end) {
        struct decimal number;
        struct part unit;
        uint64_t unit_ns;

        if (!take_decimal(&rest, &number))
            return malformed(whole);
        unit.at = rest.at;
        while (rest.at < rest.end && *rest.at != '.' && !is_digit(&rest))
            rest.at++;
        unit.end = rest.at;
        unit_ns = find_unit(unit);
        if (unit_ns == 0)
            return unknown_unit(unit, whole);
        if (!add_scaled(number, unit_ns, out_ns))
            return invalid(whole);
    }
    return TS_OK;
}

static bool
is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

enum ts_err
ts_duration_parse(const char *text, size_t bytes, int64_t *out_ns)
{
    struct part whole, rest;
    bool negative = false;
    int64_t value_ns = 0;
    enum ts_err err;

    while (bytes > 0 && is_blank(text[0])) {
        text++;
        bytes--;
    }
    while (bytes > 0 && is_blank(text[bytes - 1]))
        bytes--;
    if (bytes == 0)
        return TS_FAIL(TS_E_PARAM, "empty duration string");
    whole = rest = (struct part){.at = text, .end = text + bytes};
    if (*rest.at == '-' || *rest.at == '+')
        negative = *rest.at++ == '-';
    if (text[bytes - 1] == 'd' || text[bytes - 1] == 'w') {
        rest.end--;
        err = parse_days(rest, whole, *rest.end == 'd' ? DAY_NS : 7 * DAY_NS, &value_ns);
    } else {
        err = parse_sum(rest, whole, &value_ns);
    }
    if (err == TS_OK)
        *out_ns = negative ? -value_ns : value_ns;
    return err;
}
