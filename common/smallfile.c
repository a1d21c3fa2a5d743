/* smallfile.c - write aside, make durable, rename, make the name durable. */
#include "common/smallfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRY_MS 5u /* flock() knows no deadline: ask again so often */
#define FIRST_READ_BYTES 4096u

static enum ts_err
open_failed(const char *name)
{
    const bool is_missing = errno == ENOENT || errno == ENOTDIR;

    return TS_FAIL_ERRNO(is_missing ? TS_E_NOT_FOUND : TS_E_IO, "open %s", name);
}

enum ts_err
ts_smallfile_open_dir(const char *path, int *out_dir_fd)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return open_failed(path);
    *out_dir_fd = fd;
    return TS_OK;
}

enum ts_err
ts_smallfile_lock(int dir_fd, unsigned wait_ms)
{
    const struct timespec pause = {.tv_nsec = LOCK_TRY_MS * 1000000L};
    unsigned waited_ms = 0;

    while (flock(dir_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return TS_FAIL_ERRNO(TS_E_IO, "lock directory");
        if (waited_ms >= wait_ms)
            return TS_FAIL(TS_E_LOCKED, "directory is locked by another process");
        nanosleep(&pause, NULL);
        waited_ms += LOCK_TRY_MS;
    }
    return TS_OK;
}

static enum ts_err
write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        const ssize_t written = write(fd, bytes, n);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return TS_FAIL_ERRNO(TS_E_IO, "write");
        bytes += written;
        n -= (size_t)written;
    }
    return TS_OK;
}

/* Root edits for the daemons, which run as the directory's owner and could not read a file of
 * root's any more. */
static enum ts_err
give_to_owner(int dir_fd, int fd)
{
    struct stat st;

    if (geteuid() != 0)
        return TS_OK;
    if (fstat(dir_fd, &st) != 0 || fchown(fd, st.st_uid, st.st_gid) != 0)
        return TS_FAIL_ERRNO(TS_E_IO, "give to the directory's owner");
    return TS_OK;
}

