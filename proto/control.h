/* control.h - what ingestd and queryd say to each other over nng.
 *
 * Purpose    Requests and replies (REQ/REP: a mutation a client sent to queryd), and events
 * (PUB/SUB: a store moved, the catalogue changed). docs/protocol.md is the page to read with it.
 * Invariant  Every message starts with magic, version and kind, and is exactly as long as its
 *            lengths say. An event is a hint: the truth is in the mapped files.
 * Ownership  Decoded spans are views into the message and die with it.
 * Threads    No state; every function may be called from any thread.
 * Errors     Decoding answers TS_E_PROTOCOL with what is wrong at which byte and leaves *out
 *            untouched. Encoding can only run out of memory, which struct ts_text remembers.
 * Units      Integers are little endian. Lengths are bytes.
 *
 *   all       0 magic "TSC\n" | 4 u16 version | 6 u8 kind of message | 7 u8 zero | 8 u64 instance
 *   request  16 u16 op | 18 u16 flags | 20 4 zero | 24 u64 request id | 32 u32 store
 *            36 u32 credential | 40 u32 content type | 44 u32 argument | 48 u32 body (lengths)
 *            52 4 zero | bytes
 *   reply    16 u16 status | 18 6 zero | 24 u64 request id
 *            32 u32 content type | 36 u32 body (lengths) | bytes
 *   event    16 u16 kind | 18 u16 store (length) | 20 4 zero | 24 u64 generation | 32 u64 oldest no
 *            40 u64 next no | bytes
 */
#ifndef PROTO_CONTROL_H
#define PROTO_CONTROL_H

#include "common/error.h"
#include "common/json.h"
#include "common/text.h"

#include <stddef.h>
#include <stdint.h>

#define CONTROL_VERSION 1

/* Sockets in the run directory, each an ipc:// endpoint. */
#define CONTROL_REQUEST_SOCKET "control.sock" /* ingestd answers (REP) */
#define CONTROL_EVENT_SOCKET "events.sock"    /* ingestd publishes (PUB) */
#define CONTROL_URL_BYTES 128

#define CONTROL_MAX_CREDENTIAL_BYTES 1024
#define CONTROL_MAX_CONTENT_TYPE_BYTES 256
#define CONTROL_MAX_ARGUMENT_BYTES 256
/* What a message may need besides its body: the limit for nng is the body's limit plus this. */
#define CONTROL_OVERHEAD_BYTES 4096
/* No reply is longer: what would be is refused before anything is done. */
#define CONTROL_MAX_REPLY_BYTES ((size_t)64 << 20)
/* Member of HELLO's answer: the longest body that ingestd takes in a request. nng drops the
 * connection of who sends a longer message without a word, so it is not to be sent at all. */
#define CONTROL_MAX_BODY "max_body_bytes"

/* Numbers are part of the wire: new ones are added at the end. An op that ingestd does not know is
 * answered with 501, so that a newer queryd can tell. */
enum control_op {
    CONTROL_HELLO = 1,    /* who is there: the reply's instance. Needs no credential */
    CONTROL_CREATE_STORE, /* credential: admin key. body: JSON of POST /api/stores */
    /* All that follow name a store. credential: its key. */
    CONTROL_INSERT,      /* body: of POST …/data. argument: idempotency key, or empty */
    CONTROL_DROP_STORE,  /* DELETE /api/stores/:store */
    CONTROL_RESET_STORE, /* POST …/reset */
    CONTROL_DELETE_TIME, /* argument: the timestamp of DELETE …/data/time/:timestamp, as it came */
    CONTROL_PUT_SCHEMA,  /* body: of PUT …/schema */
    CONTROL_INSERT_BATCH,    /* body: of POST …/data/batch. argument: as with CONTROL_INSERT */
    CONTROL_INSERT_MESSAGES, /* body: messages of ws/write, in a frame each. The reply's body: as
                              * many answers, in a frame each */
    CONTROL_BUNDLE,      /* body: requests, in a frame each; the reply's: as many replies. They are
                          * executed one after the other. Needs no credential: each has its own */
    CONTROL_DELETE_RANGE /* argument: "<start_time> <end_time>" of DELETE …/data/range */
};

enum control_flags {
    CONTROL_ATOMIC = 1, /* CONTROL_INSERT_BATCH: all or nothing */
    CONTROL_COMPACT = 2 /* CONTROL_INSERT_MESSAGES: schema records have indices, not names */
};

/* Messages and answers follow each other, each with its length before it: u32 and so many bytes. */
#define CONTROL_FRAME_BYTES 4
/* So much of them is gathered for one request; the last message may go beyond. */
#define CONTROL_MESSAGES_BYTES ((size_t)256 << 10)

struct control_request {
    uint16_t op;
    uint16_t flags;
    uint64_t instance;   /* of the ingestd meant, from HELLO; 0 in HELLO. Another one refuses */
    uint64_t request_id; /* random and not 0: a request that arrives twice is executed once */
    struct ts_span store, credential, content_type, argument, body;
};

struct control_reply {
    uint16_t http_status;
    uint64_t instance;                 /* of the ingestd that answers */
    uint64_t request_id;               /* of the request; 0 if it could not be read */
    struct ts_span content_type, body; /* as the client gets them */
};

/* Unknown kinds are to be ignored. */
enum event_kind {
    EVENT_HEAD = 1,
    EVENT_CREATED,
    EVENT_DROPPED,
    EVENT_RESET,
    EVENT_KEYS, /* keys.json is another one than a second ago */
    EVENT_SCHEMA
};

struct event {
    uint16_t kind;
    uint64_t instance;                       /* of the ingestd that published it */
    uint64_t generation, oldest_no, next_no; /* EVENT_HEAD and EVENT_RESET; else 0 */
    struct ts_span store;
};

/* Each appends one whole message to *out. Spans must not exceed what decoding accepts. */
void control_request_encode(const struct control_request *request, struct ts_text *out);
void control_reply_encode(const struct control_reply *reply, struct ts_text *out);
void event_encode(const struct event *event, struct ts_text *out);

/* Each reads exactly `bytes` bytes. A store's name has at most TS_MAX_NAME_BYTES, but is otherwise
 * any bytes: the one who uses it checks it. */
enum ts_err control_request_decode(const void *message, size_t bytes, struct control_request *out);
enum ts_err control_reply_decode(const void *message, size_t bytes, struct control_reply *out);
enum ts_err event_decode(const void *message, size_t bytes, struct event *out);

/* Room for the length of a frame whose bytes are then appended; gives its place. */
size_t control_frame_begin(struct ts_text *out);

/* Sets the length of the frame begun at `start`. */
void control_frame_end(struct ts_text *out, size_t start);

/* Takes the first frame off *rest. False, and nothing is changed, if there is no whole one. */
bool control_frame_take(struct ts_span *rest, struct ts_span *out);

/* "ipc://<run_dir>/<socket>". TS_E_USAGE if the path is longer than a socket's may be. */
enum ts_err control_url(const char *run_dir, const char *socket, char out_url[CONTROL_URL_BYTES]);

#endif
