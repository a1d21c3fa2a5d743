/* http_get.h - one GET, one answer: is a daemon there, and what does it say?
 *
 * Purpose    Enough of an HTTP client for `tsstore status`, over TCP or TLS.
 * Invariant  It ends in time: one deadline for looking up, connecting, sending and reading. It is
 *            bounded: what sends more than HTTP_GET_MAX_BYTES is cut off. It asks with HTTP/1.0, so
 *            that the answer is never chunked, and takes none that does not tell its length.
 * Ownership  The text is the caller's.
 * Threads    Any; nng keeps threads of its own behind it.
 * Errors     TS_E_UNAVAILABLE: nobody listens there, or hung up. TS_E_TIMEOUT. TS_E_PROTOCOL: that
 *            is no HTTP answer. TS_E_LIMIT, TS_E_NOMEM. A status other than 200 is an answer.
 * Units      milliseconds
 */
#ifndef CLI_HTTP_GET_H
#define CLI_HTTP_GET_H

#include "common/error.h"
#include "common/json.h"
#include "common/text.h"

#include <stdbool.h>
#include <stdint.h>

#define HTTP_GET_MAX_BYTES (16u * 1024u * 1024u)

/* Where a server is. */
struct http_place {
    const char *host; /* borrowed; 0.0.0.0 is asked at 127.0.0.1 */
    uint16_t port;
    bool has_tls;
};

struct http_got {
    int status;
    struct ts_span body; /* view into the text of http_get() */
};

/* "https://127.0.0.1:21080" */
void http_place_url(const struct http_place *place, struct ts_text *out);

/* Asks for `path` ("/health"). The certificate is not checked: it is made for the name that clients
 * use, not for the loopback, nothing secret is sent, and what comes back is only shown. */
enum ts_err http_get(const struct http_place *place, const char *path, unsigned timeout_ms,
                     struct ts_text *text, struct http_got *out) TS_MUST_USE;

/* Reads an answer, complete or not: *out_is_whole tells. TS_E_PROTOCOL. */
enum ts_err http_read_answer(const char *text, size_t bytes, bool *out_is_whole,
                             struct http_got *out) TS_MUST_USE;

#endif
