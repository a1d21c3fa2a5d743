/* store.c - open, close, wait until something is durable. */
#include "common/store.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
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
    pthread_mutex_init(&store->seal_lock, NULL);
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
    sigset_t all, before;
    pthread_attr_t attr;
    int rc;

    /* The program's signals are not for these threads; they inherit the mask. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024); /* zstd keeps its tables on the heap */
    rc = pthread_create(&store->sealer, &attr, ts_sealer_main, store);
    store->has_sealer = rc == 0;
    if (rc == 0) {
        rc = pthread_create(&store->syncer, &attr, ts_syncer_main, store);
        store->has_syncer = rc == 0;
    }
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
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

/* All of every file; nobody else uses the store. */
static enum ts_err
sync_files(struct ts_store *store)
{
    enum ts_err err = ts_sync_ring_files(store);

    if (err == TS_OK)
        err = ts_map_sync(&store->view.map[TS_FILE_HEAD], TS_HEAD_FILE, 0,
                          store->view.map[TS_FILE_HEAD].bytes);
    return err;
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
    store->future_limit_ns = store->view.options.max_future_ns > 0 ? INT64_MIN : INT64_MAX;
    err = lock_files(store);
    if (err == TS_OK)
        err = ts_recover(store);
    /* Before another power failure may come, what was recovered must be there to be found. */
    if (err == TS_OK && store->recovery.power_lost)
        err = sync_files(store);
    if (err == TS_OK) {
        /* From here on a crash is one: neither copy may say that the store was closed in order. */
        ts_sync_point_write(store, false);
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
    const enum ts_err err = sync_files(store);

    if (err != TS_OK)
        return err;
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

/* ---- failing ---- */

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

enum ts_err
ts_store_check(struct ts_store *store)
{
    enum ts_err err;

    pthread_mutex_lock(&store->lock);
    err = ts_store_refuse_locked(store);
    pthread_mutex_unlock(&store->lock);
    return err;
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
    if (record_no >= store->next_no)
        err = TS_FAIL(TS_E_PARAM, "store %s: record %ju was not appended yet", store->view.name,
                      (uintmax_t)record_no);
    while (err == TS_OK && ts_store_durable_no(store) < record_no) {
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
