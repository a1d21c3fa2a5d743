/* config.c - any bytes as a config file, then as the value of every key: a config that was
 * accepted is within its bounds, and no text tells a secret.
 */
#include "common/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET "s3cret-s3cret-s3cret"

static void
expect_sound(const struct ts_config *config)
{
    const char *texts[] = {config->host,    config->ingest_host, config->socket_path,
                           config->run_dir, config->base_path,   config->admin_key};
    const size_t limits[] = {TS_CONFIG_HOST_BYTES,   TS_CONFIG_HOST_BYTES, TS_CONFIG_SOCKET_BYTES,
                             TS_CONFIG_SOCKET_BYTES, TS_CONFIG_PATH_BYTES, TS_CONFIG_SECRET_BYTES};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const size_t n = strnlen(texts[i], limits[i]);

        if (n == limits[i])
            abort();
        for (size_t k = 0; k < n; k++)
            if ((unsigned char)texts[i][k] < 0x20)
                abort();
    }
    if (config->run_dir[0] == '\0' || config->host[0] == '\0' || config->base_path[0] == '\0')
        abort();
    if (strpbrk(config->host, ", :[]") != NULL || strpbrk(config->ingest_host, ", :[]") != NULL)
        abort();
    if (config->num_blocks == 0 || config->data_block_bytes < 64 ||
        (config->data_block_bytes & (config->data_block_bytes - 1)) != 0 ||
        (config->index_block_bytes & (config->index_block_bytes - 1)) != 0)
        abort();
    if (config->max_line_bytes < 64 || config->max_body_bytes < 64 || config->max_connections < 1 ||
        config->max_feeders < 1 || config->auth_timeout_ms < 10 || config->log_level > TS_LOG_DEBUG)
        abort();
}

static void
explain(const struct ts_config *config)
{
    struct ts_config_entry entry;

    for (size_t i = 0; ts_config_entry_get(config, i, &entry); i++)
        if (strcmp(entry.key, "server.admin_key") == 0 && entry.value[0] != '(')
            abort();
}

/* As the value of each key, and as a key. */
static void
set_flags(struct ts_config *config, const char *text)
{
    struct ts_config_entry entry;

    for (size_t i = 0; ts_config_entry_get(config, i, &entry); i++) {
        const struct ts_config before = *config;

        if (ts_config_set_flag(config, entry.key, text) != TS_OK &&
            memcmp(&before, config, sizeof before) != 0)
            abort();
    }
    (void)!ts_config_set_flag(config, "server.http", text);
    (void)!ts_config_set_flag(config, "server.ingest_http", text);
    if (strlen(text) < 40) /* comparing with every key is slow when it is traced */
        (void)!ts_config_set_flag(config, text, "1");
    expect_sound(config);
}

/* As what stands behind an admin key that is cut somewhere. */
static void
expect_no_secret(const char *text)
{
    char document[4096];
    struct ts_config config;

    if (strstr(text, SECRET) != NULL)
        return;
    snprintf(document, sizeof document, "{\"server\":{\"admin_key\":\"%s%s", SECRET, text);
    ts_config_init(&config);
    if (ts_config_parse(&config, document, strlen(document)) != TS_OK &&
        strstr(ts_error_text(), SECRET) != NULL)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes + 1);
    struct ts_config config;

    memcpy(text, data, bytes);
    text[bytes] = '\0';
    ts_config_init(&config);
    if (ts_config_parse(&config, text, bytes) == TS_OK) {
        expect_sound(&config);
        explain(&config);
    }
    expect_no_secret(text);
    ts_config_init(&config);
    set_flags(&config, text);
    free(text);
    return 0;
}
