/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc stop: end VMs by name, or all of the owner. */
#include "platform/linux/vmc/cmd_stop.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "platform/linux/vmc/vm_list.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"

/* The daemon's own escalation, from a request to the guest to SIGKILL, takes up to 70 s;
 * see StopVm. */
#define STOP_TIMEOUT_MS 120000u
#define TEXT_MAX 512

typedef VmTools__Concierge__SuccessFailureResponse pb_response;

struct stop_options {
    bool all;
};

int
vm_stop(struct vmc *vmc, const char *name, struct vmt_err *err)
{
    VmTools__Concierge__StopVmRequest request;
    struct concierge_call call = {
        .method = "StopVm",
        .request = &request.base,
        .reply = &vm_tools__concierge__success_failure_response__descriptor,
        .timeout_ms = STOP_TIMEOUT_MS,
    };
    struct ProtobufCMessage *reply = NULL;
    char text[TEXT_MAX], safe[128];
    int r;

    vm_tools__concierge__stop_vm_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    r = vmc_call(vmc, &call, &reply, err);
    if (r < 0)
        return r;
    if (!((pb_response *)(void *)reply)->success)
        r = vmt_err_setx(err, EIO, "stop %s: %s", vmc_escape(safe, sizeof(safe), name),
                         vmc_escape(text, sizeof(text),
                                    ((pb_response *)(void *)reply)->failure_reason));
    protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}

static int
stop_all(struct vmc *vmc, struct vmt_err *err)
{
    VMT_CLEANUP(vm_list_freep) VmTools__Concierge__ListVmsResponse *list = NULL;
    int r = vm_list_get(vmc, &list, err);

    for (size_t i = 0; r == 0 && i < list->n_vms; i++)
        r = vm_stop(vmc, list->vms[i]->name, err);
    return r;
}

/* What has ended is stopped, though not by us; a name that nobody has heard of was meant
 * to be another. */
static int
stop_named(struct vmc *vmc, const char *name, struct vmt_err *err)
{
    bool known = false;
    char safe[128];
    int r = vmc_is_known(vmc, name, &known, err);

    if (r < 0)
        return r;
    if (!known)
        return vmt_err_setx(err, ENOENT,
                            "no VM named %s runs; vmc list shows those that do",
                            vmc_escape(safe, sizeof(safe), name));
    return vm_stop(vmc, name, err);
}

static int
set_all(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct stop_options *)target)->all = true;
    return 0;
}

static int
stop_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_option options[] = {{"all", false, set_all}, {0}};
    static const struct vmc_syntax syntax = {.options = options, .operands_max = INT_MAX};
    struct stop_options o = {0};
    struct vmt_err err;
    char **operands;
    size_t n;
    int code = VMC_DONE;
    int r = vmc_begin(vmc, &vmc_stop, argc, argv, &syntax, &o, &operands, &n);

    if (r >= 0)
        return r;
    if (o.all == (n > 0)) {
        (void)fputs("vmc stop: name a VM, or say --all\n", stderr);
        return VMC_USAGE;
    }
    if (o.all) {
        r = stop_all(vmc, &err);
        return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
    }
    /* One that cannot be stopped does not save the next; the first failure is told by the
     * exit code. */
    for (size_t i = 0; i < n; i++) {
        int failed = stop_named(vmc, operands[i], &err);

        if (failed < 0)
            failed = vmc_fail(failed, &err);
        code = code == VMC_DONE ? failed : code;
    }
    return code;
}

const struct vmc_command vmc_stop = {
    .name = "stop",
    .summary = "stop VMs",
    .usage = "NAME... | --all\n"
             "One that has ended already is stopped; a name of none is an error.\n",
    .run = stop_run,
};
