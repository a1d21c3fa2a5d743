/* held_request.h - a control request that outlives the HTTP request which it came with.
 *
 * Purpose    A WebSocket that writes sends the same request again and again, each time with other
 *            messages in it: credential and store are copied once.
 * Ownership  held_request_new() gives *out, held_request_free() takes it and forgets the
 * credential. The copy's spans point into it, but for body, content_type and argument, which are
 *            the caller's to set.
 * Threads    One object, one thread at a time.
 * Errors     NULL if there is no memory.
 */
#ifndef DAEMON_HELD_REQUEST_H
#define DAEMON_HELD_REQUEST_H

#include "proto/control.h"

struct held_request {
    struct control_request request;
    void *ctx;   /* borrowed; of who executes it */
    char text[]; /* credential and store */
};

struct held_request *held_request_new(const struct control_request *request, void *ctx);
void held_request_free(void *held);

#endif
