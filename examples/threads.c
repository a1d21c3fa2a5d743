/* threads.c - several threads append, one follows, and all end in order.
 *
 *     cc -pthread -o threads threads.c $(pkg-config --cflags --libs tsstore)
 *     ./threads . [RECORDS]
 *
 * Each of four threads appends RECORDS records (1000); Ctrl-C ends them before. The order of the
 * end matters: first who appends, then who reads, then the store.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <tsstore.h>

#define N_WRITERS 4

struct shared {
    struct ts_store *store;
    uint64_t n_each;
    _Atomic uint64_t n_appended;
    _Atomic bool is_complete; /* nothing is appended any more */
};

struct follower {
    struct shared *shared;
    uint64_t n_read, n_lost;
};

static atomic_bool is_interrupted; /* lock-free: a signal handler may set it */

static void
on_signal(int signal_no)
{
    (void)signal_no;
    is_interrupted = true;
}

static void *
writer_main(void *arg)
{
    struct shared *shared = arg;

    for (uint64_t i = 0; i < shared->n_each && !is_interrupted; i++) {
        char text[64];
        const int bytes = snprintf(text, sizeof text, "{\"n\":%" PRIu64 "}", i);

        /* Time 0: the store gives each record a time of its own. Two threads that took the time
         * themselves could come in the wrong order, and one of them would be refused. */
        if (ts_store_append(shared->store, 0, text, (size_t)bytes, NULL) != TS_OK) {
            fprintf(stderr, "threads: append: %s\n", ts_error_text());
            break;
        }
        atomic_fetch_add(&shared->n_appended, 1);
    }
    return NULL;
}

/* Reads what is there; returns at the end of it. */
static void
read_all(struct ts_cursor *cursor, struct follower *follower)
{
    struct ts_record record;
    struct ts_gap gap;

    for (;;) {
        switch (ts_cursor_next(cursor, &record, &gap)) {
        case TS_STEP_RECORD:
            follower->n_read++; /* record.data is valid until the next step */
            break;
        case TS_STEP_GAP: /* the ring went round faster than this thread read */
        case TS_STEP_DAMAGED:
            follower->n_lost += gap.lost;
            break;
        case TS_STEP_RESET:
            break;
        case TS_STEP_END:
        case TS_STEP_GONE:
            return;
        }
    }
}

static void *
follower_main(void *arg)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    const struct ts_range range = {.follow = true};
    struct follower *follower = arg;
    struct ts_cursor *cursor;
    bool is_complete;

    /* The cursor is this thread's own, the view behind it is everybody's. */
    if (ts_cursor_open(ts_store_view(follower->shared->store), &range, &cursor) != TS_OK) {
        fprintf(stderr, "threads: follow: %s\n", ts_error_text());
        return NULL;
    }
    do {
        /* Asked before the look, so that the last look comes after the last record. */
        is_complete = atomic_load(&follower->shared->is_complete);
        read_all(cursor, follower);
        if (!is_complete)
            nanosleep(&pause, NULL);
    } while (!is_complete);
    ts_cursor_close(cursor);
    return NULL;
}

/* Threads that were started are ended in any case. */
static int
run(struct shared *shared)
{
    struct follower follower = {.shared = shared};
    pthread_t writers[N_WRITERS], reader;
    unsigned n_writers = 0;

    if (pthread_create(&reader, NULL, follower_main, &follower) != 0)
        return fprintf(stderr, "threads: no thread to be had\n"), 1;
    while (n_writers < N_WRITERS &&
           pthread_create(&writers[n_writers], NULL, writer_main, shared) == 0)
        n_writers++;
    for (unsigned i = 0; i < n_writers; i++)
        pthread_join(writers[i], NULL);
    atomic_store(&shared->is_complete, true);
    pthread_join(reader, NULL);
    printf("%u threads appended %" PRIu64 " records; read %" PRIu64 ", lost %" PRIu64 "\n",
           n_writers, atomic_load(&shared->n_appended), follower.n_read, follower.n_lost);
    return n_writers != N_WRITERS;
}

int
main(int argc, char **argv)
{
    struct shared shared = {.n_each = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000};
    struct ts_options options;
    int status = 1;

    if (argc < 2)
        return fprintf(stderr, "usage: threads DIR [RECORDS]\n"), 2;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    ts_options_init(&options);
    if (ts_store_remove(argv[1], "threads") != TS_OK ||
        ts_store_create(argv[1], "threads", &options) != TS_OK ||
        ts_store_open(argv[1], "threads", &shared.store) != TS_OK) {
        fprintf(stderr, "threads: %s\n", ts_error_text());
        return 1;
    }
    status = run(&shared);
    if (ts_store_close(shared.store) != TS_OK) { /* syncs: on return all is on the disk */
        fprintf(stderr, "threads: close: %s\n", ts_error_text());
        status = 1;
    }
    return status;
}
