/* socket_echo.c - what does ingestd add to a bare socket?
 *
 * The peer is the least that a server of lines can do on the same kind of socket: an epoll loop
 * that reads what is there, looks for the ends of lines, and answers each with the same 23 bytes,
 * all in one write. The clients are the same for both. One client, one line at a time, both ends on
 * one processor (on two, the figure is that of waking a halted processor); and 8 clients with 64
 * lines in flight each, wherever the kernel puts them: as 8 threads, and, which leaves the server
 * more of the machine than any 8 feeders would, as one thread with 8 connections. */
#include "tests/rig/daemons.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 5, LINE_BYTES = 81, ANSWER_BYTES = 23, MAX_CLIENTS = 8, MAX_WINDOW = 64 };

/* "OK ", 19 digits, newline: as ingestd answers. */
static const char echo_answer[ANSWER_BYTES + 1] = "OK 1767225600000000001\n";
static char lines[MAX_WINDOW * LINE_BYTES + 1], echo_path[220];

static void
make_lines(void)
{
    for (unsigned i = 0; i < MAX_WINDOW; i++) {
        char line[LINE_BYTES + 64];
        const int n = snprintf(
            line, sizeof line,
            "{\"sensor\":\"boiler-%02u\",\"t\":%u.%02u,\"rh\":%u,\"seq\":1%05u,\"site\":\"", i % 8,
            20 + i % 10, i * 37 % 100, 30 + i * 11 % 40, i * 977);

        snprintf(line + n, sizeof line - (size_t)n, "%0*u\"}\n", LINE_BYTES - n - 3, i);
        memcpy(lines + (size_t)i * LINE_BYTES, line, LINE_BYTES);
    }
}

/* ---- the peer ---- */

static void
echo_event(int fd)
{
    static char in[256 * 1024], out[sizeof in / LINE_BYTES * ANSWER_BYTES + ANSWER_BYTES];
    const ssize_t n = recv(fd, in, sizeof in, MSG_DONTWAIT);
    const char *at = in;
    size_t out_bytes = 0;

    if (n == 0)
        close(fd);
    /* The start of a line that is not whole yet needs no keeping: nobody looks at it. */
    while (n > 0 && (at = memchr(at, '\n', (size_t)(in + n - at))) != NULL) {
        memcpy(out + out_bytes, echo_answer, ANSWER_BYTES);
        out_bytes += ANSWER_BYTES;
        at++;
    }
    if (out_bytes > 0 && !send_all(fd, out, out_bytes))
        close(fd);
}

static void
echo_main(void *arg)
{
    const int cpu = *(const int *)arg;
    const int listen_fd = unix_listen_at(echo_path), epoll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, events[64];

    if (cpu >= 0)
        pin_to(cpu);
    event.data.fd = listen_fd;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event);
    for (;;) {
        const int n = epoll_wait(epoll_fd, events, (int)COUNTOF(events), -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.fd != listen_fd) {
                echo_event(events[i].data.fd);
                continue;
            }
            event.data.fd = accept(listen_fd, NULL, NULL);
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event);
        }
    }
}

static pid_t
start_echo(int cpu)
{
    static int pinned;
    pid_t pid;
    int fd;

    pinned = cpu;
    pid = start_child(echo_main, &pinned);
    while ((fd = unix_connect_to(echo_path)) < 0)
        usleep(1000);
    close(fd);
    return pid;
}

static void
stop_echo(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    unlink(echo_path);
}

/* ---- the client ---- */

struct connection {
    int fd;
    size_t rest; /* bytes of an answer not yet whole */
    unsigned window;
    uint64_t n_lines; /* answered */
    int64_t end_ns;
};

