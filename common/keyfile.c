/* keyfile.c - keys.json, field by field. */
#include "common/keyfile.h"

#include "common/text.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLAKE2B_MARK "blake2b:"
#define BLAKE2B_MARK_BYTES (sizeof BLAKE2B_MARK - 1)
#define NS_PER_S INT64_C(1000000000)
#define FILE_LIMIT_BYTES (1024u * 1024u)

static const struct {
    const char *name;
    unsigned scope;
} scope_names[] = {{"read", TS_SCOPE_READ}, {"write", TS_SCOPE_WRITE}, {"delete", TS_SCOPE_DELETE}};

#define N_SCOPES (sizeof scope_names / sizeof scope_names[0])

void
ts_key_hash(enum ts_key_hash_kind kind, const char *key, uint8_t out[TS_KEY_HASH_BYTES])
{
    if (kind == TS_KEY_SHA256)
        crypto_hash_sha256(out, (const unsigned char *)key, TS_KEY_BYTES);
    else
        crypto_generichash(out, TS_KEY_HASH_BYTES, (const unsigned char *)key, TS_KEY_BYTES, NULL,
                           0);
}

/* ---- one entry of the file ---- */

static bool
parse_hash(const char *text, struct ts_key_hash *out)
{
    size_t n = 0;

    out->kind = TS_KEY_SHA256;
    if (strncmp(text, BLAKE2B_MARK, BLAKE2B_MARK_BYTES) == 0) {
        out->kind = TS_KEY_BLAKE2B;
        text += BLAKE2B_MARK_BYTES;
    }
    if (strlen(text) != 2 * TS_KEY_HASH_BYTES)
        return false;
    return sodium_hex2bin(out->bytes, TS_KEY_HASH_BYTES, text, 2 * TS_KEY_HASH_BYTES, NULL, &n,
                          NULL) == 0 &&
           n == TS_KEY_HASH_BYTES;
}

/* No field: the original's keys, which may do everything. A name from the future gives nothing. */
static bool
parse_scopes(const json_t *value, unsigned *out)
{
    unsigned scopes = 0;
    const char *name;

    if (value == NULL) {
        *out = TS_SCOPE_ALL;
        return true;
    }
    if (!json_is_array(value))
        return false;
    for (size_t i = 0; i < json_array_size(value); i++) {
        name = json_string_value(json_array_get(value, i));
        if (name == NULL)
            return false;
        for (size_t s = 0; s < N_SCOPES; s++)
            if (strcmp(name, scope_names[s].name) == 0)
                scopes |= scope_names[s].scope;
    }
    *out = scopes;
    return true;
}

/* Seconds of "2026-03-01T08:00:00", which `text` starts with, or -1. Not strptime(): it takes
 * blanks, signs and one digit for two. */
static int64_t
parse_seconds(const char *text)
{
    static const char shape[] = "0000-00-00T00:00:00";
    struct tm utc = {0}, given;
    int64_t seconds;

    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (shape[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i])
            return -1;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &utc.tm_year, &utc.tm_mon, &utc.tm_mday,
               &utc.tm_hour, &utc.tm_min, &utc.tm_sec) != 6)
        return -1;
    utc.tm_year -= 1900;
    utc.tm_mon -= 1;
    given = utc;
    seconds = timegm(&utc);
    /* The 31st of April has become the 1st of May. */
    if (utc.tm_mon != given.tm_mon || utc.tm_mday != given.tm_mday ||
        utc.tm_hour != given.tm_hour || utc.tm_min != given.tm_min || utc.tm_sec != given.tm_sec)
        return -1;
    return seconds;
}

