/* 39_openapi.c - proto/openapi.yaml and the daemons say the same.
 *
 * Each operation of the description is called at each daemon that it names as a server, with the
 * examples of the description, and each status that it lists is provoked. What comes back must be
 * as listed. The other way round, each route that a daemon says it has must be described. */
#include "tests/system/openapi_calls.h"
#include "tests/unit/ws_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define MAX_BODY_BYTES 300000
#define MAX_CONNECTIONS 16

static void
start(void)
{
    /* In this mode a daemon says which routes it has. */
    site_prepare(text("{\"server\":{\"mode\":\"debug\"},"
                      "\"limits\":{\"max_connections\":%d,\"max_body_bytes\":%d}}",
                      MAX_CONNECTIONS, MAX_BODY_BYTES));
    ingestd_start();
    queryd_start(0);
    take_description();
}

TestSuite(openapi, .init = start, .fini = site_stop, .timeout = 300);

/* ---- success ---- */

static void
remember_store(const struct call *request, const struct answer *answer)
{
    json_t *asked = json_loads(request->body, 0, NULL);
    const char *type = json_string_value(json_object_get(asked, "data_type"));
    struct store *store = store_of_kind(type);

    snprintf(store->name, sizeof store->name, "%s",
             json_string_value(json_object_get(answer->json, "name")));
    snprintf(store->key, sizeof store->key, "%s",
             json_string_value(json_object_get(answer->json, "api_key")));
    json_decref(asked);
}

/* A key of its own for each request that has one: only the very same request may come again. */
static void
name_once(struct call *request, const struct operation *op, const char *type)
{
    for (size_t i = 0; i < COUNTOF(request->header) && request->header[i] != NULL; i++)
        if (strncmp(request->header[i], "Idempotency-Key:", 16) == 0)
            request->header[i] = text("%s %s %s", request->header[i], op->id, type);
}

static struct answer
send_example(struct operation *op, int door, const char *type, json_t *example, size_t only,
             int status)
{
    struct call request = request_of(op, door, store_for(op, type), only);
    struct answer answer;

    request.type = type;
    name_once(&request, op, type);
    if (json_is_string(example)) {
        request.body = json_string_value(example);
    } else if (example != NULL) {
        char *dumped = json_dumps(example, JSON_COMPACT);

        keep(dumped, free);
        request.body = dumped;
    }
    answer = ask(op, door, &request, status);
    if (answer.status == 201 && strcmp(op->id, "createStore") == 0)
        remember_store(&request, &answer);
    return answer;
}

/* With each example body of each content type; once if there is no body. */
static void
send_examples(struct operation *op, int door, size_t only, int status)
{
    json_t *content = json_object_get(json_object_get(op->tree, "requestBody"), "content");
    const char *type, *name;
    json_t *media, *example;

    if (content == NULL)
        send_example(op, door, NULL, NULL, only, status);
    json_object_foreach(content, type, media)
    {
        json_t *examples = json_object_get(media, "examples");

        cr_assert(examples != NULL || json_object_get(media, "example") != NULL, "%s: %s", op->id,
                  type);
        if (examples == NULL) {
            send_example(op, door, type, json_object_get(media, "example"), only, status);
            continue;
        }
        json_object_foreach(examples, name, example)
        {
            send_example(op, door, type, json_object_get(example, "value"), only, status);
        }
    }
}

/* A stream is asked for as all else, and what comes first on it is held against x-message. */
static void
open_stream(struct operation *op, int door)
{
    const struct call request = request_of(op, door, store_of_kind("json"), ALL_PARAMETERS);
    int fd, status;
    const char *wrong;
    json_t *message;

    status = ws_dial(request.port, request.path, text("X-API-Key: %s\r\n", request.key), &fd);
    cr_assert_eq(status, good_status(op), "%s at %s: %d", op->id, door_names[door], status);
    op->seen[door] = text("%s%d ", op->seen[door], status);
    if (strcmp(op->id, "writeRecords") == 0)
        ws_say(fd, "{\"data\":1}");
    for (int i = 0; i < 2; i++) {
        if (i > 0)
            ws_say(fd, "{");
        message = json_loads(ws_hear_text(fd), 0, NULL);
        wrong = openapi_mismatch(openapi, json_object_get(op->tree, "x-message"), message);
        cr_expect_null(wrong, "%s at %s: %s", op->id, door_names[door], wrong);
        json_decref(message);
    }
    close(fd);
}

