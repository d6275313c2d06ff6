#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vsh and vshd without a terminal."""
import hashlib
import os
import pwd
import signal
import socket
import subprocess
import threading
import unittest

from harness import DEADLINE, VSH, VshTest, alive, wait_until

BIG = 100 * 1024 * 1024


class ExitCodes(VshTest):
    def test_codes_of_commands(self):
        for code in (0, 1, 3, 122, 255):
            self.assertEqual(self.run_vsh("sh", "-c", "exit %d" % code).returncode, code)

    def test_signals_of_commands(self):
        for sig in range(1, 32):
            if sig in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU,
                       signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH):
                continue  # do not kill
            done = self.run_vsh("sh", "-c", "ulimit -c 0; kill -%d $$" % sig)
            self.assertEqual(done.returncode, 128 + sig, "signal %d" % sig)

    def test_commands_that_cannot_be_run(self):
        missing = self.run_vsh("no-such-command")
        self.assertEqual(missing.returncode, 127)
        self.assertIn(b"no-such-command", missing.stderr)
        self.assertIn(b"No such file", missing.stderr)
        plain = os.path.join(self.dir, "plain")
        with open(plain, "w") as out:
            out.write("#!/bin/sh\n")
        refused = self.run_vsh(plain)
        self.assertEqual(refused.returncode, 126)
        self.assertIn(b"Permission denied", refused.stderr)

    def test_local_errors(self):
        nobody = subprocess.run([VSH, "--unix=/nonexistent/socket", "--", "true"],
                                stderr=subprocess.PIPE, timeout=DEADLINE)
        self.assertEqual(nobody.returncode, 1)
        self.assertIn(b"/nonexistent/socket", nobody.stderr)
        for arguments in ([], ["--cid=2"], ["--cid=x"], ["--nonsense"],
                          ["--cid=3", "--unix=/x"]):
            done = subprocess.run([VSH, *arguments], stderr=subprocess.PIPE,
                                  timeout=DEADLINE)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertEqual(done.stderr.count(b"\n"), 1, arguments)

    def test_a_stopped_command_stays_in_its_session(self):
        child = self.spawn_vsh("sh", "-c", "echo $$; kill -STOP $$; exit 5",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        pid = int(child.stdout.readline())

        def stopped():
            with open("/proc/%d/stat" % pid) as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "T"
        wait_until(stopped, "the command stops")
        self.assertIsNone(child.poll())
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(child.wait(DEADLINE), 5)


class Data(VshTest):
    def test_much_data_both_ways_at_once(self):
        block = os.urandom(1024 * 1024)
        child = self.spawn_vsh("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        sent = hashlib.sha256()

        def feed():
            for i in range(BIG // len(block)):
                piece = bytes([i & 255]) + block[1:]
                sent.update(piece)
                child.stdin.write(piece)
            child.stdin.close()
        feeder = threading.Thread(target=feed)
        feeder.start()
        got, total = hashlib.sha256(), 0
        while chunk := child.stdout.read(1 << 20):
            got.update(chunk)
            total += len(chunk)
        feeder.join()
        self.assertEqual(child.wait(DEADLINE), 0)
        self.assertEqual(total, BIG)
        self.assertEqual(got.digest(), sent.digest())

    def test_both_directions_full_do_not_lock_up(self):
        # The command neither reads until its output is read nor the other way round.
        script = "head -c 8000000 /dev/zero; wc -c"
        child = self.spawn_vsh("sh", "-c", script, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
        feeder = threading.Thread(target=lambda: (child.stdin.write(b"x" * 8000000),
                                                  child.stdin.close()))
        feeder.start()
        feeder.join(1)  # let both directions fill up; correct either way
        out = child.stdout.read()
        feeder.join()
        self.assertEqual(len(out.rstrip(b"\n0123456789")), 8000000)
        self.assertTrue(out.endswith(b"8000000\n"))
        self.assertEqual(child.wait(DEADLINE), 0)

    def test_stdout_and_stderr_stay_apart(self):
        done = self.run_vsh("sh", "-c", "echo out; echo err >&2")
        self.assertEqual((done.stdout, done.stderr), (b"out\n", b"err\n"))

    def test_all_output_of_a_command_that_ends_at_once(self):
        for _ in range(20):
            done = self.run_vsh("sh", "-c", "head -c 300000 /dev/zero; exit 3")
            self.assertEqual((len(done.stdout), done.returncode), (300000, 3))

    def test_a_reader_that_leaves_ends_it(self):
        child = self.spawn_vsh("sh", "-c", "echo $$; exec yes", stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE)
        pid = int(child.stdout.readline())
        child.stdout.close()
        self.assertEqual(child.wait(DEADLINE), 128 + signal.SIGPIPE)
        wait_until(lambda: not alive(pid), "the command ends")

    def test_a_closed_stdout_of_the_command_is_closed_here(self):
        child = self.spawn_vsh("sh", "-c", "echo a; exec >&-; read x; exit 4",
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(child.stdout.read(), b"a\n")  # ends although vsh still runs
        self.assertIsNone(child.poll())
        child.stdin.close()
        self.assertEqual(child.wait(DEADLINE), 4)

    def test_background_jobs_do_not_hold_the_session(self):
        child = self.spawn_vsh("sh", "-c", "sleep 1000 & echo $!; exit 6",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        pid = int(child.stdout.readline())
        try:
            self.assertEqual(child.wait(DEADLINE), 6)
            self.assertTrue(alive(pid))
        finally:
            os.kill(pid, signal.SIGKILL)

    def test_a_chatty_background_job_does_not_hold_it_either(self):
        child = self.spawn_vsh("sh", "-c", "yes & echo $! >&2; exit 6",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
        while child.stdout.read(1 << 20):
            pass
        self.assertEqual(child.wait(DEADLINE), 6)
        wait_until(lambda: not alive(int(child.stderr.readline() or 0)), "yes ends")

    def test_a_command_that_does_not_read_loses_its_input_quietly(self):
        done = self.run_vsh("sh", "-c", "exec <&-; echo ok", input=b"x" * 3000000)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"ok\n", b""))


class Stdin(VshTest):
    def check(self, expected, **keywords):
        done = self.run_vsh("wc", "-c", **keywords)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, expected))

    def test_file(self):
        path = os.path.join(self.dir, "file")
        with open(path, "wb") as out:
            out.write(b"x" * 1234567)
        with open(path, "rb") as file:
            self.check(b"1234567", stdin=file)

    def test_pipe(self):
        self.check(b"70000", input=b"x" * 70000)

    def test_fifo(self):
        path = os.path.join(self.dir, "fifo")
        os.mkfifo(path)

        def feed():
            with open(path, "wb") as out:
                out.write(b"x" * 100000)
        feeder = threading.Thread(target=feed)
        feeder.start()
        with open(path, "rb") as fifo:
            self.check(b"100000", stdin=fifo)
        feeder.join()

    def test_socket(self):
        ours, theirs = socket.socketpair()
        feeder = threading.Thread(
            target=lambda: (ours.sendall(b"x" * 500000), ours.close()))
        feeder.start()
        self.check(b"500000", stdin=theirs)
        feeder.join()
        theirs.close()

    def test_null(self):
        self.check(b"0", stdin=subprocess.DEVNULL)

    def test_directory(self):
        fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        done = self.run_vsh("wc", "-c", stdin=fd)
        os.close(fd)
        self.assertEqual(done.stdout.strip(), b"0")
        self.assertIn(b"Is a directory", done.stderr)

    def test_closed(self):
        done = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *self.argv("wc", "-c")],
                              stdout=subprocess.PIPE, timeout=DEADLINE)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, b"0"))

    def test_the_mode_of_a_shared_pipe_is_left_alone(self):
        reader, writer = os.pipe()
        child = self.spawn_vsh("cat", stdin=reader, stdout=subprocess.PIPE)
        os.write(writer, b"x")
        self.assertEqual(child.stdout.read(1), b"x")
        self.assertTrue(os.get_blocking(reader))
        os.close(writer)
        os.close(reader)
        self.assertEqual(child.wait(DEADLINE), 0)


