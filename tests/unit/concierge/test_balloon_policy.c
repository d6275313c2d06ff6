/* SPDX-License-Identifier: BSD-3-Clause */
/* The balloon policy by itself: single decisions, and hosts simulated second by second.
 */
#include "core/vm/balloon.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#define MIB (INT64_C(1) << 20)
#define GIB (1024 * MIB)
#define VMS_MAX 8
#define DELAY_MAX 4
#define WAYS_TO_BE_LATE 7 /* values of sim.delay */

/* 8 GiB of RAM: the margin is a twentieth, 429496729 bytes. */
static const struct balloon_host roomy = {.total = 8 * GIB, .available = 6 * GIB};
#define MARGIN_8G (8 * GIB / 20)

static int64_t
decide_once(struct balloon_budget *budget, uint64_t ram, uint64_t available,
            uint64_t balloon)
{
    struct balloon_guest guest = {.ram = ram};
    const struct balloon_sample sample = {available, balloon};
    uint64_t target = 0;

    return balloon_decide(budget, &guest, &sample, &target) ? (int64_t)target : -1;
}

static void
host_and_guest_share_what_they_have_beyond_their_margins(void **state)
{
    struct balloon_host host = {.total = 8 * GIB, .available = MARGIN_8G + 100 * MIB};
    struct balloon_budget budget = {0};

    (void)state;
    balloon_budget_begin(&budget, &host);
    assert_int_equal(budget.above, 100 * MIB);
    /* 1400 MiB available are 1000 above critical: (1000 - 100) / 2 move. */
    assert_int_equal(decide_once(&budget, 4 * GIB, 1400 * MIB, 0), 450 * MIB);
    assert_int_equal(budget.above, 550 * MIB);
    balloon_budget_begin(&budget, &host);
    /* The guest lacks 300, but the host gives at most 10 MiB below its own margin. */
    assert_int_equal(decide_once(&budget, 4 * GIB, 100 * MIB, 300 * MIB), 190 * MIB);
}

static void
a_guest_gives_at_most_10_mib_below_its_critical_mark(void **state)
{
    struct balloon_host host = {.total = 8 * GIB, .available = 0};
    struct balloon_budget budget = {0};

    (void)state;
    balloon_budget_begin(&budget, &host);
    assert_int_equal(decide_once(&budget, 4 * GIB, 420 * MIB, 0), 30 * MIB);
    balloon_budget_begin(&budget, &host);
    /* 50 MiB below it: it gets some back, however the host is. */
    assert_int_equal(decide_once(&budget, 4 * GIB, 350 * MIB, 200 * MIB), 190 * MIB);
}

static void
nothing_is_taken_beyond_three_quarters_nor_given_back_twice(void **state)
{
    struct balloon_host poor = {.total = 8 * GIB, .available = 0};
    struct balloon_budget budget = {0};

    (void)state;
    balloon_budget_begin(&budget, &poor);
    assert_int_equal(decide_once(&budget, 4 * GIB, 4 * GIB, 2900 * MIB), 3072 * MIB);
    balloon_budget_begin(&budget, &roomy);
    assert_int_equal(decide_once(&budget, 4 * GIB, 500 * MIB, 20 * MIB), 0);
    assert_int_equal(decide_once(&budget, 4 * GIB, 500 * MIB, 0), -1); /* it is empty */
}

static void
small_changes_between_two_who_have_enough_are_left_out(void **state)
{
    struct balloon_host host = {.total = 8 * GIB, .available = MARGIN_8G + GIB};
    struct balloon_budget budget = {0};

    (void)state;
    balloon_budget_begin(&budget, &host);
    /* 10 MiB apart, so 5 would move: less than 1 % of 1 GiB. */
    assert_int_equal(decide_once(&budget, 8 * GIB, 400 * MIB + GIB + 10 * MIB, GIB), -1);
    assert_int_equal(decide_once(&budget, 8 * GIB, 400 * MIB + GIB + 30 * MIB, GIB),
                     GIB + 15 * MIB);
}

