/* checksum.h - XXH3, inlined.
 *
 * Purpose    The one checksum of the format. The answer does not depend on the processor; only how
 *            long a block takes does.
 * Source     xxHash by Yann Collet, XXH3 64 bits (stable since 0.8.0), Debian's libxxhash-dev.
 */
#ifndef TS_CHECKSUM_H
#define TS_CHECKSUM_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
/* checksum_avx2.c: XXH3_64bits() for a processor that has AVX2. */
uint64_t ts_hash_avx2(const void *bytes, size_t n);
#endif

/* Blocks are worth a look at the processor; what is short is not. */
#define TS_HASH_LONG 1024

static inline uint64_t
ts_hash(const void *bytes, size_t n)
{
#if defined(__x86_64__)
    if (n >= TS_HASH_LONG && __builtin_cpu_supports("avx2"))
        return ts_hash_avx2(bytes, n);
#endif
    return XXH3_64bits(bytes, n);
}

/* Long inputs with a seed would derive a secret of 192 bytes each time; so the seed goes into a
 * second, short round, for which a seed costs nothing. */
static inline uint64_t
ts_checksum(const void *bytes, size_t n, uint64_t seed)
{
    uint64_t words[2];

    words[0] = ts_hash(bytes, n);
    words[1] = n;
    return XXH3_64bits_withSeed(words, sizeof words, seed);
}

#endif
