/* cursor.c - the one read path.
 *
 * A cursor knows the number of the record it wants next. locate() finds where that record is at
 * this moment: in an open block (copied record by record), in the ring (the block is copied whole,
 * checked, decoded and kept), nowhere any more (lapped), nowhere yet, or in a place whose bytes are
 * damaged. Everything is copied before it is believed; see head.c and ring.c for the fences.
 */
#include "common/extent.h"
#include "common/filter.h"
#include "common/ring.h"
#include "common/view.h"

#include <assert.h>
#include <stdlib.h>

struct ts_cursor {
    struct ts_view *view; /* borrowed */
    struct ts_range range;
    struct ts_filter filter; /* if range.filter_bytes > 0 */
    uint64_t generation, seed;
    uint64_t position;     /* forward: the next number; backward: the next number, 0 at the end */
    uint64_t left;         /* records that may still be delivered */
    uint64_t last_no;      /* forward: inclusive bound; backward: inclusive lower bound */
    struct ts_block block; /* the decoded one */
    struct ts_slot_look look[TS_HEAD_SLOTS]; /* as last seen */
    uint64_t open_block_seq;                 /* block whose informative number this is: */
    uint32_t open_block_num;
    uint8_t *body; /* owned; a record copied from an open block */
};

enum place {
    IN_SLOT,  /* look[slot] holds it */
    IN_BLOCK, /* block holds it */
    BELOW,    /* overwritten; hi is the last number that is gone */
    ABOVE,    /* not written yet */
    HOLE,     /* [lo, hi] were never given to a record that survived */
    DAMAGED,  /* [lo, hi] are in a block that cannot be read; the text is set */
    RESET
};

struct found {
    enum place place;
    unsigned slot;
    uint64_t lo, hi;
};

/* ---- where is a record ---- */

static bool
look_holds(const struct ts_slot_look *look, uint64_t no)
{
    return look->seq != 0 && no >= look->first_no && no - look->first_no < look->count;
}

static bool
block_holds(const struct ts_block *block, uint64_t no)
{
    return block->seq != 0 && no >= block->first_no && no - block->first_no < block->count;
}

/* Tries the open blocks; also those already sealed: their slot is intact until it is reused. */
static bool
find_in_slots(struct ts_cursor *cursor, uint64_t no, struct found *out)
{
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        if (!look_holds(&cursor->look[i], no))
            cursor->look[i] = ts_view_look(cursor->view, i);
        if (look_holds(&cursor->look[i], no)) {
            *out = (struct found){.place = IN_SLOT, .slot = i};
            return true;
        }
    }
    return false;
}

/* Copies and decodes a block. False if it was reclaimed meanwhile. */
static bool
load_block(struct ts_cursor *cursor, const struct ts_index_entry *entry, struct found *out)
{
    const struct ts_view *view = cursor->view;
    const uint64_t ring_bytes = view->geometry.ring_bytes;
    struct ts_block *block = &cursor->block;
    enum ts_err err = TS_E_CORRUPT;

    *out = (struct found){
        .place = IN_BLOCK, .lo = entry->first_no, .hi = entry->first_no + entry->count - 1};
    if (entry->extent_bytes > ring_bytes || entry->extent_bytes % 8 != 0) {
        TS_FAIL(TS_E_CORRUPT, "impossible length");
    } else {
        err = ts_block_reserve(block, entry->extent_bytes);
        if (err == TS_OK) {
            if (!ts_ring_copy(ts_view_meta(view), view->map[TS_FILE_DATA].base, ring_bytes, entry,
                              block->extent))
                return false;
            err = ts_extent_decode(block, entry->extent_bytes, entry->seq, entry->first_no,
                                   entry->count, ring_bytes, cursor->seed);
        }
    }
    if (err == TS_OK) {
        block->block_num = ts_view_block_num(view, entry->ring_pos);
        block->map_pos =
            entry->ring_pos + (uint64_t)(block->delete_map - (const uint8_t *)block->extent);
        return true;
    }
    TS_CONTEXT("store %s: " TS_DATA_FILE ": damaged at offset %ju, block %ju", view->name,
               (uintmax_t)(entry->ring_pos % ring_bytes), (uintmax_t)entry->seq);
    out->place = DAMAGED;
    return true;
}

