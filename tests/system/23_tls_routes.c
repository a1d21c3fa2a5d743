/* 23_tls_routes.c - every route through TLS, by curl, answers what it answers without.
 *
 * One list of requests is sent through each door: queryd, which forwards what changes a store, and
 * ingestd itself, both with and without TLS. What is said through the two doors of a daemon must be
 * the same, heads included; then the daemon's own count of requests says whether a route was left
 * out. */
#include "tests/system/harness.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_LINES 128
#define SCHEMA "{\"fields\":[{\"index\":1,\"name\":\"flow\",\"type\":\"float64\"}]}"

struct door {
    const char *name;
    int port;
    bool is_tls, is_ingestd;
    const char *said[MAX_LINES];
    size_t n;
};

enum { NO_KEY, STORE_KEY, ADMIN };

/* `store` stands for %s in the path, and says whose key is sent. */
struct step {
    const char *method, *path, *store;
    int key;
    const char *type, *body;
    bool is_of_queryd; /* ingestd's own port does not serve it */
};

static const struct step beginning[] = {
    {"GET", "/health", NULL, NO_KEY, NULL, NULL, false},
    {"GET", "/healthz", NULL, NO_KEY, NULL, NULL, false},
    {"GET", "/readyz", NULL, NO_KEY, NULL, NULL, false},
    {"GET", "/metrics", NULL, NO_KEY, NULL, NULL, false},
    {"HEAD", "/health", NULL, NO_KEY, NULL, NULL, false},
    {"OPTIONS", "/anything", NULL, NO_KEY, NULL, NULL, false},
    {"GET", "/nowhere", NULL, NO_KEY, NULL, NULL, false},
    {"GET", "/health/", NULL, NO_KEY, NULL, NULL, false},
    {"GET", "/api/stores", NULL, NO_KEY, NULL, NULL, true},
    {"POST", "/api/stores", NULL, NO_KEY, "application/json", "{\"name\":\"json\"}", false},
    {"POST", "/api/stores", "json", ADMIN, "application/json",
     "{\"name\":\"json\",\"sync\":\"each\"}", false},
    {"POST", "/api/stores", NULL, ADMIN, "application/json", "{\"name\":\"json\"}", false},
    {"POST", "/api/stores", "text", ADMIN, "application/json",
     "{\"name\":\"text\",\"data_type\":\"text\"}", false},
    {"POST", "/api/stores", "binary", ADMIN, "application/json",
     "{\"name\":\"binary\",\"data_type\":\"binary\"}", false},
    {"POST", "/api/stores", "schema", ADMIN, "application/json",
     "{\"name\":\"schema\",\"data_type\":\"schema\"}", false},
    {"GET", "/api/stores", NULL, NO_KEY, NULL, NULL, true},
};

