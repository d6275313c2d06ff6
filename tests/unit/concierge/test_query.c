/* SPDX-License-Identifier: BSD-3-Clause */
/* Methods that look, and methods that only say why they do nothing. */
#include <fcntl.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/concierge/service.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

#define STARTING VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_STARTING
#define RUNNING VM_TOOLS__CONCIERGE__VM_STATUS__VM_STATUS_RUNNING

static void
a_vm_is_told_the_time_on_demand(void **state)
{
    const VmTools__Concierge__SyncVmTimesResponse *r;
    struct world w;
    struct client_call call;
    struct guest *a, *b;

    (void)state;
    world_init(&w);
    a = world_run_vm(&w, "a");
    b = world_run_vm(&w, "b");
    guest_set(b, "SetTime", GUEST_FAILS);
    client_call(&w, "SyncVmTimes", WORLD_UID, NULL, NULL, 0, &call);
    world_run(&w, 1000);
    assert_int_equal(call.answers, 1);
    r = (const VmTools__Concierge__SyncVmTimesResponse *)call.reply;
    assert_int_equal(r->requests, 2);
    assert_int_equal(r->failures, 1);
    assert_string_equal(r->failure_reason[0], "b: no luck");
    client_call_done(&call);
    world_stop_vm(&w, "a", a);
    world_stop_vm(&w, "b", b);
    world_done(&w);
}

static void
the_list_shows_every_vm_without_its_token(void **state)
{
    VmTools__Concierge__ListVmsRequest request;
    const VmTools__Concierge__ListVmsResponse *r;
    struct world w;
    struct client_call call, start, stop;
    struct guest *g;

    vm_tools__concierge__list_vms_request__init(&request);
    (void)state;
    world_init(&w);
    g = world_run_vm(&w, "b");
    client_start_name(&w, "a", &start);
    request.owner_id = (char *)(uintptr_t)WORLD_OWNER;
    client_call(&w, "ListVms", WORLD_UID, &request.base, NULL, 0, &call);
    r = (const VmTools__Concierge__ListVmsResponse *)call.reply;
    assert_true(r->success);
    assert_int_equal(r->n_vms, 2);
    assert_string_equal(r->vms[0]->name, "a");
    assert_int_equal(r->vms[0]->status, STARTING);
    assert_string_equal(r->vms[1]->name, "b");
    assert_int_equal(r->vms[1]->status, RUNNING);
    assert_string_equal(r->vms[1]->vm_info->permission_token, "");
    client_call_done(&call);
    client_stop(&w, "a", &stop);
    world_run(&w, 3000);
    client_call_done(&stop);
    client_call_done(&start);
    world_stop_vm(&w, "b", g);
    world_done(&w);
}

static void
the_resolver_of_the_host_is_shown(void **state)
{
    const VmTools__Concierge__DnsSettings *r;
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    client_call(&w, "GetDnsSettings", WORLD_UID + 1, NULL, NULL, 0, &call);
    r = (const VmTools__Concierge__DnsSettings *)call.reply;
    assert_int_equal(r->n_nameservers, 1);
    assert_string_equal(r->nameservers[0], "192.0.2.53");
    assert_string_equal(r->search_domains[0], "example.org");
    client_call_done(&call);
    world_done(&w);
}

static void
a_host_that_can_run_vms_says_so(void **state)
{
    VmTools__Concierge__GetVmLaunchAllowedRequest request =
        VM_TOOLS__CONCIERGE__GET_VM_LAUNCH_ALLOWED_REQUEST__INIT;
    struct world w;
    struct client_call call;

    (void)state;
    world_init(&w);
    client_call(&w, "GetVmLaunchAllowed", WORLD_UID, &request.base, NULL, 0, &call);
    assert_true(((VmTools__Concierge__GetVmLaunchAllowedResponse *)call.reply)->allowed);
    client_call_done(&call);
    world_done(&w);
}

/* A text field of a reply, NULL if the type has none of that name. */
static const char *
text_of(const ProtobufCMessage *m, const char *field)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, field);

    if (!f || f->type != PROTOBUF_C_TYPE_STRING)
        return NULL;
    return *(const char *const *)(const void *)((const uint8_t *)m + f->offset);
}

/* Either an error with words, or a reply that says no, with words if it has room. */
static void
expect_refusal(const char *name, const struct client_call *call)
{
    const ProtobufCFieldDescriptor *success;
    const char *why;

    if (call->answers != 1)
        fail_msg("%s got %d answers", name, call->answers);
    if (call->failed) {
        assert_int_equal(call->code, IPC_ERROR_FAILED);
        assert_true(strlen(call->text) > 10);
        return;
    }
    success = protobuf_c_message_descriptor_get_field_by_name(call->reply->descriptor,
                                                              "success");
    if (success)
        assert_false(
            *(const protobuf_c_boolean *)(const void *)((const uint8_t *)call->reply +
                                                        success->offset));
    why = text_of(call->reply, "failure_reason");
    why = why ? why : text_of(call->reply, "reason");
    if (why && strlen(why) < 10)
        fail_msg("%s does not say why", name);
}

static void
what_has_no_use_here_says_why(void **state)
{
    static const uint8_t nothing[1];
    struct world w;

    (void)state;
    world_init(&w);
    for (size_t i = 0; i < concierge_service.nmethods; i++) {
        const struct ipc_method *m = &concierge_service.methods[i];
        ProtobufCMessage *request = NULL;
        struct client_call call;
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        if (m->request)
            request = protobuf_c_message_unpack(m->request, NULL, 0, nothing);
        if (m->refused) { /* as root, who may speak for every owner */
            client_call(&w, m->name, 0, request, &fd, m->fds_in == IPC_FDS_ONE, &call);
            expect_refusal(m->name, &call);
            client_call_done(&call);
            fd = m->fds_in == IPC_FDS_ONE ? -1 : fd; /* the call took it */
        }
        vmt_closep(&fd);
        if (request)
            protobuf_c_message_free_unpacked(request, NULL);
    }
    world_done(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vm_is_told_the_time_on_demand),
        cmocka_unit_test(the_list_shows_every_vm_without_its_token),
        cmocka_unit_test(the_resolver_of_the_host_is_shown),
        cmocka_unit_test(a_host_that_can_run_vms_says_so),
        cmocka_unit_test(what_has_no_use_here_says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