/* No good block holds `no`; `next_no` begins what comes behind it, in block next_seq. Numbers that
 * nobody got after a power failure end at a multiple of 2^32; all else is damage. The last good
 * block before tells where it begins. */
static void
explain_hole(const struct ts_cursor *cursor, const struct ts_snapshot *s, uint64_t next_seq,
             uint64_t next_no, struct found *out)
{
    const struct ts_index *index = &cursor->view->index;
    struct ts_index_entry before;
    uint64_t seq = next_seq;

    *out = (struct found){.place = DAMAGED, .lo = s->oldest_no, .hi = next_no - 1};
    while (--seq >= s->tail_seq && seq > 0) {
        if (ts_index_read(index, seq, cursor->seed, &before)) {
            out->lo = before.first_no + before.count;
            break;
        }
    }
    if (seq + 1 != next_seq || seq < s->tail_seq)
        TS_FAIL(TS_E_CORRUPT,
                "store %s: " TS_INDEX_FILE ": damaged at offset %ju: entry of block %ju",
                cursor->view->name, (uintmax_t)ts_index_off(index, next_seq - 1),
                (uintmax_t)(next_seq - 1));
    else if ((next_no & UINT32_MAX) == 0)
        out->place = HOLE;
    else
        TS_FAIL(TS_E_CORRUPT,
                "store %s: " TS_HEAD_FILE
                ": damaged at offset %zu, before it was recovered: records "
                "%ju to %ju",
                cursor->view->name, sizeof(struct ts_head), (uintmax_t)out->lo, (uintmax_t)out->hi);
}

/* Finds `no` among the blocks of the ring. False if the ring moved: look again. */
static bool
find_in_ring(struct ts_cursor *cursor, const struct ts_snapshot *s, uint64_t no, struct found *out)
{
    const struct ts_meta *meta = ts_view_meta(cursor->view);
    struct ts_index_entry entry;
    bool is_found;

    is_found = s->tail_seq <= s->sealed_seq && ts_index_find_no(&cursor->view->index, s->tail_seq,
                                                                s->sealed_seq, s->seed, no, &entry);
    if (is_found && entry.first_no <= no)
        return load_block(cursor, &entry, out);
    if (is_found)
        explain_hole(cursor, s, entry.seq, entry.first_no, out);
    else
        explain_hole(cursor, s, s->n_open > 0 ? s->open[0].seq : s->sealed_seq + 1,
                     s->n_open > 0 ? s->open[0].first_no : s->next_no, out);
    /* acquire fence: entries that could not be read may just have been reclaimed. Pairs with
     * ts_ring_reclaim(). */
    atomic_thread_fence(memory_order_acquire);
    return ts_meta_tail(meta) == s->tail_seq;
}

static struct found
locate(struct ts_cursor *cursor, uint64_t no)
{
    struct ts_snapshot s;
    struct found found;

    if (block_holds(&cursor->block, no) &&
        ts_meta_generation(ts_view_meta(cursor->view)) == cursor->generation)
        return (struct found){.place = IN_BLOCK};
    for (;;) {
        if (ts_meta_generation(ts_view_meta(cursor->view)) != cursor->generation)
            return (struct found){.place = RESET};
        if (find_in_slots(cursor, no, &found))
            return found;
        ts_view_snapshot(cursor->view, &s);
        if (s.generation != cursor->generation)
            return (struct found){.place = RESET};
        if (no < s.oldest_no)
            return (struct found){.place = BELOW, .hi = s.oldest_no - 1};
        if (no >= s.next_no)
            return (struct found){.place = ABOVE, .hi = s.next_no};
        if (s.n_open > 0 && no >= s.open[0].first_no) {
            const struct ts_slot_look *last = &s.open[s.n_open - 1];

            if (no >= last->first_no || s.n_open == 1 || no - s.open[0].first_no < s.open[0].count)
                continue; /* it was sealed this moment */
            TS_FAIL(TS_E_CORRUPT,
                    "store %s: " TS_HEAD_FILE ": damaged at offset %zu: header of an "
                    "open block",
                    cursor->view->name,
                    sizeof(struct ts_head) +
                        (size_t)s.open_slot[0] * cursor->view->geometry.open_bytes);
            return (struct found){.place = DAMAGED,
                                  .lo = s.open[0].first_no + s.open[0].count,
                                  .hi = last->first_no - 1};
        }
        if (find_in_ring(cursor, &s, no, &found))
            return found;
    }
}

