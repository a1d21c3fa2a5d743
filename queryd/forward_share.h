/* forward_share.h - requests that go to ingestd together.
 *
 * Purpose    Many small requests of as many clients cost one message there and one back, not one
 *            each: it is the messages that cost, not what is in them.
 * Invariant  A request is sent at once if no message is on its way, together with those of other
 *            threads that were only waiting for a processor; those that come meanwhile wait for its
 *            return and go on together. If it takes longer than FORWARD_SHARE_PATIENCE_NS
 *            the next goes without waiting, until FORWARD_SHARE_FLYING are on their way. Each
 *            request is executed once, for itself, and has its own reply.
 * Ownership  forward_share_new() gives *out, forward_share_free() takes it; the forward is borrowed
 *            and outlives it. A reply is released by forward_reply_done().
 * Threads    All calls from any thread, but forward_share_free().
 * Errors     As forward_call().
 */
#ifndef QUERYD_FORWARD_SHARE_H
#define QUERYD_FORWARD_SHARE_H

#include "queryd/forward.h"

#define FORWARD_SHARE_FLYING 4u
#define FORWARD_SHARE_PATIENCE_NS 2000000
/* In one message. */
#define FORWARD_SHARE_REQUESTS 64u
#define FORWARD_SHARE_BYTES ((size_t)128 << 10)

struct forward_share;

enum ts_err forward_share_new(struct forward *forward, struct forward_share **out) TS_MUST_USE;
void forward_share_free(struct forward_share *share);

/* As forward_call(), for what ingestd does at once and without waiting for a disk: the requests of
 * one message are executed one after the other. */
enum ts_err forward_share_call(struct forward_share *share, struct control_request *request,
                               struct forward_reply *out) TS_MUST_USE;

#endif