static const struct step middle[] = {
    {"PUT", "/api/stores/%s/schema", "schema", STORE_KEY, "application/json", SCHEMA, false},
    {"PUT", "/api/stores/%s/schema", "json", STORE_KEY, "application/json", SCHEMA, false},
    {"GET", "/api/stores/%s/schema", "schema", STORE_KEY, NULL, NULL, true},
    {"POST", "/api/stores/%s/data", "json", STORE_KEY, "application/json",
     "{\"timestamp\":1000,\"data\":{\"a\":1}}", false},
    {"POST", "/api/stores/%s/data", "json", STORE_KEY, "application/json",
     "{\"timestamp\":1000,\"data\":{\"a\":1}}", false},
    {"POST", "/api/stores/%s/data", "json", STORE_KEY, "application/json", "{\"data\":", false},
    {"POST", "/api/stores/%s/data", "json", STORE_KEY, "text/plain", "x", false},
    {"POST", "/api/stores/%s/data", "json", NO_KEY, "application/json", "{\"data\":1}", false},
    {"POST", "/api/stores/%s/data", "text", STORE_KEY, "text/plain", "hello", false},
    {"POST", "/api/stores/%s/data", "binary", STORE_KEY, "application/octet-stream", "\xff\x01",
     false},
    {"POST", "/api/stores/%s/data", "schema", STORE_KEY, "application/json",
     "{\"timestamp\":1000,\"data\":{\"flow\":1.50}}", false},
    {"POST", "/api/stores/%s/data", "schema", STORE_KEY, "application/json",
     "{\"timestamp\":2000,\"data\":{\"zz\":1}}", false},
    {"POST", "/api/stores/%s/data/batch", "json", STORE_KEY, "application/x-ndjson",
     "{\"timestamp\":2000,\"data\":2}\nzz\n{\"timestamp\":3000,\"data\":{\"a\":3}}\n", false},
    {"POST", "/api/stores/%s/data/batch", "json", STORE_KEY, "application/json",
     "[{\"timestamp\":4000,\"data\":4}]", false},
    {"POST", "/api/stores/%s/data/batch?atomic=true", "json", STORE_KEY, "application/json",
     "[{\"timestamp\":5000,\"data\":5},{\"timestamp\":4500,\"data\":6}]", false},
    {"GET", "/api/stores/%s/stats", "json", STORE_KEY, NULL, NULL, true},
    {"GET", "/api/stores/%s/data/time/3000", "json", STORE_KEY, NULL, NULL, true},
    {"GET", "/api/stores/%s/data/time/3001", "json", STORE_KEY, NULL, NULL, true},
    {"GET", "/api/stores/%s/data/oldest", "json", STORE_KEY, NULL, NULL, true},
    {"GET", "/api/stores/%s/data/oldest?format=compact", "schema", STORE_KEY, NULL, NULL, true},
    {"GET", "/api/stores/%s/data/newest?since=1h", "text", STORE_KEY, NULL, NULL, true},
    {"GET", "/api/stores/%s/data/newest", "binary", STORE_KEY, NULL, NULL, true},
    {"GET", "/api/stores/%s/data/newest?agg_window=1m&agg_default=avg,max", "json", STORE_KEY, NULL,
     NULL, true},
    {"GET", "/api/stores/%s/data/range?after=1000&include_data=true", "json", STORE_KEY, NULL, NULL,
     true},
    {"GET", "/api/stores/%s/data/range", "json", STORE_KEY, NULL, NULL, true},
    {"GET", "/api/stores/%s/data/range?since=zz", "json", STORE_KEY, NULL, NULL, true},
    {"GET", "/api/stores/%s/stats", "json", NO_KEY, NULL, NULL, true},
    {"GET", "/api/stores/%s/ws/write", "json", STORE_KEY, NULL, NULL, false},
    {"GET", "/api/stores/%s/ws/read", "json", STORE_KEY, NULL, NULL, true},
};

static const struct step ending[] = {
    {"DELETE", "/api/stores/%s/data/time/3000", "json", STORE_KEY, NULL, NULL, false},
    {"DELETE", "/api/stores/%s/data/range?start_time=5&end_time=6", "json", STORE_KEY, NULL, NULL,
     false},
    {"DELETE", "/api/stores/%s/data/time/3000", "json", STORE_KEY, NULL, NULL, false},
    {"GET", "/api/stores/%s/data/oldest?limit=100", "json", STORE_KEY, NULL, NULL, true},
    {"POST", "/api/stores/%s/reset", "json", STORE_KEY, NULL, NULL, false},
    {"GET", "/api/stores/%s/data/oldest", "json", STORE_KEY, NULL, NULL, true},
    {"DELETE", "/api/stores/%s", "json", STORE_KEY, NULL, NULL, false},
    {"DELETE", "/api/stores/%s", "json", STORE_KEY, NULL, NULL, false},
    {"DELETE", "/api/stores/%s", "text", STORE_KEY, NULL, NULL, false},
    {"DELETE", "/api/stores/%s", "binary", STORE_KEY, NULL, NULL, false},
    {"DELETE", "/api/stores/%s", "schema", STORE_KEY, NULL, NULL, false},
    {"GET", "/api/stores", NULL, NO_KEY, NULL, NULL, true},
};

