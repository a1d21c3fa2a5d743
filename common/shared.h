/* shared.h - copying bytes that another process may be changing.
 *
 * Purpose    Move bytes between private memory and a mapping, word by word, with relaxed atomics:
 *            a reader that is lapped then copies stale or mixed words, which is allowed, and not
 *            undefined behaviour. Whether the copy is good is decided afterwards (tail, slot
 *            sequence, checksum).
 * Invariant  The mapped side is aligned to 8 and padded to a multiple of 8.
 * Threads    No order is implied; callers fence.
 */
#ifndef TS_SHARED_H
#define TS_SHARED_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A word that every supported machine loads and stores in one instruction. */
typedef unsigned long ts_word;

#define TS_PAD8(bytes) (((bytes) + 7) & ~(size_t)7)

/* Private to mapping. The last partial word is filled up with zeros. */
static inline void
ts_copy_in(void *mapped, const void *source, size_t bytes)
{
    _Atomic ts_word *to = (_Atomic ts_word *)mapped;
    const uint8_t *from = source;
    ts_word word;
    size_t i;

    for (i = 0; i + sizeof word <= bytes; i += sizeof word) {
        memcpy(&word, from + i, sizeof word);
        atomic_store_explicit(to++, word, memory_order_relaxed);
    }
    if (i < bytes) {
        word = 0;
        memcpy(&word, from + i, bytes - i);
        atomic_store_explicit(to, word, memory_order_relaxed);
    }
}

/* Mapping to private. */
static inline void
ts_copy_out(void *target, const void *mapped, size_t bytes)
{
    const _Atomic ts_word *from = (const _Atomic ts_word *)mapped;
    uint8_t *to = target;
    ts_word word;
    size_t i;

    for (i = 0; i + sizeof word <= bytes; i += sizeof word) {
        word = atomic_load_explicit(from++, memory_order_relaxed);
        memcpy(to + i, &word, sizeof word);
    }
    if (i < bytes) {
        word = atomic_load_explicit(from, memory_order_relaxed);
        memcpy(to + i, &word, bytes - i);
    }
}

/* One 32-bit word of a mapping, relaxed. */
static inline uint32_t
ts_load_u32(const void *mapped)
{
    return atomic_load_explicit((const _Atomic uint32_t *)mapped, memory_order_relaxed);
}

static inline void
ts_store_u32(void *mapped, uint32_t value)
{
    atomic_store_explicit((_Atomic uint32_t *)mapped, value, memory_order_relaxed);
}

static inline uint64_t
ts_load_u64(const void *mapped)
{
    return atomic_load_explicit((const _Atomic uint64_t *)mapped, memory_order_relaxed);
}

#endif
