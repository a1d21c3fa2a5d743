/* in_control.c - requests of a queryd: answered, once each, and only by the ingestd meant. */
#include "ingestd/in_control.h"

#include "common/log.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INSTANCE 4711

static char dir[64];
static struct settings settings;
static struct mutation mutation;
static struct in_control *in;
static char key[TS_KEY_TEXT_BYTES];

static void
set_up(void)
{
    struct ts_config config;
    struct ts_options options;

    strcpy(dir, "/tmp/tsstore-control-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_geq(sodium_init(), 0);
    ts_log_set_level(TS_LOG_ERROR);
    ts_config_init(&config);
    config.max_body_bytes = 100000;
    settings_init(&settings, &config);
    mutation.settings = &settings;
    cr_assert_eq(catalog_open(dir, NULL, -1, &mutation.catalog), TS_OK, "%s", ts_error_text());
    ts_options_init(&options);
    options.num_blocks = 64;
    cr_assert_eq(catalog_create(mutation.catalog, "b", &options, key), TS_OK);
    cr_assert_eq(in_control_start(&mutation, dir, INSTANCE, &in), TS_OK, "%s", ts_error_text());
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static void
tear_down(void)
{
    in_control_stop(in);
    catalog_close(mutation.catalog);
    settings_done(&settings);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(in_control, .init = set_up, .fini = tear_down, .timeout = 60);

static struct ts_span
span(const char *text)
{
    return (struct ts_span){.at = text, .bytes = strlen(text)};
}

static nng_socket
dial(void)
{
    char url[CONTROL_URL_BYTES];
    nng_socket socket;

    cr_assert_eq(control_url(dir, CONTROL_REQUEST_SOCKET, url), TS_OK);
    cr_assert_eq(nng_req0_open(&socket), 0);
    nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, 10000);
    cr_assert_eq(nng_dial(socket, url, NULL, 0), 0);
    return socket;
}

/* *out and `data` hold the reply until the next call. */
static void
call_raw(nng_socket socket, const void *request, size_t bytes, struct control_reply *out)
{
    static _Thread_local char data[4096];
    size_t got = sizeof data;
    int rc = nng_send(socket, (void *)(uintptr_t)request, bytes, 0);

    cr_assert_eq(rc, 0);
    rc = nng_recv(socket, data, &got, 0);
    cr_assert_eq(rc, 0, "%s", nng_strerror(rc));
    cr_assert_eq(control_reply_decode(data, got, out), TS_OK, "%s", ts_error_text());
    cr_expect_eq(out->instance, INSTANCE);
}

static void
call(nng_socket socket, const struct control_request *request, struct control_reply *out)
{
    struct ts_text message;

    ts_text_init(&message);
    control_request_encode(request, &message);
    call_raw(socket, message.at, message.bytes, out);
    cr_expect_eq(out->request_id, request->request_id);
    ts_text_done(&message);
}

static struct control_request
an_insert(uint64_t request_id)
{
    return (struct control_request){.op = CONTROL_INSERT,
                                    .instance = INSTANCE,
                                    .request_id = request_id,
                                    .store = span("b"),
                                    .credential = span(key),
                                    .content_type = span("application/json"),
                                    .body = span("{\"data\":1}")};
}

static uint64_t
next_no(void)
{
    struct catalog_store *entry;
    struct ts_state state;

    cr_assert_eq(catalog_find(mutation.catalog, span("b"), &entry), TS_OK);
    ts_view_state(ts_store_view(entry->store), &state);
    catalog_release(entry);
    return state.next_no;
}

Test(in_control, hello_tells_the_instance_and_needs_no_key)
{
    nng_socket socket = dial();
    struct control_reply reply;

    call(socket, &(struct control_request){.op = CONTROL_HELLO, .request_id = 1}, &reply);
    cr_expect_eq(reply.http_status, 200);
    nng_close(socket);
}

Test(in_control, an_insert_is_executed_once_however_often_it_comes)
{
    nng_socket socket = dial();
    struct control_request request = an_insert(5);
    struct control_reply reply;
    char first[200];

    call(socket, &request, &reply);
    cr_expect_eq(reply.http_status, 201);
    cr_assert_lt(reply.body.bytes, sizeof first);
    memcpy(first, reply.body.at, reply.body.bytes);
    call(socket, &request, &reply);
    cr_expect_eq(reply.http_status, 201);
    cr_expect_arr_eq(reply.body.at, first, reply.body.bytes);
    cr_expect_eq(next_no(), 2);
    request.request_id++;
    call(socket, &request, &reply);
    cr_expect_eq(next_no(), 3);
    nng_close(socket);
}

Test(in_control, a_request_for_another_instance_is_refused)
{
    nng_socket socket = dial();
    struct control_request request = an_insert(5);
    struct control_reply reply;

    request.instance++;
    call(socket, &request, &reply);
    cr_expect_eq(reply.http_status, 503);
    request.instance = 0;
    call(socket, &request, &reply);
    cr_expect_eq(reply.http_status, 503);
    cr_expect_eq(next_no(), 1);
    nng_close(socket);
}

Test(in_control, the_word_of_a_queryd_counts_for_nothing)
{
    nng_socket socket = dial();
    struct control_request request = an_insert(5);
    struct control_reply reply;

    request.credential = span("");
    call(socket, &request, &reply);
    cr_expect_eq(reply.http_status, 401);
    request.credential = span("tsstore_00000000-0000-4000-8000-000000000000");
    call(socket, &request, &reply);
    cr_expect_eq(reply.http_status, 401);
    request.op = CONTROL_CREATE_STORE;
    request.body = span("{\"name\":\"x\"}");
    call(socket, &request, &reply);
    cr_expect_eq(reply.http_status, 401);
    nng_close(socket);
}

Test(in_control, noise_is_answered_and_the_next_request_served)
{
    nng_socket socket = dial();
    struct control_request request = an_insert(5);
    struct control_reply reply;

    call_raw(socket, "noise", 5, &reply);
    cr_expect_eq(reply.http_status, 400);
    call_raw(socket, "", 0, &reply);
    cr_expect_eq(reply.http_status, 400);
    request.op = 999;
    call(socket, &request, &reply);
    cr_expect_eq(reply.http_status, 501);
    request = an_insert(6);
    call(socket, &request, &reply);
    cr_expect_eq(reply.http_status, 201);
    nng_close(socket);
}

static void *
insert_many(void *arg)
{
    nng_socket socket = dial();
    struct control_reply reply;
    size_t *n_done = arg;

    for (uint64_t i = 0; i < 100; i++) {
        const struct control_request request = an_insert((uint64_t)(uintptr_t)arg + i);

        call(socket, &request, &reply);
        *n_done += reply.http_status == 201;
    }
    nng_close(socket);
    return NULL;
}

Test(in_control, many_queryd_are_served_at_once)
{
    enum { CLIENTS = 4 };
    static struct {
        size_t n_done;
        char apart[1000]; /* their addresses are their request ids */
    } clients[CLIENTS];
    pthread_t threads[CLIENTS];

    for (int i = 0; i < CLIENTS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, insert_many, &clients[i]), 0);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(clients[i].n_done, 100);
    }
    cr_expect_eq(next_no(), CLIENTS * 100 + 1);
}

