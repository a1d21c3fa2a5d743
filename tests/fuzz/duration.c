/* duration.c - any bytes as a duration: refused, or a number that reads back as itself. */
#include "common/duration.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    int64_t ns = 0, again = 1;
    char text[32];

    if (ts_duration_parse((const char *)data, bytes, &ns) != TS_OK) {
        if (ns != 0 || ts_error_text()[0] == '\0')
            abort();
        return 0;
    }
    snprintf(text, sizeof text, "%" PRId64 "ns", ns);
    if (ts_duration_parse(text, strlen(text), &again) != TS_OK || again != ns)
        abort();
    return 0;
}
