/* http_get.c - a byte stream of nng, TCP or TLS alike, and the few words of HTTP.
 *
 * Not nng's own HTTP client: it believes a Content-Length before it has seen a byte of the body.
 */
#include "cli/http_get.h"

#include "cli/when.h"

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define READ_BYTES 16384u
#define HEAD_MAX_BYTES 65536u

/* ---- the answer ---- */

/* "HTTP/1.1 200 OK" */
static bool
read_status(const char *line, size_t bytes, int *out_status)
{
    int status = 0;

    if (bytes < 12 || memcmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ')
        return false;
    for (int i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9')
            return false;
        status = status * 10 + (line[i] - '0');
    }
    *out_status = status;
    return bytes == 12 || line[12] == ' ';
}

static bool
has_name(const char *line, size_t bytes, const char *name)
{
    const size_t name_bytes = strlen(name);

    return bytes > name_bytes && line[name_bytes] == ':' &&
           strncasecmp(line, name, name_bytes) == 0;
}

static bool
read_length(const char *text, size_t bytes, size_t *out_length)
{
    size_t length = 0;

    while (bytes > 0 && (*text == ' ' || *text == '\t')) {
        text++;
        bytes--;
    }
    if (bytes == 0 || bytes > 9)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        length = length * 10 + (size_t)(text[i] - '0');
    }
    *out_length = length;
    return true;
}

/* One line of the head behind the first. */
static enum ts_err
read_header(const char *line, size_t bytes, bool *has_length, size_t *length)
{
    static const char name[] = "Content-Length";

    if (has_name(line, bytes, "Transfer-Encoding"))
        return TS_FAIL(TS_E_PROTOCOL, "the answer is chunked, which HTTP/1.0 does not know");
    if (!has_name(line, bytes, name))
        return TS_OK;
    if (*has_length || !read_length(line + sizeof name, bytes - sizeof name, length))
        return TS_FAIL(TS_E_PROTOCOL, "the answer has no length that can be read");
    *has_length = true;
    return TS_OK;
}

enum ts_err
http_read_answer(const char *text, size_t bytes, bool *out_is_whole, struct http_got *out)
{
    const char *head_end = bytes > 0 ? memmem(text, bytes, "\r\n\r\n", 4) : NULL;
    const char *at = text;
    bool has_length = false;
    size_t length = 0, body_bytes;
    int status = 0;

    *out_is_whole = false;
    if (head_end == NULL && bytes < HEAD_MAX_BYTES)
        return TS_OK;
    if (head_end == NULL)
        return TS_FAIL(TS_E_PROTOCOL, "the head of the answer does not end");
    while (at < head_end + 2) {
        const char *line_end = memmem(at, (size_t)(head_end + 2 - at), "\r\n", 2);
        const size_t line_bytes = (size_t)(line_end - at);
        enum ts_err err = TS_OK;

        if (at != text)
            err = read_header(at, line_bytes, &has_length, &length);
        else if (!read_status(at, line_bytes, &status))
            err = TS_FAIL(TS_E_PROTOCOL, "that is no HTTP answer");
        if (err != TS_OK)
            return err;
        at = line_end + 2;
    }
    if (!has_length)
        return TS_FAIL(TS_E_PROTOCOL, "the answer does not tell its length");
    at = head_end + 4;
    body_bytes = bytes - (size_t)(at - text);
    *out_is_whole = body_bytes >= length;
    if (body_bytes > length)
        body_bytes = length;
    *out = (struct http_got){.status = status, .body = {.at = at, .bytes = body_bytes}};
    return TS_OK;
}

/* ---- the connection ---- */

void
http_place_url(const struct http_place *place, struct ts_text *out)
{
    const bool is_any = strcmp(place->host, "0.0.0.0") == 0;

    ts_text_printf(out, "%s://%s:%u", place->has_tls ? "https" : "http",
                   is_any ? "127.0.0.1" : place->host, place->port);
}

struct talk {
    nng_stream_dialer *dialer; /* owned */
    nng_stream *stream;        /* owned */
    nng_aio *aio;              /* owned */
    nng_tls_config *tls;       /* owned */
    int64_t deadline_ns;
};

static enum ts_err
fail_nng(int rc, const char *what)
{
    switch (rc) {
    case NNG_ETIMEDOUT:
        return TS_FAIL_PLAIN(TS_E_TIMEOUT);
    case NNG_ENOMEM:
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    default:
        return TS_FAIL(TS_E_UNAVAILABLE, "%s: %s", what, nng_strerror(rc));
    }
}

/* Gives the next step what is left of the time; false if that is nothing. */
static bool
set_timeout(struct talk *talk)
{
    const int64_t left_ns = talk->deadline_ns - cli_monotonic_ns();

    if (left_ns <= 0)
        return false;
    nng_aio_set_timeout(talk->aio, (nng_duration)(left_ns / 1000000 + 1));
    return true;
}

