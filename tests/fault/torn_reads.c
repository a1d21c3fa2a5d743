/* torn_reads.c - one writer at full speed, four reader processes that believe nothing.
 *
 * The ring is small, so that it wraps all the time and every reader is lapped again and again.
 * Each record carries its number and a hash of its own bytes, apart from the checksums of the
 * format. A reader must see whole records in order, and of every number it does not see it must be
 * told: what it received and what was announced as lost add up to everything written.
 *
 * SECONDS (5) per scenario, SEED; a scenario goes on until the ring has wrapped N_WRAPS times. The
 * share of its rate that the writer keeps beside readers is printed; STRICT=1 makes it a failure
 * to fall below the target, which is for a machine that does nothing else. */
#include "common/checksum.h"
#include "common/store.h"
#include "tests/rig/measure.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_READERS = 4, N_WRAPS = 1000, ROUNDS = 3, BATCH = 16, MAX_BODY_BYTES = 9000 };
#define PACED_READS 25000 /* per second and reader */
#define KEPT_RATE 0.9     /* of the writer's, beside paced readers */

/* What a payload starts with; random bytes follow. */
struct body {
    uint64_t hash; /* of all that follows */
    uint64_t no, length;
};

struct report {
    uint64_t n_reads, n_lost, n_gaps, n_torn, n_disordered, next_no;
    char text[256]; /* the first fault */
};

/* Shared by all processes of a scenario. */
struct stage {
    const char *dir, *name;
    uint64_t reads_per_s; /* 0: as fast as it goes */
    _Atomic uint32_t n_ready, is_over;
    struct report report[N_READERS];
};

struct result {
    uint64_t n_written, n_wraps;
    double rate; /* records per second */
};

static const char *dir;
static uint64_t seed;

/* ---- writing ---- */

/* Most are small; some fill blocks, a few are extents of their own. */
static size_t
pick_length(uint64_t *random)
{
    const uint64_t dice = next_random(random);

    if (dice % 4096 == 0)
        return 4096 + dice / 4096 % (MAX_BODY_BYTES - 4096);
    if (dice % 64 == 0)
        return dice / 64 % 1024;
    return dice / 64 % 96;
}

static size_t
fill_body(uint8_t *at, uint64_t no, size_t extra, const uint8_t *noise)
{
    struct body body = {.no = no, .length = sizeof body + extra};

    memcpy(at, &body, sizeof body);
    memcpy(at + sizeof body, noise + no % 61, extra);
    body.hash = XXH3_64bits(at + sizeof body.hash, body.length - sizeof body.hash);
    memcpy(at, &body.hash, sizeof body.hash);
    return body.length;
}

static uint64_t
wraps_of(const struct ts_store *store)
{
    return store->ring.head_pos / store->ring.ring_bytes;
}

/* Appends for `seconds`, and until there were so many wraps. */
static struct result
write_records(struct ts_store *store, double seconds, uint64_t n_wraps)
{
    static uint8_t noise[MAX_BODY_BYTES + 64], bodies[BATCH][MAX_BODY_BYTES + 64];
    const uint64_t first_no = store->next_no, first_wrap = wraps_of(store);
    const int64_t start = clock_ns(), end = start + (int64_t)(seconds * 1e9);
    struct ts_batch_item items[BATCH];
    uint64_t random = seed, no = first_no;
    struct result result;
    int64_t now;

    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)next_random(&random);
    do {
        for (unsigned i = 0; i < BATCH; i++, no++) {
            items[i].time_ns = (int64_t)no;
            items[i].data = bodies[i];
            items[i].bytes = fill_body(bodies[i], no, pick_length(&random), noise);
        }
        if (ts_store_append_batch(store, items, BATCH) != BATCH)
            die("append: %s", ts_error_text());
        now = clock_ns();
    } while (now < end || wraps_of(store) - first_wrap < n_wraps);
    result.n_written = no - first_no;
    result.n_wraps = wraps_of(store) - first_wrap;
    result.rate = (double)result.n_written * 1e9 / (double)(now - start);
    return result;
}

/* ---- reading ---- */

static void
fault(struct report *report, uint64_t *counter, const char *what, uint64_t no)
{
    if (report->text[0] == '\0')
        snprintf(report->text, sizeof report->text, "%s at record %ju, %ju expected", what,
                 (uintmax_t)no, (uintmax_t)report->next_no);
    (*counter)++;
}

