/* embed.c - shortcuts over the other calls, for programs that embed the store. */
#include "common/json.h"
#include "common/view.h"

#include <string.h>

const char *
ts_view_path(const struct ts_view *view)
{
    return view->dir;
}

/* Finds the record and, while the cursor that holds its bytes is there, lets it be checked and
 * copied. */
static enum ts_err
get(struct ts_view *view, int64_t time_ns, bool is_json, struct ts_record *out, void *memory,
    size_t capacity)
{
    const struct ts_range range = {.limit = 1};
    struct ts_cursor *cursor;
    struct ts_record record;
    enum ts_err err;

    err = ts_cursor_open(view, &range, &cursor);
    if (err != TS_OK)
        return err;
    err = ts_cursor_find_time(cursor, time_ns, &record);
    if (err == TS_OK && is_json && !ts_json_is_valid((const char *)record.data, record.bytes))
        err = TS_E_JSON;
    if (err == TS_OK && record.bytes > capacity) {
        err = TS_FAIL(TS_E_LIMIT, "store %s: the record has %zu bytes, there is room for %zu",
                      ts_view_name(view), record.bytes, capacity);
        record.data = NULL;
        *out = record;
    } else if (err == TS_OK) {
        if (record.bytes > 0)
            memcpy(memory, record.data, record.bytes);
        record.data = memory;
        *out = record;
    }
    ts_cursor_close(cursor);
    return err;
}

enum ts_err
ts_view_get(struct ts_view *view, int64_t time_ns, void *memory, size_t capacity,
            struct ts_record *out_record)
{
    return get(view, time_ns, false, out_record, memory, capacity);
}

enum ts_err
ts_view_get_json(struct ts_view *view, int64_t time_ns, char *text, size_t capacity,
                 struct ts_record *out_record)
{
    return get(view, time_ns, true, out_record, text, capacity);
}

bool
ts_json_is_valid(const char *text, size_t bytes)
{
    return ts_json_check(bytes > 0 ? text : "", bytes, NULL) == TS_OK;
}

enum ts_err
ts_store_append_json(struct ts_store *store, int64_t time_ns, const char *text, size_t bytes,
                     struct ts_appended *out)
{
    struct ts_span value;
    enum ts_err err;

    err = ts_json_check(bytes > 0 ? text : "", bytes, &value);
    if (err != TS_OK)
        return err;
    return ts_store_append(store, time_ns, value.at, value.bytes, out);
}

enum ts_err
ts_store_remove(const char *data_dir, const char *name)
{
    struct ts_store *store;
    enum ts_err err;

    err = ts_store_open(data_dir, name, &store);
    if (err == TS_E_NOT_FOUND)
        return TS_OK;
    return err == TS_OK ? ts_store_drop(store) : err;
}
