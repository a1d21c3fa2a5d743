/* keys.c - any bytes as keys.json: what is accepted can be listed, written and read again. */
#include "common/keyfile.h"

#include <stdlib.h>
#include <string.h>

static void
expect_sound(const json_t *root)
{
    const json_t *keys = ts_keyfile_keys(root);
    struct ts_key_info info;
    struct ts_key_hash hash;

    if (!json_is_array(keys) || json_array_size(keys) > TS_KEYS_MAX)
        abort();
    for (size_t i = 0; i < json_array_size(keys); i++) {
        if (ts_keyfile_entry(json_array_get(keys, i), &info, &hash) != NULL)
            abort();
        if (strlen(info.id) != 8 || strlen(info.note) >= TS_KEY_NOTE_BYTES ||
            strlen(info.created_at) >= sizeof info.created_at)
            abort();
        if ((info.scopes & ~(unsigned)TS_SCOPE_ALL) != 0 || info.scopes != hash.scopes)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    json_t *root = NULL, *again = NULL;
    char *text;

    (void)ts_key_has_shape((const char *)data, bytes);
    if (ts_keyfile_parse((const char *)data, bytes, &root) != TS_OK) {
        if (root != NULL)
            abort();
        return 0;
    }
    expect_sound(root);
    text = json_dumps(root, JSON_INDENT(2));
    if (text == NULL || ts_keyfile_parse(text, strlen(text), &again) != TS_OK ||
        !json_equal(root, again))
        abort();
    free(text);
    json_decref(again);
    json_decref(root);
    return 0;
}
