/* schema.c - requests that become a schema, and records between their two forms. */
#include "common/schema.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))

#define FLOW "{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"}"
#define ID "{\"index\":2,\"name\":\"id\",\"type\":\"uint64\"}"
#define CPU "{\"index\":10,\"name\":\"cpu.pct\",\"type\":\"int32\"}"
#define THREE "{\"fields\":[" FLOW "," ID "," CPU "]}"

TestSuite(schema, .timeout = 60);

static struct ts_text out;

/* From memory that ends with the text, so that a sanitizer sees a read beyond it. */
static char *
copy_of(const char *text, size_t bytes)
{
    char *copy = malloc(bytes > 0 ? bytes : 1);

    cr_assert_not_null(copy);
    memcpy(copy, text, bytes);
    return copy;
}

static enum ts_err
parse(const char *text, struct ts_schema **out_schema)
{
    char *copy = copy_of(text, strlen(text));
    const enum ts_err err = ts_schema_parse(copy, strlen(text), 1, out_schema);

    free(copy);
    return err;
}

static struct ts_schema *
schema_of(const char *text)
{
    struct ts_schema *schema = NULL;

    cr_assert_eq(parse(text, &schema), TS_OK, "%s: %s", text, ts_error_text());
    return schema;
}

typedef enum ts_err converter(const struct ts_schema *, struct ts_span, bool, struct ts_text *);

/* The converted record, or the text of the error behind "! ". */
static const char *
converted(converter *convert, const struct ts_schema *schema, const char *text, bool strict)
{
    char *copy = copy_of(text, strlen(text));
    enum ts_err err;

    ts_text_clear(&out);
    ts_text_puts(&out, "+");
    err = convert(schema, (struct ts_span){.at = copy, .bytes = strlen(text)}, strict, &out);
    if (err != TS_OK) {
        cr_expect_eq(err, TS_E_SCHEMA, "%s", text);
        cr_expect_eq(out.bytes, 1, "untouched on failure: %s", text);
        ts_text_clear(&out);
        ts_text_printf(&out, "+! %s", ts_error_text());
    }
    ts_text_add(&out, "", 1);
    free(copy);
    return out.at + 1;
}

static const char *
expanded(const struct ts_schema *schema, const char *text)
{
    char *copy = copy_of(text, strlen(text));

    ts_text_clear(&out);
    ts_text_puts(&out, "+");
    if (!ts_schema_expand(schema, (struct ts_span){.at = copy, .bytes = strlen(text)}, &out)) {
        cr_expect_eq(out.bytes, 1, "untouched on failure: %s", text);
        ts_text_puts(&out, "!");
    }
    ts_text_add(&out, "", 1);
    free(copy);
    return out.at + 1;
}

/* ---- requests ---- */

