#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every way down: the call, signals and the power button of a real machine."""
import hashlib
import json
import socket
import subprocess
import threading
import time

import guest

STUBBORN = "#!/bin/sh\ntrap '' TERM\ntouch /run/deaf\nwhile :; do sleep 1000; done\n"
# Process 1 of a namespace: who runs the container ends it, as it likes.
INSIDE = ("trap 'echo the container was told > /dev/console' TERM; touch /run/inside; "
          "while :; do sleep 0.2; done")


class Qmp:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(guest.PATIENCE)
        deadline = time.monotonic() + guest.PATIENCE
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.run("qmp_capabilities")

    def run(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while "return" not in (reply := json.loads(self.file.readline())):
            assert "error" not in reply, reply


def start(top, files=None, append="", extra=(), more_modules=()):
    guest.make_root(f"{top}/root", files or {}, more_modules=more_modules)
    return guest.Guest(top, append, f"{top}/root", extra)


def assert_orderly(vm, top_words=("shutdown begins",)):
    assert vm.wait_off() == 0
    for words in ("reboot: Power down", *top_words):
        assert words in vm.console.text, vm.console.text
    assert "panic" not in vm.console.text, vm.console.text


def the_call_is_answered_before_the_machine_is_off(top):
    with open(f"{top}/disk", "wb") as f:
        f.truncate(16 << 20)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", f"{top}/disk"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    extra = ["-drive", f"file={top}/disk,format=raw,if=virtio"]
    with start(top, extra=extra) as vm:
        vm.wait_ready()
        pb, empty = vm.pb["vm_guest"], vm.pb["common"].EmptyMessage()
        reply = vm.call("Mount", pb.MountRequest(source="/dev/vdb", target="/mnt/d",
                                                 fstype="ext4", create_target=True))
        assert reply.error == 0
        vm.sh("while :; do date >> /mnt/d/log; done & sleep 1; mount -o bind /mnt/d /tmp")
        # A call that waits for ever does not hold the shutdown up, and two at once are one.
        waiting = vm.agent.LaunchProcess.future(
            pb.LaunchProcessRequest(argv=["sleep", "1000"], wait_for_exit=True))
        other = vm.agent.Shutdown.future(empty)
        vm.call("Shutdown", empty)
        other.result(timeout=guest.PATIENCE)
        waiting.cancel()
        assert vm.wait_off() == 0
        assert "reboot: Power down" in vm.console.text, vm.console.text
    check = subprocess.run(["/usr/sbin/e2fsck", "-n", "-f", f"{top}/disk"],
                           capture_output=True, text=True)
    assert check.returncode == 0 and "recovering journal" not in check.stdout, check


def who_ignores_sigterm_is_killed_and_named(top):
    with start(top, {"usr/bin/stubborn": STUBBORN}) as vm:
        vm.wait_ready()
        pb, empty = vm.pb["vm_guest"], vm.pb["common"].EmptyMessage()
        vm.call("LaunchProcess", pb.LaunchProcessRequest(argv=["stubborn"], use_console=True))
        vm.call("LaunchProcess", pb.LaunchProcessRequest(argv=["unshare", "-p", "-f", "sh", "-c",
                                                               INSIDE]))
        vm.sh("until [ -e /run/deaf ] && [ -e /run/inside ]; do sleep 0.1; done")
        # Log lines at warning level are on the console from now on.
        vm.sh("echo 8 > /proc/sys/kernel/printk")
        health = vm.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=guest.PATIENCE)
        assert next(health) == b"\x08\x01"  # SERVING
        down = vm.agent.Shutdown.future(empty)
        assert next(health) == b"\x08\x02"  # NOT_SERVING
        vm.console.wait("shutdown begins")
        vm.call("LaunchProcess", pb.LaunchProcessRequest(argv=["true"]), "UNAVAILABLE")
        down.result(timeout=guest.PATIENCE)
        assert_orderly(vm, ("stubborn does not end and is killed",
                            "sh does not end and is killed"))
        assert "the container was told" not in vm.console.text, vm.console.text


