/* keys.c - keys of a store: the file, two editors at once, kills, and the cache of a daemon. */
#include "common/keys.h"

#include "common/smallfile.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define ANY_KEY "tsstore_00000000-0000-0000-0000-000000000000"

static char dir[] = "/tmp/tsstore-keys-XXXXXX";
static char file[64];

static void
put(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");

    cr_assert_not_null(out);
    fputs(text, out);
    fclose(out);
}

static void
make_store(void)
{
    char meta[64];

    cr_assert_not_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/keys.json", dir);
    snprintf(meta, sizeof meta, "%s/meta.tsdb", dir);
    put(meta, "");
}

static void
remove_store(void)
{
    static const char *const names[] = {"keys.json", "meta.tsdb", ".keys.json.new", "aside"};
    char path[96];

    for (size_t i = 0; i < COUNTOF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

TestSuite(keys, .init = make_store, .fini = remove_store, .timeout = 60);

static void
create(char out_key[TS_KEY_TEXT_BYTES])
{
    cr_assert_eq(ts_keys_create(dir, "boiler", "Initial key", out_key), TS_OK, "%s",
                 ts_error_text());
}

static enum ts_err
check(struct ts_keyring *ring, const char *key)
{
    return ts_keyring_check(ring, key, key != NULL ? strlen(key) : 0, TS_SCOPE_READ);
}

static size_t
count_keys(void)
{
    struct ts_key_info *infos = NULL;
    size_t n = 0;

    cr_assert_eq(ts_keys_list(dir, &infos, &n), TS_OK, "%s", ts_error_text());
    free(infos);
    return n;
}

Test(keys, a_new_key_is_a_prefix_and_a_random_uuid)
{
    char key[TS_KEY_TEXT_BYTES], other[TS_KEY_TEXT_BYTES], id[TS_KEY_ID_BYTES];
    regex_t regex;

    create(key);
    create(other);
    cr_assert_eq(regcomp(&regex,
                         "^tsstore_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                         "[0-9a-f]{12}$",
                         REG_EXTENDED | REG_NOSUB),
                 0);
    cr_expect_eq(regexec(&regex, key, 0, NULL, 0), 0, "%s", key);
    cr_expect_eq(regexec(&regex, other, 0, NULL, 0), 0, "%s", other);
    cr_expect_str_neq(key, other);
    ts_key_id(key, id);
    cr_expect_eq(strncmp(id, key + 8, 8), 0);
    ts_key_id("tsstore_short", id);
    cr_expect_str_eq(id, "");
    regfree(&regex);
}

Test(keys, the_file_has_the_contracts_fields_and_no_key)
{
    char key[TS_KEY_TEXT_BYTES], *text = NULL;
    const char *id, *hash, *note, *created_at, *name;
    json_error_t fault;
    size_t n = 0;
    struct stat st;
    json_t *root, *scopes;

    create(key);
    cr_assert_eq(ts_smallfile_read_path(file, 1 << 20, &text, &n), TS_OK);
    cr_expect_null(strstr(text, key + 8 + 9), "the file has the key");
    cr_expect_eq(strstr(text, "{\n  \"store_name\": \"boiler\",\n  \"keys\": [\n"), text, "%s",
                 text);
    cr_expect_eq(text[n - 1], '}');
    root = json_loads(text, JSON_REJECT_DUPLICATES, &fault);
    cr_assert_eq(json_unpack(root, "{s:s, s:[{s:s, s:s, s:s, s:s, s:o}]}", "store_name", &name,
                             "keys", "id", &id, "hash", &hash, "created_at", &created_at, "note",
                             &note, "scopes", &scopes),
                 0);
    cr_expect_eq(strncmp(id, key + 8, 8), 0);
    cr_expect_eq(strncmp(hash, "blake2b:", 8), 0);
    cr_expect_eq(strspn(hash + 8, "0123456789abcdef"), 64);
    cr_expect_str_eq(note, "Initial key");
    cr_expect_eq(strlen(created_at), strlen("2026-03-01T08:00:00.123456789Z"));
    cr_expect_eq(json_array_size(scopes), 3);
    json_decref(root);
    free(text);
    cr_assert_eq(stat(file, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0600);
}

Test(keys, list_shows_what_create_made)
{
    char first[TS_KEY_TEXT_BYTES], second[TS_KEY_TEXT_BYTES];
    struct ts_key_info *infos = NULL;
    size_t n = 0;

    create(first);
    cr_assert_eq(ts_keys_create_scoped(dir, "boiler", "d\xc3\xa9p\xc3\xb4t \"2\"",
                                       TS_SCOPE_READ | TS_SCOPE_DELETE, second),
                 TS_OK);
    cr_assert_eq(ts_keys_list(dir, &infos, &n), TS_OK);
    cr_assert_eq(n, 2);
    cr_expect_eq(strncmp(infos[0].id, first + 8, 8), 0);
    cr_expect_eq(strncmp(infos[1].id, second + 8, 8), 0);
    cr_expect_str_eq(infos[0].note, "Initial key");
    cr_expect_str_eq(infos[1].note, "d\xc3\xa9p\xc3\xb4t \"2\"");
    cr_expect_eq(infos[0].scopes, TS_SCOPE_ALL);
    cr_expect_eq(infos[1].scopes, TS_SCOPE_READ | TS_SCOPE_DELETE);
    free(infos);
}

Test(keys, a_store_without_keys_json_has_no_keys)
{
    char key[TS_KEY_TEXT_BYTES];

    cr_expect_eq(count_keys(), 0);
    cr_expect_eq(ts_keys_revoke(dir, "5f0c11aa"), TS_E_KEY_UNKNOWN);
    cr_expect_str_eq(ts_error_text(), "API key not found");
    cr_assert_eq(ts_keys_regenerate(dir, "boiler", key), TS_OK);
    cr_expect_eq(count_keys(), 1);
}

Test(keys, a_directory_that_is_no_store_is_not_touched)
{
    char bare[] = "/tmp/tsstore-bare-XXXXXX", key[TS_KEY_TEXT_BYTES] = "untouched";
    struct ts_key_info *infos = NULL;
    size_t n = 0;

    cr_assert_not_null(mkdtemp(bare));
    cr_expect_eq(ts_keys_regenerate(bare, "x", key), TS_E_NOT_FOUND);
    cr_expect_str_eq(ts_error_text(), "store not found");
    cr_expect_eq(ts_keys_revoke(bare, "5f0c11aa"), TS_E_NOT_FOUND);
    cr_expect_eq(ts_keys_list(bare, &infos, &n), TS_E_NOT_FOUND);
    cr_expect_eq(rmdir(bare), 0, "something was left in it");
    cr_expect_eq(ts_keys_regenerate(bare, "x", key), TS_E_NOT_FOUND);
    cr_expect_eq(ts_keys_create(bare, "x", "", key), TS_E_NOT_FOUND);
    cr_expect_str_eq(key, "untouched");
    cr_expect_null(infos);
    cr_expect_neq(access(bare, F_OK), 0);
}

Test(keys, regenerate_leaves_one_new_key)
{
    char old[TS_KEY_TEXT_BYTES], other[TS_KEY_TEXT_BYTES], new[TS_KEY_TEXT_BYTES];
    struct ts_keyring *ring = NULL;

    create(old);
    create(other);
    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    cr_expect_eq(check(ring, old), TS_OK);
    cr_assert_eq(ts_keys_regenerate(dir, "boiler", new), TS_OK);
    cr_expect_eq(count_keys(), 1);
    cr_expect_eq(check(ring, new), TS_OK);
    cr_expect_eq(check(ring, old), TS_E_KEY_INVALID);
    cr_expect_eq(check(ring, other), TS_E_KEY_INVALID);
    ts_keyring_close(ring);
}

Test(keys, a_revoked_key_stops_at_once_and_the_others_stay)
{
    char first[TS_KEY_TEXT_BYTES], second[TS_KEY_TEXT_BYTES], id[TS_KEY_ID_BYTES];
    struct ts_keyring *ring = NULL;

    create(first);
    create(second);
    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    cr_expect_eq(check(ring, first), TS_OK);
    ts_key_id(first, id);
    cr_assert_eq(ts_keys_revoke(dir, id), TS_OK);
    cr_expect_eq(check(ring, first), TS_E_KEY_INVALID);
    cr_expect_eq(check(ring, second), TS_OK);
    cr_expect_eq(ts_keys_revoke(dir, id), TS_E_KEY_UNKNOWN);
    ts_key_id(second, id);
    cr_assert_eq(ts_keys_revoke(dir, id), TS_OK);
    cr_expect_eq(count_keys(), 0);
    cr_expect_eq(check(ring, second), TS_E_KEY_INVALID);
    ts_keyring_close(ring);
}

Test(keys, between_two_looks_at_the_file_the_last_reading_counts)
{
    char first[TS_KEY_TEXT_BYTES], second[TS_KEY_TEXT_BYTES], id[TS_KEY_ID_BYTES];
    const size_t bytes = TS_KEY_TEXT_BYTES - 1;
    struct ts_keyring *ring = NULL;
    uint64_t reading;

    create(first);
    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    cr_expect_eq(ts_keyring_check_refreshed(ring, first, bytes, TS_SCOPE_READ), TS_E_KEY_INVALID,
                 "nothing was read yet");
    cr_expect_eq(ts_keyring_check_refreshed(ring, NULL, 0, TS_SCOPE_READ), TS_E_KEY_MISSING);
    cr_expect_eq(ts_keyring_check_refreshed(ring, "no key", 6, TS_SCOPE_READ), TS_E_KEY_FORMAT);
    reading = ts_keyring_refresh(ring);
    cr_expect_eq(ts_keyring_refresh(ring), reading, "the file is the same");
    cr_expect_eq(ts_keyring_check_refreshed(ring, first, bytes, TS_SCOPE_READ), TS_OK);
    create(second);
    ts_key_id(first, id);
    cr_assert_eq(ts_keys_revoke(dir, id), TS_OK);
    cr_expect_eq(ts_keyring_check_refreshed(ring, first, bytes, TS_SCOPE_READ), TS_OK);
    cr_expect_neq(ts_keyring_refresh(ring), reading);
    cr_expect_eq(ts_keyring_check_refreshed(ring, first, bytes, TS_SCOPE_READ), TS_E_KEY_INVALID);
    cr_expect_eq(ts_keyring_check_refreshed(ring, second, bytes, TS_SCOPE_READ), TS_OK);
    ts_keyring_close(ring);
}

Test(keys, checks_come_in_the_contracts_order_with_its_words)
{
    static const struct {
        const char *key;
        enum ts_err err;
        const char *text;
    } rows[] = {
        {NULL, TS_E_KEY_MISSING, "API key required"},
        {"", TS_E_KEY_MISSING, "API key required"},
        {"x", TS_E_KEY_FORMAT, "invalid API key format"},
        {"tsstore_", TS_E_KEY_FORMAT, "invalid API key format"},
        {"tsstore_00000000-0000-0000-0000-00000000000", TS_E_KEY_FORMAT, "invalid API key format"},
        {"TSSTORE_00000000-0000-0000-0000-000000000000", TS_E_KEY_FORMAT, "invalid API key format"},
        {ANY_KEY, TS_E_KEY_STORE, "authentication failed"},
        {ANY_KEY "and more", TS_E_KEY_STORE, "authentication failed"},
    };
    char key[TS_KEY_TEXT_BYTES], longer[TS_KEY_TEXT_BYTES + 1];
    struct ts_keyring *ring = NULL;

    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        cr_expect_eq(check(ring, rows[i].key), rows[i].err, "row %zu", i);
        cr_expect_str_eq(ts_error_text(), rows[i].text);
    }
    create(key);
    snprintf(longer, sizeof longer, "%sx", key);
    cr_expect_eq(check(ring, key), TS_OK);
    cr_expect_eq(check(ring, longer), TS_E_KEY_INVALID);
    cr_expect_eq(check(ring, ANY_KEY), TS_E_KEY_INVALID);
    cr_expect_str_eq(ts_error_text(), "invalid API key");
    key[43] ^= 1;
    cr_expect_eq(check(ring, key), TS_E_KEY_INVALID);
    ts_keyring_close(ring);
}

Test(keys, a_key_may_do_what_its_scopes_say)
{
    char keys[8][TS_KEY_TEXT_BYTES];
    struct ts_keyring *ring = NULL;

    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    for (unsigned has = 1; has <= TS_SCOPE_ALL; has++)
        cr_assert_eq(ts_keys_create_scoped(dir, "boiler", "", has, keys[has]), TS_OK);
    for (unsigned has = 1; has <= TS_SCOPE_ALL; has++)
        for (unsigned wants = 0; wants <= TS_SCOPE_ALL; wants++)
            cr_expect_eq(ts_keyring_check(ring, keys[has], strlen(keys[has]), wants),
                         (has & wants) == wants ? TS_OK : TS_E_SCOPE, "%u wants %u", has, wants);
    cr_expect_eq(ts_keys_create_scoped(dir, "boiler", "", 0, keys[0]), TS_E_PARAM);
    cr_expect_eq(ts_keys_create_scoped(dir, "boiler", "", 8, keys[0]), TS_E_PARAM);
    ts_keyring_close(ring);
}

#define SECOND_NS INT64_C(1000000000)

static int64_t
clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

Test(keys, an_expired_key_is_an_invalid_one)
{
    struct ts_key_terms terms = {.note = "short", .scopes = TS_SCOPE_READ};
    char key[TS_KEY_TEXT_BYTES], other[TS_KEY_TEXT_BYTES];
    struct ts_key_info *infos = NULL;
    struct ts_keyring *ring = NULL;
    size_t n = 0;
    int64_t end_ns;

    create(other);
    /* The file has whole seconds: one to two of them are left. */
    terms.expires_ns = clock_now_ns() + 2 * SECOND_NS;
    cr_assert_eq(ts_keys_add(dir, "boiler", &terms, key), TS_OK, "%s", ts_error_text());
    cr_assert_eq(ts_keys_list(dir, &infos, &n), TS_OK);
    end_ns = infos[1].expires_ns;
    cr_expect_eq(infos[0].expires_ns, TS_KEY_NEVER);
    cr_expect_eq(end_ns, terms.expires_ns - terms.expires_ns % SECOND_NS);
    free(infos);
    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    for (;;) {
        const enum ts_err err = check(ring, key);
        const int64_t now_ns = clock_now_ns();

        if (err != TS_OK) {
            cr_expect_eq(err, TS_E_KEY_INVALID);
            cr_expect_str_eq(ts_error_text(), "invalid API key");
            cr_expect_geq(now_ns, end_ns);
            break;
        }
        cr_assert_lt(now_ns, end_ns + 5 * SECOND_NS, "it never expires");
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    cr_expect_eq(ts_keyring_check(ring, key, strlen(key), TS_SCOPE_WRITE), TS_E_KEY_INVALID,
                 "its scopes are nobody's business any more");
    cr_expect_eq(check(ring, other), TS_OK);
    ts_keyring_close(ring);
}

Test(keys, a_key_cannot_be_made_for_the_past)
{
    const int64_t now_ns = clock_now_ns();
    const int64_t times[] = {0, -1, INT64_MIN, 1, now_ns - SECOND_NS, now_ns};
    struct ts_key_terms terms = {.note = "", .scopes = TS_SCOPE_ALL};
    char key[TS_KEY_TEXT_BYTES] = "untouched";

    for (size_t i = 0; i < COUNTOF(times); i++) {
        terms.expires_ns = times[i];
        cr_expect_eq(ts_keys_add(dir, "boiler", &terms, key), TS_E_PARAM, "%zu", i);
    }
    cr_expect_str_eq(key, "untouched");
    cr_expect_eq(count_keys(), 0);
}

/* SHA-256 of ANY_KEY, as the original would write it. */
#define ANY_KEY_SHA256 "0e2b31df5ad41aa9b08cb55155da61f9b37ccb357afa4d9cb94625ec471e42f8"

Test(keys, an_imported_key_is_verified_and_survives_edits)
{
    char key[TS_KEY_TEXT_BYTES], *text = NULL;
    struct ts_keyring *ring = NULL;
    size_t n = 0;

    put(file, "{\"store_name\":\"boiler\",\"vendor\":{\"x\":1},\"keys\":[{\"id\":\"00000000\","
              "\"hash\":\"" ANY_KEY_SHA256 "\",\"created_at\":\"2026-03-01T08:00:00+01:00\","
              "\"note\":\"Initial key\",\"owner\":\"jo\"}]}");
    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    cr_expect_eq(ts_keyring_check(ring, ANY_KEY, strlen(ANY_KEY), TS_SCOPE_ALL), TS_OK, "%s",
                 ts_error_text());
    create(key);
    cr_expect_eq(check(ring, ANY_KEY), TS_OK);
    cr_expect_eq(check(ring, key), TS_OK);
    cr_assert_eq(ts_smallfile_read_path(file, 1 << 20, &text, &n), TS_OK);
    cr_expect_not_null(strstr(text, "\"vendor\""));
    cr_expect_not_null(strstr(text, "\"owner\": \"jo\""));
    cr_expect_not_null(strstr(text, ANY_KEY_SHA256));
    free(text);
    cr_assert_eq(ts_keys_revoke(dir, "00000000"), TS_OK);
    cr_expect_eq(check(ring, ANY_KEY), TS_E_KEY_INVALID);
    ts_keyring_close(ring);
}

#define ENTRY(id, hash, more) "{\"keys\":[{\"id\":\"" id "\",\"hash\":\"" hash "\"" more "}]}"

static const char *const damaged[] = {
    "",
    "{",
    "[]",
    "null",
    "{\"keys\":{}}",
    "{\"keys\":[1]}",
    "{\"keys\":[{}]}",
    "{\"keys\":[[]]}",
    "{\"keys\":[],\"keys\":[]}",
    "{\"keys\":[]} x",
    "{\"keys\":[{\"id\":\"\xff\"}]}",
    "{\"keys\":[{\"hash\":\"" ANY_KEY_SHA256 "\"}]}",
    ENTRY("0000000", ANY_KEY_SHA256, ""),
    ENTRY("000000000", ANY_KEY_SHA256, ""),
    ENTRY("00\\u001b[2J", ANY_KEY_SHA256, ""),
    ENTRY("00000000", "", ""),
    ENTRY("00000000", ANY_KEY_SHA256 "0", ""),
    ENTRY("00000000", "md5:" ANY_KEY_SHA256, ""),
    ENTRY("00000000", "blake2b:", ""),
    ENTRY("00000000", "blake2b:zz", ""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"scopes\":\"all\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"scopes\":null"),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"scopes\":[1]"),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":null"),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":1767225600"),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"never\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2026-03-01\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2026-03-01T08:00:00\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2026-03-01T08:00:00Zx\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2026-03-01T08:00:00.Z\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2026-03-01T08:00:00+01:00\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2026-02-30T08:00:00Z\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2026-03-01T24:00:00Z\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2026-3-01T08:00:00Z\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2026-03-01 08:00:00Z\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"+026-03-01T08:00:00Z\""),
    ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"1969-12-31T23:59:59Z\""),
    "{\"keys\":[{\"id\":\"00000000\",\"hash\":\"" ANY_KEY_SHA256 "\"},{\"id\":1}]}",
    "{\"hash\":\"" ANY_KEY_SHA256 "\" oops",
};

