/* SPDX-License-Identifier: BSD-3-Clause */
/* The adapter of the host's network against a real kernel, in network namespaces of its
 * own: one is the host, one the world outside. Needs no rights but those that a user
 * namespace gives. */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/integration/net/guest.h"
#include "tests/integration/net/net_world.h"
#include "tests/unit/test.h"

#define SKIP 77

static void
a_vm_has_its_tap_address_route_and_rules_until_it_is_removed(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vm = net_vm_at(1, true);
    int fd;

    (void)state;
    assert_true(net_nothing_is_left());
    fd = net_add(net, &vm);
    assert_string_equal(vm.tap, "vmtap0");
    (void)close(fd); /* the hypervisor has its own copy; the tap stays */
    assert_true(net_shell("ip addr show dev vmtap0 | grep -q 'inet 100.115.92.5/30 '"));
    assert_true(net_shell("ip -d link show vmtap0 | grep -q 'alias " LABEL "'"));
    assert_true(net_shell("ip -d link show vmtap0 | grep -q vnet_hdr"));
    assert_true(net_shell("ip route | grep -q '^100.115.92.192/28 via 100.115.92.6 '"));
    assert_true(net_shell("test $(cat /proc/sys/net/ipv4/conf/vmtap0/forwarding) = 1"));
    assert_true(net_shell("test $(cat /proc/sys/net/ipv4/conf/veth0/forwarding) = 1"));
    assert_true(net_shell("test $(cat /proc/sys/net/ipv4/ip_forward) = 0"));
    assert_true(net_shell("nft list table inet vm_tools | grep -q masquerade"));
    net_drop(net, &vm);
    assert_true(net_nothing_is_left());
    net_drop(net, &vm); /* twice is fine */
    net->ops->free(net);
}

static void
expect(struct wire *wire, const char *want)
{
    char text[128] = "";

    if (!wire_receive(wire, text, sizeof(text)))
        fail_msg("\"%s\" did not come", want);
    assert_string_equal(text, want);
}

static void
a_guest_reaches_its_gateway_and_the_world_under_the_hosts_address(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vm = net_vm_at(1, false);
    int fd = net_add(net, &vm);
    struct wire wire;

    (void)state;
    wire_init(&wire, fd, vm.tap, vm.mac, vm.guest);
    wire_send_ping(&wire, vm.guest, vm.gateway, 1);
    expect(&wire, "pong 1");
    wire_send_udp(&wire, vm.guest, WORLD, ECHO, "hello");
    expect(&wire, "192.0.2.1 hello");
    (void)close(fd);
    net_drop(net, &vm);
    net->ops->free(net);
}

/* A lie goes first each time: had it passed, its answer would come first. */
static void
lies_about_the_source_reach_nobody(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vm = net_vm_at(1, true), other = net_vm_at(2, false);
    int fd = net_add(net, &vm), other_fd = net_add(net, &other);
    struct wire wire;

    (void)state;
    wire_init(&wire, fd, vm.tap, vm.mac, vm.guest);
    wire_send_udp(&wire, other.guest, WORLD, ECHO, "of another guest");
    wire_send_udp(&wire, HOST_OUTSIDE, WORLD, ECHO, "of the host");
    wire_send_udp(&wire, WORLD + 5, WORLD, ECHO, "of a stranger");
    wire_send_udp(&wire, CONTAINERS + 16, WORLD, ECHO, "of others' containers");
    wire.mac[5] ^= 1;
    wire_send_udp(&wire, vm.guest, WORLD, ECHO, "of another device");
    wire_send_ping(&wire, vm.guest, vm.gateway, 1);
    wire.mac[5] ^= 1;
    wire_send_udp(&wire, vm.guest, WORLD, ECHO, "true");
    expect(&wire, "192.0.2.1 true");
    wire_send_udp(&wire, CONTAINERS + 15, WORLD, ECHO, "true of a container");
    expect(&wire, "192.0.2.1 true of a container");
    (void)close(fd);
    (void)close(other_fd);
    net_drop(net, &vm);
    net_drop(net, &other);
    net->ops->free(net);
}

