/* forward.c - requests to an ingestd that is there, that is not, and that dies. */
#include "queryd/forward.h"

#include <criterion/criterion.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char run_dir[64];

static void
make_run_dir(void)
{
    strcpy(run_dir, "/tmp/tsstore-fwd-XXXXXX");
    cr_assert_not_null(mkdtemp(run_dir));
}

static void
remove_run_dir(void)
{
    char command[100];

    snprintf(command, sizeof command, "rm -rf '%s'", run_dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(forward, .init = make_run_dir, .fini = remove_run_dir, .timeout = 60);

/* What the other side does with a request that is no HELLO. */
enum manner { REPEAT, RUBBISH, SILENCE };

struct ingestd {
    nng_socket socket;
    pthread_t thread;
    uint64_t instance;
    _Atomic enum manner manner;
    atomic_int n_requests; /* but HELLO */
    atomic_bool is_stopped;
};

static void
reply_to(struct ingestd *ingestd, const struct control_request *request, nng_msg *message)
{
    const struct control_reply reply = {
        .http_status =
            request->instance == ingestd->instance || request->op == CONTROL_HELLO ? 201 : 503,
        .instance = ingestd->instance,
        .request_id = request->request_id,
        .body = request->body};
    struct ts_text text;

    ts_text_init(&text);
    control_reply_encode(&reply, &text);
    nng_msg_clear(message);
    nng_msg_append(message, text.at,
                   ingestd->manner == RUBBISH && request->op != CONTROL_HELLO ? text.bytes / 2
                                                                              : text.bytes);
    ts_text_done(&text);
    if (nng_sendmsg(ingestd->socket, message, 0) != 0)
        nng_msg_free(message);
}

static void *
serve(void *arg)
{
    struct ingestd *ingestd = arg;
    nng_msg *message;

    while (!atomic_load(&ingestd->is_stopped)) {
        struct control_request request;

        if (nng_recvmsg(ingestd->socket, &message, 0) != 0)
            continue;
        if (control_request_decode(nng_msg_body(message), nng_msg_len(message), &request) !=
            TS_OK) {
            nng_msg_free(message);
            continue;
        }
        if (request.op != CONTROL_HELLO)
            atomic_fetch_add(&ingestd->n_requests, 1);
        if (request.op != CONTROL_HELLO && ingestd->manner == SILENCE)
            nng_msg_free(message);
        else
            reply_to(ingestd, &request, message);
    }
    return NULL;
}

static void
ingestd_start(struct ingestd *ingestd, uint64_t instance)
{
    char url[CONTROL_URL_BYTES];

    memset(ingestd, 0, sizeof *ingestd);
    ingestd->instance = instance;
    cr_assert_eq(control_url(run_dir, CONTROL_REQUEST_SOCKET, url), TS_OK);
    cr_assert_eq(nng_rep0_open(&ingestd->socket), 0);
    nng_socket_set_ms(ingestd->socket, NNG_OPT_RECVTIMEO, 50);
    cr_assert_eq(nng_listen(ingestd->socket, url, NULL, 0), 0);
    cr_assert_eq(pthread_create(&ingestd->thread, NULL, serve, ingestd), 0);
}

static void
ingestd_stop(struct ingestd *ingestd)
{
    atomic_store(&ingestd->is_stopped, true);
    pthread_join(ingestd->thread, NULL);
    nng_close(ingestd->socket);
}

static void
pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static void
wait_until(struct forward *forward, bool is_connected)
{
    for (int i = 0; i < 5000 && forward_is_connected(forward) != is_connected; i++)
        pause_ms(1);
    cr_assert_eq(forward_is_connected(forward), is_connected);
}

static struct forward *
open_forward(void)
{
    struct forward *forward;

    cr_assert_eq(forward_open(run_dir, &forward), TS_OK, "%s", ts_error_text());
    return forward;
}

static enum ts_err
insert(struct forward *forward, const char *body, struct forward_reply *out)
{
    struct control_request request = {.op = CONTROL_INSERT,
                                      .store = {.at = "s", .bytes = 1},
                                      .body = {.at = body, .bytes = strlen(body)}};

    return forward_call(forward, &request, out);
}

Test(forward, without_an_ingestd_it_fails_at_once)
{
    struct forward *forward = open_forward();
    struct forward_reply reply;
    const time_t start_s = time(NULL);

    cr_expect_eq(insert(forward, "x", &reply), TS_E_UNAVAILABLE);
    cr_expect_eq(ts_error_http_status(TS_E_UNAVAILABLE), 503);
    cr_expect_leq(time(NULL) - start_s, 1);
    forward_close(forward);
}

Test(forward, a_request_gets_its_own_reply)
{
    struct forward *forward = open_forward();
    struct forward_reply reply;
    struct ingestd ingestd;

    ingestd_start(&ingestd, 7);
    wait_until(forward, true);
    for (int i = 0; i < 20; i++) {
        char body[16];

        snprintf(body, sizeof body, "%d", i);
        cr_assert_eq(insert(forward, body, &reply), TS_OK, "%s", ts_error_text());
        cr_expect_eq(reply.reply.http_status, 201);
        cr_expect_eq(reply.reply.body.bytes, strlen(body));
        cr_expect_eq(memcmp(reply.reply.body.at, body, strlen(body)), 0);
        forward_reply_done(&reply);
    }
    forward_close(forward);
    ingestd_stop(&ingestd);
}

Test(forward, another_life_of_ingestd_is_asked_who_it_is)
{
    struct forward *forward = open_forward();
    struct forward_reply reply;
    struct ingestd ingestd;

    for (uint64_t instance = 7; instance < 10; instance++) {
        ingestd_start(&ingestd, instance);
        wait_until(forward, true);
        cr_assert_eq(insert(forward, "x", &reply), TS_OK, "%s", ts_error_text());
        cr_expect_eq(reply.reply.http_status, 201);
        cr_expect_eq(reply.reply.instance, instance);
        forward_reply_done(&reply);
        ingestd_stop(&ingestd);
        wait_until(forward, false);
        cr_expect_eq(insert(forward, "x", &reply), TS_E_UNAVAILABLE);
    }
    forward_close(forward);
}

Test(forward, a_reply_that_makes_no_sense_is_no_success)
{
    struct forward *forward = open_forward();
    struct forward_reply reply;
    struct ingestd ingestd;

    ingestd_start(&ingestd, 7);
    atomic_store(&ingestd.manner, RUBBISH);
    wait_until(forward, true);
    cr_expect_eq(insert(forward, "x", &reply), TS_E_TIMEOUT);
    cr_expect_eq(ts_error_http_status(TS_E_TIMEOUT), 504);
    forward_close(forward);
    ingestd_stop(&ingestd);
}

struct caller {
    struct forward *forward;
    enum ts_err err;
    pthread_t thread;
};

static void *
call(void *arg)
{
    struct caller *caller = arg;
    struct forward_reply reply;

    caller->err = insert(caller->forward, "x", &reply);
    if (caller->err == TS_OK)
        forward_reply_done(&reply);
    return NULL;
}

static void
callers_start(struct caller *callers, int n, struct forward *forward)
{
    for (int i = 0; i < n; i++) {
        callers[i] = (struct caller){.forward = forward, .err = TS_OK};
        cr_assert_eq(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
}

static void
callers_expect(struct caller *callers, int n, enum ts_err want)
{
    for (int i = 0; i < n; i++) {
        pthread_join(callers[i].thread, NULL);
        cr_expect_eq(callers[i].err, want, "%d: %s", i, ts_error_name(callers[i].err));
    }
}

Test(forward, many_requests_are_under_way_at_once)
{
    struct forward *forward = open_forward();
    struct caller callers[16];
    struct ingestd ingestd;

    ingestd_start(&ingestd, 7);
    wait_until(forward, true);
    callers_start(callers, 16, forward);
    callers_expect(callers, 16, TS_OK);
    cr_expect_eq(atomic_load(&ingestd.n_requests), 16);
    forward_close(forward);
    ingestd_stop(&ingestd);
}

Test(forward, who_waits_when_ingestd_dies_is_told_that_nobody_knows)
{
    struct forward *forward = open_forward();
    struct caller callers[1];
    struct ingestd ingestd;

    ingestd_start(&ingestd, 7);
    atomic_store(&ingestd.manner, SILENCE);
    wait_until(forward, true);
    callers_start(callers, 1, forward);
    for (int i = 0; i < 5000 && atomic_load(&ingestd.n_requests) == 0; i++)
        pause_ms(1);
    ingestd_stop(&ingestd);
    callers_expect(callers, 1, TS_E_TIMEOUT);
    forward_close(forward);
}

Test(forward, stopping_ends_those_who_wait)
{
    struct forward *forward = open_forward();
    struct forward_reply reply;
    struct caller callers[1];
    struct ingestd ingestd;

    ingestd_start(&ingestd, 7);
    atomic_store(&ingestd.manner, SILENCE);
    wait_until(forward, true);
    callers_start(callers, 1, forward);
    for (int i = 0; i < 5000 && atomic_load(&ingestd.n_requests) == 0; i++)
        pause_ms(1);
    forward_stop(forward);
    callers_expect(callers, 1, TS_E_TIMEOUT);
    cr_expect_eq(insert(forward, "x", &reply), TS_E_UNAVAILABLE);
    forward_close(forward);
    ingestd_stop(&ingestd);
}