/* No field: never. UTC; a fraction of a second may be there and does not count. */
static bool
parse_expiry(const json_t *value, int64_t *out_ns)
{
    const char *text = json_string_value(value);
    int64_t seconds;

    if (value == NULL) {
        *out_ns = TS_KEY_NEVER;
        return true;
    }
    seconds = text != NULL ? parse_seconds(text) : -1;
    if (seconds < 0)
        return false;
    text += sizeof "0000-00-00T00:00:00" - 1;
    if (text[0] == '.' && text[1] != 'Z')
        text += 1 + strspn(text + 1, "0123456789");
    /* What int64_t has no nanoseconds for is still a long time away. */
    if (seconds >= INT64_MAX / NS_PER_S)
        seconds = INT64_MAX / NS_PER_S - 1;
    *out_ns = seconds * NS_PER_S;
    return strcmp(text, "Z") == 0;
}

/* Not isprint() and its like: these ask the locale. */
static bool
is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* Copies at most out_bytes - 1 bytes of UTF-8, cut between characters, controls as '?'. */
static void
copy_text(const char *text, char *out, size_t out_bytes)
{
    size_t n = strlen(text);

    if (n >= out_bytes)
        for (n = out_bytes - 1; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80; n--)
            ;
    for (size_t i = 0; i < n; i++)
        out[i] = is_control(text[i]) ? '?' : text[i];
    out[n] = '\0';
}

static bool
is_id(const char *text)
{
    const size_t n = strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

    return n == TS_KEY_ID_BYTES - 1 && text[n] == '\0';
}

const char *
ts_keyfile_entry(const json_t *entry, struct ts_key_info *info, struct ts_key_hash *hash)
{
    const char *id = json_string_value(json_object_get(entry, "id"));
    const char *hex = json_string_value(json_object_get(entry, "hash"));
    const char *created_at = json_string_value(json_object_get(entry, "created_at"));
    const char *note = json_string_value(json_object_get(entry, "note"));

    if (!json_is_object(entry))
        return "is not an object";
    if (id == NULL || !is_id(id))
        return "has no id of 8 letters and digits";
    if (hex == NULL || !parse_hash(hex, hash))
        return "has no hash that we know";
    if (!parse_scopes(json_object_get(entry, "scopes"), &hash->scopes))
        return "has scopes that are no list of words";
    if (!parse_expiry(json_object_get(entry, "expires_at"), &hash->expires_ns))
        return "has an expires_at that is not like 2026-03-01T08:00:00Z";
    memcpy(info->id, id, TS_KEY_ID_BYTES);
    copy_text(created_at != NULL ? created_at : "", info->created_at, sizeof info->created_at);
    copy_text(note != NULL ? note : "", info->note, sizeof info->note);
    info->scopes = hash->scopes;
    info->expires_ns = hash->expires_ns;
    return NULL;
}

/* ---- the whole file ---- */

/* The array of keys, which *root gets if it has none (the original writes null for none). */
static json_t *
complete(json_t *root)
{
    json_t *keys = json_object_get(root, "keys");

    if (keys == NULL || json_is_null(keys)) {
        if (json_object_set_new(root, "keys", json_array()) != 0)
            return NULL;
        keys = json_object_get(root, "keys");
    }
    return json_is_array(keys) ? keys : NULL;
}

static enum ts_err
check_entries(const json_t *keys)
{
    struct ts_key_info info;
    struct ts_key_hash hash;
    const char *wrong;

    if (json_array_size(keys) > TS_KEYS_MAX)
        return TS_FAIL(TS_E_CORRUPT, "%s: more than %d keys", TS_KEYS_FILE, TS_KEYS_MAX);
    for (size_t i = 0; i < json_array_size(keys); i++) {
        wrong = ts_keyfile_entry(json_array_get(keys, i), &info, &hash);
        if (wrong != NULL)
            return TS_FAIL(TS_E_CORRUPT, "%s: key %zu %s", TS_KEYS_FILE, i + 1, wrong);
    }
    return TS_OK;
}

