/* SPDX-License-Identifier: BSD-3-Clause */
/* Balloons of VMs that run: who is asked, when, and what is set. */
#include <errno.h>
#include <string.h>

#include "core/concierge/service.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define MIB (UINT64_C(1) << 20)

/* A host in need: every guest is asked and gives. */
static const struct host_memory poor = {.total = 8192 * MIB, .available = 64 * MIB};
static const struct host_memory rich = {.total = 8192 * MIB, .available = 8000 * MIB};

static struct fake_process *
process_of(struct world *w, const char *name)
{
    struct fake_process *p = fake_hypervisor_find(w->hv, name);

    assert_non_null(p);
    return p;
}

/* VMs of the world have 256 MiB. */
static void
guest_has(struct world *w, const char *name, uint64_t available)
{
    const struct hypervisor_memory memory = {.total = 256 * MIB,
                                             .free = available / 2,
                                             .available = available / 3 * 2,
                                             .caches = available - available / 2};

    fake_process_set_memory(process_of(w, name), &memory);
}

static unsigned
asked(struct world *w)
{
    return fake_hypervisor_calls(w->hv)->ops[FAKE_OP_MEMORY];
}

static void
info(struct world *w, const char *name, struct client_call *call)
{
    VmTools__Concierge__GetBalloonInfoRequest request;

    vm_tools__concierge__get_balloon_info_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "GetBalloonInfo", WORLD_UID, &request.base, NULL, 0, call);
}

static const VmTools__Concierge__GetBalloonInfoResponse *
info_reply(const struct client_call *call)
{
    assert_int_equal(call->answers, 1);
    assert_false(call->failed);
    return (const VmTools__Concierge__GetBalloonInfoResponse *)call->reply;
}

static void
set_timer(struct world *w, uint64_t ms)
{
    VmTools__Concierge__SetBalloonTimerRequest request;
    struct client_call call;

    vm_tools__concierge__set_balloon_timer_request__init(&request);
    request.timer_interval_millis = ms;
    client_call(w, "SetBalloonTimer", WORLD_UID, &request.base, NULL, 0, &call);
    assert_int_equal(call.answers, 1);
    assert_true(
        ((const VmTools__Concierge__SuccessFailureResponse *)call.reply)->success);
    client_call_done(&call);
}

