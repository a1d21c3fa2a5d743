/* recover.c - what is there after a writer was killed, at any step of what it does, and after bytes
 * were damaged. Power failures have a file of their own, power.c.
 */
#include "tests/unit/store_scratch.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

TestSuite(recover, .init = scratch_start, .fini = scratch_end, .timeout = 120);

/* ---- kill ---- */

/* Counted by the child after each append that returned; survives it. */
struct progress {
    _Atomic uint64_t n_acknowledged;
    _Atomic size_t in_flight_bytes; /* of the record that is being appended */
};

static void
append_for_ever(struct progress *progress, uint64_t next_id, size_t max_bytes)
{
    struct ts_store *store = NULL;
    uint8_t bytes[8192];

    if (ts_store_open(scratch, STORE, &store) != TS_OK)
        _exit(1);
    for (;;) {
        /* Most are small, some become blocks of their own. */
        const size_t n = rng_below(50) == 0 ? rng_below(max_bytes + 1) : rng_below(60);

        record_fill(next_id, bytes, n);
        atomic_store_explicit(&progress->in_flight_bytes, n, memory_order_release);
        if (ts_store_append(store, (int64_t)next_id, bytes, n, NULL) != TS_OK)
            _exit(2);
        next_id++;
        atomic_fetch_add_explicit(&progress->n_acknowledged, 1, memory_order_release);
    }
}

static const struct {
    const char *label;
    uint32_t num_blocks, block_bytes;
    enum ts_codec codec;
    uint32_t sync_ms;
} geometries[] = {
    {"one tiny block", 1, 1024, TS_CODEC_NONE, 1000},
    {"small", 8, 512, TS_CODEC_NONE, TS_SYNC_NONE},
    {"small, zstd", 16, 4096, TS_CODEC_ZSTD, 1},
    {"larger, zstd", 64, 4096, TS_CODEC_ZSTD, 1000},
};

/* Ids are numbers: nothing that was acknowledged may be missing at the new end, none may be there
 * twice, none be anything else. At most the one record that was being appended may be more. */
static void
check_survivors(uint64_t n_before, const struct progress *progress, uint64_t *out_next_id)
{
    struct ts_store *store = must_open(STORE);
    struct ts_recovery recovery;
    struct ts_state state;
    const uint64_t n_acknowledged = atomic_load(&progress->n_acknowledged);
    const struct ts_geometry *g = &store->view.geometry;
    struct walk walk;

    ts_store_recovery(store, &recovery);
    cr_assert_not(recovery.power_lost);
    cr_assert_eq(recovery.n_damaged, 0, "%s", recovery.text);
    walk = walk_view(ts_store_view(store), 0, false);
    ts_view_state(ts_store_view(store), &state);
    cr_assert_not(walk.is_wrong);
    cr_assert_eq(walk.n_damaged, 0, "%s", walk.text);
    cr_assert_eq(walk.n_records, state.next_no - state.oldest_no);
    if (walk.n_records == 0) {
        /* Killed while a record was written into the ring that leaves no room there for another:
         * the rest had made way. Nothing else empties a store. */
        const size_t bytes = atomic_load(&progress->in_flight_bytes);

        cr_assert(bytes > ts_slot_max_body(g->open_bytes) &&
                      2 * ts_extent_raw_bytes(1, bytes) > g->ring_bytes,
                  "empty, and a record of %zu bytes was being written", bytes);
        walk.last_no = state.next_no - 1;
    }
    cr_assert_eq(walk.last_no, state.next_no - 1);
    cr_assert(walk.last_no == n_before + n_acknowledged ||
                  walk.last_no == n_before + n_acknowledged + 1,
              "the last is %ju, %ju were acknowledged", (uintmax_t)walk.last_no,
              (uintmax_t)(n_before + n_acknowledged));
    *out_next_id = state.next_no;
    must_close(store);
}

