/* head.c - append to and read from the open blocks.
 *
 * Writer of a record          Reader of a record
 *   bytes, relaxed              seq, acquire         (S)
 *   array entry, relaxed        count, acquire       (C)
 *   count, release (C)          array entry, bytes, relaxed
 *                               fence, acquire
 *                               seq again, relaxed   (S): the same, or the copy is thrown away
 * Writer that reuses a slot
 *   seq = 0, release
 *   fence, release              pairs with the reader's fence: a reader whose copy holds a byte
 *   new bytes                   of the new block sees that seq has moved
 *   seq = new, release (S)
 */
#include "common/head.h"

#include "common/checksum.h"

#include <assert.h>
#include <string.h>

/* A record's offset from the mapping is checked against the block before anything is read. */
#define RECORD_HEADER sizeof(struct ts_slot_record)

static uint32_t
head_checksum(const struct ts_head *head)
{
    return (uint32_t)ts_checksum(head, offsetof(struct ts_head, checksum), 0);
}

void
ts_head_init(struct ts_head *head, const struct ts_options *options, uint8_t open_shift,
             uint32_t store_id)
{
    memcpy(head->magic, TS_HEAD_MAGIC, sizeof head->magic);
    head->version = TS_FORMAT_VERSION;
    head->n_slots = TS_HEAD_SLOTS;
    head->open_shift = open_shift;
    head->store_id = store_id;
    head->max_age_ns = options->max_age_ns;
    head->max_future_ns = options->max_future_ns;
    head->on_future = (uint8_t)options->on_future;
    head->checksum = head_checksum(head);
}

void
ts_head_options(const struct ts_head *head, struct ts_options *options)
{
    options->max_age_ns = head->max_age_ns;
    options->max_future_ns = head->max_future_ns;
    options->on_future = (enum ts_on_future)head->on_future;
}

enum ts_err
ts_head_check(const struct ts_head *head, uint8_t open_shift, uint32_t store_id)
{
    if (memcmp(head->magic, TS_HEAD_MAGIC, sizeof head->magic) != 0)
        return TS_FAIL(TS_E_CORRUPT, TS_HEAD_FILE ": damaged at offset 0: bad magic number");
    if (head->version != TS_FORMAT_VERSION)
        return TS_FAIL(TS_E_VERSION, TS_HEAD_FILE ": store version mismatch at offset 8: %u",
                       head->version);
    if (head->checksum != head_checksum(head))
        return TS_FAIL(TS_E_CORRUPT,
                       TS_HEAD_FILE ": damaged at offset 60: checksum mismatch of bytes 0 to 59");
    if (head->n_slots != TS_HEAD_SLOTS || head->open_shift != open_shift)
        return TS_FAIL(TS_E_CORRUPT, TS_HEAD_FILE ": damaged at offset 10: not the blocks that "
                                                  "meta.tsdb describes");
    if (head->max_age_ns < 0 || head->max_future_ns < 0 || head->on_future > TS_ON_FUTURE_CLAMP)
        return TS_FAIL(TS_E_CORRUPT, TS_HEAD_FILE ": damaged at offset 16: impossible settings");
    if (head->store_id != store_id)
        return TS_FAIL(TS_E_CORRUPT,
                       TS_HEAD_FILE ": damaged at offset 12: the file belongs to another store");
    return TS_OK;
}

/* True if the slot still holds the block that was looked at: what was copied is its. */
static bool
read_is_good(const struct ts_slot *slot, uint64_t seq)
{
    /* acquire fence: the copy is done before seq is read again. Pairs with ts_slot_open(). */
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&slot->seq, memory_order_relaxed) == seq;
}

static uint64_t
slot_checksum(uint32_t flags, uint64_t seq, uint64_t first_no, uint64_t seed)
{
    const uint64_t words[3] = {flags, seq, first_no};

    return ts_checksum(words, sizeof words, seed);
}

/* What recovery goes by, and what readers compare seq and first_no with. */
static void
write_opened(struct ts_slot *slot, uint32_t flags, uint64_t seq, uint64_t first_no, uint64_t seed)
{
    const uint64_t opened[2] = {seq, first_no};
    const uint64_t checksum = slot_checksum(flags, seq, first_no, seed);

    ts_store_u32(&slot->flags, flags);
    ts_copy_in(&slot->opened_seq, opened, sizeof opened);
    ts_copy_in(&slot->checksum, &checksum, sizeof checksum);
}

bool
ts_slot_header_is_good(const struct ts_slot *slot, uint64_t seed)
{
    const uint64_t seq = ts_load_u64(&slot->opened_seq);

    return seq != 0 &&
           ts_load_u64(&slot->checksum) ==
               slot_checksum(ts_load_u32(&slot->flags), seq, ts_load_u64(&slot->opened_no), seed);
}

