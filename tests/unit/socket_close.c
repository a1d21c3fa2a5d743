/* socket_close.c - what does not close is left behind, and only that. */
#include "daemon/socket_close.h"

#include <criterion/criterion.h>
#include <nng/protocol/reqrep0/rep.h>
#include <semaphore.h>
#include <stdlib.h>

TestSuite(socket_close, .timeout = 20);

static sem_t leave, left;

/* As nng_close() when its reaper is stuck. */
static int
close_late(nng_socket socket)
{
    sem_wait(&leave);
    nng_close(socket);
    sem_post(&left);
    return 0;
}

Test(socket_close, a_socket_that_closes_is_closed)
{
    nng_socket socket;

    cr_assert_eq(nng_rep0_open(&socket), 0);
    cr_expect(socket_close(socket, NULL));
    cr_expect_eq(nng_close(socket), NNG_ECLOSED);
}

/* What its callbacks use is still theirs, and no leak: LeakSanitizer looks when the test ends. */
Test(socket_close, one_that_does_not_is_not_waited_for)
{
    nng_socket socket;

    sem_init(&leave, 0, 0);
    sem_init(&left, 0, 0);
    cr_assert_eq(nng_rep0_open(&socket), 0);
    cr_expect_not(socket_close_by(close_late, socket, malloc(1000), 20));
    sem_post(&leave);
    sem_wait(&left);
    cr_expect_eq(nng_close(socket), NNG_ECLOSED);
}
