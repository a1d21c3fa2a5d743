/* control.c - the layouts of control.h, byte by byte. */
#include "proto/control.h"

#include <assert.h>
#include <string.h>
#include <sys/un.h>

enum message { MESSAGE_REQUEST = 1, MESSAGE_REPLY, MESSAGE_EVENT };

#define PREFIX_BYTES 16u
#define REQUEST_BYTES 56u
#define REPLY_BYTES 40u
#define EVENT_BYTES 48u

static const char magic[4] = {'T', 'S', 'C', '\n'};

static uint64_t
read_le(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void
write_le(uint8_t *at, unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void
write_prefix(uint8_t *at, enum message message, uint64_t instance)
{
    memcpy(at, magic, sizeof magic);
    write_le(at + 4, 2, CONTROL_VERSION);
    at[6] = (uint8_t)message;
    write_le(at + 8, 8, instance);
}

/* A message is in front of us when this succeeds: at least `header_bytes` of it. */
static enum ts_err
check_prefix(const uint8_t *at, size_t bytes, enum message want, size_t header_bytes)
{
    unsigned version;

    if (bytes < PREFIX_BYTES)
        return TS_FAIL(TS_E_PROTOCOL, "message of %zu bytes, its header alone has %u", bytes,
                       PREFIX_BYTES);
    if (memcmp(at, magic, sizeof magic) != 0)
        return TS_FAIL(TS_E_PROTOCOL, "message does not start with the magic");
    version = (unsigned)read_le(at + 4, 2);
    if (version != CONTROL_VERSION)
        return TS_FAIL(TS_E_PROTOCOL, "message version %u, expected %d", version, CONTROL_VERSION);
    if (at[6] != (uint8_t)want)
        return TS_FAIL(TS_E_PROTOCOL, "message of kind %u, expected %d", at[6], (int)want);
    if (at[7] != 0)
        return TS_FAIL(TS_E_PROTOCOL, "message byte 7 is %u, expected 0", at[7]);
    if (bytes < header_bytes)
        return TS_FAIL(TS_E_PROTOCOL, "message of %zu bytes, its header has %zu", bytes,
                       header_bytes);
    return TS_OK;
}

static enum ts_err
check_zero(const uint8_t *message, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (message[i] != 0)
            return TS_FAIL(TS_E_PROTOCOL, "message byte %zu is %u, expected 0", i, message[i]);
    }
    return TS_OK;
}

/* One variable part: where its length stands, how long it may be, where to put it. */
struct part {
    const char *name;
    size_t length_off;
    size_t max_bytes;
    struct ts_span *span;
};

/* Sets every part's span; the parts must fill the message exactly. */
static enum ts_err
take_parts(const uint8_t *message, size_t bytes, size_t header_bytes, const struct part *parts,
           size_t n_parts)
{
    size_t at = header_bytes;

    for (size_t i = 0; i < n_parts; i++) {
        const size_t length = (size_t)read_le(message + parts[i].length_off, 4);

        if (length > parts[i].max_bytes)
            return TS_FAIL(TS_E_PROTOCOL, "%s of %zu bytes, at most %zu are allowed", parts[i].name,
                           length, parts[i].max_bytes);
        if (length > bytes - at)
            return TS_FAIL(TS_E_PROTOCOL, "%s of %zu bytes at byte %zu of a message of %zu",
                           parts[i].name, length, at, bytes);
        *parts[i].span = (struct ts_span){.at = (const char *)message + at, .bytes = length};
        at += length;
    }
    if (at != bytes)
        return TS_FAIL(TS_E_PROTOCOL, "%zu bytes behind the end of the message", bytes - at);
    return TS_OK;
}

static void
add_span(struct ts_text *out, struct ts_span span)
{
    if (span.bytes > 0)
        ts_text_add(out, span.at, span.bytes);
}

void
control_request_encode(const struct control_request *request, struct ts_text *out)
{
    uint8_t header[REQUEST_BYTES] = {0};

    write_prefix(header, MESSAGE_REQUEST, request->instance);
    write_le(header + 16, 2, request->op);
    write_le(header + 18, 2, request->flags);
    write_le(header + 24, 8, request->request_id);
    write_le(header + 32, 4, request->store.bytes);
    write_le(header + 36, 4, request->credential.bytes);
    write_le(header + 40, 4, request->content_type.bytes);
    write_le(header + 44, 4, request->argument.bytes);
    write_le(header + 48, 4, request->body.bytes);
    ts_text_add(out, header, sizeof header);
    add_span(out, request->store);
    add_span(out, request->credential);
    add_span(out, request->content_type);
    add_span(out, request->argument);
    add_span(out, request->body);
}

enum ts_err
control_request_decode(const void *message, size_t bytes, struct control_request *out)
{
    const uint8_t *at = message;
    struct control_request request;
    const struct part parts[] = {
        {"store", 32, TS_MAX_NAME_BYTES, &request.store},
        {"credential", 36, CONTROL_MAX_CREDENTIAL_BYTES, &request.credential},
        {"content type", 40, CONTROL_MAX_CONTENT_TYPE_BYTES, &request.content_type},
        {"argument", 44, CONTROL_MAX_ARGUMENT_BYTES, &request.argument},
        {"body", 48, UINT32_MAX, &request.body},
    };
    enum ts_err err = check_prefix(at, bytes, MESSAGE_REQUEST, REQUEST_BYTES);

    if (err == TS_OK)
        err = check_zero(at, 20, 24);
    if (err == TS_OK)
        err = check_zero(at, 52, 56);
    if (err == TS_OK)
        err = take_parts(at, bytes, REQUEST_BYTES, parts, sizeof parts / sizeof parts[0]);
    if (err != TS_OK)
        return err;
    request.instance = read_le(at + 8, 8);
    request.op = (uint16_t)read_le(at + 16, 2);
    request.flags = (uint16_t)read_le(at + 18, 2);
    request.request_id = read_le(at + 24, 8);
    *out = request;
    return TS_OK;
}

void
control_reply_encode(const struct control_reply *reply, struct ts_text *out)
{
    uint8_t header[REPLY_BYTES] = {0};

    write_prefix(header, MESSAGE_REPLY, reply->instance);
    write_le(header + 16, 2, reply->http_status);
    write_le(header + 24, 8, reply->request_id);
    write_le(header + 32, 4, reply->content_type.bytes);
    write_le(header + 36, 4, reply->body.bytes);
    ts_text_add(out, header, sizeof header);
    add_span(out, reply->content_type);
    add_span(out, reply->body);
}

enum ts_err
control_reply_decode(const void *message, size_t bytes, struct control_reply *out)
{
    const uint8_t *at = message;
    struct control_reply reply;
    const struct part parts[] = {
        {"content type", 32, CONTROL_MAX_CONTENT_TYPE_BYTES, &reply.content_type},
        {"body", 36, UINT32_MAX, &reply.body},
    };
    enum ts_err err = check_prefix(at, bytes, MESSAGE_REPLY, REPLY_BYTES);

    if (err == TS_OK)
        err = check_zero(at, 18, 24);
    if (err == TS_OK)
        err = take_parts(at, bytes, REPLY_BYTES, parts, sizeof parts / sizeof parts[0]);
    if (err != TS_OK)
        return err;
    reply.instance = read_le(at + 8, 8);
    reply.http_status = (uint16_t)read_le(at + 16, 2);
    reply.request_id = read_le(at + 24, 8);
    /* It becomes a status line: three digits or nothing. */
    if (reply.http_status < 100 || reply.http_status > 599)
        return TS_FAIL(TS_E_PROTOCOL, "status %u is not one of HTTP", reply.http_status);
    *out = reply;
    return TS_OK;
}

void
event_encode(const struct event *event, struct ts_text *out)
{
    uint8_t header[EVENT_BYTES] = {0};

    write_prefix(header, MESSAGE_EVENT, event->instance);
    write_le(header + 16, 2, event->kind);
    write_le(header + 18, 2, event->store.bytes);
    write_le(header + 24, 8, event->generation);
    write_le(header + 32, 8, event->oldest_no);
    write_le(header + 40, 8, event->next_no);
    ts_text_add(out, header, sizeof header);
    add_span(out, event->store);
}

enum ts_err
event_decode(const void *message, size_t bytes, struct event *out)
{
    const uint8_t *at = message;
    enum ts_err err = check_prefix(at, bytes, MESSAGE_EVENT, EVENT_BYTES);
    size_t name_bytes;

    if (err == TS_OK)
        err = check_zero(at, 20, 24);
    if (err != TS_OK)
        return err;
    name_bytes = (size_t)read_le(at + 18, 2);
    if (name_bytes > TS_MAX_NAME_BYTES)
        return TS_FAIL(TS_E_PROTOCOL, "store of %zu bytes, at most %d are allowed", name_bytes,
                       TS_MAX_NAME_BYTES);
    if (bytes != EVENT_BYTES + name_bytes)
        return TS_FAIL(TS_E_PROTOCOL, "event of %zu bytes, expected %zu", bytes,
                       EVENT_BYTES + name_bytes);
    *out = (struct event){
        .kind = (uint16_t)read_le(at + 16, 2),
        .instance = read_le(at + 8, 8),
        .generation = read_le(at + 24, 8),
        .oldest_no = read_le(at + 32, 8),
        .next_no = read_le(at + 40, 8),
        .store = {.at = (const char *)at + EVENT_BYTES, .bytes = name_bytes},
    };
    return TS_OK;
}

size_t
control_frame_begin(struct ts_text *out)
{
    const size_t start = out->bytes;

    ts_text_add(out, "\0\0\0", CONTROL_FRAME_BYTES);
    return start;
}

void
control_frame_end(struct ts_text *out, size_t start)
{
    if (!out->failed)
        write_le((uint8_t *)out->at + start, CONTROL_FRAME_BYTES,
                 out->bytes - start - CONTROL_FRAME_BYTES);
}

bool
control_frame_take(struct ts_span *rest, struct ts_span *out)
{
    size_t bytes;

    if (rest->bytes < CONTROL_FRAME_BYTES)
        return false;
    bytes = (size_t)read_le((const uint8_t *)rest->at, CONTROL_FRAME_BYTES);
    if (bytes > rest->bytes - CONTROL_FRAME_BYTES)
        return false;
    *out = (struct ts_span){.at = rest->at + CONTROL_FRAME_BYTES, .bytes = bytes};
    rest->at += CONTROL_FRAME_BYTES + bytes;
    rest->bytes -= CONTROL_FRAME_BYTES + bytes;
    return true;
}

enum ts_err
control_url(const char *run_dir, const char *socket, char out_url[CONTROL_URL_BYTES])
{
    static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) + sizeof "ipc://" <=
                      CONTROL_URL_BYTES,
                  "every path that a socket may have fits");
    const size_t max_bytes = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    const size_t dir_bytes = strlen(run_dir);
    const size_t socket_bytes = strlen(socket);

    /* nng cuts a longer path without a word: two daemons would then miss each other. */
    if (dir_bytes > max_bytes || socket_bytes > max_bytes ||
        dir_bytes + 1 + socket_bytes > max_bytes)
        return TS_FAIL(TS_E_USAGE,
                       "run directory %s: its socket %s would have a longer path than "
                       "the %zu bytes that are allowed",
                       run_dir, socket, max_bytes);
    memcpy(out_url, "ipc://", 6);
    memcpy(out_url + 6, run_dir, dir_bytes);
    out_url[6 + dir_bytes] = '/';
    memcpy(out_url + 7 + dir_bytes, socket, socket_bytes + 1);
    return TS_OK;
}
