/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vm_vsock/keeper_internal.h"
#include "platform/linux/vm_vsock/private.h"

#define ACCEPT_PAUSE_MS 100

static void
vmm_drop(struct keeper *k)
{
    event_free(vmt_take_ptr(&k->vmm_io));
    /* The worker has the connection, too: closing ours alone would not end it. */
    (void)shutdown(k->vmm.fd, SHUT_RDWR);
    vhost_channel_close(&k->vmm);
    vhost_session_clear(k->session);
    k->left = k->left || !k->begins;
    k->begins = false;
    k->pending = false;
    (void)event_add(k->accept, NULL);
}

static void
worker_ask(struct keeper *k, uint32_t request, const uint64_t *value, const int *fd)
{
    struct vhost_message msg = {.request = request,
                                .flags = VHOST_FLAG_VERSION,
                                .size = value ? sizeof(*value) : 0,
                                .body = (const uint8_t *)value};

    worker_send(k->worker, &msg, fd, fd ? 1 : 0, WORKER_ASKED);
}

/* The VMM's message, as it is; whether the VMM wants an answer is between it and us. */
static void
worker_forward(struct keeper *k)
{
    struct vhost_message msg;

    if (vhost_channel_read(&k->vmm, &msg, NULL) <= 0)
        return; /* it is all there: nothing is read */
    msg.flags = VHOST_FLAG_VERSION;
    worker_send(k->worker, &msg, k->vmm.fds, k->vmm.nfds, WORKER_BUSY);
}

void
keeper_pump(struct keeper *k)
{
    const uint64_t anew = 0;

    if (!k->worker || k->worker->state != WORKER_IDLE)
        return;
    if (k->statistics)
        (void)k->config.spawn->ops->kill(k->worker->child, SIGUSR1);
    k->statistics = false;
    if (k->left) {
        k->left = false;
        worker_ask(k, VHOST_PRIVATE_LEFT, NULL, NULL);
    } else if (k->begins) {
        k->begins = false;
        worker_ask(k, VHOST_PRIVATE_BEGIN, &anew, &k->vmm.fd);
    } else if (k->pending) {
        worker_forward(k);
    } else if (k->vmm_io) {
        (void)event_add(k->vmm_io, NULL);
    }
}

static int
vmm_answer(struct keeper *k, uint32_t request, const struct vhost_message *reply,
           struct vmt_err *err)
{
    struct vhost_message msg = *reply;

    msg.request = request;
    msg.flags = VHOST_FLAG_VERSION | VHOST_FLAG_REPLY;
    return vhost_channel_send(&k->vmm, &msg, NULL, 0, err);
}

static void
vmm_refuse(struct keeper *k, int r, const struct vmt_err *err)
{
    if (log_limit_pass(&k->log))
        vmt_log(r == -ECONNRESET ? VMT_LOG_INFO : VMT_LOG_WARNING, "frontend dropped: %s",
                vmt_err_text(err));
    vmm_drop(k);
}

void
keeper_answered(struct keeper *k, const struct vhost_message *reply)
{
    bool is_status = reply->flags & VHOST_FLAG_STATUS, failed = false, wanted;
    struct vhost_message msg;
    struct vmt_err err = {0};
    uint64_t status = 1;
    int r = 0;

    if (!k->pending || vhost_channel_read(&k->vmm, &msg, NULL) <= 0)
        return;
    if (is_status && reply->size == sizeof(status))
        memcpy(&status, reply->body, sizeof(status));
    failed = is_status && status != 0;
    wanted = (msg.flags & VHOST_FLAG_NEED_REPLY) &&
             (vhost_session_protocol(k->session) & VHOST_PROTOCOL_F_REPLY_ACK);
    if (!failed)
        vhost_session_record(k->session, &msg, k->vmm.fds, k->vmm.nfds, reply->body,
                             is_status ? 0 : reply->size);
    if (!is_status || wanted)
        r = vmm_answer(k, msg.request, reply, &err);
    else if (failed)
        r = vmt_err_setx(&err, EPROTO, "request %u was refused", msg.request);
    vhost_channel_next(&k->vmm);
    k->pending = false;
    if (r < 0)
        vmm_refuse(k, r, &err);
    keeper_pump(k);
}

