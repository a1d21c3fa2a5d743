/* series_writer.c - add and free keys; open the table for writing. series.c has the order of
 * stores.
 *
 * Power failures take any part of what was stored since the last sync. An entry lies in one sector,
 * so it is the old one or the new one, and its checksum covers the chunks, which are elsewhere.
 * What a checksum cannot tell is an old entry that was freed and came back; therefore a freed
 * number waits for a sync before it means another key. Chunks need not wait: an entry that comes
 * back after its chunks were used again fails its checksum, and its series had no data any more.
 */
#include "common/series_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- changes ---- */

static void
begin_change(struct ts_series_writer *writer)
{
    writer->change = (writer->change + 1) | 1;
    atomic_store_explicit(&writer->series.head->change, writer->change, memory_order_relaxed);
    /* release fence: the word has moved before anything else does. Pairs with is_unchanged(). */
    atomic_thread_fence(memory_order_release);
}

static void
end_change(struct ts_series_writer *writer)
{
    writer->change++;
    writer->n_changes++;
    /* release: who sees the word sees the change. Pairs with load_change(). */
    atomic_store_explicit(&writer->series.head->change, writer->change, memory_order_release);
}

/* release: the entry is whole before anything leads to it. Pairs with ts_series_follow(). */
static void
store_link(uint32_t *link, uint32_t no)
{
    atomic_store_explicit((_Atomic uint32_t *)link, no, memory_order_release);
}

/* The link in the chain of `hash` that leads, or would lead, to number `no`. */
static uint32_t *
link_to(const struct ts_series *series, uint32_t hash, uint32_t no)
{
    uint32_t *link = ts_series_bucket_of(series, hash);
    uint32_t from = 0, next;

    while ((next = ts_series_follow(series, link, from)) != 0 && next < no) {
        from = next;
        link = &ts_series_entry_of(series, next)->next;
    }
    return link;
}

/* Makes an entry a free one. Its link stays: a reader may stand here. */
static void
erase_entry(const struct ts_series *series, uint32_t no)
{
    static const uint8_t zeros[sizeof(struct ts_series_entry)];
    struct ts_series_entry *entry = ts_series_entry_of(series, no);

    ts_store_u64(&entry->checksum, 0);
    /* release fence: from here on nobody, and no later writer, takes it for an entry. */
    atomic_thread_fence(memory_order_release);
    ts_store_u32(&entry->first_chunk, 0);
    ts_copy_in(&entry->born_no, zeros, sizeof *entry - offsetof(struct ts_series_entry, born_no));
}

/* ---- free numbers ---- */

/* The number waits behind those that may be given out. */
static void
put_no(struct ts_series_writer *writer, uint32_t no)
{
    /* Never true of a file that only we write: it would have been freed twice. */
    if (writer->n_free + writer->n_waiting == writer->series.n_series)
        return;
    writer->free_nos[writer->n_free + writer->n_waiting++] = no;
}

static uint32_t
take_no(struct ts_series_writer *writer)
{
    const uint32_t no = writer->free_nos[--writer->n_free];

    /* The last one that waits fills the gap. */
    writer->free_nos[writer->n_free] = writer->free_nos[writer->n_free + writer->n_waiting];
    return no;
}

void
ts_series_synced(struct ts_series_writer *writer, uint64_t mark)
{
    if (mark < writer->waiting_mark)
        return;
    writer->n_free += writer->n_waiting;
    writer->n_waiting = 0;
}

/* ---- adding ---- */

/* Writes the rest of a key into free chunks; the first one, or 0 if it needs none. */
static uint32_t
write_chunks(struct ts_series_writer *writer, const uint8_t *key, size_t bytes)
{
    uint32_t next = 0;

    /* From the last to the first, each with the number of the one behind it. */
    for (uint32_t n = ts_series_chunks_of(bytes); n > 0; n--) {
        const size_t off = TS_SERIES_INLINE_BYTES + (size_t)(n - 1) * TS_SERIES_CHUNK_BYTES;
        const size_t part =
            bytes - off < TS_SERIES_CHUNK_BYTES ? bytes - off : TS_SERIES_CHUNK_BYTES;
        struct ts_series_chunk chunk = {.next = next};

        memcpy(chunk.key, key + off, part);
        next = writer->free_chunks[--writer->n_free_chunks];
        ts_copy_in(&writer->series.chunks[next - 1], &chunk, sizeof chunk);
    }
    return next;
}