Test(recover, nothing_acknowledged_is_lost_and_nothing_is_there_twice_after_a_kill)
{
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    rng_start();
    for (size_t g = 0; g < COUNTOF(geometries); g++) {
        const struct ts_options options =
            small_options(geometries[g].num_blocks, geometries[g].block_bytes, geometries[g].codec,
                          geometries[g].sync_ms);
        const uint64_t max = ts_max_record_bytes(&options);
        uint64_t next_id = 1;

        cr_assert_eq(ts_store_create(scratch, STORE, &options), TS_OK);
        for (int round = 0; round < 12; round++) {
            const uint64_t goal = 1 + rng_below(2000);
            pid_t child;

            atomic_store(&progress->n_acknowledged, 0);
            child = fork();
            if (child == 0)
                append_for_ever(progress, next_id, max < 8192 ? max : 8192);
            while (atomic_load(&progress->n_acknowledged) < goal &&
                   waitpid(child, NULL, WNOHANG) == 0)
                sched_yield();
            kill(child, SIGKILL);
            waitpid(child, NULL, 0);
            cr_assert_geq(atomic_load(&progress->n_acknowledged), goal, "%s: the child ended",
                          geometries[g].label);
            check_survivors(next_id - 1, progress, &next_id);
        }
        remove_tree(AT_FDCWD, file_path(STORE, ""));
    }
}

Test(recover, a_clean_close_is_told_from_a_crash)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, 1000);
    struct ts_recovery recovery;
    struct ts_store *store = must_create(STORE, &options);
    struct image image;

    ts_store_recovery(store, &recovery);
    cr_expect(recovery.was_clean);
    cr_expect_str_empty(recovery.text);
    must_append_run(store, 1, 5, 20);
    image_take(&image, STORE);
    must_close(store);

    store = must_open(STORE);
    ts_store_recovery(store, &recovery);
    cr_expect(recovery.was_clean);
    cr_expect_eq(recovery.n_head_records, 5u);
    cr_expect_eq(ts_store_durable_no(store), 5u);
    must_close(store);

    image_put(&image, STORE);
    image_free(&image);
    store = must_open(STORE);
    ts_store_recovery(store, &recovery);
    cr_expect_not(recovery.was_clean);
    cr_expect_not(recovery.power_lost);
    cr_expect_eq(recovery.n_head_records, 5u);
    cr_expect(strstr(recovery.text, "recovered after a crash") != NULL, "%s", recovery.text);
    must_close(store);
}

Test(recover, reopening_many_times_changes_nothing)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_ZSTD, 1000);
    struct ts_store *store = must_create(STORE, &options);
    struct walk first, now;

    must_append_run(store, 1, 500, 50);
    wait_for_sealer(store);
    first = walk_view(ts_store_view(store), 0, false);
    must_close(store);
    for (int i = 0; i < 20; i++) {
        store = must_open(STORE);
        now = walk_view(ts_store_view(store), 0, false);
        cr_assert(now.n_records == first.n_records && now.first_no == first.first_no &&
                  !now.is_wrong);
        must_close(store);
    }
}

/* ---- kill between the steps of a seal ---- */

/* What sealing one block writes, in this order; a kill comes behind the first n of them. */
enum seal_step { NOTHING, TAIL_MOVED, HALF_AN_EXTENT, EXTENT, INDEX, SEALED, N_STEPS };

/* The files of a store with a block in slot `before` that image `after` has in the ring, as they
 * are when its sealing was cut off behind `step`. */
static void
image_of_step(struct image *out, const struct image *before, const struct image *after,
              enum seal_step step)
{
    const struct ts_meta *meta = (const void *)after->file[TS_FILE_META];
    const struct ts_meta *meta_before = (const void *)before->file[TS_FILE_META];
    struct ts_meta *meta_out;
    size_t n_changed = 0, n_copied = 0;

    for (int i = 0; i < TS_N_FILES; i++) {
        out->bytes[i] = before->bytes[i];
        out->file[i] = malloc(before->bytes[i]);
        memcpy(out->file[i], before->file[i], before->bytes[i]);
    }
    cr_assert_eq(ts_meta_sealed(meta), ts_meta_sealed(meta_before) + 1);
    meta_out = (void *)out->file[TS_FILE_META];
    if (step >= TAIL_MOVED)
        atomic_store(&meta_out->tail_seq, atomic_load(&meta->tail_seq));
    for (size_t i = 0; i < after->bytes[TS_FILE_DATA]; i++)
        n_changed += before->file[TS_FILE_DATA][i] != after->file[TS_FILE_DATA][i];
    for (size_t i = 0; i < after->bytes[TS_FILE_DATA] && step >= HALF_AN_EXTENT; i++) {
        if (before->file[TS_FILE_DATA][i] == after->file[TS_FILE_DATA][i])
            continue;
        if (step == HALF_AN_EXTENT && n_copied >= n_changed / 2)
            break;
        out->file[TS_FILE_DATA][i] = after->file[TS_FILE_DATA][i];
        n_copied++;
    }
    if (step >= INDEX)
        memcpy(out->file[TS_FILE_INDEX], after->file[TS_FILE_INDEX], after->bytes[TS_FILE_INDEX]);
    if (step >= SEALED)
        atomic_store(&meta_out->sealed_seq, atomic_load(&meta->sealed_seq));
}