static void
check_record(struct report *report, const struct ts_record *record)
{
    struct body body;

    if (record->no != report->next_no)
        fault(report, &report->n_disordered, "order", record->no);
    report->next_no = record->no + 1;
    report->n_reads++;
    if (record->bytes < sizeof body) {
        fault(report, &report->n_torn, "length", record->no);
        return;
    }
    memcpy(&body, record->data, sizeof body);
    if (body.length != record->bytes || body.no != record->no ||
        record->time_ns != (int64_t)record->no)
        fault(report, &report->n_torn, "number, time or length", record->no);
    else if (body.hash !=
             XXH3_64bits(record->data + sizeof body.hash, record->bytes - sizeof body.hash))
        fault(report, &report->n_torn, "hash", record->no);
}

static void
check_gap(struct report *report, const struct ts_gap *gap)
{
    if (gap->from_no != report->next_no || gap->to_no < gap->from_no ||
        gap->lost != gap->to_no - gap->from_no + 1)
        fault(report, &report->n_disordered, "gap", gap->from_no);
    report->next_no = gap->to_no + 1;
    report->n_lost += gap->lost;
    report->n_gaps++;
}

/* Holds a paced reader back: a millisecond's worth of reads, then sleep. */
static void
keep_pace(const struct stage *stage, const struct report *report, int64_t start_ns)
{
    const uint64_t per_ms = stage->reads_per_s / 1000;

    if (per_ms > 0 && report->n_reads % per_ms == 0)
        sleep_until(start_ns + (int64_t)(report->n_reads / per_ms) * 1000000);
}

static void
read_records(struct stage *stage, struct report *report)
{
    const struct ts_range range = {.follow = true};
    const int64_t start_ns = clock_ns();
    struct ts_view *view;
    struct ts_cursor *cursor;

    if (ts_view_open(stage->dir, stage->name, &view) != TS_OK ||
        ts_cursor_open(view, &range, &cursor) != TS_OK)
        die("reader: %s", ts_error_text());
    report->next_no = ts_cursor_position(cursor);
    report->n_lost = report->next_no - 1; /* what was before its time */
    atomic_fetch_add(&stage->n_ready, 1);
    for (;;) {
        const bool is_over = atomic_load(&stage->is_over) != 0;
        struct ts_record record;
        struct ts_gap gap;

        switch (ts_cursor_next(cursor, &record, &gap)) {
        case TS_STEP_RECORD:
            check_record(report, &record);
            keep_pace(stage, report, start_ns);
            continue;
        case TS_STEP_GAP:
            check_gap(report, &gap);
            continue;
        case TS_STEP_DAMAGED:
            fault(report, &report->n_torn, ts_error_text(), gap.from_no);
            report->next_no = gap.to_no + 1;
            continue;
        case TS_STEP_END:
            if (is_over)
                break;
            if (stage->reads_per_s > 0)
                usleep(1000);
            else
                sched_yield();
            continue;
        default:
            die("reader: the store is gone");
        }
        break;
    }
    ts_cursor_close(cursor);
    ts_view_close(view);
}

struct reader {
    struct stage *stage;
    unsigned number;
};

static void
reader_main(void *arg)
{
    const struct reader *reader = arg;

    read_records(reader->stage, &reader->stage->report[reader->number]);
}

/* ---- a scenario ---- */

static struct ts_store *
open_ring(const char *name, enum ts_codec codec)
{
    struct ts_options options;
    struct ts_store *store;

    ts_options_init(&options);
    options.num_blocks = 64;
    options.type = TS_TYPE_BINARY;
    options.codec = codec;
    options.sync_ms = TS_SYNC_NONE;
    if (ts_store_create(dir, name, &options) != TS_OK || ts_store_open(dir, name, &store) != TS_OK)
        die("store: %s", ts_error_text());
    return store;
}

/* Writes beside N_READERS, which go on until they have seen the last record. */
static struct result
run_beside_readers(struct ts_store *store, struct stage *stage, double seconds, uint64_t n_wraps)
{
    pid_t readers[N_READERS];
    struct result result;

    for (unsigned i = 0; i < N_READERS; i++) {
        struct reader reader = {stage, i};

        readers[i] = start_child(reader_main, &reader);
    }
    while (atomic_load(&stage->n_ready) < N_READERS)
        usleep(1000);
    result = write_records(store, seconds, n_wraps);
    atomic_store(&stage->is_over, 1);
    for (unsigned i = 0; i < N_READERS; i++)
        reap(readers[i]);
    return result;
}

static struct stage *
new_stage(const char *name, uint64_t reads_per_s)
{
    struct stage *stage = shared_memory(sizeof *stage);

    stage->dir = dir;
    stage->name = name;
    stage->reads_per_s = reads_per_s;
    return stage;
}

