/* cmd_tail.c - tsstore tail <store>: the newest records, and with --follow those that come.
 *
 * A follower looks at the store's publish count every 20 ms (some 0.1 % of a processor): it needs
 * no daemon, and nobody reads faster than that.
 */
#include "cli/output.h"
#include "cli/record_text.h"
#include "cli/stop.h"
#include "cli/verbs.h"

#include <inttypes.h>
#include <string.h>

#define DEFAULT_RECORDS 10
#define LOOK_EVERY_NS 20000000
#define PRINT_AT_BYTES 65536

struct tail_args {
    struct cli_common common;
    struct cli_number n;
    bool follow, ignore_case;
    const char *filter;
};

static const struct cli_option options[] = {
    {.name = "lines",
     .letter = 'n',
     .kind = CLI_NUMBER,
     .placeholder = "N",
     .help = "the newest N records (10)",
     .offset = offsetof(struct tail_args, n),
     .max = INT64_MAX},
    {.name = "follow",
     .letter = 'f',
     .kind = CLI_FLAG,
     .help = "then wait for more, until Ctrl-C",
     .offset = offsetof(struct tail_args, follow)},
    {.name = "filter",
     .kind = CLI_TEXT,
     .placeholder = "TEXT",
     .help = "records whose stored bytes contain TEXT",
     .offset = offsetof(struct tail_args, filter)},
    {.name = "ignore-case",
     .kind = CLI_FLAG,
     .help = "--filter without regard to case",
     .offset = offsetof(struct tail_args, ignore_case)},
};

/* The number of the record that the last n begin with; the next one to come if there is none. */
static enum ts_err
find_start(struct ts_view *view, const struct tail_args *args, uint64_t n, uint64_t *out_no)
{
    struct ts_range range = {
        .backward = true,
        .limit = n,
        .filter = args->filter,
        .filter_bytes = args->filter != NULL ? strlen(args->filter) : 0,
        .filter_fold = args->ignore_case,
    };
    struct ts_cursor *cursor = NULL;
    struct ts_record record;
    struct ts_state state;
    struct ts_gap gap;
    enum ts_step step;
    enum ts_err err;

    ts_view_state(view, &state);
    *out_no = state.next_no;
    if (n == 0)
        return TS_OK;
    if (range.filter_bytes == 0) {
        *out_no = state.next_no - state.oldest_no > n ? state.next_no - n : state.oldest_no;
        return TS_OK;
    }
    err = ts_cursor_open(view, &range, &cursor);
    if (err != TS_OK)
        return err;
    while (!cli_stop_asked() && (step = ts_cursor_next(cursor, &record, &gap)) != TS_STEP_END &&
           step != TS_STEP_GONE) {
        if (step == TS_STEP_RECORD)
            *out_no = record.no;
    }
    ts_cursor_close(cursor);
    return TS_OK;
}

static enum ts_err
print_now(struct ts_text *out)
{
    enum ts_err err = cli_print(out);

    return err == TS_OK ? cli_flush() : err;
}

/* Waits until something was published after `seen`, or the store is gone. False if a stop was asked
 * for. */
static bool
wait_for_more(const struct ts_view *view, uint32_t seen)
{
    while (ts_view_publish_count(view) == seen && !ts_view_is_stale(view)) {
        if (cli_stop_sleep(LOOK_EVERY_NS))
            return false;
    }
    return true;
}

/* What is no record. TS_E_NOT_FOUND if the store is gone. */
static enum ts_err
tell_step(enum ts_step step, const struct ts_gap *gap)
{
    if (step == TS_STEP_GAP)
        cli_notice("gap: records %" PRIu64 " to %" PRIu64 " were overwritten, %" PRIu64 " lost",
                   gap->from_no, gap->to_no, gap->lost);
    else if (step == TS_STEP_DAMAGED)
        cli_notice("damaged: records %" PRIu64 " to %" PRIu64 ": %s", gap->from_no, gap->to_no,
                   ts_error_text());
    else if (step == TS_STEP_RESET)
        cli_notice("the store was reset");
    else if (step == TS_STEP_GONE)
        return TS_FAIL(TS_E_NOT_FOUND, "the store was dropped");
    return TS_OK;
}

