/* harness_http.c - HTTP by libcurl, and what is asked of a store by it. */
#include "tests/system/harness.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* Handles are used again, so that a run of calls keeps its connection. */
static CURL *idle[64]; /* guarded by idle_lock */
static size_t n_idle;
static pthread_mutex_t idle_lock = PTHREAD_MUTEX_INITIALIZER;

static void
release_handle(void *handle)
{
    n_idle = 0; /* the site ends, and all handles with it */
    curl_easy_cleanup(handle);
}

static CURL *
take_handle(void)
{
    CURL *handle = NULL;

    pthread_mutex_lock(&idle_lock);
    if (n_idle > 0)
        handle = idle[--n_idle];
    pthread_mutex_unlock(&idle_lock);
    if (handle == NULL) {
        handle = curl_easy_init();
        cr_assert_not_null(handle);
        keep(handle, release_handle);
    }
    curl_easy_reset(handle);
    return handle;
}

static void
give_back(CURL *handle)
{
    pthread_mutex_lock(&idle_lock);
    if (n_idle < COUNTOF(idle))
        idle[n_idle++] = handle;
    pthread_mutex_unlock(&idle_lock);
}

struct buffer {
    char *at;
    size_t used, capacity;
};

static size_t
collect(char *data, size_t size, size_t n, void *arg)
{
    struct buffer *buffer = arg;
    const size_t more = size * n;

    if (buffer->used + more + 1 > buffer->capacity) {
        buffer->capacity = (buffer->used + more + 1) * 2;
        buffer->at = realloc(buffer->at, buffer->capacity);
        cr_assert_not_null(buffer->at);
    }
    memcpy(buffer->at + buffer->used, data, more);
    buffer->used += more;
    buffer->at[buffer->used] = '\0';
    return more;
}

static void
release_json(void *json)
{
    json_decref(json);
}

