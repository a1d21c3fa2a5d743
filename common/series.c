/* series.c - the file, and finding keys beside the writer. Changing them is series_writer.c.
 *
 * Chains ascend in series number. So a walk ends whatever the file says, and the set of entries
 * alone decides what every link has to be: opening stores only the links that are not.
 *
 * Writer that adds                      Reader that looks for a key
 *   change odd, fence, release            change, acquire                   (C)
 *   chunks, hot words, entry              link, acquire (L): copy the entry, check it: found?
 *   fence, release; checksum              ... to the end of the chain
 *   link, release (L)                     fence, acquire
 *   change even, release (C)              change again, relaxed (C): moved? look again
 * Writer that frees
 *   change odd, fence, release
 *   link past it, release (L)
 *   checksum 0, fence, release, zeros; its own link stays
 *   change even, release (C)
 *
 * What was found needs no second look: a checksum over the whole key proves that the copy is one.
 * What was not found was there all the same only if the walk stood on an entry that was freed and
 * used again, which takes a change of its own. So a word that stayed odd, because the writer is at
 * it or died there, is as good as an even one: each single store leaves every other key in reach.
 */
#include "common/series_internal.h"

#include "common/checksum.h"

#include <assert.h>
#include <string.h>

/* Looks at a table that changes all the time before an answer is given without a quiet one. */
#define TRIES 100
#define MIN_BUCKETS 16u

/* Where the checksum begins; it reaches to the end of the key, but not less than the entry's. */
#define CHECKED_FROM offsetof(struct ts_series_entry, first_chunk)

/* ---- the file ---- */

static uint32_t
bucket_count(uint32_t n_series)
{
    uint32_t n = MIN_BUCKETS;

    while (n < n_series)
        n *= 2;
    return n;
}

static uint64_t
hot_bytes(uint32_t n_series)
{
    return ((uint64_t)n_series * sizeof(struct ts_series_hot) + 63) & ~UINT64_C(63);
}

uint32_t
ts_series_default_chunks(uint32_t n_series)
{
    /* With keys of 96 bytes on average the worst is keys of 33 and 93 and 153 bytes: 2.05 chunks
     * per key. And one key of the greatest length, for small tables. */
    return 2 * n_series + n_series / 16 +
           (TS_MAX_KEY_BYTES - TS_SERIES_INLINE_BYTES + TS_SERIES_CHUNK_BYTES - 1) /
               TS_SERIES_CHUNK_BYTES;
}

uint64_t
ts_series_file_bytes(uint32_t n_series, uint32_t n_chunks)
{
    return sizeof(struct ts_series_head) + (uint64_t)bucket_count(n_series) * sizeof(uint32_t) +
           (uint64_t)n_series * sizeof(struct ts_series_entry) + hot_bytes(n_series) +
           (uint64_t)n_chunks * sizeof(struct ts_series_chunk);
}

static uint32_t
head_checksum(const struct ts_series_head *head)
{
    return (uint32_t)ts_checksum(head, offsetof(struct ts_series_head, checksum), 0);
}

void
ts_series_init(uint8_t *base, uint32_t store_id, uint32_t n_series, uint32_t n_chunks)
{
    struct ts_series_head *head = (struct ts_series_head *)(void *)base;

    assert(n_series > 0 && n_series <= TS_MAX_SERIES && n_chunks <= TS_MAX_SERIES_CHUNKS);

    memcpy(head->magic, TS_SERIES_MAGIC, sizeof head->magic);
    head->version = TS_FORMAT_VERSION;
    head->store_id = store_id;
    head->n_series = n_series;
    head->n_chunks = n_chunks;
    head->n_buckets = bucket_count(n_series);
    head->checksum = head_checksum(head);
}

static enum ts_err
refuse(size_t offset, const char *what)
{
    return TS_FAIL(TS_E_CORRUPT, TS_SERIES_FILE ": damaged at offset %zu: %s", offset, what);
}

static enum ts_err
check_head(const struct ts_series_head *head, uint32_t store_id, size_t bytes)
{
    if (memcmp(head->magic, TS_SERIES_MAGIC, sizeof head->magic) != 0)
        return refuse(0, "bad magic number");
    if (head->version != TS_FORMAT_VERSION)
        return TS_FAIL(TS_E_VERSION, TS_SERIES_FILE ": store version mismatch at offset 8: %u",
                       head->version);
    if (head->checksum != head_checksum(head))
        return refuse(offsetof(struct ts_series_head, checksum),
                      "checksum mismatch of bytes 0 to 27");
    if (head->store_id != store_id)
        return refuse(offsetof(struct ts_series_head, store_id),
                      "the file belongs to another store");
    if (head->n_series == 0 || head->n_series > TS_MAX_SERIES)
        return refuse(offsetof(struct ts_series_head, n_series), "impossible number of series");
    if (head->n_chunks > TS_MAX_SERIES_CHUNKS)
        return refuse(offsetof(struct ts_series_head, n_chunks), "impossible number of chunks");
    if (head->n_buckets != bucket_count(head->n_series))
        return refuse(offsetof(struct ts_series_head, n_buckets), "impossible number of buckets");
    if (bytes != ts_series_file_bytes(head->n_series, head->n_chunks))
        return TS_FAIL(TS_E_CORRUPT,
                       TS_SERIES_FILE ": damaged at offset %zu: the file has %zu bytes, its header "
                                      "asks for %ju",
                       bytes, bytes,
                       (uintmax_t)ts_series_file_bytes(head->n_series, head->n_chunks));
    return TS_OK;
}

