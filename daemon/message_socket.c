/* message_socket.c - see message_socket.h.
 *
 *   worker:  frame ─> message ─> queue ──(full: wait)
 *   sender:  queue ─> answer() ─> frames ─> one write; every 30 s a ping
 *
 * While the sender is at it the queue fills again: the busier the client, the larger the batch. */
#include "daemon/message_socket.h"

#include "daemon/monotonic.h"
#include "proto/control.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STACK_BYTES ((size_t)256 * 1024)
#define KEEP_BYTES                                                                                 \
    ((size_t)64 << 10) /* buffers of an idle connection that grew more are given back */
#define PING_NS INT64_C(30000000000)
#define DEAD 1u /* in place of a close code */
#define CLOSE_GOING_AWAY 1001u
#define CLOSE_PROTOCOL 1002u
#define CLOSE_POLICY 1008u
#define CLOSE_TOO_BIG 1009u
#define CLOSE_INTERNAL 1011u

struct message_socket {
    struct message_socket_options options;
    struct http_socket *socket;      /* NULL before the handshake is done */
    LIST_ENTRY(message_socket) link; /* guarded by group->lock */
    pthread_t sender;
    bool has_sender;
    _Atomic int64_t heard_ns; /* when the last frame came */

    /* The worker's own: a message whose last frame has not come. */
    struct ts_text partial;
    bool is_partial;

    pthread_mutex_t lock;   /* guards the rest */
    pthread_cond_t changed; /* any of it */
    struct ts_text queue;   /* control frames */
    unsigned n_queued;
    bool is_busy;    /* the sender is at messages it took */
    bool is_ended;   /* no more messages come */
    bool is_dead;    /* no more answers can be sent, or none are wanted */
    bool is_leaving; /* to be ended when what came is answered */
};

/* ---- groups ---- */

void
message_sockets_init(struct message_sockets *group)
{
    pthread_mutex_init(&group->lock, NULL);
    monotonic_cond_init(&group->left);
    LIST_INIT(&group->all);
    group->is_ending = false;
}

void
message_sockets_done(struct message_sockets *group)
{
    pthread_cond_destroy(&group->left);
    pthread_mutex_destroy(&group->lock);
}