static void
a_host_in_need_takes_memory_and_gives_it_back(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    guest_has(&w, "a", 200 * MIB);
    fake_host_set_memory(w.host, &poor);
    world_run(&w, 30000);
    assert_true(fake_process_balloon(process_of(&w, "a")) > 0);
    assert_true(fake_process_balloon(process_of(&w, "a")) <= 192 * MIB);
    fake_host_set_memory(w.host, &rich);
    guest_has(&w, "a", 50 * MIB);
    world_run(&w, 60000);
    assert_int_equal(fake_process_balloon(process_of(&w, "a")), 0);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

/* Its guest is about to give, and has not begun. Returns what it shall give. */
static uint64_t
want_of_a_slow_guest(struct world *w)
{
    guest_has(w, "a", 200 * MIB);
    fake_process_stick_balloon(process_of(w, "a"), true);
    fake_host_set_memory(w->host, &poor);
    for (int i = 0; i < 30 && fake_process_balloon(process_of(w, "a")) == 0; i++)
        world_run(w, 1000);
    return fake_process_balloon(process_of(w, "a"));
}

static void
a_need_that_is_over_before_the_guest_gives_is_called_off(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    assert_true(want_of_a_slow_guest(&w) > 0);
    fake_host_set_memory(w.host, &rich);
    world_run(&w, 500);
    fake_process_stick_balloon(process_of(&w, "a"), false); /* it gives it all at once */
    world_run(&w, 60000);
    assert_int_equal(fake_process_balloon(process_of(&w, "a")), 0);
    assert_true(want_of_a_slow_guest(&w) > 0);
    fake_host_set_memory(w.host, &rich);
    world_run(&w, 60000); /* it still has not begun */
    assert_int_equal(fake_process_balloon(process_of(&w, "a")), 0);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
the_next_daemon_calls_off_what_the_last_asked_for(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    assert_true(want_of_a_slow_guest(&w) > 0);
    world_kill_daemon(&w);
    fake_host_set_memory(w.host, &rich);
    world_start_daemon(&w);
    world_run(&w, 60000);
    assert_int_equal(fake_process_balloon(process_of(&w, "a")), 0);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
what_the_hypervisor_did_not_do_is_asked_for_again(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    assert_true(want_of_a_slow_guest(&w) > 0);
    fake_hypervisor_behaviour(w.hv)->fail[FAKE_OP_BALLOON_SET] = EIO;
    fake_host_set_memory(w.host, &rich);
    world_run(&w, 60000);
    assert_true(fake_process_balloon(process_of(&w, "a")) > 0);
    fake_hypervisor_behaviour(w.hv)->fail[FAKE_OP_BALLOON_SET] = 0;
    world_run(&w, 60000);
    assert_int_equal(fake_process_balloon(process_of(&w, "a")), 0);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
a_rich_host_asks_a_small_guest_once_and_an_empty_daemon_nobody(void **state)
{
    struct world w;
    struct guest *g;
    unsigned before;

    (void)state;
    world_init(&w);
    fake_host_set_memory(w.host, &rich);
    g = world_run_vm(&w, "a");
    guest_has(&w, "a", 200 * MIB);
    world_run(&w, 10000); /* the first look, which tells what its balloon holds */
    before = asked(&w);
    assert_true(before > 0);
    world_run(&w, 60000);
    assert_int_equal(asked(&w), before);
    world_stop_vm(&w, "a", g);
    world_run(&w, 10000);
    assert_int_equal(fake_clock_pending(w.clock), 0); /* the timer rests, too */
    world_done(&w);
}

static void
a_guest_without_statistics_is_asked_more_and_more_rarely(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_host_set_memory(w.host, &poor);
    g = world_run_vm(&w, "a");
    world_run(&w, 100000);
    assert_true(asked(&w) >= 5);
    assert_true(asked(&w) <= 12);
    guest_has(&w, "a", 200 * MIB); /* its driver is there at last */
    world_run(&w, 20000);
    assert_true(fake_process_balloon(process_of(&w, "a")) > 0);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
a_hypervisor_that_hangs_is_asked_once_and_delays_nobody(void **state)
{
    struct world w;
    struct guest *a, *b;
    unsigned before;

    (void)state;
    world_init(&w);
    a = world_run_vm(&w, "a");
    b = world_run_vm(&w, "b");
    guest_has(&w, "b", 200 * MIB);
    fake_process_freeze(process_of(&w, "a"));
    fake_host_set_memory(w.host, &poor);
    world_run(&w, 20000);
    assert_true(fake_process_balloon(process_of(&w, "b")) > 0);
    before = asked(&w);
    world_run(&w, 5000);
    assert_in_range(asked(&w) - before, 4, 6); /* of b only */
    fake_process_thaw(process_of(&w, "a"));
    world_stop_vm(&w, "a", a);
    world_stop_vm(&w, "b", b);
    world_done(&w);
}

static void
the_balloon_is_told_in_bytes(void **state)
{
    const VmTools__Concierge__GetBalloonInfoResponse *r;
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    guest_has(&w, "a", 240 * MIB);
    info(&w, "a", &call);
    assert_int_equal(call.answers, 0); /* it comes from the guest */
    world_run(&w, 50);
    r = info_reply(&call);
    assert_true(r->success);
    assert_int_equal(r->balloon_info->available_memory, 160 * MIB);
    assert_int_equal(r->balloon_info->free_memory, 120 * MIB);
    assert_int_equal(r->balloon_info->balloon_size, 0);
    client_call_done(&call);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
what_cannot_be_told_has_a_reason(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    set_timer(&w, 0); /* nothing to stop */
    info(&w, "a", &call);
    assert_false(info_reply(&call)->success);
    assert_string_equal(info_reply(&call)->failure_reason, "there is no such VM");
    client_call_done(&call);
    g = world_run_vm(&w, "a");
    info(&w, "a", &call);
    world_run(&w, 100);
    assert_false(info_reply(&call)->success);
    assert_non_null(strstr(info_reply(&call)->failure_reason, "not reported"));
    client_call_done(&call);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
a_sample_of_late_answers_for_a_hypervisor_that_is_slow(void **state)
{
    struct client_call call, second;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    fake_process_freeze(process_of(&w, "a"));
    info(&w, "a", &call);
    world_run(&w, 1900);
    assert_int_equal(call.answers, 0);
    world_run(&w, 200); /* there never was one */
    assert_false(info_reply(&call)->success);
    client_call_done(&call);
    fake_process_thaw(process_of(&w, "a"));
    guest_has(&w, "a", 240 * MIB);
    world_run(&w, 40000);
    info(&w, "a", &call);
    world_run(&w, 50);
    assert_true(info_reply(&call)->success);
    client_call_done(&call);
    fake_process_freeze(process_of(&w, "a"));
    info(&w, "a", &call);
    info(&w, "a", &second);
    world_run(&w, 150);
    assert_true(info_reply(&call)->success);
    assert_true(info_reply(&second)->success);
    client_call_done(&call);
    client_call_done(&second);
    fake_process_thaw(process_of(&w, "a"));
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
who_waits_for_a_vm_that_ends_is_answered(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    fake_process_freeze(process_of(&w, "a"));
    info(&w, "a", &call);
    fake_process_exit(process_of(&w, "a"), HYPERVISOR_EXIT_KILLED, NULL);
    world_run(&w, 1000);
    assert_false(info_reply(&call)->success);
    assert_string_not_equal(info_reply(&call)->failure_reason, "");
    client_call_done(&call);
    guest_free(g);
    world_done(&w);
}

static void
the_timer_can_be_set_and_stopped_and_the_next_daemon_keeps_it(void **state)
{
    struct world w;
    struct guest *g;
    unsigned before;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    guest_has(&w, "a", 200 * MIB);
    fake_host_set_memory(w.host, &poor);
    world_run(&w, 20000);
    set_timer(&w, 5000);
    before = asked(&w);
    world_run(&w, 50000);
    assert_in_range(asked(&w) - before, 9, 10);
    set_timer(&w, 0);
    before = asked(&w);
    world_run(&w, 20000);
    assert_int_equal(asked(&w), before);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    world_run(&w, 20000);
    assert_int_equal(asked(&w), before);
    set_timer(&w, 1); /* as often as is sane */
    world_run(&w, 2000);
    assert_in_range(asked(&w) - before, 5, 10);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
the_next_daemon_goes_on_with_the_balloons_of_the_last(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    guest_has(&w, "a", 200 * MIB);
    fake_host_set_memory(w.host, &poor);
    world_run(&w, 30000);
    assert_true(fake_process_balloon(process_of(&w, "a")) > 0);
    world_kill_daemon(&w);
    fake_host_set_memory(w.host, &rich); /* nobody would have to be asked */
    world_start_daemon(&w);
    world_run(&w, 60000);
    assert_int_equal(fake_process_balloon(process_of(&w, "a")), 0);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_in_need_takes_memory_and_gives_it_back),
        cmocka_unit_test(a_need_that_is_over_before_the_guest_gives_is_called_off),
        cmocka_unit_test(the_next_daemon_calls_off_what_the_last_asked_for),
        cmocka_unit_test(what_the_hypervisor_did_not_do_is_asked_for_again),
        cmocka_unit_test(a_rich_host_asks_a_small_guest_once_and_an_empty_daemon_nobody),
        cmocka_unit_test(a_guest_without_statistics_is_asked_more_and_more_rarely),
        cmocka_unit_test(a_hypervisor_that_hangs_is_asked_once_and_delays_nobody),
        cmocka_unit_test(the_balloon_is_told_in_bytes),
        cmocka_unit_test(what_cannot_be_told_has_a_reason),
        cmocka_unit_test(a_sample_of_late_answers_for_a_hypervisor_that_is_slow),
        cmocka_unit_test(who_waits_for_a_vm_that_ends_is_answered),
        cmocka_unit_test(the_timer_can_be_set_and_stopped_and_the_next_daemon_keeps_it),
        cmocka_unit_test(the_next_daemon_goes_on_with_the_balloons_of_the_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
