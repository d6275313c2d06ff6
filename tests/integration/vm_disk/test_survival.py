#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Killed, cancelled, out of space: nothing stays, and what was there is whole."""
import os
import pathlib
import random
import re
import shlex
import signal
import subprocess
import time
import unittest

import harness
from harness import MIB

JAILED = os.environ.get("VMT_DISK_JAILED") == "1"


def children(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []


def wait_for(what):
    """Poll a fact about other processes, which nobody announces."""
    deadline = time.monotonic() + harness.PATIENCE
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("it does not come")
        time.sleep(0.005)


def gone(pid):
    try:
        return ") Z " in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


class Waiting(harness.Case):
    """An import that has read something and waits for more."""

    def waiting(self, *options):
        reader, writer = os.pipe()
        running = self.start("import", "a.img", "--vm-type=0", "--source=raw", *options,
                             data_fd=reader)
        os.close(reader)
        self.data = os.fdopen(writer, "wb")
        self.addCleanup(self.data.close)
        self.data.write(b"new" * 200000)
        self.data.flush()
        self.assertTrue(running.line().startswith("progress "))
        return running

    def test_cancel_leaves_nothing(self):
        for sig in (signal.SIGTERM, signal.SIGINT):
            for option in ((), ("--named-temp",)):
                with self.subTest(sig=sig, option=option):
                    self.disk("a.img", MIB, at_0=b"old")
                    running = self.waiting(*option, f"--result-file={self.folder}/r")
                    running.process.send_signal(sig)
                    done = running.wait()
                    self.assertEqual((done.code, done.word), (1, "cancelled"))
                    self.assertEqual((self.folder / "a.img").read_bytes()[:3], b"old")
                    self.assertEqual((self.folder / "r").read_text().strip(), done.lines[-1])
                    self.left("a.img", "r")

    def test_named_temporary_of_a_killed_worker_goes_with_the_next(self):
        for command, image in ((("clean", "other.img"), ()),
                               (("create", "a.img", "--size=4096"), ("a.img",))):
            running = self.waiting("--named-temp")
            self.left(".a.img.tmp")
            self.ok("clean", "other.img")  # not that of one that runs
            self.left(".a.img.tmp")
            running.process.kill()
            running.wait()
            self.left(".a.img.tmp")
            self.ok(*command, "--named-temp")
            self.left(*image)

    def test_who_started_it_dies_and_finds_the_result(self):
        result = self.folder / "r"
        running = self.waiting(f"--result-file={result}")
        self.assertTrue(result.read_text().startswith("progress "))
        running.reader.close()
        running.process.stderr.close()
        self.data.write(b"\0" * 300 * 512 + b"end" + b"\0" * (512 - 3 - 600000 % 512))
        self.data.close()
        self.assertEqual(running.process.wait(timeout=harness.PATIENCE), 0)
        self.assertTrue(result.read_text().startswith("result ok "))
        self.assertTrue((self.folder / "a.img").read_bytes().rstrip(b"\0").endswith(b"end"))
        self.left("a.img", "r")

    def test_worker_of_the_bytes_dies(self):
        running = self.waiting()
        (child,) = children(running.process.pid)
        os.kill(int(child), signal.SIGKILL)
        done = running.wait()
        self.assertEqual((done.code, done.word), (1, "failed"))
        self.left()

    def test_worker_of_the_bytes_dies_with_its_parent(self):
        running = self.waiting()
        (child,) = children(running.process.pid)
        running.process.kill()
        running.wait()
        wait_for(lambda: gone(child))
        self.left()

    def test_worker_of_the_bytes_has_no_rights(self):
        running = self.waiting()
        (child,) = children(running.process.pid)
        status = pathlib.Path(f"/proc/{child}/status").read_text()
        for line in ("CapEff:\t0000000000000000", "CapPrm:\t0000000000000000",
                     "NoNewPrivs:\t1") + (("Seccomp:\t2",) if JAILED else ()):
            self.assertIn(line, status)
        if os.geteuid() == 0:  # it is not dumpable
            there = os.listdir(f"/proc/{child}/fd")
            self.assertLessEqual(len(there), 4, "data, image, answers, standard error")
        running.process.terminate()
        running.wait()


class Killed(harness.Case):
    ROUNDS = 25

    def setUp(self):
        super().setUp()
        self.rng = random.Random(time.time_ns())
        seed = self.rng.getrandbits(32)
        print(f"seed {seed}")
        self.rng.seed(seed)

    def strike(self, sig, longest, *command, **fds):
        """Start it and send sig after some time; returns whether it came to its end."""
        running = self.start(*command, **fds)
        time.sleep(self.rng.random() * longest)
        below = children(running.process.pid)
        running.process.send_signal(sig)
        done = running.wait()
        for child in below:
            wait_for(lambda c=child: gone(c))
        if sig == signal.SIGTERM:
            # The last: it had not begun yet.
            self.assertIn((done.code, done.word),
                          ((0, "ok"), (1, "cancelled"), (-sig, None)), repr(done))
        return done

    def swept(self, *names):
        """A killed worker may leave the name of the moment of a replacement."""
        left = [p for p in self.folder.iterdir() if re.fullmatch(r"\..*\.(new|tmp)", p.name)]
        self.assertLessEqual(len(left), 1)
        if left:
            self.ok("create", "other.img", "--size=4096")
            (self.folder / "other.img").unlink()
        self.left(*names)

    def longest(self, *command, **fds):
        begin = time.monotonic()
        self.ok(*command, **fds)
        return (time.monotonic() - begin) * 1.2

    def test_import_over_an_image(self):
        self.need("zstd")
        old = self.disk("old", 8 * MIB, at_0=os.urandom(4 * MIB)).read_bytes()
        new = self.disk("new.img", 8 * MIB, at_100=os.urandom(4 * MIB)).read_bytes()
        self.export("new.img", "new.zst", "--vm-type=1")
        (self.folder / "a.img").write_bytes(old)
        with open(self.folder / "new.zst", "rb") as data:
            longest = self.longest("import", "a.img", data_fd=data.fileno())
        for sig in (signal.SIGKILL, signal.SIGTERM):
            for i in range(self.ROUNDS):
                (self.folder / "a.img").write_bytes(old)
                with open(self.folder / "new.zst", "rb") as data:
                    done = self.strike(sig, longest, "import", "a.img",
                                       *(("--named-temp",) if i % 2 else ()),
                                       data_fd=data.fileno())
                self.swept("old", "new.img", "new.zst", "a.img")
                now = (self.folder / "a.img").read_bytes()
                self.assertTrue(now in (old, new), "neither the old disk nor the new one")
                if done.word:  # what was told is true
                    self.assertEqual(now == new, done.word == "ok")

    def test_create_with_file_system(self):
        self.need("mke2fs", "qemu-img", "e2fsck")
        command = ("create", "a.qcow2", f"--size={64 * MIB}", "--fs=ext4")
        longest = self.longest(*command)
        for sig in (signal.SIGKILL, signal.SIGTERM):
            for _ in range(self.ROUNDS):
                (self.folder / "a.qcow2").unlink(missing_ok=True)
                done = self.strike(sig, longest, *command)
                there = (self.folder / "a.qcow2").exists()
                self.swept(*(["a.qcow2"] if there else []))
                if done.word:
                    self.assertEqual(there, done.word == "ok")
        self.ok("clean", "any.img")

    def test_export_of_qcow2(self):
        self.need("qemu-img", "zstd")
        self.disk("a.img", 8 * MIB, at_0=os.urandom(4 * MIB))
        self.ok("convert", "a.img", "--output=b.qcow2")
        with open(os.devnull, "wb") as null:
            longest = self.longest("export", "b.qcow2", data_fd=null.fileno())
            for sig in (signal.SIGKILL, signal.SIGTERM):
                for _ in range(self.ROUNDS // 2):
                    self.strike(sig, longest, "export", "b.qcow2", data_fd=null.fileno())
                    self.swept("a.img", "b.qcow2")

    def test_shrink_with_file_system_is_whole(self):
        self.need("mke2fs", "e2fsck", "resize2fs")
        self.ok("create", "a.img", f"--size={64 * MIB}", "--fs=ext4")
        env = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        for i in range(6):  # a cancel waits for the tools
            want = (48 if i % 2 == 0 else 64) * MIB
            done = self.strike(signal.SIGTERM, 0.1, "resize", "a.img", f"--size={want}",
                               "--shrink-fs", "--grow-fs")
            size = (self.folder / "a.img").stat().st_size
            self.assertIn(size, (want,) if done.word == "ok" else (48 * MIB, 64 * MIB))
            fsck = subprocess.run(["e2fsck", "-fn", self.folder / "a.img"], env=env,
                                  capture_output=True, text=True, check=False)
            self.assertEqual(fsck.returncode, 0, fsck.stdout)
        self.left("a.img")


class Full(harness.Case):
    """In a small file system that is there for one command only."""

    def inside(self, kind, script):
        """Run a shell script in a new file system; P is the program. Returns its output."""
        text = (f"mount -t {kind} {self.folder} && cd {self.folder} && "
                f"P={shlex.quote(harness.PROGRAM)} && {script}")
        done = subprocess.run(["unshare", "--map-root-user", "--user", "--mount", "sh", "-c", text],
                              capture_output=True, text=True, check=False,
                              timeout=harness.PATIENCE)
        if "unshare" in done.stderr or "mount:" in done.stderr:
            self.skipTest("no mounts here: " + done.stderr)
        return done.stdout

    SMALL = "tmpfs -o size=4m tmpfs"

    def result(self, out):
        return [line for line in out.splitlines() if line.startswith("result ")][-1]

    def test_no_space_for_an_import(self):
        out = self.inside(self.SMALL, "head -c 8M /dev/urandom | $P import --image=a.img "
                          "--vm-type=0 --source=raw --data-fd=0 --progress-fd=1; ls -A; df -k .")
        self.assertRegex(self.result(out), "^result nospace ")
        self.assertNotIn("a.img", out)
        self.assertRegex(out, r"tmpfs\s+4096\s+0 ")  # every block is back

    def test_no_space_for_a_full_disk(self):
        out = self.inside(self.SMALL, "$P create --image=a.img --size=8388608 "
                          "--allocation=full --progress-fd=1; ls -A")
        self.assertRegex(self.result(out), "^result nospace ")
        self.assertNotIn("a.img", out)

    def test_no_space_for_growing(self):
        out = self.inside(self.SMALL, "head -c 1M /dev/urandom >a.img && $P resize "
                          "--image=a.img --size=8388608 --allocation=full --progress-fd=1; "
                          "stat -c %s a.img")
        self.assertRegex(self.result(out), "^result nospace ")
        self.assertTrue(out.endswith("\n1048576\n"), out)

    def test_no_space_for_what_is_exported(self):
        out = self.inside(self.SMALL, "head -c 1M /dev/urandom >/$PWD/a.img && head -c 2900K "
                          "/dev/urandom >fill && $P export --image=a.img --data-fd=5 "
                          "--progress-fd=1 5>out; ls -A")
        self.assertRegex(self.result(out), "^result nospace ")

    def test_attributes_without_extended_attributes(self):
        out = self.inside("ramfs ramfs", "$P create --image=a.img --size=1048576 --vm-type=7 "
                          "--allocation=full && $P export --image=a.img --data-fd=5 "
                          "--progress-fd=1 5>out && cat .a.img.attrs && ls -A")
        self.assertIn("vm_type=7", self.result(out))
        self.assertIn("user.crostini.user_chosen_size=1\nuser.crostini.vm_type=7\n", out)
        self.assertEqual(out.split("=7\n")[-1].split(), [".a.img.attrs", ".lock", "a.img", "out"])

    def test_read_only_folder(self):
        out = self.inside(self.SMALL, "mount -o remount,bind,ro . ; $P create --image=a.img "
                          "--size=4096 --progress-fd=1")
        self.assertRegex(self.result(out), "^result failed .*Read-only")


if __name__ == "__main__":
    unittest.main(verbosity=2)
