/* waiters.c - events in, sleepers out.
 *
 * Events are handled in nng's own callback, not handed to a thread of ours: that would be one more
 * switch between the writer and the one who waits. */
#include "queryd/waiters.h"

#include "common/error.h"
#include "daemon/monotonic.h"
#include "daemon/socket_close.h"
#include "proto/control.h"

#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N_BUCKETS 64u
#define POLL_MS 1000
#define RECONNECT_MIN_MS 20
#define RECONNECT_MAX_MS 250
#define QUEUED_EVENTS 1024

struct waiters {
    nng_socket socket;
    bool has_socket;
    nng_aio *aio;         /* the receive that is always under way */
    pthread_mutex_t lock; /* guards the next four */
    struct waiter *buckets[N_BUCKETS];
    unsigned n_waiters;
    bool is_ending;         /* new waiters are stopped at once */
    pthread_cond_t emptied; /* the last waiter left while is_ending */
    pthread_t poller;
    bool has_poller;
    pthread_mutex_t poll_lock; /* guards is_stopped */
    pthread_cond_t poll_stop;
    bool is_stopped;
};

static unsigned
bucket_of(const char *name, size_t bytes)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    return hash % N_BUCKETS;
}

static void
wake(struct waiter *waiter, bool has_new_keys)
{
    pthread_mutex_lock(&waiter->lock);
    waiter->is_woken = true;
    waiter->has_new_keys |= has_new_keys;
    pthread_cond_signal(&waiter->woken);
    pthread_mutex_unlock(&waiter->lock);
}

/* ---- events ---- */

static void
wake_store(struct waiters *waiters, const struct ts_span *store, bool has_new_keys)
{
    pthread_mutex_lock(&waiters->lock);
    for (struct waiter *w = waiters->buckets[bucket_of(store->at, store->bytes)]; w != NULL;
         w = w->next)
        if (strlen(w->name) == store->bytes && memcmp(w->name, store->at, store->bytes) == 0)
            wake(w, has_new_keys);
    pthread_mutex_unlock(&waiters->lock);
}

static void
handle_event(struct waiters *waiters, const void *message, size_t bytes)
{
    struct event event;

    /* What cannot be read is no event; the slow look makes up for it. */
    if (event_decode(message, bytes, &event) == TS_OK)
        wake_store(waiters, &event.store, event.kind == EVENT_KEYS);
}

static void
on_received(void *arg)
{
    struct waiters *waiters = arg;
    nng_msg *message;

    switch (nng_aio_result(waiters->aio)) {
    case 0:
        message = nng_aio_get_msg(waiters->aio);
        handle_event(waiters, nng_msg_body(message), nng_msg_len(message));
        nng_msg_free(message);
        break;
    case NNG_ECLOSED:
    case NNG_ECANCELED:
        return;
    default:
        break;
    }
    nng_recv_aio(waiters->socket, waiters->aio);
}

