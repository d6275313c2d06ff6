/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/service.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include <event2/event.h>

#include "core/adapter/stream.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "core/base/log.h"
#include "platform/guest/vshd/accepted.h"
#include "platform/guest/vshd/limits.h"
#include "platform/guest/vshd/session.h"
#include "platform/linux/os/loop.h"

struct vshd_service {
    struct os_loop *loop; /* borrowed */
    struct vshd_config config;
    struct vmt_list sessions; /* owned sessions */
    struct vmt_list done;     /* owned sessions that the reaper frees */
    size_t nsessions;         /* in sessions */
    uint32_t last_id;
    struct accepted_pool *accepted; /* owned */
    struct event *reaper;           /* owned */
};

static void
service_on_reap(evutil_socket_t fd, short what, void *arg)
{
    struct vshd_service *service = arg;

    (void)fd;
    (void)what;
    VMT_LIST_FOREACH(node, next, &service->done)
    {
        vmt_list_remove(node);
        vshd_session_free(vshd_session_of(node));
        if (service->config.on_session_end)
            service->config.on_session_end(service->config.arg);
    }
}

static void
service_on_session_done(void *arg, struct vshd_session *session)
{
    struct vshd_service *service = arg;
    struct vmt_list *node = vshd_session_node(session);

    vmt_list_remove(node);
    vmt_list_append(&service->done, node);
    service->nsessions--;
    event_active(service->reaper, EV_TIMEOUT, 0);
}

static void
service_on_child(struct vshd_service *service, pid_t pid, int wait_status)
{
    VMT_LIST_FOREACH(node, next, &service->sessions)
    {
        struct vshd_session *session = vshd_session_of(node);

        if (vshd_session_pid(session) == pid) {
            vshd_session_on_exit(session, wait_status);
            return;
        }
    }
}

/* Stopped children are not asked for: a stop ends no session. */
static void
service_on_sigchld(void *arg, int sig)
{
    int wait_status;
    pid_t pid;

    (void)sig;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
        service_on_child(arg, pid, wait_status);
}

int
vshd_service_new(struct os_loop *loop, const struct vshd_config *config,
                 struct vshd_service **ret_service, struct vmt_err *err)
{
    struct vshd_service *service = calloc(1, sizeof(*service));
    int r;

    if (!service)
        return vmt_err_set(err, ENOMEM, "create service");
    service->loop = loop;
    service->config = *config;
    vmt_list_init(&service->sessions);
    vmt_list_init(&service->done);
    service->reaper = event_new(os_loop_base(loop), -1, 0, service_on_reap, service);
    r = service->reaper && accepted_pool_new(os_loop_clock(loop), &service->accepted) == 0
            ? 0
            : vmt_err_set(err, ENOMEM, "create service");
    if (r == 0)
        r = os_loop_on_signal(loop, SIGCHLD, service_on_sigchld, service, err);
    if (r < 0) {
        vshd_service_free(service);
        return r;
    }
    *ret_service = service;
    return 0;
}

static void
sessions_free(struct vmt_list *sessions)
{
    VMT_LIST_FOREACH(node, next, sessions)
    {
        vmt_list_remove(node);
        vshd_session_free(vshd_session_of(node));
    }
}

void
vshd_service_free(struct vshd_service *service)
{
    if (!service)
        return;
    sessions_free(&service->sessions);
    sessions_free(&service->done);
    accepted_pool_free(service->accepted);
    if (service->reaper)
        event_free(service->reaper);
    free(service);
}

static bool
service_has_room(void *arg)
{
    struct vshd_service *service = arg;
    size_t n = 0;

    VMT_LIST_FOREACH(node, next, &service->sessions)
    n += vshd_session_is_command(vshd_session_of(node));
    return n < VSHD_COMMANDS_MAX;
}

/* Asked each time: memory may be plugged in and out. */
static unsigned
carried_max(void)
{
    struct sysinfo info;

    return vshd_carried_max(sysinfo(&info) < 0 ? 0
                                               : (uint64_t)info.totalram * info.mem_unit);
}

static bool
service_may_carry(void *arg)
{
    struct vshd_service *service = arg;
    size_t n = 0;

    VMT_LIST_FOREACH(node, next, &service->sessions)
    n += vshd_session_carries(vshd_session_of(node));
    return n < carried_max();
}

static int
service_list(void *arg, struct vshd_session *asking)
{
    struct vshd_service *service = arg;
    int r = 0;

    VMT_LIST_FOREACH(node, next, &service->sessions)
    {
        if (r == 0)
            r = vshd_session_tell(vshd_session_of(node), asking);
    }
    return r;
}

void
vshd_service_accept(struct vshd_service *service, struct stream *stream)
{
    struct vshd_session_config config = {
        .loop = service->loop,
        .config = &service->config,
        .id = service->last_id + 1,
        .accepted = service->accepted,
        .full = service->nsessions >= VSHD_CONNECTIONS_MAX,
        .has_room = service_has_room,
        .may_carry = service_may_carry,
        .list = service_list,
        .on_done = service_on_session_done,
        .arg = service,
    };
    struct vshd_session *session;

    if (service->nsessions >= VSHD_CONNECTIONS_MAX + VSHD_REFUSALS_MAX) {
        vmt_log_warning("connection refused: %zu are open", service->nsessions);
        stream_close(stream);
        return;
    }
    if (vshd_session_new(stream, &config, &session) < 0) {
        vmt_log_error("connection refused: out of memory");
        return;
    }
    vmt_list_append(&service->sessions, vshd_session_node(session));
    service->nsessions++;
    service->last_id++;
}
