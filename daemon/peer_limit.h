/* peer_limit.h - who showed too many wrong keys lately.
 *
 * Purpose    Count failed attempts per address; say when it is one too many, and for how long.
 * Invariant  Memory is fixed: PEER_LIMIT_PEERS addresses, the one that failed longest ago makes
 *            room. Only failures are counted, so that nobody with a right key is ever refused.
 * Ownership  The caller's memory.
 * Threads    All calls from any thread.
 * Errors     None.
 */
#ifndef DAEMON_PEER_LIMIT_H
#define DAEMON_PEER_LIMIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define PEER_LIMIT_PEERS 256
/* More failures than this in PEER_LIMIT_WINDOW_S are too many. A proxy shows the mistakes of all
 * its clients under one address, and a restart brings those of a whole site at once. */
#define PEER_LIMIT_FAILURES 256
#define PEER_LIMIT_WINDOW_S 10
#define PEER_LIMIT_BLOCK_S 5

struct peer_limit {
    pthread_mutex_t lock; /* guards the rest */
    struct peer {
        char address[48];
        int64_t seen_ns, window_ns, blocked_until_ns; /* monotonic */
        unsigned n_failures;
    } peers[PEER_LIMIT_PEERS];
};

void peer_limit_init(struct peer_limit *limit);
void peer_limit_done(struct peer_limit *limit);

/* One more failure of `address`. 0: it may go on; else for how many seconds it should not.
 * *out_is_first: the block began with this one. */
unsigned peer_limit_failed(struct peer_limit *limit, const char *address, int64_t now_ns,
                           bool *out_is_first);

#endif
