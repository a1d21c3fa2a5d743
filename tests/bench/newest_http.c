/* newest_http.c - data/newest?limit=1 against civetweb answering a constant.
 *
 * The peer is a civetweb server in a process of its own, set up as queryd's, whose handler writes
 * the very bytes that queryd answered, in one call. One client thread with epoll drives
 * N_CONNECTIONS keep-alive connections, one request in flight on each; it checks the length of what
 * comes and nothing else. */
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

enum { ROUNDS = 5, N_CONNECTIONS = 16, N_RECORDS = 10000 };
#define TARGET 0.8

static char request[512], answer[4096];
static size_t request_bytes, answer_bytes;

/* ---- the peer ---- */

static int
answer_constant(struct mg_connection *connection)
{
    mg_write(connection, answer, answer_bytes);
    return 200;
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

/* Asks once and keeps what came, head and body, for the peer to repeat. */
static void
learn_answer(int port)
{
    const int fd = tcp_connect_to(port);
    char *body, *length;

    if (!send_all(fd, request, request_bytes))
        die("send");
    for (answer_bytes = 0;;) {
        const ssize_t n = recv(fd, answer + answer_bytes, sizeof answer - 1 - answer_bytes, 0);

        if (n <= 0)
            die("no answer");
        answer_bytes += (size_t)n;
        answer[answer_bytes] = '\0';
        body = strstr(answer, "\r\n\r\n");
        length = strcasestr(answer, "content-length:");
        if (body != NULL && length != NULL &&
            (size_t)(body + 4 - answer) + strtoul(length + 15, NULL, 10) == answer_bytes)
            break;
    }
    if (strncmp(answer, "HTTP/1.1 200", 12) != 0)
        die("not 200: %s", answer);
    close(fd);
}

struct connection {
    int fd;
    size_t got;
    int64_t sent_ns;
};

static void
ask(struct connection *connection)
{
    connection->got = 0;
    connection->sent_ns = clock_ns();
    if (!send_all(connection->fd, request, request_bytes))
        die("the server closed a connection");
}

/* True if an answer was complete; the next request is on its way. */
static bool
take(struct connection *connection, struct samples *latencies)
{
    char in[sizeof answer];
    const ssize_t n = recv(connection->fd, in, sizeof in, 0);

    if (n <= 0 || (connection->got == 0 && memcmp(in, "HTTP/1.1 200", 12) != 0))
        die("not 200: %.*s", (int)(n > 0 ? n : 0), in);
    connection->got += (size_t)n;
    if (connection->got < answer_bytes)
        return false;
    if (connection->got > answer_bytes)
        die("an answer of another length");
    samples_add(latencies, clock_ns() - connection->sent_ns);
    ask(connection);
    return true;
}

/* Requests per second. */
static double
run(int port, double seconds, struct samples *latencies)
{
    struct connection connections[N_CONNECTIONS];
    struct epoll_event event = {.events = EPOLLIN}, events[N_CONNECTIONS];
    const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    const int64_t start = clock_ns(), end = start + (int64_t)(seconds * 1e9);
    uint64_t n_answers = 0;

    for (int i = 0; i < N_CONNECTIONS; i++) {
        connections[i].fd = tcp_connect_to(port);
        event.data.ptr = &connections[i];
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connections[i].fd, &event);
        ask(&connections[i]);
    }
    while (clock_ns() < end) {
        const int n = epoll_wait(epoll_fd, events, N_CONNECTIONS, 1000);

        for (int i = 0; i < n; i++)
            n_answers += take(events[i].data.ptr, latencies);
    }
    for (int i = 0; i < N_CONNECTIONS; i++)
        close(connections[i].fd);
    close(epoll_fd);
    return (double)n_answers * 1e9 / (double)(clock_ns() - start);
}

/* ---- the question ---- */

static void
fill_store(const char *store, const char *key)
{
    static struct feeder feeder;
    char line[128];

    feeder_open(&feeder, store, key);
    for (int i = 0; i < N_RECORDS; i++) {
        const int n =
            snprintf(line, sizeof line, "{\"t\":%d.5,\"room\":\"boiler\"}\n", i % 90 + 10);

        if (!send_all(feeder.fd, line, (size_t)n) || strncmp(feeder_read(&feeder), "OK ", 3) != 0)
            die("fill the store");
    }
    feeder_close(&feeder);
}

static void
measure(const char *what)
{
    const double seconds = (double)env_number("BENCH_MS", 1000) / 1000;
    double rate[ROUNDS], ratio[ROUNDS];
    struct samples ours, theirs;
    int peer_port;
    pid_t peer;

    learn_answer(site.queryd.port);
    peer = start_peer(&peer_port);
    samples_init(&ours, 1 << 21);
    samples_init(&theirs, 1 << 21);
    run(site.queryd.port, 0.2, &ours);
    run(peer_port, 0.2, &theirs);
    ours.n = theirs.n = 0;
    for (int i = 0; i < ROUNDS; i++) {
        const double bare = run(peer_port, seconds, &theirs) / 1e3;

        rate[i] = run(site.queryd.port, seconds, &ours) / 1e3;
        ratio[i] = rate[i] / bare;
    }
    kill(peer, SIGKILL);
    waitpid(peer, NULL, 0);
    ROW(.what = what, .value = median_of(rate, ROUNDS), .unit = "k/s", .peer = "civetweb constant",
        .peer_value = median_of(rate, ROUNDS) / median_of(ratio, ROUNDS), .target = TARGET);
    print_note("p50 %.0f us, p99 %.0f us; constant p50 %.0f us, p99 %.0f us; %zu bytes",
               samples_percentile(&ours, 0.5) / 1e3, samples_percentile(&ours, 0.99) / 1e3,
               samples_percentile(&theirs, 0.5) / 1e3, samples_percentile(&theirs, 0.99) / 1e3,
               answer_bytes);
    samples_done(&ours);
    samples_done(&theirs);
}

int
main(void)
{
    char keys[2][STORE_KEY_BYTES];

    site_begin();
    for (int codec = TS_CODEC_NONE; codec <= TS_CODEC_ZSTD; codec++) {
        struct ts_options options;

        ts_options_init(&options);
        options.codec = (enum ts_codec)codec;
        site_create_store(ts_codec_name(options.codec), &options, keys[codec]);
    }
    start_ingestd();
    start_queryd();
    for (int codec = TS_CODEC_NONE; codec <= TS_CODEC_ZSTD; codec++) {
        const char *store = ts_codec_name((enum ts_codec)codec);
        char what[64];

        fill_store(store, keys[codec]);
        snprintf(what, sizeof what, "newest?limit=1, %d connections, %s", N_CONNECTIONS, store);
        request_bytes = (size_t)snprintf(request, sizeof request,
                                         "GET /api/stores/%s/data/newest?limit=1 HTTP/1.1\r\n"
                                         "Host: localhost\r\nX-API-Key: %s\r\n\r\n",
                                         store, keys[codec]);
        measure(what);
    }
    site_end();
    return 0;
}
