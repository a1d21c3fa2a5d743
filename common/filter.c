/* filter.c - memmem() for exact bytes, a search in folded bytes otherwise. */
#include "common/filter.h"

#include "common/swar.h"
#include "common/text.h"
#include "common/tsstore.h"

#include <string.h>

_Static_assert(TS_FILTER_PREFIX_BYTES <= UINT16_MAX, "a border does not fit its element");

/* Every stride-th character from first to last folds to itself plus delta. ASCII is not in it:
 * that is done without a table. In ascending order. */
static const struct {
    uint32_t first, last;
    uint32_t stride;
    int32_t delta;
} foldings[] = {
    {0xb5, 0xb5, 1, 775},        {0xc0, 0xd6, 1, 32},         {0xd8, 0xde, 1, 32},
    {0x100, 0x12e, 2, 1},        {0x132, 0x136, 2, 1},        {0x139, 0x147, 2, 1},
    {0x14a, 0x176, 2, 1},        {0x178, 0x178, 1, -121},     {0x179, 0x17d, 2, 1},
    {0x17f, 0x17f, 1, -268},     {0x181, 0x181, 1, 210},      {0x182, 0x184, 2, 1},
    {0x186, 0x186, 1, 206},      {0x187, 0x187, 1, 1},        {0x189, 0x18a, 1, 205},
    {0x18b, 0x18b, 1, 1},        {0x18e, 0x18e, 1, 79},       {0x18f, 0x18f, 1, 202},
    {0x190, 0x190, 1, 203},      {0x191, 0x191, 1, 1},        {0x193, 0x193, 1, 205},
    {0x194, 0x194, 1, 207},      {0x196, 0x196, 1, 211},      {0x197, 0x197, 1, 209},
    {0x198, 0x198, 1, 1},        {0x19c, 0x19c, 1, 211},      {0x19d, 0x19d, 1, 213},
    {0x19f, 0x19f, 1, 214},      {0x1a0, 0x1a4, 2, 1},        {0x1a6, 0x1a6, 1, 218},
    {0x1a7, 0x1a7, 1, 1},        {0x1a9, 0x1a9, 1, 218},      {0x1ac, 0x1ac, 1, 1},
    {0x1ae, 0x1ae, 1, 218},      {0x1af, 0x1af, 1, 1},        {0x1b1, 0x1b2, 1, 217},
    {0x1b3, 0x1b5, 2, 1},        {0x1b7, 0x1b7, 1, 219},      {0x1b8, 0x1b8, 1, 1},
    {0x1bc, 0x1bc, 1, 1},        {0x1c4, 0x1c4, 1, 2},        {0x1c5, 0x1c5, 1, 1},
    {0x1c7, 0x1c7, 1, 2},        {0x1c8, 0x1c8, 1, 1},        {0x1ca, 0x1ca, 1, 2},
    {0x1cb, 0x1db, 2, 1},        {0x1de, 0x1ee, 2, 1},        {0x1f1, 0x1f1, 1, 2},
    {0x1f2, 0x1f4, 2, 1},        {0x1f6, 0x1f6, 1, -97},      {0x1f7, 0x1f7, 1, -56},
    {0x1f8, 0x21e, 2, 1},        {0x220, 0x220, 1, -130},     {0x222, 0x232, 2, 1},
    {0x23a, 0x23a, 1, 10795},    {0x23b, 0x23b, 1, 1},        {0x23d, 0x23d, 1, -163},
    {0x23e, 0x23e, 1, 10792},    {0x241, 0x241, 1, 1},        {0x243, 0x243, 1, -195},
    {0x244, 0x244, 1, 69},       {0x245, 0x245, 1, 71},       {0x246, 0x24e, 2, 1},
    {0x345, 0x345, 1, 116},      {0x370, 0x372, 2, 1},        {0x376, 0x376, 1, 1},
    {0x37f, 0x37f, 1, 116},      {0x386, 0x386, 1, 38},       {0x388, 0x38a, 1, 37},
    {0x38c, 0x38c, 1, 64},       {0x38e, 0x38f, 1, 63},       {0x391, 0x3a1, 1, 32},
    {0x3a3, 0x3ab, 1, 32},       {0x3c2, 0x3c2, 1, 1},        {0x3cf, 0x3cf, 1, 8},
    {0x3d0, 0x3d0, 1, -30},      {0x3d1, 0x3d1, 1, -25},      {0x3d5, 0x3d5, 1, -15},
    {0x3d6, 0x3d6, 1, -22},      {0x3d8, 0x3ee, 2, 1},        {0x3f0, 0x3f0, 1, -54},
    {0x3f1, 0x3f1, 1, -48},      {0x3f4, 0x3f4, 1, -60},      {0x3f5, 0x3f5, 1, -64},
    {0x3f7, 0x3f7, 1, 1},        {0x3f9, 0x3f9, 1, -7},       {0x3fa, 0x3fa, 1, 1},
    {0x3fd, 0x3ff, 1, -130},     {0x400, 0x40f, 1, 80},       {0x410, 0x42f, 1, 32},
    {0x460, 0x480, 2, 1},        {0x48a, 0x4be, 2, 1},        {0x4c0, 0x4c0, 1, 15},
    {0x4c1, 0x4cd, 2, 1},        {0x4d0, 0x52e, 2, 1},        {0x531, 0x556, 1, 48},
    {0x10a0, 0x10c5, 1, 7264},   {0x10c7, 0x10c7, 1, 7264},   {0x10cd, 0x10cd, 1, 7264},
    {0x13f8, 0x13fd, 1, -8},     {0x1c80, 0x1c80, 1, -6222},  {0x1c81, 0x1c81, 1, -6221},
    {0x1c82, 0x1c82, 1, -6212},  {0x1c83, 0x1c84, 1, -6210},  {0x1c85, 0x1c85, 1, -6211},
    {0x1c86, 0x1c86, 1, -6204},  {0x1c87, 0x1c87, 1, -6180},  {0x1c88, 0x1c88, 1, 35267},
    {0x1c90, 0x1cba, 1, -3008},  {0x1cbd, 0x1cbf, 1, -3008},  {0x1e00, 0x1e94, 2, 1},
    {0x1e9b, 0x1e9b, 1, -58},    {0x1e9e, 0x1e9e, 1, -7615},  {0x1ea0, 0x1efe, 2, 1},
    {0x1f08, 0x1f0f, 1, -8},     {0x1f18, 0x1f1d, 1, -8},     {0x1f28, 0x1f2f, 1, -8},
    {0x1f38, 0x1f3f, 1, -8},     {0x1f48, 0x1f4d, 1, -8},     {0x1f59, 0x1f5f, 2, -8},
    {0x1f68, 0x1f6f, 1, -8},     {0x1f88, 0x1f8f, 1, -8},     {0x1f98, 0x1f9f, 1, -8},
    {0x1fa8, 0x1faf, 1, -8},     {0x1fb8, 0x1fb9, 1, -8},     {0x1fba, 0x1fbb, 1, -74},
    {0x1fbc, 0x1fbc, 1, -9},     {0x1fbe, 0x1fbe, 1, -7173},  {0x1fc8, 0x1fcb, 1, -86},
    {0x1fcc, 0x1fcc, 1, -9},     {0x1fd8, 0x1fd9, 1, -8},     {0x1fda, 0x1fdb, 1, -100},
    {0x1fe8, 0x1fe9, 1, -8},     {0x1fea, 0x1feb, 1, -112},   {0x1fec, 0x1fec, 1, -7},
    {0x1ff8, 0x1ff9, 1, -128},   {0x1ffa, 0x1ffb, 1, -126},   {0x1ffc, 0x1ffc, 1, -9},
    {0x2126, 0x2126, 1, -7517},  {0x212a, 0x212a, 1, -8383},  {0x212b, 0x212b, 1, -8262},
    {0x2132, 0x2132, 1, 28},     {0x2160, 0x216f, 1, 16},     {0x2183, 0x2183, 1, 1},
    {0x24b6, 0x24cf, 1, 26},     {0x2c00, 0x2c2f, 1, 48},     {0x2c60, 0x2c60, 1, 1},
    {0x2c62, 0x2c62, 1, -10743}, {0x2c63, 0x2c63, 1, -3814},  {0x2c64, 0x2c64, 1, -10727},
    {0x2c67, 0x2c6b, 2, 1},      {0x2c6d, 0x2c6d, 1, -10780}, {0x2c6e, 0x2c6e, 1, -10749},
    {0x2c6f, 0x2c6f, 1, -10783}, {0x2c70, 0x2c70, 1, -10782}, {0x2c72, 0x2c72, 1, 1},
    {0x2c75, 0x2c75, 1, 1},      {0x2c7e, 0x2c7f, 1, -10815}, {0x2c80, 0x2ce2, 2, 1},
    {0x2ceb, 0x2ced, 2, 1},      {0x2cf2, 0x2cf2, 1, 1},      {0xa640, 0xa66c, 2, 1},
    {0xa680, 0xa69a, 2, 1},      {0xa722, 0xa72e, 2, 1},      {0xa732, 0xa76e, 2, 1},
    {0xa779, 0xa77b, 2, 1},      {0xa77d, 0xa77d, 1, -35332}, {0xa77e, 0xa786, 2, 1},
    {0xa78b, 0xa78b, 1, 1},      {0xa78d, 0xa78d, 1, -42280}, {0xa790, 0xa792, 2, 1},
    {0xa796, 0xa7a8, 2, 1},      {0xa7aa, 0xa7aa, 1, -42308}, {0xa7ab, 0xa7ab, 1, -42319},
    {0xa7ac, 0xa7ac, 1, -42315}, {0xa7ad, 0xa7ad, 1, -42305}, {0xa7ae, 0xa7ae, 1, -42308},
    {0xa7b0, 0xa7b0, 1, -42258}, {0xa7b1, 0xa7b1, 1, -42282}, {0xa7b2, 0xa7b2, 1, -42261},
    {0xa7b3, 0xa7b3, 1, 928},    {0xa7b4, 0xa7c2, 2, 1},      {0xa7c4, 0xa7c4, 1, -48},
    {0xa7c5, 0xa7c5, 1, -42307}, {0xa7c6, 0xa7c6, 1, -35384}, {0xa7c7, 0xa7c9, 2, 1},
    {0xa7d0, 0xa7d0, 1, 1},      {0xa7d6, 0xa7d8, 2, 1},      {0xa7f5, 0xa7f5, 1, 1},
    {0xab70, 0xabbf, 1, -38864}, {0xff21, 0xff3a, 1, 32},     {0x10400, 0x10427, 1, 40},
    {0x104b0, 0x104d3, 1, 40},   {0x10570, 0x1057a, 1, 39},   {0x1057c, 0x1058a, 1, 39},
    {0x1058c, 0x10592, 1, 39},   {0x10594, 0x10595, 1, 39},   {0x10c80, 0x10cb2, 1, 64},
    {0x118a0, 0x118bf, 1, 32},   {0x16e40, 0x16e5f, 1, 32},   {0x1e900, 0x1e921, 1, 34},
};

