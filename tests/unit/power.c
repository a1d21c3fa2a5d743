/* power.c - power failures: of all that was written since its page was last synced, any part may
 * be on the disk. Whatever that part is, recovery keeps what was told to be durable, and nothing
 * that was not written.
 *
 * The system calls that sync are taken over here: they note which sectors are on the disk for
 * certain, and write nothing. A failure then leaves each sector as it is there, or as it is now.
 */
#include "tests/unit/store_scratch.h"

#include <pthread.h>
#include <sys/mman.h>

#define SECTOR 512u
#define N_TRIES 6u /* different outcomes of one failure */

TestSuite(power, .init = scratch_start, .fini = scratch_end, .timeout = 120);

/* ---- the disk ---- */

static struct {
    pthread_mutex_t lock;
    bool is_on;
    struct image image;
    ino_t ino[TS_N_FILES];
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int
file_of(ino_t ino)
{
    for (int i = 0; i < TS_N_FILES; i++)
        if (disk.is_on && disk.ino[i] == ino)
            return i;
    return -1;
}

static int
sync_fd(int fd)
{
    struct stat st;
    int i;

    if (fstat(fd, &st) != 0)
        return -1;
    pthread_mutex_lock(&disk.lock);
    i = file_of(st.st_ino);
    if (i >= 0)
        cr_assert_eq(pread(fd, disk.image.file[i], disk.image.bytes[i], 0),
                     (ssize_t)disk.image.bytes[i]);
    pthread_mutex_unlock(&disk.lock);
    return 0;
}

int
fsync(int fd)
{
    return sync_fd(fd);
}

int
fdatasync(int fd)
{
    return sync_fd(fd);
}

/* Which byte of which file is mapped at `at`: as /proc/self/maps tells. */
static int
file_at(const void *at, size_t *out_off)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    int found = -1;

    while (found < 0 && fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to, off, ino;

        if (sscanf(line, "%lx-%lx %*s %lx %*s %lu", &from, &to, &off, &ino) == 4 &&
            (unsigned long)(uintptr_t)at >= from && (unsigned long)(uintptr_t)at < to) {
            *out_off = (unsigned long)(uintptr_t)at - from + off;
            found = file_of(ino);
        }
    }
    fclose(maps);
    return found;
}

int
msync(void *at, size_t n, int flags)
{
    size_t off = 0;
    int i;

    (void)flags;
    pthread_mutex_lock(&disk.lock);
    i = file_at(at, &off);
    if (i >= 0) {
        n = (n + 4095) & ~(size_t)4095; /* the kernel writes whole pages */
        if (n > disk.image.bytes[i] - off)
            n = disk.image.bytes[i] - off;
        ts_copy_out(disk.image.file[i] + off, at, n);
    }
    pthread_mutex_unlock(&disk.lock);
    return 0;
}

/* From now on the disk holds what the store's files hold now. */
static void
disk_begin(void)
{
    struct stat st;

    pthread_mutex_lock(&disk.lock);
    image_free(&disk.image);
    image_take(&disk.image, STORE);
    for (int i = 0; i < TS_N_FILES; i++) {
        cr_assert_eq(stat(file_path(STORE, ts_file_names[i]), &st), 0);
        disk.ino[i] = st.st_ino;
    }
    disk.is_on = true;
    pthread_mutex_unlock(&disk.lock);
}

/* What a power failure leaves if of the sectors that were not synced `per_cent` got there. */
static void
disk_fail(struct image *out, unsigned per_cent)
{
    struct image now;

    pthread_mutex_lock(&disk.lock);
    for (int i = 0; i < TS_N_FILES; i++) {
        out->bytes[i] = disk.image.bytes[i];
        out->file[i] = malloc(out->bytes[i]);
        memcpy(out->file[i], disk.image.file[i], out->bytes[i]);
    }
    image_take(&now, STORE);
    pthread_mutex_unlock(&disk.lock);
    for (int i = 0; i < TS_N_FILES; i++)
        for (size_t at = 0; at < out->bytes[i]; at += SECTOR)
            if (rng_below(100) < per_cent)
                memcpy(out->file[i] + at, now.file[i] + at,
                       out->bytes[i] - at < SECTOR ? out->bytes[i] - at : SECTOR);
    image_free(&now);
}

/* ---- the model ---- */

#define MODEL_MAX 20000

static struct {
    struct {
        uint64_t no, id;
        size_t bytes;
        bool is_optional;
    } record[MODEL_MAX];
    size_t n;
    uint64_t next_id; /* also its time */
    uint64_t used_no; /* no number up to here may be given out again */
} model;