/* Fills a ring and brings it to where one block is full; takes the files before and after that
 * block was sealed. Returns the number of the newest record. */
static uint64_t
images_of_a_seal(enum ts_codec codec, uint32_t num_blocks, struct image *before,
                 struct image *after)
{
    const struct ts_options options = small_options(num_blocks, 512, codec, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    struct image *image = before;
    uint64_t sealed_seq, id = 0;

    for (;;) {
        image_take(image, STORE);
        sealed_seq = store->ring.sealed_seq;
        id++;
        must_append(store, id, (int64_t)id, 30);
        wait_for_sealer(store);
        /* Only the record that closed the block differs besides the seal; it stays out. */
        if (id > 400 && store->ring.sealed_seq == sealed_seq + 1)
            break;
        image_free(image);
    }
    image_take(after, STORE);
    must_close(store);
    image_kill(before);
    image_kill(after);
    remove_tree(AT_FDCWD, file_path(STORE, ""));
    return id - 1;
}

static void
check_seal_steps(enum ts_codec codec, uint32_t num_blocks)
{
    struct image before, after, image;
    const uint64_t last_no = images_of_a_seal(codec, num_blocks, &before, &after);

    for (enum seal_step step = NOTHING; step < N_STEPS; step++) {
        struct ts_recovery recovery;
        struct ts_store *store;
        struct ts_state state;
        struct walk walk;

        image_of_step(&image, &before, &after, step);
        image_put(&image, STORE);
        image_free(&image);
        store = must_open(STORE);
        ts_store_recovery(store, &recovery);
        cr_expect_eq(recovery.n_damaged, 0, "step %d: %s", (int)step, recovery.text);
        for (int turn = 0; turn < 2; turn++) {
            walk = walk_view(ts_store_view(store), 0, false);
            ts_view_state(ts_store_view(store), &state);
            cr_expect_not(walk.is_wrong, "step %d", (int)step);
            cr_expect_eq(walk.n_damaged + walk.n_gap, 0, "step %d: %s", (int)step, walk.text);
            cr_expect_eq(walk.last_no, last_no + (turn == 0 ? 0 : 50), "step %d", (int)step);
            cr_expect_eq(walk.n_records, state.next_no - state.oldest_no, "step %d", (int)step);
            cr_expect_gt(walk.n_records, 3u, "step %d", (int)step);
            if (turn == 0)
                must_append_run(store, last_no + 1, last_no + 50, 30);
            wait_for_sealer(store);
        }
        must_close(store);
    }
    image_free(&before);
    image_free(&after);
    remove_tree(AT_FDCWD, file_path(STORE, ""));
}

Test(recover, a_kill_between_any_steps_of_a_seal_costs_nothing)
{
    check_seal_steps(TS_CODEC_NONE, 16);
    check_seal_steps(TS_CODEC_ZSTD, 16);
}

Test(recover, a_kill_in_a_ring_of_a_few_records_costs_nothing)
{
    check_seal_steps(TS_CODEC_NONE, 2);
}

Test(recover, a_kill_while_a_slot_is_opened_costs_nothing)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    struct image image;
    struct ts_slot *free_slot;
    struct walk walk;

    must_append_run(store, 1, 100, 30);
    wait_for_sealer(store);
    image_take(&image, STORE);
    free_slot =
        ts_head_slot(image.file[TS_FILE_HEAD], store->current ^ 1, store->view.geometry.open_bytes);
    must_close(store);
    image_kill(&image);

    /* seq 0; count 0; number; header without its checksum: each one more of them. */
    for (int step = 0; step < 4; step++) {
        if (step == 0)
            atomic_store(&free_slot->seq, 0);
        if (step == 1)
            atomic_store(&free_slot->count, 0);
        if (step == 2)
            atomic_store(&free_slot->first_no, 101);
        if (step == 3)
            free_slot->opened_seq += 2;
        image_put(&image, STORE);
        store = must_open(STORE);
        walk = walk_view(ts_store_view(store), 0, false);
        cr_expect(walk.last_no == 100 && !walk.is_wrong && walk.n_damaged == 0, "step %d", step);
        must_append_run(store, 101, 200, 30);
        walk = walk_view(ts_store_view(store), 0, false);
        cr_expect(walk.last_no == 200 && !walk.is_wrong && walk.n_damaged == 0, "step %d", step);
        must_close(store);
    }
    image_free(&image);
}

