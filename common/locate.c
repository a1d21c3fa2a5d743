/* locate.c - see locate.h.
 *
 * A record is in an open block, in the ring, nowhere any more, nowhere yet, or in a place whose
 * bytes are damaged; which of them changes while one looks.
 */
#include "common/locate.h"

#include "common/ring.h"

#include <stdlib.h>

enum ts_err
ts_locator_init(struct ts_locator *l, struct ts_view *view)
{
    *l = (struct ts_locator){.view = view, .open_block_seq = UINT64_MAX};
    l->body = malloc(view->geometry.open_bytes);
    return l->body != NULL ? TS_OK : TS_FAIL(TS_E_NOMEM, "out of memory");
}

void
ts_locator_done(struct ts_locator *l)
{
    ts_block_done(&l->block);
    free(l->body);
}

void
ts_locator_forget(struct ts_locator *l)
{
    l->block.seq = 0;
    l->open_block_seq = UINT64_MAX;
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++)
        l->look[i].seq = 0;
}

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
find_in_slots(struct ts_locator *l, uint64_t no, struct ts_found *out)
{
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        if (!look_holds(&l->look[i], no))
            l->look[i] = ts_view_look(l->view, i);
        if (look_holds(&l->look[i], no)) {
            *out = (struct ts_found){.place = TS_PLACE_SLOT, .slot = i};
            return true;
        }
    }
    return false;
}

