#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the calls of the host leave behind in a real guest, under way and when they fail."""
import os
import random
import socket
import time

import guest
import tiny9p
from test_calls import address

EXITED = 1
# Not by exec: it is known by its name.
DNSMASQ = """#!/bin/sh
trap 'echo hup >> /run/hups' HUP
while :; do sleep 0.1; done
"""
FILES = {"usr/bin/dnsmasq": DNSMASQ,
         **{f"usr/share/zoneinfo/Test/{n}": b"TZif2" + n.encode() * 60 for n in ("One", "Two")}}


def config(vm, ip, mask, gateway):
    request = vm.pb["vm_guest"].NetworkConfigRequest()
    request.ipv4_config.address = address(ip)
    request.ipv4_config.netmask = address(mask)
    request.ipv4_config.gateway = address(gateway)
    return request


def the_network_forwards_only_when_asked(vm):
    vm.call("ConfigureNetwork", config(vm, "10.0.2.15", "255.255.255.0", "10.0.2.2"))
    text = vm.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding "
                 "/proc/sys/net/ipv6/conf/eth0/accept_ra; ip addr show lo")
    assert text.startswith("0\n0\n2\n") and "127.0.0.1/8" in text and "UP" in text, text


def a_new_network_of_the_host_begins_afresh(vm):
    vm.call("LaunchProcess", vm.pb["vm_guest"].LaunchProcessRequest(argv=["dnsmasq"]))
    vm.sh("until [ \"$(cat /proc/$(pidof dnsmasq)/comm)\" = dnsmasq ]; do sleep 0.1; done; "
          "ip -6 addr add fd00::1/64 dev eth0; ip -6 addr show eth0 | grep -q fd00::1")
    vm.call("OnHostNetworkChanged", vm.pb["common"].EmptyMessage())
    vm.sh("! ip -6 addr show eth0 | grep -q fd00::1; ip -6 addr show eth0 | grep -q 'inet6 fe80'; "
          "until [ -e /run/hups ]; do sleep 0.1; done")
    assert "inet 10.0.2.15/24" in vm.sh("ip addr show eth0")


def ipv6(vm, own, prefix_len=64, gateway=None):
    request = config(vm, "10.0.2.15", "255.255.255.0", "10.0.2.2")
    request.ipv6_config.address = socket.inet_pton(socket.AF_INET6, own)
    request.ipv6_config.prefix_len = prefix_len
    if gateway:
        request.ipv6_config.gateway = socket.inet_pton(socket.AF_INET6, gateway)
    return request


def the_host_may_set_ipv6_and_the_mtu(vm):
    request = ipv6(vm, "fd77::15", 64, "fd77::2")
    request.mtu = 1400
    for _ in range(2):  # the same again changes nothing
        vm.call("ConfigureNetwork", request)
        text = vm.sh("cat /sys/class/net/eth0/mtu; ip -6 addr show dev eth0; ip -6 route; "
                     "ip addr show eth0")
        assert text.startswith("1400\n"), text
        assert "inet6 fd77::15/64 scope global" in text and "global tentative" not in text, text
        assert text.count("default via fd77::2") == 1 and "inet 10.0.2.15/24" in text, text
    vm.call("ConfigureNetwork", ipv6(vm, "fd78::15", 56, "fe80::2"))
    text = vm.sh("ip -6 addr show dev eth0; ip -6 route; cat /sys/class/net/eth0/mtu")
    assert "inet6 fd78::15/56" in text and "fd77" not in text, text
    assert "default via fe80::2" in text and text.endswith("\n1400\n"), text
    vm.sh("until ip -6 addr show dev eth0 | grep -q 'inet6 fe80::'; do sleep 0.1; done")
    vm.call("OnHostNetworkChanged", vm.pb["common"].EmptyMessage())  # and it stays
    text = vm.sh("ip -6 addr show dev eth0; ip -6 route")
    assert "inet6 fd78::15/56" in text and "default via fe80::2" in text, text
    for bad in (ipv6(vm, "fe80::1"), ipv6(vm, "fd77::1", 129), ipv6(vm, "fd77::1", 64, "fd99::1")):
        vm.call("ConfigureNetwork", bad, "INVALID_ARGUMENT")
    request.mtu = 1279
    vm.call("ConfigureNetwork", request, "INVALID_ARGUMENT")
    assert "fd78::15/56" in vm.sh("ip -6 addr show dev eth0")


