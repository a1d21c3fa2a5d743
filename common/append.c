/* append.c - one record, a batch, a batch that counts whole or not at all.
 *
 * Everything here runs under the store's lock. What has to wait (both open blocks full) drops it
 * meanwhile, and then looks at times and room again.
 */
#include "common/store.h"

#include <assert.h>
#include <time.h>

/* What is about to be written together. */
struct load {
    uint64_t n;          /* records */
    uint64_t body_bytes; /* of their bodies */
    uint64_t slot_bytes; /* of them in an open block */
};

static void
load_add(struct load *load, uint64_t body_bytes)
{
    load->n++;
    load->body_bytes += body_bytes;
    load->slot_bytes += ts_slot_record_bytes(body_bytes);
}

static struct load
load_of(uint64_t body_bytes)
{
    struct load load = {0};

    load_add(&load, body_bytes);
    return load;
}

/* ---- slots ---- */

void
ts_store_open_slot_locked(struct ts_store *store, unsigned slot)
{
    ts_slot_open(&store->block[slot], ts_view_slot(&store->view, slot),
                 store->view.geometry.open_bytes, store->next_seq, store->next_no, 0,
                 store->ring.seed);
    store->block[slot].opened_ns = ts_monotonic_ns();
    store->block[slot].faults = ts_map_faults();
    store->synced_bytes[slot] = 0;
    atomic_store_explicit(&store->slot_word[slot], TS_SLOT_OPEN, memory_order_release);
    store->current = slot;
    store->next_seq++;
}

static void
close_current(struct ts_store *store)
{
    _Atomic uint32_t *word = &store->slot_word[store->current];
    const uint32_t promised = atomic_load_explicit(word, memory_order_relaxed) & TS_SLOT_PROMISED;

    /* release: who seals sees all of the block, and what was deleted from it so far. */
    atomic_store_explicit(word, TS_SLOT_CLOSED | promised, memory_order_release);
    if (ts_seal_is_for_thread(store, store->current))
        pthread_cond_signal(&store->seal_wanted);
}

static bool
fits_current(const struct ts_store *store, const struct load *load)
{
    const struct ts_open_block *block = &store->block[store->current];

    if (ts_slot_state(store, store->current) != TS_SLOT_OPEN ||
        block->used_bytes + load->slot_bytes + (uint64_t)block->count * sizeof(uint32_t) >
            block->open_bytes)
        return false;
    return block->count == 0 ||
           ts_extent_raw_bytes(block->count + load->n, block->body_bytes + load->body_bytes) <=
               store->view.geometry.block_bytes_limit;
}

/* True if an empty open block could take it. */
static bool
fits_empty(const struct ts_store *store, const struct load *load)
{
    const struct ts_geometry *g = &store->view.geometry;

    return TS_SLOT_HEADER_BYTES + load->slot_bytes <= g->open_bytes &&
           ts_extent_raw_bytes(load->n, load->body_bytes) <= g->ring_bytes;
}

/* Leaves an open block that takes the load, which fits an empty one. Waits for the sealer if both
 * are full; the lock is dropped meanwhile. */
static enum ts_err
make_room(struct ts_store *store, const struct load *load)
{
    while (!fits_current(store, load)) {
        const unsigned other = store->current ^ 1;
        enum ts_err err;

        if (ts_slot_state(store, store->current) == TS_SLOT_OPEN)
            close_current(store);
        if (ts_slot_state(store, other) == TS_SLOT_FREE) {
            ts_store_open_slot_locked(store, other);
            continue;
        }
        err = ts_seal_wait_locked(store, other);
        if (err != TS_OK)
            return err;
    }
    return TS_OK;
}

/* As make_room() for a record that becomes an extent of its own: what came before it is in the
 * ring, the sealer has nothing to do, and the current slot, if open, is empty. */
enum ts_err
ts_store_drain_locked(struct ts_store *store)
{
    enum ts_err err = TS_OK;

    store->n_draining++;
    while (err == TS_OK) {
        const unsigned current = store->current;

        if (ts_slot_state(store, current) == TS_SLOT_OPEN && store->block[current].count > 0)
            close_current(store);
        if (ts_slot_state(store, current ^ 1) == TS_SLOT_CLOSED)
            err = ts_seal_wait_locked(store, current ^ 1);
        else if (ts_slot_state(store, current) == TS_SLOT_CLOSED)
            err = ts_seal_wait_locked(store, current);
        else
            break;
    }
    store->n_draining--;
    pthread_cond_broadcast(&store->slot_freed); /* for those whom wait_for_drain() holds up */
    return err;
}

