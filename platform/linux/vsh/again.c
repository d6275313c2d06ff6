/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/again.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/adapter/clock.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vsh/concierge_client.h"
#include "platform/linux/vsh/run.h"

#define POLL_MS 250u
/* A guest that goes down cuts connections some time before its VM has ended. */
#define PATIENCE_MS 5000u

VMT_DEFINE_FREEP(struct concierge_client, concierge_client_free)

/* A connection that was lost, and what comes of it. */
struct again {
    struct os_loop *loop;
    const struct vsh_again *config;
    const char *program;
    int64_t since_s;         /* when the session began, in seconds since 1970 */
    char name[64];           /* of the VM, fit for a terminal */
    struct vmt_timer *timer; /* owned: the end of a pause */
    bool wanted;             /* a new session is */
    bool given_up;
    struct concierge_client *asked; /* owned: whom run asks whether the VM is suspended */
    vsh_suspended_fn *told;
    void *told_arg; /* borrowed */
};

static void
again_on_signal(void *arg, int sig)
{
    struct again *a = arg;

    (void)sig;
    a->given_up = true;
    os_loop_stop(a->loop, 0);
}

static void
again_on_timer(void *arg)
{
    struct again *a = arg;

    a->timer = NULL; /* it is gone by itself */
    os_loop_stop(a->loop, 0);
}

/* A line: yes. The end of input: no. */
static void
again_on_key(evutil_socket_t fd, short what, void *arg)
{
    struct again *a = arg;
    char line[256];
    ssize_t n = read(fd, line, sizeof(line));

    (void)what;
    if (n <= 0)
        a->given_up = true;
    else if (memchr(line, '\n', (size_t)n))
        a->wanted = true;
    os_loop_stop(a->loop, 0);
}

/* Let some time pass, or less when something happens. Returns whether to go on. */
static bool
again_pause(struct again *a)
{
    struct vmt_clock *clock = os_loop_clock(a->loop);
    struct event *key = NULL;

    if (a->given_up ||
        clock->ops->timer_start(clock, POLL_MS, again_on_timer, a, &a->timer) < 0)
        return false;
    if (!a->wanted)
        key = event_new(os_loop_base(a->loop), STDIN_FILENO, EV_READ, again_on_key, a);
    if (key)
        (void)event_add(key, NULL);
    (void)os_loop_run(a->loop);
    if (key)
        event_free(key);
    clock->ops->timer_cancel(clock, a->timer);
    a->timer = NULL;
    return !a->given_up;
}

static int
again_look(const struct again *a, struct concierge_vm *vm)
{
    VMT_CLEANUP(concierge_client_freep) struct concierge_client *client = NULL;
    int r = a->config->open(a->config->arg, &client, NULL);

    return r < 0 ? r
                 : concierge_client_vm(client, a->config->vm_name, a->config->owner, vm,
                                       NULL);
}

static void
again_on_vm(void *arg, const struct concierge_vm *vm)
{
    struct again *a = arg;

    a->told(a->told_arg, vm && vm->runs && vm->is_suspended);
}

static int
again_ask_suspended(void *arg, vsh_suspended_fn *told, void *told_arg)
{
    struct again *a = arg;
    int r;

    concierge_client_free(a->asked);
    a->asked = NULL;
    a->told = told;
    a->told_arg = told_arg;
    r = a->config->open(a->config->arg, &a->asked, NULL);
    return r < 0 ? r
                 : concierge_client_ask_vm(a->asked, a->config->vm_name, a->config->owner,
                                           again_on_vm, a, NULL);
}

/* Is this the end of the VM that the session was in, not of one before? */
static bool
end_is_known(const struct again *a, const struct concierge_vm *vm)
{
    return !vm->runs && *vm->end && vm->ended_s >= a->since_s;
}

static bool
same_place(const struct vsh_endpoint *a, const struct vsh_endpoint *b)
{
    return a->kind == b->kind && a->cid == b->cid && strcmp(a->address, b->address) == 0;
}

