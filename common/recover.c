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
#include "common/store.h"

#include "common/checksum.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct recovery {
    struct ts_store *store;
    struct ts_meta *meta;
    struct ts_block scratch;
    struct ts_sync_point point; /* if has_point */
    bool has_point, is_trusted;
    bool must_jump; /* numbers were given out whose records are lost */
    uint64_t seed;
};

/* ---- the ring ---- */

/* True if the block is in the index and, with all its bytes, in the ring. */
static bool
is_whole(struct recovery *r, uint64_t seq, struct ts_index_entry *out_entry)
{
    const struct ts_view *view = &r->store->view;
    const uint64_t ring_bytes = view->geometry.ring_bytes;

    if (seq == 0 || !ts_index_read(&view->index, seq, r->seed, out_entry) ||
        out_entry->extent_bytes > ring_bytes || out_entry->extent_bytes % 8 != 0 ||
        ts_block_reserve(&r->scratch, out_entry->extent_bytes) != TS_OK)
        return false;
    ts_ring_copy(r->meta, view->map[TS_FILE_DATA].base, ring_bytes, out_entry, r->scratch.extent);
    return ts_extent_decode(&r->scratch, out_entry->extent_bytes, seq, out_entry->first_no,
                            out_entry->count, ring_bytes, r->seed) == TS_OK;
}

/* The highest sequence number of any good entry, 0 if there is none. Reads the whole index. */
static uint64_t
highest_entry(const struct recovery *r)
{
    const struct ts_index *index = &r->store->view.index;
    uint64_t highest = 0;

    for (uint64_t i = 0; i < index->n_entries; i++) {
        const struct ts_index_entry *raw =
            (const void *)(index->base + i * sizeof(struct ts_index_entry));
        struct ts_index_entry entry;

        if (raw->seq > highest && (raw->seq - 1) % index->n_entries == i &&
            ts_index_read(index, raw->seq, r->seed, &entry))
            highest = raw->seq;
    }
    return highest;
}

/* The lowest block of the run of good entries that ends with `seq`. */
static uint64_t
lowest_of_run(const struct recovery *r, uint64_t seq)
{
    const struct ts_index *index = &r->store->view.index;
    struct ts_index_entry entry, above;

    if (!ts_index_read(index, seq, r->seed, &above))
        return seq + 1;
    while (seq > 1 && above.seq - (seq - 1) < index->n_entries &&
           ts_index_read(index, seq - 1, r->seed, &entry)) {
        if (entry.ring_pos + r->store->view.geometry.ring_bytes <
            above.ring_pos + above.extent_bytes)
            break; /* overwritten by the newest of the run, at the latest */
        seq--;
    }
    return seq;
}

/* Takes over ring positions and numbers from the newest good block at or below ring->sealed_seq. */
static void
adopt_ring(struct recovery *r)
{
    struct ts_ring *ring = &r->store->ring;
    struct ts_index_entry entry;
    uint64_t seq = ring->sealed_seq;

    ring->head_pos = ring->tail_pos = 0;
    ring->next_no = 1;
    ring->high_time_ns = INT64_MIN;
    /* Also below the tail: a writer that was killed between emptying the ring and writing to it
     * left the numbers in an entry that nobody needs any more. */
    for (uint64_t n = 0; n < ring->index.n_entries && seq > 0; n++, seq--) {
        if (ts_index_read(&ring->index, seq, r->seed, &entry)) {
            ring->head_pos = entry.ring_pos + entry.extent_bytes;
            ring->next_no = entry.first_no + entry.count;
            ring->high_time_ns = entry.high_time_ns;
            break;
        }
    }
    ring->tail_pos = ring->head_pos;
    if (ts_index_find_no(&ring->index, ring->tail_seq, ring->sealed_seq, r->seed, 0, &entry))
        ring->tail_pos = entry.ring_pos;
}

