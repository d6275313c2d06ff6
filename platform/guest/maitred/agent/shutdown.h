/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/agent/shutdown.h - the way down, whoever asked for it. */
#pragma once

#include "platform/guest/maitred/init/cmdline.h"

struct os_loop;
struct proc_table;
struct shutdown;

struct shutdown_config {
    struct os_loop *loop;     /* borrowed */
    struct proc_table *procs; /* borrowed */
    enum cmdline_poweroff poweroff;
    /* All is clean: answer who waits. The machine goes off shortly after. */
    void (*on_clean)(void *arg);
    void *arg; /* borrowed */
};

/* Begin: no process is started any more; all others are told to end, then killed; file
 * systems are unmounted; on_clean; power off. No step can hold it up for ever: after
 * SHUTDOWN_HARD_MS the machine goes off whatever is left. Returns 0 or -ENOMEM. */
int shutdown_start(const struct shutdown_config *config, struct shutdown **ret_shutdown);

/* The host gives up after 30 s. */
#define SHUTDOWN_HARD_MS 27000u
