/* smallfile.h - small files that are replaced whole: keys, schema, connections.
 *
 * Purpose    Replace a small file so that a crash at any point leaves the old or the new one, and
 *            read one without trusting its size or kind.
 * Invariant  A reader sees one whole version: files are never written in place. At most one
 *            temporary file per name exists, ".<name>.new"; the next replacement removes it.
 * Ownership  ts_smallfile_read*() hand out memory that the caller frees with free().
 * Threads    Any. Who reads, changes and replaces a file holds its directory's lock meanwhile
 *            (ts_smallfile_lock): between two descriptors it also keeps threads apart.
 * Errors     TS_E_NOT_FOUND (no such file), TS_E_IO, TS_E_FULL, TS_E_LIMIT, TS_E_LOCKED,
 *            TS_E_NOMEM. Outputs are untouched and the old file stays on failure; the one
 *            exception is told at ts_smallfile_replace().
 */
#ifndef TS_SMALLFILE_H
#define TS_SMALLFILE_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#define TS_SMALLFILE_NAME_BYTES 128 /* of a name, without NUL */

/* Opens directory `path` for the calls below. TS_E_NOT_FOUND if there is none. */
enum ts_err ts_smallfile_open_dir(const char *path, int *out_dir_fd) TS_MUST_USE;

/* Takes the directory's lock, which dies with the descriptor. TS_E_LOCKED after wait_ms. */
enum ts_err ts_smallfile_lock(int dir_fd, unsigned wait_ms) TS_MUST_USE;

/* Puts bytes[0..n) in the place of `name` below dir_fd: temporary file, fsync, rename, fsync of
 * the directory. The file gets exactly `mode`; made by root it gets the directory's owner, whose
 * daemons have to read it. If only the last step fails (TS_E_IO), the new file is in place but
 * a power failure may still bring the old one back. */
enum ts_err ts_smallfile_replace(int dir_fd, const char *name, const void *bytes, size_t n,
                                 mode_t mode) TS_MUST_USE;

/* Which file was read, and that file held open: while it is, no other file gets its inode number,
 * so that every replacement shows, however soon it came. Starts as {.fd = -1}. */
struct ts_smallfile_watch {
    int fd; /* owned; -1: no file */
    struct stat stat;
};

/* All of the regular file `name` below dir_fd, with a NUL behind it that *out_n does not count.
 * More than `limit` bytes: TS_E_LIMIT. Never blocks on a FIFO, never follows a link. `watch`, if
 * not NULL, becomes one of this file, what it was is closed; on failure it is of no file. */
enum ts_err ts_smallfile_read(int dir_fd, const char *name, size_t limit, char **out_bytes,
                              size_t *out_n, struct ts_smallfile_watch *watch) TS_MUST_USE;

/* True if `path` still is the file that was read, and unchanged. One system call. */
bool ts_smallfile_is_current(const struct ts_smallfile_watch *watch, const char *path);

void ts_smallfile_watch_done(struct ts_smallfile_watch *watch);

/* The same for a path that the operator named: links are followed. */
enum ts_err ts_smallfile_read_path(const char *path, size_t limit, char **out_bytes,
                                   size_t *out_n) TS_MUST_USE;

#endif
