/* batch_body.c - see batch_body.h. */
#include "ingestd/batch_body.h"

#include "ingestd/content_type.h"

#include <string.h>

enum ts_err
batch_body_form(struct ts_span content_type, enum ts_type type, enum batch_form *out)
{
    static const char *const of_lines[] = {"application/x-ndjson", "application/ndjson",
                                           "application/jsonl"};

    switch (type) {
    case TS_TYPE_BINARY:
        return TS_FAIL(TS_E_CONTENT, "a binary store takes no batches");
    case TS_TYPE_TEXT:
        if (!content_type_is(content_type, "text/plain"))
            break;
        *out = BATCH_LINES;
        return TS_OK;
    case TS_TYPE_JSON:
    case TS_TYPE_SCHEMA:
        for (size_t i = 0; i < sizeof of_lines / sizeof of_lines[0]; i++) {
            if (content_type_is(content_type, of_lines[i])) {
                *out = BATCH_LINES;
                return TS_OK;
            }
        }
        if (!content_type_is(content_type, "application/json"))
            break;
        *out = BATCH_ARRAY;
        return TS_OK;
    }
    return TS_FAIL_PLAIN(TS_E_CONTENT);
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* ---- lines ---- */

static bool
is_blank_line(struct ts_span line)
{
    for (size_t i = 0; i < line.bytes; i++) {
        if (!is_blank(line.at[i]))
            return false;
    }
    return true;
}

static bool
next_line(struct ts_span *rest, struct ts_span *out)
{
    while (rest->bytes > 0) {
        const char *newline = memchr(rest->at, '\n', rest->bytes);
        struct ts_span line = {
            .at = rest->at, .bytes = newline != NULL ? (size_t)(newline - rest->at) : rest->bytes};
        const size_t used = line.bytes + (newline != NULL);

        rest->at += used;
        rest->bytes -= used;
        if (is_blank_line(line))
            continue;
        if (line.at[line.bytes - 1] == '\r')
            line.bytes--;
        *out = line;
        return true;
    }
    return false;
}

/* ---- an array ---- */

static enum ts_err
open_array(struct ts_span body, struct ts_json_walk *out)
{
    while (body.bytes > 0 && is_blank(*body.at)) {
        body.at++;
        body.bytes--;
    }
    while (body.bytes > 0 && is_blank(body.at[body.bytes - 1]))
        body.bytes--;
    if (body.bytes == 0)
        return TS_FAIL(TS_E_JSON, "EOF");
    if (ts_json_walk_array(out, body))
        return TS_OK;
    /* No JSON at all, or JSON of another kind. */
    if (ts_json_check(body.at, body.bytes, NULL) != TS_OK)
        return TS_E_JSON;
    return TS_FAIL(TS_E_JSON, "json: cannot unmarshal %s into value of type array",
                   ts_json_kind(body));
}

/* The walk said that the array is no JSON: why? */
static enum ts_err
explain_array(struct ts_span body)
{
    if (ts_json_check(body.at, body.bytes, NULL) == TS_OK)
        return TS_FAIL_PLAIN(TS_E_JSON);
    if (strcmp(ts_error_text(), "unexpected end of JSON input") == 0)
        return TS_FAIL(TS_E_JSON, "unexpected EOF");
    return TS_E_JSON;
}

/* ---- both ---- */

enum ts_err
batch_body_open(struct ts_span body, enum batch_form form, struct batch_body *out, size_t *out_n)
{
    struct batch_body opened = {.form = form, .rest = body};
    struct ts_json_member member;
    struct batch_body counting;
    struct ts_span item;
    size_t n = 0;

    if (form == BATCH_ARRAY && open_array(body, &opened.walk) != TS_OK)
        return TS_E_JSON;
    counting = opened;
    if (form == BATCH_ARRAY) {
        enum ts_json_step step;

        while ((step = ts_json_walk_next(&counting.walk, &member)) == TS_JSON_MEMBER)
            n++;
        if (step == TS_JSON_MALFORMED)
            return explain_array(body);
    } else {
        while (next_line(&counting.rest, &item))
            n++;
        if (n == 0)
            return TS_FAIL(TS_E_JSON, "EOF");
    }
    if (n > BATCH_MAX_RECORDS)
        return TS_FAIL(TS_E_LIMIT, "batch of %zu records, at most %u are allowed", n,
                       BATCH_MAX_RECORDS);
    *out = opened;
    *out_n = n;
    return TS_OK;
}

bool
batch_body_next(struct batch_body *body, struct ts_span *out)
{
    struct ts_json_member member;

    if (body->form == BATCH_LINES)
        return next_line(&body->rest, out);
    if (ts_json_walk_next(&body->walk, &member) != TS_JSON_MEMBER)
        return false;
    *out = member.value;
    return true;
}
