/* SPDX-License-Identifier: BSD-3-Clause */
/* What the messages of the VMM and of the keeper do. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/vm_vsock/device.h"
#include "platform/linux/vm_vsock/private.h"
#include "platform/linux/vm_vsock/vhost_user_internal.h"

#define F_PROTOCOL_FEATURES (1ull << 30)
#define PROTOCOL_F_MQ (1ull << 0)
#define PROTOCOL_F_CONFIG (1ull << 9)
/* MQ makes crosvm ask for the number of queues instead of assuming it. */
#define PROTOCOL_FEATURES (PROTOCOL_F_MQ | VHOST_PROTOCOL_F_REPLY_ACK | PROTOCOL_F_CONFIG)

#define VRING_INDEX_MASK 0xffu
#define VRING_NO_FD 0x100u

static uint32_t
body_u32(const struct vhost_message *msg, size_t off)
{
    uint32_t v;

    memcpy(&v, msg->body + off, sizeof(v));
    return v;
}

static uint64_t
body_u64(const struct vhost_message *msg, size_t off)
{
    uint64_t v;

    memcpy(&v, msg->body + off, sizeof(v));
    return v;
}

void
vhost_user_reply(struct vhost_user *vu, const void *data, size_t len)
{
    memcpy(vu->reply, data, len);
    vu->reply_len = len;
}

static int
reply_u64(struct vhost_user *vu, uint64_t value)
{
    vhost_user_reply(vu, &value, sizeof(value));
    return 0;
}

static int
get_features(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    (void)msg;
    (void)err;
    return reply_u64(vu, vsock_device_features() | F_PROTOCOL_FEATURES);
}

static int
set_features(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    uint64_t features = body_u64(msg, 0);

    if (features & ~(vsock_device_features() | F_PROTOCOL_FEATURES))
        return vmt_err_setx(err, EINVAL, "features that were not offered");
    vu->has_protocol = features & F_PROTOCOL_FEATURES;
    vsock_device_set_features(vu->dev, features);
    return 0;
}

static int
get_protocol_features(struct vhost_user *vu, const struct vhost_message *msg,
                      struct vmt_err *err)
{
    (void)msg;
    (void)err;
    return reply_u64(vu, PROTOCOL_FEATURES);
}

static int
set_protocol_features(struct vhost_user *vu, const struct vhost_message *msg,
                      struct vmt_err *err)
{
    uint64_t features = body_u64(msg, 0);

    if (features & ~PROTOCOL_FEATURES)
        return vmt_err_setx(err, EINVAL, "protocol features that were not offered");
    vu->protocol = features;
    return 0;
}

static int
set_owner(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    (void)vu;
    (void)msg;
    (void)err;
    return 0;
}

/* The document says: no longer used, was meant to disable all rings. */
static int
reset_owner(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    (void)msg;
    (void)err;
    for (unsigned i = 0; i < VSOCK_DEVICE_RINGS; i++)
        (void)vsock_ring_stop(vu->dev, i);
    return 0;
}

VMT_DEFINE_FREEP(struct guest_memory, guest_memory_free)

static int
set_mem_table(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    VMT_CLEANUP(guest_memory_freep) struct guest_memory *mem = NULL;
    struct guest_region regions[GUEST_MEMORY_REGIONS_MAX];
    uint32_t n = body_u32(msg, 0);
    int r;

    if (n < 1 || n > GUEST_MEMORY_REGIONS_MAX ||
        msg->size != 8 + n * VHOST_REGION_BYTES || vu->channel.nfds != n)
        return vmt_err_setx(err, EPROTO, "%u regions in %u bytes with %zu descriptors", n,
                            msg->size, vu->channel.nfds);
    for (uint32_t i = 0; i < n; i++) {
        size_t at = 8 + (size_t)i * VHOST_REGION_BYTES;

        regions[i] = (struct guest_region){.guest_addr = body_u64(msg, at),
                                           .size = body_u64(msg, at + 8),
                                           .user_addr = body_u64(msg, at + 16),
                                           .mmap_offset = body_u64(msg, at + 24)};
    }
    r = guest_memory_new(regions, vu->channel.fds, n, &mem, err);
    if (r == 0)
        r = vsock_device_set_memory(vu->dev, mem, err);
    if (r == 0)
        (void)vmt_take_ptr(&mem);
    return r;
}

