/* config_table.h - the rows of the configuration; for config.c.
 *
 * Purpose    One row per key: its names, default and bounds, and how a text becomes its value.
 * Invariant  ts_config_row_set() is the only way a value gets into a struct ts_config, so each
 *            was held against its row, and its source is noted.
 * Threads    Any; nothing here changes but the config that is given.
 * Errors     TS_E_CONFIG; texts say what is wrong with the value, the caller adds whose it is.
 *            A secret is never quoted.
 */
#ifndef TS_CONFIG_TABLE_H
#define TS_CONFIG_TABLE_H

#include "common/config.h"

#define TS_CONFIG_KEY_BYTES 128 /* of a dotted key, with NUL */

enum ts_config_row_id {
    TS_ROW_HOST,
    TS_ROW_PORT,
    TS_ROW_INGEST_HOST,
    TS_ROW_INGEST_PORT,
    TS_ROW_MODE,
    TS_ROW_SOCKET_PATH,
    TS_ROW_RUN_DIR,
    TS_ROW_ADMIN_KEY,
    TS_ROW_ADMIN_KEY_FILE,
    TS_ROW_TLS_CERT,
    TS_ROW_TLS_KEY,
    TS_ROW_BASE_PATH,
    TS_ROW_NUM_BLOCKS,
    TS_ROW_DATA_BLOCK,
    TS_ROW_INDEX_BLOCK,
    TS_ROW_MAX_LINE,
    TS_ROW_MAX_BODY,
    TS_ROW_MAX_CONNECTIONS,
    TS_ROW_MAX_FEEDERS,
    TS_ROW_AUTH_TIMEOUT,
    TS_ROW_LOG_LEVEL,
    TS_ROW_LOG_FORMAT,
    TS_ROW_N_VALUES, /* the rows from here on set two others */
    TS_ROW_HTTP = TS_ROW_N_VALUES,
    TS_ROW_INGEST_HTTP,
    TS_ROW_N
};

_Static_assert(TS_ROW_N <= TS_CONFIG_MAX_KEYS, "struct ts_config has a source for each row");

enum ts_config_kind {
    TS_KIND_TEXT,
    TS_KIND_HOST,
    TS_KIND_NUMBER,
    TS_KIND_POWER,  /* a number that is a power of two */
    TS_KIND_CHOICE, /* an enum, in the order of its words */
    TS_KIND_ADDRESS /* HOST:PORT */
};

enum {
    TS_ROW_MAY_BE_EMPTY = 1, /* "" means off; elsewhere it means not set */
    TS_ROW_IS_SECRET = 2,    /* never shown; never a flag */
    TS_ROW_MAY_BE_OFF = 4    /* an address: the word "off" */
};

struct ts_config_row {
    const char *key, *env; /* static; env may be NULL */
    enum ts_config_kind kind;
    unsigned flags;
    size_t off, bytes;              /* of the field in struct ts_config */
    const char *fallback;           /* the default as text; NULL: none */
    uint64_t min, max;              /* of numbers */
    const char *const *choices;     /* of TS_KIND_CHOICE; NULL behind the last */
    enum ts_config_row_id host_row; /* of TS_KIND_ADDRESS; the next row is the port's */
};

extern const struct ts_config_row ts_config_rows[TS_ROW_N];

/* Sets the row from a text and notes the source. On failure *config may be half set. */
enum ts_err ts_config_row_set(struct ts_config *config, enum ts_config_row_id id, const char *text,
                              enum ts_config_source source) TS_MUST_USE;

/* Gives the row a source without a value: for what follows from row `by`. */
void ts_config_row_note(struct ts_config *config, enum ts_config_row_id id,
                        enum ts_config_row_id by, enum ts_config_source source);

/* False if there is no such key. */
bool ts_config_row_find(const char *key, enum ts_config_row_id *out_id);

/* The known key that is most like `key`. */
const char *ts_config_row_nearest(const char *key);

/* True for "server", "server.tls" and their kin. */
bool ts_config_row_is_group(const char *key);

#endif
