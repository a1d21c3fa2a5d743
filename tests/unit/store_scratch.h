/* store_scratch.h - what the tests of the store share: a scratch directory, records that prove
 * themselves, damage done to files.
 *
 * Purpose    A record is made from a number (its id), and its bytes tell the id again, so that a
 *            test needs no copy of what it wrote.
 * Ownership  scratch_start() makes the directory, scratch_end() removes it with all in it.
 * Threads    One test at a time; Criterion gives each a process of its own.
 */
#ifndef STORE_SCRATCH_H
#define STORE_SCRATCH_H

#include "common/checksum.h"
#include "common/store.h"
#include "common/tsstore.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COUNTOF(array) (sizeof(array) / sizeof((array)[0]))
#define UNUSED __attribute__((unused))
#define STORE "s" /* the name most tests give their store */

/* ---- directory ---- */

static char scratch[64]; /* the data directory */

UNUSED static void
scratch_start(void)
{
    /* In memory if possible: thousands of stores are opened and synced. */
    snprintf(scratch, sizeof scratch, "%s/tsstore-unit-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    cr_assert_not_null(mkdtemp(scratch));
}

static void
remove_tree(int parent_fd, const char *name)
{
    const int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(fd, entry->d_name, 0) != 0)
            remove_tree(fd, entry->d_name);
    if (dir != NULL)
        closedir(dir);
    unlinkat(parent_fd, name, AT_REMOVEDIR);
}

UNUSED static void
scratch_end(void)
{
    if (scratch[0] != '\0')
        remove_tree(AT_FDCWD, scratch);
}

/* How many entries the data directory has. */
UNUSED static int
scratch_count(void)
{
    DIR *dir = opendir(scratch);
    struct dirent *entry;
    int n = 0;

    while ((entry = readdir(dir)) != NULL)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return n;
}

/* ---- random, and records ---- */

static uint64_t rng_state;

/* Starts from TEST_SEED, or from the clock; prints it, since a failure must be repeatable. */
UNUSED static void
rng_start(void)
{
    const char *given = getenv("TEST_SEED");

    rng_state = given != NULL ? strtoull(given, NULL, 0)
                              : (uint64_t)time(NULL) * 2654435761u ^ (uint64_t)getpid() << 32;
    fprintf(stderr, "TEST_SEED=%ju\n", (uintmax_t)rng_state);
    rng_state |= 1;
}

UNUSED static uint64_t
rng_next(void)
{
    rng_state ^= rng_state >> 12;
    rng_state ^= rng_state << 25;
    rng_state ^= rng_state >> 27;
    return rng_state * UINT64_C(2685821657736338717);
}

UNUSED static uint64_t
rng_below(uint64_t n)
{
    return rng_next() % n;
}

/* Bytes of record `id`: its number as far as they reach, then letters that follow from it. */
UNUSED static void
record_fill(uint64_t id, uint8_t *bytes, size_t n)
{
    uint64_t state = id * UINT64_C(0x9e3779b97f4a7c15) | 1;

    memcpy(bytes, &id, n < sizeof id ? n : sizeof id);
    for (size_t i = sizeof id; i < n; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        bytes[i] = (uint8_t)("abcdefgh"[state >> 61]); /* compresses, but not to nothing */
    }
}

/* True if these are the bytes of record `id`. */
UNUSED static bool
record_is(uint64_t id, const uint8_t *bytes, size_t n)
{
    uint8_t *want = malloc(n + 1);
    bool same;

    record_fill(id, want, n);
    same = memcmp(want, bytes, n) == 0;
    free(want);
    return same;
}

/* ---- stores ---- */

UNUSED static struct ts_options
small_options(uint32_t num_blocks, uint32_t block_bytes, enum ts_codec codec, uint32_t sync_ms)
{
    struct ts_options options;

    ts_options_init(&options);
    options.num_blocks = num_blocks;
    options.data_block_bytes = block_bytes;
    options.index_block_bytes = 64;
    options.type = TS_TYPE_BINARY;
    options.codec = codec;
    options.sync_ms = sync_ms;
    return options;
}

