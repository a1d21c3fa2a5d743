/* http_route.c - from a request to its handler.
 *
 * What no route has is answered as the contract says, and so is every OPTIONS. */
#include "daemon/http_internal.h"

#include <stdio.h>
#include <string.h>

static bool
is_method(const struct http_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

static const struct http_route *
find_route(struct http_request *req, const struct http_path *path)
{
    const struct http_options *options = &req->server->options;

    for (size_t i = 0; i < options->n_routes; i++) {
        const struct http_route *route = &options->routes[i];

        if (is_method(route, req->info->request_method) &&
            http_path_match(path, route->pattern, req->params, HTTP_MAX_PARAMS, &req->n_params))
            return route;
    }
    req->n_params = 0;
    return NULL;
}

static void
answer_not_found(struct http_request *req)
{
    static const char text[] = "404 page not found";

    http_answer(req, 404, HTTP_TYPE_TEXT, text, sizeof text - 1);
}

/* To the same target without the slash at the end of its path. */
static void
answer_without_slash(struct http_request *req, const char *raw, size_t raw_bytes)
{
    const char *query = req->info->query_string;
    char location[2048];
    const int n = snprintf(location, sizeof location, "%.*s%s%s", (int)(raw_bytes - 1), raw,
                           query != NULL ? "?" : "", query != NULL ? query : "");
    const bool is_get = strcmp(req->info->request_method, "GET") == 0 || req->is_head;

    if (n < 0 || (size_t)n >= sizeof location) {
        answer_not_found(req);
        return;
    }
    http_add_answer_header(req, "Location", location);
    http_answer_bare(req, is_get ? 301 : 307);
}

static size_t
length_of(const char *text)
{
    return text != NULL ? strlen(text) : 0;
}

static bool
is_head_too_large(const struct mg_request_info *info)
{
    size_t bytes = length_of(info->request_uri) + length_of(info->query_string);

    for (int i = 0; i < info->num_headers; i++)
        bytes += strlen(info->http_headers[i].name) + strlen(info->http_headers[i].value) + 4;
    return bytes > HTTP_MAX_HEAD_BYTES;
}

void
http_route_request(struct http_request *req)
{
    const char *raw = req->info->local_uri_raw;
    const size_t raw_bytes = length_of(raw);
    struct http_path path;

    if (is_head_too_large(req->info)) {
        req->closes = true;
        http_answer_error(req, TS_FAIL(TS_E_HEAD_LIMIT, "request head too large"));
        return;
    }

    if (strcmp(req->info->request_method, "OPTIONS") == 0) {
        http_answer_bare(req, 204);
        return;
    }
    switch (http_path_split(&req->arena, raw != NULL ? raw : "", raw_bytes, &path)) {
    case HTTP_PATH_OK:
        break;
    case HTTP_PATH_MALFORMED:
        http_answer(req, 400, HTTP_TYPE_TEXT, "Bad Request", 11);
        return;
    case HTTP_PATH_FOREIGN:
        answer_not_found(req);
        return;
    }
    req->route = find_route(req, &path);
    if (req->route == NULL)
        answer_not_found(req);
    else if (path.has_trailing_slash)
        answer_without_slash(req, raw, raw_bytes);
    else
        req->route->handle(req, req->server->options.ctx);
    if (req->state == HTTP_UNANSWERED)
        http_answer_error(req, TS_FAIL(TS_E_SYSTEM, "no answer"));
}
