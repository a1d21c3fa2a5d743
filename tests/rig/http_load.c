/* http_load.c - see http_load.h. */
#include "tests/rig/http_load.h"

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

#define ROUNDS 25 /* many short ones: what else runs here changes all the time */
/* The peer is started anew for each so many: one process of it was seen to be a quarter slower than
 * the next, for as long as it lived. */
#define PEER_ROUNDS 5
#define WARM_S 0.2

/* ---- the peer ---- */

static char answer[HTTP_LOAD_ANSWER_BYTES];
static size_t answer_bytes;

static int
answer_constant(struct mg_connection *connection)
{
    char body[4096];

    while (mg_read(connection, body, sizeof body) > 0)
        ;
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
spawn_peer(int *out_port)
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

struct connection {
    int fd;
    size_t got;
    int64_t sent_ns;
    char *in; /* HTTP_LOAD_ANSWER_BYTES */
};

static void
ask(const struct http_load *load, struct connection *connection)
{
    connection->got = 0;
    connection->sent_ns = clock_ns();
    if (!send_all(connection->fd, load->request, load->request_bytes))
        die("the server closed a connection");
}

/* Whether the answer is all there. The length is looked for as our daemons write it. */
static bool
is_whole(const struct connection *connection)
{
    static const char name[] = "Content-Length: ";
    const char *at = connection->in;
    const char *body = memmem(at, connection->got, "\r\n\r\n", 4);
    const char *length =
        body != NULL ? memmem(at, (size_t)(body - at), name, sizeof name - 1) : NULL;

    return length != NULL &&
           connection->got >= (size_t)(body + 4 - at) + strtoul(length + sizeof name - 1, NULL, 10);
}

/* True if an answer was complete; its bytes are then in connection->in. */
static bool
take(struct connection *connection)
{
    const ssize_t n = recv(connection->fd, connection->in + connection->got,
                           HTTP_LOAD_ANSWER_BYTES - 1 - connection->got, 0);

    if (n <= 0)
        die("the server closed a connection");
    connection->got += (size_t)n;
    connection->in[connection->got] = '\0';
    if (strncmp(connection->in, "HTTP/1.1 20", 11) != 0)
        die("refused: %s", connection->in);
    return is_whole(connection);
}

/* Asks once and keeps what came, head and body, for the peer to repeat. */
static void
learn_answer(const struct http_load *load, int port)
{
    struct connection connection = {.fd = tcp_connect_to(port), .in = answer};

    ask(load, &connection);
    while (!take(&connection))
        ;
    answer_bytes = connection.got;
    close(connection.fd);
}

static struct connection *
connect_all(const struct http_load *load, int port, int epoll_fd)
{
    const size_t n = (size_t)load->n_connections;
    struct connection *connections = calloc(n, sizeof *connections);
    struct epoll_event event = {.events = EPOLLIN};

    for (size_t i = 0; connections != NULL && i < n; i++) {
        connections[i].fd = tcp_connect_to(port);
        connections[i].in = malloc(HTTP_LOAD_ANSWER_BYTES);
        if (connections[i].in == NULL)
            die("no memory for answers");
        event.data.ptr = &connections[i];
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connections[i].fd, &event);
    }
    if (connections == NULL)
        die("no memory for connections");
    return connections;
}

double
http_load_run(const struct http_load *load, int port, double seconds, struct samples *latencies)
{
    const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct connection *connections = connect_all(load, port, epoll_fd);
    const int64_t start = clock_ns(), end = start + (int64_t)(seconds * 1e9);
    struct epoll_event events[64];
    uint64_t n_answers = 0;
    double per_s;

    for (int i = 0; i < load->n_connections; i++)
        ask(load, &connections[i]);
    while (clock_ns() < end) {
        const int n = epoll_wait(epoll_fd, events, 64, 1000);

        for (int i = 0; i < n; i++) {
            struct connection *connection = events[i].data.ptr;

            if (!take(connection))
                continue;
            samples_add(latencies, clock_ns() - connection->sent_ns);
            n_answers++;
            ask(load, connection);
        }
    }
    per_s = (double)n_answers * 1e9 / (double)(clock_ns() - start);
    for (int i = 0; i < load->n_connections; i++) {
        close(connections[i].fd);
        free(connections[i].in);
    }
    free(connections);
    close(epoll_fd);
    return per_s;
}