UNUSED static struct ts_store *
must_open(const char *name)
{
    struct ts_store *store = NULL;

    cr_assert_eq(ts_store_open(scratch, name, &store), TS_OK, "%s", ts_error_text());
    return store;
}

UNUSED static struct ts_store *
must_create(const char *name, const struct ts_options *options)
{
    cr_assert_eq(ts_store_create(scratch, name, options), TS_OK, "%s", ts_error_text());
    return must_open(name);
}

UNUSED static struct ts_view *
must_view(const char *name)
{
    struct ts_view *view = NULL;

    cr_assert_eq(ts_view_open(scratch, name, &view), TS_OK, "%s", ts_error_text());
    return view;
}

UNUSED static void
must_close(struct ts_store *store)
{
    cr_assert_eq(ts_store_close(store), TS_OK, "%s", ts_error_text());
}

/* Appends record `id` of n bytes; its number. */
UNUSED static uint64_t
must_append(struct ts_store *store, uint64_t id, int64_t time_ns, size_t n)
{
    uint8_t *bytes = malloc(n + 1);
    struct ts_appended done = {0};

    record_fill(id, bytes, n);
    cr_assert_eq(ts_store_append(store, time_ns, bytes, n, &done), TS_OK, "%s", ts_error_text());
    free(bytes);
    return done.record_no;
}

/* Appends records from..to, each `n` bytes, with id = time = number if the store is fresh. */
UNUSED static void
must_append_run(struct ts_store *store, uint64_t from, uint64_t to, size_t n)
{
    for (uint64_t id = from; id <= to; id++)
        must_append(store, id, (int64_t)id, n);
}

/* Whatever is closed is in the ring on return. */
UNUSED static void
wait_for_sealer(struct ts_store *store)
{
    while (ts_slot_state(store, 0) == TS_SLOT_CLOSED || ts_slot_state(store, 1) == TS_SLOT_CLOSED)
        ts_seal_next(store);
}

/* What a walk over a whole store met. */
struct walk {
    uint64_t n_records, n_damaged, n_gap;
    uint64_t first_no, last_no;
    bool is_wrong;     /* bytes that are not a record's, numbers or times out of order */
    bool is_truncated; /* more steps than a store can have */
    char text[256];    /* of the last damage */
};

/* Reads everything from `from_no`; records must have been made with record_fill(id = time). */
UNUSED static struct walk
walk_view(struct ts_view *view, uint64_t from_no, bool backward)
{
    const struct ts_range range = {
        .by_number = true, .has_from = from_no > 0, .from_no = from_no, .backward = backward};
    struct ts_cursor *cursor = NULL;
    struct ts_record record;
    struct ts_gap gap;
    struct walk walk = {0};
    int64_t time_before = 0;
    uint64_t n_steps = 0;
    enum ts_step step;

    cr_assert_eq(ts_cursor_open(view, &range, &cursor), TS_OK, "%s", ts_error_text());
    while ((step = ts_cursor_next(cursor, &record, &gap)) != TS_STEP_END && step != TS_STEP_GONE) {
        if (++n_steps > 200000) {
            walk.is_truncated = true;
            break;
        }
        if (step == TS_STEP_RECORD) {
            if (!record_is((uint64_t)record.time_ns, record.data, record.bytes) ||
                (walk.n_records > 0 &&
                 (backward ? record.no >= walk.last_no || record.time_ns >= time_before
                           : record.no <= walk.last_no || record.time_ns <= time_before)))
                walk.is_wrong = true;
            if (walk.n_records++ == 0)
                walk.first_no = record.no;
            walk.last_no = record.no;
            time_before = record.time_ns;
        } else if (step == TS_STEP_DAMAGED) {
            walk.n_damaged += gap.lost;
            snprintf(walk.text, sizeof walk.text, "%s", ts_error_text());
        } else if (step == TS_STEP_GAP) {
            walk.n_gap += gap.lost;
        }
    }
    ts_cursor_close(cursor);
    return walk;
}

