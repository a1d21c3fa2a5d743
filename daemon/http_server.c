/* http_server.c - civetweb started, stopped, and each request routed.
 *
 * Everything happens in begin_request, before civetweb looks for files, passwords or upgrades: what
 * is not ours it never sees. Only an accepted upgrade goes on to civetweb's handshake. */
#include "daemon/http_internal.h"

#include "common/log.h"
#include "daemon/metrics.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
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

/* User data of a connection: NULL while no request of it was read, then it is counted, and this is
 * one of these, or the socket that it became. */
static char within_limit, beyond_limit;

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

/* What the thread has for requests; the next one makes it again. */
static void
forget_thread(struct http_worker *worker)
{
    if (worker->thread != NULL) {
        ts_text_done(&worker->thread->out);
        ts_text_done(&worker->thread->body);
    }
    free(worker->thread);
    worker->thread = NULL;
}

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static bool
is_id(const char *text)
{
    const size_t bytes =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/+=@-");

    return bytes > 0 && bytes <= HTTP_ID_BYTES && text[bytes] == '\0';
}

/* Steps a counter by an odd number and mixes its bits (SplitMix64): no id of a thread comes twice,
 * and none tells how many there were. */
static void
make_id(struct http_thread *thread, char out[HTTP_ID_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t mixed = thread->id_state += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    mixed ^= mixed >> 31;
    for (int i = 0; i < 16; i++)
        out[i] = digits[mixed >> 4 * i & 15];
    out[16] = '\0';
}

static void
take_id(struct http_request *req)
{
    const char *given = http_header(req, "X-Request-Id");

    if (given != NULL && is_id(given))
        memcpy(req->id, given, strlen(given) + 1);
    else
        make_id(req->thread, req->id);
}

static struct http_thread *
new_thread(void)
{
    struct http_thread *thread = calloc(1, sizeof *thread);

    if (thread != NULL &&
        getrandom(&thread->id_state, sizeof thread->id_state, 0) != sizeof thread->id_state)
        thread->id_state = (uintptr_t)thread ^ (uint64_t)now_ns();
    return thread;
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
    req->status = 0;
    req->answer_bytes = 0;
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
    take_id(req);
    ts_text_clear(&thread->out);
    if (ts_text_reserve(&thread->out, HTTP_HEAD_ROOM))
        thread->out.bytes = HTTP_HEAD_ROOM;
}

/* The request was answered, or became a WebSocket. The path without its query: keys are there. */
static void
note_request(struct http_request *req, int64_t took_ns)
{
    const struct http_options *options = &req->server->options;
    const bool is_upgraded = req->state == HTTP_UPGRADED;
    const struct http_sample sample = {
        .route_idx =
            req->route != NULL ? (size_t)(req->route - options->routes) : options->n_routes,
        .status = is_upgraded ? 101 : req->status,
        .took_ns = is_upgraded ? -1 : took_ns,
        .body_bytes = req->has_body ? req->thread->body.bytes : 0,
        .answer_bytes = req->answer_bytes,
    };

    http_metrics_count(&req->server->metrics, &sample);
    if (ts_log_is_on(TS_LOG_DEBUG))
        ts_log(TS_LOG_DEBUG, "http: %s %s %.500s: %d, %zu bytes in %.3f ms, request %s",
               req->info->remote_addr, req->info->request_method,
               req->info->local_uri_raw != NULL ? req->info->local_uri_raw : "", sample.status,
               (size_t)sample.answer_bytes, (double)took_ns / 1e6, req->id);
}

/* The first request of a connection. It may take its time from now on, and is counted: those that
 * never say anything must not use up what others may have. */
static void
hear(struct mg_connection *conn)
{
    struct http_server *server = mg_get_user_context_data(conn);
    const struct mg_request_info *info = mg_get_request_info(conn);
    const unsigned before =
        atomic_fetch_add_explicit(&server->n_connections, 1, memory_order_relaxed);
    const bool is_within = before < server->options.max_connections;

    silent_spoke(server->silent, info->remote_addr, (uint16_t)info->remote_port);
    if (!is_within)
        atomic_fetch_add_explicit(&server->metrics.n_refused, 1, memory_order_relaxed);
    mg_set_user_connection_data(conn, is_within ? &within_limit : &beyond_limit);
}

/* civetweb: a request's head was read. 0 lets it go on with an upgrade; a status ends it. It never
 * gets to see a 401, after which it would not keep the connection. */
static int
begin_request(struct mg_connection *conn)
{
    struct http_worker *worker = mg_get_thread_pointer(conn);
    const int64_t began_ns = now_ns();
    struct http_thread *thread;
    struct http_request *req;

    if (mg_get_user_connection_data(conn) == NULL)
        hear(conn);
    if (worker != NULL && worker->thread == NULL)
        worker->thread = new_thread();
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
        http_route_request(req);
    }
    note_request(req, now_ns() - began_ns);
    if (req->state == HTTP_UPGRADED) {
        /* A WebSocket may be there for long, and needs nothing of this. */
        forget_thread(worker);
        return 0;
    }
    trim(&thread->out);
    trim(&thread->body);
    return 200;
}

