/* control.c - messages between the daemons: what goes in comes out, and nothing else gets in. */
#include "proto/control.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))

static struct ts_span
span(const char *text)
{
    return (struct ts_span){.at = text, .bytes = strlen(text)};
}

static bool
span_is(struct ts_span got, const char *want)
{
    return got.bytes == strlen(want) && memcmp(got.at, want, got.bytes) == 0;
}

static struct ts_text
a_request(void)
{
    struct ts_text text;

    ts_text_init(&text);
    control_request_encode(&(struct control_request){.op = CONTROL_INSERT,
                                                     .flags = CONTROL_ATOMIC,
                                                     .instance = 0x1122334455667788,
                                                     .request_id = 42,
                                                     .store = span("boiler"),
                                                     .credential = span("tsstore_k"),
                                                     .content_type = span("application/json"),
                                                     .argument = span("again"),
                                                     .body = span("{\"data\":1}")},
                           &text);
    return text;
}

static struct ts_text
a_reply(void)
{
    struct ts_text text;

    ts_text_init(&text);
    control_reply_encode(&(struct control_reply){.http_status = 201,
                                                 .instance = 9,
                                                 .request_id = 42,
                                                 .content_type = span("application/json"),
                                                 .body = span("{}")},
                         &text);
    return text;
}

static struct ts_text
an_event(void)
{
    struct ts_text text;

    ts_text_init(&text);
    event_encode(&(struct event){.kind = EVENT_HEAD,
                                 .instance = 9,
                                 .generation = 2,
                                 .oldest_no = 3,
                                 .next_no = UINT64_MAX,
                                 .store = span("boiler")},
                 &text);
    return text;
}

Test(control, a_request_comes_out_as_it_went_in)
{
    struct ts_text text = a_request();
    struct control_request got;

    cr_assert(!text.failed);
    cr_assert_eq(control_request_decode(text.at, text.bytes, &got), TS_OK);
    cr_expect_eq(got.op, CONTROL_INSERT);
    cr_expect_eq(got.flags, CONTROL_ATOMIC);
    cr_expect(span_is(got.argument, "again"));
    cr_expect_eq(got.instance, 0x1122334455667788);
    cr_expect_eq(got.request_id, 42);
    cr_expect(span_is(got.store, "boiler"));
    cr_expect(span_is(got.credential, "tsstore_k"));
    cr_expect(span_is(got.content_type, "application/json"));
    cr_expect(span_is(got.body, "{\"data\":1}"));
    ts_text_done(&text);
}

Test(control, a_request_without_any_text_is_legal)
{
    struct ts_text text;
    struct control_request got;

    ts_text_init(&text);
    control_request_encode(&(struct control_request){.op = CONTROL_HELLO}, &text);
    cr_assert_eq(text.bytes, 56);
    cr_assert_eq(control_request_decode(text.at, text.bytes, &got), TS_OK);
    cr_expect_eq(got.op, CONTROL_HELLO);
    cr_expect_eq(got.body.bytes, 0);
    ts_text_done(&text);
}

Test(control, a_reply_comes_out_as_it_went_in)
{
    struct ts_text text = a_reply();
    struct control_reply got;

    cr_assert_eq(control_reply_decode(text.at, text.bytes, &got), TS_OK);
    cr_expect_eq(got.http_status, 201);
    cr_expect_eq(got.instance, 9);
    cr_expect_eq(got.request_id, 42);
    cr_expect(span_is(got.content_type, "application/json"));
    cr_expect(span_is(got.body, "{}"));
    ts_text_done(&text);
}

Test(control, an_event_comes_out_as_it_went_in)
{
    struct ts_text text = an_event();
    struct event got;

    cr_assert_eq(event_decode(text.at, text.bytes, &got), TS_OK);
    cr_expect_eq(got.kind, EVENT_HEAD);
    cr_expect_eq(got.instance, 9);
    cr_expect_eq(got.generation, 2);
    cr_expect_eq(got.oldest_no, 3);
    cr_expect_eq(got.next_no, UINT64_MAX);
    cr_expect(span_is(got.store, "boiler"));
    ts_text_done(&text);
}

