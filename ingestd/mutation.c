/* mutation.c - who may do what, and where it is done. */
#include "ingestd/mutation.h"

#include "common/checksum.h"
#include "common/log.h"
#include "daemon/key_trouble.h"
#include "ingestd/counters.h"
#include "ingestd/mutation_parts.h"

#include <string.h>

#define MAX_RESEND_KEY_BYTES 128

uint16_t
mutation_error(enum ts_err err, struct ts_text *body)
{
    const char *text = ts_error_text();
    const char *code = ts_error_name(err);

    counters_refused(COUNTERS_HTTP, err);
    if (*text == '\0')
        text = ts_error_default_text(err);
    ts_text_puts(body, "{\"error\":");
    ts_text_json_string(body, text, strlen(text));
    ts_text_puts(body, ",\"code\":");
    ts_text_json_string(body, code, strlen(code));
    ts_text_puts(body, "}");
    return (uint16_t)ts_error_http_status(err);
}

/* Puts text at at[] and returns the place behind it. */
static inline char *
put(char *at, const char *text, size_t bytes)
{
    memcpy(at, text, bytes);
    return at + bytes;
}

void
mutation_add_record(struct ts_text *body, const struct ts_appended *done, size_t bytes)
{
    char *at;

    /* A batch has thousands of them: one look for room each. */
    if (!ts_text_reserve(body, 40 + 3 * TS_FORMAT_NUMBER_BYTES))
        return;
    at = put(body->at + body->bytes, "\"timestamp\":", 12);
    at += ts_format_i64(at, done->time_ns);
    at = put(at, ",\"block_num\":", 13);
    at += ts_format_u64(at, done->block_num);
    at = put(at, ",\"size\":", 8);
    at += ts_format_u64(at, bytes);
    body->bytes = (size_t)(at - body->at);
}

/* ---- who may ---- */

/* In the contract's order: what the key is comes before whether the store exists. */
static enum ts_err
find_store(struct mutation *mutation, const struct control_request *request, unsigned scope,
           struct catalog_store **out_entry)
{
    const struct ts_span key = request->credential;
    struct catalog_store *entry;
    enum ts_err err;

    if (key.bytes == 0)
        return TS_FAIL_PLAIN(TS_E_KEY_MISSING);
    if (!ts_key_has_shape(key.at, key.bytes))
        return TS_FAIL_PLAIN(TS_E_KEY_FORMAT);
    err = catalog_find(mutation->catalog, request->store, &entry);
    if (err == TS_E_NOT_FOUND)
        return TS_FAIL_PLAIN(TS_E_KEY_STORE);
    if (err != TS_OK)
        return err;
    err = ts_keyring_check(entry->keyring, key.at, key.bytes, scope);
    if (err == TS_E_KEY_STORE)
        key_trouble_log(entry->name, entry->keyring);
    if (err == TS_OK)
        err = catalog_open_store(entry);
    if (err != TS_OK)
        catalog_release(entry);
    else
        *out_entry = entry;
    return err;
}

/* queryd may have a larger limit. Of messages each has its own. */
static enum ts_err
check_body(const struct mutation *mutation, const struct control_request *request)
{
    const struct settings *const settings = mutation->settings;

    if (request->op != CONTROL_INSERT_MESSAGES && settings != NULL &&
        request->body.bytes > atomic_load_explicit(&settings->max_body_bytes, memory_order_relaxed))
        return TS_FAIL(TS_E_LIMIT, "request body too large");
    return TS_OK;
}

/* ---- whole stores ---- */

static uint16_t
message(struct ts_text *body, const char *text)
{
    ts_text_printf(body, "{\"message\":\"%s\"}", text);
    return 200;
}

static uint16_t
drop(struct mutation *mutation, const struct control_request *request, struct ts_text *body)
{
    struct catalog_store *entry;
    enum ts_err err = find_store(mutation, request, TS_SCOPE_DELETE, &entry);

    if (err != TS_OK)
        return mutation_error(err, body);
    err = catalog_drop(entry);
    if (err == TS_OK && mutation->resends != NULL)
        executed_forget(mutation->resends, entry->id);
    catalog_release(entry);
    return err == TS_OK ? message(body, "store deleted") : mutation_error(err, body);
}

static uint16_t
reset(struct mutation *mutation, struct catalog_store *entry, struct ts_text *body)
{
    const enum ts_err err = ts_store_reset(entry->store);

    if (err != TS_OK)
        return mutation_error(err, body);
    if (mutation->resends != NULL)
        executed_forget(mutation->resends, entry->id);
    publish_reset(mutation->publish, &entry->slot);
    ts_log(TS_LOG_INFO, "store %s: reset", entry->name);
    return message(body, "store reset");
}

