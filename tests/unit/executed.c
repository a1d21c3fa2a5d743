/* executed.c - a request that comes twice is executed once. */
#include "ingestd/executed.h"

#include <criterion/criterion.h>
#include <string.h>

static struct executed executed; /* too large for a stack */

static enum executed_state
begin(uint64_t request_id, uint16_t *out_status, struct ts_text *out_body)
{
    ts_text_clear(out_body);
    return executed_begin(&executed, request_id, out_status, out_body);
}

static void
finish(uint64_t request_id, uint16_t status, const char *text)
{
    struct ts_text body;

    ts_text_init(&body);
    ts_text_puts(&body, text);
    executed_finish(&executed, request_id, status, &body);
    ts_text_done(&body);
}

Test(executed, the_second_gets_the_answer_of_the_first)
{
    struct ts_text body;
    uint16_t status = 0;

    executed_init(&executed);
    ts_text_init(&body);
    cr_expect_eq(begin(7, &status, &body), EXECUTED_NEW);
    cr_expect_eq(begin(7, &status, &body), EXECUTED_RUNNING);
    finish(7, 201, "{\"timestamp\":5}");
    cr_expect_eq(begin(7, &status, &body), EXECUTED_DONE);
    cr_expect_eq(status, 201);
    cr_expect_eq(body.bytes, 15);
    cr_expect_arr_eq(body.at, "{\"timestamp\":5}", 15);
    ts_text_done(&body);
    executed_done(&executed);
}

Test(executed, what_was_refused_may_be_tried_again)
{
    struct ts_text body;
    uint16_t status = 0;

    executed_init(&executed);
    ts_text_init(&body);
    cr_expect_eq(begin(7, &status, &body), EXECUTED_NEW);
    finish(7, 409, "{}");
    cr_expect_eq(begin(7, &status, &body), EXECUTED_NEW);
    ts_text_done(&body);
    executed_done(&executed);
}

Test(executed, a_request_without_an_id_is_always_new)
{
    struct ts_text body;
    uint16_t status = 0;

    executed_init(&executed);
    ts_text_init(&body);
    cr_expect_eq(begin(0, &status, &body), EXECUTED_NEW);
    finish(0, 201, "{}");
    cr_expect_eq(begin(0, &status, &body), EXECUTED_NEW);
    ts_text_done(&body);
    executed_done(&executed);
}

Test(executed, the_oldest_are_forgotten_but_never_a_running_one)
{
    struct ts_text body;
    uint16_t status = 0;

    executed_init(&executed);
    ts_text_init(&body);
    cr_expect_eq(begin(1, &status, &body), EXECUTED_NEW);
    for (uint64_t id = 2; id <= 2 + EXECUTED_SLOTS; id++) {
        cr_expect_eq(begin(id, &status, &body), EXECUTED_NEW);
        finish(id, 201, "{}");
    }
    cr_expect_eq(begin(1, &status, &body), EXECUTED_RUNNING);
    cr_expect_eq(begin(2 + EXECUTED_SLOTS, &status, &body), EXECUTED_DONE);
    cr_expect_eq(begin(2, &status, &body), EXECUTED_NEW);
    ts_text_done(&body);
    executed_done(&executed);
}

Test(executed, an_answer_too_long_to_keep_is_not_kept_in_part)
{
    char text[EXECUTED_BODY_BYTES + 2];
    struct ts_text body;
    uint16_t status = 0;

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    executed_init(&executed);
    ts_text_init(&body);
    cr_expect_eq(begin(7, &status, &body), EXECUTED_NEW);
    finish(7, 201, text);
    cr_expect_eq(begin(7, &status, &body), EXECUTED_NEW);
    ts_text_done(&body);
    executed_done(&executed);
}
