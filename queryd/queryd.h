/* queryd.h - what the handlers of one queryd share.
 *
 * Purpose    The context that every HTTP handler gets.
 * Ownership  main() owns all of it; it outlives the HTTP server.
 * Threads    Set before the server starts, then only read; each part guards itself.
 */
#ifndef QUERYD_QUERYD_H
#define QUERYD_QUERYD_H

#include "daemon/http.h"

#include <stdatomic.h>

struct forward;
struct forward_share;
struct message_sockets;
struct views;
struct waiters;

/* What all streams did so far. Added to with relaxed atomics, once per send. */
struct stream_counts {
    _Atomic uint64_t n_streams; /* open now */
    _Atomic uint64_t n_messages, bytes;
    _Atomic uint64_t n_gaps, n_lost; /* told as overwritten: how often, how many records */
    _Atomic uint64_t n_damages;      /* told as damaged */
};

struct queryd {
    const char *data_dir;            /* borrowed */
    struct views *views;             /* owned */
    struct waiters *waiters;         /* owned */
    struct forward *forward;         /* owned */
    struct forward_share *share;     /* owned */
    struct message_sockets *writers; /* owned */
    size_t max_message_bytes;        /* of one that is written */
    struct stream_counts streams;
};

#endif
