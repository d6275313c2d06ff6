# SPDX-License-Identifier: BSD-3-Clause
"""A terminal of our own that a program draws on: what a person would see, as lines of text."""
import fcntl
import os
import pathlib
import pty
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

import pyte

PATIENCE = 120


class Screen:
    """A program on a terminal."""

    def __init__(self, argv, env, rows=24, cols=80):
        self.screen = pyte.Screen(cols, rows)
        self.stream = pyte.ByteStream(self.screen)
        pid, self.master = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
            os.execvpe(argv[0], [str(a) for a in argv], {**env, "TERM": "linux"})
        self.pid = pid
        self.code = None

    def resize(self, rows, cols):
        self.screen.resize(rows, cols)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def send(self, keys):
        os.write(self.master, keys)

    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    def take(self, seconds):
        """Draw what comes within that time; False at the end of the program."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.stream.feed(data)
        return bool(data)

    def until(self, check, what):
        """Draw until the lines are as they should be."""
        end = time.monotonic() + PATIENCE
        alive = True
        while not check(self.lines()):
            if time.monotonic() > end or not alive:
                shown = "\n".join(self.lines())
                raise AssertionError(f"not on the screen: {what}\n{shown}")
            alive = self.take(0.2)

    def wait(self):
        """The exit code, when the program has ended."""
        end = time.monotonic() + PATIENCE
        while self.code is None:
            if self.take(0.05):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            else:
                pid, status = os.waitpid(self.pid, 0)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                shown = "\n".join(self.lines())
                raise AssertionError(f"the program does not end\n{shown}")
        return self.code

    def close(self):
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)


def portable(program, folder):
    """Copy an installed program and its libraries; returns how to run it from a folder, as a
    function of where that is."""
    path = pathlib.Path(shutil.which(program)).resolve()
    libraries = folder / "lib"
    libraries.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, folder / program)
    told = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
    loader = None
    for line in told.splitlines():
        found = [word for word in line.split() if word.startswith("/")]
        if not found:
            continue
        shutil.copy(found[0], libraries)
        if "=>" not in line:
            loader = os.path.basename(found[0])
    return lambda where: [f"{where}/lib/{loader}", "--library-path", f"{where}/lib",
                          f"{where}/{program}"]
