/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc exec and vmc shell: a command or a login shell in a VM. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "platform/linux/vmc/guest_command.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/escape.h"

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

static int
set_tty(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct guest_command *)target)->tty = VSH_TTY_ALWAYS;
    return 0;
}

static int
set_no_tty(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct guest_command *)target)->tty = VSH_TTY_NEVER;
    return 0;
}

static int
set_no_stdin(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct guest_command *)target)->no_stdin = true;
    return 0;
}

static int
set_interactive(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct guest_command *)target)->no_stdin = false;
    return 0;
}

static int
set_reconnect(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct guest_command *)target)->reconnect = true;
    return 0;
}

static int
set_escape(void *target, const char *value, struct vmt_err *err)
{
    if (vsh_escape_parse(value, &((struct guest_command *)target)->escape) < 0)
        return vmt_err_setx(err, EINVAL,
                            "an escape is one character, ^ and a letter, or none");
    return 0;
}

static const struct vmc_option options[] = {{"user", true, set_user},
                                            {"cwd", true, set_cwd},
                                            {"tty", false, set_tty},
                                            {"no-tty", false, set_no_tty},
                                            {"interactive", false, set_interactive},
                                            {"no-stdin", false, set_no_stdin},
                                            {"escape", true, set_escape},
                                            {"reconnect", false, set_reconnect},
                                            {0}};
static const struct vmc_letter letters[] = {
    {'t', "tty"}, {'T', "no-tty"}, {'i', "interactive"}, {'n', "no-stdin"}, {0}};

/* The command of operands[1] on, where "--" may stand before it. */
static void
take_words(struct guest_command *command, char **operands, size_t n)
{
    command->vm_name = operands[0];
    command->args = operands + 1;
    command->nargs = n - 1;
    if (command->nargs > 0 && strcmp(command->args[0], "--") == 0) {
        command->args++;
        command->nargs--;
    }
}

static int
exec_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {
        .options = options,
        .letters = letters,
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
    take_words(&command, operands, n);
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
        .options = options,
        .letters = letters,
        .operands_min = 1,
        .operands_max = INT_MAX,
    };
    struct guest_command command = {.user = "", .cwd = ""};
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_shell, argc, argv, &syntax, &command, &operands, &n);

    if (r >= 0)
        return r;
    take_words(&command, operands, n);
    return guest_command_run(vmc, &command);
}

#define OPTIONS_HELP                                                                     \
    "  --user USER    be this user\n"                                                    \
    "  --cwd DIR      begin in this folder\n"                                            \
    "  --tty          also -t: a terminal, also when stdin or stdout is none\n"          \
    "  --no-tty       also -T: none, also when both are\n"                               \
    "  --no-stdin     also -n: leave stdin alone, as in a loop that reads it\n"          \
    "  --interactive  also -i: hand stdin on, as without it\n"                           \
    "  --escape C     on a terminal, C and a dot at the beginning of a line leave the\n" \
    "                 session (~; none: nothing does)\n"                                 \
    "  --reconnect    a new session when the connection was lost and the VM runs "       \
    "again\n"

const struct vmc_command vmc_exec = {
    .name = "exec",
    .summary = "run a command in a VM",
    .usage =
        "[OPTION]... NAME -- [VARIABLE=VALUE]... COMMAND [ARG]...\n"
        "The exit code is that of the command; 126: it cannot be run, 127: there is\n"
        "none, 128+N: killed by signal N, 123: connection lost.\n" OPTIONS_HELP,
    .run = exec_run,
};

const struct vmc_command vmc_shell = {
    .name = "shell",
    .summary = "open a login shell in a VM, or run a command",
    .usage =
        "[OPTION]... NAME [-- [VARIABLE=VALUE]... [COMMAND [ARG]...]]\n" OPTIONS_HELP,
    .run = shell_run,
};
