/* list_windows.c - an aggregated list: records in, windows out, in one walk.
 *
 * Only newest with since takes two: back, to find where its first window begins, then forward. */
#include "queryd/answer.h"
#include "queryd/list.h"

static enum ts_err
new_aggregate(const struct list *list, bool backward, struct ts_aggregate **out)
{
    const struct ts_aggregate_options options = {
        .is_schema_store = list->shape.type == TS_TYPE_SCHEMA,
        .schema = list->shape.schema,
        .compact = list->shape.is_compact,
        .backward = backward,
        .has_finished_until = true,
        .finished_until_ns = list->query->finished_until_ns,
    };

    return ts_aggregate_new(list->query->plan, &options, out);
}

/* ---- newest with since ---- */

struct search {
    uint64_t n_windows;
    bool has_record;
    int64_t newest_ns;       /* if has_record */
    int64_t first_window_ns; /* begin of the oldest window so far, if there are any */
};

/* Walks back until `limit` windows are complete or nothing is left. */
static void
search_windows(struct list *list, struct ts_aggregate *probe, struct search *search)
{
    struct ts_aggregate_window window;
    struct ts_record record;
    struct ts_gap gap;
    bool is_complete;
    enum ts_step step;

    do {
        step = ts_cursor_next(list->cursor, &record, &gap);
        is_complete = false;
        if (step == TS_STEP_RECORD) {
            if (!search->has_record)
                search->newest_ns = record.time_ns;
            search->has_record = true;
            is_complete = ts_aggregate_add(probe, record.time_ns, shape_value(&record),
                                           &list->result, &window);
        } else if (step != TS_STEP_GAP && step != TS_STEP_DAMAGED) {
            is_complete = ts_aggregate_finish(probe, false, &list->result, &window);
        }
        if (is_complete) {
            search->n_windows++;
            search->first_window_ns = window.start_ns;
        }
        ts_text_clear(&list->result);
    } while ((step == TS_STEP_RECORD || step == TS_STEP_GAP || step == TS_STEP_DAMAGED) &&
             search->n_windows < list->query->limit);
}

static enum ts_err
turn_round(struct list *list)
{
    struct ts_range range = list->query->range;
    struct search search = {0};
    struct ts_aggregate *probe;
    enum ts_err err;

    err = new_aggregate(list, true, &probe);
    if (err != TS_OK)
        return err;
    search_windows(list, probe, &search);
    ts_aggregate_free(probe);
    list->has_nothing = search.n_windows == 0;
    range.backward = false;
    if (!range.has_from || range.from_time_ns < search.first_window_ns)
        range.from_time_ns = search.first_window_ns;
    range.has_from = range.has_to = true;
    /* Not beyond the newest that was seen: one that came since may begin one window more. */
    range.to_time_ns = search.newest_ns;
    if (list->has_nothing || range.from_time_ns > range.to_time_ns)
        return TS_OK;
    return ts_cursor_restart(list->cursor, &range);
}

/* ---- the windows ---- */

enum ts_err
list_begin_windows(struct list *list)
{
    enum ts_err err = TS_OK;

    shape_meet(&list->shape, 0);
    if (list->query->is_empty)
        list->has_nothing = true;
    else if (list->query->is_newest_ascending)
        err = turn_round(list);
    if (err == TS_OK)
        err = new_aggregate(list, list->query->range.backward && !list->query->is_newest_ascending,
                            &list->aggregate);
    return err;
}

/* False: enough, or the client is gone. */
static bool
add_window(struct list *list, const struct ts_aggregate_window *window)
{
    struct ts_text *out = http_out(list->req);
    const bool has_legend = list->shape.is_compact && list->shape.type == TS_TYPE_SCHEMA;

    if (list->n_objects++ > 0)
        ts_text_add(out, ",", 1);
    answer_window(out, window, &list->result);
    ts_text_clear(&list->result);
    return http_send_part(list->req, 200, HTTP_TYPE_JSON) &&
           list->n_objects - has_legend < list->query->limit;
}

static bool
take_record(struct list *list, const struct ts_record *record)
{
    struct ts_aggregate_window window;

    if (shape_meet(&list->shape, record->no))
        ts_aggregate_set_schema(list->aggregate, list->shape.schema);
    return !ts_aggregate_add(list->aggregate, record->time_ns, shape_value(record), &list->result,
                             &window) ||
           add_window(list, &window);
}

/* All of the cursor. A reset or a drop in the middle ends the list, and cuts its last window. */
static void
walk(struct list *list)
{
    struct ts_aggregate_window window;
    struct ts_record record;
    struct ts_gap gap;
    enum ts_step step;

    for (;;) {
        step = ts_cursor_next(list->cursor, &record, &gap);
        switch (step) {
        case TS_STEP_RECORD:
            if (!take_record(list, &record))
                return;
            break;
        case TS_STEP_GAP:
            break;
        case TS_STEP_DAMAGED:
            list_note_damage(list, &gap);
            break;
        case TS_STEP_RESET:
        case TS_STEP_END:
        case TS_STEP_GONE:
            if (ts_aggregate_finish(list->aggregate, step != TS_STEP_END, &list->result, &window))
                add_window(list, &window);
            return;
        }
    }
}

void
list_add_windows(struct list *list)
{
    if (list->shape.is_compact && list->shape.type == TS_TYPE_SCHEMA) {
        answer_legend(http_out(list->req), list->shape.schema);
        list->n_objects++;
    }
    if (!list->has_nothing)
        walk(list);
}
