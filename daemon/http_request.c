/* http_request.c - what a request says: parameters, headers, body. */
#include "daemon/http_internal.h"

#include <string.h>
#include <strings.h>

const char *
http_method(const struct http_request *req)
{
    return req->info->request_method;
}

const char *
http_path_param(const struct http_request *req, unsigned i)
{
    return i < req->n_params ? req->params[i].at : "";
}

bool
http_query(struct http_request *req, const char *name, struct ts_span *out)
{
    const struct ts_span *value;

    if (!req->has_query) {
        const char *query = req->info->query_string;

        http_query_split(&req->arena, query != NULL ? query : "", query != NULL ? strlen(query) : 0,
                         &req->query);
        req->has_query = true;
    }
    value = http_query_find(&req->query, name);
    if (value == NULL)
        return false;
    *out = *value;
    return true;
}

bool
http_query_is(struct http_request *req, const char *name, const char *want)
{
    struct ts_span value;

    return http_query(req, name, &value) && value.bytes == strlen(want) &&
           memcmp(value.at, want, value.bytes) == 0;
}

const char *
http_header(const struct http_request *req, const char *name)
{
    /* The first letter tells most of them apart. */
    for (int i = 0; i < req->info->num_headers; i++) {
        const struct mg_header *header = &req->info->http_headers[i];

        if (((header->name[0] ^ name[0]) & ~0x20) == 0 && strcasecmp(header->name, name) == 0)
            return header->value;
    }
    return NULL;
}

const char *
http_request_id(const struct http_request *req)
{
    return req->id;
}

const struct http_server *
http_server_of(const struct http_request *req)
{
    return req->server;
}

bool
http_is_answered(const struct http_request *req)
{
    return req->state != HTTP_UNANSWERED;
}

/* A client that waits for leave to send its body gets it. */
static bool
invite_body(struct http_request *req)
{
    static const char invitation[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const char *expect = http_header(req, "Expect");

    if (expect == NULL || strcasecmp(expect, "100-continue") != 0 || req->is_old)
        return true;
    return http_request_write(req, invitation, sizeof invitation - 1);
}

static enum ts_err
refuse_body(struct http_request *req, enum ts_err err, const char *text)
{
    req->closes = true;
    return TS_FAIL(err, "%s", text);
}

/* Room for the next piece of a body of which `have` bytes are there: all of a body whose length
 * was announced is not reserved before it comes, so that a header alone costs no memory. */
static size_t
next_piece(size_t have, size_t limit)
{
    const size_t piece = have < 16384 ? 16384 : have;

    return piece < limit - have ? piece : limit - have;
}

enum ts_err
http_body(struct http_request *req, size_t limit, struct ts_span *out)
{
    struct ts_text *body = &req->thread->body;
    const long long announced = req->is_chunked_body ? -1 : req->info->content_length;

    if (limit == 0)
        limit = req->server->options.max_body_bytes;
    if (req->has_body)
        goto out;
    ts_text_clear(body);
    if (announced > 0 && (unsigned long long)announced > limit)
        return refuse_body(req, TS_E_LIMIT, "request body too large");
    if ((announced > 0 || req->is_chunked_body) && !invite_body(req))
        return refuse_body(req, TS_E_PROTOCOL, "failed to read body");
    for (;;) {
        /* One byte beyond the limit is asked for, to tell a body that ends there from a longer. */
        const size_t want = next_piece(body->bytes, limit + 1);
        int n;

        if (!ts_text_reserve(body, want + 1))
            return refuse_body(req, TS_E_NOMEM, "no memory for the request body");
        n = mg_read(req->conn, body->at + body->bytes, want);
        if (n < 0)
            return refuse_body(req, TS_E_PROTOCOL, "failed to read body");
        if (n == 0)
            break;
        body->bytes += (size_t)n;
        if (body->bytes > limit)
            return refuse_body(req, TS_E_LIMIT, "request body too large");
        if (announced >= 0 && body->bytes == (size_t)announced)
            break;
    }
    if (announced > 0 && body->bytes < (size_t)announced)
        return refuse_body(req, TS_E_PROTOCOL, "failed to read body");
    body->at[body->bytes] = '\0';
    req->has_body = true;
out:
    *out = (struct ts_span){.at = body->at, .bytes = body->bytes};
    return TS_OK;
}
