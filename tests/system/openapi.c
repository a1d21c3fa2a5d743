/* openapi.c - YAML by libyaml, then the part of JSON Schema that the description uses. */
#include "tests/system/openapi.h"

#include "tests/system/harness.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#define DESCRIPTION "proto/openapi.yaml"

/* ---- YAML ---- */

static void
release_json(void *json)
{
    json_decref(json);
}

/* The value of a plain scalar, else its text. */
static json_t *
json_of_scalar(const yaml_node_t *node)
{
    const char *text = (const char *)node->data.scalar.value;
    long long whole;
    double real;
    char *end;

    if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return json_string(text);
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return json_boolean(*text == 't');
    if (strcmp(text, "null") == 0)
        return json_null();
    errno = 0;
    whole = strtoll(text, &end, 10);
    if (*text != '\0' && *end == '\0' && errno == 0)
        return json_integer(whole);
    real = strtod(text, &end);
    return *text != '\0' && *end == '\0' ? json_real(real) : json_string(text);
}

static json_t *
json_of_node(yaml_document_t *document, int index)
{
    const yaml_node_t *node = yaml_document_get_node(document, index);
    json_t *out;

    switch (node->type) {
    case YAML_SEQUENCE_NODE:
        out = json_array();
        for (yaml_node_item_t *item = node->data.sequence.items.start;
             item < node->data.sequence.items.top; item++)
            json_array_append_new(out, json_of_node(document, *item));
        return out;
    case YAML_MAPPING_NODE:
        out = json_object();
        for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
             pair < node->data.mapping.pairs.top; pair++) {
            const yaml_node_t *key = yaml_document_get_node(document, pair->key);
            const char *name = (const char *)key->data.scalar.value;

            cr_assert_eq(key->type, YAML_SCALAR_NODE);
            cr_assert_null(json_object_get(out, name), "%s is there twice, line %zu", name,
                           key->start_mark.line + 1);
            json_object_set_new(out, name, json_of_node(document, pair->value));
        }
        return out;
    default:
        return json_of_scalar(node);
    }
}

json_t *
openapi_load(void)
{
    FILE *file = fopen(DESCRIPTION, "re");
    yaml_document_t document;
    yaml_parser_t parser;
    json_t *root;

    cr_assert_not_null(file, DESCRIPTION ": %s", strerror(errno));
    cr_assert(yaml_parser_initialize(&parser));
    yaml_parser_set_input_file(&parser, file);
    cr_assert(yaml_parser_load(&parser, &document), DESCRIPTION ", line %zu: %s",
              parser.problem_mark.line + 1, parser.problem);
    root = json_of_node(&document, 1);
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    fclose(file);
    keep(root, release_json);
    return root;
}

/* ---- references ---- */

json_t *
openapi_follow(json_t *root, json_t *node)
{
    const char *reference = json_string_value(json_object_get(node, "$ref"));
    char part[128];

    if (reference == NULL)
        return node;
    cr_assert_eq(strncmp(reference, "#/", 2), 0, "%s", reference);
    node = root;
    for (const char *at = reference + 2; *at != '\0'; at += *at == '/') {
        const size_t bytes = strcspn(at, "/");

        cr_assert_lt(bytes, sizeof part);
        snprintf(part, sizeof part, "%.*s", (int)bytes, at);
        node = json_object_get(node, part);
        at += bytes;
    }
    cr_assert_not_null(node, "%s leads nowhere", reference);
    return openapi_follow(root, node);
}

json_t *
openapi_member(json_t *root, json_t *node, const char *name)
{
    json_t *member = json_object_get(openapi_follow(root, node), name);

    return member != NULL ? openapi_follow(root, member) : NULL;
}

/* ---- schemas ---- */

static void
expect_known(json_t *schema)
{
    static const char *const known[] = {
        "$ref",        "type",    "enum",    "nullable", "required",  "properties",   "items",
        "oneOf",       "pattern", "minimum", "maximum",  "minLength", "maxLength",    "minItems",
        "description", "format",  "example", "default",  "maxItems",  "discriminator"};
    const char *keyword;
    json_t *value;

    json_object_foreach(schema, keyword, value)
    {
        bool is_known = false;

        for (size_t i = 0; i < COUNTOF(known); i++)
            is_known = is_known || strcmp(known[i], keyword) == 0;
        cr_assert(is_known, "the test knows no %s in a schema", keyword);
    }
}