/* ---- both ---- */

/* One side of the comparison. */
struct side {
    int port;
    pid_t pids[2]; /* whose processor time counts; 0: none */
    struct samples latencies, round;
    double per_s, p99_us; /* of the last round */
    int64_t processor_ns;
    uint64_t n_answers;
};

static int64_t
processor_ns(const struct side *side)
{
    int64_t sum = 0;

    for (size_t i = 0; i < COUNTOF(side->pids); i++)
        sum += side->pids[i] > 0 ? processor_ns_of(side->pids[i]) : 0;
    return sum;
}

static void
stop_peer(struct side *peer)
{
    if (peer->pids[0] <= 0)
        return;
    kill(peer->pids[0], SIGKILL);
    waitpid(peer->pids[0], NULL, 0);
    peer->pids[0] = 0;
}

static void
start_peer(struct side *peer, const struct http_load *load)
{
    stop_peer(peer);
    peer->pids[0] = spawn_peer(&peer->port);
    http_load_run(load, peer->port, WARM_S, &peer->round);
}

static void
side_init(struct side *side)
{
    samples_init(&side->latencies, 1 << 21);
    samples_init(&side->round, 1 << 20);
}

static void
side_round(struct side *side, const struct http_load *load, double seconds)
{
    const int64_t before_ns = processor_ns(side);

    side->round.n = 0;
    side->per_s = http_load_run(load, side->port, seconds, &side->round);
    side->processor_ns += processor_ns(side) - before_ns;
    side->n_answers += side->round.n;
    for (size_t i = 0; i < side->round.n && i < side->round.capacity; i++)
        samples_add(&side->latencies, side->round.values[i]);
    side->p99_us = samples_percentile(&side->round, 0.99) / 1e3;
}

static void
side_done(struct side *side)
{
    samples_done(&side->latencies);
    samples_done(&side->round);
}

static double
processor_us(const struct side *side)
{
    return (double)side->processor_ns / 1e3 / (double)(side->n_answers + 1);
}

void
http_load_compare(const struct http_load *load, const struct http_question *question)
{
    static const char peer_name[] = "civetweb constant";
    const double seconds = (double)env_number("BENCH_MS", 150) / 1000;
    struct side ours = {.port = question->port, .pids = {site.queryd.pid, site.ingestd.pid}};
    struct side theirs = {0};
    struct rounds rate = {0}, p99 = {0};

    learn_answer(load, question->port);
    side_init(&theirs);
    side_init(&ours);
    http_load_run(load, ours.port, WARM_S, &ours.round);
    for (int i = 0; i < ROUNDS; i++) {
        if (i % PEER_ROUNDS == 0)
            start_peer(&theirs, load);
        side_round(&theirs, load, seconds);
        side_round(&ours, load, seconds);
        rounds_add(&rate, ours.per_s / 1e3, theirs.per_s / 1e3);
        rounds_add(&p99, ours.p99_us, theirs.p99_us);
    }
    stop_peer(&theirs);
    ROUNDS_ROW(&rate, .what = question->what, .unit = "k/s", .peer = peer_name,
               .target = question->target);
    ROUNDS_ROW(&p99, .what = "  99th percentile", .unit = "us", .peer = peer_name,
               .target = question->latency_target, .lower_is_better = true);
    print_note("p50 %.0f us, constant %.0f us; processor time per request: daemons %.1f us, "
               "constant %.1f us",
               samples_percentile(&ours.latencies, 0.5) / 1e3,
               samples_percentile(&theirs.latencies, 0.5) / 1e3, processor_us(&ours),
               processor_us(&theirs));
    side_done(&theirs);
    side_done(&ours);
}