struct http_socket *
http_socket_of(const struct mg_connection *conn)
{
    void *data = mg_get_user_connection_data(conn);

    return data == &within_limit || data == &beyond_limit ? NULL : data;
}

/* civetweb: the request, or the WebSocket that it became, is over. */
static void
end_request(const struct mg_connection *conn, int status)
{
    struct http_socket *socket = http_socket_of(conn);

    (void)status;
    if (socket == NULL)
        return;
    mg_set_user_connection_data((struct mg_connection *)conn, &within_limit);
    http_socket_finish(socket);
}

static int
init_connection(const struct mg_connection *conn, void **data)
{
    struct http_server *server = mg_get_user_context_data(conn);

    (void)data;
    atomic_fetch_add_explicit(&server->metrics.n_connections, 1, memory_order_relaxed);
    return 0;
}

static void
close_connection(const struct mg_connection *conn)
{
    struct http_server *server = mg_get_user_context_data(conn);
    const struct mg_request_info *info = mg_get_request_info(conn);

    if (mg_get_user_connection_data(conn) == NULL)
        return;
    silent_gone(server->silent, info->remote_addr, (uint16_t)info->remote_port);
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
    forget_thread(worker);
    free(worker);
}

/* What it has to say is mostly about what strangers sent: they must not fill the log. */
static int
log_message(const struct mg_connection *conn, const char *text)
{
    static struct ts_log_limit limit = TS_LOG_LIMIT(20, 10);
    const struct http_server *server = mg_get_user_context_data(conn);
    uint64_t n_dropped;

    if (server != NULL && server->options.log != NULL && ts_log_allow(&limit, &n_dropped))
        server->options.log(text);
    return 1;
}

/* civetweb refuses what it cannot read; it says so in our form. A head that does not fit its buffer
 * is malformed to it, too. */
static int
http_error(struct mg_connection *conn, int status, const char *text)
{
    struct http_server *server = mg_get_user_context_data(conn);
    const int told = status == 413 ? 400 : status;
    char answer[512], body[128];
    int body_bytes, bytes;

    body_bytes =
        snprintf(body, sizeof body, "{\"error\":\"%s\",\"code\":\"protocol\"}",
                 told == 408 ? "request timeout" : "malformed request, or its head is too large");
    bytes = snprintf(answer, sizeof answer,
                     "HTTP/1.1 %d %s\r\nContent-Type: " HTTP_TYPE_JSON
                     "\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
                     told, http_status_text(told), body_bytes, body);
    (void)text;
    atomic_fetch_add_explicit(&server->metrics.n_malformed, 1, memory_order_relaxed);
    mg_disable_connection_keep_alive(conn);
    mg_write(conn, answer, (size_t)bytes);
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

/* civetweb: asks for the TLS context, and at the end whether it may free that one: no. */
static int
give_context(void **out_context, void *user_data)
{
    const struct http_server *server = user_data;

    *out_context = tls_context(server->tls);
    return 1;
}

/* No log_access: with one, civetweb formats a line with local time for every request. */
static const struct mg_callbacks callbacks = {
    .begin_request = begin_request,
    .end_request = end_request,
    .log_message = log_message,
    .connection_close = close_connection,
    .external_ssl_ctx = give_context,
    .init_connection = init_connection,
    .init_thread = init_thread,
    .exit_thread = exit_thread,
    .http_error = http_error,
};

static enum ts_err
start_civetweb(struct http_server *server, const char *address)
{
    const struct http_options *options = &server->options;
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
                              "websocket_timeout_ms",
                              SOCKET_LOOK_MS,
                              "enable_directory_listing",
                              "no",
                              "listen_backlog",
                              "512",
                              "connection_queue",
                              "64",
                              NULL};
    struct mg_init_data init = {
        .callbacks = &callbacks, .user_data = server, .configuration_options = settings};
    struct mg_error_data failure = {.text = why, .text_buffer_size = sizeof why};
    struct mg_server_port ports[1];

    snprintf(port, sizeof port, "%s:%u%s", address, options->port, server->tls != NULL ? "s" : "");
    snprintf(threads, sizeof threads, "%u", options->max_connections + HTTP_SPARE_THREADS);
    snprintf(request_ms, sizeof request_ms, "%u", options->request_timeout_ms);
    snprintf(idle_ms, sizeof idle_ms, "%u", options->idle_timeout_ms);
    snprintf(head_bytes, sizeof head_bytes, "%d", HTTP_READ_HEAD_BYTES);
    server->context = mg_start2(&init, &failure);
    if (server->context == NULL)
        return TS_FAIL(TS_E_IO, "cannot listen on %s: %s", port, why);
    if (mg_get_server_ports(server->context, 1, ports) < 1)
        return TS_FAIL(TS_E_IO, "cannot listen on %s: no port", port);
    server->port = (uint16_t)ports[0].port;
    mg_set_websocket_handler(server->context, "/", http_socket_connect, http_socket_ready,
                             http_socket_data, NULL, NULL);
    return silent_watch(server->silent, server->port);
}

