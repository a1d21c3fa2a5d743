/* in_socket.h - the Unix socket: feeders that write lines.
 *
 * Purpose    Listen, and serve all feeders from one thread by an event loop.
 * Invariant  The loop never waits for a client or a disk. An existing socket file is removed only
 *            if nobody answers there. The file is 0660 and is removed at the end.
 * Ownership  in_socket_start() gives *out, in_socket_stop() takes it; the catalogue outlives it.
 * Threads    Start and stop from one thread.
 * Errors     TS_E_LOCKED when a live server has the path, TS_E_USAGE, TS_E_IO, TS_E_SYSTEM.
 */
#ifndef INGESTD_IN_SOCKET_H
#define INGESTD_IN_SOCKET_H

#include "ingestd/catalog.h"
#include "ingestd/settings.h"

/* How long feeders have at the stop to take their answers, before they are cut off. */
#define IN_SOCKET_STOP_MS 3000

struct in_socket;

struct in_socket_options {
    const char *path; /* "": nobody is listened to, the loop only serves the publisher's timer */
    int durable_fd;   /* eventfd of the catalogue, borrowed */
    struct catalog *catalog;
    struct publish *publish;
    struct settings *settings;
};

enum ts_err in_socket_start(const struct in_socket_options *options,
                            struct in_socket **out) TS_MUST_USE;

/* Refuses new feeders, answers what was read, and ends within IN_SOCKET_STOP_MS. Accepts NULL. */
void in_socket_stop(struct in_socket *in);

/* Whether the loop went round since the last call; gives it a reason to. For a watchdog that asks
 * every second or so, from one thread. */
bool in_socket_is_alive(struct in_socket *in);

#endif
