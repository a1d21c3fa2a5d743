/* insert_http.c - what does a reading cost that comes by HTTP?
 *
 * One at a time: POST …/data on N_CONNECTIONS keep-alive connections, to ingestd itself and through
 * queryd, against a civetweb server in a process of its own, set up alike, whose handler reads the
 * body and writes the very bytes that ingestd answered. One client thread with epoll drives all
 * connections, one request in flight on each.
 *
 * Many at a time: POST …/data/batch, LINES lines of LINE_BYTES in each, on one connection, against
 * the same lines on the Unix socket, as many in flight. */
#include "tests/rig/daemons.h"

#include <civetweb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 5, N_CONNECTIONS = 16, LINES = 1000, LINE_BYTES = 80 };

static char request[LINES * (LINE_BYTES + 40) + 512], answer[1 << 20];
static size_t request_bytes, answer_bytes;

/* ---- the peer ---- */

static int
answer_constant(struct mg_connection *connection)
{
    char body[4096];

    while (mg_read(connection, body, sizeof body) > 0)
        ;
    mg_write(connection, answer, answer_bytes);
    return 201;
}

/* Tells its port through the pipe, then serves until it is killed. */
static void
peer_main(void *arg)
{
    const int pipe_fd = *(const int *)arg;
    static const struct mg_callbacks callbacks = {.begin_request = answer_constant};
    const char *options[] = {
        "listening_ports",          "127.0.0.1:0", "num_threads", "264", "enable_keep_alive", "yes",
        "keep_alive_timeout_ms",    "60000",       "tcp_nodelay", "1",   "decode_url",        "no",
        "enable_directory_listing", "no",          NULL};
    struct mg_server_port port;
    struct mg_context *context;

    mg_init_library(MG_FEATURES_DEFAULT);
    context = mg_start(&callbacks, NULL, options);
    if (context == NULL || mg_get_server_ports(context, 1, &port) != 1)
        die("civetweb does not start");
    if (write(pipe_fd, &port.port, sizeof port.port) != (ssize_t)sizeof port.port)
        die_errno("tell the port");
    for (;;)
        pause();
}

static pid_t
start_peer(int *out_port)
{
    static int ends[2];
    pid_t pid;

    if (pipe(ends) != 0)
        die_errno("pipe");
    pid = start_child(peer_main, &ends[1]);
    close(ends[1]);
    if (read(ends[0], out_port, sizeof *out_port) != (ssize_t)sizeof *out_port)
        die("no peer");
    close(ends[0]);
    return pid;
}

/* ---- the client ---- */

/* The whole answer to one request: its length, 0 if it is not all there yet. */
static size_t
whole_answer(const char *at, size_t bytes)
{
    const char *body = memmem(at, bytes, "\r\n\r\n", 4);
    const char *length = body != NULL ? strcasestr(at, "content-length:") : NULL;
    size_t whole;

    if (length == NULL)
        return 0;
    whole = (size_t)(body + 4 - at) + strtoul(length + 15, NULL, 10);
    return bytes >= whole ? whole : 0;
}

struct connection {
    int fd;
    size_t got;
    int64_t sent_ns;
    char *in; /* sizeof answer */
};

static void
ask(struct connection *connection)
{
    connection->got = 0;
    connection->sent_ns = clock_ns();
    if (!send_all(connection->fd, request, request_bytes))
        die("the server closed a connection");
}

/* True if an answer was complete; its bytes are then in connection->in. */
static bool
take(struct connection *connection)
{
    const ssize_t n = recv(connection->fd, connection->in + connection->got,
                           sizeof answer - 1 - connection->got, 0);

    if (n <= 0)
        die("the server closed a connection");
    connection->got += (size_t)n;
    connection->in[connection->got] = '\0';
    if (strncmp(connection->in, "HTTP/1.1 20", 11) != 0)
        die("refused: %s", connection->in);
    return whole_answer(connection->in, connection->got) > 0;
}

