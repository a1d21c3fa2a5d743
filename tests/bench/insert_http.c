/* insert_http.c - what does a reading cost that comes by HTTP?
 *
 * One at a time: POST …/data on N_CONNECTIONS keep-alive connections, to ingestd itself and through
 * queryd, against civetweb answering a constant, see tests/rig/http_load.h.
 *
 * Many at a time: POST …/data/batch, LINES lines of LINE_BYTES in each, on one connection, against
 * the same lines on the Unix socket, as many in flight. */
#include "tests/rig/daemons.h"
#include "tests/rig/http_load.h"

#include <stdio.h>
#include <string.h>

enum { ROUNDS = 25, N_CONNECTIONS = 16, LINES = 1000, LINE_BYTES = 80 };

static char request[LINES * (LINE_BYTES + 40) + 512];
static size_t request_bytes;

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
    const struct http_load load = {
        .request = request, .request_bytes = request_bytes, .n_connections = N_CONNECTIONS};

    http_load_compare(&load, &(struct http_question){.what = what, .port = port, .target = target});
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
    const struct http_load load = {
        .request = request, .request_bytes = request_bytes, .n_connections = 1};
    const double seconds = (double)env_number("BENCH_MS", 150) / 1000;
    struct samples latencies;
    struct rounds rounds = {0};

    samples_init(&latencies, 1 << 16);
    http_load_run(&load, port, 0.2, &latencies);
    latencies.n = 0;
    for (int i = 0; i < ROUNDS; i++) {
        const double peers = run_socket(key, seconds) / 1e3;

        rounds_add(&rounds, http_load_run(&load, port, seconds, &latencies) * LINES / 1e3, peers);
    }
    ROUNDS_ROW(&rounds, .what = what, .unit = "k lines/s", .peer = "Unix socket", .target = target);
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
