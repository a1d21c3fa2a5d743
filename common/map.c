/* map.c - open, check the size, map; and the guard against files that shrink meanwhile. */
#include "common/map.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum ts_err
ts_map_open(int dir_fd, const char *name, uint64_t want_bytes, enum ts_map_mode mode,
            struct ts_map *out_map)
{
    const bool writer = mode == TS_MAP_WRITER;
    const int prot = writer ? PROT_READ | PROT_WRITE : PROT_READ;
    enum ts_err err = TS_OK;
    struct stat st;
    void *base;
    int fd;

    assert(name != NULL && want_bytes > 0 && out_map != NULL);

    fd = openat(dir_fd, name, (writer ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        err = TS_FAIL_ERRNO(errno == ENOENT ? TS_E_CORRUPT : TS_E_IO, "open %s", name);
        goto out;
    }
    if (fstat(fd, &st) != 0) {
        err = TS_FAIL_ERRNO(TS_E_IO, "stat %s", name);
        goto out;
    }
    /* Touching a page past the end of a shorter file would raise SIGBUS: refuse it now. */
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != want_bytes) {
        err =
            TS_FAIL(TS_E_CORRUPT, "%s: damaged at offset %jd: the file has %jd bytes, expected %ju",
                    name, (intmax_t)st.st_size, (intmax_t)st.st_size, (uintmax_t)want_bytes);
        goto out;
    }
    if (want_bytes > SIZE_MAX) {
        err = TS_FAIL(TS_E_NOMEM, "%s: %ju bytes do not fit this machine's address space", name,
                      (uintmax_t)want_bytes);
        goto out;
    }
    base = mmap(NULL, (size_t)want_bytes, prot, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        err = TS_FAIL_ERRNO(TS_E_IO, "map %s", name);
        goto out;
    }
    *out_map = (struct ts_map){.base = base, .bytes = (size_t)want_bytes, .fd = -1};
    if (writer) {
        out_map->fd = fd;
        fd = -1;
    }
out:
    if (fd >= 0)
        close(fd); /* the mapping holds the file */
    return err;
}

void
ts_map_close(struct ts_map *map)
{
    if (map->base == NULL)
        return;
    munmap(map->base, map->bytes);
    if (map->fd >= 0)
        close(map->fd);
    *map = (struct ts_map){.fd = -1};
}

static size_t
page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

enum ts_err
ts_map_sync(const struct ts_map *map, const char *name, size_t from, size_t to)
{
    const size_t start = from & ~(page_bytes() - 1);

    assert(from <= to && to <= map->bytes);

    if (from == to)
        return TS_OK;
    /* Whole file: one fdatasync. A range: msync writes only its pages, so that a commit of a small
     * record costs one page, whatever else is dirty in the file. */
    if (from == 0 && to == map->bytes) {
        if (fdatasync(map->fd) != 0)
            return TS_FAIL_ERRNO(TS_E_IO, "sync %s", name);
        return TS_OK;
    }
    if (msync(map->base + start, to - start, MS_SYNC) != 0)
        return TS_FAIL_ERRNO(TS_E_IO, "sync %s at offset %zu", name, start);
    return TS_OK;
}

void
ts_map_redirty(const struct ts_map *map, size_t from, size_t to)
{
    const size_t page = page_bytes();

    for (size_t at = from & ~(page - 1); at < to; at += page) {
        _Atomic uint8_t *byte = (_Atomic uint8_t *)(map->base + at);
        uint8_t value = atomic_load_explicit(byte, memory_order_relaxed);

        /* An exchange with the same value is a write; a compiler makes fetch_or(0) a mere load. */
        while (!atomic_compare_exchange_weak_explicit(byte, &value, value, memory_order_relaxed,
                                                      memory_order_relaxed))
            ;
    }
}

enum ts_err
ts_map_check(const struct ts_map *map, const char *name)
{
    struct stat st;

    if (fstat(map->fd, &st) != 0)
        return TS_FAIL_ERRNO(TS_E_IO, "stat %s", name);
    if ((uint64_t)st.st_size != map->bytes)
        return TS_FAIL(TS_E_CORRUPT,
                       "%s: damaged at offset %jd: somebody truncated it to %jd of %zu bytes", name,
                       (intmax_t)st.st_size, (intmax_t)st.st_size, map->bytes);
    return TS_OK;
}

/* Counts pages replaced by the handler; a process-wide fact, like the signal itself. */
static _Atomic uint32_t map_faults;

static void
on_bus_error(int signal_no, siginfo_t *info, void *context)
{
    const uintptr_t page = page_bytes();
    void *at = (void *)((uintptr_t)info->si_addr & ~(page - 1));

    (void)context;
    if (info->si_code != BUS_ADRERR ||
        mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            MAP_FAILED) {
        signal(signal_no, SIG_DFL); /* ours to die of */
        return;
    }
    /* relaxed: a count, compared with an older value of itself only. */
    atomic_fetch_add_explicit(&map_faults, 1, memory_order_relaxed);
}

void
ts_map_guard_install(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};

    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

uint32_t
ts_map_faults(void)
{
    return atomic_load_explicit(&map_faults, memory_order_relaxed);
}
