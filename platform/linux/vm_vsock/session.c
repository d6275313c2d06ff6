/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "platform/linux/vm_vsock/device.h"
#include "platform/linux/vm_vsock/private.h"

#define RING_BODY_MAX 40u /* SET_VRING_ADDR */

/* One message about a queue. */
struct kept_message {
    bool there;
    uint32_t request, size;
    uint8_t body[RING_BODY_MAX];
    int fd; /* owned; -1: none */
};

/* In the order of a replay: a worker starts a queue when it gets the kick. */
enum {
    RING_NUM,
    RING_BASE,
    RING_ADDR,
    RING_CALL,
    RING_ERR,
    RING_KICK,
    RING_ENABLE,
    RING_MESSAGES
};

struct vhost_session {
    struct kept_message protocol, features;
    uint32_t table_size; /* 0: none */
    uint8_t table[VHOST_BODY_MAX_BYTES];
    int table_fds[VHOST_FDS_MAX]; /* owned */
    size_t table_nfds;
    struct kept_message rings[VSOCK_DEVICE_RINGS][RING_MESSAGES];
};

static void
kept_drop(struct kept_message *kept)
{
    vmt_closep(&kept->fd);
    *kept = (struct kept_message){.fd = -1};
}

static void
kept_set(struct kept_message *kept, const struct vhost_message *msg, int fd)
{
    kept_drop(kept);
    kept->there = true;
    kept->request = msg->request;
    kept->size = msg->size;
    memcpy(kept->body, msg->body, msg->size);
    kept->fd = fd;
}

static void
table_drop(struct vhost_session *session)
{
    for (size_t i = 0; i < session->table_nfds; i++)
        vmt_closep(&session->table_fds[i]);
    session->table_nfds = 0;
    session->table_size = 0;
}

void
vhost_session_clear(struct vhost_session *session)
{
    table_drop(session);
    kept_drop(&session->protocol);
    kept_drop(&session->features);
    for (unsigned i = 0; i < VSOCK_DEVICE_RINGS; i++) {
        for (unsigned j = 0; j < RING_MESSAGES; j++)
            kept_drop(&session->rings[i][j]);
    }
}

struct vhost_session *
vhost_session_new(void)
{
    struct vhost_session *session = calloc(1, sizeof(*session));

    if (!session)
        return NULL;
    session->protocol.fd = session->features.fd = -1;
    for (unsigned i = 0; i < VSOCK_DEVICE_RINGS; i++) {
        for (unsigned j = 0; j < RING_MESSAGES; j++)
            session->rings[i][j].fd = -1;
    }
    return session;
}

void
vhost_session_free(struct vhost_session *session)
{
    if (session)
        vhost_session_clear(session);
    free(session);
}

static void
record_table(struct vhost_session *session, const struct vhost_message *msg, int *fds,
             size_t nfds)
{
    table_drop(session);
    memcpy(session->table, msg->body, msg->size);
    session->table_size = msg->size;
    for (size_t i = 0; i < nfds; i++)
        session->table_fds[session->table_nfds++] = vmt_take_fd(&fds[i]);
}

/* A queue that has all it needs runs from here on, and where it is only its used ring
 * knows. */
static void
ring_moves(struct kept_message *ring)
{
    uint64_t index;

    if (!ring[RING_NUM].there || !ring[RING_ADDR].there || !ring[RING_KICK].there)
        return;
    memcpy(&index, ring[RING_KICK].body, sizeof(index));
    index &= 0xff;
    kept_drop(&ring[RING_BASE]);
    ring[RING_BASE].there = true;
    ring[RING_BASE].request = VHOST_PRIVATE_RESUME;
    ring[RING_BASE].size = sizeof(index);
    memcpy(ring[RING_BASE].body, &index, sizeof(index));
}

/* The queue stops, and the answer says where. */
static void
ring_stops(struct kept_message *ring, const uint8_t *reply, size_t reply_len)
{
    kept_drop(&ring[RING_KICK]);
    if (reply_len != 8)
        return;
    kept_drop(&ring[RING_BASE]);
    ring[RING_BASE].there = true;
    ring[RING_BASE].request = VHOST_SET_VRING_BASE;
    ring[RING_BASE].size = 8;
    memcpy(ring[RING_BASE].body, reply, 8);
}

