/* seal.c - the thread that turns full open blocks into extents, beside the appends. */
#include "common/store.h"

enum ts_err
ts_seal_slot(struct ts_store *store, unsigned slot)
{
    const struct ts_view *view = &store->view;
    const struct ts_open_block *block = &store->block[slot];
    const struct ts_slot_look look = {.seq = block->seq,
                                      .first_no = block->first_no,
                                      .count = block->count,
                                      .flags = block->slot->flags & TS_EXTENT_JUMP};
    struct ts_index_entry entry = {
        .seq = block->seq, .first_no = block->first_no, .count = block->count};
    enum ts_err err;

    err = ts_extent_from_slot(&store->writer, block->slot, view->geometry.open_bytes, &look,
                              view->options.codec, store->ring.seed);
    if (err != TS_OK)
        return err;
    entry.extent_bytes = (uint32_t)store->writer.extent_bytes;
    entry.min_time_ns = store->writer.min_time_ns;
    entry.max_time_ns = store->writer.max_time_ns;
    if (store->writer.n_damaged > 0) {
        /* Did a file shrink under the mapping? Then sealing zeros helps nobody. */
        err = ts_map_check(&view->map[TS_FILE_HEAD], TS_HEAD_FILE);
        if (err != TS_OK)
            return err;
    }
    pthread_mutex_lock(&store->ring_lock);
    /* The times of damaged records are not known; blocks are searched by them. */
    if (entry.max_time_ns < store->ring.high_time_ns)
        entry.min_time_ns = entry.max_time_ns = store->ring.high_time_ns;
    ts_ring_write(&store->ring, store->writer.extent, &entry);
    pthread_mutex_unlock(&store->ring_lock);
    return TS_OK;
}

/* The closed slot with the oldest block, or -1. The lock is held. */
static int
oldest_closed(const struct ts_store *store)
{
    int oldest = -1;

    for (int i = 0; i < (int)TS_HEAD_SLOTS; i++) {
        if (store->state[i] == TS_SLOT_CLOSED &&
            (oldest < 0 || store->block[i].seq < store->block[oldest].seq))
            oldest = i;
    }
    return oldest;
}

/* Seals one block and frees its slot. The lock is held, and dropped meanwhile. */
static void
seal_one(struct ts_store *store, int slot)
{
    const struct ts_options *options = &store->view.options;
    enum ts_err err;
    bool must_sync;

    pthread_mutex_unlock(&store->lock);
    err = ts_seal_slot(store, (unsigned)slot);
    pthread_mutex_lock(&store->lock);
    /* The slot may hold the only durable copy of records that were told to be durable. From here
     * on no sync will count this slot: the ring has its block. */
    must_sync = store->is_promised[slot] ||
                (options->sync_ms != TS_SYNC_NONE &&
                 store->view.geometry.ring_bytes > TS_SMALL_RING_BYTES &&
                 store->ring.head_pos -
                         atomic_load_explicit(&store->ring_synced_pos, memory_order_relaxed) >
                     TS_UNSYNCED_BYTES);
    if (err == TS_OK && must_sync) {
        pthread_mutex_unlock(&store->lock);
        err = ts_sync_ring(store);
        pthread_mutex_lock(&store->lock);
    }
    if (err != TS_OK) {
        ts_store_fail_locked(store, err);
        return;
    }
    /* As long as the slot was closed a delete marked it alone. */
    if (store->is_marked[slot])
        ts_delete_again_locked(store, (unsigned)slot);
    store->head_block_num = ts_view_block_num(&store->view, store->ring.head_pos);
    store->state[slot] = TS_SLOT_FREE;
    pthread_cond_broadcast(&store->slot_freed);
}

void *
ts_sealer_main(void *arg)
{
    struct ts_store *store = arg;
    int slot;

    pthread_mutex_lock(&store->lock);
    for (;;) {
        slot = store->failed == TS_OK ? oldest_closed(store) : -1;
        if (slot >= 0)
            seal_one(store, slot);
        else if (store->is_closing)
            break;
        else
            pthread_cond_wait(&store->seal_wanted, &store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}
