/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc suspend, vmc resume: halt a VM, and let it go on. */
#include "concierge_service.pb-c.h"

#include "platform/linux/vmc/vmc.h"

/* The daemon waits for the guest, then for the hypervisor, each with a deadline. */
#define POWER_TIMEOUT_MS 60000u
static int
suspend_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_min = 1, .operands_max = 1};
    VmTools__Concierge__SuspendVmRequest request;
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_suspend, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    vm_tools__concierge__suspend_vm_request__init(&request);
    request.name = operands[0];
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    r = vmc_require(vmc, operands[0], &err);
    if (r == 0)
        r = vmc_call_plain(vmc, "SuspendVm", &request.base, POWER_TIMEOUT_MS, &err);
    return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
}

static int
resume_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_min = 1, .operands_max = 1};
    VmTools__Concierge__ResumeVmRequest request;
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_resume, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    vm_tools__concierge__resume_vm_request__init(&request);
    request.name = operands[0];
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    r = vmc_require(vmc, operands[0], &err);
    if (r == 0)
        r = vmc_call_plain(vmc, "ResumeVm", &request.base, POWER_TIMEOUT_MS, &err);
    return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
}

const struct vmc_command vmc_suspend = {
    .name = "suspend",
    .summary = "halt a VM until vmc resume",
    .usage = "NAME\n",
    .run = suspend_run,
};

const struct vmc_command vmc_resume = {
    .name = "resume",
    .summary = "let a suspended VM go on",
    .usage = "NAME\n",
    .run = resume_run,
};