/* One message at a time: the next is not read before this one has its answer. */
static void
on_vmm(evutil_socket_t fd, short what, void *arg)
{
    struct keeper *k = arg;
    struct vhost_message msg;
    struct vmt_err err = {0};
    int r = vhost_channel_read(&k->vmm, &msg, &err);

    (void)fd;
    (void)what;
    if (r > 0) {
        (void)event_del(k->vmm_io);
        k->pending = true;
    } else if (r < 0) {
        vmm_refuse(k, r, &err);
    }
    if (r != 0)
        keeper_pump(k);
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct keeper *k = arg;

    (void)fd;
    (void)what;
    (void)event_add(k->accept, NULL);
}

static void
on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
    struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
    struct keeper *k = arg;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)what;
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            (void)event_del(k->accept);
            (void)evtimer_add(k->resume, &pause);
        }
        return;
    }
    k->vmm_io =
        event_new(os_loop_base(k->config.loop), fd, EV_READ | EV_PERSIST, on_vmm, k);
    if (!k->vmm_io) {
        vmt_closep(&fd);
        return;
    }
    k->vmm.fd = fd;
    k->begins = true;
    (void)event_del(k->accept);
    if (log_limit_pass(&k->log))
        vmt_log_info("a frontend connected");
    keeper_pump(k);
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    worker_begin(arg);
}

VMT_DEFINE_FREEP(struct keeper, keeper_free)

int
keeper_new(const struct keeper_config *config, struct keeper **ret_keeper,
           struct vmt_err *err)
{
    VMT_CLEANUP(keeper_freep) struct keeper *k = calloc(1, sizeof(*k));
    struct event_base *base = os_loop_base(config->loop);

    if (!k)
        return vmt_err_set(err, ENOMEM, "create the keeper");
    k->config = *config;
    k->config.vhost = k->config.vsock = k->config.journal = -1;
    k->vmm.fd = -1;
    k->session = vhost_session_new();
    k->accept = event_new(base, config->vhost, EV_READ | EV_PERSIST, on_accept, k);
    k->resume = evtimer_new(base, on_resume, k);
    k->again = evtimer_new(base, on_again, k);
    if (!k->session || !k->accept || !k->resume || !k->again)
        return vmt_err_set(err, ENOMEM, "create the keeper");
    if (fcntl(config->vhost, F_SETFL, fcntl(config->vhost, F_GETFL) | O_NONBLOCK) < 0)
        return vmt_err_set(err, errno, "make the frontend's socket non-blocking");
    k->config = *config;
    *ret_keeper = vmt_take_ptr(&k);
    return 0;
}

void
keeper_free(struct keeper *k)
{
    if (!k)
        return;
    worker_free(k->next);
    worker_free(k->worker);
    if (k->vmm_io)
        event_free(k->vmm_io);
    if (k->accept)
        event_free(k->accept);
    if (k->resume)
        event_free(k->resume);
    if (k->again)
        event_free(k->again);
    vhost_channel_close(&k->vmm);
    vhost_session_free(k->session);
    vmt_closep(&k->config.vhost);
    vmt_closep(&k->config.vsock);
    vmt_closep(&k->config.journal);
    free(k);
}

int
keeper_start(struct keeper *k, struct vmt_err *err)
{
    int r = worker_start(k, &k->worker, err);

    if (r == 0 && event_add(k->accept, NULL) < 0)
        r = vmt_err_set(err, ENOMEM, "watch the frontend's socket");
    return r;
}

void
keeper_replace(struct keeper *k)
{
    struct vmt_err err = {0};

    if (k->stopping || k->next || !k->worker)
        return;
    vmt_log_notice("replacing the worker");
    if (worker_start(k, &k->next, &err) < 0)
        vmt_log_error("the worker was not replaced: %s", vmt_err_text(&err));
}

void
keeper_statistics(struct keeper *k)
{
    k->statistics = true;
    /* Before it is idle for the first time it may not be ready for signals. */
    if (k->worker && k->worker->state >= WORKER_REPLAY &&
        k->worker->state < WORKER_GONE) {
        (void)k->config.spawn->ops->kill(k->worker->child, SIGUSR1);
        k->statistics = false;
    }
}

void
keeper_stop(struct keeper *k)
{
    bool again = k->stopping;

    k->stopping = true;
    (void)event_del(k->again);
    worker_free(vmt_take_ptr(&k->next));
    if (!k->worker)
        os_loop_stop(k->config.loop, EXIT_SUCCESS);
    else if (!again)
        worker_end(k->worker);
}
