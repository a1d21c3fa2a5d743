/* counters.c - see counters.h. */
#include "ingestd/counters.h"

#include "daemon/metrics.h"

#include <stdatomic.h>

static const char *const ways[COUNTERS_N_WAYS] = {"socket", "http"};

/* Every way to fail, in the order of the table. */
static const enum ts_err errors[] = {
#define X(id, name, http, code, text) id,
#include "common/errors.def"
#undef X
};

#define N_ERRORS (sizeof errors / sizeof errors[0])

static struct {
    _Alignas(64) _Atomic uint64_t n_appended;
    _Atomic uint64_t n_refused[N_ERRORS];
} counts[COUNTERS_N_WAYS];

static _Atomic int64_t n_feeders;
static atomic_bool is_loop_alive = true;

void
counters_appended(enum counters_way way, uint64_t n)
{
    atomic_fetch_add_explicit(&counts[way].n_appended, n, memory_order_relaxed);
}

void
counters_refused(enum counters_way way, enum ts_err err)
{
    if ((size_t)err < N_ERRORS)
        atomic_fetch_add_explicit(&counts[way].n_refused[err], 1, memory_order_relaxed);
}

void
counters_feeder(int change)
{
    atomic_fetch_add_explicit(&n_feeders, change, memory_order_relaxed);
}

void
counters_set_alive(bool is_alive)
{
    atomic_store_explicit(&is_loop_alive, is_alive, memory_order_relaxed);
}

bool
counters_is_alive(void)
{
    return atomic_load_explicit(&is_loop_alive, memory_order_relaxed);
}

static void
write_refused(struct ts_text *out)
{
    static const char name[] = "tsstore_refused_total";

    metrics_begin(out, name, "counter", "Records and requests refused, by reason.");
    for (unsigned w = 0; w < COUNTERS_N_WAYS; w++) {
        for (size_t e = 0; e < N_ERRORS; e++) {
            const uint64_t n = atomic_load_explicit(&counts[w].n_refused[e], memory_order_relaxed);

            /* Out of order is always told: who watches for it wants to see it start at 0. */
            if (n == 0 && errors[e] != TS_E_ORDER)
                continue;
            metrics_sample(out, name, "");
            metrics_label(out, "way", ways[w]);
            metrics_label(out, "reason", ts_error_name(errors[e]));
            metrics_u64(out, n);
        }
    }
}

void
counters_write(struct ts_text *out)
{
    static const char name[] = "tsstore_appended_total";
    const int64_t feeders = atomic_load_explicit(&n_feeders, memory_order_relaxed);

    metrics_begin(out, name, "counter", "Records appended.");
    for (unsigned w = 0; w < COUNTERS_N_WAYS; w++) {
        metrics_sample(out, name, "");
        metrics_label(out, "way", ways[w]);
        metrics_u64(out, atomic_load_explicit(&counts[w].n_appended, memory_order_relaxed));
    }
    write_refused(out);
    metrics_one(out, "tsstore_feeders", "gauge", "Feeders connected to the Unix socket.",
                feeders > 0 ? (uint64_t)feeders : 0);
    metrics_one(out, "tsstore_loop_alive", "gauge", "1 if the loop of the Unix socket goes round.",
                counters_is_alive());
}
