/* mutation.c - any bytes as the body of POST /api/stores: refused, or a name that fits. */
#include "ingestd/mutation.h"
#include "ingestd/content_type.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char name[TS_MAX_NAME_BYTES + 2];
    struct ts_options options;
    const struct ts_span content_type = {.at = (const char *)data, .bytes = bytes};

    ts_options_init(&options);
    if (mutation_parse_create((const char *)data, bytes, name, &options) == TS_OK &&
        (strnlen(name, sizeof name) == 0 || strnlen(name, sizeof name) == sizeof name))
        abort();
    for (int type = TS_TYPE_BINARY; type <= TS_TYPE_SCHEMA; type++) {
        if (content_type_fits(content_type, (enum ts_type)type) && bytes < 10)
            abort();
    }
    return 0;
}