/* Lets those pass who wait until the open blocks are empty: with a stream of small records beside
 * them they would wait for ever, and every block would be sealed all but empty. */
static enum ts_err
wait_for_drain(struct ts_store *store)
{
    enum ts_err err = TS_OK;

    while (err == TS_OK && store->n_draining > 0) {
        pthread_cond_wait(&store->slot_freed, &store->lock);
        err = ts_store_refuse_locked(store);
    }
    return err;
}

/* Writes items[0..n) as a block of their own, past the open ones. The store was drained. */
static enum ts_err
put_extent(struct ts_store *store, struct ts_batch_item *items, const struct load *load)
{
    const bool is_open = ts_slot_state(store, store->current) == TS_SLOT_OPEN;
    const uint64_t seq = is_open ? store->block[store->current].seq : store->next_seq;
    struct ts_extent_writer writer = {0}; /* the sealer's keeps its size */
    struct ts_index_entry entry = {
        .seq = seq, .first_no = store->next_no, .count = (uint32_t)load->n};
    enum ts_err err;

    err = ts_extent_from_items(&writer, seq, items, (uint32_t)load->n, load->body_bytes,
                               store->view.options.codec, store->ring.seed);
    if (err == TS_OK) {
        entry.extent_bytes = (uint32_t)writer.extent_bytes;
        entry.min_time_ns = writer.min_time_ns;
        entry.max_time_ns = writer.max_time_ns;
        pthread_mutex_lock(&store->ring_lock);
        ts_ring_write(&store->ring, writer.extent, &entry);
        pthread_mutex_unlock(&store->ring_lock);
        atomic_store_explicit(&store->head_block_num,
                              ts_view_block_num(&store->view, store->ring.head_pos),
                              memory_order_relaxed);
        store->next_no += load->n;
        store->next_seq = seq + 1;
        ts_store_open_slot_locked(store, store->current);
    }
    ts_extent_writer_done(&writer);
    return err;
}

/* ---- times ---- */

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A clock before the first of January 2026 was not set yet: it cannot tell what the future is. */
#define CLOCK_UNSET_NS (INT64_C(1767225600) * 1000000000)

/* A time is behind the limit that was last worked out: is it still too far ahead? Then it is
 * refused, or *wanted_ns becomes 0. */
static enum ts_err
judge_future(struct ts_store *store, int64_t *wanted_ns)
{
    const int64_t max_ns = store->view.options.max_future_ns;
    const int64_t now = now_ns();

    if (max_ns == 0 || now < CLOCK_UNSET_NS)
        return TS_OK;
    store->future_limit_ns = now > INT64_MAX - max_ns ? INT64_MAX : now + max_ns;
    if (*wanted_ns <= store->future_limit_ns)
        return TS_OK;
    if (store->view.options.on_future == TS_ON_FUTURE_REFUSE)
        return TS_FAIL_PLAIN(TS_E_FUTURE);
    *wanted_ns = 0;
    return TS_OK;
}

/* The time a record gets behind `newest_ns`, if there is one. `*now` is read once per batch, and
 * only if somebody asks. */
static enum ts_err
assign_time(struct ts_store *store, bool has_newest, int64_t newest_ns, int64_t wanted_ns,
            int64_t *now, int64_t *out_time_ns)
{
    if (wanted_ns < 0)
        return TS_FAIL_PLAIN(TS_E_TIME);
    if (wanted_ns > store->future_limit_ns) {
        const enum ts_err err = judge_future(store, &wanted_ns);

        if (err != TS_OK)
            return err;
    }
    if (wanted_ns > 0) {
        if (has_newest && wanted_ns <= newest_ns)
            return TS_FAIL_PLAIN(TS_E_ORDER);
        *out_time_ns = wanted_ns;
        return TS_OK;
    }
    if (*now == 0)
        *now = now_ns();
    *out_time_ns = *now > 0 ? *now : 1;
    if (has_newest && *out_time_ns <= newest_ns) {
        /* The clock stands still or went back: the reading is kept all the same. */
        if (newest_ns == INT64_MAX)
            return TS_FAIL_PLAIN(TS_E_ORDER);
        *out_time_ns = newest_ns + 1;
    }
    return TS_OK;
}

static void
note_clamped(struct ts_store *store, const struct ts_batch_item *item)
{
    store->future.n_clamped += item->time_ns != 0 && item->done.time_ns != item->time_ns;
}

/* ---- one by one ---- */

static uint32_t
head_block_num(const struct ts_store *store)
{
    return atomic_load_explicit(&store->head_block_num, memory_order_relaxed);
}

