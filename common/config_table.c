/* config_table.c - the rows, from text to value and back. */
#include "common/config_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const modes[] = {"release", "debug", NULL};
static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

#define FIELD(name)                                                                                \
    .off = offsetof(struct ts_config, name), .bytes = sizeof((struct ts_config *)0)->name
#define TEXT(name) .kind = TS_KIND_TEXT, FIELD(name)
#define HOST(name) .kind = TS_KIND_HOST, FIELD(name)
#define NUMBER(name, low, high) .kind = TS_KIND_NUMBER, FIELD(name), .min = (low), .max = (high)
#define POWER(name, low, high) .kind = TS_KIND_POWER, FIELD(name), .min = (low), .max = (high)
#define CHOICE(name, words) .kind = TS_KIND_CHOICE, FIELD(name), .choices = (words)

const struct ts_config_row ts_config_rows[TS_ROW_N] = {
    [TS_ROW_HOST] = {"server.host", "TSSTORE_HOST", HOST(host), .fallback = "127.0.0.1"},
    [TS_ROW_PORT] = {"server.port", "TSSTORE_PORT", NUMBER(port, 0, 65535), .fallback = "21080"},
    [TS_ROW_INGEST_HOST] = {"server.ingest_host", NULL, HOST(ingest_host), .fallback = "127.0.0.1",
                            .flags = TS_ROW_MAY_BE_EMPTY},
    [TS_ROW_INGEST_PORT] = {"server.ingest_port", NULL, NUMBER(ingest_port, 0, 65535),
                            .fallback = "21081"},
    [TS_ROW_MODE] = {"server.mode", "TSSTORE_MODE", CHOICE(mode, modes), .fallback = "release"},
    [TS_ROW_SOCKET_PATH] = {"server.socket_path", "TSSTORE_SOCKET_PATH", TEXT(socket_path),
                            .fallback = "/var/run/tsstore/tsstore.sock",
                            .flags = TS_ROW_MAY_BE_EMPTY},
    [TS_ROW_RUN_DIR] = {"server.run_dir", "TSSTORE_RUN_DIR", TEXT(run_dir)},
    [TS_ROW_ADMIN_KEY] = {"server.admin_key", "TSSTORE_ADMIN_KEY", TEXT(admin_key),
                          .flags = TS_ROW_IS_SECRET},
    [TS_ROW_ADMIN_KEY_FILE] = {"server.admin_key_file", "TSSTORE_ADMIN_KEY_FILE",
                               TEXT(admin_key_file)},
    [TS_ROW_TLS_CERT] = {"server.tls.cert_file", "TSSTORE_TLS_CERT", TEXT(tls_cert_file)},
    [TS_ROW_TLS_KEY] = {"server.tls.key_file", "TSSTORE_TLS_KEY", TEXT(tls_key_file)},
    [TS_ROW_BASE_PATH] = {"store.base_path", "TSSTORE_DATA_PATH", TEXT(base_path),
                          .fallback = "./data"},
    [TS_ROW_NUM_BLOCKS] = {"store.num_blocks", NULL, NUMBER(num_blocks, 1, UINT32_MAX),
                           .fallback = "1024"},
    [TS_ROW_DATA_BLOCK] = {"store.data_block_size", NULL,
                           POWER(data_block_bytes, 64, UINT32_C(1) << 31), .fallback = "4096"},
    [TS_ROW_INDEX_BLOCK] = {"store.index_block_size", NULL,
                            POWER(index_block_bytes, 64, UINT32_C(1) << 31), .fallback = "4096"},
    [TS_ROW_MAX_LINE] = {"limits.max_line_bytes", NULL,
                         NUMBER(max_line_bytes, 64, UINT64_C(1) << 30), .fallback = "1048576"},
    [TS_ROW_MAX_BODY] = {"limits.max_body_bytes", NULL,
                         NUMBER(max_body_bytes, 64, UINT64_C(1) << 32), .fallback = "67108864"},
    [TS_ROW_MAX_CONNECTIONS] = {"limits.max_connections", NULL, NUMBER(max_connections, 1, 10000),
                                .fallback = "256"},
    [TS_ROW_MAX_FEEDERS] = {"limits.max_feeders", NULL, NUMBER(max_feeders, 1, 100000),
                            .fallback = "1024"},
    [TS_ROW_AUTH_TIMEOUT] = {"limits.auth_timeout_ms", NULL, NUMBER(auth_timeout_ms, 10, 3600000),
                             .fallback = "10000"},
    [TS_ROW_LOG_LEVEL] = {"log.level", "TSSTORE_LOG_LEVEL", CHOICE(log_level, log_levels),
                          .fallback = "info"},
    [TS_ROW_LOG_FORMAT] = {"log.format", "TSSTORE_LOG_FORMAT", CHOICE(log_format, log_formats),
                           .fallback = "text"},
    [TS_ROW_HTTP] = {"server.http", NULL, .kind = TS_KIND_ADDRESS, .host_row = TS_ROW_HOST},
    [TS_ROW_INGEST_HTTP] = {"server.ingest_http", "TSSTORE_INGEST_HTTP", .kind = TS_KIND_ADDRESS,
                            .host_row = TS_ROW_INGEST_HOST, .flags = TS_ROW_MAY_BE_OFF},
};

