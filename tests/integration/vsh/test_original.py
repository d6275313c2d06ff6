#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Our vsh against the original's vshd, and our vshd against the original's vsh."""
import os
import pwd
import signal
import socket
import subprocess
import tempfile
import unittest

import original
from harness import DEADLINE, VSH, VshTest, alive, wait_until
from original import FAILED, READY, STDERR, STDIN, STDOUT

FOLDER = tempfile.TemporaryDirectory(prefix="vsh-original.")
PB = original.messages(FOLDER.name)


class OurServer(VshTest):
    def client(self):
        peer = original.connect(self.socket, PB, DEADLINE)
        self.addCleanup(peer.sock.close)
        return peer

    def start(self, *argv, **fields):
        """A session that is ready."""
        peer = self.client()
        response = peer.request(*argv, **fields)
        self.assertEqual((response.status, response.description), (READY, "vsh ready"))
        self.assertGreater(response.pid, 1)
        self.assertEqual(peer.strange, 0, "an old client is sent what it knows")
        peer.pid = response.pid
        return peer

    def test_a_command_with_pipes(self):
        peer = self.start("sh", "-c", "cat; echo problem >&2; exit 3", nopty=True)
        peer.stdin(b"hello ")
        peer.stdin(b"world")
        peer.stdin(b"")
        out, err, closed, code = peer.output()
        self.assertEqual((out, err, code), (b"hello world", b"problem\n", 3))
        self.assertEqual(sorted(closed), [STDOUT, STDERR])
        self.assertEqual(peer.sock.recv(1), b"")

    def test_a_client_of_2018_gets_a_terminal(self):
        peer = self.start("sh", "-c", "tty; stty size; cat", window_rows=31, window_cols=99,
                          env={"TERM": "vt52"})
        peer.stdin(b"")
        out, err, closed, code = peer.output()
        self.assertTrue(out.startswith(b"/dev/pts/"), out)
        self.assertIn(b"\r\n31 99\r\n", out)
        self.assertEqual((err, closed, code), (b"", [], 0))

    def test_output_comes_in_frames_that_it_can_take(self):
        peer = self.start("head", "-c", "1000000", "/dev/zero", nopty=True)
        out, _, _, code = peer.output()
        self.assertEqual((len(out), code), (1000000, 0))

    def test_signals_and_sizes(self):
        peer = self.start("sh", "-c", "trap 'echo term; exit 9' TERM; trap 'stty size' WINCH;"
                          " echo ready; while :; do sleep 0.02; done")
        message = peer.receive(PB.HostMessage)
        self.assertIn(b"ready", message.data_message.data)
        peer.resize(50, 132)
        seen = b""
        while b"50 132" not in seen:
            seen += peer.receive(PB.HostMessage).data_message.data
        peer.signal(15)
        out, _, _, code = peer.output()
        self.assertIn(b"term", out)
        self.assertEqual(code, 9)

    def test_directories(self):
        here = os.path.realpath(self.dir)
        out = self.start("pwd", nopty=True, cwd=here).output()[0]
        self.assertEqual(out.decode(), here + "\n")
        out = self.start("pwd", nopty=True, cwd_pid=os.getpid()).output()[0]
        self.assertEqual(out.decode(), os.getcwd() + "\n")

    def test_its_default_user_is_ours(self):
        # Its client always names a user of the VM: chronos, when its own user named none.
        try:
            pwd.getpwnam("chronos")
            self.skipTest("this system has the user chronos")
        except KeyError:
            pass
        out = self.start("id", "-u", nopty=True, user="chronos").output()[0]
        self.assertEqual(int(out), os.getuid())
        response = self.client().request("id", target="penguin", user="chronos")
        self.assertEqual(response.status, FAILED)

    def test_a_container_by_name(self):
        out = self.start("id", "-u", nopty=True, target="penguin").output()[0]
        self.assertEqual(int(out), os.getuid())

    def test_refusals_name_the_user(self):
        for target in ("/vm_shell", "penguin"):
            peer = self.client()
            response = peer.request("true", target=target, user="no-such-user")
            self.assertEqual(response.status, FAILED)
            self.assertIn("no-such-user", response.description)
            self.assertEqual(peer.sock.recv(1), b"")

    def test_the_end_of_the_client_ends_the_command(self):
        peer = self.start("sleep", "1000", nopty=True)
        peer.sock.close()
        wait_until(lambda: not alive(peer.pid), "the command gets SIGHUP")


