/* store.h - the writer of one store, from the inside.
 *
 * Purpose    Append (append.c), seal (seal.c), sync (sync.c) and recover (recover.c) share this.
 * Invariant  A slot is FREE, OPEN (at most one, the current) or CLOSED (waits to be sealed); a
 *            CLOSED slot becomes FREE only when its block is in the ring, and, if any of its
 *            records was told to be durable, when the ring is synced.
 * Threads    `lock` guards what it names. Whoever holds seal_lock seals: the sealer, or an append
 *            that would have to wait for it. Handing a slot over and back takes no lock, so that
 *            neither side ever sleeps for the other while there is work for it; see slot_word.
 *            The ring is written by who seals, or by an append that holds the lock while no slot
 *            is CLOSED; each write takes ring_lock, because a delete may come between.
 *            Order: seal_lock, sync_lock, lock, ring_lock.
 * Errors     A store whose disk fails is `failed`: appends are refused with that text, readers go
 *            on.
 */
#ifndef TS_STORE_H
#define TS_STORE_H

#include "common/extent.h"
#include "common/ring.h"
#include "common/view.h"

#include <pthread.h>
#include <time.h>

static inline int64_t
ts_monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* FREE to OPEN to CLOSED by who holds the lock; CLOSED to FREE by who holds seal_lock. The word
 * also carries notes for who seals; they are set under the lock, and only while the slot is not
 * FREE. */
enum ts_slot_state { TS_SLOT_FREE, TS_SLOT_OPEN, TS_SLOT_CLOSED, TS_SLOT_STATES = 3 };
#define TS_SLOT_PROMISED 4u /* a sync counted records of this slot as durable */
#define TS_SLOT_MARKED 8u   /* a record was deleted after the slot was CLOSED */

/* Since the store was opened. */
struct ts_sync_counts {
    uint64_t n_syncs, n_failed; /* n_syncs: those that succeeded */
};

struct ts_store {
    struct ts_view view; /* owns the writable mappings */
    struct ts_ring ring; /* see Threads */
    pthread_mutex_t seal_lock;
    /* guarded by seal_lock */
    struct ts_extent_writer writer;

    /* Readers acquire, writers release: with the state goes what the block holds. */
    _Atomic uint32_t slot_word[TS_HEAD_SLOTS];
    _Atomic uint32_t n_waiting;      /* threads that wait for a slot; see seal_and_unlock() */
    _Atomic uint32_t head_block_num; /* relaxed; informative: where the next extent goes */
    _Atomic bool is_stuck;           /* relaxed; sealing failed, and will again */
    _Atomic bool is_sync_near;       /* relaxed; the next block or the one after waits for a sync */

    pthread_mutex_t lock;
    pthread_cond_t seal_wanted, slot_freed, sync_wanted, synced;
    /* guarded by lock */
    struct ts_open_block block[TS_HEAD_SLOTS];
    uint32_t synced_bytes[TS_HEAD_SLOTS]; /* of the slot, from its start */
    unsigned current;
    uint64_t next_seq; /* of the next block to open */
    uint64_t next_no;
    bool has_newest;
    int64_t newest_time_ns;  /* the newest ever accepted */
    int64_t future_limit_ns; /* times up to here are not too far ahead; the clock may allow more */
    struct ts_future_counts future;
    bool is_dirty; /* something was appended since the last sync began */
    bool is_sync_wanted;
    bool is_ring_dirty; /* a delete or reset changed what was sealed since the last sync */
    uint64_t syncs_begun, syncs_done;
    struct ts_sync_counts sync_counts;
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

static inline enum ts_slot_state
ts_slot_state(const struct ts_store *store, unsigned slot)
{
    /* acquire: CLOSED, and the block is complete; FREE, and it is in the ring. */
    return (enum ts_slot_state)(
        atomic_load_explicit(&store->slot_word[slot], memory_order_acquire) & TS_SLOT_STATES);
}

/* Sets a note of a slot. False if it is FREE by now: its block is in the ring. The lock is held. */
bool ts_slot_note_locked(struct ts_store *store, unsigned slot, uint32_t note);

/* seal.c */
void *ts_sealer_main(void *store);
/* True if a CLOSED slot should not wait for the next append that needs it. */
bool ts_seal_is_for_thread(const struct ts_store *store, unsigned slot);
/* Seals the oldest CLOSED slot, if there is one. No lock is held. */
bool ts_seal_next(struct ts_store *store);
/* Waits, or seals it itself, until a slot that was CLOSED may be FREE. The lock is held, and
 * dropped meanwhile. */
enum ts_err ts_seal_wait_locked(struct ts_store *store, unsigned slot) TS_MUST_USE;
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
/* How many syncs there were; from any thread. */
void ts_store_sync_counts(struct ts_store *store, struct ts_sync_counts *out);
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
