/* SPDX-License-Identifier: BSD-3-Clause */
/* When polling begins, when it ends, and what a try in vain costs. */
#include "platform/linux/os/spin_internal.h"
#include "tests/unit/test.h"

static void
come(struct os_spin *spin, unsigned n, uint64_t pause_ns)
{
    for (unsigned i = 0; i < n; i++)
        os_spin_event(spin, pause_ns);
}

/* Returns how many quick events it takes until polling begins. */
static unsigned
begin(struct os_spin *spin)
{
    unsigned n = 0;

    while (!os_spin_wants(spin) && n < 100000) {
        os_spin_event(spin, 1000);
        n++;
    }
    return n;
}

static void
events_in_quick_succession_make_it_poll(void **state)
{
    struct os_spin spin;

    (void)state;
    os_spin_init(&spin, 2);
    assert_false(os_spin_wants(&spin));
    assert_int_equal(begin(&spin), OS_SPIN_NEED_MIN);
    come(&spin, 1000, OS_SPIN_NS);
    assert_true(os_spin_wants(&spin));
}

static void
one_long_pause_begins_the_count_anew(void **state)
{
    struct os_spin spin;

    (void)state;
    os_spin_init(&spin, 2);
    for (int i = 0; i < 100; i++) {
        come(&spin, OS_SPIN_NEED_MIN - 1, 1000);
        come(&spin, 1, OS_SPIN_NS + 1);
        assert_false(os_spin_wants(&spin));
    }
    assert_int_equal(begin(&spin), OS_SPIN_NEED_MIN);
}

static void
tries_that_do_not_pay_become_rare(void **state)
{
    unsigned need = OS_SPIN_NEED_MIN;
    struct os_spin spin;

    (void)state;
    os_spin_init(&spin, 2);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(begin(&spin), need);
        come(&spin, OS_SPIN_PAID - 1, 1000); /* too few */
        os_spin_in_vain(&spin);
        assert_false(os_spin_wants(&spin));
        need = need < OS_SPIN_NEED_MAX ? need * 2 : OS_SPIN_NEED_MAX;
    }
    assert_int_equal(need, OS_SPIN_NEED_MAX);
    /* One that pays makes up for all. */
    (void)begin(&spin);
    come(&spin, OS_SPIN_PAID, 1000);
    os_spin_in_vain(&spin);
    assert_int_equal(begin(&spin), OS_SPIN_NEED_MIN);
}

static void
one_core_never_polls(void **state)
{
    struct os_spin spin;

    (void)state;
    os_spin_init(&spin, 1);
    come(&spin, 100000, 1);
    assert_false(os_spin_wants(&spin));
    os_spin_init(&spin, -1); /* not known */
    come(&spin, 100000, 1);
    assert_false(os_spin_wants(&spin));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_in_quick_succession_make_it_poll),
        cmocka_unit_test(one_long_pause_begins_the_count_anew),
        cmocka_unit_test(tries_that_do_not_pay_become_rare),
        cmocka_unit_test(one_core_never_polls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
