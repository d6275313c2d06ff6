/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/integration/net/net_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/net/net.h"
#include "tests/unit/test.h"

static pid_t world;

struct host_net *
net_new(void)
{
    static const struct linux_net_port ports[] = {{true, OFFERED}};
    const struct linux_net_config config = {
        .label = LABEL, .table = "vm_tools", .ports = ports, .nports = 1};
    struct host_net *net = NULL;

    assert_int_equal(linux_net_new(&config, &net, NULL), 0);
    return net;
}

/* The n-th VM, with room for containers or without. */
struct host_net_vm
net_vm_at(unsigned n, bool containers)
{
    struct host_net_vm vm = {.gateway = BASE + 4 * n + 1,
                             .guest = BASE + 4 * n + 2,
                             .prefix = 30,
                             .mac = {0x52, 0x54, 0, 0, 0, (uint8_t)n}};

    if (containers) {
        vm.container = CONTAINERS;
        vm.container_prefix = 28;
    }
    return vm;
}

int
net_add(struct host_net *net, struct host_net_vm *vm)
{
    struct vmt_err err = {0};
    int fd = -1;

    if (net->ops->add(net, vm, &fd, &err) < 0)
        fail_msg("%s", err.msg);
    return fd;
}

void
net_drop(struct host_net *net, const struct host_net_vm *vm)
{
    struct vmt_err err = {0};

    if (net->ops->remove(net, vm, &err) < 0)
        fail_msg("%s", err.msg);
}

bool
net_shell(const char *command)
{
    return system(command) == 0; /* NOLINT(cert-env33-c): a test */
}

bool
net_nothing_is_left(void)
{
    return net_shell("! ip -o link | grep -q vmtap && ! nft list table inet vm_tools "
                     ">/dev/null 2>&1 && "
                     "test $(cat /proc/sys/net/ipv4/conf/veth0/forwarding) = 0");
}

/* An UDP socket of the host. */
int
net_service(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

/* A packet that belongs to nothing before it. */
static void
knock(uint32_t address)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(address)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)sendto(fd, "knock", 5, 0, (struct sockaddr *)&to, sizeof(to));
    (void)close(fd);
}

/* Answers each packet with the address that it came from and what it said; before that it
 * knocks at the guest, or at the host's other neighbour, when it was told so. */
static void
echo(void)
{
    struct sockaddr_in from;
    int fd = net_service(ECHO);

    (void)fcntl(fd, F_SETFL, 0);
    for (;;) {
        char text[64] = "", answer[128], address[INET_ADDRSTRLEN];
        socklen_t len = sizeof(from);

        if (recvfrom(fd, text, sizeof(text) - 1, 0, (struct sockaddr *)&from, &len) < 0)
            _exit(1);
        if (strcmp(text, "knock at me") == 0)
            knock(net_vm_at(1, false).guest);
        if (strcmp(text, "knock at others") == 0)
            knock(NEIGHBOUR);
        (void)inet_ntop(AF_INET, &from.sin_addr, address, sizeof(address));
        (void)snprintf(answer, sizeof(answer), "%s %s", address, text);
        (void)sendto(fd, answer, strlen(answer), 0, (struct sockaddr *)&from, len);
    }
}

static bool
make_world(void)
{
    char command[512];
    int ready[2], go[2];
    char byte;

    if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
        return false;
    world = fork();
    if (world == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) < 0 || write(ready[1], "", 1) != 1 ||
            read(go[0], &byte, 1) != 1 ||
            !net_shell(
                "ip link set lo up; ip addr add 192.0.2.2/24 dev veth1 && "
                "ip link set veth1 up && ip route add 100.115.92.0/24 via 192.0.2.1 && "
                "ip route add 198.51.100.0/24 via 192.0.2.1"))
            _exit(1);
        echo();
    }
    (void)snprintf(command, sizeof(command),
                   "ip link set lo up && ip link add veth0 type veth peer name veth1 && "
                   "ip link set veth1 netns %d && ip addr add 192.0.2.1/24 dev veth0 && "
                   "ip link set veth0 up",
                   (int)world);
    return world > 0 && read(ready[0], &byte, 1) == 1 && net_shell(command) &&
           write(go[1], "", 1) == 1;
}

/* Root has no need of a user namespace, and some systems forbid them. */
const char *
net_enter(void)
{
    static const char *const tools[] = {"ip -V", "nft -v", "setpriv -V"};
    char command[64];

    for (size_t i = 0; i < VMT_ARRAY_SIZE(tools); i++) {
        (void)snprintf(command, sizeof(command), "%s >/dev/null 2>&1", tools[i]);
        if (!net_shell(command))
            return tools[i];
    }
    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return "a network namespace";
    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        return "/dev/net/tun";
    if (!net_shell("nft add table inet probe && nft delete table inet probe"))
        return "nftables in the kernel";
    return make_world() ? NULL : "a veth pair";
}

void
net_leave(void)
{
    (void)kill(world, SIGKILL);
}