class NoSwitch(OurServer):
    """--noallow_to_switch_user: the original's rules for a vshd in somebody's account."""
    vshd_options = ["--noallow_to_switch_user", "--inherit_env"]

    def test_its_default_user_is_ours(self):
        out = self.start("sh", "-c", "echo $HOME $SHELL", nopty=True).output()[0]
        self.assertEqual(out, b"/ /bin/sh\n")

    def test_refusals_name_the_user(self):
        response = self.client().request("true", user="daemon")
        if pwd.getpwnam("daemon").pw_uid == os.getuid():
            self.skipTest("these tests run as daemon")
        self.assertEqual(response.status, FAILED)

    def test_the_daemons_environment_is_inherited(self):
        out = self.start("env", nopty=True).output()[0]
        self.assertIn(b"VMT_BIN=" if "VMT_BIN" in os.environ else b"PATH=", out)


class OurClient(unittest.TestCase):
    def setUp(self):
        self.path = os.path.join(FOLDER.name, "s")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.listener.settimeout(DEADLINE)
        self.addCleanup(os.unlink, self.path)
        self.addCleanup(self.listener.close)

    def start(self, *argv, options=(), stdin=subprocess.PIPE):
        self.vsh = subprocess.Popen([VSH, "--unix=" + self.path, *options, "--", *argv],
                                    stdin=stdin, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, env=dict(os.environ, TERM="vt52"))
        self.addCleanup(VshTest.reap, self.vsh)
        server = original.Server(self.listener, PB, DEADLINE)
        self.addCleanup(server.sock.close)
        return server

    def test_what_it_asks_for(self):
        server = self.start("A=1", "ls", "-l", options=["--user=bob", "--cwd=/tmp"])
        asked = server.asked
        self.assertEqual((asked.target, asked.user, list(asked.argv), asked.cwd, asked.nopty),
                         ("/vm_shell", "bob", ["ls", "-l"], "/tmp", True))
        self.assertEqual(dict(asked.env), {"A": "1", "TERM": "vt52"})
        server.answer()
        server.exited(0)
        self.assertEqual(self.vsh.wait(DEADLINE), 0)

    def test_data_both_ways(self):
        server = self.start("cat")
        server.answer()
        payload = os.urandom(300000)
        self.vsh.stdin.write(payload)
        self.vsh.stdin.close()
        got = b""
        while True:
            message = server.guest()
            self.assertEqual((message.data_message.stream, server.strange), (STDIN, 0))
            if not message.data_message.data:
                break
            got += message.data_message.data
        self.assertEqual(got, payload)
        server.data(STDOUT, b"out")
        server.data(STDERR, b"err")
        server.data(STDOUT, b"")
        server.exited(7)
        self.assertEqual((self.vsh.stdout.read(), self.vsh.stderr.read()), (b"out", b"err"))
        self.assertEqual(self.vsh.wait(DEADLINE), 7)

    def test_its_bare_signal_number_is_the_code(self):
        server = self.start("x")
        server.answer()
        server.exited(15)
        self.assertEqual(self.vsh.wait(DEADLINE), 15)

    def test_only_signals_that_it_knows(self):
        server = self.start("x", stdin=subprocess.DEVNULL)
        server.answer(pid=0)  # as before 2020
        self.assertEqual(server.guest().data_message.data, b"")
        self.vsh.send_signal(signal.SIGINT)
        self.assertEqual(server.guest().signal, 2)
        self.vsh.send_signal(signal.SIGQUIT)
        self.assertEqual(server.guest().signal, 3)
        server.exited(0)
        self.assertEqual(self.vsh.wait(DEADLINE), 0)

    def test_refused(self):
        server = self.start("x")
        server.answer(status=FAILED, description="only chronos is allowed", pid=0)
        self.assertEqual(self.vsh.wait(DEADLINE), 1)
        self.assertIn(b"only chronos", self.vsh.stderr.read())

    def test_failed_later_or_lost(self):
        for lost in (False, True):
            server = self.start("x")
            server.answer()
            if lost:
                server.sock.close()
            else:
                server.exited(0, status=FAILED)
            self.assertEqual(self.vsh.wait(DEADLINE), 123)


if __name__ == "__main__":
    unittest.main()
