/* 37_tls.c - HTTPS and wss on both daemons, and another certificate while they run. */
#include "tests/system/harness.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define JSON_TYPE "application/json"

/* ---- certificates ---- */

static char *
file_in_site(const char *name)
{
    return text("%s/%s", site.root, name);
}

/* <name>.crt and <name>.key, signed by itself, for 127.0.0.1 and localhost. */
static void
make_certificate(const char *name)
{
    cr_assert_eq(system(text("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
                             "-nodes -days 30 -subj /CN=%s "
                             "-addext subjectAltName=IP:127.0.0.1,DNS:localhost "
                             "-keyout %s/%s.key -out %s/%s.crt 2>/dev/null",
                             name, site.root, name, site.root, name)),
                 0, "is openssl installed?");
}

/* What the daemons are configured to use. */
static void
use_certificate(const char *name)
{
    cr_assert_eq(system(text("cp %s/%s.crt %s/server.crt && cp %s/%s.key %s/server.key", site.root,
                             name, site.root, site.root, name, site.root)),
                 0);
}

static void
write_config(const char *cert, const char *key)
{
    FILE *file = fopen(site.config, "we");

    cr_assert_not_null(file);
    fprintf(file,
            "{\"limits\":{\"max_connections\":64},"
            "\"server\":{\"tls\":{\"cert_file\":\"%s\",\"key_file\":\"%s\"}}}",
            cert, key);
    fclose(file);
}

static void
prepare(void)
{
    site_prepare(NULL);
    make_certificate("first");
    make_certificate("second");
    use_certificate("first");
    write_config(file_in_site("server.crt"), file_in_site("server.key"));
}

static void
start(void)
{
    prepare();
    ingestd_start();
    queryd_start(0);
}

TestSuite(tls, .init = start, .fini = site_stop);
TestSuite(tls_refused, .init = prepare, .fini = site_stop);

/* ---- requests ---- */

struct reply {
    CURLcode code;
    long status;
    char body[16384];
    size_t bytes;
};

static size_t
collect(char *data, size_t size, size_t n, void *arg)
{
    struct reply *reply = arg;
    const size_t more = size * n;

    if (more < sizeof reply->body - reply->bytes) {
        memcpy(reply->body + reply->bytes, data, more);
        reply->bytes += more;
        reply->body[reply->bytes] = '\0';
    }
    return more;
}

static CURL *
handle_for(int port, const char *path, const char *authority)
{
    CURL *curl = curl_easy_init();

    cr_assert_not_null(curl);
    curl_easy_setopt(curl, CURLOPT_URL, text("https://127.0.0.1:%d%s", port, path));
    curl_easy_setopt(curl, CURLOPT_CAINFO, file_in_site(text("%s.crt", authority)));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)PATIENCE_MS);
    return curl;
}

static struct reply *
perform(CURL *curl)
{
    struct reply *reply = calloc(1, sizeof *reply);

    keep(reply, free);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    reply->code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    return reply;
}

/* A request that trusts the first certificate. */
static struct reply *
secure(int port, const char *method, const char *path, const char *key, const char *body)
{
    CURL *curl = handle_for(port, path, "first");
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: " JSON_TYPE);
    struct reply *reply;

    headers = curl_slist_append(headers, text("%s: %s", key != NULL ? "X-API-Key" : "X-Admin-Key",
                                              key != NULL ? key : ADMIN_KEY));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (body != NULL)
        curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, body);
    reply = perform(curl);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    cr_assert_eq(reply->code, CURLE_OK, "%s %s: %s", method, path, curl_easy_strerror(reply->code));
    return reply;
}

static struct store
create(int port, const char *body)
{
    struct reply *reply = secure(port, "POST", "/api/stores", NULL, body);
    json_t *json = json_loads(reply->body, 0, NULL);
    struct store store;

    cr_assert_eq(reply->status, 201, "%s", reply->body);
    snprintf(store.name, sizeof store.name, "%s", json_string_value(json_object_get(json, "name")));
    snprintf(store.key, sizeof store.key, "%s",
             json_string_value(json_object_get(json, "api_key")));
    json_decref(json);
    return store;
}

