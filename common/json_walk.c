/* json_walk.c - the usual tokens are checked here, in passing; the rare ones by ts_json_check().
 *
 * The usual ones: strings of plain ASCII, numbers, true, false, null. What is left, strings with
 * escapes or beyond ASCII and nested values, is first measured by brackets and quotes alone, then
 * judged by the one authority on what is JSON.
 */
#include "common/json_walk.h"

#include "common/swar.h"
#include "common/text.h"

#include <string.h>

/* ---- tokens ---- */

/* Each takes the place of a first byte and returns the one behind the token, or NULL. */

static inline const char *
skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

static inline const char *
skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* Behind the quote that ends the string, whose bytes are not checked. */
static const char *
find_string_end(const char *at, const char *end, bool *out_has_escapes)
{
    while (at < end) {
        const char c = *at++;

        if (c == '"')
            return at;
        if (c == '\\') {
            *out_has_escapes = true;
            if (at == end)
                return NULL;
            at++;
        }
    }
    return NULL;
}

/* From the opening quote. */
static inline const char *
take_string(const char *at, const char *end, bool *out_has_escapes)
{
    const char *stop = ts_swar_skip_plain(at + 1, end);

    *out_has_escapes = false;
    if (stop < end && *stop == '"')
        return stop + 1;
    stop = find_string_end(stop, end, out_has_escapes);
    if (stop == NULL || ts_json_check(at, (size_t)(stop - at), NULL) != TS_OK)
        return NULL;
    return stop;
}

static inline const char *
take_number(const char *at, const char *end)
{
    const char *digits = at + (*at == '-');

    at = skip_digits(digits, end);
    if (at == digits || (*digits == '0' && at > digits + 1))
        return NULL;
    if (at < end && *at == '.') {
        digits = at + 1;
        at = skip_digits(digits, end);
        if (at == digits)
            return NULL;
    }
    if (at < end && (*at | 0x20) == 'e') {
        digits = at + 1;
        if (digits < end && (*digits == '+' || *digits == '-'))
            digits++;
        at = skip_digits(digits, end);
        if (at == digits)
            return NULL;
    }
    return at;
}

static inline const char *
take_literal(const char *at, const char *end, const char *literal, size_t bytes)
{
    if ((size_t)(end - at) < bytes || memcmp(at, literal, bytes) != 0)
        return NULL;
    return at + bytes;
}

/* An object or array, with all that is in it. */
static const char *
take_nested(const char *at, const char *end)
{
    const char *const begin = at;
    bool has_escapes;
    size_t depth = 0;

    while (at < end) {
        const char c = *at++;

        if (c == '"') {
            at = find_string_end(at, end, &has_escapes);
            if (at == NULL)
                return NULL;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && --depth == 0) {
            return ts_json_check(begin, (size_t)(at - begin), NULL) == TS_OK ? at : NULL;
        }
    }
    return NULL;
}

static inline const char *
take_value(const char *at, const char *end)
{
    bool has_escapes;

    switch (*at) {
    case '"':
        return take_string(at, end, &has_escapes);
    case '{':
    case '[':
        return take_nested(at, end);
    case 't':
        return take_literal(at, end, "true", 4);
    case 'f':
        return take_literal(at, end, "false", 5);
    case 'n':
        return take_literal(at, end, "null", 4);
    default:
        return take_number(at, end);
    }
}

/* ---- the walk ---- */

static bool
begin(struct ts_json_walk *walk, struct ts_span value, char opening, char closing)
{
    if (value.bytes == 0 || *value.at != opening)
        return false;
    *walk = (struct ts_json_walk){
        .at = value.at + 1, .end = value.at + value.bytes, .closing = closing, .is_first = true};
    return true;
}

bool
ts_json_walk_object(struct ts_json_walk *walk, struct ts_span value)
{
    return begin(walk, value, '{', '}');
}

bool
ts_json_walk_array(struct ts_json_walk *walk, struct ts_span value)
{
    return begin(walk, value, '[', ']');
}