static void *
field_of(struct ts_config *config, enum ts_config_row_id id)
{
    return (char *)config + ts_config_rows[id].off;
}

static const void *
const_field_of(const struct ts_config *config, enum ts_config_row_id id)
{
    return (const char *)config + ts_config_rows[id].off;
}

/* ---- checking one value ---- */

/* The fields of numbers and enums have different widths. */
static void
store_number(struct ts_config *config, enum ts_config_row_id id, uint64_t value)
{
    const uint16_t value16 = (uint16_t)value;
    const uint32_t value32 = (uint32_t)value;

    switch (ts_config_rows[id].bytes) {
    case sizeof value16:
        memcpy(field_of(config, id), &value16, sizeof value16);
        break;
    case sizeof value32:
        memcpy(field_of(config, id), &value32, sizeof value32);
        break;
    default:
        memcpy(field_of(config, id), &value, sizeof value);
    }
}

static uint64_t
load_number(const struct ts_config *config, enum ts_config_row_id id)
{
    uint16_t value16;
    uint32_t value32;
    uint64_t value;

    switch (ts_config_rows[id].bytes) {
    case sizeof value16:
        memcpy(&value16, const_field_of(config, id), sizeof value16);
        return value16;
    case sizeof value32:
        memcpy(&value32, const_field_of(config, id), sizeof value32);
        return value32;
    default:
        memcpy(&value, const_field_of(config, id), sizeof value);
        return value;
    }
}

/* Digits only: no sign, no blank, nothing behind. */
static bool
parse_digits(const char *text, uint64_t *out)
{
    const size_t n = strspn(text, "0123456789");

    if (n == 0 || text[n] != '\0')
        return false;
    errno = 0;
    *out = strtoull(text, NULL, 10);
    return errno == 0;
}

static enum ts_err
set_number(struct ts_config *config, enum ts_config_row_id id, const char *text)
{
    const struct ts_config_row *row = &ts_config_rows[id];
    const bool is_power = row->kind == TS_KIND_POWER;
    uint64_t value;

    if (!parse_digits(text, &value) || value < row->min || value > row->max ||
        (is_power && (value & (value - 1)) != 0))
        return TS_FAIL(TS_E_CONFIG, "\"%.40s\" is not a %s from %llu to %llu", text,
                       is_power ? "power of two" : "whole number", (unsigned long long)row->min,
                       (unsigned long long)row->max);
    store_number(config, id, value);
    return TS_OK;
}

static enum ts_err
set_choice(struct ts_config *config, enum ts_config_row_id id, const char *text)
{
    const char *const *words = ts_config_rows[id].choices;
    char list[64] = "";

    for (unsigned i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0) {
            store_number(config, id, i);
            return TS_OK;
        }
    for (unsigned i = 0; words[i] != NULL; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i > 0 ? ", " : "",
                 words[i]);
    return TS_FAIL(TS_E_CONFIG, "\"%.40s\" is not one of %s", text, list);
}

