/* feed_system.c - readings of this machine, one per interval.
 *
 * Readings keep to a grid of intervals: what takes long shifts nothing, and what could not be sent
 * in its time is missed, not sent late, since the server gives the time stamp. A lost connection
 * is tried again after 0.1 s, then after twice as long each time, up to 10 s.
 */
#include "cli/feed.h"
#include "cli/output.h"
#include "cli/proc_sample.h"
#include "cli/stop.h"
#include "cli/when.h"

#include <inttypes.h>

#define FIRST_PAUSE_NS 100000000
#define LONGEST_PAUSE_NS 10000000000

/* When to try the server again. */
struct backoff {
    int64_t pause_ns, next_ns;
};

static void
backoff_raise(struct backoff *backoff)
{
    backoff->pause_ns = backoff->pause_ns == 0 ? FIRST_PAUSE_NS : backoff->pause_ns * 2;
    if (backoff->pause_ns > LONGEST_PAUSE_NS)
        backoff->pause_ns = LONGEST_PAUSE_NS;
    backoff->next_ns = cli_monotonic_ns() + backoff->pause_ns;
}

/* Connects again if it is time to. The connection may still be closed afterwards. */
static enum ts_err
reconnect(const struct feed_job *job, struct feed_socket *socket, struct backoff *backoff)
{
    enum ts_err err;

    if (socket->fd >= 0 || cli_monotonic_ns() < backoff->next_ns)
        return TS_OK;
    err = feed_open(&job->target, socket);
    if (err == TS_E_UNAVAILABLE) {
        backoff_raise(backoff);
        return TS_OK;
    }
    if (err == TS_OK) {
        cli_notice("connected again");
        *backoff = (struct backoff){0};
    }
    return err;
}

static void
send_reading(struct feed_job *job, struct feed_socket *socket, struct backoff *backoff,
             const struct ts_text *line)
{
    char answer[FEED_ANSWER_BYTES];
    bool is_stored = false;

    if (socket->fd < 0) {
        job->n_missed++;
        return;
    }
    if (feed_ask(socket, line->at, line->bytes, &is_stored, answer) != TS_OK) {
        feed_close(socket);
        job->n_unanswered++;
        if (cli_stop_asked())
            return;
        cli_notice("connection lost: %s", ts_error_text());
        job->n_lost_connections++;
        backoff_raise(backoff);
    } else if (is_stored) {
        job->n_stored++;
    } else {
        job->n_refused++;
        feed_tell_refusal(job, job->n_stored + job->n_refused, answer);
    }
}

/* Sleeps to the next point of the grid, waking in between to reconnect. */
static enum ts_err
wait_for_tick(const struct feed_job *job, struct feed_socket *socket, struct backoff *backoff,
              int64_t tick_ns)
{
    enum ts_err err = TS_OK;
    int64_t now_ns;

    while (err == TS_OK && !cli_stop_asked() && (now_ns = cli_monotonic_ns()) < tick_ns) {
        int64_t until_ns = tick_ns;

        if (socket->fd < 0 && backoff->next_ns < until_ns)
            until_ns = backoff->next_ns > now_ns ? backoff->next_ns : now_ns;
        cli_stop_sleep(until_ns - now_ns);
        if (!cli_stop_asked())
            err = reconnect(job, socket, backoff);
    }
    return err;
}

static enum ts_err
run_readings(struct feed_job *job, struct feed_socket *socket)
{
    struct proc_sample before, now;
    struct backoff backoff = {0};
    int64_t tick_ns = cli_monotonic_ns();
    struct ts_text line;
    uint64_t n = 0;
    enum ts_err err = proc_sample_take("/proc", &before);

    ts_text_init(&line);
    while (err == TS_OK && (job->count == 0 || n < job->count)) {
        const int64_t late_ns = cli_monotonic_ns() - tick_ns;

        tick_ns += (late_ns / job->interval_ns + 1) * job->interval_ns;
        err = wait_for_tick(job, socket, &backoff, tick_ns);
        if (err != TS_OK || cli_stop_asked())
            break;
        err = proc_sample_take("/proc", &now);
        if (err != TS_OK)
            break;
        ts_text_clear(&line);
        proc_sample_json(&before, &now, &line);
        ts_text_puts(&line, "\n");
        if (line.failed)
            err = TS_FAIL_PLAIN(TS_E_NOMEM);
        else
            send_reading(job, socket, &backoff, &line);
        before = now;
        n++;
    }
    ts_text_done(&line);
    return err;
}

enum ts_err
feed_system(struct feed_job *job)
{
    struct feed_socket socket;
    enum ts_err err = feed_open(&job->target, &socket);

    if (err != TS_OK)
        return cli_stop_asked() ? TS_OK : err;
    err = run_readings(job, &socket);
    feed_close(&socket);
    return cli_stop_asked() ? TS_OK : err;
}