static struct reply *
ask(const struct store *store, int port, const char *method, const char *path, const char *body)
{
    return secure(port, method, text("/api/stores/%s%s", store->name, path), store->key, body);
}

static struct ws *
wss_open(int port, const struct store *store, const char *path)
{
    struct ws *ws = WS_OPEN(.port = port, .path = text("/api/stores/%s%s", store->name, path),
                            .key = store->key, .ca_file = file_in_site("first.crt"));

    cr_assert_not_null(ws, "%s", path);
    return ws;
}

/* ---- what works ---- */

static void
expect_status(const struct reply *reply, long status, const char *what)
{
    cr_expect_eq(reply->status, status, "%s: %ld %s", what, reply->status, reply->body);
}

/* Everything that changes a store, at one of the daemons. */
static void
write_all_ways(int port)
{
    struct store store = create(port, text("{\"name\":\"w%d\",\"num_blocks\":64}", port));
    struct store schema = create(port, text("{\"name\":\"s%d\",\"data_type\":\"schema\"}", port));
    struct ws *ws;

    expect_status(ask(&store, port, "POST", "/data", "{\"timestamp\":10,\"data\":{\"a\":1}}"), 201,
                  "insert");
    expect_status(ask(&store, port, "POST", "/data/batch",
                      "[{\"timestamp\":20,\"data\":2},{\"timestamp\":30,\"data\":3}]"),
                  200, "batch");
    expect_status(ask(&store, port, "DELETE", "/data/time/20", NULL), 200, "delete");
    ws = wss_open(port, &store, "/ws/write");
    ws_tell(ws, "{\"timestamp\":40,\"data\":4}");
    ws_expect(ws, "ack");
    ws_close(ws);
    expect_status(ask(&schema, port, "PUT", "/schema",
                      "{\"fields\":[{\"index\":1,\"name\":\"f\",\"type\":\"int8\"}]}"),
                  200, "put schema");
    expect_status(ask(&schema, port, "POST", "/reset", NULL), 200, "reset");
    expect_status(ask(&schema, port, "DELETE", "", NULL), 200, "drop");
    cr_expect_not_null(
        strstr(ask(&store, site.queryd[0].port, "GET", "/data/oldest", NULL)->body, "\"count\":3"));
}

Test(tls, every_write_through_the_forward)
{
    write_all_ways(site.queryd[0].port);
}

Test(tls, every_write_directly)
{
    write_all_ways(site.ingestd.port);
}

Test(tls, every_read)
{
    static const char *const paths[] = {"/stats",       "/data/oldest",
                                        "/data/newest", "/data/range?after=0",
                                        "/data/time/7", "/data/newest?agg_window=1m"};
    const int port = site.queryd[0].port;
    struct store store = create(port, "{\"name\":\"r\",\"data_type\":\"schema\"}");

    cr_assert_eq(ask(&store, port, "PUT", "/schema",
                     "{\"fields\":[{\"index\":1,\"name\":\"f\",\"type\":\"int8\"}]}")
                     ->status,
                 200);
    cr_assert_eq(ask(&store, port, "POST", "/data", "{\"timestamp\":7,\"data\":{\"f\":1}}")->status,
                 201);
    for (size_t i = 0; i < COUNTOF(paths); i++)
        expect_status(ask(&store, port, "GET", paths[i], NULL), 200, paths[i]);
    expect_status(ask(&store, port, "GET", "/schema", NULL), 200, "schema");
    expect_status(secure(port, "GET", "/api/stores", NULL, NULL), 200, "stores");
    expect_status(secure(port, "GET", "/health", NULL, NULL), 200, "health");
    expect_status(secure(site.ingestd.port, "GET", "/health", NULL, NULL), 200, "health");
    expect_status(secure(port, "GET", "/metrics", NULL, NULL), 200, "metrics");
    expect_status(secure(site.ingestd.port, "GET", "/metrics", NULL, NULL), 200, "metrics");
}

