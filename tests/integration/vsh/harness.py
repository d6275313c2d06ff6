# SPDX-License-Identifier: BSD-3-Clause
"""A vshd on this host, on a unix socket instead of vsock, and vsh against it."""
import os
import pwd
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = os.environ.get("VMT_BIN", "build/ci/bin")
VSH = os.path.join(BIN, "vsh")
VSHD = os.path.join(BIN, "vshd")
DEADLINE = 120  # seconds; generous, the machine may be loaded

# What was started in the background, or by nohup, ignores some; its children shall not.
for _sig in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(_sig) == signal.SIG_IGN:
        signal.signal(_sig, signal.SIG_DFL)


def wait_until(condition, what):
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("timeout: " + what)
        time.sleep(0.01)


def no_core_files():
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


class VshTest(unittest.TestCase):
    vshd_options = []

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="vsh-test.")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.socket = os.path.join(self.dir, "vshd")
        self.log = open(os.path.join(self.dir, "log"), "w+")
        self.addCleanup(self.log.close)
        user = pwd.getpwuid(os.getuid()).pw_name
        self.vshd = subprocess.Popen(
            [VSHD, "--listen-unix=" + self.socket, "--nolog_kmsg",
             "--default_user=" + user, *self.vshd_options],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.addCleanup(self.stop_vshd)
        wait_until(lambda: os.path.exists(self.socket) or self.vshd.poll() is not None,
                   "vshd listens")

    def stop_vshd(self):
        if self.vshd.poll() is None:
            self.vshd.terminate()
        code = self.vshd.wait(DEADLINE)
        if code not in (0, -signal.SIGKILL):
            self.log.seek(0)
            sys.stderr.write(self.log.read())
            raise AssertionError("vshd ended with %d" % code)

    def argv(self, *command, options=()):
        return [VSH, "--unix=" + self.socket, *options, "--", *command]

    def run_vsh(self, *command, options=(), **keywords):
        keywords.setdefault("stdin", subprocess.DEVNULL)
        if "input" in keywords:
            del keywords["stdin"]
        keywords.setdefault("stdout", subprocess.PIPE)
        keywords.setdefault("stderr", subprocess.PIPE)
        return subprocess.run(self.argv(*command, options=options), timeout=DEADLINE,
                              **keywords)

    def spawn_vsh(self, *command, options=(), **keywords):
        child = subprocess.Popen(self.argv(*command, options=options), **keywords)
        self.addCleanup(self.reap, child)
        return child

    @staticmethod
    def reap(child):
        if child.poll() is None:
            child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                stream.close()


def alive(pid):
    """Whether a process exists and is more than a zombie."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