static struct curl_slist *
request_headers(const struct call *what)
{
    /* Neither an own content type nor "Expect: 100-continue" may slip in. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");

    if (what->type != NULL)
        list = curl_slist_append(list, text("Content-Type: %s", what->type));
    else
        list = curl_slist_append(list, "Content-Type:");
    if (what->key != NULL)
        list = curl_slist_append(list, text("X-API-Key: %s", what->key));
    if (what->admin_key != NULL)
        list = curl_slist_append(list, text("X-Admin-Key: %s", what->admin_key));
    for (size_t i = 0; i < COUNTOF(what->header) && what->header[i] != NULL; i++)
        list = curl_slist_append(list, what->header[i]);
    return list;
}

static void
set_method(CURL *handle, const struct call *what)
{
    const char *method = what->method != NULL ? what->method : "GET";

    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    else if (strcmp(method, "POST") == 0 || what->body != NULL) {
        const size_t bytes =
            what->bytes == 0 && what->body != NULL ? strlen(what->body) : what->bytes;

        curl_easy_setopt(handle, CURLOPT_POST, 1L);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, what->body != NULL ? what->body : "");
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)bytes);
        curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method);
    } else {
        curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method);
    }
}

struct answer
call(const struct call *what)
{
    CURL *handle = take_handle();
    struct curl_slist *headers = request_headers(what);
    struct buffer body = {0}, head = {0};
    struct answer answer = {0};
    long status = 0;

    collect((char[]){""}, 0, 0, &body);
    collect((char[]){""}, 0, 0, &head);
    curl_easy_setopt(handle, CURLOPT_URL,
                     text("http://127.0.0.1:%d%s",
                          what->port != 0 ? what->port : site.queryd[0].port, what->path));
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, collect);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &head);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)PATIENCE_MS);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
    set_method(handle, what);
    if (curl_easy_perform(handle) == CURLE_OK)
        curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    give_back(handle);

    keep(body.at, free);
    keep(head.at, free);
    answer = (struct answer){(int)status, body.at, body.used, head.at, NULL};
    if (status != 0)
        answer.json = json_loadb(body.at, body.used, JSON_DECODE_ANY, NULL);
    if (answer.json != NULL)
        keep(answer.json, release_json);
    return answer;
}

const char *
answer_header(const struct answer *answer, const char *name)
{
    const size_t bytes = strlen(name);

    for (const char *line = answer->headers; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncasecmp(line, name, bytes) == 0 && line[bytes] == ':') {
            const char *value = line + bytes + 1 + strspn(line + bytes + 1, " ");

            return text("%.*s", (int)strcspn(value, "\r\n"), value);
        }
    }
    return NULL;
}

const char *
answer_error(const struct answer *answer)
{
    const char *error = json_string_value(json_object_get(answer->json, "error"));

    return error != NULL ? error : "";
}

void
expect_answer_at(const char *file, int line, struct answer answer, int status, const char *error)
{
    const char *got = answer_error(&answer);
    const size_t bytes = error != NULL ? strlen(error) : 0;
    const bool is_prefix = bytes > 0 && error[bytes - 1] == '*';

    cr_expect_eq(answer.status, status, "%s:%d: status %d, wanted %d: %s", file, line,
                 answer.status, status, answer.body);
    if (error == NULL)
        return;
    cr_expect(is_prefix ? strncmp(got, error, bytes - 1) == 0 : strcmp(got, error) == 0,
              "%s:%d: error \"%s\", wanted \"%s\"", file, line, got, error);
}

/* ---- stores ---- */

struct store
store_create(const char *body)
{
    struct answer answer = CALL(.method = "POST", .path = "/api/stores", .admin_key = ADMIN_KEY,
                                .type = "application/json", .body = body);
    struct store store;
    const char *name, *key;

    cr_assert_eq(answer.status, 201, "create %s: %d %s", body, answer.status, answer.body);
    name = json_string_value(json_object_get(answer.json, "name"));
    key = json_string_value(json_object_get(answer.json, "api_key"));
    cr_assert(name != NULL && key != NULL, "%s", answer.body);
    snprintf(store.name, sizeof store.name, "%s", name);
    snprintf(store.key, sizeof store.key, "%s", key);
    return store;
}

struct store
store_of_type(const char *type)
{
    return store_create(text("{\"name\":\"%s-store\",\"num_blocks\":64,\"data_block_size\":256,"
                             "\"index_block_size\":64,\"data_type\":\"%s\"}",
                             type, type));
}

struct store
store_fixture(void)
{
    return store_create("{\"name\":\"S\",\"num_blocks\":64,\"data_block_size\":256,"
                        "\"index_block_size\":64}");
}

struct answer
store_get(const struct store *store, const char *format, ...)
{
    char tail[2048];
    va_list args;

    va_start(args, format);
    vsnprintf(tail, sizeof tail, format, args);
    va_end(args);
    return CALL(.path = text("/api/stores/%s%s", store->name, tail), .key = store->key);
}

struct answer
store_post(const struct store *store, const char *type, const char *body, size_t bytes)
{
    return CALL(.method = "POST", .path = text("/api/stores/%s/data", store->name),
                .key = store->key, .type = type, .body = body, .bytes = bytes);
}

struct answer
put(const struct store *store, int64_t time_ns, const char *value)
{
    return store_post(store, "application/json",
                      text("{\"timestamp\":%jd,\"data\":%s}", (intmax_t)time_ns, value), 0);
}

void
put_ok(const struct store *store, int64_t time_ns, const char *value)
{
    struct answer answer = put(store, time_ns, value);

    cr_assert_eq(answer.status, 201, "put %jd: %d %s", (intmax_t)time_ns, answer.status,
                 answer.body);
}

void
put_run(const struct store *store, int64_t first, int64_t last, const char *value)
{
    for (int64_t t = first; t <= last; t++)
        put_ok(store, t, value);
}

const char *
list(const struct store *store, const char *format, ...)
{
    struct buffer out = {0};
    struct answer answer;
    json_t *objects;
    char query[2048];
    va_list args;

    va_start(args, format);
    vsnprintf(query, sizeof query, format, args);
    va_end(args);
    answer = store_get(store, "/data/%s", query);
    if (answer.status != 200)
        return text("status %d: %s", answer.status, answer.body);
    objects = json_object_get(answer.json, "objects");
    cr_assert(json_is_array(objects), "%s: %.200s", query, answer.body);
    cr_assert_eq(json_integer_value(json_object_get(answer.json, "count")),
                 (json_int_t)json_array_size(objects), "%s: %.200s", query, answer.body);
    collect((char[]){""}, 0, 0, &out);
    for (size_t i = 0; i < json_array_size(objects); i++) {
        json_t *time = json_object_get(json_array_get(objects, i), "timestamp");
        char number[32];
        int n = snprintf(number, sizeof number, "%s%jd", i == 0 ? "" : " ",
                         (intmax_t)json_integer_value(time));

        cr_assert(json_is_integer(time), "%s: %.200s", query, answer.body);
        collect(number, 1, (size_t)n, &out);
    }
    keep(out.at, free);
    return out.at;
}

const char *
run_of(int64_t first, int64_t last)
{
    struct buffer out = {0};

    collect((char[]){""}, 0, 0, &out);
    for (int64_t t = first; t <= last; t++) {
        char number[32];
        int n = snprintf(number, sizeof number, "%s%jd", t == first ? "" : " ", (intmax_t)t);

        collect(number, 1, (size_t)n, &out);
    }
    keep(out.at, free);
    return out.at;
}