Test(tls, a_long_list_and_a_large_body_come_whole)
{
    const int port = site.queryd[0].port;
    struct store store = create(port, "{\"name\":\"long\"}");
    char *body = malloc(1 << 20), *at = body;
    struct reply *reply;

    keep(body, free);
    for (int i = 1; i <= 5000; i++)
        at += sprintf(at, "%c{\"timestamp\":%d,\"data\":{\"pad\":\"%0100d\"}}", i == 1 ? '[' : ',',
                      i, i);
    sprintf(at, "]");
    reply = secure(port, "POST", "/api/stores/long/data/batch", store.key, body);
    cr_assert_eq(reply->status, 200, "%.200s", reply->body);
    reply = ask(&store, port, "GET", "/data/newest?limit=1", NULL);
    cr_expect_not_null(strstr(reply->body, "\"timestamp\":5000"), "%s", reply->body);
    reply = ask(&store, port, "GET", "/data/range?after=0&limit=100000&filter=%22pad%22", NULL);
    cr_expect_eq(reply->status, 200);
    /* More than the reply's buffer: what counts is that curl had no complaint. */
    reply = ask(&store, port, "GET", "/data/oldest?limit=100000", NULL);
    cr_expect_eq(reply->status, 200);
}

/* The stream is written by one thread while another reads what the client sends. */
Test(tls, a_stream_by_wss_while_its_client_keeps_talking)
{
    const int port = site.queryd[0].port;
    struct store store = create(port, "{\"name\":\"wss\"}");
    struct ws *ws = wss_open(port, &store, "/ws/read?from=0");
    struct line_client feeder;
    int n_sent = 0;

    ws_expect(ws, "caught_up");
    line_login(&feeder, &store);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 20; i++)
            line_send(&feeder, "{\"n\":%d}\n", n_sent + i);
        for (int i = 0; i < 20; i++)
            cr_assert_not_null(line_read(&feeder));
        for (int i = 0; i < 20; i++)
            ws_tell_frame(ws, i % 2 == 0 ? FRAME_PING : FRAME_TEXT, "are you there?", 14);
        for (int i = 0; i < 20; i++) {
            const char *word = ws_word(ws, PATIENCE_MS);

            cr_assert_not_null(strstr(word, text(" {\"n\":%d}", n_sent + i)), "%s", word);
        }
        n_sent += 20;
    }
    line_close(&feeder);
}

/* ---- another certificate ---- */

static CURLcode
try_with(const char *authority)
{
    CURL *curl = handle_for(site.queryd[0].port, "/health", authority);
    const CURLcode code = perform(curl)->code;

    curl_easy_cleanup(curl);
    return code;
}

Test(tls, a_signal_brings_another_certificate_and_leaves_connections_alone)
{
    CURL *old = handle_for(site.queryd[0].port, "/health", "first");
    struct store store = create(site.queryd[0].port, "{\"name\":\"kept\"}");
    struct ws *ws = wss_open(site.queryd[0].port, &store, "/ws/read");
    long n_connects = 0;

    ws_expect(ws, "caught_up");
    cr_assert_eq(perform(old)->status, 200);
    use_certificate("second");
    kill(site.queryd[0].pid, SIGHUP);
    kill(site.ingestd.pid, SIGHUP);
    AWAIT(PATIENCE_MS, process_said(&site.queryd[0], "new connections get the certificate"));
    AWAIT(PATIENCE_MS, process_said(&site.ingestd, "new connections get the certificate"));
    cr_expect_eq(try_with("second"), CURLE_OK);
    cr_expect_neq(try_with("first"), CURLE_OK);
    cr_expect_eq(perform(old)->status, 200);
    curl_easy_getinfo(old, CURLINFO_NUM_CONNECTS, &n_connects);
    cr_expect_eq(n_connects, 0, "the old connection was not used again");
    curl_easy_cleanup(old);
    ws_tell_frame(ws, FRAME_CLOSE, "\x03\xe8", 2);
    cr_expect_str_eq(ws_await_end(ws), "1000");
}

Test(tls, a_certificate_that_cannot_be_used_changes_nothing)
{
    cr_assert_eq(system(text("cp %s/second.crt %s/server.crt", site.root, site.root)), 0);
    kill(site.queryd[0].pid, SIGHUP);
    AWAIT(PATIENCE_MS, process_said(&site.queryd[0], "the certificate stays as it was"));
    cr_expect_eq(try_with("first"), CURLE_OK);
    cr_assert_eq(truncate(file_in_site("server.crt"), 0), 0);
    kill(site.queryd[0].pid, SIGHUP);
    AWAIT(PATIENCE_MS, process_said(&site.queryd[0], "not a certificate"));
    cr_expect_eq(try_with("first"), CURLE_OK);
}

