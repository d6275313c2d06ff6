#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vm_vsock between host programs and a real guest: its kernel's driver is the peer."""
import errno
import json
import signal
import socket
import threading
import unittest
import zlib

import vsock_guest
from vsock_guest import Guest, listen, pattern, read_all

MIB = 1 << 20
DATA = pattern(0, MIB) * 8


def serve(listener, handler, count=1):
    """Handle count connections in a thread each; the thread that accepts."""
    def one():
        conn, _ = listener.accept()
        conn.settimeout(vsock_guest.DEADLINE)
        with conn:
            handler(conn)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for t in threads:
        t.start()
    return threads


def echo_all(conn):
    conn.sendall(read_all(conn))


class GuestTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.guest = Guest()
        cls.guest.__enter__()
        cls.addClassCleanup(cls.guest.__exit__, None, None, None)

    def listen(self, port):
        listener = listen(f"{self.guest.dir}/vsock_{port}")
        self.addCleanup(listener.close)
        return listener

    def qmp(self, *commands):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(vsock_guest.DEADLINE)
            s.connect(f"{self.guest.dir}/qmp")
            f = s.makefile("rw")
            f.readline()
            for name in ("qmp_capabilities",) + commands:
                f.write(json.dumps({"execute": name}) + "\n")
                f.flush()
                while "return" not in json.loads(f.readline()):
                    pass

    def test_a_port_without_a_listener_closes_without_an_answer(self):
        self.assertIsNone(self.guest.connect(7))

    def test_bad_handshakes_are_closed(self):
        for line in (b"connect 1000\n", b"CONNECT\n", b"CONNECT x\n", b"CONNECT 1000 \n",
                     b"CONNECT -1\n", b"CONNECT 4294967296\n", b"GET / HTTP/1.1\r\n", b"\n",
                     b"C" * 32, b"C" * 1000):
            with socket.socket(socket.AF_UNIX) as s, self.subTest(line=line):
                s.settimeout(vsock_guest.DEADLINE)
                s.connect(f"{self.guest.dir}/vsock")
                s.sendall(line)
                try:
                    self.assertEqual(s.recv(100), b"")
                except ConnectionResetError:
                    pass  # closed with bytes of ours unread

    def test_a_handshake_may_come_in_pieces_and_with_data_behind_it(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(vsock_guest.DEADLINE)
            s.connect(f"{self.guest.dir}/vsock")
            for part in (b"CON", b"NECT 10", b"00\necho\nearly"):
                s.sendall(part)
            s.shutdown(socket.SHUT_WR)
            answer = read_all(s)
            self.assertRegex(answer, rb"^OK \d+\nearly$")

    def test_the_host_end_gets_a_port_of_its_own(self):
        with self.guest.command("echo"):
            first = self.guest.host_port
            with self.guest.command("echo"):
                self.assertGreaterEqual(first, 1 << 30)
                self.assertNotEqual(first, self.guest.host_port)

    def test_the_host_sends_8_mib(self):
        with self.guest.command("sink") as s:
            s.sendall(DATA)
            s.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(s), b"%d %d\n" % (len(DATA), zlib.crc32(DATA)))

    def test_the_guest_sends_8_mib(self):
        want = pattern(0, 8 * MIB)
        with self.guest.command(f"source {len(want)}") as s:
            self.assertEqual(zlib.crc32(read_all(s)), zlib.crc32(want))

    def test_the_guest_dials_the_host_and_gets_its_bytes_back(self):
        want = pattern(0, 3 * MIB + 17)
        threads = serve(self.listen(5000), echo_all)
        self.assertEqual(self.guest.ask(f"dial 2 5000 {len(want)}"),
                         [0, len(want), zlib.crc32(want)])
        threads[0].join()

    def test_the_guest_is_refused_where_nobody_listens(self):
        self.assertEqual(self.guest.ask("dial 2 5001 1")[0], errno.ECONNRESET)

    def test_the_guest_reaches_no_other_vm_and_not_the_hypervisor(self):
        self.listen(5002)
        for cid in (0, 3, 43, 4294967294):
            code, got, _ = self.guest.ask(f"dial {cid} 5002 1")
            self.assertIn(code, (errno.ECONNRESET, errno.ENODEV, errno.EADDRNOTAVAIL))
            self.assertEqual(got, 0)

    def test_32_connections_at_once_each_way(self):
        want = pattern(0, 100003)
        threads = serve(self.listen(5003), echo_all, 32)
        socks = [self.guest.command(f"dial 2 5003 {len(want)}") for _ in range(32)]
        for s in socks:
            self.assertEqual([int(v) for v in read_all(s).split()],
                             [0, len(want), zlib.crc32(want)])
            s.close()
        for t in threads:
            t.join()

    def test_a_guest_program_that_does_not_read_delays_nobody(self):
        with self.guest.command("deaf") as deaf:
            self.assertEqual(deaf.recv(3), b"ok\n")
            deaf.setblocking(False)
            sent = 0
            with self.assertRaises(BlockingIOError):
                while sent < 64 * MIB:
                    sent += deaf.send(bytes(65536))
            with self.guest.command("echo") as s:
                s.sendall(b"still here")
                self.assertEqual(s.recv(100), b"still here")

    def test_a_host_program_that_does_not_read_delays_nobody(self):
        with self.guest.command(f"source {64 * MIB}") as slow:
            with self.guest.command("echo") as s:
                s.sendall(b"still here")
                self.assertEqual(s.recv(100), b"still here")
            self.assertEqual(len(read_all(slow)), 64 * MIB)

    def test_a_host_program_that_dies_ends_the_guests_write(self):
        def die(conn):
            conn.recv(10)

        threads = serve(self.listen(5004), die)
        code, _, _ = self.guest.ask(f"dial 2 5004 {64 * MIB}")
        self.assertIn(code, (errno.EPIPE, errno.ECONNRESET))
        threads[0].join()

    def test_connections_survive_a_pause_of_the_vm(self):
        with self.guest.command("echo") as s:
            s.sendall(b"before")
            self.assertEqual(s.recv(100), b"before")
            self.qmp("stop")
            s.sendall(b"meanwhile")
            self.qmp("cont")
            self.assertEqual(s.recv(100), b"meanwhile")


class LifeTest(unittest.TestCase):
    def test_the_device_outlives_a_vmm_and_serves_the_next(self):
        with Guest() as guest:
            s = guest.command("echo")
            guest.qemu.kill()
            guest.qemu.wait()
            self.assertEqual(s.recv(100), b"")
            s.close()
            self.assertIsNone(guest.connect())  # no guest: refused at once
            guest.start_vmm()
            with guest.command("echo") as s:
                s.sendall(b"again")
                self.assertEqual(s.recv(100), b"again")
            self.assertIsNone(guest.device.poll())
            guest.device.send_signal(signal.SIGTERM)
            self.assertEqual(guest.device.wait(vsock_guest.DEADLINE), 0)


if __name__ == "__main__":
    vsock_guest.requirements()
    unittest.main(verbosity=2)