static const struct {
    const char *text;
    enum ts_err err;
    const char *want;
} refused[] = {
    {"", TS_E_JSON, "EOF"},
    {" \n\t", TS_E_JSON, "EOF"},
    {"{\"fields\":[", TS_E_JSON, "unexpected EOF"},
    {"zz", TS_E_JSON, "invalid character 'z' looking for beginning of value"},
    {"[]", TS_E_JSON, "json: cannot unmarshal array into value of type object"},
    {"7", TS_E_JSON, "json: cannot unmarshal number into value of type object"},
    {"{}", TS_E_SCHEMA,
     "Key: 'SchemaRequest.Fields' Error:Field validation for 'Fields' failed on the 'required' "
     "tag"},
    {"null", TS_E_SCHEMA,
     "Key: 'SchemaRequest.Fields' Error:Field validation for 'Fields' failed on the 'required' "
     "tag"},
    {"{\"fields\":null}", TS_E_SCHEMA,
     "Key: 'SchemaRequest.Fields' Error:Field validation for 'Fields' failed on the 'required' "
     "tag"},
    {"{\"fields\":[" FLOW "],\"fields\":[]}", TS_E_SCHEMA, "invalid schema: no fields defined"},
    {"{\"fields\":[]}", TS_E_SCHEMA, "invalid schema: no fields defined"},
    {"{\"fields\":{}}", TS_E_JSON, "json: cannot unmarshal object into field fields of type array"},
    {"{\"fields\":[1]}", TS_E_JSON,
     "json: cannot unmarshal number 1 into field fields of type array of objects"},
    {"{\"fields\":[[]]}", TS_E_JSON,
     "json: cannot unmarshal array into field fields of type array of objects"},
    {"{\"fields\":[{\"index\":\"1\",\"name\":\"a\",\"type\":\"bool\"}]}", TS_E_JSON,
     "json: cannot unmarshal string into field index of type int"},
    {"{\"fields\":[{\"index\":1.5,\"name\":\"a\",\"type\":\"bool\"}]}", TS_E_JSON,
     "json: cannot unmarshal number 1.5 into field index of type int"},
    {"{\"fields\":[{\"index\":1e3,\"name\":\"a\",\"type\":\"bool\"}]}", TS_E_JSON,
     "json: cannot unmarshal number 1e3 into field index of type int"},
    {"{\"fields\":[{\"index\":9223372036854775808,\"name\":\"a\",\"type\":\"bool\"}]}", TS_E_JSON,
     "json: cannot unmarshal number 9223372036854775808 into field index of type int"},
    {"{\"fields\":[{\"index\":1,\"name\":7,\"type\":\"bool\"}]}", TS_E_JSON,
     "json: cannot unmarshal number 7 into field name of type string"},
    {"{\"fields\":[{\"index\":1,\"name\":\"a\",\"type\":true}]}", TS_E_JSON,
     "json: cannot unmarshal bool into field type of type string"},
    {"{\"fields\":[{\"index\":0,\"name\":\"a\",\"type\":\"bool\"}]}", TS_E_SCHEMA,
     "invalid schema: field index must be positive: 0"},
    {"{\"fields\":[{\"index\":-3,\"name\":\"\",\"type\":\"x\"}]}", TS_E_SCHEMA,
     "invalid schema: field index must be positive: -3"},
    {"{\"fields\":[{\"index\":-9223372036854775808,\"name\":\"a\",\"type\":\"bool\"}]}",
     TS_E_SCHEMA, "invalid schema: field index must be positive: -9223372036854775808"},
    {"{\"fields\":[null]}", TS_E_SCHEMA, "invalid schema: field index must be positive: 0"},
    {"{\"fields\":[{\"name\":\"a\",\"type\":\"bool\"}]}", TS_E_SCHEMA,
     "invalid schema: field index must be positive: 0"},
    {"{\"fields\":[{\"index\":1,\"name\":\"\",\"type\":\"x\"}]}", TS_E_SCHEMA,
     "invalid schema: field name is required"},
    {"{\"fields\":[{\"index\":1,\"type\":\"bool\"}]}", TS_E_SCHEMA,
     "invalid schema: field name is required"},
    {"{\"fields\":[{\"index\":1,\"name\":null,\"type\":\"bool\"}]}", TS_E_SCHEMA,
     "invalid schema: field name is required"},
    {"{\"fields\":[{\"index\":1,\"name\":\"a\\u0000b\",\"type\":\"bool\"}]}", TS_E_SCHEMA,
     "invalid schema: field name contains a NUL"},
    {"{\"fields\":[{\"index\":1,\"name\":\"a\",\"type\":\"int9\"}]}", TS_E_SCHEMA,
     "invalid field type: int9"},
    {"{\"fields\":[{\"index\":1,\"name\":\"a\",\"type\":\"Bool\"}]}", TS_E_SCHEMA,
     "invalid field type: Bool"},
    {"{\"fields\":[{\"index\":1,\"name\":\"a\"}]}", TS_E_SCHEMA, "invalid field type: "},
    {"{\"fields\":[" FLOW ",{\"index\":1,\"name\":\"a\",\"type\":\"bool\"}]}", TS_E_SCHEMA,
     "invalid schema: duplicate field index: 1"},
    {"{\"fields\":[" FLOW ",{\"index\":2,\"name\":\"flow\",\"type\":\"bool\"}]}", TS_E_SCHEMA,
     "invalid schema: duplicate field name: flow"},
    {"{\"fields\":[" FLOW ",{\"index\":2,\"name\":\"\\u0066low\",\"type\":\"bool\"}]}", TS_E_SCHEMA,
     "invalid schema: duplicate field name: flow"},
    {"{\"fields\":[" FLOW "," FLOW ",{\"index\":0}]}", TS_E_SCHEMA,
     "invalid schema: duplicate field index: 1"},
    {"{\"fields\":[" FLOW ",{\"index\":0}," FLOW "]}", TS_E_SCHEMA,
     "invalid schema: field index must be positive: 0"},
};