Test(control, the_layout_is_what_the_header_draws)
{
    static const unsigned char want[] = {
        'T', 'S', 'C', '\n', 1,   0,   3,   0,   9,   0,   0,   0,   0,   0,   0,   0,   1,   0,
        6,   0,   0,   0,    0,   0,   2,   0,   0,   0,   0,   0,   0,   0,   3,   0,   0,   0,
        0,   0,   0,   0,    255, 255, 255, 255, 255, 255, 255, 255, 'b', 'o', 'i', 'l', 'e', 'r'};
    struct ts_text text = an_event();

    cr_assert_eq(text.bytes, sizeof want);
    cr_expect_arr_eq(text.at, want, sizeof want);
    ts_text_done(&text);
}

/* What is done to one byte of a good message; none of it may pass. */
static const struct {
    const char *label;
    size_t off;
    unsigned char value;
} request_bytes[] = {
    {"wrong magic", 0, 'X'},
    {"newer version", 4, 2},
    {"version 0", 4, 0},
    {"a reply's kind", 6, 2},
    {"no kind", 6, 0},
    {"reserved byte of the prefix", 7, 1},
    {"reserved byte of the request", 20, 1},
    {"last reserved byte", 23, 0x80},
    {"reserved byte behind the lengths", 52, 1},
    {"last of them", 55, 0x80},
    {"store shorter than it is", 32, 5},
    {"store longer than it is", 32, 7},
    {"store longer than a name", 32, 129},
    {"store of 4 GB", 35, 0xff},
    {"credential past the end", 37, 3},
    {"credential of 4 GB", 39, 0xff},
    {"content type past the end", 40, 255},
    {"content type of 64 KB", 42, 1},
    {"argument one short", 44, 4},
    {"argument past the end", 44, 255},
    {"argument of 64 KB", 46, 1},
    {"body one short", 48, 9},
    {"body one long", 48, 11},
    {"body of 4 GB", 51, 0xff},
};

Test(control, refuses_a_request_with_a_wrong_byte)
{
    for (size_t i = 0; i < COUNTOF(request_bytes); i++) {
        struct ts_text text = a_request();
        struct control_request got = {.op = 77};

        text.at[request_bytes[i].off] = (char)request_bytes[i].value;
        cr_expect_eq(control_request_decode(text.at, text.bytes, &got), TS_E_PROTOCOL, "%s",
                     request_bytes[i].label);
        cr_expect_eq(got.op, 77, "%s: output touched", request_bytes[i].label);
        ts_text_done(&text);
    }
}

static const struct {
    const char *label;
    size_t off;
    unsigned char value;
} reply_bytes[] = {
    {"a request's kind", 6, 1},         {"reserved byte", 20, 1},
    {"content type of 4 GB", 35, 0xff}, {"body one long", 36, 3},
    {"body one short", 36, 1},          {"body of 4 GB", 39, 0xff},
    {"status above HTTP's", 17, 9},     {"status below HTTP's", 17, 255},
};

Test(control, refuses_a_reply_with_a_wrong_byte)
{
    for (size_t i = 0; i < COUNTOF(reply_bytes); i++) {
        struct ts_text text = a_reply();
        struct control_reply got = {.http_status = 77};

        text.at[reply_bytes[i].off] = (char)reply_bytes[i].value;
        cr_expect_eq(control_reply_decode(text.at, text.bytes, &got), TS_E_PROTOCOL, "%s",
                     reply_bytes[i].label);
        cr_expect_eq(got.http_status, 77, "%s: output touched", reply_bytes[i].label);
        ts_text_done(&text);
    }
}

static const struct {
    const char *label;
    size_t off;
    unsigned char value;
} event_bytes[] = {
    {"a request's kind", 6, 1},  {"name one long", 18, 7}, {"name one short", 18, 5},
    {"name of 64 KB", 19, 0xff}, {"reserved byte", 20, 1}, {"last reserved byte", 23, 1},
};

Test(control, refuses_an_event_with_a_wrong_byte)
{
    for (size_t i = 0; i < COUNTOF(event_bytes); i++) {
        struct ts_text text = an_event();
        struct event got = {.kind = 77};

        text.at[event_bytes[i].off] = (char)event_bytes[i].value;
        cr_expect_eq(event_decode(text.at, text.bytes, &got), TS_E_PROTOCOL, "%s",
                     event_bytes[i].label);
        cr_expect_eq(got.kind, 77, "%s: output touched", event_bytes[i].label);
        ts_text_done(&text);
    }
}

