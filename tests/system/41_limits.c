/* 41_limits.c - records too old, times too far ahead, ranges that are deleted. */
#include "tests/system/harness.h"

#define SECOND INT64_C(1000000000)
#define HOUR (3600 * SECOND)
#define FOR_BOTH_DOORS for (int door = 0; door < 2; door++)

TestSuite(limits, .init = site_start, .fini = site_stop);

static int
port_of(int door)
{
    return door == 0 ? 0 : site.ingestd.port;
}

static int64_t
number_of(const struct answer *answer, const char *name)
{
    return json_integer_value(json_object_get(answer->json, name));
}

/* ---- deleting a range ---- */

static struct answer
delete_range(int door, const struct store *store, const char *query)
{
    return CALL(.method = "DELETE", .path = text("/api/stores/%s/data/range%s", store->name, query),
                .key = store->key, .port = port_of(door));
}

Test(limits, a_range_is_deleted_for_lists_gets_and_streams_and_stays_so)
{
    FOR_BOTH_DOORS
    {
        const struct store store = store_create(text("{\"name\":\"d%d\"}", door));
        struct answer answer;

        put_run(&store, 1, 20, "\"x\"");
        answer = delete_range(door, &store, "?start_time=5&end_time=9");
        expect_answer(answer, 200, NULL);
        cr_expect_eq(number_of(&answer, "deleted"), 5);
        cr_expect_str_eq(list_all(&store), "1 2 3 4 10 11 12 13 14 15 16 17 18 19 20");
        expect_answer(store_get(&store, "/data/time/7"), 404, "timestamp not found");
        answer = delete_range(door, &store, "?start_time=-9223372036854775808&end_time=10");
        cr_expect_eq(number_of(&answer, "deleted"), 5);
        answer = delete_range(door, &store, "?start_time=20&end_time=9223372036854775807");
        cr_expect_eq(number_of(&answer, "deleted"), 1);
        answer = delete_range(door, &store, "?end_time=20&start_time=20");
        cr_expect_eq(number_of(&answer, "deleted"), 0);
        ws_expect(ws_read_open(&store, "from=0"), "data 11 \"x\"");
        process_kill(&site.ingestd);
        ingestd_start();
        cr_expect_str_eq(list_all(&store), "11 12 13 14 15 16 17 18 19");
        AWAIT(PATIENCE_MS, put(&store, 30, "1").status == 201);
    }
}

#define REQUIRED "start_time and end_time parameters required"

Test(limits, bounds_that_are_none_are_refused_and_delete_nothing)
{
    static const struct {
        const char *query, *error;
    } rows[] = {
        {"", REQUIRED},
        {"?start_time=", REQUIRED},
        {"?start_time=5", REQUIRED},
        {"?end_time=5", REQUIRED},
        {"?start_time=&end_time=5", REQUIRED},
        {"?start_time=x&end_time=5", "invalid start_time"},
        {"?start_time=1&end_time=1.5", "invalid end_time"},
        {"?start_time=1&end_time=99999999999999999999", "invalid end_time"},
        {"?start_time=1&end_time=1%202", "invalid end_time"},
        {"?start_time=%20&end_time=5", REQUIRED},
        {"?start_time=5%000&end_time=5", "invalid start_time"},
        {"?start_time=6&end_time=5", "invalid timestamp"},
    };
    const struct store store = store_fixture();

    put_run(&store, 1, 9, "\"x\"");
    FOR_BOTH_DOORS
    {
        for (size_t i = 0; i < COUNTOF(rows); i++)
            expect_answer(delete_range(door, &store, rows[i].query), 400, rows[i].error);
        expect_answer(
            delete_range(door, &store, text("?start_time=%s&end_time=5", repeat('1', 2000))), 400,
            "invalid start_time");
    }
    cr_expect_str_eq(list_all(&store), run_of(1, 9));
}

/* ---- age ---- */

Test(limits, records_older_than_max_age_are_gone_from_every_way_of_reading)
{
    const struct store store = store_create("{\"name\":\"aged\",\"max_age\":\"1h\"}");
    const int64_t now = clock_ns();
    struct answer stats;

    put_ok(&store, now - 3 * HOUR, "\"old\"");
    put_ok(&store, now - 2 * HOUR, "\"old too\"");
    put_ok(&store, now - HOUR / 2, "\"young\"");
    cr_expect_str_eq(list_all(&store), text("%jd", (intmax_t)(now - HOUR / 2)));
    cr_expect_str_eq(list(&store, "newest"), text("%jd", (intmax_t)(now - HOUR / 2)));
    cr_expect_str_eq(list(&store, "range?start_time=1"), text("%jd", (intmax_t)(now - HOUR / 2)));
    expect_answer(store_get(&store, "/data/time/%jd", (intmax_t)(now - 2 * HOUR)), 404,
                  "timestamp not found");
    ws_expect(ws_read_open(&store, "from=0"),
              text("data %jd \"young\"", (intmax_t)(now - HOUR / 2)));
    stats = store_get(&store, "/stats");
    cr_expect_eq(number_of(&stats, "max_age_ns"), HOUR);
    cr_expect_eq(number_of(&stats, "oldest_timestamp"), now - HOUR / 2);
    cr_expect_eq(process_stop(&site.ingestd, PATIENCE_MS), 0);
    ingestd_start();
    cr_expect_str_eq(list_all(&store), text("%jd", (intmax_t)(now - HOUR / 2)));
}

