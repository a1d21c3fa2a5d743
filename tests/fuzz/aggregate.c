/* aggregate.c - any bytes as parameters and records: a plan or a reason, and results that are JSON.
 *
 * The first byte says how: 1 backward, 2 a schema store, 4 compact. Then three lines: agg_window,
 * agg_fields, agg_default. Each further line is a record, its first two bytes the time.
 */
#include "common/aggregate.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char fixed[] = "{\"fields\":[{\"index\":1,\"name\":\"v\",\"type\":\"float64\"},"
                            "{\"index\":2,\"name\":\"s_avg\",\"type\":\"string\"},"
                            "{\"index\":10,\"name\":\"s\",\"type\":\"int8\"}]}";

static void
expect(bool holds)
{
    if (!holds)
        abort();
}

static struct ts_span
next_line(const char **at, const char *end)
{
    const char *begin = *at,
               *stop = begin < end ? memchr(begin, '\n', (size_t)(end - begin)) : NULL;

    if (stop == NULL)
        stop = end;
    *at = stop < end ? stop + 1 : end;
    return (struct ts_span){.at = begin, .bytes = (size_t)(stop - begin)};
}

/* Names may not be UTF-8, as parameters are not; values passed a check. */
static void
expect_result(const struct ts_text *text, const struct ts_aggregate_window *window)
{
    expect(text->failed || ts_json_check(text->at, text->bytes, NULL) == TS_OK ||
           strstr(ts_error_text(), "max depth") != NULL);
    expect(window->start_ns < window->end_ns && window->n_records > 0);
}

static void
feed(struct ts_aggregate *aggregate, const char *at, const char *end)
{
    struct ts_aggregate_window window;
    struct ts_text text;

    ts_text_init(&text);
    while (at < end) {
        struct ts_span line = next_line(&at, end);
        int64_t time_ns = 0;

        if (line.bytes >= 2) {
            time_ns = (signed char)line.at[0] * 256 + (signed char)line.at[1];
            line.at += 2;
            line.bytes -= 2;
        }
        if (ts_aggregate_add(aggregate, time_ns, line, &text, &window))
            expect_result(&text, &window);
        else
            expect(text.bytes == 0);
        ts_text_clear(&text);
    }
    if (ts_aggregate_finish(aggregate, false, &text, &window))
        expect_result(&text, &window);
    expect(!ts_aggregate_peek(aggregate, &window));
    ts_text_done(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *at = (const char *)data, *const end = at + bytes;
    struct ts_aggregate_options options = {0};
    struct ts_aggregate *aggregate = NULL;
    struct ts_aggregate_plan *plan = NULL;
    struct ts_schema *schema = NULL;
    struct ts_span window, fields, defaults;

    if (bytes == 0)
        return 0;
    options.backward = (*at & 1) != 0;
    options.is_schema_store = (*at & 2) != 0;
    options.compact = (*at & 4) != 0;
    at++;
    window = next_line(&at, end);
    fields = next_line(&at, end);
    defaults = next_line(&at, end);
    if (ts_aggregate_plan_new(window, fields, defaults, &plan) != TS_OK) {
        expect(plan == NULL && ts_error_text()[0] != '\0');
        return 0;
    }
    if (options.is_schema_store)
        expect(ts_schema_parse(fixed, sizeof fixed - 1, 1, &schema) == TS_OK);
    options.schema = schema;
    expect(ts_aggregate_new(plan, &options, &aggregate) == TS_OK);
    ts_schema_release(schema);
    feed(aggregate, at, end);
    ts_aggregate_free(aggregate);
    ts_aggregate_plan_free(plan);
    return 0;
}
