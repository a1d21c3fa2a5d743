/* cursor.c - the one read path.
 *
 * A cursor knows the number of the record it wants next; locate.h finds where that is at this
 * moment. What is left here is which numbers it wants, and what it says about those it cannot have.
 */
#include "common/filter.h"
#include "common/locate.h"

#include <stdlib.h>
#include <time.h>

struct ts_cursor {
    struct ts_locator locator;
    struct ts_range range;
    struct ts_filter filter; /* if range.filter_bytes > 0 */
    uint64_t position;       /* forward: the next number; backward: the next number, 0 at the end */
    uint64_t left;           /* records that may still be delivered */
    uint64_t last_no;        /* forward: inclusive bound; backward: inclusive lower bound */
    int64_t alive_from_ns;   /* older records are invisible; INT64_MIN: none is */
};

/* ---- opening ---- */

static void
look_at_age(struct ts_cursor *cursor)
{
    const int64_t max_age_ns = cursor->locator.view->options.max_age_ns;
    struct timespec now;

    cursor->alive_from_ns = INT64_MIN;
    if (max_age_ns > 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        cursor->alive_from_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - max_age_ns;
    }
}

static void
begin_forward(struct ts_cursor *cursor)
{
    struct ts_locator *l = &cursor->locator;
    const struct ts_range *range = &cursor->range;
    int64_t from_ns = cursor->alive_from_ns;
    struct ts_snapshot s;

    cursor->last_no = UINT64_MAX;
    if (!range->by_number && range->has_from && range->from_time_ns > from_ns)
        from_ns = range->from_time_ns;
    if (range->by_number && range->has_from) {
        ts_view_snapshot(l->view, &s);
        cursor->position = range->from_no > 0 ? range->from_no : 1;
    } else if (from_ns > INT64_MIN) {
        cursor->position = ts_locate_time(l, from_ns, &s);
    } else {
        ts_view_snapshot(l->view, &s);
        cursor->position = s.oldest_no;
    }
    ts_locator_adopt(l, &s);
    /* Without an end of its own a list ends at what was there when it began: it never chases the
     * writer. */
    if (!range->follow)
        cursor->last_no = s.next_no - 1;
    if (range->by_number && range->has_to && range->to_no < cursor->last_no)
        cursor->last_no = range->to_no;
}

static void
begin_backward(struct ts_cursor *cursor)
{
    struct ts_locator *l = &cursor->locator;
    const struct ts_range *range = &cursor->range;
    struct ts_snapshot s;

    cursor->last_no = 1;
    if (!range->by_number && range->has_to && range->to_time_ns != INT64_MAX) {
        cursor->position = ts_locate_time(l, range->to_time_ns + 1, &s) - 1;
    } else {
        ts_view_snapshot(l->view, &s);
        cursor->position = s.next_no - 1;
        if (range->by_number && range->has_to && range->to_no < cursor->position)
            cursor->position = range->to_no;
    }
    ts_locator_adopt(l, &s);
    if (range->by_number && range->has_from && range->from_no > 1)
        cursor->last_no = range->from_no;
}

enum ts_err
ts_cursor_restart(struct ts_cursor *cursor, const struct ts_range *range)
{
    if (range->follow && range->backward)
        return TS_FAIL(TS_E_PARAM, "a cursor that follows cannot go backwards");
    cursor->range = *range;
    cursor->left = range->limit > 0 ? range->limit : UINT64_MAX;
    ts_locator_forget(&cursor->locator);
    if (range->filter_bytes > 0)
        ts_filter_init(&cursor->filter, range->filter, range->filter_bytes, range->filter_fold);
    look_at_age(cursor);
    if (range->backward)
        begin_backward(cursor);
    else
        begin_forward(cursor);
    return TS_OK;
}

