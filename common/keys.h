/* keys.h - the API keys of a store: keys.json, and a cache of it for daemons.
 *
 * Purpose    Make, list, replace and revoke keys; decide whether a key may do something.
 * Invariant  A key's text exists once, in the answer of the call that made it; the file holds
 *            hashes. Edits hold the directory's lock and replace the file whole: two editors
 *            never lose each other's key, and a crash leaves the old or the new file.
 * Ownership  A ring is given back by ts_keyring_close(). *out of ts_keys_list() is freed with
 *            free().
 * Threads    All calls but ts_keyring_close() from any thread and any process.
 * Errors     Never a key or a hash in a text. What a check answers has exactly the table's text,
 *            fit for a client; why a file could not be read is told by ts_keyring_trouble().
 * Units      Times are Unix nanoseconds; the file has whole seconds.
 * Source     Layout and hash of imported keys: ts-store's keys.json. Ours adds "scopes" and
 *            "expires_at" and hashes with BLAKE2b ("blake2b:<64 hex>"); a bare 64-digit hash is
 *            their SHA-256. Fields of others are kept when a file is edited.
 */
#ifndef TS_KEYS_H
#define TS_KEYS_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TS_KEY_TEXT_BYTES 45  /* "tsstore_", a UUID, NUL */
#define TS_KEY_ID_BYTES 9     /* 8 characters, NUL */
#define TS_KEY_NOTE_BYTES 128 /* with NUL */
#define TS_KEYS_MAX 1024      /* keys of one store */
#define TS_KEYS_FILE "keys.json"
#define TS_KEY_NEVER INT64_MAX /* when a key expires that does not */

enum { TS_SCOPE_READ = 1, TS_SCOPE_WRITE = 2, TS_SCOPE_DELETE = 4, TS_SCOPE_ALL = 7 };

struct ts_key_info {
    char id[TS_KEY_ID_BYTES];
    char created_at[40];          /* RFC 3339 with nanoseconds, as the file has it */
    char note[TS_KEY_NOTE_BYTES]; /* cut at a character if the file has a longer one */
    unsigned scopes;
    int64_t expires_ns; /* TS_KEY_NEVER: it does not */
};

/* What a new key may do, until when, and what people read about it. */
struct ts_key_terms {
    const char *note; /* borrowed; UTF-8 of up to 127 bytes */
    unsigned scopes;
    int64_t expires_ns; /* cut to whole seconds; from then on it is no key any more */
};

/* Adds a key with all scopes, to a new keys.json if there is none. The text is `out_key`'s only
 * copy. `note` is UTF-8 of up to 127 bytes, else TS_E_PARAM. TS_E_NOT_FOUND without the directory;
 * TS_E_CORRUPT if the file that is there can't be understood (it is left alone), TS_E_LIMIT
 * beyond TS_KEYS_MAX, TS_E_LOCKED if another editor holds on for 10 s, TS_E_FULL, TS_E_IO. */
enum ts_err ts_keys_create(const char *store_dir, const char *store_name, const char *note,
                           char out_key[TS_KEY_TEXT_BYTES]) TS_MUST_USE;

/* The same on chosen terms; no scope, an unknown one or a time that is over are TS_E_PARAM. */
enum ts_err ts_keys_add(const char *store_dir, const char *store_name,
                        const struct ts_key_terms *terms,
                        char out_key[TS_KEY_TEXT_BYTES]) TS_MUST_USE;

/* The same for chosen scopes. */
enum ts_err ts_keys_create_scoped(const char *store_dir, const char *store_name, const char *note,
                                  unsigned scopes, char out_key[TS_KEY_TEXT_BYTES]) TS_MUST_USE;

/* One new key with all scopes replaces all others, also a keys.json that is missing or damaged.
 * TS_E_NOT_FOUND if the directory is not a store's. */
enum ts_err ts_keys_regenerate(const char *store_dir, const char *store_name,
                               char out_key[TS_KEY_TEXT_BYTES]) TS_MUST_USE;

/* All keys in the file's order; none if the store has no keys.json. */
enum ts_err ts_keys_list(const char *store_dir, struct ts_key_info **out,
                         size_t *out_n) TS_MUST_USE;

/* No key with this id is left. TS_E_KEY_UNKNOWN if there was none. */
enum ts_err ts_keys_revoke(const char *store_dir, const char *id) TS_MUST_USE;

/* The 8 characters behind the prefix: of a key of right shape, else "". */
void ts_key_id(const char *key, char out_id[TS_KEY_ID_BYTES]);

/* At least 44 bytes that start with "tsstore_"; what is behind does not matter here. */
bool ts_key_has_shape(const char *key, size_t bytes);

/* ---- the cache of a daemon ---- */

struct ts_keyring;

/* Touches no file yet: a store that is missing shows in each check. */
enum ts_err ts_keyring_open(const char *store_dir, struct ts_keyring **out) TS_MUST_USE;
void ts_keyring_close(struct ts_keyring *ring);

/* Whether the key may do all of `scope` now. One stat() per call, and the file is read again when
 * it changed, so that a new key holds, and a revoked one stops, with the next call. While the file
 * is missing or unreadable nobody gets in; nothing remembered is used. In this order:
 * TS_E_KEY_MISSING, TS_E_KEY_FORMAT, TS_E_KEY_STORE, TS_E_KEY_INVALID (an expired key, too),
 * TS_E_SCOPE. The time taken does not tell how much of a hash matched, nor which key. */
enum ts_err ts_keyring_check(struct ts_keyring *ring, const char *key, size_t key_bytes,
                             unsigned scope) TS_MUST_USE;

/* Reads the file again if it changed, with one stat(); the number of the last reading. While that
 * stays the same the store's directory is the same, too: the file that was read is held open, so
 * that no other can be taken for it. */
uint64_t ts_keyring_refresh(struct ts_keyring *ring);

/* As ts_keyring_check(), right after a ts_keyring_refresh(): the file is not looked at again. */
enum ts_err ts_keyring_check_refreshed(struct ts_keyring *ring, const char *key, size_t key_bytes,
                                       unsigned scope) TS_MUST_USE;

/* Why the last reading of the file failed, for the log; "" if it did not, or if there is no such
 * directory. */
void ts_keyring_trouble(struct ts_keyring *ring, char *out_text, size_t out_bytes);

/* Compares admin keys in constant time (the length is not hidden). Nothing given:
 * TS_E_ADMIN_MISSING; different, or no key wanted at all: TS_E_ADMIN_INVALID. */
enum ts_err ts_admin_key_check(const char *want, const char *given) TS_MUST_USE;

#endif
