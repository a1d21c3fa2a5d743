/* settings.c - see settings.h. */
#include "ingestd/settings.h"

void
settings_init(struct settings *settings, const struct ts_config *config)
{
    pthread_mutex_init(&settings->lock, NULL);
    settings_replace(settings, config);
}

void
settings_replace(struct settings *settings, const struct ts_config *config)
{
    pthread_mutex_lock(&settings->lock);
    settings->config = *config;
    pthread_mutex_unlock(&settings->lock);
    atomic_store_explicit(&settings->max_line_bytes, config->max_line_bytes, memory_order_relaxed);
    atomic_store_explicit(&settings->max_body_bytes, config->max_body_bytes, memory_order_relaxed);
    atomic_store_explicit(&settings->max_feeders, config->max_feeders, memory_order_relaxed);
    atomic_store_explicit(&settings->auth_timeout_ms, config->auth_timeout_ms,
                          memory_order_relaxed);
}

void
settings_get(struct settings *settings, struct ts_config *out)
{
    pthread_mutex_lock(&settings->lock);
    *out = settings->config;
    pthread_mutex_unlock(&settings->lock);
}

void
settings_done(struct settings *settings)
{
    ts_config_wipe(&settings->config);
    pthread_mutex_destroy(&settings->lock);
}
