/* create.c - a store is made whole or not at all; lists of stores. */
#include "tests/unit/store_scratch.h"

#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

TestSuite(create, .init = scratch_start, .fini = scratch_end, .timeout = 60);

static off_t
file_bytes(const char *store, const char *file)
{
    struct stat st;

    cr_assert_eq(stat(file_path(store, file), &st), 0, "%s", file);
    cr_assert_leq((uint64_t)st.st_size, (uint64_t)st.st_blocks * 512 + 4096,
                  "%s has holes: a full disk could fail an append", file);
    return st.st_size;
}

static const struct {
    uint32_t num_blocks, block_bytes, index_bytes;
    enum ts_codec codec;
} geometries[] = {
    {1, 64, 64, TS_CODEC_NONE},        {1, 64, 4096, TS_CODEC_ZSTD},
    {3, 128, 64, TS_CODEC_NONE},       {7, 1024, 256, TS_CODEC_ZSTD},
    {1000, 64, 64, TS_CODEC_NONE},     {1, 1 << 20, 64, TS_CODEC_ZSTD},
    {1024, 4096, 4096, TS_CODEC_ZSTD},
};

Test(create, every_legal_geometry_makes_files_of_a_size_that_never_changes)
{
    for (size_t i = 0; i < COUNTOF(geometries); i++) {
        struct ts_options options = small_options(
            geometries[i].num_blocks, geometries[i].block_bytes, geometries[i].codec, 1);
        struct ts_geometry g;
        struct ts_store *store;
        struct ts_stats stats;
        uint64_t id = 0;

        options.index_block_bytes = geometries[i].index_bytes;
        cr_assert_eq(ts_geometry_of(&options, &g), TS_OK);
        store = must_create(STORE, &options);
        for (int turn = 0; turn < 3; turn++) {
            cr_expect_eq(file_bytes(STORE, TS_META_FILE), 64);
            cr_expect_eq((uint64_t)file_bytes(STORE, TS_DATA_FILE), g.ring_bytes);
            cr_expect_eq((uint64_t)file_bytes(STORE, TS_HEAD_FILE), g.head_bytes);
            cr_expect_eq((uint64_t)file_bytes(STORE, TS_INDEX_FILE), g.index_bytes);
            for (int n = 0; n < 500; n++)
                id++, must_append(store, id, (int64_t)id, id % (g.max_record_bytes + 1) % 300);
            must_append(store, id + 1, (int64_t)id + 1, (size_t)g.max_record_bytes);
            id++;
            cr_assert_eq(ts_view_stats(ts_store_view(store), &stats), TS_OK);
            cr_expect_eq(stats.file_bytes, 64 + g.ring_bytes + g.head_bytes + g.index_bytes);
            must_close(store);
            store = must_open(STORE);
            cr_expect_not(walk_view(ts_store_view(store), 0, false).is_wrong);
        }
        must_close(store);
        remove_tree(AT_FDCWD, file_path(STORE, ""));
    }
}

Test(create, bad_names_and_options_leave_nothing)
{
    const struct ts_options good = small_options(1, 64, TS_CODEC_NONE, 1);
    struct ts_options bad = good;

    cr_expect_eq(ts_store_create(scratch, "", &good), TS_E_NAME);
    cr_expect_eq(ts_store_create(scratch, "../x", &good), TS_E_NAME);
    cr_expect_eq(ts_store_create(scratch, ".x", &good), TS_E_NAME);
    bad.num_blocks = 0;
    cr_expect_eq(ts_store_create(scratch, STORE, &bad), TS_E_CONFIG);
    bad = good;
    bad.data_block_bytes = 100;
    cr_expect_eq(ts_store_create(scratch, STORE, &bad), TS_E_CONFIG);
    cr_expect_eq(ts_store_create("/nonexistent/directory", STORE, &good), TS_E_IO);
    cr_expect_eq(scratch_count(), 0);
}

Test(create, what_is_there_is_never_replaced)
{
    const struct ts_options options = small_options(1, 64, TS_CODEC_NONE, 1);

    cr_assert_eq(ts_store_create(scratch, STORE, &options), TS_OK);
    cr_expect_eq(ts_store_create(scratch, STORE, &options), TS_E_EXISTS);
    cr_assert_eq(mkdir(file_path("dir", ""), 0755), 0);
    cr_expect_eq(ts_store_create(scratch, "dir", &options), TS_E_EXISTS);
    cr_assert_eq(symlink("nowhere", file_path("link", "") /* a/ */), -1);
    file_save(file_path(".", "file"), (const uint8_t *)"x", 1);
    cr_expect_eq(ts_store_create(scratch, "file", &options), TS_E_EXISTS);
    cr_expect_eq(scratch_count(), 3);
}

Test(create, two_stores_have_different_seeds)
{
    const struct ts_options options = small_options(1, 64, TS_CODEC_NONE, 1);
    struct ts_view *a, *b;

    cr_assert_eq(ts_store_create(scratch, "a", &options), TS_OK);
    cr_assert_eq(ts_store_create(scratch, "b", &options), TS_OK);
    a = must_view("a");
    b = must_view("b");
    cr_expect_neq(a->store_id, b->store_id);
    ts_view_close(a);
    ts_view_close(b);
}

