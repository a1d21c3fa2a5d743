/* aggregate.c - the open window: its fields, and the record in which it ends.
 *
 * A record is read as a whole before any of it counts: of a name that comes twice the last value
 * counts, and of a record that turns out to be no JSON nothing does. Fields live as long as their
 * window; the memory they used is used again by the next one.
 */
#include "common/aggregate.h"

#include "common/aggregate_field.h"
#include "common/checksum.h"
#include "common/json_walk.h"
#include "common/schema_table.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 16 /* fields; a power of two */
#define MAX_NAMES_BYTES (TS_AGGREGATE_MAX_BYTES / 4)
#define NO_FIELD UINT32_MAX

_Static_assert(TS_AGGREGATE_MAX_FIELDS % FIRST_CAPACITY == 0 &&
                   (TS_AGGREGATE_MAX_FIELDS & (TS_AGGREGATE_MAX_FIELDS - 1)) == 0 &&
                   TS_AGGREGATE_MAX_FIELDS < UINT16_MAX,
               "capacities double up to the limit, and a field's place + 1 fits a slot");

struct ts_aggregate {
    const struct ts_aggregate_plan *plan; /* borrowed */
    struct ts_aggregate_options options;  /* holds its schema */
    struct ts_schema *next_schema;        /* held; if has_next_schema */
    bool has_next_schema;

    bool is_open, has_closed, failed; /* failed: memory ran out in this window */
    int64_t window_no, closed_no;     /* time divided by the window's length */
    uint64_t n_records, n_dropped;

    struct ts_aggregate_field *fields; /* owned; [0..n_fields) are of this window */
    uint16_t *slots;                   /* owned; 2 * capacity, open addressing, place + 1 */
    uint16_t *order;                   /* owned; capacity; touched fields, or fields sorted */
    size_t n_fields, capacity;
    struct ts_text names; /* of the fields, decoded */
    struct ts_text name;  /* scratch */
    size_t held;          /* bytes that last values occupy */
    uint64_t record_idx;
    uint32_t guess, guess_rank; /* of the field that probably comes next */
};

/* ---- new and free ---- */

void
ts_aggregate_free(struct ts_aggregate *aggregate)
{
    if (aggregate == NULL)
        return;
    for (size_t i = 0; i < aggregate->capacity; i++)
        ts_text_done(&aggregate->fields[i].last);
    free(aggregate->fields);
    free(aggregate->slots);
    free(aggregate->order);
    ts_text_done(&aggregate->names);
    ts_text_done(&aggregate->name);
    ts_schema_release(aggregate->options.schema);
    ts_schema_release(aggregate->next_schema);
    free(aggregate);
}

enum ts_err
ts_aggregate_new(const struct ts_aggregate_plan *plan, const struct ts_aggregate_options *options,
                 struct ts_aggregate **out_aggregate)
{
    struct ts_aggregate *aggregate = calloc(1, sizeof *aggregate);