/* In the order in which a store lives. */
static int
rank(const struct operation *op)
{
    static const char *const first[] = {"createStore", "putSchema", "insertRecord", "insertBatch"};
    static const char *const last[] = {"deleteRecord", "deleteRange", "resetStore", "dropStore"};

    for (size_t i = 0; i < COUNTOF(first); i++)
        if (strcmp(first[i], op->id) == 0)
            return (int)i;
    for (size_t i = 0; i < COUNTOF(last); i++)
        if (strcmp(last[i], op->id) == 0)
            return 100 + (int)i;
    return 50;
}

static int
by_rank(const void *a, const void *b)
{
    return rank(a) - rank(b);
}

/* Once more with each parameter alone, and with none but the required ones: whatever comes of it,
 * it must be described, and is no failure of the server's. */
static void
vary(struct operation *op, int door)
{
    const size_t n = json_array_size(parameters_of(op));

    for (size_t i = 0; i <= n; i++)
        send_examples(op, door, i, 0);
    cr_expect_null(strstr(op->seen[door], "50"), "%s at %s: %s", op->id, door_names[door],
                   op->seen[door]);
}

static void
call_everything_but_the_last(int door)
{
    FOR_EACH_OPERATION(op)
    {
        if (!op->is_at[door] || rank(op) >= 100)
            continue;
        if (strcmp(op->id, "putSchema") == 0 && door == QUERYD)
            send_examples(find_operation("getSchema"), door, ALL_PARAMETERS, 404);
        if (good_status(op) == 101)
            open_stream(op, door);
        else
            send_examples(op, door, ALL_PARAMETERS, good_status(op));
        vary(op, door);
    }
}

/* What ends records and stores, each of them once with success. */
static void
call_the_last(int door)
{
    struct operation *get = find_operation("getRecord"), *delete = find_operation("deleteRecord");
    struct operation *drop = find_operation("dropStore");

    send_examples(delete, door, ALL_PARAMETERS, good_status(delete));
    send_examples(delete, door, ALL_PARAMETERS, 404);
    if (door == QUERYD)
        send_examples(get, door, ALL_PARAMETERS, 404);
    send_examples(find_operation("deleteRange"), door, ALL_PARAMETERS, 200);
    send_examples(find_operation("resetStore"), door, ALL_PARAMETERS, 200);
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct call request = request_of(drop, door, &stores[i], ALL_PARAMETERS);

        ask(drop, door, &request, good_status(drop));
    }
}

/* ---- refusals ---- */

static const char *
key_with_scope(const struct store *store, const char *scope)
{
    const struct run run = cli("key", "create", store->name, "--scopes", scope);
    const char *key = strstr(run.out, "tsstore_");

    cr_assert_eq(run.status, 0, "%s", run.err);
    return text("%.44s", key);
}

/* 401 and 403: without a key, with a wrong one, with one that may only read or only write. */
static void
refuse_keys(struct operation *op, int door)
{
    struct call request = request_of(op, door, store_for(op, NULL), ALL_PARAMETERS);
    int n_forbidden = 0;

    if (!is_secured(op))
        return;
    request.admin_key = request.key = NULL;
    ask(op, door, &request, 401);
    if (strcmp(op->path, "/api/stores") == 0) {
        request.admin_key = "a-key-that-is-none-of-ours";
        ask(op, door, &request, 401);
        return;
    }
    request.key = "tsstore_00000000-0000-4000-8000-000000000000";
    ask(op, door, &request, 401);
    for (int i = 0; i < 2; i++) {
        struct call weak = request_of(op, door, store_for(op, NULL), ALL_PARAMETERS);

        /* What a key that is good for it would end is left alone. */
        if (rank(op) >= 100 && i == 1 && n_forbidden == 1)
            break;
        weak.key = key_with_scope(store_for(op, NULL), i == 0 ? "read" : "write");
        n_forbidden += ask(op, door, &weak, 0).status == 403;
    }
    cr_expect_eq(n_forbidden, 1, "%s at %s: %d of two keys are not enough", op->id,
                 door_names[door], n_forbidden);
}

/* 400 and 431: a head that is no HTTP, and one that is too large. */
static void
refuse_heads(struct operation *op, int door)
{
    struct call request = request_of(op, door, store_for(op, NULL), ALL_PARAMETERS);
    const char *raw = tcp_exchange(
        port_of(door), text("%s %s HTTP/1.1\r\nHost: \x01\r\n\r\n", request.method, request.path),
        PATIENCE_MS);
    struct answer answer = {.headers = text("%s", raw)};
    const char *body = strstr(raw, "\r\n\r\n");

    cr_assert(sscanf(raw, "HTTP/1.1 %d", &answer.status) == 1 && body != NULL, "%s", raw);
    answer.body = text("%s", body + 4);
    answer.json = json_loads(answer.body, 0, NULL);
    expect_described(op, door, &answer);
    cr_expect_eq(answer.status, 400, "%s", raw);
    json_decref(answer.json);
    add_header(&request, text("X-Long: %s", repeat('x', 20000)));
    ask(op, door, &request, 431);
}

