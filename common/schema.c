/* schema.c - a record between its two forms, in one pass and without an allocation of its own.
 *
 * The values of a record are noted by the rank of their field, then written rank by rank: that is
 * the order of the stored form, and of a field that comes twice only the last value is left.
 */
#include "common/json_walk.h"
#include "common/number.h"
#include "common/schema_table.h"

#include <math.h>

#define MAX_QUOTED_BYTES 256 /* of a client's text in an error */

/* Where the value of each field is; only of ranks that are taken. On the stack, where what is not
 * touched costs nothing. */
struct slots {
    uint64_t taken[(TS_SCHEMA_MAX_FIELDS + 63) / 64];
    struct {
        uint32_t off, bytes;
    } value[TS_SCHEMA_MAX_FIELDS];
};

enum keys { KEYS_ARE_NAMES, KEYS_ARE_INDICES };

/* ---- types ---- */

static bool
fits_integer(enum ts_schema_type type, const struct ts_number *number)
{
    /* The number of bits of the magnitude. */
    static const unsigned char bits[] = {
        [TS_SCHEMA_INT8] = 7,    [TS_SCHEMA_INT16] = 15,  [TS_SCHEMA_INT32] = 31,
        [TS_SCHEMA_INT64] = 63,  [TS_SCHEMA_UINT8] = 8,   [TS_SCHEMA_UINT16] = 16,
        [TS_SCHEMA_UINT32] = 32, [TS_SCHEMA_UINT64] = 64,
    };
    const __int128 above = (__int128)1 << bits[type];
    const __int128 least = type >= TS_SCHEMA_UINT8 ? 0 : -above;

    return number->is_integer && number->integer >= least && number->integer < above;
}

/* Digits, with a sign or without: what a reader of integers takes. */
static bool
is_integer_text(struct ts_span value)
{
    for (size_t i = *value.at == '-'; i < value.bytes; i++)
        if (value.at[i] < '0' || value.at[i] > '9')
            return false;
    return true;
}

static bool
has_type(enum ts_schema_type type, struct ts_span value)
{
    if (type == TS_SCHEMA_BOOL)
        return *value.at == 't' || *value.at == 'f';
    if (type == TS_SCHEMA_STRING)
        return *value.at == '"';
    if (!ts_json_is_number(value))
        return false;
    return type == TS_SCHEMA_FLOAT32 || type == TS_SCHEMA_FLOAT64 || is_integer_text(value);
}

static bool
has_range(enum ts_schema_type type, struct ts_span value)
{
    struct ts_number number;

    if (type == TS_SCHEMA_BOOL || type == TS_SCHEMA_STRING)
        return true;
    if (!ts_number_parse(value, &number))
        return false;
    if (type == TS_SCHEMA_FLOAT64)
        return isfinite(number.real);
    if (type == TS_SCHEMA_FLOAT32)
        return isfinite((float)number.real);
    /* -0 is 0 to who reads signed integers. */
    if (!number.is_integer && number.real == 0)
        return type < TS_SCHEMA_UINT8;
    return fits_integer(type, &number);
}

static enum ts_err
check_value(const struct ts_schema_field *field, struct ts_span value)
{
    const char *wrong = NULL;

    if (!has_type(field->type, value))
        wrong = "value is not of type";
    else if (!has_range(field->type, value))
        wrong = "value out of range for";
    if (wrong == NULL)
        return TS_OK;
    return TS_FAIL(TS_E_SCHEMA, "field %.*s: %s %s", (int)field->name.bytes, field->name.at, wrong,
                   ts_schema_type_name(field->type));
}

/* ---- keys ---- */

/* What to show of a client's text: cut between characters. */
static int
quoted_bytes(struct ts_span text)
{
    size_t n = text.bytes;

    if (n > MAX_QUOTED_BYTES)
        for (n = MAX_QUOTED_BYTES; n > 0 && ((unsigned char)text.at[n] & 0xc0) == 0x80; n--)
            ;
    return (int)n;
}

static bool
is_decimal(struct ts_span key)
{
    for (size_t i = 0; i < key.bytes; i++)
        if (key.at[i] < '0' || key.at[i] > '9')
            return false;
    return key.bytes > 0;
}

/* The key without escapes, in `room` if it had any. One that is longer than any we know stays as
 * it is: it is not found either way. */
static inline struct ts_span
plain_key(const struct ts_json_member *member, char room[TS_SCHEMA_MAX_NAME_BYTES])
{
    struct ts_span key = member->name;

    if (member->name_has_escapes &&
        ts_json_unescape(member->name, room, TS_SCHEMA_MAX_NAME_BYTES, &key.bytes))
        key.at = room;
    return key;
}

