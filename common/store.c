/* store.c - open, append, close. */
#include "common/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* ---- opening ---- */

static enum ts_err
lock_files(struct ts_store *store)
{
    struct ts_head *head = ts_view_head(&store->view);

    /* A flock, not a record lock: those vanish when any descriptor of the file is closed. */
    if (flock(store->view.map[TS_FILE_META].fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return TS_FAIL(TS_E_LOCKED, "store %s: opened for writing by process %u",
                           store->view.name,
                           atomic_load_explicit(&head->writer_pid, memory_order_relaxed));
        return TS_FAIL_ERRNO(TS_E_IO, "store %s: lock " TS_META_FILE, store->view.name);
    }
    atomic_store_explicit(&head->writer_pid, (uint32_t)getpid(), memory_order_relaxed);
    return TS_OK;
}

static enum ts_err
init_locks(struct ts_store *store)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&store->lock, NULL);
    pthread_mutex_init(&store->ring_lock, NULL);
    pthread_mutex_init(&store->sync_lock, NULL);
    pthread_cond_init(&store->seal_wanted, NULL);
    pthread_cond_init(&store->slot_freed, NULL);
    pthread_cond_init(&store->sync_wanted, &monotonic);
    pthread_cond_init(&store->synced, NULL);
    pthread_condattr_destroy(&monotonic);
    return TS_OK;
}

static enum ts_err
start_threads(struct ts_store *store)
{
    pthread_attr_t attr;
    int rc;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024); /* zstd keeps its tables on the heap */
    rc = pthread_create(&store->sealer, &attr, ts_sealer_main, store);
    store->has_sealer = rc == 0;
    if (rc == 0) {
        rc = pthread_create(&store->syncer, &attr, ts_syncer_main, store);
        store->has_syncer = rc == 0;
    }
    pthread_attr_destroy(&attr);
    if (rc != 0)
        return ts_error_set_errno(TS_E_SYSTEM, rc, "store %s: start a thread", store->view.name);
    return TS_OK;
}

static void
stop_threads(struct ts_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->is_closing = true;
    pthread_cond_broadcast(&store->seal_wanted);
    pthread_cond_broadcast(&store->sync_wanted);
    pthread_cond_broadcast(&store->slot_freed);
    pthread_cond_broadcast(&store->synced);
    pthread_mutex_unlock(&store->lock);
    if (store->has_sealer)
        pthread_join(store->sealer, NULL);
    if (store->has_syncer)
        pthread_join(store->syncer, NULL);
    store->has_sealer = store->has_syncer = false;
}

static void
release(struct ts_store *store)
{
    ts_extent_writer_done(&store->writer);
    ts_view_done(&store->view); /* closes the locked descriptor too */
    free(store);
}

void
ts_store_abandon(struct ts_store *store)
{
    stop_threads(store);
    release(store);
}

enum ts_err
ts_store_open(const char *data_dir, const char *name, struct ts_store **out_store)
{
    struct ts_store *store = calloc(1, sizeof *store);
    enum ts_err err;

    if (store == NULL)
        return TS_FAIL(TS_E_NOMEM, "out of memory");
    err = ts_view_init(&store->view, data_dir, name, TS_MAP_WRITER);
    if (err != TS_OK) {
        free(store);
        return err;
    }
    init_locks(store);
    ts_boot_id(store->boot_id);
    store->faults_seen = ts_map_faults();
    err = lock_files(store);
    if (err == TS_OK)
        err = ts_recover(store);
    if (err == TS_OK) {
        /* From here on a crash is one: the mark of an orderly close must go first. */
        ts_sync_point_write(store, false);
        err = ts_map_sync(&store->view.map[TS_FILE_HEAD], TS_HEAD_FILE, 0, sizeof(struct ts_head));
    }
    if (err == TS_OK)
        err = start_threads(store);
    if (err != TS_OK) {
        ts_store_abandon(store);
        return err;
    }
    *out_store = store;
    return TS_OK;
}

static enum ts_err
sync_for_close(struct ts_store *store)
{
    enum ts_err err = TS_OK;

    for (int i = 0; i < TS_N_FILES && err == TS_OK; i++)
        err = ts_map_sync(&store->view.map[i], ts_file_names[i], 0, store->view.map[i].bytes);
    if (err != TS_OK)
        return err;
    store->ring_synced_seq = store->ring.sealed_seq;
    atomic_store_explicit(&store->ring_synced_pos, store->ring.head_pos, memory_order_relaxed);
    ts_sync_point_write(store, true);
    return ts_map_sync(&store->view.map[TS_FILE_HEAD], TS_HEAD_FILE, 0, sizeof(struct ts_head));
}

enum ts_err
ts_store_close(struct ts_store *store)
{
    enum ts_err err;

    if (store == NULL)
        return TS_OK;
    stop_threads(store); /* the sealer finishes what is closed */
    err = store->failed != TS_OK ? TS_FAIL(store->failed, "%s", store->failed_text)
                                 : ts_sync_all(store);
    if (err == TS_OK)
        err = sync_for_close(store);
    release(store);
    return err;
}

/* ---- appending ---- */

