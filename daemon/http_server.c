/* http_server.c - civetweb started, stopped, and each request routed.
 *
 * Everything happens in begin_request, before civetweb looks for files, passwords or upgrades: what
 * is not ours it never sees. Only an accepted upgrade goes on to civetweb's handshake. */
#include "daemon/http_internal.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEFAULT_CONNECTIONS 256u
#define DEFAULT_BODY_BYTES ((size_t)64 << 20)
#define DEFAULT_REQUEST_TIMEOUT_MS 30000u
#define DEFAULT_IDLE_TIMEOUT_MS 60000u
/* How soon a worker sees that its WebSocket is to be closed; no limit for a silent client. */
#define SOCKET_LOOK_MS "2000"

#define WAKE_PERIOD_NS 10000000

/* What the one who wakes the listening thread needs. */
struct stop {
    uint16_t port;
    struct in_addr address;
    atomic_bool is_done;
};

/* User data of a connection beyond the limit, until it is told so. */
static char beyond_limit;

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

static void
route_request(struct http_request *req)
{
    const char *raw = req->info->local_uri_raw;
    const size_t raw_bytes = raw != NULL ? strlen(raw) : 0;
    struct http_path path;

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

/* What a large answer or body left behind is given back. */
static void
trim(struct ts_text *text)
{
    if (text->capacity > HTTP_KEEP_BYTES)
        ts_text_done(text);
}

static bool
is_chunked(const struct http_request *req)
{
    const char *encoding = http_header(req, "Transfer-Encoding");

    return encoding != NULL && strcasecmp(encoding, "identity") != 0;
}

static void
begin(struct http_request *req, struct http_thread *thread, struct mg_connection *conn)
{
    /* Not `added` nor `query`, which are long: their counts say that they are empty. */
    memset(req, 0, offsetof(struct http_request, query));
    req->has_query = false;
    req->has_body = false;
    req->closes = false;
    req->is_dead = false;
    req->state = HTTP_UNANSWERED;
    req->added_bytes = 0;
    req->thread = thread;
    req->conn = conn;
    req->info = mg_get_request_info(conn);
    req->server = mg_get_user_context_data(conn);
    req->arena = (struct http_arena){.at = thread->arena, .capacity = sizeof thread->arena};
    req->is_head = strcmp(req->info->request_method, "HEAD") == 0;
    req->is_old = strcmp(req->info->http_version, "1.1") != 0;
    req->is_chunked_body = is_chunked(req);
    if (req->is_old) {
        const char *connection = http_header(req, "Connection");

        req->closes = connection == NULL || strcasecmp(connection, "keep-alive") != 0;
    } else {
        const char *connection = http_header(req, "Connection");

        req->closes = connection != NULL && strcasecmp(connection, "close") == 0;
    }
    ts_text_clear(&thread->out);
    if (ts_text_reserve(&thread->out, HTTP_HEAD_ROOM))
        thread->out.bytes = HTTP_HEAD_ROOM;
}

/* civetweb: a request's head was read. 0 lets it go on with an upgrade; a status ends it. It never
 * gets to see a 401, after which it would not keep the connection. */
static int
begin_request(struct mg_connection *conn)
{
    struct http_worker *worker = mg_get_thread_pointer(conn);
    struct http_thread *thread;
    struct http_request *req;

    if (worker != NULL && worker->thread == NULL)
        worker->thread = calloc(1, sizeof *worker->thread);
    thread = worker != NULL ? worker->thread : NULL;
    if (thread == NULL) {
        mg_disable_connection_keep_alive(conn);
        return 500;
    }
    req = &thread->request;
    begin(req, thread, conn);
    if (mg_get_user_connection_data(conn) == &beyond_limit) {
        req->closes = true;
        http_answer_error(req, TS_FAIL(TS_E_BUSY, "too many connections"));
    } else {
        route_request(req);
    }
    trim(&thread->out);
    trim(&thread->body);
    return req->state == HTTP_UPGRADED ? 0 : 200;
}

/* civetweb: the request, or the WebSocket that it became, is over. */
static void
end_request(const struct mg_connection *conn, int status)
{
    void *data = mg_get_user_connection_data(conn);

    (void)status;
    if (data == NULL || data == &beyond_limit)
        return;
    mg_set_user_connection_data((struct mg_connection *)conn, NULL);
    http_socket_finish(data);
}

static int
init_connection(const struct mg_connection *conn, void **data)
{
    struct http_server *server = mg_get_user_context_data(conn);
    const unsigned before =
        atomic_fetch_add_explicit(&server->n_connections, 1, memory_order_relaxed);

    *data = before >= server->options.max_connections ? &beyond_limit : NULL;
    return 0;
}

static void
connection_closed(const struct mg_connection *conn)
{
    struct http_server *server = mg_get_user_context_data(conn);

    atomic_fetch_sub_explicit(&server->n_connections, 1, memory_order_relaxed);
}

/* Most workers of a large pool never serve a request: what one needs is made when it first does. */
static void *
init_thread(const struct mg_context *context, int kind)
{
    (void)context;
    return kind == 1 ? calloc(1, sizeof(struct http_worker)) : NULL;
}

static void
exit_thread(const struct mg_context *context, int kind, void *pointer)
{
    struct http_worker *worker = pointer;

    (void)context;
    if (kind != 1 || worker == NULL)
        return;
    if (worker->thread != NULL) {
        ts_text_done(&worker->thread->out);
        ts_text_done(&worker->thread->body);
    }
    free(worker->thread);
    free(worker);
}

static int
log_message(const struct mg_connection *conn, const char *text)
{
    const struct http_server *server = mg_get_user_context_data(conn);

    if (server != NULL && server->options.log != NULL)
        server->options.log(text);
    return 1;
}

/* civetweb refuses what it cannot read; it says so in our form. */
static int
http_error(struct mg_connection *conn, int status, const char *text)
{
    char body[256], head[256];
    int body_bytes, head_bytes;

    body_bytes = snprintf(body, sizeof body, "{\"error\":\"%s\",\"code\":\"protocol\"}",
                          status == 413   ? "request head too large"
                          : status == 408 ? "request timeout"
                                          : "malformed request");
    head_bytes = snprintf(head, sizeof head,
                          "HTTP/1.1 %d Error\r\nContent-Type: " HTTP_TYPE_JSON
                          "\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
                          status, body_bytes);
    (void)text;
    mg_disable_connection_keep_alive(conn);
    mg_write(conn, head, (size_t)head_bytes);
    mg_write(conn, body, (size_t)body_bytes);
    return 0;
}

static void
set_defaults(struct http_options *options)
{
    if (options->max_connections == 0)
        options->max_connections = DEFAULT_CONNECTIONS;
    if (options->max_body_bytes == 0)
        options->max_body_bytes = DEFAULT_BODY_BYTES;
    if (options->request_timeout_ms == 0)
        options->request_timeout_ms = DEFAULT_REQUEST_TIMEOUT_MS;
    if (options->idle_timeout_ms == 0)
        options->idle_timeout_ms = DEFAULT_IDLE_TIMEOUT_MS;
}

static enum ts_err
check_host(const char *host, const char **out_text, struct in_addr *out_address)
{
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, out_address) != 1)
        return TS_FAIL(TS_E_CONFIG, "%s: not an IPv4 address to listen on", host);
    *out_text = host;
    return TS_OK;
}

