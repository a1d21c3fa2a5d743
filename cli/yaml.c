/* yaml.c - the events of libyaml, and the JSON tree they make. */
#include "cli/yaml.h"

#include "common/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    const char *text; /* view */
    size_t bytes;
    unsigned depth;
};

static enum ts_err read_node(struct reader *r, const yaml_event_t *event, json_t **out);

/* ---- events ---- */

static enum ts_err
fail_at(const yaml_event_t *event, const char *what)
{
    return TS_FAIL(TS_E_PARAM, "line %zu: %s", event->start_mark.line + 1, what);
}

static enum ts_err
fail_parser(const struct reader *r)
{
    const yaml_parser_t *parser = &r->parser;
    const char *problem = parser->problem != NULL ? parser->problem : "not YAML";
    size_t line = parser->problem_mark.line + 1;

    if (parser->error == YAML_MEMORY_ERROR)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    if (parser->error == YAML_READER_ERROR) { /* bytes that are no text: has an offset only */
        line = 1;
        for (size_t i = 0; i < parser->problem_offset && i < r->bytes; i++)
            line += r->text[i] == '\n';
    }
    if (parser->context == NULL)
        return TS_FAIL(TS_E_PARAM, "line %zu: %s", line, problem);
    /* A mistake may be noticed some lines below. */
    return TS_FAIL(TS_E_PARAM, "line %zu: %s from line %zu, %s", line, parser->context,
                   parser->context_mark.line + 1, problem);
}

/* The next event, which the caller gives back with yaml_event_delete(), also after a failure. */
static enum ts_err
next(struct reader *r, yaml_event_t *out)
{
    memset(out, 0, sizeof *out);
    return yaml_parser_parse(&r->parser, out) != 0 ? TS_OK : fail_parser(r);
}

/* ---- scalars ---- */

/* Digits taken from *at. */
static size_t
digits(const char **at)
{
    const size_t n = strspn(*at, "0123456789");

    *at += n;
    return n;
}

static bool
is_number(const char *text, bool *out_is_whole)
{
    const char *at = text + (*text == '-' || *text == '+');
    size_t n = digits(&at);

    *out_is_whole = n > 0 && *at == '\0';
    if (*at == '.') {
        at++;
        n += digits(&at);
    }
    if (n == 0)
        return false;
    if (*at == 'e' || *at == 'E') {
        at++;
        at += *at == '-' || *at == '+';
        if (digits(&at) == 0)
            return false;
    }
    return *at == '\0';
}

/* NULL if `text` is no number that JSON could hold. */
static json_t *
number_of(const char *text)
{
    bool is_whole;
    long long whole;
    double real;

    if (!is_number(text, &is_whole))
        return NULL;
    errno = 0;
    whole = is_whole ? strtoll(text, NULL, 10) : 0;
    if (is_whole && errno == 0)
        return json_integer(whole);
    real = strtod(text, NULL);
    return isfinite(real) ? json_real(real) : NULL;
}

/* The value that a plain scalar stands for: null, true, a number; NULL: none but itself. */
static json_t *
resolve(const char *text)
{
    static const struct {
        const char *text;
        char kind;
    } words[] = {{"", 'n'},      {"~", 'n'},     {"null", 'n'}, {"Null", 'n'},
                 {"NULL", 'n'},  {"true", 't'},  {"True", 't'}, {"TRUE", 't'},
                 {"false", 'f'}, {"False", 'f'}, {"FALSE", 'f'}};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i].text, text) == 0)
            return words[i].kind == 'n' ? json_null() : json_boolean(words[i].kind == 't');
    }
    return number_of(text);
}

/* The text of a scalar; an escape may have put a NUL into it. */
static enum ts_err
text_of(const yaml_event_t *event, const char **out_text, size_t *out_bytes)
{
    const char *text = (const char *)event->data.scalar.value;

    if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL)
        return fail_at(event, "anchors, aliases and tags are not read");
    if (strlen(text) != event->data.scalar.length)
        return fail_at(event, "a text has a NUL");
    *out_text = text;
    *out_bytes = event->data.scalar.length;
    return TS_OK;
}

static enum ts_err
read_scalar(const yaml_event_t *event, json_t **out)
{
    const char *text;
    size_t bytes;
    enum ts_err err = text_of(event, &text, &bytes);

    if (err != TS_OK)
        return err;
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        *out = resolve(text);
    if (*out == NULL)
        *out = json_stringn(text, bytes);
    return *out != NULL ? TS_OK : TS_FAIL_PLAIN(TS_E_NOMEM);
}

/* ---- lists and objects ---- */

static enum ts_err
read_items(struct reader *r, json_t *list)
{
    for (;;) {
        json_t *item = NULL;
        yaml_event_t event;
        enum ts_err err = next(r, &event);
        const bool is_end = event.type == YAML_SEQUENCE_END_EVENT;

        if (err == TS_OK && !is_end)
            err = read_node(r, &event, &item);
        if (err == TS_OK && !is_end && json_array_append_new(list, item) != 0)
            err = TS_FAIL_PLAIN(TS_E_NOMEM);
        yaml_event_delete(&event);
        if (err != TS_OK || is_end)
            return err;
    }
}

