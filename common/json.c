/* json.c - one pass over the text, without recursion and without conversion.
 *
 * Every scan_ function takes the place of the first byte of what it scans and the end of the text,
 * and returns the place behind it, or NULL after it set *fault. Open containers are bits in one
 * word, so depth costs no memory. Words for people are made only after a failure: on the way a
 * fault is a place and a constant.
 */
#include "common/json.h"

#include "common/swar.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>

/* The bits of open containers live in one uint64_t. */
_Static_assert(TS_JSON_MAX_DEPTH <= 64, "depth does not fit the word of open containers");

struct fault {
    const char *at;      /* the byte that is wrong; the end of the text if that is what is wrong */
    const char *what;    /* for a wrong character: where it stands; else the whole reason */
    const char *literal; /* "true", "false" or "null" if the fault is inside one; else NULL */
    unsigned literal_idx;
    bool is_character;
};

static const char *
wrong_character(struct fault *fault, const char *at, const char *where)
{
    *fault = (struct fault){.at = at, .what = where, .is_character = true};
    return NULL;
}

static const char *
wrong(struct fault *fault, const char *at, const char *what)
{
    *fault = (struct fault){.at = at, .what = what};
    return NULL;
}

/* ---- tokens ---- */

static inline bool
is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline const char *
skip_blanks(const char *at, const char *end)
{
    while (at < end && is_blank(*at))
        at++;
    return at;
}

/* Numbers differ in length from line to line, which a loop over bytes pays for with a mispredicted
 * branch each; the word tells the length of most of them without one. */
static inline const char *
skip_digits(const char *at, const char *end)
{
    while (end - at >= TS_SWAR_BYTES) {
        const uint64_t stop = ts_swar_not_digit(ts_swar_load(at));

        if (stop != 0)
            return at + ts_swar_first(stop);
        at += TS_SWAR_BYTES;
    }
    while (at < end && is_digit(*at))
        at++;
    return at;
}