Test(schema, refuses_a_bad_request_in_the_known_words)
{
    struct ts_schema *schema = NULL;

    for (size_t i = 0; i < COUNTOF(refused); i++) {
        cr_expect_eq(parse(refused[i].text, &schema), refused[i].err, "%s", refused[i].text);
        cr_expect_str_eq(ts_error_text(), refused[i].want, "%s: %s", refused[i].text,
                         ts_error_text());
        cr_expect_null(schema);
    }
}

Test(schema, refuses_names_and_lists_that_are_too_long)
{
    struct ts_schema *schema = NULL;
    struct ts_text text;

    ts_text_init(&text);
    for (int extra = 0; extra <= 1; extra++) {
        ts_text_clear(&text);
        ts_text_printf(&text, "{\"fields\":[{\"index\":1,\"type\":\"bool\",\"name\":\"%0*d\"}]}%c",
                       TS_SCHEMA_MAX_NAME_BYTES + extra, 0, '\0');
        cr_expect_eq(parse(text.at, &schema), extra ? TS_E_SCHEMA : TS_OK);
        ts_schema_release(schema);
        schema = NULL;

        ts_text_clear(&text);
        ts_text_puts(&text, "{\"fields\":[");
        for (int i = 1; i <= TS_SCHEMA_MAX_FIELDS + extra; i++)
            ts_text_printf(&text, "%s{\"index\":%d,\"name\":\"n%d\",\"type\":\"bool\"}",
                           i > 1 ? "," : "", i, i);
        ts_text_printf(&text, "]}%c", '\0');
        cr_expect_eq(parse(text.at, &schema), extra ? TS_E_SCHEMA : TS_OK);
        cr_expect_eq(ts_schema_n_fields(schema), extra ? 0u : TS_SCHEMA_MAX_FIELDS);
        if (!extra) {
            cr_expect_str_eq(
                converted(ts_schema_compact, schema, "{\"n4096\":1,\"n7\":2,\"n70\":3}", false),
                "{\"4096\":1,\"7\":2,\"70\":3}");
            cr_expect_str_eq(expanded(schema, out.at + 1), "{\"n4096\":1,\"n7\":2,\"n70\":3}");
        }
        ts_schema_release(schema);
        schema = NULL;
    }
    ts_text_done(&text);
    ts_text_done(&out);
}

Test(schema, T115_is_given_back_in_the_order_given)
{
    struct ts_schema *schema = schema_of(" {\"x\":[1],\"FIELDS\":[" CPU "," FLOW "," ID "]} ");

    ts_text_clear(&out);
    cr_expect_eq(ts_schema_render(schema, &out), TS_OK);
    ts_text_add(&out, "", 1);
    cr_expect_str_eq(out.at, "{\"version\":1,\"fields\":[" CPU "," FLOW "," ID "]}");
    ts_text_clear(&out);
    ts_schema_render_legend(schema, &out);
    ts_text_add(&out, "", 1);
    cr_expect_str_eq(out.at, "{\"_schema\":{\"1\":\"flow\",\"10\":\"cpu.pct\",\"2\":\"id\"}}");
    cr_expect_eq(ts_schema_field(schema, 0)->index, 10);
    cr_expect_eq(ts_schema_field(schema, 1)->type, TS_SCHEMA_FLOAT64);
    cr_expect_eq(ts_schema_version(schema), 1);
    ts_schema_release(schema);
    ts_text_done(&out);
}