/* The value of a key that was read. */
static enum ts_err
read_member(struct reader *r, const yaml_event_t *key, json_t *object)
{
    json_t *value = NULL;
    yaml_event_t event;
    const char *name;
    size_t bytes;
    enum ts_err err;

    if (key->type != YAML_SCALAR_EVENT)
        return fail_at(key, "a key is no text");
    err = text_of(key, &name, &bytes);
    if (err != TS_OK)
        return err;
    if (json_object_getn(object, name, bytes) != NULL)
        return fail_at(key, "a key is there twice");
    err = next(r, &event);
    if (err == TS_OK)
        err = read_node(r, &event, &value);
    if (err == TS_OK && json_object_setn_new(object, name, bytes, value) != 0)
        err = TS_FAIL_PLAIN(TS_E_NOMEM);
    yaml_event_delete(&event);
    return err;
}

static enum ts_err
read_members(struct reader *r, json_t *object)
{
    for (;;) {
        yaml_event_t event;
        enum ts_err err = next(r, &event);
        const bool is_end = event.type == YAML_MAPPING_END_EVENT;

        if (err == TS_OK && !is_end)
            err = read_member(r, &event, object);
        yaml_event_delete(&event);
        if (err != TS_OK || is_end)
            return err;
    }
}

static enum ts_err
read_collection(struct reader *r, const yaml_event_t *event, json_t **out)
{
    const bool is_list = event->type == YAML_SEQUENCE_START_EVENT;
    const bool is_marked =
        is_list
            ? event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL
            : event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    json_t *into;
    enum ts_err err;

    if (is_marked)
        return fail_at(event, "anchors, aliases and tags are not read");
    if (r->depth >= YAML_MAX_DEPTH)
        return fail_at(event, "nested too deep");
    into = is_list ? json_array() : json_object();
    r->depth++;
    err = is_list ? read_items(r, into) : read_members(r, into);
    r->depth--;
    if (err == TS_OK)
        *out = into;
    else
        json_decref(into);
    return err;
}

static enum ts_err
read_node(struct reader *r, const yaml_event_t *event, json_t **out)
{
    if (event->type == YAML_SCALAR_EVENT)
        return read_scalar(event, out);
    if (event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT)
        return read_collection(r, event, out);
    return fail_at(event, "anchors, aliases and tags are not read");
}

/* ---- the document ---- */

/* Reads an event that must be of this type; else `what` was wrong. */
static enum ts_err
expect(struct reader *r, yaml_event_type_t type, const char *what)
{
    yaml_event_t event;
    enum ts_err err = next(r, &event);

    if (err == TS_OK && event.type != type)
        err = fail_at(&event, what);
    if (err == TS_OK && type == YAML_DOCUMENT_START_EVENT &&
        (event.data.document_start.version_directive != NULL ||
         event.data.document_start.tag_directives.start !=
             event.data.document_start.tag_directives.end))
        err = fail_at(&event, "directives are not read");
    yaml_event_delete(&event);
    return err;
}

static enum ts_err
read_document(struct reader *r, json_t **out)
{
    json_t *root = NULL;
    yaml_event_t event;
    enum ts_err err = expect(r, YAML_STREAM_START_EVENT, "not YAML");

    if (err == TS_OK)
        err = expect(r, YAML_DOCUMENT_START_EVENT, "the document is empty");
    if (err != TS_OK)
        return err;
    err = next(r, &event);
    if (err == TS_OK)
        err = read_node(r, &event, &root);
    yaml_event_delete(&event);
    if (err == TS_OK)
        err = expect(r, YAML_DOCUMENT_END_EVENT, "not YAML");
    if (err == TS_OK)
        err = expect(r, YAML_STREAM_END_EVENT, "a second document");
    if (err == TS_OK)
        *out = root;
    else
        json_decref(root);
    return err;
}

enum ts_err
yaml_parse(const char *text, size_t bytes, json_t **out)
{
    struct reader r = {.text = text, .bytes = bytes};
    json_t *json = NULL;
    enum ts_err err;

    if (bytes > YAML_MAX_BYTES)
        return TS_FAIL(TS_E_LIMIT, "longer than %u bytes", YAML_MAX_BYTES);
    /* libyaml refuses what only JSON has: halves of surrogate pairs as escapes, U+007F as it is. */
    if (ts_json_check(text, bytes, NULL) == TS_OK)
        json = json_loadb(text, bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (json != NULL) {
        *out = json;
        return TS_OK;
    }
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        r.text += 3;
        r.bytes -= 3;
    }
    if (yaml_parser_initialize(&r.parser) == 0)
        return TS_FAIL_PLAIN(TS_E_NOMEM);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text, r.bytes);
    err = read_document(&r, out);
    yaml_parser_delete(&r.parser);
    return err;
}
