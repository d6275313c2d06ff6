/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vmc/guest_command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/again.h"
#include "platform/linux/vsh/concierge_client.h"
#include "platform/linux/vsh/endpoint.h"
#include "platform/linux/vsh/run.h"
#include "platform/linux/vsh/words.h"

/* vshd is one of the first things that a guest starts, but after it reported itself. */
#define RETRY_MS 30000u

/* The daemon is let go: it may end itself meanwhile. */
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
guest_endpoint_find(struct vmc *vmc, const char *name, struct vsh_endpoint *ret_endpoint,
                    struct vmt_err *err)
{
    int r = find_vm(vmc, name, ret_endpoint, err);

    if (r == -ENOTCONN) /* it was just ending itself */
        r = find_vm(vmc, name, ret_endpoint, err);
    return r;
}

/* For what comes later: a daemon that is not there is not started. */
static int
open_daemon(void *arg, struct concierge_client **ret_client, struct vmt_err *err)
{
    const struct vmc *vmc = arg;
    char path[PATH_MAX];

    vmc_socket_path(vmc, path, sizeof(path));
    return concierge_client_new(vmc->loop, path, ret_client, err);
}

static int
stdin_from_nothing(struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
        return vmt_err_set(err, errno, "open /dev/null");
    return 0;
}

int
guest_command_run(struct vmc *vmc, const struct guest_command *command)
{
    VMT_CLEANUP(vsh_words_done) struct vsh_words words = {0};
    struct vsh_endpoint endpoint;
    struct vmt_err err;
    int r = vsh_words_split(command->args, command->nargs, &words, &err);

    if (r == 0)
        r = guest_endpoint_find(vmc, command->vm_name, &endpoint, &err);
    if (r == 0 && command->no_stdin)
        r = stdin_from_nothing(&err);
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
        .request = &request,
        .retry_ms = RETRY_MS,
        .tty = command->tty,
        .escape = command->escape,
    };
    struct vsh_again again = {
        .vm_name = command->vm_name,
        .owner = vmc->owner,
        .reconnect = command->reconnect,
        .open = open_daemon,
        .arg = vmc,
    };

    return vsh_run_again(vmc->loop, &again, &config, &endpoint);
}
