/* append_memcpy.c - how far is an append from a bare copy of the same bytes?
 *
 * Two peers, both into a mapped file of the ring's size, every page of which was touched before:
 *   memcpy     the same lines, nothing else: what memory gives.
 *   bare ring  the least that a ring of records can do: a line of 64 to 127 bytes, an index entry
 *              of 16 bytes, a release store of the head. No checksum, no second thread, no order.
 * Two rows are neither, without a store around them: the copy and the checksum of a record; and all
 * that a record goes through with codec none, which is copied and summed up twice: into an open
 * block, and with the block into the ring.
 * Each round measures the peer next to the store; a ratio is the median of the rounds' ratios.
 * Records carry times of the caller's; one row shows what it costs when the store looks at its
 * clock. An append costs a thread's time twice: once to append, once, beside it, to seal; both
 * are told, because on a machine that does other things too they are steadier than the rate. */
#include "common/checksum.h"
#include "common/store.h"
#include "tests/rig/measure.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 5, BATCH = 64, LINE_BYTES = 80, N_LINES = 1024 };
#define RING_BYTES ((size_t)64 << 20)
#define BLOCK_BYTES 4096u
#define CHUNK_RECORDS 65536u

/* Readings as a sensor sends them, in turn. */
struct line {
    size_t bytes;
    char text[128];
};
static struct line equal_lines[N_LINES], mixed_lines[N_LINES];

struct variant {
    const char *what;
    enum ts_codec codec;
    uint32_t sync_ms;
    bool is_batch, is_clocked, is_mixed;
    double target;
};

#define NONE TS_CODEC_NONE, TS_SYNC_NONE
static const struct variant variants[] = {
    {"append, none, no sync", NONE, false, false, false, 0.45},
    {"append, none, sync each second", TS_CODEC_NONE, 1000, false, false, false, 0.45},
    {"append, zstd, no sync", TS_CODEC_ZSTD, TS_SYNC_NONE, false, false, false, 0},
    {"append, zstd, sync each second", TS_CODEC_ZSTD, 1000, false, false, false, 0},
    {"append 64, none, no sync", NONE, true, false, false, 0.45},
    {"append 64, none, sync each second", TS_CODEC_NONE, 1000, true, false, false, 0.45},
    {"append 64, zstd, no sync", TS_CODEC_ZSTD, TS_SYNC_NONE, true, false, false, 0},
    {"append 64, zstd, sync each second", TS_CODEC_ZSTD, 1000, true, false, false, 0},
    {"append, none, no sync, the store's clock", NONE, false, true, false, 0},
    {"append, 64..127 bytes, none, no sync", NONE, false, false, true, 0.45},
    {"append 64, 64..127 bytes, none, no sync", NONE, true, false, true, 0.45},
};

/* Of `bytes`, or of 64 to 127 if that is 0. */
static void
make_lines(struct line *lines, size_t bytes)
{
    uint64_t state = 7;

    for (unsigned i = 0; i < N_LINES; i++) {
        const unsigned temperature = (unsigned)(next_random(&state) % 1000);
        const size_t want = bytes != 0 ? bytes : 64 + next_random(&state) % 64;
        char text[256];
        const int n =
            snprintf(text, sizeof text,
                     "{\"sensor\":\"boiler-%02u\",\"t\":%u.%02u,\"seq\":1%05u,\"site\":\"", i % 8,
                     20 + temperature / 100, temperature % 100, i * 977);

        lines[i].bytes = want;
        snprintf(text + n, sizeof text - (size_t)n, "%0*u\"}", (int)want - n - 2, 1u);
        memcpy(lines[i].text, text, want);
    }
}

/* ---- the peers ---- */

/* The bare ring's index lies behind the ring. */
struct entry {
    uint64_t number, offset;
};
#define PEER_BYTES (RING_BYTES + CHUNK_RECORDS * sizeof(struct entry))

