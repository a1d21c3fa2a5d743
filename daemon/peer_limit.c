/* peer_limit.c - see peer_limit.h. */
#include "daemon/peer_limit.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_S INT64_C(1000000000)

void
peer_limit_init(struct peer_limit *limit)
{
    memset(limit, 0, sizeof *limit);
    pthread_mutex_init(&limit->lock, NULL);
}

void
peer_limit_done(struct peer_limit *limit)
{
    pthread_mutex_destroy(&limit->lock);
}

/* The lock is held. */
static struct peer *
find(struct peer_limit *limit, const char *address, int64_t now_ns)
{
    struct peer *oldest = &limit->peers[0];

    for (unsigned i = 0; i < PEER_LIMIT_PEERS; i++) {
        struct peer *const peer = &limit->peers[i];

        if (strncmp(peer->address, address, sizeof peer->address - 1) == 0)
            return peer;
        if (peer->seen_ns < oldest->seen_ns)
            oldest = peer;
    }
    *oldest = (struct peer){.window_ns = now_ns};
    snprintf(oldest->address, sizeof oldest->address, "%s", address);
    return oldest;
}

unsigned
peer_limit_failed(struct peer_limit *limit, const char *address, int64_t now_ns, bool *out_is_first)
{
    struct peer *peer;
    unsigned seconds = 0;

    *out_is_first = false;
    pthread_mutex_lock(&limit->lock);
    peer = find(limit, address, now_ns);
    peer->seen_ns = now_ns;
    if (now_ns >= peer->blocked_until_ns) {
        if (now_ns - peer->window_ns >= PEER_LIMIT_WINDOW_S * NS_PER_S) {
            peer->window_ns = now_ns;
            peer->n_failures = 0;
        }
        if (++peer->n_failures > PEER_LIMIT_FAILURES) {
            peer->blocked_until_ns = now_ns + PEER_LIMIT_BLOCK_S * NS_PER_S;
            peer->window_ns = peer->blocked_until_ns;
            peer->n_failures = 0;
            *out_is_first = true;
        }
    }
    if (now_ns < peer->blocked_until_ns)
        seconds = (unsigned)((peer->blocked_until_ns - now_ns + NS_PER_S - 1) / NS_PER_S);
    pthread_mutex_unlock(&limit->lock);
    return seconds;
}