/* Each cut in a buffer of its own, so that a sanitizer sees a byte too many that is read. */
static void
expect_cuts_refused(const struct ts_text *text,
                    enum ts_err (*decode)(const void *message, size_t bytes, void *out))
{
    for (size_t bytes = 0; bytes < text->bytes; bytes++) {
        char *cut = malloc(bytes + (bytes == 0));
        char out[256];

        memcpy(cut, text->at, bytes);
        cr_expect_eq(decode(cut, bytes, out), TS_E_PROTOCOL, "%zu bytes", bytes);
        free(cut);
    }
}

static enum ts_err
decode_request(const void *message, size_t bytes, void *out)
{
    return control_request_decode(message, bytes, out);
}

static enum ts_err
decode_reply(const void *message, size_t bytes, void *out)
{
    return control_reply_decode(message, bytes, out);
}

static enum ts_err
decode_event(const void *message, size_t bytes, void *out)
{
    return event_decode(message, bytes, out);
}

Test(control, refuses_every_cut_message)
{
    struct ts_text request = a_request(), reply = a_reply(), event = an_event();

    expect_cuts_refused(&request, decode_request);
    expect_cuts_refused(&reply, decode_reply);
    expect_cuts_refused(&event, decode_event);
    ts_text_done(&request);
    ts_text_done(&reply);
    ts_text_done(&event);
}

Test(control, refuses_bytes_behind_the_end)
{
    struct ts_text text = a_request();
    struct control_request got;

    ts_text_add(&text, "", 1);
    cr_expect_eq(control_request_decode(text.at, text.bytes, &got), TS_E_PROTOCOL);
    ts_text_done(&text);
}

Test(control, an_endpoint_that_is_too_long_for_a_socket_is_refused)
{
    char url[CONTROL_URL_BYTES] = "untouched";
    char dir[300];

    cr_assert_eq(control_url("/run/tsstore", CONTROL_EVENT_SOCKET, url), TS_OK);
    cr_expect_str_eq(url, "ipc:///run/tsstore/events.sock");
    memset(dir, 'd', sizeof dir);
    dir[0] = '/';
    dir[107 - 1 - strlen(CONTROL_EVENT_SOCKET)] = '\0';
    cr_expect_eq(control_url(dir, CONTROL_EVENT_SOCKET, url), TS_OK);
    cr_expect_eq(strlen(url), 6 + 107);
    strcpy(url, "untouched");
    strcat(dir, "d");
    cr_expect_eq(control_url(dir, CONTROL_EVENT_SOCKET, url), TS_E_USAGE);
    dir[sizeof dir - 1] = '\0';
    memset(dir + 1, 'd', sizeof dir - 2);
    cr_expect_eq(control_url(dir, CONTROL_EVENT_SOCKET, url), TS_E_USAGE);
    cr_expect_str_eq(url, "untouched");
}

Test(control, frames_come_out_as_they_went_in)
{
    static const char *const messages[] = {"one", "", "{\"data\":3}"};
    struct ts_span rest, got;
    struct ts_text text;

    ts_text_init(&text);
    for (size_t i = 0; i < COUNTOF(messages); i++) {
        const size_t start = control_frame_begin(&text);

        ts_text_puts(&text, messages[i]);
        control_frame_end(&text, start);
    }
    rest = (struct ts_span){.at = text.at, .bytes = text.bytes};
    for (size_t i = 0; i < COUNTOF(messages); i++) {
        cr_assert(control_frame_take(&rest, &got));
        cr_expect(span_is(got, messages[i]));
    }
    cr_expect_eq(rest.bytes, 0);
    cr_expect_not(control_frame_take(&rest, &got));
    ts_text_done(&text);
}

Test(control, a_frame_that_is_not_all_there_is_not_taken)
{
    static const char *const cut[] = {"",         "\1",          "\1\0\0",
                                      "\1\0\0\0", "\4\0\0\0abc", "\377\377\377\377abc"};
    static const size_t bytes[] = {0, 1, 3, 4, 7, 7};

    for (size_t i = 0; i < COUNTOF(cut); i++) {
        struct ts_span rest = {.at = cut[i], .bytes = bytes[i]};
        struct ts_span got = {.bytes = 77};

        cr_expect_not(control_frame_take(&rest, &got), "%zu", i);
        cr_expect_eq(rest.bytes, bytes[i]);
        cr_expect_eq(got.bytes, 77);
    }
}
