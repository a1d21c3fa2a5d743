/* fanout.c - many subscribers of one store: what they get, how late, and what each costs.
 *
 * One feeder sends RATE records a second to ingestd; CLIENTS (500) WebSockets at queryd's ws/read
 * follow. One thread reads for all of them, so that the machine's processors are left to the
 * daemons. Each record carries the time at which it was sent. Then the same with one more client,
 * which stopped reading before the first record; and before all that, what idle clients cost. */
#include "tests/rig/daemons.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RATE = 1000, ROUNDS = 3, MAX_CLIENTS = 4000, BUFFER_BYTES = 16384 };
#define TARGET_KIB 48.0
#define TARGET_SHARE 0.99
#define PATIENCE_NS INT64_C(20000000000)

struct client {
    int fd;
    size_t used;
    char *buffer;
};

static struct client clients[MAX_CLIENTS];
static unsigned n_clients;
static int epoll_fd;
static struct samples latencies;
static uint64_t n_messages, n_gaps;
static _Atomic bool is_fed;
static char key[STORE_KEY_BYTES];

/* ---- the clients ---- */

/* Bytes of the frame at `at`, 0 if it is not whole yet. */
static size_t
whole_frame(const char *at, size_t have, const char **out_payload, size_t *out_bytes)
{
    const uint8_t *head = (const uint8_t *)at;
    size_t head_bytes = 2, bytes;

    if (have < 4)
        return 0;
    bytes = head[1] & 0x7f;
    if (bytes == 126) {
        bytes = (size_t)head[2] << 8 | head[3];
        head_bytes = 4;
    } else if (bytes == 127) {
        die("a frame of more than 64 KiB");
    }
    *out_payload = at + head_bytes;
    *out_bytes = bytes;
    return have < head_bytes + bytes ? 0 : head_bytes + bytes;
}

static void
take_frames(struct client *client)
{
    const int64_t now = clock_ns();
    size_t done = 0, taken, bytes;
    const char *payload;

    while ((taken = whole_frame(client->buffer + done, client->used - done, &payload, &bytes)) >
           0) {
        const char *sent = memmem(payload, bytes, "\"sent\":", 7);

        if (sent != NULL) {
            samples_add(&latencies, now - strtoll(sent + 7, NULL, 10));
            n_messages++;
        } else if (memmem(payload, bytes, "\"gap\"", 5) != NULL) {
            n_gaps++;
        }
        done += taken;
    }
    client->used -= done;
    memmove(client->buffer, client->buffer + done, client->used);
}

static bool
receive(struct client *client)
{
    const ssize_t n =
        recv(client->fd, client->buffer + client->used, BUFFER_BYTES - client->used, 0);

    if (n <= 0)
        return false;
    client->used += (size_t)n;
    return true;
}

static void
subscribe(struct client *client)
{
    char request[512], *end;
    const int n = snprintf(request, sizeof request,
                           "GET /api/stores/fan/ws/read?from=now HTTP/1.1\r\nHost: localhost\r\n"
                           "Upgrade: websocket\r\nConnection: Upgrade\r\nX-API-Key: %s\r\n"
                           "Sec-WebSocket-Version: 13\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                           key);

    client->used = 0;
    if (client->buffer == NULL)
        client->buffer = malloc(BUFFER_BYTES);
    client->fd = tcp_connect_to(site.queryd.port);
    if (!send_all(client->fd, request, (size_t)n))
        die_errno("send the upgrade");
    do {
        if (!receive(client))
            die("no answer to the upgrade");
        end = memmem(client->buffer, client->used, "caught_up", 9);
    } while (end == NULL);
    if (strncmp(client->buffer, "HTTP/1.1 101", 12) != 0)
        die("upgrade refused: %.*s", (int)client->used, client->buffer);
    client->used = 0; /* caught_up was all there is: nothing is being written */
}

static void
open_clients(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < n_clients; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = i}};

        subscribe(&clients[i]);
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, clients[i].fd, &event);
    }
}

static void
close_clients(void)
{
    for (unsigned i = 0; i < n_clients; i++)
        close(clients[i].fd);
    close(epoll_fd);
}

/* ---- a run ---- */

static void *
feed(void *arg)
{
    const unsigned n = *(const unsigned *)arg;
    static struct feeder feeder;
    char line[160], answers[8192];
    int64_t start;

    feeder_open(&feeder, "fan", key);
    start = clock_ns();
    for (unsigned i = 0; i < n; i++) {
        sleep_until(start + (int64_t)i * (1000000000 / RATE));
        const int bytes =
            snprintf(line, sizeof line, "{\"sent\":%jd,\"sensor\":\"boiler-%02u\",\"t\":21.5}\n",
                     (intmax_t)clock_ns(), i % 20);

        if (!send_all(feeder.fd, line, (size_t)bytes))
            die("the feeder was cut off");
        if (recv(feeder.fd, answers, sizeof answers, MSG_DONTWAIT) > 3 &&
            memcmp(answers, "ERROR", 5) == 0)
            die("refused: %.80s", answers);
    }
    feeder_close(&feeder);
    atomic_store(&is_fed, true);
    return arg;
}

struct result {
    double per_s, p50_ms, p99_ms, share;
    long threads;
    uint64_t gaps;
};

static long
threads_of(pid_t pid)
{
    char path[64], line[256];
    long n = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Threads: %ld", &n) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return n;
}

