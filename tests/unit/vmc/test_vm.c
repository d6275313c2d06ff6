/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "concierge_service.pb-c.h"

#include "core/base/err.h"
#include "platform/linux/vsh/concierge_client.h"
#include "tests/unit/test.h"

struct answer {
    VmTools__Concierge__GetVmInfoResponse response;
    VmTools__Concierge__VmInfo info;
};

static int
fill(struct answer *a, const char *transport, const char *state, struct concierge_vm *vm)
{
    vm_tools__concierge__get_vm_info_response__init(&a->response);
    vm_tools__concierge__vm_info__init(&a->info);
    a->response.success = true;
    a->response.vm_info = &a->info;
    a->info.cid = 33;
    a->info.transport = (char *)(uintptr_t)transport;
    a->info.state = (char *)(uintptr_t)state;
    return concierge_vm_fill(&a->response, vm, NULL);
}

static void
the_transport_tells_where_a_vm_is(void **state)
{
    struct concierge_vm vm;
    struct answer a;

    (void)state;
    assert_int_equal(fill(&a, "hybrid:/run/vm", "running", &vm), 0);
    assert_true(vm.runs);
    assert_int_equal(vm.endpoint.kind, VSH_ENDPOINT_HYBRID);
    assert_string_equal(vm.endpoint.address, "/run/vm");
    assert_int_equal(fill(&a, "pigeon:7", "running", &vm), -EINVAL);
}

static void
a_daemon_that_names_no_transport_means_the_context_id(void **state)
{
    struct concierge_vm vm;
    struct answer a;

    (void)state;
    assert_int_equal(fill(&a, "", "", &vm), 0);
    assert_int_equal(vm.endpoint.kind, VSH_ENDPOINT_VSOCK);
    assert_int_equal(vm.endpoint.cid, 33);
}

static void
who_does_not_run_or_is_suspended_is_not_connected_to(void **state)
{
    struct vsh_endpoint endpoint;
    struct concierge_vm vm;
    struct vmt_err err;
    struct answer a;

    (void)state;
    assert_int_equal(fill(&a, "hybrid:/run/vm", "suspended", &vm), 0);
    assert_int_equal(concierge_vm_endpoint(&vm, "a", &endpoint, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "vmc resume"));
    assert_int_equal(fill(&a, "hybrid:/run/vm", "running", &vm), 0);
    assert_int_equal(concierge_vm_endpoint(&vm, "a", &endpoint, &err), 0);
    a.response.success = false;
    assert_int_equal(concierge_vm_fill(&a.response, &vm, &err), 0);
    assert_int_equal(concierge_vm_endpoint(&vm, "a", &endpoint, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "no VM named a runs"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_transport_tells_where_a_vm_is),
        cmocka_unit_test(a_daemon_that_names_no_transport_means_the_context_id),
        cmocka_unit_test(who_does_not_run_or_is_suspended_is_not_connected_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
