/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc exec and vmc shell: a command or a login shell in a VM. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "platform/linux/vmc/guest_command.h"
#include "platform/linux/vmc/vmc.h"

static int
set_user(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct guest_command *)target)->user = value;
    return 0;
}

static int
set_cwd(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct guest_command *)target)->cwd = value;
    return 0;
}

static const struct vmc_option options[] = {
    {"user", true, set_user}, {"cwd", true, set_cwd}, {0}};

static int
exec_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {
        .options = options,
        .order = VMC_ORDER_FIRST,
        .operands_min = 2,
        .operands_max = INT_MAX,
    };
    struct guest_command command = {.user = "", .cwd = ""};
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_exec, argc, argv, &syntax, &command, &operands, &n);

    if (r >= 0)
        return r;
    command.vm_name = operands[0];
    command.args = operands + 1;
    command.nargs = n - 1;
    if (strcmp(command.args[0], "--") == 0) {
        command.args++;
        command.nargs--;
    }
    if (command.nargs == 0) {
        (void)fputs("vmc exec: a command is missing; vmc shell opens a shell\n", stderr);
        return VMC_USAGE;
    }
    return guest_command_run(vmc, &command);
}

static int
shell_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {
        .options = options, .operands_min = 1, .operands_max = 1};
    struct guest_command command = {.user = "", .cwd = ""};
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_shell, argc, argv, &syntax, &command, &operands, &n);

    if (r >= 0)
        return r;
    command.vm_name = operands[0];
    return guest_command_run(vmc, &command);
}

const struct vmc_command vmc_exec = {
    .name = "exec",
    .summary = "run a command in a VM",
    .usage =
        "[--user USER] [--cwd DIR] NAME -- [VARIABLE=VALUE]... COMMAND [ARG]...\n"
        "The exit code is that of the command; 126: it cannot be run, 127: there is\n"
        "none, 128+N: killed by signal N, 123: connection lost.\n",
    .run = exec_run,
};

const struct vmc_command vmc_shell = {
    .name = "shell",
    .summary = "open a login shell in a VM",
    .usage = "[--user USER] [--cwd DIR] NAME\n",
    .run = shell_run,
};
