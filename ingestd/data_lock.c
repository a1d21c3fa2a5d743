/* data_lock.c - see data_lock.h. */
#include "ingestd/data_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum ts_err
data_lock_make_dir(const char *path)
{
    char part[PATH_MAX];
    const size_t bytes = strlen(path);

    if (bytes == 0 || bytes >= sizeof part)
        return TS_FAIL(TS_E_USAGE, "directory name of %zu bytes", bytes);
    memcpy(part, path, bytes + 1);
    for (size_t i = 1; i <= bytes; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        /* EROFS and the like on a parent that exists already do not matter. */
        if (mkdir(part, 0755) != 0 && errno != EEXIST && access(part, F_OK) != 0)
            return TS_FAIL_ERRNO(TS_E_IO, "create directory %s", part);
        if (i < bytes)
            part[i] = '/';
    }
    return TS_OK;
}

/* The holder writes its pid just after it got the lock; until then the file may be empty. */
static long
holder_of(int fd)
{
    char text[32] = "";
    const ssize_t bytes = pread(fd, text, sizeof text - 1, 0);

    return bytes > 0 ? strtol(text, NULL, 10) : 0;
}

enum ts_err
data_lock_open(const char *data_dir, int *out_fd)
{
    char path[PATH_MAX];
    char pid[32];
    enum ts_err err;
    int pid_bytes;
    int fd = -1;

    err = data_lock_make_dir(data_dir);
    if (err != TS_OK)
        return err;
    if (snprintf(path, sizeof path, "%s/%s", data_dir, DATA_LOCK_FILE) >= (int)sizeof path)
        return TS_FAIL(TS_E_USAGE, "data directory: name is too long");
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return TS_FAIL_ERRNO(TS_E_IO, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            err = TS_FAIL(TS_E_LOCKED, "data directory %s is locked by ingestd, pid %ld", data_dir,
                          holder_of(fd));
        else
            err = TS_FAIL_ERRNO(TS_E_IO, "lock %s", path);
        goto out;
    }
    pid_bytes = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)pid_bytes, 0) != pid_bytes) {
        err = TS_FAIL_ERRNO(TS_E_IO, "write %s", path);
        goto out;
    }
    *out_fd = fd;
    fd = -1;
out:
    data_lock_close(fd);
    return err;
}

void
data_lock_close(int fd)
{
    if (fd >= 0)
        close(fd);
}
