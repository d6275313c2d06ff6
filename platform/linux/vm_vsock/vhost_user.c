/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/vhost_user.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/linux/vm_vsock/device.h"
#include "platform/linux/vm_vsock/memory.h"

/* Header: request, flags, size of the body; all in the byte order of the host. */
#define HEADER_BYTES 12u
#define FLAG_VERSION_MASK 3u
#define FLAG_VERSION 1u
#define FLAG_REPLY 4u
#define FLAG_NEED_REPLY 8u

#define F_PROTOCOL_FEATURES (1ull << 30)
#define PROTOCOL_F_MQ (1ull << 0)
#define PROTOCOL_F_REPLY_ACK (1ull << 3)
#define PROTOCOL_F_CONFIG (1ull << 9)
/* MQ makes crosvm ask for the number of queues instead of assuming it. */
#define PROTOCOL_FEATURES (PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK | PROTOCOL_F_CONFIG)

#define VRING_INDEX_MASK 0xffu
#define VRING_NO_FD 0x100u

#define REGION_BYTES 32u
#define CONFIG_HEADER_BYTES 12u
#define CONFIG_MAX_BYTES 256u /* VHOST_USER_MAX_CONFIG_SIZE */
#define BODY_MAX_BYTES (8u + REGION_BYTES * GUEST_MEMORY_REGIONS_MAX)
#define FDS_MAX GUEST_MEMORY_REGIONS_MAX
#define ACCEPT_PAUSE_MS 100

struct vhost_user {
    struct event_base *base; /* borrowed */
    struct vsock_device *dev;
    uint32_t guest_cid;
    int listen_fd;        /* owned */
    struct event *accept; /* owned; pending while there is no frontend */
    struct event *resume; /* owned */
    int fd;               /* owned; the frontend, -1: none */
    struct event *io;     /* owned */
    uint64_t protocol;    /* protocol features that were agreed */
    bool has_protocol;    /* F_PROTOCOL_FEATURES was agreed */
    uint8_t in[HEADER_BYTES + BODY_MAX_BYTES];
    size_t got;
    int fds[FDS_MAX]; /* owned; came with the message that is being read */
    size_t nfds;
    uint8_t reply[CONFIG_HEADER_BYTES + CONFIG_MAX_BYTES];
    size_t reply_len;
};

struct message {
    uint32_t request, flags, size;
    const uint8_t *body;
};

typedef int request_fn(struct vhost_user *vu, const struct message *msg,
                       struct vmt_err *err);

static uint32_t
body_u32(const struct message *msg, size_t off)
{
    uint32_t v;

    memcpy(&v, msg->body + off, sizeof(v));
    return v;
}

static uint64_t
body_u64(const struct message *msg, size_t off)
{
    uint64_t v;

    memcpy(&v, msg->body + off, sizeof(v));
    return v;
}

static void
reply_bytes(struct vhost_user *vu, const void *data, size_t len)
{
    memcpy(vu->reply, data, len);
    vu->reply_len = len;
}

static int
reply_u64(struct vhost_user *vu, uint64_t value)
{
    reply_bytes(vu, &value, sizeof(value));
    return 0;
}

static int
take_first_fd(struct vhost_user *vu)
{
    return vu->nfds ? vmt_take_fd(&vu->fds[0]) : -1;
}

static int
get_features(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    (void)msg;
    (void)err;
    return reply_u64(vu, vsock_device_features() | F_PROTOCOL_FEATURES);
}

static int
set_features(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    uint64_t features = body_u64(msg, 0);

    if (features & ~(vsock_device_features() | F_PROTOCOL_FEATURES))
        return vmt_err_setx(err, EINVAL, "features that were not offered");
    vu->has_protocol = features & F_PROTOCOL_FEATURES;
    vsock_device_set_features(vu->dev, features);
    return 0;
}

static int
get_protocol_features(struct vhost_user *vu, const struct message *msg,
                      struct vmt_err *err)
{
    (void)msg;
    (void)err;
    return reply_u64(vu, PROTOCOL_FEATURES);
}