/* Value of the four hexadecimal digits at `at`, or -1. */
static int
scan_hex4(const char *at, const char *end, struct fault *fault)
{
    int value = 0;

    for (int i = 0; i < 4; i++, at++) {
        const char lower = at < end ? (char)(*at | 0x20) : '\0';

        if (at < end && is_digit(*at)) {
            value = value * 16 + (*at - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            value = value * 16 + (lower - 'a' + 10);
        } else {
            wrong_character(fault, at, "in \\u hexadecimal character escape");
            return -1;
        }
    }
    return value;
}

/* Behind the backslash. A surrogate is only accepted as one half of a pair. */
static const char *
scan_escape(const char *at, const char *end, struct fault *fault)
{
    int unit;

    if (at == end || *at == '\0' || strchr("\"\\/bfnrtu", *at) == NULL)
        return wrong_character(fault, at, "in string escape code");
    if (*at != 'u')
        return at + 1;
    unit = scan_hex4(at + 1, end, fault);
    if (unit < 0)
        return NULL;
    if (unit < 0xd800 || unit > 0xdfff)
        return at + 5;
    if (unit > 0xdbff)
        return wrong(fault, at - 1, "unpaired surrogate in string literal");
    for (int i = 0; i < 2; i++) {
        if (at + 5 + i == end)
            return wrong_character(fault, end, "in string literal");
        if (at[5 + i] != "\\u"[i])
            return wrong(fault, at - 1, "unpaired surrogate in string literal");
    }
    unit = scan_hex4(at + 7, end, fault);
    if (unit < 0)
        return NULL;
    if (unit < 0xdc00 || unit > 0xdfff)
        return wrong(fault, at - 1, "unpaired surrogate in string literal");
    return at + 11;
}

/* A byte that is not plain ASCII and not the closing quote. */
static const char *
scan_special(const char *at, const char *end, struct fault *fault)
{
    size_t bytes;

    if (*at == '\\')
        return scan_escape(at + 1, end, fault);
    if ((unsigned char)*at < 0x20)
        return wrong_character(fault, at, "in string literal");
    do { /* such bytes rarely come alone */
        bytes = ts_utf8_sequence_bytes(at, (size_t)(end - at));
        if (bytes == 0) {
            /* At the end it may only be cut, and then so is the string. */
            if (end - at < 4 && memchr(at, '"', (size_t)(end - at)) == NULL)
                return wrong_character(fault, end, "in string literal");
            return wrong(fault, at, "invalid UTF-8 in string literal");
        }
        at += bytes;
    } while (at < end && (unsigned char)*at >= 0x80);
    return at;
}

/* From behind the opening quote to behind the closing one. */
static inline const char *
scan_string(const char *at, const char *end, struct fault *fault)
{
    for (;;) {
        at = ts_swar_skip_plain(at, end);
        if (at == end)
            return wrong_character(fault, at, "in string literal");
        if (*at == '"')
            return at + 1;
        at = scan_special(at, end, fault);
        if (at == NULL)
            return NULL;
    }
}

static inline const char *
scan_number(const char *at, const char *end, struct fault *fault)
{
    const char *digits;

    if (*at == '-')
        at++;
    if (at == end || !is_digit(*at))
        return wrong_character(fault, at, "in numeric literal");
    at = *at == '0' ? at + 1 : skip_digits(at, end);
    if (at < end && *at == '.') {
        digits = at + 1;
        at = skip_digits(digits, end);
        if (at == digits)
            return wrong_character(fault, at, "after decimal point in numeric literal");
    }
    if (at < end && (*at | 0x20) == 'e') {
        digits = at + 1;
        if (digits < end && (*digits == '+' || *digits == '-'))
            digits++;
        at = skip_digits(digits, end);
        if (at == digits)
            return wrong_character(fault, at, "in exponent of numeric literal");
    }
    return at;
}

/* `bytes` is 4 or 5, a constant where this is called: the comparison is one or two words. */
static inline const char *
scan_literal(const char *at, const char *end, const char *literal, unsigned bytes,
             struct fault *fault)
{
    if ((size_t)(end - at) >= bytes && memcmp(at, literal, bytes) == 0)
        return at + bytes;
    for (unsigned i = 0; i < bytes; i++) {
        if (at + i == end || at[i] != literal[i]) {
            *fault = (struct fault){
                .at = at + i, .literal = literal, .literal_idx = i, .is_character = true};
            break;
        }
    }
    return NULL;
}

/* ---- values ---- */

/* Anything but an object or an array. */
static inline const char *
scan_scalar(const char *at, const char *end, struct fault *fault)
{
    switch (*at) {
    case '"':
        return scan_string(at + 1, end, fault);
    case 't':
        return scan_literal(at, end, "true", 4, fault);
    case 'f':
        return scan_literal(at, end, "false", 5, fault);
    case 'n':
        return scan_literal(at, end, "null", 4, fault);
    default:
        if (*at != '-' && !is_digit(*at))
            return wrong_character(fault, at, "looking for beginning of value");
        return scan_number(at, end, fault);
    }
}

/* A member's name and its colon, blanks before each included. *out_name, which may be NULL, is what
 * stands between the quotes. */
static inline const char *
scan_name(const char *at, const char *end, struct ts_span *out_name, struct fault *fault)
{
    const char *name;

    at = skip_blanks(at, end);
    if (at == end || *at != '"')
        return wrong_character(fault, at, "looking for beginning of object key string");
    name = at + 1;
    at = scan_string(name, end, fault);
    if (at == NULL)
        return NULL;
    if (out_name != NULL)
        *out_name = (struct ts_span){.at = name, .bytes = (size_t)(at - 1 - name)};
    at = skip_blanks(at, end);
    if (at == end || *at != ':')
        return wrong_character(fault, at, "after object key");
    return at + 1;
}

/* Behind a value: out of all containers that end here, to where the next value begins, with
 * *depth 0 to where it all ends. Bit 0 of *objects tells whether the innermost is an object. */
static inline const char *
scan_after_value(const char *at, const char *end, uint64_t *objects, unsigned *depth,
                 struct fault *fault)
{
    while (*depth > 0) {
        const bool in_object = *objects & 1;

        at = skip_blanks(at, end);
        if (at < end && *at == ',')
            return in_object ? scan_name(at + 1, end, NULL, fault) : at + 1;
        if (at == end || *at != (in_object ? '}' : ']'))
            return wrong_character(
                fault, at, in_object ? "after object key:value pair" : "after array element");
        at++;
        *objects >>= 1;
        --*depth;
    }
    return at;
}

/* One value with all that is in it, from its first byte. */
static const char *
scan_value(const char *at, const char *end, struct fault *fault)
{
    uint64_t objects = 0; /* bit i: the container i levels out is an object, not an array */
    unsigned depth = 0;

    do {
        at = skip_blanks(at, end);
        if (at == end)
            return wrong_character(fault, at, "looking for beginning of value");
        if (*at != '{' && *at != '[') {
            at = scan_scalar(at, end, fault);
        } else {
            const bool is_object = *at == '{';

            if (depth == TS_JSON_MAX_DEPTH)
                return wrong(fault, at, "exceeded max depth");
            objects = objects << 1 | is_object;
            depth++;
            at = skip_blanks(at + 1, end);
            /* An empty one goes on as if its last value had just ended. */
            if (at == end || *at != (is_object ? '}' : ']')) {
                if (is_object)
                    at = scan_name(at, end, NULL, fault);
                if (at == NULL)
                    return NULL;
                continue;
            }
        }
        if (at == NULL)
            return NULL;
        at = scan_after_value(at, end, &objects, &depth, fault);
    } while (at != NULL && depth > 0);
    return at;
}

/* ---- words for people ---- */

/* A byte as the original quotes it: as the code point of that number, in Go's notation. */
static void
quote_byte(char out[16], unsigned char byte)
{
    static const char short_names[] = "abtnvfr"; /* 0x07 to 0x0d */

    if (byte == '\'' || byte == '\\')
        snprintf(out, 16, "'\\%c'", byte);
    else if (byte >= 0x07 && byte <= 0x0d)
        snprintf(out, 16, "'\\%c'", short_names[byte - 0x07]);
    else if (byte < 0x20 || byte == 0x7f)
        snprintf(out, 16, "'\\x%02x'", byte);
    else if (byte < 0x80)
        snprintf(out, 16, "'%c'", byte);
    else if (byte < 0xa1 || byte == 0xad)
        snprintf(out, 16, "'\\u%04x'", byte);
    else
        snprintf(out, 16, "'%c%c'", 0xc0 | byte >> 6, 0x80 | (byte & 0x3f));
}

/* `cut` is what a text is called that ends too early. */
static enum ts_err
explain(const struct fault *fault, const char *text, const char *end, const char *cut)
{
    char where[48] = "", what[80], quoted[16];

    if (fault->is_character && fault->at == end)
        return TS_FAIL(TS_E_JSON, "%s", cut);
    if (fault->at > text)
        snprintf(where, sizeof where, " at byte %zu", (size_t)(fault->at - text));
    if (!fault->is_character)
        return TS_FAIL(TS_E_JSON, "%s%s", fault->what, where);
    quote_byte(quoted, (unsigned char)*fault->at);
    if (fault->literal != NULL)
        snprintf(what, sizeof what, "in literal %s (expecting '%c')", fault->literal,
                 fault->literal[fault->literal_idx]);
    else
        snprintf(what, sizeof what, "%s", fault->what);
    return TS_FAIL(TS_E_JSON, "invalid character %s %s%s", quoted, what, where);
}

/* ---- a whole text ---- */

enum ts_err
ts_json_check(const char *text, size_t bytes, struct ts_span *out_value)
{
    static const char cut[] = "unexpected end of JSON input";
    const char *const begin = text != NULL ? text : "";
    const char *const end = begin + bytes;
    const char *const value = skip_blanks(begin, end);
    const char *value_end, *at;
    struct fault fault;

    value_end = scan_value(value, end, &fault);
    if (value_end == NULL)
        return explain(&fault, begin, end, cut);
    at = skip_blanks(value_end, end);
    if (at != end) {
        wrong_character(&fault, at, "after top-level value");
        return explain(&fault, begin, end, cut);
    }
    if (out_value != NULL)
        *out_value = (struct ts_span){.at = value, .bytes = (size_t)(value_end - value)};
    return TS_OK;
}

/* ---- the insert body ---- */

/* The next character of a name that passed scan_string(), folded as far as the names looked for
 * need it: ASCII letters to lower case, the long s to s; anything else beyond ASCII is 0. */
static char
next_folded(const char **at)
{
    static const char escaped[] = "\"\\/bfnrt", plain[] = "\"\\/\b\f\n\r\t";
    const char *from = *at;
    unsigned code = (unsigned char)*from++;
    struct fault unused;

    if (code == '\\' && *from == 'u') {
        code = (unsigned)scan_hex4(from + 1, from + 5, &unused);
        from += 5;
    } else if (code == '\\') {
        code = (unsigned char)plain[strchr(escaped, *from) - escaped];
        from++;
    } else if (code >= 0x80) {
        if (code == 0xc5 && (unsigned char)*from == 0xbf)
            code = 0x17f;
        while (((unsigned char)*from & 0xc0) == 0x80)
            from++; /* ends at the closing quote at the latest */
    }
    *at = from;
    if (code == 0x17f)
        return 's';
    if (code >= 0x80)
        return '\0';
    return (char)(code >= 'A' && code <= 'Z' ? code | 0x20 : code);
}

/* True if the string between its quotes is `want`, which is in lower case. */
static bool
name_is(struct ts_span name, const char *want, size_t want_bytes)
{
    const char *at = name.at;
    const char *const end = at + name.bytes;

    if (name.bytes == want_bytes && memcmp(name.at, want, want_bytes) == 0)
        return true;
    if (name.bytes < want_bytes)
        return false;
    for (size_t i = 0; i < want_bytes; i++)
        if (at >= end || next_folded(&at) != want[i])
            return false;
    return at == end;
}

/* True if `number`, which passed scan_number(), is an integer that fits. */
static bool
parse_i64(struct ts_span number, int64_t *out)
{
    const bool negative = number.at[0] == '-';
    int64_t value = 0;

    for (size_t i = negative; i < number.bytes; i++) {
        if (!is_digit(number.at[i]))
            return false; /* a fraction or an exponent */
        /* Counted downwards: the negative range is the wider one. */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, number.at[i] - '0', &value))
            return false;
    }
    if (!negative && value == INT64_MIN)
        return false;
    *out = negative ? value : -value;
    return true;
}

