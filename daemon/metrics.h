/* metrics.h - figures in the text format of Prometheus.
 *
 * Purpose    Compose an answer to GET /metrics, and the figures that every daemon has.
 * Threads    No state.
 * Errors     Only running out of memory, which struct ts_text remembers.
 * Source     https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.
 */
#ifndef DAEMON_METRICS_H
#define DAEMON_METRICS_H

#include "common/text.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The two lines before a metric's samples. type: "counter", "gauge", "histogram". */
void metrics_begin(struct ts_text *out, const char *name, const char *type, const char *help);

/* "<name><suffix>{" without labels so far; ended by metrics_u64() or metrics_number(). */
void metrics_sample(struct ts_text *out, const char *name, const char *suffix);
void metrics_label(struct ts_text *out, const char *label, const char *value);
void metrics_u64(struct ts_text *out, uint64_t value);
void metrics_number(struct ts_text *out, double value);

/* All of a metric that has one sample without labels. */
void metrics_one(struct ts_text *out, const char *name, const char *type, const char *help,
                 uint64_t value);

/* Version, start, memory, threads and processor time of this process. */
void metrics_process(struct ts_text *out, const char *daemon);

#endif
