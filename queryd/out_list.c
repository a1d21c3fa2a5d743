/* out_list.c - oldest, newest, range: a cursor, walked once, sent as it goes. */
#include "queryd/list.h"
#include "queryd/out_rest.h"

#include "queryd/answer.h"
#include "queryd/auth.h"

#include <time.h>

#define MAX_DAMAGES 32 /* told one by one in an answer; those behind are told as one */

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* These records cannot be read: the log is told once, the client always. */
void
list_note_damage(struct list *list, const struct ts_gap *gap)
{
    struct ts_gap *more = &list->more_damage;

    store_tell_damage(list->store, gap);
    if (list->n_damages < MAX_DAMAGES) {
        if (list->n_damages++ > 0)
            ts_text_add(&list->damages, ",", 1);
        answer_damage(&list->damages, gap, ts_error_text());
        return;
    }
    if (more->lost == 0 || gap->from_no < more->from_no)
        more->from_no = gap->from_no;
    if (more->lost == 0 || gap->to_no > more->to_no)
        more->to_no = gap->to_no;
    more->lost += gap->lost;
}

/* Appends all records of the cursor. A reset or a drop in the middle ends the list: what comes
 * behind is of another life of the store. */
static void
add_records(struct list *list)
{
    struct ts_text *out = http_out(list->req);
    struct ts_record record;
    struct ts_gap gap;

    for (;;) {
        switch (ts_cursor_next(list->cursor, &record, &gap)) {
        case TS_STEP_RECORD:
            if (list->n_objects++ > 0)
                ts_text_add(out, ",", 1);
            if (list->query->with_data && !list->query->is_compact)
                shape_meet(&list->shape, record.no);
            answer_record(out, &list->shape, &record, list->query->with_data);
            if (!http_send_part(list->req, 200, HTTP_TYPE_JSON))
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
            return;
        }
    }
}

/* newest with since: the record that an ascending walk begins with, so that it ends with the
 * newest. Walks back without composing anything. */
static enum ts_err
turn_round(const struct list *list)
{
    struct ts_range range = list->query->range;
    struct ts_record record;
    struct ts_gap gap;
    bool has_found = false;
    int64_t newest_ns = 0;
    enum ts_step step;

    do {
        step = ts_cursor_next(list->cursor, &record, &gap);
        if (step != TS_STEP_RECORD)
            continue;
        if (!has_found)
            newest_ns = record.time_ns;
        has_found = true;
        range.from_time_ns = record.time_ns;
    } while (step == TS_STEP_RECORD || step == TS_STEP_GAP || step == TS_STEP_DAMAGED);
    range.backward = false;
    /* Not beyond the newest that was seen: one that came since would push the newest out. */
    if (has_found)
        range.to_time_ns = newest_ns;
    else
        range.to_time_ns = range.from_time_ns - 1;
    return ts_cursor_restart(list->cursor, &range);
}

static void
add_damages(struct list *list, struct ts_text *out)
{
    if (list->more_damage.lost > 0) {
        ts_text_add(&list->damages, ",", 1);
        answer_damage(&list->damages, &list->more_damage, "more damaged blocks in this range");
    }
    out->failed = out->failed || list->damages.failed;
    ts_text_puts(out, ",\"damaged\":[");
    ts_text_add(out, list->damages.at, list->damages.bytes);
    ts_text_puts(out, "]");
}

/* Lets the cursor begin where the list does. After this the answer is a good one. */
static enum ts_err
begin_list(struct list *list)
{
    enum ts_err err;

    err = store_take_cursor(list->store, &list->query->range, &list->cursor);
    if (err == TS_OK && list->query->plan != NULL)
        return list_begin_windows(list);
    if (err == TS_OK && list->query->is_newest_ascending)
        err = turn_round(list);
    return err;
}

static void
add_list(struct list *list)
{
    struct ts_text *out = http_out(list->req);

    ts_text_puts(out, "{\"objects\":[");
    if (list->query->plan != NULL)
        list_add_windows(list);
    else if (!list->query->is_empty)
        add_records(list);
    ts_text_puts(out, "],\"count\":");
    ts_text_u64(out, list->n_objects);
    if (list->n_damages > 0)
        add_damages(list, out);
    ts_text_puts(out, "}");
}

static void
list_done(struct list *list)
{
    store_give_cursor(list->store, list->cursor);
    ts_aggregate_free(list->aggregate);
    shape_done(&list->shape);
    ts_text_done(&list->damages);
    ts_text_done(&list->result);
    store_release(list->store);
}

static void
answer_list(struct http_request *req, struct queryd *queryd, enum list_kind kind)
{
    struct list_query query;
    struct ts_view *view;
    struct list list = {.req = req, .query = &query};
    enum ts_err err;

    if (!auth_view(req, queryd, TS_SCOPE_READ, &list.store, &view))
        return;
    err = list_query_parse(req, kind, ts_view_options(view)->type, now_ns(), &query);
    if (err == TS_OK) {
        shape_init(&list.shape, list.store, view, query.is_compact);
        err = begin_list(&list);
        if (err == TS_OK)
            add_list(&list);
    }
    if (err == TS_OK)
        http_send(req, 200, HTTP_TYPE_JSON);
    else
        http_answer_error(req, err);
    list_done(&list);
    list_query_done(&query);
}

void
out_rest_oldest(struct http_request *req, void *ctx)
{
    answer_list(req, ctx, LIST_OLDEST);
}

void
out_rest_newest(struct http_request *req, void *ctx)
{
    answer_list(req, ctx, LIST_NEWEST);
}

void
out_rest_range(struct http_request *req, void *ctx)
{
    answer_list(req, ctx, LIST_RANGE);
}
