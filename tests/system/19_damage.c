/* 19_damage.c - a damaged file is told by name and place, and hurts nobody else. */
#include "tests/system/harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct store bad, good;

static void
start(void)
{
    site_start();
    bad = store_create("{\"name\":\"bad\",\"num_blocks\":64,\"data_block_size\":256,"
                       "\"index_block_size\":64}");
    good = store_create("{\"name\":\"good\",\"num_blocks\":64,\"data_block_size\":256,"
                        "\"index_block_size\":64}");
    /* Contents that do not compress, so that blocks are sealed into the ring. */
    for (int64_t t = 1; t <= 100; t++)
        put_ok(&bad, t,
               text("{\"t\":%jd,\"h\":\"%016llx%016llx\"}", (intmax_t)t,
                    (unsigned long long)t * 0x9E3779B97F4A7C15u,
                    (unsigned long long)t * 0xC2B2AE3D27D4EB4Fu));
    put_run(&good, 1, 20, "{\"a\":1}");
}

TestSuite(damage, .init = start, .fini = site_stop);

static void
stop_both(void)
{
    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
}

/* When a store's files went away under its writer, closing it fails, and the writer says so. */
static void
stop_damaged(void)
{
    int status;

    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    status = process_stop(&site.ingestd, PATIENCE_MS);
    cr_assert(status == 0 || status == 1, "ingestd ended with status %d", status);
    cr_assert(status == 0 || process_said(&site.ingestd, "tsdb"), "status 1 without a word");
}

static void
start_both(void)
{
    ingestd_start();
    queryd_start(0);
}

static void
expect_good_works(const char *why)
{
    static int64_t next = 21;

    cr_assert(process_is_alive(&site.ingestd), "%s: ingestd died", why);
    cr_assert(process_is_alive(&site.queryd[0]), "%s: queryd died", why);
    cr_expect_eq(put(&good, next, "{\"a\":1}").status, 201, "%s", why);
    cr_expect_str_eq(list_all(&good), run_of(1, next), "%s", why);
    next++;
}

/* Whatever a list of the damaged store shows is what was written. */
static void
expect_no_lies(const char *why)
{
    struct answer answer = store_get(&bad, "/data/oldest?limit=1000");
    json_t *objects = json_object_get(answer.json, "objects"), *object;
    int64_t before = 0;
    size_t i;

    cr_expect(answer.status == 200 || answer.status == 500, "%s: %d %s", why, answer.status,
              answer.body);
    json_array_foreach(objects, i, object)
    {
        const int64_t t = json_integer_value(json_object_get(object, "timestamp"));
        const char *hex = json_string_value(json_object_get(json_object_get(object, "data"), "h"));

        cr_assert_gt(t, before, "%s", why);
        cr_assert(
            hex != NULL &&
                strcmp(hex, text("%016llx%016llx", (unsigned long long)t * 0x9E3779B97F4A7C15u,
                                 (unsigned long long)t * 0xC2B2AE3D27D4EB4Fu)) == 0,
            "%s: object %jd holds %s", why, (intmax_t)t, hex != NULL ? hex : "nothing");
        before = t;
    }
}

/* An answer about the damaged store, or a log, has the file's name and a place in it. */
static void
expect_told(const char *file, const char *why)
{
    struct answer answer = store_get(&bad, "/stats");
    const bool in_answer = answer.status == 500 && strstr(answer.body, file) != NULL;

    cr_expect(in_answer || process_said(&site.ingestd, file) || process_said(&site.queryd[0], file),
              "%s: neither the answer (%d %s) nor a log names %s", why, answer.status, answer.body,
              file);
}

static void
truncate_to(const char *path, int64_t bytes)
{
    cr_assert_eq(truncate(path, bytes), 0);
}

static const char *const files[] = {"meta.tsdb", "data.tsdb", "head.tsdb", "index.tsdb"};

