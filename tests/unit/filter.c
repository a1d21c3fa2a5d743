/* filter.c - substrings, exact and folded, against tables and a slow search. */
#include "common/filter.h"

#include "common/tsstore.h"

#include <criterion/criterion.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>
#include <wctype.h>

#define COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT(literal) (literal), sizeof(literal) - 1

/* From memory that ends with the data, so that a sanitizer sees a read beyond it. */
static bool
matches(const char *data, size_t bytes, const char *text, size_t text_bytes, bool fold)
{
    char *data_copy = malloc(bytes > 0 ? bytes : 1), *text_copy = malloc(text_bytes + 1);
    bool result;

    cr_assert(data_copy != NULL && text_copy != NULL);
    memcpy(data_copy, data, bytes);
    memcpy(text_copy, text, text_bytes);
    result = ts_filter_matches(data_copy, bytes, text_copy, text_bytes, fold);
    free(data_copy);
    free(text_copy);
    return result;
}

static const struct {
    const char *data;
    size_t data_bytes;
    const char *text;
    size_t text_bytes;
    bool exact, folded;
} rows[] = {
    {TEXT(""), TEXT(""), true, true},
    {TEXT("abc"), TEXT(""), true, true},
    {TEXT(""), TEXT("a"), false, false},
    {TEXT("{\"s\":\"B1\"}"), TEXT("B1"), true, true},
    {TEXT("{\"s\":\"b1\"}"), TEXT("B1"), false, true},
    {TEXT("B"), TEXT("B1"), false, false},
    {TEXT("xxxxxxxxxxxxxxxxxxNorth"), TEXT("nORTH"), false, true},
    {TEXT("aaaaaaaaab"), TEXT("AAAB"), false, true},
    {TEXT("abababac"), TEXT("ababac"), true, true},
    {TEXT("abcabcabd"), TEXT("abcabd"), true, true},
    {TEXT("{\"a\":1}"), TEXT("\"a\": 1"), false, false},
    {TEXT("a\0b\0c"), TEXT("B\0C"), false, true},
    {TEXT("\x00\xff\x41"), TEXT("\xff\x41"), true, true},
    {TEXT("\x00\xff\x61"), TEXT("\xff\x41"), false, true},
    /* '@' and '[' stand beside the letters, '`' and '{' beside the small ones. */
    {TEXT("@[`{"), TEXT("`{"), true, true},
    {TEXT("@["), TEXT("`{"), false, false},
    {TEXT("Z\xc3\x9cRICH"), TEXT("z\xc3\xbcrich"), false, true},
    {TEXT("\xc3\x97"), TEXT("\xc3\xb7"), false, false}, /* times and divide, no letters */
    {TEXT("\xc5\x81\xc3\xb3\x64\xc5\xba"), TEXT("\xc5\x82\xc3\x93\x44\xc5\xb9"), false, true},
    {TEXT("\xce\x91\xce\x98\xce\x97\xce\x9d\xce\x91"), TEXT("\xce\xb1\xce\xb8\xce\xb7"), false,
     true},
    {TEXT("\xcf\x82"), TEXT("\xce\xa3"), false, true}, /* the final sigma is a sigma */
    {TEXT("\xd0\x9c\xd0\x9e\xd0\xa1\xd0\x9a\xd0\x92\xd0\x90"), TEXT("\xd0\xbc\xd0\xbe\xd1\x81"),
     false, true},
    {TEXT("\xd0\x81\xd1\x96"), TEXT("\xd1\x91\xd0\x86"), false, true},
    {TEXT("10 \xe2\x84\xaa"), TEXT("10 k"), false, true}, /* Kelvin sign */
    {TEXT("10 K"), TEXT("10 \xe2\x84\xaa"), false, true},
    {TEXT("\xe2\x84\xa6"), TEXT("\xcf\x89"), false, true}, /* Ohm sign */
    {TEXT("\xc2\xb5m"), TEXT("\xce\xbcM"), false, true},   /* micro sign */
    {TEXT("\xc5\xbf"), TEXT("S"), false, true},            /* long s */
    {TEXT("\xe1\xba\x9e"), TEXT("\xc3\x9f"), false, true}, /* capital sharp s */
    {TEXT("\xc3\x9f"), TEXT("ss"), false, false},          /* simple folding does not expand */
    {TEXT("\xc4\xb0"), TEXT("i"), false, false},           /* Turkish dotted I */
    {TEXT("\xf0\x90\x90\x80"), TEXT("\xf0\x90\x90\xa8"), false, true}, /* Deseret */
    {TEXT("\xc8\xba"), TEXT("\xe2\xb1\xa5"), false, true},             /* two bytes fold to three */
    /* Bytes that are no UTF-8 stand for themselves. */
    {TEXT("\xc3"), TEXT("\xe3"), false, false},
    {TEXT("\xc3\xc3\x9c"), TEXT("\xc3\xc3\xbc"), false, true},
    {TEXT("\xe2\x84"), TEXT("\xe2\x84\xaa"), false, false},
    {TEXT("a\xe2\x84"), TEXT("A\xe2\x84"), false, true},
    {TEXT("\xed\xa0\x80Q"), TEXT("\xed\xa0\x80q"), false, true},
};

