/* shape.c - the schema is looked at only when a record is met that was published since. */
#include "queryd/shape.h"

#include "common/log.h"

void
shape_init(struct shape *shape, struct store *store, const struct ts_view *view, bool is_compact)
{
    *shape = (struct shape){.type = ts_view_options(view)->type,
                            .is_compact = is_compact,
                            .store = store,
                            .view = view};
}

void
shape_done(struct shape *shape)
{
    ts_schema_release(shape->schema);
    shape->schema = NULL;
}

void
shape_reset(struct shape *shape)
{
    shape->fresh_until_no = 0;
}

static void
log_trouble(const struct store *store)
{
    static struct ts_log_limit limit = TS_LOG_LIMIT(5, 60);
    uint64_t n_dropped;

    if (ts_log_allow(&limit, &n_dropped))
        ts_log(TS_LOG_ERROR, "store %s: schema: %s", store_name(store), ts_error_text());
}

/* First how far the store has come, then the file: a schema is in place before a record that needs
 * it is published, so the file holds for every record that this look saw. */
static bool
look_again(struct shape *shape)
{
    struct ts_schema *schema = NULL;
    struct ts_state state;
    bool is_new;

    ts_view_state(shape->view, &state);
    shape->fresh_until_no = state.next_no;
    if (store_schema(shape->store, &schema) != TS_OK) {
        log_trouble(shape->store);
        return false;
    }
    is_new = schema != shape->schema;
    ts_schema_release(shape->schema);
    shape->schema = schema;
    return is_new;
}

bool
shape_meet(struct shape *shape, uint64_t record_no)
{
    return shape->type == TS_TYPE_SCHEMA && record_no >= shape->fresh_until_no && look_again(shape);
}

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct ts_span
shape_value(const struct ts_record *record)
{
    size_t first = 0, end = record->bytes;

    while (first < end && is_blank(record->data[first]))
        first++;
    while (end > first && is_blank(record->data[end - 1]))
        end--;
    return (struct ts_span){.at = (const char *)record->data + first, .bytes = end - first};
}
