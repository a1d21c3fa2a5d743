/* schema_parse.c - the fields of a request, first read, then judged.
 *
 * Faults are found in the order in which the first ts-store finds them: syntax, types of values,
 * then field by field what the fields say.
 */
#include "common/json_walk.h"
#include "common/schema_table.h"

#include <stdlib.h>

#define MAX_QUOTED_BYTES 64 /* of a client's text in an error */

/* As it stands in the request; what is missing is 0 or "". */
struct raw_field {
    int64_t index;
    struct ts_span name, type; /* views: between the quotes, escapes still in them */
};

struct request {
    struct raw_field *fields; /* owned */
    size_t n, capacity;
};

static const struct ts_span no_text = {.at = "", .bytes = 0};

static int
quoted_bytes(struct ts_span text)
{
    return (int)(text.bytes < MAX_QUOTED_BYTES ? text.bytes : MAX_QUOTED_BYTES);
}

/* ---- reading ---- */

/* Without regard to case, as the original does. */
static bool
name_is(const struct ts_json_member *member, const char *want)
{
    char name[16];
    size_t n;

    if (!ts_json_unescape(member->name, name, sizeof name, &n) || n != strlen(want))
        return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] != want[i] &&
            !(name[i] >= 'A' && name[i] <= 'Z' && (name[i] | 0x20) == want[i]))
            return false;
    return true;
}

static enum ts_err
mistyped(struct ts_span value, const char *field, const char *type)
{
    if (ts_json_is_number(value))
        return TS_FAIL(TS_E_JSON, "json: cannot unmarshal number %.*s into field %s of type %s",
                       quoted_bytes(value), value.at, field, type);
    return TS_FAIL(TS_E_JSON, "json: cannot unmarshal %s into field %s of type %s",
                   ts_json_kind(value), field, type);
}

static enum ts_err
read_index(struct ts_span value, int64_t *out)
{
    const bool is_negative = *value.at == '-';
    int64_t index = 0; /* counted downwards: that range is the wider one */

    if (!ts_json_is_number(value))
        return mistyped(value, "index", "int");
    for (size_t i = is_negative; i < value.bytes; i++)
        if (value.at[i] < '0' || value.at[i] > '9' || __builtin_mul_overflow(index, 10, &index) ||
            __builtin_sub_overflow(index, value.at[i] - '0', &index))
            return mistyped(value, "index", "int");
    if (!is_negative && index == INT64_MIN)
        return mistyped(value, "index", "int");
    *out = is_negative ? index : -index;
    return TS_OK;
}

static enum ts_err
read_string(struct ts_span value, const char *field, struct ts_span *out)
{
    if (*value.at != '"')
        return mistyped(value, field, "string");
    *out = (struct ts_span){.at = value.at + 1, .bytes = value.bytes - 2};
    return TS_OK;
}

/* The text was checked, so no walk over it is malformed. */
static enum ts_err
read_field(struct ts_span value, struct raw_field *out)
{
    struct raw_field field = {.name = no_text, .type = no_text};
    struct ts_json_member member;
    struct ts_json_walk walk;
    enum ts_err err = TS_OK;

    if (!ts_json_is_null(value) && !ts_json_walk_object(&walk, value))
        return mistyped(value, "fields", "array of objects");
    while (!ts_json_is_null(value) && err == TS_OK &&
           ts_json_walk_next(&walk, &member) == TS_JSON_MEMBER) {
        if (ts_json_is_null(member.value))
            continue;
        if (name_is(&member, "index"))
            err = read_index(member.value, &field.index);
        else if (name_is(&member, "name"))
            err = read_string(member.value, "name", &field.name);
        else if (name_is(&member, "type"))
            err = read_string(member.value, "type", &field.type);
    }
    if (err == TS_OK)
        *out = field;
    return err;
}

