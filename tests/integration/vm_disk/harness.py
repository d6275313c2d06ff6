# SPDX-License-Identifier: BSD-3-Clause
"""Run vm_disk in a folder of its own, and read what it says."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

PROGRAM = os.environ.get("VMT_VM_DISK", os.path.join(os.environ["VMT_BIN"], "vm_disk"))
PATIENCE = 240
MIB = 1 << 20
GIB = 1 << 30
FRAME = 131072


class Done:
    """A finished operation: its lines, and the last one taken apart."""

    def __init__(self, code, lines, stderr):
        self.code = code
        self.lines = lines
        self.stderr = stderr
        words = lines[-1].split() if lines else ["", ""]
        self.word = words[1] if words[:1] == ["result"] else None
        self.keys = dict(w.split("=", 1) for w in words[2:] if "=" in w)
        self.text = " ".join(words[2:])

    @property
    def progress(self):
        return [tuple(map(int, line.split()[1:])) for line in self.lines
                if line.startswith("progress ")]

    def __repr__(self):
        return f"<{self.code} {self.lines[-1:]} {self.stderr}>"


class Running:
    """An operation; data goes to or comes from file descriptors in fds, NAME: FD."""

    def __init__(self, folder, command, image, *options, **fds):
        reader, writer = os.pipe()
        names = {name.replace("_", "-"): fd for name, fd in fds.items()}
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [PROGRAM, command, f"--image={image}", f"--progress-fd={writer}", *options,
             *(f"--{name}={fd}" for name, fd in names.items())],
            cwd=folder, pass_fds=(writer, *names.values()), stderr=subprocess.PIPE, text=True)
        os.close(writer)
        self.reader = os.fdopen(reader)

    def line(self):
        """The next one, or "" at the end."""
        return self.reader.readline()

    def wait(self):
        lines = self.reader.read().splitlines()
        self.reader.close()
        _, stderr = self.process.communicate(timeout=PATIENCE)
        return Done(self.process.returncode, lines, stderr)


class Case(unittest.TestCase):
    """Each test has a folder; nothing may be left there that it did not name."""

    where = None

    def setUp(self):
        folder = tempfile.mkdtemp(prefix="vmt-disk.", dir=self.where)
        self.folder = pathlib.Path(folder)
        self.addCleanup(shutil.rmtree, folder)

    def start(self, command, image, *options, **fds):
        return Running(self.folder, command, image, *options, **fds)

    def run_disk(self, command, image, *options, **fds):
        return self.start(command, image, *options, **fds).wait()

    def ok(self, command, image, *options, **fds):
        done = self.run_disk(command, image, *options, **fds)
        self.assertEqual((done.code, done.word), (0, "ok"), repr(done))
        return done

    def refused(self, word, command, image, *options, **fds):
        done = self.run_disk(command, image, *options, **fds)
        self.assertEqual((done.code, done.word), (1, word), repr(done))
        return done

    def export(self, image, to, *options, digest=None):
        with open(self.folder / to, "wb") as data:
            if digest is None:
                return self.ok("export", image, *options, data_fd=data.fileno())
            with open(self.folder / digest, "wb") as sums:
                return self.ok("export", image, *options, data_fd=data.fileno(),
                               digest_fd=sums.fileno())

    def feed(self, source, image, *options, word="ok", command="import"):
        """Import from a file in the folder, or from bytes through a pipe."""
        if isinstance(source, bytes):
            return self.feed_pipe(source, image, *options, word=word, command=command)
        with open(self.folder / source, "rb") as data:
            call = self.ok if word == "ok" else lambda *a, **k: self.refused(word, *a, **k)
            return call(command, image, *options, data_fd=data.fileno())

    def feed_pipe(self, source, image, *options, word, command):
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
            running = self.start(command, image, *options, data_fd=cat.stdout.fileno())
            cat.stdout.close()
            try:
                cat.stdin.write(source)
                cat.stdin.close()
            except BrokenPipeError:
                pass  # it was refused before its end
            done = running.wait()
        self.assertEqual(done.word, word, repr(done))
        return done

    def disk(self, name, size, **pieces):
        """A sparse raw disk; pieces are at_OFFSET=bytes."""
        with open(self.folder / name, "wb") as f:
            f.truncate(size)
            for at, data in pieces.items():
                f.seek(int(at.removeprefix("at_")))
                f.write(data)
        return self.folder / name

    def left(self, *names):
        """The folder has these files and no other, locks and attributes apart."""
        there = {p.name for p in self.folder.iterdir()
                 if not re.fullmatch(r"\.lock|\..*\.attrs", p.name)}
        self.assertEqual(there, set(names))

    def need(self, *programs):
        path = os.environ["PATH"] + ":/usr/sbin:/sbin"
        for program in programs:
            if not shutil.which(program, path=path):
                self.skipTest(f"{program} is not installed")

    def same(self, one, other):
        with open(self.folder / one, "rb") as a, open(self.folder / other, "rb") as b:
            while True:
                x, y = a.read(4 * MIB), b.read(4 * MIB)
                self.assertTrue(x == y, f"{one} and {other} differ")
                if not x:
                    return
