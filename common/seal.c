/* seal.c - full open blocks become extents.
 *
 * What takes long, to compress a block or to wait for the disk, is for a thread beside the appends.
 * To copy one is not: the bytes are in the cache of who appended them, and to fetch them into
 * another processor's costs both of them more than the copy.
 *
 * An append that finds both open blocks full seals the older one itself, unless the thread is at
 * it: on a busy machine the thread may not get a processor for milliseconds, in which thousands of
 * records fit.
 */
#include "common/store.h"

#include <unistd.h>

/* A younger block was never out of memory: what is there is what was appended. The kernel writes an
 * older one to the card, may drop it, and reads what the card made of it. */
#define FRESH_NS 1000000000

static bool
is_fresh(const struct ts_store *store, unsigned slot)
{
    const struct ts_open_block *block = &store->block[slot];

    return block->opened_ns != 0 && ts_monotonic_ns() - block->opened_ns < FRESH_NS &&
           block->faults == ts_map_faults();
}

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

    err = is_fresh(store, slot)
              ? ts_extent_from_fresh(&store->writer, block, look.flags, view->options.codec)
              : ts_extent_from_slot(&store->writer, block->slot, view->geometry.open_bytes, &look,
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

bool
ts_slot_note_locked(struct ts_store *store, unsigned slot, uint32_t note)
{
    uint32_t word = atomic_load_explicit(&store->slot_word[slot], memory_order_acquire);

    /* acq_rel: who seals sees what was done before the note, or this sees that it is too late. */
    while ((word & TS_SLOT_STATES) != TS_SLOT_FREE) {
        if (atomic_compare_exchange_weak_explicit(&store->slot_word[slot], &word, word | note,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            if (note == TS_SLOT_PROMISED && (word & TS_SLOT_STATES) == TS_SLOT_CLOSED)
                pthread_cond_signal(&store->seal_wanted); /* no append is to wait for that sync */
            return true;
        }
    }
    return false;
}

/* A hint, for who does not hold seal_lock. */
static bool
is_any_closed(const struct ts_store *store)
{
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        if (ts_slot_state(store, i) == TS_SLOT_CLOSED)
            return true;
    }
    return false;
}

/* The closed slot with the oldest block, or -1. seal_lock is held, so that CLOSED slots stay so. */
static int
oldest_closed(const struct ts_store *store)
{
    int oldest = -1;

    for (int i = 0; i < (int)TS_HEAD_SLOTS; i++) {
        if (ts_slot_state(store, (unsigned)i) == TS_SLOT_CLOSED &&
            (oldest < 0 || store->block[i].seq < store->block[oldest].seq))
            oldest = i;
    }
    return oldest;
}

/* How much of the ring no sync has seen: recovery would have to look at all of it. */
static uint64_t
unsynced_bytes(const struct ts_store *store)
{
    if (store->view.options.sync_ms == TS_SYNC_NONE ||
        store->view.geometry.ring_bytes <= TS_SMALL_RING_BYTES)
        return 0;
    return store->ring.head_pos -
           atomic_load_explicit(&store->ring_synced_pos, memory_order_relaxed);
}

static bool
is_sync_due(const struct ts_store *store)
{
    return unsynced_bytes(store) > TS_UNSYNCED_BYTES;
}

/* Gives the slot back, whose block is in the ring. False if somebody left a note on it. */
static bool
try_free(struct ts_store *store, unsigned slot)
{
    uint32_t closed = TS_SLOT_CLOSED;

    /* release: who sees it FREE sees its block in the ring. */
    return atomic_compare_exchange_strong_explicit(&store->slot_word[slot], &closed, TS_SLOT_FREE,
                                                   memory_order_release, memory_order_relaxed);
}

/* try_free() with all that may be due before. The lock is held, and dropped meanwhile. */
static enum ts_err
free_noted_locked(struct ts_store *store, unsigned slot)
{
    const _Atomic uint32_t *word = &store->slot_word[slot];

    if (is_sync_due(store) || atomic_load_explicit(word, memory_order_acquire) & TS_SLOT_PROMISED) {
        /* The slot may hold the only durable copy of records that were told to be durable. The ring
         * has its block by now, so a promise that comes meanwhile is kept as well. */
        enum ts_err err;

        pthread_mutex_unlock(&store->lock);
        err = ts_sync_ring(store);
        pthread_mutex_lock(&store->lock);
        if (err != TS_OK)
            return err;
    }
    /* As long as the slot was closed a delete marked it alone. */
    if (atomic_load_explicit(word, memory_order_acquire) & TS_SLOT_MARKED)
        ts_delete_again_locked(store, slot);
    atomic_store_explicit(&store->slot_word[slot], TS_SLOT_FREE, memory_order_release);
    return TS_OK;
}

/* Seals one block and frees its slot. seal_lock is held. */
static void
seal_one(struct ts_store *store, unsigned slot)
{
    enum ts_err err = ts_seal_slot(store, slot);

    if (err == TS_OK) {
        atomic_store_explicit(&store->head_block_num,
                              ts_view_block_num(&store->view, store->ring.head_pos),
                              memory_order_relaxed);
        atomic_store_explicit(&store->is_sync_near,
                              unsynced_bytes(store) +
                                      TS_HEAD_SLOTS * store->view.geometry.open_bytes >
                                  TS_UNSYNCED_BYTES,
                              memory_order_relaxed);
        if (is_sync_due(store) || !try_free(store, slot)) {
            pthread_mutex_lock(&store->lock);
            err = free_noted_locked(store, slot);
            pthread_mutex_unlock(&store->lock);
        }
    }
    if (err != TS_OK) {
        pthread_mutex_lock(&store->lock);
        atomic_store_explicit(&store->is_stuck, true, memory_order_relaxed);
        ts_store_fail_locked(store, err);
        pthread_mutex_unlock(&store->lock);
    }
}

/* Seals the oldest CLOSED slot and gives seal_lock back, which is held. */
static bool
seal_and_unlock(struct ts_store *store)
{
    const int slot =
        atomic_load_explicit(&store->is_stuck, memory_order_relaxed) ? -1 : oldest_closed(store);

    if (slot >= 0)
        seal_one(store, (unsigned)slot);
    pthread_mutex_unlock(&store->seal_lock);
    /* seq_cst fence: either this sees who waits, or who waits gets seal_lock. Pairs with the fence
     * in ts_seal_wait_locked(). To wake needs the lock, so it cannot come before the sleep. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&store->n_waiting, memory_order_relaxed) > 0) {
        pthread_mutex_lock(&store->lock);
        pthread_cond_broadcast(&store->slot_freed);
        pthread_mutex_unlock(&store->lock);
    }
    return slot >= 0;
}

bool
ts_seal_next(struct ts_store *store)
{
    pthread_mutex_lock(&store->seal_lock);
    return seal_and_unlock(store);
}

enum ts_err
ts_seal_wait_locked(struct ts_store *store, unsigned slot)
{
    atomic_fetch_add_explicit(&store->n_waiting, 1, memory_order_relaxed);
    /* seq_cst fence: see seal_and_unlock(). */
    atomic_thread_fence(memory_order_seq_cst);
    if (pthread_mutex_trylock(&store->seal_lock) == 0) {
        atomic_fetch_sub_explicit(&store->n_waiting, 1, memory_order_relaxed);
        pthread_mutex_unlock(&store->lock);
        seal_and_unlock(store);
        pthread_mutex_lock(&store->lock);
        return ts_store_refuse_locked(store);
    }
    /* Somebody is sealing, or about to say that it is done. */
    if (ts_slot_state(store, slot) == TS_SLOT_CLOSED && store->failed == TS_OK &&
        !store->is_closing)
        pthread_cond_wait(&store->slot_freed, &store->lock);
    atomic_fetch_sub_explicit(&store->n_waiting, 1, memory_order_relaxed);
    return ts_store_refuse_locked(store);
}

/* ---- the thread ---- */

/* To be woken takes some 50 us, in which a fast writer fills several blocks. So while blocks come
 * in such a rhythm the thread stays awake for the next one. */
#define RHYTHM_NS 100000
#define AWAKE_NS 50000

static inline void
relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

/* A hint, for who does not hold the lock: is there a slot that should not wait for an append? */
static bool
has_work(const struct ts_store *store)
{
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        if (ts_slot_state(store, i) == TS_SLOT_CLOSED && ts_seal_is_for_thread(store, i))
            return true;
    }
    return false;
}

