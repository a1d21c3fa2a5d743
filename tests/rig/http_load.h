/* http_load.h - one request, asked again and again, against civetweb answering a constant.
 *
 * Purpose    What an HTTP route costs beyond the HTTP server that it stands on. The peer is a
 *            civetweb server in a process of its own, set up as the daemons', whose handler reads
 *            the body and writes, in one call, the very bytes that the daemon answered.
 * Invariant  One client thread with epoll drives all connections, keep-alive, one request in flight
 *            on each. Rounds are interleaved: peer, daemon, peer, daemon…
 * Ownership  The request is borrowed.
 * Threads    One load at a time.
 * Errors     die(): what is not answered 200 or 201 ends the program.
 */
#ifndef HTTP_LOAD_H
#define HTTP_LOAD_H

#include "tests/rig/measure.h"

#define HTTP_LOAD_ANSWER_BYTES ((size_t)1 << 20)

struct http_load {
    const char *request;
    size_t request_bytes;
    int n_connections;
};

/* Answers per second; the time that each took is added to the samples. */
double http_load_run(const struct http_load *load, int port, double seconds,
                     struct samples *latencies);

struct http_question {
    const char *what;
    int port;              /* of the daemon that is asked */
    double target;         /* of the ratio of the rates; 0: none */
    double latency_target; /* of the ratio of the 99th percentiles, a ceiling; 0: none */
};

/* Asks the site's daemon and the peer in turn; prints rows and notes about it. */
void http_load_compare(const struct http_load *load, const struct http_question *question);

#endif
