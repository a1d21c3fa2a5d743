/* catalog_entry.c - one store of the catalogue: how it opens, who uses it, when it closes. */
#include "common/log.h"
#include "daemon/monotonic.h"
#include "ingestd/catalog_internal.h"
#include "proto/format.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_NS 1000000000

/* ---- life ---- */

static void
entry_free(struct catalog_store *entry)
{
#ifdef __clang_analyzer__
    return; /* it does not follow counts and takes every release for the last one */
#endif
    publish_forget(entry->hidden->catalog->publish, &entry->slot);
    if (entry->store != NULL && ts_store_close(entry->store) != TS_OK)
        ts_log(TS_LOG_ERROR, "store %s: %s", entry->name, ts_error_text());
    ts_keyring_close(entry->keyring);
    store_schema_free(entry->schema);
    pthread_rwlock_destroy(&entry->hidden->use);
    pthread_mutex_destroy(&entry->hidden->lock);
    free(entry->hidden);
    free(entry);
}

void
catalog_release(struct catalog_store *entry)
{
    /* acq_rel: whoever is last sees all that the others did with the store. */
    if (entry != NULL &&
        atomic_fetch_sub_explicit(&entry->hidden->n_refs, 1, memory_order_acq_rel) == 1)
        entry_free(entry);
}

void
catalog_entry_hold(struct catalog_store *entry)
{
    atomic_fetch_add_explicit(&entry->hidden->n_refs, 1, memory_order_relaxed);
}

enum ts_err
catalog_entry_new(struct catalog *catalog, const char *name, const struct stat *meta,
                  struct catalog_store **out)
{
    struct catalog_store *entry = calloc(1, sizeof *entry);
    struct catalog_hidden *hidden = calloc(1, sizeof *hidden);
    char dir[PATH_MAX];
    enum ts_err err = TS_E_NOMEM;

    if (entry == NULL || hidden == NULL) {
        TS_FAIL_PLAIN(TS_E_NOMEM);
        goto out;
    }
    if (snprintf(dir, sizeof dir, "%s/%s", catalog->data_dir, name) >= (int)sizeof dir) {
        err = TS_FAIL(TS_E_USAGE, "store %s: its path is too long", name);
        goto out;
    }
    err = ts_keyring_open(dir, &entry->keyring);
    if (err != TS_OK)
        goto out;
    snprintf(entry->name, sizeof entry->name, "%s", name);
    pthread_mutex_init(&hidden->lock, NULL);
    pthread_rwlock_init(&hidden->use, NULL);
    entry->id = atomic_fetch_add_explicit(&catalog->next_id, 1, memory_order_relaxed);
    hidden->catalog = catalog;
    hidden->meta_dev = meta->st_dev;
    hidden->meta_ino = meta->st_ino;
    atomic_store_explicit(&hidden->n_refs, 1, memory_order_relaxed);
    entry->hidden = hidden;
    entry->slot.name = entry->name;
    *out = entry;
out:
    if (err != TS_OK) {
        free(entry);
        free(hidden);
    }
    return err;
}

bool
catalog_entry_is_replaced(const struct catalog_store *entry, const struct stat *meta)
{
    return meta->st_dev != entry->hidden->meta_dev || meta->st_ino != entry->hidden->meta_ino;
}

/* ---- opening ---- */

static void
on_durable(void *arg)
{
    const uint64_t one = 1;
    const int fd = *(const int *)arg;

    /* EAGAIN means that it was signalled 2^64 times and not read: it is readable. */
    if (write(fd, &one, sizeof one) < 0)
        return;
}

/* Holds the entry's lock. */
static enum ts_err
open_locked(struct catalog_store *entry)
{
    struct catalog *const catalog = entry->hidden->catalog;
    const struct ts_options *options;
    struct store_schema *schema = NULL;
    struct ts_recovery recovery;
    struct ts_store *store;
    enum ts_err err = ts_store_open(catalog->data_dir, entry->name, &store);

    if (err != TS_OK)
        return err;
    options = ts_view_options(ts_store_view(store));
    if (options->type == TS_TYPE_SCHEMA)
        err = store_schema_new(catalog->data_dir, entry->name, &schema);
    if (err != TS_OK) {
        if (ts_store_close(store) != TS_OK)
            ts_log(TS_LOG_ERROR, "store %s: %s", entry->name, ts_error_text());
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    }
    entry->store = store;
    entry->schema = schema;
    entry->type = options->type;
    entry->sync_ms = options->sync_ms;
    publish_attach(catalog->publish, &entry->slot, ts_store_view(store));
    if (entry->sync_ms == TS_SYNC_EACH && catalog->durable_fd >= 0)
        ts_store_on_durable(entry->store, on_durable, &catalog->durable_fd);
    ts_store_recovery(entry->store, &recovery);
    if (recovery.text[0] != '\0')
        ts_log(recovery.n_damaged > 0 ? TS_LOG_WARNING : TS_LOG_INFO, "store %s: %s", entry->name,
               recovery.text);
    return TS_OK;
}

/* Holds the entry's lock. Remembers and logs why the store did not open. */
static void
note_failure(struct catalog_store *entry, enum ts_err err)
{
    struct catalog_hidden *const hidden = entry->hidden;

    hidden->failed = err;
    hidden->failed_ns = monotonic_ns();
    if (strcmp(hidden->failed_text, ts_error_text()) == 0)
        return;
    snprintf(hidden->failed_text, sizeof hidden->failed_text, "%s", ts_error_text());
    ts_log(TS_LOG_ERROR, "store %s cannot be opened: %s", entry->name, hidden->failed_text);
}

