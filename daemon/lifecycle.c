/* lifecycle.c - signals by signalfd; readiness and watchdog by libsystemd, where it was there at
 * build. */
#include "daemon/lifecycle.h"

#include "common/log.h"
#include "daemon/monotonic.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#ifdef TS_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)
#define MAX_WATCHDOG_US UINT64_C(86400000000)

/* Sends one state to the service manager, if there is one. */
static void
notify(const char *state)
{
#ifdef TS_HAVE_SYSTEMD
    /* A manager that does not listen is its own trouble: nothing here depends on it. */
    (void)!sd_notify(0, state);
#else
    (void)state;
#endif
}

/* Half of what the manager allows, as it advises; 0 if it wants no sign of life from us. */
static int64_t
watchdog_period_ns(void)
{
#ifdef TS_HAVE_SYSTEMD
    uint64_t limit_us;

    if (sd_watchdog_enabled(0, &limit_us) > 0 && limit_us <= MAX_WATCHDOG_US)
        return (int64_t)limit_us * 1000 / 2;
#endif
    return 0;
}

void
lifecycle_raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        ts_log(TS_LOG_WARNING, "limit of open files: %s", strerror(errno));
}

enum ts_err
lifecycle_init(struct lifecycle *life)
{
    sigset_t signals;
    int signal_fd = -1, stop_fd;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &signals, NULL) != 0)
        return TS_FAIL(TS_E_SYSTEM, "cannot block signals");
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "ignore SIGPIPE");
    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_fd >= 0)
        signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signal_fd < 0) {
        const enum ts_err err = TS_FAIL_ERRNO(TS_E_SYSTEM, "signalfd");

        if (stop_fd >= 0)
            close(stop_fd);
        return err;
    }
    *life = (struct lifecycle){
        .signal_fd = signal_fd, .stop_fd = stop_fd, .watchdog_ns = watchdog_period_ns()};
    return TS_OK;
}

void
lifecycle_done(struct lifecycle *life)
{
    close(life->signal_fd);
    close(life->stop_fd);
    life->signal_fd = -1;
    life->stop_fd = -1;
}

void
lifecycle_stop_now(struct lifecycle *life)
{
    const uint64_t one = 1;

    (void)!write(life->stop_fd, &one, sizeof one);
}

static enum lifecycle_event
take_signal(struct lifecycle *life)
{
    struct signalfd_siginfo info;

    if (read(life->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return LIFECYCLE_NOTHING;
    return info.ssi_signo == SIGHUP ? LIFECYCLE_RELOAD : LIFECYCLE_STOP;
}

/* Feeds the watchdog if it is time, and returns how long to sleep at most, in ms. */
static int
feed_watchdog(struct lifecycle *life, int64_t now, int64_t until_ns)
{
    int64_t sleep_ns = until_ns < 0 ? INT64_MAX : until_ns - now;

    if (life->watchdog_ns > 0) {
        if (now >= life->next_ns) {
            notify("WATCHDOG=1");
            life->next_ns = now + life->watchdog_ns;
        }
        if (life->next_ns - now < sleep_ns)
            sleep_ns = life->next_ns - now;
    }
    if (sleep_ns == INT64_MAX)
        return -1;
    return sleep_ns <= 0 ? 0 : (int)((sleep_ns + NS_PER_MS - 1) / NS_PER_MS);
}

enum lifecycle_event
lifecycle_wait(struct lifecycle *life, int timeout_ms)
{
    const int64_t until_ns = timeout_ms < 0 ? -1 : monotonic_ns() + timeout_ms * NS_PER_MS;

    for (;;) {
        struct pollfd fds[2] = {{.fd = life->signal_fd, .events = POLLIN},
                                {.fd = life->stop_fd, .events = POLLIN}};
        const int64_t now = monotonic_ns();
        const int n = poll(fds, 2, feed_watchdog(life, now, until_ns));

        if (n > 0 && fds[1].revents != 0)
            return LIFECYCLE_STOP;
        if (n > 0 && fds[0].revents != 0) {
            const enum lifecycle_event event = take_signal(life);

            if (event != LIFECYCLE_NOTHING)
                return event;
        }
        if (until_ns >= 0 && monotonic_ns() >= until_ns)
            return LIFECYCLE_NOTHING;
    }
}

void
lifecycle_ready(const char *format, ...)
{
    char text[4096];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("listening %s\n", text);
    fflush(stdout);
    notify("READY=1");
}

void
lifecycle_reloading(void)
{
    char state[80];

    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)(monotonic_ns() / 1000));
    notify(state);
}

void
lifecycle_reloaded(void)
{
    notify("READY=1");
}

void
lifecycle_stopping(void)
{
    notify("STOPPING=1");
}