enum ts_err
ts_series_check(const struct ts_map *map, uint32_t store_id, struct ts_series *out_series)
{
    struct ts_series_head head;
    struct ts_series series;
    enum ts_err err;
    uint8_t *at = map->base;

    if (map->bytes < sizeof head)
        return refuse(map->bytes, "the file is shorter than its header");
    ts_copy_out(&head, map->base, sizeof head);
    err = check_head(&head, store_id, map->bytes);
    if (err != TS_OK)
        return err;
    series = (struct ts_series){.head = (struct ts_series_head *)(void *)at,
                                .n_series = head.n_series,
                                .n_chunks = head.n_chunks,
                                .n_buckets = head.n_buckets,
                                .seed = ts_seed(store_id, 0)};
    at += sizeof head;
    series.buckets = (uint32_t *)(void *)at;
    at += (size_t)head.n_buckets * sizeof(uint32_t);
    series.entries = (struct ts_series_entry *)(void *)at;
    at += (size_t)head.n_series * sizeof(struct ts_series_entry);
    series.hot = (struct ts_series_hot *)(void *)at;
    at += hot_bytes(head.n_series);
    series.chunks = (struct ts_series_chunk *)(void *)at;
    *out_series = series;
    return TS_OK;
}

/* ---- reading ---- */

uint32_t
ts_series_hash(const struct ts_series *series, const void *key, size_t bytes)
{
    return (uint32_t)XXH3_64bits_withSeed(key, bytes, series->seed);
}

uint64_t
ts_series_checksum(const struct ts_series *series, uint32_t no, const union ts_series_copy *copy)
{
    const size_t key_bytes = copy->entry.key_bytes;
    const size_t end = TS_SERIES_KEY_OFF +
                       (key_bytes > TS_SERIES_INLINE_BYTES ? key_bytes : TS_SERIES_INLINE_BYTES);

    return ts_checksum(copy->bytes + CHECKED_FROM, end - CHECKED_FROM, series->seed + no);
}

static bool
copy_chunks(const struct ts_series *series, union ts_series_copy *copy)
{
    uint8_t *to = copy->bytes + sizeof copy->entry;
    uint32_t chunk_no = copy->entry.first_chunk;

    for (uint32_t n = ts_series_chunks_of(copy->entry.key_bytes); n > 0; n--) {
        const struct ts_series_chunk *chunk;

        if (chunk_no == 0 || chunk_no > series->n_chunks)
            return false;
        chunk = &series->chunks[chunk_no - 1];
        ts_copy_out(to, chunk->key, sizeof chunk->key);
        chunk_no = ts_load_u32(&chunk->next);
        to += sizeof chunk->key;
    }
    return true;
}

bool
ts_series_copy_entry(const struct ts_series *series, uint32_t no, union ts_series_copy *copy)
{
    ts_copy_out(copy->bytes, ts_series_entry_of(series, no), sizeof copy->entry);
    /* For the compiler: what is checked now is the copy; the mapping is not read again for it. */
    atomic_signal_fence(memory_order_acquire);
    return copy->entry.state == TS_SERIES_USED && copy->entry.key_bytes > 0 &&
           copy->entry.key_bytes <= TS_MAX_KEY_BYTES && copy_chunks(series, copy) &&
           copy->entry.checksum == ts_series_checksum(series, no, copy);
}

bool
ts_series_copy_is(const union ts_series_copy *copy, const void *key, size_t bytes)
{
    return copy->entry.key_bytes == bytes &&
           memcmp(copy->bytes + TS_SERIES_KEY_OFF, key, bytes) == 0;
}

bool
ts_series_walk(const struct ts_series *series, uint32_t hash, const void *key, size_t bytes,
               uint32_t *out_no, uint64_t *out_born_no)
{
    uint32_t no = ts_series_follow(series, ts_series_bucket_of(series, hash), 0);
    union ts_series_copy copy;

    while (no != 0) {
        const struct ts_series_entry *entry = ts_series_entry_of(series, no);

        if (ts_load_u32(&entry->hash) == hash && ts_series_copy_entry(series, no, &copy) &&
            ts_series_copy_is(&copy, key, bytes)) {
            *out_no = no;
            *out_born_no = copy.entry.born_no;
            return true;
        }
        no = ts_series_follow(series, &entry->next, no);
    }
    return false;
}