Test(keys, a_damaged_file_lets_nobody_in_and_quotes_no_hash)
{
    struct ts_keyring *ring = NULL;
    char trouble[512], key[TS_KEY_TEXT_BYTES];

    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    for (size_t i = 0; i < COUNTOF(damaged); i++) {
        put(file, damaged[i]);
        cr_expect_eq(check(ring, ANY_KEY), TS_E_KEY_STORE, "%s", damaged[i]);
        cr_expect_str_eq(ts_error_text(), "authentication failed");
        ts_keyring_trouble(ring, trouble, sizeof trouble);
        cr_expect_eq(strncmp(trouble, "keys.json: ", 11), 0, "%s: %s", damaged[i], trouble);
        cr_expect_null(strstr(trouble, &ANY_KEY_SHA256[4]), "%s", trouble);
        cr_expect_eq(ts_keys_create(dir, "boiler", "", key), TS_E_CORRUPT, "%s", damaged[i]);
        cr_expect_eq(ts_keys_revoke(dir, "00000000"), TS_E_CORRUPT, "%s", damaged[i]);
    }
    /* The way out. */
    cr_expect_eq(ts_keys_regenerate(dir, "boiler", key), TS_OK);
    cr_expect_eq(check(ring, key), TS_OK);
    ts_keyring_trouble(ring, trouble, sizeof trouble);
    cr_expect_str_eq(trouble, "");
    ts_keyring_close(ring);
}

