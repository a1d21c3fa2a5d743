/* catalog.c - see catalog.h. */
#include "ingestd/catalog.h"

#include "common/log.h"
#include "proto/format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RETRY_NS 1000000000

struct catalog_hidden {
    struct catalog *catalog; /* borrowed */
    _Atomic unsigned n_refs; /* the table has one */
    pthread_rwlock_t use;    /* held to read by who uses the store, to write by who drops it */
    dev_t meta_dev;          /* of meta.tsdb when the entry was made: tells a store that took */
    ino_t meta_ino;          /* the place of another from it */

    pthread_mutex_t lock; /* guards opening, and what is below */
    _Atomic bool is_open; /* release after the entry's fields are set, acquire before use */
    int64_t failed_ns;    /* monotonic; when opening failed last; 0: never */
    enum ts_err failed;   /* how */
    char failed_text[TS_ERROR_TEXT_BYTES];
};

struct catalog {
    char *data_dir; /* owned */
    int data_fd;    /* owned */
    int durable_fd; /* borrowed */
    struct publish *publish;

    _Atomic uint64_t next_id;

    pthread_mutex_t lock;           /* guards the table */
    struct catalog_store **entries; /* owned; sorted by name */
    size_t n_entries, capacity;
};

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- one entry ---- */

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

static void
entry_hold(struct catalog_store *entry)
{
    atomic_fetch_add_explicit(&entry->hidden->n_refs, 1, memory_order_relaxed);
}

