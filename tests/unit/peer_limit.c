/* peer_limit.c - who guesses is told to wait; others are not. */
#include "daemon/peer_limit.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define S INT64_C(1000000000)

static struct peer_limit limit;
static bool is_first;

static unsigned
fail_at(const char *address, int64_t now_ns)
{
    return peer_limit_failed(&limit, address, now_ns, &is_first);
}

static void
set_up(void)
{
    peer_limit_init(&limit);
}

static void
tear_down(void)
{
    peer_limit_done(&limit);
}

TestSuite(peer_limit, .init = set_up, .fini = tear_down);

Test(peer_limit, one_failure_too_many_blocks_for_a_while_and_is_told_once)
{
    for (int i = 0; i < PEER_LIMIT_FAILURES; i++)
        cr_assert_eq(fail_at("10.0.0.1", 100 * S + i), 0, "%d", i);
    cr_expect_eq(fail_at("10.0.0.1", 101 * S), PEER_LIMIT_BLOCK_S);
    cr_expect(is_first);
    cr_expect_eq(fail_at("10.0.0.1", 102 * S), PEER_LIMIT_BLOCK_S - 1);
    cr_expect_not(is_first);
    cr_expect_eq(fail_at("10.0.0.2", 102 * S), 0, "another peer");
    cr_expect_eq(fail_at("10.0.0.1", 101 * S + PEER_LIMIT_BLOCK_S * S), 0, "it is over");
}

Test(peer_limit, failures_far_apart_are_no_attack)
{
    for (int i = 0; i < 10 * PEER_LIMIT_FAILURES; i++)
        cr_assert_eq(fail_at("10.0.0.1", i * S), 0, "%d", i);
}

Test(peer_limit, many_peers_do_not_make_it_forget_the_one_that_goes_on)
{
    char address[32];

    for (int i = 0; i < PEER_LIMIT_FAILURES; i++) {
        cr_assert_eq(fail_at("10.0.0.1", 100 * S + i), 0);
        snprintf(address, sizeof address, "10.1.%d.%d", i / 200, i % 200);
        cr_assert_eq(fail_at(address, 100 * S + i), 0);
    }
    cr_expect_gt(fail_at("10.0.0.1", 101 * S), 0);
}

Test(peer_limit, an_address_longer_than_its_place_is_cut_and_no_harm)
{
    char address[200];

    for (size_t i = 0; i < sizeof address - 1; i++)
        address[i] = 'f';
    address[sizeof address - 1] = '\0';
    for (int i = 0; i < PEER_LIMIT_FAILURES; i++)
        cr_assert_eq(fail_at(address, 100 * S), 0);
    cr_expect_gt(fail_at(address, 100 * S), 0);
}
