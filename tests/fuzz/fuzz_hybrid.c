/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's side of connections: programs that connect, send a preamble or anything else
 * in pieces, and leave at any moment; listeners that are there or not; and a guest that
 * answers. The input is a list of steps, each a byte and what that step needs. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "core/vsock/mux.h"
#include "platform/linux/vm_vsock/device.h"
#include "platform/linux/vm_vsock/hybrid.h"
#include "platform/linux/vm_vsock/memory.h"
#include "tests/fuzz/fuzz.h"

#define CID 3u
#define BYTES 65536u
#define USER 0x1000000ull
#define PROGRAMS 4
#define OPEN_PORT 7u /* of the host, where a program listens */

/* The queues: rx at 0, tx at 0x1000; in each descriptors, available, used. */
#define RING_SIZE 16u
#define AVAIL 0x200u
#define USED 0x400u
#define BUFFERS 0x4000u

struct input {
    const uint8_t *data;
    size_t len;
};

static char dir[] = "/tmp/vmt-fuzz-XXXXXX";
static struct event_base *base;
static struct vsock_mux *mux;
static struct vsock_device *dev;
static struct hybrid *hybrid;
static uint8_t *memory;
static int listener = -1; /* of a program of the host */
static int server_name;   /* where hybrid listens, an abstract name */
static int programs[PROGRAMS], accepted[PROGRAMS];
static uint32_t seen_guest_port, seen_host_port;
static uint16_t used, avail; /* of the rx queue */

static uint32_t
take(struct input *in, unsigned bytes)
{
    uint32_t v = 0;

    for (; bytes && in->len; bytes--, in->len--)
        v = v << 8 | *in->data++;
    return v;
}

static void
remove_dir(void)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "%s/vsock_%u", dir, OPEN_PORT);
    (void)unlink(path);
    (void)rmdir(dir);
}

static void
once(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    (void)signal(SIGPIPE, SIG_IGN);
    vmt_log_set_level(VMT_LOG_ERROR);
    if (!mkdtemp(dir))
        abort();
    (void)atexit(remove_dir);
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/vsock_%u", dir, OPEN_PORT);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(listener, 2) < 0)
        abort();
}

static void
put16(uint32_t at, uint32_t value)
{
    memory[at] = (uint8_t)value;
    memory[at + 1] = (uint8_t)(value >> 8);
}

/* The guest's driver: all of the buffers are there for packets to the guest. */
static void
rings_start(void)
{
    const struct guest_region region = {0, BYTES, USER, 0};
    VMT_CLEANUP(vmt_closep) int fd = memfd_create("guest", MFD_CLOEXEC);
    struct guest_memory *mem = NULL;

    if (fd < 0 || ftruncate(fd, BYTES) < 0 ||
        guest_memory_new(&region, &fd, 1, &mem, NULL) < 0)
        abort();
    memory = guest_memory_at_user(mem, USER, BYTES);
    for (uint32_t i = 0; i < RING_SIZE; i++) {
        uint32_t at = BUFFERS + i * 0x400;

        memory[16 * i + 1] = (uint8_t)(at >> 8);
        put16(16 * i + 8, 0x400);
        put16(16 * i + 12, 2);
        put16(AVAIL + 4 + 2 * i, i);
    }
    put16(AVAIL + 2, RING_SIZE);
    vsock_device_set_features(dev, vsock_device_features());
    if (vsock_device_set_memory(dev, mem, NULL) < 0)
        abort();
    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = USER + 0x1000 * i;

        if (vsock_ring_set_size(dev, i, RING_SIZE) < 0 ||
            vsock_ring_set_addr(dev, i, at, at + AVAIL, at + USED, NULL) < 0 ||
            vsock_ring_set_kick(dev, i, eventfd(0, EFD_CLOEXEC), NULL) < 0)
            abort();
        vsock_ring_enable(dev, i, true);
    }
}

/* What the guest got: the ports of the last packet, and its buffers go back. */
static void
guest_reads(void)
{
    while (memory && used != (uint16_t)(memory[USED + 2] | memory[USED + 3] << 8)) {
        uint32_t head = memory[USED + 4 + 8 * (used % RING_SIZE)] % RING_SIZE;
        struct vsock_hdr hdr;

        if (vsock_hdr_decode(memory + BUFFERS + head * 0x400, 0x400, &hdr) == 0) {
            seen_guest_port = hdr.dst_port;
            seen_host_port = hdr.src_port;
        }
        put16(AVAIL + 4 + 2 * (avail % RING_SIZE), head);
        put16(AVAIL + 2, ++avail);
        used++;
    }
}

