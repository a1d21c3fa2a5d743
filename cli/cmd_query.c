/* cmd_query.c - tsstore query <store>: records of a range, straight from the files. */
#include "cli/output.h"
#include "cli/record_text.h"
#include "cli/stop.h"
#include "cli/verbs.h"
#include "cli/when.h"

#include <inttypes.h>
#include <string.h>

#define DEFAULT_NEWEST 10
#define PRINT_AT_BYTES 65536

struct query_args {
    struct cli_common common;
    struct cli_number since, from, to, after_record, limit;
    bool newest, ignore_case, ndjson, csv;
    const char *filter;
};

#define ROW(option, type, field, value, text)                                                      \
    {                                                                                              \
        .name = option, .kind = type, .placeholder = value, .help = text,                          \
        .offset = offsetof(struct query_args, field), .max = INT64_MAX                             \
    }

static const struct cli_option options[] = {
    ROW("since", CLI_DURATION, since, "DURATION", "what is not older: 90s, 15m, 1h30m, 7d"),
    ROW("from", CLI_TIME, from, "TIME", "from this time on: Unix nanoseconds or RFC 3339"),
    ROW("to", CLI_TIME, to, "TIME", "up to this time, inclusive"),
    ROW("after-record", CLI_NUMBER, after_record, "N", "records with a greater number"),
    {.name = "limit",
     .kind = CLI_NUMBER,
     .placeholder = "N",
     .help = "at most so many (all; with --newest 10)",
     .offset = offsetof(struct query_args, limit),
     .min = 1,
     .max = INT64_MAX},
    ROW("newest", CLI_FLAG, newest, NULL, "newest first"),
    ROW("filter", CLI_TEXT, filter, "TEXT", "records whose stored bytes contain TEXT"),
    ROW("ignore-case", CLI_FLAG, ignore_case, NULL, "--filter without regard to case"),
    ROW("ndjson", CLI_FLAG, ndjson, NULL, "one JSON object per line"),
    ROW("csv", CLI_FLAG, csv, NULL, "timestamp,time,record,data with a heading"),
};

/* What one run prints with. */
struct query {
    enum record_form form;
    bool is_list; /* {"objects":[…],"count":n} around the records */
    enum ts_type type;
    struct ts_text out;
    struct cli_progress progress;
    uint64_t n_printed;
    bool is_damaged;
};

static enum ts_err
read_range(const struct query_args *args, struct ts_range *out)
{
    const bool by_time = args->since.is_given || args->from.is_given || args->to.is_given;
    struct ts_range range = {.backward = args->newest, .filter_fold = args->ignore_case};

    if (args->after_record.is_given && by_time)
        return TS_FAIL(TS_E_USAGE, "--after-record excludes --since, --from and --to");
    if (args->since.is_given && (args->from.is_given || args->to.is_given))
        return TS_FAIL(TS_E_USAGE, "--since excludes --from and --to");
    if (args->ignore_case && args->filter == NULL)
        return TS_FAIL(TS_E_USAGE, "--ignore-case needs --filter");
    if (args->common.wants_json + args->ndjson + args->csv > 1)
        return TS_FAIL(TS_E_USAGE, "--json, --ndjson and --csv exclude each other");
    if (args->from.is_given && args->to.is_given && args->from.value > args->to.value)
        return TS_FAIL(TS_E_USAGE, "--from is later than --to");
    if (args->since.is_given) {
        range.has_from = range.has_to = true;
        range.to_time_ns = cli_now_ns();
        range.from_time_ns = range.to_time_ns - args->since.value;
    } else if (args->after_record.is_given) {
        range.by_number = range.has_from = true;
        range.from_no = (uint64_t)args->after_record.value + 1;
    } else {
        range.has_from = args->from.is_given;
        range.from_time_ns = args->from.value;
        range.has_to = args->to.is_given;
        range.to_time_ns = args->to.value;
    }
    range.limit = args->limit.is_given ? (uint64_t)args->limit.value
                  : args->newest       ? DEFAULT_NEWEST
                                       : 0;
    range.filter = args->filter;
    range.filter_bytes = args->filter != NULL ? strlen(args->filter) : 0;
    *out = range;
    return TS_OK;
}

