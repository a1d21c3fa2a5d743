/* in_control.c - see in_control.h. */
#include "ingestd/in_control.h"

#include "common/log.h"
#include "daemon/socket_close.h"
#include "ingestd/endpoint.h"
#include "ingestd/executed.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/supplemental/util/platform.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* nng has no way to wait until a last reply left the process. */
#define LINGER_MS 50

#define KEEP_BYTES 65536u

/* The answers of so many requests are kept, for one that arrives again. */
#define REMEMBERED 512u
#define REMEMBERED_BYTES ((size_t)16 << 20)

struct worker {
    struct in_control *in; /* borrowed */
    nng_ctx ctx;           /* owned */
    nng_aio *receive;      /* owned; ended by the stop */
    nng_aio *send;         /* owned; a reply is not cut off by it */
    pthread_t thread;
    bool has_ctx, has_thread;
};

struct in_control {
    struct mutation *mutation; /* borrowed */
    uint64_t instance;
    size_t max_body_bytes; /* of any request; set before the first can come */
    nng_socket socket;
    struct endpoint endpoint;
    _Atomic bool is_stopping;
    _Atomic bool has_replied;
    struct executed *executed; /* owned */
    struct worker workers[IN_CONTROL_THREADS];
};

static void
execute_once(struct in_control *in, const struct control_request *request,
             struct control_reply *reply, struct ts_text *body)
{
    const struct executed_id id = {.key = request->request_id};
    struct ts_span answered = {0};

    switch (executed_begin(in->executed, &id, &reply->http_status, body)) {
    case EXECUTED_NEW:
        reply->http_status = mutation_execute(in->mutation, request, body);
        if (!body->failed)
            answered = (struct ts_span){.at = body->at, .bytes = body->bytes};
        executed_finish(in->executed, &id, reply->http_status, answered, NULL);
        break;
    case EXECUTED_OTHER:
    case EXECUTED_RUNNING:
        TS_FAIL(TS_E_UNAVAILABLE, "this request is being executed already");
        reply->http_status = mutation_error(TS_E_UNAVAILABLE, body);
        break;
    case EXECUTED_DONE:
        break;
    }
}

static void
hello(const struct in_control *in, struct control_reply *reply, struct ts_text *body)
{
    reply->http_status = 200;
    ts_text_printf(body, "{\"version\":\"%s\",\"pid\":%ld,\"" CONTROL_MAX_BODY "\":%zu}",
                   ts_version(), (long)getpid(), in->max_body_bytes);
}

/* What a worker writes: bodies of the request and of the bundle that it came in, the reply. */
struct scratch {
    struct ts_text body, bundle, out;
};

static void bundle(struct in_control *in, struct ts_span requests, struct control_reply *reply,
                   struct scratch *scratch);

/* Appends the reply to one request to *out, composing its body in `body`. */
static void
answer(struct in_control *in, const void *message, size_t bytes, bool is_inner,
       struct scratch *scratch, struct ts_text *body, struct ts_text *out)
{
    struct control_reply reply = {.instance = in->instance};
    struct control_request request;
    enum ts_err err = control_request_decode(message, bytes, &request);

    ts_text_clear(body);
    if (err == TS_OK)
        reply.request_id = request.request_id;
    if (err != TS_OK) {
        reply.http_status = mutation_error(err, body);
    } else if (request.op == CONTROL_HELLO) {
        hello(in, &reply, body);
    } else if (request.instance != in->instance) {
        TS_FAIL(TS_E_UNAVAILABLE, "ingestd was restarted");
        reply.http_status = mutation_error(TS_E_UNAVAILABLE, body);
    } else if (request.op == CONTROL_BUNDLE && !is_inner) {
        bundle(in, request.body, &reply, scratch);
    } else {
        execute_once(in, &request, &reply, body);
    }
    reply.content_type =
        (struct ts_span){.at = MUTATION_CONTENT_TYPE, .bytes = strlen(MUTATION_CONTENT_TYPE)};
    reply.body = (struct ts_span){.at = body->at, .bytes = body->bytes};
    control_reply_encode(&reply, out);
}

static void
bundle(struct in_control *in, struct ts_span requests, struct control_reply *reply,
       struct scratch *scratch)
{
    struct ts_span one;

    reply->http_status = 200;
    while (control_frame_take(&requests, &one)) {
        const size_t start = control_frame_begin(&scratch->bundle);

        answer(in, one.at, one.bytes, true, scratch, &scratch->body, &scratch->bundle);
        control_frame_end(&scratch->bundle, start);
    }
}

/* NULL when it is time to stop. */
static nng_msg *
next_request(struct worker *worker)
{
    struct in_control *const in = worker->in;

    while (!atomic_load_explicit(&in->is_stopping, memory_order_acquire)) {
        nng_ctx_recv(worker->ctx, worker->receive);
        nng_aio_wait(worker->receive);
        if (atomic_load_explicit(&in->is_stopping, memory_order_acquire))
            break;
        if (nng_aio_result(worker->receive) == 0)
            return nng_aio_get_msg(worker->receive);
    }
    return NULL;
}