static enum ts_err
make_room(struct request *request)
{
    const size_t capacity = request->capacity == 0 ? 16 : 2 * request->capacity;
    struct raw_field *more;

    if (request->n < request->capacity)
        return TS_OK;
    if (request->n >= TS_SCHEMA_MAX_FIELDS)
        return TS_FAIL(TS_E_SCHEMA, "invalid schema: more than %d fields", TS_SCHEMA_MAX_FIELDS);
    more = realloc(request->fields, capacity * sizeof request->fields[0]);
    if (more == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    request->fields = more;
    request->capacity = capacity;
    return TS_OK;
}

static enum ts_err
read_fields(struct ts_span fields, struct request *request)
{
    struct ts_json_member item;
    struct ts_json_walk walk;
    enum ts_err err = TS_OK;

    if (!ts_json_walk_array(&walk, fields))
        return mistyped(fields, "fields", "array");
    while (err == TS_OK && ts_json_walk_next(&walk, &item) == TS_JSON_MEMBER) {
        err = make_room(request);
        if (err == TS_OK)
            err = read_field(item.value, &request->fields[request->n]);
        if (err == TS_OK)
            request->n++;
    }
    return err;
}

static enum ts_err
check_syntax(const char *text, size_t bytes, struct ts_span *out_value)
{
    bool is_blank = true;
    enum ts_err err;

    for (size_t i = 0; i < bytes && is_blank; i++)
        is_blank = text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n';
    if (is_blank)
        return TS_FAIL(TS_E_JSON, "EOF");
    err = ts_json_check(text, bytes, out_value);
    /* Another word for the same, which clients know from bodies. */
    if (err != TS_OK && strcmp(ts_error_text(), "unexpected end of JSON input") == 0)
        return TS_FAIL(TS_E_JSON, "unexpected EOF");
    return err;
}

static enum ts_err
read_request(const char *text, size_t bytes, struct request *request)
{
    struct ts_span value = no_text, fields = no_text;
    struct ts_json_member member;
    struct ts_json_walk walk;
    enum ts_err err = check_syntax(text, bytes, &value);

    if (err != TS_OK)
        return err;
    if (ts_json_walk_object(&walk, value)) {
        while (ts_json_walk_next(&walk, &member) == TS_JSON_MEMBER)
            if (name_is(&member, "fields"))
                fields = member.value;
    } else if (!ts_json_is_null(value)) {
        return TS_FAIL(TS_E_JSON, "json: cannot unmarshal %s into value of type object",
                       ts_json_kind(value));
    }
    if (fields.bytes == 0 || ts_json_is_null(fields))
        return TS_FAIL(TS_E_SCHEMA, "Key: 'SchemaRequest.Fields' Error:Field validation for "
                                    "'Fields' failed on the 'required' tag");
    return read_fields(fields, request);
}

/* ---- judging ---- */

/* Decodes the name into names, whose memory was reserved and does not move. */
static enum ts_err
judge_name(struct ts_span raw, struct ts_text *names, struct ts_span *out)
{
    char *const at = names->at + names->bytes;
    size_t n = 0;

    if (raw.bytes == 0)
        return TS_FAIL(TS_E_SCHEMA, "invalid schema: field name is required");
    if (!ts_json_unescape(raw, at, names->capacity - names->bytes, &n) ||
        n > TS_SCHEMA_MAX_NAME_BYTES)
        return TS_FAIL(TS_E_SCHEMA, "invalid schema: field name is longer than %d bytes",
                       TS_SCHEMA_MAX_NAME_BYTES);
    if (memchr(at, '\0', n) != NULL)
        return TS_FAIL(TS_E_SCHEMA, "invalid schema: field name contains a NUL");
    names->bytes += n;
    *out = (struct ts_span){.at = at, .bytes = n};
    return TS_OK;
}

static enum ts_err
judge_field(const struct raw_field *raw, struct ts_text *names, struct ts_schema_given *out)
{
    enum ts_err err;

    out->index = raw->index;
    if (raw->index <= 0)
        return TS_FAIL(TS_E_SCHEMA, "invalid schema: field index must be positive: %lld",
                       (long long)raw->index);
    err = judge_name(raw->name, names, &out->name);
    if (err != TS_OK)
        return err;
    /* The types have no character that anybody would escape. */
    if (!ts_schema_type_find(raw->type, &out->type))
        return TS_FAIL(TS_E_SCHEMA, "invalid field type: %.*s", quoted_bytes(raw->type),
                       raw->type.at);
    return TS_OK;
}

/* For finding what comes twice: sorted, and among equals in the order given. */
struct sorted_field {
    const struct ts_schema_given *field;
    size_t place;
};

static int
by_index(const void *a, const void *b)
{
    const struct sorted_field *left = a, *right = b;

    if (left->field->index != right->field->index)
        return left->field->index < right->field->index ? -1 : 1;
    return (left->place > right->place) - (left->place < right->place);
}

static int
by_name(const void *a, const void *b)
{
    const struct sorted_field *left = a, *right = b;
    const struct ts_span x = left->field->name, y = right->field->name;
    const int order = memcmp(x.at, y.at, x.bytes < y.bytes ? x.bytes : y.bytes);

    if (order != 0)
        return order;
    if (x.bytes != y.bytes)
        return x.bytes < y.bytes ? -1 : 1;
    return (left->place > right->place) - (left->place < right->place);
}

/* The first field, in the order given, that repeats an earlier one; n if none does. */
static size_t
first_repeated(const struct ts_schema_given *fields, struct sorted_field *sorted, size_t n,
               bool of_names)
{
    size_t first = n;

    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct sorted_field){.field = &fields[i], .place = i};
    qsort(sorted, n, sizeof sorted[0], of_names ? by_name : by_index);
    for (size_t i = 1; i < n; i++) {
        const struct ts_schema_given *before = sorted[i - 1].field, *field = sorted[i].field;
        const bool repeats =
            of_names ? ts_span_equal(before->name, field->name) : before->index == field->index;

        if (repeats && sorted[i].place < first)
            first = sorted[i].place;
    }
    return first;
}