enum ts_err
ts_cursor_open(struct ts_view *view, const struct ts_range *range, struct ts_cursor **out_cursor)
{
    struct ts_cursor *cursor = malloc(sizeof *cursor);
    enum ts_err err;

    if (cursor == NULL)
        return TS_FAIL(TS_E_NOMEM, "out of memory");
    err = ts_locator_init(&cursor->locator, view);
    if (err == TS_OK)
        err = ts_cursor_restart(cursor, range);
    if (err != TS_OK) {
        ts_cursor_close(cursor);
        return err;
    }
    *out_cursor = cursor;
    return TS_OK;
}

void
ts_cursor_close(struct ts_cursor *cursor)
{
    if (cursor == NULL)
        return;
    ts_locator_done(&cursor->locator);
    free(cursor);
}

uint64_t
ts_cursor_position(const struct ts_cursor *cursor)
{
    return cursor->position;
}

/* ---- stepping ---- */

static enum ts_step
on_reset(struct ts_cursor *cursor)
{
    struct ts_snapshot s;

    ts_view_snapshot(cursor->locator.view, &s);
    if (s.generation == TS_GENERATION_DROPPED)
        return TS_STEP_GONE;
    ts_locator_forget(&cursor->locator);
    ts_locator_adopt(&cursor->locator, &s);
    cursor->position = cursor->range.backward ? s.next_no - 1 : s.oldest_no;
    cursor->last_no = cursor->range.backward ? 1
                      : cursor->range.follow ? UINT64_MAX
                                             : s.next_no - 1;
    return TS_STEP_RESET;
}

static enum ts_step
tell_gap(struct ts_cursor *cursor, enum ts_step step, uint64_t from_no, uint64_t to_no,
         struct ts_gap *out_gap)
{
    *out_gap = (struct ts_gap){from_no, to_no, to_no - from_no + 1};
    cursor->position = cursor->range.backward ? from_no - 1 : to_no + 1;
    return step;
}

static bool
passes_filter(const struct ts_cursor *cursor, const struct ts_record *record)
{
    return cursor->range.filter_bytes == 0 ||
           ts_filter_match(&cursor->filter, record->data, record->bytes);
}

static bool
is_past(const struct ts_cursor *cursor, int64_t time_ns)
{
    const struct ts_range *range = &cursor->range;

    if (range->by_number)
        return false;
    return range->backward ? range->has_from && time_ns < range->from_time_ns
                           : range->has_to && time_ns > range->to_time_ns;
}

static bool
is_before(const struct ts_cursor *cursor, int64_t time_ns)
{
    const struct ts_range *range = &cursor->range;

    if (range->by_number)
        return false;
    return range->backward ? range->has_to && time_ns > range->to_time_ns
                           : range->has_from && time_ns < range->from_time_ns;
}

static void
end_here(struct ts_cursor *cursor)
{
    cursor->left = 0;
}

static bool
is_at_end(const struct ts_cursor *cursor)
{
    if (cursor->left == 0)
        return true;
    return cursor->range.backward ? cursor->position < cursor->last_no || cursor->position == 0
                                  : cursor->position > cursor->last_no;
}

static uint64_t
min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t
max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What to do where there is no record. True if *out_step is an answer for the caller. */
static bool
step_over(struct ts_cursor *cursor, const struct ts_found *found, struct ts_gap *out_gap,
          enum ts_step *out_step)
{
    const bool backward = cursor->range.backward;
    const uint64_t no = cursor->position;

    switch (found->place) {
    case TS_PLACE_RESET:
        *out_step = on_reset(cursor);
        return true;
    case TS_PLACE_BELOW:
        if (backward) {
            end_here(cursor);
            *out_step = TS_STEP_END;
        } else {
            *out_step =
                tell_gap(cursor, TS_STEP_GAP, no, min_u64(found->hi, cursor->last_no), out_gap);
        }
        return true;
    case TS_PLACE_ABOVE:
        if (backward) {
            cursor->position = found->hi - 1;
            return false;
        }
        *out_step = TS_STEP_END;
        return true;
    case TS_PLACE_HOLE:
        cursor->position = backward ? found->lo - 1 : found->hi + 1;
        return false;
    case TS_PLACE_DAMAGED:
    default:
        *out_step = backward ? tell_gap(cursor, TS_STEP_DAMAGED,
                                        max_u64(found->lo, cursor->last_no), no, out_gap)
                             : tell_gap(cursor, TS_STEP_DAMAGED, no,
                                        min_u64(found->hi, cursor->last_no), out_gap);
        return true;
    }
}