static int
set_protocol_features(struct vhost_user *vu, const struct message *msg,
                      struct vmt_err *err)
{
    uint64_t features = body_u64(msg, 0);

    if (features & ~PROTOCOL_FEATURES)
        return vmt_err_setx(err, EINVAL, "protocol features that were not offered");
    vu->protocol = features;
    return 0;
}

static int
set_owner(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    (void)vu;
    (void)msg;
    (void)err;
    return 0;
}

/* The document says: no longer used, was meant to disable all rings. */
static int
reset_owner(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    (void)msg;
    (void)err;
    for (unsigned i = 0; i < VSOCK_DEVICE_RINGS; i++)
        (void)vsock_ring_stop(vu->dev, i);
    return 0;
}

VMT_DEFINE_FREEP(struct guest_memory, guest_memory_free)

static int
set_mem_table(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    VMT_CLEANUP(guest_memory_freep) struct guest_memory *mem = NULL;
    struct guest_region regions[GUEST_MEMORY_REGIONS_MAX];
    uint32_t n = body_u32(msg, 0);
    int r;

    if (n < 1 || n > GUEST_MEMORY_REGIONS_MAX || msg->size != 8 + n * REGION_BYTES ||
        vu->nfds != n)
        return vmt_err_setx(err, EPROTO, "%u regions in %u bytes with %zu descriptors", n,
                            msg->size, vu->nfds);
    for (uint32_t i = 0; i < n; i++) {
        size_t at = 8 + (size_t)i * REGION_BYTES;

        regions[i] = (struct guest_region){.guest_addr = body_u64(msg, at),
                                           .size = body_u64(msg, at + 8),
                                           .user_addr = body_u64(msg, at + 16),
                                           .mmap_offset = body_u64(msg, at + 24)};
    }
    r = guest_memory_new(regions, vu->fds, n, &mem, err);
    if (r == 0)
        r = vsock_device_set_memory(vu->dev, mem, err);
    if (r == 0)
        (void)vmt_take_ptr(&mem);
    return r;
}

/* The index of a queue is the first thing in most messages about one. */
static int
ring_index(const struct message *msg, unsigned *ret_index, struct vmt_err *err)
{
    uint32_t index = body_u32(msg, 0);

    if (index >= VSOCK_DEVICE_RINGS)
        return vmt_err_setx(err, EINVAL, "there is no queue %u", index);
    *ret_index = index;
    return 0;
}

static int
set_vring_num(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_index(msg, &index, err);

    if (r == 0)
        r = vsock_ring_set_size(vu->dev, index, body_u32(msg, 4));
    return r < 0 ? vmt_err_wrap(err, r, "queue of %u entries", body_u32(msg, 4)) : 0;
}

static int
set_vring_addr(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_index(msg, &index, err);

    /* index, flags; then the addresses: descriptors, used, available, log (the only flag
     * asks for a log of writes, a feature that was not offered). */
    if (r == 0)
        r = vsock_ring_set_addr(vu->dev, index, body_u64(msg, 8), body_u64(msg, 24),
                                body_u64(msg, 16), err);
    return r;
}

static int
set_vring_base(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_index(msg, &index, err);

    if (r == 0)
        r = vsock_ring_set_base(vu->dev, index, body_u32(msg, 4));
    return r < 0 ? vmt_err_wrap(err, r, "queue at entry %u", body_u32(msg, 4)) : 0;
}

static int
get_vring_base(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    uint32_t state[2];
    unsigned index = 0;
    int r = ring_index(msg, &index, err);

    if (r < 0)
        return r;
    state[0] = index;
    state[1] = vsock_ring_stop(vu->dev, index);
    reply_bytes(vu, state, sizeof(state));
    return 0;
}

/* A queue's index, and whether its descriptor is there as the message says. */
static int
ring_fd(struct vhost_user *vu, const struct message *msg, unsigned *ret_index,
        struct vmt_err *err)
{
    uint64_t value = body_u64(msg, 0);
    bool no_fd = value & VRING_NO_FD;

