/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/vhost_user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/vm_vsock/device.h"
#include "platform/linux/vm_vsock/private.h"
#include "platform/linux/vm_vsock/vhost_user_internal.h"

/* Without keeper and VMM there is nothing to serve. Not at once: whoever watches both
 * processes should learn first that it was the VMM that ended. */
#define ALONE_SEC 2

void
vhost_user_forget(struct vhost_user *vu)
{
    vmt_closep(&vu->vmm_fd);
    vu->vmm_fd = -1;
    vu->protocol = 0;
    vu->has_protocol = false;
    vsock_device_detach(vu->dev);
}

static void
on_end(evutil_socket_t fd, short what, void *arg)
{
    struct vhost_user *vu = arg;

    (void)fd;
    (void)what;
    if (vu->owner)
        vu->owner->on_end(vu->owner->arg);
}

static void
connection_drop(struct vhost_user *vu)
{
    struct timeval alone = {.tv_sec = vu->kept ? 0 : ALONE_SEC};

    if (vu->io)
        event_free(vmt_take_ptr(&vu->io));
    vhost_channel_close(&vu->channel);
    vhost_user_forget(vu);
    (void)evtimer_add(vu->end, &alone);
}

/* A peer that does not read its replies is broken: they are few and small. */
static int
send_reply(struct vhost_user *vu, uint32_t request, uint32_t flags, struct vmt_err *err)
{
    struct vhost_message msg = {.request = request,
                                .flags = VHOST_FLAG_VERSION | VHOST_FLAG_REPLY | flags,
                                .size = (uint32_t)vu->reply_len,
                                .body = vu->reply};

    return vhost_channel_send(&vu->channel, &msg, NULL, 0, err);
}

static int
message_apply(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    const struct request *req = vhost_user_request(msg->request, vu->kept);

    if (!req)
        return vmt_err_setx(err, ENOSYS, "unknown request %u", msg->request);
    if (msg->size < req->min || msg->size > req->max || vu->channel.nfds > req->fds_max)
        return vmt_err_setx(err, EPROTO, "%s of %u bytes with %zu descriptors", req->name,
                            msg->size, vu->channel.nfds);
    return req->handle(vu, msg, err);
}

/* A request that fails ends the connection, unless the peer asked to be told; a keeper
 * always does. */
static int
message_handle(struct vhost_user *vu, const struct vhost_message *msg,
               struct vmt_err *err)
{
    bool ack = vu->kept || ((msg->flags & VHOST_FLAG_NEED_REPLY) &&
                            (vu->protocol & VHOST_PROTOCOL_F_REPLY_ACK));
    uint32_t flags = 0;
    int r;

    vu->reply_len = 0;
    r = message_apply(vu, msg, err);
    if (r < 0 && !ack)
        return r;
    if (r < 0 && log_limit_pass(&vu->log))
        vmt_log_warning("refused a request of the frontend: %s", vmt_err_text(err));
    if (ack && (r < 0 || !vu->reply_len)) {
        uint64_t failed = r < 0;

        vhost_user_reply(vu, &failed, sizeof(failed));
        flags = vu->kept ? VHOST_FLAG_STATUS : 0;
    }
    return vu->reply_len ? send_reply(vu, msg->request, flags, err) : 0;
}

/* One message. Returns 1, 0 when it is not all there yet, -errno. */
static int
connection_step(struct vhost_user *vu, struct vmt_err *err)
{
    struct vhost_message msg;
    int r = vhost_channel_read(&vu->channel, &msg, err);

    if (r <= 0)
        return r;
    r = message_handle(vu, &msg, err);
    vhost_channel_next(&vu->channel);
    return r < 0 ? r : 1;
}

static int connection_watch(struct vhost_user *vu);

/* The keeper is gone. Its VMM is still there: its connection was handed to us for this.
 */
static int
take_over(struct vhost_user *vu)
{
    int vmm_fd = vmt_take_fd(&vu->vmm_fd);

    event_free(vmt_take_ptr(&vu->io));
    vhost_channel_close(&vu->channel);
    vu->kept = false;
    vu->channel.fd = vmm_fd;
    vmt_log_warning(
        "the process that looked after this one is gone; it goes on alone, and "
        "nobody would replace it");
    return connection_watch(vu);
}

/* One message per turn: the rest is seen by the next, and the queues have theirs. */
static void
on_message(evutil_socket_t fd, short what, void *arg)
{
    struct vhost_user *vu = arg;
    struct vmt_err err = {0};
    bool was_kept = vu->kept;
    int r = connection_step(vu, &err);

    (void)fd;
    (void)what;
    if (r >= 0)
        return;
    if (was_kept && vu->vmm_fd >= 0 && take_over(vu) == 0)
        return;
    if (!was_kept && log_limit_pass(&vu->log))
        vmt_log(r == -ECONNRESET ? VMT_LOG_INFO : VMT_LOG_WARNING, "frontend dropped: %s",
                vmt_err_text(&err));
    connection_drop(vu);
}

static int
connection_watch(struct vhost_user *vu)
{
    vu->io = event_new(vu->base, vu->channel.fd, EV_READ | EV_PERSIST, on_message, vu);
    return !vu->io || event_add(vu->io, NULL) < 0 ? -ENOMEM : 0;
}

VMT_DEFINE_FREEP(struct vhost_user, vhost_user_free)

int
vhost_user_new(struct event_base *base, int fd, bool kept, uint32_t guest_cid,
               struct vsock_device *dev, struct vhost_user **ret_vu, struct vmt_err *err)
{
    VMT_CLEANUP(vhost_user_freep) struct vhost_user *vu = calloc(1, sizeof(*vu));
    int r;

    if (!vu)
        return vmt_err_set(err, ENOMEM, "create frontend server");
    vu->base = base;
    vu->guest_cid = guest_cid;
    vu->dev = dev;
    vu->kept = kept;
    vu->vmm_fd = -1;
    vu->channel.fd = fd;
    vu->end = evtimer_new(base, on_end, vu);
    r = vu->end ? connection_watch(vu) : -ENOMEM;
    if (r < 0) {
        vu->channel.fd = -1;
        return vmt_err_set(err, -r, "watch the frontend");
    }
    *ret_vu = vmt_take_ptr(&vu);
    return 0;
}

void
vhost_user_set_owner(struct vhost_user *vu, const struct vhost_user_owner *owner)
{
    vu->owner = owner;
}

void
vhost_user_free(struct vhost_user *vu)
{
    if (!vu)
        return;
    if (vu->io)
        event_free(vu->io);
    if (vu->end)
        event_free(vu->end);
    vhost_channel_close(&vu->channel);
    vmt_closep(&vu->vmm_fd);
    free(vu);
}
