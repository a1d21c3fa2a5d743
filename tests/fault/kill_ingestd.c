/* kill_ingestd.c - kill -9 of a real ingestd at random moments, under load.
 *
 * Clients send numbered lines over the Unix socket, WINDOW of them in flight; each number is sent
 * once, whatever becomes of it. After each kill ingestd starts again on the same data (now and then
 * it is killed once more while it does), and what is new in the store is read: of every client all
 * lines that were answered OK are there once, those sent and not answered are there once or not at
 * all, in the order in which they were sent, and nothing else is.
 *
 * ROUNDS (20) kills, SEED, CLIENTS (4). TSSTORE_BIN_DIR (build/bin) has the program. */
#include "tests/rig/daemons.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CLIENTS = 16, WINDOW = 64, MAX_DELAY_MS = 150, MAX_KILLS = 4096 };

/* A client's lines are numbered from 0. Only its thread writes here, and only while it is not
 * joined. */
struct client {
    pthread_t thread;
    unsigned number;
    uint64_t sent;     /* lines below were sent, perhaps half of the last one */
    uint64_t answered; /* lines below and not in doubt were answered OK */
    uint64_t seen;     /* the checker: lines below are accounted for */
    /* Lines [from, to) were in flight when a connection broke. */
    struct doubt {
        uint64_t from, to;
    } doubts[MAX_KILLS];
    size_t n_doubts, n_doubts_seen;
    char errors[256]; /* an answer that was not OK */
};

struct totals {
    uint64_t n_records, n_in_doubt, n_in_doubt_kept, n_lost, n_twice_or_unknown;
};

static struct client clients[MAX_CLIENTS];
static unsigned n_clients;
static char key[STORE_KEY_BYTES];
static const char store_name[] = "kill";
static _Atomic uint32_t n_sending;

/* ---- clients ---- */

static size_t
make_line(char *line, size_t room, const struct client *client, uint64_t n)
{
    /* Lengths vary, so that blocks end at all places. */
    const int bytes = snprintf(line, room, "{\"c\":%u,\"n\":%ju,\"pad\":\"%0*u\"}\n",
                               client->number, (uintmax_t)n, (int)(n * 7 % 61) + 1, 0u);

    return (size_t)bytes;
}

/* False at the end of the connection, and at the first answer that is not OK. */
static bool
take_answer(struct client *client, struct feeder *feeder)
{
    const char *answer = feeder_read(feeder);

    if (answer == NULL)
        return false;
    if (strncmp(answer, "OK ", 3) != 0) {
        snprintf(client->errors, sizeof client->errors, "%.200s", answer);
        return false;
    }
    client->answered++;
    return true;
}

/* Sends and reads answers until the connection breaks. */
static void
feed(struct client *client, struct feeder *feeder)
{
    char out[WINDOW * 128];
    bool is_open = true;

    while (is_open) {
        size_t bytes = 0;

        while (client->sent - client->answered < WINDOW)
            bytes += make_line(out + bytes, sizeof out - bytes, client, client->sent++);
        is_open = send_all(feeder->fd, out, bytes);
        /* Half a window of answers, then the next half goes out. */
        for (int i = 0; i < WINDOW / 2 && is_open; i++)
            is_open = take_answer(client, feeder);
    }
    /* What was answered before the end can still be read. */
    while (take_answer(client, feeder)) {
    }
}

static void *
client_main(void *arg)
{
    struct client *client = arg;
    static _Thread_local struct feeder feeder;

    if (feeder_try_open(&feeder, store_name, key)) {
        atomic_fetch_add(&n_sending, 1);
        feed(client, &feeder);
        feeder_close(&feeder);
    }
    if (client->sent > client->answered && client->n_doubts < MAX_KILLS)
        client->doubts[client->n_doubts++] = (struct doubt){client->answered, client->sent};
    client->answered = client->sent; /* numbers are never sent again */
    return NULL;
}

/* ---- checking ---- */

/* Whether line n was sent and not answered. Asked with growing n only. */
static bool
is_in_doubt(struct client *client, uint64_t n)
{
    while (client->n_doubts_seen < client->n_doubts &&
           client->doubts[client->n_doubts_seen].to <= n)
        client->n_doubts_seen++;
    return client->n_doubts_seen < client->n_doubts &&
           client->doubts[client->n_doubts_seen].from <= n;
}

/* No line below n comes any more. */
static void
skip_to(struct client *client, uint64_t n, struct totals *totals)
{
    for (; client->seen < n; client->seen++)
        totals->n_lost += !is_in_doubt(client, client->seen);
}

static void
account_for(struct client *client, uint64_t n, struct totals *totals)
{
    if (n < client->seen || n >= client->sent) {
        totals->n_twice_or_unknown++;
        return;
    }
    skip_to(client, n, totals);
    totals->n_in_doubt_kept += is_in_doubt(client, n);
    client->seen = n + 1;
}

