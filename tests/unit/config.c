/* config.c - the layers of the configuration, hostile values, and what is never told. */
#include "common/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define SECRET "s3cret-s3cret-s3cret-s3cret"

static char dir[] = "/tmp/tsstore-config-XXXXXX";
static struct ts_config config;

/* An empty working directory and no variable of ours. */
static void
start_clean(void)
{
    static const char *const names[] = {
        "TSSTORE_ADMIN_KEY", "TSSTORE_ADMIN_KEY_FILE", "TSSTORE_HOST",     "TSSTORE_PORT",
        "TSSTORE_MODE",      "TSSTORE_DATA_PATH",      "TSSTORE_TLS_CERT", "TSSTORE_TLS_KEY",
        "TSSTORE_CONFIG",    "TSSTORE_SOCKET_PATH",    "TSSTORE_RUN_DIR",  "TSSTORE_INGEST_HTTP",
        "TSSTORE_LOG_LEVEL", "CREDENTIALS_DIRECTORY",
    };

    for (size_t i = 0; i < COUNTOF(names); i++)
        unsetenv(names[i]);
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
}

static void
clean_up(void)
{
    static const char *const names[] = {"config.json", "other.json", "admin_key", "cert", "key"};

    for (size_t i = 0; i < COUNTOF(names); i++)
        unlink(names[i]);
    rmdir(dir);
}

TestSuite(config, .init = start_clean, .fini = clean_up, .timeout = 30);

