/* out_websocket.c - the sender of one stream.
 *
 *   opened ──> history ──caught_up──> live ──┐
 *                 ^                    │ ^   │ nothing more: sleep until woken
 *                 └──── reset ─────────┘ └───┘
 *
 * The frames of many records are composed in one buffer and sent at once; a client that does not
 * read blocks this stream's thread only. */
#include "queryd/out_websocket.h"

#include "daemon/credential.h"
#include "daemon/monotonic.h"
#include "queryd/answer.h"
#include "queryd/auth.h"
#include "queryd/frames.h"
#include "queryd/list_query.h"
#include "queryd/shape.h"
#include "queryd/stream_windows.h"
#include "queryd/waiters.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STACK_BYTES ((size_t)128 * 1024)
#define BATCH_BYTES 65536 /* frames composed before they are sent */
#define IDLE_BYTES 4096   /* a sleeping stream keeps no larger buffer */
#define MAX_HEARD_BYTES 65536
#define PING_NS INT64_C(30000000000)
#define KEY_CHECK_NS INT64_C(1000000000)
#define CLOSE_GOING_AWAY 1001u
#define CLOSE_POLICY 1008u
#define CLOSE_TOO_LARGE 1009u
#define CLOSE_INTERNAL 1011u

enum start { START_NOW, START_TIME, START_AFTER_RECORD, START_REFUSED };

struct stream {
    struct store *store; /* held */
    struct ts_view *view;
    struct waiters *waiters;      /* borrowed */
    struct stream_counts *counts; /* borrowed */
    struct waiter waiter;         /* added from `ready` to `closed` */
    struct http_socket *socket;
    pthread_t sender;
    bool has_sender;
    _Atomic int64_t heard_ns; /* when the last frame came; the connection's worker writes */

    /* The sender's own: */
    struct ts_cursor *cursor;
    struct ts_text out;
    unsigned n_messages; /* in out */
    struct shape shape;
    bool is_caught_up;
    uint64_t goal_no; /* caught_up comes before this record at the latest */
    int64_t next_ping_ns, next_key_check_ns;
    struct stream_windows windows;

    /* What was asked for: */
    enum start start;
    struct ts_range range; /* filter is in text */
    char refusal[TS_ERROR_TEXT_BYTES];
    size_t key_bytes;
    char *key;   /* in text */
    char text[]; /* owned copies of key and filter */
};

/* ---- out ---- */

static void
add_caught_up(struct stream *stream)
{
    if (stream->is_caught_up)
        return;
    stream->is_caught_up = true;
    frame_add(&stream->out, "{\"type\":\"caught_up\"}");
}

