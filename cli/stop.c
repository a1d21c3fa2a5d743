/* stop.c - a flag and an eventfd, set by the handler. */
#include "cli/stop.h"

#include "cli/when.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static atomic_int stop_asked; /* lock-free, so that a handler may store it */
static int stop_fd = -1;

static void
on_signal(int signal_no)
{
    const int saved_errno = errno;
    const uint64_t one = 1;

    (void)signal_no;
    /* relaxed: nothing else is published with it; the eventfd wakes who sleeps. */
    atomic_store_explicit(&stop_asked, 1, memory_order_relaxed);
    if (write(stop_fd, &one, sizeof one) < 0) {
        /* Full means that it is readable already. */
    }
    errno = saved_errno;
}

enum ts_err
cli_stop_init(void)
{
    /* No SA_RESTART: a write that blocks must give way. SA_RESETHAND: the second signal kills. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    if (stop_fd >= 0)
        return TS_OK;
    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_fd < 0)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "eventfd");
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGINT, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0)
        return TS_FAIL_ERRNO(TS_E_SYSTEM, "sigaction");
    return TS_OK;
}

bool
cli_stop_asked(void)
{
    return atomic_load_explicit(&stop_asked, memory_order_relaxed) != 0;
}

int
cli_stop_fd(void)
{
    return stop_fd;
}

bool
cli_stop_sleep(int64_t duration_ns)
{
    const int64_t end_ns = cli_monotonic_ns() + duration_ns;
    struct pollfd wake = {.fd = stop_fd, .events = POLLIN};
    int64_t left_ns = duration_ns;

    while (!cli_stop_asked() && left_ns > 0) {
        const struct timespec left = {.tv_sec = left_ns / 1000000000,
                                      .tv_nsec = left_ns % 1000000000};

        ppoll(&wake, 1, &left, NULL);
        left_ns = end_ns - cli_monotonic_ns();
    }
    return cli_stop_asked();
}
