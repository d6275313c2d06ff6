/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc completion: the script for the shell, as it is also installed. */
#include <stdio.h>
#include <string.h>

#include "platform/linux/vmc/vmc.h"

/* Made from packaging/completions/vmc by the build. */
static const char script[] = {
#include "vmc_completion.inc"
    , 0};

static int
completion_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_max = 1};
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_completion, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    if (n == 1 && strcmp(operands[0], "bash") != 0) {
        (void)fprintf(stderr, "vmc completion: there is one for bash only, not for %s\n",
                      operands[0]);
        return VMC_USAGE;
    }
    (void)fputs(script, stdout);
    return VMC_DONE;
}

const struct vmc_command vmc_completion = {
    .name = "completion",
    .summary = "print the completion script for bash",
    .usage = "[bash]\n"
             "Use it with: source <(vmc completion)\n",
    .run = completion_run,
};