/* Prints all that is there now. */
static enum ts_err
print_burst(struct ts_view *view, struct ts_cursor *cursor, enum record_form form,
            struct ts_text *out)
{
    const enum ts_type type = ts_view_options(view)->type;
    enum ts_err err = TS_OK, print_err;

    while (err == TS_OK && !cli_stop_asked()) {
        struct ts_record record;
        struct ts_gap gap;
        const enum ts_step step = ts_cursor_next(cursor, &record, &gap);

        if (step == TS_STEP_END)
            break;
        if (step == TS_STEP_RECORD) {
            record_text_add(form, type, &record, out);
            ts_text_puts(out, "\n");
        } else {
            err = tell_step(step, &gap);
        }
        if (err == TS_OK && (out->bytes >= PRINT_AT_BYTES || out->failed))
            err = cli_print(out);
    }
    print_err = print_now(out);
    return err == TS_OK ? print_err : err;
}

static enum ts_err
print_tail(struct ts_view *view, struct ts_cursor *cursor, const struct tail_args *args,
           struct ts_text *out)
{
    const enum record_form form = args->common.wants_json ? RECORD_JSON : RECORD_HUMAN;

    for (;;) {
        /* Both taken before the cursor looks: what comes after that look changes them. */
        const uint32_t seen = ts_view_publish_count(view);
        const bool was_stale = ts_view_is_stale(view);
        const enum ts_err err = print_burst(view, cursor, form, out);

        if (err != TS_OK || !args->follow)
            return err;
        if (was_stale)
            return tell_step(TS_STEP_GONE, NULL);
        if (!wait_for_more(view, seen))
            return TS_OK;
    }
}

static enum ts_err
tail_store(const char *data_dir, const struct tail_args *args)
{
    const uint64_t n = args->n.is_given ? (uint64_t)args->n.value : DEFAULT_RECORDS;
    struct ts_range range = {
        .by_number = true,
        .has_from = true,
        .follow = args->follow,
        .filter = args->filter,
        .filter_bytes = args->filter != NULL ? strlen(args->filter) : 0,
        .filter_fold = args->ignore_case,
    };
    struct ts_cursor *cursor = NULL;
    struct ts_view *view = NULL;
    struct ts_text out;
    enum ts_err err;

    ts_text_init(&out);
    err = ts_view_open(data_dir, args->common.arguments[0], &view);
    if (err == TS_OK)
        err = find_start(view, args, n, &range.from_no);
    if (err == TS_OK)
        err = ts_cursor_open(view, &range, &cursor);
    if (err == TS_OK)
        err = print_tail(view, cursor, args, &out);
    ts_text_done(&out);
    ts_cursor_close(cursor);
    ts_view_close(view);
    return err;
}

static int
run(void *arguments)
{
    const struct tail_args *args = arguments;
    struct ts_config config;
    enum ts_err err = cli_load_config(&args->common, &config);

    if (err == TS_OK && args->ignore_case && args->filter == NULL)
        err = TS_FAIL(TS_E_USAGE, "--ignore-case needs --filter");
    if (err == TS_OK)
        err = cli_stop_init();
    if (err == TS_OK)
        err = tail_store(config.base_path, args);
    if (cli_stop_asked()) /* whatever that interrupted */
        return args->follow ? 0 : CLI_EXIT_INTERRUPTED;
    return err == TS_OK ? 0 : cli_fail(&args->common, err, NULL);
}

const struct cli_verb cmd_tail = {
    .name = "tail",
    .arguments = "<store>",
    .summary = "Print the newest records, and follow",
    .notes = "With --follow the store is looked at every 20 ms; Ctrl-C is its ordinary end, exit\n"
             "code 0. Records that were overwritten before they could be read are told on\n"
             "standard error. --json prints one object per line.\n",
    .options = options,
    .n_options = COUNTOF(options),
    .has_data_options = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .missing_text = "Error: store name required",
    .args_bytes = sizeof(struct tail_args),
    .run = run,
};