static void
a_guest_reaches_only_what_the_host_offers(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vm = net_vm_at(1, false);
    int fd = net_add(net, &vm), closed = net_service(CLOSED),
        offered = net_service(OFFERED);
    struct wire wire;
    char text[16] = "";

    (void)state;
    wire_init(&wire, fd, vm.tap, vm.mac, vm.guest);
    wire_send_udp(&wire, vm.guest, vm.gateway, CLOSED, "no");
    wire_send_udp(&wire, vm.guest, HOST_OUTSIDE, CLOSED, "no");
    wire_send_udp(&wire, vm.guest, vm.gateway, OFFERED, "yes");
    wire_send_ping(&wire, vm.guest, vm.gateway, 7);
    expect(&wire, "pong 7"); /* all before it has arrived */
    assert_int_equal(recv(offered, text, sizeof(text), 0), 3);
    assert_int_equal(recv(closed, text, sizeof(text), 0), -1);
    assert_int_equal(errno, EAGAIN);
    (void)close(closed);
    (void)close(offered);
    (void)close(fd);
    net_drop(net, &vm);
    net->ops->free(net);
}

static void
guests_do_not_reach_each_other(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm a = net_vm_at(1, false), b = net_vm_at(2, false);
    int fd_a = net_add(net, &a), fd_b = net_add(net, &b);
    struct wire wire_a, wire_b;

    (void)state;
    wire_init(&wire_a, fd_a, a.tap, a.mac, a.guest);
    wire_init(&wire_b, fd_b, b.tap, b.mac, b.guest);
    wire_send_udp(&wire_a, a.guest, b.guest, 9, "hello neighbour");
    wire_send_ping(&wire_a, a.guest, a.gateway, 1);
    expect(&wire_a, "pong 1");
    wire_send_ping(&wire_b, b.guest, b.gateway, 2);
    expect(&wire_b, "pong 2"); /* and nothing before it */
    (void)close(fd_a);
    (void)close(fd_b);
    net_drop(net, &a);
    net_drop(net, &b);
    net->ops->free(net);
}

/* The knock goes out before the answer, so it would come before it. */
static void
nobody_outside_connects_to_a_guest(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vm = net_vm_at(1, false);
    int fd = net_add(net, &vm);
    struct wire wire;

    (void)state;
    wire_init(&wire, fd, vm.tap, vm.mac, vm.guest);
    wire_send_udp(&wire, vm.guest, WORLD, ECHO, "knock at me");
    expect(&wire, "192.0.2.1 knock at me");
    (void)close(fd);
    net_drop(net, &vm);
    net->ops->free(net);
}

/* Packets that left by lan0. /sys would show another namespace. */
static long
sent_to_neighbours(void)
{
    FILE *f = fopen("/proc/self/net/dev", "re");
    char line[512];
    long n = -1;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (strstr(line, "lan0:"))
            (void)sscanf(strchr(line, ':') + 1, /* NOLINT(cert-err34-c): the kernel's */
                         "%*d %*d %*d %*d %*d %*d %*d %*d %*d %ld", &n);
    (void)fclose(f);
    assert_true(n >= 0);
    return n;
}

/* As a tethered telephone does. The list of them has 32 places. */
static void
an_interface_that_comes_back_again_and_again_is_one(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vm = net_vm_at(1, false);
    int fd = net_add(net, &vm);

    (void)state;
    for (int i = 0; i < 40; i++) {
        assert_true(
            net_shell("ip link add wan0 type veth peer name wan1 && "
                      "ip addr add 203.0.113.1/24 dev wan0 && ip link set wan0 up"));
        assert_true(net->ops->refresh(net, NULL) >= 0);
        assert_true(net_shell("grep -q 1 /proc/sys/net/ipv4/conf/wan0/forwarding && "
                              "nft list set inet vm_tools uplinks | grep -q wan0"));
        assert_true(net_shell("ip link del wan0"));
    }
    assert_true(net->ops->refresh(net, NULL) >= 0);
    assert_true(net_shell("! nft list set inet vm_tools uplinks | grep -q wan0"));
    (void)close(fd);
    net_drop(net, &vm);
    net->ops->free(net);
}