static enum ts_err
explain_key(enum keys keys, struct ts_span key)
{
    if (keys == KEYS_ARE_INDICES && !is_decimal(key))
        return TS_FAIL(TS_E_SCHEMA, "invalid compact JSON key (must be numeric): %.*s",
                       quoted_bytes(key), key.at);
    return TS_FAIL(TS_E_SCHEMA, "field not found in schema: %.*s", quoted_bytes(key), key.at);
}

/* ---- from the client's form ---- */

static inline void
take(struct slots *slots, uint32_t rank, const char *begin, struct ts_span value)
{
    slots->taken[rank / 64] |= UINT64_C(1) << rank % 64;
    slots->value[rank].off = (uint32_t)(value.at - begin);
    slots->value[rank].bytes = (uint32_t)value.bytes;
}

static void
clear(const struct ts_schema *schema, struct slots *slots)
{
    memset(slots->taken, 0, (schema->n_fields + 63) / 64 * sizeof slots->taken[0]);
}

/* Writes what the slots hold, with indices or with names. */
static bool
write_record(const struct ts_schema *schema, const struct slots *slots, const char *begin,
             enum keys keys, struct ts_text *out)
{
    const size_t old_bytes = out->bytes;
    struct ts_span key, value;
    char *at;

    ts_text_add(out, "{", 1);
    for (size_t word = 0; word < (schema->n_fields + 63) / 64; word++) {
        for (uint64_t left = slots->taken[word]; left != 0; left &= left - 1) {
            const size_t rank = word * 64 + (size_t)__builtin_ctzll(left);
            const struct ts_schema_row *row = &schema->rows[rank];

            key = keys == KEYS_ARE_NAMES
                      ? row->quoted_name
                      : (struct ts_span){.at = row->quoted_key, .bytes = row->quoted_key_bytes};
            value = (struct ts_span){.at = begin + slots->value[rank].off,
                                     .bytes = slots->value[rank].bytes};
            if (!ts_text_reserve(out, key.bytes + value.bytes + 1))
                break;
            at = out->at + out->bytes;
            memcpy(at, key.at, key.bytes);
            memcpy(at + key.bytes, value.at, value.bytes);
            at[key.bytes + value.bytes] = ',';
            out->bytes += key.bytes + value.bytes + 1;
        }
    }
    /* The last comma makes room for the brace. */
    if (!out->failed && out->bytes > old_bytes + 1)
        out->bytes--;
    ts_text_add(out, "}", 1);
    if (out->failed)
        out->bytes = old_bytes;
    return !out->failed;
}

/* Fills the slots from an object, all of whose keys must be known. */
static enum ts_err
read_record(const struct ts_schema *schema, struct ts_span value, enum keys keys, bool strict,
            struct slots *slots)
{
    char room[TS_SCHEMA_MAX_NAME_BYTES];
    struct ts_json_member member;
    enum ts_err err = TS_OK;
    struct ts_json_walk walk;
    enum ts_json_step step;
    struct ts_span key;
    uint32_t rank, guess = keys == KEYS_ARE_NAMES ? schema->given[0] : 0;

    if (!ts_json_walk_object(&walk, value))
        return TS_FAIL(TS_E_SCHEMA,
                       "invalid JSON: json: cannot unmarshal %s into value of type object",
                       ts_json_kind(value));
    while (err == TS_OK && (step = ts_json_walk_next(&walk, &member)) == TS_JSON_MEMBER) {
        key = plain_key(&member, room);
        rank = keys == KEYS_ARE_NAMES ? ts_schema_find_name(schema, key, guess)
                                      : ts_schema_find_key(schema, key, guess);
        if (rank == TS_SCHEMA_NO_RANK)
            return explain_key(keys, key);
        guess = keys == KEYS_ARE_NAMES ? schema->rows[rank].next_given : rank + 1;
        take(slots, rank, value.at, member.value);
        if (strict)
            err = check_value(&schema->rows[rank].field, member.value);
    }
    if (err != TS_OK || step == TS_JSON_END)
        return err;
    if (ts_json_check(value.at, value.bytes, NULL) == TS_OK)
        return TS_FAIL(TS_E_SCHEMA, "invalid JSON: text around the value");
    TS_CONTEXT("invalid JSON");
    return TS_E_SCHEMA;
}

static enum ts_err
to_stored(const struct ts_schema *schema, struct ts_span value, enum keys keys, bool strict,
          struct ts_text *out)
{
    struct slots slots;
    enum ts_err err;

