/* checksum_avx2.c - the same hash with wider registers.
 *
 * The Makefile has it compiled for AVX2, which not every x86-64 has: nothing else may be in here.
 */
#include "common/checksum.h"

#if defined(__x86_64__)
uint64_t
ts_hash_avx2(const void *bytes, size_t n)
{
    return XXH3_64bits(bytes, n);
}
#endif
