/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/run.h - run a command or shell in a guest on our stdio. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "core/vsh/message.h"

struct os_loop;
struct vmt_err;
struct vsh_endpoint;
struct vsh_forward;

#define VSH_EXIT_LOCAL 1 /* wrong options, no connection, refused set-up */
#define VSH_EXIT_LOST 123
#define VSH_KEEPALIVE_NEVER UINT_MAX

/* Whether the command gets a terminal. */
enum vsh_tty {
    VSH_TTY_AUTO, /* when our stdin and stdout are one */
    VSH_TTY_ALWAYS,
    VSH_TTY_NEVER,
};

/* How the connection of a running command was lost. */
enum vsh_loss {
    VSH_LOSS_NONE,
    VSH_LOSS_CUT,
    VSH_LOSS_SILENT, /* the guest did not answer any more */
};

typedef void vsh_suspended_fn(void *arg, bool suspended);

struct vsh_run_config {
    const char *program; /* begins the lines on stderr; borrowed */
    const struct vsh_endpoint *endpoint;
    /* What to run; nopty and the window size are filled in. Borrowed for the call. */
    const struct vsh_request *request;
    unsigned retry_ms;           /* see vsh_connect_config */
    struct vsh_forward *forward; /* NULL: nothing; borrowed */
    enum vsh_tty tty;
    int escape;            /* the character of struct vsh_escape; 0: VSH_ESCAPE_DEFAULT */
    unsigned keepalive_ms; /* silence of the guest after which it is looked for; 0:
                              VSH_ALIVE_SILENCE_MS; VSH_KEEPALIVE_NEVER */
    enum vsh_loss *ret_loss; /* set when a connection was lost; may be NULL */
    /* Start to find out whether the VM is suspended, so that its silence means nothing;
     * told runs once, from the loop, not after vsh_run. Returns 0, or -errno when nobody
     * can tell. NULL: nobody can. */
    int (*ask_suspended)(void *ask_arg, vsh_suspended_fn *told, void *told_arg);
    void *ask_arg; /* borrowed */
};

/* Run one session to its end, with the loop, which must have no other business. Says on
 * stderr what went wrong. Returns the exit code for our own process: that of the command,
 * 128+n when it died of signal n, 126 or 127 when it could not be run, VSH_EXIT_LOST,
 * VSH_EXIT_LOCAL, 128+n when we gave up on signal n. */
int vsh_run(struct os_loop *loop, const struct vsh_run_config *config);
