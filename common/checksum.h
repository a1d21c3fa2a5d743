/* checksum.h - XXH3, inlined.
 *
 * Purpose    The one checksum of the format.
 * Source     xxHash by Yann Collet, XXH3 64 bits (stable since 0.8.0), Debian's libxxhash-dev.
 */
#ifndef TS_CHECKSUM_H
#define TS_CHECKSUM_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stddef.h>
#include <stdint.h>

/* Long inputs with a seed would derive a secret of 192 bytes each time; so the seed goes into a
 * second, short round, for which a seed costs nothing. */
static inline uint64_t
ts_checksum(const void *bytes, size_t n, uint64_t seed)
{
    uint64_t words[2];

    words[0] = XXH3_64bits(bytes, n);
    words[1] = n;
    return XXH3_64bits_withSeed(words, sizeof words, seed);
}

#endif
