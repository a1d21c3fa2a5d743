/* schema_table.c - built once, from all fields at once. */
#include "common/schema_table.h"

#include "common/checksum.h"

#include <stdlib.h>

_Static_assert(TS_SCHEMA_MAX_FIELDS < UINT16_MAX, "a rank + 1 does not fit a slot");

static const char *const type_names[] = {
    [TS_SCHEMA_INT8] = "int8",       [TS_SCHEMA_INT16] = "int16",   [TS_SCHEMA_INT32] = "int32",
    [TS_SCHEMA_INT64] = "int64",     [TS_SCHEMA_UINT8] = "uint8",   [TS_SCHEMA_UINT16] = "uint16",
    [TS_SCHEMA_UINT32] = "uint32",   [TS_SCHEMA_UINT64] = "uint64", [TS_SCHEMA_FLOAT32] = "float32",
    [TS_SCHEMA_FLOAT64] = "float64", [TS_SCHEMA_BOOL] = "bool",     [TS_SCHEMA_STRING] = "string",
};

#define N_TYPES (sizeof type_names / sizeof type_names[0])

/* ---- types ---- */

const char *
ts_schema_type_name(enum ts_schema_type type)
{
    return (size_t)type < N_TYPES ? type_names[type] : "unknown";
}

bool
ts_schema_type_find(struct ts_span name, enum ts_schema_type *out_type)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        if (strlen(type_names[i]) == name.bytes &&
            memcmp(type_names[i], name.at, name.bytes) == 0) {
            *out_type = (enum ts_schema_type)i;
            return true;
        }
    }
    return false;
}

bool
ts_schema_type_is_numeric(enum ts_schema_type type)
{
    return type != TS_SCHEMA_BOOL && type != TS_SCHEMA_STRING;
}

/* ---- searching ---- */

static size_t
slot_of(const struct ts_schema *schema, struct ts_span text)
{
    return XXH3_64bits(text.at, text.bytes) & (schema->n_slots - 1);
}

uint32_t
ts_schema_search_name(const struct ts_schema *schema, struct ts_span name)
{
    size_t slot = slot_of(schema, name);

    for (; schema->by_name[slot] != 0; slot = (slot + 1) & (schema->n_slots - 1)) {
        const uint32_t rank = schema->by_name[slot] - 1u;

        if (ts_span_equal(schema->rows[rank].field.name, name))
            return rank;
    }
    return TS_SCHEMA_NO_RANK;
}

uint32_t
ts_schema_search_key(const struct ts_schema *schema, struct ts_span key)
{
    size_t slot = slot_of(schema, key);

    for (; schema->by_key[slot] != 0; slot = (slot + 1) & (schema->n_slots - 1)) {
        const uint32_t rank = schema->by_key[slot] - 1u;

        if (ts_span_equal(schema->rows[rank].key, key))
            return rank;
    }
    return TS_SCHEMA_NO_RANK;
}

static void
put_in_table(const struct ts_schema *schema, uint16_t *table, struct ts_span text, size_t rank)
{
    size_t slot = slot_of(schema, text);

    while (table[slot] != 0)
        slot = (slot + 1) & (schema->n_slots - 1);
    table[slot] = (uint16_t)(rank + 1);
}

/* ---- building ---- */

static void
destroy(struct ts_schema *schema)
{
    free(schema->rows);
    free(schema->given);
    free(schema->by_name);
    free(schema->by_key);
    ts_text_done(&schema->texts);
    free(schema);
}

static struct ts_schema *
allocate(size_t n)
{
    struct ts_schema *schema = calloc(1, sizeof *schema);

    if (schema == NULL)
        return NULL;
    for (schema->n_slots = 4; schema->n_slots < 2 * n;)
        schema->n_slots *= 2;
    schema->n_fields = n;
    schema->rows = calloc(n, sizeof schema->rows[0]);
    schema->given = calloc(n, sizeof schema->given[0]);
    schema->by_name = calloc(schema->n_slots, sizeof schema->by_name[0]);
    schema->by_key = calloc(schema->n_slots, sizeof schema->by_key[0]);
    ts_text_init(&schema->texts);
    if (schema->rows == NULL || schema->given == NULL || schema->by_name == NULL ||
        schema->by_key == NULL) {
        destroy(schema);
        return NULL;
    }
    return schema;
}

