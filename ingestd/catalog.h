/* catalog.h - every store this process may write to, by name.
 *
 * Purpose    Open all stores at start, find one by name, create one; say so to queryd.
 * Invariant  A store is open at most once. One that cannot be opened keeps its entry, its keys and
 *            the reason; it never keeps another from opening. A store is closed when nobody holds
 *            its entry, or dropped: who uses entry->store is between catalog_enter() and
 *            catalog_leave(), and a drop waits for him.
 * Ownership  An entry that was found is held until catalog_release(). The catalogue is closed
 *            after the last release.
 * Threads    All calls from any thread. An entry's fields are constant while it is held, but for
 *            those with a word about it.
 * Errors     TS_E_NOT_FOUND, and what ts_store_open() and ts_store_create() say.
 */
#ifndef INGESTD_CATALOG_H
#define INGESTD_CATALOG_H

#include "common/json.h"
#include "common/keys.h"
#include "common/tsstore.h"
#include "ingestd/publish.h"
#include "ingestd/store_schema.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

struct catalog;

struct catalog_store {
    char name[TS_MAX_NAME_BYTES + 1];
    uint64_t id;                /* never 0, never that of another entry */
    struct ts_keyring *keyring; /* owned */

    /* Set by catalog_open_store(); constant from then on, but for a drop. */
    struct ts_store *store; /* owned; NULL before, and once it was dropped */
    enum ts_type type;
    struct store_schema *schema; /* owned; of schema stores */
    uint32_t sync_ms;
    struct publish_slot slot;

    _Atomic bool is_gone; /* its directory was removed or replaced: append nothing more */

    /* For the socket's loop alone. */
    struct {
        bool is_moved; /* on the list of stores that got records in this round */
        LIST_ENTRY(catalog_store) moved;
    } in_socket;

    struct catalog_hidden *hidden; /* of catalog_internal.h */
};

/* Opens all stores below data_dir, and logs those that it cannot. `durable_fd` is an eventfd that
 * is written to when a store with TS_SYNC_EACH has more durable records; -1: nobody asks. */
enum ts_err catalog_open(const char *data_dir, struct publish *publish, int durable_fd,
                         struct catalog **out) TS_MUST_USE;

/* Syncs and closes all; the first failure is returned, all are logged. Nobody holds an entry. */
enum ts_err catalog_close(struct catalog *catalog);

/* Holds the entry of a store that exists, open or not: also one that was created meanwhile by
 * somebody else, and never one whose directory is no longer there. TS_E_NOT_FOUND. */
enum ts_err catalog_find(struct catalog *catalog, struct ts_span name,
                         struct catalog_store **out) TS_MUST_USE;
void catalog_release(struct catalog_store *entry);

/* Makes sure that entry->store is open. After a failure the same answer is given for a second
 * before the files are looked at again. Call it for those who showed a key only. */
enum ts_err catalog_open_store(struct catalog_store *entry) TS_MUST_USE;

/* Creates a store with its first key and opens it. On failure nothing is left behind. */
enum ts_err catalog_create(struct catalog *catalog, const char *name,
                           const struct ts_options *options,
                           char out_key[TS_KEY_TEXT_BYTES]) TS_MUST_USE;

/* From here until catalog_leave() entry->store, which was opened, stays there. TS_E_CLOSED, at
 * once, if the store is no more. */
enum ts_err catalog_enter(struct catalog_store *entry) TS_MUST_USE;
void catalog_leave(struct catalog_store *entry);

/* Removes the store, which was opened, with its directory: on return its key is worth nothing. The
 * entry stays the caller's to release. TS_E_CLOSED if somebody else just did. */
enum ts_err catalog_drop(struct catalog_store *entry) TS_MUST_USE;

/* Lets go of stores whose directory was removed or replaced. To be called now and then. */
void catalog_sweep(struct catalog *catalog);

/* Makes all appended records durable, while others may still append. The first failure. */
enum ts_err catalog_sync(struct catalog *catalog);

/* How many stores are known, and how many of them are open. */
void catalog_count(struct catalog *catalog, size_t *out_known, size_t *out_open);

#endif
