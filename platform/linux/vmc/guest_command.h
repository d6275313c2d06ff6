/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/guest_command.h - run something in a VM on our stdio. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "platform/linux/vsh/run.h"

struct vmc;
struct vmt_err;
struct vsh_endpoint;

struct guest_command {
    const char *vm_name;
    const char *target; /* NULL: VSH_TARGET_VM */
    const char *user;   /* "": the guest's default */
    const char *cwd;    /* "": the home directory */
    enum vsh_tty tty;
    int escape;     /* see vsh_run_config */
    bool no_stdin;  /* /dev/null instead */
    bool reconnect; /* see vsh_again */
    char *const
        *args; /* NAME=VALUE... COMMAND ARG..., nargs of them; none: login shell */
    size_t nargs;
};

/* Where the vshd of a VM is. Returns as vmc_connect and concierge_client_endpoint. */
int guest_endpoint_find(struct vmc *vmc, const char *name,
                        struct vsh_endpoint *ret_endpoint, struct vmt_err *err);

/* Returns the exit code for our own process, see vsh_run, or that of vmc_fail. */
int guest_command_run(struct vmc *vmc, const struct guest_command *command);
