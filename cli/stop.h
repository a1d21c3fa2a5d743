/* stop.h - Ctrl-C and SIGTERM as a wish that is looked at, not as a sudden end.
 *
 * Purpose    Let long work end in order: what is in flight is finished, children are stopped.
 * Invariant  The first signal is the wish; a second one ends the process at once, so that nobody
 *            is ever stuck in a clean-up.
 * Threads    The flag and the descriptor may be looked at from any thread.
 */
#ifndef CLI_STOP_H
#define CLI_STOP_H

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

#define CLI_EXIT_INTERRUPTED 130 /* as shells report SIGINT */

/* From now on SIGINT and SIGTERM are wishes. TS_E_SYSTEM. */
enum ts_err cli_stop_init(void) TS_MUST_USE;

bool cli_stop_asked(void);

/* Readable as soon as a stop was asked for: for poll(). -1 before cli_stop_init(). */
int cli_stop_fd(void);

/* Sleeps; true if a stop was asked for before the time was over. */
bool cli_stop_sleep(int64_t duration_ns);

#endif