static enum ts_err
print_record(struct query *query, const struct ts_record *record)
{
    if (query->is_list && query->n_printed > 0)
        ts_text_puts(&query->out, ",");
    record_text_add(query->form, query->type, record, &query->out);
    if (!query->is_list)
        ts_text_puts(&query->out, "\n");
    query->n_printed++;
    if (cli_progress_is_due(&query->progress))
        cli_progress_show(&query->progress, "%" PRIu64 " records", query->n_printed);
    return query->out.bytes >= PRINT_AT_BYTES || query->out.failed ? cli_print(&query->out) : TS_OK;
}

/* Walks to the end. Gaps and damage are told at once, beside the records. */
static enum ts_err
print_all(struct query *query, struct ts_cursor *cursor)
{
    enum ts_err err = TS_OK;
    struct ts_record record;
    struct ts_gap gap;

    while (err == TS_OK && !cli_stop_asked()) {
        switch (ts_cursor_next(cursor, &record, &gap)) {
        case TS_STEP_RECORD:
            err = print_record(query, &record);
            break;
        case TS_STEP_GAP:
            cli_notice("gap: records %" PRIu64 " to %" PRIu64 " were overwritten, %" PRIu64 " lost",
                       gap.from_no, gap.to_no, gap.lost);
            break;
        case TS_STEP_DAMAGED:
            query->is_damaged = true;
            cli_notice("damaged: records %" PRIu64 " to %" PRIu64 ": %s", gap.from_no, gap.to_no,
                       ts_error_text());
            break;
        case TS_STEP_RESET:
            cli_notice("the store was reset meanwhile");
            break;
        case TS_STEP_END:
            return TS_OK;
        case TS_STEP_GONE:
            return TS_FAIL(TS_E_NOT_FOUND, "the store was dropped meanwhile");
        }
    }
    return err;
}

static enum ts_err
query_store(struct query *query, const char *data_dir, const char *name,
            const struct ts_range *range)
{
    struct ts_cursor *cursor = NULL;
    struct ts_view *view = NULL;
    enum ts_err err = ts_view_open(data_dir, name, &view);

    if (err == TS_OK)
        err = ts_cursor_open(view, range, &cursor);
    if (err != TS_OK)
        goto out;
    query->type = ts_view_options(view)->type;
    if (query->is_list)
        ts_text_puts(&query->out, "{\"objects\":[");
    else if (query->form == RECORD_CSV)
        ts_text_puts(&query->out, RECORD_CSV_HEADING);
    err = print_all(query, cursor);
    if (query->is_list)
        ts_text_printf(&query->out, "],\"count\":%" PRIu64 "}\n", query->n_printed);
    if (err == TS_OK)
        err = cli_print(&query->out);
out:
    ts_cursor_close(cursor);
    ts_view_close(view);
    return err;
}

static int
run(void *arguments)
{
    const struct query_args *args = arguments;
    struct query query = {
        .form = args->csv                                 ? RECORD_CSV
                : args->ndjson || args->common.wants_json ? RECORD_JSON
                                                          : RECORD_HUMAN,
        .is_list = args->common.wants_json,
    };
    struct ts_config config;
    struct ts_range range;
    enum ts_err err = read_range(args, &range);

    if (err == TS_OK)
        err = cli_load_config(&args->common, &config);
    if (err == TS_OK)
        err = cli_stop_init();
    if (err != TS_OK)
        return cli_fail(&args->common, err, NULL);
    ts_text_init(&query.out);
    cli_progress_init(&query.progress);
    err = query_store(&query, config.base_path, args->common.arguments[0], &range);
    cli_progress_end(&query.progress);
    ts_text_done(&query.out);
    if (cli_stop_asked()) /* whatever that interrupted */
        return CLI_EXIT_INTERRUPTED;
    if (err != TS_OK)
        return cli_fail(&args->common, err, NULL);
    return query.is_damaged ? 1 : 0;
}

const struct cli_verb cmd_query = {
    .name = "query",
    .arguments = "<store>",
    .summary = "Print records of a range",
    .notes =
        "Without bounds: all records, oldest first. Reads the files, beside a running server\n"
        "or without one; needs no key. --json is one object as REST has it. Records that were\n"
        "overwritten while being read, or are damaged, are told on standard error; damage\n"
        "makes the exit code 1.\n",
    .options = options,
    .n_options = COUNTOF(options),
    .has_data_options = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .missing_text = "Error: store name required",
    .args_bytes = sizeof(struct query_args),
    .run = run,
};
