/* store_status.h - one store, as its files tell it.
 *
 * Purpose    What `tsstore status` says about a store: read-only, beside a running server.
 * Invariant  A store or a file that can't be read has its reason in `error`; what could be read is
 *            still there.
 * Ownership  store_status_read() fills *out, store_status_done() gives it back.
 * Errors     None: they are part of the status.
 */
#ifndef CLI_STORE_STATUS_H
#define CLI_STORE_STATUS_H

#include "common/error.h"
#include "common/text.h"

#include <jansson.h>
#include <stdbool.h>

struct store_status {
    const char *name; /* borrowed */
    bool has_stats;
    struct ts_options options; /* if has_stats, as all below */
    struct ts_stats stats;
    json_t *ws, *mqtt;               /* owned; arrays of connections, NULL without any */
    char error[TS_ERROR_TEXT_BYTES]; /* "" if there is none */
};

void store_status_read(const char *data_dir, const char *name, struct store_status *out);
void store_status_done(struct store_status *status);

/* 0 .. 100 */
double store_status_percent(const struct store_status *status);

/* The paragraph of one store and an empty line. */
void store_status_text(const struct store_status *status, bool is_running, struct ts_text *out);

/* The same as an object, or NULL when out of memory. */
json_t *store_status_json(const struct store_status *status, bool is_running);

#endif
