#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Sockets of both sides that stand for each other: -L, -R, -A and -N. Host and guest are one
machine here, so ports are chosen by the kernel, and all traffic stays on the loopback."""
import hashlib
import os
import pwd
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import unittest

import original
from harness import DEADLINE, VSH, VshTest, wait_until

FOLDER = tempfile.TemporaryDirectory(prefix="vsh-original.")
PB = original.messages(FOLDER.name)
BIG = 24 << 20


class Echo:
    """A server that sends back what it gets, and ends what has ended."""

    def __init__(self, address):
        self.listener = socket.create_server(address) if isinstance(address, tuple) \
            else socket.socket(socket.AF_UNIX)
        if not isinstance(address, tuple):
            self.listener.bind(address)
            self.listener.listen()
        self.peers = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def _accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self.peers.append(thread)
            thread.start()

    @staticmethod
    def _serve(peer):
        with peer:
            try:
                while data := peer.recv(65536):
                    peer.sendall(data)
                peer.sendall(b"end")  # after the other direction has ended
                peer.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def refuses(connect):
    try:
        connect().close()
        return False
    except OSError:
        return True


class Forward(VshTest):
    def echo(self, address=("127.0.0.1", 0)):
        server = Echo(address)
        self.addCleanup(server.close)
        return server

    def hold(self, *options):
        """A vsh that only forwards."""
        child = subprocess.Popen([VSH, "--unix=" + self.socket, *options, "-N"],
                                 stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(self.reap, child)
        return child

    @staticmethod
    def tcp(port):
        return socket.create_connection(("127.0.0.1", port), DEADLINE)

    @staticmethod
    def unix(path):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(DEADLINE)
        try:
            s.connect(path)
        except OSError:
            s.close()
            raise
        return s

    def connect(self, connect, child):
        """Connect as soon as somebody listens there."""
        found = []

        def attempt():
            self.assertIsNone(child.poll(), "vsh ended")
            try:
                found.append(connect())
            except OSError:
                return False
            return True
        wait_until(attempt, "somebody listens")
        self.addCleanup(found[0].close)
        return found[0]

    def check(self, s, data=b"some bytes"):
        """What goes in comes back, and each direction ends by itself."""
        sender = threading.Thread(target=lambda: (s.sendall(data),
                                                  s.shutdown(socket.SHUT_WR)))
        sender.start()
        got, n, tail = hashlib.sha256(), 0, b""
        while piece := s.recv(65536):
            tail = (tail + piece)[-3:]
            n += len(piece)
            got.update(piece)
        sender.join()
        s.close()
        self.assertEqual((n, tail), (len(data) + 3, b"end"))
        self.assertEqual(got.hexdigest(), hashlib.sha256(data + b"end").hexdigest())

    def path(self, name):
        return os.path.join(self.dir, name)

    def test_ports_here_lead_to_the_guest(self):
        port, server = free_port(), self.echo()
        child = self.hold("-L", f"{port}:localhost:{server.port}")
        self.check(self.connect(lambda: self.tcp(port), child))
        self.check(self.tcp(port), os.urandom(1 << 20) * (BIG >> 20))

    def test_sockets_here_and_there(self):
        self.echo(self.path("echo"))
        child = self.hold("-L", f"{self.path('here')}:{self.path('echo')}")
        self.check(self.connect(lambda: self.unix(self.path("here")), child))
        mode = os.stat(self.path("here")).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        child.terminate()
        self.assertEqual(child.wait(DEADLINE), 128 + signal.SIGTERM)
        self.assertFalse(os.path.exists(self.path("here")))

    def test_ports_of_the_guest_lead_here(self):
        port, server = free_port(), self.echo()
        child = self.hold("-R", f"{port}:localhost:{server.port}")
        self.check(self.connect(lambda: self.tcp(port), child))
        self.check(self.tcp(port), os.urandom(1 << 20) * (BIG >> 20))
        child.send_signal(signal.SIGKILL)
        child.wait()
        wait_until(lambda: refuses(lambda: self.tcp(port)), "the guest listens no more")

    def test_sockets_of_the_guest_lead_here(self):
        self.echo(self.path("echo"))
        path = self.path("there")
        child = self.hold("-R", f"{path}:{self.path('echo')}")
        self.check(self.connect(lambda: self.unix(path), child))
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        child.kill()
        child.wait()
        wait_until(lambda: not os.path.exists(path), "the file is removed")

    def test_a_file_goes_with_a_vshd_that_is_killed(self):
        path = self.path("there")
        child = self.hold("-R", f"{path}:/nowhere")
        wait_until(lambda: os.path.exists(path), "the guest listens")
        self.vshd.kill()
        self.assertEqual(child.wait(DEADLINE), 123)
        wait_until(lambda: not os.path.exists(path), "the file is removed")

    def test_the_guest_may_choose_the_port(self):
        server = self.echo()
        child = self.hold("-R", f"0:localhost:{server.port}")
        line = child.stderr.readline()
        self.assertIn(b"listens at port ", line)
        self.check(self.tcp(int(line.split()[-1])))

    def test_many_connections_at_once(self):
        local, remote, server = free_port(), free_port(), self.echo()
        child = self.hold("-L", f"{local}:127.0.0.1:{server.port}",
                          "-R", f"{remote}:127.0.0.1:{server.port}")
        self.connect(lambda: self.tcp(remote), child)
        peers = [self.tcp(port) for _ in range(60) for port in (local, remote)]
        for i, s in enumerate(peers):
            s.sendall(b"%06d" % i)
        for i, s in enumerate(peers):
            self.assertEqual(s.recv(6, socket.MSG_WAITALL), b"%06d" % i)
        for s in peers:
            self.check(s)

    def test_a_slow_reader_holds_back_its_writer_only(self):
        port, server = free_port(), self.echo()
        child = self.hold("-L", f"{port}:127.0.0.1:{server.port}")
        slow = self.connect(lambda: self.tcp(port), child)
        slow.setblocking(False)
        sent = 0
        idle = 0
        while idle < 20:  # until nothing is taken any more
            try:
                sent += slow.send(b"x" * 65536)
                idle = 0
            except BlockingIOError:
                idle += 1
                self.check(self.tcp(port))  # others go on meanwhile
        for process in (self.vshd, child):
            with open(f"/proc/{process.pid}/status") as status:
                peak = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
            self.assertLess(peak, 200 << 10)  # sanitizers take most of it
        self.assertLess(sent, 64 << 20)

    def test_with_a_command(self):
        port, server = free_port(), self.echo()
        child = self.spawn_vsh("sh", "-c", "echo ready; read x; exit 7",
                               options=["-L", f"{port}:127.0.0.1:{server.port}"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(child.stdout.readline(), b"ready\n")
        self.check(self.tcp(port))
        open_one = self.tcp(port)
        child.stdin.close()
        self.assertEqual(child.wait(DEADLINE), 7)
        self.assertEqual(open_one.recv(1), b"")
        open_one.close()

    def test_the_agent(self):
        self.echo(self.path("agent"))
        script = ("import os,socket,stat\n"
                  "p = os.environ['SSH_AUTH_SOCK']\n"
                  "d = os.stat(os.path.dirname(p))\n"
                  "s = socket.socket(socket.AF_UNIX); s.connect(p); s.sendall(b'key')\n"
                  "s.shutdown(socket.SHUT_WR)\n"
                  "f = s.makefile('rb')\n"
                  "print(oct(d.st_mode & 0o777), d.st_uid == os.getuid(), f.read().decode(), p)")
        done = self.run_vsh("/usr/bin/python3", "-c", script, options=["-A"],
                            env=dict(os.environ, SSH_AUTH_SOCK=self.path("agent")))
        self.assertEqual(done.returncode, 0, done.stderr)
        words = done.stdout.decode().split()
        self.assertEqual(words[:3], ["0o700", "True", "keyend"])
        wait_until(lambda: not os.path.exists(os.path.dirname(words[3])), "it is removed")
        without, empty = dict(os.environ), dict(os.environ, SSH_AUTH_SOCK="")
        without.pop("SSH_AUTH_SOCK", None)
        for environment in (without, empty):
            done = self.run_vsh("true", options=["-A"], env=environment)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"SSH_AUTH_SOCK", done.stderr)

    def test_nobody_at_the_other_end(self):
        local, remote, nobody = free_port(), free_port(), free_port()
        child = self.hold("-L", f"{local}:127.0.0.1:{nobody}",
                          "-R", f"{remote}:127.0.0.1:{nobody}")
        for port in (local, remote):
            s = self.connect(lambda: self.tcp(port), child)
            self.assertEqual(s.recv(1), b"")
            self.assertIn(b"refused", child.stderr.readline())

    def test_what_cannot_listen_is_said(self):
        taken = self.echo()
        for option in ("-L", "-R"):
            done = self.run_vsh("true", options=[option, f"{taken.port}:localhost:1"])
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"Address already in use", done.stderr)
        with open(self.path("file"), "w"):
            pass
        for option in ("-L", "-R"):
            done = self.run_vsh("true", options=[option, f"{self.path('file')}:localhost:1"])
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"Address already in use", done.stderr)
            self.assertTrue(os.path.isfile(self.path("file")))

    @unittest.skipIf(os.getuid() != 0, "only root's vshd can become another user")
    def test_the_rights_are_those_of_the_user(self):
        os.chmod(self.dir, 0o755)
        self.echo(self.path("secret"))
        os.chmod(self.path("secret"), 0o600)
        port = free_port()
        child = self.hold("--user=nobody", "-L", f"{port}:{self.path('secret')}")
        s = self.connect(lambda: self.tcp(port), child)
        self.assertEqual(s.recv(1), b"")
        self.assertIn(b"Permission denied", child.stderr.readline())
        done = self.run_vsh("true", options=["--user=nobody", "-R",
                                             f"{self.path('there')}:localhost:1"])
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"Permission denied", done.stderr)
        os.mkdir(self.path("open"), 0o777)
        os.chmod(self.path("open"), 0o777)
        path = self.path("open/there")
        self.hold("--user=nobody", "-R", f"{path}:localhost:1")
        wait_until(lambda: os.path.exists(path), "the guest listens")
        self.assertEqual(os.stat(path).st_uid, pwd.getpwnam("nobody").pw_uid)

    def test_a_token_is_good_for_its_connection_only(self):
        peer = original.connect(self.socket, PB, DEADLINE)
        self.addCleanup(peer.sock.close)
        body = b"\x0a\x09/vm_shell\x2a\x04true\x40\x01\xda\x3e\x10" + os.urandom(16)
        peer.sock.sendall(len(body).to_bytes(4, "little") + body)
        response = peer.receive(PB.SetupConnectionResponse)
        self.assertEqual(response.status, original.FAILED)

    def test_a_guest_that_does_not_know_of_it(self):
        path = self.path("old")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen()
        listener.settimeout(DEADLINE)
        child = subprocess.Popen([VSH, "--unix=" + path, "-L", f"{free_port()}:x:1", "-N"],
                                 stderr=subprocess.PIPE)
        self.addCleanup(self.reap, child)
        server = original.Server(listener, PB, DEADLINE)
        self.addCleanup(server.sock.close)
        self.assertEqual(list(server.asked.argv), ["true"])  # harmless there
        server.answer()
        self.assertEqual(child.wait(DEADLINE), 1)
        self.assertIn(b"does not know how to forward", child.stderr.read())

    def test_wrong_forwards_are_usage_errors(self):
        for options in (["-L", "x"], ["-R", "1:2"], ["-L"], ["-N", "--", "true"], ["-x"]):
            done = subprocess.run([VSH, "--unix=" + self.socket, *options],
                                  stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  timeout=DEADLINE, check=False)
            self.assertEqual(done.returncode, 1, options)
            self.assertEqual(done.stderr.count(b"\n"), 1, options)


if __name__ == "__main__":
    unittest.main()