static void
put(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void
load(void)
{
    cr_assert_eq(ts_config_load(&config, NULL), TS_OK, "%s", ts_error_text());
}

static enum ts_config_source
source_of(const char *key)
{
    struct ts_config_entry entry;

    for (size_t i = 0; ts_config_entry_get(&config, i, &entry); i++)
        if (strcmp(entry.key, key) == 0)
            return entry.source;
    cr_assert_fail("no key %s", key);
    return TS_SOURCE_DEFAULT;
}

Test(config, without_a_file_or_a_variable_the_defaults_hold)
{
    load();
    cr_expect_str_eq(config.host, "127.0.0.1");
    cr_expect_eq(config.port, 21080);
    cr_expect_str_eq(config.ingest_host, "127.0.0.1");
    cr_expect_eq(config.ingest_port, 21081);
    cr_expect_eq(config.mode, TS_MODE_RELEASE);
    cr_expect_str_eq(config.socket_path, "/var/run/tsstore/tsstore.sock");
    cr_expect_str_eq(config.run_dir, "/var/run/tsstore");
    cr_expect_str_eq(config.admin_key, "");
    cr_expect_str_eq(config.base_path, "./data");
    cr_expect_eq(config.num_blocks, 1024);
    cr_expect_eq(config.data_block_bytes, 4096);
    cr_expect_eq(config.index_block_bytes, 4096);
    cr_expect_eq(config.max_line_bytes, 1 << 20);
    cr_expect_eq(config.max_body_bytes, 64 << 20);
    cr_expect_eq(config.max_connections, 256);
    cr_expect_eq(config.max_feeders, 1024);
    cr_expect_eq(config.auth_timeout_ms, 10000);
    cr_expect_eq(config.log_level, TS_LOG_INFO);
    cr_expect_str_eq(config.file, "");
}

Test(config, a_complete_file_sets_everything)
{
    put("config.json",
        "{\"server\":{\"host\":\"0.0.0.0\",\"port\":1,\"ingest_host\":\"gw-1.lan\","
        "\"ingest_port\":65535,\"mode\":\"debug\",\"socket_path\":\"/tmp/a/b.sock\","
        "\"admin_key\":\"" SECRET "\",\"tls\":{\"cert_file\":\"c\",\"key_file\":\"k\"}},"
        "\"store\":{\"base_path\":\"/var/lib/tsstore\",\"num_blocks\":4294967295,"
        "\"data_block_size\":64,\"index_block_size\":2147483648},"
        "\"limits\":{\"max_line_bytes\":64,\"max_body_bytes\":4294967296,\"max_connections\":1,"
        "\"max_feeders\":100000,\"auth_timeout_ms\":10},\"log\":{\"level\":\"error\"}}");
    load();
    cr_expect_str_eq(config.host, "0.0.0.0");
    cr_expect_eq(config.port, 1);
    cr_expect_str_eq(config.ingest_host, "gw-1.lan");
    cr_expect_eq(config.ingest_port, 65535);
    cr_expect_eq(config.mode, TS_MODE_DEBUG);
    cr_expect_str_eq(config.socket_path, "/tmp/a/b.sock");
    cr_expect_str_eq(config.run_dir, "/tmp/a");
    cr_expect_str_eq(config.admin_key, SECRET);
    cr_expect_str_eq(config.tls_cert_file, "c");
    cr_expect_str_eq(config.tls_key_file, "k");
    cr_expect_str_eq(config.base_path, "/var/lib/tsstore");
    cr_expect_eq(config.num_blocks, UINT32_MAX);
    cr_expect_eq(config.data_block_bytes, 64);
    cr_expect_eq(config.index_block_bytes, UINT32_C(1) << 31);
    cr_expect_eq(config.max_line_bytes, 64);
    cr_expect_eq(config.max_body_bytes, UINT64_C(1) << 32);
    cr_expect_eq(config.max_connections, 1);
    cr_expect_eq(config.max_feeders, 100000);
    cr_expect_eq(config.auth_timeout_ms, 10);
    cr_expect_eq(config.log_level, TS_LOG_ERROR);
    cr_expect_str_eq(config.file, "config.json");
}

Test(config, a_flag_wins_over_a_variable_over_the_file_over_the_default)
{
    put("config.json", "{\"server\":{\"host\":\"1.1.1.1\",\"port\":1111,\"mode\":\"debug\"}}");
    setenv("TSSTORE_HOST", "2.2.2.2", 1);
    setenv("TSSTORE_PORT", "2222", 1);
    load();
    cr_assert_eq(ts_config_set_flag(&config, "server.host", "3.3.3.3"), TS_OK);
    cr_expect_str_eq(config.host, "3.3.3.3");
    cr_expect_eq(source_of("server.host"), TS_SOURCE_FLAG);
    cr_expect_eq(config.port, 2222);
    cr_expect_eq(source_of("server.port"), TS_SOURCE_ENV);
    cr_expect_eq(config.mode, TS_MODE_DEBUG);
    cr_expect_eq(source_of("server.mode"), TS_SOURCE_FILE);
    cr_expect_eq(source_of("server.ingest_port"), TS_SOURCE_DEFAULT);
    cr_expect_eq(source_of("server.run_dir"), TS_SOURCE_DERIVED);
}

Test(config, every_variable_is_read)
{
    setenv("TSSTORE_ADMIN_KEY", SECRET, 1);
    setenv("TSSTORE_HOST", "h", 1);
    setenv("TSSTORE_PORT", "0", 1);
    setenv("TSSTORE_MODE", "debug", 1);
    setenv("TSSTORE_DATA_PATH", "/d", 1);
    setenv("TSSTORE_SOCKET_PATH", "s.sock", 1);
    setenv("TSSTORE_TLS_CERT", "c", 1);
    setenv("TSSTORE_TLS_KEY", "k", 1);
    setenv("TSSTORE_INGEST_HTTP", "localhost:9", 1);
    setenv("TSSTORE_LOG_LEVEL", "debug", 1);
    load();
    cr_expect_str_eq(config.admin_key, SECRET);
    cr_expect_str_eq(config.host, "h");
    cr_expect_eq(config.port, 0);
    cr_expect_eq(config.mode, TS_MODE_DEBUG);
    cr_expect_str_eq(config.base_path, "/d");
    cr_expect_str_eq(config.socket_path, "s.sock");
    cr_expect_str_eq(config.run_dir, ".");
    cr_expect_str_eq(config.tls_cert_file, "c");
    cr_expect_str_eq(config.tls_key_file, "k");
    cr_expect_str_eq(config.ingest_host, "localhost");
    cr_expect_eq(config.ingest_port, 9);
    cr_expect_eq(config.log_level, TS_LOG_DEBUG);
    setenv("TSSTORE_RUN_DIR", "/run/x", 1);
    load();
    cr_expect_str_eq(config.run_dir, "/run/x");
}

Test(config, an_empty_variable_counts_as_not_set)
{
    setenv("TSSTORE_SOCKET_PATH", "", 1);
    setenv("TSSTORE_PORT", "", 1);
    setenv("TSSTORE_CONFIG", "", 1);
    load();
    cr_expect_str_eq(config.socket_path, "/var/run/tsstore/tsstore.sock");
    cr_expect_eq(config.port, 21080);
}

Test(config, an_empty_socket_path_in_the_file_switches_it_off_and_keeps_the_run_dir)
{
    put("config.json", "{\"server\":{\"socket_path\":\"\",\"tls\":{\"cert_file\":\"\"},"
                       "\"host\":\"\",\"port\":null},\"store\":null}");
    load();
    cr_expect_str_eq(config.socket_path, "");
    cr_expect_str_eq(config.run_dir, "/var/run/tsstore");
    cr_expect_str_eq(config.host, "127.0.0.1");
    cr_expect_eq(config.port, 21080);
}

Test(config, the_run_dir_is_where_the_socket_is)
{
    static const struct {
        const char *socket, *want;
    } rows[] = {{"/a/b/c.sock", "/a/b"}, {"/c.sock", "/"},  {"c.sock", "."},
                {"./c.sock", "."},       {"a/c.sock", "a"}, {"", "a"}};

    load();
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        cr_assert_eq(ts_config_set_flag(&config, "server.socket_path", rows[i].socket), TS_OK);
        cr_expect_str_eq(config.run_dir, rows[i].want, "%s", rows[i].socket);
    }
    cr_assert_eq(ts_config_set_flag(&config, "server.run_dir", "/r"), TS_OK);
    cr_assert_eq(ts_config_set_flag(&config, "server.socket_path", "/x/y.sock"), TS_OK);
    cr_expect_str_eq(config.run_dir, "/r");
}

