/* openapi_calls.c - see openapi_calls.h. */
#include "tests/system/openapi_calls.h"

#include <ctype.h>
#include <stdlib.h>

const char *const door_names[N_DOORS] = {"queryd", "ingestd"};
const char *const store_types[N_TYPES] = {"json", "schema", "text", "binary"};

json_t *openapi;
struct operation operations[MAX_OPERATIONS];
size_t n_operations;
struct store stores[N_TYPES];

/* ---- the description ---- */

static const char *
upper(const char *word)
{
    char *out = text("%s", word);

    for (char *at = out; *at != '\0'; at++)
        *at = (char)toupper((unsigned char)*at);
    return out;
}

json_t *
parameters_of(const struct operation *op)
{
    json_t *all = json_array();

    if (json_object_get(op->item, "parameters") != NULL)
        json_array_extend(all, json_object_get(op->item, "parameters"));
    if (json_object_get(op->tree, "parameters") != NULL)
        json_array_extend(all, json_object_get(op->tree, "parameters"));
    keep(all, (void (*)(void *))json_decref);
    return all;
}

static void
take_operation(const char *path, json_t *item, const char *method, json_t *tree)
{
    struct operation *op = &operations[n_operations++];
    json_t *servers = json_object_get(tree, "servers");

    cr_assert_leq(n_operations, MAX_OPERATIONS);
    *op = (struct operation){.method = upper(method),
                             .path = path,
                             .id = json_string_value(json_object_get(tree, "operationId")),
                             .item = item,
                             .tree = tree,
                             .seen = {"", ""}};
    cr_assert_not_null(op->id, "%s %s", method, path);
    if (servers == NULL)
        servers = json_object_get(openapi, "servers");
    for (size_t i = 0; i < json_array_size(servers); i++)
        for (int door = 0; door < N_DOORS; door++)
            if (strcmp(door_names[door], json_string_value(json_object_get(
                                             json_array_get(servers, i), "description"))) == 0)
                op->is_at[door] = true;
}

void
take_description(void)
{
    const char *path, *method;
    json_t *item, *tree;

    openapi = openapi_load();
    json_object_foreach(json_object_get(openapi, "paths"), path, item)
    {
        json_object_foreach(item, method, tree)
        {
            if (strcmp(method, "parameters") != 0)
                take_operation(path, item, method, tree);
        }
    }
}

struct operation *
find_operation(const char *id)
{
    FOR_EACH_OPERATION(op)
    {
        if (strcmp(op->id, id) == 0)
            return op;
    }
    cr_assert_fail("the description has no %s", id);
    return NULL;
}

json_t *
listed(const struct operation *op, int status)
{
    return openapi_member(openapi, json_object_get(op->tree, "responses"), text("%d", status));
}

int
good_status(const struct operation *op)
{
    const char *status;
    json_t *response;

    json_object_foreach(json_object_get(op->tree, "responses"), status, response)
    {
        if (atoi(status) < 400)
            return atoi(status);
    }
    cr_assert_fail("%s has no status of success", op->id);
    return 0;
}

bool
is_secured(const struct operation *op)
{
    const json_t *security = json_object_get(op->tree, "security");

    return security == NULL || json_array_size(security) > 0;
}

int
port_of(int door)
{
    return door == QUERYD ? site.queryd[0].port : site.ingestd.port;
}

/* ---- requests, filled in from the description ---- */

struct store *
store_of_kind(const char *type)
{
    for (size_t i = 0; i < COUNTOF(stores); i++)
        if (strcmp(store_types[i], type) == 0)
            return &stores[i];
    cr_assert_fail("no store of type %s", type);
    return NULL;
}

struct store *
store_for(const struct operation *op, const char *content_type)
{
    if (strstr(op->path, "/schema") != NULL)
        return store_of_kind("schema");
    if (content_type != NULL && strcmp(content_type, "text/plain") == 0)
        return store_of_kind("text");
    if (content_type != NULL && strcmp(content_type, "application/octet-stream") == 0)
        return store_of_kind("binary");
    return store_of_kind("json");
}

static const char *
plain(json_t *value)
{
    return json_is_integer(value) ? text("%jd", (intmax_t)json_integer_value(value))
                                  : json_string_value(value);
}

static const char *
escaped(const char *value)
{
    const char *out = "";

    for (; *value != '\0'; value++)
        out = isalnum((unsigned char)*value)
                  ? text("%s%c", out, *value)
                  : text("%s%%%02X", out, (unsigned)(unsigned char)*value);
    return out;
}

