/* recover_ring.c - which blocks of the ring are whole. */
#include "common/recover.h"

#include <stdio.h>

/* True if the block is in the index and, with all its bytes, in the ring. */
static bool
is_whole(struct ts_recovering *r, uint64_t seq, struct ts_index_entry *out_entry)
{
    const struct ts_view *view = &r->store->view;
    const uint64_t ring_bytes = view->geometry.ring_bytes;

    enum ts_err err;

    if (seq == 0 || !ts_index_read(&view->index, seq, r->seed, out_entry) ||
        out_entry->extent_bytes > ring_bytes || out_entry->extent_bytes % 8 != 0)
        return false;
    err = ts_block_reserve(&r->scratch, out_entry->extent_bytes);
    if (err != TS_OK) {
        r->failed = err;
        return false;
    }
    ts_ring_copy(r->meta, view->map[TS_FILE_DATA].base, ring_bytes, out_entry, r->scratch.extent);
    err = ts_extent_decode(&r->scratch, out_entry->extent_bytes, seq, out_entry->first_no,
                           out_entry->count, ring_bytes, r->seed);
    if (err == TS_E_NOMEM)
        r->failed = err;
    return err == TS_OK;
}

/* The highest sequence number of any good entry, 0 if there is none. Reads the whole index. */
static uint64_t
highest_entry(const struct ts_recovering *r)
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

/* The lowest block whose bytes were not overwritten by those of block `seq` at the latest, as the
 * index tells; entries that are damaged are passed over. */
static uint64_t
lowest_behind(const struct ts_recovering *r, uint64_t seq)
{
    const struct ts_index *index = &r->store->view.index;
    const uint64_t ring_bytes = r->store->view.geometry.ring_bytes;
    struct ts_index_entry entry;
    uint64_t end;

    if (!ts_index_read(index, seq, r->seed, &entry))
        return seq + 1;
    end = entry.ring_pos + entry.extent_bytes;
    if (!ts_index_find_pos(index, seq > index->n_entries ? seq - index->n_entries + 1 : 1, seq,
                           r->seed, end > ring_bytes ? end - ring_bytes : 0, &entry))
        return seq;
    return entry.seq;
}

/* Takes over ring positions and numbers from the newest good block at or below ring->sealed_seq. */
static void
adopt_ring(struct ts_recovering *r)
{
    struct ts_ring *ring = &r->store->ring;
    struct ts_index_entry entry;
    uint64_t seq = ring->sealed_seq;

    ring->head_pos = ring->tail_pos = 0;
    ring->next_no = 1;
    ring->high_time_ns = INT64_MIN;
    r->is_number_unknown =
        seq > 0 && !ts_index_read(&ring->index, ring->sealed_seq, r->seed, &entry);
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
    if (r->is_number_unknown && r->has_point && r->point.sealed_seq == ring->sealed_seq &&
        r->point.ring_pos > ring->head_pos)
        ring->head_pos = r->point.ring_pos;
    ring->tail_pos = ring->head_pos;
    if (ts_index_find_no(&ring->index, ring->tail_seq, ring->sealed_seq, r->seed, 0, &entry))
        ring->tail_pos = entry.ring_pos;
}

static bool
words_are_good(const struct ts_recovering *r, uint64_t *out_tail, uint64_t *out_sealed)
{
    const uint64_t n = r->store->view.geometry.n_index;

    return ts_word_unpack(atomic_load_explicit(&r->meta->tail_seq, memory_order_relaxed),
                          TS_WORD_TAIL, out_tail) &&
           ts_word_unpack(atomic_load_explicit(&r->meta->sealed_seq, memory_order_relaxed),
                          TS_WORD_SEALED, out_sealed) &&
           *out_tail >= 1 && *out_tail <= *out_sealed + 1 && *out_sealed - *out_tail + 1 <= n;
}

/* A look at both ends of the ring: an index that was lost as a whole is told at once, and not only
 * to the first who reads that far. */
static void
note_bad_ends(const struct ts_recovering *r)
{
    const struct ts_ring *ring = &r->store->ring;
    struct ts_recovery *note = &r->store->recovery;
    struct ts_index_entry entry;

    if (ring->tail_seq > ring->sealed_seq)
        return;
    for (int i = 0; i < 2; i++) {
        const uint64_t seq = i == 0 ? ring->tail_seq : ring->sealed_seq;

        if (ts_index_read(&ring->index, seq, r->seed, &entry))
            continue;
        note->n_damaged++;
        snprintf(note->text, sizeof note->text,
                 TS_INDEX_FILE ": damaged at offset %ju: entry of block %ju",
                 (uintmax_t)ts_index_off(&ring->index, seq), (uintmax_t)seq);
        return;
    }
}

static void
recover_ring_trusted(struct ts_recovering *r)
{
    struct ts_ring *ring = &r->store->ring;
    struct ts_index_entry entry;

    if (!words_are_good(r, &ring->tail_seq, &ring->sealed_seq)) {
        ring->sealed_seq = highest_entry(r);
        ring->tail_seq = ring->sealed_seq > 0 ? lowest_behind(r, ring->sealed_seq) : 1;
        snprintf(r->store->recovery.text, sizeof r->store->recovery.text,
                 TS_META_FILE ": damaged at offset 48: rebuilt from " TS_INDEX_FILE);
    }
    /* Killed in the middle of a reset: the blocks are of the generation before. */
    if (r->has_point && r->point.generation != ts_meta_generation(r->meta) &&
        !ts_index_find_no(&ring->index, ring->tail_seq, ring->sealed_seq, r->seed, 0, &entry))
        ring->tail_seq = ring->sealed_seq + 1;
    adopt_ring(r);
    note_bad_ends(r);
}