#define N_FOLDINGS (sizeof foldings / sizeof foldings[0])

static uint32_t
fold_code(uint32_t code)
{
    size_t low = 0, high = N_FOLDINGS;

    while (low < high) { /* the first row whose last is not below code */
        const size_t middle = low + (high - low) / 2;

        if (foldings[middle].last < code)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == N_FOLDINGS || code < foldings[low].first ||
        (code - foldings[low].first) % foldings[low].stride != 0)
        return code;
    return (uint32_t)((int32_t)code + foldings[low].delta);
}

/* ---- bytes, folded ---- */

/* The folded form of a text, byte by byte. */
struct folded {
    const uint8_t *at, *end; /* view; what is still to be folded */
    uint8_t character[4];    /* the folded character that is being handed out */
    unsigned idx, bytes;     /* of character[] */
};

static uint32_t
decode(const uint8_t *at, size_t bytes)
{
    static const uint8_t first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = at[0] & first_bits[bytes];

    for (size_t i = 1; i < bytes; i++)
        code = code << 6 | (at[i] & 0x3f);
    return code;
}

static unsigned
encode(uint8_t out[4], uint32_t code)
{
    static const uint8_t first_bits[] = {0, 0, 0xc0, 0xe0, 0xf0};
    const unsigned bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (unsigned i = bytes - 1; i > 0; i--, code >>= 6)
        out[i] = (uint8_t)(0x80 | (code & 0x3f));
    out[0] = (uint8_t)(first_bits[bytes] | code);
    return bytes;
}

