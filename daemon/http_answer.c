/* http_answer.c - heads, bodies and chunks, each in one send().
 *
 * The body of an answer is composed in the thread's buffer behind HTTP_HEAD_ROOM free bytes; the
 * head is written right before it when its length is known. So neither is copied together. */
#include "daemon/http_internal.h"

#include "common/log.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_ORIGIN_BYTES 512
#define MAX_CONTENT_TYPE_BYTES 256
#define WRITE_BYTES ((size_t)16 << 20) /* at most, in one call of civetweb, which counts in int */

#define CORS_REST                                                                                  \
    "Access-Control-Allow-Methods: GET, POST, PUT, DELETE, OPTIONS\r\n"                            \
    "Access-Control-Allow-Headers: Origin, Content-Type, Accept, X-API-Key, Authorization, "       \
    "X-Admin-Key, Idempotency-Key, X-Request-Id\r\n"                                               \
    "Access-Control-Expose-Headers: X-Request-Id, Retry-After\r\n"                                 \
    "Access-Control-Allow-Credentials: true\r\n"                                                   \
    "Access-Control-Max-Age: 86400\r\n"

/* A head that is being written. Its parts are bounded, so HTTP_HEAD_ROOM always suffices. */
struct head {
    char at[HTTP_HEAD_ROOM];
    size_t bytes;
};

static void
head_add(struct head *head, const char *text, size_t bytes)
{
    if (bytes > sizeof head->at - head->bytes)
        return;
    memcpy(head->at + head->bytes, text, bytes);
    head->bytes += bytes;
}

static void
head_puts(struct head *head, const char *text)
{
    head_add(head, text, strlen(text));
}

/* For a literal: its length is known when it is compiled. */
#define HEAD_ADD(head, literal) head_add((head), (literal), sizeof(literal) - 1)

static void
head_number(struct head *head, uint64_t number)
{
    char digits[TS_FORMAT_NUMBER_BYTES];

    head_add(head, digits, ts_format_u64(digits, number));
}

static bool
has_control_byte(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

bool
http_request_write(struct http_request *req, const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0 && !req->is_dead) {
        const size_t piece = bytes < WRITE_BYTES ? bytes : WRITE_BYTES;
        const int sent = mg_write(req->conn, at, piece);

        if (sent < 0 || (size_t)sent != piece) {
            req->is_dead = true;
            mg_disable_connection_keep_alive(req->conn);
        } else {
            req->answer_bytes += piece;
        }
        at += piece;
        bytes -= piece;
    }
    return !req->is_dead;
}

void
http_add_answer_header(struct http_request *req, const char *name, const char *value)
{
    const size_t name_bytes = strlen(name), value_bytes = strlen(value);
    char *to = req->added + req->added_bytes;

    if (has_control_byte(name) || has_control_byte(value) ||
        name_bytes + value_bytes + 4 > sizeof req->added - req->added_bytes)
        return;
    memcpy(to, name, name_bytes);
    memcpy(to + name_bytes, ": ", 2);
    memcpy(to + name_bytes + 2, value, value_bytes);
    memcpy(to + name_bytes + 2 + value_bytes, "\r\n", 2);
    req->added_bytes += name_bytes + value_bytes + 4;
}

/* Decides whether the connection lives on: an answer that comes before a large body was read must
 * end it, or the whole body would have to be read first. */
static void
decide_keep_alive(struct http_request *req)
{
    const bool is_unread =
        !req->has_body && (req->info->content_length > 0 || req->is_chunked_body);

    if (is_unread && (req->is_chunked_body || req->info->content_length > HTTP_DISCARD_BYTES ||
                      http_header(req, "Expect") != NULL))
        req->closes = true;
    if (req->closes)
        mg_disable_connection_keep_alive(req->conn);
}

static void
add_cors(struct http_request *req, struct head *head)
{
    const char *origin = http_header(req, "Origin");

    if (origin == NULL || origin[0] == '\0' || strlen(origin) > MAX_ORIGIN_BYTES ||
        has_control_byte(origin)) {
        HEAD_ADD(head, "Access-Control-Allow-Origin: *\r\n" CORS_REST);
    } else {
        HEAD_ADD(head, "Access-Control-Allow-Origin: ");
        head_puts(head, origin);
        HEAD_ADD(head, "\r\nVary: Origin\r\n" CORS_REST);
    }
}