/* Until all came, or nothing does any more. */
static void
follow(uint64_t want)
{
    struct epoll_event events[256];
    int64_t patience_ns = clock_ns() + PATIENCE_NS;

    while (n_messages < want && clock_ns() < patience_ns) {
        const int n = epoll_wait(epoll_fd, events, COUNTOF(events), 100);

        for (int i = 0; i < n; i++) {
            struct client *client = &clients[events[i].data.u32];

            if (!receive(client))
                die("a client was cut off");
            take_frames(client);
        }
        if (n > 0 || !atomic_load(&is_fed))
            patience_ns = clock_ns() + (atomic_load(&is_fed) ? PATIENCE_NS / 10 : PATIENCE_NS);
    }
}

static struct result
run(unsigned n_records, bool with_stuck)
{
    const uint64_t want = (uint64_t)n_records * n_clients;
    struct client stuck = {.fd = -1};
    struct result result;
    pthread_t thread;
    int64_t start;

    samples_init(&latencies, want);
    n_messages = n_gaps = 0;
    atomic_store(&is_fed, false);
    open_clients();
    if (with_stuck) {
        const int little = 2048;

        subscribe(&stuck);
        setsockopt(stuck.fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    }
    start = clock_ns();
    if (pthread_create(&thread, NULL, feed, &n_records) != 0)
        die("start the feeder");
    follow(want);
    result.per_s = (double)n_messages * 1e9 / (double)(clock_ns() - start);
    pthread_join(thread, NULL);
    result.share = (double)n_messages / (double)want;
    result.p50_ms = samples_percentile(&latencies, 0.5) / 1e6;
    result.p99_ms = samples_percentile(&latencies, 0.99) / 1e6;
    result.threads = threads_of(site.queryd.pid);
    result.gaps = n_gaps;
    close_clients();
    if (stuck.fd >= 0)
        close(stuck.fd);
    free(stuck.buffer);
    samples_done(&latencies);
    sleep_until(clock_ns() + INT64_C(3000000000)); /* until the server saw that they left */
    return result;
}

static void
raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* More connections than the default allows. */
static void
write_config(void)
{
    char path[300];
    FILE *file;

    snprintf(path, sizeof path, "%s/bench.json", site.run);
    file = fopen(path, "we");
    if (file == NULL ||
        fprintf(file, "{\"limits\":{\"max_connections\":%u}}", n_clients + 16) < 0 ||
        fclose(file) != 0)
        die_errno("write %s", path);
    setenv("TSSTORE_CONFIG", path, 1);
}

static void
measure_idle(void)
{
    const struct memory before = memory_of(site.queryd.pid);
    struct memory after;

    open_clients();
    sleep_until(clock_ns() + INT64_C(1000000000));
    after = memory_of(site.queryd.pid);
    ROW(.what = "idle WebSocket, resident memory",
        .value = (double)(after.rss_kib - before.rss_kib) / n_clients, .unit = "KiB",
        .target = TARGET_KIB, .lower_is_better = true);
    print_note("%u clients, %ld threads, queryd %.1f MiB, of it %.1f its own", n_clients,
               threads_of(site.queryd.pid), (double)after.rss_kib / 1024,
               (double)after.anon_kib / 1024);
    close_clients();
    sleep_until(clock_ns() + INT64_C(3000000000));
}

int
main(void)
{
    const unsigned n_records = (unsigned)env_number("BENCH_MS", 4000) * RATE / 1000;
    double plain[ROUNDS], stuck[ROUNDS], p50[ROUNDS], p99[ROUNDS], p99_stuck[ROUNDS];
    double share[ROUNDS], share_stuck[ROUNDS];
    struct ts_options options;
    struct result result;
    uint64_t gaps = 0;

    n_clients = (unsigned)env_number("CLIENTS", 500);
    if (n_clients == 0 || n_clients > MAX_CLIENTS)
        die("CLIENTS is 1 to %d", MAX_CLIENTS);
    raise_limits();
    ts_options_init(&options);
    site_begin();
    write_config();
    site_create_store("fan", &options, key);
    start_ingestd();
    start_queryd();
    measure_idle();
    for (int i = 0; i < ROUNDS; i++) {
        result = run(n_records, false);
        plain[i] = result.per_s;
        share[i] = result.share;
        p50[i] = result.p50_ms;
        p99[i] = result.p99_ms;
        gaps += result.gaps;
        result = run(n_records, true);
        stuck[i] = result.per_s;
        share_stuck[i] = result.share;
        p99_stuck[i] = result.p99_ms;
        gaps += result.gaps;
    }
    site_end();
    ROW(.what = "messages delivered per second", .value = median_of(plain, ROUNDS), .unit = "/s");
    ROW(.what = "line to subscriber, p50", .value = median_of(p50, ROUNDS), .unit = "ms");
    ROW(.what = "line to subscriber, p99", .value = median_of(p99, ROUNDS), .unit = "ms");
    ROW(.what = "messages delivered of those due", .value = median_of(share, ROUNDS), .unit = "x");
    ROW(.what = "with a client that stopped reading", .value = median_of(stuck, ROUNDS),
        .unit = "/s", .peer = "without", .peer_value = median_of(plain, ROUNDS),
        .target = TARGET_SHARE);
    ROW(.what = "  delivered of those due", .value = median_of(share_stuck, ROUNDS), .unit = "x",
        .target = TARGET_SHARE);
    ROW(.what = "  line to subscriber, p99", .value = median_of(p99_stuck, ROUNDS), .unit = "ms",
        .peer = "without", .peer_value = median_of(p99, ROUNDS));
    print_note("%u clients, %d records/s, %ld threads, %ju gaps told", n_clients, RATE,
               result.threads, (uintmax_t)gaps);
    return 0;
}
