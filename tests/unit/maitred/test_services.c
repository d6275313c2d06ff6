/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include <vm_guest.pb-c.h>
#include <vmt_agent.pb-c.h>

#include "platform/guest/maitred/rpc/handlers.h"
#include "tests/unit/test.h"

/* Every method of the .proto file has a handler that takes its request, and no other. */
static void
assert_complete(const struct rpc_server_service *service,
                const ProtobufCServiceDescriptor *descriptor)
{
    assert_string_equal(service->name, descriptor->name);
    assert_int_equal(service->nmethods, descriptor->n_methods);
    for (size_t i = 0; i < service->nmethods; i++) {
        const struct rpc_server_method *method = &service->methods[i];
        const ProtobufCMethodDescriptor *found =
            protobuf_c_service_descriptor_get_method_by_name(descriptor, method->name);

        assert_non_null(found);
        assert_ptr_equal(found->input, method->request);
        assert_non_null(method->handle);
    }
}

static void
every_method_has_a_handler(void **state)
{
    (void)state;
    assert_complete(&maitred_service, &vm_tools__maitred__descriptor);
    assert_complete(&agent_service, &vmt__agent__descriptor);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_has_a_handler),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
