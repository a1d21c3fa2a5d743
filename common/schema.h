/* schema.h - the fields of a schema store, and its records with names or with indices.
 *
 * Purpose    Say which fields records may have; store {"flow":2} as {"1":2} and give the names
 * back. Invariant  A schema never changes: a new version is another object. Along versions fields
 * are only added, so whatever was stored once keeps its names. Values are copied byte by byte, no
 * number passes through a float. Ownership  Counted: ts_schema_hold() and ts_schema_release(); who
 * makes one holds it. NULL stands for a store without a schema and is accepted everywhere. Threads
 * Any number may use one schema at once. Errors     TS_E_JSON for a request that can't be read,
 * TS_E_SCHEMA for what it says and for records that do not fit, TS_E_NO_SCHEMA, TS_E_NOMEM. Outputs
 * are untouched on failure.
 */
#ifndef TS_SCHEMA_H
#define TS_SCHEMA_H

#include "common/json.h"
#include "common/text.h"

#define TS_SCHEMA_MAX_FIELDS 4096
#define TS_SCHEMA_MAX_NAME_BYTES 256

enum ts_schema_type {
    TS_SCHEMA_INT8,
    TS_SCHEMA_INT16,
    TS_SCHEMA_INT32,
    TS_SCHEMA_INT64,
    TS_SCHEMA_UINT8,
    TS_SCHEMA_UINT16,
    TS_SCHEMA_UINT32,
    TS_SCHEMA_UINT64,
    TS_SCHEMA_FLOAT32,
    TS_SCHEMA_FLOAT64,
    TS_SCHEMA_BOOL,
    TS_SCHEMA_STRING
};

/* True for the integers and the floats. */
bool ts_schema_type_is_numeric(enum ts_schema_type type);
const char *ts_schema_type_name(enum ts_schema_type type);

struct ts_schema_field {
    int64_t index; /* from 1 */
    enum ts_schema_type type;
    struct ts_span name; /* view into the schema; UTF-8 */
};

struct ts_schema;

/* Reads {"fields":[{"index":1,"name":"flow","type":"float64"}, …]} and checks all that can be
 * checked without knowing an older version. Nothing but blanks is the error "EOF". */
enum ts_err ts_schema_parse(const char *text, size_t bytes, uint32_t version,
                            struct ts_schema **out_schema) TS_MUST_USE;

/* May `schema` follow `old`? TS_E_SCHEMA names the field that was changed or left out. */
enum ts_err ts_schema_check_successor(const struct ts_schema *old,
                                      const struct ts_schema *schema) TS_MUST_USE;

/* One more holder; returns the schema. */
struct ts_schema *ts_schema_hold(struct ts_schema *schema);

/* One holder less; the last one frees it. */
void ts_schema_release(struct ts_schema *schema);

/* 0 if there is none. */
uint32_t ts_schema_version(const struct ts_schema *schema);
size_t ts_schema_n_fields(const struct ts_schema *schema);

/* The i-th field in the order given; i < ts_schema_n_fields(). */
const struct ts_schema_field *ts_schema_field(const struct ts_schema *schema, size_t i);

/* Adds {"version":1,"fields":[…]} in the order given. TS_E_NO_SCHEMA, TS_E_NOMEM. */
enum ts_err ts_schema_render(const struct ts_schema *schema, struct ts_text *out) TS_MUST_USE;

/* Adds {"_schema":{"1":"flow","2":"valve.open"}}, which explains indices to a reader. */
void ts_schema_render_legend(const struct ts_schema *schema, struct ts_text *out);

/* Adds the stored form of a record whose fields have names: indices as keys, in string order ("1",
 * "10", "2"), no blanks around keys and values, of a name that comes twice the last value. The
 * value null is a record without fields. `strict` also checks that values have their field's type
 * and range; null has no type. `value` must not lie in out. The text of TS_E_SCHEMA has no
 * "schema validation failed: " in front, as not all callers want it. */
enum ts_err ts_schema_compact(const struct ts_schema *schema, struct ts_span value, bool strict,
                              struct ts_text *out) TS_MUST_USE;

/* The same for a record that has indices already: it must have no others than the schema's. */
enum ts_err ts_schema_check_compact(const struct ts_schema *schema, struct ts_span value,
                                    bool strict, struct ts_text *out) TS_MUST_USE;

/* Adds a stored record with names in place of the indices, in the stored order; an index that the
 * schema does not know is left out. False, and nothing was added, if the record is not JSON, not an
 * object, has a key that is no number, or there is no schema: the stored form is then the answer.
 * Memory that runs out shows in out->failed only. */
bool ts_schema_expand(const struct ts_schema *schema, struct ts_span stored, struct ts_text *out);

#endif
