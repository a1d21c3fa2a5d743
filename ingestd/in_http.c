/* in_http.c - see in_http.h. */
#include "ingestd/in_http.h"

#include "common/log.h"
#include "daemon/credential.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct in_http {
    struct mutation *mutation;  /* borrowed */
    struct http_server *server; /* owned */
};

static void
health(struct http_request *req, void *ctx)
{
    struct ts_text *const out = http_out(req);

    (void)ctx;
    ts_text_puts(out, "{\"status\":\"ok\",\"time\":\"");
    ts_text_time(out, (int64_t)time(NULL) * 1000000000);
    ts_text_puts(out, "\"}");
    http_send(req, 200, HTTP_TYPE_JSON);
}

static struct ts_span
span_of(const char *text)
{
    return (struct ts_span){.at = text, .bytes = text != NULL ? strlen(text) : 0};
}

/* Executes with the request's body. What a credential may do is decided before its body is looked
 * at, but the body has to be read in any case for the connection to go on. */
static void
execute(struct http_request *req, struct in_http *in, struct control_request *request)
{
    struct ts_text *const out = http_out(req);
    uint16_t status;
    enum ts_err err = http_body(req, 0, &request->body);

    if (err != TS_OK) {
        http_answer_error(req, err);
        return;
    }
    request->content_type = span_of(http_header(req, "Content-Type"));
    status = mutation_execute(in->mutation, request, out);
    if (status == 503)
        http_add_answer_header(req, "Retry-After", "1");
    http_send(req, status, HTTP_TYPE_JSON);
}

static void
create_store(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_CREATE_STORE};

    credential_admin_key(req, &request.credential);
    execute(req, ctx, &request);
}

static void
insert(struct http_request *req, void *ctx)
{
    struct control_request request = {.op = CONTROL_INSERT};

    credential_store_key(req, &request.credential);
    request.store = span_of(http_path_param(req, 0));
    execute(req, ctx, &request);
}

static void
log_line(const char *text)
{
    ts_log(TS_LOG_WARNING, "http: %s", text);
}

enum ts_err
in_http_start(struct mutation *mutation, struct in_http **out)
{
    static const struct http_route routes[] = {
        {.method = "GET", .pattern = "/health", .handle = health},
        {.method = "POST", .pattern = "/api/stores", .handle = create_store},
        {.method = "POST", .pattern = "/api/stores/:store/data", .handle = insert},
    };
    struct in_http *in = calloc(1, sizeof *in);
    struct ts_config config;
    struct http_options options;
    enum ts_err err;

    if (in == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    in->mutation = mutation;
    settings_get(mutation->settings, &config);
    options = (struct http_options){
        .host = config.ingest_host,
        .port = config.ingest_port,
        .max_connections = config.max_connections,
        .max_body_bytes = config.max_body_bytes,
        .routes = routes,
        .n_routes = sizeof routes / sizeof routes[0],
        .ctx = in,
        .log = log_line,
    };
    err = http_server_start(&options, &in->server);
    ts_config_wipe(&config);
    if (err != TS_OK)
        free(in);
    else
        *out = in;
    return err;
}

uint16_t
in_http_port(const struct in_http *in)
{
    return http_server_port(in->server);
}

void
in_http_stop(struct in_http *in)
{
    if (in == NULL)
        return;
    http_server_stop(in->server);
    free(in);
}
