/* config.h - settings: default < config file < environment < command line.
 *
 * Purpose    One struct with every setting, each checked, each knowing where it came from.
 * Invariant  A loaded config is within the bounds of the table in config.c. run_dir always fits
 *            socket_path: it is that file's directory unless it was set itself.
 * Ownership  Plain memory, no pointer; it may be copied. ts_config_wipe() forgets the secret.
 * Threads    A config is changed by one thread; the environment is only read.
 * Errors     TS_E_CONFIG; texts start with "Failed to load config: ", say which file, variable or
 *            flag, and never quote a secret (nor the file's bytes near a syntax error). On failure
 *            *config is what it was before the call.
 * Source     Keys and variables of ts-store (server.*, store.*); limits.*, log.* and the paths of
 *            two daemons are ours.
 *
 * Keys are dotted: "store.base_path" is {"store":{"base_path":…}}. A key that the file has and we
 * don't is an error that names the nearest one. An empty variable counts as not set.
 *
 *   key                       variable                 default
 *   server.host               TSSTORE_HOST             127.0.0.1     queryd
 *   server.port               TSSTORE_PORT             21080         0: any free one
 *   server.ingest_host        -                        127.0.0.1     ingestd; "": no HTTP there
 *   server.ingest_port        -                        21081         0: any free one
 *   server.http               -                        -             HOST:PORT, sets both
 *   server.ingest_http        TSSTORE_INGEST_HTTP      -             HOST:PORT, or "off"
 *   server.mode               TSSTORE_MODE             release       or debug: routes are logged
 *   server.socket_path        TSSTORE_SOCKET_PATH      /var/run/tsstore/tsstore.sock  "": none
 *   server.run_dir            TSSTORE_RUN_DIR          directory of socket_path
 *   server.admin_key          TSSTORE_ADMIN_KEY        -             secret; not by flag
 *   server.admin_key_file     TSSTORE_ADMIN_KEY_FILE   $CREDENTIALS_DIRECTORY/admin_key
 *   server.tls.cert_file      TSSTORE_TLS_CERT         -
 *   server.tls.key_file       TSSTORE_TLS_KEY          -
 *   store.base_path           TSSTORE_DATA_PATH        ./data
 *   store.num_blocks          -                        1024
 *   store.data_block_size     -                        4096
 *   store.index_block_size    -                        4096
 *   limits.max_line_bytes     -                        1048576       of the Unix socket
 *   limits.max_body_bytes     -                        67108864      of an HTTP request
 *   limits.max_connections    -                        256           HTTP, WebSocket included; each
 *                                                                    costs a parked thread
 *   limits.max_feeders        -                        1024          Unix socket
 *   limits.auth_timeout_ms    -                        10000         first line of a feeder
 *   log.level                 TSSTORE_LOG_LEVEL        info
 *   log.format                TSSTORE_LOG_FORMAT       text          or json
 */
#ifndef TS_CONFIG_H
#define TS_CONFIG_H

#include "common/error.h"
#include "common/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TS_CONFIG_HOST_BYTES 64
#define TS_CONFIG_SOCKET_BYTES 108 /* sun_path */
#define TS_CONFIG_PATH_BYTES 512
#define TS_CONFIG_SECRET_BYTES 256
#define TS_CONFIG_ADMIN_KEY_MIN 20
#define TS_CONFIG_MAX_KEYS 32
#define TS_CONFIG_RUN_DIR_MAX 94 /* leaves "/control.sock" its place in sun_path */

enum ts_config_source {
    TS_SOURCE_DEFAULT,
    TS_SOURCE_DERIVED,    /* from another value */
    TS_SOURCE_FILE,       /* the config file */
    TS_SOURCE_CREDENTIAL, /* systemd's $CREDENTIALS_DIRECTORY */
    TS_SOURCE_ENV,
    TS_SOURCE_FLAG
};

enum ts_config_mode { TS_MODE_RELEASE, TS_MODE_DEBUG };