/* Forwarding of veth0 is switched on for us; whoever comes that way gets nothing by it.
 */
static void
the_host_does_not_become_a_router_for_others(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vm = net_vm_at(1, false);
    struct wire wire;
    long before;
    int fd;

    (void)state;
    assert_true(
        net_shell("ip link add lan0 type veth peer name lan1 && "
                  "echo 1 >/proc/sys/net/ipv6/conf/lan0/disable_ipv6 && "
                  "ip addr add 198.51.100.1/24 dev lan0 && ip link set lan1 up && "
                  "ip link set lan0 up && "
                  "ip neigh add 198.51.100.9 lladdr 02:00:00:00:00:09 dev lan0"));
    fd = net_add(net, &vm);
    before = sent_to_neighbours();
    wire_init(&wire, fd, vm.tap, vm.mac, vm.guest);
    wire_send_udp(&wire, vm.guest, WORLD, ECHO, "knock at others");
    expect(&wire, "192.0.2.1 knock at others");
    assert_int_equal(sent_to_neighbours(), before);
    assert_true(
        net_shell("nft 'table ip published { chain pre { type nat hook prerouting "
                  "priority dstnat; udp dport 9 dnat to 198.51.100.9:10; }; }'"));
    wire_send_udp(&wire, vm.guest, WORLD, ECHO, "knock at others");
    expect(&wire, "192.0.2.1 knock at others");
    assert_int_equal(sent_to_neighbours(), ++before); /* what others publish passes */
    assert_true(net_shell("nft delete table ip published"));
    assert_true(net_shell("nft flush chain inet vm_tools forward")); /* and without us? */
    wire_send_udp(&wire, vm.guest, WORLD, ECHO, "knock at others");
    expect(&wire, "192.0.2.1 knock at others");
    assert_int_equal(sent_to_neighbours(), before + 1);
    (void)close(fd);
    net_drop(net, &vm);
    assert_true(net_shell("ip link del lan0"));
    net->ops->free(net);
}

/* One that would fill the host's table of connections hits its own limit. */
static void
a_guest_has_a_limited_number_of_connections(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vm = net_vm_at(1, false), other = net_vm_at(2, false);
    int fd = net_add(net, &vm), other_fd = net_add(net, &other);
    struct wire wire, other_wire;

    (void)state;
    wire_init(&wire, fd, vm.tap, vm.mac, vm.guest);
    wire_init(&other_wire, other_fd, other.tap, other.mac, other.guest);
    wire_send_udp(&wire, vm.guest, WORLD, ECHO, "first");
    expect(&wire, "192.0.2.1 first");
    for (unsigned port = 1000; port < 1000 + 4200; port++)
        wire_send_udp(&wire, vm.guest, WORLD, (uint16_t)port, "");
    wire_send_udp(&wire, vm.guest, WORLD, ECHO, "an old one");
    expect(&wire, "192.0.2.1 an old one");
    assert_true(
        net_shell("test $(cat /proc/sys/net/netfilter/nf_conntrack_count) -le 4110"));
    wire_send_udp(&other_wire, other.guest, WORLD, ECHO, "another guest");
    expect(&other_wire, "192.0.2.1 another guest");
    (void)close(fd);
    (void)close(other_fd);
    net_drop(net, &vm);
    net_drop(net, &other);
    net->ops->free(net);
}

/* As "flush ruleset" at the head of many a firewall's file does it. */
static void
rules_that_somebody_removed_come_back(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vm = net_vm_at(1, false);
    int fd = net_add(net, &vm);

    (void)state;
    assert_int_equal(net->ops->refresh(net, NULL), 0);
    assert_int_equal(net->ops->refresh(net, NULL), 0);
    assert_true(net_shell("nft add table inet other"));
    assert_int_equal(net->ops->refresh(net, NULL), 0);
    assert_true(net_shell("nft flush ruleset"));
    assert_int_equal(net->ops->refresh(net, NULL), 1);
    assert_true(net_shell("nft list table inet vm_tools | grep -q masquerade"));
    assert_int_equal(net->ops->refresh(net, NULL), 0);
    (void)close(fd);
    net_drop(net, &vm);
    net->ops->free(net);
}