/* A signed 64-bit decimal, as the contract has it in a path. */
static bool
parse_time(struct ts_span text, int64_t *out_ns)
{
    const bool is_negative = text.bytes > 0 && *text.at == '-';
    const size_t first = text.bytes > 0 && (is_negative || *text.at == '+') ? 1 : 0;
    int64_t time_ns = 0; /* kept negative: there is one more of them */

    if (text.bytes == first)
        return false;
    for (size_t i = first; i < text.bytes; i++) {
        const int digit = text.at[i] - '0';

        if (digit < 0 || digit > 9 || __builtin_mul_overflow(time_ns, 10, &time_ns) ||
            __builtin_sub_overflow(time_ns, digit, &time_ns))
            return false;
    }
    if (!is_negative && __builtin_sub_overflow(0, time_ns, &time_ns))
        return false;
    *out_ns = time_ns;
    return true;
}

static uint16_t
delete_time(struct mutation *mutation, struct catalog_store *entry,
            const struct control_request *request, struct ts_text *body)
{
    int64_t time_ns;
    enum ts_err err;

    if (parse_time(request->argument, &time_ns))
        err = ts_store_delete_time(entry->store, time_ns);
    else
        err = TS_FAIL_PLAIN(TS_E_TIME);
    if (err != TS_OK)
        return mutation_error(err, body);
    publish_moved(mutation->publish, &entry->slot);
    return message(body, "object deleted");
}

static uint16_t
put_schema(struct mutation *mutation, struct catalog_store *entry,
           const struct control_request *request, struct ts_text *body)
{
    uint32_t version = 0;
    enum ts_err err;

    if (entry->type != TS_TYPE_SCHEMA)
        err = TS_FAIL(TS_E_PARAM, "schema endpoint only available for schema-type stores");
    else
        err = store_schema_put(entry->schema, request->body, &version);
    if (err != TS_OK)
        return mutation_error(err, body);
    publish_catalogue(mutation->publish, EVENT_SCHEMA, entry->name);
    ts_log(TS_LOG_INFO, "store %s: schema version %u", entry->name, version);
    ts_text_printf(body, "{\"message\":\"schema updated\",\"version\":%u}", version);
    return 200;
}

/* ---- once ---- */

/* What a client's idempotency key stands for. The key is his own: that two of them might have one
 * hash is his risk, and one in 2^64. */
static enum ts_err
identify(const struct control_request *request, uint64_t scope, struct executed_id *out)
{
    const struct ts_span key = request->argument, type = request->content_type;
    uint64_t seed = (uint64_t)request->op << 16 | request->flags;

    *out = (struct executed_id){0};
    if (key.bytes == 0)
        return TS_OK;
    if (key.bytes > MAX_RESEND_KEY_BYTES)
        return TS_FAIL(TS_E_PARAM, "Idempotency-Key has %zu bytes, at most %d are allowed",
                       key.bytes, MAX_RESEND_KEY_BYTES);
    for (size_t i = 0; i < key.bytes; i++) {
        if (key.at[i] < ' ' || key.at[i] > '~')
            return TS_FAIL(TS_E_PARAM, "Idempotency-Key has bytes that are not printable");
    }
    seed = ts_checksum(type.bytes > 0 ? type.at : "", type.bytes, seed);
    out->scope = scope;
    out->key = ts_checksum(key.at, key.bytes, 0);
    out->key += out->key == 0;
    out->fingerprint = ts_checksum(request->body.at, request->body.bytes, seed);
    return TS_OK;
}

/* CONTROL_INSERT and CONTROL_INSERT_BATCH. */
static uint16_t
insert_once(struct mutation *mutation, struct catalog_store *entry,
            const struct control_request *request, struct ts_text *body)
{
    const size_t start = body->bytes;
    char brief[EXECUTED_BRIEF_BYTES] = "";
    struct executed_id id = {0};
    struct ts_span answer = {0};
    uint16_t status = 0;
    enum ts_err err;

    if (mutation->resends != NULL) {
        err = identify(request, entry->id, &id);
        if (err != TS_OK)
            return mutation_error(err, body);
        switch (executed_begin(mutation->resends, &id, &status, body)) {
        case EXECUTED_NEW:
            break;
        case EXECUTED_DONE:
            return status;
        case EXECUTED_RUNNING:
            return mutation_error(
                TS_FAIL(TS_E_UNAVAILABLE, "a request with this Idempotency-Key is being executed"),
                body);
        case EXECUTED_OTHER:
            return mutation_error(
                TS_FAIL(TS_E_RESEND, "this Idempotency-Key was used for another request"), body);
        }
    }
    status = request->op == CONTROL_INSERT ? mutation_insert(mutation, entry, request, body)
                                           : mutation_batch(mutation, entry, request, body, brief);
    if (!body->failed)
        answer = (struct ts_span){.at = body->at + start, .bytes = body->bytes - start};
    if (mutation->resends != NULL)
        executed_finish(mutation->resends, &id, status, answer, *brief != '\0' ? brief : NULL);
    return status;
}