static bool
words_are_good(const struct recovery *r, uint64_t *out_tail, uint64_t *out_sealed)
{
    const uint64_t n = r->store->view.geometry.n_index;

    return ts_word_unpack(atomic_load_explicit(&r->meta->tail_seq, memory_order_relaxed),
                          TS_WORD_TAIL, out_tail) &&
           ts_word_unpack(atomic_load_explicit(&r->meta->sealed_seq, memory_order_relaxed),
                          TS_WORD_SEALED, out_sealed) &&
           *out_tail >= 1 && *out_tail <= *out_sealed + 1 && *out_sealed - *out_tail + 1 <= n;
}

static void
recover_ring_trusted(struct recovery *r)
{
    struct ts_ring *ring = &r->store->ring;
    struct ts_index_entry entry;

    if (!words_are_good(r, &ring->tail_seq, &ring->sealed_seq)) {
        ring->sealed_seq = highest_entry(r);
        ring->tail_seq = ring->sealed_seq > 0 ? lowest_of_run(r, ring->sealed_seq) : 1;
        snprintf(r->store->recovery.text, sizeof r->store->recovery.text,
                 TS_META_FILE ": damaged at offset 48: rebuilt from " TS_INDEX_FILE);
    }
    /* Killed in the middle of a reset: the blocks are of the generation before. */
    if (r->has_point && r->point.generation != ts_meta_generation(r->meta) &&
        !ts_index_find_no(&ring->index, ring->tail_seq, ring->sealed_seq, r->seed, 0, &entry))
        ring->tail_seq = ring->sealed_seq + 1;
    adopt_ring(r);
}

/* The newest block such that it and all that were sealed since the last sync are whole. */
static uint64_t
newest_whole(struct recovery *r, bool is_small)
{
    struct ts_index_entry entry;
    uint64_t seq = r->has_point ? r->point.sealed_seq : 0;

    if (!r->has_point || (is_small && seq > 0 && !is_whole(r, seq, &entry))) {
        /* What was durable then was overwritten since, as it may be: the newest there is. */
        seq = highest_entry(r);
        while (seq > 0 && !is_whole(r, seq, &entry))
            seq--;
        /* None: a reset was the last thing that was synced. */
        return seq == 0 && r->has_point ? r->point.sealed_seq : seq;
    }
    while (is_whole(r, seq + 1, &entry))
        seq++;
    return seq;
}

static void
recover_ring_after_power_loss(struct recovery *r)
{
    struct ts_ring *ring = &r->store->ring;
    const uint64_t ring_bytes = ring->ring_bytes;
    const bool is_small = ring_bytes <= TS_SMALL_RING_BYTES;
    struct ts_index_entry entry;
    uint64_t end, seq;

    ring->sealed_seq = newest_whole(r, is_small);
    ring->tail_seq = ring->sealed_seq > 0 ? lowest_of_run(r, ring->sealed_seq) : 1;
    if (ring->sealed_seq > 0 && ts_index_read(&ring->index, ring->sealed_seq, r->seed, &entry)) {
        end = entry.ring_pos + entry.extent_bytes;
        /* From the newest downwards in a small ring, from the oldest upwards in a large one:
         * whatever may have been overwritten by blocks that did not survive. */
        for (seq = ring->sealed_seq; is_small && seq >= ring->tail_seq; seq--) {
            if (!is_whole(r, seq, &entry)) {
                ring->tail_seq = seq + 1;
                break;
            }
        }
        for (seq = ring->tail_seq; !is_small && seq <= ring->sealed_seq; seq++) {
            if (!is_whole(r, seq, &entry))
                ring->tail_seq = seq + 1;
            else if (entry.ring_pos + ring_bytes > end + TS_UNSYNCED_BYTES)
                break;
        }
    }
    adopt_ring(r);
}

static void
publish_ring(const struct recovery *r)
{
    const struct ts_ring *ring = &r->store->ring;

    ts_ring_reclaim(r->meta, ring->tail_seq);
    ts_meta_publish_sealed(r->meta, ring->sealed_seq);
}

