/* insert.c - any bytes as an insert body: what is taken out of it is JSON and inside of it. */
#include "common/json.h"

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
    const char *const text = (const char *)data;
    struct ts_json_insert loose = {0}, strict = {0};
    const enum ts_err err = ts_json_insert(text, bytes, false, &loose);

    if (err != TS_OK)
        expect(ts_error_text()[0] != '\0' && !loose.has_data && !loose.has_time);
    if (loose.has_data) {
        expect(loose.data.at > text && loose.data.at + loose.data.bytes < text + bytes);
        expect(ts_json_check(loose.data.at, loose.data.bytes, NULL) == TS_OK);
    }
    if (ts_json_insert(text, bytes, true, &strict) == TS_OK) {
        expect(err == TS_OK && loose.has_data == strict.has_data);
        expect(loose.data.at == strict.data.at && loose.data.bytes == strict.data.bytes);
        expect(loose.has_time == strict.has_time && loose.time_ns == strict.time_ns);
        /* Data may be as deep as a text alone, and is one level deeper here. */
        expect(ts_json_check(text, bytes, NULL) == TS_OK ||
               strncmp(ts_error_text(), "exceeded max depth", 18) == 0);
    }
    return 0;
}
