/* socket_close.h - nng_close() that ends.
 *
 * Purpose    nng 1.5 was seen, some once in a hundred stops after a busy time, to wait in
 *            nng_close() for ever: its one reaper thread waits for the task of a pipe whose peer is
 *            gone, and each close waits for the reaper. A daemon that is to stop must stop.
 * Ownership  What the socket's callbacks use may be freed only if it was closed.
 * Threads    Any.
 */
#ifndef DAEMON_SOCKET_CLOSE_H
#define DAEMON_SOCKET_CLOSE_H

#include <nng/nng.h>
#include <stdbool.h>

#define SOCKET_CLOSE_MS 1000

/* False, and a line in the log, if it was not closed in SOCKET_CLOSE_MS: it dies with the process,
 * and so must `used`, what its callbacks use; a reference to that is kept here. */
bool socket_close(nng_socket socket, void *used);

/* The same with another function than nng_close(), and another patience. */
bool socket_close_by(int (*close)(nng_socket socket), nng_socket socket, void *used,
                     unsigned wait_ms);

#endif
