/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc run: a VM for one command. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/cmd_start.h"
#include "platform/linux/vmc/cmd_stop.h"
#include "platform/linux/vmc/guard.h"
#include "platform/linux/vmc/guest_command.h"
#include "platform/linux/vmc/vmc.h"

struct run_options {
    struct start_options
        start; /* first: the setters of vmc start take the whole for it */
    struct guest_command command;
    const char *name; /* "": a new one */
};

static int
set_user(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct run_options *)target)->command.user = value;
    return 0;
}

static int
set_cwd(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct run_options *)target)->command.cwd = value;
    return 0;
}

static int
set_name(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct run_options *)target)->name = value;
    return 0;
}

static const struct vmc_option own[] = {
    {"user", true, set_user}, {"cwd", true, set_cwd}, {"name", true, set_name}};

/* Those of vmc start but for what makes no sense here, and ours. */
static void
fill_options(struct vmc_option table[START_OPTIONS_MAX + VMT_ARRAY_SIZE(own)])
{
    static const char *const without[] = {"no-shell", "wait", "restart"};
    size_t n = 0;

    for (const struct vmc_option *o = start_option_table; o->name; o++) {
        bool is_out = false;

        for (size_t i = 0; i < VMT_ARRAY_SIZE(without); i++)
            is_out |= strcmp(o->name, without[i]) == 0;
        if (!is_out)
            table[n++] = *o;
    }
    for (size_t i = 0; i < VMT_ARRAY_SIZE(own); i++)
        table[n++] = own[i];
    table[n] = (struct vmc_option){.name = NULL};
}

/* The VM will be stopped: it must not be one that somebody uses. */
static int
refuse_running(struct vmc *vmc, const char *name, struct vmt_err *err)
{
    char safe[128];
    int r = vmc_require(vmc, name, err);

    if (r == 0)
        return vmt_err_setx(err, EBUSY, "%s runs already; vmc exec runs a command in it",
                            vmc_escape(safe, sizeof(safe), name));
    return r == -ENOENT ? 0 : r;
}

static int
run_guarded(struct vmc *vmc, struct run_options *o)
{
    const char *name = o->command.vm_name;
    struct vmt_err err;
    int r = vm_start(vmc, name, &o->start, &err), code;

    if (r < 0)
        return vmc_fail(r, &err);
    code = guest_command_run(vmc, &o->command);
    if (vm_stop(vmc, name, &err) < 0)
        (void)fprintf(stderr, "vmc: %s\n", err.msg);
    return code;
}

static int
run_in_vm(struct vmc *vmc, struct run_options *o)
{
    struct vmc_guard guard;
    char name[32];
    struct vmt_err err;
    int code, r;

    (void)snprintf(name, sizeof(name), "run-%d", (int)getpid());
    o->command.vm_name = *o->name ? o->name : name;
    r = start_disks_find(vmc, &o->start, &err);
    if (r == 0)
        r = refuse_running(vmc, o->command.vm_name, &err);
    if (r == 0)
        r = vmc_guard_start(vmc, o->command.vm_name, &guard, &err);
    if (r < 0)
        return vmc_fail(r, &err);
    code = run_guarded(vmc, o);
    vmc_guard_dismiss(&guard);
    return code;
}

static int
run_run(struct vmc *vmc, int argc, char **argv)
{
    struct vmc_option table[START_OPTIONS_MAX + VMT_ARRAY_SIZE(own)];
    const struct vmc_syntax syntax = {
        .options = table,
        .order = VMC_ORDER_FIRST,
        .operands_min = 1,
        .operands_max = INT_MAX,
    };
    struct run_options o = {.command = {.user = "", .cwd = ""}, .name = ""};
    char **operands;
    size_t n;
    int r;

    fill_options(table);
    start_options_init(&o.start);
    o.start.quiet = true;
    r = vmc_begin(vmc, &vmc_run, argc, argv, &syntax, &o, &operands, &n);
    if (r < 0) {
        o.command.args = operands;
        o.command.nargs = n;
        r = run_in_vm(vmc, &o);
    }
    start_options_done(&o.start);
    return r;
}

const struct vmc_command vmc_run = {
    .name = "run",
    .summary = "run a command in a VM of its own",
    .usage =
        "[OPTION]... [--user USER] [--cwd DIR] [--name NAME] --\n"
        "           [VARIABLE=VALUE]... COMMAND [ARG]...\n"
        "Start a VM, run the command in it, stop the VM, whatever ends the command or\n"
        "vmc. The options are those of vmc start but for --no-shell, --wait and\n"
        "--restart; the exit code is as for vmc exec, and 1 when the VM does not start,\n"
        "or 4 when one named NAME runs already.\n",
    .run = run_run,
};
