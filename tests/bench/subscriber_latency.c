/* subscriber_latency.c - how long from a line on the socket until a WebSocket subscriber has it?
 *
 * One feeder sends RATE records a second to ingestd; each carries the time at which it was sent. A
 * subscriber of queryd's ws/read, a plain TCP socket with just enough WebSocket to follow, looks at
 * its clock when the record is there. The peer is a relay between the same two kinds of socket,
 * which is one process and keeps nothing: the wake-ups that nobody can do without. */
#include "tests/rig/daemons.h"

#include <arpa/inet.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 3, RATE = 1000 };
#define TARGET_MS 0.3
#define PATIENCE_NS INT64_C(10000000000)

static char relay_path[220];

/* ---- the subscriber ---- */

struct subscriber {
    int fd;
    size_t used;
    char buffer[65536];
    struct samples latencies;
    _Atomic bool is_over;
    _Atomic size_t n_seen;
    bool is_caught_up;
};

/* The payload of one unmasked frame at the start of the buffer. Bytes it takes, 0 if it is not
 * whole yet. */
static size_t
whole_frame(const struct subscriber *subscriber, const char **out_payload, size_t *out_bytes)
{
    const uint8_t *at = (const uint8_t *)subscriber->buffer;
    size_t head = 2, bytes;

    if (subscriber->used < 4)
        return 0;
    bytes = at[1] & 0x7f;
    if (bytes == 126) {
        bytes = (size_t)at[2] << 8 | at[3];
        head = 4;
    } else if (bytes == 127) {
        die("a frame of more than 64 KiB");
    }
    if (subscriber->used < head + bytes)
        return 0;
    *out_payload = subscriber->buffer + head;
    *out_bytes = bytes;
    return head + bytes;
}

static void
take_frames(struct subscriber *subscriber)
{
    const int64_t now = clock_ns();
    const char *payload;
    size_t bytes, taken;

    while ((taken = whole_frame(subscriber, &payload, &bytes)) > 0) {
        const char *sent = memmem(payload, bytes, "\"sent\":", 7);

        if (sent != NULL) {
            samples_add(&subscriber->latencies, now - strtoll(sent + 7, NULL, 10));
            atomic_fetch_add(&subscriber->n_seen, 1);
        }
        if (memmem(payload, bytes, "caught_up", 9) != NULL)
            subscriber->is_caught_up = true;
        subscriber->used -= taken;
        memmove(subscriber->buffer, subscriber->buffer + taken, subscriber->used);
    }
}

static bool
receive(struct subscriber *subscriber)
{
    const ssize_t n = recv(subscriber->fd, subscriber->buffer + subscriber->used,
                           sizeof subscriber->buffer - 1 - subscriber->used, 0);

    if (n <= 0)
        return false;
    subscriber->used += (size_t)n;
    return true;
}

static void *
subscriber_main(void *arg)
{
    struct subscriber *subscriber = arg;

    while (receive(subscriber))
        take_frames(subscriber);
    if (!atomic_load(&subscriber->is_over))
        die("the subscriber was cut off");
    return NULL;
}

static void
subscribe(struct subscriber *subscriber, const char *key)
{
    char request[512], *end;
    const int n = snprintf(request, sizeof request,
                           "GET /api/stores/lat/ws/read?from=now HTTP/1.1\r\nHost: localhost\r\n"
                           "Upgrade: websocket\r\nConnection: Upgrade\r\nX-API-Key: %s\r\n"
                           "Sec-WebSocket-Version: 13\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                           key);

    subscriber->fd = tcp_connect_to(site.queryd.port);
    if (!send_all(subscriber->fd, request, (size_t)n))
        die_errno("send the upgrade");
    do {
        if (!receive(subscriber))
            die("no answer to the upgrade");
        subscriber->buffer[subscriber->used] = '\0';
        end = memmem(subscriber->buffer, subscriber->used, "\r\n\r\n", 4);
    } while (end == NULL);
    if (strncmp(subscriber->buffer, "HTTP/1.1 101", 12) != 0)
        die("upgrade refused: %s", subscriber->buffer);
    subscriber->used -= (size_t)(end + 4 - subscriber->buffer);
    memmove(subscriber->buffer, end + 4, subscriber->used);
    take_frames(subscriber);
    while (!subscriber->is_caught_up && receive(subscriber))
        take_frames(subscriber);
}

/* ---- the peer ---- */

/* Takes lines from a Unix socket, answers each, and sends each on as a frame over TCP. */
static void
relay_main(void *arg)
{
    const int port_fd = *(const int *)arg, listen_fd = unix_listen_at(relay_path);
    static struct feeder from; /* only its reading of lines */
    const char *line;
    int to;

    from.fd = accept(listen_fd, NULL, NULL);
    to = accept(port_fd, NULL, NULL);
    while ((line = feeder_read(&from)) != NULL) {
        char frame[128];
        const int n = snprintf(frame + 2, sizeof frame - 2, "%s", line);

        frame[0] = (char)0x81;
        frame[1] = (char)n;
        if (!send_all(from.fd, "OK 1767225600000000001\n", 23) ||
            !send_all(to, frame, (size_t)n + 2))
            break;
    }
}

static pid_t
start_relay(int *out_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof address;
    static int fd;
    pid_t pid;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 1) != 0 || getsockname(fd, (struct sockaddr *)&address, &bytes) != 0)
        die_errno("listen");
    *out_port = ntohs(address.sin_port);
    pid = start_child(relay_main, &fd);
    close(fd);
    return pid;
}