class Signals(VshTest):
    def test_signals_reach_the_group(self):
        for sig in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            child = self.spawn_vsh(
                "sh", "-c", "ulimit -c 0; trap 'exit %d' %d; echo x; "
                "while :; do sleep 0.05; done" % (sig + 50, sig),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            child.stdout.readline()
            child.send_signal(sig)
            self.assertEqual(child.wait(DEADLINE), sig + 50)

    def test_what_was_ignored_from_the_start_is_not_handed_on(self):
        """As nohup and shells with a background job do."""
        child = self.spawn_vsh(
            "sh", "-c", "trap 'exit 7' INT; trap 'exit 8' TERM; echo x; "
            "while :; do sleep 0.05; done", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGTERM)
        self.assertEqual(child.wait(DEADLINE), 8)

    def test_killed_by_a_forwarded_signal(self):
        child = self.spawn_vsh("sh", "-c", "echo x; exec sleep 1000",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        child.stdout.readline()
        child.terminate()
        self.assertEqual(child.wait(DEADLINE), 128 + signal.SIGTERM)

    def test_a_second_term_ends_vsh_itself(self):
        child = self.spawn_vsh("sh", "-c", "trap '' TERM; echo $$; sleep 1000; sleep 1000",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        pid = int(child.stdout.readline())

        def insist():
            child.terminate()
            return child.poll() is not None
        wait_until(insist, "vsh gives up")
        # One more may hit it on its way out, past its handlers: a shell calls both 143.
        self.assertIn(child.returncode, (128 + signal.SIGTERM, -signal.SIGTERM))
        wait_until(lambda: not alive(pid), "the command gets SIGHUP")

    def test_a_killed_vsh_takes_its_command_along(self):
        child = self.spawn_vsh("sh", "-c", "echo $$; exec sleep 1000",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        pid = int(child.stdout.readline())
        child.kill()
        child.wait()
        wait_until(lambda: not alive(pid), "the command gets SIGHUP")

    def test_a_killed_vshd_is_a_lost_connection(self):
        child = self.spawn_vsh("sh", "-c", "echo $$; exec sleep 1000",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
        pid = int(child.stdout.readline())
        self.vshd.kill()
        try:
            self.assertEqual(child.wait(DEADLINE), 123)
            self.assertIn(b"lost", child.stderr.read())
        finally:
            os.kill(pid, signal.SIGKILL)


class Environment(VshTest):
    def test_variables(self):
        script = "echo $A-$B-$C-$TERM-$HOME"
        environment = dict(os.environ, TERM="vt52", LEAK="1")
        done = self.run_vsh("A=1", "B=", "C=x=y", "HOME=/tmp", "sh", "-c", script,
                            env=environment)
        self.assertEqual(done.stdout, b"1--x=y-vt52-/tmp\n")
        done = self.run_vsh("env", env=environment)
        names = {line.split(b"=")[0] for line in done.stdout.splitlines()}
        self.assertTrue({b"PATH", b"USER", b"LOGNAME", b"HOME", b"SHELL"} <= names)
        self.assertNotIn(b"LEAK", names)

    def test_directory(self):
        self.assertEqual(self.run_vsh("pwd", options=["--cwd=/usr"]).stdout, b"/usr\n")
        here = os.path.realpath(self.dir)
        other = subprocess.Popen(["sleep", "1000"], cwd=here)
        done = self.run_vsh("pwd", options=["--cwd=%d" % other.pid])
        other.kill()
        other.wait()
        self.assertEqual(done.stdout.decode(), here + "\n")
        done = self.run_vsh("pwd", options=["--cwd=/no/such/place"])
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"/no/such/place", done.stderr)

    def test_users(self):
        done = self.run_vsh("true", options=["--user=no-such-user"])
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"no-such-user", done.stderr)
        other = pwd.getpwnam("daemon")
        done = self.run_vsh("id", "-u", options=["--user=daemon"])
        if os.getuid() == 0:
            self.assertEqual(done.stdout, b"%d\n" % other.pw_uid)
        else:
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"daemon", done.stderr)

    def test_a_command_too_long_is_refused_in_words(self):
        done = self.run_vsh("echo", "x" * 5000)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"4096", done.stderr)

    def test_the_command_gets_no_descriptor_but_its_own(self):
        done = self.run_vsh("sh", "-c", "ls /proc/$$/fd")
        self.assertEqual(done.stdout.split(), [b"0", b"1", b"2"])


class Hybrid(VshTest):
    """The directory of sockets that a device in user space serves, with a relay for it."""

    def relay(self, listener, answer):
        peer, _ = listener.accept()
        line = b""
        while not line.endswith(b"\n"):
            line += peer.recv(1)
        self.line = line
        peer.sendall(answer)
        if not answer.startswith(b"OK"):
            peer.close()
            return
        vshd = socket.socket(socket.AF_UNIX)
        vshd.connect(self.socket)

        def copy(source, target):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        other = threading.Thread(target=copy, args=(vshd, peer))
        other.start()
        copy(peer, vshd)
        other.join()
        vshd.close()
        peer.close()

    def through(self, answer):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(self.dir, "vsock"))
        listener.listen()
        relay = threading.Thread(target=self.relay, args=(listener, answer))
        relay.start()
        done = subprocess.run([VSH, "--vsock-dir=" + self.dir, "--", "sh", "-c",
                               "head -c 1000000; exit 7"], input=b"x" * 1000000,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=DEADLINE)
        relay.join()
        listener.close()
        self.assertEqual(self.line, b"CONNECT 9001\n")
        return done

    def test_a_command_through_the_directory(self):
        done = self.through(b"OK 1073741824\n")
        self.assertEqual((done.returncode, len(done.stdout)), (7, 1000000))

    def test_a_device_that_answers_nonsense(self):
        done = self.through(b"what?\n")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count(b"\n"), 1)


if __name__ == "__main__":
    unittest.main()
