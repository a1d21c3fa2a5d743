/* slice.c - see slice.h. */
#include "ingestd/slice.h"

#include "common/error.h"
#include "ingestd/counters.h"

#include <stdio.h>

void
slice_init(struct slice *slice, struct catalog_store *entry, struct publish *publish,
           slice_tell tell, void *arg)
{
    slice->entry = entry;
    slice->publish = publish;
    slice->tell = tell;
    slice->arg = arg;
    ts_text_init(&slice->scratch);
    slice->n_accepted = slice->n_refused = 0;
    slice->last_no = 0;
    slice->n = 0;
}

void
slice_done(struct slice *slice)
{
    ts_text_done(&slice->scratch);
}

const char *
slice_error_text(enum ts_err err)
{
    switch (err) {
    case TS_E_TIME:
    case TS_E_ORDER:
    case TS_E_TOO_LARGE:
    case TS_E_CLOSED:
        return ts_error_default_text(err);
    default:
        /* The disk failed: the thread's text is that of the last item, and so the same. */
        return *ts_error_text() != '\0' ? ts_error_text() : ts_error_default_text(err);
    }
}

static void
flush(struct slice *slice)
{
    const unsigned n = slice->n;
    unsigned n_appended = 0;

    if (n == 0)
        return;
    slice->n = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct record *const record = &slice->records[i];

        slice->items[i] = (struct ts_batch_item){.time_ns = record->time_ns,
                                                 .data = record_data(record, &slice->scratch),
                                                 .bytes = record->bytes};
    }
    ts_store_append_batch(slice->entry->store, slice->items, n);
    for (unsigned i = 0; i < n; i++) {
        const struct ts_batch_item *const item = &slice->items[i];

        if (item->err != TS_OK) {
            slice->n_refused++;
            counters_refused(COUNTERS_HTTP, item->err);
            slice->tell(slice->arg, NULL, item->err, slice_error_text(item->err));
            continue;
        }
        slice->n_accepted++;
        n_appended++;
        slice->last_no = item->done.record_no;
        slice->tell(slice->arg, item, TS_OK, NULL);
    }
    if (n_appended > 0)
        counters_appended(COUNTERS_HTTP, n_appended);
    ts_text_clear(&slice->scratch);
}

void
slice_add(struct slice *slice, const struct record *record)
{
    slice->records[slice->n++] = *record;
    if (slice->n == SLICE_RECORDS || slice->scratch.bytes > SLICE_SCRATCH_BYTES)
        flush(slice);
}

void
slice_refuse(struct slice *slice, enum ts_err err)
{
    char why[TS_ERROR_TEXT_BYTES];

    /* Those before it are answered first, and may set the thread's text anew. */
    snprintf(why, sizeof why, "%s", ts_error_text());
    flush(slice);
    slice->n_refused++;
    counters_refused(COUNTERS_HTTP, err);
    slice->tell(slice->arg, NULL, err, why);
}

enum ts_err
slice_end(struct slice *slice)
{
    flush(slice);
    if (slice->last_no == 0)
        return TS_OK;
    publish_moved(slice->publish, &slice->entry->slot);
    return slice->entry->sync_ms == TS_SYNC_EACH
               ? ts_store_commit(slice->entry->store, slice->last_no)
               : TS_OK;
}
