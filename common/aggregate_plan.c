/* aggregate_plan.c - agg_window, agg_fields, agg_default. */
#include "common/aggregate_plan.h"

#include "common/duration.h"

#include <stdlib.h>
#include <string.h>

#define MAX_QUOTED_BYTES 64 /* of a client's text in an error */

const char *const ts_function_names[TS_N_FUNCTIONS] = {"avg", "count", "last", "max", "min", "sum"};

/* ---- pieces of text ---- */

static bool
is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct ts_span
trim(struct ts_span text)
{
    while (text.bytes > 0 && is_blank(text.at[0])) {
        text.at++;
        text.bytes--;
    }
    while (text.bytes > 0 && is_blank(text.at[text.bytes - 1]))
        text.bytes--;
    return text;
}

/* Cuts what stands before the next separator off *rest, trimmed. False at the end. */
static bool
next_part(struct ts_span *rest, char separator, struct ts_span *out)
{
    const char *stop;
    size_t n;

    if (rest->at == NULL)
        return false;
    stop = rest->bytes > 0 ? memchr(rest->at, separator, rest->bytes) : NULL;
    n = stop != NULL ? (size_t)(stop - rest->at) : rest->bytes;
    *out = trim((struct ts_span){.at = rest->at, .bytes = n});
    if (stop == NULL)
        *rest = (struct ts_span){0};
    else
        *rest = (struct ts_span){.at = stop + 1, .bytes = rest->bytes - n - 1};
    return true;
}

/* Cut between characters. */
static int
quoted_bytes(struct ts_span text)
{
    size_t n = text.bytes;

    if (n > MAX_QUOTED_BYTES)
        for (n = MAX_QUOTED_BYTES; n > 0 && ((unsigned char)text.at[n] & 0xc0) == 0x80; n--)
            ;
    return (int)n;
}

/* 0 if there is no such function. */
static unsigned
find_function(struct ts_span name)
{
    for (unsigned i = 0; i < TS_N_FUNCTIONS; i++)
        if (strlen(ts_function_names[i]) == name.bytes &&
            memcmp(ts_function_names[i], name.at, name.bytes) == 0)
            return 1u << i;
    return 0;
}

/* ---- parameters ---- */

static enum ts_err
read_window(struct ts_span text, int64_t *out_ns)
{
    if (ts_duration_parse(text.at != NULL ? text.at : "", text.bytes, out_ns) != TS_OK) {
        TS_CONTEXT("invalid agg_window");
        return TS_E_PARAM;
    }
    if (*out_ns <= 0)
        return TS_FAIL(TS_E_PARAM, "aggregation window must be positive");
    return TS_OK;
}

static enum ts_err
unknown_function(struct ts_span function, struct ts_span field)
{
    return TS_FAIL(TS_E_PARAM,
                   "invalid agg_fields: invalid aggregation function \"%.*s\" for field \"%.*s\"",
                   quoted_bytes(function), function.at, quoted_bytes(field), field.at);
}

/* "t:avg+max" */
static enum ts_err
read_pair(struct ts_span pair, struct ts_plan_field *out)
{
    const char *colon = memchr(pair.at, ':', pair.bytes);
    struct ts_span part, functions;
    unsigned function;

    if (colon == NULL)
        return TS_FAIL(TS_E_PARAM,
                       "invalid agg_fields: invalid field aggregation: \"%.*s\" (expected "
                       "field:function)",
                       quoted_bytes(pair), pair.at);
    out->name = trim((struct ts_span){.at = pair.at, .bytes = (size_t)(colon - pair.at)});
    out->functions = 0;
    functions =
        (struct ts_span){.at = colon + 1, .bytes = pair.bytes - (size_t)(colon + 1 - pair.at)};
    while (next_part(&functions, '+', &part)) {
        function = find_function(part);
        if (function == 0 && part.bytes > 0)
            return unknown_function(part, out->name);
        out->functions |= function;
    }
    return out->functions != 0 ? TS_OK : unknown_function(part, out->name);
}