static enum ts_err
subscribe(struct waiters *waiters, const char *url)
{
    int failed;

    failed = nng_sub0_open(&waiters->socket);
    if (failed != 0)
        return TS_FAIL(TS_E_SYSTEM, "open event socket: %s", nng_strerror(failed));
    waiters->has_socket = true;
    nng_socket_set(waiters->socket, NNG_OPT_SUB_SUBSCRIBE, "", 0);
    nng_socket_set_int(waiters->socket, NNG_OPT_RECVBUF, QUEUED_EVENTS);
    nng_socket_set_ms(waiters->socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
    nng_socket_set_ms(waiters->socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
    failed = nng_aio_alloc(&waiters->aio, on_received, waiters);
    if (failed == 0)
        failed = nng_dial(waiters->socket, url, NULL, NNG_FLAG_NONBLOCK);
    if (failed != 0)
        return TS_FAIL(TS_E_SYSTEM, "dial %s: %s", url, nng_strerror(failed));
    nng_recv_aio(waiters->socket, waiters->aio);
    return TS_OK;
}

/* ---- the slow look ---- */

static void
look_at_all(struct waiters *waiters)
{
    pthread_mutex_lock(&waiters->lock);
    for (unsigned i = 0; i < N_BUCKETS; i++) {
        for (struct waiter *w = waiters->buckets[i]; w != NULL; w = w->next) {
            pthread_mutex_lock(&w->lock);
            if (w->is_asleep && waiter_count(w) != w->seen_count) {
                w->is_woken = true;
                pthread_cond_signal(&w->woken);
            }
            pthread_mutex_unlock(&w->lock);
        }
    }
    pthread_mutex_unlock(&waiters->lock);
}

static void *
poll_slowly(void *arg)
{
    struct waiters *waiters = arg;
    bool is_stopped;

    do {
        const struct timespec until = monotonic_after_ms(POLL_MS);

        pthread_mutex_lock(&waiters->poll_lock);
        while (!waiters->is_stopped &&
               pthread_cond_timedwait(&waiters->poll_stop, &waiters->poll_lock, &until) == 0)
            ;
        is_stopped = waiters->is_stopped;
        pthread_mutex_unlock(&waiters->poll_lock);
        look_at_all(waiters);
    } while (!is_stopped);
    return NULL;
}

enum ts_err
waiters_open(const char *run_dir, struct waiters **out)
{
    struct waiters *waiters;
    char url[CONTROL_URL_BYTES];
    enum ts_err err;

    err = control_url(run_dir, CONTROL_EVENT_SOCKET, url);
    if (err != TS_OK)
        return err;
    waiters = calloc(1, sizeof *waiters);
    if (waiters == NULL)
        return TS_FAIL(TS_E_NOMEM, "no memory for waiting streams");
    pthread_mutex_init(&waiters->lock, NULL);
    pthread_mutex_init(&waiters->poll_lock, NULL);
    monotonic_cond_init(&waiters->poll_stop);
    monotonic_cond_init(&waiters->emptied);
    err = subscribe(waiters, url);
    if (err == TS_OK && pthread_create(&waiters->poller, NULL, poll_slowly, waiters) != 0)
        err = TS_FAIL(TS_E_SYSTEM, "cannot start a thread");
    else if (err == TS_OK)
        waiters->has_poller = true;
    if (err != TS_OK) {
        waiters_close(waiters);
        return err;
    }
    *out = waiters;
    return TS_OK;
}

void
waiters_close(struct waiters *waiters)
{
    if (waiters == NULL)
        return;
    if (waiters->has_poller) {
        pthread_mutex_lock(&waiters->poll_lock);
        waiters->is_stopped = true;
        pthread_cond_signal(&waiters->poll_stop);
        pthread_mutex_unlock(&waiters->poll_lock);
        pthread_join(waiters->poller, NULL);
    }
    if (waiters->aio != NULL)
        nng_aio_stop(waiters->aio);
    if (waiters->has_socket && !socket_close(waiters->socket, waiters))
        return;
    if (waiters->aio != NULL)
        nng_aio_free(waiters->aio);
    pthread_cond_destroy(&waiters->poll_stop);
    pthread_cond_destroy(&waiters->emptied);
    pthread_mutex_destroy(&waiters->poll_lock);
    pthread_mutex_destroy(&waiters->lock);
    free(waiters);
}

/* ---- one waiter ---- */

void
waiters_add(struct waiters *waiters, struct waiter *waiter, const char *name, struct ts_view *view)
{
    struct waiter **bucket = &waiters->buckets[bucket_of(name, strlen(name))];

    *waiter = (struct waiter){.name = name, .view = view};
    pthread_mutex_init(&waiter->lock, NULL);
    monotonic_cond_init(&waiter->woken);
    pthread_mutex_lock(&waiters->lock);
    waiter->next = *bucket;
    waiter->link = bucket;
    if (waiter->next != NULL)
        waiter->next->link = &waiter->next;
    *bucket = waiter;
    waiter->is_stopped = waiters->is_ending;
    waiters->n_waiters++;
    pthread_mutex_unlock(&waiters->lock);
}

void
waiters_remove(struct waiters *waiters, struct waiter *waiter)
{
    pthread_mutex_lock(&waiters->lock);
    *waiter->link = waiter->next;
    if (waiter->next != NULL)
        waiter->next->link = waiter->link;
    if (--waiters->n_waiters == 0 && waiters->is_ending)
        pthread_cond_signal(&waiters->emptied);
    pthread_mutex_unlock(&waiters->lock);
    pthread_cond_destroy(&waiter->woken);
    pthread_mutex_destroy(&waiter->lock);
}

uint32_t
waiter_count(const struct waiter *waiter)
{
    return ts_view_publish_count(waiter->view);
}

bool
waiter_sleep(struct waiter *waiter, uint32_t seen_count, int64_t until_ns)
{
    const struct timespec until = monotonic_at(until_ns);
    bool has_new_keys;

    pthread_mutex_lock(&waiter->lock);
    waiter->seen_count = seen_count;
    waiter->is_asleep = true;
    while (!waiter->is_woken && !waiter->is_stopped && waiter_count(waiter) == seen_count)
        if (pthread_cond_timedwait(&waiter->woken, &waiter->lock, &until) != 0)
            break;
    waiter->is_asleep = false;
    waiter->is_woken = false;
    has_new_keys = waiter->has_new_keys;
    waiter->has_new_keys = false;
    pthread_mutex_unlock(&waiter->lock);
    return has_new_keys;
}

bool
waiter_is_stopped(struct waiter *waiter)
{
    bool is_stopped;

    pthread_mutex_lock(&waiter->lock);
    is_stopped = waiter->is_stopped;
    pthread_mutex_unlock(&waiter->lock);
    return is_stopped;
}

void
waiter_stop(struct waiter *waiter)
{
    pthread_mutex_lock(&waiter->lock);
    waiter->is_stopped = true;
    pthread_cond_signal(&waiter->woken);
    pthread_mutex_unlock(&waiter->lock);
}

void
waiters_stop_all(struct waiters *waiters, unsigned timeout_ms)
{
    const struct timespec until = monotonic_after_ms(timeout_ms);

    pthread_mutex_lock(&waiters->lock);
    waiters->is_ending = true;
    for (unsigned i = 0; i < N_BUCKETS; i++)
        for (struct waiter *w = waiters->buckets[i]; w != NULL; w = w->next)
            waiter_stop(w);
    while (waiters->n_waiters > 0 &&
           pthread_cond_timedwait(&waiters->emptied, &waiters->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&waiters->lock);
}