static void
the_critical_mark_follows_a_small_guest_but_not_to_nothing(void **state)
{
    struct balloon_host host = {.total = 8 * GIB, .available = 0};
    struct balloon_guest small = {.ram = 256 * MIB};
    struct balloon_sample sample = {200 * MIB, 0};
    struct balloon_budget budget = {0};
    uint64_t target;

    (void)state;
    balloon_budget_begin(&budget, &host);
    assert_false(balloon_decide(&budget, &small, &sample, &target));
    assert_int_equal(small.critical, 400 * MIB);
    sample.available = 190 * MIB;
    (void)balloon_decide(&budget, &small, &sample, &target);
    assert_int_equal(small.critical, 200 * MIB); /* the one seen before */
    for (int i = 0; i < 50; i++) {
        sample.available = 1 * MIB;
        (void)balloon_decide(&budget, &small, &sample, &target);
    }
    assert_int_equal(small.critical, 16 * MIB);
    sample.available = 500 * MIB; /* it lies: it has 256 */
    (void)balloon_decide(&budget, &small, &sample, &target);
    assert_int_equal(small.critical, 16 * MIB);
}

static void
a_host_that_stalls_counts_as_poorer_and_recovers_slowly(void **state)
{
    struct balloon_host host = roomy;
    struct balloon_budget budget = {0};
    int64_t calm, stalled;

    (void)state;
    balloon_budget_begin(&budget, &host);
    calm = budget.above;
    host.some_stalled = 200;
    balloon_budget_begin(&budget, &host);
    assert_int_equal(budget.above, calm); /* 2 % are nothing */
    host.some_stalled = 1000;
    host.all_stalled = 200;
    balloon_budget_begin(&budget, &host);
    stalled = budget.above;
    assert_int_equal(calm - stalled, 8 * GIB / 160 * 10);
    host.some_stalled = host.all_stalled = 10000;
    balloon_budget_begin(&budget, &host);
    assert_int_equal(calm - budget.above, GIB); /* an eighth at most */
    host.some_stalled = host.all_stalled = 0;
    balloon_budget_begin(&budget, &host);
    assert_true(budget.above < calm - 900 * MIB);
    for (int i = 0; i < 200; i++)
        balloon_budget_begin(&budget, &host);
    assert_int_equal(budget.above, calm);
}

static void
nobody_is_asked_while_the_host_has_more_than_guests_could_have(void **state)
{
    struct balloon_host host = {.total = 8 * GIB, .available = 6 * GIB};
    struct balloon_guest small = {.ram = GIB}, large = {.ram = 7 * GIB};
    struct balloon_budget budget = {0};

    (void)state;
    balloon_budget_begin(&budget, &host);
    assert_false(balloon_wants_look(&budget, &small));
    assert_true(balloon_wants_look(&budget, &large));
    small.balloon = 1;
    assert_true(balloon_wants_look(&budget, &small)); /* it has something to get back */
    small.balloon = 0;
    host.available = GIB;
    balloon_budget_begin(&budget, &host);
    assert_true(balloon_wants_look(&budget, &small));
}

static void
what_a_guest_has_not_begun_to_give_is_called_off(void **state)
{
    struct balloon_host host = {.total = 8 * GIB, .available = 0};
    struct balloon_guest guest = {.ram = GIB};
    struct balloon_sample sample = {900 * MIB, 0};
    struct balloon_budget budget = {0};
    uint64_t target = 0;
    unsigned looks = 0;

    (void)state;
    balloon_budget_begin(&budget, &host);
    assert_true(balloon_decide(&budget, &guest, &sample, &target));
    assert_true(target > 400 * MIB);
    balloon_budget_begin(&budget, &roomy); /* and the guest has not moved yet */
    assert_true(balloon_wants_look(&budget, &guest));
    while (!balloon_decide(&budget, &guest, &sample, &target)) {
        assert_true(balloon_wants_look(&budget, &guest));
        assert_true(++looks < 10);
        balloon_budget_begin(&budget, &roomy);
    }
    assert_int_equal(target, 0);
    balloon_budget_begin(&budget, &roomy);
    assert_false(balloon_wants_look(&budget, &guest));
}

