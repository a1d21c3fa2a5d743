/* mutation_insert.c - one record, many, and messages. */
#include "ingestd/batch_body.h"
#include "ingestd/content_type.h"
#include "ingestd/counters.h"
#include "ingestd/mutation_parts.h"
#include "ingestd/slice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one record ---- */

uint16_t
mutation_insert(struct mutation *mutation, struct catalog_store *entry,
                const struct control_request *request, struct ts_text *body)
{
    struct record_rules rules;
    struct ts_appended done = {0};
    struct record record = {0};
    struct ts_text scratch;
    enum ts_err err;

    if (!content_type_fits(request->content_type, entry->type))
        return mutation_error(TS_FAIL_PLAIN(TS_E_CONTENT), body);
    err = record_rules_init(entry, &rules);
    if (err != TS_OK)
        return mutation_error(err, body);
    ts_text_init(&scratch);
    err = record_take_body(&rules, request->body, &scratch, &record);
    if (err == TS_OK)
        err = ts_store_append(entry->store, record.time_ns, record_data(&record, &scratch),
                              record.bytes, &done);
    ts_text_done(&scratch);
    record_rules_done(&rules);
    if (err != TS_OK)
        return mutation_error(err, body);
    counters_appended(COUNTERS_HTTP, 1);
    publish_moved(mutation->publish, &entry->slot);
    ts_text_add(body, "{", 1);
    mutation_add_record(body, &done, record.bytes);
    ts_text_add(body, "}", 1);
    return 201;
}

/* ---- a batch ---- */

#define MAX_ERROR_BYTES 128 /* of one result: the client has many of them to read */

struct batch_answer {
    struct ts_text *body;
    size_t start; /* of the results in body */
};

static void
add_result(void *arg, const struct ts_batch_item *item, enum ts_err err, const char *error)
{
    const struct batch_answer *const answer = arg;
    struct ts_text *const body = answer->body;
    const char *code;

    ts_text_add(body, body->bytes > answer->start ? ",{" : "{",
                body->bytes > answer->start ? 2 : 1);
    if (item != NULL) {
        mutation_add_record(body, &item->done, item->bytes);
    } else {
        code = ts_error_name(err);
        ts_text_puts(body, "\"error\":");
        ts_text_json_string(body, error, strnlen(error, MAX_ERROR_BYTES));
        ts_text_puts(body, ",\"code\":");
        ts_text_json_string(body, code, strlen(code));
    }
    ts_text_add(body, "}", 1);
}

static void
add_counts(struct ts_text *body, size_t n_accepted, size_t n_refused, char *brief)
{
    snprintf(brief, EXECUTED_BRIEF_BYTES,
             "{\"results\":[],\"count\":%zu,\"accepted\":%zu,\"refused\":%zu}",
             n_accepted + n_refused, n_accepted, n_refused);
    /* The same behind the results that are there. */
    ts_text_puts(body, brief + strlen("{\"results\":["));
}

static uint16_t
each_on_its_own(struct mutation *mutation, struct catalog_store *entry,
                const struct record_rules *rules, struct batch_body *batch, struct ts_text *body,
                char *brief)
{
    const size_t body_start = body->bytes;
    struct slice *slice = malloc(sizeof *slice);
    struct batch_answer answer = {.body = body};
    struct record record;
    struct ts_span item;
    enum ts_err err;

    if (slice == NULL)
        return mutation_error(TS_FAIL_PLAIN(TS_E_NOMEM), body);
    ts_text_puts(body, "{\"results\":[");
    answer.start = body->bytes;
    slice_init(slice, entry, mutation->publish, add_result, &answer);
    while (batch_body_next(batch, &item)) {
        err = record_take_item(rules, item, &slice->scratch, &record);
        if (err == TS_OK)
            slice_add(slice, &record);
        else
            slice_refuse(slice, err);
    }
    err = slice_end(slice);
    add_counts(body, slice->n_accepted, slice->n_refused, brief);
    slice_done(slice);
    free(slice);
    if (err == TS_OK)
        return 200;
    body->bytes = body_start;
    return mutation_error(err, body);
}

/* An error that has an item to blame. */
static uint16_t
blame(enum ts_err err, size_t index, struct ts_text *body)
{
    const uint16_t status = mutation_error(err, body);

    if (body->failed)
        return status;
    body->bytes--; /* the closing brace */
    ts_text_printf(body, ",\"index\":%zu}", index);
    return status;
}

/* Whether the store says this of one item, not of itself. */
static bool
is_of_an_item(enum ts_err err)
{
    return err == TS_E_TIME || err == TS_E_ORDER || err == TS_E_TOO_LARGE;
}