struct ts_config {
    char host[TS_CONFIG_HOST_BYTES];        /* queryd: the front door */
    char ingest_host[TS_CONFIG_HOST_BYTES]; /* ingestd's own HTTP; "": off */
    uint16_t port, ingest_port;
    enum ts_config_mode mode;
    char socket_path[TS_CONFIG_SOCKET_BYTES]; /* "": off */
    char run_dir[TS_CONFIG_SOCKET_BYTES];     /* never "" */
    char admin_key[TS_CONFIG_SECRET_BYTES];   /* ts_config_read_admin_key() completes it */
    char admin_key_file[TS_CONFIG_PATH_BYTES];
    char tls_cert_file[TS_CONFIG_PATH_BYTES], tls_key_file[TS_CONFIG_PATH_BYTES];

    char base_path[TS_CONFIG_PATH_BYTES];
    uint32_t num_blocks, data_block_bytes, index_block_bytes; /* of new stores */

    uint64_t max_line_bytes, max_body_bytes;
    uint32_t max_connections, max_feeders, auth_timeout_ms;

    enum ts_log_level log_level;
    enum ts_log_format log_format;

    char file[TS_CONFIG_PATH_BYTES];               /* the config file that was read; "": none */
    char last_socket_path[TS_CONFIG_SOCKET_BYTES]; /* the last that was not "": run_dir's origin */
    uint8_t sources[TS_CONFIG_MAX_KEYS];           /* enum ts_config_source, by row of the table */
    uint8_t set_by[TS_CONFIG_MAX_KEYS];            /* row that set it: itself, or a HOST:PORT */
};

/* Defaults, then the file, then the environment. `config_flag` (--config) names the file and it
 * must exist; NULL: $TSSTORE_CONFIG, else config.json of the working directory, if they exist. */
enum ts_err ts_config_load(struct ts_config *config, const char *config_flag) TS_MUST_USE;

/* Defaults only: what ts_config_load() gives with no file and no variable. */
void ts_config_init(struct ts_config *config);

/* Adds what a config file with these bytes says: the middle of ts_config_load(). Texts have no
 * prefix. On failure *config is half set. */
enum ts_err ts_config_parse(struct ts_config *config, const char *text, size_t bytes) TS_MUST_USE;

/* Sets one key from the command line, e.g. "store.base_path". Wins over all that was loaded.
 * "server.admin_key" is refused (it would show in ps); its file is not. "" switches off
 * server.socket_path and server.ingest_host. Here the error is TS_E_USAGE and its text starts
 * with the key. */
enum ts_err ts_config_set_flag(struct ts_config *config, const char *key,
                               const char *value) TS_MUST_USE;

/* Fills admin_key from admin_key_file or the systemd credential, if one of these won. Not done by
 * ts_config_load(): a command that needs no admin key must not fail on a file it may not read. */
enum ts_err ts_config_read_admin_key(struct ts_config *config) TS_MUST_USE;

/* What a daemon needs beyond a loaded config: an admin key of at least 20 bytes (read if need
 * be), TLS with both files or none, a run_dir that sockets fit into. TS_E_CONFIG with the
 * original's fatal texts, without a prefix: "Admin key must be at least 20 characters". */
enum ts_err ts_config_check_serve(struct ts_config *config) TS_MUST_USE;

/* The same without the admin key, for a daemon or child that creates no stores. */
enum ts_err ts_config_check_files(const struct ts_config *config) TS_MUST_USE;

/* Overwrites the admin key. */
void ts_config_wipe(struct ts_config *config);

/* ---- for `config explain` ---- */

struct ts_config_entry {
    const char *key, *env;            /* static; env is NULL if no variable sets it */
    char value[TS_CONFIG_PATH_BYTES]; /* "(set)" or "(not set)" for a secret */
    enum ts_config_source source;
    char origin[TS_CONFIG_PATH_BYTES + 32]; /* "default", "file config.json", "environment
                                             * TSSTORE_PORT", "command line", … */
};

/* Row `idx` of the table; false past the last. */
bool ts_config_entry_get(const struct ts_config *config, size_t idx, struct ts_config_entry *out);

/* "default", "derived", "file", "credential", "environment", "flag". */
const char *ts_config_source_name(enum ts_config_source source);

#endif
