/* keys.c - edits keys.json as a JSON tree, so that what others wrote into it stays; the ring
 * holds the hashes of the last reading and a watch of the file they are of.
 */
#include "common/keys.h"

#include "common/keyfile.h"
#include "common/smallfile.h"

#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PREFIX_BYTES (sizeof TS_KEY_PREFIX - 1)
#define UUID_BYTES 16u
#define LOCK_WAIT_MS 10000u
#define NS_PER_S INT64_C(1000000000)

/* ---- the text of a key ---- */

bool
ts_key_has_shape(const char *key, size_t bytes)
{
    return bytes >= TS_KEY_BYTES && memcmp(key, TS_KEY_PREFIX, PREFIX_BYTES) == 0;
}

void
ts_key_id(const char *key, char out_id[TS_KEY_ID_BYTES])
{
    out_id[0] = '\0';
    if (ts_key_has_shape(key, strlen(key)))
        snprintf(out_id, TS_KEY_ID_BYTES, "%.8s", key + PREFIX_BYTES);
}

/* "tsstore_" and a random UUID of version 4: 122 random bits. */
static void
make_key(char out_key[TS_KEY_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t uuid[UUID_BYTES];
    char *at = out_key + PREFIX_BYTES;

    randombytes_buf(uuid, sizeof uuid);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    memcpy(out_key, TS_KEY_PREFIX, PREFIX_BYTES);
    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[uuid[i] >> 4];
        *at++ = digits[uuid[i] & 0x0f];
    }
    *at = '\0';
    sodium_memzero(uuid, sizeof uuid);
}

/* ---- edits ---- */

static enum ts_err
open_dir(const char *store_dir, bool must_be_store, int *out_dir_fd)
{
    enum ts_err err;
    int dir_fd = -1;

    if (sodium_init() < 0)
        return TS_FAIL(TS_E_SYSTEM, "libsodium does not start");
    err = ts_smallfile_open_dir(store_dir, &dir_fd);
    if (err == TS_E_NOT_FOUND)
        return TS_FAIL_PLAIN(TS_E_NOT_FOUND);
    if (err != TS_OK)
        return err;
    /* A directory without it is no store, and must not become half of one. */
    if (must_be_store && faccessat(dir_fd, "meta.tsdb", F_OK, 0) != 0) {
        close(dir_fd);
        return TS_FAIL_PLAIN(TS_E_NOT_FOUND);
    }
    *out_dir_fd = dir_fd;
    return TS_OK;
}

/* As open_dir(), and nobody else edits until it is closed. */
static enum ts_err
open_locked(const char *store_dir, bool must_be_store, int *out_dir_fd)
{
    int dir_fd = -1;
    enum ts_err err = open_dir(store_dir, must_be_store, &dir_fd);

    if (err == TS_OK)
        err = ts_smallfile_lock(dir_fd, LOCK_WAIT_MS);
    if (err == TS_OK)
        *out_dir_fd = dir_fd;
    else if (dir_fd >= 0)
        close(dir_fd);
    return err;
}

