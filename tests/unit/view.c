/* view.c - opening for reading: damaged, foreign, truncated and replaced files; numbers of a look.
 */
#include "tests/unit/store_scratch.h"

TestSuite(view, .init = scratch_start, .fini = scratch_end, .timeout = 120);

/* A closed store with blocks in the ring and records in an open block. */
static struct walk
make_store(const char *name, struct image *image)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(name, &options);
    struct walk walk;

    must_append_run(store, 1, 300, 30);
    wait_for_sealer(store);
    walk = walk_view(ts_store_view(store), 0, false);
    cr_assert(walk.n_records > 50 && walk.first_no > 1 && walk.last_no == 300 && !walk.is_wrong);
    must_close(store);
    image_take(image, name);
    return walk;
}

static bool
text_names_a_place(const char *text, const char *file)
{
    return strstr(text, file) != NULL && strstr(text, "offset ") != NULL;
}

/* Opens for reading and for writing what is in the scratch directory: the truth, or an error that
 * names the file. `max_damaged`: records that may be told as damaged; `may_hide`: and that may be
 * missing at the new end without a word, for a reader. */
static void
check_flip(const char *file, size_t off, unsigned bit, const struct walk *want,
           uint64_t max_damaged, bool may_hide)
{
    struct ts_view *view = NULL;
    struct ts_store *store = NULL;
    enum ts_err err = ts_view_open(scratch, STORE, &view);

    if (err == TS_OK) {
        for (int backward = 0; backward < 2; backward++) {
            const struct walk walk = walk_view(view, 0, backward);

            cr_expect_not(walk.is_wrong || walk.is_truncated, "%s %zu.%u", file, off, bit);
            cr_expect_leq(walk.n_damaged, max_damaged, "%s %zu.%u: %ju damaged: %s", file, off, bit,
                          (uintmax_t)walk.n_damaged, walk.text);
            cr_expect(may_hide || walk.n_records + walk.n_damaged >= want->n_records,
                      "%s %zu.%u: %ju records of %ju", file, off, bit, (uintmax_t)walk.n_records,
                      (uintmax_t)want->n_records);
            cr_expect(walk.n_damaged == 0 || strstr(walk.text, ".tsdb") != NULL, "%s", walk.text);
        }
    } else {
        cr_expect(err == TS_E_CORRUPT || err == TS_E_VERSION, "%s %zu.%u", file, off, bit);
        cr_expect(text_names_a_place(ts_error_text(), file), "%s %zu.%u: %s", file, off, bit,
                  ts_error_text());
    }
    ts_view_close(view);

    err = ts_store_open(scratch, STORE, &store);
    if (err == TS_OK) {
        const struct walk walk = walk_view(ts_store_view(store), 0, false);

        cr_expect_not(walk.is_wrong || walk.is_truncated, "%s %zu.%u", file, off, bit);
        cr_expect_geq(walk.n_records + max_damaged, want->n_records, "%s %zu.%u: %ju of %ju", file,
                      off, bit, (uintmax_t)walk.n_records, (uintmax_t)want->n_records);
        must_append(store, 100000, 100000, 30);
        must_close(store);
    } else {
        cr_expect(err == TS_E_CORRUPT || err == TS_E_VERSION, "%s %zu.%u", file, off, bit);
        cr_expect(text_names_a_place(ts_error_text(), file), "%s %zu.%u: %s", file, off, bit,
                  ts_error_text());
    }
}

static void
check_flips(enum ts_file file, size_t from, size_t to, unsigned every, uint64_t max_damaged,
            bool may_hide)
{
    struct image image;
    const struct walk want = make_store(STORE, &image);

    for (size_t bit = from * 8; bit < to * 8; bit += every) {
        image_put(&image, STORE);
        file_flip(file_path(STORE, ts_file_names[file]), bit / 8, bit % 8);
        check_flip(ts_file_names[file], bit / 8, bit % 8, &want, max_damaged, may_hide);
    }
    image_free(&image);
}

Test(view, every_flipped_bit_of_the_meta_file_gives_the_truth_or_an_error)
{
    check_flips(TS_FILE_META, 0, sizeof(struct ts_meta), 1, 0, false);
}