static enum ts_err
append_locked(struct ts_store *store, struct ts_batch_item *item, int64_t *now)
{
    const struct load load = load_of(item->bytes);
    bool has_room;
    enum ts_err err;

    if (item->bytes > store->view.geometry.max_record_bytes)
        return TS_FAIL_PLAIN(TS_E_TOO_LARGE);
    err = wait_for_drain(store);
    if (err != TS_OK)
        return err;
    err = assign_time(store, store->has_newest, store->newest_time_ns, item->time_ns, now,
                      &item->done.time_ns);
    if (err != TS_OK)
        return err; /* before a block is closed for it */
    has_room = fits_current(store, &load);
    if (!has_room) {
        err = fits_empty(store, &load) ? make_room(store, &load) : ts_store_drain_locked(store);
        /* The lock was dropped: another thread may have appended. */
        if (err == TS_OK)
            err = assign_time(store, store->has_newest, store->newest_time_ns, item->time_ns, now,
                              &item->done.time_ns);
        if (err != TS_OK)
            return err;
        has_room = fits_current(store, &load);
    }
    item->done.record_no = store->next_no;
    item->done.block_num = head_block_num(store);
    if (has_room) {
        ts_slot_put(&store->block[store->current], item->done.time_ns, 0, item->data,
                    (uint32_t)item->bytes);
        store->next_no++;
    } else {
        err = put_extent(store, item, &load);
        if (err != TS_OK)
            return err;
    }
    note_clamped(store, item);
    store->newest_time_ns = item->done.time_ns;
    store->has_newest = true;
    return TS_OK;
}

/* The common case without a detour: an open block with room, times that may stand. Returns how many
 * of items[0..n) that was true of; append_locked() finds out about the next one. */
static size_t
append_plain(struct ts_store *store, struct ts_batch_item *items, size_t n, int64_t *now)
{
    struct ts_open_block *const block = &store->block[store->current];
    size_t done;

    if (store->n_draining > 0 || !store->has_newest ||
        ts_slot_state(store, store->current) != TS_SLOT_OPEN ||
        store->view.geometry.block_bytes_limit < block->open_bytes)
        return 0;
    if (items[0].time_ns == 0 && *now == 0)
        *now = now_ns();
    done = ts_slot_put_items(block, items, n, store->newest_time_ns, *now, store->future_limit_ns);
    if (done > 0) {
        const uint32_t block_num = head_block_num(store);

        for (size_t i = 0; i < done; i++)
            items[i].done.block_num = block_num;
        store->newest_time_ns = items[done - 1].done.time_ns;
        store->next_no += done;
    }
    return done;
}

/* Tells pollers and the syncer that something is there. */
static void
publish(struct ts_store *store)
{
    struct ts_head *head = ts_view_head(&store->view);
    const uint32_t count = atomic_load_explicit(&head->publish_count, memory_order_relaxed);

    /* release: who sees the new count sees the records. Pairs with ts_view_publish_count(). A store
     * will do: only who holds the lock writes it, and a locked add would cost as much as a copy. */
    atomic_store_explicit(&head->publish_count, count + 1, memory_order_release);
    if (!store->is_dirty) {
        store->is_dirty = true;
        if (store->view.options.sync_ms != TS_SYNC_NONE &&
            store->view.options.sync_ms != TS_SYNC_EACH)
            pthread_cond_signal(&store->sync_wanted);
    }
}

size_t
ts_store_append_batch(struct ts_store *store, struct ts_batch_item *items, size_t n)
{
    size_t appended = 0;
    int64_t now = 0;
    enum ts_err err;

    pthread_mutex_lock(&store->lock);
    /* Most often there is nothing to refuse, and who asks for that need not be called. */
    err = store->failed == TS_OK && !store->is_closing && store->faults_seen == ts_map_faults()
              ? TS_OK
              : ts_store_refuse_locked(store);
    for (size_t i = 0; i < n; i++) {
        const size_t plain = err == TS_OK ? append_plain(store, items + i, n - i, &now) : 0;

        appended += plain;
        i += plain;
        if (i == n)
            break;
        items[i].err = err != TS_OK ? err : append_locked(store, &items[i], &now);
        appended += items[i].err == TS_OK;
        store->future.n_refused += items[i].err == TS_E_FUTURE;
    }
    if (appended > 0)
        publish(store);
    /* A page that vanished meanwhile may have taken records of this very batch with it. */
    err = store->faults_seen != ts_map_faults() ? ts_store_refuse_locked(store) : TS_OK;
    for (size_t i = 0; err != TS_OK && i < n; i++)
        items[i].err = err;
    pthread_mutex_unlock(&store->lock);
    return err == TS_OK ? appended : 0;
}

