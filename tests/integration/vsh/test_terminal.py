#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vsh and vshd with a terminal."""
import fcntl
import os
import pty
import pwd
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from harness import DEADLINE, VshTest, alive, no_core_files, wait_until


class Terminal(VshTest):
    options = ()

    def open(self, *command, rows=24, cols=80):
        """Start vsh on a terminal of its own; returns the process."""
        self.master, self.slave = pty.openpty()
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, self.slave)
        self.resize(rows, cols)
        self.mode = termios.tcgetattr(self.slave)
        self.screen = b""
        return self.spawn_vsh(*command, options=self.options, stdin=self.slave, stdout=self.slave,
                              stderr=self.slave, start_new_session=True)

    def resize(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def expect(self, text):
        """Read the screen until it shows text; what is before it is gone then."""
        end = time.monotonic() + DEADLINE
        while text not in self.screen:
            left = end - time.monotonic()
            if left < 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError("no %r on the screen: %r" % (text, self.screen))
            self.screen += os.read(self.master, 65536)
        before, self.screen = self.screen.split(text, 1)
        return before

    def send(self, text):
        os.write(self.master, text)

    def restored(self):
        return termios.tcgetattr(self.slave) == self.mode

    def test_the_command_has_a_terminal_of_the_right_size(self):
        child = self.open("sh", "-c", "tty; stty size; echo $TERM; echo end", rows=31, cols=99)
        before = self.expect(b"end")
        self.assertIn(b"/dev/pts/", before)
        self.assertIn(b"31 99\r\n", before)
        self.assertEqual(child.wait(DEADLINE), 0)
        self.assertTrue(self.restored())

    def test_a_new_size_gets_through(self):
        child = self.open("sh", "-c", "trap 'stty size' WINCH; echo ready; "
                          "while :; do sleep 0.05; done")
        self.expect(b"ready")
        self.resize(50, 132)
        child.send_signal(signal.SIGWINCH)
        self.expect(b"50 132")
        self.send(b"\x03")
        self.assertEqual(child.wait(DEADLINE), 128 + signal.SIGINT)

    def test_a_login_shell_without_a_command(self):
        shell = pwd.getpwuid(os.getuid()).pw_shell
        if os.path.basename(shell) in ("nologin", "false"):
            self.skipTest("this user has no login shell")
        child = self.open("PS1=prompt> ", "ENV=", "HOME=/nonexistent")
        self.send(b"echo shell=$0=; exit 9\n")
        self.expect(b"shell=-")
        self.assertEqual(child.wait(DEADLINE), 9)
        self.assertTrue(self.restored())

    def test_control_c_interrupts_the_command_only(self):
        child = self.open("sh", "-c", "trap 'echo caught; exit 3' INT; echo ready; "
                          "while :; do sleep 0.05; done")
        self.expect(b"ready")
        self.send(b"\x03")
        self.expect(b"caught")
        self.assertEqual(child.wait(DEADLINE), 3)
        self.assertTrue(self.restored())

    def test_control_d_ends_input(self):
        child = self.open("sh", "-c", "echo ready; cat; exit 4")
        self.expect(b"ready")
        self.send(b"text\n\x04")
        self.assertEqual(child.wait(DEADLINE), 4)

    def test_control_z_stops_the_remote_job(self):
        child = self.open("bash", "--norc", "-i")
        self.send(b"PS1='p''s> '\n")
        self.expect(b"ps> ")
        self.send(b"sed -u s/^/got-/\n")
        self.send(b"hello\n")
        self.expect(b"got-hello\r\n")
        self.send(b"\x1a")
        self.expect(b"Stopped")
        self.expect(b"ps> ")
        self.assertIsNone(child.poll())
        self.send(b"exit 2\n")
        self.expect(b"stopped jobs")
        self.expect(b"ps> ")
        self.send(b"exit 2\n")
        self.assertEqual(child.wait(DEADLINE), 2)

    def test_characters_split_over_reads_arrive_whole(self):
        child = self.open("sh", "-c", "stty -echo raw; echo ready; head -c 9; echo end")
        self.expect(b"ready")
        for byte in "äöü€".encode():
            self.send(bytes([byte]))
        self.assertIn("äöü€".encode(), self.expect(b"end"))
        self.assertEqual(child.wait(DEADLINE), 0)

    def test_the_mode_is_restored_when_vsh_is_told_to_end(self):
        child = self.open("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
        self.expect(b"ready")
        wait_until(lambda: not self.restored(), "raw mode")

        def insist():
            child.terminate()
            return child.poll() is not None
        wait_until(insist, "vsh gives up")
        self.assertTrue(self.restored())

    def test_the_mode_is_restored_when_the_connection_is_lost(self):
        child = self.open("sh", "-c", "echo ready; exec sleep 1000")
        self.expect(b"ready")
        self.vshd.kill()
        self.expect(b"lost")
        self.assertEqual(child.wait(DEADLINE), 123)
        self.assertTrue(self.restored())

    def test_the_mode_is_restored_when_vsh_crashes(self):
        no_core_files()
        child = self.open("sh", "-c", "echo ready; exec sleep 1000")
        self.expect(b"ready")
        wait_until(lambda: not self.restored(), "raw mode")
        child.send_signal(signal.SIGABRT)
        self.assertEqual(child.wait(DEADLINE), -signal.SIGABRT)
        self.assertTrue(self.restored())

    def test_the_mode_is_usable_while_vsh_is_stopped(self):
        child = self.open("sh", "-c", "echo ready; cat")
        self.expect(b"ready")
        wait_until(lambda: not self.restored(), "raw mode")
        child.send_signal(signal.SIGTSTP)
        wait_until(self.restored, "mode restored")
        child.send_signal(signal.SIGCONT)
        wait_until(lambda: not self.restored(), "raw mode again")
        self.send(b"\x04")
        self.assertEqual(child.wait(DEADLINE), 0)

    def test_a_background_job_on_the_terminal_does_not_hold_the_session(self):
        child = self.open("bash", "-c", "trap '' HUP; sleep 1000 & echo pid=$!.; exit 8")
        self.expect(b"pid=")
        pid = int(self.expect(b"."))
        try:
            self.assertEqual(child.wait(DEADLINE), 8)
        finally:
            os.kill(pid, signal.SIGKILL)

    def test_all_output_before_the_exit_is_shown(self):
        child = self.open("sh", "-c", "seq 1 20000; echo last; exit 3")
        self.assertIn(b"\r\n20000\r\n", self.expect(b"last"))
        self.assertEqual(child.wait(DEADLINE), 3)

    def test_the_escape_leaves_a_session_that_does_not_answer(self):
        child = self.open("sh", "-c", "stty raw -echo; trap '' INT TERM; echo pid=$$.; sleep 1000")
        self.expect(b"pid=")
        pid = int(self.expect(b"."))
        self.send(b"~")
        self.send(b".")
        self.expect(b"left the session")
        self.assertEqual(child.wait(DEADLINE), 123)
        self.assertTrue(self.restored())
        wait_until(lambda: not alive(pid), "the command hangs up")

    def test_the_escape_explains_itself_and_can_be_sent(self):
        child = self.open("sh", "-c", "stty raw -echo; echo ready; head -c 4; echo over")
        self.expect(b"ready")
        self.send(b"~?")
        self.expect(b"leave the session")
        self.send(b"~~a~b")
        self.assertTrue(self.expect(b"over").endswith(b"~a~b"))
        self.assertEqual(child.wait(DEADLINE), 0)

    def test_the_escape_suspends_vsh_and_it_goes_on(self):
        child = self.open("sh", "-c", "echo ready; cat")
        self.expect(b"ready")
        self.send(b"~\x1a")
        wait_until(self.restored, "mode restored")
        self.assertEqual(os.waitpid(child.pid, os.WUNTRACED)[1] & 0xff, 0x7f)
        child.send_signal(signal.SIGCONT)
        wait_until(lambda: not self.restored(), "raw mode again")
        self.send(b"\x04")
        self.assertEqual(child.wait(DEADLINE), 0)

    def test_another_escape_or_none(self):
        self.options = ["--escape=none"]
        child = self.open("sh", "-c", "stty raw -echo; echo ready; head -c 3; echo end")
        self.expect(b"ready")
        self.send(b"~.x")
        self.assertTrue(self.expect(b"end").endswith(b"~.x"))
        self.assertEqual(child.wait(DEADLINE), 0)

    def test_a_terminal_can_be_asked_for_or_refused(self):
        done = self.run_vsh("tty", options=["--tty"])
        self.assertIn(b"/dev/pts/", done.stdout)
        self.options = ["--no-tty"]
        child = self.open("sh", "-c", "tty; echo end")
        self.assertIn(b"not a tty", self.expect(b"end"))
        self.assertEqual(child.wait(DEADLINE), 0)

    def test_stdin_is_left_alone_when_asked_to(self):
        done = self.run_vsh("cat", options=["--no-stdin"], input=b"not for the guest")
        self.assertEqual((done.stdout, done.returncode), (b"", 0))

    def test_no_terminal_when_stdout_is_none(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        done = self.run_vsh("sh", "-c", "tty || true", stdin=slave, stdout=subprocess.PIPE)
        self.assertEqual(done.stdout, b"not a tty\n")


if __name__ == "__main__":
    unittest.main()