/* Folds the character at text->at, which is not ASCII, into character[]. */
static void
fold_character(struct folded *text)
{
    const size_t bytes = ts_utf8_sequence_bytes(text->at, (size_t)(text->end - text->at));

    text->idx = 0;
    if (bytes == 0) {
        text->character[0] = *text->at++;
        text->bytes = 1;
        return;
    }
    text->bytes = encode(text->character, fold_code(decode(text->at, bytes)));
    text->at += bytes;
}

static inline bool
next_byte(struct folded *text, uint8_t *out)
{
    if (text->idx == text->bytes) {
        if (text->at == text->end)
            return false;
        if (*text->at < 0x80) {
            const uint8_t byte = *text->at++;

            *out = byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
            return true;
        }
        fold_character(text);
    }
    *out = text->character[text->idx++];
    return true;
}

/* ---- the search ---- */

/* Over the bytes that can't begin a match: all but the first byte wanted in both cases, and those
 * beyond ASCII, of which any may fold to it. */
static void
skip_hopeless(struct folded *text, uint8_t first)
{
    const uint8_t other = first >= 'a' && first <= 'z' ? first & 0xdf : first;

    if (text->idx != text->bytes)
        return;
    while (text->end - text->at >= TS_SWAR_BYTES) {
        const uint64_t word = ts_swar_load(text->at);
        const uint64_t hope =
            ts_swar_equal(word, first) | ts_swar_equal(word, other) | (word & TS_SWAR_ALL(0x80));

        if (hope != 0) {
            text->at += ts_swar_first(hope);
            return;
        }
        text->at += TS_SWAR_BYTES;
    }
}

