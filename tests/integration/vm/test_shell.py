#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The shell server of a real guest, as the original's client and our own see it."""
import os
import pathlib
import socket
import subprocess
import sys
import unittest

import harness
from harness import BIN, PATIENCE, Case, eventually

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "vsh"))
import original  # noqa: E402

FORWARD_PORT = 5999


class Shell(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world.start("sh")
        cls.pb = original.messages(cls.world.root)
        transport = harness.info(cls.world, "sh")["transport"]
        kind, _, folder = transport.partition(":")
        assert kind == "hybrid", transport
        cls.folder = pathlib.Path(folder)

    def guest(self, script, check=0):
        return self.world.guest("sh", script, check=check)

    def vsh(self, *command, options=(), **keywords):
        keywords.setdefault("stdin", subprocess.DEVNULL)
        if "input" in keywords:
            del keywords["stdin"]
        return subprocess.run([BIN / "vsh", f"--vsock-dir={self.folder}", *options, "--",
                               *command], env=self.world.env, capture_output=True,
                              timeout=PATIENCE, check=False, **keywords)

    def client(self):
        """The original's vsh, connected to port 9001 of the guest."""
        peer = original.connect(self.folder / "vsock", self.pb, PATIENCE)
        self.addCleanup(peer.sock.close)
        peer.sock.sendall(b"CONNECT 9001\n")
        line = b""
        while not line.endswith(b"\n"):
            line += peer.sock.recv(1)
        self.assertTrue(line.startswith(b"OK "), line)
        return peer

    def test_the_originals_client(self):
        peer = self.client()
        response = peer.request("sh", "-c", "id -un; cat; exit 3", nopty=True, user="chronos",
                                env={"TERM": "xterm"})
        self.assertEqual((response.status, peer.strange), (original.READY, 0))
        peer.stdin(b"input")
        peer.stdin(b"")
        self.assertEqual(peer.output()[0], b"root\ninput")

    def test_a_login_shell_of_the_originals_client(self):
        peer = self.client()
        self.assertEqual(peer.request(window_rows=20, window_cols=70).status, original.READY)
        peer.stdin(b"echo $0 $(stty size) ${TERM}; exit 5\n")
        out, _, _, code = peer.output()
        self.assertIn(b"-bash 20 70 linux\r\n", out)
        self.assertEqual(code, 5)

    def test_users(self):
        for user, want in (("nobody", b"65534:/nonexistent:nobody:nobody"),
                           ("root", b"0:/root:root:root")):
            done = self.vsh("sh", "-c", 'echo "$(id -u):$HOME:$USER:$LOGNAME"; pwd; '
                            "test -n \"$PATH\"", options=[f"--user={user}"])
            self.assertEqual((done.returncode, done.stdout.split()[0]), (0, want))
        done = self.vsh("sh", "-c", "id -G; pwd", options=["--user=nobody"])
        self.assertEqual(done.stdout, b"65534\n/\n", "no group and no home of root's")
        done = self.vsh("true", options=["--user=ghost"])
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"ghost", done.stderr)
        self.guest("useradd -M -d /nowhere -s /no/shell noshell")
        done = self.vsh(options=["--user=noshell"])
        self.assertEqual(done.returncode, 127)
        self.assertIn(b"/no/shell", done.stderr)

    def test_a_session_to_a_port_of_the_host(self):
        # As garcon starts it in a container: one session, back to whoever waits for it.
        path = self.folder / f"vsock_{FORWARD_PORT}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(PATIENCE)
            self.guest(f"MARK=here /usr/lib/vm_tools/vshd --inherit_env --nolog_kmsg "
                       f"--forward_to_host_port={FORWARD_PORT} </dev/null >/dev/null 2>&1 &")
            sock, _ = listener.accept()
        path.unlink()
        with sock:
            sock.settimeout(PATIENCE)
            peer = original.Client(sock, self.pb)
            response = peer.request("sh", "-c", "echo $MARK $PPID", nopty=True,
                                    target="penguin")
            self.assertEqual(response.status, original.READY)
            out, _, _, code = peer.output()
        mark, daemon = out.split()
        self.assertEqual((mark, code), (b"here", 0))
        eventually("it ends with its session",
                   lambda: not self.guest(f"kill -0 {int(daemon)} 2>/dev/null && echo alive", None))
        path = self.folder / f"vsock_{FORWARD_PORT + 1}"
        self.guest("! /usr/lib/vm_tools/vshd --nolog_kmsg "
                   f"--forward_to_host_port={FORWARD_PORT + 1} 2>/dev/null")

    def test_much_data_both_ways(self):
        payload = os.urandom(1 << 20) * 8
        done = self.vsh("cat", input=payload)
        self.assertEqual((done.returncode, done.stdout == payload), (0, True))


if __name__ == "__main__":
    harness.main()
