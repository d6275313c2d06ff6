#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The command line of vm_vsock, its sockets and its signals; no VM."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

PROGRAM = os.environ.get("VMT_VM_VSOCK", os.path.join(os.environ["VMT_BIN"], "vm_vsock"))
DEADLINE = 60


class CommandLineTest(unittest.TestCase):
    def run_it(self, *args):
        return subprocess.run([PROGRAM, *args], capture_output=True, text=True,
                              timeout=DEADLINE, check=False)

    def test_bad_command_lines_are_one_line_and_exit_2(self):
        good = ["--guest-cid=3", "--vhost-socket=/nonexistent/a", "--vsock-socket=/nonexistent/b"]
        for args, words in (
                ([], "--guest-cid is missing"),
                (["--no-such-option"], "unknown option --no-such-option"),
                (good + ["extra"], "unexpected argument extra"),
                (["--guest-cid"], "needs a value"),
                (["--guest-cid=2"] + good[1:], "cid 2 is reserved"),
                (["--guest-cid=4294967295"] + good[1:], "not a number"),
                (["--guest-cid=x"] + good[1:], "not a number"),
                (good + ["--vhost-fd=3"], "one of --vhost-fd and --vhost-socket"),
                (good[:2], "one of --vsock-fd and --vsock-socket"),
                (good[:2] + ["--vsock-fd=4"], "--vsock-fd needs --uds-dir"),
                (good + ["--log-level=loud"], "not a log level: loud")):
            with self.subTest(args=args):
                done = self.run_it(*args)
                self.assertEqual(done.returncode, 2)
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)
                self.assertEqual(done.stdout, "")

    def test_what_cannot_start_says_why_and_exits_1(self):
        done = self.run_it("--guest-cid=3", "--vhost-socket=/nonexistent/a",
                           "--vsock-socket=/nonexistent/b")
        self.assertEqual(done.returncode, 1)
        self.assertIn("No such file or directory", done.stderr)
        done = self.run_it("--guest-cid=3", "--vhost-fd=0", "--vsock-fd=1", "--uds-dir=/tmp")
        self.assertEqual(done.returncode, 1)
        self.assertIn("descriptor 0", done.stderr)

    def test_help_and_version_go_to_stdout(self):
        for args, words in ((["--help"], "--uds-dir=DIR"), (["--version"], "vm_vsock ")):
            done = self.run_it(*args)
            self.assertEqual(done.returncode, 0)
            self.assertIn(words, done.stdout)
            self.assertEqual(done.stderr, "")


