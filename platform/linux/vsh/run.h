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

struct vsh_run_config {
    const char *program; /* begins the lines on stderr; borrowed */
    const struct vsh_endpoint *endpoint;
    /* What to run; nopty and the window size are filled in: a terminal is used when
     * stdin and stdout are terminals. Borrowed for the call. */
    const struct vsh_request *request;
    unsigned retry_ms;           /* see vsh_connect_config */
    struct vsh_forward *forward; /* NULL: nothing; borrowed */
};

/* Run one session to its end, with the loop, which must have no other business. Says on
 * stderr what went wrong. Returns the exit code for our own process: that of the command,
 * 128+n when it died of signal n, 126 or 127 when it could not be run, VSH_EXIT_LOST,
 * VSH_EXIT_LOCAL, 128+n when we gave up on signal n. */
int vsh_run(struct os_loop *loop, const struct vsh_run_config *config);
