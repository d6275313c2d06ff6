#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every program that vm_disk starts runs without rights, behind its filter. In a mount namespace
of the test a script stands where the program was, and notes what it finds of itself."""
import os
import shutil
import subprocess
import unittest

import harness
from harness import MIB

SPY = """#!/bin/sh
cat /proc/self/status >{notes}/{name}
ls /proc/$$/fd >{notes}/{name}.fds
"""
TOOLS_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # as in tool.c


class Tools(harness.Case):
    def setUp(self):
        super().setUp()
        if subprocess.run(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL,
                          check=False).returncode:
            self.skipTest("no mount namespaces for users here")
        self.notes = self.folder / "notes"
        self.notes.mkdir()

    def note(self, tool, command, image, *options):
        """Run vm_disk with a spy in the place of the tool; what that noted, as a dictionary."""
        real = shutil.which(tool, path=TOOLS_PATH)
        if not real:
            self.skipTest(f"{tool} is not installed")
        spy = self.folder / "spy"
        spy.write_text(SPY.format(notes=self.notes, name=tool))
        spy.chmod(0o755)
        # One may be a link to another: what stands there is what the kernel runs.
        subprocess.run(
            ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', spy,
             os.path.realpath(real), harness.PROGRAM, command, f"--image={image}", *options],
            cwd=self.folder, stderr=subprocess.DEVNULL, timeout=harness.PATIENCE, check=False)
        note = self.notes / tool
        self.assertTrue(note.exists(), f"{command} did not run {tool}")
        return dict(line.split(":\t", 1) for line in note.read_text().splitlines() if ":\t" in line)

    def behind_bars(self, tool, *arguments):
        status = self.note(tool, *arguments)
        self.assertEqual(status["Seccomp"], "2", tool)
        self.assertEqual(status["NoNewPrivs"], "1", tool)
        for rights in ("CapEff", "CapPrm", "CapAmb"):
            self.assertEqual(int(status[rights], 16), 0, tool)
        fds = {int(fd) for fd in (self.notes / f"{tool}.fds").read_text().split()}
        # Images; 10 and more are the shell's own.
        self.assertLessEqual({fd for fd in fds if fd < 10}, {0, 1, 2, 3, 4}, tool)

    def test_makers_of_file_systems(self):
        for tool, fs in (("mke2fs", "ext4"), ("mkfs.btrfs", "btrfs")):
            self.behind_bars(tool, "create", f"{fs}.img", f"--fs={fs}", f"--size={256 * MIB}")

    def test_those_that_resize_one(self):
        self.need("mke2fs")
        self.ok("create", "disk.img", "--fs=ext4", f"--size={64 * MIB}")
        self.behind_bars("e2fsck", "resize", "disk.img", f"--size={96 * MIB}", "--grow-fs")
        self.behind_bars("resize2fs", "resize", "disk.img", f"--size={128 * MIB}", "--grow-fs")

    def test_qemu_img(self):
        self.behind_bars("qemu-img", "create", "disk.qcow2", f"--size={64 * MIB}")


if __name__ == "__main__":
    unittest.main()
