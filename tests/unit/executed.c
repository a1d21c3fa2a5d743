/* executed.c - a request that comes twice is executed once. */
#include "ingestd/executed.h"

#include <criterion/criterion.h>
#include <string.h>

#define SLOTS 16u
#define PER_SCOPE 4u
#define MAX_BYTES 1000u

static struct executed *executed;
static struct ts_text body;
static uint16_t status;

static void
set_up(void)
{
    cr_assert_eq(executed_new(SLOTS, PER_SCOPE, MAX_BYTES, &executed), TS_OK);
    ts_text_init(&body);
}

static void
tear_down(void)
{
    ts_text_done(&body);
    executed_free(executed);
}

TestSuite(executed, .init = set_up, .fini = tear_down);

static enum executed_state
begin(uint64_t scope, uint64_t key)
{
    ts_text_clear(&body);
    return executed_begin(executed, &(struct executed_id){.scope = scope, .key = key}, &status,
                          &body);
}

static void
finish(uint64_t scope, uint64_t key, uint16_t http_status, const char *text, const char *brief)
{
    executed_finish(executed, &(struct executed_id){.scope = scope, .key = key}, http_status,
                    (struct ts_span){.at = text, .bytes = strlen(text)}, brief);
}

static bool
body_is(const char *want)
{
    return body.bytes == strlen(want) && memcmp(body.at, want, body.bytes) == 0;
}

Test(executed, the_second_gets_the_answer_of_the_first)
{
    cr_expect_eq(begin(0, 7), EXECUTED_NEW);
    cr_expect_eq(begin(0, 7), EXECUTED_RUNNING);
    finish(0, 7, 201, "{\"timestamp\":5}", NULL);
    cr_expect_eq(begin(0, 7), EXECUTED_DONE);
    cr_expect_eq(status, 201);
    cr_expect(body_is("{\"timestamp\":5}"));
}

Test(executed, what_was_refused_may_be_tried_again)
{
    cr_expect_eq(begin(0, 7), EXECUTED_NEW);
    finish(0, 7, 409, "{}", NULL);
    cr_expect_eq(begin(0, 7), EXECUTED_NEW);
}

Test(executed, a_request_without_a_key_is_always_new)
{
    cr_expect_eq(begin(0, 0), EXECUTED_NEW);
    finish(0, 0, 201, "{}", NULL);
    cr_expect_eq(begin(0, 0), EXECUTED_NEW);
}

Test(executed, the_same_key_of_another_scope_is_another)
{
    cr_expect_eq(begin(1, 7), EXECUTED_NEW);
    finish(1, 7, 201, "one", NULL);
    cr_expect_eq(begin(2, 7), EXECUTED_NEW);
    finish(2, 7, 201, "two", NULL);
    cr_expect_eq(begin(1, 7), EXECUTED_DONE);
    cr_expect(body_is("one"));
    cr_expect_eq(begin(2, 7), EXECUTED_DONE);
    cr_expect(body_is("two"));
}

Test(executed, a_key_used_for_another_request_is_told_so)
{
    const struct executed_id first = {.scope = 1, .key = 7, .fingerprint = 10};
    const struct executed_id other = {.scope = 1, .key = 7, .fingerprint = 11};

    cr_expect_eq(executed_begin(executed, &first, &status, &body), EXECUTED_NEW);
    cr_expect_eq(executed_begin(executed, &other, &status, &body), EXECUTED_OTHER);
    executed_finish(executed, &first, 200, (struct ts_span){.at = "x", .bytes = 1}, NULL);
    cr_expect_eq(executed_begin(executed, &other, &status, &body), EXECUTED_OTHER);
    cr_expect_eq(executed_begin(executed, &first, &status, &body), EXECUTED_DONE);
}