static void
model_append(struct ts_store *store, size_t bytes)
{
    const uint64_t id = ++model.next_id;
    const uint64_t no = must_append(store, id, (int64_t)id, bytes);

    cr_assert_gt(no, model.used_no, "number %ju was given out before", (uintmax_t)no);
    model.used_no = no;
    cr_assert_lt(model.n, (size_t)MODEL_MAX);
    model.record[model.n].no = no;
    model.record[model.n].id = id;
    model.record[model.n].is_optional = false;
    model.record[model.n++].bytes = bytes;
}

/* Recovery seals what it finds in the open blocks, and so may have to give up the oldest block of
 * the ring. That is allowed if block and ring together would not fit: the sizes of the blocks, as
 * they were when the power failed. */
static struct {
    uint64_t first_no, last_no, extent_bytes;
} block[4096];
static size_t n_blocks;

static void
note_blocks(const struct ts_store *store)
{
    struct ts_snapshot s;

    n_blocks = 0;
    ts_view_snapshot(&store->view, &s);
    for (uint64_t seq = s.tail_seq; seq <= s.sealed_seq; seq++) {
        struct ts_index_entry entry;

        if (!ts_index_read(&store->view.index, seq, s.seed, &entry))
            continue;
        block[n_blocks].first_no = entry.first_no;
        block[n_blocks].last_no = entry.first_no + entry.count - 1;
        block[n_blocks++].extent_bytes = entry.extent_bytes;
    }
}

static bool
had_to_go(struct ts_store *store, uint64_t no)
{
    struct ts_stats stats;

    cr_assert_eq(ts_view_stats(ts_store_view(store), &stats), TS_OK);
    for (size_t i = 0; i < n_blocks; i++)
        if (no >= block[i].first_no && no <= block[i].last_no)
            return stats.ring_used_bytes + block[i].extent_bytes > stats.ring_bytes;
    return false;
}

/* Reads all of a store that was opened after a power failure: what is there must be a run of what
 * was written, and hold all numbers from must_from to must_to. The model is cut to that run. */
static void
model_check(struct ts_store *store, uint64_t must_from, uint64_t must_to, bool is_try)
{
    const struct ts_range all = {0};
    struct ts_cursor *cursor = NULL;
    struct ts_record record;
    struct ts_gap gap;
    struct ts_state state;
    enum ts_step step;
    static bool was_optional[MODEL_MAX];
    size_t first = 0, next = 0;
    bool is_first = true;

    for (size_t i = 0; i < model.n; i++)
        was_optional[i] = model.record[i].is_optional;
    cr_assert_eq(ts_cursor_open(ts_store_view(store), &all, &cursor), TS_OK);
    while ((step = ts_cursor_next(cursor, &record, &gap)) == TS_STEP_RECORD ||
           step == TS_STEP_DAMAGED) {
        /* The last synced block had been given up and was half overwritten, those before it were
         * not yet: they are back for now, and the damage stays. */
        if (step == TS_STEP_DAMAGED) {
            for (size_t i = 0; i < model.n && model.record[i].no <= gap.to_no; i++) {
                cr_assert(model.record[i].no < gap.from_no || gap.to_no < must_from ||
                              model.record[i].is_optional,
                          "number %ju: %s", (uintmax_t)model.record[i].no, ts_error_text());
                model.record[i].is_optional = true;
            }
            continue;
        }
        while (!is_first && next < model.n && model.record[next].is_optional &&
               model.record[next].no < record.no)
            next++;
        if (is_first)
            while (next < model.n && model.record[next].no < record.no)
                next++;
        if (is_first)
            first = next;
        is_first = false;
        cr_assert(next < model.n && model.record[next].no == record.no,
                  "number %ju is there, number %ju was expected", (uintmax_t)record.no,
                  (uintmax_t)(next < model.n ? model.record[next].no : 0));
        cr_assert(record.bytes == model.record[next].bytes &&
                      record.time_ns == (int64_t)model.record[next].id &&
                      record_is(model.record[next].id, record.data, record.bytes),
                  "number %ju is not what was written", (uintmax_t)record.no);
        next++;
    }
    cr_assert_eq(step, TS_STEP_END, "step %d: %s", (int)step, ts_error_text());
    ts_cursor_close(cursor);
    for (size_t i = 0; i < model.n; i++) {
        const uint64_t no = model.record[i].no;
        const bool is_there = (!is_first && i >= first && i < next) || model.record[i].is_optional;

        /* Of the oldest that are gone the last one tells: it went after all others. */
        cr_assert(no < must_from || no > must_to || is_there || (!is_first && i + 1 < first) ||
                      model.record[i].is_optional ||
                      (!is_first && i + 1 == first && had_to_go(store, no)),
                  "number %ju was durable and is gone: %ju to %ju had to be there, %ju to %ju are",
                  (uintmax_t)no, (uintmax_t)must_from, (uintmax_t)must_to,
                  (uintmax_t)(is_first ? 0 : model.record[first].no),
                  (uintmax_t)(is_first ? 0 : model.record[next - 1].no));
    }
    ts_view_state(ts_store_view(store), &state);
    cr_assert_eq(state.next_no & UINT32_MAX, 0, "the next number is %ju", (uintmax_t)state.next_no);
    cr_assert_gt(state.next_no, model.used_no);
    if (is_try) {
        for (size_t i = 0; i < model.n; i++)
            model.record[i].is_optional = was_optional[i];
        return;
    }
    model.n = is_first ? 0 : next - first;
    memmove(model.record, model.record + first, model.n * sizeof model.record[0]);
}

