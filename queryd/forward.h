/* forward.h - mutations, sent on to ingestd.
 *
 * Purpose    One request to ingestd and its answer, many at once over one connection.
 * Invariant  A request is meant for one life of ingestd (its instance): one that was restarted
 *            refuses it, so that nothing is ever carried out twice. The credential goes along;
 *            ingestd checks it itself.
 * Ownership  A reply is released by forward_reply_done(). forward_close() ends the waiting calls.
 * Threads    All calls from any thread; forward_close() when no other call is to come.
 * Errors     TS_E_UNAVAILABLE at once if no ingestd is connected: nothing was sent. TS_E_TIMEOUT
 *            if it does not answer in FORWARD_TIMEOUT_MS or goes away meanwhile: then nobody knows
 *            whether the request was carried out.
 */
#ifndef QUERYD_FORWARD_H
#define QUERYD_FORWARD_H

#include "proto/control.h"

#include <stdbool.h>

#define FORWARD_TIMEOUT_MS 30000

struct forward;

struct forward_reply {
    struct control_reply reply; /* views into message, or copy */
    void *message, *copy;       /* owned; one of them is NULL */
};

/* Connects to the ingestd of run_dir whenever there is one. */
enum ts_err forward_open(const char *run_dir, struct forward **out) TS_MUST_USE;

/* Makes all waiting calls, and those to come, answer TS_E_UNAVAILABLE or TS_E_TIMEOUT. */
void forward_stop(struct forward *forward);
void forward_close(struct forward *forward);

/* False at once if no ingestd is there. One that was started this moment is waited for, half a
 * second at most. */
bool forward_is_connected(struct forward *forward);

/* Waits until an ingestd is connected, timeout_ms at most: whoever starts both should not have his
 * first write refused because queryd is some milliseconds ahead of its connection. */
void forward_await(struct forward *forward, unsigned timeout_ms);

/* Sets instance and request_id of a request that is to be sent in another one. */
enum ts_err forward_prepare(struct forward *forward, struct control_request *request) TS_MUST_USE;

/* Sends *request, whose instance and request_id are set here, and waits for the reply. */
enum ts_err forward_call(struct forward *forward, struct control_request *request,
                         struct forward_reply *out) TS_MUST_USE;
void forward_reply_done(struct forward_reply *reply);

#endif
