/* mutation_create.c - POST /api/stores. */
#include "ingestd/mutation_parts.h"

#include "common/limits.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#define CREATE_MAX_BYTES 65536u /* a JSON tree takes many times its text */

static bool
is_blank(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r' && text[i] != '\n')
            return false;
    }
    return true;
}

/* A number of the request; 0 is as good as missing. */
static enum ts_err
take_number(const char *field, const json_t *value, uint32_t *number)
{
    if (json_is_null(value))
        return TS_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > UINT32_MAX)
        return TS_FAIL(TS_E_PARAM,
                       "json: cannot unmarshal value into field CreateStoreRequest.%s of type "
                       "uint32",
                       field);
    if (json_integer_value(value) != 0)
        *number = (uint32_t)json_integer_value(value);
    return TS_OK;
}

/* "" if it is missing or null. */
static enum ts_err
take_string(const char *field, const json_t *value, const char **out)
{
    if (json_is_null(value))
        return TS_OK;
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return TS_FAIL(TS_E_PARAM,
                       "json: cannot unmarshal value into field CreateStoreRequest.%s of type "
                       "string",
                       field);
    *out = json_string_value(value);
    return TS_OK;
}

struct create_fields {
    const char *name, *type, *codec, *sync, *order; /* views into the JSON */
    struct ts_limits limits;
};

static enum ts_err
take_fields(json_t *root, struct create_fields *fields, struct ts_options *options)
{
    const char *key;
    json_t *value;
    enum ts_err err = TS_OK;

    json_object_foreach(root, key, value)
    {
        if (strcasecmp(key, "name") == 0)
            err = take_string("name", value, &fields->name);
        else if (strcasecmp(key, "data_type") == 0)
            err = take_string("data_type", value, &fields->type);
        else if (strcasecmp(key, "codec") == 0)
            err = take_string("codec", value, &fields->codec);
        else if (strcasecmp(key, "sync") == 0)
            err = take_string("sync", value, &fields->sync);
        else if (strcasecmp(key, "order") == 0)
            err = take_string("order", value, &fields->order);
        else if (strcasecmp(key, "max_age") == 0)
            err = take_string("max_age", value, &fields->limits.max_age);
        else if (strcasecmp(key, "max_future") == 0)
            err = take_string("max_future", value, &fields->limits.max_future);
        else if (strcasecmp(key, "on_future") == 0)
            err = take_string("on_future", value, &fields->limits.on_future);
        else if (strcasecmp(key, "num_blocks") == 0)
            err = take_number("num_blocks", value, &options->num_blocks);
        else if (strcasecmp(key, "data_block_size") == 0)
            err = take_number("data_block_size", value, &options->data_block_bytes);
        else if (strcasecmp(key, "index_block_size") == 0)
            err = take_number("index_block_size", value, &options->index_block_bytes);
        if (err != TS_OK)
            return err;
    }
    return TS_OK;
}

static enum ts_err
use_fields(const struct create_fields *fields, char out_name[TS_MAX_NAME_BYTES + 2],
           struct ts_options *options)
{
    enum ts_err err = TS_OK;

    if (*fields->name == '\0')
        return TS_FAIL(TS_E_PARAM, "Key: 'CreateStoreRequest.Name' Error:Field validation for "
                                   "'Name' failed on the 'required' tag");
    if (*fields->type != '\0')
        err = ts_type_parse(fields->type, &options->type);
    if (err == TS_OK && *fields->codec != '\0')
        err = ts_codec_parse(fields->codec, &options->codec);
    if (err == TS_OK && *fields->sync != '\0')
        err = ts_sync_parse(fields->sync, &options->sync_ms);
    if (err == TS_OK && *fields->order != '\0' &&
        strcmp(fields->order, ts_order_name(TS_ORDER_STRICT)) != 0)
        err = TS_FAIL(TS_E_CONFIG, "invalid config: order must be strict");
    if (err == TS_OK)
        err = ts_limits_parse(&fields->limits, options);
    if (err != TS_OK)
        return err;
    /* One byte more than a name may have, so that a longer one is refused and not cut. */
    memset(out_name, 0, TS_MAX_NAME_BYTES + 2);
    strncpy(out_name, fields->name, TS_MAX_NAME_BYTES + 1);
    return TS_OK;
}

enum ts_err
mutation_parse_create(const char *body, size_t bytes, char out_name[TS_MAX_NAME_BYTES + 2],
                      struct ts_options *options)
{
    struct create_fields fields = {"", "", "", "", "", {NULL, NULL, NULL}};
    struct ts_options taken = *options;
    struct ts_span value;
    json_error_t error;
    json_t *root;
    enum ts_err err;

    if (is_blank(body, bytes))
        return TS_FAIL(TS_E_JSON, "EOF");
    if (bytes > CREATE_MAX_BYTES)
        return TS_FAIL(TS_E_LIMIT, "request of %zu bytes, at most %u are allowed", bytes,
                       CREATE_MAX_BYTES);
    root = json_loadb(body, bytes, JSON_DISABLE_EOF_CHECK, &error);
    if (!json_is_object(root)) {
        /* Ours words it as the clients know it; jansson refuses a few things more. */
        err = ts_json_check(body, bytes, &value);
        if (err == TS_OK)
            err = *value.at == '{'
                      ? TS_FAIL(TS_E_JSON, "%s", error.text)
                      : TS_FAIL(TS_E_PARAM, "json: cannot unmarshal value into Go value of type "
                                            "CreateStoreRequest");
        goto out;
    }
    err = take_fields(root, &fields, &taken);
    if (err == TS_OK)
        err = use_fields(&fields, out_name, &taken);
    if (err == TS_OK)
        *options = taken;
out:
    json_decref(root);
    return err;
}

static enum ts_err
check_admin(struct mutation *mutation, struct ts_span credential, struct ts_options *options)
{
    char given[CONTROL_MAX_CREDENTIAL_BYTES + 1] = "";
    struct ts_config config;
    enum ts_err err;

    settings_get(mutation->settings, &config);
    ts_options_init(options);
    options->num_blocks = config.num_blocks;
    options->data_block_bytes = config.data_block_bytes;
    options->index_block_bytes = config.index_block_bytes;
    if (credential.bytes > CONTROL_MAX_CREDENTIAL_BYTES) {
        err = TS_FAIL_PLAIN(TS_E_ADMIN_INVALID);
    } else {
        if (credential.bytes > 0)
            memcpy(given, credential.at, credential.bytes);
        err = ts_admin_key_check(config.admin_key, given);
    }
    explicit_bzero(given, sizeof given);
    ts_config_wipe(&config);
    return err;
}

uint16_t
mutation_create(struct mutation *mutation, const struct control_request *request,
                struct ts_text *body)
{
    char name[TS_MAX_NAME_BYTES + 2];
    char key[TS_KEY_TEXT_BYTES];
    char id[TS_KEY_ID_BYTES];
    struct ts_options options;
    enum ts_err err = check_admin(mutation, request->credential, &options);

    if (err == TS_OK)
        err = mutation_parse_create(request->body.at, request->body.bytes, name, &options);
    if (err == TS_OK)
        err = catalog_create(mutation->catalog, name, &options, key);
    if (err != TS_OK)
        return mutation_error(err, body);
    ts_key_id(key, id);
    ts_text_puts(body, "{\"name\":");
    ts_text_json_string(body, name, strlen(name));
    ts_text_printf(body, ",\"api_key\":\"%s\",\"key_id\":\"%s\"}", key, id);
    explicit_bzero(key, sizeof key);
    return 201;
}