enum ts_err
catalog_open_store(struct catalog_store *entry)
{
    struct catalog_hidden *const hidden = entry->hidden;
    enum ts_err err = TS_OK;

    if (atomic_load_explicit(&hidden->is_open, memory_order_acquire))
        return TS_OK;
    pthread_mutex_lock(&hidden->lock);
    if (!atomic_load_explicit(&hidden->is_open, memory_order_relaxed)) {
        if (hidden->failed_ns != 0 && monotonic_ns() - hidden->failed_ns < RETRY_NS) {
            err = TS_FAIL(hidden->failed, "%s", hidden->failed_text);
        } else {
            err = open_locked(entry);
            if (err != TS_OK)
                note_failure(entry, err);
            else
                atomic_store_explicit(&hidden->is_open, true, memory_order_release);
        }
    }
    pthread_mutex_unlock(&hidden->lock);
    return err;
}

bool
catalog_entry_is_open(const struct catalog_store *entry)
{
    /* acquire: pairs with catalog_open_store(). */
    return atomic_load_explicit(&entry->hidden->is_open, memory_order_acquire);
}

enum ts_err
catalog_entry_close(struct catalog_store *entry)
{
    enum ts_err err = TS_OK;

    publish_forget(entry->hidden->catalog->publish, &entry->slot);
    if (entry->store != NULL)
        err = ts_store_close(entry->store);
    entry->store = NULL;
    if (err != TS_OK)
        ts_log(TS_LOG_ERROR, "store %s: %s", entry->name, ts_error_text());
    return err;
}

/* ---- use ---- */

enum ts_err
catalog_enter(struct catalog_store *entry)
{
    /* Only a drop holds it to write, or waits for that: there is nothing to wait for. */
    if (atomic_load_explicit(&entry->is_gone, memory_order_relaxed) ||
        pthread_rwlock_tryrdlock(&entry->hidden->use) != 0)
        return TS_FAIL_PLAIN(TS_E_CLOSED);
    if (entry->store != NULL)
        return TS_OK;
    pthread_rwlock_unlock(&entry->hidden->use);
    return TS_FAIL_PLAIN(TS_E_CLOSED);
}

void
catalog_leave(struct catalog_store *entry)
{
    pthread_rwlock_unlock(&entry->hidden->use);
}

enum ts_err
catalog_drop(struct catalog_store *entry)
{
    struct catalog *const catalog = entry->hidden->catalog;
    struct ts_store *store;
    enum ts_err err;

    /* Who comes from here on is sent away; who is at it is waited for. */
    atomic_store_explicit(&entry->is_gone, true, memory_order_relaxed);
    publish_forget(catalog->publish, &entry->slot);
    pthread_rwlock_wrlock(&entry->hidden->use);
    store = entry->store;
    entry->store = NULL;
    pthread_rwlock_unlock(&entry->hidden->use);
    if (store == NULL)
        return TS_FAIL_PLAIN(TS_E_CLOSED);
    err = ts_store_drop(store);
    if (err != TS_OK)
        ts_log(TS_LOG_ERROR, "store %s: %s", entry->name, ts_error_text());
    catalog_table_remove(catalog, entry, "dropped");
    on_durable(&catalog->durable_fd); /* who waits for the disk waits in vain */
    return err;
}

/* ---- news ---- */

/* A store whose disk fails says so once, when it happens: nobody may be writing to it. */
static void
tell_trouble(struct catalog_store *entry)
{
    struct catalog_hidden *const hidden = entry->hidden;
    bool is_new;

    if (!catalog_entry_is_open(entry) || catalog_enter(entry) != TS_OK)
        return;
    if (ts_store_check(entry->store) != TS_OK) {
        pthread_mutex_lock(&hidden->lock);
        is_new = strcmp(hidden->failed_text, ts_error_text()) != 0;
        snprintf(hidden->failed_text, sizeof hidden->failed_text, "%s", ts_error_text());
        pthread_mutex_unlock(&hidden->lock);
        if (is_new)
            ts_log(TS_LOG_ERROR, "%s: nothing is appended to it any more", ts_error_text());
    }
    catalog_leave(entry);
}

/* Keys are made and revoked by whoever may write the file; streams that sleep have to hear of it.
 */
static void
tell_new_keys(struct catalog_store *entry)
{
    struct catalog *const catalog = entry->hidden->catalog;
    struct stat *const seen = &entry->hidden->keys;
    char path[TS_MAX_NAME_BYTES + sizeof "/" TS_KEYS_FILE];
    struct stat now = {0};

    snprintf(path, sizeof path, "%s/%s", entry->name, TS_KEYS_FILE);
    if (fstatat(catalog->data_fd, path, &now, AT_SYMLINK_NOFOLLOW) != 0)
        now = (struct stat){0};
    if (now.st_ino == seen->st_ino && now.st_size == seen->st_size &&
        now.st_ctim.tv_sec == seen->st_ctim.tv_sec && now.st_ctim.tv_nsec == seen->st_ctim.tv_nsec)
        return;
    *seen = now;
    publish_catalogue(catalog->publish, EVENT_KEYS, entry->name);
}

void
catalog_entry_tell_news(struct catalog_store *entry)
{
    tell_trouble(entry);
    tell_new_keys(entry);
}