static const char *
kind_of(char first)
{
    switch (first) {
    case '{':
        return "object";
    case '[':
        return "array";
    case '"':
        return "string";
    case 't':
    case 'f':
        return "bool";
    default:
        return "number";
    }
}

/* Takes a field's value into *body. A value of the wrong type is only noted, in *out_mistyped: a
 * fault of syntax behind it goes first. */
static void
take_field(struct ts_json_insert *body, struct ts_span name, struct ts_span value,
           struct ts_span *out_mistyped)
{
    if (name_is(name, "data", 4)) {
        body->has_data = true;
        body->data = value;
    } else if (name_is(name, "timestamp", 9)) {
        body->has_time = *value.at != 'n';
        if (!body->has_time)
            return;
        if ((*value.at == '-' || is_digit(*value.at)) && parse_i64(value, &body->time_ns))
            return;
        if (out_mistyped->at == NULL)
            *out_mistyped = value;
    }
}

/* From behind the opening brace to behind the closing one. */
static const char *
scan_fields(const char *at, const char *end, struct ts_json_insert *body,
            struct ts_span *out_mistyped, struct fault *fault)
{
    at = skip_blanks(at, end);
    if (at < end && *at == '}')
        return at + 1;
    for (;;) {
        struct ts_span name, value;

        at = scan_name(at, end, &name, fault);
        if (at == NULL)
            return NULL;
        value.at = skip_blanks(at, end);
        at = scan_value(value.at, end, fault);
        if (at == NULL)
            return NULL;
        value.bytes = (size_t)(at - value.at);
        take_field(body, name, value, out_mistyped);
        at = skip_blanks(at, end);
        if (at < end && *at == '}')
            return at + 1;
        if (at == end || *at != ',')
            return wrong_character(fault, at, "after object key:value pair");
        at++;
    }
}

