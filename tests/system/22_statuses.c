/* 22_statuses.c - every status of a refusal, from both daemons: its code, its form, its id. */
#include "tests/system/harness.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define JSON_TYPE "application/json"
#define REQUEST_ID "here-and-back.1"
#define WRONG_KEY "tsstore_00000000-0000-4000-8000-000000000000"

static struct store store;

static void
start(void)
{
    site_start();
    store = store_fixture();
}

TestSuite(statuses, .init = start, .fini = site_stop);

/* Both doors. */
static int
port_of(int door)
{
    return door == 0 ? site.queryd[0].port : site.ingestd.port;
}
#define FOR_BOTH_DOORS for (int door = 0; door < 2; door++)

/* {"error":"…","code":"…"} and nothing else; whoever asked finds his own id on it. */
#define expect_refusal(answer, status, code, error)                                                \
    expect_refusal_at(__LINE__, (answer), (status), (code), (error))
static void
expect_refusal_at(int line, struct answer answer, int status, const char *code, const char *error)
{
    const char *const named = json_string_value(json_object_get(answer.json, "code"));
    const char *const type = answer_header(&answer, "Content-Type");
    const char *const id = answer_header(&answer, "X-Request-Id");
    const char *const origin = answer_header(&answer, "Access-Control-Allow-Origin");

    expect_answer_at(__FILE__, line, answer, status, error);
    cr_expect(named != NULL && strcmp(named, code) == 0, "line %d: %s", line, answer.body);
    cr_expect(*answer_error(&answer) != '\0', "line %d: %s", line, answer.body);
    cr_expect_eq(json_object_size(answer.json), 2, "line %d: %s", line, answer.body);
    cr_expect(type != NULL && strcmp(type, "application/json; charset=utf-8") == 0, "line %d: %s",
              line, answer.headers);
    cr_expect(id != NULL && strcmp(id, REQUEST_ID) == 0, "line %d: %s", line, answer.headers);
    cr_expect(origin != NULL && strcmp(origin, "*") == 0, "line %d: %s", line, answer.headers);
}

/* A request to the store, with an id; `path` starts behind its name. */
static struct answer
ask(int door, const char *method, const char *key, const char *path, const char *type,
    const char *body)
{
    return CALL(.method = method, .path = text("/api/stores/%s%s", store.name, path), .key = key,
                .type = type, .body = body, .port = port_of(door),
                .header = {"X-Request-Id: " REQUEST_ID});
}

static struct answer
create(int door, const char *admin_key, const char *body)
{
    return CALL(.method = "POST", .path = "/api/stores", .admin_key = admin_key, .type = JSON_TYPE,
                .body = body, .port = port_of(door), .header = {"X-Request-Id: " REQUEST_ID});
}

/* ---- what a request alone decides ---- */

static const struct {
    const char *method, *key, *path, *type, *body; /* key "": the store's */
    int status;
    const char *code, *error;
} refused[] = {
    {"POST", "", "/data", "text/plain", "x", 400, "content_type",
     "data does not match store's data type"},
    {"POST", "", "/data", JSON_TYPE, "{\"data\":", 400, "json", "unexpected EOF"},
    {"POST", "", "/data", JSON_TYPE, "{}", 400, "data_required", "data is required"},
    {"POST", "", "/data", JSON_TYPE, "{\"timestamp\":-1,\"data\":1}", 400, "timestamp",
     "invalid timestamp"},
    {"DELETE", "", "/data/time/x", NULL, NULL, 400, "timestamp", "invalid timestamp"},
    {"PUT", "", "/schema", JSON_TYPE, "{\"fields\":[]}", 400, "parameter",
     "schema endpoint only available for schema-type stores"},
    {"POST", NULL, "/data", JSON_TYPE, "{\"data\":1}", 401, "key_required", "API key required"},
    {"POST", "x", "/data", JSON_TYPE, "{\"data\":1}", 401, "key_format", "invalid API key format"},
    {"POST", WRONG_KEY, "/data", JSON_TYPE, "{\"data\":1}", 401, "key_invalid", "invalid API key"},
    {"POST", WRONG_KEY, "x/data", JSON_TYPE, "{\"data\":1}", 401, "key_store",
     "authentication failed"},
    {"DELETE", "", "/data/time/5", NULL, NULL, 404, "timestamp_unknown", "timestamp not found"},
    {"POST", "", "/data", JSON_TYPE, "{\"timestamp\":1000,\"data\":1}", 409, "timestamp_order",
     "timestamp must be greater than newest entry"},
};

