/* text.h - text that is being written.
 *
 * Purpose    A growable text, and the forms of numbers, strings and times that answers are made of.
 * Invariant  at[0..bytes) is what was added so far. After a failed allocation `failed` is set, and
 *            every further add is ignored: check it once, at the end.
 * Ownership  ts_text_init() owns nothing yet; ts_text_done() frees at[]. at[] moves when it grows.
 *            It is not terminated with a NUL.
 * Threads    A ts_text belongs to one thread. The functions without one have no state.
 * Errors     None is returned; see `failed`.
 * Units      bytes; times are Unix nanoseconds.
 */
#ifndef TS_TEXT_H
#define TS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ts_text {
    char *at; /* owned; NULL while nothing was reserved */
    size_t bytes, capacity;
    bool failed; /* memory ran out: the text is not complete */
};

void ts_text_init(struct ts_text *text);

/* Frees it all; *text is then as after ts_text_init(). */
void ts_text_done(struct ts_text *text);

/* Empties the text, keeps its memory, forgets `failed`. */
void ts_text_clear(struct ts_text *text);

/* True if `more` bytes can be written at at[bytes]; the caller then adds to `bytes` itself. */
bool ts_text_reserve(struct ts_text *text, size_t more);

void ts_text_add(struct ts_text *text, const void *data, size_t bytes);
void ts_text_puts(struct ts_text *text, const char *string);
void ts_text_printf(struct ts_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void ts_text_i64(struct ts_text *text, int64_t number);
void ts_text_u64(struct ts_text *text, uint64_t number);

/* As a JSON string with its quotes. Each byte that is no part of valid UTF-8 becomes U+FFFD. */
void ts_text_json_string(struct ts_text *text, const void *data, size_t bytes);

/* Standard alphabet, padded, no quotes. */
void ts_text_base64(struct ts_text *text, const void *data, size_t bytes);

/* RFC 3339 in UTC, whole seconds (rounded towards the past): 2026-01-01T00:00:00Z. */
void ts_text_time(struct ts_text *text, int64_t time_ns);

/* The longest of what the two below write. */
#define TS_FORMAT_NUMBER_BYTES 20

/* Decimal digits without a NUL; returns how many bytes. Those behind are overwritten too. */
size_t ts_format_i64(char out[TS_FORMAT_NUMBER_BYTES], int64_t number);
size_t ts_format_u64(char out[TS_FORMAT_NUMBER_BYTES], uint64_t number);

/* RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF. NUL is valid. */
bool ts_utf8_is_valid(const void *data, size_t bytes);

/* Length 1 to 4 of the valid UTF-8 sequence at data[0], 0 if there is none in these bytes. */
size_t ts_utf8_sequence_bytes(const void *data, size_t bytes);

#endif