static void
add_date(struct http_request *req, struct head *head)
{
    struct http_thread *thread = req->thread;
    const time_t now_s = time(NULL);

    if (now_s != thread->date_s) {
        struct tm tm;

        gmtime_r(&now_s, &tm);
        strftime(thread->date, sizeof thread->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        thread->date_s = now_s;
    }
    head_puts(head, thread->date);
}

static void
add_connection(struct http_request *req, struct head *head)
{
    if (req->closes)
        HEAD_ADD(head, "Connection: close\r\n");
    else if (req->is_old)
        HEAD_ADD(head, "Connection: keep-alive\r\n");
}

enum body_length { BODY_NONE, BODY_KNOWN, BODY_CHUNKED, BODY_UNTIL_CLOSE };

static void
compose_head(struct http_request *req, int status, const char *content_type,
             enum body_length length, uint64_t bytes, struct head *head)
{
    head->bytes = 0;
    req->status = status;
    decide_keep_alive(req);
    HEAD_ADD(head, "HTTP/1.1 ");
    head_number(head, (uint64_t)status);
    HEAD_ADD(head, " ");
    head_puts(head, http_status_text(status));
    HEAD_ADD(head, "\r\n");
    if (content_type != NULL && strlen(content_type) <= MAX_CONTENT_TYPE_BYTES &&
        !has_control_byte(content_type)) {
        HEAD_ADD(head, "Content-Type: ");
        head_puts(head, content_type);
        HEAD_ADD(head, "\r\n");
    }
    if (length == BODY_KNOWN) {
        HEAD_ADD(head, "Content-Length: ");
        head_number(head, bytes);
        HEAD_ADD(head, "\r\n");
    } else if (length == BODY_CHUNKED) {
        HEAD_ADD(head, "Transfer-Encoding: chunked\r\n");
    }
    add_date(req, head);
    add_cors(req, head);
    add_connection(req, head);
    HEAD_ADD(head, "X-Request-Id: ");
    head_puts(head, req->id);
    HEAD_ADD(head, "\r\n");
    head_add(head, req->added, req->added_bytes);
    HEAD_ADD(head, "\r\n");
}

struct ts_text *
http_out(struct http_request *req)
{
    return &req->thread->out;
}

/* Empties the thread's buffer but for the room of a head. */
static void
out_clear(struct http_request *req)
{
    struct ts_text *out = &req->thread->out;

    ts_text_clear(out);
    if (ts_text_reserve(out, HTTP_HEAD_ROOM))
        out->bytes = HTTP_HEAD_ROOM;
}

/* Sends `head` and the body in the thread's buffer as one piece of memory. */
static void
send_with_head(struct http_request *req, const struct head *head)
{
    struct ts_text *out = &req->thread->out;
    char *start = out->at + HTTP_HEAD_ROOM - head->bytes;

    memcpy(start, head->at, head->bytes);
    http_request_write(req, start,
                       req->is_head ? head->bytes : head->bytes + out->bytes - HTTP_HEAD_ROOM);
}

static void
answer_no_memory(struct http_request *req)
{
    static const char body[] = "{\"error\":\"out of memory\",\"code\":\"memory\"}";
    struct head head;

    compose_head(req, 500, HTTP_TYPE_JSON, BODY_KNOWN, sizeof body - 1, &head);
    http_request_write(req, head.at, head.bytes);
    if (!req->is_head)
        http_request_write(req, body, sizeof body - 1);
    req->state = HTTP_ANSWERED;
}

static void
begin_stream(struct http_request *req, int status, const char *content_type)
{
    struct head head;

    /* HTTP/1.0 knows no chunks: the end of the connection is the end of the body. */
    if (req->is_old)
        req->closes = true;
    compose_head(req, status, content_type, req->is_old ? BODY_UNTIL_CLOSE : BODY_CHUNKED, 0,
                 &head);
    http_request_write(req, head.at, head.bytes);
    req->state = HTTP_STREAMING;
}

/* Sends the buffer as one chunk, `tail` behind it, and empties it. */
static void
send_chunk(struct http_request *req, const char *tail)
{
    struct ts_text *out = &req->thread->out;
    const size_t bytes = out->bytes - HTTP_HEAD_ROOM;
    char size[20];
    size_t size_bytes = 0;

    if (!req->is_old) {
        if (bytes > 0) {
            size_bytes = (size_t)snprintf(size, sizeof size, "%zx\r\n", bytes);
            ts_text_add(out, "\r\n", 2);
        }
        ts_text_puts(out, tail);
    }
    if (out->failed) {
        req->is_dead = true;
        mg_disable_connection_keep_alive(req->conn);
        return;
    }
    memcpy(out->at + HTTP_HEAD_ROOM - size_bytes, size, size_bytes);
    http_request_write(req, out->at + HTTP_HEAD_ROOM - size_bytes,
                       size_bytes + out->bytes - HTTP_HEAD_ROOM);
    out_clear(req);
}

bool
http_send_part(struct http_request *req, int status, const char *content_type)
{
    const struct ts_text *out = &req->thread->out;

    if (out->failed || req->is_dead)
        return false;
    if (out->bytes - HTTP_HEAD_ROOM < HTTP_STREAM_BYTES)
        return true;
    if (req->state == HTTP_UNANSWERED)
        begin_stream(req, status, content_type);
    if (req->is_head)
        return false;
    send_chunk(req, "");
    return !req->is_dead;
}

void
http_send(struct http_request *req, int status, const char *content_type)
{
    struct ts_text *out = &req->thread->out;
    struct head head;

    if (req->state == HTTP_STREAMING) {
        if (!req->is_head && !req->is_dead)
            send_chunk(req, "0\r\n\r\n");
        req->state = HTTP_ANSWERED;
        return;
    }
    if (req->state != HTTP_UNANSWERED)
        return;
    if (out->failed) {
        answer_no_memory(req);
        return;
    }
    compose_head(req, status, content_type, BODY_KNOWN, out->bytes - HTTP_HEAD_ROOM, &head);
    send_with_head(req, &head);
    req->state = HTTP_ANSWERED;
}

void
http_answer(struct http_request *req, int status, const char *content_type, const void *body,
            size_t bytes)
{
    struct head head;

    if (req->state != HTTP_UNANSWERED)
        return;
    out_clear(req);
    if (bytes <= HTTP_STREAM_BYTES) {
        ts_text_add(&req->thread->out, body, bytes);
        http_send(req, status, content_type);
        return;
    }
    compose_head(req, status, content_type, BODY_KNOWN, bytes, &head);
    http_request_write(req, head.at, head.bytes);
    if (!req->is_head)
        http_request_write(req, body, bytes);
    req->state = HTTP_ANSWERED;
}

void
http_answer_bare(struct http_request *req, int status)
{
    struct head head;

    compose_head(req, status, NULL, status == 204 ? BODY_NONE : BODY_KNOWN, 0, &head);
    http_request_write(req, head.at, head.bytes);
    req->state = HTTP_ANSWERED;
}

static bool
is_wrong_key(enum ts_err err)
{
    return err == TS_E_KEY_FORMAT || err == TS_E_KEY_STORE || err == TS_E_KEY_INVALID ||
           err == TS_E_ADMIN_INVALID;
}

bool
http_key_failed(struct http_request *req)
{
    const char *address = req->info->remote_addr;
    struct timespec now;
    char seconds[16];
    bool is_first;
    unsigned wait_s;

    if (req->state != HTTP_UNANSWERED)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    wait_s = peer_limit_failed(&req->server->key_failures, address,
                               now.tv_sec * INT64_C(1000000000) + now.tv_nsec, &is_first);
    if (is_first)
        ts_log(TS_LOG_WARNING, "http: %s shows too many wrong keys: they are answered 429 for %u s",
               address, wait_s);
    if (wait_s == 0)
        return false;
    snprintf(seconds, sizeof seconds, "%u", wait_s);
    http_add_answer_header(req, "Retry-After", seconds);
    http_answer_error(req, TS_FAIL_PLAIN(TS_E_RATE_LIMITED));
    return true;
}

void
http_answer_error(struct http_request *req, enum ts_err err)
{
    const int status = ts_error_http_status(err);
    const char *text = ts_error_text();
    struct ts_text *out = http_out(req);

    if (req->state != HTTP_UNANSWERED || (is_wrong_key(err) && http_key_failed(req)))
        return;
    if (text[0] == '\0')
        text = ts_error_default_text(err);
    if (status == 503)
        http_add_answer_header(req, "Retry-After", "1");
    out_clear(req);
    ts_text_puts(out, "{\"error\":");
    ts_text_json_string(out, text, strlen(text));
    ts_text_puts(out, ",\"code\":");
    ts_text_json_string(out, ts_error_name(err), strlen(ts_error_name(err)));
    ts_text_puts(out, "}");
    http_send(req, status, HTTP_TYPE_JSON);
}
