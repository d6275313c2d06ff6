#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What can be wrong with a start: a clear error, the right signals, and nothing left behind."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess

import harness

# A kernel that does nothing: an ELF with a PVH entry that halts with interrupts off.
HANGING_KERNEL = r"""
    .section .note.pvh, "a", @note
    .long 4, 4, 18
    .asciz "Xen"
    .long _start
    .text
    .code32
    .globl _start
_start:
    cli
1:  hlt
    jmp 1b
"""


class BadInput(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world.vmc("list")
        cls.dir = cls.world.root / "bad"
        cls.dir.mkdir()

    def refused(self, *args, code=None, words=(), timeout=harness.PATIENCE):
        """The command fails with one of the stable codes, says words, and leaves nothing."""
        p = self.world.vmc(*args, check=None, timeout=timeout)
        self.assertNotEqual(p.returncode, 0, p.stdout)
        if code is not None:
            self.assertEqual(p.returncode, code, p.stderr)
        for word in words:
            self.assertIn(word, p.stderr)
        self.nothing_left()
        return p

    def start_fails(self, name, *args, words=(), signals=None):
        """A start that gets as far as a VM: StartingUp and exactly one Stopped."""
        self.world.vmc("list")  # the daemon is there to be watched
        watch = harness.Signals(self.world)
        p = self.refused("start", "--no-shell", "--accel", "tcg", "--cpus", "1", "--mem", "256",
                         *args, name, words=words)
        kinds = [s[0] for s in watch.of(name)]
        watch.close()
        self.assertEqual(kinds, signals if signals is not None
                         else ["VmStartingUpSignal", "VmStoppedSignal"])
        return p

    def test_unknown_vm(self):
        for command in (["info"], ["exec"], ["logs"], ["stop"]):
            args = command + ["nobody"] + (["--", "true"] if command == ["exec"] else [])
            self.refused(*args, code=3, words=["nobody"])

    def test_bad_names(self):
        for name in ("", "x" * 61, "bell\a", "new\nline", "two words", "a/b", "a:b"):
            self.start_fails(name, words=["name"], signals=[])

    def test_no_kernel(self):
        missing = self.dir / "missing"
        self.start_fails("nokernel", "--kernel", str(missing), words=[str(missing)], signals=[])
        self.start_fails("noimage", "--image", "nosuchimage", words=["nosuchimage", "vmc image"],
                         signals=[])

    def test_something_that_is_no_kernel(self):
        junk = self.dir / "junk"
        junk.write_bytes(b"this is no kernel" * 1000)
        self.start_fails("junk", "--kernel", str(junk))

    def test_kernel_that_panics(self):
        p = self.start_fails("panics", "--kernel-param", "rdinit=/none init=/none root=/dev/none")
        self.assertIn("panic", p.stderr.lower())

    def test_kernel_that_hangs(self):
        source = self.dir / "hang.S"
        source.write_text(HANGING_KERNEL)
        kernel = self.dir / "hang"
        subprocess.run(["gcc", "-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x200000",
                        "-Wl,--build-id=none", "-o", kernel, source], check=True)
        self.start_fails("hangs", "--kernel", str(kernel), "--timeout", "3", words=["3 s"])

    def test_agent_that_never_reports(self):
        p = self.start_fails("silent", "--kernel-param", "maitred.host_port=9998",
                             "--timeout", "12", words=["12 s"])
        self.assertIn("maitred", p.stderr)  # its last console lines

    def test_image_with_a_wrong_digest(self):
        image = self.dir / "image"
        image.mkdir()
        for name in ("kernel", "root.squashfs", "manifest.json"):
            os.link(harness.IMAGE / name, image / name) if os.stat(
                harness.IMAGE).st_dev == os.stat(self.dir).st_dev else shutil.copy(
                    harness.IMAGE / name, image / name)
        data = bytearray((harness.IMAGE / "initrd").read_bytes())
        data[-1] ^= 1
        (image / "initrd").write_bytes(data)
        self.start_fails("forged", "--image", str(image), words=["initrd", "SHA-256"], signals=[])
        self.refused("image", "verify", str(image), words=["initrd"])

    def end_daemon(self):
        for pid in self.world.processes("vm_concierge"):
            os.kill(pid, signal.SIGTERM)
        harness.eventually("the daemon ends", lambda: not self.world.processes(), 30)

    @contextlib.contextmanager
    def full(self, folder):
        """The folder is a file system without a free block."""
        self.end_daemon()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs",
                                  folder], check=False, capture_output=True)
        if mounted.returncode:
            self.skipTest("mounting a small file system needs root")
        try:
            with contextlib.suppress(OSError), \
                    open(pathlib.Path(folder) / "filler", "wb", buffering=0) as f:
                while True:
                    f.write(b"x" * 4096)
            yield
        finally:
            self.world.vmc("stop", "--all", check=None)
            self.end_daemon()
            subprocess.run(["umount", folder], check=True)

    def test_full_disk_under_the_records(self):
        """A VM that could not be found again after a crash is not started."""
        with self.full(self.world.env["XDG_RUNTIME_DIR"]):
            p = self.world.start("full", check=1)
            self.assertIn("No space left", p.stderr)
            self.assertEqual(self.world.processes("qemu"), [])
            self.assertEqual(list(self.world.runtime.glob("vm.*")), [])

    def test_full_disk_under_the_console(self):
        """Only the console's log is lost."""
        with self.full(self.world.env["XDG_STATE_HOME"]):
            self.world.start("full")
            self.assertEqual(self.world.guest("full", "echo alive"), "alive")

    def test_usage_errors_are_one_line_and_code_2(self):
        for args in (["start"], ["start", "--no-such-option", "x"], ["nosuchcommand"],
                     ["start", "--mem", "many", "x"]):
            p = self.refused(*args, code=2)
            self.assertLessEqual(len(p.stderr.strip().splitlines()), 2, p.stderr)

    def test_list_is_still_right_after_all_that(self):
        self.assertEqual(json.loads(self.world.vmc("list", "--json").stdout), [])


if __name__ == "__main__":
    harness.main()
