/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc list: the VMs that run. */
#include <errno.h>
#include <stdio.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "platform/linux/vmc/vm_info.h"
#include "platform/linux/vmc/vm_list.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"

#define LIST_TIMEOUT_MS 30000u
#define TEXT_MAX 256

typedef VmTools__Concierge__ListVmsResponse pb_list;

int
vm_list_get(struct vmc *vmc, pb_list **ret_list, struct vmt_err *err)
{
    VmTools__Concierge__ListVmsRequest request;
    struct concierge_call call = {
        .method = "ListVms",
        .request = &request.base,
        .reply = &vm_tools__concierge__list_vms_response__descriptor,
        .timeout_ms = LIST_TIMEOUT_MS,
    };
    struct ProtobufCMessage *reply = NULL;
    char text[TEXT_MAX];
    pb_list *list;
    int r;

    vm_tools__concierge__list_vms_request__init(&request);
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    r = vmc_call(vmc, &call, &reply, err);
    if (r < 0)
        return r;
    list = (pb_list *)(void *)reply;
    if (list->success) {
        *ret_list = list;
        return 0;
    }
    r = vmt_err_setx(err, EIO, "list VMs: %s",
                     vmc_escape(text, sizeof(text), list->failure_reason));
    protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}

void
vm_list_freep(pb_list **list)
{
    if (*list)
        protobuf_c_message_free_unpacked(&(*list)->base, NULL);
}

static int
list_print_json(const pb_list *list, struct vmt_err *err)
{
    json_t *all = json_array();

    for (size_t i = 0; all && i < list->n_vms; i++) {
        const VmTools__Concierge__ExtendedVmInfo *vm = list->vms[i];

        if (json_array_append_new(all, vm_info_json(vm->name, vm->owner_id,
                                                    (int)vm->status, vm->vm_info)) < 0) {
            json_decref(all);
            all = NULL;
        }
    }
    return print_json(all, err);
}

/* The daemon's own word for where the VM is, which tells more. */
static const char *
status_of(const VmTools__Concierge__ExtendedVmInfo *vm, char *buf, size_t cap)
{
    if (vm->vm_info && *vm->vm_info->state)
        return vmc_escape(buf, cap, vm->vm_info->state);
    return vm_status_name((int)vm->status);
}

static void
list_print_text(const pb_list *list)
{
    if (list->n_vms == 0) {
        (void)fputs("no VM runs; vmc start NAME starts one\n", stderr);
        return;
    }
    (void)printf("%-24s %-11s %10s %8s  %s\n", "NAME", "STATUS", "CID", "PID",
                 "TRANSPORT");
    for (size_t i = 0; i < list->n_vms; i++) {
        const VmTools__Concierge__ExtendedVmInfo *vm = list->vms[i];
        char name[TEXT_MAX], transport[TEXT_MAX], status[32];

        (void)printf(
            "%-24s %-11s %10lld %8d  %s\n", vmc_escape(name, sizeof(name), vm->name),
            status_of(vm, status, sizeof(status)),
            vm->vm_info ? (long long)vm->vm_info->cid : 0,
            vm->vm_info ? (int)vm->vm_info->pid : 0,
            vm->vm_info ? vmc_escape(transport, sizeof(transport), vm->vm_info->transport)
                        : "");
    }
}

static int
list_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_max = 0};
    VMT_CLEANUP(vm_list_freep) pb_list *list = NULL;
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_list, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    r = vm_list_get(vmc, &list, &err);
    if (r < 0 || !list)
        return vmc_fail(r, &err);
    if (!vmc->json)
        list_print_text(list);
    else
        r = list_print_json(list, &err);
    return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
}

const struct vmc_command vmc_list = {
    .name = "list",
    .summary = "list the VMs that run",
    .usage = "[--json]\n",
    .run = list_run,
};
