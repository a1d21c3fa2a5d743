/* socket_batch.c - see socket_batch.h. */
#include "ingestd/socket_batch.h"

#include "daemon/key_trouble.h"
#include "ingestd/counters.h"
#include "ingestd/slice.h"
#include "ingestd/socket_line.h"

#include <stdio.h>
#include <string.h>

/* ---- answers ---- */

static void
add_answer(struct socket_loop *loop, const char *text, size_t bytes)
{
    memcpy(loop->out + loop->out_bytes, text, bytes);
    loop->out_bytes += bytes;
}

/* "ERROR <prefix><text>\n". The text may quote a client: it stays one line. */
void
socket_batch_error(struct socket_loop *loop, const char *prefix, const char *text)
{
    char line[SOCKET_MAX_ERROR_BYTES];
    int bytes = snprintf(line, sizeof line - 1, "ERROR %s%s", prefix, text);

    if (bytes > (int)sizeof line - 2)
        bytes = (int)sizeof line - 2;
    for (int i = 0; i < bytes; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == '\x7f')
            line[i] = '?';
    }
    line[bytes++] = '\n';
    add_answer(loop, line, (size_t)bytes);
}

/* Appends what was gathered and answers it. */
static void
flush_batch(struct socket_connection *connection, struct socket_loop *loop)
{
    struct catalog_store *const store = connection->store;
    const unsigned n = loop->n_items;
    char *out = loop->out + loop->out_bytes;
    unsigned n_appended = 0;

    if (n == 0)
        return;
    loop->n_items = 0;
    if (catalog_enter(store) != TS_OK) {
        for (unsigned i = 0; i < n; i++)
            loop->items[i].err = TS_E_CLOSED;
    } else {
        ts_store_append_batch(store->store, loop->items, n);
        catalog_leave(store);
    }
    ts_text_clear(&loop->scratch);
    for (unsigned i = 0; i < n; i++) {
        const struct ts_batch_item *const item = &loop->items[i];

        if (item->err == TS_OK) {
            out += socket_line_ok(out, item->done.time_ns);
            loop->last_no = item->done.record_no;
            n_appended++;
        } else {
            counters_refused(COUNTERS_SOCKET, item->err);
            loop->out_bytes = (size_t)(out - loop->out);
            socket_batch_error(loop, socket_line_error_prefix(item->err),
                               slice_error_text(item->err));
            out = loop->out + loop->out_bytes;
        }
    }
    loop->out_bytes = (size_t)(out - loop->out);
    atomic_fetch_add_explicit(&loop->n_records, n_appended, memory_order_relaxed);
    counters_appended(COUNTERS_SOCKET, n_appended);
    if (n_appended < n)
        atomic_fetch_add_explicit(&loop->n_refused, n - n_appended, memory_order_relaxed);
    if (n_appended > 0 && !store->in_socket.is_moved) {
        store->in_socket.is_moved = true;
        LIST_INSERT_HEAD(&loop->moved, store, in_socket.moved);
    }
}

/* ---- lines ---- */

/* The key comes before the store's state: who has none learns nothing. */
static enum ts_err
authenticate(struct socket_loop *loop, const struct socket_auth *auth,
             struct catalog_store **out_store)
{
    struct catalog_store *store;
    enum ts_err err = catalog_find(loop->catalog, auth->store, &store);

    if (err != TS_OK)
        return TS_FAIL_PLAIN(TS_E_KEY_STORE);
    err = ts_keyring_check(store->keyring, auth->key.at, auth->key.bytes, TS_SCOPE_WRITE);
    if (err == TS_E_KEY_STORE)
        key_trouble_log(store->name, store->keyring);
    if (err != TS_OK) {
        catalog_release(store);
        return TS_FAIL_PLAIN(TS_E_KEY_STORE);
    }
    err = catalog_open_store(store);
    if (err != TS_OK) {
        catalog_release(store);
        TS_CONTEXT("failed to open store");
        return err;
    }
    *out_store = store;
    return TS_OK;
}

static void
first_line(struct socket_connection *connection, struct socket_loop *loop, const char *line,
           size_t bytes)
{
    struct socket_auth auth;
    enum ts_err err = socket_line_auth(line, bytes, &auth);

    TAILQ_REMOVE(&loop->unknown, connection, unknown);
    if (err == TS_OK)
        err = authenticate(loop, &auth, &connection->store);
    if (err != TS_OK) {
        counters_refused(COUNTERS_SOCKET, err);
        connection->state = SOCKET_CLOSING;
        socket_batch_error(loop, "", ts_error_text());
    } else {
        connection->state = SOCKET_OPEN;
        add_answer(loop, "OK\n", 3);
    }
}

static void
refuse_line(struct socket_connection *connection, struct socket_loop *loop, enum ts_err err,
            const char *prefix, const char *text)
{
    char kept[SOCKET_MAX_ERROR_BYTES];

    /* The batch before it is answered first, and may set the thread's text anew. */
    snprintf(kept, sizeof kept, "%s", text);
    flush_batch(connection, loop);
    socket_batch_error(loop, prefix, kept);
    counters_refused(COUNTERS_SOCKET, err);
    atomic_fetch_add_explicit(&loop->n_refused, 1, memory_order_relaxed);
}

