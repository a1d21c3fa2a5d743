/* feed_lines.c - standard input, line by line, pipelined.
 *
 * One poll loop moves bytes three ways: standard input into `in`, whole lines of it into `out`,
 * `out` into the socket; and answers back. Answers come in the order of the lines, so a queue of
 * the line numbers in flight tells which line an answer is about. Blank lines get no answer and
 * are not sent; QUIT would end the conversation and is refused here. The end is a QUIT of our own:
 * its answer comes behind all others, so that no count can be waited for in vain.
 */
#include "cli/feed.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/when.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256u * 1024)
#define MAX_OUT_BYTES (1024u * 1024)       /* no more is read while more waits to be sent */
#define MAX_LINE_BYTES (64u * 1024 * 1024) /* of ours; the server has its own, smaller limit */
#define MAX_IN_FLIGHT 65536u               /* a power of two */
#define DRAIN_NS 5000000000                /* after Ctrl-C */

enum phase { PHASE_READING, PHASE_DRAINING, PHASE_DONE };

struct lines {
    struct feed_job *job;
    struct feed_socket socket;
    enum phase phase;
    struct ts_text in;      /* read, not yet looked at from in_off on */
    struct ts_text out;     /* to be sent from out_off on */
    size_t in_off, out_off; /* what is before is done with */
    size_t searched;        /* of `in` behind in_off: no newline there */
    bool input_ended;       /* end of file, or Ctrl-C */
    bool is_skipping;       /* in a line that is too long */
    uint64_t line_no;       /* of the last line looked at */
    uint64_t n_sent, n_answered;
    uint64_t in_flight[MAX_IN_FLIGHT]; /* line numbers, at n_sent and n_answered modulo its size */
    int64_t start_ns, drain_until_ns;
    struct cli_progress progress;
};

/* Moves what is left to the front, so that the text does not grow for ever. */
static void
compact(struct ts_text *text, size_t *off)
{
    if (*off == 0)
        return;
    memmove(text->at, text->at + *off, text->bytes - *off);
    text->bytes -= *off;
    *off = 0;
}

static size_t
n_in_flight(const struct lines *l)
{
    return (size_t)(l->n_sent - l->n_answered);
}

static void
refuse(struct lines *l, uint64_t line_no, const char *why)
{
    l->job->n_refused++;
    feed_tell_refusal(l->job, line_no, why);
}

/* One whole line, without its newline. */
static void
take_line(struct lines *l, const char *line, size_t bytes)
{
    static const char blanks[] = " \t\r\v\f";
    const char *at = line, *end = line + bytes;

    while (at < end && memchr(blanks, *at, sizeof blanks - 1) != NULL)
        at++;
    while (end > at && memchr(blanks, end[-1], sizeof blanks - 1) != NULL)
        end--;
    if (at == end)
        return;
    if (end - at == 4 && strncasecmp(at, "QUIT", 4) == 0) {
        refuse(l, l->line_no, "QUIT is no record");
        return;
    }
    ts_text_add(&l->out, at, (size_t)(end - at));
    ts_text_add(&l->out, "\n", 1);
    l->in_flight[l->n_sent++ % MAX_IN_FLIGHT] = l->line_no;
}

/* Makes lines of what was read, as far as there is room for them. */
static void
take_lines(struct lines *l)
{
    while (n_in_flight(l) < MAX_IN_FLIGHT && l->out.bytes - l->out_off < MAX_OUT_BYTES) {
        const size_t bytes = l->in.bytes - l->in_off;
        const char *start, *newline;
        size_t line_bytes;

        if (bytes == 0)
            return;
        start = l->in.at + l->in_off;
        newline = memchr(start + l->searched, '\n', bytes - l->searched);

        /* A last line without newline is a line: the user's editor decides about that byte. After
         * Ctrl-C it is half a line and stays where it is. */
        if (newline == NULL && (!l->input_ended || cli_stop_asked())) {
            l->searched = bytes;
            return;
        }
        line_bytes = newline != NULL ? (size_t)(newline - start) : bytes;
        if (!l->is_skipping) {
            l->line_no++;
            take_line(l, start, line_bytes);
        }
        l->is_skipping = false;
        l->in_off += line_bytes + (newline != NULL);
        l->searched = 0;
    }
}

/* Reads once. A line that does not end is given up, and skipped to its end. */
static enum ts_err
read_input(struct lines *l)
{
    ssize_t got;

    compact(&l->in, &l->in_off);
    if (l->in.bytes > MAX_LINE_BYTES) {
        if (!l->is_skipping) {
            l->line_no++;
            refuse(l, l->line_no, "line too long");
        }
        l->is_skipping = true;
        l->in.bytes = l->searched = 0;
    }
    if (!ts_text_reserve(&l->in, READ_BYTES))
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    got = read(STDIN_FILENO, l->in.at + l->in.bytes, READ_BYTES);
    if (got < 0 && errno != EINTR && errno != EAGAIN)
        return TS_FAIL_ERRNO(TS_E_IO, "read standard input");
    if (got == 0)
        l->input_ended = true;
    if (got > 0)
        l->in.bytes += (size_t)got;
    return TS_OK;
}

