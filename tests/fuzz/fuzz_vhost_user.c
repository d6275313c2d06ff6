/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages of a VMM, and of a keeper, to the device, with descriptors of all kinds; and a
 * guest that writes into the memory which they share. The input is a list of steps, each
 * a byte and what that step needs. What the device accepted is recorded as a keeper does,
 * and replayed to a second device at the end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "core/vsock/journal.h"
#include "core/vsock/mux.h"
#include "platform/linux/vm_vsock/channel.h"
#include "platform/linux/vm_vsock/device.h"
#include "platform/linux/vm_vsock/private.h"
#include "platform/linux/vm_vsock/session.h"
#include "platform/linux/vm_vsock/vhost_user.h"
#include "tests/fuzz/fuzz.h"

#define CID 3u
#define BYTES 65536u /* of shared memory */

struct input {
    const uint8_t *data;
    size_t len;
};

/* One process with its device. */
struct side {
    struct event_base *base;
    struct vsock_mux *mux;
    struct vsock_device *dev;
    struct vhost_user *vu;
    struct vhost_user_owner owner;
    struct vhost_channel channel; /* the peer's end */
    bool ended;
};

static struct vsock_journal journal;
static uint8_t *memory;
static int memfd = -1, kick = -1, pipes[2];

/* Programs of the host: every port below 8 is open, they read and write at once. */
static int
host_open(void *arg, struct vsock_conn *conn, uint32_t port, void **ret_host)
{
    (void)conn;
    *ret_host = arg;
    return port < 8 ? 0 : -ECONNREFUSED;
}

static int
host_accepted(void *host, uint32_t port)
{
    (void)host;
    (void)port;
    return 0;
}

static ssize_t
host_read(void *host, const struct iovec *iov, size_t n)
{
    static unsigned turn;

    (void)host;
    (void)n;
    if (turn++ % 2)
        return -EAGAIN;
    memset(iov[0].iov_base, 'x', iov[0].iov_len);
    return (ssize_t)iov[0].iov_len;
}

static ssize_t
host_write(void *host, const struct iovec *iov, size_t n)
{
    static uint8_t sink[256];
    ssize_t taken = 0;

    (void)host;
    for (size_t i = 0; i < n; i++) {
        memcpy(sink, iov[i].iov_base, iov[i].iov_len < 256 ? iov[i].iov_len : 256);
        taken += (ssize_t)iov[i].iov_len;
    }
    return taken;
}

static void
host_shutdown(void *host, unsigned flags)
{
    (void)host;
    (void)flags;
}

static bool
host_hung_up(void *host)
{
    (void)host;
    return false;
}

static void
host_close(void *host)
{
    (void)host;
}

static const struct vsock_host_ops host_ops = {
    host_open,     host_accepted, host_read,  host_write,
    host_shutdown, host_hung_up,  host_close,
};

static void
on_hello(void *arg, uint64_t restarts)
{
    (void)arg;
    (void)restarts;
}

static void
on_begin(void *arg, bool resume)
{
    struct side *s = arg;

    (void)vsock_mux_set_journal(s->mux, &journal, resume);
}

static int
on_serve(void *arg, struct vmt_err *err)
{
    (void)arg;
    (void)err;
    return 0;
}

static void
on_end(void *arg)
{
    struct side *s = arg;

    s->ended = true;
}

static void
side_new(struct side *s, bool kept)
{
    int pair[2];

    *s = (struct side){.owner = {on_hello, on_begin, on_serve, on_end, s}};
    s->base = event_base_new();
    if (!s->base ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0 ||
        vsock_mux_new(CID, &host_ops, s, &s->mux) < 0 ||
        vsock_device_new(s->base, s->mux, &s->dev, NULL) < 0 ||
        vhost_user_new(s->base, pair[1], kept, CID, s->dev, &s->vu, NULL) < 0)
        abort();
    vhost_user_set_owner(s->vu, &s->owner);
    s->channel.fd = pair[0];
}

static void
side_free(struct side *s)
{
    vhost_channel_close(&s->channel);
    vsock_mux_leave_journal(s->mux);
    vhost_user_free(s->vu);
    vsock_device_free(s->dev);
    vsock_mux_free(s->mux);
    event_base_free(s->base);
}

static uint32_t
take(struct input *in, unsigned bytes)
{
    uint32_t v = 0;

    for (; bytes && in->len; bytes--, in->len--)
        v = v << 8 | *in->data++;
    return v;
}

static int
make_fd(uint32_t kind)
{
    switch (kind % 4) {
    case 0:
        return vmt_dup_fd(memfd);
    case 1:
        return vmt_dup_fd(kick);
    case 2:
        return vmt_dup_fd(pipes[0]);
    default:
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    }
}

/* Let the device look at what came, and read what it answers. Returns whether the answer
 * was not a failure. */
