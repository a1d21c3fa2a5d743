/* http_bounds.c - see http_bounds.h. */
#include "daemon/http_bounds.h"

#include <string.h>

enum { MOST = CONTROL_MAX_ARGUMENT_BYTES / 2 - 2 };

static struct ts_span
bound(struct http_request *req, const char *name)
{
    struct ts_span text = {"", 0};

    if (!http_query(req, name, &text))
        return text;
    return text.bytes <= MOST ? text : (struct ts_span){"?", 1};
}

struct ts_span
http_bounds(struct http_request *req, char memory[CONTROL_MAX_ARGUMENT_BYTES])
{
    const struct ts_span start = bound(req, "start_time"), end = bound(req, "end_time");

    /* Not by printf(): a NUL in it must not hide what follows. */
    memcpy(memory, start.at, start.bytes);
    memory[start.bytes] = ' ';
    memcpy(memory + start.bytes + 1, end.at, end.bytes);
    return (struct ts_span){memory, start.bytes + 1 + end.bytes};
}