Test(create, a_file_size_limit_fails_it_and_leaves_nothing)
{
    const struct ts_options options = small_options(1024, 4096, TS_CODEC_NONE, 1);
    static const rlim_t limits[] = {0, 63, 100, 4096, 100000, 4194303};

    signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < COUNTOF(limits); i++) {
        struct rlimit old, limit;
        enum ts_err err;

        getrlimit(RLIMIT_FSIZE, &old);
        limit = (struct rlimit){limits[i], old.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
        err = ts_store_create(scratch, STORE, &options);
        setrlimit(RLIMIT_FSIZE, &old);
        cr_expect_neq(err, TS_OK);
        cr_expect(strstr(ts_error_text(), "data.tsdb") != NULL, "%s", ts_error_text());
        cr_expect_eq(scratch_count(), 0, "limit %ju", (uintmax_t)limits[i]);
    }
    cr_expect_eq(ts_store_create(scratch, STORE, &options), TS_OK);
}

/* Needs a file system of its own; where that is not allowed the child says so and is believed. */
static int
fill_a_disk(void)
{
    const struct ts_options options = small_options(1024, 4096, TS_CODEC_NONE, 1);
    const struct ts_options fits = small_options(16, 4096, TS_CODEC_NONE, 1);
    struct ts_store *store = NULL;
    uint8_t bytes[3000];
    enum ts_err err;
    int fd;

    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", scratch, "tmpfs", 0, "size=2m") != 0)
        return 0;
    err = ts_store_create(scratch, STORE, &options);
    /* Told before anything was reserved, which would have left nothing to others for a while. */
    if (err != TS_E_FULL ||
        strstr(ts_error_text(), "No space left on device: the store takes ") == NULL)
        return 1;
    if (scratch_count() != 0)
        return 2;
    /* A store that was made needs no space any more: the disk fills up, and appends go on. */
    if (ts_store_create(scratch, STORE, &fits) != TS_OK ||
        ts_store_open(scratch, STORE, &store) != TS_OK)
        return 3;
    fd = open(file_path(".", "rubbish"), O_WRONLY | O_CREAT, 0644);
    memset(bytes, 'x', sizeof bytes);
    while (write(fd, bytes, sizeof bytes) > 0)
        ;
    close(fd);
    for (int64_t i = 1; i <= 2000; i++)
        if (ts_store_append(store, i, bytes, (size_t)i % sizeof bytes, NULL) != TS_OK)
            return 4;
    if (ts_store_commit(store, 2000) != TS_OK || ts_store_close(store) != TS_OK)
        return 5;
    return 0;
}

Test(create, a_full_disk_fails_a_creation_and_nothing_else)
{
    const pid_t child = fork();
    int status;

    if (child == 0)
        _exit(fill_a_disk());
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}

Test(create, sweeping_removes_what_a_killed_creation_left_and_nothing_else)
{
    const struct ts_options options = small_options(1, 64, TS_CODEC_NONE, 1);
    int fd;

    cr_assert_eq(ts_store_create(scratch, STORE, &options), TS_OK);
    cr_assert_eq(mkdir(file_path(".creating.x.1", ""), 0755), 0);
    file_save(file_path(".creating.x.1", TS_DATA_FILE), (const uint8_t *)"x", 1);
    cr_assert_eq(mkdir(file_path(".creating.busy.2", ""), 0755), 0);
    cr_assert_eq(mkdir(file_path(".other", ""), 0755), 0);
    fd = open(file_path(".creating.busy.2", ""), O_RDONLY);
    cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0); /* as one that is going on */
    ts_store_sweep(scratch);
    cr_expect_eq(scratch_count(), 3);
    close(fd);
    ts_store_sweep(scratch);
    cr_expect_eq(scratch_count(), 2);
    ts_store_sweep("/nonexistent/directory");
    must_close(must_open(STORE));
}

Test(create, lists_are_sorted_and_hold_stores_only)
{
    const struct ts_options options = small_options(1, 64, TS_CODEC_NONE, 1);
    static const char *const names[] = {"b", "a", "Z", "a.b", "_"};
    static const char *const sorted[] = {"Z", "_", "a", "a.b", "b"};
    char **list = NULL;
    size_t n = 99;

    cr_assert_eq(ts_store_list(scratch, &list, &n), TS_OK);
    cr_expect(n == 0 && list[0] == NULL);
    free(list);
    for (size_t i = 0; i < COUNTOF(names); i++)
        cr_assert_eq(ts_store_create(scratch, names[i], &options), TS_OK);
    cr_assert_eq(mkdir(file_path("no-store", ""), 0755), 0);
    file_save(file_path(".", "file"), (const uint8_t *)"x", 1);
    cr_assert_eq(ts_store_list(scratch, &list, &n), TS_OK);
    cr_assert_eq(n, COUNTOF(sorted));
    for (size_t i = 0; i < n; i++)
        cr_expect_str_eq(list[i], sorted[i]);
    cr_expect_null(list[n]);
    free(list);
    list = NULL;
    cr_expect_eq(ts_store_list("/nonexistent/directory", &list, &n), TS_E_IO);
    cr_expect_null(list);
}
