/* measure.h - what benches and stress tests share: clocks, medians, random numbers, rows.
 *
 * Purpose    Time something, take the middle of several rounds, print one row about it.
 * Invariant  A row compares figures of one run only: machines differ by more than programs do.
 * Ownership  scratch_dir() removes what it made when the process that made it ends.
 * Errors     What goes wrong in the rig ends the program: die() says what, status 1.
 * Units      Times are nanoseconds of the monotonic clock.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define COUNTOF(array) (sizeof(array) / sizeof((array)[0]))

/* Prints "<text>" or "<text>: <errno's text>" and exits with 1. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));

int64_t clock_ns(void);
void sleep_until(int64_t at_ns);

/* The number in this environment variable, or `otherwise`. */
uint64_t env_number(const char *name, uint64_t otherwise);

/* $SEED, or one made of clock and pid; never 0. The caller prints it. */
uint64_t pick_seed(void);
/* xorshift64*: not for secrets. */
uint64_t next_random(uint64_t *state);

/* The calling thread, and what it starts from now on, run on this processor only. */
void pin_to(int cpu);
void unpin(void);
int n_processors(void);

/* A new directory below $TMPDIR (/tmp), at most 40 bytes of path unless TMPDIR is longer. */
const char *scratch_dir(void);

/* Zeroed memory that children of fork() share with their parent. */
void *shared_memory(size_t bytes);

/* A child that runs fn(arg) and ends with 0; reap() waits for it and dies if it ended otherwise. */
pid_t start_child(void (*fn)(void *arg), void *arg);
void reap(pid_t pid);

double median_of(double *values, size_t n); /* sorts them */

/* Latencies or the like; the newest replace the oldest beyond the capacity. */
struct samples {
    uint32_t *values; /* owned */
    size_t n, capacity;
};
void samples_init(struct samples *samples, size_t capacity);
void samples_add(struct samples *samples, int64_t value);
/* p of 0 .. 1. Sorts what is there. */
uint32_t samples_percentile(struct samples *samples, double p);
void samples_done(struct samples *samples);

/* One line of a table: what, measured, peer and the ratio of the two. target 0: none. With
 * `lower_is_better` the target is a ceiling. */
struct row {
    const char *what;
    double value;
    const char *unit;
    const char *peer;  /* NULL: no peer, the target is for the value itself */
    double peer_value; /* same unit */
    double target;
    bool lower_is_better;
    double low, high; /* of the ratios of the rounds, the middle half; 0: one round, or no peer */
};
void print_row(const struct row *row);
#define ROW(...) print_row(&(struct row){__VA_ARGS__})

/* What we and a peer reached in interleaved rounds: each round has its own ratio, so that what the
 * machine does besides falls on both. */
#define MAX_ROUNDS 32
struct rounds {
    double ours[MAX_ROUNDS], ratio[MAX_ROUNDS];
    size_t n;
};
void rounds_add(struct rounds *rounds, double ours, double peers);

/* The row of their medians; `value`, `peer_value`, `low` and `high` are set here. The peer's figure
 * is ours by the median of the ratios. */
void print_rounds(struct rounds *rounds, struct row row);
#define ROUNDS_ROW(rounds, ...) print_rounds((rounds), (struct row){__VA_ARGS__})

void print_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Processor time that a process has used, all its threads. */
int64_t processor_ns_of(pid_t pid);

/* Memory of a process as /proc tells it, in KiB. */
struct memory {
    long rss_kib, anon_kib, file_kib; /* file: pages of mapped files, shared with the page cache */
};
struct memory memory_of(pid_t pid);

#endif
