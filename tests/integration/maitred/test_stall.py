#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks and servers of the host that do not answer for a while: PID 1 serves all other calls
meanwhile, and what waited goes on afterwards."""
import os
import shutil
import signal
import subprocess
import time

import guest
import tiny9p

EXITED = 1
# Too large and random for the caches of squashfs, which hold small files together.
FILES = {f"usr/share/zoneinfo/Test/{name}": b"TZif2" + os.urandom(1 << 20)
         for name in ("Zone", "Other")}
FILES["etc/passwd"] = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:web:/srv:/bin/sh\n" + "".join(
    f"u{i}:x:{i}:{i}:{os.urandom(30).hex()}:/:/bin/sh\n" for i in range(2000, 10000))
FILES["etc/group"] = "root:x:0:\nwww:x:33:\n"


class Disk:
    """An image behind a server of its own, which stop() makes as silent as a dead disk."""

    def __init__(self, top, name, image):
        self.path = f"{top}/{name}.nbd"
        self.process = subprocess.Popen(["qemu-nbd", "-k", self.path, "-f", "raw", "-t", image])
        end = time.monotonic() + guest.PATIENCE
        while not os.path.exists(self.path):
            assert time.monotonic() < end and self.process.poll() is None, "qemu-nbd did not start"
            time.sleep(0.05)

    def drive(self, node, serial, extra=""):
        return ["-blockdev", f"driver=nbd,node-name={node},server.type=unix,"
                f"server.path={self.path}{extra}",
                "-device", f"virtio-blk-pci,drive={node},serial={serial}"]

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        self.go_on()
        self.process.kill()
        self.process.wait()


def future(vm, method, request):
    stub = vm.report if hasattr(vm.report, method) else vm.agent
    return getattr(stub, method).future(request, timeout=guest.PATIENCE)


def the_others_are_served(vm, waiting):
    """None of the waiting calls ends, and PID 1 does its work."""
    for _ in range(3):
        vm.call("GetKernelVersion", vm.pb["common"].EmptyMessage())
        assert vm.run("true") == (EXITED, 0)
    for name, call in waiting.items():
        assert not call.done(), f"{name} did not wait: {call.code()} {call.details()}"


def a_silent_server(vm):
    pb, own, empty = vm.pb["vm_guest"], vm.pb["vmt_agent"], vm.pb["common"].EmptyMessage()
    server = tiny9p.Server(f"{vm.folder}/vsock_5640")
    vm.call("Mount9P", pb.Mount9PRequest(port=5640, target="/mnt/stateful"))
    assert vm.call("GetAvailableSpace", empty).available_space > 0

    server.answers.clear()
    waiting = {"GetAvailableSpace": future(vm, "GetAvailableSpace", empty),
               "GetDiskSpace": future(vm, "GetDiskSpace", own.DiskSpaceRequest()),
               "UpdateStorageBalloon": future(vm, "UpdateStorageBalloon",
                                              pb.UpdateStorageBalloonRequest())}
    the_others_are_served(vm, waiting)
    server.answers.set()
    assert waiting["GetAvailableSpace"].result().available_space > 0
    assert waiting["GetDiskSpace"].result().filesystem == "9p"
    assert waiting["UpdateStorageBalloon"].result().result == pb.BALLOON_INFLATE_FAILED

    # Who waits too long is told so by the agent, not by its own clock.
    server.answers.clear()
    text = vm.call("GetAvailableSpace", empty, "DEADLINE_EXCEEDED")
    assert "too long" in text, text
    # Calls that hang are not piled up without end.
    many = [future(vm, "GetAvailableSpace", empty) for _ in range(40)]
    the_others_are_served(vm, {})
    for call in many:
        assert call.code() == vm.grpc.StatusCode.DEADLINE_EXCEEDED, call.code()
    text = vm.call("GetAvailableSpace", empty, "RESOURCE_EXHAUSTED")
    assert "does not answer" in text, text
    server.answers.set()
    vm.sh("ls /mnt/stateful")
    while future(vm, "GetAvailableSpace", empty).code() != vm.grpc.StatusCode.OK:
        time.sleep(0.2)  # the processes that hung end one after the other
    vm.sh("umount /mnt/stateful")
    server.close()


def a_silent_disk(vm, disk):
    pb, own, empty = vm.pb["vm_guest"], vm.pb["vmt_agent"], vm.pb["common"].EmptyMessage()
    assert vm.call("Mount", pb.MountRequest(source="/dev/vdb", target="/mnt/disk", fstype="ext4",
                                            create_target=True)).error == 0
    before = vm.report.GetDiskSpace(own.DiskSpaceRequest(serial="data"), timeout=guest.PATIENCE)
    assert (before.filesystem, before.size_bytes) == ("ext4", 8 << 20), before
    vm.sh("sync; dd if=/dev/zero of=/mnt/disk/f bs=64k count=8; echo 3 > /proc/sys/vm/drop_caches")
    disk.stop()
    vm.sh("dd if=/dev/zero of=/mnt/disk/f bs=64k count=16 conv=notrunc")
    waiting = {"PrepareToSuspend": future(vm, "PrepareToSuspend", empty)}
    the_others_are_served(vm, waiting)
    resize = future(vm, "ResizeFilesystem",
                    pb.ResizeFilesystemRequest(serial="data", size=16 << 20))
    space = future(vm, "GetDiskSpace", own.DiskSpaceRequest(serial="data"))
    the_others_are_served(vm, waiting)
    disk.go_on()
    waiting["PrepareToSuspend"].result()
    space.result()
    assert resize.result().status == pb.ResizeFilesystemResponse.STARTED
    while (status := vm.call("GetResizeStatus", empty)).resize_in_progress:
        time.sleep(0.1)
    assert status.current_size == 16 << 20, status
    after = vm.report.GetDiskSpace(own.DiskSpaceRequest(serial="data"), timeout=guest.PATIENCE)
    assert after.size_bytes == 16 << 20 and after.available_bytes > before.available_bytes, after
    vm.sh("umount /mnt/disk; echo 3 > /proc/sys/vm/drop_caches")
    disk.stop()
    mount = future(vm, "Mount", pb.MountRequest(source="/dev/vdb", target="/mnt/disk",
                                                fstype="ext4"))
    the_others_are_served(vm, {"Mount": mount})
    disk.go_on()
    assert mount.result().error == 0


def a_silent_root(vm, root):
    """Programs cannot start then, but who asks for anything else is served."""
    pb, empty = vm.pb["vm_guest"], vm.pb["common"].EmptyMessage()
    vm.sh("sync; echo 3 > /proc/sys/vm/drop_caches")
    root.stop()
    zone = future(vm, "SetTimezone", pb.SetTimezoneRequest(timezone_name="Test/Zone"))
    program = future(vm, "LaunchProcess", pb.LaunchProcessRequest(argv=["sha512sum", "/bin/busybox"],
                                                                  wait_for_exit=True))
    # Accounts are on that disk as well.
    user = future(vm, "LaunchProcess", pb.LaunchProcessRequest(
        argv=["/bin/busybox", "id"], user="www", wait_for_exit=True))
    request = pb.SetResolvConfigRequest()
    request.resolv_config.nameservers[:] = ["10.0.2.3"]
    for _ in range(3):
        vm.call("GetKernelVersion", empty)
        vm.call("SetResolvConfig", request)
    for name, call in (("SetTimezone", zone), ("LaunchProcess", program), ("its user", user)):
        assert not call.done(), f"{name} did not wait: {call.code()} {call.details()}"
    # Of those that wait the last one counts.
    second, third = [future(vm, "SetTimezone", pb.SetTimezoneRequest(timezone_name=f"Test/{name}"))
                     for name in ("None", "Other")]
    assert second.code() == vm.grpc.StatusCode.ABORTED, second.details()
    root.go_on()
    zone.result()
    third.result()
    assert program.result().status == EXITED
    assert user.result().status == EXITED, user.result()
    assert vm.sh("readlink /etc/localtime; cat /etc/resolv.conf").startswith(
        "/usr/share/zoneinfo/Test/Other\nnameserver 10.0.2.3\n")


def nothing_that_stalls_holds_the_agent_up(top):
    guest.make_root(f"{top}/root", FILES)
    with open(f"{top}/data", "wb") as f:
        f.truncate(16 << 20)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", f"{top}/data", "8M"], check=True,
                   stderr=subprocess.DEVNULL)
    root, data = Disk(top, "root", f"{top}/root"), Disk(top, "data", f"{top}/data")
    try:
        extra = root.drive("r", "root", ",read-only=on") + data.drive("d", "data")
        with guest.Guest(top, extra=extra) as vm:
            vm.wait_ready()
            for check, what in ((a_silent_server, ()), (a_silent_disk, (data,)),
                                (a_silent_root, (root,))):
                check(vm, *what)
                print(f"  ok {check.__name__}", flush=True)
            vm.call("Shutdown", vm.pb["common"].EmptyMessage())
            assert vm.wait_off() == 0
    finally:
        root.close()
        data.close()


def make_ext4_root(top):
    """With a job, so that what jobs need is read before the machine is ready."""
    guest.make_root(f"{top}/root.squashfs", {"etc/maitred/10-job": 'argv: "true"'})
    subprocess.run(["unsquashfs", "-d", f"{top}/tree", "-no-xattrs", "-quiet", "-no-progress",
                    f"{top}/root.squashfs"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-d", f"{top}/tree",
                    f"{top}/root", "256M"], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    guest.make_initrd(f"{top}/initrd", (*guest.FIRST, "ext4", "crc32c_generic"))


def the_late_part_of_the_boot_writes_to_a_silent_root(top):
    """The root is a disk that the guest writes to; it falls silent when the machine is ready."""
    make_ext4_root(top)
    root = Disk(top, "root", f"{top}/root")
    try:
        vm = guest.Guest(top, "rootfstype=ext4 rw", extra=root.drive("r", "root"))
        vm.on_ready = root.stop
        with vm:
            vm.ready.get(timeout=guest.PATIENCE)
            request, phases = vm.pb["vmt_agent"].BootReportRequest(), []
            while "late" not in phases:
                report = vm.report.GetBootReport(request, timeout=guest.PATIENCE)
                phases = [p.name for p in report.phases]
            for _ in range(3):
                vm.call("GetKernelVersion", vm.pb["common"].EmptyMessage())
            assert "devices" not in phases, phases
            root.go_on()
            vm.sh("until [ -s /etc/machine-id ]; do sleep 0.1; done")
            vm.call("Shutdown", vm.pb["common"].EmptyMessage())
            assert vm.wait_off() == 0
    finally:
        root.close()


if __name__ == "__main__":
    guest.check_needs()
    for tool in ("qemu-nbd", "unsquashfs"):
        guest.need(shutil.which(tool), f"{tool} is not installed")
    guest.run_tests([nothing_that_stalls_holds_the_agent_up,
                     the_late_part_of_the_boot_writes_to_a_silent_root])