/* What was written before the last power failure and then lost may be whole again: its numbers are
 * below the multiple of 2^32 that recovery began anew with, which the sync point tells. */
static bool
is_of_now(const struct ts_recovering *r, const struct ts_index_entry *entry)
{
    return !r->has_point || entry->first_no >> 32 >= (r->point.durable_no + 1) >> 32;
}

static bool
follows(const struct ts_index_entry *next, const struct ts_index_entry *before)
{
    return next->ring_pos == before->ring_pos + before->extent_bytes &&
           next->first_no >= before->first_no + before->count;
}

/* Counts up from block `seq`, which ends at end_pos and before record end_no, as long as the next
 * one is whole and follows. */
static uint64_t
follow_chain(struct ts_recovering *r, uint64_t seq, uint64_t end_pos, uint64_t end_no)
{
    struct ts_index_entry entry;

    while (is_whole(r, seq + 1, &entry) && entry.ring_pos == end_pos && entry.first_no >= end_no &&
           is_of_now(r, &entry)) {
        seq++;
        end_pos = entry.ring_pos + entry.extent_bytes;
        end_no = entry.first_no + entry.count;
    }
    return seq;
}

/* The newest block such that it and all that were sealed since the last sync are whole. The sync
 * point reaches the disk with every sync of the ring, so nothing behind its block was promised. */
static uint64_t
newest_whole(struct ts_recovering *r)
{
    const uint64_t synced = r->has_point ? r->point.sealed_seq : 0;
    struct ts_index_entry entry;
    bool is_there;
    uint64_t seq;

    if (r->has_point) {
        is_there = synced > 0 && is_whole(r, synced, &entry);
        seq =
            follow_chain(r, synced, r->point.ring_pos, is_there ? entry.first_no + entry.count : 1);
        if (is_there || seq > synced)
            return seq;
    }
    /* What was durable then was overwritten since, as it may be: the newest there is. */
    seq = highest_entry(r);
    while (seq > synced && !(is_whole(r, seq, &entry) && is_of_now(r, &entry)))
        seq--;
    /* None: nothing was sealed yet, or a reset was the last thing that was synced. */
    return seq > synced ? seq : synced;
}

/* The oldest block behind the newest: in a small ring, all are read from the newest downwards; in a
 * large one, those whose bytes may have been overwritten by blocks that did not survive. */
static uint64_t
oldest_whole(struct ts_recovering *r, uint64_t newest_seq)
{
    const uint64_t ring_bytes = r->store->ring.ring_bytes;
    struct ts_index_entry entry, above = {0};
    uint64_t end, seq, oldest_seq = newest_seq + 1;

    if (ring_bytes <= TS_SMALL_RING_BYTES || !is_whole(r, newest_seq, &entry)) {
        for (seq = newest_seq; seq > 0; seq--) {
            const bool is_good = is_whole(r, seq, &entry);

            if (is_good && (oldest_seq > newest_seq || follows(&above, &entry)))
                oldest_seq = seq;
            else if (seq < newest_seq)
                break; /* the newest itself may be damaged: that costs one block */
            above = entry;
        }
        return oldest_seq;
    }
    end = entry.ring_pos + entry.extent_bytes;
    oldest_seq = lowest_behind(r, newest_seq);
    for (seq = oldest_seq; seq <= newest_seq; seq++) {
        if (!is_whole(r, seq, &entry))
            oldest_seq = seq + 1;
        else if (entry.ring_pos + ring_bytes > end + 2 * TS_UNSYNCED_BYTES)
            break;
    }
    return oldest_seq;
}

/* Delete maps are in no checksum: that of a block which was not synced may be what lay there
 * before. No delete in such a block was promised. */
static void
clear_unsynced_maps(const struct ts_recovering *r)
{
    static const uint64_t none = 0;
    const struct ts_ring *ring = &r->store->ring;
    struct ts_index_entry entry;
    uint64_t seq = r->has_point ? r->point.sealed_seq + 1 : 1;

    for (seq = seq < ring->tail_seq ? ring->tail_seq : seq; seq <= ring->sealed_seq; seq++) {
        if (!ts_index_read(&ring->index, seq, r->seed, &entry))
            continue;
        for (uint64_t i = ((uint64_t)entry.count + 63) / 64; i > 0; i--)
            ts_copy_in(ring->base +
                           (entry.ring_pos + entry.extent_bytes - 8 * i) % ring->ring_bytes,
                       &none, sizeof none);
    }
}

static void
recover_ring_after_power_loss(struct ts_recovering *r)
{
    struct ts_ring *ring = &r->store->ring;

    ring->sealed_seq = newest_whole(r);
    ring->tail_seq = ring->sealed_seq > 0 ? oldest_whole(r, ring->sealed_seq) : 1;
    adopt_ring(r);
    clear_unsynced_maps(r);
}

static void
publish_ring(const struct ts_recovering *r)
{
    const struct ts_ring *ring = &r->store->ring;

    ts_ring_reclaim(r->meta, ring->tail_seq);
    ts_meta_publish_sealed(r->meta, ring->sealed_seq);
}

enum ts_err
ts_recover_ring(struct ts_recovering *r)
{
    if (r->is_trusted)
        recover_ring_trusted(r);
    else
        recover_ring_after_power_loss(r);
    if (r->failed != TS_OK)
        return r->failed;
    publish_ring(r);
    return TS_OK;
}
