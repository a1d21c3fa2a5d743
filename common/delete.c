/* delete.c - one record is no longer there.
 *
 * A record of an open block is marked in its header, one of the ring in the delete map of its
 * extent; neither is in a checksum. Marks are only ever set, so that a torn or lost write leaves a
 * state that was true at some moment.
 */
#include "common/shared.h"
#include "common/store.h"

/* Marks record `no` of the ring. True if it was there and not deleted yet. */
static bool
mark_in_ring(struct ts_store *store, uint64_t no)
{
    struct ts_ring *ring = &store->ring;
    struct ts_index_entry entry;
    uint64_t at;
    uint8_t bit, before;

    if (!ts_index_find_no(&ring->index, ring->tail_seq, ring->sealed_seq, ring->seed, no, &entry) ||
        entry.first_no > no)
        return false;
    /* The map is the extent's last part. Its place comes from the index, which has a checksum; the
     * header, if damaged, would have the mark made in some other block. */
    at = entry.ring_pos + entry.extent_bytes - ((uint64_t)entry.count + 63) / 64 * 8 +
         (no - entry.first_no) / 8;
    bit = (uint8_t)(1u << ((no - entry.first_no) % 8));
    /* relaxed: a reader sees it now or a moment later; nothing else depends on it. */
    before = atomic_fetch_or_explicit((_Atomic uint8_t *)ring->base + at % ring->ring_bytes, bit,
                                      memory_order_relaxed);
    store->is_ring_dirty = true;
    return !(before & bit);
}

static bool
block_holds(const struct ts_open_block *block, uint64_t no)
{
    return block->slot != NULL && no >= block->first_no && no - block->first_no < block->count;
}

/* Marks it in its slot. True if it was not deleted yet. */
static bool
mark_in_slot(struct ts_store *store, unsigned slot, uint64_t no)
{
    const struct ts_open_block *block = &store->block[slot];
    const uint32_t idx = (uint32_t)(no - block->first_no);
    uint8_t *base = (uint8_t *)block->slot;
    const uint32_t off = ts_slot_record_off(block->slot, block->open_bytes, idx);
    struct ts_slot_record *record = (void *)(base + off);
    uint32_t before;

    if (off == 0)
        return false; /* damaged: nobody can read it anyway */
    before = atomic_fetch_or_explicit(&record->flags, TS_RECORD_DELETED, memory_order_relaxed);
    if (store->synced_bytes[slot] > off)
        store->synced_bytes[slot] = off; /* its page goes to the disk again */
    return !(before & (TS_RECORD_DELETED | TS_RECORD_DAMAGED));
}

/* True if record `no` was there and is deleted by this call. The lock is held. */
static bool
delete_locked(struct ts_store *store, uint64_t no)
{
    bool was_there = false;

    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        /* A free slot's block is in the ring, but readers may still take it from the slot. */
        if (block_holds(&store->block[i], no)) {
            was_there = mark_in_slot(store, i, no);
            if (ts_slot_note_locked(store, i, TS_SLOT_MARKED))
                return was_there;
        }
    }
    pthread_mutex_lock(&store->ring_lock);
    was_there = mark_in_ring(store, no);
    pthread_mutex_unlock(&store->ring_lock);
    return was_there;
}

void
ts_delete_again_locked(struct ts_store *store, unsigned slot)
{
    const struct ts_open_block *block = &store->block[slot];
    const uint8_t *base = (const uint8_t *)block->slot;

    pthread_mutex_lock(&store->ring_lock);
    for (uint32_t i = 0; i < block->count; i++) {
        const uint32_t off = ts_slot_record_off(block->slot, block->open_bytes, i);
        const struct ts_slot_record *record = (const void *)(base + off);

        if (off != 0 &&
            atomic_load_explicit(&record->flags, memory_order_relaxed) & TS_RECORD_DELETED)
            mark_in_ring(store, block->first_no + i);
    }
    pthread_mutex_unlock(&store->ring_lock);
}

static enum ts_err
find_no(struct ts_store *store, int64_t time_ns, uint64_t *out_no)
{
    const struct ts_range range = {.limit = 1};
    struct ts_cursor *cursor;
    struct ts_record record;
    enum ts_err err;

    err = ts_cursor_open(&store->view, &range, &cursor);
    if (err != TS_OK)
        return err;
    err = ts_cursor_find_time(cursor, time_ns, &record);
    if (err == TS_OK)
        *out_no = record.no;
    ts_cursor_close(cursor);
    return err;
}

/* Marks what the cursor meets, some records at a time. */
static enum ts_err
delete_walk(struct ts_store *store, struct ts_cursor *cursor, uint64_t *n_deleted)
{
    enum { SOME = 256 };
    uint64_t no[SOME];
    enum ts_err err = TS_OK, damage = TS_OK;
    unsigned n;

    do {
        struct ts_record record;
        struct ts_gap gap;

        n = 0;
        while (n < SOME) {
            const enum ts_step step = ts_cursor_next(cursor, &record, &gap);

            if (step == TS_STEP_RECORD)
                no[n++] = record.no;
            else if (step == TS_STEP_DAMAGED)
                damage = TS_E_CORRUPT;
            else if (step != TS_STEP_GAP) /* the end; or a reset, which deleted everything */
                break;
        }
        pthread_mutex_lock(&store->lock);
        err = ts_store_refuse_locked(store);
        for (unsigned i = 0; err == TS_OK && i < n; i++)
            *n_deleted += delete_locked(store, no[i]);
        store->is_dirty |= n > 0;
        pthread_mutex_unlock(&store->lock);
    } while (err == TS_OK && n == SOME);
    return err != TS_OK ? err : damage;
}

enum ts_err
ts_store_delete_range(struct ts_store *store, const struct ts_range *range, uint64_t *out_deleted)
{
    struct ts_cursor *cursor;
    uint64_t n_deleted = 0;
    enum ts_err err, flushed;

    if (range->limit > 0 || range->filter_bytes > 0 || range->follow || range->backward)
        return TS_FAIL(TS_E_PARAM, "a range to be deleted has bounds only");
    err = ts_cursor_open(&store->view, range, &cursor);
    if (err != TS_OK)
        return err;
    err = delete_walk(store, cursor, &n_deleted);
    ts_cursor_close(cursor);
    /* Also after damage: what was deleted stays so. */
    flushed = n_deleted > 0 ? ts_store_flush(store) : TS_OK;
    *out_deleted = n_deleted;
    return err != TS_OK ? err : flushed;
}

enum ts_err
ts_store_delete_time(struct ts_store *store, int64_t time_ns)
{
    bool was_there = false;
    uint64_t no;
    enum ts_err err;

    err = find_no(store, time_ns, &no);
    if (err != TS_OK)
        return err;
    pthread_mutex_lock(&store->lock);
    err = ts_store_refuse_locked(store);
    if (err == TS_OK) {
        was_there = delete_locked(store, no);
        store->is_dirty = true;
        pthread_cond_signal(&store->sync_wanted);
    }
    pthread_mutex_unlock(&store->lock);
    if (err != TS_OK)
        return err;
    if (!was_there) /* another deleted it, or the ring took it, this moment */
        return TS_FAIL_PLAIN(TS_E_NO_TIME);
    return store->view.options.sync_ms == TS_SYNC_EACH ? ts_store_flush(store) : TS_OK;
}
