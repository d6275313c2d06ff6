/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/handlers_user.c - methods that ask the guest one question:
 * SetUpVmUser and GetVmEnterpriseReportingInfo. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"
#include "vm_guest.pb-c.h"

#define WHY_MAX 1024

/* The running VM that a request names; NULL, then why says why there is none. */
static struct concierge_vm *
running_vm(struct concierge *c, const char *owner, const char *name, char *why)
{
    struct vmt_err err = {0};
    struct concierge_vm *vm;

    if (vm_id_check(owner, name, &err) < 0) {
        (void)snprintf(why, WHY_MAX, "%s", err.msg);
        return NULL;
    }
    vm = vm_find(c, owner, name);
    if (vm && vm->state == VM_RUNNING)
        return vm;
    (void)snprintf(why, WHY_MAX, "%s",
                   !vm                         ? "there is no VM of this name"
                   : vm->state == VM_SUSPENDED ? "the VM is suspended; resume it first"
                                               : "the VM is not running");
    return NULL;
}

/* Ask vm; done gets call. Returns whether it will. */
static bool
ask(struct concierge_vm *vm, struct guest_call_spec *spec, struct ipc_call *call,
    const ProtobufCMessage *message, char *why)
{
    struct vmt_err err = {0};

    spec->timeout_ms = AGENT_RPC_MS;
    spec->arg = call;
    if (guest_call(vm, spec, message, &err) == 0)
        return true;
    (void)snprintf(why, WHY_MAX, "the agent of the guest cannot be reached: %s", err.msg);
    return false;
}

/* What a guest says reaches the caller without anything that a terminal would act upon.
 */
static char *
words_of(const struct rpc_status *status, char *buf)
{
    char text[WHY_MAX - 64];

    (void)vmt_log_escape(text, sizeof(text), status->text, strlen(status->text));
    (void)snprintf(buf, WHY_MAX, "the guest: %s%s%s", rpc_code_name(status->code),
                   *text ? ": " : "", text);
    return buf;
}

static void
answer_user(struct ipc_call *call, bool success, const char *why, const char *name)
{
    VmTools__Concierge__SetUpVmUserResponse response;

    vm_tools__concierge__set_up_vm_user_response__init(&response);
    response.success = success;
    response.failure_reason = (char *)(uintptr_t)why;
    response.username = (char *)(uintptr_t)name;
    ipc_call_reply(call, &response.base, NULL, 0);
}

static void
on_user(void *arg, const struct rpc_status *status, const ProtobufCMessage *message)
{
    const VmTools__SetUpUserResponse *reply = (const VmTools__SetUpUserResponse *)message;
    char why[WHY_MAX], name[64];

    if (!reply) {
        answer_user(arg, false, words_of(status, why), "");
        return;
    }
    (void)vmt_log_escape(why, sizeof(why), reply->failure_reason,
                         strlen(reply->failure_reason));
    (void)vmt_log_escape(name, sizeof(name), reply->username, strlen(reply->username));
    answer_user(arg, reply->success, why, name);
}

void
concierge_handle_set_up_vm_user(void *ctx, struct ipc_call *call,
                                const ProtobufCMessage *message)
{
    const VmTools__Concierge__SetUpVmUserRequest *request =
        (const VmTools__Concierge__SetUpVmUserRequest *)message;
    struct guest_call_spec spec = {.path = "/vm_tools.Maitred/SetUpUser",
                                   .reply = &vm_tools__set_up_user_response__descriptor,
                                   .done = on_user};
    VmTools__SetUpUserRequest ask_user;
    char why[WHY_MAX];
    struct concierge_vm *vm = running_vm(ctx, request->owner_id, request->vm_name, why);

    vm_tools__set_up_user_request__init(&ask_user);
    ask_user.username = request->username;
    ask_user.group_names = request->group_names;
    ask_user.n_group_names = request->n_group_names;
    if (request->_uid_case == VM_TOOLS__CONCIERGE__SET_UP_VM_USER_REQUEST___UID_UID) {
        ask_user._uid_case = VM_TOOLS__SET_UP_USER_REQUEST___UID_UID;
        ask_user.uid = request->uid;
    }
    if (!vm || !ask(vm, &spec, call, &ask_user.base, why))
        answer_user(call, false, why, "");
}

static void
answer_report(struct ipc_call *call, const char *why, const char *version)
{
    VmTools__Concierge__GetVmEnterpriseReportingInfoResponse response;

    vm_tools__concierge__get_vm_enterprise_reporting_info_response__init(&response);
    response.success = why == NULL;
    response.failure_reason = (char *)(uintptr_t)(why ? why : "");
    response.vm_kernel_version = (char *)(uintptr_t)version;
    ipc_call_reply(call, &response.base, NULL, 0);
}

/* spec 10.2: "release version". */
static void
on_kernel(void *arg, const struct rpc_status *status, const ProtobufCMessage *message)
{
    const VmTools__GetKernelVersionResponse *reply =
        (const VmTools__GetKernelVersionResponse *)message;
    char release[128], version[128], both[2 * sizeof(release)], why[WHY_MAX];

    if (!reply) {
        answer_report(arg, words_of(status, why), "");
        return;
    }
    (void)snprintf(both, sizeof(both), "%s %s",
                   vmt_log_escape(release, sizeof(release), reply->kernel_release,
                                  strlen(reply->kernel_release)),
                   vmt_log_escape(version, sizeof(version), reply->kernel_version,
                                  strlen(reply->kernel_version)));
    answer_report(arg, NULL, both);
}

void
concierge_handle_get_vm_enterprise_reporting_info(void *ctx, struct ipc_call *call,
                                                  const ProtobufCMessage *message)
{
    const VmTools__Concierge__GetVmEnterpriseReportingInfoRequest *request =
        (const VmTools__Concierge__GetVmEnterpriseReportingInfoRequest *)message;
    struct guest_call_spec spec = {.path = "/vm_tools.Maitred/GetKernelVersion",
                                   .reply =
                                       &vm_tools__get_kernel_version_response__descriptor,
                                   .done = on_kernel};
    VmTools__EmptyMessage empty = VM_TOOLS__EMPTY_MESSAGE__INIT;
    char why[WHY_MAX];
    struct concierge_vm *vm = running_vm(ctx, request->owner_id, request->vm_name, why);

    if (!vm || !ask(vm, &spec, call, &empty.base, why))
        answer_report(call, why, "");
}
