/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/cancel.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/vm_disk/report.h"

static const int cancel_signals[] = {SIGTERM, SIGINT};

/* What the handler needs; written with the signals held. */
static struct {
    volatile sig_atomic_t child;
    volatile int dir_fd;
    const char *volatile name;
    unsigned held; /* how often */
} cancel;

static void
cancel_now(int sig)
{
    (void)sig;
    if (cancel.child > 0)
        (void)kill(cancel.child, SIGKILL);
    if (cancel.name)
        (void)unlinkat(cancel.dir_fd, cancel.name, 0);
    report_cancelled();
    _exit(EXIT_FAILURE);
}

static int
cancel_set(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(cancel_signals); i++)
        (void)sigaddset(&action.sa_mask, cancel_signals[i]);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cancel_signals); i++) {
        if (sigaction(cancel_signals[i], &action, NULL) < 0)
            return -errno;
    }
    return 0;
}

static void
cancel_mask(int how)
{
    sigset_t set;

    (void)sigemptyset(&set);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cancel_signals); i++)
        (void)sigaddset(&set, cancel_signals[i]);
    (void)sigprocmask(how, &set, NULL);
}

int
cancel_init(struct vmt_err *err)
{
    int r = cancel_set(cancel_now);

    cancel_mask(SIG_UNBLOCK); /* whatever we inherited */
    return r < 0 ? vmt_err_set(err, -r, "catch signals") : 0;
}

void
cancel_forget(void)
{
    cancel.child = 0;
    cancel.name = NULL;
    cancel.held = 0;
    (void)cancel_set(SIG_DFL);
    cancel_mask(SIG_UNBLOCK);
}

void
cancel_hold(bool on)
{
    if (on && cancel.held++ == 0)
        cancel_mask(SIG_BLOCK);
    if (!on && --cancel.held == 0)
        cancel_mask(SIG_UNBLOCK);
}

void
cancel_child(pid_t child)
{
    cancel.child = child;
}

void
cancel_temp(int dir_fd, const char *name)
{
    cancel_hold(true);
    cancel.dir_fd = dir_fd;
    cancel.name = name;
    cancel_hold(false);
}