    if ((value & VRING_INDEX_MASK) >= VSOCK_DEVICE_RINGS ||
        value & ~(uint64_t)(VRING_INDEX_MASK | VRING_NO_FD) ||
        vu->nfds != (no_fd ? 0 : 1))
        return vmt_err_setx(err, EPROTO, "queue %#llx with %zu descriptors",
                            (unsigned long long)value, vu->nfds);
    *ret_index = (unsigned)(value & VRING_INDEX_MASK);
    return 0;
}

static int
set_vring_kick(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_fd(vu, msg, &index, err);

    if (r < 0)
        return r;
    if (!vu->nfds)
        return vmt_err_setx(err, ENOTSUP, "a queue that would have to be polled");
    r = vsock_ring_set_kick(vu->dev, index, vu->fds[0], err);
    if (r < 0)
        return r;
    (void)take_first_fd(vu);
    /* Without the protocol features there is no message to enable a queue. */
    if (!vu->has_protocol)
        vsock_ring_enable(vu->dev, index, true);
    return 0;
}

static int
set_vring_call(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_fd(vu, msg, &index, err);

    if (r == 0)
        vsock_ring_set_call(vu->dev, index, take_first_fd(vu));
    return r;
}

static int
set_vring_err(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_fd(vu, msg, &index, err);

    if (r == 0)
        vsock_ring_set_err(vu->dev, index, take_first_fd(vu));
    return r;
}

static int
get_queue_num(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    (void)msg;
    (void)err;
    return reply_u64(vu, VSOCK_DEVICE_RINGS);
}

static int
set_vring_enable(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_index(msg, &index, err);

    if (r == 0 && body_u32(msg, 4) > 1)
        r = vmt_err_setx(err, EINVAL, "queue enabled by %u", body_u32(msg, 4));
    if (r == 0)
        vsock_ring_enable(vu->dev, index, body_u32(msg, 4));
    return r;
}

/* Offset, size and flags, then as many bytes as size says. The device's configuration is
 * the guest's CID, virtio 1.2 section 5.10.4. */
static int
get_config(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    uint64_t cid = htole64(vu->guest_cid);
    uint32_t offset = body_u32(msg, 0), size = body_u32(msg, 4);

    if (size > CONFIG_MAX_BYTES || msg->size != CONFIG_HEADER_BYTES + size)
        return vmt_err_setx(err, EPROTO, "configuration of %u bytes", size);
    if (offset > sizeof(cid) || size > sizeof(cid) - offset) {
        size = 0; /* this is how the protocol spells failure */
        offset = 0;
    }
    memcpy(vu->reply, msg->body, CONFIG_HEADER_BYTES);
    memcpy(vu->reply + 4, &size, sizeof(size));
    memcpy(vu->reply + CONFIG_HEADER_BYTES, (const uint8_t *)&cid + offset, size);
    vu->reply_len = CONFIG_HEADER_BYTES + size;
    return 0;
}

/* Numbers and sizes: docs/interop/vhost-user.rst, "Front-end message types". */
static const struct request {
    const char *name;
    request_fn *handle;
    uint16_t min, max; /* bytes of the body */
    uint16_t fds_max;
} requests[] = {
    [1] = {"GET_FEATURES", get_features, 0, 0, 0},
    [2] = {"SET_FEATURES", set_features, 8, 8, 0},
    [3] = {"SET_OWNER", set_owner, 0, 0, 0},
    [4] = {"RESET_OWNER", reset_owner, 0, 0, 0},
    [5] = {"SET_MEM_TABLE", set_mem_table, 8, BODY_MAX_BYTES, FDS_MAX},
    [8] = {"SET_VRING_NUM", set_vring_num, 8, 8, 0},
    [9] = {"SET_VRING_ADDR", set_vring_addr, 40, 40, 0},
    [10] = {"SET_VRING_BASE", set_vring_base, 8, 8, 0},
    [11] = {"GET_VRING_BASE", get_vring_base, 8, 8, 0},
    [12] = {"SET_VRING_KICK", set_vring_kick, 8, 8, 1},
    [13] = {"SET_VRING_CALL", set_vring_call, 8, 8, 1},
    [14] = {"SET_VRING_ERR", set_vring_err, 8, 8, 1},
    [15] = {"GET_PROTOCOL_FEATURES", get_protocol_features, 0, 0, 0},
    [16] = {"SET_PROTOCOL_FEATURES", set_protocol_features, 8, 8, 0},
    [17] = {"GET_QUEUE_NUM", get_queue_num, 0, 0, 0},
    [18] = {"SET_VRING_ENABLE", set_vring_enable, 8, 8, 0},
    [24] = {"GET_CONFIG", get_config, CONFIG_HEADER_BYTES,
            CONFIG_HEADER_BYTES + CONFIG_MAX_BYTES, 0},
};

