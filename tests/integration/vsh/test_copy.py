#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Both sides of a copy, as vshd runs the one in the guest, joined by a pipe."""
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tempfile
import unittest

from harness import DEADLINE, VSHD, wait_until

MIB = 1 << 20


class Copy(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="vsh-copy.", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.source = self.dir / "source"
        self.source.mkdir()
        self.target = self.dir / "target"

    def tool(self, *args, **keywords):
        return subprocess.Popen(["vm_copy", *args], executable=os.path.abspath(VSHD),
                                cwd=self.dir, **keywords)

    def copy(self, source="source", target="target", options=("--recursive",), keep=()):
        """Returns the exit codes of both sides, and what they said."""
        send = self.tool("send", *options, "--", source, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
        receive = self.tool("receive", *keep, "--", target, stdin=send.stdout,
                            stderr=subprocess.PIPE)
        send.stdout.close()
        said = receive.communicate(timeout=DEADLINE)[1] + send.stderr.read()
        send.stderr.close()
        return send.wait(DEADLINE), receive.returncode, said.decode()

    def test_a_tree_arrives_as_it_was(self):
        (self.source / "a").write_text("text")
        os.chmod(self.source / "a", 0o640)
        os.link(self.source / "a", self.source / "other")
        (self.source / "link").symlink_to("nowhere")
        (self.source / "sub" / "deep").mkdir(parents=True)
        (self.source / "sub" / "ä\xff\udc80 \n").write_bytes(b"odd")
        (self.source / "empty").touch()
        os.chmod(self.source / "sub" / "deep", 0o500)
        for name in ("a", "sub/deep", "sub", "."):
            os.utime(self.source / name, ns=(0, 1234567890_123456789))
        os.utime(self.source / "link", ns=(0, 987654321_000000007), follow_symlinks=False)
        self.assertEqual(self.copy(), (0, 0, ""))
        names = sorted(os.listdir(self.source))
        self.assertEqual(sorted(os.listdir(self.target)), names)
        for name in [*names, ".", *(f"sub/{n}" for n in os.listdir(self.source / "sub"))]:
            was, now = os.lstat(self.source / name), os.lstat(self.target / name)
            self.assertEqual((was.st_mode, was.st_mtime_ns, was.st_nlink),
                             (now.st_mode, now.st_mtime_ns, now.st_nlink), name)
        self.assertEqual(os.readlink(self.target / "link"), "nowhere")
        self.assertTrue(os.path.samefile(self.target / "a", self.target / "other"))
        self.assertEqual((self.target / "sub" / "ä\xff\udc80 \n").read_bytes(), b"odd")

    def test_holes_stay_holes(self):
        with open(self.source / "big", "wb") as out:
            out.truncate(1024 * MIB)
            out.seek(500 * MIB)
            out.write(b"x" * MIB)
        if os.stat(self.source / "big").st_blocks * 512 > 8 * MIB:
            self.skipTest("the file system makes no holes")
        self.assertEqual(self.copy(), (0, 0, ""))
        done = os.stat(self.target / "big")
        self.assertEqual(done.st_size, 1024 * MIB)
        self.assertLess(done.st_blocks * 512, 8 * MIB)
        with open(self.target / "big", "rb") as back:
            back.seek(500 * MIB - 2)
            self.assertEqual(back.read(4), b"\0\0xx")

    def test_attributes_of_users_are_kept(self):
        (self.source / "a").write_text("text")
        try:
            os.setxattr(self.source / "a", "user.colour", b"blue\0")
            os.setxattr(self.source, "user.on-folder", b"")
        except OSError as error:
            self.skipTest(f"no attributes on this file system: {error}")
        self.assertEqual(self.copy(), (0, 0, ""))
        self.assertEqual(os.getxattr(self.target / "a", "user.colour"), b"blue\0")
        self.assertEqual(os.getxattr(self.target, "user.on-folder"), b"")

    def test_rights_of_others_do_not_come_along(self):
        (self.source / "tool").write_text("#!/bin/sh\n")
        os.chmod(self.source / "tool", 0o6755)
        self.assertEqual(self.copy(), (0, 0, ""))
        self.assertEqual(stat.S_IMODE(os.stat(self.target / "tool").st_mode), 0o755)

    def test_what_cannot_be_copied_is_named_and_the_rest_arrives(self):
        (self.source / "a").write_text("text")
        os.mkfifo(self.source / "fifo")
        sent, received, said = self.copy()
        self.assertEqual((sent, received), (1, 0))
        self.assertIn("source/fifo", said)
        self.assertEqual(os.listdir(self.target), ["a"])

    def test_a_folder_wants_to_be_asked_for(self):
        sent, _, said = self.copy(options=())
        self.assertEqual(sent, 1)
        self.assertIn("--recursive", said)
        self.assertFalse(self.target.exists())

    def test_no_space_ends_the_copy_and_leaves_nothing_partial(self):
        (self.source / "big").write_bytes(os.urandom(4 * MIB))
        script = ('mount -t tmpfs -o size=1m none "$1" && cd "$1/.." || exit 77; '
                  '(exec -a vm_copy "$2" send -- source/big) | '
                  '(exec -a vm_copy "$2" receive -- target); '
                  'echo ${PIPESTATUS[*]}; ls -A target')
        self.target.mkdir()
        done = subprocess.run(["unshare", "-rm", "bash", "-c", script, "-", self.target,
                               os.path.abspath(VSHD)], capture_output=True, text=True,
                              timeout=DEADLINE, check=False)
        if done.returncode:
            self.skipTest(f"no mount in a namespace of our own: {done.stderr}")
        self.assertIn("No space left", done.stderr)
        self.assertIn("target/big", done.stderr)
        self.assertEqual(done.stdout.strip(), "1 1")

    def test_a_signal_ends_it_without_a_partial_file(self):
        (self.source / "big").write_bytes(b"x" * MIB)
        self.target.mkdir()
        receive = self.tool("receive", "--", "target", stdin=subprocess.PIPE,
                            stderr=subprocess.PIPE)
        send = self.tool("send", "--", "source/big", stdout=subprocess.PIPE)
        stream = send.stdout.read()
        send.stdout.close()
        self.assertEqual(send.wait(DEADLINE), 0)
        receive.stdin.write(stream[:MIB // 2])
        receive.stdin.flush()
        wait_until(lambda: os.listdir(self.target), "the file is begun")
        self.assertTrue(os.listdir(self.target)[0].startswith(".vm_copy."))
        receive.send_signal(signal.SIGTERM)
        self.assertIn(b"interrupted", receive.communicate(timeout=DEADLINE)[1])
        self.assertEqual(receive.returncode, 1)
        self.assertEqual(os.listdir(self.target), [])

    def test_what_is_there_is_replaced_or_kept(self):
        (self.source / "a").write_text("new")
        self.target.mkdir()
        (self.target / "a").write_text("old")
        self.assertEqual(self.copy("source/a", keep=("--keep",))[:2], (0, 1))
        self.assertEqual((self.target / "a").read_text(), "old")
        self.assertEqual(self.copy("source/a"), (0, 0, ""))
        self.assertEqual((self.target / "a").read_text(), "new")

    def test_only_links_on_the_command_line_are_followed(self):
        (self.source / "a").write_text("text")
        (self.dir / "door").symlink_to("source/a")
        self.assertEqual(self.copy("door", options=()), (0, 0, ""))
        self.assertFalse(self.target.is_symlink())
        self.assertEqual(self.target.read_text(), "text")


if __name__ == "__main__":
    unittest.main()