/* A VPN, say. */
static void
an_interface_that_comes_later_forwards_too(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vm = net_vm_at(1, false);
    int fd = net_add(net, &vm);

    (void)state;
    assert_true(net_shell("ip link add vpn0 type veth peer name vpn1 && "
                          "ip addr add 203.0.113.1/24 dev vpn0 && ip link set vpn0 up"));
    assert_int_equal(net->ops->refresh(net, NULL), 0);
    assert_true(net_shell("test $(cat /proc/sys/net/ipv4/conf/vpn0/forwarding) = 1"));
    assert_true(net_shell("nft list set inet vm_tools uplinks | grep -q vpn0"));
    (void)close(fd);
    net_drop(net, &vm);
    assert_true(net_shell("test $(cat /proc/sys/net/ipv4/conf/vpn0/forwarding) = 0"));
    assert_true(net_shell("ip link del vpn0"));
    net->ops->free(net);
}

static void
forty_taps_are_there_at_once(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vms[40];
    int fds[40];

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        vms[i] = net_vm_at(i + 1, false);
        fds[i] = net_add(net, &vms[i]);
    }
    assert_true(net_shell("test $(ip -o link | grep -c ': vmtap') = 40"));
    for (unsigned i = 0; i < 40; i++) {
        (void)close(fds[i]);
        net_drop(net, &vms[i]);
    }
    assert_true(net_nothing_is_left());
    net->ops->free(net);
}

static void
leave_tap(struct host_net_vm *vm)
{
    struct host_net *net = net_new();
    int fd;

    if (net->ops->add(net, vm, &fd, NULL) < 0)
        _exit(1);
    (void)kill(getpid(), SIGKILL);
}

/* A daemon that is killed leaves its VM's tap; the next one takes it over, or away. */
static void
what_a_dead_daemon_left_is_taken_over_or_removed(void **state)
{
    struct host_net *net;
    struct host_net_vm vm = net_vm_at(3, true);
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        leave_tap(&vm);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    (void)snprintf(vm.tap, sizeof(vm.tap), "vmtap0");
    assert_true(
        net_shell("nft delete table inet vm_tools")); /* and somebody else did this */
    net = net_new();
    assert_int_equal(net->ops->adopt(net, &vm, 1, NULL), 0);
    assert_true(net_shell("ip -o link | grep -q vmtap0"));
    assert_true(net_shell("nft list table inet vm_tools | grep -q 100.115.92.14"));
    net->ops->free(net);
    net = net_new(); /* and this one knows of none */
    assert_int_equal(net->ops->adopt(net, NULL, 0, NULL), 0);
    assert_true(net_shell("! ip -o link | grep -q vmtap"));
    assert_true(net_shell("! nft list table inet vm_tools >/dev/null 2>&1"));
    net->ops->free(net);
    assert_true(net_shell("echo 0 >/proc/sys/net/ipv4/conf/veth0/forwarding"));
}

/* The same, but the table is there and says what was changed. */
static void
what_was_switched_on_is_switched_off_by_the_next_daemon(void **state)
{
    struct host_net *net;
    struct host_net_vm vm = net_vm_at(3, false);
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        leave_tap(&vm);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    net = net_new();
    assert_int_equal(net->ops->adopt(net, NULL, 0, NULL), 0);
    assert_true(net_nothing_is_left());
    net->ops->free(net);
}

static void
what_is_not_ours_stays(void **state)
{
    struct host_net *net = net_new();

    (void)state;
    assert_true(
        net_shell("ip tuntap add dev vmtap5 mode tap && nft add table inet other"));
    assert_int_equal(net->ops->adopt(net, NULL, 0, NULL), 0);
    assert_true(net_shell("ip -o link | grep -q vmtap5 && nft list table inet other"));
    assert_true(net_shell("ip link del vmtap5 && nft delete table inet other"));
    net->ops->free(net);
}

struct seen {
    bool uplink, own;
};

static void
on_range(void *arg, uint32_t address, unsigned prefix)
{
    struct seen *seen = arg;

    seen->uplink |= address == (HOST_OUTSIDE & ~0xffu) && prefix == 24;
    seen->own |= (address & ~0xffu) == BASE;
}

