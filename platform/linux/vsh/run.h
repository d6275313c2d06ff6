/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/run.h - run a command or shell in a guest on our stdio. */
#pragma once

#include <stdbool.h>

#include "core/vsh/message.h"

struct os_loop;
struct vmt_err;
struct vsh_endpoint;
struct vsh_forward;

#define VSH_EXIT_LOCAL 1 /* wrong options, no connection, refused set-up */
#define VSH_EXIT_LOST 123

/* Whether the command gets a terminal. */
enum vsh_tty {
    VSH_TTY_AUTO, /* when our stdin and stdout are one */
    VSH_TTY_ALWAYS,
    VSH_TTY_NEVER,
};

struct vsh_run_config {
    const char *program; /* begins the lines on stderr; borrowed */
    const struct vsh_endpoint *endpoint;
    /* What to run; nopty and the window size are filled in. Borrowed for the call. */
    const struct vsh_request *request;
    unsigned retry_ms;           /* see vsh_connect_config */
    struct vsh_forward *forward; /* NULL: nothing; borrowed */
    enum vsh_tty tty;
    int escape; /* the character of struct vsh_escape; 0: VSH_ESCAPE_DEFAULT */
    bool *
        ret_lost; /* set when the connection of a running command was lost; may be NULL */
};

/* Run one session to its end, with the loop, which must have no other business. Says on
 * stderr what went wrong. Returns the exit code for our own process: that of the command,
 * 128+n when it died of signal n, 126 or 127 when it could not be run, VSH_EXIT_LOST,
 * VSH_EXIT_LOCAL, 128+n when we gave up on signal n. */
int vsh_run(struct os_loop *loop, const struct vsh_run_config *config);
