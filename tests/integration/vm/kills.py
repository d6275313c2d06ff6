# SPDX-License-Identifier: BSD-3-Clause
"""What the kill matrices share: whom to kill, how a VM is started, and what is true of it in the
end."""
import contextlib
import json
import os
import signal
import subprocess

import harness

WORDS = {"vm_concierge": ("vm_concierge",),
         "vm_vsock keeper": ("vm_vsock", "--vhost-fd="),
         "vm_vsock worker": ("vm_vsock", "--worker-fd="),
         "vm_disk": ("vm_disk",),
         "QEMU": ("qemu-system",)}


class KillCase(harness.Case):
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
        return self.world.processes(*WORDS[victim])

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

    # --- clients; each is to be waited for ---

    def client(self, *args):
        return subprocess.Popen([harness.BIN / "vmc", *args], env=self.world.env,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def begin_start(self):
        return self.client("start", "--no-shell", "--cold", "--accel", "tcg", "--cpus", "1",
                           "--mem", "256", self.name)

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