/* The message is used again for the reply: its header leads back to the one who asked. */
static void
send_reply(struct worker *worker, nng_msg *message, const struct ts_text *out)
{
    nng_msg_clear(message);
    if (!out->failed && nng_msg_append(message, out->at, out->bytes) == 0) {
        nng_aio_set_msg(worker->send, message);
        nng_ctx_send(worker->ctx, worker->send);
        nng_aio_wait(worker->send);
        if (nng_aio_result(worker->send) == 0) {
            atomic_store_explicit(&worker->in->has_replied, true, memory_order_relaxed);
            return;
        }
    }
    nng_msg_free(message);
}

/* What a large request needed is given back. */
static void
trim(struct ts_text *text)
{
    if (text->capacity > KEEP_BYTES)
        ts_text_done(text);
}

static void *
worker_main(void *arg)
{
    struct worker *worker = arg;
    struct scratch scratch = {0};
    nng_msg *message;

    while ((message = next_request(worker)) != NULL) {
        ts_text_clear(&scratch.bundle);
        ts_text_clear(&scratch.out);
        answer(worker->in, nng_msg_body(message), nng_msg_len(message), false, &scratch,
               &scratch.bundle, &scratch.out);
        send_reply(worker, message, &scratch.out);
        trim(&scratch.body);
        trim(&scratch.bundle);
        trim(&scratch.out);
    }
    ts_text_done(&scratch.body);
    ts_text_done(&scratch.bundle);
    ts_text_done(&scratch.out);
    return NULL;
}

static enum ts_err
listen_at(struct in_control *in, const char *run_dir)
{
    struct ts_config config;
    size_t max_bytes;

    settings_get(in->mutation->settings, &config);
    max_bytes = (size_t)config.max_line_bytes + CONTROL_MESSAGES_BYTES;
    if (max_bytes < config.max_body_bytes)
        max_bytes = (size_t)config.max_body_bytes;
    ts_config_wipe(&config);
    in->max_body_bytes = max_bytes;
    return endpoint_open(&in->endpoint, in->socket, run_dir, CONTROL_REQUEST_SOCKET,
                         max_bytes + CONTROL_OVERHEAD_BYTES);
}

static enum ts_err
start_worker(struct in_control *in, struct worker *worker)
{
    int rc = nng_ctx_open(&worker->ctx, in->socket);

    worker->in = in;
    worker->has_ctx = rc == 0;
    if (rc == 0)
        rc = nng_aio_alloc(&worker->receive, NULL, NULL);
    if (rc == 0)
        rc = nng_aio_alloc(&worker->send, NULL, NULL);
    if (rc != 0)
        return TS_FAIL(TS_E_SYSTEM, "nng: %s", nng_strerror(rc));
    rc = pthread_create(&worker->thread, NULL, worker_main, worker);
    if (rc != 0)
        return ts_error_set_errno(TS_E_SYSTEM, rc, "start a thread for control requests");
    worker->has_thread = true;
    return TS_OK;
}

enum ts_err
in_control_start(struct mutation *mutation, const char *run_dir, uint64_t instance,
                 struct in_control **out)
{
    struct in_control *in = calloc(1, sizeof *in);
    enum ts_err err = TS_OK;
    int rc;

    if (in == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    in->mutation = mutation;
    in->instance = instance;
    err = executed_new(REMEMBERED, REMEMBERED, REMEMBERED_BYTES, &in->executed);
    rc = nng_rep0_open(&in->socket);
    if (rc != 0 && err == TS_OK)
        err = TS_FAIL(TS_E_SYSTEM, "nng rep socket: %s", nng_strerror(rc));
    for (int i = 0; i < IN_CONTROL_THREADS && err == TS_OK; i++)
        err = start_worker(in, &in->workers[i]);
    if (err == TS_OK)
        err = listen_at(in, run_dir);
    if (err != TS_OK)
        in_control_stop(in);
    else
        *out = in;
    return err;
}

void
in_control_check(struct in_control *in)
{
    if (in != NULL)
        endpoint_check(&in->endpoint);
}

void
in_control_stop(struct in_control *in)
{
    if (in == NULL)
        return;
    /* release: a worker that sees it sees all that the stopping thread did before. */
    atomic_store_explicit(&in->is_stopping, true, memory_order_release);
    for (int i = 0; i < IN_CONTROL_THREADS; i++) {
        struct worker *const worker = &in->workers[i];

        /* A worker that looked at is_stopping just before may only now begin to receive, and a
         * cancel would be too early for it: ask until it is gone. */
        while (worker->has_thread && pthread_tryjoin_np(worker->thread, NULL) != 0) {
            nng_aio_cancel(worker->receive);
            nng_msleep(1);
        }
    }
    if (atomic_load_explicit(&in->has_replied, memory_order_relaxed))
        nng_msleep(LINGER_MS);
    for (int i = 0; i < IN_CONTROL_THREADS; i++) {
        if (in->workers[i].has_ctx)
            nng_ctx_close(in->workers[i].ctx);
        if (in->workers[i].receive != NULL)
            nng_aio_free(in->workers[i].receive);
        if (in->workers[i].send != NULL)
            nng_aio_free(in->workers[i].send);
    }
    if (!socket_close(in->socket, in))
        return;
    executed_free(in->executed);
    free(in);
}
