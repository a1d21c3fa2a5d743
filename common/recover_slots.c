/* recover_slots.c - what is in the open blocks, record by record. */
#include "common/recover.h"

/* What was found in a slot. */
struct found_slot {
    uint64_t seq, first_no;
    uint32_t count, used_bytes, body_bytes, n_damaged;
    uint32_t n_lost; /* counted records behind the last that could be found */
    int64_t last_time_ns;
};

/* Bytes of the record at `off`, pad included, if it is record `no`; 0 otherwise. */
static uint32_t
record_at(const struct ts_recovering *r, const uint8_t *base, uint32_t off, uint32_t limit,
          uint64_t no)
{
    const struct ts_slot_record *record = (const void *)(base + off);
    uint32_t checksum;

    if (off % 8 != 0 || off + sizeof *record > limit ||
        TS_RECORD_BYTES(record->bytes) > limit - off - sizeof *record)
        return 0;
    checksum = ts_record_checksum(r->seed, no, record->time_ns, record->series_no, record + 1,
                                  record->bytes);
    return checksum == record->checksum
               ? (uint32_t)(sizeof *record + TS_PAD8(TS_RECORD_BYTES(record->bytes)))
               : 0;
}

/* Records that were counted and fail their checksums are kept as damaged, up to the next one that
 * the array leads to and that proves itself. Returns where the next one is or goes; 0 if the slot
 * ends here, because nothing was counted or because there is no room for the headers. */
static uint32_t
pass_damaged(const struct ts_recovering *r, struct ts_slot *slot, struct found_slot *found,
             uint32_t off, uint32_t published)
{
    const uint32_t open_bytes = r->store->view.geometry.open_bytes;
    uint8_t *base = (uint8_t *)slot;
    uint32_t idx, n, next = 0;

    if (!r->is_trusted || found->count >= published)
        return 0;
    for (idx = found->count + 1; idx < published; idx++) {
        next = ts_slot_record_off(slot, open_bytes, idx);
        if (next > off && record_at(r, base, next, (uint32_t)ts_slot_array_off(open_bytes, idx),
                                    found->first_no + idx) != 0)
            break;
    }
    n = idx - found->count;
    if (idx == published) /* nothing tells where they end, and nothing behind them needs to know */
        next = off + n * (uint32_t)sizeof(struct ts_slot_record);
    if (next < off + n * sizeof(struct ts_slot_record) ||
        next > ts_slot_array_off(open_bytes, published - 1))
        return 0;
    for (; found->count < idx; found->count++) {
        struct ts_slot_record *record = (void *)(base + off);

        *record =
            (struct ts_slot_record){.time_ns = found->last_time_ns, .flags = TS_RECORD_DAMAGED};
        ts_store_u32(base + ts_slot_array_off(open_bytes, found->count), off);
        off += (uint32_t)sizeof *record;
        if (found->count + 1 == idx)
            record->bytes = next - off;
    }
    found->n_damaged += n;
    return next;
}

/* How many records of block `seq` were counted. If the next block was begun, its first number
 * tells; otherwise the count does, which is in no checksum. */
static uint32_t
published_count(const struct ts_recovering *r, unsigned i, uint64_t seq, uint64_t first_no)
{
    const struct ts_slot *next = ts_view_slot(&r->store->view, i ^ 1);
    const uint32_t most = ts_slot_max_count(r->store->view.geometry.open_bytes);
    const uint32_t count = ts_load_u32(&ts_view_slot(&r->store->view, i)->count);

    if (ts_slot_header_is_good(next, r->seed) && next->opened_seq == seq + 1 &&
        next->opened_no >= first_no && next->opened_no - first_no <= most)
        return (uint32_t)(next->opened_no - first_no);
    return count <= most ? count : 0;
}

/* Reads a slot as block `seq` beginning with first_no, as far as it is good. */
static void
walk_slot(const struct ts_recovering *r, unsigned i, uint64_t seq, uint64_t first_no,
          struct found_slot *out)
{
    const uint32_t open_bytes = r->store->view.geometry.open_bytes;
    struct ts_slot *slot = ts_view_slot(&r->store->view, i);
    const uint32_t published = published_count(r, i, seq, first_no);
    uint8_t *base = (uint8_t *)slot;
    uint32_t off = TS_SLOT_HEADER_BYTES;
    struct found_slot whole;

    *out = (struct found_slot){
        .seq = seq, .first_no = first_no, .used_bytes = off, .last_time_ns = INT64_MIN};
    whole = *out;
    while (ts_slot_array_off(open_bytes, out->count) >= off + sizeof(struct ts_slot_record)) {
        const uint32_t array_off = (uint32_t)ts_slot_array_off(open_bytes, out->count);
        struct ts_slot_record *record = (void *)(base + off);
        const uint32_t bytes = record_at(r, base, off, array_off, first_no + out->count);

        if (bytes != 0) {
            /* It proves itself, so no other mark on it can be true. */
            atomic_fetch_and_explicit(&record->flags, TS_RECORD_DELETED, memory_order_relaxed);
            ts_store_u32(base + array_off, off);
            out->last_time_ns = record->time_ns;
            out->body_bytes += TS_RECORD_BYTES(record->bytes);
            out->count++;
            off += bytes;
        } else {
            off = pass_damaged(r, slot, out, off, published);
            if (off == 0)
                break;
        }
        out->used_bytes = off;
        if (bytes == 0 || !(record->bytes & TS_RECORD_MORE))
            whole = *out;
    }
    /* The beginning of a batch whose end was not written counts for nothing. */
    if (out->count > whole.count && (whole.count >= published || !r->is_trusted))
        *out = whole;
    if (r->is_trusted && published > out->count)
        out->n_lost = published - out->count;
}