static bool
side_turn(struct side *s, uint8_t *reply, size_t *ret_len)
{
    struct vhost_message msg;
    uint64_t status = 0;
    bool good = false;

    *ret_len = 0;
    (void)event_base_loop(s->base, EVLOOP_NONBLOCK);
    while (s->channel.fd >= 0 && vhost_channel_read(&s->channel, &msg, NULL) == 1) {
        if (!(msg.flags & VHOST_FLAG_REPLY) || msg.size < 8)
            abort();
        memcpy(&status, msg.body, sizeof(status));
        good = !(msg.flags & VHOST_FLAG_STATUS) || status == 0;
        if (!(msg.flags & VHOST_FLAG_STATUS)) {
            *ret_len = msg.size;
            memcpy(reply, msg.body, msg.size);
        }
        vhost_channel_next(&s->channel);
    }
    return good;
}

static void
step_message(struct side *s, struct vhost_session *session, struct input *in)
{
    uint8_t body[VHOST_BODY_MAX_BYTES] = {0}, reply[VHOST_BODY_MAX_BYTES];
    uint32_t number = take(in, 1), flags = take(in, 1), kinds = take(in, 1);
    struct vhost_message msg = {.request =
                                    number < 0xf0 ? number : 0x766d0000 + (number & 15),
                                .flags = flags ^ VHOST_FLAG_VERSION,
                                .size = take(in, 2) % (VHOST_BODY_MAX_BYTES + 1),
                                .body = body};
    int fds[VHOST_FDS_MAX];
    size_t nfds = kinds >> 4, len;

    for (size_t i = 0; i < nfds; i++)
        fds[i] = make_fd(kinds + (uint32_t)(i ? kinds / 4 : 0));
    for (uint32_t i = 0; i < msg.size && in->len; i++)
        body[i] = (uint8_t)take(in, 1);
    if (vhost_channel_send(&s->channel, &msg, fds, nfds, NULL) == 0 &&
        side_turn(s, reply, &len))
        vhost_session_record(session, &msg, fds, nfds, reply, len);
    for (size_t i = 0; i < nfds; i++)
        vmt_closep(&fds[i]);
}

/* Bytes that are no whole message. */
static void
step_raw(struct side *s, struct input *in)
{
    uint8_t reply[VHOST_BODY_MAX_BYTES];
    size_t n = take(in, 1), len;

    if (n > in->len)
        n = in->len;
    if (n && s->channel.fd >= 0)
        (void)send(s->channel.fd, in->data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    in->data += n;
    in->len -= n;
    (void)side_turn(s, reply, &len);
}

/* The guest writes, and notifies. */
static void
step_guest(struct side *s, struct input *in)
{
    uint32_t off = take(in, 2), n = take(in, 1);
    uint8_t reply[VHOST_BODY_MAX_BYTES];
    const uint64_t one = 1;
    size_t len;

    for (; n && in->len; n--, off++)
        memory[off % BYTES] = (uint8_t)take(in, 1);
    (void)!write(kick, &one, sizeof(one));
    vsock_device_pump(s->dev);
    (void)side_turn(s, reply, &len);
}

static void
replay(struct vhost_session *session)
{
    const uint64_t goes_on = 1;
    struct vhost_message msg = {VHOST_PRIVATE_BEGIN, VHOST_FLAG_VERSION, sizeof(goes_on),
                                (const uint8_t *)&goes_on};
    uint8_t reply[VHOST_BODY_MAX_BYTES];
    size_t nfds = 0, len;
    const int *fds = NULL;
    struct side second;
    unsigned at = 0;

    side_new(&second, true);
    do {
        if (vhost_channel_send(&second.channel, &msg, fds, nfds, NULL) < 0)
            abort(); /* a worker that is kept never hangs up */
        (void)side_turn(&second, reply, &len);
    } while (vhost_session_replay(session, &at, &msg, &fds, &nfds));
    side_free(&second);
}

static void
once(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    vmt_log_set_level(VMT_LOG_ERROR);
    kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (kick < 0 || pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct vhost_session *session;
    struct side first;
    uint32_t step;

    if (kick < 0)
        once();
    memfd = memfd_create("guest", MFD_CLOEXEC);
    if (memfd < 0 || ftruncate(memfd, BYTES) < 0)
        abort();
    memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    memset(&journal, 0, sizeof(journal));
    session = vhost_session_new();
    if (memory == MAP_FAILED || !session)
        abort();
    side_new(&first, take(&in, 1) & 1);
    while (in.len && !first.ended) {
        step = take(&in, 1);
        if (step % 4 == 1)
            step_raw(&first, &in);
        else if (step % 4 == 2)
            step_guest(&first, &in);
        else
            step_message(&first, session, &in);
    }
    side_free(&first);
    replay(session);
    vhost_session_free(session);
    (void)munmap(memory, BYTES);
    vmt_closep(&memfd);
    return 0;
}
