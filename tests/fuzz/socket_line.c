/* socket_line.c - any bytes as a line: what is taken is a part of the line and trimmed. */
#include "ingestd/socket_line.h"

#include <stdlib.h>
#include <string.h>

static void
expect_inside(struct ts_span span, const char *line, size_t bytes)
{
    if (span.bytes == 0 || span.at < line || span.bytes > bytes ||
        (size_t)(span.at - line) > bytes - span.bytes)
        abort();
    if (span.at[0] == ' ' || span.at[span.bytes - 1] == ' ' || span.at[span.bytes - 1] == '\r')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct socket_auth auth;
    struct socket_line parsed;
    const char *line = (const char *)data + 1;
    char out[SOCKET_LINE_OK_BYTES];

    if (bytes == 0)
        return 0;
    bytes--;
    if (socket_line_auth(line, bytes, &auth) == TS_OK) {
        expect_inside(auth.store, line, bytes);
        expect_inside(auth.key, line, bytes);
    }
    if (socket_line_parse(line, bytes, (enum ts_type)(data[0] & 3), &parsed) == TS_OK &&
        parsed.kind == SOCKET_LINE_RECORD) {
        expect_inside(parsed.data, line, bytes);
        if (socket_line_ok(out, parsed.time_ns) > sizeof out)
            abort();
    }
    return 0;
}
