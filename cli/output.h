/* output.h - what all verbs say in the same way: failures, numbers, progress.
 *
 * Purpose    Results go to standard output, everything else to standard error; one form for each.
 * Invariant  A failure is one line on standard error. With --json it is an object with "error" and
 *            "code", else "YYYY/MM/DD hh:mm:ss <text>", as scripts of the first ts-store know it.
 * Errors     A standard output that cannot be written is noticed by cli_flush(), once.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "cli/arguments.h"
#include "common/config.h"
#include "common/text.h"

#include <stdbool.h>
#include <stdint.h>

#define CLI_HUMAN_BYTES 32
#define CLI_GROUPED_BYTES 32

/* Tells the failure `err`, whose text is set, as "<what>: <text>" or "<text>" if `what` is NULL.
 * Returns the exit code, so that a verb can `return cli_fail(…)`. */
int cli_fail(const struct cli_common *common, enum ts_err err, const char *what);

/* One line of notice on standard error, in the form of a failure, which it is not. */
void cli_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Writes the text to standard output and clears it. TS_E_NOMEM if it is not complete, TS_E_IO. */
enum ts_err cli_print(struct ts_text *text) TS_MUST_USE;

/* Everything printed so far has left the process, or TS_E_IO. */
enum ts_err cli_flush(void) TS_MUST_USE;

/* Adds `"name":"value"` with `before` in front: "," or "{". */
void cli_json_text(struct ts_text *out, const char *before, const char *name, const char *value);
void cli_json_number(struct ts_text *out, const char *before, const char *name, int64_t value);

/* 2048 as "2.00 KB": powers of 1024, two decimals. */
void cli_human_bytes(uint64_t bytes, char out_text[CLI_HUMAN_BYTES]);

/* 4210752 as "4,210,752". */
void cli_grouped(uint64_t number, char out_text[CLI_GROUPED_BYTES]);

/* `text` in one line and harmless for a terminal: control characters, and bytes that are not
 * UTF-8, become \n, \t, \x1b … */
void cli_add_visible(struct ts_text *out, const void *data, size_t bytes);

/* The configuration that holds for this command: file, environment, then --path. */
enum ts_err cli_load_config(const struct cli_common *common,
                            struct ts_config *out_config) TS_MUST_USE;

/* A line on standard error that is rewritten in place: only on a terminal, only for work that
 * takes longer than a second. */
struct cli_progress {
    bool is_on, is_shown;
    int64_t next_ns;
};
void cli_progress_init(struct cli_progress *progress);
/* True if it is time to write the line again with cli_progress_show(). */
bool cli_progress_is_due(struct cli_progress *progress);
void cli_progress_show(struct cli_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Removes the line. */
void cli_progress_end(struct cli_progress *progress);

#endif
