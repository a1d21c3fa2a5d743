/* schema.c - any bytes as a request and, behind the first line, as a record: what is accepted can
 * be rendered and read again, and comes back from the stored form.
 */
#include "common/schema.h"
#include "common/json_walk.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char fixed[] = "{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"},"
                            "{\"index\":2,\"name\":\"valve.open\",\"type\":\"bool\"},"
                            "{\"index\":10,\"name\":\"\\u00e4\",\"type\":\"int8\"}]}";

static void
expect(bool holds)
{
    if (!holds)
        abort();
}

static struct ts_span
span_of(const struct ts_text *text)
{
    return (struct ts_span){.at = text->at, .bytes = text->bytes};
}

static bool
is_same(const struct ts_text *a, const struct ts_text *b)
{
    return a->bytes == b->bytes && memcmp(a->at, b->at, a->bytes) == 0;
}

static void
check_rendering(const struct ts_schema *schema)
{
    struct ts_schema *again = NULL;
    struct ts_text first, second;

    ts_text_init(&first);
    ts_text_init(&second);
    expect(ts_schema_render(schema, &first) == TS_OK);
    expect(ts_schema_parse(first.at, first.bytes, 1, &again) == TS_OK);
    expect(ts_schema_check_successor(schema, again) == TS_OK);
    expect(ts_schema_render(again, &second) == TS_OK && is_same(&first, &second));
    ts_text_clear(&first);
    ts_schema_render_legend(schema, &first);
    expect(ts_json_check(first.at, first.bytes, NULL) == TS_OK);
    ts_schema_release(again);
    ts_text_done(&first);
    ts_text_done(&second);
}

static void
check_record(const struct ts_schema *schema, struct ts_span record, bool strict)
{
    /* A walk lets values be as deep as a whole text may be, so one level more in all. */
    const bool is_json = ts_json_check(record.at, record.bytes, NULL) == TS_OK;
    struct ts_text stored, again, full;

    ts_text_init(&stored);
    ts_text_init(&again);
    ts_text_init(&full);
    if (ts_schema_compact(schema, record, strict, &stored) == TS_OK && is_json) {
        expect(ts_json_check(stored.at, stored.bytes, NULL) == TS_OK);
        expect(ts_schema_check_compact(schema, span_of(&stored), strict, &again) == TS_OK);
        expect(is_same(&stored, &again));
        expect(ts_schema_expand(schema, span_of(&stored), &full));
        ts_text_clear(&again);
        expect(ts_schema_compact(schema, span_of(&full), strict, &again) == TS_OK);
        expect(is_same(&stored, &again));
    } else if (stored.bytes > 0) {
        expect(!is_json);
    }
    ts_text_clear(&stored);
    ts_text_clear(&full);
    if (ts_schema_check_compact(schema, record, strict, &stored) == TS_OK && is_json)
        expect(ts_json_check(stored.at, stored.bytes, NULL) == TS_OK);
    if (ts_schema_expand(schema, record, &full) && is_json)
        expect(ts_json_check(full.at, full.bytes, NULL) == TS_OK);
    ts_text_done(&stored);
    ts_text_done(&again);
    ts_text_done(&full);
}

static void
check_walk(struct ts_span text)
{
    struct ts_json_member member;
    struct ts_json_walk walk;
    enum ts_json_step step;
    struct ts_span value;

    if (!ts_json_walk_object(&walk, text) && !ts_json_walk_array(&walk, text))
        return;
    while ((step = ts_json_walk_next(&walk, &member)) == TS_JSON_MEMBER)
        expect(ts_json_check(member.value.at, member.value.bytes, &value) == TS_OK &&
               value.bytes == member.value.bytes);
    if (ts_json_check(text.at, text.bytes, &value) == TS_OK)
        expect((step == TS_JSON_END) == (value.bytes == text.bytes));
    else
        expect(step == TS_JSON_MALFORMED || strstr(ts_error_text(), "max depth") != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *const text = (const char *)data;
    const char *const line_end = bytes > 0 ? memchr(text, '\n', bytes) : NULL;
    const size_t request_bytes = line_end != NULL ? (size_t)(line_end - text) : bytes;
    const size_t used = line_end != NULL ? request_bytes + 1 : bytes;
    const struct ts_span record = {.at = text + used, .bytes = bytes - used};
    struct ts_schema *schema = NULL;

    if (ts_schema_parse(text, request_bytes, 1, &schema) == TS_OK)
        check_rendering(schema);
    else
        expect(schema == NULL && ts_error_text()[0] != '\0' &&
               ts_schema_parse(fixed, sizeof fixed - 1, 1, &schema) == TS_OK);
    check_record(schema, record, false);
    check_record(schema, record, true);
    check_walk(record);
    ts_schema_release(schema);
    return 0;
}