Test(damage, a_truncated_file_is_named_with_its_size)
{
    for (size_t i = 0; i < COUNTOF(files); i++) {
        const char *path = store_path(&bad, files[i]);
        const int64_t bytes = file_bytes(path);
        char *whole = malloc((size_t)bytes);
        int fd;

        stop_both();
        fd = open(path, O_RDWR);
        cr_assert_eq(read(fd, whole, (size_t)bytes), bytes);
        truncate_to(path, bytes / 2);
        start_both();
        expect_good_works(files[i]);
        expect_told(files[i], "truncated");
        cr_expect_eq(store_get(&bad, "/stats").status, 500, "%s", files[i]);
        cr_expect_eq(put(&bad, 1000 + (int64_t)i, "1").status, 500, "%s", files[i]);
        stop_both();
        cr_assert_eq(pwrite(fd, whole, (size_t)bytes, 0), bytes);
        close(fd);
        free(whole);
        start_both();
        /* Refusing it has changed nothing: mended, it is whole. */
        cr_expect_str_eq(list_all(&bad), run_of(1, 100), "%s", files[i]);
    }
}

Test(damage, a_longer_file_is_refused)
{
    const char *path = store_path(&bad, "index.tsdb");
    const int64_t bytes = file_bytes(path);

    stop_both();
    truncate_to(path, bytes + 64);
    start_both();
    expect_good_works("longer");
    expect_told("index.tsdb", "longer");
    cr_expect_eq(store_get(&bad, "/stats").status, 500);
}

Test(damage, a_zeroed_file_is_named)
{
    static const char *const fatal[] = {"meta.tsdb", "head.tsdb"};

    for (size_t i = 0; i < COUNTOF(fatal); i++) {
        const char *path = store_path(&bad, fatal[i]);
        const int64_t bytes = file_bytes(path);
        char *whole = malloc((size_t)bytes), *zeros = calloc(1, (size_t)bytes);
        int fd;

        stop_both();
        fd = open(path, O_RDWR);
        cr_assert_eq(read(fd, whole, (size_t)bytes), bytes);
        cr_assert_eq(pwrite(fd, zeros, (size_t)bytes, 0), bytes);
        start_both();
        expect_good_works(fatal[i]);
        expect_told(fatal[i], "zeroed");
        cr_expect_eq(store_get(&bad, "/stats").status, 500, "%s", fatal[i]);
        stop_both();
        cr_assert_eq(pwrite(fd, whole, (size_t)bytes, 0), bytes);
        close(fd);
        free(whole);
        free(zeros);
        start_both();
        cr_expect_str_eq(list_all(&bad), run_of(1, 100), "%s", fatal[i]);
    }
}

Test(damage, a_zeroed_ring_or_index_is_told_and_shows_nothing_false)
{
    static const char *const rings[] = {"data.tsdb", "index.tsdb"};

    for (size_t i = 0; i < COUNTOF(rings); i++) {
        const char *path = store_path(&bad, rings[i]);
        const size_t bytes = (size_t)file_bytes(path);
        char *zeros = calloc(1, bytes);

        stop_both();
        file_poke(path, 0, zeros, bytes);
        free(zeros);
        start_both();
        expect_no_lies(rings[i]);
        expect_good_works(rings[i]);
        expect_told(rings[i], "zeroed");
    }
}

Test(damage, a_foreign_file_is_refused)
{
    static const char foreign[] =
        "SQLite format 3\0 and so on, nothing of ours at all, really .....";
    const char *path = store_path(&bad, "meta.tsdb");

    stop_both();
    file_poke(path, 0, foreign, 64);
    start_both();
    expect_good_works("foreign");
    expect_told("meta.tsdb", "foreign");
    cr_expect_eq(store_get(&bad, "/stats").status, 500);
    expect_no_lies("foreign");
}

Test(damage, another_version_is_refused)
{
    const char *path = store_path(&bad, "meta.tsdb");

    stop_both();
    file_poke(path, 8, "\x63\x00", 2);
    start_both();
    expect_good_works("version");
    expect_told("meta.tsdb", "version");
    cr_expect_eq(store_get(&bad, "/stats").status, 500);
}

Test(damage, a_directory_in_place_of_a_file_is_refused)
{
    const char *path = store_path(&bad, "data.tsdb");

    stop_both();
    cr_assert_eq(remove(path), 0);
    cr_assert_eq(mkdir(path, 0755), 0);
    start_both();
    expect_good_works("directory");
    expect_told("data.tsdb", "directory");
    cr_expect_eq(store_get(&bad, "/stats").status, 500);
}

