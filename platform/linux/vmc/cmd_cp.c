/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc cp: copy files between this host and a VM. */
#include <limits.h>
#include <stdio.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/cp.h"
#include "platform/linux/vmc/vmc.h"

static int
set_user(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct cp *)target)->user = value;
    return 0;
}

static int
set_recursive(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct cp *)target)->recursive = true;
    return 0;
}

static int
set_keep(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct cp *)target)->keep = true;
    return 0;
}

static int
cp_command_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_option options[] = {{"user", true, set_user},
                                                {"recursive", false, set_recursive},
                                                {"keep", false, set_keep},
                                                {0}};
    static const struct vmc_letter letters[] = {{'r', "recursive"}, {'n', "keep"}, {0}};
    static const struct vmc_syntax syntax = {.options = options,
                                             .letters = letters,
                                             .operands_min = 2,
                                             .operands_max = INT_MAX};
    VMT_CLEANUP(cp_done) struct cp cp = {.user = ""};
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_cp, argc, argv, &syntax, &cp, &operands, &n);

    if (r >= 0)
        return r;
    if (cp_operands(&cp, operands, n, &err) < 0) {
        (void)fprintf(stderr, "vmc cp: %s\n", err.msg);
        return VMC_USAGE;
    }
    return cp_run(vmc, &cp);
}

const struct vmc_command vmc_cp = {
    .name = "cp",
    .summary = "copy files to, from or between VMs",
    .usage = "[OPTION]... SOURCE... NAME:PATH\n"
             "       vmc cp [OPTION]... NAME:PATH... DESTINATION\n"
             "       vmc cp [OPTION]... NAME:PATH... OTHER:PATH\n"
             "A path of the VM without a slash at its beginning is below the user's "
             "home. \"-\"\n"
             "is this program's stdin or stdout. Permissions, times, symbolic and hard "
             "links,\n"
             "attributes of users and holes in files are kept.\n"
             "  --recursive  also -r: copy folders with what is in them\n"
             "  --keep       also -n: replace no file that is there\n"
             "  --user USER  be this user in the VM\n",
    .run = cp_command_run,
};