Test(config, what_is_wrong_in_a_file_is_told_with_its_place)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", "config.json: the JSON ends too early at line 1"},
        {"{", "config.json: the JSON ends too early at line 1"},
        {"{\n\"server\": {\"admin_key\": \"" SECRET "\" x}}", "not valid JSON at line 2"},
        {"{} {}", "not valid JSON at line 1"},
        {"{\"server\":{\"port\":1,\"port\":2}}", "a key is there twice"},
        {"{\"server\":{\"host\":\"\xff\"}}", "not UTF-8"},
        {"[]", "config.json: must be a JSON object"},
        {"{\"server\":[]}", "config.json: server: must be an object"},
        {"{\"server\":{\"tls\":\"x\"}}", "server.tls: must be an object"},
        {"{\"server\":{\"port\":\"21080\"}}",
         "server.port: must be a whole number from 0 to 65535"},
        {"{\"server\":{\"port\":65536}}", "\"65536\" is not a whole number from 0 to 65535"},
        {"{\"server\":{\"port\":-1}}", "\"-1\" is not a whole number"},
        {"{\"server\":{\"port\":1.0}}", "must be a whole number"},
        {"{\"server\":{\"port\":99999999999999999999}}", "not valid JSON"},
        {"{\"server\":{\"host\":5}}", "server.host: must be a string"},
        {"{\"server\":{\"host\":\"0.0.0.0,80\"}}", "is not an IPv4 address or host name"},
        {"{\"server\":{\"host\":\"a\\u0000b\"}}", "not valid JSON"},
        {"{\"server\":{\"mode\":\"loud\"}}", "\"loud\" is not one of release, debug"},
        {"{\"server\":{\"socket_path\":\"/tmp/\"}}", "\"/tmp/\" names a directory"},
        {"{\"server\":{\"socket_path\":\"a\\nb\"}}", "contains a control character"},
        {"{\"server\":{\"admin_key\":{\"x\":\"" SECRET "\"}}}", "admin_key: must be a string"},
        {"{\"server\":{\"admin_key\":\"" SECRET "\\n\"}}", "contains a control character"},
        {"{\"store\":{\"data_block_size\":1000}}", "\"1000\" is not a power of two from 64"},
        {"{\"store\":{\"num_blocks\":0}}", "\"0\" is not a whole number from 1 to 4294967295"},
        {"{\"log\":{\"level\":\"INFO\"}}", "not one of error, warning, info, debug"},
        {"{\"server\":{\"prot\":1}}", "unknown key \"server.prot\": did you mean \"server.port\"?"},
        {"{\"port\":1}", "unknown key \"port\": did you mean \"server.port\"?"},
        {"{\"server\":{\"num_blocks\":1}}", "did you mean \"store.num_blocks\"?"},
        {"{\"server\":{\"admin_kye\":\"" SECRET "\"}}", "did you mean \"server.admin_key\"?"},
        {"{\"sever\":{}}", "unknown key \"sever\""},
        {"{\"\":{}}", "unknown key \"\""},
        {"{\"server\":{\"\":1}}", "unknown key \"server.\""},
    };
    struct ts_config before;

    load();
    before = config;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        put("config.json", rows[i].text);
        cr_expect_eq(ts_config_load(&config, NULL), TS_E_CONFIG, "%s", rows[i].text);
        cr_expect_eq(strncmp(ts_error_text(), "Failed to load config: config.json: ", 36), 0);
        cr_expect_not_null(strstr(ts_error_text(), rows[i].want), "%s: %s", rows[i].text,
                           ts_error_text());
        cr_expect_null(strstr(ts_error_text(), "s3cret"), "%s", ts_error_text());
        cr_expect_eq(memcmp(&before, &config, sizeof config), 0, "changed by %s", rows[i].text);
    }
}