static void
the_look_that_is_spared_would_have_changed_nothing(void **state)
{
    (void)state;
    srand(4);
    for (int i = 0; i < 100000; i++) {
        struct balloon_host host = {.total = (uint64_t)(rand() % 65536) * MIB + 1};
        struct balloon_guest guest = {.ram = (uint64_t)(rand() % 32768) * MIB + 1};
        struct balloon_sample sample = {0};
        struct balloon_budget budget = {0};
        uint64_t target;

        host.available = host.total / 100 * (uint64_t)(rand() % 101);
        sample.available = guest.ram / 100 * (uint64_t)(rand() % 101);
        balloon_budget_begin(&budget, &host);
        if (balloon_wants_look(&budget, &guest))
            continue;
        assert_false(balloon_decide(&budget, &guest, &sample, &target));
    }
}

static void
an_old_report_is_corrected_by_what_the_balloon_took_since(void **state)
{
    struct balloon_host poor = {.total = 8 * GIB, .available = 0};
    struct balloon_guest guest = {.ram = GIB};
    struct balloon_sample sample = {900 * MIB, 0};
    struct balloon_budget budget = {0};
    uint64_t target = 0;

    (void)state;
    balloon_budget_begin(&budget, &poor);
    assert_true(balloon_decide(&budget, &guest, &sample, &target));
    assert_true(target > 400 * MIB && target <= 510 * MIB);
    for (int i = 1; i < 5; i++) { /* it moves, and the guest has not reported again */
        sample.balloon = (uint64_t)i * 100 * MIB;
        balloon_budget_begin(&budget, &poor);
        assert_false(balloon_decide(&budget, &guest, &sample, &target));
        assert_int_equal(guest.previous, 900 * MIB - sample.balloon);
    }
    sample.balloon = target;
    sample.available = 10 * MIB; /* a program took the rest meanwhile */
    balloon_budget_begin(&budget, &poor);
    assert_true(balloon_decide(&budget, &guest, &sample, &target));
    assert_true(target < sample.balloon); /* a guest in need does not wait */
}

static void
absurd_numbers_stay_within_bounds(void **state)
{
    static const uint64_t odd[] = {0,         1,          UINT64_MAX, UINT64_MAX - 1,
                                   INT64_MAX, 1ull << 60, 1ull << 63, 4096};
    const size_t n = sizeof(odd) / sizeof(odd[0]);

    (void)state;
    for (size_t i = 0; i < n * n * n * n; i++) {
        struct balloon_host host = {.total = odd[i % n],
                                    .available = odd[i / n % n],
                                    .some_stalled = UINT32_MAX,
                                    .all_stalled = UINT32_MAX};
        struct balloon_guest guest = {.ram = odd[i / n / n % n]};
        struct balloon_sample sample = {odd[i / n / n / n], odd[(i + 3) % n]};
        struct balloon_budget budget = {0};
        uint64_t target = 0;

        balloon_budget_begin(&budget, &host);
        for (int step = 0; step < 3; step++)
            if (balloon_decide(&budget, &guest, &sample, &target))
                assert_true(target <= guest.ram / 4 * 3);
    }
}

/* A host with guests that fill their RAM with caches: what a balloon holds is the host's,
 * the rest is the guest's. A balloon moves at most rate bytes per second, and what the
 * guests say is delay seconds old. */