def an_interface_is_named_by_its_address(vm):
    vm.sh("modprobe dummy || insmod $(find /lib/modules -name 'dummy.ko*'); ip link show dummy0")
    mac = vm.sh("cat /sys/class/net/dummy0/address").strip()
    request = vm.pb["vm_guest"].NetworkConfigRequest(mac_address=bytes.fromhex(mac.replace(":", "")))
    request.ipv6_config.address = socket.inet_pton(socket.AF_INET6, "fd79::15")
    request.ipv6_config.prefix_len = 64
    vm.call("ConfigureNetwork", request)
    text = vm.sh("ip -6 addr show dev dummy0; ip addr show eth0")
    assert "inet6 fd79::15/64" in text and "inet 10.0.2.15/24" in text, text
    assert "fd78::15/56" in text, text
    request.mac_address = b"\2\0\0\0\0\7"
    text = vm.call("ConfigureNetwork", request, "INTERNAL")
    assert "hardware address" in text, text
    request.mac_address = b"\2\0"
    vm.call("ConfigureNetwork", request, "INVALID_ARGUMENT")


def name_servers_are_always_a_whole_file(vm):
    pb = vm.pb["vm_guest"]
    last = "options single-request timeout:1 attempts:5\n"

    def put(servers, code=None, domains=()):
        request = pb.SetResolvConfigRequest()
        request.resolv_config.nameservers[:] = servers
        request.resolv_config.search_domains[:] = domains
        return vm.call("SetResolvConfig", request, code)

    for n in (0, 1, 5):
        servers = [f"10.0.2.{i}" for i in range(1, n + 1)]
        put(servers)
        assert vm.sh("cat /etc/resolv.conf") == "".join(
            f"nameserver {s}\n" for s in servers[:3]) + last  # libc reads no more
    for bad in ("10.0.2.3\nnameserver 6.6.6.6", "localhost", "10.0.2", ""):
        put([bad], "INVALID_ARGUMENT")
    # A reader never meets a part of it while it is written over and over.
    vm.call("LaunchProcess", pb.LaunchProcessRequest(argv=["sh", "-c", (
        "while [ ! -e /run/enough ]; do tail -n 1 /etc/resolv.conf | grep -q attempts:5 || "
        "echo torn >> /run/torn; echo . >> /run/looks; done; touch /run/looked")]))
    calls = []
    for i in range(50):
        request = pb.SetResolvConfigRequest()
        request.resolv_config.nameservers[:] = [f"10.1.0.{i}"] * (i % 3 + 1)
        calls.append(vm.agent.SetResolvConfig.future(request, timeout=guest.PATIENCE))
    for call in calls:
        call.result()
    vm.sh("until [ $(wc -l < /run/looks) -ge 5 ]; do sleep 0.1; done; touch /run/enough; "
          "until [ -e /run/looked ]; do sleep 0.1; done; [ ! -e /run/torn ]")
    assert vm.sh("ls -A /run | grep resolv") == "resolv.conf\n"