Test(config, what_is_wrong_in_a_variable_is_told_with_its_name)
{
    static const struct {
        const char *name, *value, *want;
    } rows[] = {
        {"TSSTORE_PORT", "80x", "Failed to load config: TSSTORE_PORT: \"80x\" is not a whole"},
        {"TSSTORE_PORT", " 80", "is not a whole number"},
        {"TSSTORE_PORT", "+80", "is not a whole number"},
        {"TSSTORE_PORT", "-1", "is not a whole number"},
        {"TSSTORE_PORT", "18446744073709551697", "is not a whole number"},
        {"TSSTORE_HOST", "::1", "is not an IPv4 address or host name"},
        {"TSSTORE_HOST", "a b", "is not an IPv4 address or host name"},
        {"TSSTORE_INGEST_HTTP", "localhost", "is not HOST:PORT"},
        {"TSSTORE_INGEST_HTTP", ":80", "is not HOST:PORT"},
        {"TSSTORE_INGEST_HTTP", "h:", "is not a whole number"},
        {"TSSTORE_INGEST_HTTP", "[::1]:80", "is not an IPv4 address"},
        {"TSSTORE_LOG_LEVEL", "all", "not one of"},
        {"TSSTORE_ADMIN_KEY", SECRET "\n", "TSSTORE_ADMIN_KEY: contains a control character"},
        {"TSSTORE_CONFIG", "/tmp", "/tmp: is not a regular file"},
        {"TSSTORE_CONFIG", "/dev/zero", "/dev/zero: is not a regular file"},
    };

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        setenv(rows[i].name, rows[i].value, 1);
        cr_expect_eq(ts_config_load(&config, NULL), TS_E_CONFIG, "%s", rows[i].value);
        cr_expect_not_null(strstr(ts_error_text(), rows[i].want), "%s", ts_error_text());
        cr_expect_null(strstr(ts_error_text(), "s3cret"), "%s", ts_error_text());
        unsetenv(rows[i].name);
    }
}

