/* endpoint.c - the endpoint listens again after a peer that vanished while connecting. */
#include "ingestd/endpoint.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/util/platform.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* nng forgets some of a listener that it lost in this way. That is a few KiB each time a process is
 * killed in that very moment, and not ours to free. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

/* What a queryd leaves that is killed between connect() and its first bytes. */
static void
connect_and_vanish(const char *run_dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", run_dir, CONTROL_REQUEST_SOCKET);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

Test(endpoint, lets_peers_in_again_after_one_that_vanished, .timeout = 60)
{
    char run_dir[] = "/tmp/tsstore-endpoint-XXXXXX";
    struct endpoint endpoint;
    nng_socket server, client;
    char path[128], answer[8];
    size_t bytes = sizeof answer;

    cr_assert_not_null(mkdtemp(run_dir));
    if (__lsan_disable != NULL)
        __lsan_disable();
    cr_assert_eq(nng_rep0_open(&server), 0);
    cr_assert_eq(endpoint_open(&endpoint, server, run_dir, CONTROL_REQUEST_SOCKET, 0), TS_OK);
    for (int i = 0; i < 3; i++) {
        connect_and_vanish(run_dir);
        endpoint_check(&endpoint);
        endpoint_check(&endpoint); /* the first may only have begun it */
        cr_assert_eq(nng_req0_open(&client), 0);
        cr_assert_eq(nng_dial(client, endpoint.url, NULL, 0), 0);
        nng_socket_set_ms(client, NNG_OPT_SENDTIMEO, 5000);
        nng_socket_set_ms(server, NNG_OPT_RECVTIMEO, 5000);
        cr_expect_eq(nng_send(client, "hello", 5, 0), 0);
        bytes = sizeof answer;
        cr_expect_eq(nng_recv(server, answer, &bytes, 0), 0);
        nng_close(client);
    }
    nng_close(server);
    if (__lsan_enable != NULL)
        __lsan_enable();
    snprintf(path, sizeof path, "%s/%s", run_dir, CONTROL_REQUEST_SOCKET);
    unlink(path);
    rmdir(run_dir);
}

/* ---- what a check leaves ---- */

static atomic_bool is_over;

static void *
spin(void *arg)
{
    while (!atomic_load_explicit(&is_over, memory_order_relaxed))
        ;
    return arg;
}

static unsigned
n_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    cr_assert_not_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* On one processor, with others who want it: what nng does at once is then cut into by what we do.
 * A check by a dialer of nng's lost a descriptor, and memory, in one of 15. */
Test(endpoint, a_check_leaves_nothing_behind, .timeout = 120)
{
    char run_dir[] = "/tmp/tsstore-endpoint-XXXXXX", path[128];
    struct endpoint endpoint;
    pthread_t spinners[2];
    nng_socket server;
    cpu_set_t one;
    unsigned before;

    cr_assert_not_null(mkdtemp(run_dir));
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_assert_eq(nng_pub0_open(&server), 0);
    cr_assert_eq(endpoint_open(&endpoint, server, run_dir, CONTROL_EVENT_SOCKET, 0), TS_OK);
    before = n_descriptors();
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&spinners[i], NULL, spin, NULL), 0);
    for (int i = 0; i < 200; i++)
        endpoint_check(&endpoint);
    atomic_store(&is_over, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(spinners[i], NULL);
    for (int ms = 0; n_descriptors() > before && ms < 20000; ms++)
        nng_msleep(1);
    cr_expect_leq(n_descriptors(), before);
    cr_expect_eq(endpoint_peers(&endpoint), 0);
    nng_close(server);
    snprintf(path, sizeof path, "%s/%s", run_dir, CONTROL_EVENT_SOCKET);
    unlink(path);
    rmdir(run_dir);
}