/* The parser's own text is not used: it quotes the bytes near a fault, which may be a hash. */
enum ts_err
ts_keyfile_parse(const char *text, size_t bytes, json_t **out_root)
{
    json_error_t fault;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &fault);
    enum ts_err err;
    json_t *keys;

    if (root == NULL && json_error_code(&fault) == json_error_out_of_memory)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    if (root == NULL)
        return TS_FAIL(TS_E_CORRUPT, "%s: no JSON at byte %d (line %d)", TS_KEYS_FILE,
                       fault.position, fault.line);
    keys = json_is_object(root) ? complete(root) : NULL;
    if (keys == NULL)
        err = TS_FAIL(TS_E_CORRUPT, "%s: is not an object with an array of keys", TS_KEYS_FILE);
    else
        err = check_entries(keys);
    if (err == TS_OK)
        *out_root = root;
    else
        json_decref(root);
    return err;
}

enum ts_err
ts_keyfile_read(int dir_fd, json_t **out_root, struct ts_smallfile_watch *watch)
{
    char *text = NULL;
    enum ts_err err;
    size_t n = 0;

    err = ts_smallfile_read(dir_fd, TS_KEYS_FILE, FILE_LIMIT_BYTES, &text, &n, watch);
    if (err == TS_OK)
        err = ts_keyfile_parse(text, n, out_root);
    free(text);
    return err;
}

enum ts_err
ts_keyfile_write(int dir_fd, const json_t *root)
{
    char *text = json_dumps(root, JSON_INDENT(2));
    enum ts_err err;

    if (text == NULL)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    if (strlen(text) > FILE_LIMIT_BYTES)
        err = TS_FAIL(TS_E_LIMIT, "%s: would be larger than %u bytes", TS_KEYS_FILE,
                      FILE_LIMIT_BYTES);
    else
        err = ts_smallfile_replace(dir_fd, TS_KEYS_FILE, text, strlen(text), 0600);
    free(text);
    return err;
}

json_t *
ts_keyfile_keys(const json_t *root)
{
    return json_object_get(root, "keys");
}

enum ts_err
ts_keyfile_new(const char *store_name, json_t **out_root)
{
    json_t *root = json_pack("{s:s, s:[]}", "store_name", store_name, "keys");

    if (root == NULL)
        return TS_FAIL(TS_E_NAME, "store name is not UTF-8, or out of memory");
    *out_root = root;
    return TS_OK;
}

static void
now_text(char out[40])
{
    struct timespec now;
    struct tm utc;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    n = strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + n, 40 - n, ".%09ldZ", now.tv_nsec);
}

/* Adds "expires_at" unless the key is for ever; false when out of memory. */
static bool
add_expiry(json_t *entry, int64_t expires_ns)
{
    struct ts_text text;
    bool is_done;

    if (entry == NULL || expires_ns == TS_KEY_NEVER)
        return entry != NULL;
    ts_text_init(&text);
    ts_text_time(&text, expires_ns);
    is_done = !text.failed &&
              json_object_set_new(entry, "expires_at", json_stringn(text.at, text.bytes)) == 0;
    ts_text_done(&text);
    return is_done;
}

json_t *
ts_keyfile_new_entry(const char *key, const struct ts_key_terms *terms)
{
    char hash[BLAKE2B_MARK_BYTES + 2 * TS_KEY_HASH_BYTES + 1] = BLAKE2B_MARK;
    json_t *names = json_array(), *entry;
    uint8_t digest[TS_KEY_HASH_BYTES];
    char id[TS_KEY_ID_BYTES];
    char created_at[40];

    ts_key_id(key, id);
    now_text(created_at);
    ts_key_hash(TS_KEY_BLAKE2B, key, digest);
    sodium_bin2hex(hash + BLAKE2B_MARK_BYTES, 2 * TS_KEY_HASH_BYTES + 1, digest, TS_KEY_HASH_BYTES);
    for (size_t s = 0; s < N_SCOPES; s++)
        if ((terms->scopes & scope_names[s].scope) != 0 &&
            json_array_append_new(names, json_string(scope_names[s].name)) != 0) {
            json_decref(names);
            return NULL;
        }
    entry = json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", id, "hash", hash, "created_at", created_at,
                      "note", terms->note, "scopes", names);
    if (!add_expiry(entry, terms->expires_ns)) {
        json_decref(entry);
        return NULL;
    }
    return entry;
}