static void
count(_Atomic uint64_t *counter, uint64_t n)
{
    /* relaxed: each counter stands for itself */
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void
tell_gap(struct stream *stream, const struct ts_gap *gap)
{
    frame_add_gap(&stream->out, gap, NULL);
    count(&stream->counts->n_gaps, 1);
    count(&stream->counts->n_lost, gap->lost);
}

/* False: the connection is dead, or memory ran out, and the stream ends. */
static bool
flush(struct stream *stream)
{
    struct ts_text *out = &stream->out;
    bool is_sent = true;

    if (out->failed) {
        http_socket_close(stream->socket, CLOSE_INTERNAL, "out of memory");
        return false;
    }
    if (out->bytes > 0)
        is_sent = http_socket_write(stream->socket, out->at, out->bytes);
    if (!is_sent) {
        http_socket_close(stream->socket, 0, "");
    } else if (stream->n_messages > 0) {
        count(&stream->counts->n_messages, stream->n_messages);
        count(&stream->counts->bytes, out->bytes);
    }
    stream->n_messages = 0;
    ts_text_clear(out);
    return is_sent;
}

static bool
end_stream(struct stream *stream, unsigned code, const char *reason)
{
    if (flush(stream))
        http_socket_close(stream->socket, code, reason);
    return false;
}

/* ---- where it begins ---- */

/* Numbers that the client can not have seen are of a generation before a reset: then everything
 * there is comes. Those that were overwritten since are a gap. */
static void
resume_after(struct stream *stream, const struct ts_state *state)
{
    const uint64_t after_no = stream->range.from_no;
    struct ts_gap gap;

    stream->range.from_no = after_no < state->next_no ? after_no + 1 : state->oldest_no;
    if (stream->range.from_no >= state->oldest_no)
        return;
    gap = (struct ts_gap){.from_no = stream->range.from_no, .to_no = state->oldest_no - 1};
    gap.lost = gap.to_no - gap.from_no + 1;
    tell_gap(stream, &gap);
    stream->range.from_no = state->oldest_no;
}

/* Decides where the stream begins, while the client still waits for its handshake: what is written
 * from the moment on that it has it, comes. */
static enum ts_err
open_cursor(struct stream *stream)
{
    struct ts_state state;
    enum ts_err err;

    ts_view_state(stream->view, &state);
    stream->goal_no = state.next_no;
    stream->range.follow = true;
    stream->range.has_from = true;
    switch (stream->start) {
    case START_NOW:
        stream->range.by_number = true;
        stream->range.from_no = state.next_no;
        break;
    case START_TIME:
        break;
    case START_AFTER_RECORD:
        stream->range.by_number = true;
        resume_after(stream, &state);
        break;
    case START_REFUSED:
        return TS_OK;
    }
    err = stream_windows_begin(&stream->windows, &stream->shape);
    if (err == TS_OK)
        err = ts_cursor_open(stream->view, &stream->range, &stream->cursor);
    if (err == TS_OK && stream->start == START_NOW)
        add_caught_up(stream);
    return err;
}

/* ---- the way ---- */

static void
add_record(struct stream *stream, const struct ts_record *record)
{
    size_t start;

    if (record->no >= stream->goal_no)
        add_caught_up(stream);
    if (stream->windows.plan != NULL) {
        stream->n_messages +=
            stream_windows_take(&stream->windows, &stream->shape, record, &stream->out);
        return;
    }
    if (!stream->shape.is_compact)
        shape_meet(&stream->shape, record->no);
    start = frame_begin(&stream->out);
    answer_data_message(&stream->out, &stream->shape, record);
    frame_end(&stream->out, start);
    stream->n_messages++;
}

/* Numbers may begin again: a client that resumes by number has to know. */
static void
add_reset(struct stream *stream)
{
    stream->goal_no = UINT64_MAX;
    shape_reset(&stream->shape);
    stream_windows_reset(&stream->windows);
    frame_add(&stream->out, "{\"type\":\"reset\"}");
}

static void
add_damage(struct stream *stream, const struct ts_gap *gap)
{
    store_tell_damage(stream->store, gap);
    frame_add_gap(&stream->out, gap, ts_error_text());
    count(&stream->counts->n_damages, 1);
}

/* A key that was revoked ends the stream, too. Looked at before what was waited for is sent: a
 * second after it was revoked, nothing goes out any more. */
static bool
is_still_allowed(struct stream *stream, int64_t now)
{
    if (now < stream->next_key_check_ns)
        return true;
    stream->next_key_check_ns = now + KEY_CHECK_NS;
    if (ts_keyring_check(store_keys(stream->store), stream->key, stream->key_bytes,
                         TS_SCOPE_READ) == TS_OK)
        return true;
    frame_add_error(&stream->out, ts_error_text());
    return end_stream(stream, CLOSE_POLICY, "key revoked");
}

/* Every 30 s: is the client there, is the store? Between two pings something must have come. */
static bool
keep_alive(struct stream *stream, int64_t now)
{
    uint8_t ping[HTTP_FRAME_HEAD_BYTES];
    size_t bytes;

    if (now < stream->next_ping_ns)
        return true;
    if (atomic_load_explicit(&stream->heard_ns, memory_order_relaxed) < now - 2 * PING_NS) {
        http_socket_close(stream->socket, 0, "");
        return false;
    }
    if (ts_view_is_stale(stream->view)) {
        frame_add_error(&stream->out, "store is closed");
        return end_stream(stream, CLOSE_GOING_AWAY, "store is closed");
    }
    stream->next_ping_ns = now + PING_NS;
    bytes = http_frame_head(HTTP_FRAME_PING, 0, ping);
    if (http_socket_write(stream->socket, ping, bytes))
        return true;
    http_socket_close(stream->socket, 0, "");
    return false;
}

/* What has to be seen to while records keep coming. False when the stream is over. */
static bool
keep_house(struct stream *stream)
{
    const int64_t now = monotonic_ns();

    if (waiter_is_stopped(&stream->waiter)) {
        stream->n_messages += stream_windows_cut(&stream->windows, &stream->out);
        return end_stream(stream, CLOSE_GOING_AWAY, "server stops");
    }
    return is_still_allowed(stream, now) && keep_alive(stream, now);
}

/* A full batch was taken: the client reads as fast as it can, and may be far from its next pong. */
static bool
send_batch(struct stream *stream)
{
    if (!flush(stream))
        return false;
    atomic_store_explicit(&stream->heard_ns, monotonic_ns(), memory_order_relaxed);
    return keep_house(stream);
}

/* Sends all there is. False when the stream is over. */
static bool
send_all(struct stream *stream)
{
    struct ts_record record;
    struct ts_gap gap;

    for (;;) {
        switch (ts_cursor_next(stream->cursor, &record, &gap)) {
        case TS_STEP_RECORD:
            add_record(stream, &record);
            break;
        case TS_STEP_GAP:
            tell_gap(stream, &gap);
            break;
        case TS_STEP_DAMAGED:
            add_damage(stream, &gap);
            break;
        case TS_STEP_RESET:
            add_reset(stream);
            break;
        case TS_STEP_END:
            add_caught_up(stream);
            stream->n_messages += stream_windows_close_due(&stream->windows, &stream->out);
            return flush(stream);
        case TS_STEP_GONE:
            stream->n_messages += stream_windows_cut(&stream->windows, &stream->out);
            frame_add_error(&stream->out, "store is closed");
            return end_stream(stream, CLOSE_GOING_AWAY, "store is closed");
        }
        if (stream->out.bytes >= BATCH_BYTES && !send_batch(stream))
            return false;
        if (stream->out.failed)
            return flush(stream);
    }
}

static int64_t
wake_up_ns(const struct stream *stream)
{
    const int64_t due_ns = stream_windows_due_ns(&stream->windows);

    return due_ns < stream->next_ping_ns ? due_ns : stream->next_ping_ns;
}

static void
give_back(struct ts_text *text)
{
    if (text->capacity > IDLE_BYTES)
        ts_text_done(text);
}

static void *
send_stream(void *arg)
{
    struct stream *stream = arg;
    bool goes_on = true;

    if (stream->start == START_REFUSED) {
        frame_add_error(&stream->out, stream->refusal);
        goes_on = end_stream(stream, CLOSE_POLICY, "bad parameter");
    }
    while (goes_on) {
        /* Before the look, so that what comes behind it is not slept over. */
        const uint32_t seen_count = waiter_count(&stream->waiter);

        goes_on =
            is_still_allowed(stream, monotonic_ns()) && send_all(stream) && keep_house(stream);
        give_back(&stream->out);
        give_back(&stream->windows.result);
        if (goes_on && waiter_sleep(&stream->waiter, seen_count, wake_up_ns(stream)))
            stream->next_key_check_ns = 0;
    }
    return NULL;
}

/* ---- the connection ---- */

static void
on_ready(struct http_socket *socket, void *arg)
{
    struct stream *stream = arg;
    const int64_t now = monotonic_ns();
    pthread_attr_t attr;

    stream->socket = socket;
    stream->next_ping_ns = now + PING_NS;
    stream->next_key_check_ns = now + KEY_CHECK_NS;
    atomic_store_explicit(&stream->heard_ns, now, memory_order_relaxed);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    stream->has_sender = pthread_create(&stream->sender, &attr, send_stream, stream) == 0;
    pthread_attr_destroy(&attr);
    if (!stream->has_sender)
        http_socket_close(socket, CLOSE_INTERNAL, "no thread");
}

/* What a client says is not listened to, but it must not be long either. */
static bool
on_frame(struct http_socket *socket, void *arg, int opcode, bool is_final, const void *data,
         size_t bytes)
{
    struct stream *stream = arg;

    (void)opcode;
    (void)is_final;
    (void)data;
    atomic_store_explicit(&stream->heard_ns, monotonic_ns(), memory_order_relaxed);
    if (bytes <= MAX_HEARD_BYTES)
        return true;
    http_socket_close(socket, CLOSE_TOO_LARGE, "message too large");
    return false;
}

static void
on_closed(void *arg)
{
    struct stream *stream = arg;

    waiter_stop(&stream->waiter);
    if (stream->has_sender)
        pthread_join(stream->sender, NULL);
    waiters_remove(stream->waiters, &stream->waiter);
    ts_cursor_close(stream->cursor);
    stream_windows_done(&stream->windows);
    shape_done(&stream->shape);
    ts_text_done(&stream->out);
    store_release(stream->store);
    atomic_fetch_sub_explicit(&stream->counts->n_streams, 1, memory_order_relaxed);
    free(stream);
}

const struct http_socket_hooks out_websocket_hooks = {
    .ready = on_ready, .frame = on_frame, .closed = on_closed};

/* ---- the request ---- */

static void
refuse(struct stream *stream, const char *text, const struct ts_span *value)
{
    stream->start = START_REFUSED;
    snprintf(stream->refusal, sizeof stream->refusal, "%s: parsing \"%.*s\": invalid syntax", text,
             (int)(value->bytes < 100 ? value->bytes : 100), value->at);
}

/* after_record wins: it is where the client really was. */
static void
parse_start(struct http_request *req, struct stream *stream)
{
    struct ts_span text;
    int64_t number;

    stream->start = START_NOW;
    if (http_query(req, "after_record", &text) && text.bytes > 0) {
        if (!list_query_i64(&text, &number) || number < 0) {
            refuse(stream, "after_record", &text);
            return;
        }
        stream->start = START_AFTER_RECORD;
        stream->range.from_no = (uint64_t)number;
        return;
    }
    if (!http_query(req, "from", &text) || text.bytes == 0 || http_query_is(req, "from", "now"))
        return;
    if (!list_query_i64(&text, &number)) {
        refuse(stream, "strconv.ParseInt", &text);
        return;
    }
    if (number == -1)
        return;
    stream->start = START_TIME;
    stream->range.from_time_ns = number > 0 ? number : INT64_MIN;
}

/* A fault in `from` is told first. */
static void
parse_plan(struct http_request *req, struct stream *stream)
{
    if (stream->start == START_REFUSED ||
        list_query_plan(req, stream->shape.type, &stream->windows.plan) == TS_OK)
        return;
    stream->start = START_REFUSED;
    snprintf(stream->refusal, sizeof stream->refusal, "%s", ts_error_text());
}

static struct stream *
stream_new(struct http_request *req, struct queryd *queryd, struct store *store,
           struct ts_view *view)
{
    struct ts_range range = {0};
    struct ts_span key;
    struct stream *stream;

    credential_store_key(req, &key);
    list_query_filter(req, &range);
    stream = calloc(1, sizeof *stream + key.bytes + range.filter_bytes);
    if (stream == NULL)
        return NULL;
    stream->key = stream->text;
    stream->key_bytes = key.bytes;
    memcpy(stream->key, key.at, key.bytes);
    if (range.filter_bytes > 0)
        memcpy(stream->text + key.bytes, range.filter, range.filter_bytes);
    range.filter = stream->text + key.bytes;
    stream->range = range;
    stream->store = store;
    stream->view = view;
    shape_init(&stream->shape, store, view, http_query_is(req, "format", "compact"));
    stream->waiters = queryd->waiters;
    stream->counts = &queryd->streams;
    count(&stream->counts->n_streams, 1);
    parse_start(req, stream);
    parse_plan(req, stream);
    waiters_add(stream->waiters, &stream->waiter, store_name(store), view);
    return stream;
}

void
out_websocket_read(struct http_request *req, void *ctx)
{
    struct stream *stream;
    struct ts_view *view;
    struct store *store;
    enum ts_err err;

    if (!auth_view(req, ctx, TS_SCOPE_READ, &store, &view))
        return;
    stream = stream_new(req, ctx, store, view);
    if (stream == NULL) {
        http_answer_error(req, TS_FAIL(TS_E_NOMEM, "no memory for a stream"));
        store_release(store);
        return;
    }
    err = open_cursor(stream);
    if (err != TS_OK) {
        http_answer_error(req, err);
        on_closed(stream);
    } else if (!http_accept_socket(req, stream)) {
        on_closed(stream);
    }
}
