/* keyfile.h - what keys.json looks like inside; for keys.c.
 *
 * Purpose    Read, check and write keys.json as a JSON tree.
 * Invariant  A tree that was handed out is an object whose "keys" is an array of entries that
 *            ts_keyfile_entry() takes. Fields that we don't know stay in it.
 * Ownership  *out_root is given back with json_decref().
 * Threads    Any; a tree belongs to one.
 * Errors     TS_E_NOT_FOUND, TS_E_CORRUPT, TS_E_LIMIT, TS_E_NOMEM, TS_E_IO, TS_E_FULL. Texts
 *            never quote the file: it may be a hash.
 */
#ifndef TS_KEYFILE_H
#define TS_KEYFILE_H

#include "common/keys.h"
#include "common/smallfile.h"

#include <jansson.h>
#include <stdint.h>

#define TS_KEY_BYTES (TS_KEY_TEXT_BYTES - 1)
#define TS_KEY_PREFIX "tsstore_"
#define TS_KEY_HASH_BYTES 32

enum ts_key_hash_kind { TS_KEY_BLAKE2B, TS_KEY_SHA256, TS_KEY_N_HASH_KINDS };

struct ts_key_hash {
    uint8_t bytes[TS_KEY_HASH_BYTES];
    enum ts_key_hash_kind kind;
    unsigned scopes;
    int64_t expires_ns;
};

/* The hash of the 44 bytes at `key`. */
void ts_key_hash(enum ts_key_hash_kind kind, const char *key, uint8_t out[TS_KEY_HASH_BYTES]);

/* A tree with no keys. TS_E_NAME if the name is not UTF-8. */
enum ts_err ts_keyfile_new(const char *store_name, json_t **out_root) TS_MUST_USE;

/* The tree of a file's bytes. */
enum ts_err ts_keyfile_parse(const char *text, size_t bytes, json_t **out_root) TS_MUST_USE;

/* Reads the file below dir_fd. `watch` (may be NULL) is as in ts_smallfile_read(), and is also of
 * a file whose bytes are refused with TS_E_CORRUPT. */
enum ts_err ts_keyfile_read(int dir_fd, json_t **out_root,
                            struct ts_smallfile_watch *watch) TS_MUST_USE;

/* Replaces the file, mode 0600. The caller holds the directory's lock. */
enum ts_err ts_keyfile_write(int dir_fd, const json_t *root) TS_MUST_USE;

/* The array of keys of a tree; borrowed from it. */
json_t *ts_keyfile_keys(const json_t *root);

/* Takes an entry apart. NULL, or what is wrong with it: "has no …". */
const char *ts_keyfile_entry(const json_t *entry, struct ts_key_info *info,
                             struct ts_key_hash *hash);

/* An entry for a new key, made now; NULL when out of memory. */
json_t *ts_keyfile_new_entry(const char *key, const struct ts_key_terms *terms);

#endif
