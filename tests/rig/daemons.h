/* daemons.h - a site of real daemons for benches and stress tests, and plain clients of it.
 *
 * Purpose    Start, stop, kill; speak the socket's line protocol and HTTP with as little of our
 *            own code in between as possible, because it is measured with the rest.
 * Ownership  One site per program; site_end() stops what runs. Its directory is scratch_dir()'s.
 * Threads    Starting and stopping from one thread; a feeder belongs to one thread.
 * Errors     die(), but for the calls that say that a connection may break.
 *
 * The programs are those of $TSSTORE_BIN_DIR (build/bin).
 */
#ifndef DAEMONS_H
#define DAEMONS_H

#include "common/tsstore.h"
#include "tests/rig/measure.h"

struct daemon {
    pid_t pid; /* 0: does not run */
    int port;  /* of its HTTP; 0: none */
    int out_fd;
};

struct site {
    char data[200], run[200], socket[220], log[220];
    struct daemon ingestd, queryd;
    int ingestd_cpu, queryd_cpu; /* -1: any */
};
extern struct site site;

#define STORE_KEY_BYTES 64

/* Directories; no process yet. */
void site_begin(void);
void site_end(void);

/* Creates a store and its first key in the site's data directory. ingestd finds it there. */
void site_create_store(const char *name, const struct ts_options *options,
                       char out_key[STORE_KEY_BYTES]);

/* Starts and waits for the "listening" line; the time that took is returned. */
int64_t start_ingestd(void);
int64_t start_queryd(void);
/* Starts ingestd and does not wait. */
void spawn_ingestd(void);
void stop_daemon(struct daemon *daemon);
void kill_daemon(struct daemon *daemon);

/* ---- feeders: the Unix socket ---- */

struct feeder {
    int fd;
    size_t start, used;
    char buffer[65536];
};

/* Connects and sends AUTH. False if nobody listens, or the connection broke. */
bool feeder_try_open(struct feeder *feeder, const char *store, const char *key);
void feeder_open(struct feeder *feeder, const char *store, const char *key);
void feeder_close(struct feeder *feeder);

/* All of it; false if the connection broke. */
bool send_all(int fd, const void *data, size_t bytes);

/* The next answer without its newline; NULL if the connection broke. Valid until the next call. */
char *feeder_read(struct feeder *feeder);

/* ---- TCP ---- */

int tcp_connect_to(int port);

/* A listening Unix socket, and a connection to one. */
int unix_listen_at(const char *path);
int unix_connect_to(const char *path);

#endif
