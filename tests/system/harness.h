/* harness.h - real daemons, and clients to ask them.
 *
 * Purpose    A system test says what is done and what must come back; starting, stopping, killing
 *            and speaking to processes is done here.
 * Invariant  Nothing is shared with another test: each has its own directory, its own daemons on
 *            ports the kernel chose, and leaves none of it behind, whatever happens.
 * Ownership  What a function here returns lives until site_stop(); nothing is to be freed.
 * Threads    call() and what is built on it, and line clients of their own, from any thread; the
 *            rest from the test's main thread.
 * Errors     What goes wrong in the harness itself fails the test on the spot.
 *
 * The programs are those of $TSSTORE_BIN_DIR (build/bin). With TSSTORE_KEEP set the directory of
 * a test stays.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#define ADMIN_KEY "an-admin-key-for-the-tests"
#define COUNTOF(array) (sizeof(array) / sizeof((array)[0]))
#define SITE_QUERYDS 4
#define PATIENCE_MS 30000 /* for what must happen: only a broken build waits that long */

struct process {
    char name[16];
    pid_t pid; /* 0 when it does not run */
    int out_fd;
    int port;
    char log[64]; /* file with its standard error */
    char *banner; /* its "listening" line */
};

/* The one site of this test. */
struct site {
    char root[32], data[48], run[48], socket[80], config[64];
    struct process ingestd, queryd[SITE_QUERYDS];
};
extern struct site site;

/* ---- the site ---- */

/* Directories and a config file: `config_json`, or NULL for the tests' own. No process yet. */
void site_prepare(const char *config_json);

/* site_prepare(NULL), an ingestd and queryd[0]: for .init. */
void site_start(void);

/* Stops what runs, each of which must end with status 0, and removes the directory: for .fini. */
void site_stop(void);

/* Starts one and waits until it listens. The same data, run directory and config each time. */
void ingestd_start(void);
void queryd_start(unsigned i);

/* Starts `program` and does not wait. `argv` and `env` ("NAME=value") end with NULL; without an
 * `env` it gets the admin key only. process->log must be set. */
void process_spawn(struct process *process, const char *program, const char *const *env,
                   const char *const *argv);

/* Waits for its "listening" line. */
void process_await_ready(struct process *process);

/* SIGTERM. Gives the exit status; a process that does not end in time fails the test. */
int process_stop(struct process *process, int timeout_ms);

/* Waits for an end of its own. As process_stop(). */
int process_await_end(struct process *process, int timeout_ms);

/* SIGKILL, and it is gone. */
void process_kill(struct process *process);
bool process_is_alive(struct process *process);

/* Whether its standard error has this text so far. */
bool process_said(const struct process *process, const char *text);

/* All of it. */
const char *process_log(const struct process *process);

/* Resident memory. */
long process_rss_kib(const struct process *process);

/* Something that went through a pipe and ended. */
struct run {
    int status; /* exit status, or 128 + signal */
    char *out, *err;
};

/* Runs a program below $TSSTORE_BIN_DIR in site.root. `env` has NULL-terminated "NAME=value";
 * NULL: the site's data, run directory and admin key. `input` may be NULL. */
struct run run_program(const char *const *env, const char *input, const char *program, ...)
    __attribute__((sentinel));
#define cli(...) run_program(NULL, NULL, "tsstore", __VA_ARGS__, NULL)

/* ---- waiting ---- */

int64_t clock_ms(void); /* only goes forward */
int64_t clock_ns(void); /* wall clock */
void pause_briefly(void);