/* 413: a body over the limit. */
static void
refuse_bodies(struct operation *op, int door)
{
    struct call request = request_of(op, door, store_for(op, NULL), ALL_PARAMETERS);

    if (listed(op, 413) == NULL)
        return;
    request.type = "application/json";
    request.body = repeat(' ', MAX_BODY_BYTES + 1);
    ask(op, door, &request, 413);
}

/* 507: a store that is larger than any disk here. */
static void
refuse_size(int door)
{
    struct operation *op = find_operation("createStore");
    struct call request = request_of(op, door, NULL, ALL_PARAMETERS);

    request.type = "application/json";
    request.body = "{\"name\":\"huge\",\"num_blocks\":134217728,\"data_block_size\":65536}";
    ask(op, door, &request, 507);
}

/* Someone who asked once and stays: who says nothing at all is not suffered long. */
static int
guest(int door)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    const int fd = tcp_connect(port_of(door), 0);
    char answer[1024];

    cr_assert_eq(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    cr_assert_gt(recv(fd, answer, sizeof answer, 0), 0);
    return fd;
}

/* 503 for all: as many clients as there may be are here already. */
static void
refuse_clients(int door)
{
    const struct call probe = {
        .path = "/health", .port = port_of(door), .header = {"Connection: close"}};
    int fds[2 * MAX_CONNECTIONS];
    size_t n = 0;

    while (call(&probe).status != 503) {
        cr_assert_lt(n, COUNTOF(fds));
        fds[n++] = guest(door);
    }
    FOR_EACH_OPERATION(op)
    {
        struct call request;

        if (!op->is_at[door])
            continue;
        request = request_of(op, door, store_for(op, NULL), ALL_PARAMETERS);
        add_header(&request, "Connection: close");
        ask(op, door, &request, 503);
    }
    while (n > 0)
        close(fds[--n]);
    AWAIT(PATIENCE_MS, call(&probe).status == 200);
}

/* 429: wrong keys until it is too much, then one for each operation. */
static void
refuse_guesses(int door)
{
    const char *wrong = "tsstore_00000000-0000-4000-8000-000000000000";
    struct call guess = request_of(find_operation("insertRecord"), door, store_of_kind("json"), 0);

    guess.key = wrong;
    guess.body = "{}";
    for (int i = 0; i < 2000 && call(&guess).status != 429; i++)
        ;
    FOR_EACH_OPERATION(op)
    {
        struct call request;

        if (!op->is_at[door] || !is_secured(op))
            continue;
        request = request_of(op, door, store_for(op, NULL), ALL_PARAMETERS);
        request.key = request.key != NULL ? wrong : NULL;
        request.admin_key = request.admin_key != NULL ? wrong : NULL;
        ask(op, door, &request, 429);
    }
}

/* What no test can have at will: 500 needs damage, 501 an ingestd of another version, 504 one that
 * hangs. A store that another process has open (409) can't be asked for by those who change it. */
static bool
can_be_provoked(const struct operation *op, const char *status)
{
    static const char *const may_conflict[] = {"createStore", "insertRecord", "insertBatch"};

    if (strcmp(status, "409") != 0)
        return strcmp(status, "500") != 0 && strcmp(status, "501") != 0 &&
               strcmp(status, "504") != 0;
    for (size_t i = 0; i < COUNTOF(may_conflict); i++)
        if (strcmp(may_conflict[i], op->id) == 0)
            return true;
    return false;
}

static void
expect_all_seen(int door)
{
    FOR_EACH_OPERATION(op)
    {
        const char *status;
        json_t *response;

        json_object_foreach(json_object_get(op->tree, "responses"), status, response)
        {
            if (op->is_at[door] && can_be_provoked(op, status))
                cr_expect_not_null(strstr(op->seen[door], text("%s ", status)),
                                   "%s at %s never answered %s, but %s", op->id, door_names[door],
                                   status, op->seen[door]);
        }
    }
}

static void
compare_at(int door)
{
    qsort(operations, n_operations, sizeof operations[0], by_rank);
    call_everything_but_the_last(door);
    FOR_EACH_OPERATION(op)
    {
        if (!op->is_at[door])
            continue;
        refuse_keys(op, door);
        refuse_heads(op, door);
        refuse_bodies(op, door);
    }
    refuse_size(door);
    refuse_clients(door);
    call_the_last(door);
    refuse_guesses(door);
    expect_all_seen(door);
}