Test(keys, odd_but_honest_files_are_taken)
{
    static const struct {
        const char *text;
        enum ts_err read, write;
    } rows[] = {
        {"{}", TS_E_KEY_INVALID, TS_E_KEY_INVALID},
        {"{\"keys\":null}", TS_E_KEY_INVALID, TS_E_KEY_INVALID},
        {ENTRY("00000000", ANY_KEY_SHA256, ""), TS_OK, TS_OK},
        {ENTRY("00000000", ANY_KEY_SHA256, ",\"scopes\":[]"), TS_E_SCOPE, TS_E_SCOPE},
        {ENTRY("00000000", ANY_KEY_SHA256, ",\"scopes\":[\"read\"]"), TS_OK, TS_E_SCOPE},
        {ENTRY("00000000", ANY_KEY_SHA256, ",\"scopes\":[\"fly\",\"write\"]"), TS_E_SCOPE, TS_OK},
        {ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2999-12-31T23:59:59Z\""), TS_OK,
         TS_OK},
        {ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2200-01-01T00:00:00.123456789Z\""),
         TS_OK, TS_OK},
        {ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"1970-01-01T00:00:00Z\""),
         TS_E_KEY_INVALID, TS_E_KEY_INVALID},
        {ENTRY("00000000", ANY_KEY_SHA256, ",\"expires_at\":\"2020-02-29T12:00:00Z\""),
         TS_E_KEY_INVALID, TS_E_KEY_INVALID},
    };
    struct ts_keyring *ring = NULL;

    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        put(file, rows[i].text);
        cr_expect_eq(ts_keyring_check(ring, ANY_KEY, 44, TS_SCOPE_READ), rows[i].read, "%zu", i);
        cr_expect_eq(ts_keyring_check(ring, ANY_KEY, 44, TS_SCOPE_WRITE), rows[i].write, "%zu", i);
    }
    ts_keyring_close(ring);
}