/* ---- the daemons ---- */

static const char *
in_site(const char *name)
{
    return text("%s/%s", site.root, name);
}

static void
write_file(const char *name, const char *content, size_t bytes)
{
    FILE *file = fopen(in_site(name), "we");

    cr_assert_not_null(file);
    cr_assert_eq(fwrite(content, 1, bytes, file), bytes);
    fclose(file);
}

static void
configure(bool with_tls)
{
    const char *tls = text(",\"tls\":{\"cert_file\":\"%s\",\"key_file\":\"%s\"}",
                           in_site("tls.crt"), in_site("tls.key"));
    const char *config =
        text("{\"limits\":{\"max_connections\":32},\"server\":{\"mode\":\"debug\"%s}}",
             with_tls ? tls : "");

    write_file("site.json", config, strlen(config));
}

static void
start(void)
{
    site_prepare(NULL);
    cr_assert_eq(system(text("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
                             "-nodes -days 2 -subj /CN=localhost "
                             "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
                             "-keyout %s -out %s 2>/dev/null",
                             in_site("tls.key"), in_site("tls.crt"))),
                 0, "is openssl installed?");
    configure(true);
    ingestd_start();
    queryd_start(0);
    configure(false);
    queryd_start(1);
}

TestSuite(tls_routes, .init = start, .fini = site_stop, .timeout = 300);

/* ---- what was said, without what is another each time ---- */

static const char *
replace_all(const char *subject, const char *pattern, const char *with)
{
    const char *out = "";
    regmatch_t match;
    regex_t regex;

    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED), 0);
    while (regexec(&regex, subject, 1, &match, 0) == 0) {
        out = text("%s%.*s%s", out, (int)match.rm_so, subject, with);
        subject += match.rm_eo;
    }
    regfree(&regex);
    return text("%s%s", out, subject);
}

static const char *
comparable(const char *said)
{
    said = replace_all(said, "tsstore_[0-9a-f-]{36}", "KEY");
    said = replace_all(said, "\"key_id\":\"[0-9a-f]{8}\"", "KEY-ID");
    said = replace_all(said, "[0-9]{19}", "NOW");
    said = replace_all(said, "20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", "NOW");
    return replace_all(said, "Date: [^\r]*\r\n", "");
}

static void
note(struct door *door, const char *what, const char *said)
{
    cr_assert_lt(door->n, MAX_LINES);
    door->said[door->n++] = text("%s\n%s", what, comparable(said));
}

/* ---- curl ---- */

static const char *
quoted(const char *value)
{
    return replace_all(value, "\"", "\\\"");
}

static const char *
read_whole(const char *path)
{
    FILE *file = fopen(path, "re");
    const size_t room = 1 << 18;
    char *out = repeat('\0', room);

    cr_assert_not_null(file, "%s", path);
    cr_assert_lt(fread(out, 1, room, file), room);
    fclose(file);
    return out;
}

static struct store keys[4]; /* of the stores that this door made */

static struct store *
key_of(const char *name)
{
    for (size_t i = 0; i < COUNTOF(keys); i++)
        if (keys[i].name[0] == '\0' || strcmp(keys[i].name, name) == 0) {
            snprintf(keys[i].name, sizeof keys[i].name, "%s", name);
            return &keys[i];
        }
    cr_assert_fail("too many stores");
    return NULL;
}

