/* store_metrics.c - see store_metrics.h. */
#include "daemon/store_metrics.h"

#include "daemon/metrics.h"

#include <stdlib.h>

struct store_figures {
    const char *name; /* borrowed */
    struct ts_stats stats;
    bool has_syncs;
    struct store_syncs syncs;
};

void
store_metrics_init(struct store_metrics *metrics, size_t capacity)
{
    *metrics = (struct store_metrics){.capacity = capacity};
    metrics->stores = calloc(capacity + 1, sizeof *metrics->stores);
    if (metrics->stores == NULL)
        metrics->capacity = 0;
}

void
store_metrics_done(struct store_metrics *metrics)
{
    free(metrics->stores);
    metrics->stores = NULL;
}

void
store_metrics_add(struct store_metrics *metrics, const char *name, const struct ts_stats *stats,
                  const struct store_syncs *syncs)
{
    struct store_figures *figures;

    if (metrics->n == metrics->capacity)
        return;
    figures = &metrics->stores[metrics->n++];
    *figures = (struct store_figures){.name = name, .stats = *stats, .has_syncs = syncs != NULL};
    if (syncs != NULL)
        figures->syncs = *syncs;
}

/* The ring holds the time between oldest and newest in so much of its room; all of it holds in
 * proportion more. The open blocks count as nothing: they are small beside the ring. */
double
store_metrics_seconds_left(const struct ts_stats *stats)
{
    double held_s;

    if (!stats->has_records || stats->ring_used_bytes == 0 || stats->ring_bytes == 0 ||
        stats->newest_time_ns <= stats->oldest_time_ns)
        return -1;
    held_s = ((double)stats->newest_time_ns - (double)stats->oldest_time_ns) / 1e9;
    return held_s * (double)stats->ring_bytes / (double)stats->ring_used_bytes;
}

/* ---- the metrics ---- */

static bool
get_records(const struct ts_stats *stats, double *out)
{
    *out = (double)stats->n_records;
    return true;
}

static bool
get_oldest_time(const struct ts_stats *stats, double *out)
{
    *out = (double)stats->oldest_time_ns / 1e9;
    return stats->has_records;
}

static bool
get_newest_time(const struct ts_stats *stats, double *out)
{
    *out = (double)stats->newest_time_ns / 1e9;
    return stats->has_records;
}

static bool
get_oldest_no(const struct ts_stats *stats, double *out)
{
    *out = (double)stats->state.oldest_no;
    return true;
}

static bool
get_next_no(const struct ts_stats *stats, double *out)
{
    *out = (double)stats->state.next_no;
    return true;
}

static bool
get_generation(const struct ts_stats *stats, double *out)
{
    *out = (double)stats->state.generation;
    return true;
}

/* What a power failure now would take. */
static bool
get_durable_lag(const struct ts_stats *stats, double *out)
{
    const uint64_t next_no = stats->state.next_no;

    *out = next_no > stats->durable_no + 1 ? (double)(next_no - 1 - stats->durable_no) : 0;
    return true;
}

static bool
get_ring_bytes(const struct ts_stats *stats, double *out)
{
    *out = (double)stats->ring_bytes;
    return true;
}

static bool
get_ring_used_bytes(const struct ts_stats *stats, double *out)
{
    *out = (double)stats->ring_used_bytes;
    return true;
}

static bool
get_file_bytes(const struct ts_stats *stats, double *out)
{
    *out = (double)stats->file_bytes;
    return true;
}

static bool
get_seconds_left(const struct ts_stats *stats, double *out)
{
    *out = store_metrics_seconds_left(stats);
    return *out >= 0;
}

static const struct {
    const char *name, *help;
    bool (*get)(const struct ts_stats *stats, double *out); /* false: this store has none */
} figures[] = {
    {"tsstore_store_records", "Records there.", get_records},
    {"tsstore_store_oldest_timestamp_seconds", "Time of the oldest record.", get_oldest_time},
    {"tsstore_store_newest_timestamp_seconds", "Time of the newest record.", get_newest_time},
    {"tsstore_store_oldest_record", "Number of the oldest record.", get_oldest_no},
    {"tsstore_store_next_record", "Number that the next record gets: grows by one per record.",
     get_next_no},
    {"tsstore_store_generation", "Raised by each reset.", get_generation},
    {"tsstore_store_durable_lag_records", "Records that a power failure now might take.",
     get_durable_lag},
    {"tsstore_store_ring_bytes", "Room for sealed blocks.", get_ring_bytes},
    {"tsstore_store_ring_used_bytes", "Of it in use.", get_ring_used_bytes},
    {"tsstore_store_file_bytes", "Size of all files: constant.", get_file_bytes},
    {"tsstore_store_seconds_until_overwrite",
     "Estimate: a record written now is overwritten in so many seconds, at the rate of those "
     "there.",
     get_seconds_left},
};

/* Of the process that writes. */
static void
write_syncs(const struct store_metrics *metrics, bool failed, struct ts_text *out)
{
    const char *name = failed ? "tsstore_sync_failures_total" : "tsstore_syncs_total";
    bool is_begun = false;

    for (size_t i = 0; i < metrics->n; i++) {
        const struct store_figures *store = &metrics->stores[i];

        if (!store->has_syncs)
            continue;
        if (!is_begun)
            metrics_begin(out, name, "counter",
                          failed ? "Syncs to the disk that failed: the store takes no more."
                                 : "Syncs to the disk that succeeded.");
        is_begun = true;
        metrics_sample(out, name, "");
        metrics_label(out, "store", store->name);
        metrics_number(out, (double)(failed ? store->syncs.n_failed : store->syncs.n_done));
    }
}

void
store_metrics_write(const struct store_metrics *metrics, struct ts_text *out)
{
    double value;

    metrics_one(out, "tsstore_stores", "gauge", "Stores that can be read.", metrics->n);
    for (size_t f = 0; f < sizeof figures / sizeof figures[0]; f++) {
        metrics_begin(out, figures[f].name, "gauge", figures[f].help);
        for (size_t i = 0; i < metrics->n; i++) {
            if (!figures[f].get(&metrics->stores[i].stats, &value))
                continue;
            metrics_sample(out, figures[f].name, "");
            metrics_label(out, "store", metrics->stores[i].name);
            metrics_number(out, value);
        }
    }
    write_syncs(metrics, false, out);
    write_syncs(metrics, true, out);
}