class ProcessCase(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="vmt-vsock-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.proc = subprocess.Popen(
            [self.program(), "--guest-cid=3", f"--vhost-socket={self.dir}/vhost",
             f"--vsock-socket={self.dir}/host"], stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        self.wait(lambda: os.path.exists(f"{self.dir}/host"))

    def program(self):
        return PROGRAM

    def stop(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.proc.stderr.close()

    def wait(self, condition):
        end = time.monotonic() + DEADLINE
        while not condition():
            self.assertLess(time.monotonic(), end)
            self.assertIsNone(self.proc.poll())
            time.sleep(0.01)

    def connect(self, name="host"):
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        s.settimeout(DEADLINE)
        s.connect(f"{self.dir}/{name}")
        return s

    def terminate(self):
        self.proc.send_signal(signal.SIGTERM)
        self.assertEqual(self.proc.wait(DEADLINE), 0)
        return self.proc.stderr.read()

    @staticmethod
    def is_worker(pid):
        """A sanitizer has a child of its own when the keeper ends."""
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return b"--worker-fd=" in f.read()

    def worker(self, old=None):
        """The worker, once it is another than old; None when there will be none."""
        path = f"/proc/{self.proc.pid}/task/{self.proc.pid}/children"
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                return None
            try:
                with open(path, encoding="ascii") as f:
                    pids = [int(p) for p in f.read().split() if self.is_worker(p)]
            except OSError:
                continue
            if pids and pids[0] != old:
                return pids[0]
            time.sleep(0.001)
        self.fail("no other worker")

    def log_until(self, words):
        line = ""
        while words not in line:
            line = self.proc.stderr.readline()
            self.assertNotEqual(line, "", words)
        return line


class ProcessTest(ProcessCase):
    def test_sigterm_ends_it_and_its_sockets(self):
        self.connect("vhost")
        self.connect()
        self.terminate()
        self.assertEqual(os.listdir(self.dir), [])

    def test_sigusr1_logs_statistics(self):
        self.proc.send_signal(signal.SIGUSR1)
        self.assertRegex(self.proc.stderr.readline(),
                         r"statistics cid=3 connections=0 .*rst_sent=0")
        self.terminate()

    def test_the_statistics_count_workers_that_ended(self):
        first = self.worker()
        os.kill(first, signal.SIGKILL)
        self.worker(first)
        self.proc.send_signal(signal.SIGUSR1)
        self.assertRegex(self.log_until("statistics"), r"restarts=1$")
        self.terminate()

    def test_programs_find_the_worker_that_is_there(self):
        os.kill(self.worker(), signal.SIGKILL)
        s = self.connect()
        s.sendall(b"CONNECT 1000\n")
        self.assertEqual(s.recv(10), b"")
        self.terminate()

    def test_a_worker_that_ends_over_and_over_is_given_up(self):
        deaths, last = 0, None
        while True:
            last = self.worker(last)
            if last is None:
                break
            try:
                os.kill(last, signal.SIGKILL)
                deaths += 1
            except ProcessLookupError:
                pass
        self.assertEqual(self.proc.wait(DEADLINE), 1)
        self.assertGreater(deaths, 20)
        self.log_until("giving up: the worker ended 51 times within 60 s")

    def test_sockets_are_for_their_owner_only(self):
        for name in ("vhost", "host"):
            self.assertEqual(os.stat(f"{self.dir}/{name}").st_mode & 0o777, 0o600)

    def test_without_a_guest_connections_are_refused_at_once(self):
        s = self.connect()
        s.sendall(b"CONNECT 1000\n")
        self.assertEqual(s.recv(10), b"")

    def test_a_program_that_says_nothing_is_closed_after_the_deadline(self):
        silent = self.connect()
        slow = self.connect()
        slow.sendall(b"CONNECT 1")
        self.assertEqual(silent.recv(10), b"")
        try:
            self.assertEqual(slow.recv(10), b"")
        except ConnectionResetError:
            pass

    def test_programs_beyond_the_limit_of_handshakes_wait_for_their_turn(self):
        silent = [self.connect() for _ in range(64)]
        late = self.connect()
        late.sendall(b"CONNECT 1000\n")
        silent[0].close()
        self.assertEqual(late.recv(10), b"")

    def test_it_cannot_gain_privileges_and_is_not_dumpable(self):
        with open(f"/proc/{self.proc.pid}/status", encoding="ascii") as f:
            status = f.read()
        self.assertIn("NoNewPrivs:\t1", status)
        if "VMT_VM_VSOCK" in os.environ:  # not with sanitizers
            self.assertIn("Seccomp:\t2", status)
        if os.geteuid() != 0:
            with self.assertRaises(PermissionError):
                os.readlink(f"/proc/{self.proc.pid}/exe")


class ReplaceTest(ProcessCase):
    """Of a program that changes on disk."""
    def program(self):
        folder = tempfile.mkdtemp(prefix="vmt-vsock-")
        self.addCleanup(shutil.rmtree, folder)
        self.path = shutil.copy(PROGRAM, f"{folder}/vm_vsock")
        return self.path

    def replace(self, make):
        make(f"{self.path}.new")
        os.rename(f"{self.path}.new", self.path)
        self.proc.send_signal(signal.SIGHUP)

    @staticmethod
    def one_that_hangs(path):
        with open(path, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\nexec cat <&3 >/dev/null\n")
        os.chmod(path, 0o755)

    def test_a_new_program_that_hangs_is_given_up_and_a_good_one_comes_later(self):
        old = self.worker()
        self.replace(self.one_that_hangs)
        self.log_until("the worker was not replaced")
        self.assertEqual(self.worker(), old)
        self.replace(lambda path: shutil.copy(PROGRAM, path))
        self.worker(old)
        self.terminate()


if __name__ == "__main__":
    unittest.main(verbosity=2)