static enum ts_err
entry_new(struct catalog *catalog, const char *name, const struct stat *meta,
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
    hidden->failed_ns = now_ns();
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
        if (hidden->failed_ns != 0 && now_ns() - hidden->failed_ns < RETRY_NS) {
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

/* ---- the table ---- */

/* Holds the lock. The place of `name`, or where it would go. */
static size_t
place_of(const struct catalog *catalog, const char *name, bool *out_found)
{
    size_t low = 0, high = catalog->n_entries;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(catalog->entries[middle]->name, name);

        if (order == 0) {
            *out_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out_found = false;
    return low;
}

static bool
find_meta(const struct catalog *catalog, const char *name, struct stat *out_meta)
{
    char path[TS_MAX_NAME_BYTES + sizeof "/" TS_META_FILE];

    snprintf(path, sizeof path, "%s/%s", name, TS_META_FILE);
    return fstatat(catalog->data_fd, path, out_meta, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(out_meta->st_mode);
}

/* The store of this name, held; NULL if the table has none. */
static struct catalog_store *
table_find(struct catalog *catalog, const char *name)
{
    struct catalog_store *entry = NULL;
    bool found;
    size_t idx;

    pthread_mutex_lock(&catalog->lock);
    idx = place_of(catalog, name, &found);
    if (found) {
        entry = catalog->entries[idx];
        entry_hold(entry);
    }
    pthread_mutex_unlock(&catalog->lock);
    return entry;
}

/* Takes the table's hold of the entry, unless somebody else just did. */
static void
table_remove(struct catalog *catalog, struct catalog_store *entry, const char *why)
{
    bool found;
    size_t idx;

    atomic_store_explicit(&entry->is_gone, true, memory_order_relaxed);
    pthread_mutex_lock(&catalog->lock);
    idx = place_of(catalog, entry->name, &found);
    found = found && catalog->entries[idx] == entry;
    if (found) {
        memmove(&catalog->entries[idx], &catalog->entries[idx + 1],
                (catalog->n_entries - idx - 1) * sizeof(struct catalog_store *));
        catalog->n_entries--;
    }
    pthread_mutex_unlock(&catalog->lock);
    if (!found)
        return;
    ts_log(TS_LOG_INFO, "store %s: %s", entry->name, why);
    publish_catalogue(catalog->publish, EVENT_DROPPED, entry->name);
    catalog_release(entry);
}

/* Puts a new entry into the table and holds it for the caller; or the one that is there. */
static enum ts_err
table_add(struct catalog *catalog, const char *name, const struct stat *meta,
          struct catalog_store **out)
{
    struct catalog_store *entry;
    enum ts_err err = entry_new(catalog, name, meta, &entry);
    bool found;
    size_t idx;

    if (err != TS_OK)
        return err;
    pthread_mutex_lock(&catalog->lock);
    idx = place_of(catalog, name, &found);
    if (!found && catalog->n_entries == catalog->capacity) {
        const size_t capacity = catalog->capacity * 2 + 16;
        void *grown = reallocarray(catalog->entries, capacity, sizeof(struct catalog_store *));

        if (grown == NULL) {
            err = TS_FAIL_PLAIN(TS_E_NOMEM);
            goto out;
        }
        catalog->entries = grown;
        catalog->capacity = capacity;
    }
    if (!found) {
        memmove(&catalog->entries[idx + 1], &catalog->entries[idx],
                (catalog->n_entries - idx) * sizeof(struct catalog_store *));
        catalog->entries[idx] = entry;
        catalog->n_entries++;
        entry_hold(entry);
        *out = entry;
        entry = NULL;
    } else {
        *out = catalog->entries[idx];
        entry_hold(*out);
    }
out:
    pthread_mutex_unlock(&catalog->lock);
    catalog_release(entry);
    return err;
}

static bool
is_replaced(const struct catalog_store *entry, const struct stat *meta)
{
    return meta->st_dev != entry->hidden->meta_dev || meta->st_ino != entry->hidden->meta_ino;
}

enum ts_err
catalog_find(struct catalog *catalog, struct ts_span name, struct catalog_store **out)
{
    char text[TS_MAX_NAME_BYTES + 1];
    struct catalog_store *entry;
    struct stat meta;
    bool exists;
    enum ts_err err;

    if (name.bytes == 0 || name.bytes > TS_MAX_NAME_BYTES)
        return TS_FAIL_PLAIN(TS_E_NOT_FOUND);
    memcpy(text, name.at, name.bytes);
    text[name.bytes] = '\0';
    if (memchr(text, '\0', name.bytes) != NULL || !ts_name_is_valid(text))
        return TS_FAIL_PLAIN(TS_E_NOT_FOUND);

    exists = find_meta(catalog, text, &meta);
    entry = table_find(catalog, text);
    if (entry != NULL && (!exists || is_replaced(entry, &meta))) {
        table_remove(catalog, entry, "its directory was removed");
        catalog_release(entry);
        entry = NULL;
    }
    if (!exists)
        return TS_FAIL_PLAIN(TS_E_NOT_FOUND);
    if (entry == NULL) {
        err = table_add(catalog, text, &meta, &entry);
        if (err != TS_OK)
            return err;
        publish_catalogue(catalog->publish, EVENT_CREATED, text);
    }
    *out = entry;
    return TS_OK;
}

/* ---- creating ---- */

/* Removes what a creation that failed half way made. Only files are in a new store. */
static void
remove_store(struct catalog *catalog, const char *name)
{
    const int fd = openat(catalog->data_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *file;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((file = readdir(dir)) != NULL) {
        if (strcmp(file->d_name, ".") != 0 && strcmp(file->d_name, "..") != 0)
            unlinkat(dirfd(dir), file->d_name, 0);
    }
    closedir(dir);
    if (unlinkat(catalog->data_fd, name, AT_REMOVEDIR) != 0)
        ts_log(TS_LOG_WARNING, "store %s was not created, but its directory stays: %s", name,
               strerror(errno));
}

enum ts_err
catalog_create(struct catalog *catalog, const char *name, const struct ts_options *options,
               char out_key[TS_KEY_TEXT_BYTES])
{
    struct catalog_store *entry = NULL;
    char key[TS_KEY_TEXT_BYTES];
    char dir[PATH_MAX];
    char why[TS_ERROR_TEXT_BYTES];
    enum ts_err err;

    if (snprintf(dir, sizeof dir, "%s/%s", catalog->data_dir, name) >= (int)sizeof dir)
        return TS_FAIL_PLAIN(TS_E_NAME);
    err = ts_store_create(catalog->data_dir, name, options);
    if (err != TS_OK)
        return err;
    err = ts_keys_create(dir, name, "Initial key", key);
    if (err == TS_OK)
        err = catalog_find(catalog, (struct ts_span){.at = name, .bytes = strlen(name)}, &entry);
    if (err == TS_OK)
        err = catalog_open_store(entry);
    if (err != TS_OK) {
        snprintf(why, sizeof why, "%s", ts_error_text());
        remove_store(catalog, name);
        if (entry != NULL)
            table_remove(catalog, entry, "its directory was removed");
        catalog_release(entry);
        return TS_FAIL(err, "%s", why);
    }
    catalog_release(entry);
    memcpy(out_key, key, sizeof key);
    explicit_bzero(key, sizeof key);
    return TS_OK;
}

/* ---- dropping ---- */

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
    table_remove(catalog, entry, "dropped");
    on_durable(&catalog->durable_fd); /* who waits for the disk waits in vain */
    return err;
}

/* ---- all of them ---- */

static enum ts_err
open_all(struct catalog *catalog)
{
    struct catalog_store *entry;
    char **names;
    size_t n_names;
    struct stat meta;
    enum ts_err err;

    ts_store_sweep(catalog->data_dir);
    err = ts_store_list(catalog->data_dir, &names, &n_names);
    if (err != TS_OK)
        return err;
    for (size_t i = 0; i < n_names && err == TS_OK; i++) {
        if (!find_meta(catalog, names[i], &meta) || !ts_name_is_valid(names[i])) {
            ts_log(TS_LOG_WARNING, "store %s: left out, not a store's name or file", names[i]);
            continue;
        }
        err = table_add(catalog, names[i], &meta, &entry);
        if (err != TS_OK)
            break;
        /* It is logged there, and the others go on. */
        if (catalog_open_store(entry) == TS_OK)
            ts_log(TS_LOG_DEBUG, "store %s: open", names[i]);
        catalog_release(entry);
    }
    free(names);
    return err;
}

enum ts_err
catalog_open(const char *data_dir, struct publish *publish, int durable_fd, struct catalog **out)
{
    struct catalog *catalog = calloc(1, sizeof *catalog);
    enum ts_err err;

    if (catalog == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    pthread_mutex_init(&catalog->lock, NULL);
    atomic_store_explicit(&catalog->next_id, 1, memory_order_relaxed);
    catalog->publish = publish;
    catalog->durable_fd = durable_fd;
    catalog->data_fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    catalog->data_dir = strdup(data_dir);
    if (catalog->data_fd < 0)
        err = TS_FAIL_ERRNO(TS_E_IO, "open %s", data_dir);
    else if (catalog->data_dir == NULL)
        err = TS_FAIL_PLAIN(TS_E_NOMEM);
    else
        err = open_all(catalog);
    if (err != TS_OK)
        catalog_close(catalog);
    else
        *out = catalog;
    return err;
}

enum ts_err
catalog_close(struct catalog *catalog)
{
    enum ts_err first = TS_OK;

    if (catalog == NULL)
        return TS_OK;
    for (size_t i = 0; i < catalog->n_entries; i++) {
        struct catalog_store *const entry = catalog->entries[i];
        enum ts_err err = TS_OK;

        publish_forget(catalog->publish, &entry->slot);
        if (entry->store != NULL)
            err = ts_store_close(entry->store);
        entry->store = NULL;
        if (err != TS_OK)
            ts_log(TS_LOG_ERROR, "store %s: %s", entry->name, ts_error_text());
        if (first == TS_OK)
            first = err;
        catalog_release(entry);
    }
    free(catalog->entries);
    free(catalog->data_dir);
    if (catalog->data_fd >= 0)
        close(catalog->data_fd);
    pthread_mutex_destroy(&catalog->lock);
    free(catalog);
    return first;
}

/* A store whose disk fails says so once, when it happens: nobody may be writing to it. */
static void
tell_trouble(struct catalog_store *entry)
{
    struct catalog_hidden *const hidden = entry->hidden;
    bool is_new;

    /* acquire: pairs with catalog_open_store(). */
    if (!atomic_load_explicit(&hidden->is_open, memory_order_acquire) ||
        catalog_enter(entry) != TS_OK)
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

void
catalog_sweep(struct catalog *catalog)
{
    struct catalog_store *entry;
    struct stat meta;
    size_t i;

    pthread_mutex_lock(&catalog->lock);
    i = catalog->n_entries;
    pthread_mutex_unlock(&catalog->lock);
    /* By index and backwards, without the lock meanwhile: what is removed moves only those that
     * had their turn. */
    while (i-- > 0) {
        pthread_mutex_lock(&catalog->lock);
        entry = i < catalog->n_entries ? catalog->entries[i] : NULL;
        if (entry != NULL)
            entry_hold(entry);
        pthread_mutex_unlock(&catalog->lock);
        if (entry == NULL)
            continue;
        if (!find_meta(catalog, entry->name, &meta) || is_replaced(entry, &meta))
            table_remove(catalog, entry, "its directory was removed");
        else
            tell_trouble(entry);
        catalog_release(entry);
    }
}

enum ts_err
catalog_sync(struct catalog *catalog)
{
    enum ts_err first = TS_OK;

    pthread_mutex_lock(&catalog->lock);
    for (size_t i = 0; i < catalog->n_entries; i++) {
        struct catalog_store *const entry = catalog->entries[i];
        enum ts_err err;

        if (!atomic_load_explicit(&entry->hidden->is_open, memory_order_acquire) ||
            catalog_enter(entry) != TS_OK)
            continue;
        err = ts_store_flush(entry->store);
        catalog_leave(entry);
        if (err != TS_OK)
            ts_log(TS_LOG_ERROR, "store %s: %s", entry->name, ts_error_text());
        if (first == TS_OK)
            first = err;
    }
    pthread_mutex_unlock(&catalog->lock);
    return first;
}

void
catalog_count(struct catalog *catalog, size_t *out_known, size_t *out_open)
{
    size_t n_open = 0;

    pthread_mutex_lock(&catalog->lock);
    for (size_t i = 0; i < catalog->n_entries; i++)
        n_open += atomic_load_explicit(&catalog->entries[i]->hidden->is_open, memory_order_relaxed);
    *out_known = catalog->n_entries;
    *out_open = n_open;
    pthread_mutex_unlock(&catalog->lock);
}