Test(config, values_that_are_too_long_are_refused_everywhere)
{
    static const char *const keys[] = {
        "server.host",           "server.ingest_host",   "server.socket_path",  "server.run_dir",
        "server.admin_key_file", "server.tls.cert_file", "server.tls.key_file", "store.base_path",
        "server.http",           "server.ingest_http",   "server.port",         "log.level"};
    char value[2000];

    memset(value, 'a', sizeof value);
    value[sizeof value - 1] = '\0';
    load();
    for (size_t i = 0; i < COUNTOF(keys); i++) {
        cr_expect_eq(ts_config_set_flag(&config, keys[i], value), TS_E_USAGE);
        cr_expect_eq(strncmp(ts_error_text(), keys[i], strlen(keys[i])), 0, "%s", ts_error_text());
    }
    cr_expect_eq(ts_config_set_flag(&config, value, "x"), TS_E_USAGE);
    setenv("TSSTORE_ADMIN_KEY", value, 1);
    cr_expect_eq(ts_config_load(&config, NULL), TS_E_CONFIG);
    cr_expect_null(strstr(ts_error_text(), "aaaa"));
    unsetenv("TSSTORE_ADMIN_KEY");
    setenv("TSSTORE_CONFIG", value, 1);
    cr_expect_eq(ts_config_load(&config, NULL), TS_E_CONFIG);
}

Test(config, a_file_that_was_asked_for_must_be_there)
{
    cr_expect_eq(ts_config_load(&config, "other.json"), TS_E_CONFIG);
    cr_expect_not_null(strstr(ts_error_text(), "open other.json: No such file"));
    setenv("TSSTORE_CONFIG", "other.json", 1);
    load();
    cr_expect_str_eq(config.file, "");
    put("other.json", "{\"server\":{\"port\":5}}");
    put("config.json", "{\"server\":{\"port\":6}}");
    load();
    cr_expect_eq(config.port, 5);
    cr_assert_eq(ts_config_load(&config, "config.json"), TS_OK);
    cr_expect_eq(config.port, 6);
    cr_expect_str_eq(config.file, "config.json");
}

Test(config, a_flag_that_is_refused_changes_nothing)
{
    static const struct {
        const char *key, *value, *want;
    } rows[] = {
        {"server.port", "x", "server.port: \"x\" is not a whole number"},
        {"server.http", "9.9.9.9:x", "server.http: \"x\" is not a whole number"},
        {"server.host", "", "server.host: needs a value"},
        {"store.base_path", "", "store.base_path: needs a value"},
        {"server.http", "off", "is not HOST:PORT"},
        {"server.admin_key", SECRET, "server.admin_key: not on the command line"},
        {"store.base_pat", "x", "did you mean \"store.base_path\"?"},
    };
    struct ts_config before;

    load();
    before = config;
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        cr_expect_eq(ts_config_set_flag(&config, rows[i].key, rows[i].value), TS_E_USAGE);
        cr_expect_not_null(strstr(ts_error_text(), rows[i].want), "%s", ts_error_text());
        cr_expect_null(strstr(ts_error_text(), "s3cret"));
        cr_expect_eq(memcmp(&before, &config, sizeof config), 0, "changed by %s", rows[i].key);
    }
}

Test(config, an_address_sets_host_and_port)
{
    load();
    cr_assert_eq(ts_config_set_flag(&config, "server.http", "0.0.0.0:0"), TS_OK);
    cr_expect_str_eq(config.host, "0.0.0.0");
    cr_expect_eq(config.port, 0);
    cr_expect_eq(source_of("server.port"), TS_SOURCE_FLAG);
    cr_assert_eq(ts_config_set_flag(&config, "server.ingest_http", "off"), TS_OK);
    cr_expect_str_eq(config.ingest_host, "");
}

Test(config, a_daemon_needs_an_admin_key_of_twenty_bytes)
{
    load();
    cr_expect_eq(ts_config_check_serve(&config), TS_E_CONFIG);
    cr_expect_str_eq(ts_error_text(), "Admin key required: set TSSTORE_ADMIN_KEY environment "
                                      "variable or admin_key in config");
    setenv("TSSTORE_ADMIN_KEY", "1234567890123456789", 1);
    load();
    cr_expect_eq(ts_config_check_serve(&config), TS_E_CONFIG);
    cr_expect_str_eq(ts_error_text(), "Admin key must be at least 20 characters");
    setenv("TSSTORE_ADMIN_KEY", "12345678901234567890", 1);
    load();
    cr_expect_eq(ts_config_check_serve(&config), TS_OK);
    ts_config_wipe(&config);
    cr_expect_str_eq(config.admin_key, "");
}

