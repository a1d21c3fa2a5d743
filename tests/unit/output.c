/* output.c - the forms that all verbs share: sizes, grouped numbers, texts that a terminal draws.
 */
#include "cli/output.h"

#include <criterion/criterion.h>
#include <string.h>

Test(output, numbers_are_grouped_by_thousands)
{
    static const struct {
        uint64_t number;
        const char *text;
    } rows[] = {{0, "0"},
                {999, "999"},
                {1000, "1,000"},
                {82080064, "82,080,064"},
                {100000, "100,000"},
                {UINT64_MAX, "18,446,744,073,709,551,615"}};
    char text[CLI_GROUPED_BYTES];

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        cli_grouped(rows[i].number, text);
        cr_expect_str_eq(text, rows[i].text);
    }
}

Test(output, sizes_have_two_decimals_and_powers_of_1024)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {{0, "0 B"},
                {1023, "1023 B"},
                {1024, "1.00 KB"},
                {2048, "2.00 KB"},
                {4210752, "4.02 MB"},
                {UINT64_C(1) << 30, "1.00 GB"},
                {UINT64_MAX, "16.00 EB"}};
    char text[CLI_HUMAN_BYTES];

    for (size_t i = 0; i < COUNTOF(rows); i++) {
        cli_human_bytes(rows[i].bytes, text);
        cr_expect_str_eq(text, rows[i].text);
    }
}

Test(output, what_a_terminal_would_obey_is_spelled_out)
{
    static const struct {
        const char *data, *text;
    } rows[] = {{"a\xc3\xa9\xf0\x9f\x98\x80", "a\xc3\xa9\xf0\x9f\x98\x80"},
                {"\x1b[2J", "\\x1b[2J"},
                {"a\nb\r\tc", "a\\nb\\r\\tc"},
                {"\xc2\x9b"
                 "1m",
                 "\\xc2\\x9b1m"},
                {"\xff\xc3", "\\xff\\xc3"},
                {"\x7f", "\\x7f"}};
    struct ts_text text;

    ts_text_init(&text);
    for (size_t i = 0; i < COUNTOF(rows); i++) {
        ts_text_clear(&text);
        cli_add_visible(&text, rows[i].data, strlen(rows[i].data));
        ts_text_add(&text, "", 1);
        cr_expect_str_eq(text.at, rows[i].text);
    }
    ts_text_done(&text);
}