/* The command line of one request, as a file for `curl -K`; nothing of it goes through a shell. */
static void
write_request(const struct door *door, const struct step *step)
{
    const char *config =
        text("url = \"http%s://127.0.0.1:%d%s\"\nrequest = \"%s\"\n"
             "noproxy = \"*\"\nsilent\nshow-error\nmax-time = 30\n"
             "path-as-is\noutput = \"%s\"\ndump-header = \"%s\"\n"
             "header = \"X-Request-Id: the-same\"\n",
             door->is_tls ? "s" : "", door->port,
             step->store != NULL ? replace_all(step->path, "%s", step->store) : step->path,
             step->method, in_site("body"), in_site("head"));

    if (door->is_tls)
        config = text("%scacert = \"%s\"\n", config, in_site("tls.crt"));
    if (strcmp(step->method, "HEAD") == 0)
        config = text("%shead\n", config);
    if (step->key == ADMIN)
        config = text("%sheader = \"X-Admin-Key: " ADMIN_KEY "\"\n", config);
    else if (step->key == STORE_KEY)
        config = text("%sheader = \"X-API-Key: %s\"\n", config, key_of(step->store)->key);
    if (step->body != NULL) {
        write_file("request", step->body, strlen(step->body));
        config = text("%sheader = \"Content-Type: %s\"\ndata-binary = \"@%s\"\n", config,
                      quoted(step->type), in_site("request"));
    }
    write_file("curl", config, strlen(config));
}

static void
take_step(struct door *door, const struct step *step)
{
    const char *what = text("%s %s (%s, key %d, %s)", step->method, step->path,
                            step->store != NULL ? step->store : "-", step->key,
                            step->body != NULL ? step->body : "no body");
    const char *head, *body;
    json_t *made;

    if (door->is_ingestd && step->is_of_queryd)
        return;
    write_file("body", "", 0);
    write_request(door, step);
    cr_assert_eq(system(text("curl -q -K %s", in_site("curl"))), 0, "%s at %s", what, door->name);
    head = read_whole(in_site("head"));
    body = strcmp(step->method, "HEAD") == 0 ? "" : read_whole(in_site("body"));
    if (step->key == ADMIN && step->store != NULL) {
        made = json_loads(body, 0, NULL);
        cr_assert_not_null(json_object_get(made, "api_key"), "%s at %s: %s", what, door->name,
                           body);
        snprintf(key_of(step->store)->key, sizeof keys[0].key, "%s",
                 json_string_value(json_object_get(made, "api_key")));
        json_decref(made);
    }
    if (strcmp(step->path, "/metrics") == 0) {
        /* Figures change; their heads do not, but for the length. */
        head = replace_all(head, "Content-Length: [0-9]+", "");
        body = text("%.*s", (int)strcspn(body, "\n"), body);
    }
    note(door, what, text("%s%s", head, body));
}

/* ---- WebSockets ---- */

static struct ws *
open_socket(const struct door *door, const char *tail)
{
    const char *path = text("/api/stores/json/%sapi_key=%s", tail, key_of("json")->key);
    struct ws *ws = door->is_tls ? ws_open_tls(door->port, path, in_site("tls.crt"))
                                 : ws_open_at(door->port, path);

    cr_assert_not_null(ws, "%s at %s", tail, door->name);
    return ws;
}

static void
note_message(struct door *door, struct ws *ws, const char *what)
{
    json_t *message = ws_next(ws, PATIENCE_MS, NULL);
    char *dumped = json_dumps(message, JSON_COMPACT | JSON_ENCODE_ANY);

    cr_assert_not_null(dumped, "%s at %s: nothing came", what, door->name);
    keep(dumped, free);
    note(door, what, dumped);
}

static void
use_sockets(struct door *door)
{
    static const char *const messages[] = {"{\"timestamp\":7000,\"data\":{\"by\":\"ws\"}}",
                                           "{\"timestamp\":7000,\"data\":1}", "zz",
                                           "{\"timestamp\":8000,\"data\":\"last\"}"};
    struct ws *reader = door->is_ingestd ? NULL : open_socket(door, "ws/read?from=0&");
    struct ws *writer = open_socket(door, "ws/write?");

    for (int i = 0; reader != NULL && i < 5; i++) /* 1000 to 4000, caught_up */
        note_message(door, reader, "ws/read");
    for (size_t i = 0; i < COUNTOF(messages); i++) {
        ws_tell(writer, messages[i]);
        note_message(door, writer, "ws/write");
    }
    for (int i = 0; reader != NULL && i < 2; i++)
        note_message(door, reader, "ws/read");
    ws_close(writer);
    if (reader != NULL)
        ws_close(reader);
}