def zones_change_in_one_step(vm):
    pb = vm.pb["vm_guest"]
    vm.call("SetTimezone", pb.SetTimezoneRequest(timezone_name="Test/One"))
    vm.call("LaunchProcess", pb.LaunchProcessRequest(argv=["sh", "-c", (
        "while [ ! -e /run/zoned ]; do [ -e /etc/localtime ] || echo gap >> /run/gaps; done; "
        "touch /run/zone-ended")]))
    for i in range(20):
        vm.call("SetTimezone", pb.SetTimezoneRequest(timezone_name=f"Test/{('One', 'Two')[i % 2]}"))
    vm.sh("touch /run/zoned; until [ -e /run/zone-ended ]; do sleep 0.1; done; [ ! -e /run/gaps ]")
    for _ in range(2):  # the second one takes the place of the first
        vm.call("SetTimezone", pb.SetTimezoneRequest(timezone_name="Test/One", use_bind_mount=True))
    text = vm.sh("grep -c localtime /proc/mounts; head -c 8 /etc/localtime; echo; "
                 "ls -A /etc | grep localtime; head -c 8 /usr/share/zoneinfo/Test/Two")
    assert text == "1\nTZif2One\nlocaltime\nTZif2Two", text
    vm.call("SetTimezone", pb.SetTimezoneRequest(timezone_name="Test/Two"))
    assert vm.sh("readlink /etc/localtime; grep -c localtime /proc/mounts || true") == (
        "/usr/share/zoneinfo/Test/Two\n0\n")


def a_mount_that_fails_changes_nothing(vm):
    pb = vm.pb["vm_guest"]
    vm.sh("mkdir -m 700 /mnt/closed")
    for fields, error in (({"source": "/dev/vdq", "fstype": "ext4"}, 2),
                          ({"source": "/bin/busybox", "fstype": "ext4"}, 15),  # no block device
                          ({"source": "t", "fstype": "tmpfs", "options": "nonsense=1"}, 22)):
        reply = vm.call("Mount", pb.MountRequest(target="/mnt/closed", permissions=0o777, **fields))
        assert reply.error == error, (fields, reply)
    assert vm.sh("stat -c %a /mnt/closed; grep -c /mnt/closed /proc/mounts || true") == "700\n0\n"


def the_token_is_replaced_at_once(vm):
    pb = vm.pb["vm_guest"]
    for token in ("a-token-that-is-long", "short"):
        vm.call("ConfigureContainerGuest", pb.ConfigureContainerGuestRequest(container_token=token))
        assert vm.sh("cat /dev/.container_token; stat -c ' %a' /dev/.container_token; "
                     "ls -A /dev | grep -c token") == f"{token} 644\n1\n"


def a_share_holds_100_mb(vm):
    pb = vm.pb["vm_guest"]
    size = 100_000_000
    big = random.Random(7).randbytes(size)
    server = tiny9p.Server(f"{vm.folder}/vsock_5640", {
        "big": big, "out": b"", "program": b"#!/bin/sh\nexit 5\n"})
    vm.call("Mount9P", pb.Mount9PRequest(port=5640, target="/mnt/shared"))
    # Through the guest and back, so that both ways are seen.
    vm.sh("dd if=/mnt/shared/big of=/mnt/shared/out bs=1M conv=notrunc")
    assert server.files["out"] == big
    assert vm.run("/mnt/shared/program") == (EXITED, 5)
    server.close()
    assert vm.run("cat", "/mnt/shared/big") == (EXITED, 1)
    # The same again, when there is a server again: one mount, and it works.
    os.unlink(f"{vm.folder}/vsock_5640")
    server = tiny9p.Server(f"{vm.folder}/vsock_5640", {"new": b"server\n"})
    vm.call("Mount9P", pb.Mount9PRequest(port=5640, target="/mnt/shared"))
    assert vm.sh("cat /mnt/shared/new; grep -c ' /mnt/shared ' /proc/mounts") == "server\n1\n"
    server.close()
    begun = time.monotonic()
    vm.call("Mount9P", pb.Mount9PRequest(port=5641, target="/mnt/second"), "INTERNAL")
    assert time.monotonic() - begun < 20  # its own deadline is 5 s
    vm.sh("umount -l /mnt/shared")


def memory_of_init(vm):
    return int(vm.sh("awk '/VmRSS/ {print $2}' /proc/1/status"))


