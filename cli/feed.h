/* feed.h - lines into a store, over ingestd's Unix socket.
 *
 * Purpose    The connection that both feeds use, and the two feeds.
 * Invariant  A line counts as stored only when its OK was read. What was sent and not answered is
 *            told as such, never sent twice: the server may have stored it.
 * Ownership  feed_open() fills the connection, feed_close() gives it back; a closed one has fd -1.
 *            The texts of struct feed_target are borrowed.
 * Threads    One thread per connection.
 * Errors     TS_E_UNAVAILABLE: no server there, or it went away. TS_E_KEY_INVALID: it refused
 *            store or key, trying again is of no use. TS_E_PROTOCOL: it does not speak this.
 */
#ifndef CLI_FEED_H
#define CLI_FEED_H

#include "cli/arguments.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FEED_ANSWER_BYTES 4096 /* longest answer line that is understood */

struct feed_target {
    const char *socket_path, *store, *key;
};

struct feed_socket {
    int fd; /* owned; non-blocking; -1 when closed */
    size_t off, bytes;
    char answers[FEED_ANSWER_BYTES * 16]; /* read and not yet taken: answers[off..bytes) */
};

/* Connects and authenticates, in bounded time. */
enum ts_err feed_open(const struct feed_target *target, struct feed_socket *out) TS_MUST_USE;

void feed_close(struct feed_socket *socket);

/* Sends `line`, whose newline is part of it, and waits for its answer, in bounded time.
 * *out_is_stored: the answer was OK; else out_answer says why not. After an error the connection
 * is of no use any more. */
enum ts_err feed_ask(struct feed_socket *socket, const char *line, size_t bytes,
                     bool *out_is_stored, char out_answer[FEED_ANSWER_BYTES]) TS_MUST_USE;

/* Reads what the server sent so far. TS_E_UNAVAILABLE at its end of file. */
enum ts_err feed_receive(struct feed_socket *socket) TS_MUST_USE;

/* Takes the next whole answer line; false if none is there. */
bool feed_take_answer(struct feed_socket *socket, char out_answer[FEED_ANSWER_BYTES]);

bool feed_answer_is_ok(const char *answer);

/* What was asked for, and what came of it. */
struct feed_job {
    const struct cli_common *common;
    struct feed_target target;
    int64_t interval_ns; /* of the readings; feed_lines() has none */
    uint64_t count;      /* readings; 0: until Ctrl-C */

    uint64_t n_stored, n_refused;
    uint64_t n_unanswered; /* sent, and the connection was lost before the answer */
    uint64_t n_missed;     /* readings not sent because there was no server */
    uint64_t n_lost_connections;
};

/* Readings of this machine until the count is reached or Ctrl-C; comes back after a lost
 * connection. An error if the first connection fails, or the server refuses store or key. */
enum ts_err feed_system(struct feed_job *job) TS_MUST_USE;

/* Standard input to its end, many lines in flight. An error if the connection fails. */
enum ts_err feed_lines(struct feed_job *job) TS_MUST_USE;

/* Tells one refused line on standard error: the first ten, then only that there are more. */
void feed_tell_refusal(const struct feed_job *job, uint64_t line_no, const char *answer);

#endif