Test(openapi, every_operation_is_as_described_at_queryd)
{
    compare_at(QUERYD);
}

Test(openapi, every_operation_is_as_described_at_ingestd)
{
    compare_at(INGESTD);
}

/* ---- the other way round ---- */

/* "/api/stores/:store" as the description writes it. */
static const char *
in_braces(const char *pattern)
{
    const char *out = "";

    for (size_t bytes; *pattern != '\0'; pattern += bytes) {
        bytes = 1 + strcspn(pattern + 1, "/");
        out = pattern[1] == ':' ? text("%s/{%.*s}", out, (int)bytes - 2, pattern + 2)
                                : text("%s%.*s", out, (int)bytes, pattern);
    }
    return out;
}

static bool
is_described(const char *method, const char *path, int door)
{
    FOR_EACH_OPERATION(op)
    {
        if (op->is_at[door] && strcmp(op->method, method) == 0 && strcmp(op->path, path) == 0)
            return true;
    }
    return false;
}

Test(openapi, every_route_of_a_daemon_is_described)
{
    for (int door = 0; door < N_DOORS; door++) {
        const char *at = process_log(door == QUERYD ? &site.queryd[0] : &site.ingestd);
        size_t n_routes = 0, n_described = 0;

        while ((at = strstr(at, ": route ")) != NULL) {
            char method[16], route[256];

            cr_assert_eq(sscanf(at, ": route %15s %255s", method, route), 2, "%.200s", at);
            cr_expect(is_described(method, in_braces(route), door), "%s %s of %s is not described",
                      method, route, door_names[door]);
            n_routes++;
            at++;
        }
        FOR_EACH_OPERATION(op)
        {
            n_described += op->is_at[door];
        }
        cr_expect_gt(n_routes, 0);
        cr_expect_eq(n_routes, n_described, "%s has %zu routes, %zu are described",
                     door_names[door], n_routes, n_described);
    }
}

Test(openapi, what_is_not_described_is_not_there)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "PATCH"};

    for (size_t i = 0; i < N_TYPES; i++)
        stores[i] = store_of_type(store_types[i]);
    for (int door = 0; door < N_DOORS; door++)
        FOR_EACH_OPERATION(op)
        {
            struct call request = request_of(op, door, store_for(op, NULL), ALL_PARAMETERS);

            for (size_t i = 0; i < COUNTOF(methods); i++) {
                struct answer answer;

                if (is_described(methods[i], op->path, door))
                    continue;
                request.method = methods[i];
                answer = call(&request);
                cr_expect_eq(answer.status, 404, "%s %s at %s: %d", methods[i], op->path,
                             door_names[door], answer.status);
                cr_expect_str_eq(answer.body, "404 page not found");
            }
        }
}

/* ---- browsers ---- */

static bool
names_header(const struct answer *answer, const char *list, const char *name)
{
    const char *value = answer_header(answer, list);

    return value != NULL && strcasestr(value, name) != NULL;
}

/* A page of another origin may send each header that the description has, and see each that it
 * gets. */
Test(openapi, pages_may_use_every_header)
{
    const struct answer preflight =
        CALL(.method = "OPTIONS", .path = "/api/stores", .header = {"Origin: http://page.example"});
    const struct answer answer = CALL(.path = "/health", .header = {"Origin: http://page.example"});
    const char *name;
    json_t *thing;

    json_object_foreach(json_object_get(json_object_get(openapi, "components"), "parameters"), name,
                        thing)
    {
        const char *header = json_string_value(json_object_get(thing, "name"));

        if (strcmp(json_string_value(json_object_get(thing, "in")), "header") == 0)
            cr_expect(names_header(&preflight, "Access-Control-Allow-Headers", header), "%s",
                      header);
    }
    cr_expect(names_header(&preflight, "Access-Control-Allow-Headers", "Content-Type"));
    cr_expect(names_header(&preflight, "Access-Control-Allow-Headers", "X-API-Key"));
    cr_expect(names_header(&preflight, "Access-Control-Allow-Headers", "X-Admin-Key"));
    cr_expect(names_header(&preflight, "Access-Control-Allow-Headers", "Authorization"));
    cr_expect(names_header(&answer, "Access-Control-Expose-Headers", "X-Request-Id"));
    cr_expect(names_header(&answer, "Access-Control-Expose-Headers", "Retry-After"));
}