void
ts_slot_repair_header(struct ts_slot *slot, uint64_t seq, uint64_t first_no, uint64_t seed)
{
    if (!ts_slot_header_is_good(slot, seed))
        write_opened(slot, 0, seq, first_no, seed);
}

bool
ts_slot_is_consistent(const struct ts_slot *slot, uint32_t open_bytes, uint64_t seed)
{
    struct ts_slot_look look;
    bool is_good;

    do {
        look = ts_slot_look(slot);
        is_good = look.seq == 0 || (ts_slot_header_is_good(slot, seed) &&
                                    look.seq == ts_load_u64(&slot->opened_seq) &&
                                    look.first_no == ts_load_u64(&slot->opened_no) &&
                                    look.count <= ts_slot_max_count(open_bytes));
    } while (!read_is_good(slot, look.seq)); /* the writer was opening it */
    return is_good;
}

void
ts_slot_open(struct ts_open_block *block, struct ts_slot *slot, uint32_t open_bytes, uint64_t seq,
             uint64_t first_no, uint32_t flags, uint64_t seed)
{
    /* release: who sees 0 sees that the old block was sealed. And a fence, because a release store
     * does not hold back the stores behind it: the old number is gone before the first byte of the
     * new block. Pairs with read_is_good(). */
    atomic_store_explicit(&slot->seq, 0, memory_order_release);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&slot->count, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->first_no, first_no, memory_order_relaxed);
    write_opened(slot, flags, seq, first_no, seed);
    /* release: whoever sees the number sees count 0 and first_no. Pairs with ts_slot_look(). */
    atomic_store_explicit(&slot->seq, seq, memory_order_release);

    *block = (struct ts_open_block){.slot = slot,
                                    .open_bytes = open_bytes,
                                    .used_bytes = TS_SLOT_HEADER_BYTES,
                                    .seq = seq,
                                    .first_no = first_no,
                                    .seed = seed};
}

/* Two odd numbers without a pattern: parts of 2^64 over the golden ratio, and over pi. */
#define TIME_FACTOR UINT64_C(0x9e3779b97f4a7c15)
#define NUMBER_FACTOR UINT64_C(0x517cc1b727220a95)

/* The short round takes 16 bytes in one multiplication, so four values go into two words: an odd
 * factor loses nothing of what it multiplies, and keeps one value's change from undoing another's.
 */
static inline uint32_t
record_checksum(uint64_t seed, uint64_t record_no, int64_t time_ns, uint32_t series_no,
                const void *body, uint32_t bytes_field)
{
    uint64_t words[2];

    words[0] = XXH3_64bits(body, TS_RECORD_BYTES(bytes_field)) ^ (uint64_t)time_ns * TIME_FACTOR;
    words[1] = ((uint64_t)bytes_field << 32 | series_no) ^ record_no * NUMBER_FACTOR;
    return (uint32_t)XXH3_64bits_withSeed(words, sizeof words, seed);
}

uint32_t
ts_record_checksum(uint64_t seed, uint64_t record_no, int64_t time_ns, uint32_t series_no,
                   const void *body, uint32_t bytes_field)
{
    return record_checksum(seed, record_no, time_ns, series_no, body, bytes_field);
}

/* One record, at `used` bytes from the start of the slot, as number idx of the block. Inlined: in
 * the loop over a batch the call would cost a tenth of the append. */
static inline __attribute__((always_inline)) void
put_record(const struct ts_open_block *block, uint32_t used, uint32_t idx, int64_t time_ns,
           uint32_t series_no, const void *body, uint32_t bytes_field)
{
    uint8_t *const base = (uint8_t *)block->slot;
    uint8_t *const at = base + used;

    static_assert(RECORD_HEADER == 3 * sizeof(uint64_t), "the layout of struct ts_slot_record");
    ts_store_u64(at, (uint64_t)time_ns);
    ts_store_u64(at + 8, (uint64_t)series_no << 32 | bytes_field);
    ts_store_u64(at + 16, record_checksum(block->seed, block->first_no + idx, time_ns, series_no,
                                          body, bytes_field)); /* flags, above, are 0 */
    ts_copy_in(at + RECORD_HEADER, body, TS_RECORD_BYTES(bytes_field));
    ts_store_u32(base + ts_slot_array_off(block->open_bytes, idx), used);
}