static const struct request *
request_find(uint32_t number)
{
    if (number >= VMT_ARRAY_SIZE(requests) || !requests[number].handle)
        return NULL;
    return &requests[number];
}

static void
drop_fds(struct vhost_user *vu)
{
    for (size_t i = 0; i < vu->nfds; i++)
        vmt_closep(&vu->fds[i]);
    vu->nfds = 0;
}

static void
frontend_drop(struct vhost_user *vu)
{
    if (vu->io)
        event_free(vmt_take_ptr(&vu->io));
    vmt_closep(&vu->fd);
    vu->fd = -1;
    drop_fds(vu);
    vu->got = 0;
    vu->protocol = 0;
    vu->has_protocol = false;
    vsock_device_detach(vu->dev);
    (void)event_add(vu->accept, NULL);
}

/* A frontend that does not read its replies is broken: they are few and small. */
static int
send_reply(struct vhost_user *vu, uint32_t request, struct vmt_err *err)
{
    uint8_t out[HEADER_BYTES + sizeof(vu->reply)];
    uint32_t header[3] = {request, FLAG_VERSION | FLAG_REPLY, (uint32_t)vu->reply_len};
    size_t len = HEADER_BYTES + vu->reply_len;
    ssize_t n;

    memcpy(out, header, HEADER_BYTES);
    memcpy(out + HEADER_BYTES, vu->reply, vu->reply_len);
    n = send(vu->fd, out, len, MSG_NOSIGNAL);
    if (n != (ssize_t)len)
        return vmt_err_set(err, n < 0 ? errno : EPIPE, "answer the frontend");
    return 0;
}

/* A request that fails ends the connection, unless the frontend asked to be told. */
static int
message_handle(struct vhost_user *vu, const struct message *msg, struct vmt_err *err)
{
    const struct request *req = request_find(msg->request);
    bool ack = (msg->flags & FLAG_NEED_REPLY) && (vu->protocol & PROTOCOL_F_REPLY_ACK);
    int r;

    vu->reply_len = 0;
    if (!req)
        r = vmt_err_setx(err, ENOSYS, "unknown request %u", msg->request);
    else if (msg->size < req->min || msg->size > req->max || vu->nfds > req->fds_max)
        r = vmt_err_setx(err, EPROTO, "%s of %u bytes with %zu descriptors", req->name,
                         msg->size, vu->nfds);
    else
        r = req->handle(vu, msg, err);
    if (r < 0 && !ack)
        return r;
    if (r < 0)
        vmt_log_warning("refused a request of the frontend: %s", vmt_err_text(err));
    if (ack && (r < 0 || !vu->reply_len))
        (void)reply_u64(vu, r < 0);
    return vu->reply_len ? send_reply(vu, msg->request, err) : 0;
}

/* Keep the descriptors that came along; too many are a failure. */
static int
collect_fds(struct vhost_user *vu, struct msghdr *hdr)
{
    bool full = hdr->msg_flags & MSG_CTRUNC;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (vu->nfds < FDS_MAX) {
                vu->fds[vu->nfds++] = fd;
            } else {
                vmt_closep(&fd);
                full = true;
            }
        }
    }
    return full ? -EPROTO : 0;
}

/* Read until in holds want bytes. Returns 1, 0 when more have to come, -errno. */
static int
read_upto(struct vhost_user *vu, size_t want, struct vmt_err *err)
{
    while (vu->got < want) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
        } control;
        struct iovec iov = {.iov_base = vu->in + vu->got, .iov_len = want - vu->got};
        struct msghdr hdr = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
        ssize_t n = recvmsg(vu->fd, &hdr, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n < 0)
            return vmt_err_set(err, errno, "read from the frontend");
        if (collect_fds(vu, &hdr) < 0)
            return vmt_err_setx(err, EPROTO, "too many descriptors");
        if (n == 0)
            return vmt_err_setx(err, ECONNRESET, "closed by the frontend");
        vu->got += (size_t)n;
    }
    return 1;
}