/* Reads what came since the last time, through a reader's eyes. */
static void
check_records(uint64_t *from_no, struct totals *totals)
{
    const struct ts_range range = {.by_number = true, .has_from = true, .from_no = *from_no};
    int64_t newest_ns = 0;
    struct ts_view *view;
    struct ts_cursor *cursor;
    struct ts_record record;
    struct ts_gap gap;
    enum ts_step step;

    if (ts_view_open(site.data, store_name, &view) != TS_OK ||
        ts_cursor_open(view, &range, &cursor) != TS_OK)
        die("reader: %s", ts_error_text());
    while ((step = ts_cursor_next(cursor, &record, &gap)) == TS_STEP_RECORD) {
        unsigned number;
        uintmax_t n;
        char text[160];

        cr_assert_eq(record.no, *from_no);
        cr_assert_lt(record.bytes, sizeof text);
        cr_assert_gt(record.time_ns, newest_ns);
        memcpy(text, record.data, record.bytes);
        text[record.bytes] = '\0';
        cr_assert_eq(sscanf(text, "{\"c\":%u,\"n\":%ju,", &number, &n), 2, "record %s", text);
        cr_assert_lt(number, n_clients);
        account_for(&clients[number], n, totals);
        newest_ns = record.time_ns;
        totals->n_records++;
        (*from_no)++;
    }
    cr_assert_eq(step, TS_STEP_END, "step %d: %s", (int)step, ts_error_text());
    ts_cursor_close(cursor);
    ts_view_close(view);
}

static void
close_books(struct totals *totals)
{
    for (unsigned i = 0; i < n_clients; i++) {
        struct client *client = &clients[i];

        skip_to(client, client->sent, totals);
        for (size_t d = 0; d < client->n_doubts; d++)
            totals->n_in_doubt += client->doubts[d].to - client->doubts[d].from;
        cr_expect_str_eq(client->errors, "", "client %u: %s", i, client->errors);
    }
}

/* ---- rounds ---- */

/* Feeds, kills after a random while, waits for the clients to see it. */
static void
one_round(uint64_t *random)
{
    const int64_t delay_ns = (int64_t)(next_random(random) % (MAX_DELAY_MS * 1000000ull));

    atomic_store(&n_sending, 0);
    for (unsigned i = 0; i < n_clients; i++) {
        if (pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) != 0)
            die("start a client");
    }
    /* Most kills hit all clients; those with a short delay, some that are not even let in. */
    while (delay_ns > 5000000 && atomic_load(&n_sending) < n_clients)
        usleep(200);
    sleep_until(clock_ns() + delay_ns);
    kill_daemon(&site.ingestd);
    for (unsigned i = 0; i < n_clients; i++)
        pthread_join(clients[i].thread, NULL);
}

/* One start in four is killed before it is done. Returns how long it took from the exec of the one
 * that succeeds until a client is let in, recovery included. */
static int64_t
restart(uint64_t *random, unsigned *n_kills)
{
    static struct feeder feeder;
    int64_t start;

    while (next_random(random) % 4 == 0) {
        spawn_ingestd();
        sleep_until(clock_ns() + (int64_t)(next_random(random) % 15000000));
        kill_daemon(&site.ingestd);
        (*n_kills)++;
    }
    start = clock_ns();
    start_ingestd();
    feeder_open(&feeder, store_name, key);
    feeder_close(&feeder);
    return clock_ns() - start;
}

/* A ring that holds several rounds and wraps in the long run. */
static void
create_store(void)
{
    struct ts_options options;

    ts_options_init(&options);
    options.num_blocks = 32768;
    site_create_store(store_name, &options, key);
}

Test(kill_ingestd, every_line_answered_ok_is_there_once_and_in_order)
{
    const unsigned n_rounds = (unsigned)env_number("ROUNDS", 20);
    uint64_t random = pick_seed(), from_no = 1;
    struct totals totals = {0};
    struct samples starts;
    unsigned n_kills = 0;

    print_note("SEED=%ju", (uintmax_t)random);
    n_clients = (unsigned)env_number("CLIENTS", 4);
    cr_assert(n_clients >= 1 && n_clients <= MAX_CLIENTS && n_rounds < MAX_KILLS);
    for (unsigned i = 0; i < n_clients; i++)
        clients[i].number = i;
    samples_init(&starts, MAX_KILLS);
    site_begin();
    create_store();
    start_ingestd();
    while (n_kills < n_rounds) {
        one_round(&random);
        n_kills++;
        samples_add(&starts, restart(&random, &n_kills) / 1000);
        check_records(&from_no, &totals);
    }
    close_books(&totals);
    site_end();

    cr_expect_eq(totals.n_lost, 0, "%ju answered lines are gone", (uintmax_t)totals.n_lost);
    cr_expect_eq(totals.n_twice_or_unknown, 0, "%ju lines came twice, late, or from nowhere",
                 (uintmax_t)totals.n_twice_or_unknown);
    cr_expect_gt(totals.n_records, n_rounds);
    print_note("%u kills, %u clients: %ju records, of %ju lines in doubt %ju were kept; lost %ju, "
               "twice or out of order %ju",
               n_kills, n_clients, (uintmax_t)totals.n_records, (uintmax_t)totals.n_in_doubt,
               (uintmax_t)totals.n_in_doubt_kept, (uintmax_t)totals.n_lost,
               (uintmax_t)totals.n_twice_or_unknown);
    print_note("from exec until a client is let in, recovery included: p50 %.1f ms, max %.1f ms",
               samples_percentile(&starts, 0.5) / 1e3, samples_percentile(&starts, 1) / 1e3);
    samples_done(&starts);
}
