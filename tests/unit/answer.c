/* answer.c - records become JSON, whatever their bytes are. */
#include "queryd/answer.h"

#include "common/json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define HEAD "{\"timestamp\":-5,\"block_num\":17,\"size\":"

static const struct {
    enum ts_type type;
    const char *data;
    size_t bytes;
    const char *want; /* behind HEAD */
} records[] = {
    {TS_TYPE_JSON, "{\"t\":21.5}", 10, "10,\"data\":{\"t\":21.5}}"},
    {TS_TYPE_JSON, "12345678901234567890123", 23, "23,\"data\":12345678901234567890123}"},
    {TS_TYPE_JSON, "null", 4, "4,\"data\":null}"},
    {TS_TYPE_JSON, "{\"t\":", 5, "5,\"data\":\"{\\\"t\\\":\"}"},
    {TS_TYPE_JSON, "", 0, "0,\"data\":\"\"}"},
    {TS_TYPE_JSON, "1,2", 3, "3,\"data\":\"1,2\"}"},
    {TS_TYPE_SCHEMA, "{\"1\":2}", 7, "7,\"data\":{\"1\":2}}"},
    {TS_TYPE_TEXT, "he\xffy", 4, "4,\"data\":\"he\\ufffdy\"}"},
    {TS_TYPE_TEXT, "a\"b\n", 4, "4,\"data\":\"a\\\"b\\n\"}"},
    {TS_TYPE_TEXT, "", 0, "0,\"data\":\"\"}"},
    {TS_TYPE_BINARY, "\0\xff\x41", 3, "3,\"data\":\"AP9B\"}"},
    {TS_TYPE_BINARY, "", 0, "0,\"data\":\"\"}"},
};

static struct ts_record
record_of(const char *data, size_t bytes)
{
    return (struct ts_record){
        .no = 7, .time_ns = -5, .data = (const uint8_t *)data, .bytes = bytes, .block_num = 17};
}

static void
expect_text(const struct ts_text *out, const char *want, const char *label)
{
    cr_expect_eq(out->bytes, strlen(want), "%s: %.*s", label, (int)out->bytes, out->at);
    cr_expect(memcmp(out->at, want, strlen(want)) == 0, "%s: %.*s", label, (int)out->bytes,
              out->at);
    cr_expect_eq(ts_json_check(out->at, out->bytes, NULL), TS_OK, "%s", label);
}

Test(answer, each_type_has_its_form_and_what_is_no_json_becomes_a_string)
{
    for (size_t i = 0; i < COUNTOF(records); i++) {
        const struct ts_record record = record_of(records[i].data, records[i].bytes);
        struct ts_text out;
        char want[200];
        const struct shape shape = {.type = records[i].type};

        ts_text_init(&out);
        snprintf(want, sizeof want, HEAD "%s", records[i].want);
        answer_record(&out, &shape, &record, true);
        expect_text(&out, want, records[i].want);
        ts_text_done(&out);
    }
}

Test(answer, without_data_the_field_is_null)
{
    const struct ts_record record = record_of("{}", 2);
    struct ts_text out;

    ts_text_init(&out);
    answer_record(&out, &(struct shape){.type = TS_TYPE_JSON}, &record, false);
    expect_text(&out, HEAD "2,\"data\":null}", "no data");
    ts_text_done(&out);
}

Test(answer, a_data_message_carries_the_record_number)
{
    const struct ts_record record = record_of("1", 1);
    struct ts_text out;

    ts_text_init(&out);
    answer_data_message(&out, &(struct shape){.type = TS_TYPE_JSON}, &record);
    expect_text(&out,
                "{\"type\":\"data\",\"timestamp\":-5,\"block_num\":17,\"size\":1,\"data\":1,"
                "\"record\":7}",
                "data");
    ts_text_done(&out);
}

static const struct {
    const char *stored;
    bool is_compact, has_schema;
    const char *want;
} schema_records[] = {
    {"{\"1\":2,\"10\":1.50}", false, true, "17,\"data\":{\"flow\":2,\"cpu.pct\":1.50}}"},
    {"{\"1\":2,\"10\":1.50}", true, true, "17,\"data\":{\"1\":2,\"10\":1.50}}"},
    {"{\"1\":2,\"10\":1.50}", false, false, "17,\"data\":{\"1\":2,\"10\":1.50}}"},
    {"{\"1\":2,\"9\":1}", false, true, "13,\"data\":{\"flow\":2}}"},
    {"{}", false, true, "2,\"data\":{}}"},
    {"[1]", false, true, "3,\"data\":[1]}"},
    {"{\"1\":", false, true, "5,\"data\":\"{\\\"1\\\":\"}"},
};

Test(answer, a_schema_record_is_expanded_unless_compact_or_impossible)
{
    static const char fields[] =
        "{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"},"
        "{\"index\":10,\"name\":\"cpu.pct\",\"type\":\"int32\"}]}";
    struct ts_schema *schema;

    cr_assert_eq(ts_schema_parse(fields, sizeof fields - 1, 1, &schema), TS_OK);
    for (size_t i = 0; i < COUNTOF(schema_records); i++) {
        const char *stored = schema_records[i].stored;
        const struct ts_record record = record_of(stored, strlen(stored));
        const struct shape shape = {.type = TS_TYPE_SCHEMA,
                                    .is_compact = schema_records[i].is_compact,
                                    .schema = schema_records[i].has_schema ? schema : NULL};
        struct ts_text out;
        char want[200];

        ts_text_init(&out);
        snprintf(want, sizeof want, HEAD "%s", schema_records[i].want);
        answer_record(&out, &shape, &record, true);
        expect_text(&out, want, stored);
        ts_text_done(&out);
    }
    ts_schema_release(schema);
}

Test(answer, a_window_is_told_with_its_end_and_what_was_left_out)
{
    struct ts_aggregate_window window = {.start_ns = 0, .end_ns = 60};
    struct ts_text out, data;

    ts_text_init(&out);
    ts_text_init(&data);
    ts_text_puts(&data, "{\"v\":1}");
    answer_window(&out, &window, &data);
    expect_text(&out, "{\"timestamp\":60,\"block_num\":0,\"size\":0,\"data\":{\"v\":1}}", "window");
    ts_text_clear(&out);
    window.n_dropped = 3;
    answer_window_message(&out, &window, &data, 17);
    expect_text(&out,
                "{\"type\":\"data\",\"timestamp\":60,\"block_num\":0,\"size\":0,\"data\":{\"v\":1},"
                "\"dropped\":3,\"record\":17}",
                "message");
    ts_text_clear(&out);
    answer_legend(&out, NULL);
    cr_expect_eq(ts_json_check(out.at, out.bytes, NULL), TS_OK, "%.*s", (int)out.bytes, out.at);
    ts_text_done(&out);
    ts_text_done(&data);
}

Test(answer, a_gap_message_tells_first_last_and_how_many)
{
    const struct ts_gap gap = {.from_no = 3, .to_no = 9, .lost = 7};
    struct ts_text out;

    ts_text_init(&out);
    answer_gap_message(&out, &gap, NULL);
    expect_text(&out, "{\"type\":\"gap\",\"from\":3,\"to\":9,\"lost\":7}", "gap");
    ts_text_clear(&out);
    answer_gap_message(&out, &gap, "bad \"x\"");
    expect_text(&out,
                "{\"type\":\"gap\",\"from\":3,\"to\":9,\"lost\":7,\"error\":\"bad \\\"x\\\"\"}",
                "damage");
    ts_text_done(&out);
}