Test(in_control, a_bundle_is_answered_request_by_request)
{
    nng_socket socket = dial();
    struct control_request requests[4] = {an_insert(51), an_insert(52), an_insert(51),
                                          an_insert(53)};
    struct control_request outer = {.op = CONTROL_BUNDLE, .instance = INSTANCE, .request_id = 50};
    struct control_reply reply, inner;
    struct ts_text body, first;
    struct ts_span rest, one;
    size_t n = 0;

    requests[3].credential = span("tsstore_00000000-0000-4000-8000-000000000000");
    ts_text_init(&body);
    ts_text_init(&first);
    for (size_t i = 0; i < 4; i++) {
        const size_t start = control_frame_begin(&body);

        control_request_encode(&requests[i], &body);
        control_frame_end(&body, start);
    }
    ts_text_add(&body, "\377\377", 2); /* what is no frame is not looked at */
    outer.body = (struct ts_span){.at = body.at, .bytes = body.bytes};
    call(socket, &outer, &reply);
    cr_assert_eq(reply.http_status, 200);
    rest = reply.body;
    for (; control_frame_take(&rest, &one); n++) {
        cr_assert_eq(control_reply_decode(one.at, one.bytes, &inner), TS_OK);
        cr_expect_eq(inner.request_id, requests[n].request_id);
        cr_expect_eq(inner.http_status, n == 3 ? 401 : 201, "%zu", n);
        if (n == 0)
            ts_text_add(&first, inner.body.at, inner.body.bytes);
        if (n == 2)
            cr_expect(inner.body.bytes == first.bytes &&
                          memcmp(inner.body.at, first.at, first.bytes) == 0,
                      "the same id has the same answer");
    }
    cr_expect_eq(n, 4);
    cr_expect_eq(next_no(), 3, "two records");
    ts_text_done(&body);
    ts_text_done(&first);
    nng_close(socket);
}

Test(in_control, a_bundle_in_a_bundle_and_rubbish_in_one_are_refused)
{
    nng_socket socket = dial();
    struct control_request inner = {.op = CONTROL_BUNDLE, .instance = INSTANCE, .request_id = 61};
    struct control_request outer = {.op = CONTROL_BUNDLE, .instance = INSTANCE, .request_id = 60};
    struct control_reply reply, part;
    struct ts_text body;
    struct ts_span rest, one;
    size_t start;

    ts_text_init(&body);
    start = control_frame_begin(&body);
    control_request_encode(&inner, &body);
    control_frame_end(&body, start);
    start = control_frame_begin(&body);
    ts_text_puts(&body, "rubbish");
    control_frame_end(&body, start);
    outer.body = (struct ts_span){.at = body.at, .bytes = body.bytes};
    call(socket, &outer, &reply);
    rest = reply.body;
    cr_assert(control_frame_take(&rest, &one));
    cr_assert_eq(control_reply_decode(one.at, one.bytes, &part), TS_OK);
    cr_expect_eq(part.http_status, 501);
    cr_assert(control_frame_take(&rest, &one));
    cr_assert_eq(control_reply_decode(one.at, one.bytes, &part), TS_OK);
    cr_expect_eq(part.http_status, 400);
    ts_text_done(&body);
    nng_close(socket);
}
