/* create.c - make a store, list stores. */
#include "common/store.h"

#include "common/checksum.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* A store is made under this name and renamed when it is whole; starts with a dot, so that it is
 * never taken for a store. */
#define UNFINISHED_PREFIX ".creating."
#define FILL_BYTES (256u * 1024)

/* Writes `bytes` zeros, so that no later write or sync meets a file system that has to allocate.
 * posix_fallocate first: it fails before time was spent when there is no room after all. */
static enum ts_err
fill_with_zeros(int fd, const char *name, uint64_t bytes)
{
    static const uint8_t zeros[FILL_BYTES];
    uint64_t done = 0;
    int rc;

    rc = posix_fallocate(fd, 0, (off_t)bytes);
    if (rc == EFBIG)
        return TS_FAIL(TS_E_FULL, "%s: no file here can have %ju bytes", name, (uintmax_t)bytes);
    if (rc != 0 && rc != EOPNOTSUPP && rc != EINVAL)
        return ts_error_set_errno(TS_E_IO, rc, "reserve %ju bytes for %s", (uintmax_t)bytes, name);
    while (done < bytes) {
        const size_t part = bytes - done < FILL_BYTES ? (size_t)(bytes - done) : FILL_BYTES;
        const ssize_t n = pwrite(fd, zeros, part, (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return TS_FAIL_ERRNO(TS_E_IO, "write %s", name);
        done += (uint64_t)n;
    }
    return TS_OK;
}

static enum ts_err
make_file(int dir_fd, const char *name, uint64_t bytes, const void *start, size_t start_bytes)
{
    enum ts_err err;
    int fd;

    fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return TS_FAIL_ERRNO(TS_E_IO, "create %s", name);
    err = fill_with_zeros(fd, name, bytes);
    if (err == TS_OK && start_bytes > 0 &&
        pwrite(fd, start, start_bytes, 0) != (ssize_t)start_bytes)
        err = TS_FAIL_ERRNO(TS_E_IO, "write %s", name);
    if (err == TS_OK && fsync(fd) != 0)
        err = TS_FAIL_ERRNO(TS_E_IO, "sync %s", name);
    if (close(fd) != 0 && err == TS_OK)
        err = TS_FAIL_ERRNO(TS_E_IO, "close %s", name);
    return err;
}

static void
init_head(struct ts_head *head, const struct ts_options *options,
          const struct ts_geometry *geometry, uint32_t store_id)
{
    struct ts_sync_point *point = &head->sync_points[1]; /* where counter 1 belongs */

    memset(head, 0, sizeof *head);
    ts_head_init(head, options, geometry->open_shift, store_id);
    point->counter = 1;
    point->generation = 1;
    point->is_clean = 1;
    point->checksum = (uint32_t)ts_checksum(point, offsetof(struct ts_sync_point, checksum),
                                            ts_seed(store_id, 0));
}

static enum ts_err
make_files(int dir_fd, const struct ts_options *options, const struct ts_geometry *geometry)
{
    struct ts_meta meta;
    struct ts_head head;
    uint32_t store_id;
    enum ts_err err;

    if (getrandom(&store_id, sizeof store_id, 0) != (ssize_t)sizeof store_id)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "getrandom");
    ts_meta_init(&meta, options, geometry, store_id);
    init_head(&head, options, geometry, store_id);
    err = make_file(dir_fd, TS_DATA_FILE, geometry->ring_bytes, NULL, 0);
    if (err == TS_OK)
        err = make_file(dir_fd, TS_INDEX_FILE, geometry->index_bytes, NULL, 0);
    if (err == TS_OK)
        err = make_file(dir_fd, TS_HEAD_FILE, geometry->head_bytes, &head, sizeof head);
    /* meta last: a directory without it is not a store. */
    if (err == TS_OK)
        err = make_file(dir_fd, TS_META_FILE, sizeof meta, &meta, sizeof meta);
    if (err == TS_OK && fsync(dir_fd) != 0)
        err = TS_FAIL_ERRNO(TS_E_IO, "sync the directory");
    return err;
}

static void
remove_unfinished(int data_fd, const char *dir_name)
{
    const int dir_fd = openat(data_fd, dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir_fd >= 0) {
        for (int i = 0; i < TS_N_FILES; i++)
            unlinkat(dir_fd, ts_file_names[i], 0);
        close(dir_fd);
    }
    unlinkat(data_fd, dir_name, AT_REMOVEDIR);
}

static enum ts_err
open_data_dir(const char *data_dir, int *out_fd)
{
    const int fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return TS_FAIL_ERRNO(TS_E_IO, "open data directory %s", data_dir);
    *out_fd = fd;
    return TS_OK;
}

/* Asked before the first byte is reserved: a file system may hand out all it has before it says
 * that this is not enough, and until then nobody else on it could write. */
static enum ts_err
check_room(int data_fd, const struct ts_geometry *geometry)
{
    const uint64_t wanted = geometry->ring_bytes + geometry->index_bytes + geometry->head_bytes;
    struct statvfs disk;

    if (fstatvfs(data_fd, &disk) != 0)
        return TS_FAIL_ERRNO(TS_E_IO, "look for room on the disk");
    /* No blocks at all: one that does not count. */
    if (disk.f_blocks == 0 || disk.f_frsize == 0 || wanted / disk.f_frsize < disk.f_bavail)
        return TS_OK;
    return TS_FAIL(TS_E_FULL, "No space left on device: the store takes %ju bytes, %ju are free",
                   (uintmax_t)wanted, (uintmax_t)disk.f_bavail * disk.f_frsize);
}

/* Makes the store in dir_name and moves it to its name. */
static enum ts_err
make_and_rename(int data_fd, const char *dir_name, const char *name,
                const struct ts_options *options, const struct ts_geometry *geometry)
{
    enum ts_err err;
    int dir_fd;

    dir_fd = openat(data_fd, dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return TS_FAIL_ERRNO(TS_E_IO, "open %s", dir_name);
    flock(dir_fd, LOCK_EX | LOCK_NB); /* keeps ts_store_sweep() away */
    err = make_files(dir_fd, options, geometry);
    if (err == TS_OK && renameat2(data_fd, dir_name, data_fd, name, RENAME_NOREPLACE) != 0)
        err = errno == EEXIST ? TS_FAIL_PLAIN(TS_E_EXISTS)
                              : TS_FAIL_ERRNO(TS_E_IO, "rename to %s", name);
    else if (err == TS_OK && fsync(data_fd) != 0)
        err = TS_FAIL_ERRNO(TS_E_IO, "sync the data directory");
    close(dir_fd);
    return err;
}

enum ts_err
ts_store_create(const char *data_dir, const char *name, const struct ts_options *options)
{
    char dir_name[sizeof UNFINISHED_PREFIX + TS_MAX_NAME_BYTES + 16];
    struct ts_geometry geometry;
    enum ts_err err;
    int data_fd = -1;

    if (!ts_name_is_valid(name))
        return TS_FAIL_PLAIN(TS_E_NAME);
    err = ts_geometry_of(options, &geometry);
    if (err == TS_OK)
        err = open_data_dir(data_dir, &data_fd);
    if (err != TS_OK)
        return err;
    snprintf(dir_name, sizeof dir_name, UNFINISHED_PREFIX "%s.%ld", name, (long)gettid());
    err = faccessat(data_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? TS_FAIL_PLAIN(TS_E_EXISTS)
                                                                   : check_room(data_fd, &geometry);
    if (err == TS_OK && mkdirat(data_fd, dir_name, 0755) != 0) {
        err = TS_FAIL_ERRNO(TS_E_IO, "create %s/%s", data_dir, dir_name);
    } else if (err == TS_OK) {
        err = make_and_rename(data_fd, dir_name, name, options, &geometry);
        if (err != TS_OK)
            remove_unfinished(data_fd, dir_name);
    }
    close(data_fd);
    return err;
}

void
ts_store_sweep(const char *data_dir)
{
    DIR *dir = opendir(data_dir);
    struct dirent *entry;

    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL) {
        int fd;

        if (strncmp(entry->d_name, UNFINISHED_PREFIX, sizeof UNFINISHED_PREFIX - 1) != 0)
            continue;
        fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            remove_unfinished(dirfd(dir), entry->d_name);
        if (fd >= 0)
            close(fd);
    }
    closedir(dir);
    ts_remove_leftovers(data_dir);
}

/* ---- listing ---- */

static bool
is_store(int data_fd, const char *name)
{
    char path[TS_MAX_NAME_BYTES + sizeof TS_META_FILE + 2];

    if (name[0] == '.' || strlen(name) > TS_MAX_NAME_BYTES)
        return false;
    snprintf(path, sizeof path, "%.*s/" TS_META_FILE, TS_MAX_NAME_BYTES, name);
    return faccessat(data_fd, path, F_OK, 0) == 0;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Turns "a\0b\0" into a sorted array with its text behind it, in one allocation. */
static enum ts_err
pack_names(const char *text, size_t text_bytes, size_t count, char ***out_names)
{
    char **names = malloc((count + 1) * sizeof *names + text_bytes + 1);
    char *at;

    if (names == NULL)
        return TS_FAIL(TS_E_NOMEM, "out of memory");
    at = (char *)(names + count + 1);
    if (text_bytes > 0)
        memcpy(at, text, text_bytes);
    for (size_t i = 0; i < count; i++) {
        names[i] = at;
        at += strlen(at) + 1;
    }
    names[count] = NULL;
    qsort(names, count, sizeof *names, compare_names);
    *out_names = names;
    return TS_OK;
}

enum ts_err
ts_store_list(const char *data_dir, char ***out_names, size_t *out_count)
{
    DIR *dir = opendir(data_dir);
    char *text = NULL;
    size_t text_bytes = 0, count = 0;
    struct dirent *entry;
    enum ts_err err = TS_OK;

    if (dir == NULL)
        return TS_FAIL_ERRNO(TS_E_IO, "open data directory %s", data_dir);
    while (err == TS_OK && (entry = readdir(dir)) != NULL) {
        const size_t bytes = strlen(entry->d_name) + 1;
        char *grown;

        if (!is_store(dirfd(dir), entry->d_name))
            continue;
        grown = realloc(text, text_bytes + bytes);
        if (grown == NULL) {
            err = TS_FAIL(TS_E_NOMEM, "out of memory");
            break;
        }
        text = grown;
        memcpy(text + text_bytes, entry->d_name, bytes);
        text_bytes += bytes;
        count++;
    }
    if (err == TS_OK)
        err = pack_names(text, text_bytes, count, out_names);
    if (err == TS_OK)
        *out_count = count;
    free(text);
    closedir(dir);
    return err;
}
