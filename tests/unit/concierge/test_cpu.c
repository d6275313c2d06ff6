/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups, weights, processors and memory of VMs that start. */
#include <errno.h>
#include <string.h>

#include "core/concierge/service.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define FOREGROUND VM_TOOLS__CONCIERGE__CPU_RESTRICTION_STATE__CPU_RESTRICTION_FOREGROUND
#define BACKGROUND VM_TOOLS__CONCIERGE__CPU_RESTRICTION_STATE__CPU_RESTRICTION_BACKGROUND
#define WITH_QUOTA                                                                       \
    VM_TOOLS__CONCIERGE__CPU_RESTRICTION_STATE__CPU_RESTRICTION_BACKGROUND_WITH_CFS_QUOTA_ENFORCED

/* The first directory of a world, and so the first group. */
#define FIRST "vm.000000"
#define SECOND "vm.000001"

static bool
restrict_cpus(struct world *w, int class, int to, char *why, size_t cap)
{
    VmTools__Concierge__SetVmCpuRestrictionRequest request;
    const VmTools__Concierge__SetVmCpuRestrictionResponse *r;
    struct client_call call;
    bool success;

    vm_tools__concierge__set_vm_cpu_restriction_request__init(&request);
    request.cpu_cgroup = (VmTools__Concierge__CpuCgroup) class;
    request.cpu_restriction_state = (VmTools__Concierge__CpuRestrictionState)to;
    client_call(w, "SetVmCpuRestriction", WORLD_UID, &request.base, NULL, 0, &call);
    assert_int_equal(call.answers, 1);
    r = (const VmTools__Concierge__SetVmCpuRestrictionResponse *)call.reply;
    success = r->success;
    (void)strncpy(why, r->failure_reason, cap - 1);
    client_call_done(&call);
    return success;
}

static void
expect_restricted(struct world *w, int to)
{
    char why[256] = "";

    assert_true(restrict_cpus(w, 0, to, why, sizeof(why)));
}

/* weight_in_force: what GetVmInfo says. */
static uint32_t
weight_in_force(struct world *w, const char *name)
{
    VmTools__Concierge__GetVmInfoRequest request;
    struct client_call call;
    uint32_t weight;

    vm_tools__concierge__get_vm_info_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "GetVmInfo", WORLD_UID, &request.base, NULL, 0, &call);
    weight =
        ((const VmTools__Concierge__GetVmInfoResponse *)call.reply)->vm_info->cpu_weight;
    client_call_done(&call);
    return weight;
}

static void
a_vm_has_a_group_from_its_first_process_to_its_last(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    assert_int_equal(fake_host_group_weight(w.host, FIRST), 100);
    assert_int_equal(weight_in_force(&w, "a"), 100);
    assert_true(fake_process_start(fake_hypervisor_find(w.hv, "a"))->cgroup_fd > 0);
    world_stop_vm(&w, "a", g);
    assert_int_equal(fake_host_groups(w.host), 0);
    world_done(&w);
}

