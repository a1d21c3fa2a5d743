/* socket_batch.h - the lines of one read: checked, appended as a batch, answered.
 *
 * Purpose    The part of a feeder's connection that knows what lines mean and nothing of sockets.
 * Invariant  Answers are in loop->out in the order of their lines; it has room for them, because
 *            no line is taken once SOCKET_OUT_BYTES are in it.
 * Threads    The loop's thread only. No allocation per line.
 * Errors     Answered to the client.
 */
#ifndef INGESTD_SOCKET_BATCH_H
#define INGESTD_SOCKET_BATCH_H

#include "ingestd/socket_connection.h"

/* The longest line that is taken now. */
size_t socket_batch_max_line(const struct socket_connection *connection,
                             const struct socket_loop *loop);

/* Handles the complete lines of at[0..bytes), whose first `scanned` bytes hold no newline. Stops
 * early when the answers fill loop->out, after the first line of a connection, or when it is
 * closing. Returns how many bytes were used. */
size_t socket_batch_take(struct socket_connection *connection, struct socket_loop *loop,
                         const char *at, size_t bytes, size_t scanned);

/* Answers a line that is too long; the caller skips its rest. */
void socket_batch_too_long(struct socket_connection *connection, struct socket_loop *loop);

/* Answers "ERROR <prefix><text>\n". The text may quote a client: it stays one line. */
void socket_batch_error(struct socket_loop *loop, const char *prefix, const char *text);

#endif