/* Where a message about a queue is kept, and its bytes; those with a descriptor carry the
 * index in the lowest byte of a u64, the others in a u32. */
static const struct {
    uint32_t request, size;
    unsigned kept;
    bool has_fd;
} ring_messages[] = {
    {VHOST_SET_VRING_NUM, 8, RING_NUM, false},
    {VHOST_SET_VRING_ADDR, 40, RING_ADDR, false},
    {VHOST_SET_VRING_BASE, 8, RING_BASE, false},
    {VHOST_SET_VRING_KICK, 8, RING_KICK, true},
    {VHOST_SET_VRING_CALL, 8, RING_CALL, true},
    {VHOST_SET_VRING_ERR, 8, RING_ERR, true},
    {VHOST_SET_VRING_ENABLE, 8, RING_ENABLE, false},
};

static void
record_ring(struct vhost_session *session, const struct vhost_message *msg, int *fds,
            size_t nfds)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(ring_messages); i++) {
        struct kept_message *ring;
        uint32_t index;

        if (ring_messages[i].request != msg->request ||
            ring_messages[i].size != msg->size)
            continue;
        memcpy(&index, msg->body, sizeof(index));
        if (ring_messages[i].has_fd)
            index &= 0xff;
        if (index >= VSOCK_DEVICE_RINGS)
            return;
        ring = session->rings[index];
        kept_set(&ring[ring_messages[i].kept], msg,
                 ring_messages[i].has_fd && nfds == 1 ? vmt_take_fd(&fds[0]) : -1);
        if (msg->request == VHOST_SET_VRING_KICK || msg->request == VHOST_SET_VRING_ADDR)
            ring_moves(ring);
    }
}

void
vhost_session_record(struct vhost_session *session, const struct vhost_message *msg,
                     int *fds, size_t nfds, const uint8_t *reply, size_t reply_len)
{
    uint32_t index = UINT32_MAX;

    if (msg->request == VHOST_SET_MEM_TABLE) {
        record_table(session, msg, fds, nfds);
    } else if (msg->request == VHOST_SET_FEATURES && msg->size == 8) {
        kept_set(&session->features, msg, -1);
    } else if (msg->request == VHOST_SET_PROTOCOL_FEATURES && msg->size == 8) {
        kept_set(&session->protocol, msg, -1);
    } else if (msg->request == VHOST_GET_VRING_BASE && msg->size == 8) {
        memcpy(&index, msg->body, sizeof(index));
        if (index < VSOCK_DEVICE_RINGS)
            ring_stops(session->rings[index], reply, reply_len);
    } else if (msg->request == VHOST_RESET_OWNER) {
        for (unsigned i = 0; i < VSOCK_DEVICE_RINGS; i++)
            ring_stops(session->rings[i], NULL, 0);
    } else {
        record_ring(session, msg, fds, nfds);
    }
}

uint64_t
vhost_session_protocol(const struct vhost_session *session)
{
    uint64_t features = 0;

    if (session->protocol.there)
        memcpy(&features, session->protocol.body, sizeof(features));
    return features;
}

/* Number n of all that may be kept; NULL for the memory table, which is kept apart. */
static const struct kept_message *
kept_at(const struct vhost_session *session, unsigned n)
{
    if (n < 2)
        return n ? &session->features : &session->protocol;
    if (n == 2)
        return NULL;
    return &session->rings[(n - 3) / RING_MESSAGES][(n - 3) % RING_MESSAGES];
}

bool
vhost_session_replay(const struct vhost_session *session, unsigned *at,
                     struct vhost_message *ret_msg, const int **ret_fds, size_t *ret_nfds)
{
    assert(session);
    while (*at < 3 + VSOCK_DEVICE_RINGS * RING_MESSAGES) {
        const struct kept_message *kept = kept_at(session, (*at)++);

        if (kept ? !kept->there : !session->table_size)
            continue;
        *ret_msg =
            (struct vhost_message){.request = kept ? kept->request : VHOST_SET_MEM_TABLE,
                                   .flags = VHOST_FLAG_VERSION,
                                   .size = kept ? kept->size : session->table_size,
                                   .body = kept ? kept->body : session->table};
        *ret_fds = kept ? &kept->fd : session->table_fds;
        *ret_nfds = kept ? kept->fd >= 0 : session->table_nfds;
        return true;
    }
    return false;
}