static bool
is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* civetweb says nothing, and crashes at the first request, if it does not get the OpenSSL it was
 * made for: so it is asked. */
static enum ts_err
init_library(struct http_server *server)
{
    const struct http_options *options = &server->options;
    const bool is_secure = is_given(options->tls_cert_file) || is_given(options->tls_key_file);
    unsigned features;
    enum ts_err err = TS_OK;

    if (is_secure && !(is_given(options->tls_cert_file) && is_given(options->tls_key_file)))
        err = TS_FAIL(TS_E_CONFIG, "TLS needs a certificate and a key");
    else if (is_secure)
        err = tls_open(options->tls_cert_file, options->tls_key_file, &server->tls);
    features = mg_init_library(is_secure ? MG_FEATURES_SSL : MG_FEATURES_DEFAULT);
    if (err == TS_OK && is_secure && (features & MG_FEATURES_SSL) == 0)
        err = TS_FAIL(TS_E_CONFIG, "TLS is not possible here: civetweb cannot use this OpenSSL");
    server->options.tls_cert_file = NULL;
    server->options.tls_key_file = NULL;
    return err;
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
    if (server == NULL || !http_metrics_init(&server->metrics, options->n_routes)) {
        free(server);
        return TS_FAIL(TS_E_NOMEM, "no memory for the HTTP server");
    }
    server->options = *options;
    peer_limit_init(&server->key_failures);
    /* To be reached by ourselves: "any address" is reached by loopback. */
    server->address = address;
    if (address.s_addr == htonl(INADDR_ANY))
        server->address.s_addr = htonl(INADDR_LOOPBACK);
    set_defaults(&server->options);
    err = init_library(server);
    if (err == TS_OK)
        err = silent_new(server->options.max_connections + HTTP_SPARE_THREADS, &server->silent);
    if (err == TS_OK)
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

enum ts_err
http_server_load_tls(struct http_server *server, const char *cert_file, const char *key_file)
{
    if (server->tls == NULL)
        return TS_FAIL(TS_E_CONFIG, "TLS: the server was started without");
    return tls_load(server->tls, cert_file, key_file);
}

void
http_server_metrics(const struct http_server *server, struct ts_text *out)
{
    http_metrics_write(&server->metrics, server->options.routes, http_server_connections(server),
                       out);
    if (server->tls == NULL)
        return;
    metrics_one(out, "tsstore_tls_certificate_expiry_timestamp_seconds", "gauge",
                "When the certificate ends.", (uint64_t)tls_expires_s(server->tls));
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
    tls_close(server->tls);
    silent_free(server->silent);
    http_metrics_done(&server->metrics);
    peer_limit_done(&server->key_failures);
    free(server);
}
