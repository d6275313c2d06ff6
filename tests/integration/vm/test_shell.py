#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The shell server of a real guest, as the original's client and our own see it."""
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
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

    def hold(self, *options, vm=None):
        """A vsh that only forwards; it runs until the test ends."""
        child = subprocess.Popen([BIN / "vsh", vm or f"--vsock-dir={self.folder}", *options,
                                  "-N"],
                                 env=self.world.env, stdin=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE)

        def end():
            child.terminate()
            child.wait(PATIENCE)
            child.stderr.close()
        self.addCleanup(end)
        return child

    def connect(self, path):
        """Connect to a unix socket as soon as it is there."""
        def attempt():
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(PATIENCE)
            try:
                s.connect(str(path))
            except OSError:
                s.close()
                return None
            return s
        s = eventually(f"somebody listens at {path}", attempt)
        self.addCleanup(s.close)
        return s

    @staticmethod
    def through(s, data):
        """Send data and its end; what comes back until that ends, too."""
        sender = threading.Thread(target=lambda: (s.sendall(data),
                                                  s.shutdown(socket.SHUT_WR)))
        sender.start()
        got = b""
        while piece := s.recv(65536):
            got += piece
        sender.join()
        return got

    def test_forwarding_both_ways(self):
        # Bytes go from here to the guest, there from one forwarded socket to another, and back
        # here: each direction of each kind carries everything, and its end.
        here, back = self.world.root / "here", self.world.root / "back"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(back))
            listener.listen()
            listener.settimeout(PATIENCE)
            child = self.hold("-L", f"{here}:/run/loop", "-R", f"/run/loop:{back}",
                              "--user=root")
            guest_end = self.connect(here)
            our_end, _ = listener.accept()
        data = os.urandom(1 << 20) * 4
        with our_end:
            our_end.settimeout(PATIENCE)
            echoed = []
            other = threading.Thread(target=lambda: echoed.append(self.through(our_end, data)))
            other.start()
            self.assertEqual(self.through(guest_end, data[::-1]) == data, True)
            other.join()
        self.assertEqual(echoed[0] == data[::-1], True)
        self.assertEqual(self.guest("stat -c %a /run/loop"), "600")
        child.terminate()
        child.wait(PATIENCE)
        eventually("nothing is left", lambda: not here.exists()
                   and self.guest("test -e /run/loop || echo gone") == "gone")

    def test_forwarding_has_the_rights_of_the_user(self):
        here = self.world.root / "denied"
        self.guest("mkdir -m 700 /root/private")
        child = self.hold("--user=nobody", "-L", f"{here}:/root/private/s")
        s = self.connect(here)
        self.assertEqual(s.recv(1), b"")
        self.assertIn(b"Permission denied", child.stderr.readline())
        done = self.vsh("true", options=["--user=nobody", "-R", "/root/private/s:/x"])
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"Permission denied", done.stderr)
        done = self.vsh("true", options=["--user=nobody", "-R", "80:localhost:1"])
        self.assertEqual((done.returncode, b"Permission denied" in done.stderr), (1, True))

    def test_forwarding_outlives_a_vshd(self):
        here, back = self.world.root / "again", self.world.root / "again-back"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(back))
            listener.listen()
            listener.settimeout(PATIENCE)
            child = self.hold("--reconnect", "-L", f"{here}:/run/again",
                              "-R", f"/run/again:{back}", vm="--vm_name=sh")
            for round in range(2):
                s = self.connect(here)
                s.sendall(b"%d" % round)
                peer, _ = listener.accept()
                with peer:
                    peer.settimeout(PATIENCE)
                    self.assertEqual(peer.recv(1), b"%d" % round)
                    if round == 0:
                        self.vsh("sh", "-c", "kill -9 $PPID")
                        eventually("vsh says it", lambda: b"lost" in child.stderr.readline())
                        eventually("the guest listens again", lambda: self.vsh(
                            "test", "-S", "/run/again").returncode == 0)

    def test_names_are_looked_up_by_the_guest(self):
        # A name that only the guest's /etc/hosts knows leads to its loopback, where a socket
        # that is forwarded to us listens.
        here, back = self.world.root / "name", self.world.root / "name-back"
        self.guest("echo 127.0.0.1 only-here >> /etc/hosts; ip link set lo up")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(back))
            listener.listen()
            listener.settimeout(PATIENCE)
            child = self.hold("-R", f"0:{back}")
            port = int(child.stderr.readline().split()[-1])
            self.hold("-L", f"{here}:only-here:{port}")
            s = self.connect(here)
            s.sendall(b"hello")
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(PATIENCE)
                self.assertEqual(peer.recv(5, socket.MSG_WAITALL), b"hello")

    def test_the_list_and_a_group_for_each_session(self):
        child = subprocess.Popen([BIN / "vsh", "--vm_name=sh", "--user=nobody", "--", "sh", "-c",
                                  "echo $$; cat /proc/self/cgroup; echo; read x"],
                                 env=self.world.env, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        try:
            lines = list(iter(child.stdout.readline, b"\n"))
            listed = json.loads(self.vsh(options=["--list", "--json"]).stdout)
            mine = [s for s in listed if s["pid"] == int(lines[0])]
            self.assertEqual([(s["user"], s["command"]) for s in mine], [("nobody", "sh")])
            self.assertTrue(mine[0]["cgroup"])
            self.assertIn(b"0::" + mine[0]["cgroup"].encode() + b"\n", lines)
            self.assertIn(f"user=nobody uid=65534 pid={mine[0]['pid']} tty=none command=sh",
                          self.guest("dmesg"))
        finally:
            child.stdin.close()
            child.stdout.close()
            child.wait(PATIENCE)
        eventually("its group is removed", lambda: self.guest(
            f"test -e /sys/fs/cgroup{mine[0]['cgroup']} || echo gone") == "gone")

    def resident(self):
        """KiB of memory that the guest's vshd has."""
        return int(self.guest("for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" = vshd ] && "
                              "grep VmRSS $p/status; done | head -1").split()[1])

    def test_two_hundred_sessions_at_once(self):
        before = self.resident()
        peers = []
        for i in range(200):
            peer = self.client()
            peers.append(peer)
            self.assertEqual(peer.request("cat", nopty=True).status, original.READY)
            peer.stdin(b"%d" % i)
        for i, peer in enumerate(peers):
            self.assertEqual(peer.receive(self.pb.HostMessage).data_message.data, b"%d" % i)
        self.assertLess(self.resident() - before, 4 << 10)
        for peer in peers:
            peer.stdin(b"")
        self.assertEqual([peer.output()[3] for peer in peers], [0] * 200)

    def test_slow_readers_cost_a_bounded_amount(self):
        before = self.resident()
        slow = [self.client() for _ in range(20)]
        for peer in slow:
            self.assertEqual(peer.request("yes", nopty=True).status, original.READY)
        # Each command stops in write when nobody takes what it has to say.
        eventually("all wait", lambda: self.guest(
            "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" = yes ] && "
            "cat $p/wchan && echo; done | grep -c pipe", None) == "20")
        self.assertLess(self.resident() - before, 20 * 700)
        for peer in slow:
            peer.sock.close()
        eventually("all end", lambda: self.guest("pidof yes", None) == "")

    def test_much_data_both_ways(self):
        # Beyond 4 GiB by VMT_VSH_MIB=4097: minutes under emulation.
        mib = int(os.environ.get("VMT_VSH_MIB", "16"))
        block = os.urandom(1 << 20)
        child = subprocess.Popen([BIN / "vsh", f"--vsock-dir={self.folder}", "--", "cat"],
                                 env=self.world.env, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        sent, got = hashlib.sha256(), hashlib.sha256()

        def feed():
            for i in range(mib):
                piece = i.to_bytes(8, "little") + block[8:]
                sent.update(piece)
                child.stdin.write(piece)
            child.stdin.close()
        feeder = threading.Thread(target=feed)
        feeder.start()
        while piece := child.stdout.read(1 << 20):
            got.update(piece)
        feeder.join()
        child.stdout.close()
        self.assertEqual(child.wait(PATIENCE), 0)
        self.assertEqual(got.hexdigest(), sent.hexdigest())


if __name__ == "__main__":
    harness.main()
