/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc logs: the console of a VM. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"

#define LOGS_TIMEOUT_MS 60000u

typedef VmTools__Concierge__GetVmLogsResponse pb_response;

static int
logs_print(struct vmc *vmc, const char *name, struct vmt_err *err)
{
    VmTools__Concierge__GetVmLogsRequest request;
    struct concierge_call call = {
        .method = "GetVmLogs",
        .request = &request.base,
        .reply = &vm_tools__concierge__get_vm_logs_response__descriptor,
        .timeout_ms = LOGS_TIMEOUT_MS,
    };
    struct ProtobufCMessage *reply = NULL;
    const char *log;
    char safe[128];
    int r;

    vm_tools__concierge__get_vm_logs_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    r = vmc_call(vmc, &call, &reply, err);
    if (r == -EIO) /* the only refusal there is: no log of that name */
        return vmt_err_wrap(err, -ENOENT, "logs of %s",
                            vmc_escape(safe, sizeof(safe), name));
    if (r < 0)
        return r;
    log = ((pb_response *)(void *)reply)->log;
    vmc_print_plain(stdout, log, strlen(log));
    if (fflush(stdout) != 0)
        r = vmt_err_set(err, EIO, "write to stdout");
    protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}

static int
logs_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_min = 1, .operands_max = 1};
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_logs, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    r = logs_print(vmc, operands[0], &err);
    return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
}

const struct vmc_command vmc_logs = {
    .name = "logs",
    .summary = "print the console of a VM",
    .usage = "NAME\n",
    .run = logs_run,
};
