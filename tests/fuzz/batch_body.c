/* batch_body.c - any bytes as a batch: refused, or as many items as were counted, all inside. */
#include "ingestd/batch_body.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *const text = (const char *)data + 1;
    struct ts_json_insert insert;
    enum batch_form form;
    struct batch_body body;
    struct ts_span item;
    size_t n, n_given = 0;

    if (bytes == 0)
        return 0;
    bytes--;
    form = data[0] & 1 ? BATCH_ARRAY : BATCH_LINES;
    if (batch_body_open((struct ts_span){.at = text, .bytes = bytes}, form, &body, &n) != TS_OK)
        return 0;
    if (n > BATCH_MAX_RECORDS ||
        (form == BATCH_ARRAY && ts_json_check(text, bytes, NULL) != TS_OK &&
         bytes < TS_JSON_MAX_DEPTH))
        abort();
    while (batch_body_next(&body, &item)) {
        n_given++;
        if (item.bytes == 0 || item.at < text || item.bytes > bytes ||
            (size_t)(item.at - text) > bytes - item.bytes)
            abort();
        /* What an array gives was checked: an item is JSON, if not a record. */
        if (form == BATCH_ARRAY && ts_json_check(item.at, item.bytes, NULL) != TS_OK)
            abort();
        if (ts_json_insert(item.at, item.bytes, true, &insert) == TS_OK && insert.has_data &&
            insert.data.at + insert.data.bytes > item.at + item.bytes)
            abort();
    }
    if (n_given != n)
        abort();
    return 0;
}
