/* held_request.c - see held_request.h. */
#include "daemon/held_request.h"

#include <stdlib.h>
#include <string.h>

struct held_request *
held_request_new(const struct control_request *request, void *ctx)
{
    const struct ts_span key = request->credential, store = request->store;
    struct held_request *held = malloc(sizeof *held + key.bytes + store.bytes);

    if (held == NULL)
        return NULL;
    held->ctx = ctx;
    held->request = *request;
    memcpy(held->text, key.at, key.bytes);
    memcpy(held->text + key.bytes, store.at, store.bytes);
    held->request.credential.at = held->text;
    held->request.store.at = held->text + key.bytes;
    return held;
}

void
held_request_free(void *arg)
{
    struct held_request *held = arg;

    if (held == NULL)
        return;
    explicit_bzero(held->text, held->request.credential.bytes);
    free(held);
}