Test(limits, a_record_vanishes_when_its_time_has_come)
{
    const struct store store = store_create("{\"name\":\"short\",\"max_age\":\"2s\"}");

    put_ok(&store, clock_ns(), "1");
    cr_expect_str_neq(list_all(&store), "");
    AWAIT(PATIENCE_MS, strcmp(list_all(&store), "") == 0);
    put_ok(&store, clock_ns(), "2");
    cr_expect_str_neq(list_all(&store), "");
}

/* ---- the future ---- */

#define FUTURE "timestamp is too far in the future"

Test(limits, a_time_more_than_a_day_ahead_is_refused_at_every_door)
{
    const struct store store = store_create("{\"name\":\"f\"}");
    const int64_t far = clock_ns() + 25 * HOUR, near = clock_ns() + 23 * HOUR;
    struct line_client client;
    struct answer answer;

    expect_answer(put(&store, far, "1"), 400, FUTURE);
    cr_expect_str_eq(json_string_value(json_object_get(put(&store, far, "1").json, "code")),
                     "timestamp_future");
    answer = CALL(.method = "POST", .path = "/api/stores/f/data/batch", .key = store.key,
                  .type = "application/x-ndjson",
                  .body = text("{\"timestamp\":%jd,\"data\":1}\n{\"timestamp\":5,\"data\":2}",
                               (intmax_t)far));
    cr_expect_eq(number_of(&answer, "refused"), 1);
    line_open(&client);
    line_login(&client, &store);
    cr_expect_str_eq(line_ask(&client, "@%jd 1", (intmax_t)far), "ERROR store failed: " FUTURE);
    cr_expect_str_eq(line_ask(&client, "@%jd 1", (intmax_t)near), text("OK %jd", (intmax_t)near));
    line_close(&client);
}

Test(limits, a_store_may_clamp_or_allow_what_is_ahead)
{
    const struct store clamp = store_create("{\"name\":\"c\",\"on_future\":\"clamp\"}");
    const struct store any = store_create("{\"name\":\"y\",\"max_future\":\"none\"}");
    const int64_t before = clock_ns();
    struct answer answer = put(&clamp, INT64_MAX, "1");

    expect_answer(answer, 201, NULL);
    cr_expect(number_of(&answer, "timestamp") >= before &&
              number_of(&answer, "timestamp") <= clock_ns());
    answer = put(&any, INT64_MAX, "1");
    expect_answer(answer, 201, NULL);
    cr_expect_eq(number_of(&answer, "timestamp"), INT64_MAX);
}

Test(limits, settings_that_are_none_are_refused)
{
    static const struct {
        const char *member, *error;
    } rows[] = {
        {"\"max_age\":\"soon\"",
         "invalid config: max_age must be none or a duration such as 30d or 12h"},
        {"\"max_age\":\"-1h\"",
         "invalid config: max_age must be none or a duration such as 30d or 12h"},
        {"\"max_age\":\"0s\"",
         "invalid config: max_age must be none or a duration such as 30d or 12h"},
        {"\"max_future\":\"1x\"",
         "invalid config: max_future must be none or a duration such as 30d or 12h"},
        {"\"on_future\":\"ignore\"", "invalid config: on_future must be refuse or clamp"},
        {"\"max_age\":5",
         "json: cannot unmarshal value into field CreateStoreRequest.max_age of type string"},
    };

    for (size_t i = 0; i < COUNTOF(rows); i++)
        expect_answer(CALL(.method = "POST", .path = "/api/stores", .admin_key = ADMIN_KEY,
                           .body = text("{\"name\":\"n\",%s}", rows[i].member)),
                      400, rows[i].error);
    cr_expect_str_eq(call(&(struct call){.path = "/api/stores"}).body, "{\"stores\":[]}");
}

Test(limits, the_command_line_sets_and_shows_them)
{
    struct run run = cli("create", "m", "--max-age", "30d", "--max-future", "none", "--on-future",
                         "clamp", "--json");

    cr_expect_eq(run.status, 0, "%s", run.err);
    run = cli("stats", "m", "--json");
    cr_expect_not_null(strstr(run.out, "\"max_age_ns\":2592000000000000,\"max_future_ns\":0,"
                                       "\"on_future\":\"clamp\""),
                       "%s", run.out);
    run = cli("create", "k", "--max-age", "never");
    cr_expect_eq(run.status, 1);
    cr_expect_not_null(strstr(run.err, "max_age must be none or a duration"));
}