Test(view, every_flipped_bit_of_the_head_files_header_gives_the_truth_or_an_error)
{
    check_flips(TS_FILE_HEAD, 0, 256, 1, 0, false);
}

Test(view, flipped_bits_in_the_rest_of_the_head_files_header_change_nothing)
{
    check_flips(TS_FILE_HEAD, 256, sizeof(struct ts_head), 7, 0, false);
}

Test(view, every_flipped_bit_of_the_open_blocks_headers_gives_the_truth_or_an_error)
{
    const size_t slot0 = sizeof(struct ts_head), slot1 = slot0 + 512;
    const size_t count = offsetof(struct ts_slot, count);

    check_flips(TS_FILE_HEAD, slot0, slot0 + count, 1, 0, false);
    remove_tree(AT_FDCWD, file_path(STORE, ""));
    check_flips(TS_FILE_HEAD, slot0 + count + 4, slot0 + sizeof(struct ts_slot), 1, 0, false);
    remove_tree(AT_FDCWD, file_path(STORE, ""));
    check_flips(TS_FILE_HEAD, slot1, slot1 + count, 1, 0, false);
    remove_tree(AT_FDCWD, file_path(STORE, ""));
    check_flips(TS_FILE_HEAD, slot1 + count + 4, slot1 + sizeof(struct ts_slot), 1, 0, false);
}

Test(view, a_flipped_bit_of_a_count_hides_at_most_what_a_writer_finds_again)
{
    const size_t slot0 = sizeof(struct ts_head), slot1 = slot0 + 512;
    const size_t count = offsetof(struct ts_slot, count);

    check_flips(TS_FILE_HEAD, slot0 + count, slot0 + count + 4, 1, 32, true);
    remove_tree(AT_FDCWD, file_path(STORE, ""));
    check_flips(TS_FILE_HEAD, slot1 + count, slot1 + count + 4, 1, 32, true);
}

/* Blocks of this store hold six records. */
Test(view, a_flipped_bit_in_the_index_costs_at_most_one_block)
{
    check_flips(TS_FILE_INDEX, 0, 64 * 64, 13, 7, false);
}

Test(view, a_flipped_bit_in_the_ring_costs_at_most_one_block)
{
    struct image image;
    const struct walk want = make_store(STORE, &image);

    for (size_t bit = 0; bit < image.bytes[TS_FILE_DATA] * 8; bit += 29) {
        image_put(&image, STORE);
        file_flip(file_path(STORE, TS_DATA_FILE), bit / 8, bit % 8);
        /* Delete maps are in no checksum: a bit there is a deleted record. */
        check_flip(TS_DATA_FILE, bit / 8, bit % 8, &want, 7, true);
    }
    image_free(&image);
}

Test(view, damage_in_a_block_names_file_and_offset)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_ZSTD, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    struct ts_index_entry entry;
    struct ts_view *view;
    struct walk walk;
    char want[64];

    must_append_run(store, 1, 300, 30);
    wait_for_sealer(store);
    cr_assert(
        ts_index_read(&store->ring.index, store->ring.sealed_seq - 2, store->ring.seed, &entry));
    must_close(store);
    view = must_view(STORE);

    file_flip(file_path(STORE, TS_DATA_FILE), (size_t)(entry.ring_pos + 40) % 8192, 3);
    walk = walk_view(view, 0, false);
    cr_expect_eq(walk.n_damaged, entry.count, "%ju", (uintmax_t)walk.n_damaged);
    snprintf(want, sizeof want, "data.tsdb: damaged at offset %ju",
             (uintmax_t)entry.ring_pos % 8192);
    cr_expect(strstr(walk.text, want) != NULL, "%s, not %s", walk.text, want);

    file_flip(file_path(STORE, TS_INDEX_FILE), (size_t)ts_index_off(&view->index, entry.seq) + 8,
              0);
    walk = walk_view(view, 0, true);
    cr_expect_eq(walk.n_damaged, entry.count, "%ju", (uintmax_t)walk.n_damaged);
    snprintf(want, sizeof want, "index.tsdb: damaged at offset %ju",
             (uintmax_t)ts_index_off(&view->index, entry.seq));
    cr_expect(strstr(walk.text, want) != NULL, "%s, not %s", walk.text, want);
    ts_view_close(view);
}

