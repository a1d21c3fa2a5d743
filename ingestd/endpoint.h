/* endpoint.h - an nng socket that keeps listening.
 *
 * Purpose    nng 1.5 stops accepting for good when a peer goes away between connecting and its
 *            first bytes, as a process does that is killed then: connections still seem to be made,
 *            and nobody serves them. So the endpoint now and then connects to itself, and listens
 *            anew when that does not arrive.
 * Ownership  endpoint_open() fills *endpoint. The socket is borrowed.
 * Threads    endpoint_check() from one thread; endpoint_peers() from any.
 * Errors     TS_E_IO, TS_E_SYSTEM from endpoint_open(). A check that fails is logged and tried
 *            again the next time.
 */
#ifndef INGESTD_ENDPOINT_H
#define INGESTD_ENDPOINT_H

#include "proto/control.h"

#include <nng/nng.h>
#include <stdatomic.h>

struct endpoint {
    nng_socket socket; /* borrowed */
    nng_listener listener;
    int peer_protocol; /* nng's number of the other side's kind */
    size_t max_bytes;  /* of a message; 0: nng's default */
    char url[CONTROL_URL_BYTES];
    _Atomic int n_peers;        /* connected now */
    _Atomic uint64_t n_arrived; /* ever */
};

/* Listens at <run_dir>/<name>. */
enum ts_err endpoint_open(struct endpoint *endpoint, nng_socket socket, const char *run_dir,
                          const char *name, size_t max_bytes) TS_MUST_USE;

/* Connects to itself, some 0.1 ms if all is well. Listens anew if nothing arrives in half a second;
 * peers that are connected notice nothing. */
void endpoint_check(struct endpoint *endpoint);

/* How many are connected. */
static inline int
endpoint_peers(const struct endpoint *endpoint)
{
    /* relaxed: a peer looks at the files after it connected, so the first movement that it is not
     * told of is one that it sees. */
    return atomic_load_explicit(&endpoint->n_peers, memory_order_relaxed);
}

#endif