static void
add_item(struct socket_connection *connection, struct socket_loop *loop, int64_t time_ns,
         const void *data, size_t bytes)
{
    loop->items[loop->n_items++] =
        (struct ts_batch_item){.time_ns = time_ns, .data = data, .bytes = bytes};
    if (loop->n_items == SOCKET_BATCH)
        flush_batch(connection, loop);
}

/* A record of a schema store: its stored form is made in the scratch. */
static void
schema_line(struct socket_connection *connection, struct socket_loop *loop,
            const struct socket_line *line)
{
    /* A name of one letter may become an index of 19 digits. */
    const size_t most_bytes = 4 * line->data.bytes + 64;
    struct record record;
    enum ts_err err;

    if (loop->scratch.capacity - loop->scratch.bytes < most_bytes) {
        flush_batch(connection, loop);
        ts_text_clear(&loop->scratch);
        if (!ts_text_reserve(&loop->scratch, most_bytes > SOCKET_SCRATCH_BYTES
                                                 ? most_bytes
                                                 : SOCKET_SCRATCH_BYTES)) {
            refuse_line(connection, loop, TS_E_NOMEM, socket_line_error_prefix(TS_E_NOMEM),
                        ts_error_default_text(TS_E_NOMEM));
            return;
        }
    }
    err = record_take_line(&loop->rules, line->data, &loop->scratch, &record);
    if (err != TS_OK)
        refuse_line(connection, loop, err, socket_line_error_prefix(err), ts_error_text());
    else
        add_item(connection, loop, line->time_ns, record_data(&record, &loop->scratch),
                 record.bytes);
}

static void
record_line(struct socket_connection *connection, struct socket_loop *loop, const char *line,
            size_t bytes)
{
    struct socket_line parsed;
    const enum ts_err err = socket_line_parse(line, bytes, connection->store->type, &parsed);

    if (err != TS_OK) {
        refuse_line(connection, loop, err, socket_line_error_prefix(err), ts_error_text());
        return;
    }
    switch (parsed.kind) {
    case SOCKET_LINE_EMPTY:
        break;
    case SOCKET_LINE_QUIT:
        flush_batch(connection, loop);
        add_answer(loop, "OK bye\n", 7);
        connection->state = SOCKET_CLOSING;
        break;
    case SOCKET_LINE_RECORD:
        if (connection->store->type == TS_TYPE_SCHEMA)
            schema_line(connection, loop, &parsed);
        else
            add_item(connection, loop, parsed.time_ns, parsed.data.at, parsed.data.bytes);
        break;
    }
}

size_t
socket_batch_max_line(const struct socket_connection *connection, const struct socket_loop *loop)
{
    if (connection->state == SOCKET_NEW)
        return SOCKET_MAX_AUTH_BYTES;
    return (size_t)atomic_load_explicit(&loop->settings->max_line_bytes, memory_order_relaxed);
}

void
socket_batch_too_long(struct socket_connection *connection, struct socket_loop *loop)
{
    if (connection->state == SOCKET_NEW)
        first_line(connection, loop, "", 0);
    else
        refuse_line(connection, loop, TS_E_LIMIT, "", "line too long");
}

static size_t
take_lines(struct socket_connection *connection, struct socket_loop *loop, const char *at,
           size_t bytes, size_t scanned)
{
    const size_t max_bytes = socket_batch_max_line(connection, loop);
    const char *const from = at;
    const char *const end = at + bytes;

    while (connection->state != SOCKET_CLOSING && loop->out_bytes < SOCKET_OUT_BYTES) {
        const char *const newline = memchr(at + scanned, '\n', (size_t)(end - at) - scanned);
        size_t line_bytes;

        if (newline == NULL)
            break;
        scanned = 0;
        line_bytes = (size_t)(newline - at);
        if (connection->is_skipping)
            connection->is_skipping = false;
        else if (connection->state == SOCKET_NEW) {
            if (line_bytes > max_bytes)
                line_bytes = 0;
            first_line(connection, loop, at, line_bytes);
            at = newline + 1;
            break; /* the limit of the next line is another */
        } else if (line_bytes > max_bytes)
            socket_batch_too_long(connection, loop);
        else
            record_line(connection, loop, at, line_bytes);
        at = newline + 1;
    }
    if (loop->n_items > 0)
        flush_batch(connection, loop);
    return (size_t)(at - from);
}

size_t
socket_batch_take(struct socket_connection *connection, struct socket_loop *loop, const char *at,
                  size_t bytes, size_t scanned)
{
    const bool has_schema =
        connection->state == SOCKET_OPEN && connection->store->type == TS_TYPE_SCHEMA;
    size_t used;

    if (has_schema && record_rules_init(connection->store, &loop->rules) != TS_OK) {
        /* Its schema can't be read: nothing can be checked, nothing is taken. */
        socket_batch_error(loop, "store failed: ", ts_error_text());
        connection->state = SOCKET_CLOSING;
        return bytes;
    }
    used = take_lines(connection, loop, at, bytes, scanned);
    if (has_schema)
        record_rules_done(&loop->rules);
    if (loop->scratch.capacity > 4 * SOCKET_SCRATCH_BYTES)
        ts_text_done(&loop->scratch);
    return used;
}
