/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc completion: the script for the shell, as it is also installed. */
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/vmc.h"

/* Made from packaging/completions by the build. */
static const char for_bash[] = {
#include "vmc_completion_bash.inc"
    , 0};
static const char for_zsh[] = {
#include "vmc_completion_zsh.inc"
    , 0};

static const struct {
    const char *shell, *script;
} scripts[] = {{"bash", for_bash}, {"zsh", for_zsh}};

static int
completion_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_max = 1};
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_completion, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(scripts); i++) {
        if (n == 1 && strcmp(operands[0], scripts[i].shell) != 0)
            continue;
        (void)fputs(scripts[i].script, stdout);
        return VMC_DONE;
    }
    (void)fprintf(stderr,
                  "vmc completion: there are those for bash and zsh, not for %s\n",
                  operands[0]);
    return VMC_USAGE;
}

const struct vmc_command vmc_completion = {
    .name = "completion",
    .summary = "print the completion script for bash or zsh",
    .usage = "[bash|zsh]\n"
             "Use it with: source <(vmc completion bash), after compinit in zsh\n",
    .run = completion_run,
};
