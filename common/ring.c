/* ring.c - place, reclaim, copy. */
#include "common/ring.h"

#include "common/shared.h"

#include <assert.h>

void
ts_ring_reclaim(struct ts_meta *meta, uint64_t new_tail_seq)
{
    atomic_store_explicit(&meta->tail_seq, ts_word_pack(new_tail_seq, TS_WORD_TAIL),
                          memory_order_relaxed);
    /* release fence: the new tail is seen before any byte overwritten after it; a release store
     * would not hold those later writes back. Pairs with ts_ring_copy() and with the second look
     * at the tail behind ts_index_read(). */
    atomic_thread_fence(memory_order_release);
}

/* Makes [head_pos, head_pos + bytes) and the index place of new_seq free. */
static void
make_room(struct ts_ring *ring, uint64_t new_seq, uint64_t bytes)
{
    uint64_t tail_seq = ring->tail_seq;
    uint64_t tail_pos = ring->tail_pos;
    struct ts_index_entry entry;

    while (tail_seq <= ring->sealed_seq && (ring->head_pos + bytes - tail_pos > ring->ring_bytes ||
                                            new_seq - tail_seq >= ring->index.n_entries)) {
        tail_seq++;
        /* The next block that can be read tells where it begins; none: the ring is empty. */
        while (tail_seq <= ring->sealed_seq &&
               !ts_index_read(&ring->index, tail_seq, ring->seed, &entry))
            tail_seq++;
        tail_pos = tail_seq <= ring->sealed_seq ? entry.ring_pos : ring->head_pos;
    }
    if (tail_seq > ring->sealed_seq)
        tail_seq = new_seq; /* nothing is left; numbers in between were never sealed */
    if (tail_seq != ring->tail_seq) {
        ring->tail_seq = tail_seq;
        ring->tail_pos = tail_pos;
        ts_ring_reclaim(ring->meta, tail_seq);
    }
}

void
ts_ring_write(struct ts_ring *ring, const uint8_t *extent, struct ts_index_entry *entry)
{
    const uint64_t start = ring->head_pos % ring->ring_bytes;
    const uint64_t before_wrap = ring->ring_bytes - start;
    const uint32_t bytes = entry->extent_bytes;

    assert(bytes % 8 == 0 && bytes <= ring->ring_bytes && entry->seq > ring->sealed_seq);

    make_room(ring, entry->seq, bytes);
    if (bytes <= before_wrap) {
        ts_copy_in(ring->base + start, extent, bytes);
    } else {
        ts_copy_in(ring->base + start, extent, before_wrap);
        ts_copy_in(ring->base, extent + before_wrap, bytes - before_wrap);
    }
    if (ring->high_time_ns < entry->max_time_ns)
        ring->high_time_ns = entry->max_time_ns;
    entry->high_time_ns = ring->high_time_ns;
    entry->ring_pos = ring->head_pos;
    ts_index_write(&ring->index, entry, ring->seed);
    ring->head_pos += bytes;
    ring->next_no = entry->first_no + entry->count;
    ring->sealed_seq = entry->seq;
    ts_meta_publish_sealed(ring->meta, entry->seq);
}

bool
ts_ring_copy(const struct ts_meta *meta, const uint8_t *base, uint64_t ring_bytes,
             const struct ts_index_entry *entry, uint8_t *target)
{
    const uint64_t start = entry->ring_pos % ring_bytes;
    const uint64_t before_wrap = ring_bytes - start;
    const uint32_t bytes = entry->extent_bytes;

    if (bytes <= before_wrap) {
        ts_copy_out(target, base + start, bytes);
    } else {
        ts_copy_out(target, base + start, before_wrap);
        ts_copy_out(target + before_wrap, base, bytes - before_wrap);
    }
    /* acquire fence: the copy is done before the tail is read. Pairs with ts_ring_reclaim(). */
    atomic_thread_fence(memory_order_acquire);
    return entry->seq >= atomic_load_explicit(&meta->tail_seq, memory_order_relaxed) >> 16;
}