Test(statuses, each_refusal_has_its_form_at_both_doors)
{
    put_ok(&store, 1000, "1");
    FOR_BOTH_DOORS for (size_t i = 0; i < COUNTOF(refused); i++)
    {
        const char *const key =
            refused[i].key != NULL && *refused[i].key == '\0' ? store.key : refused[i].key;

        expect_refusal(
            ask(door, refused[i].method, key, refused[i].path, refused[i].type, refused[i].body),
            refused[i].status, refused[i].code, refused[i].error);
    }
    cr_expect_str_eq(list_all(&store), "1000");
}

Test(statuses, creation_is_refused_in_the_same_form)
{
    FOR_BOTH_DOORS
    {
        expect_refusal(create(door, ADMIN_KEY, ""), 400, "json", "EOF");
        expect_refusal(create(door, ADMIN_KEY, "{}"), 400, "parameter", NULL);
        expect_refusal(create(door, ADMIN_KEY, "{\"name\":\"../x\"}"), 400, "store_name",
                       "invalid store name*");
        expect_refusal(create(door, ADMIN_KEY, "{\"name\":\"x\",\"data_block_size\":100}"), 400,
                       "store_config",
                       "invalid config: block size must be a power of 2 and at least 64 bytes");
        expect_refusal(create(door, ADMIN_KEY, "{\"name\":\"x\",\"data_type\":\"xml\"}"), 400,
                       "data_type", "invalid data type: must be binary, text, json, or schema");
        expect_refusal(create(door, NULL, "{\"name\":\"x\"}"), 401, "admin_key_required",
                       "admin key required");
        expect_refusal(create(door, "another-key-of-good-length", "{\"name\":\"x\"}"), 401,
                       "admin_key_invalid", "invalid admin key");
        expect_refusal(create(door, ADMIN_KEY, text("{\"name\":\"%s\"}", store.name)), 409,
                       "store_exists", "store already exists");
    }
}

Test(statuses, reads_are_refused_in_the_same_form)
{
    expect_refusal(ask(0, "GET", NULL, "/stats", NULL, NULL), 401, "key_required",
                   "API key required");
    expect_refusal(ask(0, "GET", store.key, "/data/time/x", NULL, NULL), 400, "timestamp",
                   "invalid timestamp");
    expect_refusal(ask(0, "GET", store.key, "/data/range", NULL, NULL), 400, "parameter",
                   "start_time, end_time, after, or since parameter required");
    expect_refusal(ask(0, "GET", store.key, "/data/newest?agg_window=0s", NULL, NULL), 400,
                   "parameter", "aggregation window must be positive");
    expect_refusal(ask(0, "GET", store.key, "/data/time/5", NULL, NULL), 404, "store_empty",
                   "store is empty");
    expect_refusal(ask(1, "DELETE", store.key, "/data/time/5", NULL, NULL), 404, "store_empty",
                   "store is empty");
    put_ok(&store, 1, "1");
    expect_refusal(ask(0, "GET", store.key, "/data/time/5", NULL, NULL), 404, "timestamp_unknown",
                   "timestamp not found");
}

/* ---- what it may ---- */

static const char *
key_with(const char *scopes)
{
    const struct run run =
        run_program(NULL, NULL, "tsstore", "key", "create", store.name, "--scopes", scopes, NULL);
    const char *key = strstr(run.out, "tsstore_");

    cr_assert(run.status == 0 && key != NULL, "%s%s", run.out, run.err);
    return text("%.44s", key);
}