/* ---- the open blocks ---- */

/* What was found in a slot. */
struct found_slot {
    uint64_t seq, first_no;
    uint32_t count, used_bytes, body_bytes, n_damaged;
    uint32_t n_lost; /* counted records behind the last that could be found */
    int64_t last_time_ns;
};

/* Bytes of the record at `off`, pad included, if it is record `no`; 0 otherwise. */
static uint32_t
record_at(const struct recovery *r, const uint8_t *base, uint32_t off, uint32_t limit, uint64_t no)
{
    const struct ts_slot_record *record = (const void *)(base + off);
    uint32_t checksum;

    if (off % 8 != 0 || off + sizeof *record > limit ||
        TS_RECORD_BYTES(record->bytes) > limit - off - sizeof *record)
        return 0;
    checksum = ts_record_checksum(r->seed, no, record->time_ns, record->series_no, record + 1,
                                  record->bytes);
    return checksum == record->checksum ? (uint32_t)(sizeof *record + TS_PAD8(TS_RECORD_BYTES(record->bytes)))
                                        : 0;
}

/* A record that was counted and fails its checksum is kept as damaged if the one behind it can
 * still be found through the array. Returns the offset to go on at, 0 if the slot ends here. */
static uint32_t
pass_damaged(const struct recovery *r, uint8_t *base, const struct found_slot *found, uint32_t off,
             uint32_t published)
{
    const uint32_t open_bytes = r->store->view.geometry.open_bytes;
    struct ts_slot_record *record = (void *)(base + off);
    uint32_t next;

    if (!r->is_trusted || found->count + 1 > published || off + sizeof *record > open_bytes)
        return 0;
    if (found->count + 1 == published) {
        /* The newest: nothing tells where it ends, and nothing behind it needs to know. */
        next = (uint32_t)(off + sizeof *record);
    } else {
        next = ts_load_u32(base + ts_slot_array_off(open_bytes, found->count + 1));
        if (next <= off || next > open_bytes ||
            record_at(r, base, next, (uint32_t)ts_slot_array_off(open_bytes, found->count + 1),
                      found->first_no + found->count + 1) == 0)
            return 0;
    }
    record->bytes = (uint32_t)(next - off - sizeof *record);
    record->time_ns = found->last_time_ns;
    atomic_fetch_or_explicit(&record->flags, TS_RECORD_DAMAGED, memory_order_relaxed);
    return next;
}

/* Reads a slot as block `seq` beginning with first_no, as far as it is good. */
static void
walk_slot(const struct recovery *r, unsigned i, uint64_t seq, uint64_t first_no,
          struct found_slot *out)
{
    const uint32_t open_bytes = r->store->view.geometry.open_bytes;
    struct ts_slot *slot = ts_view_slot(&r->store->view, i);
    const uint32_t published = ts_load_u32(&slot->count);
    uint8_t *base = (uint8_t *)slot;
    uint32_t off = TS_SLOT_HEADER_BYTES;
    struct found_slot whole;

    *out = (struct found_slot){
        .seq = seq, .first_no = first_no, .used_bytes = off, .last_time_ns = INT64_MIN};
    whole = *out;
    while (ts_slot_array_off(open_bytes, out->count) >= off + sizeof(struct ts_slot_record)) {
        const uint32_t array_off = (uint32_t)ts_slot_array_off(open_bytes, out->count);
        const struct ts_slot_record *record = (const void *)(base + off);
        const bool was_damaged =
            r->is_trusted && out->count < published &&
            (atomic_load_explicit(&record->flags, memory_order_relaxed) & TS_RECORD_DAMAGED);
        uint32_t bytes = was_damaged ? 0 : record_at(r, base, off, array_off, first_no + out->count);

        if (bytes == 0) {
            const uint32_t next = pass_damaged(r, base, out, off, published);

            if (next == 0)
                break;
            bytes = next - off;
            out->n_damaged += !was_damaged;
        } else {
            out->last_time_ns = record->time_ns;
        }
        ts_store_u32(base + array_off, off);
        out->body_bytes += TS_RECORD_BYTES(record->bytes);
        out->count++;
        off += bytes;
        out->used_bytes = off;
        if (!(record->bytes & TS_RECORD_MORE))
            whole = *out;
    }
    /* The beginning of a batch whose end was not written counts for nothing. */
    if (out->count > whole.count && (whole.count >= published || !r->is_trusted))
        *out = whole;
    if (r->is_trusted && published > out->count &&
        published <= open_bytes / (sizeof(struct ts_slot_record) + sizeof(uint32_t)))
        out->n_lost = published - out->count;
}