Test(view, damage_of_the_oldest_entry_is_told_and_not_passed_over)
{
    struct image image;
    const struct walk want = make_store(STORE, &image);
    struct ts_view *view = must_view(STORE);
    struct ts_snapshot s;
    struct walk walk;

    ts_view_snapshot(view, &s);
    file_flip(file_path(STORE, TS_INDEX_FILE), (size_t)ts_index_off(&view->index, s.tail_seq) + 8,
              0);
    walk = walk_view(view, 0, false);
    cr_expect(walk.n_damaged > 0 && walk.n_damaged + walk.n_records == want.n_records,
              "%ju damaged, %ju records of %ju", (uintmax_t)walk.n_damaged,
              (uintmax_t)walk.n_records, (uintmax_t)want.n_records);
    ts_view_close(view);
    image_free(&image);
}

static const struct {
    const char *label;
    enum { TRUNCATE, EXTEND, EMPTY, ZERO, FOREIGN, REMOVE, DIRECTORY } what;
} harms[] = {
    {"one byte short", TRUNCATE}, {"one byte long", EXTEND},    {"empty", EMPTY},
    {"all zeros", ZERO},          {"another store's", FOREIGN}, {"not there", REMOVE},
    {"a directory", DIRECTORY},
};

static void
do_harm(int what, const char *path, const char *foreign)
{
    size_t n, n_foreign;
    uint8_t *bytes = file_load(path, &n);
    uint8_t *other = file_load(foreign, &n_foreign);

    switch (what) {
    case TRUNCATE:
        cr_assert_eq(truncate(path, (off_t)n - 1), 0);
        break;
    case EXTEND:
        cr_assert_eq(truncate(path, (off_t)n + 1), 0);
        break;
    case EMPTY:
        cr_assert_eq(truncate(path, 0), 0);
        break;
    case ZERO:
        memset(bytes, 0, n);
        file_save(path, bytes, n);
        break;
    case FOREIGN:
        file_save(path, other, n_foreign);
        break;
    case REMOVE:
        unlink(path);
        break;
    default:
        unlink(path);
        mkdir(path, 0755);
        break;
    }
    free(bytes);
    free(other);
}

Test(view, files_that_were_truncated_emptied_or_swapped_are_refused_or_told_as_damage)
{
    struct image image, other;
    const struct walk want = make_store(STORE, &image);

    make_store("other", &other);
    for (int file = 0; file < TS_N_FILES; file++) {
        for (size_t i = 0; i < COUNTOF(harms); i++) {
            const char *name = ts_file_names[file];
            const char *path = file_path(STORE, name);
            struct ts_view *view = NULL;
            struct ts_store *store = NULL;
            enum ts_err err;

            image_put(&image, STORE);
            do_harm(harms[i].what, path, file_path("other", name));
            err = ts_view_open(scratch, STORE, &view);
            if (err == TS_OK) {
                /* Ring and index have no header; their checksums have the store's seed. */
                const struct walk walk = walk_view(view, 0, false);

                cr_expect(file == TS_FILE_DATA || file == TS_FILE_INDEX, "%s %s", name,
                          harms[i].label);
                cr_expect_not(walk.is_wrong || walk.is_truncated, "%s %s", name, harms[i].label);
                cr_expect_lt(walk.n_records, want.n_records, "%s %s", name, harms[i].label);
                cr_expect_gt(walk.n_damaged + walk.n_gap + (file == TS_FILE_INDEX), 0u, "%s %s",
                             name, harms[i].label);
            } else if (file == TS_FILE_META && harms[i].what == REMOVE) {
                cr_expect_eq(err, TS_E_NOT_FOUND, "%s", ts_error_text());
            } else {
                cr_expect(err == TS_E_CORRUPT || err == TS_E_IO, "%s %s: %d", name, harms[i].label,
                          (int)err);
                cr_expect(strstr(ts_error_text(), ".tsdb") != NULL, "%s %s: %s", name,
                          harms[i].label, ts_error_text());
            }
            err = ts_store_open(scratch, STORE, &store);
            if (err == TS_OK) {
                cr_expect(file == TS_FILE_DATA || file == TS_FILE_INDEX, "%s %s", name,
                          harms[i].label);
                must_append(store, 100000, 100000, 30);
                cr_expect_not(walk_view(ts_store_view(store), 0, false).is_wrong);
                must_close(store);
            }
            ts_view_close(view);
            rmdir(path);
        }
    }
    image_free(&image);
    image_free(&other);
}

