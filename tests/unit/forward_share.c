/* forward_share.c - requests that go together: each has its own reply, whatever becomes of them. */
#include "queryd/forward_share.h"

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

#define INSTANCE 7
#define N_CLIENTS 24
#define N_CALLS 50

enum manner { REPEAT, SHORT_BUNDLES, RUBBISH_BUNDLES, REFUSE_BUNDLES, SILENCE };

static char run_dir[64];
static nng_socket ingestd;
static pthread_t thread;
static _Atomic enum manner manner;
static atomic_int n_messages, n_requests;
static atomic_bool is_stopped;
static struct forward *forward;
static struct forward_share *share;

/* ---- an ingestd that repeats what it is told ---- */

static void
reply_to(const struct control_request *request, struct ts_text *out)
{
    atomic_fetch_add(&n_requests, 1);
    control_reply_encode(&(struct control_reply){.http_status = 201,
                                                 .instance = INSTANCE,
                                                 .request_id = request->request_id,
                                                 .body = request->body},
                         out);
}

static uint16_t
reply_to_bundle(const struct control_request *bundle, struct ts_text *body)
{
    struct ts_span rest = bundle->body, one;
    struct control_request inner;

    if (manner == REFUSE_BUNDLES) {
        ts_text_puts(body, "no");
        return 503;
    }
    while (control_frame_take(&rest, &one)) {
        const size_t start = control_frame_begin(body);

        cr_assert_eq(control_request_decode(one.at, one.bytes, &inner), TS_OK);
        cr_assert_eq(inner.instance, INSTANCE);
        reply_to(&inner, body);
        if (manner == RUBBISH_BUNDLES)
            body->bytes -= 3;
        control_frame_end(body, start);
        if (manner == SHORT_BUNDLES)
            break;
    }
    return 200;
}

static void
handle(nng_msg *message)
{
    struct control_request request;
    struct control_reply reply = {.http_status = 200, .instance = INSTANCE};
    struct ts_text body, out;

    cr_assert_eq(control_request_decode(nng_msg_body(message), nng_msg_len(message), &request),
                 TS_OK);
    if (manner == SILENCE && request.op != CONTROL_HELLO) {
        nng_msg_free(message);
        return;
    }
    ts_text_init(&body);
    ts_text_init(&out);
    reply.request_id = request.request_id;
    if (request.op != CONTROL_HELLO) {
        atomic_fetch_add(&n_messages, 1);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* so that others come */
    }
    if (request.op == CONTROL_BUNDLE)
        reply.http_status = reply_to_bundle(&request, &body);
    if (request.op == CONTROL_INSERT)
        reply_to(&request, &out);
    reply.body = (struct ts_span){.at = body.at, .bytes = body.bytes};
    if (request.op != CONTROL_INSERT)
        control_reply_encode(&reply, &out);
    nng_msg_clear(message);
    nng_msg_append(message, out.at, out.bytes);
    ts_text_done(&body);
    ts_text_done(&out);
    if (nng_sendmsg(ingestd, message, 0) != 0)
        nng_msg_free(message);
}

static void *
serve(void *arg)
{
    nng_msg *message;

    (void)arg;
    while (!atomic_load(&is_stopped)) {
        if (nng_recvmsg(ingestd, &message, 0) == 0)
            handle(message);
    }
    return NULL;
}

static void
set_up(void)
{
    char url[CONTROL_URL_BYTES];

    strcpy(run_dir, "/tmp/tsstore-share-XXXXXX");
    cr_assert_not_null(mkdtemp(run_dir));
    cr_assert_eq(control_url(run_dir, CONTROL_REQUEST_SOCKET, url), TS_OK);
    cr_assert_eq(nng_rep0_open(&ingestd), 0);
    nng_socket_set_ms(ingestd, NNG_OPT_RECVTIMEO, 50);
    cr_assert_eq(nng_listen(ingestd, url, NULL, 0), 0);
    cr_assert_eq(pthread_create(&thread, NULL, serve, NULL), 0);
    cr_assert_eq(forward_open(run_dir, &forward), TS_OK);
    cr_assert_eq(forward_share_new(forward, &share), TS_OK);
    forward_await(forward, 5000);
}

static void
stop_ingestd(void)
{
    if (atomic_exchange(&is_stopped, true))
        return;
    pthread_join(thread, NULL);
    nng_close(ingestd);
}

