/* record_text.c - records as lines. */
#include "cli/record_text.h"

#include "cli/output.h"
#include "cli/when.h"
#include "common/json.h"

#include <string.h>

/* A checked JSON value in one line: a newline in it can only be white space between tokens. */
static void
add_json_value(struct ts_text *out, const char *at, size_t bytes)
{
    if (!ts_text_reserve(out, bytes))
        return;
    for (size_t i = 0; i < bytes; i++)
        out->at[out->bytes + i] = at[i] == '\n' || at[i] == '\r' ? ' ' : at[i];
    out->bytes += bytes;
}

static void
add_data_json(enum ts_type type, const struct ts_record *record, struct ts_text *out)
{
    const char *data = (const char *)record->data;
    struct ts_span value;

    if (type == TS_TYPE_BINARY) {
        ts_text_puts(out, "\"");
        ts_text_base64(out, data, record->bytes);
        ts_text_puts(out, "\"");
    } else if (type != TS_TYPE_TEXT && ts_json_check(data, record->bytes, &value) == TS_OK) {
        add_json_value(out, value.at, value.bytes);
    } else {
        ts_text_json_string(out, data, record->bytes);
    }
}

static void
add_json(enum ts_type type, const struct ts_record *record, struct ts_text *out)
{
    char time[CLI_TIME_BYTES];

    cli_time_text(record->time_ns, time);
    cli_json_number(out, "{", "timestamp", record->time_ns);
    cli_json_text(out, ",", "time", time);
    ts_text_puts(out, ",\"record\":");
    ts_text_u64(out, record->no);
    ts_text_puts(out, ",\"block_num\":");
    ts_text_u64(out, record->block_num);
    ts_text_puts(out, ",\"size\":");
    ts_text_u64(out, record->bytes);
    ts_text_puts(out, ",\"data\":");
    add_data_json(type, record, out);
    ts_text_puts(out, "}");
}

/* A quoted field, exact: a newline in it stays one, as RFC 4180 has it. */
static void
add_csv_field(struct ts_text *out, const char *at, size_t bytes)
{
    ts_text_puts(out, "\"");
    for (size_t i = 0; i < bytes; i++) {
        if (at[i] == '"')
            ts_text_puts(out, "\"\"");
        else
            ts_text_add(out, at + i, 1);
    }
    ts_text_puts(out, "\"");
}

static void
add_csv(enum ts_type type, const struct ts_record *record, struct ts_text *out)
{
    char time[CLI_TIME_BYTES];

    cli_time_text(record->time_ns, time);
    ts_text_i64(out, record->time_ns);
    ts_text_printf(out, ",%s,", time);
    ts_text_u64(out, record->no);
    ts_text_puts(out, ",");
    if (type == TS_TYPE_BINARY)
        ts_text_base64(out, record->data, record->bytes);
    else
        add_csv_field(out, (const char *)record->data, record->bytes);
}

static void
add_human(enum ts_type type, const struct ts_record *record, struct ts_text *out)
{
    char time[CLI_TIME_BYTES];

    cli_time_text(record->time_ns, time);
    ts_text_printf(out, "%s  ", time);
    if (type == TS_TYPE_BINARY)
        ts_text_base64(out, record->data, record->bytes);
    else
        cli_add_visible(out, record->data, record->bytes);
}

void
record_text_add(enum record_form form, enum ts_type type, const struct ts_record *record,
                struct ts_text *out)
{
    switch (form) {
    case RECORD_HUMAN:
        add_human(type, record, out);
        break;
    case RECORD_JSON:
        add_json(type, record, out);
        break;
    case RECORD_CSV:
        add_csv(type, record, out);
        break;
    }
}