Test(schema, T111_is_not_there_before_it_is_defined)
{
    cr_expect_eq(ts_schema_render(NULL, &out), TS_E_NO_SCHEMA);
    cr_expect_str_eq(ts_error_text(), "no schema defined");
    cr_expect_eq(ts_schema_version(NULL), 0);
    cr_expect_eq(ts_schema_n_fields(NULL), 0);
    ts_schema_release(NULL);
    cr_expect_null(ts_schema_hold(NULL));
}

static const struct {
    const char *text, *want;
} successors[] = {
    {THREE, ""},
    {"{\"fields\":[" CPU "," ID "," FLOW "]}", ""},
    {"{\"fields\":[" FLOW "," ID "," CPU ",{\"index\":3,\"name\":\"x\",\"type\":\"bool\"}]}", ""},
    {"{\"fields\":[{\"index\":1,\"name\":\"f\",\"type\":\"float64\"}," ID "," CPU "]}",
     "invalid schema: cannot modify existing field 1"},
    {"{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"float32\"}," ID "," CPU "]}",
     "invalid schema: cannot modify existing field 1"},
    {"{\"fields\":[{\"index\":10,\"name\":\"cpu\",\"type\":\"int32\"}]}",
     "invalid schema: cannot modify existing field 10"},
    {"{\"fields\":[{\"index\":3,\"name\":\"x\",\"type\":\"bool\"}]}",
     "invalid schema: cannot remove existing field 1"},
    {"{\"fields\":[" FLOW "," CPU "]}", "invalid schema: cannot remove existing field 2"},
    {"{\"fields\":[" FLOW "," CPU ",{\"index\":3,\"name\":\"id\",\"type\":\"uint64\"}]}",
     "invalid schema: cannot remove existing field 2"},
};

Test(schema, T122_T123_T124_only_grows)
{
    struct ts_schema *old = schema_of(THREE), *schema;
    enum ts_err err;

    for (size_t i = 0; i < COUNTOF(successors); i++) {
        schema = schema_of(successors[i].text);
        err = ts_schema_check_successor(old, schema);
        cr_expect_eq(err, *successors[i].want == '\0' ? TS_OK : TS_E_SCHEMA, "%s",
                     successors[i].text);
        if (err != TS_OK)
            cr_expect_str_eq(ts_error_text(), successors[i].want, "%s", successors[i].text);
        cr_expect_eq(ts_schema_check_successor(NULL, schema), TS_OK);
        ts_schema_release(schema);
    }
    ts_schema_release(old);
}

/* ---- records with names ---- */

static const struct {
    const char *text, *want;
} named[] = {
    {"{\"flow\":2,\"cpu.pct\":5}", "{\"1\":2,\"10\":5}"},
    {"{\"id\":1,\"cpu.pct\":2,\"flow\":3}", "{\"1\":3,\"10\":2,\"2\":1}"},
    {"{\"id\":9007199254740993}", "{\"2\":9007199254740993}"},
    {"{\"flow\":1.50,\"id\":1e21}", "{\"1\":1.50,\"2\":1e21}"},
    {"{}", "{}"},
    {"null", "{}"},
    {"{\"flow\":\"hot\"}", "{\"1\":\"hot\"}"},
    {"{\"flow\":null}", "{\"1\":null}"},
    {"{ \"flow\" : 1 ,\n\"id\" : [ 1, 2 ] }", "{\"1\":1,\"2\":[ 1, 2 ]}"},
    {"{\"flow\":1,\"id\":2,\"flow\":3}", "{\"1\":3,\"2\":2}"},
    {"{\"\\u0066low\":1}", "{\"1\":1}"},
    {"{\"flow\":\"\\u0041\\n\303\244\"}", "{\"1\":\"\\u0041\\n\303\244\"}"},
    {"{\"zz\":1}", "! field not found in schema: zz"},
    {"{\"flow\":1,\"\":1}", "! field not found in schema: "},
    {"{\"Flow\":1}", "! field not found in schema: Flow"},
    {"{\"z\\u007a\":1}", "! field not found in schema: zz"},
    {"{\"1\":1.5}", "! field not found in schema: 1"},
    {"{\"1\":1.5,\"flow\":1}", "! field not found in schema: 1"},
    {"[1]", "! invalid JSON: json: cannot unmarshal array into value of type object"},
    {"7", "! invalid JSON: json: cannot unmarshal number into value of type object"},
    {"\"x\"", "! invalid JSON: json: cannot unmarshal string into value of type object"},
    {"true", "! invalid JSON: json: cannot unmarshal bool into value of type object"},
    {"", "! invalid JSON: unexpected end of JSON input"},
    {"{\"flow\":1", "! invalid JSON: unexpected end of JSON input"},
    {"{\"flow\":01}",
     "! invalid JSON: invalid character '1' after object key:value pair at byte 9"},
    {"{\"flow\":1}}", "! invalid JSON: invalid character '}' after top-level value at byte 10"},
    {"{\"flow\":1} ", "! invalid JSON: text around the value"},
};