/* A member's name and its colon. */
static inline const char *
take_name(const char *at, const char *end, struct ts_json_member *out)
{
    const char *const name = at + 1;

    if (at == end || *at != '"')
        return NULL;
    at = take_string(at, end, &out->name_has_escapes);
    if (at == NULL)
        return NULL;
    out->name = (struct ts_span){.at = name, .bytes = (size_t)(at - 1 - name)};
    at = skip_blanks(at, end);
    return at < end && *at == ':' ? skip_blanks(at + 1, end) : NULL;
}

enum ts_json_step
ts_json_walk_next(struct ts_json_walk *walk, struct ts_json_member *out)
{
    const char *const end = walk->end;
    const char *at = skip_blanks(walk->at, end);
    struct ts_json_member member = {0};

    if (at < end && *at == walk->closing)
        return at + 1 == end ? TS_JSON_END : TS_JSON_MALFORMED;
    if (!walk->is_first) {
        if (at == end || *at != ',')
            return TS_JSON_MALFORMED;
        at = skip_blanks(at + 1, end);
    }
    walk->is_first = false;
    if (walk->closing == '}') {
        at = take_name(at, end, &member);
        if (at == NULL)
            return TS_JSON_MALFORMED;
    }
    if (at == end)
        return TS_JSON_MALFORMED;
    member.value.at = at;
    at = take_value(at, end);
    if (at == NULL)
        return TS_JSON_MALFORMED;
    member.value.bytes = (size_t)(at - member.value.at);
    walk->at = at;
    *out = member;
    return TS_JSON_MEMBER;
}

const char *
ts_json_kind(struct ts_span value)
{
    switch (*value.at) {
    case '{':
        return "object";
    case '[':
        return "array";
    case '"':
        return "string";
    case 't':
    case 'f':
        return "bool";
    case 'n':
        return "null";
    default:
        return "number";
    }
}

/* ---- names with escapes ---- */

/* The four digits of a \u escape at `at`, or -1. */
static int
hex4(const char *at, const char *end)
{
    int value = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const char lower = (char)(at[i] | 0x20);

        if (at[i] >= '0' && at[i] <= '9')
            value = value * 16 + (at[i] - '0');
        else if (lower >= 'a' && lower <= 'f')
            value = value * 16 + (lower - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* Behind "\u": the code point, one half of a pair alone as U+FFFD; *at moves behind it. -1 if it
 * is none. */
static int32_t
take_code_point(const char **at, const char *end)
{
    const int unit = hex4(*at, end);
    int low;

    if (unit < 0)
        return -1;
    *at += 4;
    if (unit < 0xd800 || unit > 0xdfff)
        return unit;
    if (unit > 0xdbff || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return 0xfffd;
    low = hex4(*at + 2, end);
    if (low < 0xdc00 || low > 0xdfff)
        return 0xfffd;
    *at += 6;
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

static size_t
encode(char out[4], int32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* One character or escape from *at, which moves behind it. Returns its bytes, 0 if it is wrong. */
static size_t
take_character(const char **at, const char *end, char out[4])
{
    static const char names[] = "\"\\/bfnrt", plain[] = "\"\\/\b\f\n\r\t";
    const char *name;
    int32_t code;

    out[0] = *(*at)++;
    if (out[0] != '\\')
        return 1;
    if (*at == end)
        return 0;
    if (**at == 'u') {
        ++*at;
        code = take_code_point(at, end);
        return code < 0 ? 0 : encode(out, code);
    }
    name = memchr(names, **at, sizeof names - 1);
    if (name == NULL)
        return 0;
    out[0] = plain[name - names];
    ++*at;
    return 1;
}

bool
ts_json_unescape(struct ts_span text, char *out, size_t capacity, size_t *out_bytes)
{
    const char *at = text.at, *const end = text.at + text.bytes;
    size_t used = 0, bytes;
    char character[4];

    while (at < end) {
        bytes = take_character(&at, end, character);
        if (bytes == 0 || bytes > capacity - used)
            return false;
        memcpy(out + used, character, bytes);
        used += bytes;
    }
    *out_bytes = used;
    return true;
}
