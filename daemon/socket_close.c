/* socket_close.c - see socket_close.h. */
#include "daemon/socket_close.h"

#include "common/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* Shared by the one who waits and the one who closes; the last to leave frees it. */
struct closing {
    int (*close)(nng_socket socket);
    nng_socket socket;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool is_closed, is_left;
};

static void
closing_free(struct closing *closing)
{
    pthread_cond_destroy(&closing->changed);
    pthread_mutex_destroy(&closing->lock);
    free(closing);
}

static void *
closer_main(void *arg)
{
    struct closing *closing = arg;
    bool is_left;

    closing->close(closing->socket);
    pthread_mutex_lock(&closing->lock);
    closing->is_closed = true;
    is_left = closing->is_left;
    pthread_cond_signal(&closing->changed);
    pthread_mutex_unlock(&closing->lock);
    if (is_left)
        closing_free(closing);
    return NULL;
}

static struct closing *
closing_new(int (*close)(nng_socket socket), nng_socket socket)
{
    struct closing *closing = calloc(1, sizeof *closing);
    pthread_condattr_t attr;

    if (closing == NULL)
        return NULL;
    closing->close = close;
    closing->socket = socket;
    pthread_mutex_init(&closing->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&closing->changed, &attr);
    pthread_condattr_destroy(&attr);
    return closing;
}

static bool
await(struct closing *closing, unsigned wait_ms)
{
    struct timespec until;
    bool is_closed;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&closing->lock);
    while (!closing->is_closed &&
           pthread_cond_timedwait(&closing->changed, &closing->lock, &until) == 0)
        ;
    is_closed = closing->is_closed;
    closing->is_left = true;
    pthread_mutex_unlock(&closing->lock);
    return is_closed;
}

/* What is in use until the process ends is referred to until then: else it would be a leak. A
 * daemon closes two sockets in its life. */
static _Atomic(void *) in_use[8];

static void
keep_referred(void *used)
{
    for (size_t i = 0; used != NULL && i < sizeof in_use / sizeof in_use[0]; i++) {
        void *nothing = NULL;

        if (atomic_compare_exchange_strong(&in_use[i], &nothing, used))
            return;
    }
}

bool
socket_close_by(int (*close)(nng_socket socket), nng_socket socket, void *used, unsigned wait_ms)
{
    struct closing *closing = closing_new(close, socket);
    pthread_t closer;

    if (closing == NULL || pthread_create(&closer, NULL, closer_main, closing) != 0) {
        if (closing != NULL)
            closing_free(closing);
        close(socket);
        return true;
    }
    if (await(closing, wait_ms)) {
        pthread_join(closer, NULL);
        closing_free(closing);
        return true;
    }
    pthread_detach(closer);
    keep_referred(used);
    ts_log(TS_LOG_WARNING, "nng does not close a socket; it ends with the process");
    return false;
}

bool
socket_close(nng_socket socket, void *used)
{
    return socket_close_by(nng_close, socket, used, SOCKET_CLOSE_MS);
}
