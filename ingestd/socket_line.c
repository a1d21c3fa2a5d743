/* socket_line.c - see socket_line.h. */
#include "ingestd/socket_line.h"

#include "common/text.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static struct ts_span
trim(const char *at, size_t bytes)
{
    while (bytes > 0 && is_blank(at[bytes - 1]))
        bytes--;
    while (bytes > 0 && is_blank(*at)) {
        at++;
        bytes--;
    }
    return (struct ts_span){.at = at, .bytes = bytes};
}

/* Takes bytes up to the next blank off the front of *text; false if there are none. */
static bool
take_word(struct ts_span *text, struct ts_span *out_word)
{
    size_t bytes = 0;

    while (bytes < text->bytes && !is_blank(text->at[bytes]))
        bytes++;
    *out_word = (struct ts_span){.at = text->at, .bytes = bytes};
    text->at += bytes;
    text->bytes -= bytes;
    return bytes > 0;
}

static bool
take_space(struct ts_span *text)
{
    if (text->bytes == 0 || *text->at != ' ')
        return false;
    text->at++;
    text->bytes--;
    return true;
}

enum ts_err
socket_line_auth(const char *line, size_t bytes, struct socket_auth *out)
{
    struct ts_span text = trim(line, bytes);
    struct ts_span word;
    struct socket_auth auth;

    if (!take_word(&text, &word) || word.bytes != 4 || strncasecmp(word.at, "AUTH", 4) != 0 ||
        !take_space(&text) || !take_word(&text, &auth.store) || !take_space(&text) ||
        !take_word(&text, &auth.key) || text.bytes > 0)
        return TS_FAIL(TS_E_USAGE, "invalid auth format, expected: AUTH <store> <api-key>");
    *out = auth;
    return TS_OK;
}

/* Takes "@<integer> " off the front of *text. False if that is not what it starts with. */
static bool
take_time(struct ts_span *text, int64_t *out_time_ns, bool *out_overflow)
{
    const char *at = text->at + 1;
    const char *const end = text->at + text->bytes;
    const bool negative = at < end && *at == '-';
    bool overflow = false;
    int64_t time_ns = 0;

    if (negative)
        at++;
    if (at == end || *at < '0' || *at > '9')
        return false;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        overflow |= __builtin_mul_overflow(time_ns, 10, &time_ns);
        overflow |= negative ? __builtin_sub_overflow(time_ns, *at - '0', &time_ns)
                             : __builtin_add_overflow(time_ns, *at - '0', &time_ns);
    }
    if (at == end || *at != ' ')
        return false;
    *text = trim(at, (size_t)(end - at));
    *out_time_ns = time_ns;
    *out_overflow = overflow;
    return true;
}

static enum ts_err
check_data(struct ts_span text, enum ts_type type, struct ts_span *out_data)
{
    switch (type) {
    case TS_TYPE_JSON:
        return ts_json_check(text.at, text.bytes, out_data);
    case TS_TYPE_TEXT:
        if (!ts_utf8_is_valid(text.at, text.bytes))
            return TS_FAIL(TS_E_CONTENT, "text is not valid UTF-8");
        break;
    case TS_TYPE_BINARY:
    case TS_TYPE_SCHEMA: /* only who knows the schema can tell */
        break;
    }
    *out_data = text;
    return TS_OK;
}

enum ts_err
socket_line_parse(const char *line, size_t bytes, enum ts_type type, struct socket_line *out)
{
    struct ts_span text = trim(line, bytes);
    struct ts_span data;
    int64_t time_ns = 0;
    bool overflow = false;
    enum ts_err err;

    if (text.bytes == 0) {
        *out = (struct socket_line){.kind = SOCKET_LINE_EMPTY};
        return TS_OK;
    }
    if (text.bytes == 4 && strncasecmp(text.at, "QUIT", 4) == 0) {
        *out = (struct socket_line){.kind = SOCKET_LINE_QUIT};
        return TS_OK;
    }
    if (*text.at == '@' && take_time(&text, &time_ns, &overflow) && overflow)
        return TS_FAIL_PLAIN(TS_E_TIME);
    err = check_data(text, type, &data);
    if (err != TS_OK)
        return err;
    *out = (struct socket_line){.kind = SOCKET_LINE_RECORD, .time_ns = time_ns, .data = data};
    return TS_OK;
}

size_t
socket_line_ok(char out[SOCKET_LINE_OK_BYTES], int64_t time_ns)
{
    size_t bytes = 3;

    memcpy(out, "OK ", 3);
    bytes += ts_format_i64(out + bytes, time_ns);
    out[bytes++] = '\n';
    return bytes;
}

const char *
socket_line_error_prefix(enum ts_err err)
{
    switch (err) {
    case TS_E_JSON:
        return "invalid JSON: ";
    case TS_E_SCHEMA:
        return "schema validation failed: ";
    default:
        return "store failed: ";
    }
}