/* True if the folded text goes on, at `text`, with what did not fit into the prefix. */
static bool
rest_matches(const struct ts_filter *filter, struct folded text)
{
    struct folded rest = {.at = filter->text + filter->rest_off,
                          .end = filter->text + filter->text_bytes};
    uint8_t want, have;

    while (next_byte(&rest, &want))
        if (!next_byte(&text, &have) || have != want)
            return false;
    return true;
}

static bool
match_folded(const struct ts_filter *filter, const uint8_t *data, size_t bytes)
{
    struct folded text = {.at = data, .end = data + bytes};
    size_t matched = 0; /* bytes of the prefix that the folded data ends with so far */
    uint8_t byte;

    for (;;) {
        if (matched == 0)
            skip_hopeless(&text, filter->prefix[0]);
        if (!next_byte(&text, &byte))
            return false;
        while (matched > 0 && filter->prefix[matched] != byte)
            matched = filter->border[matched - 1];
        if (filter->prefix[matched] == byte)
            matched++;
        if (matched == filter->prefix_bytes) {
            if (rest_matches(filter, text))
                return true;
            matched = filter->border[matched - 1];
        }
    }
}

static void
find_borders(struct ts_filter *filter)
{
    uint16_t border = 0;

    filter->border[0] = 0;
    for (size_t i = 1; i < filter->prefix_bytes; i++) {
        while (border > 0 && filter->prefix[border] != filter->prefix[i])
            border = filter->border[border - 1];
        if (filter->prefix[border] == filter->prefix[i])
            border++;
        filter->border[i] = border;
    }
}

void
ts_filter_init(struct ts_filter *filter, const char *text, size_t text_bytes, bool fold)
{
    struct folded rest;
    uint8_t byte;

    filter->text = (const uint8_t *)text;
    filter->text_bytes = text_bytes;
    filter->fold = fold;
    if (!fold || text_bytes == 0)
        return;
    rest = (struct folded){.at = filter->text, .end = filter->text + text_bytes};
    filter->prefix_bytes = 0;
    /* Whole characters only: the prefix ends where one does, with room for a longest one left. */
    while (filter->prefix_bytes <= TS_FILTER_PREFIX_BYTES - sizeof rest.character ||
           rest.idx != rest.bytes) {
        if (!next_byte(&rest, &byte))
            break;
        filter->prefix[filter->prefix_bytes++] = byte;
    }
    filter->rest_off = (size_t)(rest.at - filter->text);
    find_borders(filter);
}

bool
ts_filter_match(const struct ts_filter *filter, const void *data, size_t bytes)
{
    if (filter->text_bytes == 0)
        return true;
    if (bytes == 0)
        return false;
    if (filter->fold)
        return match_folded(filter, data, bytes);
    return memmem(data, bytes, filter->text, filter->text_bytes) != NULL;
}

bool
ts_filter_matches(const void *data, size_t bytes, const char *text, size_t text_bytes, bool fold)
{
    struct ts_filter filter;

    ts_filter_init(&filter, text, text_bytes, fold);
    return ts_filter_match(&filter, data, bytes);
}
