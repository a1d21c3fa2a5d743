/* catalog_internal.h - what the catalog*.c files share; nobody else includes it.
 *
 * Purpose    catalog_entry.c knows one store: opened once, closed by the last who lets go, entered
 *            and dropped. catalog_table.c knows which names there are. catalog.c puts both beside
 *            what is in the data directory.
 * Threads    As in catalog.h. The table's lock is taken last; only catalog_sync(), at a stop that
 *            hurries, holds it while stores write.
 */
#ifndef INGESTD_CATALOG_INTERNAL_H
#define INGESTD_CATALOG_INTERNAL_H

#include "ingestd/catalog.h"

#include <pthread.h>
#include <sys/stat.h>

struct catalog_hidden {
    struct catalog *catalog; /* borrowed */
    _Atomic unsigned n_refs; /* the table has one */
    pthread_rwlock_t use;    /* held to read by who uses the store, to write by who drops it */
    dev_t meta_dev;          /* of meta.tsdb when the entry was made: tells a store that took */
    ino_t meta_ino;          /* the place of another from it */
    struct stat keys;        /* of keys.json, all 0: none; the sweep's own */

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

/* ---- catalog_entry.c ---- */

/* A store that is not open yet; the caller holds it. `meta` is its meta.tsdb. */
enum ts_err catalog_entry_new(struct catalog *catalog, const char *name, const struct stat *meta,
                              struct catalog_store **out) TS_MUST_USE;

/* One more holds it. */
void catalog_entry_hold(struct catalog_store *entry);

/* True if meta.tsdb is another file than when the entry was made. */
bool catalog_entry_is_replaced(const struct catalog_store *entry, const struct stat *meta);

/* Whether it was opened; if so, its fields may be used. */
bool catalog_entry_is_open(const struct catalog_store *entry);

/* Closes the store though others may hold the entry. For the end of the catalogue. */
enum ts_err catalog_entry_close(struct catalog_store *entry) TS_MUST_USE;

/* What changed without anybody asking is told: a disk that fails, keys that are others. */
void catalog_entry_tell_news(struct catalog_store *entry);

/* ---- catalog_table.c ---- */

/* The store of this name, held; NULL if the table has none. */
struct catalog_store *catalog_table_find(struct catalog *catalog, const char *name);

/* Puts a new entry into the table and holds it for the caller; or the one that is there. */
enum ts_err catalog_table_add(struct catalog *catalog, const char *name, const struct stat *meta,
                              struct catalog_store **out) TS_MUST_USE;

/* Takes the table's hold of the entry, unless somebody else just did. */
void catalog_table_remove(struct catalog *catalog, struct catalog_store *entry, const char *why);

/* How many there are, and the one at this place, held; NULL behind the last. */
size_t catalog_table_size(struct catalog *catalog);
struct catalog_store *catalog_table_at(struct catalog *catalog, size_t idx);

#endif
