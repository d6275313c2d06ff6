#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Files and shells between this host and one VM, as a user sees them."""
import json
import os
import subprocess

import harness

MIB = 1 << 20


class Shell(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world.start("box")
        cls.dir = cls.world.root / "files"
        cls.dir.mkdir()

    def cp(self, *args, check=0, **keywords):
        return self.world.vmc("cp", *args, check=check, **keywords)


class Copies(Shell):
    def test_01_a_tree_goes_there_and_back_unchanged(self):
        tree = self.dir / "tree"
        (tree / "sub").mkdir(parents=True)
        (tree / "a").write_text("text")
        os.link(tree / "a", tree / "sub" / "other")
        (tree / "link").symlink_to("../nowhere")
        os.chmod(tree / "a", 0o751)
        os.utime(tree / "a", ns=(0, 1234567890_000000000))
        with open(tree / "sparse", "wb") as out:
            out.truncate(200 * MIB)
            out.seek(100 * MIB)
            out.write(b"x")
        self.cp("-r", tree, "box:")
        told = self.world.guest("box", "cd; stat -c '%a %Y %h' tree/a; readlink tree/link; "
                                "du -m tree/sparse | cut -f1; stat -c %s tree/sparse")
        self.assertEqual(told.split("\n"), ["751 1234567890 2", "../nowhere", "1",
                                            str(200 * MIB)])
        told = json.loads(self.cp("-r", "--json", "box:tree", self.dir / "back").stdout)
        self.assertGreaterEqual(told["files"], 6)
        back = self.dir / "back"
        self.assertEqual((back / "a").read_text(), "text")
        self.assertEqual(os.stat(back / "a").st_mode & 0o7777, 0o751)
        self.assertEqual(os.stat(back / "a").st_mtime_ns, 1234567890_000000000)
        self.assertTrue(os.path.samefile(back / "a", back / "sub" / "other"))
        self.assertEqual(os.readlink(back / "link"), "../nowhere")
        self.assertLess(os.stat(back / "sparse").st_blocks * 512, MIB)

    def test_02_many_bytes_arrive_as_they_were(self):
        data = os.urandom(24 * MIB)
        (self.dir / "big").write_bytes(data)
        self.cp(self.dir / "big", "box:/tmp/copy")
        self.cp("box:/tmp/copy", self.dir / "big-back")
        self.assertEqual((self.dir / "big-back").read_bytes(), data)
        self.world.guest("box", "rm /tmp/copy")

    def test_03_through_pipes(self):
        self.cp("-", "box:/tmp/piped", input="from a pipe\n")
        self.assertEqual(self.cp("box:/tmp/piped", "-").stdout, "from a pipe\n")

    def test_04_what_fails_is_named(self):
        here = self.dir / "small"
        here.write_text("x")
        for args, code, word in (
                (("box:/none", self.dir), 1, "box:/none: No such file"),
                (("box:/etc", self.dir), 1, "--recursive"),
                ((here, "box:/proc/1/"), 1, "box:/proc/1/small"),
                ((here, "box:/dev/null"), 1, "no regular file"),
                ((here, "box:/none/there"), 1, "/none"),
                ((here, here), 2, "NAME:PATH"),
                (("box:a", "box:b"), 1, "box:a: No such file"),
                (("box:a", here, "box:b"), 2, "not from both"),
                (("box:a", "nobody:b"), 3, "nobody"),
                (("nobody:a", "box:b"), 3, "nobody"),
                (("box:a", "other:b", self.dir), 2, "one VM at a time"),
                (("box:..", self.dir), 2, "no name"),
                ((here, "nobody:"), 3, "nobody")):
            with self.subTest(args=args):
                self.assertIn(word, self.cp(*args, check=code).stderr)

    def test_05_a_full_disk_of_the_guest_is_told_and_holds_no_part(self):
        self.world.guest("box", "mkdir /tmp/full && mount -t tmpfs -o size=1m none /tmp/full")
        (self.dir / "big").write_bytes(os.urandom(4 * MIB))
        done = self.cp(self.dir / "big", "box:/tmp/full", check=1)
        self.assertIn("box:/tmp/full/big: No space left on device", done.stderr)
        self.assertEqual(self.world.guest("box", "ls -A /tmp/full; umount /tmp/full"), "")

    def test_06_another_user_of_the_guest_has_his_rights_only(self):
        (self.dir / "small").write_text("x")
        done = self.cp("--user", "nobody", self.dir / "small", "box:/etc", check=1)
        self.assertIn("denied", done.stderr)
        self.cp("--user", "nobody", self.dir / "small", "box:/tmp/theirs")
        self.assertEqual(self.world.guest("box", "stat -c %U /tmp/theirs"), "nobody")

    def test_06b_from_one_vm_to_another(self):
        self.world.start("bag")
        self.world.guest("box", "mkdir -p /tmp/t/sub && cd /tmp/t && echo text >a && chmod 751 a &&"
                         " ln a sub/other && truncate -s 64M sparse &&"
                         " dd if=/dev/urandom of=big bs=1M count=16 2>/dev/null && sync")
        self.cp("-r", "box:/tmp/t", "bag:/tmp/copy")
        told = json.loads(self.cp("--json", "box:/tmp/t/a", "box:/tmp/t/big", "bag:").stdout)
        self.assertEqual(told["files"], 2)
        see = "stat -c '%a %h' a; du -m sparse | cut -f1; cat a big | sha256sum"
        self.assertEqual(self.world.guest("bag", f"cd /tmp/copy && {see}"),
                         self.world.guest("box", f"cd /tmp/t && {see}"))
        self.assertEqual(self.world.guest("bag", "ls ~"), "a\nbig")
        # A target that cannot be ends it, though the source still has something to say.
        self.world.guest("box", "mkfifo /tmp/t/pipe")
        done = self.cp("box:/tmp/t/big", "bag:/proc/1/", check=1)
        self.assertIn("bag:/proc/1/big", done.stderr)
        done = self.cp("box:/tmp/t/big", "bag:/none/there", check=1)
        self.assertIn("/none", done.stderr)
        # The end of either is told.
        self.world.guest("bag", "rm -r /tmp/copy ~/big")
        self.world.guest("box", "rm -r /tmp/t; dd if=/dev/zero of=/tmp/slow bs=1M count=96 2>/dev/null")
        child = subprocess.Popen([harness.BIN / "vmc", "cp", "box:/tmp/slow", "bag:/tmp/slow"],
                                 env=self.world.env, stderr=subprocess.PIPE, text=True)
        harness.eventually("the copy begins", lambda: self.world.guest(
            "bag", "ls -A /tmp | grep vm_copy || true"))
        self.world.vmc("stop", "bag")
        said = child.communicate(timeout=harness.PATIENCE)[1]
        self.assertNotEqual(child.returncode, 0)
        self.assertTrue(said)
        self.world.guest("box", "rm /tmp/slow")

    def test_07_the_end_of_the_guest_leaves_no_part_here(self):
        self.world.guest("box", "dd if=/dev/zero of=/tmp/slow bs=1M count=96 2>/dev/null")
        target = self.dir / "target"
        target.mkdir()
        child = subprocess.Popen([harness.BIN / "vmc", "cp", "box:/tmp/slow", target],
                                 env=self.world.env, stderr=subprocess.PIPE, text=True)
        harness.eventually("the copy begins", lambda: os.listdir(target))
        self.world.vmc("stop", "box")
        said = child.communicate(timeout=harness.PATIENCE)[1]
        self.assertNotEqual(child.returncode, 0)
        self.assertTrue(said)
        self.assertEqual(os.listdir(target), [])


if __name__ == "__main__":
    harness.main()
