/* frames.c - see frames.h. */
#include "queryd/frames.h"

#include "daemon/http.h"
#include "queryd/answer.h"

#include <string.h>

size_t
frame_begin(struct ts_text *out)
{
    const size_t start = out->bytes;

    if (ts_text_reserve(out, HTTP_FRAME_HEAD_BYTES))
        out->bytes += HTTP_FRAME_HEAD_BYTES;
    return start;
}

void
frame_end(struct ts_text *out, size_t start)
{
    uint8_t head[HTTP_FRAME_HEAD_BYTES];
    char *at = out->at + start;
    size_t payload_bytes, head_bytes;

    if (out->failed)
        return;
    payload_bytes = out->bytes - start - HTTP_FRAME_HEAD_BYTES;
    head_bytes = http_frame_head(HTTP_FRAME_TEXT, payload_bytes, head);
    memcpy(at, head, head_bytes);
    memmove(at + head_bytes, at + HTTP_FRAME_HEAD_BYTES, payload_bytes);
    out->bytes = start + head_bytes + payload_bytes;
}

void
frame_add(struct ts_text *out, const char *payload)
{
    const size_t start = frame_begin(out);

    ts_text_puts(out, payload);
    frame_end(out, start);
}

void
frame_add_error(struct ts_text *out, const char *text)
{
    const size_t start = frame_begin(out);

    ts_text_puts(out, "{\"type\":\"error\",\"message\":");
    ts_text_json_string(out, text, strlen(text));
    ts_text_puts(out, "}");
    frame_end(out, start);
}

void
frame_add_gap(struct ts_text *out, const struct ts_gap *gap, const char *error)
{
    const size_t start = frame_begin(out);

    answer_gap_message(out, gap, error);
    frame_end(out, start);
}