/* The power failed: what the disk may hold, and what has to be there. */
struct failure {
    struct image image[N_TRIES];
    uint64_t durable_no, oldest_no;
};

/* Of one moment of an open store, which goes on. */
static void
failure_take(struct failure *failure, struct ts_store *store, int per_cent)
{
    static const unsigned per_cents[] = {0, 100, 50, 10, 90, 30};
    struct ts_state state;

    failure->durable_no = ts_store_durable_no(store);
    for (unsigned i = 0; i < N_TRIES; i++) {
        disk_fail(&failure->image[i],
                  per_cent >= 0 ? (unsigned)per_cent : per_cents[rng_below(COUNTOF(per_cents))]);
        image_lose_power(&failure->image[i]);
    }
    note_blocks(store);
    ts_view_state(ts_store_view(store), &state);
    failure->oldest_no = state.oldest_no;
}

static struct ts_store *
open_after(const struct failure *failure, const char *name, bool is_try)
{
    struct ts_store *store = must_open(name);
    struct ts_recovery recovery;

    ts_store_recovery(store, &recovery);
    cr_assert(recovery.power_lost);
    cr_assert_eq(recovery.n_damaged, 0);
    model_check(store, failure->oldest_no, failure->durable_no, is_try);
    return store;
}

/* Opens every image; the store of the last one takes the place of the one that failed. */
static struct ts_store *
failure_check(struct failure *failure)
{
    struct ts_store *store;

    for (unsigned i = 0; i + 1 < N_TRIES; i++) {
        image_put(&failure->image[i], "try");
        ts_store_abandon(open_after(failure, "try", true));
        image_free(&failure->image[i]);
    }
    image_put(&failure->image[N_TRIES - 1], STORE);
    image_free(&failure->image[N_TRIES - 1]);
    disk_begin();
    store = open_after(failure, STORE, false);
    return store;
}

/* Fails the power of an open store; per_cent of the sectors that were not synced are there, < 0:
 * any part of them. */
static struct ts_store *
fail_power(struct ts_store *store, int per_cent)
{
    static struct failure failure;

    failure_take(&failure, store, per_cent);
    ts_store_abandon(store);
    return failure_check(&failure);
}

static size_t
random_bytes(const struct ts_options *options)
{
    const uint64_t max = ts_max_record_bytes(options);
    const uint64_t kind = rng_below(100);

    if (kind < 2)
        return (size_t)rng_below(max + 1);
    return (size_t)rng_below((kind < 20 ? max / 8 : max / 64) + 9);
}

static const struct {
    const char *label;
    uint32_t num_blocks, block_bytes;
    enum ts_codec codec;
    uint32_t sync_ms;
} stores[] = {
    {"tiny, each", 1, 1024, TS_CODEC_NONE, TS_SYNC_EACH},
    {"small, each, zstd", 16, 512, TS_CODEC_ZSTD, TS_SYNC_EACH},
    {"small, interval", 32, 512, TS_CODEC_NONE, 1000},
    {"interval of 1 ms, zstd", 16, 4096, TS_CODEC_ZSTD, 1},
    {"larger, none", 64, 4096, TS_CODEC_ZSTD, TS_SYNC_NONE},
    {"larger, interval", 64, 4096, TS_CODEC_NONE, 1000},
};

