/* forward_share.c - see forward_share.h.
 *
 * There is no thread for it: one of those who wait takes what is queued and carries it for all. */
#include "queryd/forward_share.h"

#include "common/error.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

STAILQ_HEAD(riders, rider);

/* One who waits. */
struct rider {
    STAILQ_ENTRY(rider) link;
    struct control_request *request; /* borrowed */
    sem_t called;                    /* once: it is done, or it is to carry its load */
    bool is_carrier;                 /* set before it is called */
    enum ts_err err;
    char why[TS_ERROR_TEXT_BYTES]; /* with an err */
    struct forward_reply reply;
    struct riders load; /* of a carrier: those it carries, itself the first */
};

struct forward_share {
    struct forward *forward; /* borrowed */
    pthread_mutex_t lock;    /* guards the rest */
    struct riders queue;
    unsigned n_flying;
    int64_t departed_ns; /* when the last message left */
};

enum ts_err
forward_share_new(struct forward *forward, struct forward_share **out)
{
    struct forward_share *share = calloc(1, sizeof *share);

    if (share == NULL)
        return TS_FAIL(TS_E_NOMEM, "no memory to forward requests");
    share->forward = forward;
    pthread_mutex_init(&share->lock, NULL);
    STAILQ_INIT(&share->queue);
    *out = share;
    return TS_OK;
}

void
forward_share_free(struct forward_share *share)
{
    if (share == NULL)
        return;
    pthread_mutex_destroy(&share->lock);
    free(share);
}

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* ---- one message ---- */

static void
fail(struct rider *rider, enum ts_err err)
{
    rider->err = err;
    snprintf(rider->why, sizeof rider->why, "%s", ts_error_text());
}

/* A reply of its own out of the one for all. */
static void
take_part(struct rider *rider, struct ts_span part)
{
    struct control_reply decoded;
    char *copy = malloc(part.bytes + 1);

    if (copy == NULL) {
        fail(rider, TS_FAIL(TS_E_TIMEOUT, "no memory for ingestd's reply"));
        return;
    }
    memcpy(copy, part.at, part.bytes);
    if (control_reply_decode(copy, part.bytes, &decoded) == TS_OK &&
        decoded.request_id == rider->request->request_id) {
        rider->reply = (struct forward_reply){.reply = decoded, .copy = copy};
        return;
    }
    free(copy);
    fail(rider, TS_FAIL(TS_E_TIMEOUT, "ingestd's reply: not understood"));
}

/* All get the same reply: ingestd did not look into the message. */
static void
take_whole(struct riders *riders, const struct control_reply *reply)
{
    struct rider *rider;
    struct ts_text text;

    STAILQ_FOREACH(rider, riders, link)
    {
        struct control_reply own = *reply;

        own.request_id = rider->request->request_id;
        ts_text_init(&text);
        control_reply_encode(&own, &text);
        if (text.failed)
            fail(rider, TS_FAIL(TS_E_TIMEOUT, "no memory for ingestd's reply"));
        else
            take_part(rider, (struct ts_span){.at = text.at, .bytes = text.bytes});
        ts_text_done(&text);
    }
}

static void
distribute(struct riders *riders, const struct control_reply *reply)
{
    struct ts_span rest = reply->body, part;
    struct rider *rider;

    if (reply->http_status != 200) {
        take_whole(riders, reply);
        return;
    }
    STAILQ_FOREACH(rider, riders, link)
    {
        if (control_frame_take(&rest, &part))
            take_part(rider, part);
        else
            fail(rider, TS_FAIL(TS_E_TIMEOUT, "ingestd's reply: too short"));
    }
}

/* Sends them and gives each its reply. The lock is not held. */
static void
carry(struct forward_share *share, struct riders *riders)
{
    struct control_request bundle = {.op = CONTROL_BUNDLE};
    struct forward_reply reply;
    struct rider *rider = STAILQ_FIRST(riders);
    struct ts_text body;
    enum ts_err err = TS_OK;

    if (STAILQ_NEXT(rider, link) == NULL) {
        err = forward_call(share->forward, rider->request, &rider->reply);
        if (err != TS_OK)
            fail(rider, err);
        return;
    }
    ts_text_init(&body);
    STAILQ_FOREACH(rider, riders, link)
    {
        size_t start;

        if (err == TS_OK)
            err = forward_prepare(share->forward, rider->request);
        start = control_frame_begin(&body);
        control_request_encode(rider->request, &body);
        control_frame_end(&body, start);
    }
    if (err == TS_OK && body.failed)
        err = TS_FAIL(TS_E_NOMEM, "no memory to forward a request");
    bundle.body = (struct ts_span){.at = body.at, .bytes = body.bytes};
    if (err == TS_OK)
        err = forward_call(share->forward, &bundle, &reply);
    if (err == TS_OK) {
        distribute(riders, &reply.reply);
        forward_reply_done(&reply);
    } else {
        STAILQ_FOREACH(rider, riders, link)
        fail(rider, err);
    }
    ts_text_done(&body);
}

