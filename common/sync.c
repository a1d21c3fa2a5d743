/* sync.c - what is durable, and the thread that makes it so.
 *
 * A record is durable when its bytes in head.tsdb are (they prove themselves by checksum; counts
 * and arrays are rebuilt), or when its block in the ring is. A sync therefore
 *   1. notes, under the lock, how far every slot is filled, and marks those slots promised;
 *   2. syncs the ring, if records that were never durable in a slot went there;
 *   3. writes back just the pages of the slots with new records: one page for a small record;
 *   4. moves the durable number, and writes a sync point for recovery. The sync point itself
 *      reaches the disk with the next sync; recovery begins one sync earlier at worst.
 * A promised slot is reused only after the ring was synced (seal.c).
 */
#include "common/store.h"

#include "common/checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SYNC_TRIES 3
#define SYNC_RETRY_MS 100

/* ---- sync points ---- */

static uint32_t
point_checksum(const struct ts_sync_point *point, uint32_t store_id)
{
    return (uint32_t)ts_checksum(point, offsetof(struct ts_sync_point, checksum),
                                 ts_seed(store_id, 0));
}

void
ts_boot_id(uint8_t out_id[16])
{
    char text[40] = {0};
    const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;

    memset(out_id, 0, 16);
    if (fd < 0)
        return;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    /* The text is as good as the number that it spells. */
    if (n > 0) {
        const uint64_t halves[2] = {ts_checksum(text, (size_t)n, 1),
                                    ts_checksum(text, (size_t)n, 2)};

        memcpy(out_id, halves, sizeof halves);
    }
}

bool
ts_sync_point_read(const struct ts_head *head, uint32_t store_id, struct ts_sync_point *out_point)
{
    bool found = false;

    for (int i = 0; i < 2; i++) {
        const struct ts_sync_point *point = &head->sync_points[i];

        if (point->counter == 0 || point->checksum != point_checksum(point, store_id))
            continue;
        if (!found || point->counter > out_point->counter) {
            *out_point = *point;
            found = true;
        }
    }
    return found;
}

void
ts_sync_point_write(struct ts_store *store, bool is_clean)
{
    struct ts_head *head = ts_view_head(&store->view);
    struct ts_sync_point point = {0};

    store->sync_counter++;
    point.counter = store->sync_counter;
    point.sealed_seq = store->ring_synced_seq;
    point.ring_pos = atomic_load_explicit(&store->ring_synced_pos, memory_order_relaxed);
    point.durable_no = atomic_load_explicit(&store->durable_no, memory_order_relaxed);
    memcpy(point.boot_id, store->boot_id, sizeof point.boot_id);
    point.generation = ts_meta_generation(ts_view_meta(&store->view));
    point.is_clean = is_clean;
    point.checksum = point_checksum(&point, store->view.store_id);
    /* The other copy is the last good one, should power fail in the middle of this. */
    head->sync_points[store->sync_counter % 2] = point;
}

/* ---- syncing ---- */

static enum ts_err
check_files(const struct ts_store *store)
{
    for (int i = 0; i < TS_N_FILES; i++) {
        const enum ts_err err = ts_map_check(&store->view.map[i], ts_file_names[i]);

        if (err != TS_OK)
            return err;
    }
    return TS_OK;
}

static enum ts_err
sync_file(const struct ts_store *store, enum ts_file file, size_t from, size_t to)
{
    const struct ts_map *map = &store->view.map[file];
    enum ts_err err = TS_OK;

    for (int i = 0; i < SYNC_TRIES; i++) {
        static const struct timespec pause = {.tv_nsec = SYNC_RETRY_MS * 1000000L};

        err = ts_map_sync(map, ts_file_names[file], from, to);
        if (err == TS_OK)
            break;
        /* The kernel may have marked the pages clean although they never got there. */
        ts_map_redirty(map, from, to);
        nanosleep(&pause, NULL);
    }
    return err;
}

enum ts_err
ts_sync_ring_files(struct ts_store *store)
{
    uint64_t sealed_seq, head_pos;
    enum ts_err err;

    pthread_mutex_lock(&store->ring_lock);
    sealed_seq = store->ring.sealed_seq;
    head_pos = store->ring.head_pos;
    pthread_mutex_unlock(&store->ring_lock);
    err = sync_file(store, TS_FILE_DATA, 0, store->view.map[TS_FILE_DATA].bytes);
    if (err == TS_OK)
        err = sync_file(store, TS_FILE_INDEX, 0, store->view.map[TS_FILE_INDEX].bytes);
    if (err == TS_OK)
        err = sync_file(store, TS_FILE_META, 0, sizeof(struct ts_meta));
    if (err != TS_OK)
        return err;
    store->ring_synced_seq = sealed_seq;
    atomic_store_explicit(&store->ring_synced_pos, head_pos, memory_order_relaxed);
    return TS_OK;
}

/* sync_lock is held. `force`: blocks that were synced have changed since. */
static enum ts_err
sync_ring_locked(struct ts_store *store, bool force)
{
    enum ts_err err;

    if (ts_meta_sealed(ts_view_meta(&store->view)) == store->ring_synced_seq && !force)
        return TS_OK;
    err = ts_sync_ring_files(store);
    if (err != TS_OK)
        return err;
    /* Recovery has to begin at exactly this block: older ones may be half overwritten soon, and
     * newer ones may reach the disk in any order. */
    ts_sync_point_write(store, false);
    return sync_file(store, TS_FILE_HEAD, 0, sizeof(struct ts_head));
}