Test(damage, flipped_bytes_in_the_ring_cost_their_block_only)
{
    const char *path = store_path(&bad, "data.tsdb");
    struct answer answer;

    stop_both();
    file_poke(path, 600, NULL, 8);
    start_both();
    expect_no_lies("flipped");
    expect_good_works("flipped");
    expect_told("data.tsdb", "flipped");
    answer = store_get(&bad, "/data/newest?limit=5");
    cr_expect_eq(answer.status, 200, "%s", answer.body);
    cr_expect_str_eq(list(&bad, "newest?limit=5"), "100 99 98 97 96");
    put_ok(&bad, 1000, "{\"t\":1000,\"h\":\"\"}");
}

Test(damage, flipped_bytes_anywhere_never_lie_and_never_kill)
{
    unsigned seed = (unsigned)getpid();

    for (int round = 0; round < 16; round++) {
        const char *file = files[round % (int)COUNTOF(files)];
        const char *path = store_path(&bad, file);
        const int64_t bytes = file_bytes(path);
        /* The start of a file has the most to break. */
        const int64_t offset = rand_r(&seed) % (round < 8 ? 64 : bytes);
        char before;
        int fd;
        const char *why = text("%s flipped at %jd", file, (intmax_t)offset);

        stop_both();
        fd = open(path, O_RDONLY);
        cr_assert_eq(pread(fd, &before, 1, offset), 1);
        close(fd);
        file_poke(path, offset, NULL, 1);
        start_both();
        expect_no_lies(why);
        store_get(&bad, "/stats");
        store_get(&bad, "/data/time/50");
        store_get(&bad, "/data/newest");
        expect_good_works(why);
        stop_both();
        file_poke(path, offset, &before, 1);
        start_both();
    }
}

Test(damage, a_file_truncated_while_mapped_kills_nobody)
{
    static const char *const order[] = {"index.tsdb", "data.tsdb", "head.tsdb", "meta.tsdb"};

    cr_expect_str_eq(list_all(&bad), run_of(1, 100));
    for (size_t i = 0; i < COUNTOF(order); i++) {
        const char *why = text("%s truncated while mapped", order[i]);

        truncate_to(store_path(&bad, order[i]), 0);
        for (int64_t t = 0; t < 20; t++) {
            store_get(&bad, "/stats");
            store_get(&bad, "/data/newest?limit=1000");
            store_get(&bad, "/data/time/%jd", (intmax_t)(t * 5));
            put(&bad, 1000 + (int64_t)i * 100 + t, "{\"t\":0,\"h\":\"\"}");
        }
        expect_good_works(why);
    }
    stop_damaged();
    start_both();
    expect_good_works("after a restart");
    expect_told("tsdb", "after a restart");
}

Test(damage, a_stream_of_a_store_that_is_truncated_ends_or_goes_on_but_kills_nobody)
{
    struct ws *ws = ws_read_open(&bad, "from=0"), *other = ws_read_open(&good, "from=now");

    ws_expect(other, "caught_up");
    cr_expect_eq(strncmp(ws_word(ws, PATIENCE_MS), "data 1 ", 7), 0);
    truncate_to(store_path(&bad, "data.tsdb"), 0);
    truncate_to(store_path(&bad, "head.tsdb"), 0);
    put(&bad, 1000, "1");
    put_ok(&good, 21, "21");
    ws_expect(other, "data 21 21");
    cr_expect(process_is_alive(&site.queryd[0]));
    cr_expect(process_is_alive(&site.ingestd));
    stop_damaged();
}

Test(damage, a_broken_key_file_opens_to_nobody)
{
    const char *path = store_path(&bad, "keys.json");
    const int64_t bytes = file_bytes(path);

    truncate_to(path, bytes / 2);
    AWAIT(2000, store_get(&bad, "/stats").status == 401);
    expect_answer(store_get(&bad, "/stats"), 401, "authentication failed");
    expect_answer(put(&bad, 1000, "1"), 401, "authentication failed");
    expect_good_works("keys");
    cr_assert_eq(remove(path), 0);
    expect_answer(store_get(&bad, "/stats"), 401, "authentication failed");
}
