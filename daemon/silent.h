/* silent.h - connections that do not say what they want are closed.
 *
 * Purpose    A worker of the HTTP server is taken by every connection, also by one whose client
 *            does not finish its TLS handshake, sends no byte, or sends its first head a byte at a
 *            time. These get SILENT_MS from the moment that they are noticed, or SILENT_CROWD_MS
 *            while all workers are taken.
 * Invariant  A connection whose first request was read is left alone for the rest of its life.
 * Ownership  silent_new() gives *out, silent_free() takes it.
 * Threads    All calls from any thread, but silent_free(): last. It has a thread of its own, which
 *            looks at the process's sockets: civetweb does not tell which one a connection has.
 * Errors     TS_E_NOMEM, TS_E_SYSTEM.
 */
#ifndef DAEMON_SILENT_H
#define DAEMON_SILENT_H

#include "common/error.h"

#include <stdint.h>

#define SILENT_MS 5000
#define SILENT_CROWD_MS 2000
#define SILENT_LOOK_MS 500 /* so much later may it be seen */

struct silent;

/* For a server with so many workers, each with one connection at most. */
enum ts_err silent_new(unsigned n_workers, struct silent **out) TS_MUST_USE;
void silent_free(struct silent *silent);

/* From now on connections to this local port (IPv4) are looked at. Once. */
enum ts_err silent_watch(struct silent *silent, uint16_t port) TS_MUST_USE;

/* The first request of the connection from this address and port was read. */
void silent_spoke(struct silent *silent, const char *address, uint16_t port);

/* A connection that spoke ends; its socket is not closed yet. */
void silent_gone(struct silent *silent, const char *address, uint16_t port);

#endif
