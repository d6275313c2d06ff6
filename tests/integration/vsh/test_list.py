#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The list of sessions, what the log says of them, and their cgroups."""
import json
import os
import pwd
import socket
import subprocess
import tempfile
import time
import unittest

import original
from harness import DEADLINE, VSH, VshTest, wait_until

FOLDER = tempfile.TemporaryDirectory(prefix="vsh-original.")
PB = original.messages(FOLDER.name)


class List(VshTest):
    def list(self):
        done = subprocess.run([VSH, "--unix=" + self.socket, "--list", "--json"],
                              stdout=subprocess.PIPE, timeout=DEADLINE, check=True)
        return json.loads(done.stdout)

    def start(self, script, *options):
        child = self.spawn_vsh("sh", "-c", script, options=options,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.pid_there = int(child.stdout.readline())
        return child

    def logged(self):
        with open(self.log.name) as log:
            return log.read()

    def test_who_runs_what_since_when(self):
        self.assertEqual(self.list(), [])
        begin = int(time.time())
        child = self.start("echo $$; read x")
        peer = original.connect(self.socket, PB, DEADLINE)
        self.addCleanup(peer.sock.close)
        pid = peer.request("sleep", "1000").pid
        first, second = self.list()
        me = pwd.getpwuid(os.getuid())
        self.assertEqual((first["pid"], first["uid"], first["user"], first["command"],
                          first["tty"], first["forward"]),
                         (child.pid_there, me.pw_uid, me.pw_name, "sh", "", ""))
        self.assertTrue(begin <= first["since"] <= time.time())
        self.assertEqual((second["pid"], second["command"]), (pid, "sleep"))
        self.assertTrue(second["tty"].startswith("/dev/pts/"))
        self.assertGreater(second["id"], first["id"])
        table = subprocess.run([VSH, "--unix=" + self.socket, "--list"], check=True,
                               stdout=subprocess.PIPE, timeout=DEADLINE).stdout.decode()
        head, *rows = table.splitlines()
        self.assertEqual(head.split(), ["ID", "PID", "USER", "TTY", "SINCE", "COMMAND"])
        self.assertEqual([row.split()[1] for row in rows], [str(child.pid_there), str(pid)])
        child.stdin.close()
        peer.sock.close()
        child.wait(DEADLINE)
        wait_until(lambda: self.list() == [], "the list is empty again")

    def test_forwarded_connections_are_in_the_list(self):
        path = os.path.join(self.dir, "target")
        with socket.socket(socket.AF_UNIX) as target:
            target.bind(path)
            target.listen()
            here = os.path.join(self.dir, "here")
            child = self.start("echo $$; read x", "-L", f"{here}:{path}")
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(here)
                wait_until(lambda: [e["forward"] for e in self.list()] == ["", path],
                           "both are there")
            child.stdin.close()
            child.wait(DEADLINE)

    def test_the_log_says_who_did_what(self):
        child = self.start("echo $$; exit 3")
        child.wait(DEADLINE)
        wait_until(lambda: "closed: status=0x300" in self.logged(), "the end is logged")
        me = pwd.getpwuid(os.getuid())
        self.assertIn(f"opened: user={me.pw_name} uid={me.pw_uid} pid={child.pid_there} "
                      "tty=none command=sh", self.logged())

    def test_what_a_command_is_called_cannot_forge_the_log(self):
        name = os.path.join(self.dir, "a\nsession 99 opened: user=root")
        os.symlink("/bin/true", name)
        self.assertEqual(self.run_vsh(name).returncode, 0)
        self.assertNotIn("\nsession 99", self.logged())
        self.assertIn("\\x0asession 99", self.logged())

    def test_a_session_has_a_cgroup_of_its_own(self):
        child = self.start("echo $$; read x")
        group = self.list()[0]["cgroup"]
        if not group:
            child.stdin.close()
            self.skipTest("no cgroup v2 here in which we may make groups")
        with open(f"/proc/{child.pid_there}/cgroup") as cgroup:
            self.assertIn("0::" + group, cgroup.read())
        child.stdin.close()
        child.wait(DEADLINE)
        wait_until(lambda: not os.path.exists("/sys/fs/cgroup" + group), "it is removed")

    def test_an_old_guest_has_no_list(self):
        path = os.path.join(self.dir, "old")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            child = subprocess.Popen([VSH, "--unix=" + path, "--list"],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.addCleanup(self.reap, child)
            server = original.Server(listener, PB, DEADLINE)
            self.assertEqual(list(server.asked.argv), ["true"])
            server.answer()
            self.assertEqual(child.wait(DEADLINE), 1)
            self.assertIn(b"does not know", child.stderr.read())
            server.sock.close()


if __name__ == "__main__":
    unittest.main()