Test(schema, T116_to_T121_stores_indices_for_names)
{
    struct ts_schema *schema = schema_of(THREE);

    for (size_t i = 0; i < COUNTOF(named); i++) {
        const char *got = converted(ts_schema_compact, schema, named[i].text, false);

        cr_expect_str_eq(got, named[i].want, "%s: %s", named[i].text, got);
    }
    ts_schema_release(schema);
    ts_text_done(&out);
}

Test(schema, T112_is_required_to_insert)
{
    static const char want[] = "! schema is required for schema data type";

    cr_expect_str_eq(converted(ts_schema_compact, NULL, "{}", false), want);
    cr_expect_str_eq(converted(ts_schema_check_compact, NULL, "null", false), want);
    cr_expect_str_eq(expanded(NULL, "{}"), "!");
    ts_text_done(&out);
}

/* ---- records with indices ---- */

static const struct {
    const char *text, *want;
} indexed[] = {
    {"{\"1\":5}", "{\"1\":5}"},
    {"{\"2\":1,\"10\":2,\"1\":3}", "{\"1\":3,\"10\":2,\"2\":1}"},
    {"{ \"10\" : 2 }", "{\"10\":2}"},
    {"{\"\\u0031\":2}", "{\"1\":2}"},
    {"{\"1\":1,\"1\":2}", "{\"1\":2}"},
    {"{}", "{}"},
    {"null", "{}"},
    {"{\"3\":1}", "! field not found in schema: 3"},
    {"{\"01\":1}", "! field not found in schema: 01"},
    {"{\"0\":1}", "! field not found in schema: 0"},
    {"{\"99999999999999999999\":1}", "! field not found in schema: 99999999999999999999"},
    {"{\"flow\":1}", "! invalid compact JSON key (must be numeric): flow"},
    {"{\"1\":1,\"flow\":1}", "! invalid compact JSON key (must be numeric): flow"},
    {"{\"-1\":1}", "! invalid compact JSON key (must be numeric): -1"},
    {"{\"\":1}", "! invalid compact JSON key (must be numeric): "},
    {"\"junk\"", "! invalid JSON: json: cannot unmarshal string into value of type object"},
    {"", "! invalid JSON: unexpected end of JSON input"},
};

Test(schema, T159_T160_checks_the_indices_of_a_client)
{
    struct ts_schema *schema = schema_of(THREE);

    for (size_t i = 0; i < COUNTOF(indexed); i++) {
        const char *got = converted(ts_schema_check_compact, schema, indexed[i].text, false);

        cr_expect_str_eq(got, indexed[i].want, "%s: %s", indexed[i].text, got);
    }
    ts_schema_release(schema);
    ts_text_done(&out);
}