struct sim {
    int64_t host_ram, host_used, rate;
    size_t nvms;
    unsigned delay, seconds;
    int64_t ram[VMS_MAX], used[VMS_MAX]; /* used: by programs, not caches */
    int64_t balloon[VMS_MAX], target[VMS_MAX];
    int64_t said[VMS_MAX][DELAY_MAX]; /* what was available, by second modulo DELAY_MAX */
    struct balloon_guest guests[VMS_MAX];
    struct balloon_budget budget;
    /* Of the last settling window. */
    int64_t moved;
};

static int64_t
host_available(const struct sim *s)
{
    int64_t left = s->host_ram - s->host_used;

    for (size_t i = 0; i < s->nvms; i++)
        left -= s->ram[i] - s->balloon[i];
    return left < 0 ? 0 : left;
}

static int64_t
guest_available(const struct sim *s, size_t i)
{
    int64_t left = s->ram[i] - s->balloon[i] - s->used[i];

    return left < 0 ? 0 : left;
}

static void
move_balloons(struct sim *s)
{
    for (size_t i = 0; i < s->nvms; i++) {
        int64_t way = s->target[i] - s->balloon[i];

        if (way > s->rate)
            way = s->rate;
        if (way < -s->rate)
            way = -s->rate;
        if (way > guest_available(s, i)) /* the guest has no more to give */
            way = guest_available(s, i);
        s->balloon[i] += way;
        s->moved += way < 0 ? -way : way;
    }
}

/* Either each report is that old, or there is one every so many seconds only. */
static unsigned
age_of_report(const struct sim *s)
{
    if (s->delay >= DELAY_MAX)
        return s->seconds % (s->delay - DELAY_MAX + 2);
    return s->delay < s->seconds ? s->delay : s->seconds;
}

static void
sim_second(struct sim *s)
{
    /* A host with nothing left stalls. */
    struct balloon_host host = {.total = (uint64_t)s->host_ram,
                                .available = (uint64_t)host_available(s),
                                .some_stalled = host_available(s) < 64 * MIB ? 1500 : 0};

    for (size_t i = 0; i < s->nvms; i++)
        s->said[i][s->seconds % DELAY_MAX] = guest_available(s, i);
    balloon_budget_begin(&s->budget, &host);
    for (size_t i = 0; i < s->nvms; i++) {
        unsigned age = age_of_report(s);
        struct balloon_sample sample = {
            .available = (uint64_t)s->said[i][(s->seconds - age) % DELAY_MAX],
            .balloon = (uint64_t)s->balloon[i]};
        uint64_t target = 0;

        if (balloon_wants_look(&s->budget, &s->guests[i]) &&
            balloon_decide(&s->budget, &s->guests[i], &sample, &target))
            s->target[i] = (int64_t)target;
    }
    move_balloons(s);
    s->seconds++;
}

static void
sim_init(struct sim *s, int64_t host_ram, size_t nvms, int64_t vm_ram)
{
    memset(s, 0, sizeof(*s));
    s->host_ram = host_ram;
    s->rate = 200 * MIB;
    s->nvms = nvms;
    for (size_t i = 0; i < nvms; i++) {
        s->ram[i] = vm_ram;
        s->used[i] = 500 * MIB;
        s->guests[i].ram = (uint64_t)vm_ram;
    }
}

static void
sim_run(struct sim *s, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++)
        sim_second(s);
}

/* Nothing has to happen on a host where nothing happens. */
static void
expect_quiet(struct sim *s)
{
    s->moved = 0;
    sim_run(s, 200);
    assert_true(s->moved < 2 * (int64_t)s->nvms * s->host_ram / 100);
}

static void
pressure_of_the_host_takes_caches_and_gives_them_back(void **state)
{
    (void)state;
    for (unsigned delay = 0; delay < WAYS_TO_BE_LATE; delay++) {
        struct sim s;

        sim_init(&s, 16 * GIB, 2, 6 * GIB);
        s.delay = delay;
        s.host_used = 1 * GIB;
        sim_run(&s, 300);
        expect_quiet(&s);
        s.host_used = 8 * GIB; /* a compiler wants it all */
        sim_run(&s, 300);
        assert_true(host_available(&s) > 16 * GIB / 20);
        assert_true(guest_available(&s, 0) > 300 * MIB);
        assert_true(guest_available(&s, 1) > 300 * MIB);
        expect_quiet(&s);
        s.host_used = 1 * GIB;
        sim_run(&s, 300);
        assert_true(s.balloon[0] + s.balloon[1] < 2 * GIB);
        expect_quiet(&s);
    }
}

