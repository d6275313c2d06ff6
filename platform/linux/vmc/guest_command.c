/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vmc/guest_command.h"

#include <errno.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"
#include "platform/linux/vsh/endpoint.h"
#include "platform/linux/vsh/run.h"
#include "platform/linux/vsh/words.h"

/* vshd is one of the first things that a guest starts, but after it reported itself. */
#define RETRY_MS 30000u

/* Where the VM's vshd is. The daemon is let go: it may end itself meanwhile. */
static int
find_vm(struct vmc *vmc, const char *name, struct vsh_endpoint *ret_endpoint,
        struct vmt_err *err)
{
    int r = vmc_connect(vmc, err);

    if (r == 0)
        r = concierge_client_endpoint(vmc->client, name, vmc->owner, ret_endpoint, err);
    concierge_client_free(vmc->client);
    vmc->client = NULL;
    return r;
}

int
guest_command_run(struct vmc *vmc, const struct guest_command *command)
{
    VMT_CLEANUP(vsh_words_done) struct vsh_words words = {0};
    struct vsh_endpoint endpoint;
    struct vmt_err err;
    int r = vsh_words_split(command->args, command->nargs, &words, &err);

    if (r == 0)
        r = find_vm(vmc, command->vm_name, &endpoint, &err);
    if (r == -ENOTCONN) /* it was just ending itself */
        r = find_vm(vmc, command->vm_name, &endpoint, &err);
    if (r < 0)
        return vmc_fail(r, &err);

    struct vsh_request request = {
        .target = command->target ? command->target : VSH_TARGET_VM,
        .user = command->user,
        .env = words.env,
        .nenv = words.nenv,
        .argv = words.argv,
        .argc = words.argc,
        .cwd = command->cwd,
    };
    struct vsh_run_config config = {
        .program = "vmc",
        .endpoint = &endpoint,
        .request = &request,
        .retry_ms = RETRY_MS,
    };

    return vsh_run(vmc->loop, &config);
}