Test(statuses, s403_a_key_does_only_what_it_may)
{
    static const struct {
        const char *method, *path, *type, *body;
        const char *lacks;
        bool is_of_both;
    } rows[] = {
        {"GET", "/stats", NULL, NULL, "write,delete", false},
        {"GET", "/data/newest", NULL, NULL, "write,delete", false},
        {"GET", "/data/time/1", NULL, NULL, "write,delete", false},
        {"POST", "/data", JSON_TYPE, "{\"data\":1}", "read,delete", true},
        {"POST", "/data/batch", JSON_TYPE, "[{\"data\":1}]", "read,delete", true},
        {"PUT", "/schema", JSON_TYPE, "{\"fields\":[]}", "read,delete", true},
        {"DELETE", "/data/time/1", NULL, NULL, "read,write", true},
        {"POST", "/reset", NULL, NULL, "read,write", true},
        {"DELETE", "", NULL, NULL, "read,write", true},
    };

    put_ok(&store, 1, "1");
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        const char *const key = key_with(rows[i].lacks);

        expect_refusal(ask(0, rows[i].method, key, rows[i].path, rows[i].type, rows[i].body), 403,
                       "key_scope", NULL);
        if (rows[i].is_of_both)
            expect_refusal(ask(1, rows[i].method, key, rows[i].path, rows[i].type, rows[i].body),
                           403, "key_scope", NULL);
    }
    cr_expect_str_eq(list_all(&store), "1");
}

/* ---- what is too much ---- */

Test(statuses, s413_records_and_requests_have_a_largest_size)
{
    site_stop();
    site_prepare("{\"limits\":{\"max_body_bytes\":100000,\"max_connections\":16}}");
    ingestd_start();
    queryd_start(0);
    store = store_fixture();
    FOR_BOTH_DOORS
    {
        expect_refusal(ask(door, "POST", store.key, "/data", JSON_TYPE,
                           text("{\"data\":\"%s\"}", repeat('a', 70000))),
                       413, "record_too_large", "object exceeds maximum block size");
        expect_refusal(ask(door, "POST", store.key, "/data", JSON_TYPE,
                           text("{\"data\":\"%s\"}", repeat('a', 200000))),
                       413, "limit", NULL);
        expect_refusal(create(door, ADMIN_KEY, text("{\"name\":\"x\"%s}", repeat(' ', 70000))), 413,
                       "limit", NULL);
    }
    cr_expect_str_eq(list_all(&store), "");
}

Test(statuses, s429_guesses_are_limited_for_each_door)
{
    FOR_BOTH_DOORS
    {
        struct answer answer;
        int n = 0;

        do
            answer = ask(door, "POST", WRONG_KEY, "/data", JSON_TYPE, "{\"data\":1}");
        while (answer.status == 401 && ++n < 2000);
        expect_refusal(answer, 429, "rate_limited", "too many failed attempts");
        cr_expect_not_null(answer_header(&answer, "Retry-After"));
        expect_answer(ask(door, "POST", store.key, "/data", JSON_TYPE, "{\"data\":1}"), 201, NULL);
    }
}

Test(statuses, s431_a_head_has_a_largest_size)
{
    static const size_t sizes[] = {17000, 40000};

    FOR_BOTH_DOORS for (size_t i = 0; i < COUNTOF(sizes); i++)
    {
        const struct answer by_header = CALL(.path = "/health", .port = port_of(door),
                                             .header = {text("X-Long: %s", repeat('x', sizes[i])),
                                                        "X-Request-Id: " REQUEST_ID});
        const struct answer by_target =
            CALL(.path = text("/health?x=%s", repeat('x', sizes[i])), .port = port_of(door),
                 .header = {"X-Request-Id: " REQUEST_ID});

        expect_refusal(by_header, 431, "head_limit", "request head too large");
        expect_refusal(by_target, 431, "head_limit", "request head too large");
    }
}

/* ---- what is not to be had ---- */

Test(statuses, s503_ingestd_is_away)
{
    static const struct {
        const char *method, *path, *type, *body;
    } rows[] = {
        {"POST", "/data", JSON_TYPE, "{\"data\":1}"},
        {"POST", "/data/batch", JSON_TYPE, "[{\"data\":1}]"},
        {"DELETE", "/data/time/1", NULL, NULL},
        {"POST", "/reset", NULL, NULL},
        {"PUT", "/schema", JSON_TYPE, "{\"fields\":[]}"},
        {"DELETE", "", NULL, NULL},
    };

    put_ok(&store, 1, "1");
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        const struct answer answer =
            ask(0, rows[i].method, store.key, rows[i].path, rows[i].type, rows[i].body);

        expect_refusal(answer, 503, "unavailable", "ingestd is not running");
        cr_expect_not_null(answer_header(&answer, "Retry-After"));
    }
    /* Who may not do it does not hear of that. */
    expect_refusal(ask(0, "POST", WRONG_KEY, "/data", JSON_TYPE, "{\"data\":1}"), 401,
                   "key_invalid", "invalid API key");
    expect_refusal(create(0, ADMIN_KEY, "{\"name\":\"x\"}"), 503, "unavailable",
                   "ingestd is not running");
    cr_expect_str_eq(list_all(&store), "1");
}

