/* store_metrics.h - every store as figures.
 *
 * Purpose    Collect the statistics of stores, then write them metric by metric, as Prometheus
 *            wants it: all samples of one metric stand together.
 * Ownership  init() allocates, done() frees; names are borrowed until then.
 * Threads    One object, one thread.
 * Errors     Without memory stores are left out.
 */
#ifndef DAEMON_STORE_METRICS_H
#define DAEMON_STORE_METRICS_H

#include "common/text.h"
#include "common/tsstore.h"

#include <stdint.h>

/* What a process that writes did with a store. */
struct store_syncs {
    uint64_t n_done, n_failed;
};

struct store_metrics {
    struct store_figures *stores; /* owned */
    size_t n, capacity;
};

void store_metrics_init(struct store_metrics *metrics, size_t capacity);
void store_metrics_done(struct store_metrics *metrics);

/* `syncs` NULL: this process does not sync it. */
void store_metrics_add(struct store_metrics *metrics, const char *name,
                       const struct ts_stats *stats, const struct store_syncs *syncs);
void store_metrics_write(const struct store_metrics *metrics, struct ts_text *out);

/* In how many seconds a record written now will be overwritten, if records keep coming as those
 * in the ring did; below 0: too few are there to tell. */
double store_metrics_seconds_left(const struct ts_stats *stats);

#endif
