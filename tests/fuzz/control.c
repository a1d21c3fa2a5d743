/* control.c - any bytes as a message: refused, or exactly what encoding it again gives. */
#include "proto/control.h"

#include <stdlib.h>
#include <string.h>

static void
expect_same(const struct ts_text *text, const uint8_t *data, size_t bytes)
{
    if (text->failed)
        return;
    if (text->bytes != bytes || memcmp(text->at, data, bytes) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct control_request request;
    struct control_reply reply;
    struct event event;
    struct ts_text text;

    ts_text_init(&text);
    if (control_request_decode(data, bytes, &request) == TS_OK) {
        control_request_encode(&request, &text);
        expect_same(&text, data, bytes);
    } else if (control_reply_decode(data, bytes, &reply) == TS_OK) {
        control_reply_encode(&reply, &text);
        expect_same(&text, data, bytes);
    } else if (event_decode(data, bytes, &event) == TS_OK) {
        event_encode(&event, &text);
        expect_same(&text, data, bytes);
    }
    ts_text_done(&text);
    return 0;
}
