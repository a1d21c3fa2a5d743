/* in_http.c - see in_http.h. */
#include "ingestd/in_http.h"

#include "common/log.h"
#include "daemon/credential.h"
#include "daemon/http_bounds.h"
#include "daemon/route_list.h"
#include "ingestd/in_metrics.h"
#include "ingestd/in_websocket.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Each connection costs a parked thread. The limit of the settings is for queryd's streams, which
 * stay open; who only writes does not need as many here. */
#define MAX_CONNECTIONS 256u
#define GOOD_BYE_MS 500
#define STORE "/api/stores/:store"

struct in_http {
    struct mutation *mutation;  /* borrowed */
    struct http_server *server; /* owned */
    struct message_sockets writers;
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
    if (status == 401 && request->credential.bytes > 0 && http_key_failed(req))
        return;
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

/* What all requests of one store have in common. */
static struct control_request
request_of(struct http_request *req, enum control_op op)
{
    struct control_request request = {.op = (uint16_t)op};

    credential_store_key(req, &request.credential);
    request.store = span_of(http_path_param(req, 0));
    return request;
}

static void
execute_plain(struct http_request *req, struct in_http *in, enum control_op op)
{
    struct control_request request = request_of(req, op);

    execute(req, in, &request);
}

static void
insert(struct http_request *req, void *ctx)
{
    struct control_request request = request_of(req, CONTROL_INSERT);

    request.argument = span_of(http_header(req, "Idempotency-Key"));
    execute(req, ctx, &request);
}

static void
insert_batch(struct http_request *req, void *ctx)
{
    struct control_request request = request_of(req, CONTROL_INSERT_BATCH);

    request.argument = span_of(http_header(req, "Idempotency-Key"));
    if (http_query_is(req, "atomic", "true"))
        request.flags = CONTROL_ATOMIC;
    execute(req, ctx, &request);
}

static void
delete_time(struct http_request *req, void *ctx)
{
    struct control_request request = request_of(req, CONTROL_DELETE_TIME);

    request.argument = span_of(http_path_param(req, 1));
    execute(req, ctx, &request);
}

static void
delete_range(struct http_request *req, void *ctx)
{
    struct control_request request = request_of(req, CONTROL_DELETE_RANGE);
    char argument[CONTROL_MAX_ARGUMENT_BYTES];

    request.argument = http_bounds(req, argument);
    execute(req, ctx, &request);
}

static void
drop_store(struct http_request *req, void *ctx)
{
    execute_plain(req, ctx, CONTROL_DROP_STORE);
}

static void
reset_store(struct http_request *req, void *ctx)
{
    execute_plain(req, ctx, CONTROL_RESET_STORE);
}

static void
put_schema(struct http_request *req, void *ctx)
{
    execute_plain(req, ctx, CONTROL_PUT_SCHEMA);
}

static void
write_messages(struct http_request *req, void *ctx)
{
    struct in_http *const in = ctx;

    in_websocket_write(req, in->mutation, &in->writers);
}

static void
metrics(struct http_request *req, void *ctx)
{
    const struct in_http *const in = ctx;

    in_metrics_answer(req, in->mutation);
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
        {.method = "POST", .pattern = STORE "/data", .handle = insert},
        {.method = "POST", .pattern = STORE "/data/batch", .handle = insert_batch},
        {.method = "GET",
         .pattern = STORE "/ws/write",
         .handle = write_messages,
         .socket = &message_socket_hooks},
        {.method = "DELETE", .pattern = STORE "/data/time/:timestamp", .handle = delete_time},
        {.method = "DELETE", .pattern = STORE "/data/range", .handle = delete_range},
        {.method = "PUT", .pattern = STORE "/schema", .handle = put_schema},
        {.method = "POST", .pattern = STORE "/reset", .handle = reset_store},
        {.method = "DELETE", .pattern = STORE, .handle = drop_store},
        {.method = "POST", .pattern = "/api/stores", .handle = create_store},
        {.method = "GET", .pattern = "/health", .handle = health},
        {.method = "GET", .pattern = "/healthz", .handle = in_metrics_alive},
        {.method = "GET", .pattern = "/readyz", .handle = in_metrics_ready},
        {.method = "GET", .pattern = "/metrics", .handle = metrics},
    };
    struct in_http *in = calloc(1, sizeof *in);
    struct ts_config config;
    struct http_options options;
    enum ts_err err;

    if (in == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    in->mutation = mutation;
    message_sockets_init(&in->writers);
    settings_get(mutation->settings, &config);
    options = (struct http_options){
        .host = config.ingest_host,
        .port = config.ingest_port,
        .max_connections =
            config.max_connections < MAX_CONNECTIONS ? config.max_connections : MAX_CONNECTIONS,
        .max_body_bytes = config.max_body_bytes,
        .routes = routes,
        .n_routes = sizeof routes / sizeof routes[0],
        .ctx = in,
        .log = log_line,
        .tls_cert_file = config.tls_cert_file,
        .tls_key_file = config.tls_key_file,
    };
    err = http_server_start(&options, &in->server);
    ts_config_wipe(&config);
    if (err == TS_OK && config.mode == TS_MODE_DEBUG)
        route_list_log(options.routes, options.n_routes);
    if (err == TS_OK) {
        *out = in;
    } else {
        message_sockets_done(&in->writers);
        free(in);
    }
    return err;
}

uint16_t
in_http_port(const struct in_http *in)
{
    return http_server_port(in->server);
}

enum ts_err
in_http_load_tls(struct in_http *in, const struct ts_config *config)
{
    return http_server_load_tls(in->server, config->tls_cert_file, config->tls_key_file);
}

void
in_http_stop(struct in_http *in)
{
    if (in == NULL)
        return;
    message_sockets_stop(&in->writers, GOOD_BYE_MS);
    http_server_stop(in->server);
    message_sockets_done(&in->writers);
    free(in);
}