Test(executed, the_oldest_are_forgotten_but_never_a_running_one)
{
    cr_expect_eq(begin(1, 1), EXECUTED_NEW);
    for (uint64_t i = 2; i <= 2 + SLOTS; i++) {
        cr_expect_eq(begin(i, i), EXECUTED_NEW);
        finish(i, i, 201, "{}", NULL);
    }
    cr_expect_eq(begin(1, 1), EXECUTED_RUNNING);
    cr_expect_eq(begin(2 + SLOTS, 2 + SLOTS), EXECUTED_DONE);
    cr_expect_eq(begin(2, 2), EXECUTED_NEW);
}

Test(executed, keys_that_differ_by_a_multiple_of_the_slots_are_told_apart)
{
    for (uint64_t i = 1; i <= SLOTS; i++) {
        cr_expect_eq(begin(i, i * SLOTS), EXECUTED_NEW);
        finish(i, i * SLOTS, i % 3 == 0 ? 400 : 201, i % 2 == 0 ? "even" : "odd", NULL);
    }
    for (uint64_t i = 1; i <= SLOTS; i++) {
        const bool was_refused = i % 3 == 0;

        cr_expect_eq(begin(i, i * SLOTS), was_refused ? EXECUTED_NEW : EXECUTED_DONE, "%ju", i);
        cr_expect(was_refused || body_is(i % 2 == 0 ? "even" : "odd"), "%ju", i);
    }
}

Test(executed, one_scope_does_not_take_the_places_of_the_others)
{
    cr_expect_eq(begin(1, 1), EXECUTED_NEW);
    finish(1, 1, 201, "kept", NULL);
    for (uint64_t key = 1; key <= 5 * SLOTS; key++) {
        cr_expect_eq(begin(2, key), EXECUTED_NEW);
        finish(2, key, 201, "{}", NULL);
    }
    cr_expect_eq(begin(1, 1), EXECUTED_DONE);
    cr_expect(body_is("kept"));
    for (uint64_t key = 5 * SLOTS - PER_SCOPE + 1; key <= 5 * SLOTS; key++)
        cr_expect_eq(begin(2, key), EXECUTED_DONE, "key %ju", (uintmax_t)key);
    cr_expect_eq(begin(2, 5 * SLOTS - PER_SCOPE), EXECUTED_NEW);
}

Test(executed, past_the_limit_the_oldest_answers_become_brief)
{
    char text[401];

    memset(text, 'x', 400);
    text[400] = '\0';
    for (uint64_t key = 1; key <= 3; key++) {
        cr_expect_eq(begin(key, key), EXECUTED_NEW);
        finish(key, key, 200, text, key == 1 ? "brief" : NULL);
    }
    cr_expect_eq(begin(1, 1), EXECUTED_DONE);
    cr_expect_eq(status, 200);
    cr_expect(body_is("brief"));
    cr_expect_eq(begin(2, 2), EXECUTED_DONE);
    cr_expect(body_is(text));
    cr_expect_eq(begin(4, 4), EXECUTED_NEW);
    finish(4, 4, 200, text, NULL);
    cr_expect_eq(begin(2, 2), EXECUTED_DONE);
    cr_expect_eq(status, 504, "what was carried out is not carried out again");
}

Test(executed, an_answer_beyond_the_limit_is_not_executed_again)
{
    static char text[MAX_BYTES + 2];

    memset(text, 'x', sizeof text - 1);
    cr_expect_eq(begin(0, 7), EXECUTED_NEW);
    finish(0, 7, 200, text, "brief");
    cr_expect_eq(begin(0, 7), EXECUTED_DONE);
    cr_expect(body_is("brief"));
}

Test(executed, a_scope_can_be_forgotten)
{
    cr_expect_eq(begin(1, 1), EXECUTED_NEW);
    finish(1, 1, 201, "{}", NULL);
    cr_expect_eq(begin(1, 2), EXECUTED_NEW);
    cr_expect_eq(begin(2, 1), EXECUTED_NEW);
    finish(2, 1, 201, "{}", NULL);
    executed_forget(executed, 1);
    cr_expect_eq(begin(1, 2), EXECUTED_RUNNING);
    cr_expect_eq(begin(1, 1), EXECUTED_NEW);
    cr_expect_eq(begin(2, 1), EXECUTED_DONE);
}
