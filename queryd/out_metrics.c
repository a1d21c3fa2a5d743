/* out_metrics.c - see out_metrics.h. */
#include "queryd/out_metrics.h"

#include "common/log.h"
#include "daemon/metrics.h"
#include "daemon/store_metrics.h"
#include "queryd/forward.h"
#include "queryd/queryd.h"
#include "queryd/views.h"

#include <stdlib.h>

static uint64_t
get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void
write_streams(const struct stream_counts *counts, struct ts_text *out)
{
    metrics_one(out, "tsstore_streams", "gauge", "Read streams open now.", get(&counts->n_streams));
    metrics_one(out, "tsstore_stream_messages_total", "counter",
                "Records and windows sent on read streams.", get(&counts->n_messages));
    metrics_one(out, "tsstore_stream_bytes_total", "counter", "Bytes of these messages.",
                get(&counts->bytes));
    metrics_one(out, "tsstore_stream_gaps_total", "counter",
                "Gaps told: records were overwritten before the client took them.",
                get(&counts->n_gaps));
    metrics_one(out, "tsstore_stream_gap_records_total", "counter", "Records in these gaps.",
                get(&counts->n_lost));
    metrics_one(out, "tsstore_stream_damages_total", "counter",
                "Damaged blocks told to read streams.", get(&counts->n_damages));
}

/* A store that cannot be read is told by its absence, and by the log once it is asked for. */
static void
take_store(struct queryd *queryd, const char *name, struct store_metrics *metrics)
{
    struct ts_stats stats;
    struct ts_view *view;
    struct store *store;

    if (views_hold(queryd->views, name, &store) != TS_OK)
        return;
    if (store_view(store, &view) == TS_OK && ts_view_stats(view, &stats) == TS_OK)
        store_metrics_add(metrics, name, &stats, NULL);
    store_release(store);
}

static void
write_stores(struct queryd *queryd, struct ts_text *out)
{
    struct store_metrics metrics;
    char **names;
    size_t n_names;

    if (ts_store_list(queryd->data_dir, &names, &n_names) != TS_OK) {
        ts_log(TS_LOG_ERROR, "list stores: %s", ts_error_text());
        return;
    }
    store_metrics_init(&metrics, n_names);
    for (size_t i = 0; i < n_names; i++)
        take_store(queryd, names[i], &metrics);
    store_metrics_write(&metrics, out);
    store_metrics_done(&metrics);
    free(names);
}

void
out_metrics(struct http_request *req, void *ctx)
{
    struct ts_text *out = http_out(req);
    struct queryd *queryd = ctx;

    metrics_process(out, "queryd");
    metrics_one(out, "tsstore_ingestd_connected", "gauge", "1 if writes can be forwarded.",
                forward_is_connected(queryd->forward));
    http_server_metrics(http_server_of(req), out);
    write_streams(&queryd->streams, out);
    write_stores(queryd, out);
    http_send(req, 200, METRICS_CONTENT_TYPE);
}

void
out_metrics_alive(struct http_request *req, void *ctx)
{
    (void)ctx;
    http_answer(req, 200, HTTP_TYPE_TEXT, "ok\n", 3);
}

void
out_metrics_ready(struct http_request *req, void *ctx)
{
    const struct queryd *queryd = ctx;
    char **names;
    size_t n_names;

    if (ts_store_list(queryd->data_dir, &names, &n_names) != TS_OK) {
        ts_log(TS_LOG_ERROR, "not ready: %s", ts_error_text());
        http_answer_error(req, TS_FAIL(TS_E_UNAVAILABLE, "the data directory cannot be read"));
        return;
    }
    free(names);
    http_answer(req, 200, HTTP_TYPE_TEXT, "ok\n", 3);
}