static enum ts_err
send_some(struct lines *l)
{
    const ssize_t sent = send(l->socket.fd, l->out.at + l->out_off, l->out.bytes - l->out_off,
                              MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        return TS_FAIL_ERRNO(TS_E_UNAVAILABLE, "send");
    if (sent > 0)
        l->out_off += (size_t)sent;
    if (l->out_off == l->out.bytes)
        l->out.bytes = l->out_off = 0;
    else if (l->out_off >= MAX_OUT_BYTES / 2)
        compact(&l->out, &l->out_off);
    return TS_OK;
}

static void
take_answer(struct lines *l, const char *answer)
{
    if (n_in_flight(l) == 0 || (l->phase == PHASE_DRAINING && strcmp(answer, "OK bye") == 0)) {
        l->phase = PHASE_DONE; /* the answer to our QUIT */
        return;
    }
    if (feed_answer_is_ok(answer))
        l->job->n_stored++;
    else
        refuse(l, l->in_flight[l->n_answered % MAX_IN_FLIGHT], answer);
    l->n_answered++;
}

/* Takes all answers that are there. An error answer before the end may be the server's last word:
 * it is counted before the end of file is seen. */
static enum ts_err
receive_some(struct lines *l)
{
    char answer[FEED_ANSWER_BYTES];
    const enum ts_err err = feed_receive(&l->socket);

    while (l->phase != PHASE_DONE && feed_take_answer(&l->socket, answer))
        take_answer(l, answer);
    return l->phase == PHASE_DONE ? TS_OK : err;
}

/* Goes on to the next phase when this one has nothing left to do. */
static enum ts_err
advance(struct lines *l)
{
    if (cli_stop_asked() && !l->input_ended) {
        l->input_ended = true;
        l->drain_until_ns = cli_monotonic_ns() + DRAIN_NS;
    }
    take_lines(l);
    if (l->out.failed || l->in.failed)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    if (l->phase == PHASE_READING && l->input_ended &&
        (l->in_off == l->in.bytes || cli_stop_asked())) {
        l->phase = PHASE_DRAINING;
        ts_text_puts(&l->out, "QUIT\n");
    }
    if (l->drain_until_ns != 0 && cli_monotonic_ns() > l->drain_until_ns)
        return TS_FAIL(TS_E_UNAVAILABLE, "interrupted, and the server does not answer");
    return TS_OK;
}

static enum ts_err
wait_and_move(struct lines *l)
{
    const bool has_room = l->in.bytes - l->in_off <= l->searched && !l->input_ended;
    const bool has_output = l->out.bytes > l->out_off;
    struct pollfd ready[] = {
        {.fd = has_room ? STDIN_FILENO : -1, .events = POLLIN},
        {.fd = l->socket.fd, .events = (short)(POLLIN | (has_output ? POLLOUT : 0))},
        {.fd = cli_stop_asked() ? -1 : cli_stop_fd(), .events = POLLIN},
    };
    enum ts_err err = TS_OK;

    if (poll(ready, COUNTOF(ready), l->progress.is_on || l->drain_until_ns != 0 ? 200 : -1) < 0)
        return errno == EINTR ? TS_OK : TS_FAIL_ERRNO(TS_E_SYSTEM, "poll");
    if (ready[1].revents & (POLLIN | POLLHUP | POLLERR))
        err = receive_some(l);
    if (err == TS_OK && l->phase != PHASE_DONE && (ready[1].revents & POLLOUT))
        err = send_some(l);
    if (err == TS_OK && ready[0].revents != 0)
        err = read_input(l);
    return err;
}

static enum ts_err
run(struct lines *l)
{
    enum ts_err err = TS_OK;

    while (err == TS_OK && l->phase != PHASE_DONE) {
        err = advance(l);
        if (err == TS_OK)
            err = wait_and_move(l);
        if (cli_progress_is_due(&l->progress)) {
            const double s = (double)(cli_monotonic_ns() - l->start_ns) / 1e9;

            cli_progress_show(&l->progress, "%" PRIu64 " lines, %.0f/s, %" PRIu64 " refused",
                              l->n_answered, (double)l->n_answered / s, l->job->n_refused);
        }
    }
    return err;
}

enum ts_err
feed_lines(struct feed_job *job)
{
    static struct lines lines; /* half a megabyte: not on the stack */
    enum ts_err err;

    lines.job = job;
    lines.start_ns = cli_monotonic_ns();
    ts_text_init(&lines.in);
    ts_text_init(&lines.out);
    err = feed_open(&job->target, &lines.socket);
    if (err != TS_OK)
        return err;
    cli_progress_init(&lines.progress);
    err = run(&lines);
    cli_progress_end(&lines.progress);
    job->n_unanswered = n_in_flight(&lines);
    if (job->n_unanswered > 0 && err == TS_OK)
        err = TS_FAIL(TS_E_PROTOCOL, "the server ended the conversation");
    if (job->n_unanswered > 0)
        TS_CONTEXT("lines from %" PRIu64 " on have no answer",
                   lines.in_flight[lines.n_answered % MAX_IN_FLIGHT]);
    ts_text_done(&lines.in);
    ts_text_done(&lines.out);
    feed_close(&lines.socket);
    return err;
}
