#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Troubles of the host: a hypervisor that stands still, a full or read-only state directory, a pid
that belongs to somebody else by now."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import harness


def in_own_mounts():
    """What is mounted here is nobody else's, and goes with us."""
    if os.environ.get("VMT_OWN_MOUNTS"):
        return
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    os.environ["VMT_OWN_MOUNTS"] = "1"
    os.execvp("unshare", ["unshare", *user, "--mount", sys.executable, *sys.argv])


class Troubles(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.records = cls.world.runtime / "vms"
        cls.records.mkdir(mode=0o700, parents=True)
        cls.world.runtime.chmod(0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "vmt-test",
                        cls.records], check=True)

    @classmethod
    def tearDownClass(cls):
        cls.world.vmc("stop", "--all", check=None)
        for pid in cls.world.processes("vm_concierge"):
            os.kill(pid, signal.SIGTERM)
        harness.eventually("the daemon ends", lambda: not cls.world.processes())
        subprocess.run(["umount", cls.records], check=True)
        super().tearDownClass()

    def nothing_left(self):
        def left():
            found = self.world.vm_leftovers()
            found.pop("mounts", None)  # ours
            return found
        harness.eventually(f"no VM leaves anything: {left()}", lambda: not left(), 30)

    def kill_daemon(self):
        for pid in self.world.processes("vm_concierge"):
            os.kill(pid, signal.SIGKILL)
        harness.eventually("the daemon is gone", lambda: not self.world.processes("vm_concierge"))

    def test_1_a_hypervisor_that_stands_still_delays_nobody_and_is_ended(self):
        self.world.start("still")
        self.world.start("other")
        pid = harness.info(self.world, "still")["pid"]
        os.kill(pid, signal.SIGSTOP)
        begin = time.monotonic()
        self.assertEqual(harness.info(self.world, "still")["pid"], pid)
        self.assertEqual(self.world.guest("other", "echo alive"), "alive")
        asked = time.monotonic() - begin
        stop = subprocess.Popen([harness.BIN / "vmc", "stop", "still"], env=self.world.env,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertEqual(self.world.guest("other", "echo alive"), "alive")
        self.assertIsNone(stop.poll())
        self.assertEqual(stop.wait(harness.PATIENCE), 0)
        print(f"asked about both in {asked:.1f} s, ended the still one in "
              f"{time.monotonic() - begin:.1f} s")
        self.world.vmc("info", "still", check=3)
        self.assertEqual(self.world.guest("other", "echo alive"), "alive")
        self.world.vmc("stop", "other")
        self.nothing_left()

    def test_2_a_full_state_directory_costs_a_start_and_no_vm(self):
        self.world.start("before")
        filler = self.records / "filler"
        fd = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
        with contextlib.suppress(OSError):
            while True:
                os.write(fd, b"x" * 512)
        os.close(fd)
        refused = self.world.start("full", check=None)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("No space left", refused.stderr)
        self.assertEqual(self.world.guest("before", "echo alive"), "alive")
        self.kill_daemon()  # what it knew is on disk already
        filler.unlink()
        self.assertEqual(self.world.guest("before", "echo alive"), "alive")
        self.world.start("after")
        self.world.vmc("stop", "--all")
        self.nothing_left()

    def test_3_a_read_only_state_directory_costs_a_start_and_no_vm(self):
        self.world.start("before")
        subprocess.run(["mount", "-o", "remount,ro", self.records], check=True)
        try:
            refused = self.world.start("readonly", check=None)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("Read-only", refused.stderr)
            self.assertEqual([vm["name"] for vm in json.loads(
                self.world.vmc("list", "--json").stdout)], ["before"])
            self.assertEqual(self.world.guest("before", "echo alive"), "alive")
        finally:
            subprocess.run(["mount", "-o", "remount,rw", self.records], check=True)
        self.world.start("after")
        self.world.vmc("stop", "--all")
        self.nothing_left()

    def test_4_a_process_that_has_the_pid_of_a_dead_vm_is_left_alone(self):
        record_type = harness.records(self.world)
        self.world.start("reused")
        path = harness.record_files(self.records)[0]
        self.kill_daemon()
        record = record_type.FromString(path.read_bytes())
        for pid in self.world.processes("qemu-system") + self.world.processes("vm_vsock"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        harness.eventually("all are gone", lambda: not self.world.processes("qemu-system") and
                           not self.world.processes("vm_vsock"))
        bystander = subprocess.Popen([shutil.which("sleep"), "600"])
        record.hypervisor.pid = record.companion.pid = bystander.pid
        path.write_bytes(record.SerializeToString())
        self.assertEqual(json.loads(self.world.vmc("list", "--json").stdout), [])
        self.nothing_left()
        self.assertIsNone(bystander.poll())
        bystander.kill()
        bystander.wait()
        self.world.start("reused")
        self.world.vmc("stop", "reused")
        self.nothing_left()


if __name__ == "__main__":
    in_own_mounts()
    harness.main()