/* `sorted` is room for n. */
static enum ts_err
judge_uniqueness(const struct ts_schema_given *fields, struct sorted_field *sorted, size_t n)
{
    const size_t index = first_repeated(fields, sorted, n, false);
    const size_t name = first_repeated(fields, sorted, n, true);

    if (index < n && index <= name)
        return TS_FAIL(TS_E_SCHEMA, "invalid schema: duplicate field index: %lld",
                       (long long)fields[index].index);
    if (name < n)
        return TS_FAIL(TS_E_SCHEMA, "invalid schema: duplicate field name: %.*s",
                       (int)fields[name].name.bytes, fields[name].name.at);
    return TS_OK;
}

/* Of several faults the one of the first field counts. */
static enum ts_err
judge(const struct request *request, struct ts_text *names, struct ts_schema_given *fields,
      struct sorted_field *sorted)
{
    enum ts_err err = TS_OK, earlier;
    char text[TS_ERROR_TEXT_BYTES];
    size_t n = 0;

    if (request->n == 0)
        return TS_FAIL(TS_E_SCHEMA, "invalid schema: no fields defined");
    while (n < request->n && err == TS_OK) {
        err = judge_field(&request->fields[n], names, &fields[n]);
        n += err == TS_OK;
    }
    if (err != TS_OK)
        memcpy(text, ts_error_text(), strlen(ts_error_text()) + 1);
    earlier = judge_uniqueness(fields, sorted, n);
    if (earlier != TS_OK)
        return earlier;
    return err != TS_OK ? TS_FAIL(err, "%s", text) : TS_OK;
}

/* ---- the request ---- */

enum ts_err
ts_schema_parse(const char *text, size_t bytes, uint32_t version, struct ts_schema **out_schema)
{
    struct sorted_field *sorted = NULL;
    struct ts_schema_given *fields = NULL;
    struct request request = {0};
    struct ts_text names;
    enum ts_err err;

    ts_text_init(&names);
    err = read_request(text, bytes, &request);
    if (err != TS_OK)
        goto out;
    /* One more: a size of 0 would make NULL mean two things. */
    fields = calloc(request.n + 1, sizeof fields[0]);
    sorted = calloc(request.n + 1, sizeof sorted[0]);
    /* No name is longer decoded than it was before. */
    if (fields == NULL || sorted == NULL || !ts_text_reserve(&names, bytes)) {
        err = TS_FAIL_PLAIN(TS_E_NOMEM);
        goto out;
    }
    err = judge(&request, &names, fields, sorted);
    if (err == TS_OK)
        err = ts_schema_build(fields, request.n, version, out_schema);
out:
    ts_text_done(&names);
    free(sorted);
    free(fields);
    free(request.fields);
    return err;
}

static bool
is_same(const struct ts_schema_field *a, const struct ts_schema_field *b)
{
    return a->type == b->type && ts_span_equal(a->name, b->name);
}

enum ts_err
ts_schema_check_successor(const struct ts_schema *old, const struct ts_schema *schema)
{
    const size_t n = ts_schema_n_fields(old);
    const struct ts_schema_row *row;
    uint32_t rank;

    /* Changed ones first: the request tells of them, whoever left out others besides. */
    for (size_t i = 0; i < n; i++) {
        row = &old->rows[old->given[i]];
        rank = ts_schema_search_key(schema, row->key);
        if (rank != TS_SCHEMA_NO_RANK && !is_same(&row->field, &schema->rows[rank].field))
            return TS_FAIL(TS_E_SCHEMA, "invalid schema: cannot modify existing field %lld",
                           (long long)row->field.index);
    }
    for (size_t i = 0; i < n; i++) {
        row = &old->rows[old->given[i]];
        if (ts_schema_search_key(schema, row->key) == TS_SCHEMA_NO_RANK)
            return TS_FAIL(TS_E_SCHEMA, "invalid schema: cannot remove existing field %lld",
                           (long long)row->field.index);
    }
    return TS_OK;
}
