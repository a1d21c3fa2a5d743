/* when.h - points in time as people write them.
 *
 * Purpose    Unix nanoseconds to RFC 3339 with all nine digits, and back.
 * Invariant  Every int64_t has a text, and reading that text gives it back.
 * Errors     cli_time_parse: TS_E_USAGE, the text says what was expected.
 * Units      Unix nanoseconds, UTC; texts may carry an offset when read.
 * Source     Days of the civil calendar: Howard Hinnant, "chrono-compatible low-level date
 *            algorithms".
 */
#ifndef CLI_WHEN_H
#define CLI_WHEN_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

#define CLI_TIME_BYTES 31 /* "2026-03-01T08:00:00.123456789Z" and NUL */

/* Writes time_ns as RFC 3339 UTC with nine fractional digits. */
void cli_time_text(int64_t time_ns, char out_text[CLI_TIME_BYTES]);

/* Reads "2026-01-01T00:00:00Z", "2026-01-01T01:00:00.5+01:00" or "2026-01-01" (midnight UTC). */
enum ts_err cli_time_parse(const char *text, int64_t *out_time_ns) TS_MUST_USE;

/* The wall clock. */
int64_t cli_now_ns(void);

/* A clock that only goes forward, for intervals. */
int64_t cli_monotonic_ns(void);

#endif
