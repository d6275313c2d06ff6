/* SPDX-License-Identifier: BSD-3-Clause */
/* ReclaimVmMemory: who does the work, how long, and what is told. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "core/concierge/service.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define MIB (UINT64_C(1) << 20)

static void
reclaim(struct world *w, const char *name, int32_t pages, struct client_call *call)
{
    VmTools__Concierge__ReclaimVmMemoryRequest request;

    vm_tools__concierge__reclaim_vm_memory_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    request.page_limit = pages;
    client_call(w, "ReclaimVmMemory", WORLD_UID, &request.base, NULL, 0, call);
}

static void
expect_failure(struct client_call *call, const char *words)
{
    const VmTools__Concierge__ReclaimVmMemoryResponse *r =
        (const VmTools__Concierge__ReclaimVmMemoryResponse *)call->reply;

    assert_int_equal(call->answers, 1);
    assert_false(r->success);
    if (!strstr(r->failure_reason, words))
        fail_msg("\"%s\" lacks \"%s\"", r->failure_reason, words);
    client_call_done(call);
}

static void
what_the_hypervisor_has_less_is_told(void **state)
{
    const VmTools__Concierge__ReclaimVmMemoryResponse *r;
    struct client_call call, second;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    fake_host_set_resident(w.host, 200 * MIB);
    reclaim(&w, "a", 0, &call);
    assert_int_equal(call.answers, 0); /* a child does it */
    reclaim(&w, "a", 0, &second);
    expect_failure(&second, "already");
    fake_host_set_resident(w.host, 150 * MIB);
    assert_int_equal(fake_spawn_exit(w.spawn, w.helper, SPAWN_EXIT_CODE, 0), 0);
    world_run(&w, 100);
    assert_int_equal(call.answers, 1);
    r = (const VmTools__Concierge__ReclaimVmMemoryResponse *)call.reply;
    assert_true(r->success);
    assert_int_equal(r->reclaimed_bytes, 50 * MIB);
    client_call_done(&call);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
what_cannot_work_says_why(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    reclaim(&w, "a", 0, &call);
    expect_failure(&call, "no such VM");
    g = world_run_vm(&w, "a");
    reclaim(&w, "a", -1, &call);
    expect_failure(&call, "negative");
    reclaim(&w, "a", 7, &call);
    assert_int_equal(fake_spawn_exit(w.spawn, w.helper, SPAWN_EXIT_CODE, EPERM), 0);
    world_run(&w, 100);
    expect_failure(&call, "CAP_SYS_NICE");
    reclaim(&w, "a", 7, &call);
    assert_int_equal(fake_spawn_exit(w.spawn, w.helper, SPAWN_EXIT_CODE, 0), 0);
    world_run(&w, 100);
    expect_failure(&call, "swap");
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
a_kernel_that_takes_long_is_given_10_seconds(void **state)
{
    const VmTools__Concierge__ReclaimVmMemoryResponse *r;
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    fake_host_set_resident(w.host, 200 * MIB);
    reclaim(&w, "a", 0, &call);
    fake_host_set_resident(w.host, 190 * MIB);
    world_run(&w, 9900);
    assert_int_equal(call.answers, 0);
    world_run(&w, 200);
    assert_int_equal(call.answers, 1);
    r = (const VmTools__Concierge__ReclaimVmMemoryResponse *)call.reply;
    assert_true(r->success); /* part of it was done */
    assert_int_equal(r->reclaimed_bytes, 10 * MIB);
    client_call_done(&call);
    world_stop_vm(&w, "a", g);
    world_done(&w); /* and the child was ended */
}

static void
a_vm_that_ends_ends_the_work(void **state)
{
    struct client_call call;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    reclaim(&w, "a", 0, &call);
    world_stop_vm(&w, "a", g);
    expect_failure(&call, "ended");
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_hypervisor_has_less_is_told),
        cmocka_unit_test(what_cannot_work_says_why),
        cmocka_unit_test(a_kernel_that_takes_long_is_given_10_seconds),
        cmocka_unit_test(a_vm_that_ends_ends_the_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