/* One message. Returns 1, 0 when it is not all there yet, -errno. */
static int
frontend_step(struct vhost_user *vu, struct vmt_err *err)
{
    uint32_t header[3];
    struct message msg;
    int r = read_upto(vu, HEADER_BYTES, err);

    if (r <= 0)
        return r;
    memcpy(header, vu->in, sizeof(header));
    msg = (struct message){header[0], header[1], header[2], vu->in + HEADER_BYTES};
    if ((msg.flags & FLAG_VERSION_MASK) != FLAG_VERSION || msg.size > BODY_MAX_BYTES)
        return vmt_err_setx(err, EPROTO, "request %u, flags %#x, %u bytes", msg.request,
                            msg.flags, msg.size);
    r = read_upto(vu, HEADER_BYTES + msg.size, err);
    if (r <= 0)
        return r;
    r = message_handle(vu, &msg, err);
    drop_fds(vu);
    vu->got = 0;
    return r < 0 ? r : 1;
}

/* One message per turn: the rest is seen by the next, and the queues have theirs. */
static void
on_frontend(evutil_socket_t fd, short what, void *arg)
{
    struct vhost_user *vu = arg;
    struct vmt_err err = {0};
    int r = frontend_step(vu, &err);

    (void)fd;
    (void)what;
    if (r >= 0)
        return;
    if (r == -ECONNRESET && vu->got == 0)
        vmt_log_info("the frontend closed its connection");
    else
        vmt_log_warning("frontend dropped: %s", vmt_err_text(&err));
    frontend_drop(vu);
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct vhost_user *vu = arg;

    (void)fd;
    (void)what;
    (void)event_add(vu->accept, NULL);
}

static void
on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
    struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
    struct vhost_user *vu = arg;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)what;
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            (void)event_del(vu->accept);
            (void)evtimer_add(vu->resume, &pause);
        }
        return;
    }
    vu->fd = fd;
    vu->io = event_new(vu->base, fd, EV_READ | EV_PERSIST, on_frontend, vu);
    (void)event_del(vu->accept);
    if (!vu->io || event_add(vu->io, NULL) < 0)
        frontend_drop(vu);
    else
        vmt_log_info("a frontend connected");
}

VMT_DEFINE_FREEP(struct vhost_user, vhost_user_free)

int
vhost_user_new(struct event_base *base, int fd, uint32_t guest_cid,
               struct vsock_device *dev, struct vhost_user **ret_vu, struct vmt_err *err)
{
    VMT_CLEANUP(vhost_user_freep) struct vhost_user *vu = calloc(1, sizeof(*vu));

    if (!vu)
        return vmt_err_set(err, ENOMEM, "create frontend server");
    vu->base = base;
    vu->guest_cid = guest_cid;
    vu->dev = dev;
    vu->fd = vu->listen_fd = -1;
    vu->accept = event_new(base, fd, EV_READ | EV_PERSIST, on_accept, vu);
    vu->resume = evtimer_new(base, on_resume, vu);
    if (!vu->accept || !vu->resume || event_add(vu->accept, NULL) < 0)
        return vmt_err_set(err, ENOMEM, "watch the frontend's socket");
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        return vmt_err_set(err, errno, "make the frontend's socket non-blocking");
    vu->listen_fd = fd;
    *ret_vu = vmt_take_ptr(&vu);
    return 0;
}

void
vhost_user_free(struct vhost_user *vu)
{
    if (!vu)
        return;
    if (vu->io)
        event_free(vu->io);
    if (vu->accept)
        event_free(vu->accept);
    if (vu->resume)
        event_free(vu->resume);
    drop_fds(vu);
    vmt_closep(&vu->fd);
    vmt_closep(&vu->listen_fd);
    free(vu);
}
