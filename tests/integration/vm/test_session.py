#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Sessions in a VM by its name: exit codes, terminals, and what follows a lost connection."""
import json
import os
import pty
import select
import subprocess
import termios
import time
import unittest

import harness


class Session(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world.start("box")

    def start_again(self):
        """The daemon may not be done with the last one yet."""
        harness.eventually("box runs", lambda: self.world.start(
            "box", check=None).returncode == 0)

    def run_in(self, program, *args, **keywords):
        return subprocess.run([harness.BIN / program, *args], env=self.world.env,
                              capture_output=True, timeout=harness.PATIENCE, check=False,
                              **keywords)

    def open(self, program, *args):
        """A program on a terminal of its own."""
        self.master, self.slave = pty.openpty()
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)
        self.mode = termios.tcgetattr(self.slave)
        self.screen = b""
        child = subprocess.Popen([harness.BIN / program, *args], env=self.world.env,
                                 stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                 start_new_session=True)
        self.addCleanup(self.reap, child)
        return child

    @staticmethod
    def reap(child):
        if child.poll() is None:
            child.kill()
        child.wait()

    def expect(self, text):
        end = time.monotonic() + harness.PATIENCE
        while text not in self.screen:
            left = end - time.monotonic()
            if left < 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError(f"no {text!r} on the screen: {self.screen!r}")
            self.screen += os.read(self.master, 65536)
        before, self.screen = self.screen.split(text, 1)
        return before

    def send(self, text):
        os.write(self.master, text)

    def ask(self, mark):
        """Let the shell print something that its echo does not hold."""
        self.send(b"echo %s$((40+2))\n" % mark)
        self.expect(b"%s42\r\n" % mark)

    def test_01_codes_come_back_by_every_way(self):
        for words in (["vmc", "shell", "box", "--"], ["vmc", "exec", "box", "--"],
                      ["vsh", "--vm_name=box", "--"]):
            for script, code in (("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)):
                self.assertEqual(self.run_in(*words, "sh", "-c", script).returncode, code)
            self.assertEqual(self.run_in(*words, "no-such-program").returncode, 127)
            self.assertEqual(self.run_in(*words, "/etc/passwd").returncode, 126)
            done = self.run_in(*words, "A=1", "B=x=y", "sh", "-c", "echo $A-$B")
            self.assertEqual(done.stdout, b"1-x=y\n")

    def test_02_stdin_of_every_kind(self):
        path = self.world.root / "input"
        path.write_bytes(b"from a file\n" * 1000)
        with open(path, "rb") as file:
            self.assertEqual(self.run_in("vmc", "exec", "box", "--", "wc", "-l",
                                         stdin=file).stdout, b"1000\n")
        self.assertEqual(self.run_in("vmc", "exec", "-n", "box", "--", "wc", "-l",
                                     input=b"left alone\n").stdout, b"0\n")
        self.assertEqual(self.run_in("vmc", "exec", "box", "--", "wc", "-c",
                                     stdin=subprocess.DEVNULL).stdout, b"0\n")
        closed = f"exec <&-; exec {harness.BIN}/vmc exec box -- wc -c"
        self.assertEqual(subprocess.run(["sh", "-c", closed], env=self.world.env, check=False,
                                        capture_output=True).stdout, b"0\n")
        done = self.run_in("vmc", "exec", "-t", "box", "--", "tty", stdin=subprocess.DEVNULL)
        self.assertIn(b"/dev/pts/", done.stdout)

    def test_03_a_reader_that_leaves_ends_it_as_a_broken_pipe(self):
        script = f"{harness.BIN}/vmc exec box -- yes | head -n 1; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], env=self.world.env, capture_output=True,
                              timeout=harness.PATIENCE, check=False)
        self.assertEqual(done.stdout, b"y\n141\n")

    def test_04_the_escape_leaves(self):
        child = self.open("vmc", "shell", "box")
        self.ask(b"here")
        self.send(b"\r~.")
        self.expect(b"left the session")
        self.assertEqual(child.wait(harness.PATIENCE), 123)
        self.assertEqual(termios.tcgetattr(self.slave), self.mode)

    def test_05_without_a_terminal_the_end_of_the_vm_is_explained(self):
        child = subprocess.Popen([harness.BIN / "vmc", "exec", "box", "--", "sh", "-c",
                                  "echo ready; exec sleep 1000"], env=self.world.env,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        self.addCleanup(self.reap, child)
        self.assertEqual(child.stdout.readline(), b"ready\n")
        os.kill(harness.info(self.world, "box")["pid"], 9)
        said = child.communicate(timeout=harness.PATIENCE)[1]
        self.assertEqual(child.returncode, 123)
        self.assertIn(b"lost", said)
        self.start_again()
        self.assertIn(b"box ended: killed", said)

    def test_05b_a_connection_lost_while_the_vm_runs_is_told_as_that(self):
        pid = harness.info(self.world, "box")["pid"]
        done = self.run_in("vmc", "exec", "box", "--", "sh", "-c",
                           "kill -9 $PPID; exec sleep 1000")  # vshd is the parent
        self.assertEqual(done.returncode, 123)
        self.assertIn(b"connection to the guest lost", done.stderr)
        self.assertIn(b"box runs; its connections were cut", done.stderr)
        # The VM is the same, and its vshd was started again.
        self.assertEqual(self.run_in("vmc", "exec", "box", "--", "echo", "back").stdout,
                         b"back\n")
        self.assertEqual(harness.info(self.world, "box")["pid"], pid)

    def spawn(self, *options):
        """A command in box that says ready; the process and the command's pid in the guest."""
        child = subprocess.Popen([harness.BIN / "vsh", *options, "--", "sh", "-c",
                                  "echo $$; exec cat"], env=self.world.env,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        self.addCleanup(lambda: [f.close() for f in (child.stdin, child.stdout, child.stderr)])
        self.addCleanup(self.reap, child)
        return child, int(child.stdout.readline())

    def gone(self, pid):
        harness.eventually("the command got SIGHUP", lambda: self.world.vmc(
            "exec", "box", "--", "test", "-e", f"/proc/{pid}", check=None).returncode == 1)

    def folder(self):
        return "--vsock-dir=" + harness.info(self.world, "box")["transport"].split(":")[1]

    def test_05c_a_killed_vsock_device_ends_sessions_at_both_ends(self):
        child, pid = self.spawn("--vm_name=box")
        cid = harness.info(self.world, "box")["cid"]
        os.kill(self.world.processes("vm_vsock", f"--guest-cid={cid}", "--worker-fd=")[0], 9)
        said = child.communicate(timeout=harness.PATIENCE)[1]
        self.assertEqual((child.returncode, b"connection to the guest lost" in said), (123, True))
        self.gone(pid)

    def test_05d_a_guest_that_stands_still_is_told_from_a_suspended_one(self):
        named, _ = self.spawn("--vm_name=box", "--keepalive=2")
        # Nobody can say for this one that its VM is suspended.
        placed, pid = self.spawn(self.folder(), "--keepalive=2")
        self.world.vmc("suspend", "box")
        try:
            said = placed.communicate(timeout=harness.PATIENCE)[1]
            self.assertEqual((placed.returncode, b"does not answer any more" in said), (123, True))
            self.assertIsNone(named.poll())
        finally:
            self.world.vmc("resume", "box")
        self.assertEqual(named.communicate(b"still here\n", timeout=harness.PATIENCE),
                         (b"still here\n", b""))
        self.assertEqual(named.returncode, 0)
        self.gone(pid)

    def test_06_a_new_shell_when_the_vm_is_back(self):
        child = self.open("vmc", "shell", "--reconnect", "box")
        self.ask(b"first")
        os.kill(harness.info(self.world, "box")["pid"], 9)
        self.expect(b"box ended: killed")
        self.expect(b"waiting for box")
        self.assertEqual(termios.tcgetattr(self.slave), self.mode)
        self.start_again()
        self.ask(b"second")
        self.send(b"exit 5\n")
        self.assertEqual(child.wait(harness.PATIENCE), 5)

    def test_07_enter_opens_it_and_control_c_does_not(self):
        child = self.open("vsh", "--vm_name=box")
        self.ask(b"first")
        os.kill(harness.info(self.world, "box")["pid"], 9)
        self.expect(b"Enter opens a new session")
        self.start_again()
        self.send(b"\n")
        self.ask(b"second")
        os.kill(harness.info(self.world, "box")["pid"], 9)
        self.expect(b"Enter opens a new session")
        os.kill(child.pid, 2)
        self.assertEqual(child.wait(harness.PATIENCE), 123)
        self.assertEqual(termios.tcgetattr(self.slave), self.mode)

    def test_08_ps_tells_who_is_there(self):
        self.start_again()
        child = subprocess.Popen([harness.BIN / "vmc", "exec", "box", "--", "sleep", "1000"],
                                 env=self.world.env, stdin=subprocess.DEVNULL)
        self.addCleanup(self.reap, child)
        harness.eventually("it is listed", lambda: any(
            s["command"].startswith("sleep") for s in json.loads(
                self.world.vmc("ps", "--json", "box").stdout)))
        self.assertRegex(self.world.vmc("ps", "box").stdout, r"(?m)^ID +PID .*\n(.*\n)*.* sleep")

    @unittest.skipIf(os.getuid() != 0, "needs root to put a folder in the place of /run")
    def test_09_a_vm_that_our_daemon_does_not_know_may_be_the_system_s(self):
        """Another world's daemon is ours; the one that has the VM is where the system's is."""
        self.start_again()
        ours = self.world.root / "ours"
        ours.mkdir(mode=0o700)
        env = dict(self.world.env, XDG_RUNTIME_DIR=str(ours))
        subprocess.run([harness.BIN / "vmc", "list"], env=env, check=True, capture_output=True)
        script = (f"mount -t tmpfs t /run && mkdir /run/vm_tools && "
                  f"ln -s {self.world.runtime}/concierge.sock /run/vm_tools && exec \"$@\"")

        def vsh(name):
            done = subprocess.run(
                ["unshare", "-m", "sh", "-c", script, "sh", harness.BIN / "vsh",
                 "--vm_name=" + name, "--", "echo", "hello"], env=env, capture_output=True,
                text=True, stdin=subprocess.DEVNULL, timeout=harness.PATIENCE, check=False)
            return done.returncode, done.stdout, done.stderr

        self.assertEqual(vsh("box"), (0, "hello\n", ""))
        self.assertEqual(vsh("nobody"), (1, "", "vsh: no VM named nobody runs\n"))


if __name__ == "__main__":
    harness.main()