Test(filter, finds_exactly_what_is_there)
{
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        cr_expect_eq(
            matches(rows[i].data, rows[i].data_bytes, rows[i].text, rows[i].text_bytes, false),
            rows[i].exact, "exact row %zu: %s in %s", i, rows[i].text, rows[i].data);
        cr_expect_eq(
            matches(rows[i].data, rows[i].data_bytes, rows[i].text, rows[i].text_bytes, true),
            rows[i].folded, "folded row %zu: %s in %s", i, rows[i].text, rows[i].data);
    }
}

Test(filter, takes_null_for_nothing)
{
    cr_expect(ts_filter_matches(NULL, 0, NULL, 0, false));
    cr_expect(ts_filter_matches(NULL, 0, NULL, 0, true));
    cr_expect_not(ts_filter_matches(NULL, 0, "a", 1, false));
    cr_expect_not(ts_filter_matches(NULL, 0, "a", 1, true));
}

Test(filter, finds_a_match_at_each_place_of_a_record)
{
    for (size_t bytes = 3; bytes < 40; bytes++) {
        for (size_t at = 0; at + 3 <= bytes; at++) {
            char data[40];

            memset(data, 'n', sizeof data);
            memcpy(data + at, "nEw", 3);
            cr_expect(matches(data, bytes, "NeW", 3, true), "at %zu of %zu", at, bytes);
            cr_expect_not(matches(data, bytes, "NeWs", 4, true), "at %zu of %zu", at, bytes);
            cr_expect(matches(data, bytes, "nEw", 3, false), "at %zu of %zu", at, bytes);
        }
    }
}

Test(filter, compares_texts_longer_than_what_it_prepares)
{
    enum { BYTES = 3 * TS_FILTER_PREFIX_BYTES };
    char *data = malloc(2 * BYTES), *text = malloc(BYTES);

    cr_assert(data != NULL && text != NULL);
    for (size_t bytes = TS_FILTER_PREFIX_BYTES - 8; bytes < TS_FILTER_PREFIX_BYTES + 8; bytes++) {
        memset(data, 'A', 2 * BYTES);
        memset(text, 'a', BYTES);
        text[bytes - 1] = 'b';
        cr_expect_not(matches(data, 2 * BYTES, text, bytes, true), "%zu", bytes);
        data[2 * BYTES - 1] = 'B';
        cr_expect(matches(data, 2 * BYTES, text, bytes, true), "%zu", bytes);
        cr_expect_not(matches(data, bytes - 1, text, bytes, true), "%zu", bytes);
    }
    /* Two bytes each, and one in front so that one of them would lie across the limit. */
    for (size_t i = 0; i < BYTES; i++) {
        text[i] = "\xc3\xbc"[i % 2];
        data[i + 1] = "\xc3\x9c"[i % 2];
    }
    data[0] = 'x';
    cr_expect(matches(data, BYTES + 1, text, BYTES, true));
    cr_expect_not(matches(data, BYTES - 1, text, BYTES, true));
    memmove(text + 1, text, BYTES - 1);
    text[0] = 'X';
    cr_expect(matches(data, BYTES + 1, text, BYTES - 1, true));
    free(data);
    free(text);
}

/* ---- folding, character by character ---- */