/* Record `no` is older than the store keeps. True if *out_step is an answer for the caller. */
static bool
step_over_aged(struct ts_cursor *cursor, uint64_t no, struct ts_gap *out_gap,
               enum ts_step *out_step)
{
    const uint64_t generation = cursor->locator.generation;
    struct ts_snapshot s;
    uint64_t alive_no;

    if (cursor->range.backward) {
        end_here(cursor);
        *out_step = TS_STEP_END;
        return true;
    }
    alive_no = ts_locate_time(&cursor->locator, cursor->alive_from_ns, &s);
    if (s.generation != generation) {
        *out_step = on_reset(cursor);
        return true;
    }
    if (alive_no <= no)
        alive_no = no + 1;
    /* Who counts records is told of those that it asked for, or waited for, in vain. */
    if (cursor->range.by_number || cursor->range.follow) {
        *out_step =
            tell_gap(cursor, TS_STEP_GAP, no, min_u64(alive_no - 1, cursor->last_no), out_gap);
        return true;
    }
    cursor->position = alive_no;
    return false;
}

enum ts_step
ts_cursor_next(struct ts_cursor *cursor, struct ts_record *out_record, struct ts_gap *out_gap)
{
    enum ts_step step;

    if (cursor->alive_from_ns != INT64_MIN)
        look_at_age(cursor);
    while (!is_at_end(cursor)) {
        const uint64_t no = cursor->position;
        const struct ts_found found = ts_locate(&cursor->locator, no);
        enum ts_fetched fetched;

        if (found.place != TS_PLACE_SLOT && found.place != TS_PLACE_BLOCK) {
            if (step_over(cursor, &found, out_gap, &step))
                return step;
            continue;
        }
        fetched = ts_fetch(&cursor->locator, &found, no, out_record);
        if (fetched == TS_FETCH_AGAIN)
            continue;
        if (fetched == TS_FETCH_DAMAGED)
            return tell_gap(cursor, TS_STEP_DAMAGED, no, no, out_gap);
        cursor->position = cursor->range.backward ? no - 1 : no + 1;
        if (fetched == TS_FETCH_DELETED)
            continue;
        if (out_record->time_ns < cursor->alive_from_ns) {
            if (step_over_aged(cursor, no, out_gap, &step))
                return step;
            continue;
        }
        if (is_past(cursor, out_record->time_ns)) {
            end_here(cursor);
            break;
        }
        if (is_before(cursor, out_record->time_ns) || !passes_filter(cursor, out_record))
            continue;
        cursor->left--;
        return TS_STEP_RECORD;
    }
    return TS_STEP_END;
}

enum ts_err
ts_cursor_find_time(struct ts_cursor *cursor, int64_t time_ns, struct ts_record *out_record)
{
    const struct ts_range range = {.has_from = true,
                                   .has_to = true,
                                   .from_time_ns = time_ns,
                                   .to_time_ns = time_ns,
                                   .limit = 1};
    struct ts_state state;
    struct ts_gap gap;
    enum ts_step step;
    enum ts_err err;

    ts_view_state(cursor->locator.view, &state);
    if (state.generation == TS_GENERATION_DROPPED)
        return TS_FAIL_PLAIN(TS_E_NOT_FOUND);
    if (state.oldest_no == state.next_no)
        return TS_FAIL_PLAIN(TS_E_EMPTY);
    err = ts_cursor_restart(cursor, &range);
    if (err != TS_OK)
        return err;
    do
        step = ts_cursor_next(cursor, out_record, &gap);
    while (step == TS_STEP_GAP);
    if (step == TS_STEP_RECORD)
        return TS_OK;
    return step == TS_STEP_DAMAGED ? TS_E_CORRUPT : TS_FAIL_PLAIN(TS_E_NO_TIME);
}