static enum ts_err
start_civetweb(struct http_server *server, const char *address)
{
    /* No log_access: with one, civetweb formats a line with local time for every request. */
    static const struct mg_callbacks callbacks = {
        .begin_request = begin_request,
        .end_request = end_request,
        .log_message = log_message,
        .connection_closed = connection_closed,
        .init_connection = init_connection,
        .init_thread = init_thread,
        .exit_thread = exit_thread,
        .http_error = http_error,
    };
    char port[64], threads[16], request_ms[16], idle_ms[16], head_bytes[16], why[256] = "";
    const char *settings[] = {"listening_ports",
                              port,
                              "num_threads",
                              threads,
                              "request_timeout_ms",
                              request_ms,
                              "enable_keep_alive",
                              "yes",
                              "keep_alive_timeout_ms",
                              idle_ms,
                              "tcp_nodelay",
                              "1",
                              "max_request_size",
                              head_bytes,
                              "decode_url",
                              "no",
                              "decode_query_string",
                              "no",
                              "enable_directory_listing",
                              "no",
                              "websocket_timeout_ms",
                              SOCKET_LOOK_MS,
                              "listen_backlog",
                              "512",
                              "connection_queue",
                              "64",
                              NULL};
    struct mg_init_data init = {
        .callbacks = &callbacks, .user_data = server, .configuration_options = settings};
    struct mg_error_data failure = {.text = why, .text_buffer_size = sizeof why};
    struct mg_server_port ports[1];

    snprintf(port, sizeof port, "%s:%u", address, server->options.port);
    snprintf(threads, sizeof threads, "%u", server->options.max_connections + HTTP_SPARE_THREADS);
    snprintf(request_ms, sizeof request_ms, "%u", server->options.request_timeout_ms);
    snprintf(idle_ms, sizeof idle_ms, "%u", server->options.idle_timeout_ms);
    snprintf(head_bytes, sizeof head_bytes, "%d", HTTP_MAX_HEAD_BYTES);
    server->context = mg_start2(&init, &failure);
    if (server->context == NULL)
        return TS_FAIL(TS_E_IO, "cannot listen on %s: %s", port, why);
    if (mg_get_server_ports(server->context, 1, ports) < 1)
        return TS_FAIL(TS_E_IO, "cannot listen on %s: no port", port);
    server->port = (uint16_t)ports[0].port;
    mg_set_websocket_handler(server->context, "/", http_socket_connect, http_socket_ready,
                             http_socket_data, NULL, NULL);
    return TS_OK;
}

