/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc help: what there is, or how one command is used. */
#include <stdio.h>
#include <string.h>

#include "platform/linux/vmc/vmc.h"

static void
help_all(void)
{
    (void)puts("usage: vmc COMMAND [OPTION]... [ARGUMENT]...\n"
               "Start, use and stop virtual machines.\n");
    for (const struct vmc_command *const *c = vmc_commands; *c; c++)
        (void)printf("  %-11s %s\n", (*c)->name, (*c)->summary);
    (void)puts(
        "\nEvery command takes\n"
        "  --json      print data as JSON\n"
        "  --owner ID  act for this owner (VMC_OWNER, else one that stands for you)\n"
        "  --system    talk to the vm_concierge of the system\n"
        "  --help      show how the command is used\n"
        "\n"
        "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 busy, 5 no daemon,\n"
        "6 timeout; exec and shell give those of the command.");
}

static int
help_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_max = 1};
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_help, argc, argv, &syntax, NULL, &operands, &n);

    if (r > 0)
        return r;
    if (r == 0 || n == 0) { /* r is 0 for --help, too */
        if (r < 0)
            help_all();
        return VMC_DONE;
    }
    for (const struct vmc_command *const *c = vmc_commands; *c; c++)
        if (strcmp((*c)->name, operands[0]) == 0) {
            (void)printf("usage: vmc %s %s", (*c)->name, (*c)->usage);
            return VMC_DONE;
        }
    (void)fprintf(stderr, "vmc: there is no command %s; vmc help lists them\n",
                  operands[0]);
    return VMC_USAGE;
}

const struct vmc_command vmc_help = {
    .name = "help",
    .summary = "list the commands, or show how one is used",
    .usage = "[COMMAND]\n",
    .run = help_run,
};
