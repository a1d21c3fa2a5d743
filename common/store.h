/* store.h - the writer of one store, from the inside.
 *
 * Purpose    Append (append.c), seal (seal.c), sync (sync.c) and recover (recover.c) share this.
 * Invariant  A slot is FREE, OPEN (at most one, the current) or CLOSED (waits for the sealer); a
 *            CLOSED slot becomes FREE only when its block is in the ring, and, if any of its
 *            records was told to be durable, when the ring is synced.
 * Threads    `lock` guards what it names. The ring is written by the sealer, or by an append that
 *            holds the lock while no slot is CLOSED; each write takes ring_lock, because a delete
 *            may come between. Order: sync_lock, lock, ring_lock.
 * Errors     A store whose disk fails is `failed`: appends are refused with that text, readers go
 *            on.
 */
#ifndef TS_STORE_H
#define TS_STORE_H

#include "common/extent.h"
#include "common/ring.h"
#include "common/view.h"

#include <pthread.h>

enum ts_slot_state { TS_SLOT_FREE, TS_SLOT_OPEN, TS_SLOT_CLOSED };

struct ts_store {
    struct ts_view view;            /* owns the writable mappings */
    struct ts_ring ring;            /* see Threads */
    struct ts_extent_writer writer; /* with the ring */

    pthread_mutex_t lock;
    pthread_cond_t seal_wanted, slot_freed, sync_wanted, synced;
    /* guarded by lock */
    struct ts_open_block block[TS_HEAD_SLOTS];
    enum ts_slot_state state[TS_HEAD_SLOTS];
    bool is_promised[TS_HEAD_SLOTS];      /* a sync counted records of this slot as durable */
    uint32_t synced_bytes[TS_HEAD_SLOTS]; /* of the slot, from its start */
    unsigned current;
    uint64_t next_seq; /* of the next block to open */
    uint64_t next_no;
    uint32_t head_block_num; /* informative: where the next extent goes */
    bool has_newest;
    int64_t newest_time_ns; /* the newest ever accepted */
    bool is_dirty;          /* something was appended since the last sync began */
    bool is_sync_wanted;
    bool is_ring_dirty; /* a delete or reset changed what was sealed since the last sync */
    bool is_marked[TS_HEAD_SLOTS]; /* a record of a CLOSED slot was deleted: the sealer looks again
                                    */
    uint64_t syncs_begun, syncs_done;
    unsigned n_draining; /* threads that wait until both open blocks are empty */
    bool is_closing;
    enum ts_err failed;
    char failed_text[TS_ERROR_TEXT_BYTES];
    uint32_t faults_seen;
    void (*on_durable)(void *arg);
    void *on_durable_arg;

    _Atomic uint64_t durable_no; /* syncer release, anyone acquire */

    pthread_mutex_t ring_lock; /* the ring's bytes and numbers: a write, a delete, a reset */
    pthread_mutex_t sync_lock; /* one sync at a time */
    /* guarded by sync_lock */
    uint64_t ring_synced_seq;
    _Atomic uint64_t ring_synced_pos; /* relaxed: the sealer only compares it with its own */
    uint64_t sync_counter;
    uint8_t boot_id[16];

    pthread_t sealer, syncer;
    bool has_sealer, has_syncer;
    struct ts_recovery recovery;
};

/* recover.c: fills ring, slots and numbers from the files; called before threads start. */
enum ts_err ts_recover(struct ts_store *store) TS_MUST_USE;

/* seal.c */
void *ts_sealer_main(void *store);
/* Encodes a closed block and writes it to the ring. */
enum ts_err ts_seal_slot(struct ts_store *store, unsigned slot) TS_MUST_USE;

/* append.c: waits until what was closed is in the ring; on return the lock was held since, and the
 * current slot, if open, is empty. */
enum ts_err ts_store_drain_locked(struct ts_store *store) TS_MUST_USE;
/* append.c: opens the given free slot for the next block. */
void ts_store_open_slot_locked(struct ts_store *store, unsigned slot);
/* store.c: TS_OK if the store takes changes. */
enum ts_err ts_store_refuse_locked(struct ts_store *store) TS_MUST_USE;
/* store.c: ends the threads and gives everything back, without a sync. */
void ts_store_abandon(struct ts_store *store);

/* delete.c: after a block was sealed, repeats in the ring what was deleted in its slot meanwhile.
 * The lock is held. */
void ts_delete_again_locked(struct ts_store *store, unsigned slot);

/* reset.c: what removals that were killed left in a data directory. */
void ts_remove_leftovers(const char *data_dir);

/* sync.c */
void *ts_syncer_main(void *store);
/* Makes everything published so far durable. */
enum ts_err ts_sync_all(struct ts_store *store) TS_MUST_USE;
/* Writes data, index and words of the ring to the disk, without a sync point; for recovery. The
 * caller holds sync_lock or is alone. */
enum ts_err ts_sync_ring_files(struct ts_store *store) TS_MUST_USE;
/* Makes the ring durable up to its newest block; for the sealer. */
enum ts_err ts_sync_ring(struct ts_store *store) TS_MUST_USE;
/* Writes the sync point; the caller holds sync_lock or is alone. */
void ts_sync_point_write(struct ts_store *store, bool is_clean);
/* The newest valid sync point of a head file; false if there is none. */
bool ts_sync_point_read(const struct ts_head *head, uint32_t store_id,
                        struct ts_sync_point *out_point);
/* The running kernel's boot id; zeros if it does not tell. */
void ts_boot_id(uint8_t out_id[16]);

/* store.c: refuses all further appends with the calling thread's error text; lock is held. */
void ts_store_fail_locked(struct ts_store *store, enum ts_err err);

/* Rings up to this size are checked whole after a power failure. Larger ones are synced at least
 * every TS_UNSYNCED_BYTES, so that only what may have been overwritten since needs a check. */
#define TS_SMALL_RING_BYTES (UINT64_C(64) << 20)
#define TS_UNSYNCED_BYTES (UINT64_C(16) << 20)

#endif