static const struct {
    const char *text, *want;
} stored[] = {
    {"{\"1\":2,\"10\":5}", "{\"flow\":2,\"cpu.pct\":5}"},
    {"{\"2\":9007199254740993}", "{\"id\":9007199254740993}"},
    {"{}", "{}"},
    {"{ \"1\" : [1, {\"1\":2}] }", "{\"flow\":[1, {\"1\":2}]}"},
    {"{\"1\":1,\"3\":2}", "{\"flow\":1}"},
    {"{\"3\":1}", "{}"},
    {"{\"99999999999999999999999\":1}", "{}"},
    {"{\"1\":1,\"1\":2}", "{\"flow\":2}"},
    {"{\"flow\":1}", "!"},
    {"{\"\":1}", "!"},
    {"{\"1x\":1}", "!"},
    {"[]", "!"},
    {"null", "!"},
    {"7", "!"},
    {"", "!"},
    {"{", "!"},
    {"{\"1\":}", "!"},
    {"{\"1\":1", "!"},
    {"{\"1\":1}x", "!"},
    {"{\"1\":[}", "!"},
    {"{\"1\":\"\377\"}", "!"},
    {"{\"3\":nul}", "!"},
    {"\001\002", "!"},
};

Test(schema, gives_the_names_back_or_says_that_it_cannot)
{
    struct ts_schema *schema = schema_of(THREE);

    for (size_t i = 0; i < COUNTOF(stored); i++) {
        const char *got = expanded(schema, stored[i].text);

        cr_expect_str_eq(got, stored[i].want, "%s: %s", stored[i].text, got);
    }
    ts_schema_release(schema);
    ts_text_done(&out);
}

Test(schema, escapes_names_that_need_it)
{
    struct ts_schema *schema =
        schema_of("{\"fields\":[{\"index\":7,\"name\":\"a\\\"\\n\\u00e4\",\"type\":\"bool\"}]}");

    cr_expect_str_eq(converted(ts_schema_compact, schema, "{\"a\\\"\\u000a\303\244\":true}", false),
                     "{\"7\":true}");
    cr_expect_str_eq(expanded(schema, "{\"7\":true}"), "{\"a\\\"\\n\303\244\":true}");
    ts_schema_release(schema);
    ts_text_done(&out);
}

Test(schema, copies_values_of_any_length)
{
    struct ts_schema *schema = schema_of(THREE);
    struct ts_text text, want;

    ts_text_init(&text);
    ts_text_init(&want);
    ts_text_printf(&text, "{\"id\":[%070000d],\"flow\":\"%0300d\"}%c", 0, 0, '\0');
    ts_text_printf(&want, "{\"1\":\"%0300d\",\"2\":[%070000d]}%c", 0, 0, '\0');
    /* A number has no leading zeros. */
    memset(strchr(text.at, '[') + 1, '7', 70000);
    memset(strchr(want.at, '[') + 1, '7', 70000);
    cr_expect_str_eq(converted(ts_schema_compact, schema, text.at, false), want.at);
    cr_expect_str_eq(converted(ts_schema_compact, schema, expanded(schema, want.at), false),
                     want.at);
    ts_schema_release(schema);
    ts_text_done(&text);
    ts_text_done(&want);
    ts_text_done(&out);
}

Test(schema, cuts_a_long_unknown_name_between_characters)
{
    struct ts_schema *schema = schema_of(THREE);
    struct ts_text text;

    ts_text_init(&text);
    ts_text_puts(&text, "{\"x");
    for (int i = 0; i < 400; i++)
        ts_text_puts(&text, "\303\244");
    ts_text_printf(&text, "\":1}%c", '\0');
    cr_expect(strncmp(converted(ts_schema_compact, schema, text.at, false), "! field not found",
                      17) == 0);
    cr_expect(ts_utf8_is_valid(ts_error_text(), strlen(ts_error_text())));
    ts_schema_release(schema);
    ts_text_done(&text);
    ts_text_done(&out);
}

/* ---- strict ---- */