    if (aggregate == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    aggregate->plan = plan;
    aggregate->options = *options;
    (void)ts_schema_hold(options->schema);
    ts_text_init(&aggregate->names);
    ts_text_init(&aggregate->name);
    *out_aggregate = aggregate;
    return TS_OK;
}

void
ts_aggregate_set_schema(struct ts_aggregate *aggregate, struct ts_schema *schema)
{
    ts_schema_release(aggregate->next_schema);
    aggregate->next_schema = ts_schema_hold(schema);
    aggregate->has_next_schema = true;
}

/* ---- windows ---- */

/* Rounded towards the past, where division rounds towards 0. */
static int64_t
window_of(int64_t time_ns, int64_t window_ns)
{
    return time_ns / window_ns - (time_ns % window_ns < 0);
}

/* Where the window begins; those that reach beyond int64 are cut there. */
static int64_t
start_of(__int128 window_no, int64_t window_ns)
{
    const __int128 start = window_no * window_ns;

    if (start < INT64_MIN)
        return INT64_MIN;
    return start > INT64_MAX ? INT64_MAX : (int64_t)start;
}

static void
describe(const struct ts_aggregate *aggregate, struct ts_aggregate_window *out)
{
    const int64_t window_ns = aggregate->plan->window_ns;

    *out = (struct ts_aggregate_window){
        .start_ns = start_of(aggregate->window_no, window_ns),
        .end_ns = start_of((__int128)aggregate->window_no + 1, window_ns),
        .n_records = aggregate->n_records,
        .n_dropped = aggregate->n_dropped,
    };
}

static void
empty(struct ts_aggregate *aggregate)
{
    aggregate->held = 0;
    for (size_t i = 0; i < aggregate->n_fields; i++)
        ts_aggregate_field_clear(&aggregate->fields[i]);
    for (size_t i = 0; i < aggregate->capacity; i++)
        aggregate->held += aggregate->fields[i].last.capacity;
    if (aggregate->n_fields > 0)
        memset(aggregate->slots, 0, 2 * aggregate->capacity * sizeof aggregate->slots[0]);
    ts_text_clear(&aggregate->names);
    aggregate->n_fields = 0;
    aggregate->n_records = 0;
    aggregate->n_dropped = 0;
    aggregate->failed = false;
    aggregate->is_open = false;
}

static void
open_window(struct ts_aggregate *aggregate, int64_t window_no)
{
    aggregate->is_open = true;
    aggregate->window_no = window_no;
    aggregate->guess = 0;
    aggregate->guess_rank = 0;
    if (aggregate->has_next_schema) {
        ts_schema_release(aggregate->options.schema);
        aggregate->options.schema = aggregate->next_schema;
        aggregate->next_schema = NULL;
        aggregate->has_next_schema = false;
    }
}

/* ---- fields of the open window ---- */

static struct ts_span
name_of(const struct ts_aggregate *aggregate, const struct ts_aggregate_field *field)
{
    return (struct ts_span){.at = aggregate->names.at + field->name_off,
                            .bytes = field->name_bytes};
}

static void
put_in_slot(struct ts_aggregate *aggregate, size_t place)
{
    const size_t mask = 2 * aggregate->capacity - 1;
    size_t slot = aggregate->fields[place].name_hash & mask;

    while (aggregate->slots[slot] != 0)
        slot = (slot + 1) & mask;
    aggregate->slots[slot] = (uint16_t)(place + 1);
}

static uint32_t
search(const struct ts_aggregate *aggregate, struct ts_span name, uint64_t hash)
{
    const size_t mask = 2 * aggregate->capacity - 1;
    const struct ts_aggregate_field *field;

    if (aggregate->capacity == 0)
        return NO_FIELD;
    for (size_t slot = hash & mask; aggregate->slots[slot] != 0; slot = (slot + 1) & mask) {
        field = &aggregate->fields[aggregate->slots[slot] - 1];
        if (field->name_hash == hash && ts_span_equal(name_of(aggregate, field), name))
            return aggregate->slots[slot] - 1u;
    }
    return NO_FIELD;
}

/* Doubles what there is room for. On failure everything stays as it was. */
static bool
grow(struct ts_aggregate *aggregate)
{
    const size_t capacity = aggregate->capacity == 0 ? FIRST_CAPACITY : 2 * aggregate->capacity;
    struct ts_aggregate_field *fields;
    uint16_t *order, *slots = calloc(2 * capacity, sizeof slots[0]);

    if (slots == NULL)
        return false;
    order = realloc(aggregate->order, capacity * sizeof order[0]);
    if (order != NULL)
        aggregate->order = order;
    fields = realloc(aggregate->fields, capacity * sizeof fields[0]);
    if (fields != NULL)
        aggregate->fields = fields;
    if (order == NULL || fields == NULL) {
        free(slots);
        return false;
    }
    memset(fields + aggregate->capacity, 0, (capacity - aggregate->capacity) * sizeof fields[0]);
    free(aggregate->slots);
    aggregate->slots = slots;
    aggregate->capacity = capacity;
    for (size_t i = 0; i < aggregate->n_fields; i++)
        put_in_slot(aggregate, i);
    return true;
}

/* Which functions, as far as the name and the schema say. */
static void
choose_functions(const struct ts_aggregate *aggregate, struct ts_span name,
                 struct ts_aggregate_field *field)
{
    const struct ts_schema *schema = aggregate->options.schema;
    const unsigned defaults = aggregate->plan->defaults;