static enum ts_err
write_aside(int dir_fd, const char *aside, const void *bytes, size_t n, mode_t mode)
{
    enum ts_err err;
    int fd;

    /* What a crash left behind. O_EXCL then proves that the file is ours, and no link. */
    if (unlinkat(dir_fd, aside, 0) != 0 && errno != ENOENT)
        return TS_FAIL_ERRNO(TS_E_IO, "remove %s", aside);
    fd = openat(dir_fd, aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return TS_FAIL_ERRNO(TS_E_IO, "create %s", aside);
    err = write_all(fd, bytes, n);
    if (err == TS_OK)
        err = give_to_owner(dir_fd, fd);
    if (err == TS_OK && fchmod(fd, mode) != 0)
        err = TS_FAIL_ERRNO(TS_E_IO, "chmod");
    /* Before the rename: else a power failure could leave the new name with no bytes. */
    if (err == TS_OK && fsync(fd) != 0)
        err = TS_FAIL_ERRNO(TS_E_IO, "fsync");
    if (close(fd) != 0 && err == TS_OK)
        err = TS_FAIL_ERRNO(TS_E_IO, "close");
    return err;
}

enum ts_err
ts_smallfile_replace(int dir_fd, const char *name, const void *bytes, size_t n, mode_t mode)
{
    char aside[TS_SMALLFILE_NAME_BYTES + 8];
    enum ts_err err;

    if (strlen(name) > TS_SMALLFILE_NAME_BYTES || strchr(name, '/') != NULL)
        return TS_FAIL(TS_E_IO, "file name is too long or a path");
    snprintf(aside, sizeof aside, ".%s.new", name);

    err = write_aside(dir_fd, aside, bytes, n, mode);
    if (err == TS_OK && renameat(dir_fd, aside, dir_fd, name) != 0)
        err = TS_FAIL_ERRNO(TS_E_IO, "rename");
    if (err != TS_OK) {
        unlinkat(dir_fd, aside, 0); /* best effort: the next replacement would do it too */
        TS_CONTEXT("%s", name);
        return err;
    }
    if (fsync(dir_fd) != 0)
        return TS_FAIL_ERRNO(TS_E_IO, "%s: fsync of its directory", name);
    return TS_OK;
}

/* The file may grow under us: it is the bytes read that are held against the limit. */
static enum ts_err
read_all(int fd, size_t limit, size_t expected, char **out_bytes, size_t *out_n)
{
    size_t capacity = expected < FIRST_READ_BYTES ? FIRST_READ_BYTES : expected + 1;
    char *bytes = NULL;
    enum ts_err err;
    size_t n = 0;

    for (;;) {
        char *more = realloc(bytes, capacity + 1);
        ssize_t got = 1;

        if (more == NULL) {
            err = TS_FAIL_PLAIN(TS_E_NOMEM);
            goto out;
        }
        bytes = more;
        while (n < capacity && got > 0) {
            got = read(fd, bytes + n, capacity - n);
            if (got < 0 && errno == EINTR)
                got = 1;
            else if (got > 0)
                n += (size_t)got;
        }
        if (got < 0) {
            err = TS_FAIL_ERRNO(TS_E_IO, "read");
            goto out;
        }
        if (n > limit) {
            err = TS_FAIL(TS_E_LIMIT, "is larger than %zu bytes", limit);
            goto out;
        }
        if (got == 0)
            break;
        capacity *= 2;
    }
    bytes[n] = '\0';
    *out_bytes = bytes;
    *out_n = n;
    return TS_OK;
out:
    free(bytes);
    return err;
}

/* The stat comes before the bytes: a change while they are read shows in the next look. */
static enum ts_err
read_open(int fd, size_t limit, char **out_bytes, size_t *out_n, struct stat *st)
{
    if (fstat(fd, st) != 0)
        return TS_FAIL_ERRNO(TS_E_IO, "stat");
    if (!S_ISREG(st->st_mode))
        return TS_FAIL(TS_E_IO, "is not a regular file");
    if (st->st_size < 0 || (uintmax_t)st->st_size > limit)
        return TS_FAIL(TS_E_LIMIT, "is larger than %zu bytes", limit);
    return read_all(fd, limit, (size_t)st->st_size, out_bytes, out_n);
}

/* O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever. */
static enum ts_err
open_and_read(int dir_fd, const char *name, int more_flags, size_t limit, char **out_bytes,
              size_t *out_n, struct ts_smallfile_watch *watch)
{
    enum ts_err err;

    watch->fd = openat(dir_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | more_flags);
    if (watch->fd < 0)
        return open_failed(name);
    err = read_open(watch->fd, limit, out_bytes, out_n, &watch->stat);
    if (err != TS_OK) {
        TS_CONTEXT("%s", name);
        ts_smallfile_watch_done(watch);
    }
    return err;
}

enum ts_err
ts_smallfile_read(int dir_fd, const char *name, size_t limit, char **out_bytes, size_t *out_n,
                  struct ts_smallfile_watch *watch)
{
    struct ts_smallfile_watch own = {.fd = -1};
    enum ts_err err;

    if (watch != NULL)
        ts_smallfile_watch_done(watch);
    err = open_and_read(dir_fd, name, O_NOFOLLOW, limit, out_bytes, out_n,
                        watch != NULL ? watch : &own);
    ts_smallfile_watch_done(&own);
    return err;
}

enum ts_err
ts_smallfile_read_path(const char *path, size_t limit, char **out_bytes, size_t *out_n)
{
    struct ts_smallfile_watch own = {.fd = -1};
    enum ts_err err = open_and_read(AT_FDCWD, path, 0, limit, out_bytes, out_n, &own);

    ts_smallfile_watch_done(&own);
    return err;
}

static bool
is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool
ts_smallfile_is_current(const struct ts_smallfile_watch *watch, const char *path)
{
    const struct stat *seen = &watch->stat;
    struct stat now;

    if (watch->fd < 0 || fstatat(AT_FDCWD, path, &now, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    return now.st_ino == seen->st_ino && now.st_dev == seen->st_dev &&
           now.st_size == seen->st_size && is_same_time(now.st_mtim, seen->st_mtim) &&
           is_same_time(now.st_ctim, seen->st_ctim);
}

void
ts_smallfile_watch_done(struct ts_smallfile_watch *watch)
{
    if (watch->fd >= 0)
        close(watch->fd);
    watch->fd = -1;
}
