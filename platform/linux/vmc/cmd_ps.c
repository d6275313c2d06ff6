/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc ps: who does what in a VM. */
#include "platform/linux/vmc/guest_command.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/endpoint.h"
#include "platform/linux/vsh/list.h"

static int
ps_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_min = 1, .operands_max = 1};
    struct vsh_endpoint endpoint;
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_ps, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    r = guest_endpoint_find(vmc, operands[0], &endpoint, &err);
    return r < 0 ? vmc_fail(r, &err) : vsh_list(vmc->loop, "vmc", &endpoint, vmc->json);
}

const struct vmc_command vmc_ps = {
    .name = "ps",
    .summary = "list the shells, commands and forwardings in a VM",
    .usage = "[--json] NAME\n"
             "For every process of the guest: vmc exec NAME -- ps aux\n",
    .run = ps_run,
};
