/* yaml.c - any bytes as YAML: what is read can be written as JSON, which is YAML for the same. */
#include "cli/yaml.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    json_t *tree = NULL, *again = NULL;
    char *text;

    if (yaml_parse((const char *)data, bytes, &tree) != TS_OK) {
        if (tree != NULL)
            abort();
        return 0;
    }
    text = json_dumps(tree, JSON_ENCODE_ANY);
    if (text == NULL || yaml_parse(text, strlen(text), &again) != TS_OK || !json_equal(tree, again))
        abort();
    free(text);
    json_decref(again);
    json_decref(tree);
    return 0;
}