enum ts_err
ts_sync_ring(struct ts_store *store)
{
    enum ts_err err;

    pthread_mutex_lock(&store->sync_lock);
    err = sync_ring_locked(store, false);
    pthread_mutex_unlock(&store->sync_lock);
    return err;
}

/* How far everything was filled at one moment. */
struct extent_of_sync {
    uint64_t last_no;   /* the newest record then */
    uint64_t sealed_no; /* the newest record that was in the ring */
    bool is_ring_dirty; /* what was sealed before has changed */
    uint64_t seq[TS_HEAD_SLOTS];
    uint32_t from[TS_HEAD_SLOTS], to[TS_HEAD_SLOTS]; /* bytes of each slot, from its start */
};

static void
note_extent(struct ts_store *store, struct extent_of_sync *out)
{
    *out = (struct extent_of_sync){.last_no = store->next_no - 1,
                                   .sealed_no = store->next_no - 1,
                                   .is_ring_dirty = store->is_ring_dirty};
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        const struct ts_open_block *block = &store->block[i];

        /* One that is given back from now on has its block in the ring, which is synced first. */
        if (ts_slot_state(store, i) == TS_SLOT_FREE ||
            (block->count > 0 && !ts_slot_note_locked(store, i, TS_SLOT_PROMISED)))
            continue;
        out->seq[i] = block->seq;
        out->from[i] = store->synced_bytes[i];
        out->to[i] = block->used_bytes;
        if (block->first_no - 1 < out->sealed_no)
            out->sealed_no = block->first_no - 1;
    }
    store->is_dirty = false;
    store->is_ring_dirty = false;
    store->is_sync_wanted = false;
    store->syncs_begun++;
}

static enum ts_err
sync_extent(struct ts_store *store, const struct extent_of_sync *extent)
{
    const uint32_t open_bytes = store->view.geometry.open_bytes;
    enum ts_err err = check_files(store);

    if (err == TS_OK &&
        (extent->is_ring_dirty ||
         extent->sealed_no > atomic_load_explicit(&store->durable_no, memory_order_relaxed)))
        err = sync_ring_locked(store, extent->is_ring_dirty);
    for (unsigned i = 0; i < TS_HEAD_SLOTS && err == TS_OK; i++) {
        const size_t start = sizeof(struct ts_head) + (size_t)i * open_bytes;

        if (extent->to[i] > extent->from[i])
            err = sync_file(store, TS_FILE_HEAD, start + extent->from[i], start + extent->to[i]);
    }
    return err;
}

enum ts_err
ts_sync_all(struct ts_store *store)
{
    struct extent_of_sync extent;
    void (*tell)(void *arg);
    void *tell_arg;
    enum ts_err err;

    pthread_mutex_lock(&store->sync_lock);
    pthread_mutex_lock(&store->lock);
    note_extent(store, &extent);
    pthread_mutex_unlock(&store->lock);

    err = sync_extent(store, &extent);

    pthread_mutex_lock(&store->lock);
    if (err == TS_OK) {
        for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
            /* A delete meanwhile may have lowered it: then that page goes again. */
            if (ts_slot_state(store, i) != TS_SLOT_FREE && store->block[i].seq == extent.seq[i] &&
                store->synced_bytes[i] == extent.from[i])
                store->synced_bytes[i] = extent.to[i];
        }
        /* release: who reads the number may rely on the sync behind it. */
        atomic_store_explicit(&store->durable_no, extent.last_no, memory_order_release);
        atomic_store_explicit(&ts_view_head(&store->view)->durable_no, extent.last_no,
                              memory_order_release);
        ts_sync_point_write(store, false);
        store->sync_counts.n_syncs++;
    } else {
        ts_store_fail_locked(store, err);
        store->sync_counts.n_failed++;
    }
    store->syncs_done = store->syncs_begun;
    tell = store->on_durable;
    tell_arg = store->on_durable_arg;
    pthread_cond_broadcast(&store->synced);
    pthread_mutex_unlock(&store->lock);
    pthread_mutex_unlock(&store->sync_lock);
    if (tell != NULL)
        tell(tell_arg);
    return err;
}

void
ts_store_sync_counts(struct ts_store *store, struct ts_sync_counts *out)
{
    pthread_mutex_lock(&store->lock);
    *out = store->sync_counts;
    pthread_mutex_unlock(&store->lock);
}

/* ---- the thread ---- */

static struct timespec
monotonic_after(uint32_t ms)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec++;
    }
    return at;
}

/* Waits until a sync is due. False when closing. An idle store wakes nobody: the interval runs
 * from the first append after a sync. */
static bool
wait_until_due(struct ts_store *store)
{
    const uint32_t sync_ms = store->view.options.sync_ms;
    const bool has_interval = sync_ms != TS_SYNC_EACH && sync_ms != TS_SYNC_NONE;
    struct timespec due = {0};
    bool is_counting = false;

    while (!store->is_closing && !store->is_sync_wanted) {
        if (!has_interval || !store->is_dirty || store->failed != TS_OK) {
            pthread_cond_wait(&store->sync_wanted, &store->lock);
            continue;
        }
        if (!is_counting) {
            due = monotonic_after(sync_ms);
            is_counting = true;
        }
        if (pthread_cond_timedwait(&store->sync_wanted, &store->lock, &due) == ETIMEDOUT)
            break;
    }
    return !store->is_closing;
}

void *
ts_syncer_main(void *arg)
{
    struct ts_store *store = arg;

    pthread_mutex_lock(&store->lock);
    while (wait_until_due(store)) {
        pthread_mutex_unlock(&store->lock);
        if (ts_sync_all(store) != TS_OK) {
            /* Said in store->failed, to everybody who appends or waits. */
        }
        pthread_mutex_lock(&store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}