/* The index of a queue is the first thing in most messages about one. */
static int
ring_index(const struct vhost_message *msg, unsigned *ret_index, struct vmt_err *err)
{
    uint32_t index = body_u32(msg, 0);

    if (index >= VSOCK_DEVICE_RINGS)
        return vmt_err_setx(err, EINVAL, "there is no queue %u", index);
    *ret_index = index;
    return 0;
}

static int
set_vring_num(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_index(msg, &index, err);

    if (r < 0)
        return r;
    r = vsock_ring_set_size(vu->dev, index, body_u32(msg, 4));
    return r < 0 ? vmt_err_set(err, -r, "queue %u of %u entries", index, body_u32(msg, 4))
                 : 0;
}

static int
set_vring_addr(struct vhost_user *vu, const struct vhost_message *msg,
               struct vmt_err *err)
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
set_vring_base(struct vhost_user *vu, const struct vhost_message *msg,
               struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_index(msg, &index, err);

    if (r < 0)
        return r;
    r = vsock_ring_set_base(vu->dev, index, body_u32(msg, 4));
    return r < 0 ? vmt_err_set(err, -r, "queue %u at entry %u", index, body_u32(msg, 4))
                 : 0;
}

static int
get_vring_base(struct vhost_user *vu, const struct vhost_message *msg,
               struct vmt_err *err)
{
    uint32_t state[2];
    unsigned index = 0;
    int r = ring_index(msg, &index, err);

    if (r < 0)
        return r;
    state[0] = index;
    state[1] = vsock_ring_stop(vu->dev, index);
    vhost_user_reply(vu, state, sizeof(state));
    return 0;
}

/* A queue's index, and whether its descriptor is there as the message says. */
static int
ring_fd(struct vhost_user *vu, const struct vhost_message *msg, unsigned *ret_index,
        struct vmt_err *err)
{
    uint64_t value = body_u64(msg, 0);
    bool no_fd = value & VRING_NO_FD;

    if ((value & VRING_INDEX_MASK) >= VSOCK_DEVICE_RINGS ||
        value & ~(uint64_t)(VRING_INDEX_MASK | VRING_NO_FD) ||
        vu->channel.nfds != (no_fd ? 0 : 1))
        return vmt_err_setx(err, EPROTO, "queue %#llx with %zu descriptors",
                            (unsigned long long)value, vu->channel.nfds);
    *ret_index = (unsigned)(value & VRING_INDEX_MASK);
    return 0;
}

static int
set_vring_kick(struct vhost_user *vu, const struct vhost_message *msg,
               struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_fd(vu, msg, &index, err);

    if (r < 0)
        return r;
    if (!vu->channel.nfds)
        return vmt_err_setx(err, ENOTSUP, "a queue that would have to be polled");
    r = vsock_ring_set_kick(vu->dev, index, vu->channel.fds[0], err);
    if (r < 0)
        return r;
    (void)vhost_channel_take_fd(&vu->channel);
    /* Without the protocol features there is no message to enable a queue. */
    if (!vu->has_protocol)
        vsock_ring_enable(vu->dev, index, true);
    return 0;
}

static int
set_vring_call(struct vhost_user *vu, const struct vhost_message *msg,
               struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_fd(vu, msg, &index, err);

    if (r == 0)
        vsock_ring_set_call(vu->dev, index, vhost_channel_take_fd(&vu->channel));
    return r;
}

static int
set_vring_err(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_fd(vu, msg, &index, err);

    if (r == 0)
        vsock_ring_set_err(vu->dev, index, vhost_channel_take_fd(&vu->channel));
    return r;
}

static int
get_queue_num(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    (void)msg;
    (void)err;
    return reply_u64(vu, VSOCK_DEVICE_RINGS);
}

static int
set_vring_enable(struct vhost_user *vu, const struct vhost_message *msg,
                 struct vmt_err *err)
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
get_config(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    uint64_t cid = htole64(vu->guest_cid);
    uint32_t offset = body_u32(msg, 0), size = body_u32(msg, 4);

    if (size > VHOST_CONFIG_MAX_BYTES || msg->size != VHOST_CONFIG_HEADER_BYTES + size)
        return vmt_err_setx(err, EPROTO, "configuration of %u bytes", size);
    if (offset > sizeof(cid) || size > sizeof(cid) - offset) {
        size = 0; /* this is how the protocol spells failure */
        offset = 0;
    }
    memcpy(vu->reply, msg->body, VHOST_CONFIG_HEADER_BYTES);
    memcpy(vu->reply + 4, &size, sizeof(size));
    memcpy(vu->reply + VHOST_CONFIG_HEADER_BYTES, (const uint8_t *)&cid + offset, size);
    vu->reply_len = VHOST_CONFIG_HEADER_BYTES + size;
    return 0;
}

