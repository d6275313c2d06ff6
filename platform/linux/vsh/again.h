/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/again.h - sessions in a VM that has a name: when the connection is
 * lost, say what became of the VM, and open a new shell when it is back. */
#pragma once

#include <stdbool.h>

struct concierge_client;
struct os_loop;
struct vmt_err;
struct vsh_endpoint;
struct vsh_run_config;

struct vsh_again {
    const char *vm_name;
    const char *owner; /* NULL: that of our uid */
    bool reconnect;    /* without asking */
    /* Connect to the daemon, which must not be started for that. The caller owns the
     * client. */
    int (*open)(void *arg, struct concierge_client **ret_client, struct vmt_err *err);
    void *arg;
};

/* As vsh_run. endpoint is where the VM is now; it changes with the VM. run->endpoint and
 * run->ret_loss and run->ask_suspended are set here. Only a session on a terminal is
 * opened again: the input of any other is partly gone. */
int vsh_run_again(struct os_loop *loop, const struct vsh_again *again,
                  struct vsh_run_config *run, struct vsh_endpoint *endpoint);