static enum ts_err
dial(struct talk *talk, const struct http_place *place)
{
    const char *host = strcmp(place->host, "0.0.0.0") == 0 ? "127.0.0.1" : place->host;
    char url[300];
    int rc;

    snprintf(url, sizeof url, "%s://%.255s:%u", place->has_tls ? "tls+tcp" : "tcp", host,
             place->port);
    rc = nng_aio_alloc(&talk->aio, NULL, NULL);
    if (rc == 0)
        rc = nng_stream_dialer_alloc(&talk->dialer, url);
    if (rc == 0 && place->has_tls)
        rc = nng_tls_config_alloc(&talk->tls, NNG_TLS_MODE_CLIENT);
    if (rc == 0 && place->has_tls)
        rc = nng_tls_config_auth_mode(talk->tls, NNG_TLS_AUTH_MODE_NONE);
    if (rc == 0 && place->has_tls)
        rc = nng_stream_dialer_set_ptr(talk->dialer, NNG_OPT_TLS_CONFIG, talk->tls);
    if (rc != 0)
        return fail_nng(rc, "prepare a connection");
    if (!set_timeout(talk))
        return TS_FAIL_PLAIN(TS_E_TIMEOUT);
    nng_stream_dialer_dial(talk->dialer, talk->aio);
    nng_aio_wait(talk->aio);
    rc = nng_aio_result(talk->aio);
    if (rc != 0)
        return fail_nng(rc, "connect");
    talk->stream = nng_aio_get_output(talk->aio, 0);
    return TS_OK;
}

/* One send or receive; *out_n is how much of it was done. */
static int
transfer(struct talk *talk, void (*step)(nng_stream *, nng_aio *), void *data, size_t bytes,
         size_t *out_n)
{
    nng_iov iov = {.iov_buf = data, .iov_len = bytes};
    int rc = nng_aio_set_iov(talk->aio, 1, &iov);

    if (rc != 0)
        return rc;
    if (!set_timeout(talk))
        return NNG_ETIMEDOUT;
    step(talk->stream, talk->aio);
    nng_aio_wait(talk->aio);
    *out_n = nng_aio_count(talk->aio);
    return nng_aio_result(talk->aio);
}

static enum ts_err
ask(struct talk *talk, const struct http_place *place, const char *path)
{
    struct ts_text request;
    enum ts_err err = TS_OK;
    size_t sent = 0, n = 0;

    ts_text_init(&request);
    ts_text_printf(&request, "GET %s HTTP/1.0\r\nHost: %s:%u\r\n", path, place->host, place->port);
    ts_text_puts(&request, "User-Agent: tsstore/" TS_VERSION "\r\nAccept: application/json\r\n"
                           "Connection: close\r\n\r\n");
    if (request.failed)
        err = TS_FAIL_PLAIN(TS_E_NOMEM);
    while (err == TS_OK && sent < request.bytes) {
        const int rc = transfer(talk, nng_stream_send, request.at + sent, request.bytes - sent, &n);

        if (rc != 0)
            err = fail_nng(rc, "send");
        sent += n;
    }
    ts_text_done(&request);
    return err;
}

static enum ts_err
hear(struct talk *talk, struct ts_text *text, struct http_got *out)
{
    bool is_whole = false;
    enum ts_err err;
    size_t n = 0;
    int rc;

    for (;;) {
        if (!ts_text_reserve(text, READ_BYTES))
            return TS_FAIL_PLAIN(TS_E_NOMEM);
        rc = transfer(talk, nng_stream_recv, text->at + text->bytes, READ_BYTES, &n);
        if (rc != 0 || n == 0)
            break;
        text->bytes += n;
        err = http_read_answer(text->at, text->bytes, &is_whole, out);
        if (err != TS_OK || is_whole)
            return err;
        if (text->bytes > HTTP_GET_MAX_BYTES)
            return TS_FAIL(TS_E_LIMIT, "the answer is longer than %u bytes", HTTP_GET_MAX_BYTES);
    }
    if (rc == NNG_ETIMEDOUT)
        return TS_FAIL_PLAIN(TS_E_TIMEOUT);
    return TS_FAIL(TS_E_UNAVAILABLE, "the connection ended before the answer did");
}

enum ts_err
http_get(const struct http_place *place, const char *path, unsigned timeout_ms,
         struct ts_text *text, struct http_got *out)
{
    struct talk talk = {.deadline_ns = cli_monotonic_ns() + timeout_ms * INT64_C(1000000)};
    enum ts_err err;

    ts_text_clear(text);
    err = dial(&talk, place);
    if (err == TS_OK)
        err = ask(&talk, place, path);
    if (err == TS_OK)
        err = hear(&talk, text, out);
    nng_stream_free(talk.stream);
    nng_stream_dialer_free(talk.dialer);
    if (talk.tls != NULL) /* unlike the others it wants one */
        nng_tls_config_free(talk.tls);
    nng_aio_free(talk.aio);
    return err;
}