def floods_are_bounded(vm):
    """Random bytes, huge frames, many calls and many connections that say nothing."""
    empty = vm.pb["common"].EmptyMessage()
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = preface + b"\0\0\0\4\0\0\0\0\0"
    before = memory_of_init(vm)
    seed = int(os.environ.get("VMT_SEED", "1"))
    rng = random.Random(seed)
    for _ in range(60):
        data = rng.choice((b"", preface, settings)) + rng.randbytes(rng.randrange(1, 3000))
        s = guest.connect_guest(vm.folder, 8888)
        try:
            s.sendall(data)
        except OSError:
            pass
        s.close()
    huge = guest.connect_guest(vm.folder, 8888)
    try:
        huge.sendall(settings + b"\xff\xff\xff\0\0\0\0\0\1" + bytes(8 << 20))
    except OSError:
        pass
    huge.close()
    silent = [guest.connect_guest(vm.folder, 8888) for _ in range(25)]
    for s in silent[::2]:
        s.sendall(settings[:rng.randrange(len(settings))])
    calls = [vm.agent.GetKernelVersion.future(empty, timeout=guest.PATIENCE) for _ in range(10000)]
    for call in calls:
        assert call.result().kernel_release
    for s in silent:
        s.close()
    after = memory_of_init(vm)
    assert after < before + 8192, f"{before} KiB, then {after} KiB, seed {seed}"
    vm.call("GetKernelVersion", empty)
    print(f"  PID 1 has {after} KiB resident after 10000 calls and floods, {before} KiB before")


def calls_have_their_effects(top):
    guest.make_root(f"{top}/root", FILES, without=("dnsmasq",))
    extra = ["-netdev", "user,id=n,restrict=on", "-device", "virtio-net-pci,netdev=n"]
    with guest.Guest(top, root=f"{top}/root", extra=extra) as vm:
        vm.wait_ready()
        for check in (the_network_forwards_only_when_asked, a_new_network_of_the_host_begins_afresh,
                      the_host_may_set_ipv6_and_the_mtu, an_interface_is_named_by_its_address,
                      name_servers_are_always_a_whole_file, zones_change_in_one_step,
                      a_mount_that_fails_changes_nothing, the_token_is_replaced_at_once,
                      a_share_holds_100_mb, floods_are_bounded):
            begun = time.monotonic()
            check(vm)
            print(f"  ok {check.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)
        vm.call("Shutdown", vm.pb["common"].EmptyMessage())
        assert vm.wait_off() == 0


def starts_and_ends_in_a_row(top):
    """The same machine over and over, VMT_CYCLES times; no time decides, what was seen is printed."""
    times = []
    guest.make_root(f"{top}/root", FILES)
    for i in range(int(os.environ.get("VMT_CYCLES", "5"))):
        own = f"{top}/{i}"
        os.mkdir(own)
        os.link(f"{top}/initrd", f"{own}/initrd")
        with guest.Guest(own, root=f"{top}/root") as vm:
            begun = time.monotonic()
            if not times:  # nothing to configure is told in words
                vm.wait_ready()
                text = vm.call("ConfigureNetwork", config(vm, "10.0.2.15", "255.255.255.0",
                                                          "10.0.2.2"), "INTERNAL")
                assert "thernet" in text or "interface" in text, text
            else:
                vm.ready.get(timeout=guest.PATIENCE)
            times.append(time.monotonic() - begun)
            vm.call("Shutdown", vm.pb["common"].EmptyMessage())
            assert vm.wait_off() == 0
            assert "panic" not in vm.console.text, vm.console.text
    times.sort()
    p50, p90, p99 = (times[len(times) * p // 100] for p in (50, 90, 99))
    print(f"  {len(times)} cycles, ready after p50 {p50:.2f} s, p90 {p90:.2f} s, p99 {p99:.2f} s, "
          f"longest {times[-1]:.2f} s")


if __name__ == "__main__":
    guest.check_needs()
    guest.run_tests([calls_have_their_effects, starts_and_ends_in_a_row])
