/* content_type.c - see content_type.h. */
#include "ingestd/content_type.h"

#include <string.h>
#include <strings.h>

bool
content_type_is(struct ts_span content_type, const char *want)
{
    const char *end;

    if (content_type.bytes == 0)
        return false;
    end = memchr(content_type.at, ';', content_type.bytes);
    if (end != NULL)
        content_type.bytes = (size_t)(end - content_type.at);
    while (content_type.bytes > 0 && content_type.at[content_type.bytes - 1] == ' ')
        content_type.bytes--;
    while (content_type.bytes > 0 && *content_type.at == ' ') {
        content_type.at++;
        content_type.bytes--;
    }
    return content_type.bytes == strlen(want) &&
           strncasecmp(content_type.at, want, content_type.bytes) == 0;
}

bool
content_type_fits(struct ts_span content_type, enum ts_type type)
{
    static const char *const wanted[] = {
        [TS_TYPE_BINARY] = "application/octet-stream",
        [TS_TYPE_TEXT] = "text/plain",
        [TS_TYPE_JSON] = "application/json",
        [TS_TYPE_SCHEMA] = "application/json",
    };

    return content_type_is(content_type, wanted[type]);
}
