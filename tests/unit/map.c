/* map.c - files of the wrong size or kind, syncing, and files that shrink under the mapping. */
#include "tests/unit/store_scratch.h"

#include <signal.h>
#include <sys/mman.h>

static int dir_fd = -1;

static void
start(void)
{
    scratch_start();
    dir_fd = open(scratch, O_RDONLY | O_DIRECTORY);
}

static void
end(void)
{
    close(dir_fd);
    scratch_end();
}

TestSuite(map, .init = start, .fini = end, .timeout = 60);

static void
make_file(const char *name, off_t bytes)
{
    const int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_TRUNC, 0644);

    cr_assert(fd >= 0 && ftruncate(fd, bytes) == 0);
    close(fd);
}

static const struct {
    const char *label;
    off_t file_bytes;
    enum ts_err want;
} sizes[] = {
    {"exact size", 4096, TS_OK},
    {"empty file", 0, TS_E_CORRUPT},
    {"one byte short", 4095, TS_E_CORRUPT},
    {"one byte long", 4097, TS_E_CORRUPT},
    {"much longer", 1 << 30, TS_E_CORRUPT},
};

Test(map, refuses_a_file_of_another_size)
{
    for (size_t i = 0; i < COUNTOF(sizes); i++) {
        struct ts_map map = {0};

        make_file("data.tsdb", sizes[i].file_bytes);
        cr_expect_eq(ts_map_open(dir_fd, "data.tsdb", 4096, TS_MAP_READER, &map), sizes[i].want,
                     "%s", sizes[i].label);
        cr_expect_eq(map.base != NULL, sizes[i].want == TS_OK, "%s", sizes[i].label);
        if (sizes[i].want != TS_OK)
            cr_expect(strstr(ts_error_text(), "data.tsdb: damaged at offset ") != NULL, "%s: %s",
                      sizes[i].label, ts_error_text());
        ts_map_close(&map);
        cr_expect_null(map.base);
        ts_map_close(&map); /* a closed map stays closed */
    }
}

Test(map, refuses_what_is_no_regular_file)
{
    struct ts_map map = {0};

    cr_assert_eq(mkfifoat(dir_fd, "fifo", 0644), 0);
    cr_assert_eq(mkdirat(dir_fd, "dir", 0755), 0);
    make_file("real", 4096);
    cr_assert_eq(symlinkat("real", dir_fd, "link"), 0);
    cr_expect_eq(ts_map_open(dir_fd, "fifo", 4096, TS_MAP_READER, &map), TS_E_CORRUPT);
    cr_expect_eq(ts_map_open(dir_fd, "fifo", 4096, TS_MAP_WRITER, &map), TS_E_CORRUPT);
    cr_expect_eq(ts_map_open(dir_fd, "dir", 4096, TS_MAP_READER, &map), TS_E_CORRUPT);
    cr_expect_eq(ts_map_open(dir_fd, "dir", 4096, TS_MAP_WRITER, &map), TS_E_IO);
    cr_expect_eq(ts_map_open(dir_fd, "link", 4096, TS_MAP_READER, &map), TS_E_IO);
    cr_expect_eq(ts_map_open(dir_fd, "none", 4096, TS_MAP_READER, &map), TS_E_CORRUPT);
    cr_expect(strstr(ts_error_text(), "none") != NULL, "%s", ts_error_text());
    cr_expect_null(map.base);
}

Test(map, a_readers_mapping_cannot_be_written, .signal = SIGSEGV)
{
    struct sigaction action = {.sa_handler = SIG_DFL}; /* the address sanitizer's would report */
    struct ts_map map = {0};

    sigaction(SIGSEGV, &action, NULL);
    make_file("data.tsdb", 4096);
    cr_assert_eq(ts_map_open(dir_fd, "data.tsdb", 4096, TS_MAP_READER, &map), TS_OK);
    cr_assert_eq(map.fd, -1);
    *(_Atomic uint8_t *)map.base = 1;
}