/* ---- files ---- */

UNUSED static const char *
file_path(const char *store, const char *file)
{
    static char path[32][256];
    static unsigned turn;

    turn = (turn + 1) % 32;
    snprintf(path[turn], sizeof path[turn], "%s/%s/%s", scratch, store, file);
    return path[turn];
}

/* The whole file; *out_bytes is its size. The caller frees. */
UNUSED static uint8_t *
file_load(const char *path, size_t *out_bytes)
{
    const int fd = open(path, O_RDONLY);
    struct stat st;
    uint8_t *bytes;

    cr_assert(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
    bytes = malloc((size_t)st.st_size + 1);
    cr_assert_eq(pread(fd, bytes, (size_t)st.st_size, 0), (ssize_t)st.st_size);
    close(fd);
    *out_bytes = (size_t)st.st_size;
    return bytes;
}

UNUSED static void
file_save(const char *path, const uint8_t *bytes, size_t n)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

/* Writes n bytes at `off` of a file that stays as long as it is. */
UNUSED static void
file_patch(const char *path, size_t off, const void *bytes, size_t n)
{
    const int fd = open(path, O_WRONLY);

    cr_assert_eq(pwrite(fd, bytes, n, (off_t)off), (ssize_t)n, "%s", path);
    close(fd);
}

UNUSED static void
file_flip(const char *path, size_t off, unsigned bit)
{
    const int fd = open(path, O_RDWR);
    uint8_t byte;

    cr_assert_eq(pread(fd, &byte, 1, (off_t)off), 1, "%s at %zu", path, off);
    byte ^= (uint8_t)(1u << bit);
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)off), 1);
    close(fd);
}

/* The four files of a store, in memory. */
struct image {
    uint8_t *file[TS_N_FILES];
    size_t bytes[TS_N_FILES];
};

UNUSED static void
image_take(struct image *image, const char *store)
{
    for (int i = 0; i < TS_N_FILES; i++)
        image->file[i] = file_load(file_path(store, ts_file_names[i]), &image->bytes[i]);
}

UNUSED static void
image_free(struct image *image)
{
    for (int i = 0; i < TS_N_FILES; i++)
        free(image->file[i]);
}

/* Makes a store directory that holds exactly this; an old one is overwritten in place. */
UNUSED static void
image_put(const struct image *image, const char *store)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", scratch, store);
    mkdir(path, 0755);
    for (int i = 0; i < TS_N_FILES; i++)
        file_save(file_path(store, ts_file_names[i]), image->file[i], image->bytes[i]);
}

/* Makes every valid sync point of the image one of another boot that did not end in order. */
UNUSED static void
image_lose_power(struct image *image)
{
    struct ts_head *head = (struct ts_head *)(void *)image->file[TS_FILE_HEAD];

    for (int i = 0; i < 2; i++) {
        struct ts_sync_point *point = &head->sync_points[i];
        const uint64_t seed = ts_seed(head->store_id, 0);
        const size_t n = offsetof(struct ts_sync_point, checksum);

        if (point->counter == 0 || point->checksum != (uint32_t)ts_checksum(point, n, seed))
            continue;
        memset(point->boot_id, 0xb0, sizeof point->boot_id);
        point->is_clean = 0;
        point->checksum = (uint32_t)ts_checksum(point, n, seed);
    }
}

/* The image of a writer that was killed: as it is, but not closed in order, on this boot. */
UNUSED static void
image_kill(struct image *image)
{
    struct ts_head *head = (struct ts_head *)(void *)image->file[TS_FILE_HEAD];

    for (int i = 0; i < 2; i++) {
        struct ts_sync_point *point = &head->sync_points[i];
        const uint64_t seed = ts_seed(head->store_id, 0);
        const size_t n = offsetof(struct ts_sync_point, checksum);

        if (point->counter == 0)
            continue;
        ts_boot_id(point->boot_id);
        point->is_clean = 0;
        point->checksum = (uint32_t)ts_checksum(point, n, seed);
    }
}

#endif
