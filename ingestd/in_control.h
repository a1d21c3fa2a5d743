/* in_control.h - queryd's requests: mutations that a client sent there.
 *
 * Purpose    Answer control_requests on the run directory's control socket, several at once.
 * Invariant  A request for another instance is refused, and one that arrives again with the same
 *            id is answered as before and not executed again: nng may send a request twice.
 * Ownership  in_control_start() gives *out, in_control_stop() takes it; the mutation outlives it.
 * Threads    Start and stop from one thread.
 * Errors     TS_E_USAGE, TS_E_IO, TS_E_SYSTEM from the start.
 */
#ifndef INGESTD_IN_CONTROL_H
#define INGESTD_IN_CONTROL_H

#include "ingestd/mutation.h"

/* Requests executed at the same time. Of a store with sync "each" so many share one sync. */
#define IN_CONTROL_THREADS 8

struct in_control;

enum ts_err in_control_start(struct mutation *mutation, const char *run_dir, uint64_t instance,
                             struct in_control **out) TS_MUST_USE;

/* Sees to it that readers are let in; see endpoint.h. Accepts NULL. */
void in_control_check(struct in_control *in);

/* What is being executed is finished and answered. Accepts NULL. */
void in_control_stop(struct in_control *in);

#endif
