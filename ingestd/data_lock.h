/* data_lock.h - proof that a process is the only writer of a data directory.
 *
 * Purpose    Hold <data>/.ingestd.lock for the life of the process; say who holds it otherwise.
 * Invariant  While the descriptor is open no other process gets the lock. The kernel gives it back
 *            when the process dies, however it dies; the file itself stays.
 * Threads    Any.
 * Errors     TS_E_LOCKED (the text names the holder's pid), TS_E_IO.
 */
#ifndef INGESTD_DATA_LOCK_H
#define INGESTD_DATA_LOCK_H

#include "common/error.h"

#define DATA_LOCK_FILE ".ingestd.lock"

/* Creates the data directory if it is missing (0755, parents too). */
enum ts_err data_lock_open(const char *data_dir, int *out_fd) TS_MUST_USE;
void data_lock_close(int fd);

/* Creates a directory and its parents, 0755 less the umask, where they are missing. */
enum ts_err data_lock_make_dir(const char *path) TS_MUST_USE;

#endif
