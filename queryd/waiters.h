/* waiters.h - sleeping streams, woken by ingestd's events.
 *
 * Purpose    Let a stream sleep until its store has more, for next to no cost and no delay.
 * Invariant  No wake-up is lost: a stream takes waiter_count() before it looks for more the last
 *            time, and waiter_sleep() does not sleep if the count moved since. Events only make it
 *            quick; without any, a look at the count once a second finds what they missed.
 * Ownership  A waiter is the caller's memory from waiters_add() to waiters_remove(); name and view
 *            are borrowed for as long.
 * Threads    waiter_sleep() by the stream's own thread; the rest from any.
 * Errors     TS_E_SYSTEM, TS_E_USAGE from waiters_open().
 */
#ifndef QUERYD_WAITERS_H
#define QUERYD_WAITERS_H

#include "common/tsstore.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct waiters;

struct waiter {
    struct waiter *next, **link; /* in its bucket; guarded by waiters->lock */
    const char *name;            /* borrowed: the store's */
    struct ts_view *view;        /* borrowed */
    pthread_mutex_t lock;        /* guards the rest */
    pthread_cond_t woken;
    bool is_woken;
    bool is_stopped;
    bool is_asleep;
    bool has_new_keys;   /* since the last sleep */
    uint32_t seen_count; /* while asleep */
};

/* Subscribes to the ingestd of run_dir, whenever there is one. */
enum ts_err waiters_open(const char *run_dir, struct waiters **out) TS_MUST_USE;
void waiters_close(struct waiters *waiters);

/* waiter_stop() for all there are, and for those added later; waits up to timeout_ms until they are
 * gone, so that each may still say good-bye. */
void waiters_stop_all(struct waiters *waiters, unsigned timeout_ms);

void waiters_add(struct waiters *waiters, struct waiter *waiter, const char *name,
                 struct ts_view *view);
void waiters_remove(struct waiters *waiters, struct waiter *waiter);

/* To be taken before the look that finds nothing. */
uint32_t waiter_count(const struct waiter *waiter);

/* Sleeps until the store moved past `seen_count`, an event came for it, it was stopped, or
 * CLOCK_MONOTONIC reached until_ns. True if the store's keys changed since the last sleep, so that
 * the one that the stream was begun with may be none any more. */
bool waiter_sleep(struct waiter *waiter, uint32_t seen_count, int64_t until_ns);

bool waiter_is_stopped(struct waiter *waiter);
void waiter_stop(struct waiter *waiter);

#endif
