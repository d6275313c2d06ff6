/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc version. */
#include <stdio.h>

#include "platform/linux/vmc/vm_info.h"
#include "platform/linux/vmc/vmc.h"

static int
version_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_max = 0};
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_version, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    if (!vmc->json) {
        (void)puts("vmc (vm_tools) " VMT_VERSION);
        return VMC_DONE;
    }
    r = print_json(json_pack("{s:s}", "version", VMT_VERSION), &err);
    return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
}

const struct vmc_command vmc_version = {
    .name = "version",
    .summary = "print the version",
    .usage = "[--json]\n",
    .run = version_run,
};
