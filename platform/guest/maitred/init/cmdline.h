/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/cmdline.h - the kernel command line, as far as it is for
 * us. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/argv.h"

#define CMDLINE_VALUE_MAX 128 /* a value that is longer is not taken, and is logged */

enum cmdline_poweroff {
    CMDLINE_POWEROFF_AUTO, /* reboot where the machine cannot power itself off */
    CMDLINE_POWEROFF_OFF,
    CMDLINE_POWEROFF_REBOOT,
    CMDLINE_POWEROFF_HALT,
};

struct cmdline {
    bool probe;                /* say hello and power off */
    bool template;             /* boot for many: wait for an identity */
    bool no_startup_processes; /* leave /etc/maitred alone */
    bool provision_stateful;   /* add "provision" to the mount-stateful job */
    bool shell;                /* a shell on the console */
    bool debug;                /* log debug lines */
    uint32_t host_port;        /* where VmReady goes */
    uint32_t port;             /* where we listen */
    uint32_t job_timeout_s;    /* how long a startup job with wait_for_exit may take */
    uint32_t root_timeout_s;   /* how long to wait for the root device */
    uint32_t thaw_timeout_s;   /* frozen programs run again when nobody thaws them */
    uint32_t watchdog_s;       /* how long we may stand still on a watchdog device */
    enum cmdline_poweroff poweroff;
    enum cmdline_poweroff fault;             /* after a fault of our own */
    bool coldplug;                           /* load modules for devices that have none */
    char modules[CMDLINE_VALUE_MAX];         /* to load before the jobs, with commas */
    char crash_collector[CMDLINE_VALUE_MAX]; /* program that gets core dumps */
    bool root_rw;                            /* "rw": no overlay over the root */
    bool root_overlay; /* a tmpfs over a read-only root; off by maitred.overlay=none */
    char skip_jobs[CMDLINE_VALUE_MAX]; /* names of startup files, with commas */
    char root[CMDLINE_VALUE_MAX];      /* "" if not given: stay in the initramfs */
    char rootfstype[CMDLINE_VALUE_MAX];
    char rootflags[CMDLINE_VALUE_MAX];
    struct vmt_argv
        refused; /* owned: options of ours that are unknown or have a bad value */
};

/* One option; value is NULL when there was no '='. Both are borrowed for the call. */
typedef void cmdline_fn(void *arg, const char *key, const char *value);

/* Cut text as the kernel does (lib/cmdline.c, next_arg, v6.1): options end at a space
 * that is not in double quotes; quotes around the value or around the whole option are
 * removed. text is changed. Stops at the word "--": what follows is for init as argument,
 * not an option. */
void cmdline_each(char *text, cmdline_fn *fn, void *arg);

/* Fill in defaults and what text says; the last of several wins. text is changed. Options
 * of others are left alone. cmdline_done releases. */
void cmdline_parse(char *text, struct cmdline *ret);
void cmdline_done(struct cmdline *cmdline);
