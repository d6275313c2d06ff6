#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Many sessions, and clients that do not behave."""
import os
import resource
import signal
import socket
import struct
import subprocess
import unittest

from harness import DEADLINE, VshTest, wait_until

REQUEST = b"\x0a\x09/vm_shell\x40\x01"  # target, nopty


def frame(body):
    return struct.pack("<I", len(body)) + body


class Limits(VshTest):
    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.socket)
        s.settimeout(DEADLINE)
        self.addCleanup(s.close)
        return s

    def read_frame(self, s):
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack("<I", data[:4])[0]:
            more = s.recv(4 + struct.unpack("<I", data[:4])[0] - len(data)
                          if len(data) >= 4 else 4 - len(data))
            if not more:
                return None
            data += more
        return data[4:]

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.vshd.pid))

    def test_two_hundred_sessions_at_once(self):
        sessions = [self.spawn_vsh("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                    for _ in range(200)]
        for i, child in enumerate(sessions):
            child.stdin.write(b"%d\n" % i)
            child.stdin.flush()
        for i, child in enumerate(sessions):
            self.assertEqual(child.stdout.readline(), b"%d\n" % i)
        for child in sessions:
            child.stdin.close()
        for child in sessions:
            self.assertEqual(child.wait(DEADLINE), 0)

    def test_too_many_sessions_are_refused_in_words(self):
        busy = [self.connect() for _ in range(256)]
        for s in busy:
            s.sendall(frame(REQUEST + b"\x2a\x03cat"))
        for s in busy:
            self.assertTrue(self.read_frame(s).startswith(b"\x08\x01"))
        idle = [self.connect() for _ in range(300)]  # these cost no process
        done = self.run_vsh("true")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"too many sessions", done.stderr)
        for s in idle + busy:
            s.close()
        wait_until(lambda: self.run_vsh("true").returncode == 0, "room again")

    def raise_descriptors(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 4096:
            self.skipTest("4096 descriptors are needed, %d are allowed" % hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def test_too_many_connections_are_refused_in_words(self):
        self.raise_descriptors()
        idle = [self.connect() for _ in range(1024)]
        done = self.run_vsh("true")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"too many connections are open", done.stderr)
        for s in idle:
            s.close()
        wait_until(lambda: self.run_vsh("true").returncode == 0, "room again")

    def test_carried_connections_leave_room_for_commands(self):
        self.raise_descriptors()
        path = os.path.join(self.dir, "listener")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1024)
            address = b"\x1a" + bytes([len(path)]) + path.encode()
            request = frame(REQUEST + b"\x2a\x04true\xd2\x3e" + bytes([len(address)]) +
                            address)
            carried, answer = [], b"\x08\x01"
            while answer.startswith(b"\x08\x01"):
                self.assertLessEqual(len(carried), 640)
                carried.append(self.connect())
                carried[-1].sendall(request)
                answer = self.read_frame(carried[-1])
            self.assertGreater(len(carried), 64)
            self.assertIn(b"too many forwarded connections", answer)
            self.assertEqual(self.run_vsh("true").returncode, 0)
            listener.accept()[0].close()
            carried.pop(0).close()

            def carries():
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(DEADLINE)
                    s.connect(self.socket)
                    s.sendall(request)
                    return self.read_frame(s).startswith(b"\x08\x01")
            wait_until(carries, "room again")

    def test_broken_clients_cost_their_connection_only(self):
        before = self.descriptors()
        for bytes_ in (b"\xff\xff\xff\xff", b"\x01\x10\0\0", frame(b"\x0a\xff"),
                       frame(REQUEST) + b"\xff\xff\xff\xff"):
            s = self.connect()
            s.sendall(bytes_)
            while s.recv(4096):
                pass
            s.close()
        for bytes_ in (b"", b"\x10", frame(REQUEST)[:-1], frame(REQUEST)):
            s = self.connect()
            s.sendall(bytes_)
            s.close()
        self.assertEqual(self.run_vsh("true").returncode, 0)
        wait_until(lambda: self.descriptors() == before, "nothing is left behind")

    def test_a_peer_of_the_first_version_is_served(self):
        s = self.connect()
        # No nopty field, so a terminal; no cwd; argv "echo" "ok".
        s.sendall(frame(b"\x0a\x09/vm_shell\x2a\x04echo\x2a\x02ok"))
        self.assertTrue(self.read_frame(s).startswith(b"\x08\x01"))
        frames = []
        while (body := self.read_frame(s)) is not None:
            frames.append(body)
        self.assertEqual(frames[0], b"\x0a\x08\x08\x02\x12\x04ok\r\n")
        self.assertTrue(frames[-1].startswith(b"\x12"))
        self.assertIn(b"\x08\x02", frames[-1])

    def test_an_unread_session_does_not_grow_the_server(self):
        def resident():
            with open("/proc/%d/statm" % self.vshd.pid) as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
        self.run_vsh("true")
        before = resident()
        s = self.connect()
        s.sendall(frame(REQUEST + b"\x2a\x03yes"))
        self.read_frame(s)
        # It must stop reading its child: the child then sleeps in write.
        child = subprocess.run(["pgrep", "-P", str(self.vshd.pid)], check=True,
                               stdout=subprocess.PIPE).stdout.split()[0].decode()

        def stalled():
            with open("/proc/%s/wchan" % child) as wchan:
                return "pipe" in wchan.read()

        def state():
            with open("/proc/%s/stat" % child) as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
                return fields[0], fields[11]
        wait_until(lambda: stalled() or state()[0] == "S" and state() == state(),
                   "the child waits")
        self.assertLess(resident() - before, 16 << 20)
        os.kill(int(child), signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