static enum ts_err
append_all(struct mutation *mutation, struct catalog_store *entry, struct ts_batch_item *items,
           size_t n, size_t *out_bad)
{
    enum ts_err err = ts_store_append_all(entry->store, items, n, out_bad);

    if (err != TS_OK || n == 0)
        return err;
    counters_appended(COUNTERS_HTTP, n);
    publish_moved(mutation->publish, &entry->slot);
    return entry->sync_ms == TS_SYNC_EACH
               ? ts_store_commit(entry->store, items[n - 1].done.record_no)
               : TS_OK;
}

static uint16_t
all_or_nothing(struct mutation *mutation, struct catalog_store *entry,
               const struct record_rules *rules, struct batch_body *batch, size_t n,
               struct ts_text *body, char *brief)
{
    struct ts_batch_item *items = calloc(n + 1, sizeof *items);
    struct record *records = calloc(n + 1, sizeof *records);
    struct batch_answer answer = {.body = body};
    struct ts_text scratch;
    struct ts_span item;
    uint16_t status = 200;
    size_t bad = 0;
    enum ts_err err = items != NULL && records != NULL ? TS_OK : TS_FAIL_PLAIN(TS_E_NOMEM);

    ts_text_init(&scratch);
    if (err != TS_OK) {
        status = mutation_error(err, body);
        goto out;
    }
    for (size_t i = 0; i < n && batch_body_next(batch, &item); i++) {
        err = record_take_item(rules, item, &scratch, &records[i]);
        if (err != TS_OK) {
            status = blame(err, i, body);
            goto out;
        }
    }
    for (size_t i = 0; i < n; i++)
        items[i] = (struct ts_batch_item){.time_ns = records[i].time_ns,
                                          .data = record_data(&records[i], &scratch),
                                          .bytes = records[i].bytes};
    err = append_all(mutation, entry, items, n, &bad);
    if (err != TS_OK) {
        status = is_of_an_item(err) ? blame(err, bad, body) : mutation_error(err, body);
        goto out;
    }
    ts_text_puts(body, "{\"results\":[");
    answer.start = body->bytes;
    for (size_t i = 0; i < n; i++)
        add_result(&answer, &items[i], TS_OK, NULL);
    add_counts(body, n, 0, brief);
out:
    ts_text_done(&scratch);
    free(items);
    free(records);
    return status;
}

uint16_t
mutation_batch(struct mutation *mutation, struct catalog_store *entry,
               const struct control_request *request, struct ts_text *body, char *brief)
{
    struct record_rules rules;
    struct batch_body batch;
    enum batch_form form;
    uint16_t status;
    size_t n = 0;
    enum ts_err err = batch_body_form(request->content_type, entry->type, &form);

    if (err == TS_OK)
        err = batch_body_open(request->body, form, &batch, &n);
    if (err == TS_OK)
        err = record_rules_init(entry, &rules);
    if (err != TS_OK)
        return mutation_error(err, body);
    status = request->flags & CONTROL_ATOMIC
                 ? all_or_nothing(mutation, entry, &rules, &batch, n, body, brief)
                 : each_on_its_own(mutation, entry, &rules, &batch, body, brief);
    record_rules_done(&rules);
    return status;
}

/* ---- messages ---- */

static void
add_answer(void *arg, const struct ts_batch_item *item, enum ts_err err, const char *error)
{
    struct ts_text *const body = arg;
    const size_t start = control_frame_begin(body);

    (void)err;
    if (item != NULL) {
        ts_text_puts(body, "{\"type\":\"ack\",");
        mutation_add_record(body, &item->done, item->bytes);
    } else {
        ts_text_puts(body, "{\"type\":\"error\",\"message\":");
        ts_text_json_string(body, error, strlen(error));
    }
    ts_text_add(body, "}", 1);
    control_frame_end(body, start);
}

uint16_t
mutation_messages(struct mutation *mutation, struct catalog_store *entry,
                  const struct control_request *request, struct ts_text *body)
{
    const bool is_compact = request->flags & CONTROL_COMPACT;
    const size_t body_start = body->bytes;
    struct slice *slice = malloc(sizeof *slice);
    struct ts_span rest = request->body, message;
    struct record_rules rules;
    struct record record;
    enum ts_err err = slice != NULL ? record_rules_init(entry, &rules) : TS_FAIL_PLAIN(TS_E_NOMEM);

    if (err != TS_OK) {
        free(slice);
        return mutation_error(err, body);
    }
    slice_init(slice, entry, mutation->publish, add_answer, body);
    while (control_frame_take(&rest, &message)) {
        err = record_take_message(&rules, message, is_compact, &slice->scratch, &record);
        if (err == TS_OK)
            slice_add(slice, &record);
        else
            slice_refuse(slice, err);
    }
    err = slice_end(slice);
    slice_done(slice);
    free(slice);
    record_rules_done(&rules);
    if (err == TS_OK)
        return 200;
    body->bytes = body_start;
    return mutation_error(err, body);
}
