#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks of a real guest: StartTermina on empty, foreign and damaged ones, and file systems that
grow and shrink."""
import hashlib
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import guest
from test_shutdown import Qmp

MIB = 1 << 20
SUBNET = "100.115.92.193/28"
# They stand for the programs of a container image: they say how they were started, and stay.
STUB = """#!/bin/sh
echo "${0##*/} $* dir=$LXD_DIR conf=$LXD_CONF only=$LXD_UNPRIVILEGED_ONLY" >> /run/started
exec sleep 100000
"""
FILES = {**guest.with_libraries("/usr/sbin/mkfs.btrfs", "usr/sbin/mkfs.btrfs"),
         **guest.with_libraries("/usr/sbin/mke2fs", "usr/sbin/mkfs.ext4"),
         **guest.with_libraries("/usr/sbin/mkfs.xfs", "usr/sbin/mkfs.xfs"),
         **{f"usr/bin/{name}": STUB for name in ("lxcfs", "tremplin", "ndproxyd", "mcastd")}}
# In the order of /dev/vdb, vdc and so on; the serial is the name.
DISKS = {"new": 256, "wiped": 256, "damaged": 256, "xfs": 512, "ext": 64, "blank": 320}


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def start(vm, code=None, **fields):
    pb = vm.pb["vm_guest"]
    request = pb.StartTerminaRequest(**{"lxd_ipv4_subnet": SUBNET,
                                        "allow_privileged_containers": True, **fields})
    return vm.call("StartTermina", request, code)


def nothing_was_started(vm):
    text = vm.sh("ls /run; grep stateful /proc/mounts || echo none mounted")
    assert "started" not in text and "none mounted" in text, text


def requests_that_make_no_sense_change_nothing(vm, top):
    for bad in ({"lxd_ipv4_subnet": ""}, {"lxd_ipv4_subnet": "100.115.92.193"},
                {"lxd_ipv4_subnet": "1.2.3.4/31"}, {"lxd_ipv4_subnet": "1.2.3.4/28 -x"},
                {"stateful_device": "/etc/passwd"}, {"stateful_device": "vdb"}):
        start(vm, "INVALID_ARGUMENT", **bad)
    text = start(vm, "FAILED_PRECONDITION", stateful_device="/dev/vdz")
    assert "/dev/vdz" in text, text
    nothing_was_started(vm)


def what_is_no_file_system_of_ours_is_kept(vm, top):
    """A btrfs whose superblocks are gone looks empty to who looks at those only."""
    before = digest(f"{top}/wiped")
    reply = start(vm, stateful_device="/dev/vdc")
    results = vm.pb["vm_guest"].StartTerminaResponse
    assert reply.mount_result == results.FAILURE and "kept" in reply.failure_reason, reply
    assert not reply.free_bytes_has_value
    vm.sh("sync")
    assert digest(f"{top}/wiped") == before
    nothing_was_started(vm)


def an_empty_disk_becomes_the_home_of_containers(vm, top):
    results = vm.pb["vm_guest"].StartTerminaResponse
    reply = start(vm, stateful_device="/dev/vdb")
    assert reply.mount_result == results.SUCCESS and not reply.failure_reason, reply
    assert reply.free_bytes_has_value and 100 * MIB < reply.free_bytes < 256 * MIB, reply
    text = vm.sh("grep ' /mnt/stateful ' /proc/mounts")
    assert " btrfs " in text and "user_subvol_rm_allowed" in text and "discard=async" in text, text
    vm.sh("until [ $(wc -l < /run/started) = 4 ]; do sleep 0.1; done")
    env = "dir=/mnt/stateful/lxd conf=/mnt/stateful/lxd_conf only="
    assert sorted(vm.sh("cat /run/started").splitlines()) == [
        "lxcfs /var/lib/lxcfs dir= conf= only=", f"mcastd eth0 lxdbr0 {env}",
        f"ndproxyd eth0 lxdbr0 {env}", f"tremplin -lxd_subnet {SUBNET} {env}"]
    assert vm.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding "
                 "/proc/sys/net/ipv6/conf/eth0/accept_ra") == "1\n1\n2\n"
    # A group that a container makes beside ours has controllers, and may limit its children.
    text = vm.sh("g=/sys/fs/cgroup/lxc.payload.test; mkdir $g; cat $g/cgroup.controllers; "
                 "echo '+memory +pids' > $g/cgroup.subtree_control; rmdir $g")
    assert {"cpu", "memory", "pids"} <= set(text.split()), text
    assert "fuse" in vm.sh("cat /proc/filesystems")


def the_same_again_changes_nothing_but_sizes(vm, top):
    first = vm.call("GetAvailableSpace", vm.pb["common"].EmptyMessage()).available_space
    qmp = Qmp(f"{vm.folder}/qmp")
    qmp.run("block_resize", **{"node-name": "new", "size": 512 * MIB})
    again = start(vm, stateful_device="/dev/vdb")
    assert again.mount_result == vm.pb["vm_guest"].StartTerminaResponse.SUCCESS, again
    assert again.free_bytes > first + 150 * MIB, (first, again)
    assert vm.sh("wc -l < /run/started; grep -c ' /mnt/stateful ' /proc/mounts") == "4\n1\n"
    # Who ends is started again, as tremplin with the same words.
    vm.sh("for p in $(pidof sleep); do kill $p; done; until [ $(wc -l < /run/started) -ge 8 ]; do sleep 0.1; done")
    text = start(vm, "FAILED_PRECONDITION", stateful_device="/dev/vdc")
    assert "not /dev/vdc" in text, text


def resize(vm, serial, size):
    """Returns the status at the end."""
    pb, empty = vm.pb["vm_guest"], vm.pb["common"].EmptyMessage()
    reply = vm.call("ResizeFilesystem", pb.ResizeFilesystemRequest(serial=serial, size=size))
    assert reply.status == pb.ResizeFilesystemResponse.STARTED, reply
    again = vm.call("ResizeFilesystem", pb.ResizeFilesystemRequest(serial=serial, size=size))
    states = (pb.ResizeFilesystemResponse.ALREADY_IN_PROGRESS, pb.ResizeFilesystemResponse.STARTED)
    assert again.status in states, again
    while (status := vm.call("GetResizeStatus", empty)).resize_in_progress:
        time.sleep(0.1)
    return status


def space(vm, serial):
    return vm.report.GetDiskSpace(vm.pb["vmt_agent"].DiskSpaceRequest(serial=serial),
                                  timeout=guest.PATIENCE)


def btrfs_grows_and_shrinks(vm, top):
    empty = vm.pb["common"].EmptyMessage()
    assert space(vm, "new").size_bytes == 512 * MIB, space(vm, "new")
    assert vm.call("GetResizeStatus", empty).current_size == 512 * MIB
    bounds = vm.call("GetResizeBounds", empty).minimum_size
    assert 0 < bounds <= 512 * MIB, bounds
    status = resize(vm, "", 400 * MIB)
    assert status.current_size == 400 * MIB and not status.failure_reason, status
    assert space(vm, "new").size_bytes == 400 * MIB
    status = resize(vm, "new", 500 * MIB)
    assert status.current_size == 500 * MIB, status
    # Beyond the disk there is nothing: the size stays, and the caller is told why.
    status = resize(vm, "new", 900 * MIB)
    assert status.current_size == 500 * MIB and "only" in status.failure_reason, status
    balloon(vm, "/mnt/stateful")
    vm.sh("umount /mnt/stateful")


def balloon(vm, path):
    """The guest's space follows the host's; in the end nothing of it is left."""
    pb, mib = vm.pb["vm_guest"], 1 << 20

    def update(state, beyond):
        reply = vm.call("UpdateStorageBalloon", pb.UpdateStorageBalloonRequest(
            state=state, free_space_bytes=(1 << 30) + beyond))
        assert reply.result == pb.SUCCESS, vm.sh("dmesg | tail -n 5; df -k; ls -la /mnt/stateful")
        return vm.call("GetAvailableSpace", vm.pb["common"].EmptyMessage()).available_space

    free = update(pb.DISK_NORMAL, 10 << 30)
    assert free > 150 * mib, free
    for beyond in (100 * mib, 40 * mib, 80 * mib):
        left = update(pb.DISK_LOW, beyond)
        assert 0 < left <= beyond + 20 * mib, (left, beyond)
    assert update(pb.DISK_CRITICAL, 0) < 40 * mib
    assert update(pb.DISK_NONE, 0) > free - 40 * mib
    vm.sh(f"[ ! -e {path}/.vm_tools.balloon ]")


def xfs_grows(vm, top):
    pb = vm.pb["vm_guest"]
    assert vm.call("Mount", pb.MountRequest(source="/dev/vde", target="/mnt/xfs", fstype="xfs",
                                            create_target=True, mkfs_if_needed=True)).error == 0
    assert space(vm, "xfs").filesystem == "xfs" and space(vm, "xfs").size_bytes == 512 * MIB
    Qmp(f"{vm.folder}/qmp").run("block_resize", **{"node-name": "xfs", "size": 640 * MIB})
    status = resize(vm, "xfs", 640 * MIB)
    assert status.current_size == 640 * MIB and not status.failure_reason, status
    found = space(vm, "xfs")
    assert found.size_bytes == 640 * MIB and found.available_bytes > 512 * MIB, found
    status = resize(vm, "xfs", 512 * MIB)
    assert status.current_size == 640 * MIB and "smaller" in status.failure_reason, status
    vm.sh("mount --bind /mnt/xfs /mnt/stateful")
    balloon(vm, "/mnt/stateful")
    vm.sh("umount /mnt/stateful")
    # Without a type the disk says what it has.
    vm.sh("umount /mnt/xfs")
    assert vm.call("Mount", pb.MountRequest(source="/dev/vde", target="/mnt/xfs")).error == 0
    assert " xfs " in vm.sh("grep /mnt/xfs /proc/mounts; umount /mnt/xfs")


def ext4_grows_but_does_not_shrink(vm, top):
    pb = vm.pb["vm_guest"]
    assert vm.call("Mount", pb.MountRequest(source="/dev/vdf", target="/mnt/ext",
                                            create_target=True)).error == 0
    assert space(vm, "ext").size_bytes == 32 * MIB, space(vm, "ext")
    assert resize(vm, "ext", 64 * MIB).current_size == 64 * MIB
    status = resize(vm, "ext", 32 * MIB)
    assert status.current_size == 64 * MIB and "smaller" in status.failure_reason, status
    assert space(vm, "ext").size_bytes == 64 * MIB
    vm.sh("umount /mnt/ext")


def containers_may_live_on_ext4_and_xfs(vm, top):
    """Who made them so keeps them so; each call for storage works on them."""
    empty, results = vm.pb["common"].EmptyMessage(), vm.pb["vm_guest"].StartTerminaResponse
    for device, kind, size in (("/dev/vdf", "ext4", 64), ("/dev/vde", "xfs", 640)):
        reply = start(vm, stateful_device=device)
        assert reply.mount_result == results.SUCCESS and reply.free_bytes_has_value, reply
        assert f" {kind} " in vm.sh("grep ' /mnt/stateful ' /proc/mounts")
        available = vm.call("GetAvailableSpace", empty).available_space
        assert 0 < available <= size * MIB and abs(available - reply.free_bytes) < 8 * MIB, reply
        assert vm.call("GetResizeStatus", empty).current_size == size * MIB
        assert vm.call("GetResizeBounds", empty).minimum_size == size * MIB  # neither shrinks
        token = f"prepared-for-{kind}-{time.monotonic_ns()}"
        vm.sh(f"echo {token} > /mnt/stateful/token")
        vm.call("PrepareToSuspend", empty)
        image = "ext" if kind == "ext4" else kind
        assert token.encode() in pathlib.Path(f"{top}/{image}").read_bytes(), token
        vm.sh("umount /mnt/stateful")


def a_blank_disk_becomes_what_is_asked_for(vm, top):
    """By Mount, of all three; the disk is emptied in between."""
    pb = vm.pb["vm_guest"]
    for kind, asked in (("btrfs", ""), ("ext4", "ext4"), ("xfs", "xfs")):
        vm.sh("dd if=/dev/zero of=/dev/vdg bs=1M count=320; sync")
        reply = vm.call("Mount", pb.MountRequest(
            source="/dev/vdg", target="/mnt/blank", fstype=asked, create_target=True,
            mkfs_if_needed=True, permissions=0o770))
        assert reply.error == 0, (kind, reply)
        assert vm.sh("awk '$2 == \"/mnt/blank\" {print $3}' /proc/mounts; stat -c %a /mnt/blank; "
                     "umount /mnt/blank") == f"{kind}\n770\n"


def inspect(image, what):
    out = subprocess.run(["btrfs", "inspect-internal", "dump-super", "-f", image], check=True,
                         capture_output=True, text=True).stdout
    return int(re.search(rf"^{what}\s+(\d+)", out, re.M).group(1))


def damage_newest_root(image):
    """Every copy of the block in which the newest tree of trees begins."""
    root = inspect(image, "root")
    out = subprocess.run(["btrfs-map-logical", "-l", str(root), image], check=True,
                         capture_output=True, text=True).stdout
    places = [int(n) for n in re.findall(r"physical (\d+)", out)]
    assert places, out
    with open(image, "r+b") as f:
        for at in places:
            f.seek(at)
            f.write(b"\xa5" * 16384)


def a_damaged_newest_root_costs_the_newest_changes_only(vm, top):
    results = vm.pb["vm_guest"].StartTerminaResponse
    assert start(vm, stateful_device="/dev/vdd").mount_result == results.SUCCESS
    # Not that of the disk that was resized last.
    status = vm.call("GetResizeStatus", vm.pb["common"].EmptyMessage())
    assert status.current_size == DISKS["damaged"] * MIB, status
    vm.sh("for i in 1 2 3; do echo $i > /mnt/stateful/f$i; sync; done; umount /mnt/stateful")
    damage_newest_root(f"{top}/damaged")
    reply = start(vm, stateful_device="/dev/vdd")
    assert reply.mount_result == results.PARTIAL_DATA_LOSS, reply
    assert "older root" in reply.failure_reason and reply.free_bytes_has_value, reply
    assert vm.sh("cat /mnt/stateful/f1") == "1\n"
    vm.sh("umount /mnt/stateful")


def make_disks(top):
    args = ["-drive", f"file={top}/root,format=raw,if=none,id=root,readonly=on",
            "-device", "virtio-blk-pci,drive=root"]
    for name, mib in DISKS.items():
        with open(f"{top}/{name}", "wb") as f:
            f.truncate(mib * MIB)
        args += ["-blockdev", f"driver=file,node-name={name}-file,filename={top}/{name}",
                 "-blockdev", f"driver=raw,node-name={name},file={name}-file",
                 "-device", f"virtio-blk-pci,drive={name},serial={name}"]
    with tempfile.TemporaryDirectory() as tmp:
        (pathlib.Path(tmp) / "precious").write_text("data\n" * 1000, encoding="ascii")
        subprocess.run(["mkfs.btrfs", "-q", "-r", tmp, f"{top}/wiped"], check=True,
                       stdout=subprocess.DEVNULL)
    with open(f"{top}/wiped", "r+b") as f:
        for at in (64 << 10, 64 << 20):
            f.seek(at)
            f.write(b"\0" * 4096)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", f"{top}/ext", "32M"], check=True,
                   stderr=subprocess.DEVNULL)
    return args


def disks_are_made_kept_grown_and_rescued(top):
    guest.make_root(f"{top}/root", FILES, without=("mkfs.ext2", "mkfs.vfat", "lxcfs"),
                    more_modules=("btrfs", "xfs", "fuse"))
    extra = make_disks(top) + ["-qmp", f"unix:{top}/vm/qmp,server=on,wait=off",
                               "-netdev", "user,id=n,restrict=on",
                               "-device", "virtio-net-pci,netdev=n"]
    with guest.Guest(top, extra=extra) as vm:
        vm.wait_ready()
        for check in (requests_that_make_no_sense_change_nothing,
                      what_is_no_file_system_of_ours_is_kept,
                      an_empty_disk_becomes_the_home_of_containers,
                      the_same_again_changes_nothing_but_sizes, btrfs_grows_and_shrinks,
                      xfs_grows, ext4_grows_but_does_not_shrink,
                      containers_may_live_on_ext4_and_xfs, a_blank_disk_becomes_what_is_asked_for,
                      a_damaged_newest_root_costs_the_newest_changes_only):
            check(vm, top)
            print(f"  ok {check.__name__}", flush=True)
        vm.call("Shutdown", vm.pb["common"].EmptyMessage())
        assert vm.wait_off() == 0


if __name__ == "__main__":
    guest.check_needs()
    for tool in ("mkfs.btrfs", "btrfs", "btrfs-map-logical", "mkfs.xfs"):
        guest.need(shutil.which(tool), f"{tool} is not installed")
    guest.run_tests([disks_are_made_kept_grown_and_rescued])