    field->functions = ts_plan_functions(aggregate->plan, name);
    field->defaults = defaults;
    if (field->functions != 0)
        return;
    if (defaults == 0)
        field->functions = TS_FUNCTION_LAST;
    else if (aggregate->options.is_schema_store)
        field->functions = ts_schema_type_is_numeric(schema->rows[field->rank].field.type)
                               ? defaults
                               : TS_FUNCTION_LAST;
}

static uint32_t
add_field(struct ts_aggregate *aggregate, struct ts_span name, uint64_t hash, uint32_t rank)
{
    const size_t name_off = aggregate->names.bytes;
    struct ts_aggregate_field *field;

    if (aggregate->n_fields == TS_AGGREGATE_MAX_FIELDS || name.bytes > MAX_NAMES_BYTES - name_off) {
        aggregate->n_dropped++;
        return NO_FIELD;
    }
    /* One more: an empty name has a place, too. */
    if (!ts_text_reserve(&aggregate->names, name.bytes + 1) ||
        (aggregate->n_fields == aggregate->capacity && !grow(aggregate))) {
        aggregate->failed = true;
        return NO_FIELD;
    }
    ts_text_add(&aggregate->names, name.at, name.bytes);
    field = &aggregate->fields[aggregate->n_fields];
    field->name_off = name_off;
    field->name_bytes = name.bytes;
    field->name_hash = hash;
    field->rank = rank;
    choose_functions(aggregate, name, field);
    put_in_slot(aggregate, aggregate->n_fields);
    return (uint32_t)aggregate->n_fields++;
}

/* A member's name: decoded, and in a schema store the field's name in place of its index. False
 * if no field can have it. */
static inline bool
read_name(struct ts_aggregate *aggregate, const struct ts_json_member *member,
          struct ts_span *out_name, uint32_t *out_rank)
{
    const struct ts_schema *schema = aggregate->options.schema;
    struct ts_span name = member->name;