enum ts_err
ts_store_append(struct ts_store *store, int64_t time_ns, const void *data, size_t bytes,
                struct ts_appended *out)
{
    struct ts_batch_item item;

    item.time_ns = time_ns;
    item.data = data;
    item.bytes = bytes;
    ts_store_append_batch(store, &item, 1);
    if (item.err == TS_OK && store->view.options.sync_ms == TS_SYNC_EACH)
        item.err = ts_store_commit(store, item.done.record_no);
    if (item.err == TS_OK && out != NULL)
        *out = item.done;
    return item.err;
}

void
ts_store_future_counts(struct ts_store *store, struct ts_future_counts *out)
{
    pthread_mutex_lock(&store->lock);
    *out = store->future;
    pthread_mutex_unlock(&store->lock);
}

/* ---- whole or not at all ---- */

/* Gives every item its time, or says which cannot have one. */
static enum ts_err
assign_all(struct ts_store *store, struct ts_batch_item *items, size_t n, size_t *out_bad)
{
    bool has_newest = store->has_newest;
    int64_t newest_ns = store->newest_time_ns;
    int64_t now = 0;

    for (size_t i = 0; i < n; i++) {
        const enum ts_err err = assign_time(store, has_newest, newest_ns, items[i].time_ns, &now,
                                            &items[i].done.time_ns);

        if (err != TS_OK) {
            *out_bad = i;
            return err;
        }
        newest_ns = items[i].done.time_ns;
        has_newest = true;
    }
    return TS_OK;
}

static enum ts_err
append_all_locked(struct ts_store *store, struct ts_batch_item *items, const struct load *load,
                  size_t *out_bad)
{
    const size_t n = (size_t)load->n;
    uint64_t no;
    enum ts_err err;

    err = wait_for_drain(store);
    if (err == TS_OK)
        err = assign_all(store, items, n, out_bad);
    if (err == TS_OK)
        err = fits_empty(store, load) ? make_room(store, load) : ts_store_drain_locked(store);
    if (err == TS_OK)
        err = assign_all(store, items, n, out_bad);
    if (err != TS_OK)
        return err;
    no = store->next_no;
    for (size_t i = 0; i < n; i++) {
        items[i].done.record_no = no + i;
        items[i].done.block_num = head_block_num(store);
    }
    if (!fits_current(store, load)) {
        err = put_extent(store, items, load);
        if (err != TS_OK)
            return err;
    } else {
        struct ts_open_block *block = &store->block[store->current];

        for (size_t i = 0; i < n; i++)
            ts_slot_add(block, items[i].done.time_ns, 0, items[i].data, (uint32_t)items[i].bytes,
                        i + 1 < n);
        ts_slot_publish(block);
        store->next_no += n;
    }
    for (size_t i = 0; i < n; i++)
        note_clamped(store, &items[i]);
    store->newest_time_ns = items[n - 1].done.time_ns;
    store->has_newest = true;
    return TS_OK;
}

enum ts_err
ts_store_append_all(struct ts_store *store, struct ts_batch_item *items, size_t n, size_t *out_bad)
{
    const struct ts_geometry *g = &store->view.geometry;
    struct load load = {0};
    enum ts_err err;

    *out_bad = 0;
    if (n == 0)
        return TS_OK;
    for (size_t i = 0; i < n; i++) {
        /* One block takes it all, or none does. Each is looked at before it is added, so that no
         * sum overflows. */
        const bool is_too_large = n > UINT32_MAX || items[i].bytes > g->max_record_bytes;

        if (!is_too_large)
            load_add(&load, items[i].bytes);
        if (is_too_large || load.body_bytes > g->max_record_bytes ||
            ts_extent_raw_bytes(load.n, load.body_bytes) > g->ring_bytes ||
            ts_extent_raw_bytes(load.n, load.body_bytes) > UINT32_MAX) {
            *out_bad = i;
            return TS_FAIL_PLAIN(TS_E_TOO_LARGE);
        }
    }
    pthread_mutex_lock(&store->lock);
    err = ts_store_refuse_locked(store);
    if (err == TS_OK)
        err = append_all_locked(store, items, &load, out_bad);
    store->future.n_refused += err == TS_E_FUTURE;
    if (err == TS_OK) {
        publish(store);
        if (store->faults_seen != ts_map_faults())
            err = ts_store_refuse_locked(store);
    }
    pthread_mutex_unlock(&store->lock);
    return err;
}