static void
add_entry(struct ts_series_writer *writer, uint32_t no, uint32_t hash, const void *key,
          size_t bytes, uint64_t born_no)
{
    const struct ts_series *series = &writer->series;
    struct ts_series_entry *entry = ts_series_entry_of(series, no);
    uint32_t *const link = link_to(series, hash, no);
    union ts_series_copy copy;

    copy.entry = (struct ts_series_entry){.next = ts_series_follow(series, link, no),
                                          .born_no = born_no,
                                          .hash = hash,
                                          .key_bytes = (uint16_t)bytes,
                                          .state = TS_SERIES_USED};
    memcpy(copy.bytes + TS_SERIES_KEY_OFF, key, bytes);
    begin_change(writer);
    copy.entry.first_chunk = write_chunks(writer, key, bytes);
    ts_series_store_bounds(&series->hot[no - 1], 0, 0);
    ts_copy_in((uint8_t *)entry + sizeof entry->checksum, copy.bytes + sizeof entry->checksum,
               sizeof *entry - sizeof entry->checksum);
    /* release fence: the checksum stands for what is there. A process may die between any two
     * stores, and the next writer believes the checksum. */
    atomic_thread_fence(memory_order_release);
    ts_store_u64(&entry->checksum, ts_series_checksum(series, no, &copy));
    store_link(link, no);
    end_change(writer);
}

enum ts_err
ts_series_register(struct ts_series_writer *writer, const void *key, size_t bytes, uint64_t born_no,
                   uint32_t *out_no)
{
    uint64_t found_born_no;
    uint32_t hash, no;

    assert(born_no > 0);

    if (bytes == 0 || bytes > TS_MAX_KEY_BYTES)
        return TS_FAIL(TS_E_PARAM, "a series key has 1 to %d bytes, not %zu", TS_MAX_KEY_BYTES,
                       bytes);
    hash = ts_series_hash(&writer->series, key, bytes);
    if (ts_series_walk(&writer->series, hash, key, bytes, out_no, &found_born_no))
        return TS_OK;
    if (writer->n_free == 0)
        return TS_FAIL_PLAIN(TS_E_SERIES_FULL);
    if (writer->n_free_chunks < ts_series_chunks_of(bytes))
        return TS_FAIL(TS_E_SERIES_FULL, "series table is full: no room for a key of %zu bytes",
                       bytes);
    no = take_no(writer);
    add_entry(writer, no, hash, key, bytes, born_no);
    writer->least_newest_seq = 0;
    *out_no = no;
    return TS_OK;
}

/* ---- freeing ---- */

/* Chunks are given back if the entry proves that they are its own. */
static void
free_chunks(struct ts_series_writer *writer, uint32_t no)
{
    const struct ts_series *series = &writer->series;
    union ts_series_copy copy;
    uint32_t chunk_no, n;

    if (!ts_series_copy_entry(series, no, &copy))
        return;
    chunk_no = copy.entry.first_chunk;
    for (n = ts_series_chunks_of(copy.entry.key_bytes); n > 0; n--) {
        /* Never true of what this writer wrote; somebody may scribble on the file meanwhile. */
        if (chunk_no == 0 || chunk_no > series->n_chunks ||
            writer->n_free_chunks == series->n_chunks)
            return;
        writer->free_chunks[writer->n_free_chunks++] = chunk_no;
        chunk_no = ts_load_u32(&series->chunks[chunk_no - 1].next);
    }
}

static void
free_entry(struct ts_series_writer *writer, uint32_t no)
{
    const struct ts_series *series = &writer->series;
    struct ts_series_entry *entry = ts_series_entry_of(series, no);
    uint32_t *const link = link_to(series, ts_load_u32(&entry->hash), no);

    free_chunks(writer, no);
    if (ts_load_u32(link) == no)
        store_link(link, ts_series_follow(series, &entry->next, no));
    erase_entry(series, no);
    put_no(writer, no);
}