Test(view, names_that_leave_the_data_directory_are_refused)
{
    static const char *const names[] = {"", ".", "..", "a/b", "/etc", "../x"};
    struct ts_view *view = NULL;

    for (size_t i = 0; i < COUNTOF(names); i++)
        cr_expect_eq(ts_view_open(scratch, names[i], &view), TS_E_NAME, "'%s'", names[i]);
    cr_expect_eq(ts_view_open(scratch, "none", &view), TS_E_NOT_FOUND);
    cr_assert_eq(mkdir(file_path("empty", ""), 0755), 0);
    cr_expect_eq(ts_view_open(scratch, "empty", &view), TS_E_NOT_FOUND);
    cr_expect_null(view);
}

Test(view, a_dropped_store_is_stale_and_its_cursors_are_told)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    const struct ts_range follow = {.follow = true};
    struct ts_store *store = must_create(STORE, &options);
    struct ts_view *view = must_view(STORE), *again = NULL;
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    struct ts_stats stats;

    must_append_run(store, 1, 20, 30);
    cr_assert_eq(ts_cursor_open(view, &follow, &cursor), TS_OK);
    cr_expect_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_RECORD);
    cr_expect_not(ts_view_is_stale(view));
    cr_assert_eq(ts_store_drop(store), TS_OK, "%s", ts_error_text());
    cr_expect(ts_view_is_stale(view));
    cr_expect_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_GONE);
    cr_expect_eq(ts_view_stats(view, &stats), TS_E_NOT_FOUND);
    cr_expect_eq(ts_view_open(scratch, STORE, &again), TS_E_NOT_FOUND);
    ts_cursor_close(cursor);
    ts_view_close(view);
    cr_expect_eq(scratch_count(), 0);
}

Test(view, a_store_whose_directory_was_removed_or_replaced_is_stale)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_view *view, *other;

    must_close(must_create(STORE, &options));
    must_close(must_create("other", &options));
    view = must_view(STORE);
    other = must_view("other");
    cr_expect_not(ts_view_is_stale(view) || ts_view_is_stale(other));
    remove_tree(AT_FDCWD, file_path(STORE, ""));
    cr_expect(ts_view_is_stale(view));
    cr_expect_not(ts_view_is_stale(other));
    must_close(must_create(STORE, &options));
    cr_expect(ts_view_is_stale(view));
    {
        char from[256], to[256];

        snprintf(from, sizeof from, "%s/other", scratch);
        snprintf(to, sizeof to, "%s/old", scratch);
        cr_assert_eq(rename(from, to), 0);
    }
    must_close(must_create("other", &options));
    cr_expect(ts_view_is_stale(other));
    ts_view_close(view);
    ts_view_close(other);
}

