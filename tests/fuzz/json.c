/* json.c - any bytes as a JSON text: refused with a reason, or a value that stays one alone. */
#include "common/json.h"

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
    const char *const text = (const char *)data;
    struct ts_span value = {0}, again = {0};
    struct ts_text written;

    if (ts_json_check(text, bytes, &value) == TS_OK) {
        expect(value.bytes > 0 && value.at >= text && value.at + value.bytes <= text + bytes);
        expect(ts_json_check(value.at, value.bytes, &again) == TS_OK);
        expect(again.at == value.at && again.bytes == value.bytes);
        expect(ts_utf8_is_valid(value.at, value.bytes));
    } else {
        expect(ts_error_text()[0] != '\0' && value.at == NULL);
        expect(ts_utf8_is_valid(ts_error_text(), strlen(ts_error_text())));
    }
    /* Whatever the bytes are, as a string they are JSON. */
    ts_text_init(&written);
    ts_text_json_string(&written, data, bytes);
    expect(written.failed || ts_json_check(written.at, written.bytes, NULL) == TS_OK);
    ts_text_done(&written);
    return 0;
}
