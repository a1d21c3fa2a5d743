/* monotonic.h - the clock that nobody sets, and waiting by it.
 *
 * Purpose    Every deadline in the daemons is of CLOCK_MONOTONIC: one that is of the wall clock
 *            comes too early or never when somebody sets that.
 * Threads    Any; no state.
 * Units      Nanoseconds.
 */
#ifndef DAEMON_MONOTONIC_H
#define DAEMON_MONOTONIC_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

static inline int64_t
monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static inline struct timespec
monotonic_at(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

/* So many milliseconds from now. */
static inline struct timespec
monotonic_after_ms(unsigned ms)
{
    return monotonic_at(monotonic_ns() + (int64_t)ms * 1000000);
}

/* A condition whose timed waits are until such a time. */
static inline void
monotonic_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

#endif