/* Reads answers and sends as many lines as were answered. Returns their number. */
static size_t
exchange(struct connection *connection)
{
    char in[MAX_WINDOW * ANSWER_BYTES];
    const ssize_t n = recv(connection->fd, in, sizeof in, 0);
    size_t n_answers;

    if (n <= 0 || (connection->rest == 0 && memcmp(in, "OK ", 3) != 0))
        die("a line was not answered OK: %.*s", (int)(n > 0 ? n : 0), in);
    n_answers = (connection->rest + (size_t)n) / ANSWER_BYTES;
    connection->rest = (connection->rest + (size_t)n) % ANSWER_BYTES;
    if (n_answers > 0 && !send_all(connection->fd, lines, n_answers * LINE_BYTES))
        die("the server closed the connection");
    return n_answers;
}

/* What a line costs a server in processor time. */
struct cost {
    uint64_t n_lines;
    int64_t server_ns;
};

static double
ns_per_line(const struct cost *cost)
{
    return (double)cost->server_ns / (double)cost->n_lines;
}

static void
fill_window(struct connection *connection)
{
    if (!send_all(connection->fd, lines, connection->window * (size_t)LINE_BYTES))
        die("the server closed the connection");
}

static void *
client_main(void *arg)
{
    struct connection *connection = arg;

    fill_window(connection);
    while (clock_ns() < connection->end_ns)
        connection->n_lines += exchange(connection);
    return NULL;
}

static void
run_threads(struct connection *connections, unsigned n)
{
    pthread_t threads[MAX_CLIENTS];

    for (unsigned i = 0; i < n; i++) {
        if (pthread_create(&threads[i], NULL, client_main, &connections[i]) != 0)
            die("start a client");
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void
run_epoll(struct connection *connections, unsigned n)
{
    const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN}, events[MAX_CLIENTS];

    for (unsigned i = 0; i < n; i++) {
        event.data.ptr = &connections[i];
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connections[i].fd, &event);
        fill_window(&connections[i]);
    }
    while (clock_ns() < connections[0].end_ns) {
        const int n_events = epoll_wait(epoll_fd, events, MAX_CLIENTS, -1);

        for (int i = 0; i < n_events; i++) {
            struct connection *connection = events[i].data.ptr;

            connection->n_lines += exchange(connection);
        }
    }
    close(epoll_fd);
}

/* One connection in this very thread; `latencies` gets each round trip. */
static void
run_single(struct connection *connection, struct samples *latencies)
{
    int64_t now = clock_ns();

    fill_window(connection);
    while (now < connection->end_ns) {
        const int64_t before = now;

        connection->n_lines += exchange(connection);
        now = clock_ns();
        samples_add(latencies, now - before);
    }
}

struct question {
    const char *what;
    enum ts_codec codec;
    unsigned n_clients, window;
    bool is_epoll; /* all clients in one thread */
    int cpu;       /* of both ends; -1: any */
    double target;
};

/* A server: with a store it is ingestd, without one the echo. */
struct target {
    pid_t pid;
    const char *store, *key;
};

/* Lines per second. */
static double
run_against(const struct target *target, const struct question *question, double seconds,
            struct samples *latencies, struct cost *cost)
{
    const unsigned n = question->n_clients;
    struct connection connections[MAX_CLIENTS] = {0};
    static struct feeder feeder;
    uint64_t n_lines = 0;
    int64_t start;

    for (unsigned i = 0; i < n; i++) {
        if (target->store != NULL)
            feeder_open(&feeder, target->store, target->key);
        connections[i].fd = target->store != NULL ? feeder.fd : unix_connect_to(echo_path);
        connections[i].window = question->window;
    }
    cost->server_ns -= processor_ns_of(target->pid);
    start = clock_ns();
    for (unsigned i = 0; i < n; i++)
        connections[i].end_ns = start + (int64_t)(seconds * 1e9);
    if (n == 1)
        run_single(&connections[0], latencies);
    else if (question->is_epoll)
        run_epoll(connections, n);
    else
        run_threads(connections, n);
    seconds = (double)(clock_ns() - start) / 1e9;
    cost->server_ns += processor_ns_of(target->pid);
    for (unsigned i = 0; i < n; i++) {
        n_lines += connections[i].n_lines;
        close(connections[i].fd);
    }
    cost->n_lines += n_lines;
    return (double)n_lines / seconds;
}

