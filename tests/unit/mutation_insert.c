/* mutation_insert.c - schemas, batches and messages. */
#include "tests/unit/mutation_scratch.h"

TestSuite(mutation_insert, .init = set_up, .fini = tear_down);

#define ASK(...) ask(&(struct control_request){__VA_ARGS__})

static char key[TS_KEY_TEXT_BYTES];

/* ---- schemas ---- */

#define FIELDS                                                                                     \
    "{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"},"                           \
    "{\"index\":2,\"name\":\"id\",\"type\":\"uint64\"},"                                           \
    "{\"index\":10,\"name\":\"cpu.pct\",\"type\":\"int32\"}]}"
#define STRICT_FIELDS                                                                              \
    "{\"strict\":true,\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"},"           \
    "{\"index\":2,\"name\":\"id\",\"type\":\"uint64\"},"                                           \
    "{\"index\":10,\"name\":\"cpu.pct\",\"type\":\"int32\"}]}"
#define LOOSE_FIELDS                                                                               \
    "{\"strict\":false,\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"},"          \
    "{\"index\":2,\"name\":\"id\",\"type\":\"uint64\"},"                                           \
    "{\"index\":10,\"name\":\"cpu.pct\",\"type\":\"int32\"}]}"

static uint16_t
put_schema(const char *text)
{
    return execute(CONTROL_PUT_SCHEMA, "s", key, "application/json", text);
}

static uint16_t
insert(const char *text)
{
    return execute(CONTROL_INSERT, "s", key, "application/json", text);
}

static void
create_schema_store(void)
{
    create("{\"name\":\"s\",\"data_type\":\"schema\"}", key);
    cr_assert_eq(put_schema(FIELDS), 200, "%s", answer());
    cr_assert_str_eq(answer(), "{\"message\":\"schema updated\",\"version\":1}");
}

static const struct {
    const char *body, *text;
} bad_schemas[] = {
    {"", "EOF"},
    {"z", "looking for beginning of value"},
    {"[]", "cannot unmarshal"},
    {"{}", "Fields"},
    {"{\"fields\":[]}", "invalid schema: no fields defined"},
    {"{\"fields\":[{\"index\":0,\"name\":\"a\",\"type\":\"bool\"}]}",
     "invalid schema: field index must be positive: 0"},
    {"{\"fields\":[{\"index\":1,\"name\":\"\",\"type\":\"bool\"}]}",
     "invalid schema: field name is required"},
    {"{\"fields\":[{\"index\":1,\"name\":\"a\",\"type\":\"int9\"}]}", "invalid field type: int9"},
    {"{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"bool\"}]}",
     "invalid schema: cannot modify existing field 1"},
    {"{\"fields\":[{\"index\":3,\"name\":\"x\",\"type\":\"bool\"}]}",
     "invalid schema: cannot remove existing field 1"},
    {"{\"strict\":1,\"fields\":[{\"index\":3,\"name\":\"x\",\"type\":\"bool\"}]}",
     "invalid schema: strict must be true or false"},
};

Test(mutation_insert, a_schema_is_refused_for_a_reason_and_the_old_one_stays)
{
    create_schema_store();
    for (size_t i = 0; i < COUNTOF(bad_schemas); i++) {
        cr_expect_eq(put_schema(bad_schemas[i].body), 400, "%s", bad_schemas[i].body);
        cr_expect_not_null(strstr(answer(), bad_schemas[i].text), "%s: %s", bad_schemas[i].body,
                           answer());
    }
    cr_expect_eq(put_schema(FIELDS), 200);
    cr_expect_not_null(strstr(answer(), "\"version\":2"));
}

Test(mutation_insert, a_schema_is_for_schema_stores)
{
    create("{\"name\":\"s\"}", key);
    cr_expect_eq(put_schema(FIELDS), 400);
    cr_expect_not_null(strstr(answer(), "schema endpoint only available for schema-type stores"));
}

Test(mutation_insert, a_record_without_a_schema_is_refused)
{
    create("{\"name\":\"s\",\"data_type\":\"schema\"}", key);
    cr_expect_eq(insert("{\"data\":{}}"), 400);
    cr_expect_not_null(strstr(answer(), "schema validation failed: schema is required for schema "
                                        "data type"));
}

static const struct {
    const char *body;
    uint16_t status;
    const char *stored_or_text;
} schema_insertions[] = {
    {"{\"timestamp\":1,\"data\":{\"flow\":2,\"cpu.pct\":5}}", 201, "{\"1\":2,\"10\":5}"},
    {"{\"timestamp\":2,\"data\":{\"id\":9007199254740993}}", 201, "{\"2\":9007199254740993}"},
    {"{\"timestamp\":3,\"data\":{}}", 201, "{}"},
    {"{\"timestamp\":4,\"data\":null}", 201, "{}"},
    {"{\"timestamp\":5,\"data\":{\"flow\":\"hot\"}}", 201, "{\"1\":\"hot\"}"},
    {"{\"data\":{\"zz\":1}}", 400, "schema validation failed: field not found in schema: zz"},
    {"{\"data\":{\"1\":1}}", 400, "schema validation failed: field not found in schema: 1"},
    {"{\"data\":[1]}", 400, "schema validation failed: invalid JSON: "},
    {"{\"data\":5}", 400, "schema validation failed: invalid JSON: "},
    {"{}", 400, "data is required"},
};

Test(mutation_insert, a_schema_record_is_stored_compact_or_refused)
{
    create_schema_store();
    for (size_t i = 0; i < COUNTOF(schema_insertions); i++) {
        const uint16_t status = insert(schema_insertions[i].body);

        cr_expect_eq(status, schema_insertions[i].status, "%s: %s", schema_insertions[i].body,
                     answer());
        if (status == 201)
            cr_expect_str_eq(data_at("s", (int64_t)i + 1), schema_insertions[i].stored_or_text);
        else
            cr_expect_not_null(strstr(answer(), schema_insertions[i].stored_or_text), "%s",
                               answer());
    }
}

Test(mutation_insert, a_strict_schema_checks_values_until_it_is_loose_again)
{
    create_schema_store();
    cr_expect_eq(put_schema(STRICT_FIELDS), 200, "%s", answer());
    cr_expect_eq(insert("{\"data\":{\"flow\":\"hot\"}}"), 400);
    cr_expect_not_null(strstr(answer(), "flow"), "%s", answer());
    cr_expect_eq(insert("{\"data\":{\"id\":-1}}"), 400);
    cr_expect_eq(insert("{\"data\":{\"flow\":1.5,\"id\":18446744073709551615}}"), 201);
    cr_expect_eq(put_schema(FIELDS), 200);
    cr_expect_eq(insert("{\"data\":{\"flow\":\"hot\"}}"), 400, "not said is not changed");
    cr_expect_eq(put_schema(LOOSE_FIELDS), 200);
    cr_expect_eq(insert("{\"data\":{\"flow\":\"hot\"}}"), 201);
}

Test(mutation_insert, a_schema_changed_by_another_process_holds_at_once)
{
    char path[128];
    FILE *file;

    create_schema_store();
    cr_expect_eq(insert("{\"data\":{\"zz\":1}}"), 400);
    snprintf(path, sizeof path, "%s/s/schema.json", dir);
    file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("{\"current_version\":7,\"schemas\":{\"7\":{\"version\":7,\"fields\":[{\"index\":1,"
          "\"name\":\"zz\",\"type\":\"bool\"}]}}}",
          file);
    fclose(file);
    cr_expect_eq(insert("{\"data\":{\"zz\":1}}"), 201, "%s", answer());
    file = fopen(path, "w");
    fputs("rubbish", file);
    fclose(file);
    cr_expect_eq(insert("{\"data\":{\"zz\":1}}"), 500);
    cr_expect_not_null(strstr(answer(), "schema.json"));
}

/* ---- batches ---- */

static uint16_t
batch(const char *store, const char *type, uint16_t flags, const char *text)
{
    return ASK(.op = CONTROL_INSERT_BATCH, .flags = flags, .store = span(store),
               .credential = span(key), .content_type = span(type), .body = span(text));
}

#define NDJSON "application/x-ndjson"

Test(mutation_insert, each_line_of_a_batch_has_its_result)
{
    create("{\"name\":\"a\"}", key);
    cr_expect_eq(batch("a", NDJSON, 0,
                       "{\"timestamp\":1,\"data\":{\"v\":1}}\n"
                       "junk\r\n"
                       "\n"
                       "{\"timestamp\":1,\"data\":2}\n"
                       "{\"timestamp\":3,\"data\":[ 3 ]} x\n"
                       "{\"timestamp\":3}\n"
                       "{\"timestamp\":4,\"data\":\"four\"}"),
                 200);
    cr_expect_str_eq(
        answer(),
        "{\"results\":[{\"timestamp\":1,\"block_num\":0,\"size\":7},"
        "{\"error\":\"invalid character 'j' looking for beginning of value\",\"code\":\"json\"},"
        "{\"error\":\"timestamp must be greater than newest entry\",\"code\":\"timestamp_order\"},"
        "{\"error\":\"invalid character 'x' after top-level value at byte 29\",\"code\":\"json\"},"
        "{\"error\":\"data is required\",\"code\":\"data_required\"},"
        "{\"timestamp\":4,\"block_num\":0,\"size\":6}],"
        "\"count\":6,\"accepted\":2,\"refused\":4}");
    cr_expect_str_eq(times_of("a"), "1 4");
}

Test(mutation_insert, an_array_is_a_batch_too)
{
    create("{\"name\":\"a\"}", key);
    cr_expect_eq(batch("a", "application/json; charset=utf-8", 0,
                       " [ {\"timestamp\":1,\"data\":1} , {\"data\":null,\"timestamp\":2},5 ] "),
                 200, "%s", answer());
    cr_expect_not_null(strstr(answer(), "\"count\":3,\"accepted\":2,\"refused\":1}"), "%s",
                       answer());
    cr_expect_str_eq(times_of("a"), "1 2");
    cr_expect_eq(batch("a", "application/json", 0, "[]"), 200);
    cr_expect_str_eq(answer(), "{\"results\":[],\"count\":0,\"accepted\":0,\"refused\":0}");
}

static const struct {
    const char *type, *body;
    uint16_t status;
    const char *text;
} bad_batches[] = {
    {"", "{\"data\":1}", 400, "data does not match store's data type"},
    {"text/plain", "{\"data\":1}", 400, "data does not match store's data type"},
    {NDJSON, "", 400, "\"EOF\""},
    {NDJSON, " \r\n\n\t", 400, "\"EOF\""},
    {"application/json", "", 400, "\"EOF\""},
    {"application/json", "{\"data\":1}", 400, "cannot unmarshal object into value of type array"},
    {"application/json", "[{\"data\":1}", 400, "unexpected EOF"},
    {"application/json", "[{\"data\":1},]", 400, "invalid character ']'"},
    {"application/json", "[{\"data\":1} {\"data\":1}]", 400, "invalid character '{'"},
    {"application/json", "[{\"data\":1}]x", 400, "after top-level value"},
    {"application/json", "zz", 400, "invalid character 'z'"},
};

Test(mutation_insert, a_batch_that_cannot_be_taken_apart_changes_nothing)
{
    create("{\"name\":\"a\"}", key);
    for (size_t i = 0; i < COUNTOF(bad_batches); i++) {
        const uint16_t status = batch("a", bad_batches[i].type, 0, bad_batches[i].body);

        cr_expect_eq(status, bad_batches[i].status, "%s: %u", bad_batches[i].body, status);
        cr_expect_not_null(strstr(answer(), bad_batches[i].text), "%s: %s", bad_batches[i].body,
                           answer());
    }
    cr_expect_str_eq(times_of("a"), "");
}

Test(mutation_insert, a_text_store_takes_lines_and_a_binary_one_no_batch)
{
    create("{\"name\":\"b\",\"data_type\":\"binary\"}", key);
    cr_expect_eq(batch("b", "application/octet-stream", 0, "x"), 400);
    create("{\"name\":\"t\",\"data_type\":\"text\"}", key);
    cr_expect_eq(batch("t", "text/plain", 0, "one\r\n\n two \nthr\xff"), 200);
    cr_expect_not_null(strstr(answer(), "\"size\":3}"));
    cr_expect_not_null(strstr(answer(), "\"size\":5}"));
    cr_expect_not_null(strstr(answer(), "\"size\":4}"));
    cr_expect_not_null(strstr(answer(), "\"count\":3,\"accepted\":3,\"refused\":0}"));
}

Test(mutation_insert, a_schema_batch_is_compacted)
{
    create_schema_store();
    cr_expect_eq(batch("s", NDJSON, 0,
                       "{\"timestamp\":1,\"data\":{\"flow\":1.50}}\n{\"data\":{\"q\":1}}\n"
                       "{\"timestamp\":2,\"data\":{\"cpu.pct\":1,\"id\":2}}\n"),
                 200);
    cr_expect_not_null(strstr(answer(), "schema validation failed: field not found in schema: q"));
    cr_expect_str_eq(data_at("s", 1), "{\"1\":1.50}");
    cr_expect_str_eq(data_at("s", 2), "{\"10\":1,\"2\":2}");
}

static const struct {
    const char *body;
    uint16_t status;
    const char *text;
} atomic_batches[] = {
    {"{\"timestamp\":1,\"data\":1}\njunk\n", 400, "\"code\":\"json\",\"index\":1}"},
    {"{\"timestamp\":1,\"data\":1}\n{}\n", 400, "\"code\":\"data_required\",\"index\":1}"},
    {"{\"timestamp\":2,\"data\":1}\n{\"data\":1}\n{\"timestamp\":2,\"data\":1}", 409,
     "\"code\":\"timestamp_order\",\"index\":2}"},
    {"{\"timestamp\":-2,\"data\":1}\n", 400, "\"code\":\"timestamp\",\"index\":0}"},
};

Test(mutation_insert, an_atomic_batch_is_all_or_nothing)
{
    create("{\"name\":\"a\"}", key);
    for (size_t i = 0; i < COUNTOF(atomic_batches); i++) {
        const uint16_t status = batch("a", NDJSON, CONTROL_ATOMIC, atomic_batches[i].body);

        cr_expect_eq(status, atomic_batches[i].status, "%s: %u", atomic_batches[i].body, status);
        cr_expect_not_null(strstr(answer(), atomic_batches[i].text), "%s", answer());
        cr_expect_str_eq(times_of("a"), "");
    }
    cr_expect_eq(batch("a", "application/json", CONTROL_ATOMIC,
                       "[{\"timestamp\":1,\"data\":1},{\"timestamp\":2,\"data\":{}}]"),
                 200);
    cr_expect_str_eq(answer(), "{\"results\":[{\"timestamp\":1,\"block_num\":0,\"size\":1},"
                               "{\"timestamp\":2,\"block_num\":0,\"size\":2}],"
                               "\"count\":2,\"accepted\":2,\"refused\":0}");
    cr_expect_str_eq(times_of("a"), "1 2");
    cr_expect_eq(batch("a", "application/json", CONTROL_ATOMIC, "[]"), 200);
}

/* A body of n lines. The caller frees. */
static char *
lines(size_t n, size_t bytes)
{
    char *text = malloc(n * (bytes + 40) + 1), *at = text;

    for (size_t i = 0; i < n; i++) {
        at += sprintf(at, "{\"data\":\"");
        memset(at, 'a' + (int)(i % 26), bytes);
        at += bytes;
        at += sprintf(at, "\"}\n");
    }
    *at = '\0';
    return text;
}

Test(mutation_insert, an_atomic_batch_larger_than_the_ring_is_413)
{
    char *text = lines(100, 1000);

    create("{\"name\":\"a\"}", key);
    cr_expect_eq(batch("a", NDJSON, CONTROL_ATOMIC, text), 413);
    cr_expect_not_null(strstr(answer(), "object exceeds maximum block size"));
    cr_expect_str_eq(times_of("a"), "");
    free(text);
}

Test(mutation_insert, a_batch_has_a_limit_and_up_to_it_every_record_counts)
{
    char *text = lines(65537, 1);

    create("{\"name\":\"a\",\"num_blocks\":4096,\"data_block_size\":4096}", key);
    cr_expect_eq(batch("a", NDJSON, 0, text), 413);
    cr_expect_not_null(strstr(answer(), "at most 65536"));
    cr_expect_str_eq(times_of("a"), "");
    text[strlen(text) - strlen("{\"data\":\"a\"}\n")] = '\0';
    cr_expect_eq(batch("a", NDJSON, 0, text), 200);
    cr_expect_not_null(strstr(answer(), "\"count\":65536,\"accepted\":65536,\"refused\":0}"));
    cr_expect_eq(batch("a", NDJSON, CONTROL_ATOMIC, text), 200, "%.200s", answer());
    cr_expect_not_null(strstr(answer(), "\"count\":65536,\"accepted\":65536,\"refused\":0}"));
    free(text);
}

Test(mutation_insert, the_answer_to_many_bad_lines_fits_a_reply)
{
    char *text = malloc(65536 * 12 + 1), *at = text;

    for (size_t i = 0; i < 65536; i++)
        at += sprintf(at, "{\"x\":\"\x01\"}\n");
    create("{\"name\":\"a\"}", key);
    cr_expect_eq(batch("a", NDJSON, 0, text), 200);
    cr_expect_not_null(strstr(answer(), "\"accepted\":0,\"refused\":65536}"));
    cr_expect_lt(body.bytes, CONTROL_MAX_REPLY_BYTES);
    free(text);
}

Test(mutation_insert, a_resent_batch_is_answered_and_not_stored_again)
{
    const struct control_request request = {
        .op = CONTROL_INSERT_BATCH,
        .store = span("a"),
        .credential = {.at = key, .bytes = TS_KEY_TEXT_BYTES - 1},
        .content_type = span(NDJSON),
        .argument = span("batch-1"),
        .body = span("{\"data\":1}\n{\"data\":2}\nbad\n")};
    char first[1000];

    create("{\"name\":\"a\"}", key);
    cr_assert_eq(ask(&request), 200);
    snprintf(first, sizeof first, "%s", answer());
    cr_assert_eq(ask(&request), 200);
    cr_expect_str_eq(answer(), first);
    cr_expect_not_null(strchr(times_of("a"), ' '));
    cr_expect_null(strchr(strchr(times_of("a"), ' ') + 1, ' '), "two records: %s", times_of("a"));
}

/* ---- messages ---- */

/* Sends messages, which end with NULL, and gives the answers, each on a line. */
static const char *
messages(const char *store, uint16_t flags, const char *const *texts)
{
    static char out[8192];
    struct ts_span rest, one;
    struct ts_text sent;
    size_t n = 0;

    ts_text_init(&sent);
    for (; *texts != NULL; texts++) {
        const size_t start = control_frame_begin(&sent);

        ts_text_puts(&sent, *texts);
        control_frame_end(&sent, start);
    }
    cr_expect_eq(ASK(.op = CONTROL_INSERT_MESSAGES, .flags = flags, .store = span(store),
                     .credential = span(key), .body = {.at = sent.at, .bytes = sent.bytes}),
                 200);
    ts_text_done(&sent);
    rest = (struct ts_span){.at = body.at, .bytes = body.bytes};
    while (control_frame_take(&rest, &one))
        n += (size_t)snprintf(out + n, sizeof out - n, "%.*s\n", (int)one.bytes, one.at);
    cr_expect_eq(rest.bytes, 0);
    return out;
}

#define ERROR(text) "{\"type\":\"error\",\"message\":\"" text "\"}\n"
#define ACK(time, size)                                                                            \
    "{\"type\":\"ack\",\"timestamp\":" #time ",\"block_num\":0,\"size\":" #size "}\n"

Test(mutation_insert, each_message_has_one_answer_in_order)
{
    static const char *const texts[] = {"{\"timestamp\":1000,\"data\":{\"a\":1}}",
                                        "{\"timestamp\":1000,\"data\":1}",
                                        "zz",
                                        "",
                                        "[1]",
                                        "{}",
                                        "{\"timestamp\":-1,\"data\":1}",
                                        "{\"timestamp\":1001,\"data\":1}x",
                                        "{\"timestamp\":1001,\"data\":1}",
                                        NULL};

    create("{\"name\":\"a\"}", key);
    cr_expect_str_eq(messages("a", 0, texts),
                     ACK(1000, 7) ERROR("timestamp must be greater than newest entry")
                         ERROR("invalid character 'z' looking for beginning of value")
                             ERROR("unexpected end of JSON input") ERROR(
                                 "json: cannot unmarshal array into value of type object")
                                 ERROR("unexpected end of JSON input") ERROR("invalid timestamp")
                                     ERROR("invalid character 'x' after top-level value at byte 27")
                                         ACK(1001, 1));
    cr_expect_str_eq(times_of("a"), "1000 1001");
}

Test(mutation_insert, messages_of_a_schema_store_have_names_or_indices)
{
    static const char *const full[] = {"{\"timestamp\":1,\"data\":{\"flow\":1}}",
                                       "{\"data\":{\"q\":1}}", "{}", "{\"data\":{\"1\":5}}", NULL};
    static const char *const compact[] = {"{\"timestamp\":2,\"data\":{\"10\":5,\"1\":2}}",
                                          "{\"data\":\"junk\"}",
                                          "{}",
                                          "{\"data\":{\"flow\":1}}",
                                          "{\"data\":{\"3\":1}}",
                                          NULL};

    create_schema_store();
    cr_expect_str_eq(messages("s", 0, full), ACK(1, 7) ERROR("field not found in schema: q")
                                                 ERROR("invalid JSON: unexpected end of JSON input")
                                                     ERROR("field not found in schema: 1"));
    cr_expect_str_eq(
        messages("s", CONTROL_COMPACT, compact),
        ACK(2, 14) ERROR("invalid JSON: json: cannot unmarshal string into value of type object")
            ERROR("invalid JSON: unexpected end of JSON input")
                ERROR("invalid compact JSON key (must be numeric): flow")
                    ERROR("field not found in schema: 3"));
    cr_expect_str_eq(data_at("s", 2), "{\"1\":2,\"10\":5}");
}

Test(mutation_insert, messages_of_a_text_store_are_strings)
{
    static const char *const texts[] = {"{\"timestamp\":1,\"data\":\"hello\"}",
                                        "{\"timestamp\":2,\"data\":\"\"}",
                                        "{\"timestamp\":3,\"data\":\"a\\u00e9\\n\\\"\"}",
                                        "{\"timestamp\":4,\"data\":5}",
                                        "{\"timestamp\":4}",
                                        NULL};

    create("{\"name\":\"t\",\"data_type\":\"text\"}", key);
    cr_expect_str_eq(messages("t", 0, texts),
                     ACK(1, 5) ACK(2, 0) ACK(3, 5)
                         ERROR("json: cannot unmarshal number into value of type string")
                             ERROR("data is required"));
    cr_expect_str_eq(data_at("t", 1), "hello");
    cr_expect_str_eq(data_at("t", 3), "a\xc3\xa9\n\"");
}

Test(mutation_insert, messages_of_a_binary_store_are_base64)
{
    static const char *const texts[] = {
        "{\"timestamp\":1,\"data\":\"aGVsbG8=\"}",       "{\"timestamp\":2,\"data\":\"\"}",
        "{\"timestamp\":3,\"data\":\"aGVsbG8\"}",        "{\"timestamp\":3,\"data\":\"a b=\"}",
        "{\"timestamp\":3,\"data\":\"\\u0061GVsbG8=\"}", NULL};

    create("{\"name\":\"b\",\"data_type\":\"binary\"}", key);
    cr_expect_str_eq(messages("b", 0, texts), ACK(1, 5) ACK(2, 0) ERROR("illegal base64 data")
                                                  ERROR("illegal base64 data") ACK(3, 5));
    cr_expect_str_eq(data_at("b", 1), "hello");
    cr_expect_str_eq(data_at("b", 3), "hello");
}