static const struct {
    const char *type, *value;
    int want; /* 0 fits, 1 another type, 2 out of range */
} typed[] = {
    {"int8", "127", 0},
    {"int8", "-128", 0},
    {"int8", "-0", 0},
    {"int8", "128", 2},
    {"int8", "-129", 2},
    {"int8", "1.0", 1},
    {"int8", "1e2", 1},
    {"int8", "\"1\"", 1},
    {"int8", "true", 1},
    {"int8", "null", 1},
    {"int8", "[1]", 1},
    {"int8", "{}", 1},
    {"int16", "32767", 0},
    {"int16", "-32768", 0},
    {"int16", "32768", 2},
    {"int16", "-32769", 2},
    {"int32", "2147483647", 0},
    {"int32", "-2147483648", 0},
    {"int32", "2147483648", 2},
    {"int32", "-2147483649", 2},
    {"int64", "9223372036854775807", 0},
    {"int64", "-9223372036854775808", 0},
    {"int64", "9223372036854775808", 2},
    {"int64", "-9223372036854775809", 2},
    {"int64", "99999999999999999999999999999999999999999999999", 2},
    {"uint8", "255", 0},
    {"uint8", "256", 2},
    {"uint8", "-1", 2},
    {"uint8", "-0", 2},
    {"uint16", "65535", 0},
    {"uint16", "65536", 2},
    {"uint32", "4294967295", 0},
    {"uint32", "4294967296", 2},
    {"uint64", "18446744073709551615", 0},
    {"uint64", "18446744073709551616", 2},
    {"uint64", "-1", 2},
    {"uint64", "0", 0},
    {"float32", "3.4028235e38", 0},
    {"float32", "3.5e38", 2},
    {"float32", "-3.5e38", 2},
    {"float32", "1e-400", 0},
    {"float32", "7", 0},
    {"float32", "\"7\"", 1},
    {"float64", "1.7976931348623157e308", 0},
    {"float64", "1e309", 2},
    {"float64", "-1e99999999999", 2},
    {"float64", "-0", 0},
    {"float64", "null", 1},
    {"bool", "true", 0},
    {"bool", "false", 0},
    {"bool", "1", 1},
    {"bool", "\"true\"", 1},
    {"bool", "null", 1},
    {"string", "\"\"", 0},
    {"string", "\"\\u00e4\"", 0},
    {"string", "7", 1},
    {"string", "null", 1},
};

Test(schema, strict_checks_type_and_range)
{
    static const char *const words[] = {"", "value is not of type", "value out of range for"};
    char request[128], text[128], want[128];

    for (size_t i = 0; i < COUNTOF(typed); i++) {
        struct ts_schema *schema;
        const char *got;

        snprintf(request, sizeof request,
                 "{\"fields\":[{\"index\":1,\"name\":\"t\",\"type\":\"%s\"}]}", typed[i].type);
        schema = schema_of(request);
        snprintf(text, sizeof text, "{\"t\":%s}", typed[i].value);
        if (typed[i].want == 0)
            snprintf(want, sizeof want, "{\"1\":%s}", typed[i].value);
        else
            snprintf(want, sizeof want, "! field t: %s %s", words[typed[i].want], typed[i].type);
        got = converted(ts_schema_compact, schema, text, true);
        cr_expect_str_eq(got, want, "%s as %s: %s", text, typed[i].type, got);
        snprintf(text, sizeof text, "{\"1\":%s}", typed[i].value);
        got = converted(ts_schema_check_compact, schema, text, true);
        cr_expect_str_eq(got, want, "%s as %s: %s", text, typed[i].type, got);
        got = converted(ts_schema_check_compact, schema, text, false);
        cr_expect_str_eq(got, text, "not strict: %s", got);
        ts_schema_release(schema);
    }
    ts_text_done(&out);
}

/* ---- all together ---- */

/* Random schemas and records: what is stored is sorted, is its own stored form, and gives back the
 * names with the last value of each. */