void
ts_store_fail_locked(struct ts_store *store, enum ts_err err)
{
    if (store->failed == TS_OK) {
        store->failed = err;
        snprintf(store->failed_text, sizeof store->failed_text, "store %.128s: %.300s",
                 store->view.name, ts_error_text());
    }
    pthread_cond_broadcast(&store->slot_freed);
    pthread_cond_broadcast(&store->synced);
}

enum ts_err
ts_store_refuse_locked(struct ts_store *store)
{
    if (store->failed != TS_OK)
        return TS_FAIL(store->failed, "%s", store->failed_text);
    if (store->is_closing)
        return TS_FAIL_PLAIN(TS_E_CLOSED);
    /* A page of some mapping vanished: ours? Then what is appended would not reach the file. */
    if (store->faults_seen != ts_map_faults()) {
        store->faults_seen = ts_map_faults();
        for (int i = 0; i < TS_N_FILES; i++) {
            const enum ts_err err = ts_map_check(&store->view.map[i], ts_file_names[i]);

            if (err != TS_OK) {
                ts_store_fail_locked(store, err);
                return TS_FAIL(err, "%s", store->failed_text);
            }
        }
    }
    return TS_OK;
}

void
ts_store_open_slot_locked(struct ts_store *store, unsigned slot)
{
    ts_slot_open(&store->block[slot], ts_view_slot(&store->view, slot),
                 store->view.geometry.open_bytes, store->next_seq, store->next_no, 0,
                 store->ring.seed);
    store->state[slot] = TS_SLOT_OPEN;
    store->is_promised[slot] = false;
    store->is_marked[slot] = false;
    store->synced_bytes[slot] = 0;
    store->current = slot;
    store->next_seq++;
}

static void
close_current(struct ts_store *store)
{
    store->state[store->current] = TS_SLOT_CLOSED;
    pthread_cond_signal(&store->seal_wanted);
}

static bool
fits_current(const struct ts_store *store, size_t bytes)
{
    const struct ts_open_block *block = &store->block[store->current];

    if (store->state[store->current] != TS_SLOT_OPEN || !ts_slot_has_room(block, bytes))
        return false;
    return block->count == 0 ||
           ts_extent_raw_bytes(block->count + 1, (uint64_t)block->body_bytes + bytes) <=
               store->view.geometry.block_bytes_limit;
}

/* Leaves an open block that takes a record of `bytes`. Waits for the sealer if both are full; the
 * lock is dropped meanwhile. */
