/* schema_table.h - the inside of a schema: its fields by name, by index, in order.
 *
 * Purpose    Find a field while a record is read, in most cases without a search.
 * Invariant  rows[] is sorted by the decimal text of the indices, the order of keys in a stored
 *            record; a row's place there is its rank. The tables are at most half full.
 * Ownership  A schema owns its rows, tables and texts.
 * Threads    Only built and freed by one; in between nothing changes but the count of holders.
 */
#ifndef TS_SCHEMA_TABLE_H
#define TS_SCHEMA_TABLE_H

#include "common/schema.h"

#include <stdatomic.h>
#include <string.h>

#define TS_SCHEMA_NO_RANK UINT32_MAX
#define TS_SCHEMA_KEY_BYTES 24 /* quote, 19 digits, quote, colon */

struct ts_schema_row {
    struct ts_schema_field field;
    struct ts_span key;         /* view into quoted_key: the digits */
    struct ts_span quoted_name; /* view into texts: "flow": */
    uint32_t quoted_key_bytes;
    uint32_t next_given; /* rank of the field that was given after this one */
    char quoted_key[TS_SCHEMA_KEY_BYTES];
};

struct ts_schema {
    _Atomic uint32_t n_holders; /* holders write it */
    uint32_t version;
    size_t n_fields;
    struct ts_schema_row *rows; /* owned; by rank */
    uint16_t *given;            /* owned; rank of the i-th field in the order given */
    uint16_t *by_name;          /* owned; open addressing, rank + 1, 0 is free */
    uint16_t *by_key;           /* owned; the same for the digits of indices */
    size_t n_slots;             /* of each table; a power of two */
    struct ts_text texts;       /* owned; names as they are, and quoted */
};

/* One field as it was given; nothing is checked yet. */
struct ts_schema_given {
    int64_t index;
    enum ts_schema_type type;
    struct ts_span name; /* view */
};

/* Takes fields that were checked: 1 to TS_SCHEMA_MAX_FIELDS, indices and names unique. */
enum ts_err ts_schema_build(const struct ts_schema_given *fields, size_t n, uint32_t version,
                            struct ts_schema **out_schema) TS_MUST_USE;

/* Rank by name or by the digits of the index, or TS_SCHEMA_NO_RANK. */
uint32_t ts_schema_search_name(const struct ts_schema *schema, struct ts_span name);
uint32_t ts_schema_search_key(const struct ts_schema *schema, struct ts_span key);

/* False if there is no such type. */
bool ts_schema_type_find(struct ts_span name, enum ts_schema_type *out_type);

static inline bool
ts_span_equal(struct ts_span a, struct ts_span b)
{
    return a.bytes == b.bytes && memcmp(a.at, b.at, a.bytes) == 0;
}

/* The same, when the field is probably the one of rank `guess`; any number will do. */
static inline uint32_t
ts_schema_find_name(const struct ts_schema *schema, struct ts_span name, uint32_t guess)
{
    if (guess < schema->n_fields && ts_span_equal(schema->rows[guess].field.name, name))
        return guess;
    return ts_schema_search_name(schema, name);
}

static inline uint32_t
ts_schema_find_key(const struct ts_schema *schema, struct ts_span key, uint32_t guess)
{
    if (guess < schema->n_fields && ts_span_equal(schema->rows[guess].key, key))
        return guess;
    return ts_schema_search_key(schema, key);
}

#endif
