/* in_metrics.c - see in_metrics.h. */
#include "ingestd/in_metrics.h"

#include "common/log.h"
#include "common/store.h"
#include "daemon/metrics.h"
#include "daemon/store_metrics.h"
#include "ingestd/counters.h"

#include <stdlib.h>
#include <string.h>

/* A store that cannot be opened is told by its absence; why it cannot was logged. */
static void
take_store(struct catalog *catalog, const char *name, struct store_metrics *metrics)
{
    const struct ts_span span = {.at = name, .bytes = strlen(name)};
    struct catalog_store *entry;
    struct ts_sync_counts counts;
    struct ts_stats stats;

    if (catalog_find(catalog, span, &entry) != TS_OK)
        return;
    if (catalog_open_store(entry) == TS_OK && catalog_enter(entry) == TS_OK) {
        ts_store_sync_counts(entry->store, &counts);
        if (ts_view_stats(ts_store_view(entry->store), &stats) == TS_OK)
            store_metrics_add(
                metrics, name, &stats,
                &(struct store_syncs){.n_done = counts.n_syncs, .n_failed = counts.n_failed});
        catalog_leave(entry);
    }
    catalog_release(entry);
}

static void
write_stores(struct mutation *mutation, struct ts_text *out)
{
    struct store_metrics metrics;
    struct ts_config config;
    char **names;
    size_t n_names;
    enum ts_err err;

    settings_get(mutation->settings, &config);
    err = ts_store_list(config.base_path, &names, &n_names);
    ts_config_wipe(&config);
    if (err != TS_OK) {
        ts_log(TS_LOG_ERROR, "list stores: %s", ts_error_text());
        return;
    }
    store_metrics_init(&metrics, n_names);
    for (size_t i = 0; i < n_names; i++)
        take_store(mutation->catalog, names[i], &metrics);
    store_metrics_write(&metrics, out);
    store_metrics_done(&metrics);
    free(names);
}

void
in_metrics_answer(struct http_request *req, struct mutation *mutation)
{
    struct ts_text *out = http_out(req);

    metrics_process(out, "ingestd");
    http_server_metrics(http_server_of(req), out);
    counters_write(out);
    metrics_one(out, "tsstore_events_sent_total", "counter",
                "Wake-ups sent to queryd: stores that moved, coalesced.",
                publish_count(mutation->publish));
    write_stores(mutation, out);
    http_send(req, 200, METRICS_CONTENT_TYPE);
}

void
in_metrics_alive(struct http_request *req, void *ctx)
{
    (void)ctx;
    http_answer(req, 200, HTTP_TYPE_TEXT, "ok\n", 3);
}

void
in_metrics_ready(struct http_request *req, void *ctx)
{
    (void)ctx;
    if (counters_is_alive())
        http_answer(req, 200, HTTP_TYPE_TEXT, "ok\n", 3);
    else
        http_answer_error(req, TS_FAIL(TS_E_UNAVAILABLE, "the loop of the socket stands still"));
}
