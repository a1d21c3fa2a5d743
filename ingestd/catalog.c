/* catalog.c - the data directory and the table of its stores, kept the same. */
#include "common/log.h"
#include "ingestd/catalog_internal.h"
#include "proto/format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- finding ---- */

static bool
find_meta(const struct catalog *catalog, const char *name, struct stat *out_meta)
{
    char path[TS_MAX_NAME_BYTES + sizeof "/" TS_META_FILE];

    snprintf(path, sizeof path, "%s/%s", name, TS_META_FILE);
    return fstatat(catalog->data_fd, path, out_meta, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(out_meta->st_mode);
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
    entry = catalog_table_find(catalog, text);
    if (entry != NULL && (!exists || catalog_entry_is_replaced(entry, &meta))) {
        catalog_table_remove(catalog, entry, "its directory was removed");
        catalog_release(entry);
        entry = NULL;
    }
    if (!exists)
        return TS_FAIL_PLAIN(TS_E_NOT_FOUND);
    if (entry == NULL) {
        err = catalog_table_add(catalog, text, &meta, &entry);
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
            catalog_table_remove(catalog, entry, "its directory was removed");
        catalog_release(entry);
        return TS_FAIL(err, "%s", why);
    }
    catalog_release(entry);
    memcpy(out_key, key, sizeof key);
    explicit_bzero(key, sizeof key);
    return TS_OK;
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
        err = catalog_table_add(catalog, names[i], &meta, &entry);
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
        const enum ts_err err = catalog_entry_close(entry);

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

void
catalog_sweep(struct catalog *catalog)
{
    size_t i = catalog_table_size(catalog);
    struct catalog_store *entry;
    struct stat meta;

    /* By index and backwards, without the lock meanwhile: what is removed moves only those that
     * had their turn. */
    while (i-- > 0) {
        entry = catalog_table_at(catalog, i);
        if (entry == NULL)
            continue;
        if (!find_meta(catalog, entry->name, &meta) || catalog_entry_is_replaced(entry, &meta))
            catalog_table_remove(catalog, entry, "its directory was removed");
        else
            catalog_entry_tell_news(entry);
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

        if (!catalog_entry_is_open(entry) || catalog_enter(entry) != TS_OK)
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
        n_open += catalog_entry_is_open(catalog->entries[i]);
    *out_known = catalog->n_entries;
    *out_open = n_open;
    pthread_mutex_unlock(&catalog->lock);
}