/* ---- who carries ---- */

static size_t
size_of(const struct rider *rider)
{
    return rider->request->body.bytes + CONTROL_OVERHEAD_BYTES;
}

/* Takes the first off the queue as the next carrier; NULL if nobody waits. What it is to carry it
 * takes itself when it runs, so that all who came until then go with it. The lock is held. */
static struct rider *
appoint(struct forward_share *share)
{
    struct rider *const carrier = STAILQ_FIRST(&share->queue);

    if (carrier == NULL)
        return NULL;
    STAILQ_REMOVE_HEAD(&share->queue, link);
    STAILQ_INIT(&carrier->load);
    STAILQ_INSERT_TAIL(&carrier->load, carrier, link);
    carrier->is_carrier = true;
    share->departed_ns = now_ns();
    return carrier;
}

/* As many as go into a message. */
static void
take_load(struct forward_share *share, struct rider *carrier)
{
    size_t bytes = size_of(carrier);
    struct rider *rider;

    pthread_mutex_lock(&share->lock);
    share->departed_ns = now_ns();
    for (unsigned n = 1; n < FORWARD_SHARE_REQUESTS; n++) {
        rider = STAILQ_FIRST(&share->queue);
        if (rider == NULL || bytes + size_of(rider) > FORWARD_SHARE_BYTES)
            break;
        bytes += size_of(rider);
        STAILQ_REMOVE_HEAD(&share->queue, link);
        STAILQ_INSERT_TAIL(&carrier->load, rider, link);
    }
    pthread_mutex_unlock(&share->lock);
}

/* Carries all there are, then calls those who were carried and the next carrier: it last, since the
 * clients of the others may have more to send along. */
static void
carry_load(struct forward_share *share, struct rider *self)
{
    struct rider *rider, *next;

    /* Whoever can run now gets to queue up first: a message costs more than a turn. */
    sched_yield();
    take_load(share, self);
    carry(share, &self->load);
    /* Who is called is gone at once: what is needed of it is taken before. */
    for (rider = STAILQ_FIRST(&self->load); rider != NULL; rider = next) {
        next = STAILQ_NEXT(rider, link);
        if (rider != self)
            sem_post(&rider->called);
    }
    pthread_mutex_lock(&share->lock);
    next = appoint(share);
    if (next == NULL)
        share->n_flying--;
    pthread_mutex_unlock(&share->lock);
    if (next != NULL)
        sem_post(&next->called);
}

/* One message at a time carries most in each; but nobody waits long for one that does not return.
 * The lock is held. */
static bool
may_depart(const struct forward_share *share)
{
    return share->n_flying == 0 || (share->n_flying < FORWARD_SHARE_FLYING &&
                                    now_ns() - share->departed_ns > FORWARD_SHARE_PATIENCE_NS);
}

enum ts_err
forward_share_call(struct forward_share *share, struct control_request *request,
                   struct forward_reply *out)
{
    struct rider rider = {.request = request};
    struct rider *carrier = NULL;

    sem_init(&rider.called, 0, 0);
    pthread_mutex_lock(&share->lock);
    STAILQ_INSERT_TAIL(&share->queue, &rider, link);
    if (may_depart(share)) {
        share->n_flying++;
        carrier = appoint(share);
    }
    pthread_mutex_unlock(&share->lock);
    if (carrier != NULL && carrier != &rider)
        sem_post(&carrier->called);
    while (carrier != &rider && sem_wait(&rider.called) != 0 && errno == EINTR)
        ;
    if (rider.is_carrier)
        carry_load(share, &rider);
    sem_destroy(&rider.called);
    if (rider.err != TS_OK)
        return TS_FAIL(rider.err, "%s", rider.why);
    *out = rider.reply;
    return TS_OK;
}