def containers_end_before_all_others(top):
    """Who runs them is told in its own way, and the rest of the system waits for it: for who
    was started, not for who has the name. Who stands still is told, too."""
    script = ("#!/bin/sh\ntrap 'echo %s was told > /dev/console%s; exit 0' %s\n"
              "echo $$ > /run/${0##*/}; while :; do sleep 0.2; done\n")
    files = {"usr/bin/tremplin": script % ("tremplin", "; sleep 1", "PWR"),
             "usr/bin/other": script % ("the other", "", "TERM"),
             "usr/bin/stopped": script % ("the stopped one", "", "TERM"),
             "opt/tremplin": "#!/bin/sh\ntrap 'echo the wrong one was told > /dev/console' PWR\n"
                             "echo $$ > /run/wrong; while :; do sleep 0.2; done\n"}
    with start(top, files) as vm:
        vm.wait_ready()
        for name in ("tremplin", "other", "stopped"):
            vm.call("LaunchProcess", vm.pb["vm_guest"].LaunchProcessRequest(argv=[name]))
        vm.sh("/opt/tremplin & until [ -s /run/tremplin ] && [ -s /run/other ] && "
              "[ -s /run/stopped ] && [ -s /run/wrong ]; do sleep 0.1; done; kill -STOP $(cat /run/stopped)")
        vm.call("Shutdown", vm.pb["common"].EmptyMessage())
        assert_orderly(vm, ("tremplin was told", "the other was told",
                            "the stopped one was told"))
        assert "the wrong one" not in vm.console.text, vm.console.text
        first, _, second = vm.console.text.partition("tremplin was told")
        assert "the other was told" in second and "is killed" not in second, vm.console.text


def make_ext4(path, mib):
    with open(path, "wb") as f:
        f.truncate(mib << 20)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", path], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def assert_clean(path):
    check = subprocess.run(["/usr/sbin/e2fsck", "-n", "-f", path], capture_output=True, text=True)
    assert check.returncode == 0 and "recovering journal" not in check.stdout, check


def file_of(image, name):
    return subprocess.run(["/usr/sbin/debugfs", "-R", f"cat {name}", image], check=True,
                          capture_output=True).stdout


def mount(vm, source, target, **fields):
    pb = vm.pb["vm_guest"]
    reply = vm.call("Mount", pb.MountRequest(source=source, target=target, fstype="ext4",
                                             create_target=True, **fields))
    assert reply.error == 0, (reply, vm.sh("dmesg | tail -n 20"))


TROUBLE = {"usr/bin/trouble": (guest.BIN / "maitred_guest_trouble").read_bytes()}


def what_stands_on_a_disk_is_taken_apart(top):
    """A file system on a mapped device on a loop on a file system on a mapped device on a disk,
    in use by somebody who cannot be found in a list of processes."""
    make_ext4(f"{top}/disk", 64)
    make_ext4(f"{top}/inner", 16)
    subprocess.run(["/usr/sbin/debugfs", "-w", "-R", f"write {top}/inner inner", f"{top}/disk"],
                   check=True, capture_output=True)
    extra = ["-smp", "2", "-drive", f"file={top}/disk,format=raw,if=virtio"]
    with start(top, TROUBLE, extra=extra, more_modules=("dm_mod", "loop")) as vm:
        vm.wait_ready()
        vm.sh("modprobe dm_mod; modprobe loop; trouble map outer /dev/vdb")
        mount(vm, "/dev/dm-0", "/mnt/outer")
        vm.sh("losetup /dev/loop0 /mnt/outer/inner && trouble map inside /dev/loop0")
        mount(vm, "/dev/dm-1", "/mnt/inside")
        vm.sh("echo written > /mnt/inside/last; echo 8 > /proc/sys/kernel/printk")
        # In a group of its own, as the processes of containers are.
        vm.call("LaunchProcess", vm.pb["vm_guest"].LaunchProcessRequest(argv=["sh", "-c", (
            "mkdir /sys/fs/cgroup/beside; echo $$ > /sys/fs/cgroup/beside/cgroup.procs; "
            "for i in 1 2 3 4 5 6 7 8; do trouble hop /mnt/inside & done; sleep 1; "
            "touch /run/hopping")]))
        vm.sh("until [ -e /run/hopping ]; do sleep 0.1; done; "
              "grep -q 'populated 1' /sys/fs/cgroup/beside/cgroup.events")
        vm.call("GetKernelVersion", vm.pb["common"].EmptyMessage())
        vm.call("Shutdown", vm.pb["common"].EmptyMessage())
        assert_orderly(vm)
        for words in ("still in use", "detached", "cut short", "too long"):
            assert words not in vm.console.text, vm.console.text
    assert_clean(f"{top}/disk")
    with open(f"{top}/inner", "wb") as f:
        f.write(file_of(f"{top}/disk", "inner"))
    assert_clean(f"{top}/inner")
    assert file_of(f"{top}/inner", "last") == b"written\n"


