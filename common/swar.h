/* swar.h - eight bytes of text at a time in one word.
 *
 * Purpose    Find bytes of some kind in a word of eight, for the scanners of text.
 * Invariant  A mask has the top bit of a byte set where the byte is of that kind. Carries make
 *            masks wrong only above the lowest set bit: take ts_swar_first() of them, or compare
 *            with 0, and nothing else.
 * Threads    No state.
 * Source     Mycroft's test for a zero byte.
 */
#ifndef TS_SWAR_H
#define TS_SWAR_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define TS_SWAR_BYTES 8
#define TS_SWAR_ALL(byte) (UINT64_C(0x0101010101010101) * (uint64_t)(byte))

/* The eight bytes at `at`, which need no alignment; the first one is the lowest byte. */
static inline uint64_t
ts_swar_load(const void *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return le64toh(word);
}

/* Which bytes are `byte`. */
static inline uint64_t
ts_swar_equal(uint64_t word, uint8_t byte)
{
    const uint64_t zeros = word ^ TS_SWAR_ALL(byte);

    return (zeros - TS_SWAR_ALL(0x01)) & ~zeros & TS_SWAR_ALL(0x80);
}

/* Which bytes can't stand for themselves in a JSON string: quote, backslash, below 0x20, and all
 * that are not ASCII. These last count anyway, so the usual "and not the word" of each test,
 * which only excludes them, is left out. */
static inline uint64_t
ts_swar_json_special(uint64_t word)
{
    const uint64_t quotes = (word ^ TS_SWAR_ALL('"')) - TS_SWAR_ALL(0x01);
    const uint64_t backslashes = (word ^ TS_SWAR_ALL('\\')) - TS_SWAR_ALL(0x01);
    const uint64_t controls = word - TS_SWAR_ALL(0x20);

    return (quotes | backslashes | controls | word) & TS_SWAR_ALL(0x80);
}

/* Which bytes are not 0 to 9. No carry leaves a byte here: exact in every byte. */
static inline uint64_t
ts_swar_not_digit(uint64_t word)
{
    const uint64_t value = word ^ TS_SWAR_ALL('0');

    return (((value & TS_SWAR_ALL(0x7f)) + TS_SWAR_ALL(0x80 - 10)) | value) & TS_SWAR_ALL(0x80);
}

/* Index of the lowest byte in a mask that is not 0. */
static inline unsigned
ts_swar_first(uint64_t mask)
{
    return (unsigned)__builtin_ctzll(mask) / 8;
}

/* The first byte of a JSON string that does not stand for itself, or the end. Signed: bytes beyond
 * ASCII are negative. */
static inline const char *
ts_swar_skip_plain(const char *at, const char *end)
{
    while (end - at >= TS_SWAR_BYTES) {
        const uint64_t stop = ts_swar_json_special(ts_swar_load(at));

        if (stop != 0)
            return at + ts_swar_first(stop);
        at += TS_SWAR_BYTES;
    }
    while (at < end && *at != '"' && *at != '\\' && (signed char)*at >= 0x20)
        at++;
    return at;
}

#endif