static bool
is_of_type(const char *type, const json_t *value)
{
    return (strcmp(type, "object") == 0 && json_is_object(value)) ||
           (strcmp(type, "array") == 0 && json_is_array(value)) ||
           (strcmp(type, "string") == 0 && json_is_string(value)) ||
           (strcmp(type, "integer") == 0 && json_is_integer(value)) ||
           (strcmp(type, "number") == 0 && json_is_number(value)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(value));
}

static bool
is_one_of(json_t *list, json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), value))
            return true;
    return false;
}

static const char *
shown(json_t *value)
{
    char *dumped = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

    cr_assert_not_null(dumped);
    keep(dumped, free);
    return text("%.200s", dumped);
}

static const char *
text_mismatch(json_t *schema, const char *value)
{
    const char *pattern = json_string_value(json_object_get(schema, "pattern"));
    const json_t *shortest = json_object_get(schema, "minLength");
    const json_t *longest = json_object_get(schema, "maxLength");
    const json_int_t bytes = (json_int_t)strlen(value);
    bool is_match = true;
    regex_t regex;

    if (pattern != NULL) {
        cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0, "%s", pattern);
        is_match = regexec(&regex, value, 0, NULL, 0) == 0;
        regfree(&regex);
    }
    if (!is_match)
        return text("\"%.200s\" is not like %s", value, pattern);
    if ((shortest != NULL && bytes < json_integer_value(shortest)) ||
        (longest != NULL && bytes > json_integer_value(longest)))
        return text("its length is %jd", (intmax_t)bytes);
    return NULL;
}

static const char *
number_mismatch(json_t *schema, const json_t *value)
{
    const json_t *low = json_object_get(schema, "minimum"),
                 *high = json_object_get(schema, "maximum");

    if ((low != NULL && json_integer_value(value) < json_integer_value(low)) ||
        (high != NULL && json_integer_value(value) > json_integer_value(high)))
        return text("%jd is out of range", (intmax_t)json_integer_value(value));
    return NULL;
}

static const char *
at_place(const char *place, const char *what)
{
    return what != NULL ? text("%s/%s", place, what) : NULL;
}

static const char *
object_mismatch(json_t *root, json_t *schema, json_t *value)
{
    json_t *required = json_object_get(schema, "required");
    json_t *properties = json_object_get(schema, "properties");
    const char *name, *what;
    json_t *member;

    for (size_t i = 0; i < json_array_size(required); i++) {
        name = json_string_value(json_array_get(required, i));
        if (json_object_get(value, name) == NULL)
            return text("%s is missing in %s", name, shown(value));
    }
    json_object_foreach(value, name, member)
    {
        json_t *inner = json_object_get(properties, name);

        if (inner == NULL)
            return text("the description has no %s", name);
        what = at_place(name, openapi_mismatch(root, inner, member));
        if (what != NULL)
            return what;
    }
    return NULL;
}

static const char *
array_mismatch(json_t *root, json_t *schema, json_t *value)
{
    json_t *items = json_object_get(schema, "items");

    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *what =
            at_place(text("%zu", i), openapi_mismatch(root, items, json_array_get(value, i)));

        if (what != NULL)
            return what;
    }
    return NULL;
}

/* Exactly one of the alternatives must do. */
static const char *
choice_mismatch(json_t *root, json_t *alternatives, json_t *value)
{
    const char *why = "nothing to choose from";
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(alternatives); i++) {
        const char *what = openapi_mismatch(root, json_array_get(alternatives, i), value);

        n += what == NULL;
        why = what != NULL ? what : why;
    }
    return n == 1 ? NULL : text("%zu alternatives fit %s: %s", n, shown(value), why);
}

const char *
openapi_mismatch(json_t *root, json_t *schema, json_t *value)
{
    const char *type;

    schema = openapi_follow(root, schema);
    cr_assert(json_is_object(schema));
    expect_known(schema);
    if (json_is_null(value) && json_is_true(json_object_get(schema, "nullable")))
        return NULL;
    if (json_object_get(schema, "oneOf") != NULL)
        return choice_mismatch(root, json_object_get(schema, "oneOf"), value);
    if (json_object_get(schema, "enum") != NULL &&
        !is_one_of(json_object_get(schema, "enum"), value))
        return text("%s is none of %s", shown(value), shown(json_object_get(schema, "enum")));
    type = json_string_value(json_object_get(schema, "type"));
    if (type == NULL)
        return NULL;
    if (!is_of_type(type, value))
        return text("%s is no %s", shown(value), type);
    if (json_is_object(value))
        return object_mismatch(root, schema, value);
    if (json_is_array(value))
        return array_mismatch(root, schema, value);
    if (json_is_string(value))
        return text_mismatch(schema, json_string_value(value));
    return json_is_integer(value) ? number_mismatch(schema, value) : NULL;
}
