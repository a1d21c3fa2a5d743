/* duration.h - "15m", "1.5h", "7d" as nanoseconds.
 *
 * Purpose    Read the durations that clients write.
 * Errors     TS_E_PARAM; the text is the reason as clients of the first ts-store know it.
 * Units      nanoseconds
 */
#ifndef TS_DURATION_H
#define TS_DURATION_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

/* Reads, with blanks around it trimmed, either one decimal number of days or weeks (7d, .5w, 1e2d),
 * or numbers with the units ns us µs ms s m h added up (1h30m, 1.5h, 500ms), or a plain 0. A sign
 * may stand in front: callers that have no use for a negative duration refuse it themselves.
 * Fractions are exact, cut to whole nanoseconds. Beyond int64 either way is an error. */
enum ts_err ts_duration_parse(const char *text, size_t bytes, int64_t *out_ns) TS_MUST_USE;

#endif