/* Numbers and sizes: docs/interop/vhost-user.rst, "Front-end message types". */
static const struct request requests[] = {
    [VHOST_GET_FEATURES] = {"GET_FEATURES", get_features, 0, 0, 0},
    [VHOST_SET_FEATURES] = {"SET_FEATURES", set_features, 8, 8, 0},
    [VHOST_SET_OWNER] = {"SET_OWNER", set_owner, 0, 0, 0},
    [VHOST_RESET_OWNER] = {"RESET_OWNER", reset_owner, 0, 0, 0},
    [VHOST_SET_MEM_TABLE] = {"SET_MEM_TABLE", set_mem_table, 8, VHOST_BODY_MAX_BYTES,
                             VHOST_FDS_MAX},
    [VHOST_SET_VRING_NUM] = {"SET_VRING_NUM", set_vring_num, 8, 8, 0},
    [VHOST_SET_VRING_ADDR] = {"SET_VRING_ADDR", set_vring_addr, 40, 40, 0},
    [VHOST_SET_VRING_BASE] = {"SET_VRING_BASE", set_vring_base, 8, 8, 0},
    [VHOST_GET_VRING_BASE] = {"GET_VRING_BASE", get_vring_base, 8, 8, 0},
    [VHOST_SET_VRING_KICK] = {"SET_VRING_KICK", set_vring_kick, 8, 8, 1},
    [VHOST_SET_VRING_CALL] = {"SET_VRING_CALL", set_vring_call, 8, 8, 1},
    [VHOST_SET_VRING_ERR] = {"SET_VRING_ERR", set_vring_err, 8, 8, 1},
    [VHOST_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", get_protocol_features, 0, 0,
                                     0},
    [VHOST_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", set_protocol_features, 8, 8,
                                     0},
    [VHOST_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", get_queue_num, 0, 0, 0},
    [VHOST_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", set_vring_enable, 8, 8, 0},
    [VHOST_GET_CONFIG] = {"GET_CONFIG", get_config, VHOST_CONFIG_HEADER_BYTES,
                          VHOST_CONFIG_HEADER_BYTES + VHOST_CONFIG_MAX_BYTES, 0},
};

static int
hello(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    (void)err;
    if (vu->owner)
        vu->owner->on_hello(vu->owner->arg, body_u64(msg, 0));
    return 0;
}

static int
begin(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    (void)err;
    vhost_user_forget(vu);
    vu->vmm_fd = vhost_channel_take_fd(&vu->channel);
    if (vu->owner)
        vu->owner->on_begin(vu->owner->arg, body_u64(msg, 0));
    return 0;
}

static int
left(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    (void)msg;
    (void)err;
    vhost_user_forget(vu);
    return 0;
}

static int
resume(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    unsigned index = 0;
    int r = ring_index(msg, &index, err);

    if (r == 0)
        r = vsock_ring_resume(vu->dev, index);
    return r;
}

static int
serve(struct vhost_user *vu, const struct vhost_message *msg, struct vmt_err *err)
{
    (void)msg;
    return vu->owner ? vu->owner->on_serve(vu->owner->arg, err) : 0;
}

static const struct {
    uint32_t number;
    struct request request;
} private_requests[] = {
    {VHOST_PRIVATE_HELLO, {"HELLO", hello, 8, 8, 0}},
    {VHOST_PRIVATE_BEGIN, {"BEGIN", begin, 8, 8, 1}},
    {VHOST_PRIVATE_LEFT, {"LEFT", left, 0, 0, 0}},
    {VHOST_PRIVATE_RESUME, {"RESUME", resume, 8, 8, 0}},
    {VHOST_PRIVATE_SERVE, {"SERVE", serve, 0, 0, 0}},
};

const struct request *
vhost_user_request(uint32_t number, bool kept)
{
    for (size_t i = 0; kept && i < VMT_ARRAY_SIZE(private_requests); i++) {
        if (private_requests[i].number == number)
            return &private_requests[i].request;
    }
    if (number >= VMT_ARRAY_SIZE(requests) || !requests[number].handle)
        return NULL;
    return &requests[number];
}