static enum ts_err
make_room(struct ts_store *store, size_t bytes)
{
    while (!fits_current(store, bytes)) {
        const unsigned other = store->current ^ 1;
        enum ts_err err;

        if (store->state[store->current] == TS_SLOT_OPEN)
            close_current(store);
        if (store->state[other] == TS_SLOT_FREE) {
            ts_store_open_slot_locked(store, other);
            continue;
        }
        pthread_cond_wait(&store->slot_freed, &store->lock);
        err = ts_store_refuse_locked(store);
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
    for (;;) {
        enum ts_err err;

        if (store->state[store->current] == TS_SLOT_OPEN && store->block[store->current].count > 0)
            close_current(store);
        if (store->state[0] != TS_SLOT_CLOSED && store->state[1] != TS_SLOT_CLOSED)
            return TS_OK;
        pthread_cond_wait(&store->slot_freed, &store->lock);
        err = ts_store_refuse_locked(store);
        if (err != TS_OK)
            return err;
    }
}

static enum ts_err
put_large(struct ts_store *store, int64_t time_ns, const void *data, size_t bytes)
{
    const bool is_open = store->state[store->current] == TS_SLOT_OPEN;
    const uint64_t seq = is_open ? store->block[store->current].seq : store->next_seq++;
    struct ts_index_entry entry = {.seq = seq,
                                   .first_no = store->next_no,
                                   .min_time_ns = time_ns,
                                   .max_time_ns = time_ns,
                                   .count = 1};
    enum ts_err err;

    err = ts_extent_from_record(&store->writer, seq, time_ns, data, bytes,
                                store->view.options.codec, store->ring.seed);
    if (err != TS_OK) {
        if (!is_open)
            store->next_seq--;
        return err;
    }
    entry.extent_bytes = (uint32_t)store->writer.extent_bytes;
    pthread_mutex_lock(&store->ring_lock);
    ts_ring_write(&store->ring, store->writer.extent, &entry);
    pthread_mutex_unlock(&store->ring_lock);
    ts_extent_writer_done(&store->writer); /* buffers of this size are not kept */
    store->head_block_num = ts_view_block_num(&store->view, store->ring.head_pos);
    store->next_no++;
    ts_store_open_slot_locked(store, store->current);
    return TS_OK;
}

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The time a record gets. `*now` is read once per batch, and only if somebody asks. */
static enum ts_err
assign_time(const struct ts_store *store, int64_t wanted_ns, int64_t *now, int64_t *out_time_ns)
{
    if (wanted_ns < 0)
        return TS_FAIL_PLAIN(TS_E_TIME);
    if (wanted_ns > 0) {
        if (store->has_newest && wanted_ns <= store->newest_time_ns)
            return TS_FAIL_PLAIN(TS_E_ORDER);
        *out_time_ns = wanted_ns;
        return TS_OK;
    }
    if (*now == 0)
        *now = now_ns();
    *out_time_ns = *now > 0 ? *now : 1;
    if (store->has_newest && *out_time_ns <= store->newest_time_ns) {
        /* The clock stands still or went back: the reading is kept all the same. */
        if (store->newest_time_ns == INT64_MAX)
            return TS_FAIL_PLAIN(TS_E_ORDER);
        *out_time_ns = store->newest_time_ns + 1;
    }
    return TS_OK;
}

static enum ts_err
append_locked(struct ts_store *store, struct ts_batch_item *item, int64_t *now)
{
    const struct ts_geometry *g = &store->view.geometry;
    const bool is_large = item->bytes > ts_slot_max_body(g->open_bytes);
    int64_t time_ns;
    enum ts_err err;

    if (item->bytes > g->max_record_bytes)
        return TS_FAIL_PLAIN(TS_E_TOO_LARGE);
    err = assign_time(store, item->time_ns, now, &time_ns);
    if (err != TS_OK)
        return err; /* before a block is closed for it */
    if (is_large || !fits_current(store, item->bytes)) {
        err = is_large ? ts_store_drain_locked(store) : make_room(store, item->bytes);
        /* The lock was dropped: another thread may have appended. */
        if (err == TS_OK)
            err = assign_time(store, item->time_ns, now, &time_ns);
        if (err != TS_OK)
            return err;
    }
    item->done.record_no = store->next_no;
    item->done.time_ns = time_ns;
    item->done.block_num = store->head_block_num;
    if (is_large) {
        err = put_large(store, time_ns, item->data, item->bytes);
        if (err != TS_OK)
            return err;
    } else {
        ts_slot_put(&store->block[store->current], time_ns, 0, item->data, (uint32_t)item->bytes);
        store->next_no++;
    }
    store->newest_time_ns = time_ns;
    store->has_newest = true;
    return TS_OK;
}

/* Tells pollers and the syncer that something is there. */
static void
publish(struct ts_store *store)
{
    struct ts_head *head = ts_view_head(&store->view);

    /* release: who sees the new count sees the records. Pairs with ts_view_publish_count(). */
    atomic_fetch_add_explicit(&head->publish_count, 1, memory_order_release);
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
    err = ts_store_refuse_locked(store);
    for (size_t i = 0; i < n; i++) {
        items[i].err = err != TS_OK ? err : append_locked(store, &items[i], &now);
        appended += items[i].err == TS_OK;
    }
    if (appended > 0)
        publish(store);
    pthread_mutex_unlock(&store->lock);
    return appended;
}

enum ts_err
ts_store_append(struct ts_store *store, int64_t time_ns, const void *data, size_t bytes,
                struct ts_appended *out)
{
    struct ts_batch_item item = {.time_ns = time_ns, .data = data, .bytes = bytes};

    ts_store_append_batch(store, &item, 1);
    if (item.err == TS_OK && store->view.options.sync_ms == TS_SYNC_EACH)
        item.err = ts_store_commit(store, item.done.record_no);
    if (item.err == TS_OK && out != NULL)
        *out = item.done;
    return item.err;
}

/* ---- durability ---- */

uint64_t
ts_store_durable_no(const struct ts_store *store)
{
    /* acquire: pairs with the release in ts_sync_all(). */
    return atomic_load_explicit(&store->durable_no, memory_order_acquire);
}

void
ts_store_commit_start(struct ts_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->is_sync_wanted = true;
    pthread_cond_signal(&store->sync_wanted);
    pthread_mutex_unlock(&store->lock);
}

enum ts_err
ts_store_commit(struct ts_store *store, uint64_t record_no)
{
    enum ts_err err = TS_OK;

    pthread_mutex_lock(&store->lock);
    while (ts_store_durable_no(store) < record_no) {
        err = ts_store_refuse_locked(store);
        if (err != TS_OK)
            break;
        store->is_sync_wanted = true;
        pthread_cond_signal(&store->sync_wanted);
        pthread_cond_wait(&store->synced, &store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return err;
}

enum ts_err
ts_store_flush(struct ts_store *store)
{
    enum ts_err err = TS_OK;
    uint64_t wanted;

    pthread_mutex_lock(&store->lock);
    /* One that has begun may have noted how far things were before the caller's change. */
    wanted = store->syncs_begun + 1;
    while (store->syncs_done < wanted) {
        err = ts_store_refuse_locked(store);
        if (err != TS_OK)
            break;
        store->is_sync_wanted = true;
        pthread_cond_signal(&store->sync_wanted);
        pthread_cond_wait(&store->synced, &store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return err;
}

void
ts_store_on_durable(struct ts_store *store, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&store->lock);
    store->on_durable = fn;
    store->on_durable_arg = arg;
    pthread_mutex_unlock(&store->lock);
}

struct ts_view *
ts_store_view(struct ts_store *store)
{
    return &store->view;
}

void
ts_store_recovery(const struct ts_store *store, struct ts_recovery *out)
{
    *out = store->recovery;
}