/* ---- all of it ---- */

static void
go_through(struct door *door)
{
    memset(keys, 0, sizeof keys);
    for (size_t i = 0; i < COUNTOF(beginning); i++)
        take_step(door, &beginning[i]);
    for (size_t i = 0; i < COUNTOF(middle); i++)
        take_step(door, &middle[i]);
    use_sockets(door);
    for (size_t i = 0; i < COUNTOF(ending); i++)
        take_step(door, &ending[i]);
}

static void
expect_same(const struct door *by_tls, const struct door *plain)
{
    cr_assert_eq(by_tls->n, plain->n);
    for (size_t i = 0; i < by_tls->n; i++)
        cr_expect_str_eq(by_tls->said[i], plain->said[i]);
}

/* The daemon logs which routes it has (server.mode is debug) and counts what each was asked. */
static void
expect_every_route_asked(const struct door *door, const struct process *process)
{
    const struct step metrics = {"GET", "/metrics", NULL, NO_KEY, NULL, NULL, false};
    const char *figures, *at = process_log(process);
    size_t n = 0;

    write_request(door, &metrics);
    cr_assert_eq(system(text("curl -q -K %s", in_site("curl"))), 0);
    figures = read_whole(in_site("body"));
    for (; (at = strstr(at, ": route ")) != NULL; at++) {
        char method[16], route[256];
        const char *sample;

        cr_assert_eq(sscanf(at, ": route %15s %255s", method, route), 2, "%.200s", at);
        sample =
            text("\ntsstore_http_requests_total{method=\"%s\",route=\"%s\",code=", method, route);
        cr_expect(strstr(figures, text("%s\"200\"", sample)) != NULL ||
                      strstr(figures, text("%s\"201\"", sample)) != NULL ||
                      strstr(figures, text("%s\"101\"", sample)) != NULL,
                  "%s: nothing went well at %s %s", door->name, method, route);
        n++;
    }
    cr_expect_gt(n, 10);
}

Test(tls_routes, all_say_by_tls_what_they_say_without)
{
    struct door secure = {"queryd by TLS", site.queryd[0].port, true, false, {0}, 0};
    struct door plain = {"queryd", site.queryd[1].port, false, false, {0}, 0};
    struct door secure_direct = {"ingestd by TLS", site.ingestd.port, true, true, {0}, 0};
    struct door plain_direct = {"ingestd", 0, false, true, {0}, 0};

    go_through(&secure);
    go_through(&plain);
    expect_same(&secure, &plain);
    go_through(&secure_direct);
    expect_every_route_asked(&secure, &site.queryd[0]);
    expect_every_route_asked(&secure_direct, &site.ingestd);
    cr_assert_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    ingestd_start(); /* the configuration has no TLS any more */
    plain_direct.port = site.ingestd.port;
    go_through(&plain_direct);
    expect_same(&secure_direct, &plain_direct);
}

/* A client that does not know the certificate gets nothing, whichever door it is. */
Test(tls_routes, a_stranger_to_the_certificate_is_not_served)
{
    const int ports[] = {site.queryd[0].port, site.ingestd.port};

    for (size_t i = 0; i < COUNTOF(ports); i++) {
        cr_expect_neq(system(text("curl -q -sS --noproxy '*' --max-time 30 -o %s "
                                  "https://127.0.0.1:%d/health 2>/dev/null",
                                  in_site("body"), ports[i])),
                      0);
        cr_expect_neq(system(text("curl -q -sS --noproxy '*' --max-time 30 -o %s "
                                  "http://127.0.0.1:%d/health 2>/dev/null",
                                  in_site("body"), ports[i])),
                      0);
    }
}
