/* reset.c - empty a store, or remove it. */
#include "common/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The new generation is the one step that counts: every checksum is seeded with it, so that from
 * then on nothing of before can be read or recovered. Block and record numbers go on, so that
 * whoever waits for a number to become durable is never confused. */
static void
begin_generation_locked(struct ts_store *store)
{
    struct ts_meta *meta = ts_view_meta(&store->view);
    const uint64_t generation = ts_meta_generation(meta) + 1;
    const unsigned other = store->current ^ 1;
    struct ts_ring *ring = &store->ring;

    /* Everything is in the ring. What this slot still tells is of the old generation; under the new
     * one whoever opens the store for reading would take it for damage. */
    atomic_store_explicit(&ts_view_slot(&store->view, other)->seq, 0, memory_order_release);
    pthread_mutex_lock(&store->ring_lock);
    ring->seed = ts_seed(store->view.store_id, generation);
    ring->tail_seq = ring->sealed_seq + 1;
    ring->tail_pos = ring->head_pos;
    ring->high_time_ns = INT64_MIN;
    ts_ring_reclaim(meta, ring->tail_seq);
    pthread_mutex_unlock(&store->ring_lock);

    store->has_newest = false;
    if (ts_slot_state(store, store->current) == TS_SLOT_OPEN)
        store->next_seq = store->block[store->current].seq;
    ts_store_open_slot_locked(store, store->current);
    store->block[other] = (struct ts_open_block){0};
    /* Last: of the new generation a reader sees the empty ring and the open block, which tells it
     * where the numbers go on. The old one's entries no longer would. */
    ts_meta_publish_generation(meta, generation);
    store->is_ring_dirty = store->is_dirty = true;
}

enum ts_err
ts_store_reset(struct ts_store *store)
{
    enum ts_err err;

    pthread_mutex_lock(&store->lock);
    err = ts_store_refuse_locked(store);
    if (err == TS_OK)
        err = ts_store_drain_locked(store);
    if (err == TS_OK)
        begin_generation_locked(store);
    pthread_mutex_unlock(&store->lock);
    return err == TS_OK ? ts_store_flush(store) : err;
}

/* ---- removing ---- */

#define REMOVING_PREFIX ".removing."

/* Removes a directory of plain files. */
static enum ts_err
remove_dir(int data_fd, const char *dir_name)
{
    const int dir_fd = openat(data_fd, dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = dir_fd >= 0 ? fdopendir(dir_fd) : NULL;
    struct dirent *entry;

    if (dir == NULL) {
        if (dir_fd >= 0)
            close(dir_fd);
        return TS_FAIL_ERRNO(TS_E_IO, "open %s", dir_name);
    }
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dir_fd, entry->d_name, 0);
    }
    closedir(dir);
    if (unlinkat(data_fd, dir_name, AT_REMOVEDIR) != 0)
        return TS_FAIL_ERRNO(TS_E_IO, "remove %s", dir_name);
    return TS_OK;
}

/* Moves <data>/<name> out of the way, in one step that a crash leaves done or not. */
static enum ts_err
move_away(const struct ts_view *view, int *out_data_fd, char *out_name, size_t out_bytes)
{
    const int data_fd = openat(view->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (data_fd < 0)
        return TS_FAIL_ERRNO(TS_E_IO, "open the data directory of %s", view->name);
    snprintf(out_name, out_bytes, REMOVING_PREFIX "%s.%ju", view->name, (uintmax_t)view->dir_ino);
    if (renameat(data_fd, view->name, data_fd, out_name) != 0 || fsync(data_fd) != 0) {
        const enum ts_err err = TS_FAIL_ERRNO(TS_E_IO, "remove %s", view->dir);

        close(data_fd);
        return err;
    }
    *out_data_fd = data_fd;
    return TS_OK;
}

enum ts_err
ts_store_drop(struct ts_store *store)
{
    char dir_name[sizeof REMOVING_PREFIX + TS_MAX_NAME_BYTES + 24];
    enum ts_err err;
    int data_fd = -1;

    err = move_away(&store->view, &data_fd, dir_name, sizeof dir_name);
    if (err == TS_OK) {
        ts_meta_publish_generation(ts_view_meta(&store->view), TS_GENERATION_DROPPED);
        err = remove_dir(data_fd, dir_name);
        close(data_fd);
    }
    ts_store_abandon(store);
    return err;
}

void
ts_remove_leftovers(const char *data_dir)
{
    DIR *dir = opendir(data_dir);
    struct dirent *entry;

    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, REMOVING_PREFIX, sizeof REMOVING_PREFIX - 1) == 0 &&
            remove_dir(dirfd(dir), entry->d_name) != TS_OK)
            continue; /* the next start tries again */
    }
    closedir(dir);
}