static void
turn(void)
{
    (void)event_base_loop(base, EVLOOP_NONBLOCK);
    vsock_device_pump(dev);
    guest_reads();
}

static void
start(bool ready)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    char prefix[64];

    (void)snprintf(prefix, sizeof(prefix), "%s/vsock", dir);
    server_name = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    base = event_base_new();
    if (!base || server_name < 0 ||
        bind(server_name, (struct sockaddr *)&addr, sizeof(sa_family_t)) < 0 ||
        listen(server_name, 8) < 0 || hybrid_new(base, prefix, &hybrid, NULL) < 0 ||
        vsock_mux_new(CID, &hybrid_host_ops, hybrid, &mux) < 0 ||
        vsock_device_new(base, mux, &dev, NULL) < 0)
        abort();
    memory = NULL;
    used = 0;
    avail = RING_SIZE;
    seen_guest_port = seen_host_port = 0;
    hybrid_attach(hybrid, mux, dev);
    if (hybrid_start(hybrid, server_name, NULL) < 0)
        abort();
    if (ready)
        rings_start();
    for (int i = 0; i < PROGRAMS; i++)
        programs[i] = accepted[i] = -1;
}

static void
stop(void)
{
    int fd;

    vsock_device_free(dev);
    vsock_mux_free(mux);
    hybrid_free(hybrid);
    event_base_free(base);
    for (int i = 0; i < PROGRAMS; i++) {
        vmt_closep(&programs[i]);
        vmt_closep(&accepted[i]);
    }
    while ((fd = accept(listener, NULL, NULL)) >= 0)
        (void)close(fd);
}

static void
program_connects(int *program)
{
    struct sockaddr_un addr;
    socklen_t len = sizeof(addr);

    vmt_closep(program);
    *program = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (getsockname(server_name, (struct sockaddr *)&addr, &len) < 0 || *program < 0)
        abort();
    (void)connect(*program, (struct sockaddr *)&addr, len);
}

static void
program_sends(int fd, struct input *in)
{
    size_t n = take(in, 1);

    if (n > in->len)
        n = in->len;
    if (n)
        (void)send(fd, in->data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    in->data += n;
    in->len -= n;
}

static void
program_reads(int fd)
{
    char buf[4096];
    ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

    /* The answer to a preamble is the first thing that comes, and is a line. */
    if (n >= 3 && memcmp(buf, "OK ", 3) == 0 && !memchr(buf, '\n', (size_t)n))
        abort();
}

static void
step_program(struct input *in)
{
    uint32_t what = take(in, 1);
    int *fd = what & 4 ? &accepted[what & 3] : &programs[what & 3];

    switch (what >> 3 & 7) {
    case 0:
        program_connects(&programs[what & 3]);
        break;
    case 1:
        (void)shutdown(*fd, SHUT_WR);
        break;
    case 2:
        (void)shutdown(*fd, SHUT_RD);
        break;
    case 3:
        vmt_closep(fd);
        *fd = -1;
        break;
    case 4:
        program_reads(*fd);
        break;
    case 5:
        vmt_closep(&accepted[what & 3]);
        accepted[what & 3] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        break;
    default:
        program_sends(*fd, in);
    }
}

static void
step_guest(struct input *in)
{
    static uint8_t payload[65536];
    uint32_t what = take(in, 1);
    struct vsock_hdr hdr = {.src_cid = CID,
                            .dst_cid = 2,
                            .src_port = what & 8 ? seen_guest_port : 100 + (what >> 6),
                            .dst_port = what & 8    ? seen_host_port
                                        : what & 16 ? OPEN_PORT
                                                    : OPEN_PORT + 1,
                            .type = VSOCK_TYPE_STREAM,
                            .op = what & 7,
                            .buf_alloc = 4096,
                            .fwd_cnt = take(in, 2)};
    struct iovec iov = {payload, 0};

    if (hdr.op == VSOCK_OP_RW)
        hdr.len = take(in, 2);
    if (hdr.op == VSOCK_OP_SHUTDOWN)
        hdr.flags = take(in, 1);
    iov.iov_len = hdr.len;
    if (vsock_mux_can_receive(mux))
        vsock_mux_receive(mux, &hdr, &iov, 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};

    if (listener < 0)
        once();
    start(!(take(&in, 1) & 1));
    turn();
    while (in.len) {
        uint32_t step = take(&in, 1);

        if (step % 4 == 0)
            step_guest(&in);
        else if (step % 8 == 7)
            (void)vsock_mux_tick(mux);
        else
            step_program(&in);
        turn();
    }
    stop();
    return 0;
}