static void
pressure_of_one_guest_is_met_by_the_host_and_the_other_guest(void **state)
{
    (void)state;
    for (unsigned delay = 0; delay < WAYS_TO_BE_LATE; delay++) {
        struct sim s;

        sim_init(&s, 8 * GIB, 2, 6 * GIB);
        s.delay = delay;
        s.host_used = 1 * GIB;
        sim_run(&s, 300);
        expect_quiet(&s);
        s.used[1] = 4 * GIB;
        sim_run(&s, 300);
        assert_true(guest_available(&s, 1) > 200 * MIB);
        assert_true(s.balloon[0] > s.balloon[1] + 2 * GIB);
        expect_quiet(&s);
    }
}

static void
pressure_on_both_sides_settles_and_starves_nobody(void **state)
{
    (void)state;
    for (unsigned delay = 0; delay < WAYS_TO_BE_LATE; delay++) {
        struct sim s;

        sim_init(&s, 8 * GIB, 4, 3 * GIB);
        s.delay = delay;
        s.host_used = 2 * GIB;
        for (size_t i = 0; i < s.nvms; i++)
            s.used[i] = 1 * GIB + (int64_t)i * 100 * MIB;
        sim_run(&s, 400);
        for (size_t i = 0; i < s.nvms; i++)
            assert_true(guest_available(&s, i) > 150 * MIB);
        assert_true(host_available(&s) > 64 * MIB);
        expect_quiet(&s);
    }
}

static void
many_vms_do_not_all_take_what_is_there_once(void **state)
{
    struct sim s;

    (void)state;
    sim_init(&s, 16 * GIB, VMS_MAX, 4 * GIB);
    s.delay = 1;
    s.host_used = 9 * GIB;
    for (size_t i = 0; i < s.nvms; i++)
        s.balloon[i] = s.target[i] = 3 * GIB;
    s.host_used = 2 * GIB; /* much becomes free at once */
    for (int i = 0; i < 300; i++) {
        sim_second(&s);
        assert_true(host_available(&s) > 16 * GIB / 40);
    }
    expect_quiet(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_and_guest_share_what_they_have_beyond_their_margins),
        cmocka_unit_test(a_guest_gives_at_most_10_mib_below_its_critical_mark),
        cmocka_unit_test(nothing_is_taken_beyond_three_quarters_nor_given_back_twice),
        cmocka_unit_test(small_changes_between_two_who_have_enough_are_left_out),
        cmocka_unit_test(the_critical_mark_follows_a_small_guest_but_not_to_nothing),
        cmocka_unit_test(a_host_that_stalls_counts_as_poorer_and_recovers_slowly),
        cmocka_unit_test(nobody_is_asked_while_the_host_has_more_than_guests_could_have),
        cmocka_unit_test(what_a_guest_has_not_begun_to_give_is_called_off),
        cmocka_unit_test(the_look_that_is_spared_would_have_changed_nothing),
        cmocka_unit_test(an_old_report_is_corrected_by_what_the_balloon_took_since),
        cmocka_unit_test(absurd_numbers_stay_within_bounds),
        cmocka_unit_test(pressure_of_the_host_takes_caches_and_gives_them_back),
        cmocka_unit_test(pressure_of_one_guest_is_met_by_the_host_and_the_other_guest),
        cmocka_unit_test(pressure_on_both_sides_settles_and_starves_nobody),
        cmocka_unit_test(many_vms_do_not_all_take_what_is_there_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
