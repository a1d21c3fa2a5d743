/* aggregate_field.c - sums that stay exact, extremes, and the last value as it was written. */
#include "common/aggregate_field.h"

#include "common/json_walk.h"

#include <math.h>

#define NUMERIC_FUNCTIONS (TS_FUNCTION_AVG | TS_FUNCTION_MAX | TS_FUNCTION_MIN | TS_FUNCTION_SUM)

/* Room for a last value that is kept from window to window; more is given back. */
#define KEPT_BYTES 4096

/* What a text may occupy beyond the bytes in it: it grows by doubling, from a smallest size. */
#define room_of(bytes) (2 * (bytes) + 256)

void
ts_aggregate_field_clear(struct ts_aggregate_field *field)
{
    struct ts_text last = field->last;

    if (last.capacity > KEPT_BYTES)
        ts_text_done(&last);
    ts_text_clear(&last);
    *field = (struct ts_aggregate_field){.last = last};
}

/* ---- taking values ---- */

static void
add_fraction(struct ts_aggregate_field *field, double value)
{
    const double sum = field->fractions + value;

    /* What the smaller of the two lost, exactly. */
    if (fabs(field->fractions) >= fabs(value))
        field->lost += (field->fractions - sum) + value;
    else
        field->lost += (value - sum) + field->fractions;
    field->fractions = sum;
    field->has_fractions = true;
}

/* Of equals an integer stays, so that no order of them shows in the digits. */
static bool
goes_before(const struct ts_number *a, const struct ts_number *b, int sign)
{
    const int order = ts_number_compare(a, b) * sign;

    return order < 0 || (order == 0 && a->is_integer);
}

static void
add_number(struct ts_aggregate_field *field, struct ts_span value)
{
    struct ts_number number;

    /* Beyond the range of doubles nothing can be computed. */
    if (!ts_number_parse(value, &number) || !isfinite(number.real))
        return;
    if (number.is_integer)
        field->integers += number.integer;
    else
        add_fraction(field, number.real);
    if (field->n_numbers == 0 || goes_before(&number, &field->least, 1))
        field->least = number;
    if (field->n_numbers == 0 || goes_before(&number, &field->greatest, -1))
        field->greatest = number;
    field->n_numbers++;
}

static bool
keep_last(struct ts_aggregate_field *field, struct ts_span value, size_t *held)
{
    struct ts_text *last = &field->last;

    field->is_dropped = false;
    ts_text_clear(last);
    if (value.bytes > last->capacity) {
        *held -= last->capacity;
        ts_text_done(last);
        if (value.bytes > TS_AGGREGATE_MAX_BYTES ||
            *held + room_of(value.bytes) > TS_AGGREGATE_MAX_BYTES) {
            field->is_dropped = true;
            return false;
        }
        (void)ts_text_reserve(last, value.bytes);
        *held += last->capacity;
    }
    ts_text_add(last, value.at, value.bytes);
    return true;
}

bool
ts_aggregate_field_add(struct ts_aggregate_field *field, struct ts_span value, bool backward,
                       size_t *held)
{
    const bool is_number = ts_json_is_number(value);
    const bool is_first = field->n_values++ == 0;
    unsigned wanted;

    if (is_first || backward)
        field->oldest_is_number = is_number;
    /* The oldest value decides: forward that is this one, backward it may be yet to come. */
    if (field->functions == 0 && !backward)
        field->functions = is_number ? field->defaults : TS_FUNCTION_LAST;
    wanted = field->functions != 0 ? field->functions : field->defaults | TS_FUNCTION_LAST;
    if (is_number && (wanted & NUMERIC_FUNCTIONS) != 0)
        add_number(field, value);
    if ((is_first || !backward) && (wanted & TS_FUNCTION_LAST) != 0)
        return keep_last(field, value, held);
    return true;
}

/* ---- writing results ---- */

unsigned
ts_aggregate_field_functions(const struct ts_aggregate_field *field)
{
    if (field->functions != 0)
        return field->functions;
    return field->oldest_is_number ? field->defaults : TS_FUNCTION_LAST;
}

static double
total(const struct ts_aggregate_field *field)
{
    return (double)field->integers + (field->fractions + field->lost);
}

static void
write_sum(const struct ts_aggregate_field *field, struct ts_text *out)
{
    const struct ts_number sum = {
        .is_integer = !field->has_fractions && field->integers >= INT64_MIN &&
                      field->integers <= (__int128)UINT64_MAX,
        .integer = field->integers,
        .real = total(field),
    };

    ts_text_number(out, &sum);
}

void
ts_aggregate_field_write(const struct ts_aggregate_field *field, unsigned function, bool unfinished,
                         struct ts_text *out)
{
    if (function == TS_FUNCTION_LAST) {
        ts_text_add(out, field->last.at, field->last.bytes);
        out->failed = out->failed || field->last.failed;
    } else if (function == TS_FUNCTION_COUNT) {
        ts_text_u64(out, field->n_values);
    } else if (field->n_numbers == 0 || (function == TS_FUNCTION_SUM && unfinished)) {
        ts_text_add(out, "null", 4);
    } else if (function == TS_FUNCTION_SUM) {
        write_sum(field, out);
    } else if (function == TS_FUNCTION_AVG) {
        ts_text_double(out, total(field) / (double)field->n_numbers);
    } else {
        ts_text_number(out, function == TS_FUNCTION_MIN ? &field->least : &field->greatest);
    }
}