def a_slow_disk_has_the_time_that_there_is(top):
    """What nobody synced is on the disk as well, although it takes longer than any step."""
    make_ext4(f"{top}/disk", 64)
    extra = ["-drive", f"file={top}/disk,format=raw,if=virtio,throttling.bps-write=1000000"]
    with start(top, extra=extra) as vm:
        vm.wait_ready()
        mount(vm, "/dev/vdb", "/mnt/d")
        vm.sh("echo 8 > /proc/sys/kernel/printk; echo 360000 > /proc/sys/vm/dirty_expire_centisecs; "
              "dd if=/dev/urandom of=/mnt/d/big bs=1M count=9; md5sum < /mnt/d/big > /mnt/d/sum")
        vm.call("Shutdown", vm.pb["common"].EmptyMessage())
        assert_orderly(vm)
        assert "too long" not in vm.console.text, vm.console.text
    assert_clean(f"{top}/disk")
    total = hashlib.md5(file_of(f"{top}/disk", "big")).hexdigest()
    assert file_of(f"{top}/disk", "sum").decode().split()[0] == total


def the_three_keys_are_orderly(top):
    path = f"{top}/qmp"
    with start(top, extra=["-qmp", f"unix:{path},server=on,wait=off"]) as vm:
        vm.wait_ready()
        vm.sh("echo 8 > /proc/sys/kernel/printk; grep -iq keyboard /proc/bus/input/devices")
        keys = [{"type": "qcode", "data": key} for key in ("ctrl", "alt", "delete")]
        Qmp(path).run("send-key", keys=keys)
        assert_orderly(vm, ("asked to go down by signal 2", "shutdown begins"))


def the_power_button_is_orderly(top):
    path = f"{top}/qmp"
    with start(top, extra=["-qmp", f"unix:{path},server=on,wait=off"]) as vm:
        vm.wait_ready()
        vm.sh("echo 8 > /proc/sys/kernel/printk; i=0; "
              "while [ ! -e /dev/input/event0 ] && [ $i -lt 300 ]; do sleep 0.1; "
              "i=$((i+1)); done; ls /dev/input")
        Qmp(path).run("system_powerdown")
        assert_orderly(vm)


def signals_are_orderly(top):
    # SIGINT is also what the kernel makes of Ctrl-Alt-Del when ctrl-alt-del is 0.
    for number, script in enumerate(("kill -TERM 1", "kill -INT 1", "kill -PWR 1")):
        folder = f"{top}/{number}"
        subprocess.run(["mkdir", folder], check=True)
        subprocess.run(["cp", f"{top}/initrd", folder], check=True)
        with start(folder) as vm:
            vm.wait_ready()
            assert vm.sh("cat /proc/sys/kernel/ctrl-alt-del").strip() == "0"
            vm.sh("echo 8 > /proc/sys/kernel/printk")
            threading.Thread(target=vm.agent.LaunchProcess, daemon=True, args=(
                vm.pb["vm_guest"].LaunchProcessRequest(argv=["sh", "-c", script]),)).start()
            assert_orderly(vm)


def a_machine_that_cannot_power_off_is_reset(top):
    guest.make_root(f"{top}/root", {
        "etc/maitred/10-down": 'argv: "kill" argv: "-TERM" argv: "1"'})
    with guest.Qemu(top, "root=/dev/vda rootfstype=squashfs ro acpi=off",
                    f"{top}/root") as vm:
        assert vm.wait_off() == 0
        assert "panic" not in vm.console.text, vm.console.text


if __name__ == "__main__":
    guest.check_needs()
    guest.run_tests([
        the_call_is_answered_before_the_machine_is_off,
        who_ignores_sigterm_is_killed_and_named,
        containers_end_before_all_others, what_stands_on_a_disk_is_taken_apart,
        a_slow_disk_has_the_time_that_there_is, the_three_keys_are_orderly,
        the_power_button_is_orderly,
        signals_are_orderly,
        a_machine_that_cannot_power_off_is_reset,
    ])
