/* recover.c - what a store holds, when it is opened for writing.
 *
 * Two cases.
 *
 *   Trusted: closed in order, or the same kernel still runs. Then the page cache has every store
 *   that the last writer made, in program order, whatever killed it. The words of meta.tsdb are
 *   the truth; records behind the published count that are whole are kept; a record whose checksum
 *   fails was damaged by something else, and costs itself alone.
 *
 *   Power lost: any subset of the pages written since the last sync may have reached the disk.
 *   Checksums decide. Blocks are followed upwards from the last sync point as long as they are
 *   whole; at the tail, those that may have been overwritten since are checked; then the open
 *   blocks are read up to the first record that is not whole. Record numbers are then raised to
 *   the next multiple of 2^32, since readers may have seen numbers whose records are gone.
 *
 * Work is bounded by the open blocks and TS_UNSYNCED_BYTES (rings up to TS_SMALL_RING_BYTES: by
 * the ring), not by the size of the store. Only what both words of meta.tsdb and both sync points
 * have lost makes it read the whole index.
 */
#include "common/recover.h"

#include "common/checksum.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static enum ts_err
recover_generation(struct ts_recovering *r)
{
    uint64_t generation;

    r->has_point =
        ts_sync_point_read(ts_view_head(&r->store->view), r->store->view.store_id, &r->point);
    if (!ts_word_unpack(atomic_load_explicit(&r->meta->generation, memory_order_relaxed),
                        TS_WORD_GENERATION, &generation)) {
        if (!r->has_point)
            return TS_FAIL(TS_E_CORRUPT,
                           "store %s: " TS_META_FILE
                           ": damaged at offset 40: the generation, and " TS_HEAD_FILE
                           " does not tell it either",
                           r->store->view.name);
        generation = r->point.generation;
        ts_meta_publish_generation(r->meta, generation);
    }
    if (generation == TS_GENERATION_DROPPED)
        return TS_FAIL_PLAIN(TS_E_NOT_FOUND);
    r->seed = ts_seed(r->store->view.store_id, generation);
    r->store->ring.seed = r->seed;
    return TS_OK;
}

static void
note_result(struct ts_recovering *r, int64_t started_ns)
{
    struct ts_recovery *note = &r->store->recovery;

    note->elapsed_ns = (uint64_t)(ts_monotonic_ns() - started_ns);
    note->was_clean = r->has_point && r->point.is_clean && note->n_damaged == 0;
    note->power_lost = !r->is_trusted;
    if (note->text[0] == '\0' && !note->was_clean)
        snprintf(note->text, sizeof note->text,
                 "recovered after %s: %ju records in open blocks, %ju damaged, newest number %ju",
                 r->is_trusted ? "a crash" : "a power failure", (uintmax_t)note->n_head_records,
                 (uintmax_t)note->n_damaged, (uintmax_t)(r->store->next_no - 1));
}

/* A boot that has no number (a sandbox may hide it) is never the same as another. */
static bool
is_this_boot(const struct ts_sync_point *point, const uint8_t boot_id[16])
{
    static const uint8_t unknown[16];

    return memcmp(point->boot_id, boot_id, sizeof point->boot_id) == 0 &&
           memcmp(boot_id, unknown, sizeof unknown) != 0;
}

/* Numbers that were given out once stay given out. */
static void
raise_numbers(struct ts_recovering *r)
{
    struct ts_store *store = r->store;

    if (r->has_point && store->next_no <= r->point.durable_no) {
        if (r->is_trusted)
            store->recovery.n_damaged += r->point.durable_no + 1 - store->next_no;
        store->next_no = r->point.durable_no + 1;
        r->must_jump = true;
    }
    if (!r->is_trusted || r->is_number_unknown) {
        store->next_no = (store->next_no | UINT32_MAX) + 1;
        r->must_jump = true;
    }
}

static enum ts_err
recover_all(struct ts_recovering *r)
{
    struct ts_store *store = r->store;
    enum ts_err err;

    err = recover_generation(r);
    if (err != TS_OK)
        return err;
    r->is_trusted = r->has_point && (r->point.is_clean || is_this_boot(&r->point, store->boot_id));
    err = ts_recover_ring(r);
    if (err != TS_OK)
        return err;
    if (store->ring.high_time_ns != INT64_MIN) {
        store->has_newest = true;
        store->newest_time_ns = store->ring.high_time_ns;
    }
    err = ts_recover_slots(r);
    if (err != TS_OK)
        return err;
    raise_numbers(r);
    return ts_recover_begin_block(r);
}

enum ts_err
ts_recover(struct ts_store *store)
{
    struct ts_recovering r = {.store = store, .meta = ts_view_meta(&store->view)};
    const int64_t started_ns = ts_monotonic_ns();
    enum ts_err err;

    store->ring = (struct ts_ring){.meta = r.meta,
                                   .base = store->view.map[TS_FILE_DATA].base,
                                   .ring_bytes = store->view.geometry.ring_bytes,
                                   .index = store->view.index};
    err = recover_all(&r);
    if (err == TS_OK) {
        atomic_store_explicit(&store->head_block_num,
                              ts_view_block_num(&store->view, store->ring.head_pos),
                              memory_order_relaxed);
        /* Whatever was found is to be made durable (again) by the first sync. */
        store->is_dirty = store->recovery.n_head_records > 0 && !r.point.is_clean;
        store->sync_counter = r.has_point ? r.point.counter : 1;
        if (r.has_point && r.is_trusted) {
            store->ring_synced_seq = r.point.sealed_seq;
            atomic_store_explicit(&store->ring_synced_pos, r.point.ring_pos, memory_order_relaxed);
            atomic_store_explicit(&store->durable_no, r.point.durable_no, memory_order_relaxed);
        }
        if (!r.is_trusted) /* once ts_store_open() has synced it all */
            atomic_store_explicit(&store->durable_no, store->next_no - 1, memory_order_relaxed);
        note_result(&r, started_ns);
    }
    ts_block_done(&r.scratch);
    return err;
}