/* ---- where does a time begin ---- */

/* The first index whose time is time_ns or greater, count if none. */
static uint32_t
bisect_times(const int64_t *times, uint32_t count, int64_t time_ns)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;

        if (times[middle] < time_ns)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The same in an open block; records that are damaged have no time, the next one's counts. False
 * if the slot moved. */
static bool
bisect_slot(const struct ts_cursor *cursor, unsigned slot, const struct ts_slot_look *look,
            int64_t time_ns, uint32_t *out_idx)
{
    uint32_t low = 0, high = look->count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        uint32_t idx = middle;
        struct ts_record record;
        enum ts_slot_answer answer = TS_SLOT_DAMAGED;

        while (idx < high && answer == TS_SLOT_DAMAGED)
            answer =
                ts_slot_read(ts_view_slot(cursor->view, slot), cursor->view->geometry.open_bytes,
                             cursor->seed, look, idx++, cursor->body, &record);
        if (answer == TS_SLOT_MOVED)
            return false;
        if (answer != TS_SLOT_DAMAGED && record.time_ns < time_ns)
            low = idx;
        else
            high = middle;
    }
    *out_idx = low;
    return true;
}

/* The first record of the open blocks that reaches the time; count of the last one's if none.
 * *out_is_first: it is the very first, so that the ring has to be asked too. */
static bool
find_time_in_slots(const struct ts_cursor *cursor, const struct ts_snapshot *s, int64_t time_ns,
                   uint64_t *out_no, bool *out_is_first)
{
    *out_no = s->next_no;
    *out_is_first = true;
    for (unsigned i = 0; i < s->n_open; i++) {
        uint32_t idx;

        if (!bisect_slot(cursor, s->open_slot[i], &s->open[i], time_ns, &idx))
            return false;
        if (idx > 0)
            *out_is_first = false;
        if (idx < s->open[i].count) {
            *out_no = s->open[i].first_no + idx;
            break;
        }
    }
    return true;
}

/* The number of the first record at time_ns or later; next_no if there is none. A damaged block
 * that may hold it is answered by its first number: the walk will report it. */
static uint64_t
find_time(struct ts_cursor *cursor, int64_t time_ns, struct ts_snapshot *s)
{
    struct ts_index_entry entry;
    struct found found;
    uint64_t no;
    bool is_first;

    for (;;) {
        ts_view_snapshot(cursor->view, s);
        cursor->generation = s->generation;
        cursor->seed = s->seed;
        if (!find_time_in_slots(cursor, s, time_ns, &no, &is_first))
            continue;
        if (!is_first || s->tail_seq > s->sealed_seq)
            return no;
        if (!ts_index_find_time(&cursor->view->index, s->tail_seq, s->sealed_seq, s->seed, time_ns,
                                &entry)) {
            if (ts_meta_tail(ts_view_meta(cursor->view)) != s->tail_seq)
                continue;
            return no;
        }
        if (entry.min_time_ns >= time_ns)
            return entry.first_no;
        if (cursor->block.seq != entry.seq && !load_block(cursor, &entry, &found))
            continue;
        if (cursor->block.seq != entry.seq)
            return entry.first_no;
        return entry.first_no + bisect_times(cursor->block.time_ns, entry.count, time_ns);
    }
}

/* ---- opening ---- */