/* Asks once and keeps what came, head and body, for the peer to repeat. */
static void
learn_answer(int port)
{
    struct connection connection = {.fd = tcp_connect_to(port), .in = answer};

    ask(&connection);
    while (!take(&connection))
        ;
    answer_bytes = connection.got;
    close(connection.fd);
}

/* Requests per second. */
static double
run(int port, int n_connections, double seconds, struct samples *latencies)
{
    static struct connection connections[N_CONNECTIONS];
    struct epoll_event event = {.events = EPOLLIN}, events[N_CONNECTIONS];
    const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    const int64_t start = clock_ns(), end = start + (int64_t)(seconds * 1e9);
    uint64_t n_answers = 0;

    for (int i = 0; i < n_connections; i++) {
        connections[i].fd = tcp_connect_to(port);
        if (connections[i].in == NULL)
            connections[i].in = malloc(sizeof answer);
        event.data.ptr = &connections[i];
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connections[i].fd, &event);
        ask(&connections[i]);
    }
    while (clock_ns() < end) {
        const int n = epoll_wait(epoll_fd, events, N_CONNECTIONS, 1000);

        for (int i = 0; i < n; i++) {
            struct connection *connection = events[i].data.ptr;

            if (!take(connection))
                continue;
            samples_add(latencies, clock_ns() - connection->sent_ns);
            n_answers++;
            ask(connection);
        }
    }
    for (int i = 0; i < n_connections; i++)
        close(connections[i].fd);
    close(epoll_fd);
    return (double)n_answers * 1e9 / (double)(clock_ns() - start);
}

/* ---- one at a time ---- */

static void
make_single(const char *key)
{
    static const char body[] =
        "{\"data\":{\"sensor\":\"boiler-01\",\"t\":21.75,\"rh\":44,\"seq\":100977}}";

    request_bytes = (size_t)snprintf(request, sizeof request,
                                     "POST /api/stores/s/data HTTP/1.1\r\nHost: localhost\r\n"
                                     "X-API-Key: %s\r\nContent-Type: application/json\r\n"
                                     "Content-Length: %zu\r\n\r\n%s",
                                     key, sizeof body - 1, body);
}

static void
measure_single(const char *what, int port, double target)
{
    const double seconds = (double)env_number("BENCH_MS", 1000) / 1000;
    double rate[ROUNDS], ratio[ROUNDS];
    struct samples ours, theirs;
    int peer_port;
    pid_t peer;

    learn_answer(port);
    peer = start_peer(&peer_port);
    samples_init(&ours, 1 << 21);
    samples_init(&theirs, 1 << 21);
    run(port, N_CONNECTIONS, 0.2, &ours);
    run(peer_port, N_CONNECTIONS, 0.2, &theirs);
    ours.n = theirs.n = 0;
    for (int i = 0; i < ROUNDS; i++) {
        const double bare = run(peer_port, N_CONNECTIONS, seconds, &theirs) / 1e3;

        rate[i] = run(port, N_CONNECTIONS, seconds, &ours) / 1e3;
        ratio[i] = rate[i] / bare;
    }
    kill(peer, SIGKILL);
    waitpid(peer, NULL, 0);
    ROW(.what = what, .value = median_of(rate, ROUNDS), .unit = "k/s", .peer = "civetweb constant",
        .peer_value = median_of(rate, ROUNDS) / median_of(ratio, ROUNDS), .target = target);
    print_note("p50 %.0f us, p99 %.0f us; constant p50 %.0f us, p99 %.0f us",
               samples_percentile(&ours, 0.5) / 1e3, samples_percentile(&ours, 0.99) / 1e3,
               samples_percentile(&theirs, 0.5) / 1e3, samples_percentile(&theirs, 0.99) / 1e3);
    samples_done(&ours);
    samples_done(&theirs);
}

/* ---- many at a time ---- */

static char socket_lines[LINES * (LINE_BYTES + 1)];

