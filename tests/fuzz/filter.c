/* filter.c - any bytes as a filter, its length in the first two bytes, and a record behind it. */
#include "common/filter.h"

#include "common/text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
expect(bool holds)
{
    if (!holds)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ts_filter exact, folding;
    size_t text_bytes, record_bytes;
    const char *text;
    const uint8_t *record;

    if (bytes < 2)
        return 0;
    text = (const char *)data + 2;
    text_bytes = (size_t)(data[0] | data[1] << 8);
    if (text_bytes > bytes - 2)
        text_bytes = bytes - 2;
    record = data + 2 + text_bytes;
    record_bytes = bytes - 2 - text_bytes;

    ts_filter_init(&exact, text, text_bytes, false);
    ts_filter_init(&folding, text, text_bytes, true);
    expect(ts_filter_match(&exact, text, text_bytes));
    expect(ts_filter_match(&folding, text, text_bytes));
    /* With its text in front a record matches, unless a broken character joins the two. */
    if (ts_utf8_is_valid(text, text_bytes)) {
        expect(ts_filter_match(&folding, text, bytes - 2));
        expect(!ts_filter_match(&exact, record, record_bytes) ||
               ts_filter_match(&folding, record, record_bytes));
    }
    return 0;
}