static void
begin_forward(struct ts_cursor *cursor)
{
    const struct ts_range *range = &cursor->range;
    struct ts_snapshot s;

    cursor->last_no = UINT64_MAX;
    if (!range->by_number && range->has_from) {
        cursor->position = find_time(cursor, range->from_time_ns, &s);
    } else {
        ts_view_snapshot(cursor->view, &s);
        cursor->position = s.oldest_no;
        if (range->by_number && range->has_from)
            cursor->position = range->from_no > 0 ? range->from_no : 1;
    }
    cursor->generation = s.generation;
    cursor->seed = s.seed;
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
    const struct ts_range *range = &cursor->range;
    struct ts_snapshot s;

    cursor->last_no = 1;
    if (!range->by_number && range->has_to && range->to_time_ns != INT64_MAX) {
        cursor->position = find_time(cursor, range->to_time_ns + 1, &s) - 1;
    } else {
        ts_view_snapshot(cursor->view, &s);
        cursor->position = s.next_no - 1;
        if (range->by_number && range->has_to && range->to_no < cursor->position)
            cursor->position = range->to_no;
    }
    cursor->generation = s.generation;
    cursor->seed = s.seed;
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
    cursor->block.seq = 0; /* another generation may have come meanwhile */
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++)
        cursor->look[i].seq = 0;
    if (range->filter_bytes > 0)
        ts_filter_init(&cursor->filter, range->filter, range->filter_bytes, range->filter_fold);
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
    cursor->view = view;
    cursor->block = (struct ts_block){0};
    cursor->open_block_seq = UINT64_MAX;
    cursor->body = malloc(view->geometry.open_bytes);
    err = cursor->body != NULL ? ts_cursor_restart(cursor, range)
                               : TS_FAIL(TS_E_NOMEM, "out of memory");
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
    ts_block_done(&cursor->block);
    free(cursor->body);
    free(cursor);
}

uint64_t
ts_cursor_position(const struct ts_cursor *cursor)
{
    return cursor->position;
}

/* ---- reading one record ---- */

enum fetched { FETCHED, SKIPPED, BAD, AGAIN };

/* The informative block number of records that are still open: where the next extent goes. */
static uint32_t
open_block_num(struct ts_cursor *cursor)
{
    const uint64_t sealed_seq = ts_meta_sealed(ts_view_meta(cursor->view));
    struct ts_index_entry entry;

    if (cursor->open_block_seq != sealed_seq) {
        cursor->open_block_seq = sealed_seq;
        cursor->open_block_num = 0;
        if (sealed_seq > 0 && ts_index_read(&cursor->view->index, sealed_seq, cursor->seed, &entry))
            cursor->open_block_num =
                ts_view_block_num(cursor->view, entry.ring_pos + entry.extent_bytes);
    }
    return cursor->open_block_num;
}

static enum fetched
fetch_from_slot(struct ts_cursor *cursor, unsigned i, uint64_t no, struct ts_record *out_record)
{
    const struct ts_view *view = cursor->view;
    struct ts_slot_look *look = &cursor->look[i];

    switch (ts_slot_read(ts_view_slot(view, i), view->geometry.open_bytes, cursor->seed, look,
                         (uint32_t)(no - look->first_no), cursor->body, out_record)) {
    case TS_SLOT_RECORD:
        out_record->block_num = open_block_num(cursor);
        return FETCHED;
    case TS_SLOT_DELETED:
        return SKIPPED;
    case TS_SLOT_DAMAGED:
        TS_FAIL(TS_E_CORRUPT, "store %s: " TS_HEAD_FILE ": damaged at offset %zu: record %ju",
                view->name, sizeof(struct ts_head) + (size_t)i * view->geometry.open_bytes,
                (uintmax_t)no);
        return BAD;
    case TS_SLOT_MOVED:
        break;
    }
    look->seq = 0;
    return AGAIN;
}

