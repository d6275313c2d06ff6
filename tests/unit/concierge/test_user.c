/* SPDX-License-Identifier: BSD-3-Clause */
/* Questions to the guest: SetUpVmUser, GetVmEnterpriseReportingInfo; and the check of the
 * processor. */
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

static void
set_up_user(struct world *w, const char *name, struct client_call *call)
{
    VmTools__Concierge__SetUpVmUserRequest request;

    vm_tools__concierge__set_up_vm_user_request__init(&request);
    request.vm_name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    request.username = (char *)(uintptr_t) "user";
    client_call(w, "SetUpVmUser", WORLD_UID, &request.base, NULL, 0, call);
    world_run(w, 1000);
}

static const VmTools__Concierge__SetUpVmUserResponse *
user_reply(const struct client_call *call)
{
    assert_int_equal(call->answers, 1);
    assert_false(call->failed);
    return (const VmTools__Concierge__SetUpVmUserResponse *)call->reply;
}

static void
report(struct world *w, const char *name, struct client_call *call)
{
    VmTools__Concierge__GetVmEnterpriseReportingInfoRequest request;

    vm_tools__concierge__get_vm_enterprise_reporting_info_request__init(&request);
    request.vm_name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(w, "GetVmEnterpriseReportingInfo", WORLD_UID, &request.base, NULL, 0,
                call);
    world_run(w, 1000);
    assert_int_equal(call->answers, 1);
    assert_false(call->failed);
}

static void
end(struct world *w, struct guest *g)
{
    struct client_call call;

    client_stop(w, "demo", &call);
    world_run(w, 5000);
    client_call_done(&call);
    guest_free(g);
    world_done(w);
}

static void
the_guests_answer_about_an_account_is_passed_on_harmless(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    set_up_user(&w, "demo", &call);
    assert_false(user_reply(&call)->success);
    assert_non_null(strstr(user_reply(&call)->failure_reason, "no VM"));
    client_call_done(&call);
    g = world_run_vm(&w, "demo");
    set_up_user(&w, "demo", &call);
    assert_false(user_reply(&call)->success);
    assert_string_equal(user_reply(&call)->username, "other");
    assert_null(strchr(user_reply(&call)->failure_reason, '\x1b'));
    client_call_done(&call);
    end(&w, g);
}

/* A guest that does not answer costs its caller the deadline, and nobody else anything.
 */
static void
a_mute_guest_is_given_up(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "demo");
    guest_set(g, "SetUpUser", GUEST_IGNORES);
    set_up_user(&w, "demo", &call);
    assert_int_equal(call.answers, 0);
    world_run(&w, 20000);
    assert_false(user_reply(&call)->success);
    assert_non_null(strstr(user_reply(&call)->failure_reason, "DEADLINE"));
    client_call_done(&call);
    set_up_user(&w, "demo", &call); /* the VM ends first */
    end(&w, g);
    assert_non_null(strstr(user_reply(&call)->failure_reason, "CANCELLED"));
    client_call_done(&call);
}

static void
the_guests_kernel_is_reported(void **state)
{
    const VmTools__Concierge__GetVmEnterpriseReportingInfoResponse *r;
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    report(&w, "demo", &call);
    r = (const void *)call.reply;
    assert_false(r->success);
    client_call_done(&call);
    g = world_run_vm(&w, "demo");
    report(&w, "demo", &call);
    r = (const void *)call.reply;
    assert_true(r->success);
    assert_string_equal(r->vm_kernel_version, "6.1.0 #1 SMP");
    client_call_done(&call);
    end(&w, g);
}

static bool
launch_allowed(struct world *w)
{
    VmTools__Concierge__GetVmLaunchAllowedRequest request;
    const VmTools__Concierge__GetVmLaunchAllowedResponse *r;
    struct client_call call;
    bool allowed;

    vm_tools__concierge__get_vm_launch_allowed_request__init(&request);
    client_call(w, "GetVmLaunchAllowed", WORLD_UID, &request.base, NULL, 0, &call);
    r = (const void *)call.reply;
    allowed = r->allowed;
    assert_int_equal(allowed, r->reason[0] == '\0');
    client_call_done(&call);
    return allowed;
}

static void
a_leaking_processor_counts_when_that_is_wanted(void **state)
{
    struct world w;
    struct client_call call;
    struct guest *g;

    (void)state;
    world_init(&w);
    fake_host_set_l1tf(w.host, "Vulnerable\n");
    assert_true(launch_allowed(&w));
    world_kill_daemon(&w);
    w.require_mitigations = true;
    world_start_daemon(&w);
    assert_false(launch_allowed(&w));
    client_start_name(&w, "demo", &call);
    expect_start_refused(&call, "l1tf");
    client_call_done(&call);
    world_expect_signals(&w, "");
    fake_host_set_l1tf(w.host, "Not affected\n");
    assert_true(launch_allowed(&w));
    g = world_run_vm(&w, "demo");
    end(&w, g);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_guests_answer_about_an_account_is_passed_on_harmless),
        cmocka_unit_test(a_mute_guest_is_given_up),
        cmocka_unit_test(the_guests_kernel_is_reported),
        cmocka_unit_test(a_leaking_processor_counts_when_that_is_wanted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