static bool
slot_header_is_good(const struct recovery *r, const struct ts_slot *slot)
{
    const uint64_t words[3] = {slot->flags, slot->opened_seq, slot->opened_no};

    return slot->opened_seq != 0 && slot->checksum == ts_checksum(words, sizeof words, r->seed);
}

/* The slot that holds block `seq`, if any: by its header or, if that is damaged, by a first record
 * that proves to be number first_no. */
static int
slot_of(const struct recovery *r, uint64_t seq, uint64_t first_no)
{
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        const struct ts_slot *slot = ts_view_slot(&r->store->view, i);

        if (slot_header_is_good(r, slot)) {
            if (slot->opened_seq == seq)
                return (int)i;
        } else if (record_at(r, (const uint8_t *)slot, TS_SLOT_HEADER_BYTES,
                             r->store->view.geometry.open_bytes, first_no) != 0) {
            return (int)i;
        }
    }
    return -1;
}

static uint64_t
slot_first_no(const struct recovery *r, int i, uint64_t expected)
{
    const struct ts_slot *slot = ts_view_slot(&r->store->view, (unsigned)i);

    return slot_header_is_good(r, slot) ? slot->opened_no : expected;
}

/* The lowest block number behind `seq` that a good slot header names; 0 if there is none. */
static uint64_t
next_block_in_slots(const struct recovery *r, uint64_t seq)
{
    uint64_t lowest = 0;

    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        const struct ts_slot *slot = ts_view_slot(&r->store->view, i);

        if (slot_header_is_good(r, slot) && slot->opened_seq > seq &&
            (lowest == 0 || slot->opened_seq < lowest))
            lowest = slot->opened_seq;
    }
    return lowest;
}

/* Puts a found block back into service as the current one. */
static void
revive_slot(struct recovery *r, unsigned i, const struct found_slot *found)
{
    struct ts_store *store = r->store;
    struct ts_slot *slot = ts_view_slot(&store->view, i);

    if (!slot_header_is_good(r, slot)) {
        ts_store_u32(&slot->flags, 0);
        slot->opened_seq = found->seq;
        slot->opened_no = found->first_no;
        slot->checksum = ts_checksum((uint64_t[3]){0, found->seq, found->first_no},
                                     3 * sizeof(uint64_t), r->seed);
    }
    atomic_store_explicit(&slot->first_no, found->first_no, memory_order_relaxed);
    /* release: as in ts_slot_put(); readers may have been looking all the time. */
    atomic_store_explicit(&slot->count, found->count, memory_order_release);
    atomic_store_explicit(&slot->seq, found->seq, memory_order_release);
    store->block[i] = (struct ts_open_block){.slot = slot,
                                             .open_bytes = store->view.geometry.open_bytes,
                                             .used_bytes = found->used_bytes,
                                             .body_bytes = found->body_bytes,
                                             .count = found->count,
                                             .seq = found->seq,
                                             .first_no = found->first_no,
                                             .seed = r->seed};
    store->state[i] = TS_SLOT_OPEN;
    store->synced_bytes[i] = 0;
    store->is_promised[i] = found->count > 0; /* the last writer may have told so */
    store->current = i;
    store->recovery.n_head_records += found->count;
    store->recovery.n_damaged += found->n_damaged + found->n_lost;
    if (found->count > 0) {
        store->has_newest = true;
        store->newest_time_ns = found->last_time_ns;
    }
}