void
message_sockets_stop(struct message_sockets *group, unsigned timeout_ms)
{
    struct message_socket *ms;
    const struct timespec until = monotonic_after_ms(timeout_ms);

    pthread_mutex_lock(&group->lock);
    group->is_ending = true;
    for (ms = LIST_FIRST(&group->all); ms != NULL; ms = LIST_NEXT(ms, link)) {
        pthread_mutex_lock(&ms->lock);
        ms->is_leaving = true;
        pthread_cond_broadcast(&ms->changed);
        pthread_mutex_unlock(&ms->lock);
    }
    while (!LIST_EMPTY(&group->all) &&
           pthread_cond_timedwait(&group->left, &group->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&group->lock);
}

/* A sender begins: from now on it hears of the group's end. */
static void
join_group(struct message_socket *ms)
{
    struct message_sockets *const group = ms->options.group;

    pthread_mutex_lock(&group->lock);
    ms->is_leaving = group->is_ending;
    LIST_INSERT_HEAD(&group->all, ms, link);
    pthread_mutex_unlock(&group->lock);
}

/* A sender is over. */
static void
leave_group(struct message_socket *ms)
{
    struct message_sockets *const group = ms->options.group;

    pthread_mutex_lock(&group->lock);
    LIST_REMOVE(ms, link);
    pthread_cond_signal(&group->left);
    pthread_mutex_unlock(&group->lock);
}

/* ---- the sender ---- */

static void
add_frame(struct ts_text *out, const char *payload, size_t bytes)
{
    uint8_t head[HTTP_FRAME_HEAD_BYTES];

    ts_text_add(out, head, http_frame_head(HTTP_FRAME_TEXT, bytes, head));
    ts_text_add(out, payload, bytes);
}

/* The same error for each of n messages. */
static void
add_errors(struct ts_text *out, const struct ts_text *body, unsigned n)
{
    json_t *root = json_loadb(body->at != NULL ? body->at : "", body->bytes, 0, NULL);
    const char *text = json_string_value(json_object_get(root, "error"));
    struct ts_text message;

    if (text == NULL)
        text = ts_error_default_text(TS_E_SYSTEM);
    ts_text_init(&message);
    ts_text_puts(&message, "{\"type\":\"error\",\"message\":");
    ts_text_json_string(&message, text, strlen(text));
    ts_text_puts(&message, "}");
    for (unsigned i = 0; i < n && !message.failed; i++)
        add_frame(out, message.at, message.bytes);
    out->failed |= message.failed;
    ts_text_done(&message);
    json_decref(root);
}

/* Buffers of the sender: what it took, what was answered, what is sent. */
struct sending {
    struct ts_text messages, answers, frames;
};

static void
trim(struct ts_text *text)
{
    ts_text_clear(text);
    if (text->capacity > KEEP_BYTES)
        ts_text_done(text);
}

/* Answers n messages. Returns the close code that ends the connection, 0 to go on; DEAD if nothing
 * can be sent any more. */
static unsigned
answer(struct message_socket *ms, struct sending *sending, unsigned n)
{
    const struct ts_span messages = {.at = sending->messages.at, .bytes = sending->messages.bytes};
    const uint16_t status = ms->options.answer(ms->options.arg, messages, &sending->answers);
    struct ts_span rest = {.at = sending->answers.at, .bytes = sending->answers.bytes};
    struct ts_span one;
    unsigned n_answers = 0;

    if (sending->answers.failed)
        return CLOSE_INTERNAL;
    if (status == 200) {
        for (; control_frame_take(&rest, &one); n_answers++)
            add_frame(&sending->frames, one.at, one.bytes);
        if (n_answers != n || rest.bytes > 0)
            return CLOSE_INTERNAL;
    } else {
        add_errors(&sending->frames, &sending->answers, n);
    }
    if (sending->frames.failed)
        return CLOSE_INTERNAL;
    if (!http_socket_write(ms->socket, sending->frames.at, sending->frames.bytes))
        return DEAD;
    return status == 401 || status == 403 ? CLOSE_POLICY : 0;
}

/* Is the client there? Between two pings something must have come. False if not. */
static bool
keep_alive(struct message_socket *ms, int64_t now)
{
    uint8_t ping[HTTP_FRAME_HEAD_BYTES];
    const size_t bytes = http_frame_head(HTTP_FRAME_PING, 0, ping);

    if (atomic_load_explicit(&ms->heard_ns, memory_order_relaxed) < now - 2 * PING_NS)
        return false;
    return http_socket_write(ms->socket, ping, bytes);
}

enum turn { TURN_MESSAGES, TURN_PING, TURN_LEAVE, TURN_OVER };

/* Waits for messages and takes all of them, or says what else there is to do. */
static enum turn
take_messages(struct message_socket *ms, struct ts_text *out, int64_t until_ns, unsigned *out_n)
{
    const struct timespec until = monotonic_at(until_ns);
    const struct ts_text empty = *out;
    enum turn turn = TURN_PING;

    pthread_mutex_lock(&ms->lock);
    ms->is_busy = false;
    pthread_cond_broadcast(&ms->changed);
    while (ms->n_queued == 0 && !ms->is_ended && !ms->is_leaving &&
           pthread_cond_timedwait(&ms->changed, &ms->lock, &until) == 0)
        ;
    *out_n = ms->n_queued;
    if (ms->n_queued > 0) {
        turn = TURN_MESSAGES;
        *out = ms->queue;
        ms->queue = empty;
        ms->n_queued = 0;
        ms->is_busy = true;
        pthread_cond_broadcast(&ms->changed);
    } else if (ms->is_ended || ms->is_leaving) {
        turn = ms->is_ended ? TURN_OVER : TURN_LEAVE;
    }
    pthread_mutex_unlock(&ms->lock);
    return turn;
}

/* No more answers: who waits for them waits no longer. */
static void
die(struct message_socket *ms, unsigned code)
{
    const char *reason = code == CLOSE_POLICY       ? "key refused"
                         : code == CLOSE_GOING_AWAY ? "server stops"
                                                    : "internal error";

    pthread_mutex_lock(&ms->lock);
    ms->is_dead = true;
    ms->is_busy = false;
    pthread_cond_broadcast(&ms->changed);
    pthread_mutex_unlock(&ms->lock);
    http_socket_close(ms->socket, code == DEAD ? 0 : code, reason);
}

/* One turn. Returns as answer() does. */
static unsigned
take_turn(struct message_socket *ms, struct sending *sending, int64_t *next_ping_ns, bool *is_over)
{
    unsigned n = 0;

    switch (take_messages(ms, &sending->messages, *next_ping_ns, &n)) {
    case TURN_OVER:
        *is_over = true;
        return 0;
    case TURN_LEAVE:
        return CLOSE_GOING_AWAY;
    case TURN_MESSAGES:
        return answer(ms, sending, n);
    case TURN_PING:
        break;
    }
    return 0;
}

static void *
send_answers(void *arg)
{
    struct message_socket *const ms = arg;
    struct sending sending = {0};
    int64_t next_ping_ns = monotonic_ns() + PING_NS;
    bool is_over = false;
    unsigned code = 0;

    while (code == 0 && !is_over) {
        code = take_turn(ms, &sending, &next_ping_ns, &is_over);
        trim(&sending.messages);
        trim(&sending.answers);
        trim(&sending.frames);
        if (code == 0 && !is_over && monotonic_ns() >= next_ping_ns) {
            next_ping_ns = monotonic_ns() + PING_NS;
            code = keep_alive(ms, monotonic_ns()) ? 0 : DEAD;
        }
    }
    if (code != 0)
        die(ms, code);
    leave_group(ms);
    ts_text_done(&sending.messages);
    ts_text_done(&sending.answers);
    ts_text_done(&sending.frames);
    return NULL;
}

/* ---- the worker ---- */

static bool
is_full(const struct message_socket *ms)
{
    return ms->n_queued >= MESSAGE_SOCKET_MESSAGES || ms->queue.bytes >= CONTROL_MESSAGES_BYTES;
}

/* False if nobody will answer. */
static bool
enqueue(struct message_socket *ms, const void *data, size_t bytes)
{
    bool is_taken;
    size_t start;

    pthread_mutex_lock(&ms->lock);
    while (is_full(ms) && !ms->is_dead)
        pthread_cond_wait(&ms->changed, &ms->lock);
    is_taken = !ms->is_dead;
    if (is_taken) {
        start = control_frame_begin(&ms->queue);
        ts_text_add(&ms->queue, data, bytes);
        control_frame_end(&ms->queue, start);
        is_taken = !ms->queue.failed;
    }
    if (is_taken && ms->n_queued++ == 0)
        pthread_cond_broadcast(&ms->changed);
    pthread_mutex_unlock(&ms->lock);
    return is_taken;
}

/* Waits until all that came is answered. False if it can't be. */
static bool
drain(struct message_socket *ms)
{
    bool is_alive;

    pthread_mutex_lock(&ms->lock);
    while ((ms->n_queued > 0 || ms->is_busy) && !ms->is_dead)
        pthread_cond_wait(&ms->changed, &ms->lock);
    is_alive = !ms->is_dead;
    pthread_mutex_unlock(&ms->lock);
    return is_alive;
}

/* Whoever found the connection dead has ended it. */
static bool
refuse(struct message_socket *ms, unsigned code, const char *reason)
{
    if (drain(ms))
        http_socket_close(ms->socket, code, reason);
    return false;
}

/* A frame of data: all of a message, its first part, or a further one. */
static bool
take_data(struct message_socket *ms, int opcode, bool is_final, const void *data, size_t bytes)
{
    const size_t limit = ms->options.max_message_bytes;
    bool is_taken;

    if ((opcode == 0) != ms->is_partial)
        return refuse(ms, CLOSE_PROTOCOL, "frames out of order");
    if (bytes > limit || ms->partial.bytes > limit - bytes)
        return refuse(ms, CLOSE_TOO_BIG, "message too long");
    if (is_final && !ms->is_partial)
        return enqueue(ms, data, bytes) || refuse(ms, CLOSE_INTERNAL, "out of memory");
    ts_text_add(&ms->partial, data, bytes);
    ms->is_partial = !is_final;
    if (ms->partial.failed)
        return refuse(ms, CLOSE_INTERNAL, "out of memory");
    if (!is_final)
        return true;
    is_taken = enqueue(ms, ms->partial.at, ms->partial.bytes);
    trim(&ms->partial);
    return is_taken || refuse(ms, CLOSE_INTERNAL, "out of memory");
}

static bool
on_frame(struct http_socket *socket, void *arg, int opcode, bool is_final, const void *data,
         size_t bytes)
{
    struct message_socket *const ms = arg;

    (void)socket;
    atomic_store_explicit(&ms->heard_ns, monotonic_ns(), memory_order_relaxed);
    switch (opcode) {
    case 0:
    case HTTP_FRAME_TEXT:
    case HTTP_FRAME_BINARY:
        return take_data(ms, opcode, is_final, data, bytes);
    case HTTP_FRAME_CLOSE:
        drain(ms); /* answers come before the answer to this */
        return true;
    case HTTP_FRAME_PING:
    case HTTP_FRAME_PONG:
        return true;
    default:
        return refuse(ms, CLOSE_PROTOCOL, "unknown kind of frame");
    }
}

static void
on_ready(struct http_socket *socket, void *arg)
{
    struct message_socket *const ms = arg;
    pthread_attr_t attr;

    ms->socket = socket;
    atomic_store_explicit(&ms->heard_ns, monotonic_ns(), memory_order_relaxed);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    join_group(ms);
    ms->has_sender = pthread_create(&ms->sender, &attr, send_answers, ms) == 0;
    pthread_attr_destroy(&attr);
    if (!ms->has_sender) {
        leave_group(ms);
        ms->is_dead = true;
        http_socket_close(socket, CLOSE_INTERNAL, "no thread");
    }
}

static void
on_closed(void *arg)
{
    struct message_socket *const ms = arg;

    pthread_mutex_lock(&ms->lock);
    ms->is_ended = true;
    pthread_cond_broadcast(&ms->changed);
    pthread_mutex_unlock(&ms->lock);
    if (ms->has_sender)
        pthread_join(ms->sender, NULL);
    ms->options.done(ms->options.arg);
    pthread_cond_destroy(&ms->changed);
    pthread_mutex_destroy(&ms->lock);
    ts_text_done(&ms->partial);
    ts_text_done(&ms->queue);
    free(ms);
}

const struct http_socket_hooks message_socket_hooks = {
    .ready = on_ready, .frame = on_frame, .closed = on_closed};

void
message_socket_accept(struct http_request *req, const struct message_socket_options *options)
{
    struct message_socket *ms = calloc(1, sizeof *ms);

    if (ms == NULL) {
        options->done(options->arg);
        http_answer_error(req, TS_FAIL(TS_E_NOMEM, "no memory for a connection"));
        return;
    }
    ms->options = *options;
    pthread_mutex_init(&ms->lock, NULL);
    monotonic_cond_init(&ms->changed);
    if (!http_accept_socket(req, ms))
        on_closed(ms);
}
