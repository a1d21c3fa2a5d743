/* stream_windows.c - see stream_windows.h. */
#include "queryd/stream_windows.h"

#include "queryd/answer.h"
#include "queryd/frames.h"

#include <time.h>

static int64_t
now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

enum ts_err
stream_windows_begin(struct stream_windows *windows, struct shape *shape)
{
    struct ts_aggregate_options options = {.is_schema_store = shape->type == TS_TYPE_SCHEMA};

    if (windows->plan == NULL)
        return TS_OK;
    shape_meet(shape, 0);
    options.schema = shape->schema;
    return ts_aggregate_new(windows->plan, &options, &windows->aggregate);
}

void
stream_windows_done(struct stream_windows *windows)
{
    ts_aggregate_free(windows->aggregate);
    ts_aggregate_plan_free(windows->plan);
    ts_text_done(&windows->result);
}

static unsigned
add_window(struct stream_windows *windows, const struct ts_aggregate_window *window,
           struct ts_text *out)
{
    const size_t start = frame_begin(out);

    answer_window_message(out, window, &windows->result, windows->last_no);
    frame_end(out, start);
    ts_text_clear(&windows->result);
    return 1;
}

unsigned
stream_windows_take(struct stream_windows *windows, struct shape *shape,
                    const struct ts_record *record, struct ts_text *out)
{
    struct ts_aggregate_window window;
    unsigned n_added = 0;

    if (shape_meet(shape, record->no))
        ts_aggregate_set_schema(windows->aggregate, shape->schema);
    if (ts_aggregate_add(windows->aggregate, record->time_ns, shape_value(record), &windows->result,
                         &window))
        n_added = add_window(windows, &window, out);
    windows->last_no = record->no;
    windows->last_taken_ns = now_ns(CLOCK_MONOTONIC);
    return n_added;
}

int64_t
stream_windows_due_ns(const struct stream_windows *windows)
{
    struct ts_aggregate_window window;
    __int128 quiet_ns, over_ns;

    if (windows->aggregate == NULL || !ts_aggregate_peek(windows->aggregate, &window))
        return INT64_MAX;
    quiet_ns = (__int128)windows->last_taken_ns + ts_aggregate_plan_window_ns(windows->plan);
    over_ns = (__int128)now_ns(CLOCK_MONOTONIC) + window.end_ns - now_ns(CLOCK_REALTIME);
    if (over_ns > quiet_ns)
        quiet_ns = over_ns;
    return quiet_ns > INT64_MAX ? INT64_MAX : (int64_t)quiet_ns;
}

unsigned
stream_windows_close_due(struct stream_windows *windows, struct ts_text *out)
{
    const int64_t due_ns = stream_windows_due_ns(windows);
    struct ts_aggregate_window window;

    if (due_ns == INT64_MAX || due_ns > now_ns(CLOCK_MONOTONIC) ||
        !ts_aggregate_finish(windows->aggregate, false, &windows->result, &window))
        return 0;
    return add_window(windows, &window, out);
}

unsigned
stream_windows_cut(struct stream_windows *windows, struct ts_text *out)
{
    struct ts_aggregate_window window;
    bool is_over;

    if (windows->aggregate == NULL || !ts_aggregate_peek(windows->aggregate, &window))
        return 0;
    is_over = window.end_ns <= now_ns(CLOCK_REALTIME);
    if (!ts_aggregate_finish(windows->aggregate, !is_over, &windows->result, &window))
        return 0;
    return add_window(windows, &window, out);
}

void
stream_windows_reset(struct stream_windows *windows)
{
    if (windows->aggregate != NULL)
        ts_aggregate_reset(windows->aggregate);
}