static enum ts_err
seal_now(struct recovery *r, unsigned i)
{
    struct ts_store *store = r->store;
    enum ts_err err = TS_OK;

    if (store->block[i].count > 0)
        err = ts_seal_slot(store, i);
    store->state[i] = TS_SLOT_FREE;
    return err;
}

/* Finds the (at most two) blocks behind the ring. */
static enum ts_err
recover_slots(struct recovery *r)
{
    struct ts_store *store = r->store;
    struct found_slot found = {0};
    uint64_t seq = store->ring.sealed_seq + 1;
    uint64_t first_no = store->ring.next_no;
    enum ts_err err = TS_OK;
    int previous = -1;

    for (unsigned turn = 0; turn < TS_HEAD_SLOTS; turn++) {
        int i = slot_of(r, seq, first_no);

        if (i < 0 && r->is_trusted && turn == 0) {
            /* Newest blocks of the ring whose entries are damaged leave a distance. */
            seq = next_block_in_slots(r, store->ring.sealed_seq);
            i = seq != 0 ? slot_of(r, seq, first_no) : -1;
        }
        if (i < 0 || i == previous)
            break;
        /* The first may begin anywhere behind the ring: after a jump, or a reset. */
        if (turn > 0 ? slot_first_no(r, i, first_no) != first_no
                     : slot_first_no(r, i, first_no) < first_no)
            break;
        walk_slot(r, (unsigned)i, seq, slot_first_no(r, i, first_no), &found);
        revive_slot(r, (unsigned)i, &found);
        if (previous >= 0) {
            err = seal_now(r, (unsigned)previous);
            if (err != TS_OK)
                return err;
        }
        previous = i;
        store->next_seq = seq + 1;
        store->next_no = found.first_no + found.count;
        first_no = store->next_no;
        seq++;
        if (found.n_lost > 0) {
            /* Their numbers were seen by readers and are over. */
            store->next_no += found.n_lost;
            r->must_jump = true;
            break;
        }
    }
    if (previous < 0) {
        store->next_seq = store->ring.sealed_seq + 1;
        store->next_no = store->ring.next_no;
    }
    return TS_OK;
}

/* A new, empty current block in a slot that is free. */
static void
open_fresh(struct recovery *r, uint32_t flags)
{
    struct ts_store *store = r->store;
    const unsigned i = store->state[0] == TS_SLOT_FREE ? 0 : 1;

    ts_slot_open(&store->block[i], ts_view_slot(&store->view, i), store->view.geometry.open_bytes,
                 store->next_seq, store->next_no, flags, r->seed);
    store->state[i] = TS_SLOT_OPEN;
    store->synced_bytes[i] = 0;
    store->current = i;
    store->next_seq++;
}

/* ---- all of it ---- */