/* True if there was work while this looked. */
static bool
stay_awake(const struct ts_store *store)
{
    const int64_t until_ns = ts_monotonic_ns() + AWAKE_NS;

    do {
        for (int i = 0; i < 100; i++) {
            if (has_work(store))
                return true;
            relax();
        }
    } while (ts_monotonic_ns() < until_ns);
    return false;
}

/* Sleeps until there is work. False if there will be none. */
static bool
sleep_until_wanted(struct ts_store *store)
{
    bool is_wanted;

    pthread_mutex_lock(&store->lock);
    for (;;) {
        is_wanted =
            store->failed == TS_OK && (store->is_closing ? is_any_closed(store) : has_work(store));
        if (is_wanted || store->is_closing)
            break;
        pthread_cond_wait(&store->seal_wanted, &store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return is_wanted;
}

bool
ts_seal_is_for_thread(const struct ts_store *store, unsigned slot)
{
    /* relaxed: a promise that comes later wakes the thread itself. */
    return store->view.options.codec != TS_CODEC_NONE ||
           atomic_load_explicit(&store->slot_word[slot], memory_order_relaxed) & TS_SLOT_PROMISED ||
           atomic_load_explicit(&store->is_sync_near, memory_order_relaxed);
}

void *
ts_sealer_main(void *arg)
{
    struct ts_store *store = arg;
    const bool may_spin = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    int64_t before_ns = 0;

    while (sleep_until_wanted(store)) {
        bool is_awake = true;

        while (is_awake && ts_seal_next(store)) {
            const int64_t now_ns = ts_monotonic_ns();
            const bool is_fast = may_spin && now_ns - before_ns < RHYTHM_NS;

            before_ns = now_ns;
            is_awake = is_fast && stay_awake(store);
        }
    }
    return NULL;
}