    if (member->name_has_escapes) {
        ts_text_clear(&aggregate->name);
        if (!ts_text_reserve(&aggregate->name, name.bytes)) {
            aggregate->failed = true;
            return false;
        }
        if (!ts_json_unescape(member->name, aggregate->name.at, name.bytes, &name.bytes))
            return false;
        name.at = aggregate->name.at;
    }
    if (aggregate->options.is_schema_store) {
        if (schema == NULL)
            return false;
        *out_rank = ts_schema_find_key(schema, name, aggregate->guess_rank);
        if (*out_rank == TS_SCHEMA_NO_RANK)
            return false;
        aggregate->guess_rank = *out_rank + 1;
        name = schema->rows[*out_rank].field.name;
    }
    *out_name = name;
    return true;
}

/* The place of the field that the member is of, which may be new; NO_FIELD to leave it out. */
static inline uint32_t
find_field(struct ts_aggregate *aggregate, const struct ts_json_member *member)
{
    uint32_t place = aggregate->guess, rank = 0;
    struct ts_span name;
    uint64_t hash;

    if (!read_name(aggregate, member, &name, &rank))
        return NO_FIELD;
    if (place >= aggregate->n_fields ||
        !ts_span_equal(name_of(aggregate, &aggregate->fields[place]), name)) {
        hash = XXH3_64bits(name.at, name.bytes);
        place = search(aggregate, name, hash);
        if (place == NO_FIELD)
            place = add_field(aggregate, name, hash, rank);
    }
    if (place != NO_FIELD)
        aggregate->guess = place + 1;
    return place;
}

static void
take_record(struct ts_aggregate *aggregate, struct ts_json_walk *walk)
{
    struct ts_aggregate_field *field;
    struct ts_json_member member;
    enum ts_json_step step;
    size_t n_touched = 0;
    uint32_t place;

    aggregate->record_idx++;
    aggregate->guess = 0;
    aggregate->guess_rank = 0;
    while ((step = ts_json_walk_next(walk, &member)) == TS_JSON_MEMBER) {
        place = find_field(aggregate, &member);
        if (place == NO_FIELD)
            continue;
        field = &aggregate->fields[place];
        field->pending = member.value;
        if (field->record_idx == aggregate->record_idx)
            continue;
        field->record_idx = aggregate->record_idx;
        aggregate->order[n_touched++] = (uint16_t)place;
    }
    if (step != TS_JSON_END)
        return;
    aggregate->n_records++;
    for (size_t i = 0; i < n_touched; i++) {
        field = &aggregate->fields[aggregate->order[i]];
        aggregate->n_dropped += !ts_aggregate_field_add(
            field, field->pending, aggregate->options.backward, &aggregate->held);
    }
}

/* ---- the result ---- */

static bool
is_single(unsigned functions)
{
    return (functions & (functions - 1)) == 0;
}

/* What stands for the field in the result, or begins its names there. */
static struct ts_span
result_key(const struct ts_aggregate *aggregate, const struct ts_aggregate_field *field)
{
    if (aggregate->options.compact && aggregate->options.is_schema_store &&
        is_single(ts_aggregate_field_functions(field)))
        return aggregate->options.schema->rows[field->rank].key;
    return name_of(aggregate, field);
}

static int
by_result_key(const void *a, const void *b, void *context)
{
    const struct ts_aggregate *aggregate = context;
    const struct ts_span left = result_key(aggregate, &aggregate->fields[*(const uint16_t *)a]);
    const struct ts_span right = result_key(aggregate, &aggregate->fields[*(const uint16_t *)b]);
    const size_t shorter = left.bytes < right.bytes ? left.bytes : right.bytes;
    const int order = memcmp(left.at, right.at, shorter);

    return order != 0 ? order : (left.bytes > right.bytes) - (left.bytes < right.bytes);
}

/* Is there a field "t" of several functions, avg among them, when this one is named "t_avg"? */
static bool
is_name_taken(const struct ts_aggregate *aggregate, struct ts_span name)
{
    const char *bar = memrchr(name.at, '_', name.bytes);
    const struct ts_aggregate_field *field;
    struct ts_span suffix;
    unsigned functions;
    uint32_t place;

    if (bar == NULL)
        return false;
    suffix = (struct ts_span){.at = bar + 1, .bytes = name.bytes - (size_t)(bar + 1 - name.at)};
    name.bytes = (size_t)(bar - name.at);
    place = search(aggregate, name, XXH3_64bits(name.at, name.bytes));
    if (place == NO_FIELD)
        return false;
    field = &aggregate->fields[place];
    functions = ts_aggregate_field_functions(field);
    if (is_single(functions) || field->n_values == 0 || field->is_dropped)
        return false;
    for (unsigned i = 0; i < TS_N_FUNCTIONS; i++)
        if ((functions & 1u << i) != 0 && strlen(ts_function_names[i]) == suffix.bytes &&
            memcmp(ts_function_names[i], suffix.at, suffix.bytes) == 0)
            return true;
    return false;
}

/* "name": or "name_function": */
static void
write_key(struct ts_aggregate *aggregate, struct ts_span name, const char *function,
          struct ts_text *out)
{
    struct ts_text *scratch = &aggregate->name;