Test(view, a_word_that_is_damaged_while_mapped_ends_its_cursors_and_makes_it_stale)
{
    struct image image;

    make_store(STORE, &image);
    for (size_t off = offsetof(struct ts_meta, generation); off < sizeof(struct ts_meta); off++) {
        const struct ts_range all = {0};
        struct ts_view *view = must_view(STORE), *again = NULL;
        struct ts_cursor *cursor;
        struct ts_record record;
        struct ts_gap gap;
        enum ts_step step;
        unsigned n = 0;

        cr_assert_eq(ts_cursor_open(view, &all, &cursor), TS_OK);
        cr_expect_eq(ts_cursor_next(cursor, &record, &gap), TS_STEP_RECORD);
        file_flip(file_path(STORE, TS_META_FILE), off, 6);
        cr_expect(ts_view_is_stale(view), "offset %zu", off);
        while ((step = ts_cursor_next(cursor, &record, &gap)) == TS_STEP_RECORD && n < 1000)
            n++; /* of the block that was copied */
        cr_expect(step == TS_STEP_GONE, "offset %zu: %d", off, (int)step);
        cr_expect_eq(ts_view_open(scratch, STORE, &again), TS_E_CORRUPT);
        cr_expect(text_names_a_place(ts_error_text(), "meta.tsdb"), "%s", ts_error_text());
        file_flip(file_path(STORE, TS_META_FILE), off, 6);
        ts_cursor_close(cursor);
        ts_view_close(view);
    }
    image_free(&image);
}

Test(view, stats_tell_what_is_there)
{
    const struct ts_options options = small_options(16, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    struct ts_view *view = must_view(STORE);
    struct ts_stats stats;
    const uint32_t count = ts_view_publish_count(view);

    cr_assert_eq(ts_view_stats(view, &stats), TS_OK);
    cr_expect(!stats.has_records && stats.n_records == 0 && stats.state.next_no == 1 &&
              stats.state.oldest_no == 1 && stats.ring_used_bytes == 0 &&
              stats.ring_bytes == 8192 && stats.active_blocks == 1);
    must_append_run(store, 1, 300, 30);
    wait_for_sealer(store);
    cr_expect_neq(ts_view_publish_count(view), count);
    cr_assert_eq(ts_view_stats(view, &stats), TS_OK);
    cr_expect_eq(stats.state.next_no, 301u);
    cr_expect_eq(stats.newest_time_ns, 300);
    cr_expect_eq(stats.oldest_time_ns, (int64_t)stats.state.oldest_no);
    cr_expect_eq(stats.n_records, 301 - stats.state.oldest_no);
    cr_expect(stats.ring_used_bytes <= 8192 && stats.ring_used_bytes > 7000);
    cr_expect_eq(stats.durable_no, 0u);
    cr_assert_eq(ts_store_commit(store, 300), TS_OK);
    cr_assert_eq(ts_view_stats(view, &stats), TS_OK);
    cr_expect_eq(stats.durable_no, 300u);
    cr_expect_str_eq(ts_view_name(view), STORE);
    cr_expect_eq(memcmp(ts_view_options(view), &options, sizeof options), 0);
    must_close(store);
    ts_view_close(view);
}

Test(view, numbers_that_a_power_failure_skipped_are_not_counted_as_records)
{
    const struct ts_options options = small_options(64, 512, TS_CODEC_NONE, TS_SYNC_NONE);
    struct ts_store *store = must_create(STORE, &options);
    struct ts_stats stats;
    struct image image;
    uint64_t want = 0;

    for (int turn = 0; turn < 4; turn++) {
        struct walk walk;

        must_append_run(store, (uint64_t)turn * 1000 + 1, (uint64_t)turn * 1000 + 40, 30);
        want += 40;
        wait_for_sealer(store);
        cr_assert_eq(ts_view_stats(ts_store_view(store), &stats), TS_OK);
        cr_expect_eq(stats.n_records, want, "%ju, not %ju", (uintmax_t)stats.n_records,
                     (uintmax_t)want);
        walk = walk_view(ts_store_view(store), 0, false);
        cr_expect_eq(walk.n_records, want);
        cr_expect_eq(walk.n_damaged + walk.n_gap, 0, "%s", walk.text);
        image_take(&image, STORE);
        must_close(store);
        image_lose_power(&image);
        image_put(&image, STORE);
        image_free(&image);
        store = must_open(STORE);
        cr_assert_eq(ts_view_stats(ts_store_view(store), &stats), TS_OK);
        cr_expect_eq(stats.n_records, want, "%ju, not %ju", (uintmax_t)stats.n_records,
                     (uintmax_t)want);
        cr_expect_eq(stats.state.next_no, (uint64_t)(turn + 1) << 32);
    }
    must_close(store);
}