/* ---- questions ---- */

static const struct question questions[] = {
    {"socket, 1 client, 1 line, one CPU, none", TS_CODEC_NONE, 1, 1, false, 0, 0.85},
    {"socket, 1 client, 1 line, one CPU, zstd", TS_CODEC_ZSTD, 1, 1, false, 0, 0.85},
    {"socket, 8 clients x 64 lines, none", TS_CODEC_NONE, 8, 64, false, -1, 0.35},
    {"socket, 8 clients x 64 lines, zstd", TS_CODEC_ZSTD, 8, 64, false, -1, 0.35},
    {"socket, 8 connections x 64 lines, none", TS_CODEC_NONE, 8, 64, true, -1, 0},
    {"socket, 8 connections x 64 lines, zstd", TS_CODEC_ZSTD, 8, 64, true, -1, 0},
};

static void
tell(const struct question *question, struct rounds *rounds, struct samples latencies[2],
     const struct cost costs[2])
{
    ROUNDS_ROW(rounds, .what = question->what, .unit = "k/s", .peer = "epoll echo",
               .target = question->target);
    print_note("processor time per line: ingestd %.0f ns, echo %.0f ns", ns_per_line(&costs[0]),
               ns_per_line(&costs[1]));
    if (question->window == 1)
        print_note("p50 %.1f us, p99 %.1f us; echo p50 %.1f us, p99 %.1f us",
                   samples_percentile(&latencies[0], 0.5) / 1e3,
                   samples_percentile(&latencies[0], 0.99) / 1e3,
                   samples_percentile(&latencies[1], 0.5) / 1e3,
                   samples_percentile(&latencies[1], 0.99) / 1e3);
}

static void
answer(const struct question *question, char keys[][STORE_KEY_BYTES])
{
    const double seconds = (double)env_number("BENCH_MS", 500) / 1000;
    struct rounds rounds = {0};
    struct samples latencies[2];
    struct cost costs[2] = {{0}};
    struct target ours = {.store = ts_codec_name(question->codec), .key = keys[question->codec]};
    struct target theirs = {0};

    samples_init(&latencies[0], 1 << 20);
    samples_init(&latencies[1], 1 << 20);
    site.ingestd_cpu = question->cpu;
    theirs.pid = start_echo(question->cpu);
    start_ingestd();
    ours.pid = site.ingestd.pid;
    if (question->cpu >= 0)
        pin_to(question->cpu);
    run_against(&ours, question, 0.1, &latencies[0], &costs[0]);
    latencies[0].n = 0;
    costs[0] = (struct cost){0};
    for (int i = 0; i < ROUNDS; i++) {
        const double bare = run_against(&theirs, question, seconds, &latencies[1], &costs[1]) / 1e3;

        rounds_add(&rounds, run_against(&ours, question, seconds, &latencies[0], &costs[0]) / 1e3,
                   bare);
    }
    unpin();
    stop_daemon(&site.ingestd);
    stop_echo(theirs.pid);
    tell(question, &rounds, latencies, costs);
    samples_done(&latencies[0]);
    samples_done(&latencies[1]);
}

int
main(int argc, char **argv)
{
    char keys[2][STORE_KEY_BYTES];
    struct ts_options options;

    make_lines();
    site_begin();
    snprintf(echo_path, sizeof echo_path, "%s/echo.sock", site.run);
    for (int codec = TS_CODEC_NONE; codec <= TS_CODEC_ZSTD; codec++) {
        ts_options_init(&options);
        options.num_blocks = 16384;
        options.codec = (enum ts_codec)codec;
        site_create_store(ts_codec_name(options.codec), &options, keys[codec]);
    }
    for (size_t i = 0; i < COUNTOF(questions); i++) {
        if (argc < 2 || strstr(questions[i].what, argv[1]) != NULL)
            answer(&questions[i], keys);
    }
    site_end();
    return 0;
}
