#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The processes of vm_vsock end under a running guest, which goes on."""
import os
import shutil
import signal
import tempfile
import threading
import time
import unittest

import vsock_guest
from vsock_guest import Guest, listen

ROUNDS = 20


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(p) for p in f.read().split()]


def eventually(what, condition):
    end = time.monotonic() + vsock_guest.DEADLINE
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"not within the deadline: {what}")
        time.sleep(0.01)


def closed(s):
    """Waits for the end of a connection; the bytes before it count for nothing."""
    try:
        while s.recv(1 << 20):
            pass
    except ConnectionResetError:
        pass
    return True


class RestartTest(unittest.TestCase):
    def setUp(self):
        self.guest = Guest()
        self.guest.program = self.program()
        self.guest.__enter__()
        self.addCleanup(self.guest.__exit__, None, None, None)
        self.listener = listen(f"{self.guest.dir}/vsock_5000")
        self.addCleanup(self.listener.close)

    def program(self):
        """A copy, which a test may replace."""
        folder = tempfile.mkdtemp(prefix="vmt-vsock-")
        self.addCleanup(shutil.rmtree, folder)
        return shutil.copy(vsock_guest.program(), f"{folder}/vm_vsock")

    def worker(self, old=()):
        return eventually("a worker", lambda: [p for p in children(self.guest.device.pid)
                                               if p not in old])[0]

    def ask(self, text):
        """An answer, however often the device ends meanwhile refuses a connection."""
        def once():
            s = self.guest.connect()
            if not s:
                return None
            with s:
                s.sendall(text.encode() + b"\n")
                return vsock_guest.read_all(s).split() or None
        return eventually(text, once)

    def uptime(self):
        return int(self.ask("uptime")[0])

    def dial(self):
        """The guest connects to the host and sends without end; the host's side of it."""
        command = self.guest.command(f"dial 2 5000 {1 << 40}")
        conn, _ = self.listener.accept()
        conn.settimeout(vsock_guest.DEADLINE)
        return command, conn

    def assert_both_ways(self):
        with self.guest.command("echo") as s:
            s.sendall(b"hello")
            self.assertEqual(s.recv(100), b"hello")
        with self.guest.command("dial 2 5000 5") as answer:
            conn, _ = self.listener.accept()
            with conn:
                conn.settimeout(vsock_guest.DEADLINE)
                self.assertEqual(len(vsock_guest.read_all(conn)), 5)
            self.assertEqual(vsock_guest.read_all(answer).split()[0], b"0")

    def guest_holds(self):
        """Connections to the guest's commands that a process of the guest still serves."""
        return int(self.ask("children")[0])

    def test_a_killed_worker_20_times_in_a_row(self):
        before = self.uptime()
        for _ in range(ROUNDS):
            old = self.worker()
            idle = self.guest.command("echo")
            idle.sendall(b"there")
            self.assertEqual(idle.recv(100), b"there")
            os.kill(old, signal.SIGKILL)
            self.assertTrue(closed(idle))
            idle.close()
            self.worker([old])
            self.assert_both_ways()
            # The guest was told, too: its end of the echo read the end and went.
            eventually("the guest's end closes", lambda: self.guest_holds() == 1)
        after = self.uptime()
        self.assertGreater(after, before)
        self.assertIsNone(self.guest.qemu.poll())

    def test_a_worker_killed_under_traffic(self):
        before = self.uptime()
        for round_number in range(5):
            old = self.worker()
            command, conn = self.dial()
            sink = self.guest.command(f"discard {1 << 40}")
            threading.Thread(target=lambda s=sink: self.pour(s), daemon=True).start()
            got = 0
            while got < 2 << 20:
                got += len(conn.recv(1 << 20))
            os.kill(old, signal.SIGKILL)
            for s in (command, conn, sink):
                self.assertTrue(closed(s), round_number)
                s.close()
            self.worker([old])
            self.assert_both_ways()
            eventually("the guest's ends close", lambda: self.guest_holds() == 1)
        self.assertGreater(self.uptime(), before)

    @staticmethod
    def pour(s):
        try:
            while True:
                s.sendall(bytes(65536))
        except OSError:
            pass

    def test_an_upgrade_in_place_and_one_that_cannot_be(self):
        path = self.guest.program
        old = self.worker()
        idle = self.guest.command("echo")
        fresh = shutil.copy(path, path + ".new")
        os.rename(fresh, path)
        self.guest.device.send_signal(signal.SIGHUP)
        self.assertTrue(closed(idle))
        new = self.worker([old])
        self.assert_both_ways()
        with open(f"{path}.bad", "w", encoding="ascii") as f:
            f.write("#!/bin/sh\nexit 3\n")
        os.chmod(f"{path}.bad", 0o755)
        os.rename(f"{path}.bad", path)
        with self.guest.command("echo") as s:
            self.guest.device.send_signal(signal.SIGHUP)
            eventually("it was tried", lambda: "was not replaced" in self.guest.log())
            s.sendall(b"still here")
            self.assertEqual(s.recv(100), b"still here")
        self.assertEqual(children(self.guest.device.pid), [new])

    def test_a_killed_keeper(self):
        before = self.uptime()
        worker = self.worker()
        with self.guest.command("echo") as s:
            self.guest.device.kill()
            self.guest.device.wait()
            s.sendall(b"still here")
            self.assertEqual(s.recv(100), b"still here")
            self.assert_both_ways()
        self.assertGreaterEqual(self.uptime(), before)
        self.assertIsNone(self.guest.qemu.poll())
        self.guest.qemu.kill()
        self.guest.qemu.wait()
        eventually("the worker ends", lambda: not os.path.exists(f"/proc/{worker}/task") or
                   self.state(worker) in "ZX")

    @staticmethod
    def state(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                return f.read().rsplit(")", 1)[1].split()[0]
        except OSError:
            return "X"


if __name__ == "__main__":
    vsock_guest.requirements()
    unittest.main(verbosity=2)
