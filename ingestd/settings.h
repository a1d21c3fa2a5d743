/* settings.h - the configuration as the running daemon sees it: a reload may change it.
 *
 * Purpose    Hand out what may change at SIGHUP: admin key, limits, defaults of new stores.
 * Threads    All calls from any thread.
 */
#ifndef INGESTD_SETTINGS_H
#define INGESTD_SETTINGS_H

#include "common/config.h"

#include <pthread.h>
#include <stdatomic.h>

struct settings {
    pthread_mutex_t lock;
    struct ts_config config; /* guarded by lock */

    /* Copies for what is asked often and takes no lock. Relaxed: each stands for itself. */
    _Atomic uint64_t max_line_bytes, max_body_bytes;
    _Atomic uint32_t max_feeders, auth_timeout_ms;
};

void settings_init(struct settings *settings, const struct ts_config *config);

/* Puts *config in the place of what was. */
void settings_replace(struct settings *settings, const struct ts_config *config);

/* A copy; ts_config_wipe() it, it holds the admin key. */
void settings_get(struct settings *settings, struct ts_config *out);

void settings_done(struct settings *settings);

#endif