/* Was it deleted, also since the block was copied? */
static bool
is_deleted(const struct ts_cursor *cursor, uint32_t idx)
{
    const struct ts_view *view = cursor->view;
    const struct ts_block *block = &cursor->block;
    const uint64_t at = (block->map_pos + idx / 8) % view->geometry.ring_bytes;
    const uint8_t now = atomic_load_explicit(
        (const _Atomic uint8_t *)view->map[TS_FILE_DATA].base + at, memory_order_relaxed);

    /* acquire fence: the byte is read before the tail. Pairs with ts_ring_reclaim(): if the block
     * was given up the byte may be anybody's, and the copy has to do. */
    atomic_thread_fence(memory_order_acquire);
    if (block->seq >= ts_meta_tail(ts_view_meta(view)) && ((now >> (idx % 8)) & 1))
        return true;
    return ts_block_is_deleted(block, idx);
}

static enum fetched
fetch_from_block(const struct ts_cursor *cursor, uint64_t no, struct ts_record *out_record)
{
    const struct ts_block *block = &cursor->block;
    const uint32_t idx = (uint32_t)(no - block->first_no);

    if (ts_block_is_damaged(block, idx)) {
        TS_FAIL(TS_E_CORRUPT,
                "store %s: " TS_DATA_FILE ": block %ju: record %ju was damaged before "
                "it was sealed",
                cursor->view->name, (uintmax_t)block->seq, (uintmax_t)no);
        return BAD;
    }
    if (is_deleted(cursor, idx))
        return SKIPPED;
    *out_record =
        (struct ts_record){.no = no, .time_ns = block->time_ns[idx], .block_num = block->block_num};
    out_record->data = ts_block_body(block, idx, &out_record->bytes);
    return FETCHED;
}

/* ---- stepping ---- */

static enum ts_step
on_reset(struct ts_cursor *cursor)
{
    struct ts_snapshot s;

    ts_view_snapshot(cursor->view, &s);
    if (s.generation == TS_GENERATION_DROPPED)
        return TS_STEP_GONE;
    cursor->generation = s.generation;
    cursor->seed = s.seed;
    cursor->block.seq = 0;
    cursor->open_block_seq = UINT64_MAX;
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
step_over(struct ts_cursor *cursor, const struct found *found, struct ts_gap *out_gap,
          enum ts_step *out_step)
{
    const bool backward = cursor->range.backward;
    const uint64_t no = cursor->position;

    switch (found->place) {
    case RESET:
        *out_step = on_reset(cursor);
        return true;
    case BELOW:
        if (backward) {
            end_here(cursor);
            *out_step = TS_STEP_END;
        } else {
            *out_step =
                tell_gap(cursor, TS_STEP_GAP, no, min_u64(found->hi, cursor->last_no), out_gap);
        }
        return true;
    case ABOVE:
        if (backward) {
            cursor->position = found->hi - 1;
            return false;
        }
        *out_step = TS_STEP_END;
        return true;
    case HOLE:
        cursor->position = backward ? found->lo - 1 : found->hi + 1;
        return false;
    case DAMAGED:
    default:
        *out_step = backward ? tell_gap(cursor, TS_STEP_DAMAGED,
                                        max_u64(found->lo, cursor->last_no), no, out_gap)
                             : tell_gap(cursor, TS_STEP_DAMAGED, no,
                                        min_u64(found->hi, cursor->last_no), out_gap);
        return true;
    }
}

enum ts_step
ts_cursor_next(struct ts_cursor *cursor, struct ts_record *out_record, struct ts_gap *out_gap)
{
    enum ts_step step;

    while (!is_at_end(cursor)) {
        const uint64_t no = cursor->position;
        const struct found found = locate(cursor, no);
        enum fetched fetched;

        if (found.place == IN_SLOT) {
            fetched = fetch_from_slot(cursor, found.slot, no, out_record);
        } else if (found.place == IN_BLOCK) {
            fetched = fetch_from_block(cursor, no, out_record);
        } else {
            if (step_over(cursor, &found, out_gap, &step))
                return step;
            continue;
        }
        if (fetched == AGAIN)
            continue;
        if (fetched == BAD)
            return tell_gap(cursor, TS_STEP_DAMAGED, no, no, out_gap);
        cursor->position = cursor->range.backward ? no - 1 : no + 1;
        if (fetched == SKIPPED)
            continue;
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

    ts_view_state(cursor->view, &state);
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