    if (out->at[out->bytes - 1] != '{')
        ts_text_add(out, ",", 1);
    if (function != NULL) {
        ts_text_clear(scratch);
        ts_text_add(scratch, name.at, name.bytes);
        ts_text_add(scratch, "_", 1);
        ts_text_puts(scratch, function);
        out->failed = out->failed || scratch->failed;
        name = (struct ts_span){.at = scratch->at, .bytes = scratch->bytes};
    }
    ts_text_json_string(out, name.at, name.bytes);
    ts_text_add(out, ":", 1);
}

static void
write_field(struct ts_aggregate *aggregate, const struct ts_aggregate_field *field, bool unfinished,
            struct ts_text *out)
{
    const unsigned functions = ts_aggregate_field_functions(field);
    const struct ts_span key = result_key(aggregate, field);
    const bool single = is_single(functions);

    /* What was computed goes before what only has the same name. */
    if (single && is_name_taken(aggregate, key))
        return;
    for (unsigned i = 0; i < TS_N_FUNCTIONS && !out->failed; i++) {
        if ((functions & 1u << i) == 0)
            continue;
        write_key(aggregate, key, single ? NULL : ts_function_names[i], out);
        ts_aggregate_field_write(field, 1u << i, unfinished, out);
    }
}

static void
write_result(struct ts_aggregate *aggregate, bool unfinished, struct ts_text *out)
{
    size_t n = 0;

    for (size_t i = 0; i < aggregate->n_fields; i++)
        if (aggregate->fields[i].n_values > 0 && !aggregate->fields[i].is_dropped)
            aggregate->order[n++] = (uint16_t)i;
    if (n > 1)
        qsort_r(aggregate->order, n, sizeof aggregate->order[0], by_result_key, aggregate);
    ts_text_add(out, "{", 1);
    for (size_t i = 0; i < n && !out->failed; i++)
        write_field(aggregate, &aggregate->fields[aggregate->order[i]], unfinished, out);
    ts_text_add(out, "}", 1);
    out->failed = out->failed || aggregate->failed;
}

static bool
close_window(struct ts_aggregate *aggregate, bool cut_short, struct ts_text *out,
             struct ts_aggregate_window *out_window)
{
    const bool has_result = aggregate->is_open && aggregate->n_records > 0;
    bool unfinished;

    if (has_result) {
        describe(aggregate, out_window);
        unfinished = cut_short || (aggregate->options.has_finished_until &&
                                   out_window->end_ns > aggregate->options.finished_until_ns);
        write_result(aggregate, unfinished, out);
    }
    empty(aggregate);
    return has_result;
}

/* ---- records ---- */

bool
ts_aggregate_add(struct ts_aggregate *aggregate, int64_t time_ns, struct ts_span value,
                 struct ts_text *out, struct ts_aggregate_window *out_window)
{
    const int64_t window_no = window_of(time_ns, aggregate->plan->window_ns);
    bool is_complete = false;
    struct ts_json_walk walk;

    if (!ts_json_walk_object(&walk, value))
        return false;
    if (aggregate->has_closed && aggregate->closed_no == window_no)
        return false;
    if (aggregate->is_open && aggregate->window_no != window_no)
        is_complete = close_window(aggregate, false, out, out_window);
    if (!aggregate->is_open)
        open_window(aggregate, window_no);
    take_record(aggregate, &walk);
    return is_complete;
}

bool
ts_aggregate_finish(struct ts_aggregate *aggregate, bool cut_short, struct ts_text *out,
                    struct ts_aggregate_window *out_window)
{
    if (aggregate->is_open && aggregate->n_records > 0) {
        aggregate->has_closed = true;
        aggregate->closed_no = aggregate->window_no;
    }
    return close_window(aggregate, cut_short, out, out_window);
}

bool
ts_aggregate_peek(const struct ts_aggregate *aggregate, struct ts_aggregate_window *out_window)
{
    if (!aggregate->is_open || aggregate->n_records == 0)
        return false;
    describe(aggregate, out_window);
    return true;
}

void
ts_aggregate_reset(struct ts_aggregate *aggregate)
{
    empty(aggregate);
    aggregate->has_closed = false;
}
