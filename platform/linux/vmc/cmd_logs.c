/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc logs: the console of a VM. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "core/base/limits.h"
#include "platform/linux/vmc/log_follow.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"

#define LOGS_TIMEOUT_MS 60000u
#define FOLLOW_MS 500

typedef VmTools__Concierge__GetVmLogsResponse pb_response;

struct logs_options {
    bool follow;
};

/* *ret_log is malloc'ed. */
static int
logs_get(struct vmc *vmc, const char *name, char **ret_log, struct vmt_err *err)
{
    VmTools__Concierge__GetVmLogsRequest request;
    struct concierge_call call = {
        .method = "GetVmLogs",
        .request = &request.base,
        .reply = &vm_tools__concierge__get_vm_logs_response__descriptor,
        .timeout_ms = LOGS_TIMEOUT_MS,
        .reply_max = VMT_VM_LOGS_MAX + 1024, /* and what is around it */
    };
    struct ProtobufCMessage *reply = NULL;
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
    *ret_log = strdup(((pb_response *)(void *)reply)->log);
    protobuf_c_message_free_unpacked(reply, NULL);
    return *ret_log ? 0 : vmt_err_set(err, ENOMEM, "read the logs");
}

static int
logs_put(const char *text, struct vmt_err *err)
{
    vmc_print_plain(stdout, text, strlen(text));
    return fflush(stdout) != 0 ? vmt_err_set(err, EIO, "write to stdout") : 0;
}

/* Until the VM has ended and all was printed. */
static int
logs_follow(struct vmc *vmc, const char *name, char **log, struct vmt_err *err)
{
    static const struct timespec pause = {.tv_nsec = FOLLOW_MS * 1000000L};
    bool runs = true;
    int r = 0;

    while (r == 0 && runs) {
        char *next = NULL;

        runs = vmc_require(vmc, name, NULL) == 0; /* before: the last lines come after */
        r = logs_get(vmc, name, &next, err);
        if (r == 0)
            r = logs_put(log_follow_new(*log, next), err);
        if (next) {
            free(*log);
            *log = next;
        }
        if (r == 0 && runs)
            (void)nanosleep(&pause, NULL);
    }
    return r;
}

static int
set_follow(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct logs_options *)target)->follow = true;
    return 0;
}

static int
logs_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_option options[] = {{"follow", false, set_follow}, {0}};
    static const struct vmc_syntax syntax = {
        .options = options, .operands_min = 1, .operands_max = 1};
    VMT_CLEANUP(vmt_freep) char *log = NULL;
    struct logs_options o = {0};
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_logs, argc, argv, &syntax, &o, &operands, &n);

    if (r >= 0)
        return r;
    r = logs_get(vmc, operands[0], &log, &err);
    if (r == 0 && log)
        r = logs_put(log, &err);
    if (r == 0 && o.follow)
        r = logs_follow(vmc, operands[0], &log, &err);
    return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
}

const struct vmc_command vmc_logs = {
    .name = "logs",
    .summary = "print the console of a VM",
    .usage = "[--follow] NAME\n"
             "  --follow    go on as more is written, until the VM has ended\n",
    .run = logs_run,
};
