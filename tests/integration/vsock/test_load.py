#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vm_vsock between host programs and a real guest: many connections, many bytes, programs that
are killed, listeners that come and go while the VM runs."""
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import unittest
import zlib

import vsock_guest
from vsock_guest import Guest, listen, pattern, read_all

MIB = 1 << 20
BLOCK = pattern(0, 2 * MIB)  # after which the pattern begins again
CONNECTIONS = 1000  # of the 1024 that one VM may have

# Connects to the socket that it is told, says so, and waits.
HELD = """
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(1)
print("ready", flush=True)
c, _ = s.accept()
c.recv(1)
print("connected", flush=True)
time.sleep(3600)
"""


class LoadTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        cls.guest = Guest()
        cls.guest.__enter__()
        cls.addClassCleanup(cls.guest.__exit__, None, None, None)

    def test_a_thousand_connections_are_open_at_a_time(self):
        socks = []
        for _ in range(CONNECTIONS):
            socks.append(self.guest.command("echo"))
            self.addCleanup(socks[-1].close)
        for i, s in enumerate(socks):
            s.sendall(b"%04d" % i)
        for i, s in enumerate(socks):
            self.assertEqual(s.recv(100), b"%04d" % i)

    def test_a_gib_goes_through_whole(self):
        blocks, crc = 512, 0
        for _ in range(blocks):
            crc = zlib.crc32(BLOCK, crc)
        with self.guest.command("sink") as s:
            for _ in range(blocks):
                s.sendall(BLOCK)
            s.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(s), b"%d %d\n" % (blocks * len(BLOCK), crc))

    def test_256_mib_come_back_whole(self):
        total, got, crc, want = 256 * MIB, 0, 0, 0
        for _ in range(total // len(BLOCK)):
            want = zlib.crc32(BLOCK, want)
        with self.guest.command(f"source {total}") as s:
            while data := s.recv(MIB):
                crc = zlib.crc32(data, crc)
                got += len(data)
        self.assertEqual((got, crc), (total, want))

    def test_a_guest_program_that_is_killed_ends_its_connection_alone(self):
        with self.guest.command("echo") as other, self.guest.command("die") as s:
            self.assertEqual(s.recv(3), b"ok\n")
            s.sendall(b"x")
            self.assertEqual(s.recv(1), b"")
            other.sendall(b"still here")
            self.assertEqual(other.recv(100), b"still here")

    def test_a_host_program_that_is_killed_ends_its_connection_alone(self):
        path = f"{self.guest.dir}/vsock_5100"
        with subprocess.Popen([sys.executable, "-c", HELD, path], stdout=subprocess.PIPE,
                              text=True) as held:
            self.assertEqual(held.stdout.readline(), "ready\n")
            with self.guest.command("echo") as other, \
                    self.guest.command(f"dial 2 5100 {64 * MIB}") as s:
                self.assertEqual(held.stdout.readline(), "connected\n")
                held.send_signal(signal.SIGKILL)
                held.wait()
                code = int(read_all(s).split()[0])
                self.assertIn(code, (errno.EPIPE, errno.ECONNRESET))
                other.sendall(b"still here")
                self.assertEqual(other.recv(100), b"still here")
        os.unlink(path)

    def test_a_listener_comes_and_goes_while_the_vm_runs(self):
        path = f"{self.guest.dir}/vsock_5101"
        with self.guest.command("echo") as other:
            for i in range(20):
                listener = listen(path)
                thread = threading.Thread(target=self.answer_one, args=(listener,))
                thread.start()
                self.assertEqual(self.guest.ask("dial 2 5101 1000")[:2], [0, 1000])
                thread.join()
                listener.close()
                self.assertEqual(self.guest.ask("dial 2 5101 1")[0], errno.ECONNRESET)
                os.unlink(path)
                self.assertEqual(self.guest.ask("dial 2 5101 1")[0], errno.ECONNRESET)
                other.sendall(b"%04d" % i)
                self.assertEqual(other.recv(100), b"%04d" % i)

    @staticmethod
    def answer_one(listener):
        conn, _ = listener.accept()
        with conn:
            conn.settimeout(vsock_guest.DEADLINE)
            conn.sendall(read_all(conn))


if __name__ == "__main__":
    vsock_guest.requirements()
    unittest.main(verbosity=2)
