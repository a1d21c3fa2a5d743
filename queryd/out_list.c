/* out_list.c - oldest, newest, range: a cursor, walked once, sent as it goes. */
#include "queryd/out_rest.h"

#include "common/log.h"
#include "queryd/answer.h"
#include "queryd/auth.h"
#include "queryd/list_query.h"

#include <time.h>

#define MAX_DAMAGES 32 /* told one by one in an answer; those behind are told as one */

struct list {
    struct http_request *req;
    struct store *store;
    struct ts_cursor *cursor;
    const struct list_query *query;
    enum ts_type type;
    uint64_t n_records;
    struct ts_text damages; /* what `damaged` in the answer will hold */
    unsigned n_damages;
    struct ts_gap more_damage; /* lost is 0 until there are more than MAX_DAMAGES */
};

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* These records cannot be read: the log is told once, the client always. */
static void
note_damage(struct list *list, const struct ts_gap *gap)
{
    struct ts_gap *more = &list->more_damage;

    if (store_notes_damage(list->store, gap->from_no))
        ts_log(TS_LOG_ERROR, "%s: records %ju to %ju", ts_error_text(), (uintmax_t)gap->from_no,
               (uintmax_t)gap->to_no);
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
            if (list->n_records++ > 0)
                ts_text_add(out, ",", 1);
            answer_record(out, list->type, &record, list->query->with_data);
            if (!http_send_part(list->req, 200, HTTP_TYPE_JSON))
                return;
            break;
        case TS_STEP_GAP:
            break;
        case TS_STEP_DAMAGED:
            note_damage(list, &gap);
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

static enum ts_err
add_list(struct list *list)
{
    struct ts_text *out = http_out(list->req);
    enum ts_err err;

    err = store_take_cursor(list->store, &list->query->range, &list->cursor);
    if (err != TS_OK)
        return err;
    if (list->query->is_newest_ascending)
        err = turn_round(list);
    if (err == TS_OK) {
        ts_text_puts(out, "{\"objects\":[");
        if (!list->query->is_empty)
            add_records(list);
        ts_text_puts(out, "],\"count\":");
        ts_text_u64(out, list->n_records);
        if (list->n_damages > 0)
            add_damages(list, out);
        ts_text_puts(out, "}");
    }
    store_give_cursor(list->store, list->cursor);
    return err;
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
    list.type = ts_view_options(view)->type;
    err = list_query_parse(req, kind, list.type, now_ns(), &query);
    if (err == TS_OK)
        err = add_list(&list);
    if (err == TS_OK)
        http_send(req, 200, HTTP_TYPE_JSON);
    else
        http_answer_error(req, err);
    ts_text_done(&list.damages);
    store_release(list.store);
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
