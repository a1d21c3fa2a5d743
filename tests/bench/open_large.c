/* open_large.c - how long does a large store take to open?
 *
 * A store of GIB (4) GiB, filled round once with large extents of one record and then with the
 * usual blocks, is opened as writer after an orderly close, as writer after kill -9, and as reader
 * beside the writer; each several times. Then creation: its time, and the bare write and sync of as
 * many zeros as peer. Nothing is dropped from the page cache: what is asked for is the work, which
 * must not depend on the size; a cold disk adds the reading of some pages. */
#include "common/store.h"
#include "tests/rig/measure.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 5, BLOCK_BYTES = 65536 };
#define TARGET_MS 50.0

static const char *dir;
static const char name[] = "large";
static uint64_t ring_bytes;

static struct ts_store *
open_writer(double *out_ms)
{
    const int64_t start = clock_ns();
    struct ts_store *store;

    if (ts_store_open(dir, name, &store) != TS_OK)
        die("open: %s", ts_error_text());
    *out_ms = (double)(clock_ns() - start) / 1e6;
    return store;
}

/* Records of `bytes` each until `total` bytes were appended. */
static void
append(struct ts_store *store, size_t bytes, uint64_t total)
{
    uint8_t *body = calloc(1, bytes);

    if (body == NULL)
        die("no memory");
    for (uint64_t done = 0; done < total; done += bytes) {
        memcpy(body, &done, sizeof done < bytes ? sizeof done : bytes);
        if (ts_store_append(store, 0, body, bytes, NULL) != TS_OK)
            die("append: %s", ts_error_text());
    }
    free(body);
}

/* ---- creation ---- */

/* The least that gives a file all its bytes. */
static double
write_zeros_ms(void)
{
    static const uint8_t zeros[256 * 1024];
    const int64_t start = clock_ns();
    char path[300];
    int fd;

    snprintf(path, sizeof path, "%s/zeros", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || posix_fallocate(fd, 0, (off_t)ring_bytes) != 0)
        die_errno("make %s", path);
    for (uint64_t done = 0; done < ring_bytes; done += sizeof zeros) {
        if (write(fd, zeros, sizeof zeros) != (ssize_t)sizeof zeros)
            die_errno("write %s", path);
    }
    if (fsync(fd) != 0)
        die_errno("sync %s", path);
    close(fd);
    unlink(path);
    return (double)(clock_ns() - start) / 1e6;
}

static double
create_ms(void)
{
    const int64_t start = clock_ns();
    struct ts_options options;

    ts_options_init(&options);
    options.num_blocks = (uint32_t)(ring_bytes / BLOCK_BYTES);
    options.data_block_bytes = BLOCK_BYTES;
    options.codec = TS_CODEC_NONE;
    if (ts_store_create(dir, name, &options) != TS_OK)
        die("create: %s", ts_error_text());
    return (double)(clock_ns() - start) / 1e6;
}

/* ---- opening ---- */

/* A process that appends until it is killed, with records in open blocks and some to seal. */
static void
writer_main(void *arg)
{
    double ms;
    struct ts_store *store = open_writer(&ms);
    const int pipe_fd = *(const int *)arg;

    append(store, 200, 40 << 20);
    if (write(pipe_fd, "!", 1) != 1)
        die_errno("tell");
    for (;;)
        append(store, 200, 1 << 20);
}

static void
append_and_be_killed(void)
{
    int ends[2];
    pid_t pid;
    char sign;

    if (pipe(ends) != 0)
        die_errno("pipe");
    pid = start_child(writer_main, &ends[1]);
    close(ends[1]);
    if (read(ends[0], &sign, 1) != 1)
        die("the writer did not start");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(ends[0]);
}

static double
open_reader_ms(void)
{
    const struct ts_range range = {.backward = true, .limit = 1};
    const int64_t start = clock_ns();
    struct ts_view *view;
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    double ms;

    /* Up to the first record: opening alone maps, and promises little. */
    if (ts_view_open(dir, name, &view) != TS_OK || ts_cursor_open(view, &range, &cursor) != TS_OK ||
        ts_cursor_next(cursor, &record, &gap) != TS_STEP_RECORD)
        die("reader: %s", ts_error_text());
    ms = (double)(clock_ns() - start) / 1e6;
    ts_cursor_close(cursor);
    ts_view_close(view);
    return ms;
}

static void
tell(const char *what, double *ms)
{
    ROW(.what = what, .value = median_of(ms, ROUNDS), .unit = "ms", .target = TARGET_MS,
        .lower_is_better = true);
}

static void
measure_opens(void)
{
    double clean[ROUNDS], killed[ROUNDS], reader[ROUNDS];
    struct ts_recovery recovery;

    for (int i = 0; i < ROUNDS; i++) {
        struct ts_store *store = open_writer(&clean[i]);

        append(store, 200, 1 << 20);
        reader[i] = open_reader_ms();
        if (ts_store_close(store) != TS_OK)
            die("close: %s", ts_error_text());
        append_and_be_killed();
        store = open_writer(&killed[i]);
        ts_store_recovery(store, &recovery);
        if (ts_store_close(store) != TS_OK)
            die("close: %s", ts_error_text());
    }
    tell("open as writer after a close", clean);
    tell("open as writer after kill -9", killed);
    tell("open as reader, newest record read", reader);
    print_note("last recovery: %ju records found again in open blocks, %.2f ms",
               (uintmax_t)recovery.n_head_records, (double)recovery.elapsed_ns / 1e6);
}

int
main(void)
{
    const uint64_t gib = env_number("GIB", 4);
    struct ts_store *store;
    double ms, peer_ms;

    dir = scratch_dir();
    ring_bytes = gib << 30;
    peer_ms = write_zeros_ms();
    ms = create_ms();
    print_note("store of %ju GiB", (uintmax_t)gib);
    ROW(.what = "create", .value = ms, .unit = "ms", .peer = "write zeros", .peer_value = peer_ms,
        .lower_is_better = true);
    store = open_writer(&ms);
    append(store, (size_t)64 << 20, ring_bytes);
    append(store, 4096, ring_bytes / 8);
    if (ts_store_close(store) != TS_OK)
        die("close: %s", ts_error_text());
    measure_opens();
    return 0;
}
