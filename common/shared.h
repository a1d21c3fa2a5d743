/* shared.h - copying bytes that another process may be changing.
 *
 * Purpose    Move bytes between private memory and a mapping that may change meanwhile: a reader
 *            that is lapped then copies stale or mixed words, which is allowed. Whether the copy
 *            is good is decided afterwards (tail, slot sequence, checksum).
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

/* The 1 to 7 bytes from source[whole] on, zeros above them. */
static inline ts_word
ts_last_word(const uint8_t *source, size_t whole, size_t rest)
{
    ts_word word = 0;

    if (whole == 0) {
        memcpy(&word, source, rest);
        return word;
    }
    /* The whole word that ends there, shifted: one load in place of a copy of unknown length. */
    memcpy(&word, source + whole + rest - sizeof word, sizeof word);
    return word >> 8 * (sizeof word - rest);
}

static inline void
ts_word_in(_Atomic ts_word *to, const uint8_t *from, size_t idx)
{
    ts_word word;

    memcpy(&word, from + idx * sizeof word, sizeof word);
    atomic_store_explicit(to + idx, word, memory_order_relaxed);
}

static inline void
ts_word_out(uint8_t *to, const _Atomic ts_word *from, size_t idx)
{
    const ts_word word = atomic_load_explicit(from + idx, memory_order_relaxed);

    memcpy(to + idx * sizeof word, &word, sizeof word);
}

/* The thread sanitizer has to see that both sides are atomic, word by word. Other builds copy whole
 * words in whatever width memcpy() finds best: what a racing copy holds is judged afterwards. */
#if defined(__SANITIZE_THREAD__)
#define TS_COPY_BY_WORDS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TS_COPY_BY_WORDS 1
#endif
#endif

/* Private to mapping. The last partial word is filled up with zeros. */
static inline void
ts_copy_in(void *mapped, const void *source, size_t bytes)
{
    _Atomic ts_word *const to = (_Atomic ts_word *)mapped;
    const uint8_t *const from = source;
    const size_t n = bytes / sizeof(ts_word), rest = bytes % sizeof(ts_word);

#ifdef TS_COPY_BY_WORDS
    for (size_t i = 0; i < n; i++)
        ts_word_in(to, from, i);
#else
    if (n > 0) /* nothing may come from nowhere */
        memcpy(mapped, from, bytes - rest);
#endif
    if (rest > 0)
        atomic_store_explicit(to + n, ts_last_word(from, bytes - rest, rest), memory_order_relaxed);
}

/* Mapping to private. */
static inline void
ts_copy_out(void *target, const void *mapped, size_t bytes)
{
#ifdef TS_COPY_BY_WORDS
    const _Atomic ts_word *const from = (const _Atomic ts_word *)mapped;
    const size_t n = bytes / sizeof(ts_word), rest = bytes % sizeof(ts_word);
    uint8_t *const to = target;

    for (size_t i = 0; i < n; i++)
        ts_word_out(to, from, i);
    if (rest > 0) {
        const ts_word word = atomic_load_explicit(from + n, memory_order_relaxed);

        memcpy(to + n * sizeof word, &word, rest);
    }
#else
    if (bytes > 0)
        memcpy(target, mapped, bytes);
#endif
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

static inline void
ts_store_u64(void *mapped, uint64_t value)
{
    atomic_store_explicit((_Atomic uint64_t *)mapped, value, memory_order_relaxed);
}

#endif