static void
run_store(unsigned n, unsigned n_rounds)
{
    const struct ts_options options = small_options(stores[n].num_blocks, stores[n].block_bytes,
                                                    stores[n].codec, stores[n].sync_ms);
    struct ts_store *store;

    fprintf(stderr, "%s\n", stores[n].label);
    memset(&model, 0, sizeof model);
    cr_assert_eq(ts_store_create(scratch, STORE, &options), TS_OK, "%s", ts_error_text());
    disk_begin();
    store = must_open(STORE);
    for (unsigned round = 0; round < n_rounds; round++) {
        uint64_t n_appends = rng_below(4) == 0 ? rng_below(4) : rng_below(300);

        while (n_appends-- > 0) {
            model_append(store, random_bytes(&options));
            if (rng_below(40) == 0)
                cr_assert_eq(ts_store_commit(store, model.used_no), TS_OK, "%s", ts_error_text());
        }
        if (rng_below(2) == 0)
            wait_for_sealer(store);
        store = fail_power(store, -1);
    }
    must_close(store);
    disk.is_on = false;
    remove_tree(AT_FDCWD, file_path(STORE, ""));
}

Test(power, what_was_durable_survives_any_mix_of_old_and_new_sectors)
{
    rng_start();
    for (unsigned n = 0; n < COUNTOF(stores); n++)
        run_store(n, 40);
}

/* ---- failures in a row ---- */

static struct ts_store *
store_with_a_full_ring(void)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, 3600 * 1000);
    struct ts_store *store;

    memset(&model, 0, sizeof model);
    cr_assert_eq(ts_store_create(scratch, STORE, &options), TS_OK, "%s", ts_error_text());
    disk_begin();
    store = must_open(STORE);
    for (int i = 0; i < 1000; i++)
        model_append(store, 40);
    cr_assert_eq(ts_store_commit(store, model.used_no), TS_OK);
    return store;
}

Test(power, a_failure_right_behind_a_failure_costs_nothing)
{
    struct ts_store *store = store_with_a_full_ring();
    size_t n;

    rng_start();
    store = fail_power(store, 0);
    n = model.n;
    cr_assert_gt(n, 50u);
    store = fail_power(store, 0);
    store = fail_power(store, 0);
    cr_assert_eq(model.n, n, "%zu records of %zu are left", model.n, n);
    must_close(store);
}

Test(power, records_written_after_a_failure_survive_the_next)
{
    struct ts_store *store = store_with_a_full_ring();

    rng_start();
    for (int round = 0; round < 5; round++) {
        store = fail_power(store, 0);
        for (int i = 0; i < 3; i++)
            model_append(store, 40);
        cr_assert_eq(ts_store_commit(store, model.used_no), TS_OK);
    }
    store = fail_power(store, 0);
    cr_assert_eq(model.n > 15, true);
    must_close(store);
}

Test(power, numbers_whose_records_were_lost_are_not_given_out_again)
{
    struct ts_store *store = store_with_a_full_ring();

    rng_start();
    for (int round = 0; round < 4; round++) {
        store = fail_power(store, 0);
        model_append(store, 40); /* seen by readers, never durable; model_append() looks */
    }
    must_close(store);
}

Test(power, a_store_that_was_reset_keeps_what_came_after)
{
    struct ts_store *store = store_with_a_full_ring();

    rng_start();
    cr_assert_eq(ts_store_reset(store), TS_OK, "%s", ts_error_text());
    model.n = 0;
    for (int i = 0; i < 3; i++)
        model_append(store, 40);
    cr_assert_eq(ts_store_commit(store, model.used_no), TS_OK);
    store = fail_power(store, 0);
    cr_assert_eq(model.n, 3u);
    must_close(store);
}

/* ---- made by hand ---- */

/* The delete map of block seq, if it does not wrap. */
static uint8_t *
delete_map_of(struct image *image, uint64_t seq, uint64_t seed, uint32_t *out_bytes)
{
    const struct ts_index index = {image->file[TS_FILE_INDEX], image->bytes[TS_FILE_INDEX] / 64};
    struct ts_index_entry entry;

    cr_assert(ts_index_read(&index, seq, seed, &entry));
    *out_bytes = (entry.count + 63) / 64 * 8;
    return image->file[TS_FILE_DATA] +
           (entry.ring_pos + entry.extent_bytes - *out_bytes) % image->bytes[TS_FILE_DATA];
}

