/* forward.c - REQ/REP to ingestd, one nng context per waiting call.
 *
 * nng sends a request again when its connection breaks. That is harmless (the instance in it is
 * that of the ingestd which is gone), but the caller would wait for nothing: so the loss of the
 * connection ends all calls under way. */
#include "queryd/forward.h"

#include "common/error.h"
#include "common/json_walk.h"
#include "common/number.h"
#include "daemon/socket_close.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define HELLO_TIMEOUT_MS 5000
#define SPARE_LINES 16 /* kept for the next calls */
#define RECONNECT_MIN_MS 20
#define RECONNECT_MAX_MS 250
/* For so long an ingestd counts as just started; so long its connection is then waited for, which
 * is longer than a pause of the dialer. */
#define FRESH_S 1
#define CONNECT_TIMEOUT_MS 500

/* What one exchange needs of nng. */
struct line {
    nng_aio *aio; /* owned; NULL: there is none */
    nng_ctx context;
};

/* A call under way. */
struct call {
    struct call *next, *before; /* guarded by forward->lock */
    struct line line;
    bool is_ended; /* the connection broke, or forward_stop(); guarded by forward->lock */
};

/* The connected ingestd. */
struct peer {
    uint64_t instance;     /* 0: not asked yet */
    size_t max_body_bytes; /* that it takes; 0: it did not say */
};

struct forward {
    nng_socket socket;
    bool has_socket;
    char path[CONTROL_URL_BYTES]; /* of ingestd's socket */
    _Atomic uint64_t next_request_id;
    /* Changed under the lock. Each request looks at it first, while others hold the lock to send:
     * that look is not worth waiting for, since what it sees may change the moment after. */
    _Atomic unsigned n_pipes;
    pthread_mutex_t lock;     /* guards the rest */
    pthread_cond_t connected; /* n_pipes rose, or is_stopped */
    struct peer peer;
    bool is_stopped;
    struct call *calls;
    struct line spares[SPARE_LINES]; /* owned */
    unsigned n_spares;
};

/* relaxed: it says nothing about anything else. */
static bool
is_connected(const struct forward *forward)
{
    return atomic_load_explicit(&forward->n_pipes, memory_order_relaxed) > 0;
}

/* Ends every call under way. Under forward->lock. */
static void
end_calls(struct forward *forward)
{
    for (struct call *call = forward->calls; call != NULL; call = call->next) {
        call->is_ended = true;
        nng_aio_abort(call->line.aio, NNG_ECONNRESET);
    }
}

static void
on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct forward *forward = arg;

    (void)pipe;
    pthread_mutex_lock(&forward->lock);
    if (event == NNG_PIPE_EV_ADD_POST) {
        atomic_fetch_add_explicit(&forward->n_pipes, 1, memory_order_relaxed);
        pthread_cond_broadcast(&forward->connected);
    } else if (event == NNG_PIPE_EV_REM_POST && is_connected(forward)) {
        atomic_fetch_sub_explicit(&forward->n_pipes, 1, memory_order_relaxed);
        forward->peer = (struct peer){0};
        end_calls(forward);
    }
    pthread_mutex_unlock(&forward->lock);
}

