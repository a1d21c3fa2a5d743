/* counters.h - what this ingestd did since it started.
 *
 * Purpose    Count what came in and what was refused, and why, for whoever watches over it.
 * Invariant  Counting takes no lock and no time worth telling: relaxed atomics, once per batch for
 *            what was appended.
 * Threads    All calls from any thread. There is one set per process.
 */
#ifndef INGESTD_COUNTERS_H
#define INGESTD_COUNTERS_H

#include "common/error.h"
#include "common/text.h"

#include <stdbool.h>

/* HTTP: also what queryd forwarded, and WebSockets. */
enum counters_way { COUNTERS_SOCKET, COUNTERS_HTTP, COUNTERS_N_WAYS };

void counters_appended(enum counters_way way, uint64_t n);
void counters_refused(enum counters_way way, enum ts_err err);

/* A feeder of the Unix socket came, or left. */
void counters_feeder(int change);

/* Whether the loop that appends what feeders send went round lately. */
void counters_set_alive(bool is_alive);
bool counters_is_alive(void);

void counters_write(struct ts_text *out);

#endif
