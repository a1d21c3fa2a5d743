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

        ts_text_init(&out);
        snprintf(want, sizeof want, HEAD "%s", records[i].want);
        answer_record(&out, records[i].type, &record, true);
        expect_text(&out, want, records[i].want);
        ts_text_done(&out);
    }
}

Test(answer, without_data_the_field_is_null)
{
    const struct ts_record record = record_of("{}", 2);
    struct ts_text out;

    ts_text_init(&out);
    answer_record(&out, TS_TYPE_JSON, &record, false);
    expect_text(&out, HEAD "2,\"data\":null}", "no data");
    ts_text_done(&out);
}

Test(answer, a_data_message_carries_the_record_number)
{
    const struct ts_record record = record_of("1", 1);
    struct ts_text out;

    ts_text_init(&out);
    answer_data_message(&out, TS_TYPE_JSON, &record);
    expect_text(&out,
                "{\"type\":\"data\",\"timestamp\":-5,\"block_num\":17,\"size\":1,\"data\":1,"
                "\"record\":7}",
                "data");
    ts_text_done(&out);
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