uint32_t
ts_series_retire(struct ts_series_writer *writer, uint64_t tail_seq, ts_series_in_use_fn *is_in_use,
                 void *ctx)
{
    const struct ts_series *series = &writer->series;
    uint64_t least_seq = UINT64_MAX, newest_seq;
    uint32_t n_freed = 0;

    if (tail_seq <= writer->least_newest_seq)
        return writer->n_waiting;
    for (uint32_t i = 0; i < series->n_series && n_freed < TS_SERIES_RETIRE_MAX; i++) {
        const uint32_t no = writer->hand + 1;

        writer->hand = no % series->n_series;
        /* A damaged bound says nothing until the series is sealed again. */
        if (!ts_series_is_used(series, no) ||
            !ts_series_load_bound(&series->hot[no - 1].newest_seq, TS_WORD_NEWEST,
                                  memory_order_relaxed, &newest_seq))
            continue;
        if (newest_seq < tail_seq && !is_in_use(ctx, no)) {
            if (n_freed++ == 0)
                begin_change(writer);
            free_entry(writer, no);
        } else if (newest_seq < least_seq) {
            least_seq = newest_seq;
        }
    }
    if (n_freed > 0) {
        end_change(writer);
        writer->waiting_mark = writer->n_changes;
    } else {
        writer->least_newest_seq = least_seq; /* of all: the hand went round */
    }
    return writer->n_waiting;
}

/* All chunks are free, low numbers are taken first. */
static void
free_all_chunks(struct ts_series_writer *writer)
{
    const uint32_t n = writer->series.n_chunks;

    for (uint32_t i = 0; i < n; i++)
        writer->free_chunks[i] = n - i;
    writer->n_free_chunks = n;
}

void
ts_series_clear(struct ts_series_writer *writer)
{
    const struct ts_series *series = &writer->series;

    begin_change(writer);
    for (uint32_t i = 0; i < series->n_buckets; i++)
        store_link(&series->buckets[i], 0);
    for (uint32_t no = 1; no <= series->n_series; no++) {
        if (ts_series_is_used(series, no)) {
            erase_entry(series, no);
            put_no(writer, no);
        }
    }
    free_all_chunks(writer);
    end_change(writer);
    writer->waiting_mark = writer->n_changes;
}

void
ts_series_recover(struct ts_series_writer *writer, uint64_t sealed_seq)
{
    const struct ts_series *series = &writer->series;

    writer->least_newest_seq = 0;
    for (uint32_t no = 1; no <= series->n_series; no++) {
        struct ts_series_hot *hot = &series->hot[no - 1];
        uint64_t newest_seq, seq;

        if (ts_series_is_used(series, no) &&
            (!ts_series_load_bound(&hot->newest_seq, TS_WORD_NEWEST, memory_order_relaxed,
                                   &newest_seq) ||
             newest_seq > sealed_seq)) {
            seq = ts_series_bound(series, no, sealed_seq); /* of a damaged word: sealed_seq */
            ts_series_store_bounds(hot, seq, seq);
        }
    }
}

/* ---- opening for writing ---- */

/* What the entries ask for, gathered in private memory. */
struct rebuild {
    struct ts_series_writer *writer; /* borrowed */
    uint32_t *heads;                 /* owned: per bucket */
    uint32_t *links;                 /* owned: per number, from 1 */
    bool *is_taken;                  /* owned: per chunk, from 1 */
};

/* Takes the chunks of an entry, or gives them back. Returns how many could be. */
static uint32_t
mark_chunks(struct rebuild *r, const union ts_series_copy *copy, uint32_t n, bool taken)
{
    const struct ts_series *series = &r->writer->series;
    uint32_t chunk_no = copy->entry.first_chunk, i;

    for (i = 0; i < n; i++) {
        if (chunk_no == 0 || chunk_no > series->n_chunks || r->is_taken[chunk_no] == taken)
            break;
        r->is_taken[chunk_no] = taken;
        chunk_no = ts_load_u32(&series->chunks[chunk_no - 1].next);
    }
    return i;
}

static bool
take_chunks(struct rebuild *r, const union ts_series_copy *copy)
{
    const uint32_t n = ts_series_chunks_of(copy->entry.key_bytes);
    const uint32_t n_taken = mark_chunks(r, copy, n, true);

    if (n_taken < n)
        mark_chunks(r, copy, n_taken, false);
    return n_taken == n;
}

/* A key may be there twice after a power failure: freed, added again as another number, and the
 * old entry came back. Drops the older; false if that is this one. */
