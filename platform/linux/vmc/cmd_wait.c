/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc wait: until a VM has ended, and how it did. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/cmd_wait.h"
#include "platform/linux/vmc/vm_end.h"
#include "platform/linux/vmc/vm_info.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"
#include "vmt_life.pb-c.h"

#define TEXT_MAX 512

static int
wait_call(struct vmc *vmc, const char *name, Vmt__WaitVmResponse **ret_reply,
          struct vmt_err *err)
{
    Vmt__WaitVmRequest request = VMT__WAIT_VM_REQUEST__INIT;
    struct concierge_call call = {
        .method = "WaitVm",
        .request = &request.base,
        .reply = &vmt__wait_vm_response__descriptor,
    };
    struct ProtobufCMessage *reply = NULL;
    char text[TEXT_MAX];
    int r;

    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    r = vmc_call(vmc, &call, &reply, err);
    if (r < 0)
        return r;
    *ret_reply = (Vmt__WaitVmResponse *)(void *)reply;
    if ((*ret_reply)->success && (*ret_reply)->end)
        return 0;
    r = vmt_err_setx(err, ENOENT, "wait for %s: %s", name,
                     vmc_escape(text, sizeof(text), (*ret_reply)->failure_reason));
    protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}

int
vm_wait(struct vmc *vmc, const char *name, int *ret_exit_code, struct vmt_err *err)
{
    Vmt__WaitVmResponse *reply = NULL;
    char words[TEXT_MAX];
    int r = wait_call(vmc, name, &reply, err);

    if (r < 0 || !reply)
        return r;
    *ret_exit_code = vm_end_exit_code(reply->end);
    if (vmc->json)
        r = print_json(vm_end_json(reply->end), err);
    else
        (void)printf("%s\n", vm_end_words(reply->end, words, sizeof(words)));
    protobuf_c_message_free_unpacked(&reply->base, NULL);
    return r;
}

static int
wait_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_min = 1, .operands_max = 1};
    struct vmt_err err;
    char **operands;
    size_t n;
    int code = VMC_FAILED;
    int r = vmc_begin(vmc, &vmc_wait, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    r = vm_wait(vmc, operands[0], &code, &err);
    return r < 0 ? vmc_fail(r, &err) : code;
}

const struct vmc_command vmc_wait = {
    .name = "wait",
    .summary = "wait until a VM has ended",
    .usage =
        "[--json] NAME\n"
        "Ends with 0 when the VM was stopped, switched itself off or rebooted; with\n"
        "the exit code of the program that the VM was there for, if it had one.\n",
    .run = wait_run,
};
