/* memory.c - resident memory of both daemons, and that it does not grow with the records.
 *
 * "own" is what a process allocated (RssAnon); "mapped" are pages of program, libraries and store
 * files that it touched (RssFile): the kernel's page cache, shared between the daemons, taken back
 * when others need it, and never more than the files. The row that decides is own memory after
 * MILLIONS (10) million records against own memory after the first million. */
#include "tests/rig/daemons.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { N_STORES = 20, LINES = 512, WARMING_REQUESTS = 3000 };
#define GROWTH 1.1

static char keys[N_STORES][STORE_KEY_BYTES], names[N_STORES][8];
static struct feeder feeders[N_STORES];

/* Sends n lines, LINES in flight. */
static void
feed(struct feeder *feeder, uint64_t n)
{
    static char lines[LINES * 96];
    size_t bytes = 0;

    for (int i = 0; i < LINES; i++)
        bytes += (size_t)snprintf(lines + bytes, sizeof lines - bytes,
                                  "{\"sensor\":\"boiler-%02d\",\"t\":%d.%02d,\"rh\":%d}\n", i % 8,
                                  20 + i % 10, i * 37 % 100, 30 + i % 40);
    for (uint64_t done = 0; done < n; done += LINES) {
        if (!send_all(feeder->fd, lines, bytes))
            die("the feeder was cut off");
        for (int i = 0; i < LINES; i++) {
            const char *answer = feeder_read(feeder);

            if (answer == NULL || strncmp(answer, "OK ", 3) != 0)
                die("refused: %s", answer != NULL ? answer : "end");
        }
    }
}

/* Bytes of the answer to GET …/data/<query>. */
static size_t
get(unsigned store, const char *query)
{
    const int fd = tcp_connect_to(site.queryd.port);
    static char buffer[1 << 16];
    size_t bytes = 0;
    ssize_t n;

    n = snprintf(buffer, sizeof buffer,
                 "GET /api/stores/%s/data/%s HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\n"
                 "Connection: close\r\n\r\n",
                 names[store], query, keys[store]);
    if (!send_all(fd, buffer, (size_t)n))
        die("send");
    while ((n = recv(fd, buffer, sizeof buffer, 0)) > 0) {
        if (bytes == 0 && strncmp(buffer, "HTTP/1.1 200", 12) != 0)
            die("%.*s", (int)n, buffer);
        bytes += (size_t)n;
    }
    close(fd);
    return bytes;
}

/* Ways of reading: one record, everything, backwards. */
static void
read_all_ways(void)
{
    get(0, "newest?limit=1");
    get(0, "oldest?limit=1000000");
    get(0, "newest?limit=100000&filter=boiler-07");
}

static void
tell(const char *when)
{
    const struct memory in = memory_of(site.ingestd.pid), out = memory_of(site.queryd.pid);

    printf("%-46s ingestd %6.2f MiB own, %6.2f mapped   queryd %6.2f own, %6.2f mapped\n", when,
           (double)in.anon_kib / 1024, (double)in.file_kib / 1024, (double)out.anon_kib / 1024,
           (double)out.file_kib / 1024);
    fflush(stdout);
}

static void
start(unsigned n_stores)
{
    start_ingestd();
    start_queryd();
    for (unsigned i = 0; i < n_stores; i++) {
        feeder_open(&feeders[i], names[i], keys[i]);
        feed(&feeders[i], LINES);
        get(i, "newest?limit=1");
    }
}

static void
stop(unsigned n_stores)
{
    for (unsigned i = 0; i < n_stores; i++)
        feeder_close(&feeders[i]);
    site_end();
}

int
main(void)
{
    const uint64_t millions = env_number("MILLIONS", 10);
    struct memory in[2], out[2];
    char when[64];

    site_begin();
    for (unsigned i = 0; i < N_STORES; i++) {
        struct ts_options options;

        ts_options_init(&options);
        snprintf(names[i], sizeof names[i], "m%u", i);
        site_create_store(names[i], &options, keys[i]);
    }
    start_ingestd();
    start_queryd();
    tell("idle, no store opened");
    site_end();
    start(N_STORES);
    tell("20 stores open, 20 feeders connected");
    stop(N_STORES);

    start(1);
    tell("1 store, 512 records");
    /* Every worker of the HTTP server has its buffers once it has served something. */
    for (int i = 0; i < WARMING_REQUESTS; i++)
        get(0, i % 10 == 0 ? "oldest?limit=512" : "newest?limit=1");
    tell("1 store, after 3,000 requests");
    feed(&feeders[0], 1000000);
    read_all_ways();
    tell("1 store, after 1 M records and reads");
    in[0] = memory_of(site.ingestd.pid);
    out[0] = memory_of(site.queryd.pid);
    for (uint64_t i = 1; i < millions; i++) {
        feed(&feeders[0], 1000000);
        read_all_ways();
    }
    in[1] = memory_of(site.ingestd.pid);
    out[1] = memory_of(site.queryd.pid);
    snprintf(when, sizeof when, "1 store, after %ju M records and reads", (uintmax_t)millions);
    tell(when);
    stop(1);
    ROW(.what = "ingestd: own memory, last over first million", .value = (double)in[1].anon_kib,
        .unit = "KiB", .peer = "1 M", .peer_value = (double)in[0].anon_kib, .target = GROWTH,
        .lower_is_better = true);
    ROW(.what = "queryd: own memory, last over first million", .value = (double)out[1].anon_kib,
        .unit = "KiB", .peer = "1 M", .peer_value = (double)out[0].anon_kib, .target = GROWTH,
        .lower_is_better = true);
    return 0;
}
