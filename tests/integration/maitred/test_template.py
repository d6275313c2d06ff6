#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""One guest boots as a template and is saved; others wake up from its state, each with an identity
of its own. One of those is frozen and saved in turn, and goes on beside its copy."""
import json
import os
import pathlib
import re
import socket
import time

import guest

WORDS = "vm_tools-template-ready"
ROOT_PORT = "pcie-root-port,id=slot0,chassis=1,addr=0x10"
GENERATIONS = ("324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87", "00112233-4455-6677-8899-aabbccddeeff",
               "ffeeddcc-bbaa-9988-7766-554433221100", "0a0b0c0d-0e0f-1011-1213-141516171819")
STEP_S = 1000 * 86400  # so far apart that no program can mistake one time for the other


class Qmp:
    """As in test_shutdown, but with events and descriptors."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(guest.PATIENCE)
        guest_deadline = time.monotonic() + guest.PATIENCE
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > guest_deadline:
                    raise
                time.sleep(0.01)
        self.file = self.socket.makefile("r")
        self.events = []
        self.file.readline()
        self.run("qmp_capabilities")

    def run(self, command, fd=None, **arguments):
        text = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        if fd is None:
            self.socket.sendall(text)
        else:
            socket.send_fds(self.socket, [text], [fd])
        while True:
            reply = json.loads(self.file.readline())
            if "event" in reply:
                self.events.append(reply)
                continue
            assert "error" not in reply, (command, reply)
            return reply["return"]

    def wait_event(self, name):
        while not any(e["event"] == name for e in self.events):
            self.events.append(json.loads(self.file.readline()))
        self.events.clear()

    def wait_migration(self):
        deadline = time.monotonic() + guest.PATIENCE
        while (status := self.run("query-migrate").get("status")) != "completed":
            assert status != "failed" and time.monotonic() < deadline, status
            time.sleep(0.01)