static int
compare_names(struct ts_span a, struct ts_span b)
{
    const size_t shorter = a.bytes < b.bytes ? a.bytes : b.bytes;
    const int order = shorter > 0 ? memcmp(a.at, b.at, shorter) : 0;

    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* By name, and as they came in the text, so that the last one can be told. */
static int
by_name(const void *a, const void *b)
{
    const struct ts_plan_field *left = a, *right = b;
    const int order = compare_names(left->name, right->name);

    return order != 0 ? order : (left->name.at > right->name.at) - (left->name.at < right->name.at);
}

static void
sort_and_keep_last(struct ts_aggregate_plan *plan)
{
    size_t n = 0;

    if (plan->n_fields > 0)
        qsort(plan->fields, plan->n_fields, sizeof plan->fields[0], by_name);
    for (size_t i = 0; i < plan->n_fields; i++) {
        if (n > 0 && compare_names(plan->fields[n - 1].name, plan->fields[i].name) == 0)
            n--;
        plan->fields[n++] = plan->fields[i];
    }
    plan->n_fields = n;
}

/* plan->text is the parameter's own copy. */
static enum ts_err
read_fields(struct ts_aggregate_plan *plan, size_t bytes)
{
    struct ts_span rest = {.at = plan->text, .bytes = bytes}, pair;
    enum ts_err err = TS_OK;

    while (err == TS_OK && next_part(&rest, ',', &pair)) {
        if (pair.bytes == 0)
            continue;
        if (plan->n_fields == TS_AGGREGATE_MAX_FIELDS)
            return TS_FAIL(TS_E_PARAM, "invalid agg_fields: more than %d fields",
                           TS_AGGREGATE_MAX_FIELDS);
        err = read_pair(pair, &plan->fields[plan->n_fields]);
        plan->n_fields += err == TS_OK;
    }
    if (err == TS_OK)
        sort_and_keep_last(plan);
    return err;
}

static enum ts_err
read_defaults(struct ts_span text, unsigned *out)
{
    struct ts_span part;
    unsigned function;

    while (next_part(&text, ',', &part)) {
        function = find_function(part);
        if (function == 0 && part.bytes > 0)
            return TS_FAIL(TS_E_PARAM, "invalid default aggregation function: %.*s",
                           quoted_bytes(part), part.at);
        *out |= function;
    }
    return TS_OK;
}

/* ---- the plan ---- */

/* Room for as many pairs as there can be. */
static enum ts_err
make_room(struct ts_aggregate_plan *plan, struct ts_span fields)
{
    size_t n = 1;

    for (size_t i = 0; i < fields.bytes && n < TS_AGGREGATE_MAX_FIELDS; i++)
        n += fields.at[i] == ',';
    plan->fields = calloc(n, sizeof plan->fields[0]);
    plan->text = malloc(fields.bytes + 1);
    if (plan->fields == NULL || plan->text == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    if (fields.bytes > 0)
        memcpy(plan->text, fields.at, fields.bytes);
    return TS_OK;
}

enum ts_err
ts_aggregate_plan_new(struct ts_span window, struct ts_span fields, struct ts_span defaults,
                      struct ts_aggregate_plan **out_plan)
{
    struct ts_aggregate_plan *plan = calloc(1, sizeof *plan);
    enum ts_err err;

    if (plan == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    err = read_window(window, &plan->window_ns);
    if (err == TS_OK)
        err = make_room(plan, fields);
    if (err == TS_OK)
        err = read_fields(plan, fields.bytes);
    if (err == TS_OK)
        err = read_defaults(defaults, &plan->defaults);
    if (err == TS_OK)
        *out_plan = plan;
    else
        ts_aggregate_plan_free(plan);
    return err;
}

void
ts_aggregate_plan_free(struct ts_aggregate_plan *plan)
{
    if (plan == NULL)
        return;
    free(plan->fields);
    free(plan->text);
    free(plan);
}

int64_t
ts_aggregate_plan_window_ns(const struct ts_aggregate_plan *plan)
{
    return plan->window_ns;
}

static int
by_field(const void *name, const void *field)
{
    return compare_names(*(const struct ts_span *)name,
                         ((const struct ts_plan_field *)field)->name);
}

unsigned
ts_plan_functions(const struct ts_aggregate_plan *plan, struct ts_span name)
{
    const struct ts_plan_field *field = NULL;

    if (plan->n_fields > 0)
        field = bsearch(&name, plan->fields, plan->n_fields, sizeof plan->fields[0], by_field);
    return field != NULL ? field->functions : 0;
}