static void
a_host_without_groups_runs_vms_all_the_same(void **state)
{
    char why[256] = "";
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_host_set_groups(w.host, EACCES, 0);
    g = world_run_vm(&w, "a");
    assert_int_equal(weight_in_force(&w, "a"), 0);
    assert_true(fake_process_start(fake_hypervisor_find(w.hv, "a"))->cgroup_fd < 1);
    assert_false(restrict_cpus(&w, 0, BACKGROUND, why, sizeof(why)));
    assert_non_null(strstr(why, "no groups"));
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
a_restriction_holds_for_all_vms_also_later_ones_until_it_ends(void **state)
{
    struct world w;
    struct guest *a, *b;

    (void)state;
    world_init(&w);
    a = world_run_vm(&w, "a");
    expect_restricted(&w, BACKGROUND);
    assert_int_equal(fake_host_group_weight(w.host, FIRST), 6); /* 100 * 64 / 1024 */
    b = world_run_vm(&w, "b");
    assert_int_equal(fake_host_group_weight(w.host, SECOND), 6);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    world_run(&w, 1000);
    assert_int_equal(weight_in_force(&w, "b"), 6);
    expect_restricted(&w, FOREGROUND);
    assert_int_equal(fake_host_group_weight(w.host, FIRST), 100);
    assert_int_equal(fake_host_group_weight(w.host, SECOND), 100);
    world_stop_vm(&w, "a", a);
    world_stop_vm(&w, "b", b);
    world_done(&w);
}

static void
other_classes_are_empty_and_a_quota_is_refused(void **state)
{
    char why[256] = "";
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "a");
    assert_true(restrict_cpus(&w, 1, BACKGROUND, why, sizeof(why)));
    assert_true(restrict_cpus(&w, 2, BACKGROUND, why, sizeof(why)));
    assert_int_equal(fake_host_group_weight(w.host, FIRST), 100);
    assert_false(restrict_cpus(&w, 0, WITH_QUOTA, why, sizeof(why)));
    assert_non_null(strstr(why, "Android"));
    assert_false(restrict_cpus(&w, 3, BACKGROUND, why, sizeof(why)));
    assert_false(restrict_cpus(&w, -1, BACKGROUND, why, sizeof(why)));
    assert_int_equal(fake_host_group_weight(w.host, FIRST), 100);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

/* Start with args and see it run. */
static struct guest *
run_vm(struct world *w, struct start_args *args, const char *name)
{
    struct client_call call;
    struct rpc_status status;
    struct guest *g;
    int answers;

    client_start(w, args, &call);
    world_run(w, 100);
    g = guest_new(w, fake_process_start(fake_hypervisor_find(w->hv, name))->cid);
    guest_power_off_on_shutdown(g, name);
    guest_call_ready(g, &status, &answers);
    world_run(w, 1000);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    return g;
}

static void
a_weight_of_its_own_survives_the_daemon(void **state)
{
    struct start_args args;
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    start_args_init(&args, "a");
    args.request.cpu_weight = 400;
    args.request.hugepages = true;
    g = run_vm(&w, &args, "a");
    assert_int_equal(fake_host_group_weight(w.host, FIRST), 400);
    assert_true(fake_process_start(fake_hypervisor_find(w.hv, "a"))->hugepages);
    world_kill_daemon(&w);
    world_start_daemon(&w);
    expect_restricted(&w, BACKGROUND);
    assert_int_equal(fake_host_group_weight(w.host, FIRST), 25);
    world_stop_vm(&w, "a", g);
    world_done(&w);
}

static void
groups_of_no_vm_are_removed_however_long_they_take(void **state)
{
    struct world w;
    struct guest *g;

    (void)state;
    world_init(&w);
    world_kill_daemon(&w);
    fake_host_add_group(w.host, "vm.lost");
    world_start_daemon(&w);
    assert_int_equal(fake_host_groups(w.host), 0);
    g = world_run_vm(&w, "a");
    fake_host_set_groups(w.host, 0, 3);
    world_stop_vm(&w, "a", g);
    world_run(&w, 1000);
    world_done(&w);
}

static const VmTools__Concierge__StartVmResponse *
refused(struct world *w, struct start_args *args, struct client_call *call)
{
    client_start(w, args, call);
    assert_false(start_reply(call)->success);
    return start_reply(call);
}

static void
what_a_host_does_not_have_is_refused(void **state)
{
    struct client_call call;
    struct start_args args;
    struct world w;

    (void)state;
    world_init(&w);
    start_args_init(&args, "a");
    args.request.cpu_weight = 10001;
    assert_non_null(strstr(refused(&w, &args, &call)->failure_reason, "10001"));
    client_call_done(&call);
    start_args_init(&args, "a");
    args.request.memory_mib = 8193;
    assert_non_null(strstr(refused(&w, &args, &call)->failure_reason, "8193 MiB"));
    client_call_done(&call);
    start_args_init(&args, "a");
    args.request.memory_mib = 63;
    assert_non_null(strstr(refused(&w, &args, &call)->failure_reason, "63 MiB"));
    client_call_done(&call);
    world_done(&w);
}

static void
defaults_follow_the_quota_and_what_other_vms_were_promised(void **state)
{
    struct start_args args;
    struct world w;
    struct guest *a, *b;

    (void)state;
    world_init(&w);
    fake_host_set_cpu_limit(w.host, 3);
    start_args_init(&args, "a");
    args.request.memory_mib = 0;
    args.request.cpus = 0;
    a = run_vm(&w, &args, "a");
    assert_int_equal(fake_process_start(fake_hypervisor_find(w.hv, "a"))->vcpus, 3);
    assert_int_equal(fake_process_start(fake_hypervisor_find(w.hv, "a"))->mem_mib, 7168);
    start_args_init(&args, "b");
    args.request.memory_mib = 0;
    b = run_vm(&w, &args, "b");
    assert_int_equal(fake_process_start(fake_hypervisor_find(w.hv, "b"))->mem_mib, 1792);
    world_stop_vm(&w, "a", a);
    world_stop_vm(&w, "b", b);
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vm_has_a_group_from_its_first_process_to_its_last),
        cmocka_unit_test(a_host_without_groups_runs_vms_all_the_same),
        cmocka_unit_test(a_restriction_holds_for_all_vms_also_later_ones_until_it_ends),
        cmocka_unit_test(other_classes_are_empty_and_a_quota_is_refused),
        cmocka_unit_test(a_weight_of_its_own_survives_the_daemon),
        cmocka_unit_test(groups_of_no_vm_are_removed_however_long_they_take),
        cmocka_unit_test(what_a_host_does_not_have_is_refused),
        cmocka_unit_test(defaults_follow_the_quota_and_what_other_vms_were_promised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