/* A secret is not quoted, whatever is wrong with it. */
static enum ts_err
set_text(struct ts_config *config, enum ts_config_row_id id, const char *text)
{
    const struct ts_config_row *row = &ts_config_rows[id];

    if (strlen(text) >= row->bytes)
        return TS_FAIL(TS_E_CONFIG, "is longer than %zu bytes", row->bytes - 1);
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return TS_FAIL(TS_E_CONFIG, "contains a control character");
    /* It becomes part of the server's list of ports, where a comma would open another one. */
    if (row->kind == TS_KIND_HOST && strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz"
                                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-_") != strlen(text))
        return TS_FAIL(TS_E_CONFIG, "\"%.64s\" is not an IPv4 address or host name", text);
    if (id == TS_ROW_SOCKET_PATH && text[0] != '\0') {
        if (text[strlen(text) - 1] == '/')
            return TS_FAIL(TS_E_CONFIG, "\"%.128s\" names a directory", text);
        memcpy(config->last_socket_path, text, strlen(text) + 1);
    }
    memcpy(field_of(config, id), text, strlen(text) + 1);
    return TS_OK;
}

static enum ts_err
set_address(struct ts_config *config, enum ts_config_row_id id, const char *text)
{
    const enum ts_config_row_id host_row = ts_config_rows[id].host_row;
    const char *colon = strrchr(text, ':');
    char host[TS_CONFIG_HOST_BYTES];
    enum ts_err err;

    if ((ts_config_rows[id].flags & TS_ROW_MAY_BE_OFF) != 0 && strcmp(text, "off") == 0)
        return set_text(config, host_row, "");
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof host)
        return TS_FAIL(TS_E_CONFIG, "\"%.80s\" is not HOST:PORT", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    err = set_text(config, host_row, host);
    return err == TS_OK ? set_number(config, host_row + 1, colon + 1) : err;
}

void
ts_config_row_note(struct ts_config *config, enum ts_config_row_id id, enum ts_config_row_id by,
                   enum ts_config_source source)
{
    config->sources[id] = (uint8_t)source;
    config->set_by[id] = (uint8_t)by;
}

/* Sets one row, and which one by which source. */
enum ts_err
ts_config_row_set(struct ts_config *config, enum ts_config_row_id id, const char *text,
                  enum ts_config_source source)
{
    enum ts_err err = TS_OK;

    switch (ts_config_rows[id].kind) {
    case TS_KIND_TEXT:
    case TS_KIND_HOST:
        err = set_text(config, id, text);
        break;
    case TS_KIND_NUMBER:
    case TS_KIND_POWER:
        err = set_number(config, id, text);
        break;
    case TS_KIND_CHOICE:
        err = set_choice(config, id, text);
        break;
    case TS_KIND_ADDRESS:
        err = set_address(config, id, text);
        break;
    }
    if (err != TS_OK)
        return err;
    if (ts_config_rows[id].kind == TS_KIND_ADDRESS) {
        ts_config_row_note(config, ts_config_rows[id].host_row, id, source);
        ts_config_row_note(config, ts_config_rows[id].host_row + 1, id, source);
    } else {
        ts_config_row_note(config, id, id, source);
    }
    return TS_OK;
}

/* ---- names ---- */

static unsigned
min3(unsigned a, unsigned b, unsigned c)
{
    const unsigned ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Insertions, deletions and replacements that turn one into the other (Levenshtein); of longer
 * texts than any key only the beginning counts. */
static unsigned
distance(const char *a, const char *b)
{
    unsigned line[TS_CONFIG_KEY_BYTES];
    const size_t n = strnlen(b, TS_CONFIG_KEY_BYTES - 1);

    for (unsigned j = 0; j <= n; j++)
        line[j] = j;
    for (unsigned i = 1; i < TS_CONFIG_KEY_BYTES && a[i - 1] != '\0'; i++) {
        unsigned diagonal = line[0];

        line[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            const unsigned above = line[j];

            line[j] = min3(above + 1, line[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return line[n];
}

/* Somebody may have the name right and its place wrong: then only the last parts are compared. */
static unsigned
distance_of_keys(const char *given, const char *known)
{
    const char *given_dot = strrchr(given, '.');
    const char *known_dot = strrchr(known, '.');
    const unsigned whole = distance(given, known);
    const unsigned last = 2 + distance(given_dot != NULL ? given_dot + 1 : given,
                                       known_dot != NULL ? known_dot + 1 : known);

    return whole < last ? whole : last;
}

const char *
ts_config_row_nearest(const char *key)
{
    unsigned best = 0, best_distance = UINT32_MAX;

    for (unsigned id = 0; id < TS_ROW_N; id++) {
        const unsigned its_distance = distance_of_keys(key, ts_config_rows[id].key);

        if (its_distance < best_distance) {
            best_distance = its_distance;
            best = id;
        }
    }
    return ts_config_rows[best].key;
}

bool
ts_config_row_find(const char *key, enum ts_config_row_id *out)
{
    for (unsigned id = 0; id < TS_ROW_N; id++)
        if (strcmp(ts_config_rows[id].key, key) == 0) {
            *out = (enum ts_config_row_id)id;
            return true;
        }
    return false;
}

/* "server" and "server.tls" are groups. */
bool
ts_config_row_is_group(const char *key)
{
    const size_t n = strlen(key);

    for (unsigned id = 0; id < TS_ROW_N; id++)
        if (strncmp(ts_config_rows[id].key, key, n) == 0 && ts_config_rows[id].key[n] == '.')
            return true;
    return false;
}

/* ---- for `config explain` ---- */

const char *
ts_config_source_name(enum ts_config_source source)
{
    static const char *const names[] = {
        [TS_SOURCE_DEFAULT] = "default", [TS_SOURCE_DERIVED] = "derived",
        [TS_SOURCE_FILE] = "file",       [TS_SOURCE_CREDENTIAL] = "credential",
        [TS_SOURCE_ENV] = "environment", [TS_SOURCE_FLAG] = "flag",
    };

    return (size_t)source < sizeof names / sizeof names[0] ? names[source] : "?";
}

static void
describe_value(const struct ts_config *config, enum ts_config_row_id id, char *out, size_t bytes)
{
    const struct ts_config_row *row = &ts_config_rows[id];
    const char *text = const_field_of(config, id);

    switch (row->kind) {
    case TS_KIND_TEXT:
    case TS_KIND_HOST:
        if ((row->flags & TS_ROW_IS_SECRET) != 0)
            text = text[0] != '\0' ? "(set)" : "(not set)";
        snprintf(out, bytes, "%s", text);
        break;
    case TS_KIND_CHOICE:
        snprintf(out, bytes, "%s", row->choices[load_number(config, id)]);
        break;
    default:
        snprintf(out, bytes, "%llu", (unsigned long long)load_number(config, id));
    }
}

static void
describe_origin(const struct ts_config *config, enum ts_config_row_id id, char *out, size_t bytes)
{
    const struct ts_config_row *by = &ts_config_rows[config->set_by[id]];

    switch ((enum ts_config_source)config->sources[id]) {
    case TS_SOURCE_FILE:
        snprintf(out, bytes, "file %s", config->file);
        break;
    case TS_SOURCE_ENV:
        snprintf(out, bytes, "environment %s", by->env);
        break;
    case TS_SOURCE_DERIVED:
        snprintf(out, bytes, "from %s", by->key);
        break;
    case TS_SOURCE_CREDENTIAL:
        snprintf(out, bytes, "systemd credential");
        break;
    case TS_SOURCE_FLAG:
        snprintf(out, bytes, "command line");
        break;
    default:
        snprintf(out, bytes, "default");
    }
}

bool
ts_config_entry_get(const struct ts_config *config, size_t idx, struct ts_config_entry *out)
{
    const enum ts_config_row_id id = (enum ts_config_row_id)idx;

    if (idx >= TS_ROW_N_VALUES)
        return false;
    out->key = ts_config_rows[id].key;
    out->env = ts_config_rows[id].env;
    out->source = (enum ts_config_source)config->sources[id];
    describe_value(config, id, out->value, sizeof out->value);
    describe_origin(config, id, out->origin, sizeof out->origin);
    return true;
}