static void
the_hosts_routes_are_told_but_not_our_own(void **state)
{
    struct host_net *net = net_new();
    struct host_net_vm vm = net_vm_at(1, true);
    struct seen seen = {false, false};
    int fd = net_add(net, &vm);

    (void)state;
    assert_int_equal(net->ops->ranges(net, on_range, &seen, NULL), 0);
    assert_true(seen.uplink);
    assert_false(seen.own);
    (void)close(fd);
    net_drop(net, &vm);
    net->ops->free(net);
}

static void
with_rights_the_check_passes_and_leaves_nothing(void **state)
{
    struct host_net *net = net_new();
    struct vmt_err err = {0};

    (void)state;
    if (net->ops->check(net, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(net_nothing_is_left());
    net->ops->free(net);
}

/* Rights are those of the effective set: util-linux' setpriv drops them for good. */
static void
without_rights_the_error_says_which(void **state)
{
    char self[512] = "", command[700];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    (void)state;
    assert_true(n > 0);
    (void)snprintf(
        command, sizeof(command),
        "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs %s check | "
        "grep -q 'CAP_NET_ADMIN is missing'",
        self);
    assert_true(net_shell(command));
}

/* A hypervisor must not inherit what a service file gives us. */
static void
programs_that_we_start_get_no_capability(void **state)
{
    char self[512] = "", command[700];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    (void)state;
    assert_true(n > 0);
    (void)snprintf(command, sizeof(command),
                   "test \"$(setpriv --inh-caps=+net_admin --ambient-caps=+net_admin %s "
                   "ambient)\" = '1 0'",
                   self);
    assert_true(net_shell(command));
}

static int
print_ambient(void)
{
    int before = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_ADMIN, 0, 0);
    struct host_net *net = net_new();

    (void)printf("%d %d\n", before,
                 prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_ADMIN, 0, 0));
    net->ops->free(net);
    return 0;
}

static int
print_check(void)
{
    struct host_net *net = net_new();
    struct vmt_err err = {0};
    int r = net->ops->check(net, &err);

    (void)printf("%d %s\n", r, err.msg);
    net->ops->free(net);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_rights_the_check_passes_and_leaves_nothing),
        cmocka_unit_test(a_vm_has_its_tap_address_route_and_rules_until_it_is_removed),
        cmocka_unit_test(
            a_guest_reaches_its_gateway_and_the_world_under_the_hosts_address),
        cmocka_unit_test(lies_about_the_source_reach_nobody),
        cmocka_unit_test(a_guest_reaches_only_what_the_host_offers),
        cmocka_unit_test(guests_do_not_reach_each_other),
        cmocka_unit_test(nobody_outside_connects_to_a_guest),
        cmocka_unit_test(a_guest_has_a_limited_number_of_connections),
        cmocka_unit_test(rules_that_somebody_removed_come_back),
        cmocka_unit_test(an_interface_that_comes_later_forwards_too),
        cmocka_unit_test(forty_taps_are_there_at_once),
        cmocka_unit_test(an_interface_that_comes_back_again_and_again_is_one),
        cmocka_unit_test(the_host_does_not_become_a_router_for_others),
        cmocka_unit_test(what_a_dead_daemon_left_is_taken_over_or_removed),
        cmocka_unit_test(what_was_switched_on_is_switched_off_by_the_next_daemon),
        cmocka_unit_test(what_is_not_ours_stays),
        cmocka_unit_test(the_hosts_routes_are_told_but_not_our_own),
        cmocka_unit_test(without_rights_the_error_says_which),
        cmocka_unit_test(programs_that_we_start_get_no_capability),
    };
    const char *missing;
    int r;

    if (argc == 2 && strcmp(argv[1], "check") == 0)
        return print_check();
    if (argc == 2 && strcmp(argv[1], "ambient") == 0)
        return print_ambient();
    missing = net_enter();
    if (missing) {
        (void)printf("SKIP: no %s\n", missing);
        return SKIP;
    }
    r = cmocka_run_group_tests(tests, NULL, NULL);
    net_leave();
    return r;
}