/* Waits for a condition, looking at it every now and then. */
#define AWAIT(timeout_ms, ...)                                                                     \
    do {                                                                                           \
        const int64_t await_until_ = clock_ms() + (timeout_ms);                                    \
        while (!(__VA_ARGS__)) {                                                                   \
            cr_assert(clock_ms() < await_until_, "did not happen in %d ms: %s", (int)(timeout_ms), \
                      #__VA_ARGS__);                                                               \
            pause_briefly();                                                                       \
        }                                                                                          \
    } while (0)

/* ---- HTTP ---- */

struct call {
    const char *method; /* NULL: GET */
    const char *path;
    const char *key;       /* X-API-Key; NULL: none */
    const char *admin_key; /* X-Admin-Key; NULL: none */
    const char *type;      /* Content-Type; NULL: none is sent */
    const char *body;
    size_t bytes;          /* 0 with a body: its strlen() */
    const char *header[3]; /* further "Name: value" */
    int port;              /* 0: queryd[0] */
};

struct answer {
    int status; /* 0: no answer at all */
    char *body; /* NUL-terminated */
    size_t bytes;
    char *headers;
    json_t *json; /* NULL if the body is no JSON that jansson reads */
};

struct answer call(const struct call *what);
#define CALL(...) call(&(struct call){__VA_ARGS__})

/* Value of an answer's header, NULL if it has none. */
const char *answer_header(const struct answer *answer, const char *name);

/* "error" of the body, or "" if there is none. */
const char *answer_error(const struct answer *answer);

/* Text made as by printf. */
char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *repeat(char c, size_t n);

/* Fails the test unless status and error text are these. `error` NULL: not looked at; with a '*'
 * at its end: the start of the text. */
#define expect_answer(answer, want_status, want_error)                                             \
    expect_answer_at(__FILE__, __LINE__, (answer), (want_status), (want_error))
void expect_answer_at(const char *file, int line, struct answer answer, int status,
                      const char *error);

/* ---- stores ---- */

struct store {
    char name[129];
    char key[64];
};

/* Made by POST /api/stores; must succeed. */
struct store store_create(const char *body);

/* The contract's fixture: json, 64 blocks of 256 bytes, index blocks of 64. */
struct store store_fixture(void);
struct store store_of_type(const char *type);

/* A call with the store's key; `path` starts behind /api/stores/<name>. */
struct answer store_get(const struct store *store, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct answer store_post(const struct store *store, const char *type, const char *body,
                         size_t bytes);

/* POST …/data {"timestamp":t,"data":v}. */
struct answer put(const struct store *store, int64_t time_ns, const char *value);
void put_ok(const struct store *store, int64_t time_ns, const char *value);
void put_run(const struct store *store, int64_t first, int64_t last, const char *value);

/* The timestamps of GET …/data/<query>, "10 20 30"; "status 404: …" if it was not 200. */
const char *list(const struct store *store, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define list_all(store) list((store), "oldest?limit=1000000&include_data=false")

/* "1 2 3 … last" as list() gives it. */
const char *run_of(int64_t first, int64_t last);

/* ---- the Unix socket ---- */

struct line_client {
    int fd;
    size_t start, used;
    char buffer[8192];
};

void line_open(struct line_client *client);
void line_close(struct line_client *client);

/* AUTH, which must succeed. */
void line_login(struct line_client *client, const struct store *store);
void line_write(struct line_client *client, const void *data, size_t bytes);
void line_send(struct line_client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The next answer without its newline, valid until the next call; NULL at the end of file. */
const char *line_read(struct line_client *client);

/* line_send() of text and newline, then line_read(). */
const char *line_ask(struct line_client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- WebSocket ---- */

/* One connection. It is read only while a function here is called. */
struct ws;

struct ws_request {
    const char *path;    /* with its query */
    const char *key;     /* X-API-Key; NULL: none */
    const char *ca_file; /* by TLS: the certificate must be for "localhost" and signed by this one;
                          * NULL: without */
    int port;            /* 0: queryd[0] */
    int receive_bytes;   /* the kernel's buffer for it; 0: what the kernel likes */
};

/* NULL if the server answers, but does not take it. */
struct ws *ws_open(const struct ws_request *request);
#define WS_OPEN(...) ws_open(&(struct ws_request){__VA_ARGS__})
struct ws *ws_open_at(int port, const char *path_and_query);
struct ws *ws_open_tls(int port, const char *path_and_query, const char *ca_file);

/* Connects to /ws/read of the store with its key, on queryd[0]; must succeed. `query` is
 * "from=0&…" or "". */
struct ws *ws_read_open(const struct store *store, const char *query);

/* Takes its leave (1000), does not wait for an answer, and hangs up. */
void ws_close(struct ws *ws);

/* Sends one text message. */
void ws_tell(struct ws *ws, const char *message);

/* The next message, or NULL when the connection ended (*out_ended) or nothing came in time. Pings
 * and the close are answered. */
json_t *ws_next(struct ws *ws, int timeout_ms, bool *out_ended);

/* The same as one word: "data 10 {"a":1}", "caught_up", "gap", "error <text>", "end", "silence". */
const char *ws_word(struct ws *ws, int timeout_ms);
#define ws_expect(ws, want) cr_expect_str_eq(ws_word((ws), PATIENCE_MS), (want))

/* Waits until the server has hung up, passing over what still comes. Gives code and reason of its
 * close, "1001 server stops", or "" if it went without a word. */
const char *ws_await_end(struct ws *ws);

enum {
    FRAME_SILENCE = -2, /* nothing came in time */
    FRAME_ENDED,        /* the connection ended */
    FRAME_CONTINUED,
    FRAME_TEXT,
    FRAME_BINARY,
    FRAME_CLOSE = 8,
    FRAME_PING,
    FRAME_PONG,
};

/* The next frame, whatever it is, unanswered. Gives its opcode, or one of the first two; its data
 * is valid until the next call. Not amid a message in parts. */
int ws_next_frame(struct ws *ws, int timeout_ms, const char **out_data, size_t *out_bytes);

/* Sends a whole frame. */
void ws_tell_frame(struct ws *ws, int opcode, const void *data, size_t bytes);

/* Reads on at all connections to this port until the server ends them: a server that stops need not
 * wait for who does not answer its close. */
void ws_hear_out(int port);

/* ---- bytes on a TCP connection ---- */

/* Sends `request` as it is to the port and gives what comes until the end of the connection, or
 * until `timeout_ms` passed in silence. */
char *tcp_exchange(int port, const char *request, int timeout_ms);

/* Connected; receive buffer as small as asked for (0: the kernel's). */
int tcp_connect(int port, int receive_bytes);

/* ---- files ---- */

/* Path of a file of a store. */
char *store_path(const struct store *store, const char *file);
int64_t file_bytes(const char *path);

/* Sum of the sizes of the store's files. */
int64_t store_bytes(const struct store *store);

/* Overwrites or, with data NULL, flips all bits of bytes at an offset. */
void file_poke(const char *path, int64_t offset, const void *data, size_t bytes);

/* Kept until site_stop(), then freed by `release`. */
void keep(void *thing, void (*release)(void *));

#endif
