/* log.h - log lines of the daemons and the command. The library never logs.
 *
 * Purpose    One line per event on standard error, in one write.
 * Invariant  An event is one line, whatever it quotes: control characters are escaped. A line is
 *            at most TS_LOG_LINE_BYTES long, a longer one ends in "...".
 * Threads    All calls from any thread; ts_log_init() before there are others. Lines of two
 *            threads don't mix.
 * Errors     None: a line that can't be written is dropped. errno is kept.
 * Units      UTC, milliseconds.
 *
 * A line is "2026-03-01T08:00:00.123Z warning ingestd: text", or if so wished
 * {"time":"2026-03-01T08:00:00.123Z","level":"warning","program":"ingestd","message":"text"}.
 * If standard error is the journal (JOURNAL_STREAM names it), it is "<4>text", or "<4>{…}": the
 * journal adds the rest.
 */
#ifndef TS_LOG_H
#define TS_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TS_LOG_LINE_BYTES 2048

enum ts_log_level { TS_LOG_ERROR, TS_LOG_WARNING, TS_LOG_INFO, TS_LOG_DEBUG };

enum ts_log_format { TS_LOG_TEXT, TS_LOG_JSON };

/* `program` is borrowed for ever; lines above `level` are dropped. Before this call: "tsstore",
 * TS_LOG_INFO. */
void ts_log_init(const char *program, enum ts_log_level level);

/* Changes the level, for a reload. */
void ts_log_set_level(enum ts_log_level level);

/* Changes the form of lines; text before the first call. */
void ts_log_set_format(enum ts_log_format format);

/* True if a line of this level would be written: to spare the work of making its text. */
bool ts_log_is_on(enum ts_log_level level);

void ts_log(enum ts_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "error", "warning", "info", "debug". */
const char *ts_log_level_name(enum ts_log_level level);

/* Lets through so many lines per period of one place in the code; `static`, starts as
 * TS_LOG_LIMIT(lines, seconds). */
struct ts_log_limit {
    unsigned per_period;
    uint64_t period_ns;
    _Atomic uint64_t state;     /* log.c: which period, and how many lines it had */
    _Atomic uint64_t n_dropped; /* not yet told */
};
#define TS_LOG_LIMIT(lines, seconds)                                                               \
    {                                                                                              \
        (lines), (uint64_t)(seconds)*1000000000u, 0, 0                                             \
    }

/* True if the line may be written now; *out_dropped is then how many were held back since the
 * last one that was let through, to be told in it. Else *out_dropped is untouched. */
bool ts_log_allow(struct ts_log_limit *limit, uint64_t *out_dropped);

#endif