Test(keys, notes_are_bounded_and_clean)
{
    char note[TS_KEY_NOTE_BYTES + 1], key[TS_KEY_TEXT_BYTES] = "untouched";
    struct ts_key_info *infos = NULL;
    char text[1024];
    size_t n = 0;

    memset(note, 'n', sizeof note);
    note[TS_KEY_NOTE_BYTES] = '\0';
    cr_expect_eq(ts_keys_create(dir, "boiler", note, key), TS_E_PARAM);
    cr_expect_eq(ts_keys_create(dir, "boiler", "\xff", key), TS_E_PARAM);
    cr_expect_eq(ts_keys_create(dir, "boiler", "a\nb", key), TS_E_PARAM);
    cr_expect_eq(ts_keys_create(dir, "\xff", "", key), TS_E_NAME);
    cr_expect_str_eq(key, "untouched");
    cr_expect_neq(access(file, F_OK), 0);
    note[TS_KEY_NOTE_BYTES - 1] = '\0';
    cr_expect_eq(ts_keys_create(dir, "boiler", note, key), TS_OK);

    /* Of a foreign file: cut between characters, controls made harmless. */
    memset(note, 'n', 126);
    snprintf(text, sizeof text, ENTRY("00000000", ANY_KEY_SHA256, ",\"note\":\"\\u001b%.125s%s\""),
             note, "\xc3\xa9\xc3\xa9");
    put(file, text);
    cr_assert_eq(ts_keys_list(dir, &infos, &n), TS_OK, "%s", ts_error_text());
    cr_expect_eq(strlen(infos[0].note), 126);
    cr_expect_eq(infos[0].note[0], '?');
    free(infos);
}

