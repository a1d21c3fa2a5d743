/* publish.c - see publish.h. */
#include "ingestd/publish.h"

#include "daemon/monotonic.h"
#include "daemon/socket_close.h"
#include "ingestd/endpoint.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct publish {
    nng_socket socket;
    uint64_t instance;
    int timer_fd; /* owned */
    struct endpoint endpoint;
    _Atomic uint64_t n_heads;

    pthread_mutex_t lock; /* guards all below, and every slot */
    struct publish_slot *first_pending, **last_pending;
    bool is_armed;
    int64_t interval_from_ns; /* when the current interval began */
    unsigned n_in_interval;
    struct ts_text message; /* reused */
};

enum ts_err
publish_open(const char *run_dir, uint64_t instance, struct publish **out)
{
    struct publish *publish = calloc(1, sizeof *publish);
    enum ts_err err;
    int rc;

    if (publish == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    publish->instance = instance;
    publish->last_pending = &publish->first_pending;
    pthread_mutex_init(&publish->lock, NULL);
    ts_text_init(&publish->message);
    publish->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (publish->timer_fd < 0) {
        err = TS_FAIL_ERRNO(TS_E_SYSTEM, "timerfd");
        goto out;
    }
    rc = nng_pub0_open(&publish->socket);
    if (rc != 0) {
        err = TS_FAIL(TS_E_SYSTEM, "nng pub socket: %s", nng_strerror(rc));
        goto out;
    }
    err = endpoint_open(&publish->endpoint, publish->socket, run_dir, CONTROL_EVENT_SOCKET, 0);
    if (err == TS_OK)
        *out = publish;
out:
    if (err != TS_OK)
        publish_close(publish);
    return err;
}

void
publish_close(struct publish *publish)
{
    if (publish == NULL)
        return;
    if (!socket_close(publish->socket, publish))
        return;
    if (publish->timer_fd >= 0)
        close(publish->timer_fd);
    ts_text_done(&publish->message);
    pthread_mutex_destroy(&publish->lock);
    free(publish);
}

void
publish_check(struct publish *publish)
{
    if (publish != NULL)
        endpoint_check(&publish->endpoint);
}

int
publish_timer_fd(const struct publish *publish)
{
    return publish->timer_fd;
}

uint64_t
publish_count(const struct publish *publish)
{
    return atomic_load_explicit(&publish->n_heads, memory_order_relaxed);
}

/* Holds the lock. */
static void
send_event(struct publish *publish, const struct event *event)
{
    ts_text_clear(&publish->message);
    event_encode(event, &publish->message);
    if (!publish->message.failed)
        nng_send(publish->socket, publish->message.at, publish->message.bytes, NNG_FLAG_NONBLOCK);
}

/* Holds the lock. */
static void
send_state(struct publish *publish, const struct publish_slot *slot, enum event_kind kind)
{
    struct ts_state state;

    ts_view_state(slot->view, &state);
    send_event(publish, &(struct event){
                            .kind = (uint16_t)kind,
                            .instance = publish->instance,
                            .generation = state.generation,
                            .oldest_no = state.oldest_no,
                            .next_no = state.next_no,
                            .store = {.at = slot->name, .bytes = strlen(slot->name)},
                        });
}

/* Holds the lock. */
static void
send_head(struct publish *publish, struct publish_slot *slot, int64_t now)
{
    slot->sent_ns = now;
    publish->n_in_interval++;
    atomic_fetch_add_explicit(&publish->n_heads, 1, memory_order_relaxed);
    send_state(publish, slot, EVENT_HEAD);
}

/* Holds the lock. True if one more may be sent in this interval. */
static bool
has_budget(struct publish *publish, int64_t now)
{
    if (now - publish->interval_from_ns >= PUBLISH_INTERVAL_NS) {
        publish->interval_from_ns = now;
        publish->n_in_interval = 0;
    }
    return publish->n_in_interval < PUBLISH_MAX_PER_INTERVAL;
}

/* Holds the lock. */
static void
arm(struct publish *publish, int64_t in_ns)
{
    const struct itimerspec when = {.it_value = {.tv_nsec = in_ns > 0 ? in_ns : 1}};

    if (!publish->is_armed)
        publish->is_armed = timerfd_settime(publish->timer_fd, 0, &when, NULL) == 0;
}

void
publish_attach(struct publish *publish, struct publish_slot *slot, struct ts_view *view)
{
    if (publish == NULL)
        return;
    pthread_mutex_lock(&publish->lock);
    slot->view = view;
    pthread_mutex_unlock(&publish->lock);
}

void
publish_moved(struct publish *publish, struct publish_slot *slot)
{
    int64_t now;

    if (publish == NULL || endpoint_peers(&publish->endpoint) <= 0)
        return;
    now = monotonic_ns();
    pthread_mutex_lock(&publish->lock);
    if (slot->view != NULL && !slot->is_pending) {
        const int64_t since_ns = now - slot->sent_ns;

        if (since_ns >= PUBLISH_INTERVAL_NS && has_budget(publish, now)) {
            send_head(publish, slot, now);
        } else {
            slot->is_pending = true;
            slot->next = NULL;
            *publish->last_pending = slot;
            publish->last_pending = &slot->next;
            arm(publish, since_ns < PUBLISH_INTERVAL_NS ? PUBLISH_INTERVAL_NS - since_ns
                                                        : PUBLISH_INTERVAL_NS);
        }
    }
    pthread_mutex_unlock(&publish->lock);
}

/* Holds the lock. Takes the first pending slot off the list. */
static struct publish_slot *
take_pending(struct publish *publish)
{
    struct publish_slot *slot = publish->first_pending;

    publish->first_pending = slot->next;
    if (publish->first_pending == NULL)
        publish->last_pending = &publish->first_pending;
    slot->is_pending = false;
    return slot;
}

void
publish_due(struct publish *publish)
{
    uint64_t expirations;
    int64_t now;

    if (read(publish->timer_fd, &expirations, sizeof expirations) < 0 && errno == EAGAIN)
        return;
    now = monotonic_ns();
    pthread_mutex_lock(&publish->lock);
    publish->is_armed = false;
    while (publish->first_pending != NULL) {
        const int64_t since_ns = now - publish->first_pending->sent_ns;

        /* The list is in the order of movement, so that no store waits for ever. */
        if (since_ns < PUBLISH_INTERVAL_NS || !has_budget(publish, now)) {
            arm(publish, since_ns < PUBLISH_INTERVAL_NS ? PUBLISH_INTERVAL_NS - since_ns
                                                        : PUBLISH_INTERVAL_NS);
            break;
        }
        send_head(publish, take_pending(publish), now);
    }
    pthread_mutex_unlock(&publish->lock);
}

void
publish_reset(struct publish *publish, struct publish_slot *slot)
{
    if (publish == NULL)
        return;
    pthread_mutex_lock(&publish->lock);
    if (slot->view != NULL)
        send_state(publish, slot, EVENT_RESET);
    pthread_mutex_unlock(&publish->lock);
}

void
publish_catalogue(struct publish *publish, enum event_kind kind, const char *name)
{
    if (publish == NULL)
        return;
    pthread_mutex_lock(&publish->lock);
    send_event(publish, &(struct event){.kind = (uint16_t)kind,
                                        .instance = publish->instance,
                                        .store = {.at = name, .bytes = strlen(name)}});
    pthread_mutex_unlock(&publish->lock);
}

void
publish_forget(struct publish *publish, struct publish_slot *slot)
{
    struct publish_slot **at;

    if (publish == NULL)
        return;
    pthread_mutex_lock(&publish->lock);
    slot->view = NULL;
    for (at = &publish->first_pending; slot->is_pending && *at != NULL; at = &(*at)->next) {
        if (*at == slot) {
            *at = slot->next;
            if (*at == NULL)
                publish->last_pending = at;
            slot->is_pending = false;
            break;
        }
    }
    pthread_mutex_unlock(&publish->lock);
}