Test(map, a_writers_bytes_are_in_the_file)
{
    struct ts_map map = {0};
    size_t n;
    uint8_t *bytes;

    make_file("data.tsdb", 10000);
    cr_assert_eq(ts_map_open(dir_fd, "data.tsdb", 10000, TS_MAP_WRITER, &map), TS_OK);
    for (size_t i = 0; i < 10000; i++)
        map.base[i] = (uint8_t)(i * 7);
    cr_expect_eq(ts_map_sync(&map, "data.tsdb", 0, 10000), TS_OK);
    cr_expect_eq(ts_map_sync(&map, "data.tsdb", 5000, 5001), TS_OK);
    cr_expect_eq(ts_map_sync(&map, "data.tsdb", 5000, 5000), TS_OK);
    cr_expect_eq(ts_map_sync(&map, "data.tsdb", 8192, 10000), TS_OK);
    ts_map_redirty(&map, 1, 9999);
    ts_map_redirty(&map, 5, 5);
    bytes = file_load(file_path("", "data.tsdb"), &n);
    cr_assert_eq(n, 10000u);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(bytes[i], (uint8_t)(i * 7));
    free(bytes);
    ts_map_close(&map);
}

static _Atomic uint32_t written_pages; /* one bit per page */
static uint8_t *written_base;

static void
on_write(int signal_no, siginfo_t *info, void *context)
{
    const size_t page = (size_t)((uint8_t *)info->si_addr - written_base) / 4096;

    (void)signal_no;
    (void)context;
    atomic_fetch_or(&written_pages, 1u << page);
    mprotect(written_base + page * 4096, 4096, PROT_READ | PROT_WRITE);
}

Test(map, redirty_writes_to_the_pages_it_is_given_and_to_no_other)
{
    struct sigaction action = {.sa_sigaction = on_write, .sa_flags = SA_SIGINFO};
    struct ts_map map = {0};

    make_file("data.tsdb", 4 * 4096);
    cr_assert_eq(ts_map_open(dir_fd, "data.tsdb", 4 * 4096, TS_MAP_WRITER, &map), TS_OK);
    memset(map.base, 7, map.bytes);
    sigaction(SIGSEGV, &action, NULL);
    written_base = map.base;
    mprotect(map.base, map.bytes, PROT_READ);
    ts_map_redirty(&map, 4097, 8193);
    cr_expect_eq(written_pages, 2u | 4u, "pages %x", (unsigned)written_pages);
    for (size_t i = 0; i < map.bytes; i++)
        cr_assert_eq(map.base[i], 7);
    ts_map_close(&map);
}

Test(map, check_finds_a_file_that_shrank_or_grew)
{
    struct ts_map map = {0};

    make_file("data.tsdb", 8192);
    cr_assert_eq(ts_map_open(dir_fd, "data.tsdb", 8192, TS_MAP_WRITER, &map), TS_OK);
    cr_expect_eq(ts_map_check(&map, "data.tsdb"), TS_OK);
    cr_assert_eq(truncate(file_path("", "data.tsdb"), 5000), 0);
    cr_expect_eq(ts_map_check(&map, "data.tsdb"), TS_E_CORRUPT);
    cr_expect(strstr(ts_error_text(), "data.tsdb: damaged at offset 5000") != NULL, "%s",
              ts_error_text());
    cr_assert_eq(truncate(file_path("", "data.tsdb"), 9000), 0);
    cr_expect_eq(ts_map_check(&map, "data.tsdb"), TS_E_CORRUPT);
    ts_map_close(&map);
}

Test(map, a_page_that_vanished_reads_as_zeros_once_the_guard_is_there)
{
    struct ts_map map = {0};
    const uint32_t before = ts_map_faults();

    ts_map_guard_install();
    make_file("data.tsdb", 3 * 4096);
    cr_assert_eq(ts_map_open(dir_fd, "data.tsdb", 3 * 4096, TS_MAP_WRITER, &map), TS_OK);
    memset(map.base, 0x55, map.bytes);
    cr_assert_eq(truncate(file_path("", "data.tsdb"), 4096), 0);
    cr_expect_eq(map.base[0], 0x55);
    cr_expect_eq(ts_map_faults(), before);
    cr_expect_eq(map.base[4096], 0);
    cr_expect_eq(map.base[8191], 0);
    cr_expect_eq(ts_map_faults(), before + 1);
    map.base[8192] = 1; /* a write as well */
    cr_expect_eq(ts_map_faults(), before + 2);
    ts_map_close(&map);
}

Test(map, without_the_guard_it_is_a_bus_error, .signal = SIGBUS)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    struct ts_map map = {0};

    sigaction(SIGBUS, &action, NULL);
    make_file("data.tsdb", 8192);
    cr_assert_eq(ts_map_open(dir_fd, "data.tsdb", 8192, TS_MAP_READER, &map), TS_OK);
    cr_assert_eq(truncate(file_path("", "data.tsdb"), 0), 0);
    cr_assert_eq(*(_Atomic uint8_t *)map.base, 0);
}