enum ts_err
http_server_start(const struct http_options *options, struct http_server **out_server)
{
    struct http_server *server = NULL;
    struct in_addr address;
    const char *text = NULL;
    enum ts_err err;

    err = check_host(options->host, &text, &address);
    if (err != TS_OK)
        return err;
    server = calloc(1, sizeof *server);
    if (server == NULL)
        return TS_FAIL(TS_E_NOMEM, "no memory for the HTTP server");
    server->options = *options;
    /* To be reached by ourselves: "any address" is reached by loopback. */
    server->address = address;
    if (address.s_addr == htonl(INADDR_ANY))
        server->address.s_addr = htonl(INADDR_LOOPBACK);
    set_defaults(&server->options);
    mg_init_library(MG_FEATURES_DEFAULT);
    err = start_civetweb(server, text);
    if (err != TS_OK) {
        http_server_stop(server);
        return err;
    }
    *out_server = server;
    return TS_OK;
}

uint16_t
http_server_port(const struct http_server *server)
{
    return server->port;
}

unsigned
http_server_connections(const struct http_server *server)
{
    return atomic_load_explicit(&server->n_connections, memory_order_relaxed);
}

/* civetweb's listening thread looks up only every two seconds, unless somebody connects. */
static void *
wake_listener(void *arg)
{
    struct stop *stop = arg;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(stop->port), .sin_addr = stop->address};

    while (!atomic_load_explicit(&stop->is_done, memory_order_relaxed)) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
            atomic_store_explicit(&stop->is_done, true, memory_order_relaxed);
        if (fd >= 0)
            close(fd);
        nanosleep(&(struct timespec){.tv_nsec = WAKE_PERIOD_NS}, NULL);
    }
    return NULL;
}

static void
stop_civetweb(struct http_server *server)
{
    struct stop stop = {.port = server->port, .address = server->address};
    pthread_t waker;
    const bool has_waker = pthread_create(&waker, NULL, wake_listener, &stop) == 0;

    mg_stop(server->context);
    atomic_store_explicit(&stop.is_done, true, memory_order_relaxed);
    if (has_waker)
        pthread_join(waker, NULL);
}

void
http_server_stop(struct http_server *server)
{
    if (server == NULL)
        return;
    if (server->context != NULL)
        stop_civetweb(server);
    mg_exit_library();
    free(server);
}