static enum ts_err
check_note(const char *note)
{
    json_t *as_json;

    if (strlen(note) >= TS_KEY_NOTE_BYTES)
        return TS_FAIL(TS_E_PARAM, "note is longer than %d bytes", TS_KEY_NOTE_BYTES - 1);
    for (const char *c = note; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return TS_FAIL(TS_E_PARAM, "note contains a control character");
    as_json = json_string(note);
    if (as_json == NULL)
        return TS_FAIL(TS_E_PARAM, "note is not UTF-8");
    json_decref(as_json);
    return TS_OK;
}

static bool
has_id(const json_t *entry, const char *id)
{
    const char *its = json_string_value(json_object_get(entry, "id"));

    return its != NULL && strcmp(its, id) == 0;
}

/* A new key behind the others, with an id that none of them has: revoking goes by ids. */
static enum ts_err
add_key(json_t *root, const struct ts_key_terms *terms, char out_key[TS_KEY_TEXT_BYTES])
{
    json_t *keys = ts_keyfile_keys(root);
    char id[TS_KEY_ID_BYTES];
    bool is_taken;

    if (json_array_size(keys) >= TS_KEYS_MAX)
        return TS_FAIL(TS_E_LIMIT, "store has %d keys, which is the limit", TS_KEYS_MAX);
    do {
        make_key(out_key);
        ts_key_id(out_key, id);
        is_taken = false;
        for (size_t i = 0; i < json_array_size(keys); i++)
            is_taken = is_taken || has_id(json_array_get(keys, i), id);
    } while (is_taken);

    if (json_array_append_new(keys, ts_keyfile_new_entry(out_key, terms)) != 0)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    return TS_OK;
}

static int64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static enum ts_err
check_terms(const struct ts_key_terms *terms)
{
    if (terms->scopes == 0 || (terms->scopes & ~(unsigned)TS_SCOPE_ALL) != 0)
        return TS_FAIL(TS_E_PARAM, "scopes are read, write and delete, at least one");
    if (terms->expires_ns - terms->expires_ns % NS_PER_S <= now_ns())
        return TS_FAIL(TS_E_PARAM, "the key would have expired already");
    return check_note(terms->note);
}

enum ts_err
ts_keys_add(const char *store_dir, const char *store_name, const struct ts_key_terms *terms,
            char out_key[TS_KEY_TEXT_BYTES])
{
    char key[TS_KEY_TEXT_BYTES];
    json_t *root = NULL;
    int dir_fd = -1;
    enum ts_err err;

    err = check_terms(terms);
    if (err == TS_OK)
        err = open_locked(store_dir, false, &dir_fd);
    if (err != TS_OK)
        goto out;
    err = ts_keyfile_read(dir_fd, &root, NULL);
    if (err == TS_E_NOT_FOUND)
        err = ts_keyfile_new(store_name, &root);
    if (err == TS_OK)
        err = add_key(root, terms, key);
    if (err == TS_OK)
        err = ts_keyfile_write(dir_fd, root);
    if (err == TS_OK)
        memcpy(out_key, key, sizeof key);
out:
    sodium_memzero(key, sizeof key);
    json_decref(root);
    if (dir_fd >= 0)
        close(dir_fd);
    return err;
}

enum ts_err
ts_keys_create_scoped(const char *store_dir, const char *store_name, const char *note,
                      unsigned scopes, char out_key[TS_KEY_TEXT_BYTES])
{
    const struct ts_key_terms terms = {.note = note, .scopes = scopes, .expires_ns = TS_KEY_NEVER};

    return ts_keys_add(store_dir, store_name, &terms, out_key);
}

enum ts_err
ts_keys_create(const char *store_dir, const char *store_name, const char *note,
               char out_key[TS_KEY_TEXT_BYTES])
{
    return ts_keys_create_scoped(store_dir, store_name, note, TS_SCOPE_ALL, out_key);
}

enum ts_err
ts_keys_regenerate(const char *store_dir, const char *store_name, char out_key[TS_KEY_TEXT_BYTES])
{
    static const struct ts_key_terms terms = {
        .note = "Regenerated via CLI", .scopes = TS_SCOPE_ALL, .expires_ns = TS_KEY_NEVER};
    char key[TS_KEY_TEXT_BYTES];
    json_t *root = NULL;
    int dir_fd = -1;
    enum ts_err err;

    err = open_locked(store_dir, true, &dir_fd);
    if (err == TS_OK)
        err = ts_keyfile_new(store_name, &root);
    if (err == TS_OK)
        err = add_key(root, &terms, key);
    if (err == TS_OK)
        err = ts_keyfile_write(dir_fd, root);
    if (err == TS_OK)
        memcpy(out_key, key, sizeof key);
    sodium_memzero(key, sizeof key);
    json_decref(root);
    if (dir_fd >= 0)
        close(dir_fd);
    return err;
}

enum ts_err
ts_keys_revoke(const char *store_dir, const char *id)
{
    json_t *root = NULL;
    bool is_found = false;
    int dir_fd = -1;
    enum ts_err err;

    err = open_locked(store_dir, true, &dir_fd);
    if (err != TS_OK)
        goto out;
    err = ts_keyfile_read(dir_fd, &root, NULL);
    if (err == TS_E_NOT_FOUND)
        err = TS_FAIL_PLAIN(TS_E_KEY_UNKNOWN);
    if (err != TS_OK)
        goto out;
    for (size_t i = json_array_size(ts_keyfile_keys(root)); i > 0; i--)
        if (has_id(json_array_get(ts_keyfile_keys(root), i - 1), id)) {
            json_array_remove(ts_keyfile_keys(root), i - 1);
            is_found = true;
        }
    err = is_found ? ts_keyfile_write(dir_fd, root) : TS_FAIL_PLAIN(TS_E_KEY_UNKNOWN);
out:
    json_decref(root);
    if (dir_fd >= 0)
        close(dir_fd);
    return err;
}

enum ts_err
ts_keys_list(const char *store_dir, struct ts_key_info **out, size_t *out_n)
{
    struct ts_key_info *infos = NULL;
    struct ts_key_hash hash;
    json_t *root = NULL;
    int dir_fd = -1;
    enum ts_err err;
    size_t n = 0;

    err = open_dir(store_dir, true, &dir_fd);
    if (err != TS_OK)
        goto out;
    err = ts_keyfile_read(dir_fd, &root, NULL);
    if (err == TS_E_NOT_FOUND)
        err = ts_keyfile_new("", &root);
    if (err != TS_OK)
        goto out;
    n = json_array_size(ts_keyfile_keys(root));
    infos = calloc(n + 1, sizeof *infos); /* + 1: never NULL for success */
    if (infos == NULL) {
        err = TS_FAIL_PLAIN(TS_E_NOMEM);
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        ts_keyfile_entry(json_array_get(ts_keyfile_keys(root), i), &infos[i], &hash);
    *out = infos;
    *out_n = n;
out:
    json_decref(root);
    if (dir_fd >= 0)
        close(dir_fd);
    return err;
}

/* ---- the ring ---- */

struct ts_keyring {
    char *dir;  /* owned */
    char *path; /* owned: of the file */
    pthread_rwlock_t lock;
    /* guarded by lock: */
    struct ts_smallfile_watch watch; /* of the file that was read last */
    enum ts_err err;                 /* of that reading */
    char trouble[TS_ERROR_TEXT_BYTES];
    struct ts_key_hash *hashes; /* owned */
    size_t n_hashes;
    bool has_kind[TS_KEY_N_HASH_KINDS]; /* whether any of them is of that kind */
    uint64_t n_readings;
};

/* Writers go first: by default a steady stream of checks would keep a thread that saw a change
 * waiting for as long as the stream lasts. */
static void
init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attr);
    pthread_rwlockattr_destroy(&attr);
}

