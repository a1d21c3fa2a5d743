/* 12_get.c - GET …/data/time/:timestamp. */
#include "tests/system/harness.h"

TestSuite(get, .init = site_start, .fini = site_stop);

Test(get, T060_one_object_has_four_fields)
{
    struct store store = store_fixture();
    struct answer answer;

    put_ok(&store, 1767225600000000000, "{\"t\":21.5}");
    answer = store_get(&store, "/data/time/1767225600000000000");
    cr_expect_eq(answer.status, 200, "%s", answer.body);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "timestamp")),
                 1767225600000000000);
    cr_expect_eq(json_integer_value(json_object_get(answer.json, "size")), 10);
    cr_expect(json_is_integer(json_object_get(answer.json, "block_num")), "%s", answer.body);
    cr_expect_eq(json_real_value(json_object_get(json_object_get(answer.json, "data"), "t")), 21.5);
    cr_expect_eq(json_object_size(answer.json), 4, "%s", answer.body);
}

Test(get, T061_an_empty_store_says_so)
{
    struct store store = store_fixture();

    expect_answer(store_get(&store, "/data/time/5"), 404, "store is empty");
}

Test(get, T062_T064_an_absent_timestamp_is_not_found)
{
    static const char *const times[] = {"5",  "15", "9223372036854775807", "-1", "0",
                                        "-0", "21", "-9223372036854775808"};
    struct store store = store_fixture();

    put_ok(&store, 10, "1");
    put_ok(&store, 20, "1");
    for (size_t i = 0; i < COUNTOF(times); i++)
        expect_answer(store_get(&store, "/data/time/%s", times[i]), 404, "timestamp not found");
}

Test(get, T063_refuses_what_is_no_timestamp)
{
    static const char *const times[] = {"x",
                                        "99999999999999999999",
                                        "1.5",
                                        "1e3",
                                        "0x10",
                                        "%2010",
                                        "10%20",
                                        "10z",
                                        "--1",
                                        "-",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "%00"};
    struct store store = store_fixture();

    put_ok(&store, 10, "1");
    for (size_t i = 0; i < COUNTOF(times); i++) {
        struct answer answer = store_get(&store, "/data/time/%s", times[i]);

        /* A NUL matches no route at all. */
        if (strcmp(times[i], "%00") == 0)
            cr_expect(answer.status == 400 || answer.status == 404, "%s", answer.body);
        else
            expect_answer(answer, 400, "invalid timestamp");
    }
}

Test(get, finds_each_of_many_across_blocks)
{
    struct store store = store_fixture();

    put_run(&store, 1, 60, "\"some forty bytes of text, more or less\"");
    for (int64_t t = 1; t <= 60; t++)
        cr_expect_eq(store_get(&store, "/data/time/%jd", (intmax_t)t).status, 200, "%jd",
                     (intmax_t)t);
}
