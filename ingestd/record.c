/* record.c - see record.h. */
#include "ingestd/record.h"

#include "common/json_walk.h"

#include <sodium.h>
#include <string.h>

enum ts_err
record_rules_init(struct catalog_store *entry, struct record_rules *out)
{
    struct record_rules rules = {.type = entry->type};
    enum ts_err err = TS_OK;

    if (entry->type == TS_TYPE_SCHEMA)
        err = store_schema_hold(entry->schema, &rules.schema);
    if (err == TS_OK)
        *out = rules;
    return err;
}

void
record_rules_done(struct record_rules *rules)
{
    ts_schema_release(rules->schema.schema);
    rules->schema.schema = NULL;
}

static struct record
as_sent(struct ts_span data, int64_t time_ns)
{
    /* Not NULL even for no bytes: that would mean the scratch. */
    return (struct record){
        .time_ns = time_ns, .at = data.at != NULL ? data.at : "", .bytes = data.bytes};
}

static struct record
in_scratch(const struct ts_text *scratch, size_t off, int64_t time_ns)
{
    return (struct record){.time_ns = time_ns, .scratch_off = off, .bytes = scratch->bytes - off};
}

static enum ts_err
compact(const struct record_rules *rules, struct ts_span data, bool is_compact, int64_t time_ns,
        struct ts_text *scratch, struct record *out)
{
    const struct store_schema_now *const now = &rules->schema;
    const size_t off = scratch->bytes;
    const enum ts_err err =
        is_compact ? ts_schema_check_compact(now->schema, data, now->is_strict, scratch)
                   : ts_schema_compact(now->schema, data, now->is_strict, scratch);

    if (err == TS_OK)
        *out = in_scratch(scratch, off, time_ns);
    return err;
}

/* ---- bodies and items ---- */

static enum ts_err
take_wrapper(const struct record_rules *rules, struct ts_span text, bool strict_end,
             struct ts_text *scratch, struct record *out)
{
    struct ts_json_insert insert;
    enum ts_err err = ts_json_insert(text.at, text.bytes, strict_end, &insert);
    int64_t time_ns;

    if (err != TS_OK)
        return err;
    if (!insert.has_data)
        return TS_FAIL_PLAIN(TS_E_NO_DATA);
    time_ns = insert.has_time ? insert.time_ns : 0;
    if (rules->type != TS_TYPE_SCHEMA) {
        *out = as_sent(insert.data, time_ns);
        return TS_OK;
    }
    err = compact(rules, insert.data, false, time_ns, scratch, out);
    if (err == TS_E_SCHEMA)
        TS_CONTEXT("schema validation failed");
    return err;
}

static bool
is_wrapped(enum ts_type type)
{
    return type == TS_TYPE_JSON || type == TS_TYPE_SCHEMA;
}

enum ts_err
record_take_body(const struct record_rules *rules, struct ts_span body, struct ts_text *scratch,
                 struct record *out)
{
    if (is_wrapped(rules->type))
        return take_wrapper(rules, body, false, scratch, out);
    *out = as_sent(body, 0);
    return TS_OK;
}

enum ts_err
record_take_item(const struct record_rules *rules, struct ts_span item, struct ts_text *scratch,
                 struct record *out)
{
    if (is_wrapped(rules->type))
        return take_wrapper(rules, item, true, scratch, out);
    *out = as_sent(item, 0);
    return TS_OK;
}

enum ts_err
record_take_line(const struct record_rules *rules, struct ts_span line, struct ts_text *scratch,
                 struct record *out)
{
    enum ts_err err = compact(rules, line, false, 0, scratch, out);
    char why[TS_ERROR_TEXT_BYTES];

    if (err != TS_E_SCHEMA)
        return err;
    /* What is no JSON is told so, not what a schema says of it. */
    memcpy(why, ts_error_text(), strlen(ts_error_text()) + 1);
    err = ts_json_check(line.at, line.bytes, NULL);
    return err != TS_OK ? err : TS_FAIL(TS_E_SCHEMA, "%s", why);
}

/* ---- messages ---- */

/* The text of a JSON string. */
static enum ts_err
decode_string(struct ts_span value, struct ts_text *scratch)
{
    const struct ts_span quoted = {.at = value.at + 1, .bytes = value.bytes - 2};
    size_t bytes;

    if (*value.at != '"')
        return TS_FAIL(TS_E_CONTENT, "json: cannot unmarshal %s into value of type string",
                       ts_json_kind(value));
    if (!ts_text_reserve(scratch, quoted.bytes + 1))
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    if (!ts_json_unescape(quoted, scratch->at + scratch->bytes, quoted.bytes, &bytes))
        return TS_FAIL_PLAIN(TS_E_JSON);
    scratch->bytes += bytes;
    return TS_OK;
}

/* Decodes the base64 at `off` of the scratch, its end, in place: it only gets shorter. */
static enum ts_err
decode_base64(struct ts_text *scratch, size_t off)
{
    unsigned char *const at = (unsigned char *)scratch->at + off;
    const size_t bytes = scratch->bytes - off;
    size_t decoded;

    if (bytes == 0)
        return TS_OK;
    if (sodium_base642bin(at, bytes, scratch->at + off, bytes, NULL, &decoded, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0)
        return TS_FAIL(TS_E_CONTENT, "illegal base64 data");
    scratch->bytes = off + decoded;
    return TS_OK;
}

enum ts_err
record_take_message(const struct record_rules *rules, struct ts_span message, bool is_compact,
                    struct ts_text *scratch, struct record *out)
{
    const size_t off = scratch->bytes;
    struct ts_json_insert insert;
    enum ts_err err = ts_json_insert(message.at, message.bytes, true, &insert);
    int64_t time_ns;

    if (err != TS_OK)
        return err;
    time_ns = insert.has_time ? insert.time_ns : 0;
    if (rules->type == TS_TYPE_SCHEMA)
        return compact(rules, insert.has_data ? insert.data : (struct ts_span){.at = ""},
                       is_compact, time_ns, scratch, out);
    if (rules->type == TS_TYPE_JSON) {
        if (!insert.has_data)
            return TS_FAIL(TS_E_NO_DATA, "unexpected end of JSON input");
        *out = as_sent(insert.data, time_ns);
        return TS_OK;
    }
    if (!insert.has_data)
        return TS_FAIL_PLAIN(TS_E_NO_DATA);
    err = decode_string(insert.data, scratch);
    if (err == TS_OK && rules->type == TS_TYPE_BINARY)
        err = decode_base64(scratch, off);
    if (err == TS_OK)
        *out = in_scratch(scratch, off, time_ns);
    else
        scratch->bytes = off;
    return err;
}