static void
judge(const char *what, const struct stage *stage, const struct result *result, uint64_t next_no)
{
    struct report sum = {0};

    for (unsigned i = 0; i < N_READERS; i++) {
        const struct report *report = &stage->report[i];

        cr_expect_eq(report->n_torn, 0, "reader %u: %s", i, report->text);
        cr_expect_eq(report->n_disordered, 0, "reader %u: %s", i, report->text);
        cr_expect_eq(report->next_no, next_no, "reader %u ended at %ju of %ju", i,
                     (uintmax_t)report->next_no, (uintmax_t)next_no);
        cr_expect_eq(report->n_reads + report->n_lost, next_no - 1,
                     "reader %u: %ju received + %ju announced, of %ju", i,
                     (uintmax_t)report->n_reads, (uintmax_t)report->n_lost,
                     (uintmax_t)(next_no - 1));
        cr_expect_gt(report->n_reads, 0, "reader %u saw nothing", i);
        sum.n_reads += report->n_reads;
        sum.n_lost += report->n_lost;
        sum.n_gaps += report->n_gaps;
        sum.n_torn += report->n_torn;
        sum.n_disordered += report->n_disordered;
    }
    print_note("%s: %ju records written at %.2f M/s, %ju wraps; 4 readers: %ju reads, "
               "%ju lost in %ju gaps, torn %ju, out of order %ju",
               what, (uintmax_t)result->n_written, result->rate / 1e6, (uintmax_t)result->n_wraps,
               (uintmax_t)sum.n_reads, (uintmax_t)sum.n_lost, (uintmax_t)sum.n_gaps,
               (uintmax_t)sum.n_torn, (uintmax_t)sum.n_disordered);
}

static void
prepare(void)
{
    dir = scratch_dir();
    seed = pick_seed();
    print_note("SEED=%ju", (uintmax_t)seed);
}

static void
read_flat_out(const char *name, enum ts_codec codec)
{
    const double seconds = (double)env_number("SECONDS", 5);
    struct ts_store *store = open_ring(name, codec);
    struct stage *stage = new_stage(name, 0);
    const struct result result = run_beside_readers(store, stage, seconds, N_WRAPS);
    const uint64_t next_no = store->next_no;

    judge(name, stage, &result, next_no);
    cr_expect_geq(result.n_wraps, N_WRAPS);
    cr_expect_eq(ts_store_close(store), TS_OK);
}

TestSuite(torn_reads, .init = prepare);

Test(torn_reads, four_flat_out_readers_of_a_raw_ring_see_whole_records_and_hear_of_every_gap)
{
    read_flat_out("raw", TS_CODEC_NONE);
}

Test(torn_reads, four_flat_out_readers_of_a_zstd_ring_see_whole_records_and_hear_of_every_gap)
{
    read_flat_out("zstd", TS_CODEC_ZSTD);
}

/* ---- what readers cost the writer ---- */

static double
rate_beside(struct ts_store *store, const char *name, uint64_t reads_per_s, double seconds,
            const char *what)
{
    struct stage *stage = new_stage(name, reads_per_s);
    const struct result result = run_beside_readers(store, stage, seconds, 0);

    judge(what, stage, &result, store->next_no);
    return result.rate;
}

Test(torn_reads, paced_readers_leave_the_writer_its_rate)
{
    const double seconds = (double)env_number("SECONDS", 5) / (3 * ROUNDS);
    struct ts_store *store = open_ring("paced", TS_CODEC_ZSTD);
    double alone[ROUNDS], paced[ROUNDS], flat_out[ROUNDS], kept[ROUNDS], kept_flat_out[ROUNDS];

    write_records(store, 0.2, 1);
    for (int i = 0; i < ROUNDS; i++) {
        alone[i] = write_records(store, seconds, 0).rate / 1e6;
        paced[i] = rate_beside(store, "paced", PACED_READS, seconds, "paced readers") / 1e6;
        flat_out[i] = rate_beside(store, "paced", 0, seconds, "flat out readers") / 1e6;
        kept[i] = paced[i] / alone[i];
        kept_flat_out[i] = flat_out[i] / alone[i];
    }
    ROW(.what = "writer beside 4 readers of 25,000/s", .value = median_of(paced, ROUNDS),
        .unit = "M/s", .peer = "alone",
        .peer_value = median_of(paced, ROUNDS) / median_of(kept, ROUNDS), .target = KEPT_RATE);
    ROW(.what = "writer beside 4 readers flat out", .value = median_of(flat_out, ROUNDS),
        .unit = "M/s", .peer = "alone",
        .peer_value = median_of(flat_out, ROUNDS) / median_of(kept_flat_out, ROUNDS));
    if (env_number("STRICT", 0) != 0)
        cr_expect_geq(median_of(kept, ROUNDS), KEPT_RATE);
    cr_expect_eq(ts_store_close(store), TS_OK);
}