static uint16_t
delete_range(struct mutation *mutation, struct catalog_store *entry,
             const struct control_request *request, struct ts_text *body)
{
    const struct ts_span all = request->argument;
    const char *blank = all.bytes > 0 ? memchr(all.at, ' ', all.bytes) : NULL;
    const size_t first = blank != NULL ? (size_t)(blank - all.at) : all.bytes;
    const struct ts_span end = {all.at + first + 1, first < all.bytes ? all.bytes - first - 1 : 0};
    struct ts_range range = {.has_from = true, .has_to = true};
    uint64_t n_deleted;
    enum ts_err err;

    /* Both, so that nobody empties a store by leaving one out. */
    if (first == 0 || end.bytes == 0)
        err = TS_FAIL(TS_E_PARAM, "start_time and end_time parameters required");
    else if (!parse_time((struct ts_span){all.at, first}, &range.from_time_ns))
        err = TS_FAIL(TS_E_PARAM, "invalid start_time");
    else if (!parse_time(end, &range.to_time_ns))
        err = TS_FAIL(TS_E_PARAM, "invalid end_time");
    else if (range.from_time_ns > range.to_time_ns)
        err = TS_FAIL_PLAIN(TS_E_TIME);
    else
        err = ts_store_delete_range(entry->store, &range, &n_deleted);
    if (err != TS_OK)
        return mutation_error(err, body);
    publish_moved(mutation->publish, &entry->slot);
    ts_text_printf(body, "{\"deleted\":%ju}", (uintmax_t)n_deleted);
    return 200;
}

/* ---- all of them ---- */

static uint16_t
execute(struct mutation *mutation, struct catalog_store *entry,
        const struct control_request *request, struct ts_text *body)
{
    switch (request->op) {
    case CONTROL_RESET_STORE:
        return reset(mutation, entry, body);
    case CONTROL_DELETE_TIME:
        return delete_time(mutation, entry, request, body);
    case CONTROL_DELETE_RANGE:
        return delete_range(mutation, entry, request, body);
    case CONTROL_PUT_SCHEMA:
        return put_schema(mutation, entry, request, body);
    case CONTROL_INSERT_MESSAGES:
        return mutation_messages(mutation, entry, request, body);
    default:
        return insert_once(mutation, entry, request, body);
    }
}

/* What a key must be allowed; 0: no such operation on a store. */
static unsigned
scope_of(uint16_t op)
{
    switch (op) {
    case CONTROL_INSERT:
    case CONTROL_INSERT_BATCH:
    case CONTROL_INSERT_MESSAGES:
    case CONTROL_PUT_SCHEMA:
        return TS_SCOPE_WRITE;
    case CONTROL_DROP_STORE:
    case CONTROL_RESET_STORE:
    case CONTROL_DELETE_TIME:
    case CONTROL_DELETE_RANGE:
        return TS_SCOPE_DELETE;
    default:
        return 0;
    }
}

uint16_t
mutation_execute(struct mutation *mutation, const struct control_request *request,
                 struct ts_text *body)
{
    const unsigned scope = scope_of(request->op);
    struct catalog_store *entry = NULL;
    uint16_t status;
    enum ts_err err;

    if (request->op == CONTROL_CREATE_STORE)
        return mutation_create(mutation, request, body);
    if (request->op == CONTROL_DROP_STORE)
        return drop(mutation, request, body);
    if (scope == 0) {
        TS_FAIL(TS_E_PROTOCOL, "operation %u is not known to this ingestd", request->op);
        mutation_error(TS_E_PROTOCOL, body);
        return 501;
    }
    err = find_store(mutation, request, scope, &entry);
    if (err == TS_OK)
        err = check_body(mutation, request);
    if (err == TS_OK)
        err = catalog_enter(entry);
    if (err != TS_OK) {
        status = mutation_error(err, body);
    } else {
        status = execute(mutation, entry, request, body);
        catalog_leave(entry);
    }
    catalog_release(entry);
    return status;
}

enum ts_err
mutation_authorize(struct mutation *mutation, const struct control_request *request)
{
    struct catalog_store *entry;
    const enum ts_err err = find_store(mutation, request, scope_of(request->op), &entry);

    if (err == TS_OK)
        catalog_release(entry);
    return err;
}
