#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""vm_concierge as a process: how it starts, refuses to start, and ends. No VM is needed."""
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import unittest

PROGRAM = pathlib.Path(os.environ["VMT_BIN"]) / "vm_concierge"
PATIENCE = 60


class Daemon(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="vmt-", dir="/tmp"))
        self.env = dict(os.environ)
        for name in ("RUNTIME_DIR", "STATE_HOME", "DATA_HOME", "CACHE_HOME"):
            path = self.root / name.lower()
            path.mkdir(mode=0o700)
            self.env["XDG_" + name] = str(path)
        self.runtime = self.root / "runtime_dir" / "vm_tools"
        self.socket = self.runtime / "concierge.sock"
        self.running = []

    def tearDown(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()
        shutil.rmtree(self.root)

    def start(self, *options):
        """Start a daemon and wait until it says that it listens."""
        ready, theirs = os.pipe()
        process = subprocess.Popen(
            [PROGRAM, "--user", f"--ready-fd={theirs}", *options], env=self.env,
            pass_fds=[theirs], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.running.append(process)
        os.close(theirs)
        try:
            self.assertTrue(select.select([ready], [], [], PATIENCE)[0], "it is not ready")
            self.assertEqual(os.read(ready, 2), b"\n", "it ended instead")
            self.assertEqual(os.read(ready, 1), b"", "the descriptor stays open")
        finally:
            os.close(ready)
        return process

    def run_to_end(self, *options):
        return subprocess.run([PROGRAM, *options], env=self.env, capture_output=True,
                              text=True, timeout=PATIENCE, check=False)

    def test_it_listens_where_only_its_user_can_connect(self):
        self.start()
        self.assertTrue(self.socket.is_socket())
        self.assertEqual(self.socket.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.runtime.stat().st_mode & 0o077, 0)

    def test_signals_end_it_and_its_socket(self):
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = self.start()
            process.send_signal(sig)
            self.assertEqual(process.wait(PATIENCE), 0, sig)
            self.assertFalse(self.socket.exists(), sig)

    def test_a_second_daemon_leaves_the_first_alone(self):
        first = self.start()
        before = self.socket.stat().st_ino
        second = self.run_to_end("--user")
        self.assertEqual(second.returncode, 1)
        self.assertIn("another vm_concierge serves", second.stderr)
        self.assertEqual(self.socket.stat().st_ino, before)
        self.assertIsNone(first.poll())

    def test_a_killed_daemon_is_followed_by_another(self):
        process = self.start()
        process.kill()
        process.wait()
        self.assertTrue(self.socket.exists())
        process = self.start()
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_without_vms_and_clients_it_ends_by_itself(self):
        process = self.start("--idle-exit=1")
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertFalse(self.socket.exists())

    def test_wrong_usage_is_told_in_one_line(self):
        for options in (["--no-such-option"], ["--idle-exit"], ["--idle-exit=soon"],
                        ["--log-level=loud"], ["something"], ["--ready-fd=-1"]):
            result = self.run_to_end(*options)
            self.assertEqual(result.returncode, 2, options)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
            self.assertIn("--help", result.stderr)

    def test_help_and_version_go_to_stdout(self):
        for option in ("--help", "--version"):
            result = self.run_to_end(option)
            self.assertEqual(result.returncode, 0)
            self.assertIn("vm_concierge", result.stdout)
            self.assertEqual(result.stderr, "")

    def test_an_unknown_hypervisor_is_named(self):
        result = self.run_to_end("--user", "--hypervisor=xen")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no hypervisor backend xen; there is: qemu", result.stderr)

    def test_a_bus_that_is_not_there_is_told(self):
        result = self.run_to_end("--user", f"--dbus=unix:path={self.root}/nothing")
        self.assertEqual(result.returncode, 1)
        self.assertFalse(self.socket.exists())

    def test_leftovers_of_an_earlier_life_are_removed(self):
        self.start().kill()
        orphan = self.runtime / "vm.orphan"
        orphan.mkdir()
        (orphan / "vsock").touch()
        (self.runtime / "vms" / "00-junk.record").write_bytes(b"\xff\xff")
        self.running[-1].wait()
        self.start()
        self.assertFalse(orphan.exists())
        self.assertFalse((self.runtime / "vms" / "00-junk.record").exists())


if __name__ == "__main__":
    unittest.main()
