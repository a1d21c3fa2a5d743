/* lifecycle.h - what a daemon owes to the one who started it.
 *
 * Purpose    Signals as events, readiness and watchdog for a service manager, and the one line on
 *            standard output that scripts wait for.
 * Threads    lifecycle_init() in main() before any other thread is made: they inherit its signal
 *            mask. The rest from the main thread, lifecycle_stop_now() from any.
 * Errors     TS_E_SYSTEM from lifecycle_init(). Telling the service manager never fails a daemon.
 * Source     sd_notify(3): the protocol is a datagram to $NOTIFY_SOCKET.
 */
#ifndef DAEMON_LIFECYCLE_H
#define DAEMON_LIFECYCLE_H

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

enum lifecycle_event {
    LIFECYCLE_NOTHING, /* the timeout passed */
    LIFECYCLE_STOP,    /* SIGTERM, SIGINT, or lifecycle_stop_now() */
    LIFECYCLE_RELOAD   /* SIGHUP */
};

struct lifecycle {
    int signal_fd;       /* owned; readable when a signal waits, for programs with a loop */
    int stop_fd;         /* owned; readable after lifecycle_stop_now() */
    int64_t watchdog_ns; /* how often the service manager wants a sign of life; 0: never */
    int64_t next_ns;     /* CLOCK_MONOTONIC of the next one */
};

/* Each store that is open has files mapped, each client a descriptor: the usual soft limit of 1024
 * is soon reached, and raising it to the hard one is what it is there for. */
void lifecycle_raise_descriptor_limit(void);

/* Blocks SIGTERM, SIGINT and SIGHUP for this thread and all it starts, ignores SIGPIPE. */
enum ts_err lifecycle_init(struct lifecycle *life) TS_MUST_USE;
void lifecycle_done(struct lifecycle *life);

/* Waits up to timeout_ms (-1: for ever) and keeps the watchdog fed meanwhile. */
enum lifecycle_event lifecycle_wait(struct lifecycle *life, int timeout_ms);

/* Makes lifecycle_wait() answer LIFECYCLE_STOP. */
void lifecycle_stop_now(struct lifecycle *life);

/* Prints "listening <text>" as one line on standard output and reports readiness. The text is
 * that of the contract: "http=127.0.0.1:21080 socket=… run=… data=…". */
void lifecycle_ready(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reports that a reload began, and that it ended. */
void lifecycle_reloading(void);
void lifecycle_reloaded(void);

/* Reports that the end began. */
void lifecycle_stopping(void);

#endif