/* Find out what became of the VM that was at this endpoint, and say it. */
static void
again_explain(struct again *a, const struct vsh_endpoint *endpoint, enum vsh_loss loss)
{
    struct vmt_clock *clock = os_loop_clock(a->loop);
    uint64_t end = clock->ops->now_ms(clock) + PATIENCE_MS;
    struct concierge_vm vm = {0};
    const char *what = loss == VSH_LOSS_SILENT
                           ? "was not ended; it stands still or lost its vsock device"
                           : "runs; its connections were cut, as a snapshot does";
    int r;

    do
        r = again_look(a, &vm);
    while (r == 0 &&
           (vm.runs ? same_place(&vm.endpoint, endpoint) : !end_is_known(a, &vm)) &&
           clock->ops->now_ms(clock) < end && again_pause(a));
    if (r < 0)
        what = "may run or not: vm_concierge does not answer";
    else if (end_is_known(a, &vm))
        what = NULL;
    else if (!vm.runs)
        what = "has ended";
    else if (!same_place(&vm.endpoint, endpoint))
        what = "was started again";
    if (what)
        (void)fprintf(stderr, "%s: %s %s\n", a->program, a->name, what);
    else
        (void)fprintf(stderr, "%s: %s ended: %s\n", a->program, a->name, vm.end);
}

/* Until the VM is there and a new session is wanted. */
static bool
again_wait(struct again *a, struct vsh_endpoint *endpoint)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct concierge_vm vm;
    bool told = false;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(signals); i++)
        (void)os_loop_on_signal(a->loop, signals[i], again_on_signal, a, NULL);
    if (!a->wanted)
        (void)fprintf(stderr, "%s: Enter opens a new session when %s runs, Ctrl-C ends\n",
                      a->program, a->name);
    while (!a->given_up) {
        if (a->wanted && again_look(a, &vm) == 0 && vm.runs) {
            *endpoint = vm.endpoint;
            return true;
        }
        if (a->wanted && !told)
            (void)fprintf(stderr, "%s: waiting for %s; Ctrl-C ends\n", a->program,
                          a->name);
        told = told || a->wanted;
        if (!again_pause(a))
            break;
    }
    return false;
}

/* Returns whether there is another session to run. */
static bool
again_lost(struct again *a, const struct vsh_run_config *run,
           struct vsh_endpoint *endpoint, enum vsh_loss loss)
{
    bool on_terminal = run->tty != VSH_TTY_NEVER && isatty(STDIN_FILENO) &&
                       isatty(STDERR_FILENO) &&
                       (isatty(STDOUT_FILENO) || run->tty == VSH_TTY_ALWAYS);

    a->wanted = true; /* nobody is asked yet */
    again_explain(a, endpoint, loss);
    /* Nobody need be there to ask for what only forwards. */
    if (a->given_up ||
        (!on_terminal && !(run->request->no_command && a->config->reconnect)))
        return false;
    a->wanted = a->config->reconnect;
    return again_wait(a, endpoint);
}

int
vsh_run_again(struct os_loop *loop, const struct vsh_again *config,
              struct vsh_run_config *run, struct vsh_endpoint *endpoint)
{
    struct again a = {.loop = loop, .config = config, .program = run->program};

    (void)vmt_log_escape(a.name, sizeof(a.name), config->vm_name,
                         strlen(config->vm_name));
    for (;;) {
        enum vsh_loss loss = VSH_LOSS_NONE;
        int code;

        a.since_s = time(NULL);
        run->endpoint = endpoint;
        run->ret_loss = &loss;
        run->ask_suspended = again_ask_suspended;
        run->ask_arg = &a;
        code = vsh_run(loop, run);
        run->ret_loss = NULL;
        run->ask_suspended = NULL;
        concierge_client_free(a.asked);
        a.asked = NULL;
        if (loss == VSH_LOSS_NONE || !again_lost(&a, run, endpoint, loss))
            return code;
    }
}
