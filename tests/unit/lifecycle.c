/* lifecycle.c - signals become events, and the service manager hears what it should. */
#include "daemon/lifecycle.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

TestSuite(lifecycle, .timeout = 30);

/* Raised, not sent: the test framework has threads of its own that do not block them. */
Test(lifecycle, signals_are_events)
{
    struct lifecycle life;

    cr_assert_eq(lifecycle_init(&life), TS_OK);
    cr_expect_eq(lifecycle_wait(&life, 0), LIFECYCLE_NOTHING);
    raise(SIGHUP);
    cr_expect_eq(lifecycle_wait(&life, 5000), LIFECYCLE_RELOAD);
    raise(SIGTERM);
    cr_expect_eq(lifecycle_wait(&life, 5000), LIFECYCLE_STOP);
    raise(SIGINT);
    cr_expect_eq(lifecycle_wait(&life, -1), LIFECYCLE_STOP);
    cr_expect_eq(lifecycle_wait(&life, 10), LIFECYCLE_NOTHING);
    lifecycle_done(&life);
}

static void *
stop(void *arg)
{
    lifecycle_stop_now(arg);
    return NULL;
}

Test(lifecycle, any_thread_may_stop_the_daemon)
{
    struct lifecycle life;
    pthread_t thread;

    cr_assert_eq(lifecycle_init(&life), TS_OK);
    cr_assert_eq(pthread_create(&thread, NULL, stop, &life), 0);
    cr_expect_eq(lifecycle_wait(&life, -1), LIFECYCLE_STOP);
    pthread_join(thread, NULL);
    lifecycle_done(&life);
}

/* A service manager that only listens. "@" in front: an abstract name. */
static int
listen_as_manager(char out_name[64])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    size_t bytes;

    snprintf(out_name, 64, "@tsstore-lifecycle-%d", (int)getpid());
    bytes = strlen(out_name);
    memcpy(address.sun_path + 1, out_name + 1, bytes - 1);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes)),
                 0);
    return fd;
}

static void
expect_heard(int fd, const char *want)
{
    char heard[200];
    const ssize_t n = recv(fd, heard, sizeof heard, 0);

    cr_assert_geq(n, (ssize_t)strlen(want), "%s", want);
    cr_expect_eq(strncmp(heard, want, strlen(want)), 0, "%s", want);
}

static void
expect_line_when_ready(void)
{
    static const char want[] = "listening http=127.0.0.1:21080\n";
    char line[100] = "";
    int fds[2], saved_fd;

    cr_assert_eq(pipe(fds), 0);
    fflush(stdout);
    saved_fd = dup(STDOUT_FILENO);
    dup2(fds[1], STDOUT_FILENO);
    lifecycle_ready("http=%s:%d", "127.0.0.1", 21080);
    dup2(saved_fd, STDOUT_FILENO);
    cr_expect_eq(read(fds[0], line, sizeof line - 1), (ssize_t)sizeof want - 1);
    cr_expect_str_eq(line, want);
    close(saved_fd);
    close(fds[0]);
    close(fds[1]);
}

Test(lifecycle, the_service_manager_hears_readiness_life_and_end)
{
    struct lifecycle life;
    char name[64];
    const int fd = listen_as_manager(name);

    setenv("NOTIFY_SOCKET", name, 1);
    setenv("WATCHDOG_USEC", "20000", 1);
    unsetenv("WATCHDOG_PID");
    cr_assert_eq(lifecycle_init(&life), TS_OK);
    expect_line_when_ready();
    expect_heard(fd, "READY=1");
    cr_expect_eq(lifecycle_wait(&life, 50), LIFECYCLE_NOTHING);
    expect_heard(fd, "WATCHDOG=1");
    expect_heard(fd, "WATCHDOG=1");
    while (recv(fd, name, sizeof name, 0) > 0)
        ;
    lifecycle_reloading();
    expect_heard(fd, "RELOADING=1");
    lifecycle_reloaded();
    expect_heard(fd, "READY=1");
    lifecycle_stopping();
    expect_heard(fd, "STOPPING=1");
    lifecycle_done(&life);
    close(fd);
}

Test(lifecycle, a_watchdog_of_another_process_and_odd_numbers_are_ignored)
{
    static const char *const limits[] = {"", "x", "0", "-5", "99999999999999999999"};
    struct lifecycle life;

    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        setenv("WATCHDOG_USEC", limits[i], 1);
        cr_assert_eq(lifecycle_init(&life), TS_OK);
        cr_expect_eq(life.watchdog_ns, 0, "'%s'", limits[i]);
        lifecycle_done(&life);
    }
    setenv("WATCHDOG_USEC", "20000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    cr_assert_eq(lifecycle_init(&life), TS_OK);
    cr_expect_eq(life.watchdog_ns, 0);
    lifecycle_done(&life);
}