static bool
is_newest_of_its_key(struct rebuild *r, const union ts_series_copy *copy)
{
    const struct ts_series *series = &r->writer->series;
    const uint32_t hash = copy->entry.hash;
    uint32_t *link = &r->heads[hash & (series->n_buckets - 1)];
    union ts_series_copy other;

    for (; *link != 0; link = &r->links[*link]) {
        const uint32_t no = *link;

        if (ts_load_u32(&ts_series_entry_of(series, no)->hash) != hash ||
            !ts_series_copy_entry(series, no, &other) ||
            !ts_series_copy_is(&other, copy->bytes + TS_SERIES_KEY_OFF, copy->entry.key_bytes))
            continue;
        if (other.entry.born_no >= copy->entry.born_no)
            return false;
        mark_chunks(r, &other, ts_series_chunks_of(other.entry.key_bytes), false);
        *link = r->links[no];
        erase_entry(series, no);
        r->writer->n_dropped++;
        return true;
    }
    return true;
}

/* Puts the entry in front of its chain, if it is one that counts. */
static bool
admit(struct rebuild *r, uint32_t no)
{
    const struct ts_series *series = &r->writer->series;
    union ts_series_copy copy;
    uint32_t *head;

    if (!ts_series_copy_entry(series, no, &copy) || copy.entry.born_no == 0 ||
        copy.entry.hash !=
            ts_series_hash(series, copy.bytes + TS_SERIES_KEY_OFF, copy.entry.key_bytes) ||
        !is_newest_of_its_key(r, &copy) || !take_chunks(r, &copy))
        return false;
    head = &r->heads[copy.entry.hash & (series->n_buckets - 1)];
    r->links[no] = *head;
    *head = no;
    return true;
}

static void
mend_link(uint32_t *link, uint32_t no)
{
    if (ts_load_u32(link) != no)
        store_link(link, no);
}

/* Makes the file what its entries ask for. Links are mended from the last number to the first, then
 * the buckets: a key that could be reached can be reached all the time. */
static void
mend(struct rebuild *r)
{
    const struct ts_series *series = &r->writer->series;

    begin_change(r->writer);
    for (uint32_t no = series->n_series; no > 0; no--) {
        /* Checksum 0 is that of a free entry, or of one whose writer died over it, before or after
         * it was one: nothing is damaged. */
        const bool is_one = ts_load_u64(&ts_series_entry_of(series, no)->checksum) != 0;

        if ((is_one || ts_series_is_used(series, no)) && !admit(r, no)) {
            r->writer->n_dropped += is_one;
            erase_entry(series, no);
        }
    }
    for (uint32_t no = series->n_series; no > 0; no--) {
        if (ts_series_is_used(series, no))
            mend_link(&ts_series_entry_of(series, no)->next, r->links[no]);
        else
            put_no(r->writer, no);
    }
    for (uint32_t i = 0; i < series->n_buckets; i++)
        mend_link(&series->buckets[i], r->heads[i]);
    for (uint32_t i = series->n_chunks; i > 0; i--) {
        if (!r->is_taken[i])
            r->writer->free_chunks[r->writer->n_free_chunks++] = i;
    }
    end_change(r->writer);
}

enum ts_err
ts_series_writer_init(struct ts_series_writer *writer, const struct ts_series *series)
{
    struct ts_series_writer w = {.series = *series};
    struct rebuild r = {.writer = &w};
    enum ts_err err = TS_OK;

    w.change = atomic_load_explicit(&series->head->change, memory_order_relaxed);
    w.free_nos = calloc(series->n_series, sizeof w.free_nos[0]);
    w.free_chunks = calloc((size_t)series->n_chunks + 1, sizeof w.free_chunks[0]);
    r.heads = calloc(series->n_buckets, sizeof r.heads[0]);
    r.links = calloc((size_t)series->n_series + 1, sizeof r.links[0]);
    r.is_taken = calloc((size_t)series->n_chunks + 1, sizeof r.is_taken[0]);
    if (w.free_nos == NULL || w.free_chunks == NULL || r.heads == NULL || r.links == NULL ||
        r.is_taken == NULL) {
        err = TS_FAIL(TS_E_NOMEM, "out of memory for a table of %u series", series->n_series);
        goto out;
    }
    mend(&r);
    w.waiting_mark = w.n_changes;
    *writer = w;
    w = (struct ts_series_writer){0};
out:
    ts_series_writer_done(&w);
    free(r.heads);
    free(r.links);
    free(r.is_taken);
    return err;
}

void
ts_series_writer_done(struct ts_series_writer *writer)
{
    free(writer->free_nos);
    free(writer->free_chunks);
    *writer = (struct ts_series_writer){0};
}
