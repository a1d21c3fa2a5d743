/* endpoint.c - the endpoint listens again after a peer that vanished while connecting. */
#include "ingestd/endpoint.h"

#include <criterion/criterion.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
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
    cr_assert_eq(
        endpoint_open(&endpoint, server, nng_req0_open, run_dir, CONTROL_REQUEST_SOCKET, 0), TS_OK);
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