/* Copies and decodes a block. False if it was reclaimed meanwhile. */
static bool
load_block(struct ts_locator *l, const struct ts_index_entry *entry, struct ts_found *out)
{
    const struct ts_view *view = l->view;
    const uint64_t ring_bytes = view->geometry.ring_bytes;
    struct ts_block *block = &l->block;
    enum ts_err err = TS_E_CORRUPT;

    *out = (struct ts_found){
        .place = TS_PLACE_BLOCK, .lo = entry->first_no, .hi = entry->first_no + entry->count - 1};
    if (entry->extent_bytes > ring_bytes || entry->extent_bytes % 8 != 0) {
        TS_FAIL(TS_E_CORRUPT, "impossible length");
    } else {
        err = ts_block_reserve(block, entry->extent_bytes);
        if (err == TS_OK) {
            if (!ts_ring_copy(ts_view_meta(view), view->map[TS_FILE_DATA].base, ring_bytes, entry,
                              block->extent))
                return false;
            err = ts_extent_decode(block, entry->extent_bytes, entry->seq, entry->first_no,
                                   entry->count, ring_bytes, l->seed);
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
    out->place = TS_PLACE_DAMAGED;
    return true;
}

/* No good block holds `no`; `next_no` begins what comes behind it, in block next_seq. Numbers that
 * nobody got after a power failure end at a multiple of 2^32; all else is damage. The last good
 * block before tells where it begins. */
static void
explain_hole(const struct ts_locator *l, const struct ts_snapshot *s, uint64_t next_seq,
             uint64_t next_no, struct ts_found *out)
{
    const struct ts_index *index = &l->view->index;
    struct ts_index_entry before;
    uint64_t seq = next_seq;

    *out = (struct ts_found){.place = TS_PLACE_DAMAGED, .lo = s->oldest_no, .hi = next_no - 1};
    while (--seq >= s->tail_seq && seq > 0) {
        if (ts_index_read(index, seq, l->seed, &before)) {
            out->lo = before.first_no + before.count;
            break;
        }
    }
    if (seq + 1 != next_seq || seq < s->tail_seq)
        TS_FAIL(
            TS_E_CORRUPT, "store %s: " TS_INDEX_FILE ": damaged at offset %ju: entry of block %ju",
            l->view->name, (uintmax_t)ts_index_off(index, next_seq - 1), (uintmax_t)(next_seq - 1));
    else if ((next_no & UINT32_MAX) == 0)
        out->place = TS_PLACE_HOLE;
    else
        TS_FAIL(TS_E_CORRUPT,
                "store %s: " TS_HEAD_FILE
                ": damaged at offset %zu, before it was recovered: records "
                "%ju to %ju",
                l->view->name, sizeof(struct ts_head), (uintmax_t)out->lo, (uintmax_t)out->hi);
}

/* Finds `no` among the blocks of the ring. False if the ring moved: look again. */
static bool
find_in_ring(struct ts_locator *l, const struct ts_snapshot *s, uint64_t no, struct ts_found *out)
{
    const struct ts_meta *meta = ts_view_meta(l->view);
    struct ts_index_entry entry;
    bool is_found;

    is_found = s->tail_seq <= s->sealed_seq &&
               ts_index_find_no(&l->view->index, s->tail_seq, s->sealed_seq, s->seed, no, &entry);
    if (is_found && entry.first_no <= no)
        return load_block(l, &entry, out);
    if (is_found)
        explain_hole(l, s, entry.seq, entry.first_no, out);
    else
        explain_hole(l, s, s->n_open > 0 ? s->open[0].seq : s->sealed_seq + 1,
                     s->n_open > 0 ? s->open[0].first_no : s->next_no, out);
    /* acquire fence: entries that could not be read may just have been reclaimed. Pairs with
     * ts_ring_reclaim(). */
    atomic_thread_fence(memory_order_acquire);
    return ts_meta_tail(meta) == s->tail_seq;
}

struct ts_found
ts_locate(struct ts_locator *l, uint64_t no)
{
    struct ts_snapshot s;
    struct ts_found found;

    if (block_holds(&l->block, no) && ts_meta_generation(ts_view_meta(l->view)) == l->generation)
        return (struct ts_found){.place = TS_PLACE_BLOCK};
    for (;;) {
        if (ts_meta_generation(ts_view_meta(l->view)) != l->generation)
            return (struct ts_found){.place = TS_PLACE_RESET};
        if (find_in_slots(l, no, &found))
            return found;
        ts_view_snapshot(l->view, &s);
        if (s.generation != l->generation)
            return (struct ts_found){.place = TS_PLACE_RESET};
        if (no < s.oldest_no)
            return (struct ts_found){.place = TS_PLACE_BELOW, .hi = s.oldest_no - 1};
        if (no >= s.next_no)
            return (struct ts_found){.place = TS_PLACE_ABOVE, .hi = s.next_no};
        if (s.n_open > 0 && no >= s.open[0].first_no) {
            const struct ts_slot_look *last = &s.open[s.n_open - 1];

            if (no >= last->first_no || s.n_open == 1 || no - s.open[0].first_no < s.open[0].count)
                continue; /* it was sealed this moment */
            TS_FAIL(TS_E_CORRUPT,
                    "store %s: " TS_HEAD_FILE ": damaged at offset %zu: header of an "
                    "open block",
                    l->view->name,
                    sizeof(struct ts_head) + (size_t)s.open_slot[0] * l->view->geometry.open_bytes);
            return (struct ts_found){.place = TS_PLACE_DAMAGED,
                                     .lo = s.open[0].first_no + s.open[0].count,
                                     .hi = last->first_no - 1};
        }
        if (find_in_ring(l, &s, no, &found))
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
bisect_slot(const struct ts_locator *l, unsigned slot, const struct ts_slot_look *look,
            int64_t time_ns, uint32_t *out_idx)
{
    uint32_t low = 0, high = look->count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        uint32_t idx = middle;
        struct ts_record record;
        enum ts_slot_answer answer = TS_SLOT_DAMAGED;

        while (idx < high && answer == TS_SLOT_DAMAGED)
            answer = ts_slot_read(ts_view_slot(l->view, slot), l->view->geometry.open_bytes,
                                  l->seed, look, idx++, l->body, &record);
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
find_time_in_slots(const struct ts_locator *l, const struct ts_snapshot *s, int64_t time_ns,
                   uint64_t *out_no, bool *out_is_first)
{
    *out_no = s->next_no;
    *out_is_first = true;
    for (unsigned i = 0; i < s->n_open; i++) {
        uint32_t idx;

        if (!bisect_slot(l, s->open_slot[i], &s->open[i], time_ns, &idx))
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

uint64_t
ts_locate_time(struct ts_locator *l, int64_t time_ns, struct ts_snapshot *s)
{
    struct ts_index_entry entry;
    struct ts_found found;
    uint64_t no;
    bool is_first;

    for (;;) {
        ts_view_snapshot(l->view, s);
        ts_locator_adopt(l, s);
        if (!find_time_in_slots(l, s, time_ns, &no, &is_first))
            continue;
        if (!is_first || s->tail_seq > s->sealed_seq)
            return no;
        if (!ts_index_find_time(&l->view->index, s->tail_seq, s->sealed_seq, s->seed, time_ns,
                                &entry)) {
            if (ts_meta_tail(ts_view_meta(l->view)) != s->tail_seq)
                continue;
            return no;
        }
        if (entry.min_time_ns >= time_ns)
            return entry.first_no;
        if (l->block.seq != entry.seq && !load_block(l, &entry, &found))
            continue;
        if (l->block.seq != entry.seq)
            return entry.first_no;
        return entry.first_no + bisect_times(l->block.time_ns, entry.count, time_ns);
    }
}

/* ---- reading one record ---- */

/* The informative block number of records that are still open: where the next extent goes. */
static uint32_t
open_block_num(struct ts_locator *l)
{
    const uint64_t sealed_seq = ts_meta_sealed(ts_view_meta(l->view));
    struct ts_index_entry entry;

    if (l->open_block_seq != sealed_seq) {
        l->open_block_seq = sealed_seq;
        l->open_block_num = 0;
        if (sealed_seq > 0 && ts_index_read(&l->view->index, sealed_seq, l->seed, &entry))
            l->open_block_num = ts_view_block_num(l->view, entry.ring_pos + entry.extent_bytes);
    }
    return l->open_block_num;
}

static enum ts_fetched
fetch_from_slot(struct ts_locator *l, unsigned i, uint64_t no, struct ts_record *out_record)
{
    const struct ts_view *view = l->view;
    struct ts_slot_look *look = &l->look[i];

    switch (ts_slot_read(ts_view_slot(view, i), view->geometry.open_bytes, l->seed, look,
                         (uint32_t)(no - look->first_no), l->body, out_record)) {
    case TS_SLOT_RECORD:
        out_record->block_num = open_block_num(l);
        return TS_FETCH_RECORD;
    case TS_SLOT_DELETED:
        return TS_FETCH_DELETED;
    case TS_SLOT_DAMAGED:
        /* A record of the next generation fails the seed of this one. The look acquired its count,
         * so the generation is seen, too. */
        if (ts_meta_generation(ts_view_meta(view)) != l->generation)
            break;
        TS_FAIL(TS_E_CORRUPT, "store %s: " TS_HEAD_FILE ": damaged at offset %zu: record %ju",
                view->name, sizeof(struct ts_head) + (size_t)i * view->geometry.open_bytes,
                (uintmax_t)no);
        return TS_FETCH_DAMAGED;
    case TS_SLOT_MOVED:
        break;
    }
    look->seq = 0;
    return TS_FETCH_AGAIN;
}

/* Was it deleted, also since the block was copied? */
static bool
is_deleted(const struct ts_locator *l, uint32_t idx)
{
    const struct ts_view *view = l->view;
    const struct ts_block *block = &l->block;
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

static enum ts_fetched
fetch_from_block(const struct ts_locator *l, uint64_t no, struct ts_record *out_record)
{
    const struct ts_block *block = &l->block;
    const uint32_t idx = (uint32_t)(no - block->first_no);

    if (ts_block_is_damaged(block, idx)) {
        TS_FAIL(TS_E_CORRUPT,
                "store %s: " TS_DATA_FILE ": block %ju: record %ju was damaged before "
                "it was sealed",
                l->view->name, (uintmax_t)block->seq, (uintmax_t)no);
        return TS_FETCH_DAMAGED;
    }
    if (is_deleted(l, idx))
        return TS_FETCH_DELETED;
    *out_record =
        (struct ts_record){.no = no, .time_ns = block->time_ns[idx], .block_num = block->block_num};
    out_record->data = ts_block_body(block, idx, &out_record->bytes);
    return TS_FETCH_RECORD;
}

enum ts_fetched
ts_fetch(struct ts_locator *l, const struct ts_found *found, uint64_t no,
         struct ts_record *out_record)
{
    return found->place == TS_PLACE_SLOT ? fetch_from_slot(l, found->slot, no, out_record)
                                         : fetch_from_block(l, no, out_record);
}