/* ---- the feeder ---- */

/* Lines at an even pace; answers are read as they come, never waited for. */
static void
feed(struct feeder *feeder, unsigned n)
{
    const int64_t start = clock_ns();
    char line[64], answers[4096];

    for (unsigned i = 0; i < n; i++) {
        sleep_until(start + (int64_t)i * (1000000000 / RATE));
        const int bytes = snprintf(line, sizeof line, "{\"sent\":%jd}\n", (intmax_t)clock_ns());
        ssize_t got;

        if (!send_all(feeder->fd, line, (size_t)bytes))
            die("the feeder was cut off");
        got = recv(feeder->fd, answers, sizeof answers, MSG_DONTWAIT);
        if (got > 3 && memcmp(answers, "ERROR", 5) == 0)
            die("refused: %.*s", (int)got, answers);
    }
}

static void
run(struct feeder *feeder, struct subscriber *subscriber, unsigned n)
{
    pthread_t thread;
    int64_t patience_ns;

    atomic_store(&subscriber->is_over, false);
    atomic_store(&subscriber->n_seen, 0);
    if (pthread_create(&thread, NULL, subscriber_main, subscriber) != 0)
        die("start the subscriber");
    feed(feeder, n);
    patience_ns = clock_ns() + PATIENCE_NS;
    /* A record that needs a second is late, and shows in the maximum; one that needs ten is lost.
     */
    while (atomic_load(&subscriber->n_seen) < n && clock_ns() < patience_ns)
        usleep(1000);
    atomic_store(&subscriber->is_over, true);
    shutdown(subscriber->fd, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(subscriber->fd);
    feeder_close(feeder);
    if (subscriber->latencies.n != n)
        die("%zu of %u records came", subscriber->latencies.n, n);
}

struct figures {
    double p50_ms[ROUNDS], p99_ms[ROUNDS], max_ms;
};

static void
measure(bool is_relay, const char *key, unsigned n, int round, struct figures *figures)
{
    static struct feeder feeder;
    static struct subscriber subscriber;
    pid_t relay = 0;
    int port;

    subscriber.used = 0;
    subscriber.is_caught_up = false;
    samples_init(&subscriber.latencies, n);
    if (is_relay) {
        relay = start_relay(&port);
        while ((feeder.fd = unix_connect_to(relay_path)) < 0)
            usleep(1000);
        subscriber.fd = tcp_connect_to(port);
    } else {
        feeder_open(&feeder, "lat", key);
        subscribe(&subscriber, key);
    }
    run(&feeder, &subscriber, n);
    figures->p50_ms[round] = samples_percentile(&subscriber.latencies, 0.5) / 1e6;
    figures->p99_ms[round] = samples_percentile(&subscriber.latencies, 0.99) / 1e6;
    figures->max_ms = fmax(figures->max_ms, samples_percentile(&subscriber.latencies, 1) / 1e6);
    samples_done(&subscriber.latencies);
    if (relay != 0) {
        reap(relay);
        unlink(relay_path);
    }
}

int
main(void)
{
    const unsigned n = (unsigned)env_number("BENCH_MS", 2000) * RATE / 1000;
    struct figures ours = {0}, bare = {0};
    struct ts_options options;
    char key[STORE_KEY_BYTES];
    double p50_ms;

    ts_options_init(&options);
    site_begin();
    snprintf(relay_path, sizeof relay_path, "%s/relay.sock", site.run);
    site_create_store("lat", &options, key);
    start_ingestd();
    start_queryd();
    for (int i = 0; i < ROUNDS; i++) {
        measure(true, NULL, n, i, &bare);
        measure(false, key, n, i, &ours);
    }
    site_end();
    p50_ms = median_of(ours.p50_ms, ROUNDS);
    ROW(.what = "line to subscriber at 1,000/s, p50", .value = p50_ms, .unit = "ms",
        .target = TARGET_MS, .lower_is_better = true);
    ROW(.what = "line to subscriber at 1,000/s, p50", .value = p50_ms, .unit = "ms",
        .peer = "relay", .peer_value = median_of(bare.p50_ms, ROUNDS));
    ROW(.what = "line to subscriber at 1,000/s, p99", .value = median_of(ours.p99_ms, ROUNDS),
        .unit = "ms", .peer = "relay", .peer_value = median_of(bare.p99_ms, ROUNDS));
    print_note("maximum %.2f ms, relay %.2f ms", ours.max_ms, bare.max_ms);
    return 0;
}