void
add_header(struct call *request, const char *header)
{
    size_t i = 0;

    while (i < COUNTOF(request->header) && request->header[i] != NULL)
        i++;
    cr_assert_lt(i, COUNTOF(request->header));
    request->header[i] = header;
}

struct call
request_of(const struct operation *op, int door, const struct store *store, size_t only)
{
    struct call out = {.method = op->method, .path = op->path, .port = port_of(door)};
    json_t *parameters = parameters_of(op);
    const char *query = "";

    for (size_t i = 0; i < json_array_size(parameters); i++) {
        json_t *parameter = openapi_follow(openapi, json_array_get(parameters, i));
        const char *name = json_string_value(json_object_get(parameter, "name"));
        const char *in = json_string_value(json_object_get(parameter, "in"));
        const char *value = plain(json_object_get(parameter, "example"));

        cr_assert_not_null(value, "%s: %s has no example", op->id, name);
        if (strcmp(name, "store") == 0)
            value = store->name;
        if (strcmp(in, "path") == 0) {
            const char *place = strstr(out.path, text("{%s}", name));

            cr_assert_not_null(place, "%s: no {%s} in the path", op->id, name);
            out.path =
                text("%.*s%s%s", (int)(place - out.path), out.path, value, strchr(place, '}') + 1);
        } else if (json_is_true(json_object_get(parameter, "required")) || only == ALL_PARAMETERS ||
                   only == i) {
            if (strcmp(in, "query") == 0)
                query = text("%s%s%s=%s", query, *query == '\0' ? "?" : "&", name, escaped(value));
            else
                add_header(&out, text("%s: %s", name, value));
        }
    }
    cr_assert_null(strchr(out.path, '{'), "%s: %s", op->id, out.path);
    out.path = text("%s%s", out.path, query);
    if (is_secured(op) && strcmp(op->path, "/api/stores") == 0)
        out.admin_key = ADMIN_KEY;
    else if (is_secured(op))
        out.key = store->key;
    return out;
}

/* ---- answers, held against the description ---- */

static void
expect_headers(const char *what, json_t *response, const struct answer *answer)
{
    const char *name, *value;
    json_t *header;

    json_object_foreach(json_object_get(response, "headers"), name, header)
    {
        header = openapi_follow(openapi, header);
        value = answer_header(answer, name);
        if (value == NULL) {
            cr_expect(!json_is_true(json_object_get(header, "required")), "%s: no %s", what, name);
        } else if (strcmp(json_string_value(
                              openapi_member(openapi, json_object_get(header, "schema"), "type")),
                          "integer") == 0) {
            cr_expect_eq(strspn(value, "0123456789"), strlen(value), "%s: %s", what, value);
        } else {
            json_t *json = json_string(value);
            const char *wrong = openapi_mismatch(openapi, json_object_get(header, "schema"), json);

            cr_expect_null(wrong, "%s: %s: %s", what, name, wrong);
            json_decref(json);
        }
    }
}

void
expect_described(struct operation *op, int door, const struct answer *answer)
{
    const char *what = text("%s at %s: %d", op->id, door_names[door], answer->status);
    json_t *response = listed(op, answer->status);
    const char *type = answer_header(answer, "Content-Type");
    const char *base = type != NULL ? text("%.*s", (int)strcspn(type, ";"), type) : "none";
    json_t *content, *body;
    const char *wrong;

    cr_expect_not_null(response, "%s is not listed: %.300s", what, answer->body);
    if (response == NULL)
        return;
    if (strstr(op->seen[door], text("%d ", answer->status)) == NULL)
        op->seen[door] = text("%s%d ", op->seen[door], answer->status);
    expect_headers(what, response, answer);
    content = json_object_get(json_object_get(response, "content"), base);
    cr_expect_not_null(content, "%s: %s is not listed", what, base);
    if (content == NULL)
        return;
    body = strcmp(base, "application/json") == 0 ? json_incref(answer->json)
                                                 : json_string(answer->body);
    cr_assert_not_null(body, "%s: %.300s", what, answer->body);
    wrong = openapi_mismatch(openapi, json_object_get(content, "schema"), body);
    cr_expect_null(wrong, "%s: %s in %.300s", what, wrong, answer->body);
    json_decref(body);
}

struct answer
ask(struct operation *op, int door, const struct call *request, int status)
{
    const struct answer answer = call(request);

    expect_described(op, door, &answer);
    if (status != 0)
        cr_expect_eq(answer.status, status, "%s at %s: %d instead of %d: %.300s", op->id,
                     door_names[door], answer.status, status, answer.body);
    return answer;
}