/* acquire: what is read next is of this change or a later one. Pairs with end_change(). */
static uint64_t
load_change(const struct ts_series *series)
{
    return atomic_load_explicit(&series->head->change, memory_order_acquire);
}

static bool
is_unchanged(const struct ts_series *series, uint64_t change)
{
    /* acquire fence: the look is over before the word is read again. Pairs with the release fence
     * of begin_change(): who has seen a store of a change sees that the word has moved. */
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&series->head->change, memory_order_relaxed) == change;
}

bool
ts_series_find(const struct ts_series *series, const void *key, size_t bytes, uint32_t *out_no,
               uint64_t *out_born_no)
{
    uint32_t hash;

    if (bytes == 0 || bytes > TS_MAX_KEY_BYTES)
        return false;
    hash = ts_series_hash(series, key, bytes);
    for (int i = 0; i < TRIES; i++) {
        const uint64_t change = load_change(series);

        if (ts_series_walk(series, hash, key, bytes, out_no, out_born_no))
            return true;
        if (is_unchanged(series, change))
            return false;
    }
    return false;
}

bool
ts_series_key(const struct ts_series *series, uint32_t no, uint8_t *key, size_t *out_bytes,
              uint64_t *out_born_no)
{
    union ts_series_copy copy;

    if (no == 0 || no > series->n_series)
        return false;
    for (int i = 0; i < TRIES; i++) {
        const uint64_t change = load_change(series);

        if (ts_series_copy_entry(series, no, &copy)) {
            memcpy(key, copy.bytes + TS_SERIES_KEY_OFF, copy.entry.key_bytes);
            *out_bytes = copy.entry.key_bytes;
            *out_born_no = copy.entry.born_no;
            return true;
        }
        if (is_unchanged(series, change))
            return false;
    }
    return false;
}

bool
ts_series_next(const struct ts_series *series, uint32_t *no, uint8_t *key, size_t *out_bytes,
               uint64_t *out_born_no)
{
    for (uint32_t i = *no; i < series->n_series; i++) {
        if (ts_series_is_used(series, i + 1) &&
            ts_series_key(series, i + 1, key, out_bytes, out_born_no)) {
            *no = i + 1;
            return true;
        }
    }
    return false;
}

bool
ts_series_is_alive(const struct ts_series *series, uint32_t no, uint64_t born_no)
{
    return no > 0 && no <= series->n_series &&
           ts_load_u64(&ts_series_entry_of(series, no)->born_no) == born_no;
}

/* ---- bounds ---- */

uint64_t
ts_series_bound(const struct ts_series *series, uint32_t no, uint64_t sealed_seq)
{
    const struct ts_series_hot *hot;
    uint64_t seq;

    if (no == 0 || no > series->n_series)
        return sealed_seq;
    hot = &series->hot[no - 1];
    /* acquire: before_seq is what it was when this newest was set, or later. Pairs with
     * ts_series_note_block(). That newest covers sealed_seq comes from the snapshot's acquire. */
    if (!ts_series_load_bound(&hot->newest_seq, TS_WORD_NEWEST, memory_order_acquire, &seq))
        return sealed_seq;
    if (seq <= sealed_seq)
        return seq;
    if (ts_series_load_bound(&hot->before_seq, TS_WORD_BEFORE, memory_order_relaxed, &seq) &&
        seq < sealed_seq)
        return seq;
    return sealed_seq;
}

void
ts_series_store_bounds(struct ts_series_hot *hot, uint64_t newest_seq, uint64_t before_seq)
{
    /* release: who sees the new bound sees the one before it. Pairs with ts_series_bound(). */
    atomic_store_explicit(&hot->before_seq, ts_word_pack(before_seq, TS_WORD_BEFORE),
                          memory_order_relaxed);
    atomic_store_explicit(&hot->newest_seq, ts_word_pack(newest_seq, TS_WORD_NEWEST),
                          memory_order_release);
}

void
ts_series_note_block(const struct ts_series *series, uint32_t no, uint64_t seq)
{
    struct ts_series_hot *hot;
    uint64_t newest_seq;

    if (no == 0 || no > series->n_series || seq == 0)
        return;
    hot = &series->hot[no - 1];
    /* Of a damaged word nothing is known but that no earlier block is behind this one. */
    if (!ts_series_load_bound(&hot->newest_seq, TS_WORD_NEWEST, memory_order_relaxed, &newest_seq))
        newest_seq = seq - 1;
    if (newest_seq < seq)
        ts_series_store_bounds(hot, seq, newest_seq);
}
