/* credential.c - keys in headers and query, in the contract's order. */
#include "daemon/credential.h"

#include <string.h>

static const struct ts_span nothing = {.at = "", .bytes = 0};

struct ts_span
credential_bearer(const char *authorization)
{
    static const char word[] = "Bearer ";
    const size_t word_bytes = sizeof word - 1;

    if (authorization == NULL || strncmp(authorization, word, word_bytes) != 0)
        return nothing;
    return (struct ts_span){.at = authorization + word_bytes,
                            .bytes = strlen(authorization + word_bytes)};
}

/* A header, else a query parameter. */
static struct ts_span
header_or_query(struct http_request *req, const char *header, const char *parameter)
{
    const char *value = http_header(req, header);
    struct ts_span span;

    if (value != NULL && value[0] != '\0')
        return (struct ts_span){.at = value, .bytes = strlen(value)};
    return http_query(req, parameter, &span) ? span : nothing;
}

void
credential_store_key(struct http_request *req, struct ts_span *out)
{
    const char *header = http_header(req, "X-API-Key");

    if (header == NULL || header[0] == '\0') {
        *out = credential_bearer(http_header(req, "Authorization"));
        if (out->bytes > 0)
            return;
    }
    *out = header_or_query(req, "X-API-Key", "api_key");
}

void
credential_admin_key(struct http_request *req, struct ts_span *out)
{
    *out = header_or_query(req, "X-Admin-Key", "admin_key");
}
