/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/run_signals.c - signals to us become signals to the command. */
#include <signal.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/vsh/client.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vsh/run_internal.h"
#include "platform/linux/vsh/terminal.h"

/* Give up as if the signal had killed us; what is queued for stdout is lost, too. */
static void
signals_give_up(struct vsh_run *run, int sig)
{
    run_end(run, 128 + sig);
    os_loop_stop(run->loop, 128 + sig);
}

/* Forward it. Who asks us to end a second time, or before or after the command runs,
 * means us: the command may be one that ignores it. */
static void
signals_on_end(void *arg, int sig)
{
    struct vsh_run *run = arg;
    bool insists = (sig == SIGTERM || sig == SIGHUP) && run->told_to_end;

    if (run->over || insists || !vsh_client_running(run->client) ||
        run->config->request->no_command) {
        signals_give_up(run, sig);
        return;
    }
    run->told_to_end = sig == SIGTERM || sig == SIGHUP;
    (void)vsh_client_signal(run->client, sig);
}

static void
signals_on_resize(void *arg, int sig)
{
    struct vsh_run *run = arg;
    int32_t rows, cols;

    (void)sig;
    terminal_size(STDIN_FILENO, &rows, &cols);
    if (rows > 0 && cols > 0)
        (void)vsh_client_resize(run->client, rows, cols);
}

/* Somebody wants us to stop (the terminal is raw, so it was not Ctrl-Z): leave the
 * terminal usable meanwhile. */
void
run_suspend(struct vsh_run *run)
{
    (void)run;
    terminal_restore();
    (void)kill(getpid(), SIGSTOP);
}

static void
signals_on_stop(void *arg, int sig)
{
    (void)sig;
    run_suspend(arg);
}

static void
signals_on_continue(void *arg, int sig)
{
    struct vsh_run *run = arg;

    if (run->over || !vsh_client_running(run->client))
        return;
    terminal_restore(); /* the shell has changed it: what we set no longer holds */
    (void)terminal_raw(STDIN_FILENO, NULL);
    signals_on_resize(run, sig);
}

static const struct {
    int sig;
    bool interactive_only;
    void (*fn)(void *arg, int sig);
} signals[] = {
    {SIGHUP, false, signals_on_end},      {SIGINT, false, signals_on_end},
    {SIGQUIT, false, signals_on_end},     {SIGTERM, false, signals_on_end},
    {SIGWINCH, true, signals_on_resize},  {SIGTSTP, true, signals_on_stop},
    {SIGCONT, true, signals_on_continue},
};

/* What somebody had us ignore, as nohup(1) does, does not reach the command either. */
int
run_watch_signals(struct vsh_run *run, struct vmt_err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < VMT_ARRAY_SIZE(signals); i++)
        if ((run->interactive || !signals[i].interactive_only) &&
            !os_signal_is_ignored(signals[i].sig))
            r = os_loop_on_signal(run->loop, signals[i].sig, signals[i].fn, run, err);
    return r;
}

static void
signals_nobody(void *arg, int sig)
{
    (void)arg;
    (void)sig;
}

void
run_ignore_signals(struct vsh_run *run)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(signals); i++)
        if (run->interactive || !signals[i].interactive_only)
            (void)os_loop_on_signal(run->loop, signals[i].sig, signals_nobody, NULL,
                                    NULL);
}
