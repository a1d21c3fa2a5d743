/* error.h - how a failure travels.
 *
 * Purpose    One enum for every failure, and one thread-local text that says what happened where.
 * Invariant  The text is set once, where the fault is (TS_FAIL), and callers only prepend what
 *            they alone know (TS_CONTEXT). Status, name and exit code come from errors.def.
 * Threads    The text belongs to the calling thread and lives until its next failure.
 * Errors     None of these functions fails; texts longer than TS_ERROR_TEXT_BYTES are cut.
 */
#ifndef TS_ERROR_H
#define TS_ERROR_H

#include "common/tsstore.h"

#define TS_ERROR_TEXT_BYTES 512

/* Sets the text and returns `err`. Use TS_FAIL. An empty format keeps the table's text. */
enum ts_err ts_error_set(enum ts_err err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* As ts_error_set(), with ": <strerror(saved_errno)>" behind it. ENOSPC and EDQUOT become
 * TS_E_FULL, ENOMEM becomes TS_E_NOMEM, whatever `err` says. */
enum ts_err ts_error_set_errno(enum ts_err err, int saved_errno, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<context>: " before the text of the failure that is on its way up. */
void ts_error_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* HTTP status of `err`, from the table. */
int ts_error_http_status(enum ts_err err);

/* Process exit code of `err`, from the table. */
int ts_error_exit_code(enum ts_err err);

/* The table's text of `err`, without what was set. Never NULL. */
const char *ts_error_default_text(enum ts_err err);

/* Returns the value where a compiler, or an analyzer, sees it: a failure is one. */
static inline enum ts_err
ts_error_is(enum ts_err err, enum ts_err set)
{
    (void)set;
    return err;
}

#define TS_FAIL(err, ...) ts_error_is((err), ts_error_set((err), __VA_ARGS__))
#define TS_FAIL_PLAIN(err) TS_FAIL((err), "%s", ts_error_default_text(err))
#define TS_FAIL_ERRNO(err, ...) ts_error_set_errno((err), errno, __VA_ARGS__)
#define TS_CONTEXT(...) ts_error_context(__VA_ARGS__)

#endif