Test(config, tls_needs_both_files_and_they_must_exist)
{
    setenv("TSSTORE_ADMIN_KEY", SECRET, 1);
    setenv("TSSTORE_TLS_CERT", "cert", 1);
    load();
    cr_expect_eq(ts_config_check_serve(&config), TS_E_CONFIG);
    cr_expect_str_eq(ts_error_text(), "TLS requires both cert and key: set both TSSTORE_TLS_CERT "
                                      "and TSSTORE_TLS_KEY");
    setenv("TSSTORE_TLS_KEY", "key", 1);
    load();
    cr_expect_eq(ts_config_check_serve(&config), TS_E_CONFIG);
    cr_expect_str_eq(ts_error_text(), "TLS certificate file not found: cert");
    put("cert", "");
    cr_expect_eq(ts_config_check_serve(&config), TS_E_CONFIG);
    cr_expect_str_eq(ts_error_text(), "TLS key file not found: key");
    put("key", "");
    cr_expect_eq(ts_config_check_serve(&config), TS_OK);
}

Test(config, a_run_dir_that_no_socket_fits_into_is_refused)
{
    char path[TS_CONFIG_RUN_DIR_MAX + 2];

    setenv("TSSTORE_ADMIN_KEY", SECRET, 1);
    load();
    memset(path, 'r', sizeof path);
    path[TS_CONFIG_RUN_DIR_MAX + 1] = '\0';
    cr_assert_eq(ts_config_set_flag(&config, "server.run_dir", path), TS_OK);
    cr_expect_eq(ts_config_check_serve(&config), TS_E_CONFIG);
    path[TS_CONFIG_RUN_DIR_MAX] = '\0';
    cr_assert_eq(ts_config_set_flag(&config, "server.run_dir", path), TS_OK);
    cr_expect_eq(ts_config_check_serve(&config), TS_OK);
}

Test(config, the_admin_key_may_come_from_a_file)
{
    put("admin_key", SECRET " \r\n\n");
    setenv("TSSTORE_ADMIN_KEY_FILE", "admin_key", 1);
    load();
    cr_expect_str_eq(config.admin_key, "", "read before it was needed");
    cr_assert_eq(ts_config_check_serve(&config), TS_OK, "%s", ts_error_text());
    cr_expect_str_eq(config.admin_key, SECRET);
    cr_expect_eq(source_of("server.admin_key"), TS_SOURCE_DERIVED);
    /* The file may change: the next look reads it again. */
    put("admin_key", "another-" SECRET);
    cr_assert_eq(ts_config_check_serve(&config), TS_OK);
    cr_expect_str_eq(config.admin_key, "another-" SECRET);
    put("admin_key", "");
    cr_expect_eq(ts_config_check_serve(&config), TS_E_CONFIG);
    cr_expect_str_eq(config.admin_key, "");
    unlink("admin_key");
    cr_expect_eq(ts_config_check_serve(&config), TS_E_CONFIG);
    cr_expect_str_eq(ts_error_text(), "server.admin_key_file: open admin_key: "
                                      "No such file or directory");
}

Test(config, an_admin_key_file_with_other_bytes_is_refused_and_not_quoted)
{
    static const char *const texts[] = {SECRET "\n" SECRET, SECRET "\x01" SECRET};
    char long_key[600];

    setenv("TSSTORE_ADMIN_KEY_FILE", "admin_key", 1);
    load();
    for (size_t i = 0; i < COUNTOF(texts); i++) {
        put("admin_key", texts[i]);
        cr_expect_eq(ts_config_check_serve(&config), TS_E_CONFIG);
        cr_expect_null(strstr(ts_error_text(), "s3cret"), "%s", ts_error_text());
    }
    memset(long_key, 'k', sizeof long_key);
    long_key[sizeof long_key - 1] = '\0';
    put("admin_key", long_key);
    cr_expect_eq(ts_config_check_serve(&config), TS_E_CONFIG);
    cr_expect_null(strstr(ts_error_text(), "kkkk"), "%s", ts_error_text());
}

#define KEY_OF(who) who "-" SECRET