static enum ts_err
dial(struct forward *forward, const char *url)
{
    int failed;

    failed = nng_req0_open(&forward->socket);
    if (failed != 0)
        return TS_FAIL(TS_E_SYSTEM, "open request socket: %s", nng_strerror(failed));
    forward->has_socket = true;
    nng_socket_set_ms(forward->socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
    nng_socket_set_ms(forward->socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
    nng_socket_set_ms(forward->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    nng_socket_set_size(forward->socket, NNG_OPT_RECVMAXSZ,
                        CONTROL_MAX_REPLY_BYTES + CONTROL_OVERHEAD_BYTES);
    nng_pipe_notify(forward->socket, NNG_PIPE_EV_ADD_POST, on_pipe, forward);
    nng_pipe_notify(forward->socket, NNG_PIPE_EV_REM_POST, on_pipe, forward);
    failed = nng_dial(forward->socket, url, NULL, NNG_FLAG_NONBLOCK);
    if (failed != 0)
        return TS_FAIL(TS_E_SYSTEM, "dial %s: %s", url, nng_strerror(failed));
    return TS_OK;
}

static void
cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

enum ts_err
forward_open(const char *run_dir, struct forward **out)
{
    struct forward *forward;
    char url[CONTROL_URL_BYTES];
    uint64_t first_id;
    enum ts_err err;

    err = control_url(run_dir, CONTROL_REQUEST_SOCKET, url);
    if (err != TS_OK)
        return err;
    forward = calloc(1, sizeof *forward);
    if (forward == NULL)
        return TS_FAIL(TS_E_NOMEM, "no memory to forward requests");
    snprintf(forward->path, sizeof forward->path, "%s", strstr(url, "//") + 2);
    pthread_mutex_init(&forward->lock, NULL);
    cond_init(&forward->connected);
    /* Request numbers of two queryds, or of two lives of one, must not meet. */
    if (getrandom(&first_id, sizeof first_id, 0) != (ssize_t)sizeof first_id) {
        forward_close(forward);
        return TS_FAIL(TS_E_SYSTEM, "no random numbers");
    }
    atomic_init(&forward->next_request_id, first_id);
    err = dial(forward, url);
    if (err != TS_OK) {
        forward_close(forward);
        return err;
    }
    *out = forward;
    return TS_OK;
}

void
forward_stop(struct forward *forward)
{
    pthread_mutex_lock(&forward->lock);
    forward->is_stopped = true;
    end_calls(forward);
    pthread_cond_broadcast(&forward->connected);
    pthread_mutex_unlock(&forward->lock);
}

static void
line_close(struct line *line)
{
    if (line->aio == NULL)
        return;
    nng_ctx_close(line->context);
    nng_aio_free(line->aio);
}

void
forward_close(struct forward *forward)
{
    if (forward == NULL)
        return;
    while (forward->n_spares > 0)
        line_close(&forward->spares[--forward->n_spares]);
    if (forward->has_socket && !socket_close(forward->socket, forward))
        return;
    pthread_cond_destroy(&forward->connected);
    pthread_mutex_destroy(&forward->lock);
    free(forward);
}

/* True if ingestd's socket was made this moment. It is not asked with a connect(): nng's listener
 * (1.5.2) takes no connection any more after one that closes without having spoken. */
static bool
is_fresh(const struct forward *forward)
{
    struct timespec now;
    struct stat st;

    if (stat(forward->path, &st) != 0)
        return false;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec >= st.st_ctim.tv_sec && now.tv_sec - st.st_ctim.tv_sec <= FRESH_S;
}

static bool
await(struct forward *forward, unsigned timeout_ms)
{
    struct timespec until;
    bool has_come;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    until.tv_sec += timeout_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&forward->lock);
    while (!is_connected(forward) && !forward->is_stopped &&
           pthread_cond_timedwait(&forward->connected, &forward->lock, &until) == 0)
        ;
    has_come = is_connected(forward);
    pthread_mutex_unlock(&forward->lock);
    return has_come;
}

void
forward_await(struct forward *forward, unsigned timeout_ms)
{
    await(forward, timeout_ms);
}

bool
forward_is_connected(struct forward *forward)
{
    if (is_connected(forward))
        return true;
    /* It may have come this moment, and the dialer has not seen it yet. */
    return is_fresh(forward) && await(forward, CONNECT_TIMEOUT_MS);
}

/* ---- one exchange ---- */

static enum ts_err
nothing_sent(void)
{
    return TS_FAIL(TS_E_UNAVAILABLE, "ingestd is not running");
}

static enum ts_err
nobody_knows(const char *why)
{
    return TS_FAIL(TS_E_TIMEOUT, "%s: it is not known whether the request was carried out", why);
}

static enum ts_err
line_open(struct forward *forward, struct line *out)
{
    struct line line = {0};

    if (nng_aio_alloc(&line.aio, NULL, NULL) != 0)
        return TS_FAIL(TS_E_NOMEM, "no memory to forward a request");
    if (nng_ctx_open(&line.context, forward->socket) != 0) {
        nng_aio_free(line.aio);
        return TS_FAIL(TS_E_NOMEM, "no memory to forward a request");
    }
    *out = line;
    return TS_OK;
}

/* Under the lock. */
static void
enlist(struct forward *forward, struct call *call)
{
    call->next = forward->calls;
    if (call->next != NULL)
        call->next->before = call;
    forward->calls = call;
}

static enum ts_err
call_begin(struct forward *forward, struct call *call, unsigned timeout_ms)
{
    enum ts_err err = TS_OK;

    *call = (struct call){0};
    pthread_mutex_lock(&forward->lock);
    if (!is_connected(forward) || forward->is_stopped)
        err = nothing_sent();
    else if (forward->n_spares > 0)
        call->line = forward->spares[--forward->n_spares];
    else
        err = line_open(forward, &call->line);
    if (err == TS_OK) {
        nng_aio_set_timeout(call->line.aio, (nng_duration)timeout_ms);
        enlist(forward, call);
    }
    pthread_mutex_unlock(&forward->lock);
    return err;
}

/* A line on which something failed may still hear of it: only a clean one is used again. */
static void
call_end(struct forward *forward, struct call *call, bool is_clean)
{
    if (call->line.aio == NULL)
        return;
    pthread_mutex_lock(&forward->lock);
    if (call->before != NULL)
        call->before->next = call->next;
    else
        forward->calls = call->next;
    if (call->next != NULL)
        call->next->before = call->before;
    if (is_clean && !call->is_ended && forward->n_spares < SPARE_LINES) {
        forward->spares[forward->n_spares++] = call->line;
        call->line.aio = NULL;
    }
    pthread_mutex_unlock(&forward->lock);
    line_close(&call->line);
}

/* Starts a send or a receive unless the call was ended meanwhile; waits for it. 0, or why not. */
static int
call_step(struct forward *forward, struct call *call, bool is_send)
{
    bool is_ended;

    /* Under the lock, so that end_calls() finds it either not begun or under way. */
    pthread_mutex_lock(&forward->lock);
    is_ended = call->is_ended;
    if (!is_ended && is_send)
        nng_ctx_send(call->line.context, call->line.aio);
    else if (!is_ended)
        nng_ctx_recv(call->line.context, call->line.aio);
    pthread_mutex_unlock(&forward->lock);
    if (is_ended)
        return NNG_ECONNRESET;
    nng_aio_wait(call->line.aio);
    return nng_aio_result(call->line.aio);
}

static enum ts_err
encode(const struct control_request *request, nng_msg **out)
{
    struct ts_text text;
    bool is_made;

    ts_text_init(&text);
    control_request_encode(request, &text);
    is_made = !text.failed && nng_msg_alloc(out, 0) == 0;
    if (is_made && nng_msg_append(*out, text.at, text.bytes) != 0) {
        nng_msg_free(*out);
        is_made = false;
    }
    ts_text_done(&text);
    return is_made ? TS_OK : TS_FAIL(TS_E_NOMEM, "no memory to forward a request");
}

static enum ts_err
take_reply(nng_msg *message, uint64_t request_id, struct forward_reply *out)
{
    struct control_reply reply;
    enum ts_err err;

    err = control_reply_decode(nng_msg_body(message), nng_msg_len(message), &reply);
    if (err == TS_OK && reply.request_id != request_id && reply.request_id != 0)
        err = TS_FAIL(TS_E_PROTOCOL, "reply to another request");
    if (err != TS_OK) {
        nng_msg_free(message);
        TS_CONTEXT("ingestd's reply");
        return TS_E_TIMEOUT;
    }
    *out = (struct forward_reply){.reply = reply, .message = message};
    return TS_OK;
}

static enum ts_err
exchange(struct forward *forward, const struct control_request *request, unsigned timeout_ms,
         struct forward_reply *out)
{
    struct call call;
    nng_msg *message;
    enum ts_err err;
    int failed = 0;

    err = call_begin(forward, &call, timeout_ms);
    if (err == TS_OK)
        err = encode(request, &message);
    if (err != TS_OK)
        goto out;
    nng_aio_set_msg(call.line.aio, message);
    failed = call_step(forward, &call, true);
    if (failed != 0) {
        nng_msg_free(message);
        err = failed == NNG_ETIMEDOUT ? nobody_knows("ingestd did not take the request")
                                      : nothing_sent();
        goto out;
    }
    failed = call_step(forward, &call, false);
    if (failed != 0)
        err = nobody_knows(failed == NNG_ETIMEDOUT ? "ingestd did not answer in time"
                                                   : "ingestd went away");
    else
        err = take_reply(nng_aio_get_msg(call.line.aio), request->request_id, out);
out:
    call_end(forward, &call, failed == 0);
    return err;
}

/* Never 0. relaxed: all that counts is that no two are the same. */
static uint64_t
new_request_id(struct forward *forward)
{
    uint64_t id;

    do
        id = atomic_fetch_add_explicit(&forward->next_request_id, 1, memory_order_relaxed);
    while (id == 0);
    return id;
}

/* What HELLO's answer says about the longest body; 0: nothing. */
static size_t
max_body_of(struct ts_span hello)
{
    struct ts_json_member member;
    struct ts_json_walk walk;
    struct ts_number number;

    if (!ts_json_walk_object(&walk, hello))
        return 0;
    while (ts_json_walk_next(&walk, &member) == TS_JSON_MEMBER) {
        if (member.name.bytes == strlen(CONTROL_MAX_BODY) &&
            memcmp(member.name.at, CONTROL_MAX_BODY, member.name.bytes) == 0 &&
            ts_number_parse(member.value, &number) && number.is_integer && number.integer > 0 &&
            number.integer <= SIZE_MAX)
            return (size_t)number.integer;
    }
    return 0;
}

static struct peer
known_peer(struct forward *forward)
{
    struct peer peer;

    pthread_mutex_lock(&forward->lock);
    peer = forward->peer;
    pthread_mutex_unlock(&forward->lock);
    return peer;
}

/* Who is connected: asked once per connection. */
static enum ts_err
find_peer(struct forward *forward, struct peer *out)
{
    struct control_request hello = {.op = CONTROL_HELLO};
    struct forward_reply reply;
    enum ts_err err;

    if (!forward_is_connected(forward))
        return nothing_sent();
    *out = known_peer(forward);
    if (out->instance != 0)
        return TS_OK;
    hello.request_id = new_request_id(forward);
    err = exchange(forward, &hello, HELLO_TIMEOUT_MS, &reply);
    if (err != TS_OK)
        return TS_FAIL(TS_E_UNAVAILABLE, "ingestd is not answering");
    out->instance = reply.reply.instance;
    out->max_body_bytes = max_body_of(reply.reply.body);
    forward_reply_done(&reply);
    pthread_mutex_lock(&forward->lock);
    if (is_connected(forward))
        forward->peer = *out;
    pthread_mutex_unlock(&forward->lock);
    return TS_OK;
}

enum ts_err
forward_prepare(struct forward *forward, struct control_request *request)
{
    struct peer peer;
    enum ts_err err = find_peer(forward, &peer);

    if (err != TS_OK)
        return err;
    /* It would drop the connection without a word, and with it all that is under way. */
    if (peer.max_body_bytes > 0 && request->body.bytes > peer.max_body_bytes)
        return TS_FAIL(TS_E_LIMIT, "request body too large");
    request->instance = peer.instance;
    request->request_id = new_request_id(forward);
    return TS_OK;
}

enum ts_err
forward_call(struct forward *forward, struct control_request *request, struct forward_reply *out)
{
    enum ts_err err;

    err = forward_prepare(forward, request);
    if (err != TS_OK)
        return err;
    err = exchange(forward, request, FORWARD_TIMEOUT_MS, out);
    if (err == TS_OK && out->reply.instance != request->instance) {
        /* It was refused; the next request is to find the new one. */
        pthread_mutex_lock(&forward->lock);
        forward->peer = (struct peer){0};
        pthread_mutex_unlock(&forward->lock);
    }
    return err;
}

void
forward_reply_done(struct forward_reply *reply)
{
    if (reply->message != NULL)
        nng_msg_free(reply->message);
    free(reply->copy);
    reply->message = reply->copy = NULL;
}