static uint8_t *
map_warm(const char *dir)
{
    char path[300];
    uint8_t *base;
    int fd;

    snprintf(path, sizeof path, "%s/peer", dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || posix_fallocate(fd, 0, PEER_BYTES) != 0)
        die_errno("make %s", path);
    base = mmap(NULL, PEER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (base == MAP_FAILED)
        die_errno("map %s", path);
    memset(base, 1, PEER_BYTES);
    close(fd);
    return base;
}

static void
copy_chunk(uint8_t *base, const struct line *lines, size_t *at)
{
    for (unsigned i = 0; i < CHUNK_RECORDS; i++) {
        const struct line *line = &lines[i % N_LINES];

        if (*at + line->bytes > RING_BYTES)
            *at = 0;
        memcpy(base + *at, line->text, line->bytes);
        /* The copy is not to be optimized away, nor put together with the next one. */
        __asm__ volatile("" ::: "memory");
        *at += line->bytes;
    }
}

static void
ring_chunk(uint8_t *base, const struct line *lines, size_t *at)
{
    struct entry *const index = (struct entry *)(void *)(base + RING_BYTES);
    static _Atomic uint64_t head;

    for (unsigned i = 0; i < CHUNK_RECORDS; i++) {
        const struct line *line = &lines[i % N_LINES];

        if (*at + line->bytes > RING_BYTES)
            *at = 0;
        memcpy(base + *at, line->text, line->bytes);
        index[i] = (struct entry){i, *at};
        *at += line->bytes;
        /* release: as a reader would need it; there is none. */
        atomic_store_explicit(&head, *at, memory_order_release);
    }
}

static void
copy_and_sum_chunk(uint8_t *base, const struct line *lines, size_t *at)
{
    for (unsigned i = 0; i < CHUNK_RECORDS; i++) {
        const struct line *line = &lines[i % N_LINES];
        uint32_t sum;

        if (*at + line->bytes + sizeof sum > RING_BYTES)
            *at = 0;
        memcpy(base + *at, line->text, line->bytes);
        sum = ts_record_checksum(1, i, i, 0, line->text, (uint32_t)line->bytes);
        memcpy(base + *at + line->bytes, &sum, sizeof sum);
        *at += line->bytes;
    }
}

/* An open block of 64 KiB, then the same bodies in one piece, then these in the ring. */
static void
open_and_seal_chunk(uint8_t *base, const struct line *lines, size_t *at)
{
    enum { OPEN_BYTES = 65536, HEADER_BYTES = 24, RECORD_BYTES = HEADER_BYTES + LINE_BYTES };
    static uint8_t open[OPEN_BYTES], block[OPEN_BYTES];
    const unsigned per_block = OPEN_BYTES / (RECORD_BYTES + sizeof(uint32_t));
    const size_t block_bytes = sizeof(uint64_t) + (size_t)per_block * LINE_BYTES;
    uint64_t sum;

    for (unsigned i = 0; i < CHUNK_RECORDS; i += per_block) {
        for (unsigned j = 0; j < per_block; j++) {
            uint8_t *const record = open + (size_t)j * RECORD_BYTES;

            memcpy(record + HEADER_BYTES, lines[(i + j) % N_LINES].text, LINE_BYTES);
            sum = ts_record_checksum(1, i + j, i + j, 0, record + HEADER_BYTES, LINE_BYTES);
            memcpy(record, &sum, sizeof sum);
        }
        for (unsigned j = 0; j < per_block; j++)
            memcpy(block + sizeof sum + (size_t)j * LINE_BYTES,
                   open + (size_t)j * RECORD_BYTES + HEADER_BYTES, LINE_BYTES);
        sum = ts_checksum(block + sizeof sum, block_bytes - sizeof sum, 1);
        memcpy(block, &sum, sizeof sum);
        if (*at + block_bytes > RING_BYTES)
            *at = 0;
        memcpy(base + *at, block, block_bytes);
        *at += block_bytes;
    }
}

typedef void (*chunk_fn)(uint8_t *base, const struct line *lines, size_t *at);

/* Copies for `seconds`; records per second. */
static double
run_peer(uint8_t *base, chunk_fn chunk, const struct line *lines, double seconds)
{
    const int64_t start = clock_ns(), end = start + (int64_t)(seconds * 1e9);
    size_t at = 0;
    uint64_t n = 0;
    int64_t now;

    do {
        chunk(base, lines, &at);
        n += CHUNK_RECORDS;
        now = clock_ns();
    } while (now < end);
    return (double)n * 1e9 / (double)(now - start);
}

/* ---- the store ---- */

static void
append_singly(struct ts_store *store, const struct line *lines, int64_t *time_ns)
{
    for (unsigned i = 0; i < CHUNK_RECORDS; i++) {
        const struct line *line = &lines[i % N_LINES];
        const int64_t at_ns = *time_ns > 0 ? (*time_ns)++ : 0;
        struct ts_appended done;

        if (ts_store_append(store, at_ns, line->text, line->bytes, &done) != TS_OK)
            die("append: %s", ts_error_text());
    }
}

static void
append_batches(struct ts_store *store, const struct line *lines, int64_t *time_ns)
{
    struct ts_batch_item items[BATCH];

    for (unsigned i = 0; i < CHUNK_RECORDS; i += BATCH) {
        for (unsigned j = 0; j < BATCH; j++) {
            const struct line *line = &lines[(i + j) % N_LINES];

            items[j].time_ns = (*time_ns)++;
            items[j].data = line->text;
            items[j].bytes = line->bytes;
        }
        if (ts_store_append_batch(store, items, BATCH) != BATCH)
            die("append: %s", ts_error_text());
    }
}

struct cost {
    double n, append_ns, all_ns; /* records; processor time of this thread, of the process */
};

static double
processor_ns(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double
run_store(struct ts_store *store, const struct variant *variant, int64_t *time_ns, double seconds,
          struct cost *cost)
{
    const struct line *lines = variant->is_mixed ? mixed_lines : equal_lines;
    const int64_t start = clock_ns(), end = start + (int64_t)(seconds * 1e9);
    uint64_t n = 0;
    int64_t now;

    cost->append_ns -= processor_ns(CLOCK_THREAD_CPUTIME_ID);
    cost->all_ns -= processor_ns(CLOCK_PROCESS_CPUTIME_ID);
    do {
        if (variant->is_batch)
            append_batches(store, lines, time_ns);
        else
            append_singly(store, lines, time_ns);
        n += CHUNK_RECORDS;
        now = clock_ns();
    } while (now < end);
    cost->append_ns += processor_ns(CLOCK_THREAD_CPUTIME_ID);
    cost->all_ns += processor_ns(CLOCK_PROCESS_CPUTIME_ID);
    cost->n += (double)n;
    return (double)n * 1e9 / (double)(now - start);
}

static struct ts_store *
open_warm(const char *dir, const struct variant *variant, unsigned number)
{
    struct ts_options options;
    struct ts_store *store;
    char name[32];

    ts_options_init(&options);
    options.num_blocks = RING_BYTES / BLOCK_BYTES;
    options.data_block_bytes = BLOCK_BYTES;
    options.codec = variant->codec;
    options.sync_ms = variant->sync_ms;
    snprintf(name, sizeof name, "bench%u", number);
    if (ts_store_create(dir, name, &options) != TS_OK || ts_store_open(dir, name, &store) != TS_OK)
        die("store: %s", ts_error_text());
    return store;
}

static void
run_variant(const char *dir, uint8_t *peer_base, const struct variant *variant, unsigned number)
{
    const double seconds = (double)env_number("BENCH_MS", 500) / 1000;
    struct ts_store *store = open_warm(dir, variant, number);
    struct rounds rounds = {0};
    int64_t time_ns = variant->is_clocked ? 0 : 1;
    struct cost warming = {0}, cost = {0};

    /* Round the ring, so that its pages are as warm as the peer's. */
    while (store->ring.head_pos < RING_BYTES + RING_BYTES / 2)
        run_store(store, variant, &time_ns, 0.01, &warming);
    for (int i = 0; i < ROUNDS; i++) {
        const double peer = variant->is_mixed
                                ? run_peer(peer_base, ring_chunk, mixed_lines, seconds) / 1e6
                                : run_peer(peer_base, copy_chunk, equal_lines, seconds) / 1e6;

        rounds_add(&rounds, run_store(store, variant, &time_ns, seconds, &cost) / 1e6, peer);
    }
    if (ts_store_close(store) != TS_OK)
        die("close: %s", ts_error_text());
    ROUNDS_ROW(&rounds, .what = variant->what, .unit = "M/s",
               .peer = variant->is_mixed ? "bare ring" : "memcpy", .target = variant->target);
    print_note("processor time per record: %.1f ns to append, %.1f ns to seal and sync",
               cost.append_ns / cost.n, (cost.all_ns - cost.append_ns) / cost.n);
}

static void
run_bound(uint8_t *base, const char *what, chunk_fn chunk)
{
    const double seconds = (double)env_number("BENCH_MS", 500) / 1000;
    struct rounds rounds = {0};

    for (int i = 0; i < ROUNDS; i++) {
        const double peer = run_peer(base, copy_chunk, equal_lines, seconds) / 1e6;

        rounds_add(&rounds, run_peer(base, chunk, equal_lines, seconds) / 1e6, peer);
    }
    ROUNDS_ROW(&rounds, .what = what, .unit = "M/s", .peer = "memcpy");
}

int
main(int argc, char **argv)
{
    const char *dir = scratch_dir();
    uint8_t *peer_base;

    make_lines(equal_lines, LINE_BYTES);
    make_lines(mixed_lines, 0);
    peer_base = map_warm(dir);
    run_bound(peer_base, "no store: copy and checksum", copy_and_sum_chunk);
    run_bound(peer_base, "no store: open block, then ring", open_and_seal_chunk);
    for (unsigned i = 0; i < COUNTOF(variants); i++) {
        if (argc < 2 || strstr(variants[i].what, argv[1]) != NULL)
            run_variant(dir, peer_base, &variants[i], i);
    }
    return 0;
}