Test(keys, a_store_holds_a_bounded_number_of_keys)
{
    char *text = malloc(TS_KEYS_MAX * 128 + 256), *at = text, key[TS_KEY_TEXT_BYTES];
    struct ts_keyring *ring = NULL;

    at += sprintf(at, "{\"keys\":[");
    for (int i = 0; i < TS_KEYS_MAX; i++)
        at +=
            sprintf(at, "%s{\"id\":\"%08d\",\"hash\":\"" ANY_KEY_SHA256 "\"}", i > 0 ? "," : "", i);
    strcpy(at, "]}");
    put(file, text);
    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    cr_expect_eq(check(ring, ANY_KEY), TS_OK);
    cr_expect_eq(ts_keys_create(dir, "boiler", "", key), TS_E_LIMIT);
    strcpy(at, ",{\"id\":\"0000000x\",\"hash\":\"" ANY_KEY_SHA256 "\"}]}");
    put(file, text);
    cr_expect_eq(check(ring, ANY_KEY), TS_E_KEY_STORE);
    ts_keyring_close(ring);
    free(text);
}

Test(keys, while_the_file_is_away_nobody_gets_in)
{
    char key[TS_KEY_TEXT_BYTES], aside[96], trouble[256];
    struct ts_keyring *ring = NULL;

    create(key);
    snprintf(aside, sizeof aside, "%s/aside", dir);
    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(check(ring, key), TS_OK);
        cr_assert_eq(rename(file, aside), 0);
        cr_expect_eq(check(ring, key), TS_E_KEY_STORE);
        ts_keyring_trouble(ring, trouble, sizeof trouble);
        cr_expect_not_null(strstr(trouble, "No such file"), "%s", trouble);
        cr_assert_eq(rename(aside, file), 0);
    }
    cr_expect_eq(check(ring, key), TS_OK);
    ts_keyring_close(ring);
}