/* The slot that holds block `seq`, if any: by its header or, if that is damaged, by a first record
 * that proves to be number first_no. */
static int
slot_of(const struct ts_recovering *r, uint64_t seq, uint64_t first_no)
{
    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        const struct ts_slot *slot = ts_view_slot(&r->store->view, i);

        if (ts_slot_header_is_good(slot, r->seed)) {
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
slot_first_no(const struct ts_recovering *r, int i, uint64_t expected)
{
    const struct ts_slot *slot = ts_view_slot(&r->store->view, (unsigned)i);

    return ts_slot_header_is_good(slot, r->seed) ? slot->opened_no : expected;
}

/* The lowest block number behind `seq` that a good slot header names; 0 if there is none. */
static uint64_t
next_block_in_slots(const struct ts_recovering *r, uint64_t seq)
{
    uint64_t lowest = 0;

    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        const struct ts_slot *slot = ts_view_slot(&r->store->view, i);

        if (ts_slot_header_is_good(slot, r->seed) && slot->opened_seq > seq &&
            (lowest == 0 || slot->opened_seq < lowest))
            lowest = slot->opened_seq;
    }
    return lowest;
}

/* Puts a found block back into service as the current one. */
static void
revive_slot(struct ts_recovering *r, unsigned i, const struct found_slot *found)
{
    struct ts_store *store = r->store;
    struct ts_slot *slot = ts_view_slot(&store->view, i);

    ts_slot_repair_header(slot, found->seq, found->first_no, r->seed);
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
    /* relaxed, here and below: no other thread is there yet. Promised: the last writer may have
     * told so. */
    atomic_store_explicit(&store->slot_word[i],
                          TS_SLOT_OPEN | (found->count > 0 ? TS_SLOT_PROMISED : 0),
                          memory_order_relaxed);
    store->synced_bytes[i] = 0;
    store->current = i;
    store->recovery.n_head_records += found->count;
    store->recovery.n_damaged += found->n_damaged + found->n_lost;
    if (found->last_time_ns != INT64_MIN &&
        (!store->has_newest || found->last_time_ns > store->newest_time_ns)) {
        store->has_newest = true;
        store->newest_time_ns = found->last_time_ns;
    }
}

static enum ts_err
seal_now(struct ts_recovering *r, unsigned i)
{
    struct ts_store *store = r->store;
    enum ts_err err = TS_OK;

    if (store->block[i].count > 0) {
        err = ts_seal_slot(store, i);
        /* The slot may be the only durable copy, and is going to be used again. Not with a sync
         * point: that would say that recovery is over. */
        if (err == TS_OK)
            err = ts_sync_ring_files(store);
    }
    atomic_store_explicit(&store->slot_word[i], TS_SLOT_FREE, memory_order_relaxed);
    return err;
}

enum ts_err
ts_recover_slots(struct ts_recovering *r)
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
        if (turn > 0 && !r->is_trusted ? slot_first_no(r, i, first_no) != first_no
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
        r->is_number_unknown = false; /* its header is what tells */
        store->next_seq = seq + 1;
        store->next_no = found.first_no + found.count;
        seq++;
        /* Their numbers were seen by readers and are over. */
        store->next_no += found.n_lost;
        r->must_jump = found.n_lost > 0;
        r->must_close = found.n_damaged > 0;
        first_no = store->next_no;
    }
    if (previous < 0) {
        store->next_seq = store->ring.sealed_seq + 1;
        store->next_no = store->ring.next_no;
    }
    return TS_OK;
}

/* A new, empty current block in a slot that is free. */
static void
open_fresh(struct ts_recovering *r, uint32_t flags)
{
    struct ts_store *store = r->store;
    const unsigned i = ts_slot_state(store, 0) == TS_SLOT_FREE ? 0 : 1;

    ts_slot_open(&store->block[i], ts_view_slot(&store->view, i), store->view.geometry.open_bytes,
                 store->next_seq, store->next_no, flags, r->seed);
    atomic_store_explicit(&store->slot_word[i], TS_SLOT_OPEN, memory_order_relaxed);
    store->synced_bytes[i] = 0;
    store->current = i;
    store->next_seq++;
}

/* Hides from readers what a free slot claims to hold: it is in the ring, or it is nothing.
 * `forget`: from the next recovery, too. */
static void
retire_slots(struct ts_recovering *r, bool forget)
{
    static const uint64_t none = 0;

    for (unsigned i = 0; i < TS_HEAD_SLOTS; i++) {
        struct ts_slot *slot = ts_view_slot(&r->store->view, i);

        if (ts_slot_state(r->store, i) != TS_SLOT_FREE)
            continue;
        atomic_store_explicit(&slot->seq, 0, memory_order_release);
        atomic_thread_fence(memory_order_release); /* as in ts_slot_open() */
        if (forget)
            ts_copy_in(&slot->opened_seq, &none, sizeof none);
    }
}

enum ts_err
ts_recover_begin_block(struct ts_recovering *r)
{
    struct ts_store *store = r->store;
    enum ts_err err = TS_OK;

    if (ts_slot_state(store, store->current) == TS_SLOT_OPEN && (r->must_jump || r->must_close)) {
        if (store->block[store->current].count == 0)
            store->next_seq = store->block[store->current].seq; /* never sealed: no gap in seq */
        err = seal_now(r, store->current);
    }
    if (err == TS_OK && !r->must_jump) {
        retire_slots(r, false);
        if (ts_slot_state(store, store->current) != TS_SLOT_OPEN)
            open_fresh(r, 0);
        return TS_OK;
    }
    if (err != TS_OK)
        return err;
    /* What was not taken over must not be found by the next recovery, under a number that is
     * going to be used again. */
    retire_slots(r, true);
    open_fresh(r, TS_EXTENT_JUMP);
    return TS_OK;
}
