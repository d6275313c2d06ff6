#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""SIGKILL of each process of a VM at each state of the VM.

The columns are the processes, the rows the states; EXPECTED says what each death costs. After
each: a VM that could live does, what is told is true, nothing is left, and the next command works.
"""
import contextlib
import json
import os
import signal
import subprocess
import time

import harness

STATES = ("starting", "configuring", "running", "suspended", "stopping")
VICTIMS = ("vm_concierge", "vm_vsock keeper", "vm_vsock worker", "QEMU")

# What is true of the VM in the end: "lives" (it runs and answers), "ends" (it is gone and told to
# be), "either" (it may have come too far to be saved, or may not; it is told truthfully).
EXPECTED = {
    ("starting", "vm_concierge"): "lives",
    ("starting", "vm_vsock keeper"): "either",
    ("starting", "vm_vsock worker"): "either",
    ("starting", "QEMU"): "ends",
    ("configuring", "vm_concierge"): "lives",
    ("configuring", "vm_vsock keeper"): "lives",
    ("configuring", "vm_vsock worker"): "lives",
    ("configuring", "QEMU"): "ends",
    ("running", "vm_concierge"): "lives",
    ("running", "vm_vsock keeper"): "lives",
    ("running", "vm_vsock worker"): "lives",
    ("running", "QEMU"): "ends",
    ("suspended", "vm_concierge"): "lives",
    ("suspended", "vm_vsock keeper"): "lives",
    ("suspended", "vm_vsock worker"): "lives",
    ("suspended", "QEMU"): "ends",
    ("stopping", "vm_concierge"): "ends",
    ("stopping", "vm_vsock keeper"): "ends",
    ("stopping", "vm_vsock worker"): "ends",
    ("stopping", "QEMU"): "ends",
}
assert set(EXPECTED) == {(s, v) for s in STATES for v in VICTIMS}


class KillMatrix(harness.Case):
    name = "victim"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.VmRecord = harness.records(cls.world)

    def record_file(self):
        """The record of the one VM that there is, or None."""
        files = harness.record_files(self.world.runtime / "vms")
        return files[0] if len(files) == 1 else None

    def record(self):
        path = self.record_file()
        with contextlib.suppress(OSError):
            return self.VmRecord.FromString(path.read_bytes()) if path else None
        return None

    def pids(self, victim):
        words = {"vm_concierge": ("vm_concierge",),
                 "vm_vsock keeper": ("vm_vsock", "--vhost-fd="),
                 "vm_vsock worker": ("vm_vsock", "--worker-fd="),
                 "QEMU": ("qemu-system",)}[victim]
        return self.world.processes(*words)

    def the(self, victim):
        return harness.eventually(f"one {victim}", lambda: self.pids(victim))[0]

    def kill(self, victim):
        pid = self.the(victim)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        harness.eventually("it is gone", lambda: pid not in self.pids(victim))

    def listed(self):
        return [vm["name"] for vm in json.loads(self.world.vmc("list", "--json").stdout)]

    def answers(self):
        return self.world.vmc("exec", self.name, "--", "echo", "alive",
                              check=None).stdout == "alive\n"

    # --- how to get into each state; each returns a client to wait for, or None ---

    def client(self, *args):
        return subprocess.Popen([harness.BIN / "vmc", *args], env=self.world.env,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def begin_start(self):
        return self.client("start", "--no-shell", "--cold", "--accel", "tcg", "--cpus", "1",
                           "--mem", "256", self.name)

    def into_starting(self):
        client = self.begin_start()
        harness.eventually("the hypervisor runs", lambda: self.record() and
                           self.record().hypervisor.pid and self.pids("vm_vsock worker"))
        return client

    def into_configuring(self):
        """Its guest has reported, and is held while it is set up."""
        client = self.begin_start()
        ready = self.VmRecord.READY
        end = time.monotonic() + harness.PATIENCE
        while not ((r := self.record()) and r.phase >= ready):
            self.assertLess(time.monotonic(), end)
        os.kill(r.hypervisor.pid, signal.SIGSTOP)
        self.held = r.hypervisor.pid
        return client

    def into_running(self):
        self.world.start(self.name)

    def into_suspended(self):
        self.world.start(self.name)
        self.world.vmc("suspend", self.name)

    def into_stopping(self):
        """The guest is asked, and is held before it can answer."""
        self.world.start(self.name)
        self.held = self.the("QEMU")
        os.kill(self.held, signal.SIGSTOP)
        watch = harness.Signals(self.world)
        client = self.client("stop", self.name)
        harness.eventually("it stops", lambda: ("VmStoppingSignal",) in watch.of(self.name))
        watch.close()
        return client

    # --- what must be true afterwards ---

    def end_of(self, client):
        if client:
            client.wait(harness.PATIENCE)

    def lives(self):
        if harness.info(self.world, self.name)["state"] == "suspended":
            self.world.vmc("resume", self.name)
        harness.eventually("the VM runs", lambda: harness.info(self.world, self.name)["state"]
                           == "running")
        harness.eventually("it answers", self.answers)
        self.assertEqual(self.listed(), [self.name])
        self.world.vmc("stop", self.name)

    def ends(self):
        harness.eventually("the VM is gone", lambda: self.name not in self.listed())

    def either(self):
        """It may end between two questions."""
        def settled():
            if self.name not in self.listed():
                return "gone"
            told = self.world.vmc("info", "--json", self.name, check=None)
            return told.returncode == 0 and json.loads(told.stdout)["state"] == "running" and \
                "running"
        if harness.eventually("the VM runs or is gone", settled) == "running":
            self.lives()

    def cell(self, state, victim):
        self.held = None
        client = getattr(self, "into_" + state)()
        self.kill(victim)
        if self.held and victim != "QEMU":
            os.kill(self.held, signal.SIGCONT)
        getattr(self, EXPECTED[state, victim])()
        self.end_of(client)
        self.assertEqual(self.listed(), [])
        self.nothing_left()


def add_row(state):
    def test(self):
        for victim in VICTIMS:
            with self.subTest(state=state, victim=victim):
                begin = time.monotonic()
                self.cell(state, victim)
                print(f"{state:12} kill -9 {victim:16} {EXPECTED[state, victim]:7} "
                      f"{time.monotonic() - begin:5.1f} s", flush=True)
    setattr(KillMatrix, f"test_{STATES.index(state)}_{state}", test)


for row in STATES:
    add_row(row)

if __name__ == "__main__":
    harness.main()
