/* child.h - a daemon that this process started and answers for.
 *
 * Purpose    Start ingestd or queryd, read what it says, end it, and never leave it behind.
 * Invariant  A child dies with its parent, however that one ends (PR_SET_PDEATHSIG). It has a
 *            session of its own: Ctrl-C on the terminal reaches the parent only, which ends its
 *            children in order.
 * Ownership  child_start() fills *out, child_stop() waits and gives everything back.
 * Threads    The thread that starts a child must outlive it.
 * Errors     TS_E_NOT_FOUND: no such program; TS_E_SYSTEM.
 */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include "common/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_LINE_BYTES 2048

struct child {
    const char *name; /* borrowed */
    pid_t pid;        /* 0: none */
    int pid_fd;       /* owned; readable once it ended; -1: none */
    int out_fd;       /* owned; its standard output; -1: none, or ended */
    size_t line_bytes;
    char line[CHILD_LINE_BYTES]; /* of its output, not yet whole */
};

#define CHILD_NONE                                                                                 \
    {                                                                                              \
        .pid_fd = -1, .out_fd = -1                                                                 \
    }

/* Where program `name` is: beside the running one, else in PATH. */
enum ts_err child_find_program(const char *name, char out_path[PATH_MAX]) TS_MUST_USE;

/* Starts argv[0]; argv ends in NULL. */
enum ts_err child_start(const char *name, char *const *argv, struct child *out) TS_MUST_USE;

/* Reads once from its output, which must be ready, and takes a whole line out of it. False if
 * there is none yet. A longer line is cut in pieces. */
bool child_read_line(struct child *child, char out_line[CHILD_LINE_BYTES]);

/* True once it ended; *out_text then says how: "exit code 1", "signal 9". */
bool child_has_ended(struct child *child, char *out_text, size_t out_bytes);

/* Sends it a signal, if it still is there. */
void child_signal(const struct child *child, int signal_no);

/* Asks it to end with SIGTERM and waits; after `patience_ns` it is killed. True if it ended well:
 * by itself with exit code 0. A child that is none did. */
bool child_stop(struct child *child, int64_t patience_ns);

#endif