class Machine(guest.Guest):
    """A guest without a vsock device at first, and a slot for one."""

    def __init__(self, top, name, cid, generation, incoming=False):
        self.folder_of_ours = pathlib.Path(top) / name
        self.folder_of_ours.mkdir()
        os.symlink(f"{top}/initrd", self.folder_of_ours / "initrd")
        self.qmp_path = f"{self.folder_of_ours}/qmp"
        extra = ["-device", ROOT_PORT, "-device", f"vmgenid,guid={generation}",
                 "-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile=",
                 "-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        super().__init__(self.folder_of_ours, "maitred.template maitred.thaw_timeout=3",
                         f"{top}/root", extra + (["-incoming", "defer"] if incoming else []),
                         cid=cid, plug=True)
        self.qmp = None

    def __enter__(self):
        super().__enter__()
        try:
            self.qmp = Qmp(self.qmp_path)
        except OSError as e:
            self.__exit__()
            raise AssertionError(f"QEMU does not answer: {self.console.text}") from e
        return self

    def load(self, path):
        with open(path, "rb") as f:
            self.qmp.run("getfd", f.fileno(), fdname="state")
            self.qmp.run("migrate-incoming", uri="fd:state")
            self.qmp.wait_migration()

    def save(self, path):
        self.qmp.run("stop")
        with open(path, "wb") as f:
            self.qmp.run("getfd", f.fileno(), fdname="state")
            self.qmp.run("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
            self.qmp.run("migrate", uri="fd:state")
            self.qmp.wait_migration()

    def plug(self):
        self.qmp.run("chardev-add", id="vs", backend={"type": "socket", "data": {
            "addr": {"type": "unix", "data": {"path": self.vhost}}, "server": False}})
        self.qmp.run("device_add", driver="vhost-user-vsock-pci", id="link", chardev="vs",
                     bus="slot0")

    def unplug(self):
        self.qmp.run("device_del", id="link")
        self.qmp.wait_event("DEVICE_DELETED")
        self.qmp.run("chardev-remove", id="vs")

    def agent_call(self, method, request, code=None):
        try:
            reply = getattr(self.report, method)(request, timeout=guest.PATIENCE,
                                                 wait_for_ready=True)
        except self.grpc.RpcError as e:
            assert code and e.code() == getattr(self.grpc.StatusCode, code), (
                f"{method}: {e}\n{self.console.text[-2000:]}")
            return e.details()
        assert code is None, f"{method} succeeded: {reply}"
        return reply

    def become(self, number, later_s=0, **more):
        pb = self.pb["vmt_agent"]
        request = pb.SetIdentityRequest(
            entropy=os.urandom(64), machine_id=f"{number:032x}", hostname=f"guest-{number}",
            mac_address=bytes([0x52, 0x54, 0, 0, 0, number]),
            wall_time_ns=time.time_ns() + later_s * 10**9, **more)
        return self.agent_call("SetIdentity", request)

    def facts(self):
        text = self.sh("echo id $(cat /etc/machine-id) name $(hostname) $(cat /etc/hostname) "
                       "mac $(cat /sys/class/net/eth0/address) "
                       "random $(head -c 16 /dev/urandom | md5sum)")
        return re.search(r"id (\w+) name (\S+) (\S+) mac (\S+) random (\w+)",
                         text).groups()


def assert_time(vm, later_s=0):
    """The guest's clock is within 100 ms of ours, as far as the way there and back lets see."""
    before = time.time() + later_s
    text = vm.sh("/usr/bin/date '+now %s.%N'")
    after = time.time() + later_s
    there = float(re.search(r"now (\d+\.\d+)", text).group(1))
    assert before - 0.1 <= there <= after + 0.1, (before, there, after)


def assert_shell_server(vm):
    s = guest.connect_guest(vm.folder, 9001)
    s.close()


def make_root(top):
    guest.make_root(f"{top}/root", {
        "usr/lib/vm_tools/vshd": (guest.MAITRED.parent / "vshd").read_bytes(),
        **guest.with_libraries("/bin/date", "usr/bin/date"),  # busybox has no nanoseconds
        "usr/bin/busy": "#!/bin/sh\nwhile :; do date +%s; done > /tmp/busy\n",
        "etc/machine-id": "uninitialized\n",
        "etc/maitred/10-job": 'argv: "echo" argv: "the-job-ran" use_console: true '
                              'wait_for_exit: true'})


def make_template(top):
    with Machine(top, "template", 3, GENERATIONS[0]) as vm:
        vm.console.wait(WORDS)
        vm.save(f"{top}/state")
        assert "the-job-ran" not in vm.console.text, vm.console.text
        assert vm.ready.empty()


def restored_guests_are_each_their_own(top):
    make_root(top)
    make_template(top)
    seen = []
    for number in (1, 2):
        with Machine(top, f"copy{number}", 100 + number, GENERATIONS[number], True) as vm:
            vm.load(f"{top}/state")
            vm.plug()
            vm.qmp.run("cont")
            vm.ready.get(timeout=guest.PATIENCE)
            assert "the-job-ran" not in vm.console.text
            vm.call("LaunchProcess", vm.pb["vm_guest"].LaunchProcessRequest(argv=["true"]),
                    "FAILED_PRECONDITION")
            bad = vm.pb["vmt_agent"].SetIdentityRequest(machine_id="x" * 32)
            vm.agent_call("SetIdentity", bad, "INVALID_ARGUMENT")
            assert vm.become(number).started
            assert "the-job-ran" in vm.console.text  # it answers after the jobs
            assert_time(vm)
            assert_shell_server(vm)
            facts = vm.facts()
            assert facts[:4] == (f"{number:032x}", f"guest-{number}", f"guest-{number}",
                                 f"52:54:00:00:00:{number:02x}"), facts
            seen.append(facts)
            vm.sh("echo new > /etc/new && sync && [ $(cat /etc/new) = new ]")
            report = vm.agent_call("GetBootReport", vm.pb["vmt_agent"].BootReportRequest())
            assert not report.degraded and report.ready_acknowledged, report
            assert not vm.become(number).started  # once is enough
            if number == 2:
                go_on_beside_the_copy(top, vm)
    assert seen[0][4] != seen[1][4], seen


def frozen_sleeps(vm):
    """Nothing starts while all is frozen, and whoever asks is told."""
    pb = vm.pb["vm_guest"]
    vm.call("LaunchProcess", pb.LaunchProcessRequest(argv=["true"]), "RESOURCE_EXHAUSTED")
    vm.agent_call("Freeze", vm.pb["vmt_agent"].FreezeRequest(), "FAILED_PRECONDITION")


def times_of(vm):
    return [int(line) for line in re.findall(r"^(\d+)$", vm.sh("cat /tmp/busy"), re.M)]


def go_on_beside_the_copy(top, vm):
    pb = vm.pb["vmt_agent"]
    vm.call("LaunchProcess", vm.pb["vm_guest"].LaunchProcessRequest(argv=["busy"]))
    vm.sh("while [ ! -s /tmp/busy ]; do sleep 0.1; done")
    assert vm.agent_call("Freeze", pb.FreezeRequest()).groups >= 1
    frozen_at = time.time()
    frozen_sleeps(vm)
    vm.unplug()
    vm.save(f"{top}/running")
    vm.refuse_ready = True
    vm.plug()
    vm.qmp.run("cont")
    vm.ready.get(timeout=guest.PATIENCE)  # told again
    assert vm.agent_call("Thaw", pb.ThawRequest()).was_frozen
    assert not vm.agent_call("Thaw", pb.ThawRequest()).was_frozen
    assert_shell_server(vm)
    vm.sh("n=$(wc -l < /tmp/busy); while [ $(wc -l < /tmp/busy) = $n ]; do sleep 0.1; done")
    the_copy_wakes_up_later(top, frozen_at)
    assert vm.ready.empty()  # but only once: a host that waits for nobody knows us
    abandoned_programs_run_again(vm)


def the_copy_wakes_up_later(top, frozen_at):
    """Its programs see no other time than the one before and the one after."""
    with Machine(top, "later", 103, GENERATIONS[3], True) as vm:
        vm.load(f"{top}/running")
        vm.plug()
        vm.qmp.run("cont")
        vm.ready.get(timeout=guest.PATIENCE)
        assert not vm.become(3, STEP_S).started
        new = time.time() + STEP_S
        assert vm.agent_call("Thaw", vm.pb["vmt_agent"].ThawRequest()).was_frozen
        assert_time(vm, STEP_S)
        assert_shell_server(vm)
        vm.sh("sleep 1; killall busy")
        times = times_of(vm)
        assert times[-1] >= new - 2, (times[-1], new)
        between = [t for t in times if frozen_at + 2 < t < new - 2]
        assert not between, between[:5]
        assert vm.facts()[:2] == (f"{3:032x}", "guest-3")


def abandoned_programs_run_again(vm):
    """The host froze it and forgot it."""
    vm.sh("date -s @1900000000")  # as in a copy whose host died, too
    vm.agent_call("Freeze", vm.pb["vmt_agent"].FreezeRequest())
    deadline = time.monotonic() + guest.PATIENCE
    launch = vm.pb["vm_guest"].LaunchProcessRequest(argv=["true"])
    while True:
        try:
            vm.agent.LaunchProcess(launch, timeout=guest.PATIENCE)
            break
        except vm.grpc.RpcError as e:
            assert e.code() == vm.grpc.StatusCode.RESOURCE_EXHAUSTED, e
            assert time.monotonic() < deadline
            time.sleep(0.2)
    there = int(re.search(r"now (\d+)", vm.sh("date '+now %s'")).group(1))
    assert abs(there - time.time()) < 5, there  # the hardware clock has whole seconds
    vm.sh("n=$(wc -l < /tmp/busy); while [ $(wc -l < /tmp/busy) = $n ]; do sleep 0.1; done")


if __name__ == "__main__":
    guest.check_needs()
    guest.need((guest.MAITRED.parent / "vshd").exists(), "vshd is not built: cmake --preset guest")
    guest.run_tests([restored_guests_are_each_their_own])