static void
tear_down(void)
{
    char command[100];

    forward_stop(forward);
    forward_share_free(share);
    forward_close(forward);
    stop_ingestd();
    snprintf(command, sizeof command, "rm -rf '%s'", run_dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(forward_share, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- clients ---- */

struct client {
    pthread_t thread;
    int number, n_calls;
    int n_right, n_wrong, n_failed, n_503;
};

static void *
call_often(void *arg)
{
    struct client *client = arg;

    for (int i = 0; i < client->n_calls; i++) {
        struct control_request request = {.op = CONTROL_INSERT};
        struct forward_reply reply;
        char text[64];

        request.body = (struct ts_span){
            .at = text,
            .bytes = (size_t)snprintf(text, sizeof text, "client %d call %d", client->number, i)};
        if (forward_share_call(share, &request, &reply) != TS_OK) {
            client->n_failed++;
            continue;
        }
        if (reply.reply.http_status == 503)
            client->n_503++;
        else if (reply.reply.body.bytes == request.body.bytes &&
                 memcmp(reply.reply.body.at, text, request.body.bytes) == 0)
            client->n_right++;
        else
            client->n_wrong++;
        forward_reply_done(&reply);
    }
    return NULL;
}

static struct client
call_from_many(int n_calls)
{
    static struct client clients[N_CLIENTS];
    struct client sum = {0};

    for (int i = 0; i < N_CLIENTS; i++) {
        clients[i] = (struct client){.number = i, .n_calls = n_calls};
        cr_assert_eq(pthread_create(&clients[i].thread, NULL, call_often, &clients[i]), 0);
    }
    for (int i = 0; i < N_CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        sum.n_right += clients[i].n_right;
        sum.n_wrong += clients[i].n_wrong;
        sum.n_failed += clients[i].n_failed;
        sum.n_503 += clients[i].n_503;
    }
    return sum;
}

Test(forward_share, each_request_gets_its_own_reply)
{
    const struct client sum = call_from_many(N_CALLS);

    cr_expect_eq(sum.n_right, N_CLIENTS * N_CALLS);
    cr_expect_eq(sum.n_wrong, 0);
    cr_expect_eq(atomic_load(&n_requests), N_CLIENTS * N_CALLS, "each once");
    cr_expect_lt(atomic_load(&n_messages), N_CLIENTS * N_CALLS / 3, "%d messages",
                 atomic_load(&n_messages));
}

Test(forward_share, one_alone_goes_as_it_is)
{
    struct client client = {.n_calls = 3};

    call_often(&client);
    cr_expect_eq(client.n_right, 3);
    cr_expect_eq(atomic_load(&n_messages), 3);
}

Test(forward_share, what_is_not_in_the_reply_has_failed_and_nobody_waits_for_it)
{
    struct client sum;

    manner = SHORT_BUNDLES;
    sum = call_from_many(4);
    cr_expect_eq(sum.n_wrong, 0);
    cr_expect_gt(sum.n_failed, 0);
    cr_expect_eq(sum.n_right + sum.n_failed, N_CLIENTS * 4);
    manner = RUBBISH_BUNDLES;
    sum = call_from_many(4);
    cr_expect_eq(sum.n_wrong, 0);
    cr_expect_gt(sum.n_failed, 0);
}

Test(forward_share, a_refused_message_is_refused_to_each)
{
    struct client sum;

    manner = REFUSE_BUNDLES;
    sum = call_from_many(4);
    cr_expect_eq(sum.n_wrong + sum.n_failed, 0);
    cr_expect_gt(sum.n_503, 0);
    cr_expect_eq(sum.n_right + sum.n_503, N_CLIENTS * 4);
}

static void *
stop_soon(void *arg)
{
    (void)arg;
    usleep(200000);
    forward_stop(forward);
    return NULL;
}

Test(forward_share, the_end_of_the_daemon_ends_all_who_wait)
{
    struct client sum;
    pthread_t stopper;

    manner = SILENCE;
    cr_assert_eq(pthread_create(&stopper, NULL, stop_soon, NULL), 0);
    sum = call_from_many(2);
    pthread_join(stopper, NULL);
    cr_expect_eq(sum.n_failed, N_CLIENTS * 2);
}