/* Two replacements between two looks: the size is the same, the time often is, and so would be the
 * inode if the first file's were free to be used again. */
Test(keys, changes_in_quick_succession_are_all_seen)
{
    char key[TS_KEY_TEXT_BYTES], old[TS_KEY_TEXT_BYTES];
    struct ts_keyring *ring = NULL;

    cr_assert_eq(ts_keys_regenerate(dir, "boiler", old), TS_OK);
    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(check(ring, old), TS_OK, "round %d", i);
        cr_assert_eq(ts_keys_regenerate(dir, "boiler", key), TS_OK);
        cr_assert_eq(ts_keys_regenerate(dir, "boiler", key), TS_OK);
        cr_assert_eq(check(ring, old), TS_E_KEY_INVALID, "round %d", i);
        memcpy(old, key, sizeof old);
    }
    ts_keyring_close(ring);
}

static int
count_open_files(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

Test(keys, no_call_leaves_a_file_open)
{
    char key[TS_KEY_TEXT_BYTES], id[TS_KEY_ID_BYTES];
    struct ts_keyring *ring = NULL;
    const int n_before = count_open_files();

    create(key);
    ts_key_id(key, id);
    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    cr_expect_eq(check(ring, key), TS_OK);
    cr_expect_eq(ts_keys_revoke(dir, id), TS_OK);
    cr_expect_eq(ts_keys_revoke(dir, id), TS_E_KEY_UNKNOWN);
    cr_expect_eq(ts_keys_regenerate(dir, "boiler", key), TS_OK);
    put(file, "{");
    cr_expect_eq(check(ring, key), TS_E_KEY_STORE);
    cr_expect_eq(ts_keys_create(dir, "boiler", "", key), TS_E_CORRUPT);
    ts_keyring_close(ring);
    ts_keyring_close(NULL);
    cr_expect_eq(count_open_files(), n_before);
}

/* A child that adds keys until it has made `n` or is killed; each key goes to the pipe once the
 * call has returned it. */
static pid_t
start_editor(int n, int pipe_fd)
{
    const pid_t pid = fork();
    char key[TS_KEY_TEXT_BYTES];

    cr_assert(pid >= 0);
    if (pid != 0)
        return pid;
    for (int i = 0; i < n; i++) {
        if (ts_keys_create(dir, "boiler", "Initial key", key) != TS_OK)
            _exit(1);
        if (write(pipe_fd, key, sizeof key) != sizeof key)
            _exit(2);
    }
    _exit(0);
}

/* Every key that went through the pipe, which is closed, is in the file. Returns how many. */
static size_t
expect_all_keys(int pipe_fd)
{
    char key[TS_KEY_TEXT_BYTES];
    struct ts_keyring *ring = NULL;
    size_t n = 0;

    cr_assert_eq(ts_keyring_open(dir, &ring), TS_OK);
    for (; read(pipe_fd, key, sizeof key) == sizeof key; n++)
        cr_assert_eq(check(ring, key), TS_OK, "key %zu is lost", n);
    ts_keyring_close(ring);
    return n;
}

Test(keys, two_processes_that_edit_at_once_lose_no_key)
{
    pid_t pids[3];
    int status, ends[2];

    cr_assert_eq(pipe(ends), 0);
    for (size_t i = 0; i < COUNTOF(pids); i++)
        pids[i] = start_editor(30, ends[1]);
    for (size_t i = 0; i < COUNTOF(pids); i++) {
        cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    close(ends[1]);
    cr_expect_eq(expect_all_keys(ends[0]), 30 * COUNTOF(pids));
    cr_expect_eq(count_keys(), 30 * COUNTOF(pids));
    close(ends[0]);
}

Test(keys, an_editor_killed_at_any_moment_loses_no_key_and_blocks_nobody)
{
    char key[TS_KEY_TEXT_BYTES];
    size_t n_kept = 0;

    srand(7);
    for (int round = 0; round < 30; round++) {
        const struct timespec pause = {.tv_nsec = 500000L + rand() % 6000000};
        int ends[2], status;
        pid_t pids[2];

        unlink(file);
        cr_assert_eq(pipe(ends), 0);
        pids[0] = start_editor(10000, ends[1]);
        pids[1] = start_editor(10000, ends[1]);
        nanosleep(&pause, NULL);
        for (int i = 0; i < 2; i++) {
            kill(pids[i], SIGKILL);
            cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
            cr_assert(WIFSIGNALED(status));
        }
        close(ends[1]);
        n_kept += expect_all_keys(ends[0]);
        close(ends[0]);
        create(key); /* neither a lock nor a temporary file is in the way */
    }
    cr_expect(n_kept > 0, "the children never got anywhere");
}

#define N_THREADS 4

struct watch {
    struct ts_keyring *ring;
    char lasting[TS_KEY_TEXT_BYTES]; /* is never revoked */
    _Atomic bool is_over;
    _Atomic int n_wrong, n_checks;
};

static void *
watch_keys(void *arg)
{
    struct watch *watch = arg;

    while (!watch->is_over) {
        if (check(watch->ring, watch->lasting) != TS_OK)
            watch->n_wrong++;
        if (check(watch->ring, ANY_KEY) != TS_E_KEY_INVALID)
            watch->n_wrong++;
        watch->n_checks += 2;
    }
    return NULL;
}

Test(keys, many_threads_check_while_keys_come_and_go)
{
    static struct watch watch;
    char key[TS_KEY_TEXT_BYTES], id[TS_KEY_ID_BYTES];
    pthread_t threads[N_THREADS];

    create(watch.lasting);
    cr_assert_eq(ts_keyring_open(dir, &watch.ring), TS_OK);
    for (int i = 0; i < N_THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, watch_keys, &watch), 0);
    for (int i = 0; i < 60; i++) {
        create(key);
        cr_expect_eq(check(watch.ring, key), TS_OK);
        ts_key_id(key, id);
        cr_assert_eq(ts_keys_revoke(dir, id), TS_OK);
        cr_expect_eq(check(watch.ring, key), TS_E_KEY_INVALID);
    }
    watch.is_over = true;
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(watch.n_wrong, 0);
    cr_expect(watch.n_checks > 0);
    ts_keyring_close(watch.ring);
}

Test(keys, an_editor_waits_for_the_lock)
{
    const struct timespec pause = {.tv_nsec = 100000000};
    char key[TS_KEY_TEXT_BYTES];
    int ends[2], dir_fd = -1, status;
    pid_t pid;

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(ts_smallfile_open_dir(dir, &dir_fd), TS_OK);
    cr_assert_eq(ts_smallfile_lock(dir_fd, 0), TS_OK);
    pid = start_editor(1, ends[1]);
    nanosleep(&pause, NULL);
    cr_expect_neq(access(file, F_OK), 0, "the lock was not respected");
    /* The child shares the description of dir_fd: closing ours would not unlock it. */
    cr_assert_eq(flock(dir_fd, LOCK_UN), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_expect_eq(read(ends[0], key, sizeof key), (ssize_t)sizeof key);
    close(dir_fd);
}

Test(keys, admin_keys_are_compared_whole)
{
    static const struct {
        const char *want, *given;
        enum ts_err err;
    } rows[] = {
        {"12345678901234567890", "12345678901234567890", TS_OK},
        {"12345678901234567890", NULL, TS_E_ADMIN_MISSING},
        {"12345678901234567890", "", TS_E_ADMIN_MISSING},
        {"12345678901234567890", "1234567890123456789", TS_E_ADMIN_INVALID},
        {"12345678901234567890", "123456789012345678901", TS_E_ADMIN_INVALID},
        {"12345678901234567890", "02345678901234567890", TS_E_ADMIN_INVALID},
        {"12345678901234567890", "12345678901234567891", TS_E_ADMIN_INVALID},
        {"", "x", TS_E_ADMIN_INVALID},
        {NULL, "x", TS_E_ADMIN_INVALID},
        {NULL, NULL, TS_E_ADMIN_MISSING},
    };

    for (size_t i = 0; i < COUNTOF(rows); i++)
        cr_expect_eq(ts_admin_key_check(rows[i].want, rows[i].given), rows[i].err, "row %zu", i);
    cr_expect_eq(ts_admin_key_check("x", ""), TS_E_ADMIN_MISSING);
    cr_expect_str_eq(ts_error_text(), "admin key required");
    cr_expect_eq(ts_admin_key_check("x", "y"), TS_E_ADMIN_INVALID);
    cr_expect_str_eq(ts_error_text(), "invalid admin key");
}
