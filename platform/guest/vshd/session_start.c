/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/session_start.c - from the request to the running command. */
#include "platform/guest/vshd/session_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/guest/vshd/account.h"
#include "platform/guest/vshd/child.h"
#include "platform/guest/vshd/environment.h"
#include "platform/guest/vshd/service.h"
#include "platform/linux/os/loop.h"

/* Whom the original's client names for a shell of the VM when its own user named nobody.
 * Source: platform2 3050786c, vm_tools/vsh/vsh.cc, kDefaultUser. */
#define ORIGINAL_USER "chronos"

/* Look up name; in a guest that has no such user, what stands for "nobody was named" is
 * the default user. */
static int
session_load_account(const char *name, const char *otherwise, struct account *ret_account,
                     struct vmt_err *err)
{
    int r = account_load(name, getuid(), ret_account, err);

    if (r == -ENOENT && otherwise && strcmp(name, ORIGINAL_USER) == 0)
        r = account_load(otherwise, getuid(), ret_account, err);
    return r;
}

/* Copies are of the VM, too. */
static bool
target_is_vm(const struct vsh_request *request)
{
    return strcmp(request->target, VSH_TARGET_VM) == 0 ||
           strcmp(request->target, VSH_TARGET_COPY) == 0;
}

int
session_choose_user(const struct vshd_session *session, const struct vsh_request *request,
                    struct account *ret_account, struct vmt_err *err)
{
    const struct vshd_config *config = session->config.config;
    bool vm = target_is_vm(request);
    const char *name = *request->user ? request->user : NULL;
    const char *otherwise = NULL;
    uid_t self = getuid();
    int r;

    if (vm && config->allow_to_switch_user)
        otherwise = config->default_user;
    r = session_load_account(name ? name : otherwise, otherwise, ret_account, err);
    if (r < 0)
        return r;
    if (ret_account->uid == self)
        return 0;
    if (vm && !config->allow_to_switch_user)
        r = vmt_err_setx(err, EPERM, "this vshd does not switch users; it runs as uid %u",
                         (unsigned)self);
    else if (self != 0)
        r = vmt_err_setx(err, EPERM, "cannot become %s: vshd runs as uid %u",
                         ret_account->name, (unsigned)self);
    if (r < 0)
        account_done(ret_account);
    return r;
}

/* Without the right to switch, a session of the VM knows nothing of accounts. */
static int
session_forget_account(const struct vshd_session *session,
                       const struct vsh_request *request, struct account *account)
{
    if (session->config.config->allow_to_switch_user || !target_is_vm(request))
        return 0;
    free(account->home);
    free(account->shell);
    account->home = strdup("/");
    account->shell = strdup("/bin/sh");
    return account->home && account->shell ? 0 : -ENOMEM;
}

static void
status_on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    session_on_status(arg);
}

static int
session_watch(struct vshd_session *session, struct child *child)
{
    struct event_base *base = os_loop_base(session->config.loop);
    struct session_output *out = &session->outputs[0], *err = &session->outputs[1];
    short persist = EV_READ | EV_PERSIST;

    session->pid = child->pid;
    session->in_fd = child->in;
    out->fd = child->out;
    err->fd = child->err;
    session->status_fd = child->status;
    session->in_ev =
        event_new(base, session->in_fd, EV_WRITE, session_on_writable, session);
    session->status_ev =
        event_new(base, session->status_fd, persist, status_on_readable, session);
    out->ev = event_new(base, out->fd, persist, session_on_readable, out);
    if (err->fd >= 0)
        err->ev = event_new(base, err->fd, persist, session_on_readable, err);
    if (!session->in_ev || !session->status_ev || !out->ev || (err->fd >= 0 && !err->ev))
        return -ENOMEM;
    return event_add(session->status_ev, NULL) < 0 ? -ENOMEM : 0;
}

/* A NULL-terminated copy of the request's list of borrowed strings, or NULL if empty. */
static int
session_argv(const struct vsh_request *request, const char ***ret_argv)
{
    *ret_argv = NULL;
    if (request->argc == 0)
        return 0;
    *ret_argv = calloc(request->argc + 1, sizeof(char *));
    if (!*ret_argv)
        return -ENOMEM;
    memcpy(*ret_argv, request->argv, request->argc * sizeof(char *));
    return 0;
}

bool
session_switches_user(const struct vshd_session *session, const struct account *account)
{
    return getuid() == 0 &&
           (account->uid != 0 || session->config.config->allow_to_switch_user);
}

/* The environment that the client asked for and what the session itself adds. ret_list is
 * owned, its strings are borrowed. */
static int
session_request_env(const struct vshd_session *session, struct vsh_request *request,
                    struct vsh_env **ret_list)
{
    struct vsh_env *list = calloc(request->nenv + 1, sizeof(*list));
    const char *agent;

    if (!list)
        return -ENOMEM;
    memcpy(list, request->env, request->nenv * sizeof(*list));
    if (session_agent_path(session, &agent))
        list[request->nenv++] = (struct vsh_env){"SSH_AUTH_SOCK", agent};
    request->env = *ret_list = list;
    return 0;
}

/* What the list of sessions tells. */
static int
session_remember(struct vshd_session *session, const struct vsh_request *request,
                 const struct account *account)
{
    free(session->command);
    free(session->user);
    session->uid = account->uid;
    session->command = strdup(request->argc ? request->argv[0] : account->shell);
    session->user = strdup(account->name);
    return session->command && session->user ? 0 : -ENOMEM;
}

static int
session_fork(struct vshd_session *session, const struct vsh_request *request,
             const struct account *account, struct vmt_err *err)
{
    const struct vshd_config *config = session->config.config;
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv env = {0};
    VMT_CLEANUP(vmt_freep) const char **argv = NULL;
    struct child_spec spec = {
        .account = account,
        /* We are the program, too: a guest need not have tar, or anything. */
        .program =
            strcmp(request->target, VSH_TARGET_COPY) == 0 ? "/proc/self/exe" : NULL,
        .switch_user = session_switches_user(session, account),
        .cgroup = session->cgroup,
        .cwd = request->cwd,
        .cwd_pid = request->cwd_pid,
        .pty = !request->nopty,
        .rows = request->rows,
        .cols = request->cols,
        .nofile = config->nofile,
    };
    struct vsh_request full = *request;
    VMT_CLEANUP(vmt_freep) struct vsh_env *list = NULL;
    struct child child;
    int r;

    if (session_remember(session, request, account) < 0 ||
        session_request_env(session, &full, &list) < 0 ||
        session_argv(request, &argv) < 0 ||
        environment_build(config->inherit_env ? (const char *const *)environ : NULL,
                          account, &full, &env) < 0)
        return vmt_err_set(err, ENOMEM, "set up the session");
    (void)session_cgroup_make(session->config.id, session->cgroup);
    spec.argv = argv;
    spec.env = (const char *const *)env.v;
    r = child_start(&spec, &child, err);
    if (r < 0)
        return r;
    session->pty = spec.pty;
    memcpy(session->tty, child.tty, sizeof(session->tty));
    session->phase = SESSION_STARTING;
    r = session_watch(session, &child);
    return r < 0 ? vmt_err_set(err, -r, "watch the session") : 0;
}

int
session_start(struct vshd_session *session, const struct vsh_request *request,
              struct vmt_err *err)
{
    VMT_CLEANUP(account_done) struct account account = {0};
    int r = session_choose_user(session, request, &account, err);

    if (r < 0)
        return r;
    if (session_forget_account(session, request, &account) < 0)
        return vmt_err_set(err, ENOMEM, "set up the session");
    return session_fork(session, request, &account, err);
}