size_t
ts_slot_put_items(struct ts_open_block *block, struct ts_batch_item *items, size_t n,
                  int64_t newest_ns, int64_t now_ns, int64_t limit_ns)
{
    const struct ts_open_block b = *block; /* so that the compiler need not fear for it */
    const uint64_t end = b.open_bytes - (uint64_t)b.count * sizeof(uint32_t);
    uint64_t used = b.used_bytes, array_bytes = 0;
    uint32_t count = b.count, body_bytes = b.body_bytes;
    size_t i = 0;

    for (; i < n; i++) {
        const int64_t time_ns = items[i].time_ns != 0 ? items[i].time_ns : now_ns;
        const uint64_t bytes = items[i].bytes;
        const uint64_t after = used + RECORD_HEADER + TS_PAD8(bytes);

        array_bytes += sizeof(uint32_t);
        if (time_ns <= newest_ns || time_ns <= 0 || items[i].time_ns > limit_ns ||
            bytes > b.open_bytes || after + array_bytes > end)
            break;
        put_record(&b, (uint32_t)used, count, time_ns, 0, items[i].data, (uint32_t)bytes);
        items[i].err = TS_OK;
        items[i].done.record_no = b.first_no + count;
        items[i].done.time_ns = newest_ns = time_ns;
        used = after;
        body_bytes += (uint32_t)bytes;
        count++;
    }
    block->used_bytes = (uint32_t)used;
    block->body_bytes = body_bytes;
    block->count = count;
    ts_slot_publish(block);
    return i;
}

void
ts_slot_add(struct ts_open_block *block, int64_t time_ns, uint32_t series_no, const void *body,
            uint32_t bytes, bool has_more)
{
    assert(ts_slot_has_room(block, bytes));
    put_record(block, block->used_bytes, block->count, time_ns, series_no, body,
               bytes | (has_more ? TS_RECORD_MORE : 0));
    block->used_bytes += (uint32_t)(RECORD_HEADER + TS_PAD8(bytes));
    block->body_bytes += bytes;
    block->count++;
}

void
ts_slot_publish(const struct ts_open_block *block)
{
    /* release: the records and their array entries are there before they are counted. Pairs with
     * the acquire of count in ts_slot_look(). */
    atomic_store_explicit(&block->slot->count, block->count, memory_order_release);
}

struct ts_slot_look
ts_slot_look(const struct ts_slot *slot)
{
    struct ts_slot_look look;

    /* acquire: first_no and count are of this block or a later one. Pairs with ts_slot_open(). */
    look.seq = atomic_load_explicit(&slot->seq, memory_order_acquire);
    look.first_no = atomic_load_explicit(&slot->first_no, memory_order_relaxed);
    look.flags = ts_load_u32(&slot->flags);
    /* acquire: the records counted are there. Pairs with ts_slot_publish(). */
    look.count = atomic_load_explicit(&slot->count, memory_order_acquire);
    if (!read_is_good(slot, look.seq))
        look.seq = 0;
    return look;
}

uint32_t
ts_slot_record_off(const struct ts_slot *slot, uint32_t open_bytes, uint32_t idx)
{
    const size_t array_off = ts_slot_array_off(open_bytes, idx);
    uint32_t off;

    if (idx >= open_bytes / sizeof(uint32_t) || array_off < TS_SLOT_HEADER_BYTES)
        return 0;
    off = ts_load_u32((const uint8_t *)slot + array_off);
    if (off < TS_SLOT_HEADER_BYTES || off % 8 != 0 || off + RECORD_HEADER > array_off)
        return 0;
    return off;
}

enum ts_slot_answer
ts_slot_read(const struct ts_slot *slot, uint32_t open_bytes, uint64_t seed,
             const struct ts_slot_look *look, uint32_t idx, uint8_t *body,
             struct ts_record *out_record)
{
    const uint32_t off = ts_slot_record_off(slot, open_bytes, idx);
    const uint64_t no = look->first_no + idx;
    struct ts_slot_record header;
    uint32_t body_bytes, flags;

    if (off == 0)
        return read_is_good(slot, look->seq) ? TS_SLOT_DAMAGED : TS_SLOT_MOVED;
    ts_copy_out(&header, (const uint8_t *)slot + off, sizeof header);
    body_bytes = TS_RECORD_BYTES(header.bytes);
    if (body_bytes > ts_slot_array_off(open_bytes, idx) - off - RECORD_HEADER)
        return read_is_good(slot, look->seq) ? TS_SLOT_DAMAGED : TS_SLOT_MOVED;
    ts_copy_out(body, (const uint8_t *)slot + off + RECORD_HEADER, body_bytes);
    if (!read_is_good(slot, look->seq))
        return TS_SLOT_MOVED;
    flags = atomic_load_explicit(&header.flags, memory_order_relaxed); /* our own copy */
    if ((flags & ~TS_RECORD_DELETED) != 0 ||
        header.checksum !=
            ts_record_checksum(seed, no, header.time_ns, header.series_no, body, header.bytes))
        return TS_SLOT_DAMAGED;
    *out_record = (struct ts_record){.no = no,
                                     .time_ns = header.time_ns,
                                     .data = body,
                                     .bytes = body_bytes,
                                     .series_no = header.series_no};
    if (flags & TS_RECORD_DELETED)
        return TS_SLOT_DELETED;
    return TS_SLOT_RECORD;
}