Test(statuses, s503_too_many_connections)
{
    FOR_BOTH_DOORS
    {
        const char *const request =
            "GET /health HTTP/1.1\r\nHost: x\r\nX-Request-Id: " REQUEST_ID "\r\n\r\n";
        char answer[2048] = "";
        int fds[70];
        ssize_t n = 0;

        for (size_t i = 0; i < COUNTOF(fds); i++) {
            fds[i] = tcp_connect(port_of(door), 0);
            cr_assert_eq(send(fds[i], request, strlen(request), MSG_NOSIGNAL),
                         (ssize_t)strlen(request));
            n = recv(fds[i], answer, sizeof answer - 1, 0);
            cr_assert_gt(n, 0, "connection %zu", i);
            answer[n] = '\0';
        }
        cr_expect_eq(strncmp(answer, "HTTP/1.1 503 ", 13), 0, "%s", answer);
        cr_expect_not_null(strstr(answer, "\r\nX-Request-Id: " REQUEST_ID "\r\n"), "%s", answer);
        cr_expect_not_null(
            strstr(answer, "\r\n\r\n{\"error\":\"too many connections\",\"code\":\"busy\"}"), "%s",
            answer);
        for (size_t i = 0; i < COUNTOF(fds); i++)
            close(fds[i]);
    }
}

/* The least that was free on the disk while the test looked. */
struct watch {
    _Atomic bool is_over;
    uint64_t least;
};

static uint64_t
free_bytes(void)
{
    struct statvfs disk;

    cr_assert_eq(statvfs(site.data, &disk), 0);
    return (uint64_t)disk.f_bavail * disk.f_frsize;
}

static void *
watch_disk(void *arg)
{
    struct watch *watch = arg;

    do {
        const uint64_t now = free_bytes();

        if (now < watch->least)
            watch->least = now;
    } while (!watch->is_over);
    return NULL;
}

/* And nobody else goes short while it is found out. */
Test(statuses, s507_a_store_needs_room_on_the_disk)
{
    const uint64_t before = free_bytes();
    /* 8 TiB and 8 EiB, every byte of which would be there at once. */
    static const char *const sizes[] = {"\"num_blocks\":134217728,\"data_block_size\":65536",
                                        "\"num_blocks\":4294967295,\"data_block_size\":2147483648"};
    struct watch watch = {.least = before};
    pthread_t watcher;

    cr_assert_eq(pthread_create(&watcher, NULL, watch_disk, &watch), 0);
    FOR_BOTH_DOORS
    {
        for (size_t i = 0; i < COUNTOF(sizes); i++) {
            expect_refusal(create(door, ADMIN_KEY, text("{\"name\":\"huge\",%s}", sizes[i])), 507,
                           "disk_full", NULL);
            cr_expect_neq(access(text("%s/huge", site.data), F_OK), 0);
        }
        expect_answer(create(door, ADMIN_KEY, text("{\"name\":\"small%d\"}", door)), 201, NULL);
    }
    watch.is_over = true;
    pthread_join(watcher, NULL);
    cr_expect_gt(watch.least, before / 2, "%ju of %ju bytes", (uintmax_t)watch.least,
                 (uintmax_t)before);
}

Test(statuses, s500_a_damaged_store_names_file_and_place)
{
    cr_assert_eq(process_stop(&site.queryd[0], PATIENCE_MS), 0);
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    cr_assert_eq(truncate(store_path(&store, "data.tsdb"), 100), 0);
    ingestd_start();
    queryd_start(0);
    expect_refusal(ask(0, "GET", store.key, "/stats", NULL, NULL), 500, "corrupt",
                   "store S: data.tsdb: *");
    FOR_BOTH_DOORS
    expect_refusal(ask(door, "POST", store.key, "/data", JSON_TYPE, "{\"data\":1}"), 500, "corrupt",
                   "store S: data.tsdb: *");
}
