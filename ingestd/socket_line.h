/* socket_line.h - what one line of the Unix socket's protocol says.
 *
 * Purpose    Take a line apart: the first one (AUTH), a command, or a record with or without a
 *            timestamp of its own. And put together the answer to a record.
 * Invariant  Blanks around a line (space, tab, CR, VT, FF) never count. A record is refused here
 *            exactly if its bytes do not fit the store's type; that of a schema store is not
 *            looked at.
 * Ownership  Spans are views into the line.
 * Threads    No state; any thread. This is the hot path: no allocation, no system call.
 * Errors     TS_E_USAGE for a first line of another shape, TS_E_JSON, TS_E_TIME, TS_E_CONTENT (a
 *            text that is no UTF-8); the thread's text says why.
 */
#ifndef INGESTD_SOCKET_LINE_H
#define INGESTD_SOCKET_LINE_H

#include "common/error.h"
#include "common/json.h"

#include <stddef.h>
#include <stdint.h>

struct socket_auth {
    struct ts_span store, key;
};

/* "AUTH <store> <key>", the word in any case, exactly one blank between the three. */
enum ts_err socket_line_auth(const char *line, size_t bytes, struct socket_auth *out);

enum socket_line_kind {
    SOCKET_LINE_EMPTY, /* gets no answer */
    SOCKET_LINE_QUIT,
    SOCKET_LINE_RECORD
};

struct socket_line {
    enum socket_line_kind kind;
    int64_t time_ns;     /* of "@<ns> "; 0: the store assigns it */
    struct ts_span data; /* what is to be stored */
};

/* A line after the first, without its newline. In text and binary stores a line that starts with
 * '@' but not with "@<integer> " is a record like any other. */
enum ts_err socket_line_parse(const char *line, size_t bytes, enum ts_type type,
                              struct socket_line *out);

/* Room that socket_line_ok() needs. */
#define SOCKET_LINE_OK_BYTES 24

/* Writes "OK <time_ns>\n"; returns its length. */
size_t socket_line_ok(char out[SOCKET_LINE_OK_BYTES], int64_t time_ns);

/* What comes between "ERROR " and the error's text for a record refused with `err`. */
const char *socket_line_error_prefix(enum ts_err err);

#endif