static void
set_key(struct ts_schema_row *row)
{
    char digits[TS_FORMAT_NUMBER_BYTES];
    const size_t n = ts_format_i64(digits, row->field.index);

    row->quoted_key[0] = '"';
    memcpy(row->quoted_key + 1, digits, n);
    memcpy(row->quoted_key + 1 + n, "\":", 2);
    row->quoted_key_bytes = (uint32_t)n + 3;
}

static int
by_key_text(const void *a, const void *b)
{
    const struct ts_schema_row *left = a, *right = b;
    const size_t n = left->quoted_key_bytes < right->quoted_key_bytes ? left->quoted_key_bytes
                                                                      : right->quoted_key_bytes;

    /* The closing quote is less than any digit: "1" comes before "10". */
    return memcmp(left->quoted_key, right->quoted_key, n);
}

/* All names, each as it is and quoted, in the order of rows. */
static enum ts_err
write_texts(struct ts_schema *schema)
{
    struct ts_text *texts = &schema->texts;
    const char *at;

    for (size_t rank = 0; rank < schema->n_fields; rank++) {
        struct ts_schema_row *row = &schema->rows[rank];
        const struct ts_span name = row->field.name;
        size_t quoted_off;

        ts_text_add(texts, name.at, name.bytes);
        quoted_off = texts->bytes;
        ts_text_json_string(texts, name.at, name.bytes);
        ts_text_add(texts, ":", 1);
        row->quoted_name.bytes = texts->bytes - quoted_off;
    }
    if (texts->failed)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    at = texts->at; /* it moves no more */
    for (size_t rank = 0; rank < schema->n_fields; rank++) {
        struct ts_schema_row *row = &schema->rows[rank];

        row->field.name.at = at;
        row->quoted_name.at = at + row->field.name.bytes;
        at = row->quoted_name.at + row->quoted_name.bytes;
    }
    return TS_OK;
}

/* Rows are sorted and their texts written. Until now next_given was the place in the order given.
 */
static void
connect(struct ts_schema *schema)
{
    const size_t n = schema->n_fields;

    for (size_t rank = 0; rank < n; rank++) {
        struct ts_schema_row *row = &schema->rows[rank];

        row->key = (struct ts_span){.at = row->quoted_key + 1, .bytes = row->quoted_key_bytes - 3};
        put_in_table(schema, schema->by_name, row->field.name, rank);
        put_in_table(schema, schema->by_key, row->key, rank);
        schema->given[row->next_given] = (uint16_t)rank;
    }
    for (size_t i = 0; i < n; i++)
        schema->rows[schema->given[i]].next_given = schema->given[(i + 1) % n];
}

enum ts_err
ts_schema_build(const struct ts_schema_given *fields, size_t n, uint32_t version,
                struct ts_schema **out_schema)
{
    struct ts_schema *schema = allocate(n);
    enum ts_err err;

    if (schema == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    for (size_t i = 0; i < n; i++) {
        struct ts_schema_row *row = &schema->rows[i];

        row->field = (struct ts_schema_field){
            .index = fields[i].index, .type = fields[i].type, .name = fields[i].name};
        row->next_given = (uint32_t)i;
        set_key(row);
    }
    qsort(schema->rows, n, sizeof schema->rows[0], by_key_text);
    err = write_texts(schema);
    if (err != TS_OK) {
        destroy(schema);
        return err;
    }
    connect(schema);
    schema->version = version;
    atomic_init(&schema->n_holders, 1);
    *out_schema = schema;
    return TS_OK;
}

/* ---- holding ---- */

struct ts_schema *
ts_schema_hold(struct ts_schema *schema)
{
    /* relaxed: who holds it already keeps it alive, and nothing else depends on the count. */
    if (schema != NULL)
        atomic_fetch_add_explicit(&schema->n_holders, 1, memory_order_relaxed);
    return schema;
}

void
ts_schema_release(struct ts_schema *schema)
{
    if (schema == NULL)
        return;
    /* release: this holder's reads are done before another one frees. acquire: whoever frees comes
     * behind the reads of all others. */
    if (atomic_fetch_sub_explicit(&schema->n_holders, 1, memory_order_acq_rel) == 1)
        destroy(schema);
}
