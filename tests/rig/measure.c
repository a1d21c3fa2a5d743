/* measure.c - see measure.h. */
#include "tests/rig/measure.h"

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char made_dir[256];
static pid_t made_by;

void
die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void
die_errno(const char *format, ...)
{
    const int number = errno;
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, ": %s\n", strerror(number));
    exit(1);
}

int64_t
clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void
sleep_until(int64_t at_ns)
{
    const struct timespec at = {at_ns / 1000000000, at_ns % 1000000000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
}

uint64_t
env_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    char *end;
    uint64_t number;

    if (text == NULL || *text == '\0')
        return otherwise;
    number = strtoull(text, &end, 10);
    if (*end != '\0')
        die("%s must be a number, not '%s'", name, text);
    return number;
}

uint64_t
pick_seed(void)
{
    const uint64_t seed = env_number("SEED", (uint64_t)clock_ns() * 31 + (uint64_t)getpid());

    return seed != 0 ? seed : 1;
}

uint64_t
next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* ---- processors, processes, memory ---- */

int
n_processors(void)
{
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

void
pin_to(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        die_errno("pin to processor %d", cpu);
}

void
unpin(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    for (int i = 0; i < n_processors(); i++)
        CPU_SET((unsigned)i, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

static void
remove_scratch(void)
{
    if (made_by == getpid())
        nftw(made_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *
scratch_dir(void)
{
    const char *below = getenv("TMPDIR");

    if (made_dir[0] != '\0')
        die("one scratch directory per program");
    snprintf(made_dir, sizeof made_dir, "%s/tsstore-rig-XXXXXX", below != NULL ? below : "/tmp");
    if (mkdtemp(made_dir) == NULL)
        die_errno("make %s", made_dir);
    made_by = getpid();
    atexit(remove_scratch);
    return made_dir;
}

void *
shared_memory(size_t bytes)
{
    void *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED)
        die_errno("map %zu bytes", bytes);
    return memory;
}

pid_t
start_child(void (*fn)(void *arg), void *arg)
{
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid < 0)
        die_errno("fork");
    if (pid == 0) {
        fn(arg);
        fflush(NULL);
        _exit(0);
    }
    return pid;
}

void
reap(pid_t pid)
{
    int status;

    if (waitpid(pid, &status, 0) != pid)
        die_errno("wait for %d", (int)pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("process %d ended with status 0x%x", (int)pid, (unsigned)status);
}

int64_t
processor_ns_of(pid_t pid)
{
    struct timespec time;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        die("no processor time of process %d", (int)pid);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

struct memory
memory_of(pid_t pid)
{
    struct memory memory = {0};
    char path[64], line[256];
    FILE *file;
    long shared_kib = 0;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        die_errno("open %s", path);
    while (fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "VmRSS: %ld", &memory.rss_kib);
        sscanf(line, "RssAnon: %ld", &memory.anon_kib);
        sscanf(line, "RssFile: %ld", &memory.file_kib);
        sscanf(line, "RssShmem: %ld", &shared_kib);
    }
    fclose(file);
    memory.file_kib += shared_kib; /* mapped files of a tmpfs are counted there */
    return memory;
}

/* ---- figures ---- */

static int
compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double
median_of(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void
samples_init(struct samples *samples, size_t capacity)
{
    *samples = (struct samples){.capacity = capacity};
    samples->values = malloc(capacity * sizeof *samples->values);
    if (samples->values == NULL)
        die("no memory for %zu samples", capacity);
}

void
samples_add(struct samples *samples, int64_t value)
{
    samples->values[samples->n++ % samples->capacity] = value < 0            ? 0
                                                        : value > UINT32_MAX ? UINT32_MAX
                                                                             : (uint32_t)value;
}

static int
compare_u32(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

uint32_t
samples_percentile(struct samples *samples, double p)
{
    const size_t n = samples->n < samples->capacity ? samples->n : samples->capacity;

    if (n == 0)
        return 0;
    qsort(samples->values, n, sizeof *samples->values, compare_u32);
    return samples->values[(size_t)(p * (double)(n - 1) + 0.5)];
}

void
samples_done(struct samples *samples)
{
    free(samples->values);
    *samples = (struct samples){0};
}

/* Four digits that matter, whatever the size. */
static void
print_value(char *out, size_t out_bytes, double value, const char *unit)
{
    snprintf(out, out_bytes, "%.*f %s",
             value < 10     ? 3
             : value < 100  ? 2
             : value < 1000 ? 1
                            : 0,
             value, unit);
}

void
print_row(const struct row *row)
{
    const double ratio = row->peer != NULL ? row->value / row->peer_value : row->value;
    const bool is_met = row->lower_is_better ? ratio <= row->target : ratio >= row->target;
    char value[32], peer[80], peer_value[32], against[32] = "", spread[32] = "", target[32] = "";

    print_value(value, sizeof value, row->value, row->unit);
    if (row->peer != NULL) {
        print_value(peer_value, sizeof peer_value, row->peer_value, row->unit);
        snprintf(peer, sizeof peer, "%s %s", row->peer, peer_value);
        snprintf(against, sizeof against, "%.2f", ratio);
    } else {
        snprintf(peer, sizeof peer, "%s", row->target != 0 ? "(a fixed limit)" : "(nothing)");
    }
    if (row->high != 0)
        snprintf(spread, sizeof spread, "%.2f..%.2f", row->low, row->high);
    if (row->target != 0)
        snprintf(target, sizeof target, "%s %g", row->lower_is_better ? "<=" : ">=", row->target);
    printf("%-46s %16s  %-38s %6s %-12s %-8s %s\n", row->what, value, peer, against, spread, target,
           row->target == 0 ? ""
           : is_met         ? "met"
                            : "MISSED");
    fflush(stdout);
}

void
rounds_add(struct rounds *rounds, double ours, double peers)
{
    if (rounds->n == MAX_ROUNDS)
        die("more than %d rounds", MAX_ROUNDS);
    rounds->ours[rounds->n] = ours;
    rounds->ratio[rounds->n++] = ours / peers;
}

void
print_rounds(struct rounds *rounds, struct row row)
{
    row.value = median_of(rounds->ours, rounds->n);
    row.peer_value = row.value / median_of(rounds->ratio, rounds->n);
    /* Sorted now: the middle half of them. */
    row.low = rounds->ratio[rounds->n / 4];
    row.high = rounds->ratio[rounds->n - 1 - rounds->n / 4];
    print_row(&row);
}

void
print_note(const char *format, ...)
{
    va_list args;

    printf("    ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}