static void
make_batch(const char *key)
{
    static char body[sizeof request];
    size_t n = 0;

    for (int i = 0; i < LINES; i++) {
        char *line = socket_lines + (size_t)i * (LINE_BYTES + 1);
        const int used =
            snprintf(line, LINE_BYTES, "{\"data\":{\"t\":%d.%02d,\"seq\":1%05d,\"site\":\"",
                     20 + i % 10, i * 37 % 100, i);

        /* The wrapper counts, on the socket as in the batch. */
        snprintf(line + used, (size_t)(LINE_BYTES - used + 1), "%0*d\"}}", LINE_BYTES - used - 3,
                 i);
        line[LINE_BYTES] = '\n';
        memcpy(body + n, line, LINE_BYTES + 1);
        n += LINE_BYTES + 1;
    }
    request_bytes = (size_t)snprintf(request, sizeof request,
                                     "POST /api/stores/s/data/batch HTTP/1.1\r\nHost: localhost"
                                     "\r\nX-API-Key: %s\r\nContent-Type: application/x-ndjson\r\n"
                                     "Content-Length: %zu\r\n\r\n",
                                     key, n);
    memcpy(request + request_bytes, body, n);
    request_bytes += n;
}

/* Lines per second on the Unix socket, LINES in flight. */
static double
run_socket(const char *key, double seconds)
{
    static struct feeder feeder;
    const int64_t start = clock_ns(), end = start + (int64_t)(seconds * 1e9);
    uint64_t n_lines = 0;

    feeder_open(&feeder, "s", key);
    while (clock_ns() < end) {
        if (!send_all(feeder.fd, socket_lines, sizeof socket_lines))
            die("send");
        for (int i = 0; i < LINES; i++) {
            if (strncmp(feeder_read(&feeder), "OK ", 3) != 0)
                die("a line was refused");
        }
        n_lines += LINES;
    }
    feeder_close(&feeder);
    return (double)n_lines * 1e9 / (double)(clock_ns() - start);
}

static void
measure_batch(const char *what, int port, const char *key, double target)
{
    const double seconds = (double)env_number("BENCH_MS", 1000) / 1000;
    double rate[ROUNDS], ratio[ROUNDS];
    struct samples latencies;

    samples_init(&latencies, 1 << 16);
    run(port, 1, 0.2, &latencies);
    latencies.n = 0;
    for (int i = 0; i < ROUNDS; i++) {
        const double lines = run_socket(key, seconds) / 1e3;

        rate[i] = run(port, 1, seconds, &latencies) * LINES / 1e3;
        ratio[i] = rate[i] / lines;
    }
    ROW(.what = what, .value = median_of(rate, ROUNDS), .unit = "k lines/s", .peer = "Unix socket",
        .peer_value = median_of(rate, ROUNDS) / median_of(ratio, ROUNDS), .target = target);
    print_note("p50 %.0f us, p99 %.0f us per batch of %d",
               samples_percentile(&latencies, 0.5) / 1e3,
               samples_percentile(&latencies, 0.99) / 1e3, LINES);
    samples_done(&latencies);
}

/* With a word, only the questions that have it. */
int
main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";
    char key[STORE_KEY_BYTES];
    struct ts_options options;

    ts_options_init(&options);
    options.num_blocks = 16384;
    site_begin();
    site_create_store("s", &options, key);
    start_ingestd();
    start_queryd();
    make_single(key);
    if (strstr("single ingestd", only) != NULL)
        measure_single("POST data, 16 connections, ingestd", site.ingestd.port, 0.6);
    if (strstr("single through", only) != NULL)
        measure_single("POST data, 16 connections, through queryd", site.queryd.port, 0.3);
    make_batch(key);
    if (strstr("batch ingestd", only) != NULL)
        measure_batch("POST data/batch, 1 connection, ingestd", site.ingestd.port, key, 1.0);
    if (strstr("batch through", only) != NULL)
        measure_batch("POST data/batch, 1 connection, queryd", site.queryd.port, key, 0);
    site_end();
    return 0;
}
