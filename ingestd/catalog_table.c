/* catalog_table.c - the stores by name: a sorted array that holds each entry once. */
#include "common/log.h"
#include "ingestd/catalog_internal.h"

#include <stdlib.h>
#include <string.h>

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

struct catalog_store *
catalog_table_find(struct catalog *catalog, const char *name)
{
    struct catalog_store *entry = NULL;
    bool found;
    size_t idx;

    pthread_mutex_lock(&catalog->lock);
    idx = place_of(catalog, name, &found);
    if (found) {
        entry = catalog->entries[idx];
        catalog_entry_hold(entry);
    }
    pthread_mutex_unlock(&catalog->lock);
    return entry;
}

void
catalog_table_remove(struct catalog *catalog, struct catalog_store *entry, const char *why)
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

enum ts_err
catalog_table_add(struct catalog *catalog, const char *name, const struct stat *meta,
                  struct catalog_store **out)
{
    struct catalog_store *entry;
    enum ts_err err = catalog_entry_new(catalog, name, meta, &entry);
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
        catalog_entry_hold(entry);
        *out = entry;
        entry = NULL;
    } else {
        *out = catalog->entries[idx];
        catalog_entry_hold(*out);
    }
out:
    pthread_mutex_unlock(&catalog->lock);
    catalog_release(entry);
    return err;
}

size_t
catalog_table_size(struct catalog *catalog)
{
    size_t n;

    pthread_mutex_lock(&catalog->lock);
    n = catalog->n_entries;
    pthread_mutex_unlock(&catalog->lock);
    return n;
}

struct catalog_store *
catalog_table_at(struct catalog *catalog, size_t idx)
{
    struct catalog_store *entry;

    pthread_mutex_lock(&catalog->lock);
    entry = idx < catalog->n_entries ? catalog->entries[idx] : NULL;
    if (entry != NULL)
        catalog_entry_hold(entry);
    pthread_mutex_unlock(&catalog->lock);
    return entry;
}