/* Which of four ways to give the admin key wins. */
Test(config, of_several_admin_keys_the_highest_layer_wins)
{
    static const struct {
        bool in_file, in_credential, in_env;
        const char *want;
        enum ts_config_source source;
    } rows[] = {
        {true, false, false, KEY_OF("file"), TS_SOURCE_FILE},
        {true, true, false, KEY_OF("credential"), TS_SOURCE_CREDENTIAL},
        {true, true, true, KEY_OF("env"), TS_SOURCE_ENV},
        {false, true, false, KEY_OF("credential"), TS_SOURCE_CREDENTIAL},
        {false, false, true, KEY_OF("env"), TS_SOURCE_ENV},
    };

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        put("config.json",
            rows[i].in_file ? "{\"server\":{\"admin_key\":\"" KEY_OF("file") "\"}}" : "{}");
        put("admin_key", KEY_OF("credential") "\n");
        if (rows[i].in_credential)
            setenv("CREDENTIALS_DIRECTORY", dir, 1);
        if (rows[i].in_env)
            setenv("TSSTORE_ADMIN_KEY", KEY_OF("env"), 1);
        load();
        cr_assert_eq(ts_config_check_serve(&config), TS_OK, "%s", ts_error_text());
        cr_expect_str_eq(config.admin_key, rows[i].want, "row %zu", i);
        cr_expect_eq(source_of("server.admin_key"), rows[i].source, "row %zu", i);
        unsetenv("CREDENTIALS_DIRECTORY");
        unsetenv("TSSTORE_ADMIN_KEY");
    }
}

Test(config, a_flag_names_another_admin_key_file)
{
    setenv("TSSTORE_ADMIN_KEY", KEY_OF("env"), 1);
    load();
    put("other.json", KEY_OF("flag"));
    cr_assert_eq(ts_config_set_flag(&config, "server.admin_key_file", "other.json"), TS_OK);
    cr_assert_eq(ts_config_check_serve(&config), TS_OK, "%s", ts_error_text());
    cr_expect_str_eq(config.admin_key, KEY_OF("flag"));
}

Test(config, two_admin_keys_in_one_layer_are_refused)
{
    setenv("TSSTORE_ADMIN_KEY", SECRET, 1);
    setenv("TSSTORE_ADMIN_KEY_FILE", "admin_key", 1);
    load();
    cr_expect_eq(ts_config_check_serve(&config), TS_E_CONFIG);
    cr_expect_not_null(strstr(ts_error_text(), "both set"));
}

Test(config, explaining_tells_values_and_origins_but_no_secret)
{
    static const struct {
        const char *key, *value, *origin;
    } rows[] = {
        {"server.host", "127.0.0.1", "default"},
        {"server.port", "5", "file config.json"},
        {"server.ingest_host", "h", "environment TSSTORE_INGEST_HTTP"},
        {"server.ingest_port", "7", "environment TSSTORE_INGEST_HTTP"},
        {"server.mode", "release", "default"},
        {"server.run_dir", "/var/run/tsstore", "from server.socket_path"},
        {"server.admin_key", "(set)", "environment TSSTORE_ADMIN_KEY"},
        {"store.base_path", "/d", "command line"},
        {"log.level", "info", "default"},
    };
    struct ts_config_entry entry;
    size_t n_seen = 0;

    put("config.json", "{\"server\":{\"port\":5}}");
    setenv("TSSTORE_INGEST_HTTP", "h:7", 1);
    setenv("TSSTORE_ADMIN_KEY", SECRET, 1);
    load();
    cr_assert_eq(ts_config_set_flag(&config, "store.base_path", "/d"), TS_OK);
    for (size_t i = 0; ts_config_entry_get(&config, i, &entry); i++) {
        cr_expect_null(strstr(entry.value, "s3cret"));
        for (size_t r = 0; r < COUNTOF(rows); r++)
            if (strcmp(rows[r].key, entry.key) == 0) {
                cr_expect_str_eq(entry.value, rows[r].value, "%s", entry.key);
                cr_expect_str_eq(entry.origin, rows[r].origin, "%s", entry.key);
                n_seen++;
            }
    }
    cr_assert_eq(n_seen, COUNTOF(rows));
    cr_expect_str_eq(ts_config_source_name(TS_SOURCE_ENV), "environment");
}