/* ---- damage in the open blocks ---- */

#define N_HEAD 12 /* records in the open block of what follows */

/* A store with N_HEAD records of 30 bytes in its first open block; as after a kill. */
static uint32_t
image_of_an_open_block(struct image *image, uint64_t *out_seed)
{
    const struct ts_options options = small_options(64, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    const uint32_t open_bytes = store->view.geometry.open_bytes;

    must_append_run(store, 1, N_HEAD, 30);
    cr_assert_eq(store->ring.sealed_seq, 0);
    *out_seed = store->ring.seed;
    image_take(image, STORE);
    must_close(store);
    image_kill(image);
    return open_bytes;
}

/* Every record but n_damaged is there, and the store goes on behind them. */
static void
check_damaged(uint64_t n_damaged, const char *what, unsigned detail)
{
    struct ts_store *store = must_open(STORE);
    struct ts_recovery recovery;
    struct walk walk;

    ts_store_recovery(store, &recovery);
    for (int turn = 0; turn < 3; turn++) {
        walk = walk_view(ts_store_view(store), 1, false);
        cr_expect_not(walk.is_wrong, "%s %u", what, detail);
        cr_expect_eq(walk.n_damaged, n_damaged, "%s %u: %ju damaged: %s", what, detail,
                     (uintmax_t)walk.n_damaged, walk.text);
        cr_expect_eq(walk.n_records, N_HEAD - n_damaged + (turn == 0 ? 0 : 100), "%s %u: %ju", what,
                     detail, (uintmax_t)walk.n_records);
        cr_expect(n_damaged == 0 || strstr(walk.text, "damaged") != NULL);
        if (turn == 0) /* seals the block */
            must_append_run(store, 1000, 1099, 30);
        if (turn == 1) {
            must_close(store);
            store = must_open(STORE);
        }
    }
    must_close(store);
}

Test(recover, a_bit_flip_in_a_record_of_an_open_block_costs_one_record)
{
    struct image image;
    uint64_t seed;
    const uint32_t open_bytes = image_of_an_open_block(&image, &seed);
    const struct ts_slot *slot = ts_head_slot(image.file[TS_FILE_HEAD], 0, open_bytes);

    for (uint32_t idx = 0; idx < N_HEAD; idx += 5) {
        const uint32_t off = ts_slot_record_off(slot, open_bytes, idx);
        /* Header without flags, then the body. */
        for (unsigned bit = 0; bit < (24 + 30) * 8; bit += 3) {
            if (bit / 8 >= 20 && bit / 8 < 24)
                continue;
            image_put(&image, STORE);
            file_flip(file_path(STORE, TS_HEAD_FILE), sizeof(struct ts_head) + off + bit / 8,
                      bit % 8);
            check_damaged(1, "bit", bit);
        }
    }
    image_free(&image);
}

Test(recover, a_bit_flip_in_the_array_or_the_words_of_an_open_block_costs_nothing)
{
    struct image image;
    uint64_t seed;
    const uint32_t open_bytes = image_of_an_open_block(&image, &seed);

    for (unsigned bit = 0; bit < N_HEAD * 32; bit += 5) {
        image_put(&image, STORE);
        file_flip(file_path(STORE, TS_HEAD_FILE),
                  sizeof(struct ts_head) + open_bytes - 4 * N_HEAD + bit / 8, bit % 8);
        check_damaged(0, "array bit", bit);
    }
    for (unsigned bit = 0; bit < sizeof(struct ts_slot) * 8; bit++) {
        if (bit / 8 >= offsetof(struct ts_slot, count) && bit / 8 < offsetof(struct ts_slot, flags))
            continue; /* below */
        image_put(&image, STORE);
        file_flip(file_path(STORE, TS_HEAD_FILE), sizeof(struct ts_head) + bit / 8, bit % 8);
        check_damaged(0, "slot bit", bit);
    }
    image_free(&image);
}

Test(recover, a_bit_flip_in_a_count_costs_no_record)
{
    struct image image;
    uint64_t seed;

    image_of_an_open_block(&image, &seed);
    for (unsigned bit = 0; bit < 32; bit++) {
        struct ts_store *store;
        struct walk walk;

        image_put(&image, STORE);
        file_flip(file_path(STORE, TS_HEAD_FILE),
                  sizeof(struct ts_head) + offsetof(struct ts_slot, count) + bit / 8, bit % 8);
        store = must_open(STORE);
        must_append_run(store, 1000, 1099, 30);
        walk = walk_view(ts_store_view(store), 1, false);
        /* Records that never were may be told as damaged: nothing says that they were not. */
        cr_expect(!walk.is_wrong && walk.n_records == N_HEAD + 100, "bit %u: %ju", bit,
                  (uintmax_t)walk.n_records);
        must_close(store);
    }
    image_free(&image);
}

Test(recover, a_count_beyond_what_fits_is_told_as_damage_and_its_numbers_are_over)
{
    const struct ts_options options = small_options(64, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    const uint32_t most = ts_slot_max_count(store->view.geometry.open_bytes);
    uint64_t n = 0;
    struct image image;

    while (ts_slot_has_room(&store->block[store->current], 30) || n == 0) {
        n++;
        must_append(store, n, (int64_t)n, 30);
    }
    image_take(&image, STORE);
    must_close(store);
    image_kill(&image);
    atomic_store(&ts_head_slot(image.file[TS_FILE_HEAD], 0, 2048)->count, most);
    image_put(&image, STORE);
    image_free(&image);
    store = must_open(STORE);
    for (int turn = 0; turn < 2; turn++) {
        struct walk walk = walk_view(ts_store_view(store), 1, turn);

        cr_expect(!walk.is_wrong && walk.n_records == n && walk.n_damaged == most - n,
                  "%ju records, %ju damaged", (uintmax_t)walk.n_records, (uintmax_t)walk.n_damaged);
        cr_expect(strstr(walk.text, "head.tsdb") != NULL, "%s", walk.text);
    }
    cr_expect_eq(must_append(store, 1000, 1000, 30), most + 1);
    must_close(store);
}

Test(recover, a_damaged_stretch_of_an_open_block_costs_what_lay_there)
{
    struct image image;
    uint64_t seed;
    const uint32_t open_bytes = image_of_an_open_block(&image, &seed);
    const struct ts_slot *slot = ts_head_slot(image.file[TS_FILE_HEAD], 0, open_bytes);

    for (uint32_t first = 0; first < N_HEAD; first++)
        for (uint32_t n = 1; first + n <= N_HEAD; n += 3) {
            const uint32_t from = ts_slot_record_off(slot, open_bytes, first);
            uint8_t rubbish[1024];

            memset(rubbish, 0xa5, sizeof rubbish);
            image_put(&image, STORE);
            file_patch(file_path(STORE, TS_HEAD_FILE), sizeof(struct ts_head) + from, rubbish,
                       n * (24 + 32));
            check_damaged(n, "stretch", first * 100 + n);
        }
    image_free(&image);
}

Test(recover, what_was_damaged_before_a_power_failure_hides_nothing_behind_it)
{
    struct image image;
    uint64_t seed;
    const uint32_t open_bytes = image_of_an_open_block(&image, &seed);
    const struct ts_slot *slot = ts_head_slot(image.file[TS_FILE_HEAD], 0, open_bytes);
    struct ts_store *store;
    struct walk walk;

    image_put(&image, STORE);
    file_flip(file_path(STORE, TS_HEAD_FILE),
              sizeof(struct ts_head) + ts_slot_record_off(slot, open_bytes, 4) + 30, 0);
    image_free(&image);
    store = must_open(STORE);
    must_append_run(store, 1000, 1003, 30);
    cr_assert_eq(ts_store_commit(store, N_HEAD + 4), TS_OK);
    image_take(&image, STORE); /* all of it is on the disk */
    must_close(store);
    image_lose_power(&image);
    image_put(&image, STORE);
    image_free(&image);
    store = must_open(STORE);
    walk = walk_view(ts_store_view(store), 1, false);
    cr_expect_eq(walk.n_records, N_HEAD - 1 + 4, "%ju", (uintmax_t)walk.n_records);
    cr_expect_eq(walk.n_damaged, 1);
    must_close(store);
}

Test(recover, both_open_blocks_are_found_whatever_is_damaged_in_the_older)
{
    const struct ts_options options = small_options(64, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    const uint32_t open_bytes = store->view.geometry.open_bytes;
    struct image first, both;
    uint64_t n_first, n = 0;

    /* Block 1 full in slot 0, block 2 begun in slot 1, and block 1 not in the ring: as if the
     * kill came before the sealer woke. */
    do {
        n++;
        must_append(store, n, (int64_t)n, 30);
    } while (store->current == 0);
    n_first = n - 1;
    must_append_run(store, n + 1, n + 3, 30);
    n += 3;
    wait_for_sealer(store);
    image_take(&both, STORE);
    must_close(store);
    memset(both.file[TS_FILE_DATA], 0, both.bytes[TS_FILE_DATA]);
    memset(both.file[TS_FILE_INDEX], 0, both.bytes[TS_FILE_INDEX]);
    ts_meta_publish_sealed((void *)both.file[TS_FILE_META], 0);
    image_kill(&both);

    for (unsigned bit = 0; bit < sizeof(struct ts_slot) * 8; bit++) {
        struct walk walk;

        image_put(&both, STORE);
        file_flip(file_path(STORE, TS_HEAD_FILE), sizeof(struct ts_head) + bit / 8, bit % 8);
        store = must_open(STORE);
        walk = walk_view(ts_store_view(store), 1, false);
        cr_expect(!walk.is_wrong && walk.n_damaged == 0 && walk.n_records == n,
                  "bit %u: %ju records, %ju damaged", bit, (uintmax_t)walk.n_records,
                  (uintmax_t)walk.n_damaged);
        must_close(store);
    }
    /* Its newest record, of which nothing but the next block's number tells that it was there. */
    image_take(&first, STORE);
    image_free(&first);
    image_put(&both, STORE);
    {
        const uint32_t off =
            ts_slot_record_off(ts_head_slot(both.file[TS_FILE_HEAD], 0, open_bytes), open_bytes,
                               (uint32_t)n_first - 1);
        struct walk walk;

        file_flip(file_path(STORE, TS_HEAD_FILE), sizeof(struct ts_head) + off + 26, 3);
        file_flip(file_path(STORE, TS_HEAD_FILE),
                  sizeof(struct ts_head) + offsetof(struct ts_slot, count), 1);
        store = must_open(STORE);
        walk = walk_view(ts_store_view(store), 1, false);
        cr_expect(!walk.is_wrong && walk.n_damaged == 1 && walk.n_records == n - 1,
                  "%ju records, %ju damaged", (uintmax_t)walk.n_records, (uintmax_t)walk.n_damaged);
        must_close(store);
    }
    image_free(&both);
}

/* ---- numbers and trust ---- */

Test(recover, a_boot_without_a_number_is_never_taken_for_the_same_boot)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, 1000);
    struct ts_store *store = must_create(STORE, &options);
    struct ts_recovery recovery;
    struct image image;
    struct ts_head *head;

    must_append_run(store, 1, 3, 10);
    image_take(&image, STORE);
    must_close(store);
    image_kill(&image);
    head = (void *)image.file[TS_FILE_HEAD];
    for (int i = 0; i < 2; i++) {
        struct ts_sync_point *point = &head->sync_points[i];

        memset(point->boot_id, 0, sizeof point->boot_id);
        point->checksum = (uint32_t)ts_checksum(point, offsetof(struct ts_sync_point, checksum),
                                                ts_seed(head->store_id, 0));
    }
    image_put(&image, STORE);
    image_free(&image);
    store = must_open(STORE);
    ts_store_recovery(store, &recovery);
    cr_expect(recovery.power_lost);
    must_close(store);
}

Test(recover, neither_sync_point_says_clean_while_the_store_is_open)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, 1000);
    struct ts_store *store = must_create(STORE, &options);

    must_close(store);
    store = must_open(STORE);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(ts_view_head(&store->view)->sync_points[i].is_clean, 0u);
    must_close(store);
}

Test(recover, a_store_whose_words_are_damaged_is_rebuilt_from_its_index)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, 1000);
    struct ts_store *store = must_create(STORE, &options);
    struct ts_recovery recovery;
    struct walk want, walk;
    struct image image;

    must_append_run(store, 1, 1000, 30);
    wait_for_sealer(store);
    want = walk_view(ts_store_view(store), 0, false);
    must_close(store);
    image_take(&image, STORE);
    for (size_t off = offsetof(struct ts_meta, generation); off < sizeof(struct ts_meta); off++) {
        image_put(&image, STORE);
        file_flip(file_path(STORE, TS_META_FILE), off, 4);
        store = must_open(STORE);
        ts_store_recovery(store, &recovery);
        walk = walk_view(ts_store_view(store), 0, false);
        cr_expect(!walk.is_wrong && walk.n_damaged == 0 && walk.n_records == want.n_records &&
                      walk.first_no == want.first_no && walk.last_no == want.last_no,
                  "offset %zu: %ju to %ju", off, (uintmax_t)walk.first_no, (uintmax_t)walk.last_no);
        must_close(store);
    }
    image_free(&image);
}