Test(schema, random_records_survive_both_ways)
{
    const unsigned seed = (unsigned)(getenv("TS_SEED") != NULL ? atoi(getenv("TS_SEED")) : 1);
    static const char *const values[] = {"1",     "-2.50",     "\"x\"", "null",
                                         "[1,2]", "{\"a\":1}", "true"};
    char record[4096], wanted[4096], request[8192];

    srand(seed);
    for (int round = 0; round < 500; round++) {
        const int n = 1 + rand() % 40;
        int index[40], last[40];
        size_t used = (size_t)snprintf(request, sizeof request, "{\"fields\":[");

        for (int i = 0; i < n; i++) {
            /* Distinct, of one to four digits, in no order. */
            index[i] = i * 37 % 40 + 1 + 40 * (rand() % 100);
            last[i] = -1;
            used += (size_t)snprintf(request + used, sizeof request - used,
                                     "%s{\"index\":%d,\"name\":\"f%d\",\"type\":\"string\"}",
                                     i > 0 ? "," : "", index[i], i);
        }
        snprintf(request + used, sizeof request - used, "]}");
        struct ts_schema *schema = schema_of(request);

        used = (size_t)snprintf(record, sizeof record, "{");
        for (int k = rand() % 60; k > 0; k--) {
            const int i = rand() % n;

            last[i] = rand() % (int)COUNTOF(values);
            used += (size_t)snprintf(record + used, sizeof record - used, "%s\"f%d\":%s",
                                     used > 1 ? "," : "", i, values[last[i]]);
        }
        snprintf(record + used, sizeof record - used, "}");

        char *compact = strdup(converted(ts_schema_compact, schema, record, false));
        char previous[16] = "";

        /* The model: always the least key that is greater than the one before. */
        used = (size_t)snprintf(wanted, sizeof wanted, "{");
        for (;;) {
            char best[16] = "";
            int best_idx = -1;

            for (int i = 0; i < n; i++) {
                char key[16];

                snprintf(key, sizeof key, "%d", index[i]);
                if (last[i] >= 0 && strcmp(key, previous) > 0 &&
                    (best_idx < 0 || strcmp(key, best) < 0)) {
                    best_idx = i;
                    memcpy(best, key, sizeof best);
                }
            }
            if (best_idx < 0)
                break;
            memcpy(previous, best, sizeof previous);
            used += (size_t)snprintf(wanted + used, sizeof wanted - used, "%s\"%s\":%s",
                                     used > 1 ? "," : "", best, values[last[best_idx]]);
        }
        snprintf(wanted + used, sizeof wanted - used, "}");
        cr_assert_str_eq(compact, wanted, "seed %u: %s", seed, record);
        cr_assert_str_eq(converted(ts_schema_check_compact, schema, compact, false), compact,
                         "seed %u", seed);
        char *full = strdup(expanded(schema, compact));

        cr_assert_str_eq(converted(ts_schema_compact, schema, full, false), compact, "seed %u: %s",
                         seed, full);
        free(full);
        free(compact);
        ts_schema_release(schema);
    }
    ts_text_done(&out);
}

static void *
use_it(void *arg)
{
    static const char text[] = "{\"flow\":1,\"id\":2}";
    struct ts_text mine;

    ts_text_init(&mine);
    for (int i = 0; i < 2000; i++) {
        struct ts_schema *schema = ts_schema_hold(arg);

        ts_text_clear(&mine);
        if (ts_schema_compact(schema, (struct ts_span){.at = text, .bytes = sizeof text - 1}, true,
                              &mine) != TS_OK ||
            mine.bytes != 13)
            abort();
        ts_schema_release(schema);
    }
    ts_text_done(&mine);
    ts_schema_release(arg);
    return NULL;
}

Test(schema, is_shared_by_threads_until_the_last_one_lets_go)
{
    struct ts_schema *schema = schema_of(THREE);
    pthread_t threads[4];

    for (size_t i = 0; i < COUNTOF(threads); i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, use_it, ts_schema_hold(schema)), 0);
    ts_schema_release(schema);
    for (size_t i = 0; i < COUNTOF(threads); i++)
        pthread_join(threads[i], NULL);
}