    if (schema == NULL)
        return TS_FAIL(TS_E_SCHEMA, "schema is required for schema data type");
    if (value.bytes == 0)
        return TS_FAIL(TS_E_SCHEMA, "invalid JSON: unexpected end of JSON input");
    if (value.bytes > UINT32_MAX)
        return TS_FAIL_PLAIN(TS_E_TOO_LARGE);
    clear(schema, &slots);
    err = value.bytes == 4 && memcmp(value.at, "null", 4) == 0
              ? TS_OK
              : read_record(schema, value, keys, strict, &slots);
    if (err == TS_OK && !write_record(schema, &slots, value.at, KEYS_ARE_INDICES, out))
        err = TS_FAIL_PLAIN(TS_E_NOMEM);
    return err;
}

enum ts_err
ts_schema_compact(const struct ts_schema *schema, struct ts_span value, bool strict,
                  struct ts_text *out)
{
    return to_stored(schema, value, KEYS_ARE_NAMES, strict, out);
}

enum ts_err
ts_schema_check_compact(const struct ts_schema *schema, struct ts_span value, bool strict,
                        struct ts_text *out)
{
    return to_stored(schema, value, KEYS_ARE_INDICES, strict, out);
}

/* ---- to the client's form ---- */

bool
ts_schema_expand(const struct ts_schema *schema, struct ts_span stored, struct ts_text *out)
{
    char room[TS_SCHEMA_MAX_NAME_BYTES];
    struct ts_json_member member;
    struct ts_json_walk walk;
    enum ts_json_step step;
    struct slots slots;
    struct ts_span key;
    uint32_t rank, guess = 0;

    if (schema == NULL || stored.bytes > UINT32_MAX || !ts_json_walk_object(&walk, stored))
        return false;
    clear(schema, &slots);
    while ((step = ts_json_walk_next(&walk, &member)) == TS_JSON_MEMBER) {
        key = plain_key(&member, room);
        rank = ts_schema_find_key(schema, key, guess);
        if (rank != TS_SCHEMA_NO_RANK) {
            take(&slots, rank, stored.at, member.value);
            guess = rank + 1;
        } else if (!is_decimal(key)) {
            return false;
        }
    }
    if (step != TS_JSON_END)
        return false;
    write_record(schema, &slots, stored.at, KEYS_ARE_NAMES, out);
    return true;
}

/* ---- the schema itself ---- */

uint32_t
ts_schema_version(const struct ts_schema *schema)
{
    return schema != NULL ? schema->version : 0;
}

size_t
ts_schema_n_fields(const struct ts_schema *schema)
{
    return schema != NULL ? schema->n_fields : 0;
}

const struct ts_schema_field *
ts_schema_field(const struct ts_schema *schema, size_t i)
{
    return &schema->rows[schema->given[i]].field;
}

enum ts_err
ts_schema_render(const struct ts_schema *schema, struct ts_text *out)
{
    const size_t old_bytes = out->bytes;

    if (schema == NULL)
        return TS_FAIL_PLAIN(TS_E_NO_SCHEMA);
    ts_text_printf(out, "{\"version\":%u,\"fields\":[", schema->version);
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct ts_schema_row *row = &schema->rows[schema->given[i]];

        ts_text_puts(out, i > 0 ? ",{\"index\":" : "{\"index\":");
        ts_text_i64(out, row->field.index);
        ts_text_puts(out, ",\"name\":");
        /* Without its colon. */
        ts_text_add(out, row->quoted_name.at, row->quoted_name.bytes - 1);
        ts_text_puts(out, ",\"type\":\"");
        ts_text_puts(out, ts_schema_type_name(row->field.type));
        ts_text_puts(out, "\"}");
    }
    ts_text_puts(out, "]}");
    if (!out->failed)
        return TS_OK;
    out->bytes = old_bytes;
    return TS_FAIL_PLAIN(TS_E_NOMEM);
}

void
ts_schema_render_legend(const struct ts_schema *schema, struct ts_text *out)
{
    ts_text_puts(out, "{\"_schema\":{");
    for (size_t rank = 0; rank < ts_schema_n_fields(schema); rank++) {
        const struct ts_schema_row *row = &schema->rows[rank];

        if (rank > 0)
            ts_text_add(out, ",", 1);
        ts_text_add(out, row->quoted_key, row->quoted_key_bytes);
        ts_text_add(out, row->quoted_name.at, row->quoted_name.bytes - 1);
    }
    ts_text_puts(out, "}}");
}