static enum ts_err
recover_generation(struct recovery *r)
{
    uint64_t generation;

    r->has_point = ts_sync_point_read(ts_view_head(&r->store->view), r->store->view.store_id,
                                      &r->point);
    if (!ts_word_unpack(atomic_load_explicit(&r->meta->generation, memory_order_relaxed),
                        TS_WORD_GENERATION, &generation)) {
        if (!r->has_point)
            return TS_FAIL(TS_E_CORRUPT,
                           "store %s: " TS_META_FILE ": damaged at offset 40: the generation, and "
                           TS_HEAD_FILE " does not tell it either",
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
note_result(struct recovery *r, uint64_t started_ns)
{
    struct ts_recovery *note = &r->store->recovery;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    note->elapsed_ns =
        (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec - started_ns;
    note->was_clean = r->has_point && r->point.is_clean && note->n_damaged == 0;
    note->power_lost = !r->is_trusted;
    if (note->text[0] == '\0' && !note->was_clean)
        snprintf(note->text, sizeof note->text,
                 "recovered after %s: %ju records in open blocks, %ju damaged, newest number %ju",
                 r->is_trusted ? "a crash" : "a power failure", (uintmax_t)note->n_head_records,
                 (uintmax_t)note->n_damaged, (uintmax_t)(r->store->next_no - 1));
}

/* Leaves an open block to append to: the one that was found or, after a jump, a new one. */
static enum ts_err
begin_block(struct recovery *r)
{
    struct ts_store *store = r->store;
    enum ts_err err = TS_OK;

    if (!r->must_jump) {
        if (store->state[store->current] != TS_SLOT_OPEN)
            open_fresh(r, 0);
        return TS_OK;
    }
    if (store->state[store->current] == TS_SLOT_OPEN) {
        if (store->block[store->current].count == 0)
            store->next_seq = store->block[store->current].seq; /* never sealed: no gap in seq */
        err = seal_now(r, store->current);
    }
    if (err != TS_OK)
        return err;
    /* What was not taken over must not be found by the next recovery, under a number that is
     * going to be used again. */
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        struct ts_slot *slot = ts_view_slot(&store->view, i);

        atomic_store_explicit(&slot->seq, 0, memory_order_relaxed);
        slot->opened_seq = 0;
        slot->checksum = 0;
        store->state[i] = TS_SLOT_FREE;
    }
    atomic_thread_fence(memory_order_release);
    open_fresh(r, TS_EXTENT_JUMP);
    return TS_OK;
}

static enum ts_err
recover_all(struct recovery *r)
{
    struct ts_store *store = r->store;
    enum ts_err err;

    err = recover_generation(r);
    if (err != TS_OK)
        return err;
    r->is_trusted =
        r->has_point && (r->point.is_clean ||
                         memcmp(r->point.boot_id, store->boot_id, sizeof store->boot_id) == 0);
    if (r->is_trusted)
        recover_ring_trusted(r);
    else
        recover_ring_after_power_loss(r);
    publish_ring(r);
    if (store->ring.high_time_ns != INT64_MIN) {
        store->has_newest = true;
        store->newest_time_ns = store->ring.high_time_ns;
    }
    err = recover_slots(r);
    if (err != TS_OK)
        return err;
    if (!r->is_trusted) {
        store->next_no = (store->next_no | UINT32_MAX) + 1;
        r->must_jump = true;
    }
    return begin_block(r);
}

enum ts_err
ts_recover(struct ts_store *store)
{
    struct recovery r = {.store = store, .meta = ts_view_meta(&store->view)};
    struct timespec started;
    enum ts_err err;

    clock_gettime(CLOCK_MONOTONIC, &started);
    store->ring = (struct ts_ring){.meta = r.meta,
                                   .base = store->view.map[TS_FILE_DATA].base,
                                   .ring_bytes = store->view.geometry.ring_bytes,
                                   .index = store->view.index};
    err = recover_all(&r);
    if (err == TS_OK) {
        store->head_block_num = ts_view_block_num(&store->view, store->ring.head_pos);
        /* Whatever was found is to be made durable (again) by the first sync. */
        store->is_dirty = store->recovery.n_head_records > 0 && !r.point.is_clean;
        store->sync_counter = r.has_point ? r.point.counter : 1;
        if (r.has_point && r.is_trusted) {
            store->ring_synced_seq = r.point.sealed_seq;
            atomic_store_explicit(&store->ring_synced_pos, r.point.ring_pos, memory_order_relaxed);
            atomic_store_explicit(&store->durable_no, r.point.durable_no, memory_order_relaxed);
        }
        note_result(&r, (uint64_t)started.tv_sec * UINT64_C(1000000000) +
                            (uint64_t)started.tv_nsec);
    }
    ts_block_done(&r.scratch);
    return err;
}
