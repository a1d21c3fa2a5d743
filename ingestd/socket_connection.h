/* socket_connection.h - one feeder on the Unix socket: its lines in, its answers out.
 *
 * Purpose    Read what is there, hand all complete lines to the store as one batch, answer them
 *            with one write; hold what cannot go on yet without ever blocking the loop.
 * Invariant  One answer per non-empty line, in order. While answers wait, for the client to take
 *            them or for the disk to have their records, nothing is read: memory per connection is
 *            bounded by the longest line plus SOCKET_READ_BYTES, and by SOCKET_OUT_BYTES.
 *            Once the client is gone its lines are still stored; only the answers are dropped.
 * Ownership  The loop owns its connections; one that is closed stays in memory until
 *            socket_loop_end_round(), because an event of the same round may still name it.
 * Threads    The loop's thread only.
 * Errors     Told to the client; the connection lives on except after a failed first line.
 */
#ifndef INGESTD_SOCKET_CONNECTION_H
#define INGESTD_SOCKET_CONNECTION_H

#include "ingestd/record.h"
#include "ingestd/settings.h"

#include <sys/queue.h>

/* Asked from the kernel at once: some 1,600 lines of 80 bytes, and still in the L2 cache. */
#define SOCKET_READ_BYTES (128u << 10)
/* A rest of a line up to this size is put before the next read; a longer one gets its own buffer,
 * so that a line which comes in crumbs is not copied again and again. */
#define SOCKET_REST_BYTES 4096u
/* Records per ts_store_append_batch(): their bytes are still in the L1 cache from the check. */
#define SOCKET_BATCH 256u
/* Answers that may pile up before we look whether the client takes them. */
#define SOCKET_OUT_BYTES (256u << 10)
#define SOCKET_MAX_ERROR_BYTES 600u
/* Of schema records that wait to be appended; one that might not fit any more ends the batch. */
#define SOCKET_SCRATCH_BYTES (64u << 10)
/* The longest first line: longer ones are no AUTH. */
#define SOCKET_MAX_AUTH_BYTES 1024u

enum socket_state {
    SOCKET_NEW,    /* its first line is awaited */
    SOCKET_OPEN,   /* lines are records */
    SOCKET_CLOSING /* nothing more is read; closed when the answers are out */
};

struct socket_connection {
    int fd;            /* owned; -1: closed */
    uint32_t interest; /* events registered with epoll */
    enum socket_state state;
    bool is_muted;               /* the client is gone or reads no more: answers are dropped */
    bool is_skipping;            /* inside a line that is too long */
    bool is_ended;               /* the client sends no more */
    bool has_lines;              /* in[] may hold complete lines that wait for out[] */
    struct catalog_store *store; /* held */

    char *in; /* owned; what was read and not handled */
    size_t in_bytes, in_capacity;
    size_t in_scanned; /* of these no newline is in the first so many */

    char *out; /* owned; answers not yet taken */
    size_t out_off, out_bytes, out_capacity;
    uint64_t held_no; /* out[] waits until this record is durable; 0: it does not */
    bool is_held;     /* on the loop's list of those */

    int64_t deadline_ns; /* of the first line */
    LIST_ENTRY(socket_connection) all, held;
    TAILQ_ENTRY(socket_connection) unknown; /* SOCKET_NEW, in order of deadline */
    SLIST_ENTRY(socket_connection) closed;
};

struct socket_loop {
    int epoll_fd;              /* owned */
    struct catalog *catalog;   /* borrowed */
    struct publish *publish;   /* borrowed; may be NULL */
    struct settings *settings; /* borrowed */
    bool is_stopping;
    uint32_t n_connections;

    LIST_HEAD(, socket_connection) all, held;
    TAILQ_HEAD(, socket_connection) unknown;
    SLIST_HEAD(, socket_connection) closed;
    LIST_HEAD(, catalog_store) moved;

    /* Scratch of the one connection that is being served. */
    struct ts_batch_item *items; /* SOCKET_BATCH */
    unsigned n_items;
    struct record_rules rules; /* of its store, while its lines are taken */
    struct ts_text scratch;    /* what items of a schema store point into: it does not move while
                                * there are any */
    char *in;                  /* SOCKET_REST_BYTES + SOCKET_READ_BYTES */
    char *out;                 /* SOCKET_OUT_BYTES and one batch and one error more */
    size_t out_bytes;
    uint64_t last_no; /* of the newest record appended and not yet answered; 0: none */

    _Atomic uint64_t n_records, n_refused; /* for the log */
};

enum ts_err socket_loop_init(struct socket_loop *loop) TS_MUST_USE;
void socket_loop_done(struct socket_loop *loop);

/* Takes a connected non-blocking descriptor, which is closed on failure too. */
enum ts_err socket_connection_open(struct socket_loop *loop, int fd, int64_t deadline_ns);

/* Something happened to it: `events` as epoll tells. */
void socket_connection_event(struct socket_connection *connection, struct socket_loop *loop,
                             uint32_t events);

/* Answers and closes it, for a first line that never came. */
void socket_connection_refuse(struct socket_connection *connection, struct socket_loop *loop,
                              const char *text);
void socket_connection_close(struct socket_connection *connection, struct socket_loop *loop);

/* Some store has more durable records: goes on with those that waited for it. */
void socket_loop_durable(struct socket_loop *loop);

/* Reads no more; each connection closes as soon as what was read is answered. */
void socket_loop_stop(struct socket_loop *loop);

/* To be called once all events of a round are handled: asks for syncs, tells queryd, frees. */
void socket_loop_end_round(struct socket_loop *loop);

#endif
