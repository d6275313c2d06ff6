#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the host plugs into a running machine is there for its programs, without udev."""
import struct

import guest
from test_shutdown import Qmp

MIB = 1 << 20
JOB = 'argv: "/bin/sh" argv: "-c" argv: "%s" wait_for_exit: true'
FILES = {"etc/maitred/10-links": JOB % "until [ -e /dev/disk/by-id/virtio-one-part1 ]; "
         "do sleep 0.1; done; cat /dev/disk/by-id/virtio-one-part1 | head -c 9 > /run/seen"}


def make_disk(path, text):
    """One partition by the oldest kind of table, with a text at its beginning."""
    with open(path, "wb") as f:
        f.write(b"\0" * 446 + struct.pack("<B3sB3sII", 0, b"\0" * 3, 0x83, b"\0" * 3, 2048, 4096))
        f.seek(510)
        f.write(b"\x55\xaa")
        f.seek(2048 * 512)
        f.write(text)
        f.truncate(4 * MIB)


def links(vm):
    return vm.sh("cd /dev/disk/by-id && for l in *; do echo $l $(readlink $l); done")


def disks_have_names(vm, qmp, top):
    assert vm.sh("cat /run/seen") == "contents1"
    assert "virtio-one ../../vdb\nvirtio-one-part1 ../../vdb1\n" in links(vm), links(vm)
    qmp.run("blockdev-add", **{"driver": "raw", "node-name": "two",
                               "file": {"driver": "file", "filename": f"{top}/two"}})
    qmp.run("device_add", driver="virtio-blk-pci", id="two", drive="two", bus="port1",
            serial="two b")
    # A mount waits for a disk that is on its way.
    pb = vm.pb["vm_guest"]
    reply = vm.call("Mount", pb.MountRequest(source="/dev/disk/by-id/virtio-two_b-part1",
                                             target="/mnt", fstype="ext4"))
    vm.sh("until [ -e /dev/disk/by-id/virtio-two_b-part1 ]; do sleep 0.1; done")
    assert reply.error in (22, 2), reply  # no file system in there; 2: a slow machine
    assert vm.sh("head -c 9 /dev/disk/by-id/virtio-two_b-part1") == "contents2"
    qmp.run("device_del", id="two")
    vm.sh("while [ -h /dev/disk/by-id/virtio-two_b ]; do sleep 0.1; done")
    assert "two" not in links(vm) and "virtio-one " in links(vm), links(vm)


def a_network_card_is_brought_up(vm, qmp, top):
    assert vm.sh("cat /sys/class/net/eth0/flags") == "0x1002\n"  # nobody configured it
    qmp.run("device_add", driver="virtio-net-pci", id="card", netdev="n2", bus="port2")
    vm.sh("until [ -e /sys/class/net/eth1 ] && ip link show eth1 | grep -q ,UP; do sleep 0.1; done")
    vm.sh("ip link add type veth && ip link show veth0 | grep -vq ,UP")
    assert vm.sh("cat /sys/class/net/eth0/flags /sys/class/net/veth0/flags") == "0x1002\n0x1002\n"


def processors_and_memory_are_used(vm, qmp, top):
    assert vm.sh("grep -c ^processor /proc/cpuinfo") == "1\n"
    before = int(vm.sh("awk '/MemTotal/ {print $2}' /proc/meminfo"))
    qmp.run("device_add", **{"driver": "max-x86_64-cpu", "id": "cpu1", "socket-id": 1,
                             "die-id": 0, "core-id": 0, "thread-id": 0})
    vm.sh("until [ $(grep -c ^processor /proc/cpuinfo) = 2 ]; do sleep 0.1; done")
    qmp.run("object-add", **{"qom-type": "memory-backend-memfd", "id": "more", "size": 128 * MIB,
                             "share": True})
    qmp.run("device_add", driver="pc-dimm", id="dimm", memdev="more")
    vm.sh(f"until [ $(awk '/MemTotal/ {{print $2}}' /proc/meminfo) -ge {before + 120 * 1024} ]; "
          "do sleep 0.1; done")


def keyboards_come_and_go(vm, qmp, top):
    """They have a power key, and so process 1 listens to them."""
    vm.sh("for m in xhci_pci usbhid hid_generic; do modprobe $m; done")
    inputs = "[ $(ls -l /proc/1/fd | grep -c /dev/input/event) %s ]"
    before = int(vm.sh("ls -l /proc/1/fd | grep -c /dev/input/event || true"))
    for _ in range(3):
        qmp.run("device_add", driver="usb-kbd", id="keys")
        vm.sh(f"until {inputs % f'-gt {before}'}; do sleep 0.1; done")
        qmp.run("device_del", id="keys")
        vm.sh(f"until {inputs % f'= {before}'}; do sleep 0.1; done")


def what_is_plugged_in_is_there(top):
    guest.make_root(f"{top}/root", FILES, more_modules=("veth", "xhci_pci", "usbhid",
                                                        "hid_generic"))
    make_disk(f"{top}/one", b"contents1")
    make_disk(f"{top}/two", b"contents2")
    extra = ["-smp", "1,maxcpus=2,sockets=2", "-m", "slots=2,maxmem=1G",
             "-qmp", f"unix:{top}/vm/qmp,server=on,wait=off",
             "-drive", f"file={top}/root,format=raw,if=none,id=root,readonly=on",
             "-device", "virtio-blk-pci,drive=root",
             "-drive", f"file={top}/one,format=raw,if=none,id=one",
             "-device", "virtio-blk-pci,drive=one,serial=one",
             "-netdev", "user,id=n1,restrict=on", "-device", "virtio-net-pci,netdev=n1",
             "-netdev", "user,id=n2,restrict=on", "-device", "qemu-xhci",
             "-device", "pcie-root-port,id=port1,chassis=1,slot=1",
             "-device", "pcie-root-port,id=port2,chassis=2,slot=2"]
    with guest.Guest(top, extra=extra) as vm:
        vm.wait_ready()
        qmp = Qmp(f"{vm.folder}/qmp")
        for check in (disks_have_names, a_network_card_is_brought_up,
                      keyboards_come_and_go, processors_and_memory_are_used):
            check(vm, qmp, top)
            print(f"  ok {check.__name__}", flush=True)
        vm.call("Shutdown", vm.pb["common"].EmptyMessage())
        assert vm.wait_off() == 0


if __name__ == "__main__":
    guest.check_needs()
    guest.run_tests([what_is_plugged_in_is_there])