Test(power, a_delete_map_that_did_not_reach_the_disk_deletes_nothing)
{
    const struct ts_options options = small_options(64, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    struct image image;
    struct walk walk;
    uint32_t n;

    must_append_run(store, 1, 300, 30);
    wait_for_sealer(store);
    image_take(&image, STORE); /* never synced */
    for (uint64_t seq = 1; seq <= store->ring.sealed_seq; seq++)
        memset(delete_map_of(&image, seq, store->ring.seed, &n), 0xff, n);
    ts_store_abandon(store);
    image_lose_power(&image);
    image_put(&image, STORE);
    image_free(&image);
    store = must_open(STORE);
    walk = walk_view(ts_store_view(store), 0, false);
    cr_expect(walk.n_records == 300 && !walk.is_wrong, "%ju records", (uintmax_t)walk.n_records);
    must_close(store);
}

Test(power, what_an_earlier_failure_undid_does_not_come_back)
{
    const struct ts_options options = small_options(64, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    struct ts_index_entry entry;
    struct image image;
    struct walk walk;
    uint64_t synced_seq, last_no;

    must_append_run(store, 1, 200, 30);
    wait_for_sealer(store);
    cr_assert_eq(ts_store_commit(store, 200), TS_OK);
    must_append_run(store, 201, 500, 30); /* the first of these blocks is lost */
    wait_for_sealer(store);
    image_take(&image, STORE);
    synced_seq = ts_view_head(&store->view)->sync_points[store->sync_counter % 2].sealed_seq;
    cr_assert_lt(synced_seq + 4, store->ring.sealed_seq);
    memset(image.file[TS_FILE_INDEX] + ts_index_off(&store->ring.index, synced_seq + 1), 0, 64);
    memset(image.file[TS_FILE_HEAD] + sizeof(struct ts_head), 0,
           image.bytes[TS_FILE_HEAD] - sizeof(struct ts_head));
    ts_store_abandon(store);
    image_lose_power(&image);
    image_put(&image, STORE);
    image_free(&image);
    store = must_open(STORE);
    last_no = walk_view(ts_store_view(store), 0, false).last_no;
    cr_assert_lt(last_no, 500u);
    cr_assert_eq(store->ring.sealed_seq, synced_seq);
    cr_assert(ts_index_read(&store->ring.index, synced_seq, store->ring.seed, &entry));
    image_take(&image, STORE);
    ts_store_abandon(store);
    /* And again, after the newest block was overwritten by blocks that are lost as well. */
    image.file[TS_FILE_DATA][(entry.ring_pos + 60) % image.bytes[TS_FILE_DATA]] ^= 1;
    image_lose_power(&image);
    image_put(&image, STORE);
    image_free(&image);
    store = must_open(STORE);
    walk = walk_view(ts_store_view(store), 0, false);
    cr_expect(!walk.is_wrong && walk.last_no <= last_no, "number %ju is back",
              (uintmax_t)walk.last_no);
    must_close(store);
}

/* A store that was killed with two full open blocks, both durable, neither in the ring: the sealer
 * is held up meanwhile by a lock of the ring. */
static struct ts_store *
store_killed_with_two_blocks(void)
{
    const struct ts_options options = small_options(64, 512, TS_CODEC_NONE, 3600 * 1000);
    struct ts_store *store;
    struct image image;

    memset(&model, 0, sizeof model);
    cr_assert_eq(ts_store_create(scratch, STORE, &options), TS_OK);
    disk_begin();
    store = must_open(STORE);
    pthread_mutex_lock(&store->ring_lock);
    while (store->next_seq < 3 || ts_slot_has_room(&store->block[store->current], 100))
        model_append(store, 100);
    pthread_mutex_unlock(&store->ring_lock);
    image_take(&image, STORE);
    ts_store_abandon(store);
    /* The sealer may have been quick: the ring is put back to nothing. */
    memset(image.file[TS_FILE_INDEX], 0, image.bytes[TS_FILE_INDEX]);
    ts_meta_publish_sealed((void *)image.file[TS_FILE_META], 0);
    image_kill(&image);
    image_put(&image, STORE);
    image_free(&image);
    disk_begin(); /* both blocks are on the disk */
    return must_open(STORE);
}

Test(power, a_block_that_recovery_sealed_is_on_the_disk_before_its_slot_is_used_again)
{
    static struct failure failure;
    struct ts_store *store;

    rng_start();
    for (int round = 0; round < 10; round++) {
        store = store_killed_with_two_blocks();
        failure.durable_no = model.used_no;
        pthread_mutex_lock(&store->ring_lock); /* the sealer stops here */
        for (int i = 0; i < 8; i++)
            model_append(store, 100); /* into the slot of the block that recovery sealed */
        cr_assert_eq(store->block[store->current].seq, 3u);
        failure_take(&failure, store, 50);
        pthread_mutex_unlock(&store->ring_lock);
        ts_store_abandon(store);
        failure.durable_no = model.used_no - 8; /* the image had all of these on the disk */
        store = failure_check(&failure);
        must_close(store);
        disk.is_on = false;
        remove_tree(AT_FDCWD, file_path(STORE, ""));
        remove_tree(AT_FDCWD, file_path("try", ""));
    }
}