static _Atomic bool is_over;

static void *
ask_all_the_time(void *arg)
{
    uint64_t *n_failed = arg;

    while (!atomic_load(&is_over)) {
        CURL *curl = handle_for(site.queryd[0].port, "/health", "first");

        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        *n_failed += perform(curl)->status != 200;
        curl_easy_cleanup(curl);
    }
    return NULL;
}

Test(tls, certificates_change_while_clients_connect)
{
    uint64_t n_failed[2] = {0};
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, ask_all_the_time, &n_failed[i]);
    for (int i = 0; i < 20; i++) {
        use_certificate(i % 2 == 0 ? "second" : "first");
        kill(site.queryd[0].pid, SIGHUP);
        usleep(20000);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(n_failed[i], 0);
    }
}

/* ---- what does not ---- */

Test(tls, old_versions_and_plain_text_are_refused)
{
    CURL *curl = handle_for(site.queryd[0].port, "/health", "first");
    char *answer;

    curl_easy_setopt(curl, CURLOPT_SSL_CIPHER_LIST, "DEFAULT@SECLEVEL=0");
    curl_easy_setopt(curl, CURLOPT_SSLVERSION,
                     (long)(CURL_SSLVERSION_TLSv1_0 | CURL_SSLVERSION_MAX_TLSv1_1));
    cr_expect_neq(perform(curl)->code, CURLE_OK);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION,
                     (long)(CURL_SSLVERSION_TLSv1_2 | CURL_SSLVERSION_MAX_TLSv1_2));
    cr_expect_eq(perform(curl)->code, CURLE_OK);
    curl_easy_cleanup(curl);
    answer = tcp_exchange(site.queryd[0].port, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 2000);
    cr_expect_null(strstr(answer, "200"), "%s", answer);
    cr_expect_eq(try_with("first"), CURLE_OK);
    /* Handshakes that failed were never counted as connections; the others are over, soon. */
    AWAIT(PATIENCE_MS, strstr(secure(site.queryd[0].port, "GET", "/metrics", NULL, NULL)->body,
                              "\ntsstore_http_connections 1\n") != NULL);
}

/* Starts with this pair, which must be refused with this text. */
static void
expect_refusal(const char *program, const char *cert, const char *key, const char *want)
{
    struct run run;

    write_config(cert, key);
    run = run_program(NULL, NULL, program, "--config", site.config, "--data", site.data,
                      "--run-dir", site.run, "--http", "127.0.0.1:0", NULL);
    cr_expect_eq(run.status, 1, "%s: %d", want, run.status);
    cr_expect_not_null(strstr(run.err, want), "%s", run.err);
}

Test(tls_refused, a_daemon_does_not_start_without_the_tls_it_was_asked_for)
{
    static const char *const programs[] = {"queryd", "ingestd"};
    const char *cert = file_in_site("first.crt"), *key = file_in_site("first.key");
    const char *none = file_in_site("none.pem"), *other = file_in_site("second.key");

    for (size_t i = 0; i < COUNTOF(programs); i++) {
        expect_refusal(programs[i], none, key, "TLS certificate file not found");
        expect_refusal(programs[i], cert, none, "TLS key file not found");
        expect_refusal(programs[i], cert, "", "TLS requires both cert and key");
        expect_refusal(programs[i], key, key, "not a certificate in PEM form");
        expect_refusal(programs[i], cert, cert, "not a private key");
        expect_refusal(programs[i], cert, other, "second.key");
    }
}

/* The programs alone, without the libraries beside them. */
Test(tls_refused, without_its_libraries_it_says_so)
{
    const char *bin = getenv("TSSTORE_BIN_DIR");

    cr_assert_eq(system(text("mkdir %s/bin && cp %s/queryd %s/bin/queryd", site.root,
                             bin != NULL ? bin : "build/bin", site.root)),
                 0);
    cr_assert_eq(setenv("TSSTORE_BIN_DIR", file_in_site("bin"), 1), 0);
    expect_refusal("queryd", file_in_site("first.crt"), file_in_site("first.key"),
                   "TLS is not possible here");
}