enum ts_err
ts_keyring_open(const char *store_dir, struct ts_keyring **out)
{
    struct ts_keyring *ring;
    const size_t path_bytes = strlen(store_dir) + sizeof "/" TS_KEYS_FILE;

    if (sodium_init() < 0)
        return TS_FAIL(TS_E_SYSTEM, "libsodium does not start");
    ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    ring->watch.fd = -1;
    init_lock(&ring->lock);
    ring->dir = strdup(store_dir);
    ring->path = malloc(path_bytes);
    if (ring->dir == NULL || ring->path == NULL) {
        ts_keyring_close(ring);
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    }
    snprintf(ring->path, path_bytes, "%s/%s", store_dir, TS_KEYS_FILE);
    *out = ring;
    return TS_OK;
}

void
ts_keyring_close(struct ts_keyring *ring)
{
    if (ring == NULL)
        return;
    pthread_rwlock_destroy(&ring->lock);
    ts_smallfile_watch_done(&ring->watch);
    free(ring->hashes);
    free(ring->path);
    free(ring->dir);
    free(ring);
}

static enum ts_err
take_hashes(struct ts_keyring *ring, json_t *root)
{
    const size_t n = json_array_size(ts_keyfile_keys(root));
    struct ts_key_hash *hashes = calloc(n + 1, sizeof *hashes);
    struct ts_key_info info;

    if (hashes == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    memset(ring->has_kind, 0, sizeof ring->has_kind);
    for (size_t i = 0; i < n; i++) {
        ts_keyfile_entry(json_array_get(ts_keyfile_keys(root), i), &info, &hashes[i]);
        ring->has_kind[hashes[i].kind] = true;
    }
    free(ring->hashes);
    ring->hashes = hashes;
    ring->n_hashes = n;
    return TS_OK;
}

/* Reads the file again. What was remembered is forgotten first: if it can't be read, nobody gets
 * in. A damaged file is remembered as such; any other failure is tried again by the next check.
 * That there is no such store is no trouble.
 * The caller holds the lock for writing. */
static void
reload(struct ts_keyring *ring)
{
    json_t *root = NULL;
    bool is_missing;
    int dir_fd = -1;

    ring->n_readings++;
    ring->n_hashes = 0;
    ring->err = ts_smallfile_open_dir(ring->dir, &dir_fd);
    is_missing = ring->err == TS_E_NOT_FOUND;
    if (ring->err == TS_OK)
        ring->err = ts_keyfile_read(dir_fd, &root, &ring->watch);
    if (ring->err == TS_OK)
        ring->err = take_hashes(ring, root);
    if (ring->err != TS_OK && ring->err != TS_E_CORRUPT)
        ts_smallfile_watch_done(&ring->watch);
    snprintf(ring->trouble, sizeof ring->trouble, "%s",
             ring->err == TS_OK || is_missing ? "" : ts_error_text());
    json_decref(root);
    if (dir_fd >= 0)
        close(dir_fd);
}

/* Looks at every hash whatever it finds, so that the time taken says nothing about them. */
static enum ts_err
decide(const struct ts_keyring *ring, const char *key, size_t key_bytes, unsigned scope)
{
    uint8_t digests[TS_KEY_N_HASH_KINDS][TS_KEY_HASH_BYTES];
    const int64_t now = now_ns();
    bool is_known = false;
    unsigned scopes = 0;

    if (ring->err != TS_OK)
        return TS_FAIL_PLAIN(TS_E_KEY_STORE);
    if (key_bytes != TS_KEY_BYTES)
        return TS_FAIL_PLAIN(TS_E_KEY_INVALID);
    /* Most stores have no imported keys: what theirs would hash to is of no interest. */
    for (int kind = 0; kind < TS_KEY_N_HASH_KINDS; kind++)
        if (ring->has_kind[kind])
            ts_key_hash((enum ts_key_hash_kind)kind, key, digests[kind]);
    for (size_t i = 0; i < ring->n_hashes; i++) {
        const struct ts_key_hash *hash = &ring->hashes[i];
        const bool is_same =
            sodium_memcmp(digests[hash->kind], hash->bytes, TS_KEY_HASH_BYTES) == 0;
        const bool is_it = is_same & (now < hash->expires_ns);

        is_known |= is_it;
        scopes |= hash->scopes & (0u - (unsigned)is_it);
    }
    if (!is_known)
        return TS_FAIL_PLAIN(TS_E_KEY_INVALID);
    if ((scope & ~scopes) != 0)
        return TS_FAIL_PLAIN(TS_E_SCOPE);
    return TS_OK;
}

/* Takes the lock and sees to it that the hashes are those of the file. */
static void
lock_current(struct ts_keyring *ring)
{
    pthread_rwlock_rdlock(&ring->lock);
    if (!ts_smallfile_is_current(&ring->watch, ring->path)) {
        pthread_rwlock_unlock(&ring->lock);
        pthread_rwlock_wrlock(&ring->lock);
        /* Another thread may have read it while this one waited. */
        if (!ts_smallfile_is_current(&ring->watch, ring->path))
            reload(ring);
    }
}

uint64_t
ts_keyring_refresh(struct ts_keyring *ring)
{
    uint64_t n_readings;

    lock_current(ring);
    n_readings = ring->n_readings;
    pthread_rwlock_unlock(&ring->lock);
    return n_readings;
}

static enum ts_err
check_shape(const char *key, size_t key_bytes)
{
    if (key == NULL || key_bytes == 0)
        return TS_FAIL_PLAIN(TS_E_KEY_MISSING);
    return ts_key_has_shape(key, key_bytes) ? TS_OK : TS_FAIL_PLAIN(TS_E_KEY_FORMAT);
}

enum ts_err
ts_keyring_check_refreshed(struct ts_keyring *ring, const char *key, size_t key_bytes,
                           unsigned scope)
{
    enum ts_err err = check_shape(key, key_bytes);

    if (err != TS_OK)
        return err;
    pthread_rwlock_rdlock(&ring->lock);
    err = decide(ring, key, key_bytes, scope);
    pthread_rwlock_unlock(&ring->lock);
    return err;
}

enum ts_err
ts_keyring_check(struct ts_keyring *ring, const char *key, size_t key_bytes, unsigned scope)
{
    enum ts_err err = check_shape(key, key_bytes);

    if (err != TS_OK)
        return err;
    lock_current(ring);
    err = decide(ring, key, key_bytes, scope);
    pthread_rwlock_unlock(&ring->lock);
    return err;
}

void
ts_keyring_trouble(struct ts_keyring *ring, char *out_text, size_t out_bytes)
{
    pthread_rwlock_rdlock(&ring->lock);
    snprintf(out_text, out_bytes, "%s", ring->trouble);
    pthread_rwlock_unlock(&ring->lock);
}

enum ts_err
ts_admin_key_check(const char *want, const char *given)
{
    const size_t want_bytes = want != NULL ? strlen(want) : 0;

    if (given == NULL || given[0] == '\0')
        return TS_FAIL_PLAIN(TS_E_ADMIN_MISSING);
    if (want_bytes == 0 || strlen(given) != want_bytes ||
        sodium_memcmp(want, given, want_bytes) != 0)
        return TS_FAIL_PLAIN(TS_E_ADMIN_INVALID);
    return TS_OK;
}