static enum ts_err
explain_mistyped(struct ts_span value)
{
    if (*value.at != '-' && !is_digit(*value.at))
        return TS_FAIL(TS_E_JSON, "json: cannot unmarshal %s into field timestamp of type int64",
                       kind_of(*value.at));
    return TS_FAIL(TS_E_JSON,
                   "json: cannot unmarshal number %.*s into field timestamp of type int64",
                   (int)(value.bytes < 64 ? value.bytes : 64), value.at);
}

enum ts_err
ts_json_insert(const char *text, size_t bytes, bool strict_end, struct ts_json_insert *out)
{
    const char *const begin = text != NULL ? text : "";
    const char *const end = begin + bytes;
    const char *const value = skip_blanks(begin, end);
    const char *cut = "unexpected end of JSON input", *at;
    struct ts_json_insert body = {0};
    struct ts_span mistyped = {0};
    struct fault fault = {0};

    if (!strict_end)
        cut = value == end ? "EOF" : "unexpected EOF";
    if (value < end && *value == '{')
        at = scan_fields(value + 1, end, &body, &mistyped, &fault);
    else
        at = scan_value(value, end, &fault);
    if (at != NULL && strict_end) {
        at = skip_blanks(at, end);
        if (at < end)
            at = wrong_character(&fault, at, "after top-level value");
    }
    if (at == NULL)
        return explain(&fault, begin, end, cut);
    if (*value != '{' && *value != 'n')
        return TS_FAIL(TS_E_JSON, "json: cannot unmarshal %s into value of type object",
                       kind_of(*value));
    if (mistyped.at != NULL)
        return explain_mistyped(mistyped);
    *out = body;
    return TS_OK;
}
