#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""SIGKILL of each process of a VM at each state of the VM.

The columns are the processes, the rows the states; EXPECTED says what each death costs. After
each: a VM that could live does, what is told is true, nothing is left, and the next command works.
"""
import os
import signal
import time

import harness
import kills

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


class KillMatrix(kills.KillCase):
    # --- how to get into each state; each returns a client to wait for, or None ---

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