static size_t
encode(char out[4], uint32_t code)
{
    const size_t bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char marks[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = bytes - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(marks[bytes] | code);
    return bytes;
}

static bool
same(uint32_t a, uint32_t b)
{
    char data[4], text[4];
    const size_t data_bytes = encode(data, a), text_bytes = encode(text, b);

    return ts_filter_matches(data, data_bytes, text, text_bytes, true);
}

/* The C library knows cases, not foldings: where it pairs a small and a capital letter, the two
 * must match, in both directions. Exceptions: the two Turkish i, which fold to nothing. */
Test(filter, folds_all_pairs_of_letters_that_the_c_library_knows)
{
    unsigned n_pairs = 0;

    cr_assert_not_null(setlocale(LC_CTYPE, "C.UTF-8"));
    for (uint32_t code = 1; code < 0x1f000; code++) {
        const uint32_t lower = (uint32_t)towlower((wint_t)code);
        const uint32_t upper = (uint32_t)towupper((wint_t)code);

        if ((code >= 0xd800 && code < 0xe000) || code == 0x130 || code == 0x131)
            continue;
        n_pairs += lower != code;
        cr_expect(same(code, lower) && same(lower, code), "U+%04X and U+%04X", code, lower);
        cr_expect(same(code, upper) && same(upper, code), "U+%04X and U+%04X", code, upper);
    }
    cr_expect_gt(n_pairs, 1300u);
}

Test(filter, folds_no_two_different_letters_of_the_common_scripts_together)
{
    cr_assert_not_null(setlocale(LC_CTYPE, "C.UTF-8"));
    for (uint32_t a = 1; a < 0x530; a++)
        for (uint32_t b = a + 1; b < 0x530; b++)
            if (same(a, b) && towupper(towlower((wint_t)a)) != towupper(towlower((wint_t)b)))
                cr_expect(false, "U+%04X and U+%04X", a, b);
}

/* ---- against a slow search ---- */

static uint64_t random_state;

static unsigned
random_below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 11) % n);
}

/* Letters in both cases, and the same in one case; chosen so that many beginnings match. */
static size_t
random_text(char *mixed, char *lower, size_t *out_lower_bytes, unsigned n)
{
    static const struct {
        const char *mixed, *lower;
    } letters[] = {
        {"a", "a"},
        {"A", "a"},
        {"b", "b"},
        {"B", "b"},
        {"\xc3\x9c", "\xc3\xbc"},
        {"\xc3\xbc", "\xc3\xbc"},
        {"\xe2\x84\xaa", "k"},
        {"K", "k"},
        {"\xff", "\xff"},
    };
    char *mixed_at = mixed, *lower_at = lower;

    for (; n > 0; n--) {
        const unsigned i = random_below(random_below(2) ? 3 : COUNTOF(letters));

        mixed_at = stpcpy(mixed_at, letters[i].mixed);
        lower_at = stpcpy(lower_at, letters[i].lower);
    }
    *out_lower_bytes = (size_t)(lower_at - lower);
    return (size_t)(mixed_at - mixed);
}

/* TSSTORE_TEST_SEED repeats a run. */
Test(filter, agrees_with_a_search_in_texts_folded_beforehand)
{
    const char *given = getenv("TSSTORE_TEST_SEED");
    const uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    unsigned n_found = 0;

    random_state = seed * 0x9e3779b97f4a7c15 | 1;
    fprintf(stderr, "filter: seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 20000; i++) {
        char data[256], data_lower[256], text[64], text_lower[64];
        size_t data_lower_bytes, text_lower_bytes;
        const size_t data_bytes =
            random_text(data, data_lower, &data_lower_bytes, random_below(60));
        const size_t text_bytes = random_text(text, text_lower, &text_lower_bytes, random_below(8));
        const bool want = text_lower_bytes == 0 || memmem(data_lower, data_lower_bytes, text_lower,
                                                          text_lower_bytes) != NULL;

        n_found += want;
        cr_expect_eq(matches(data, data_bytes, text, text_bytes, true), want, "seed %llu, step %d",
                     (unsigned long long)seed, i);
    }
    cr_expect(n_found > 2000 && n_found < 18000, "%u found: the comparison is lopsided", n_found);
}
