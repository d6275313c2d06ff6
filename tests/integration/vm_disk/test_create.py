#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""New images, their sizes, formats, file systems and attributes; copies; other sizes."""
import fcntl
import json
import os
import subprocess
import unittest

import harness
from harness import GIB, MIB

TYPE = "user.crostini.vm_type"
CHOSEN = "user.crostini.user_chosen_size"
SBIN = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}


def blkid(path):
    return subprocess.run(["blkid", "-p", "-o", "value", "-s", "TYPE", path], env=SBIN,
                          capture_output=True, text=True, check=False).stdout.strip()


class Create(harness.Case):
    def attrs(self, name):
        path = self.folder / name
        return {k: os.getxattr(path, k) for k in os.listxattr(path)}

    def test_sparse_has_size_and_no_blocks(self):
        done = self.ok("create", "a.img", f"--size={GIB}", "--vm-type=12")
        self.assertEqual(done.keys["size"], str(GIB))
        st = (self.folder / "a.img").stat()
        self.assertEqual((st.st_size, st.st_mode & 0o7777), (GIB, 0o600))
        self.assertLess(st.st_blocks * 512, MIB)
        self.assertEqual(self.attrs("a.img"), {TYPE: b"12"})
        self.left("a.img")

    def test_full_has_all_blocks_and_is_a_users_choice(self):
        self.ok("create", "a.img", f"--size={64 * MIB}", "--allocation=full")
        self.assertGreaterEqual((self.folder / "a.img").stat().st_blocks * 512, 64 * MIB)
        self.assertEqual(self.attrs("a.img"), {CHOSEN: b"1\0"})

    def test_size_is_rounded_down(self):
        self.ok("create", "a.img", "--size=10000")
        self.assertEqual((self.folder / "a.img").stat().st_size, 8192)
        self.refused("failed", "create", "b.img", "--size=4095")
        self.left("a.img")

    def test_without_a_size_it_is_most_of_what_is_free(self):
        fs = os.statvfs(self.folder)
        for option, want in (((), fs.f_bavail * fs.f_frsize * 0.9),
                             (("--storage-balloon",), fs.f_blocks * fs.f_frsize * 0.95)):
            done = self.ok("create", f"a{len(option)}.img", *option)
            size = int(done.keys["size"])
            self.assertEqual(size % 4096, 0)
            # Others write to this file system, too.
            self.assertAlmostEqual(size / max(want, GIB), 1, delta=0.05)

    def test_what_is_there_stays(self):
        self.disk("a.img", MIB, at_5=b"mine")
        self.refused("exists", "create", "a.img", "--size=4096")
        self.assertEqual((self.folder / "a.img").stat().st_size, MIB)
        os.symlink("nowhere", self.folder / "link.img")
        self.refused("exists", "create", "link.img", "--size=4096")
        self.left("a.img", "link.img")

    def test_qcow2(self):
        self.need("qemu-img")
        done = self.ok("create", "a.qcow2", f"--size={GIB}")
        self.assertEqual((done.keys["size"], done.keys["format"]), (str(GIB), "qcow2"))
        info = json.loads(subprocess.check_output(
            ["qemu-img", "info", "--output=json", self.folder / "a.qcow2"]))
        self.assertEqual((info["format"], info["virtual-size"]), ("qcow2", GIB))
        self.left("a.qcow2")

    def test_file_systems(self):
        for fs, program in (("ext4", "mke2fs"), ("btrfs", "mkfs.btrfs")):
            with self.subTest(fs):
                self.need(program, "blkid")
                self.ok("create", f"{fs}.img", f"--size={256 * MIB}", f"--fs={fs}")
                self.assertEqual(blkid(self.folder / f"{fs}.img"), fs)

    def test_ext4_is_made_and_tuned_as_told(self):
        self.need("mke2fs", "dumpe2fs")
        self.ok("create", "a.img", f"--size={64 * MIB}", "--fs=ext4", "--fs-option=-Lname",
                "--tune-option=-c7")
        told = subprocess.check_output(["dumpe2fs", "-h", self.folder / "a.img"], text=True,
                                       env=SBIN, stderr=subprocess.DEVNULL)
        self.assertRegex(told, r"volume name:\s+name\n")
        self.assertRegex(told, r"Maximum mount count:\s+7\n")
        self.assertNotIn("casefold", told)

    def test_options_that_read_files_are_refused(self):
        for option in ("-d/etc", "-Jdevice=/dev/null", "-zundo", "/etc/passwd", "-L", "--help"):
            done = self.refused("failed", "create", "a.img", f"--size={64 * MIB}", "--fs=ext4",
                                f"--fs-option={option}")
            self.assertIn(option, done.text)
        self.left()

    def test_qcow2_with_file_system(self):
        self.need("mke2fs", "qemu-img", "blkid")
        self.ok("create", "a.qcow2", f"--size={256 * MIB}", "--fs=ext4", "--vm-type=3")
        self.ok("convert", "a.qcow2", "--output=b.img")
        self.assertEqual(blkid(self.folder / "b.img"), "ext4")
        self.assertEqual(self.attrs("b.img"), {TYPE: b"3"})
        self.left("a.qcow2", "b.img")

    def test_content_comes_from_a_descriptor(self):
        self.need("mke2fs", "zstd", "blkid")
        self.ok("create", "a.img", f"--size={64 * MIB}", "--fs=ext4")
        packed = subprocess.check_output(["zstd", "-c", self.folder / "a.img"])
        done = self.feed(packed, "b.img", f"--size={128 * MIB}", "--fs=ext4", command="create")
        self.assertEqual(done.keys["size"], str(128 * MIB))
        # The same file system: it was not made again.
        with open(self.folder / "a.img", "rb") as a, open(self.folder / "b.img", "rb") as b:
            self.assertEqual(a.read(2 * MIB), b.read(2 * MIB))
        # Another one: nobody's data is overwritten.
        done = self.feed(packed, "c.img", f"--size={256 * MIB}", "--fs=btrfs", word="failed",
                         command="create")
        self.assertIn("ext4", done.text)
        self.left("a.img", "b.img")

    def test_content_that_is_larger_than_the_size_is_kept_whole(self):
        self.need("zstd")
        self.disk("a", 8 * MIB, at_8000000=b"end")
        subprocess.check_call(["zstd", "-q", self.folder / "a"])
        done = self.feed("a.zst", "b.img", f"--size={MIB}", command="create")
        self.assertEqual(done.keys["size"], str(8 * MIB))
        self.same("a", "b.img")


class Copy(harness.Case):
    def test_holes_stay_holes(self):
        self.disk("a.img", GIB, at_500000000=os.urandom(MIB))
        self.ok("convert", "a.img", "--output=b.img")
        self.same("a.img", "b.img")
        self.assertLess((self.folder / "b.img").stat().st_blocks * 512, 4 * MIB)

    def test_both_ways_through_qcow2(self):
        self.need("qemu-img")
        self.disk("a.img", 100 * MIB, at_50000000=os.urandom(MIB))
        self.ok("convert", "a.img", "--output=b.qcow2", "--vm-type=5")
        done = self.ok("convert", "b.qcow2", "--output=c.img")
        self.assertEqual(done.keys["vm_type"], "5")
        self.same("a.img", "c.img")
        self.left("a.img", "b.qcow2", "c.img")

    def test_target_that_is_there_stays(self):
        self.disk("a.img", MIB)
        self.disk("b.img", MIB, at_0=b"mine")
        self.refused("exists", "convert", "a.img", "--output=b.img")
        self.assertEqual((self.folder / "b.img").read_bytes()[:4], b"mine")

    def test_missing_source(self):
        self.refused("missing", "convert", "a.img", "--output=b.img")
        self.left()

    def test_backing_file_is_never_followed(self):
        self.need("qemu-img")
        (self.folder / "secret").write_bytes(b"secret" * 100000)
        subprocess.check_call(["qemu-img", "create", "-q", "-f", "qcow2", "-b",
                               self.folder / "secret", "-F", "raw", self.folder / "a.qcow2"])
        self.assertIn("backing", self.refused("badimage", "convert", "a.qcow2",
                                              "--output=b.img").text)
        self.left("a.qcow2", "secret")


class Resize(harness.Case):
    def size(self, name):
        return (self.folder / name).stat().st_size

    def test_grow_same_and_shrink_of_zeros(self):
        self.disk("a.img", MIB, at_1000=b"data")
        for size in (GIB, GIB, 8192 + 77):
            self.ok("resize", "a.img", f"--size={size}", "--user-chosen-size")
            self.assertEqual(self.size("a.img"), size // 4096 * 4096)
        self.assertEqual(os.getxattr(self.folder / "a.img", CHOSEN), b"1\0")

    def test_data_is_never_cut_off(self):
        self.disk("a.img", MIB, at_500000=b"data")
        self.refused("failed", "resize", "a.img", "--size=8192")
        self.assertEqual(self.size("a.img"), MIB)

    def test_grow_with_all_blocks(self):
        self.disk("a.img", MIB)
        self.ok("resize", "a.img", f"--size={32 * MIB}", "--allocation=full")
        self.assertGreaterEqual((self.folder / "a.img").stat().st_blocks * 512, 31 * MIB)

    def fsck(self, name):
        done = subprocess.run(["e2fsck", "-fn", self.folder / name], env=SBIN, check=False,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_file_system_goes_with_the_disk(self):
        self.need("mke2fs", "e2fsck", "resize2fs", "debugfs")
        self.ok("create", "a.img", f"--size={64 * MIB}", "--fs=ext4")
        (self.folder / "file").write_bytes(os.urandom(MIB))
        subprocess.run(["debugfs", "-w", "-R", "write file file", "a.img"], cwd=self.folder,
                       env=SBIN, check=True, capture_output=True)
        self.ok("resize", "a.img", f"--size={512 * MIB}", "--grow-fs")
        self.assertRegex(self.fsck("a.img"), "/(524288|131072) blocks")  # of 1 or 4 KiB
        done = self.refused("failed", "resize", "a.img", f"--size={100 * MIB}")
        self.assertIn(str(512 * MIB), done.text)
        self.assertEqual(self.size("a.img"), 512 * MIB)
        self.ok("resize", "a.img", f"--size={100 * MIB}", "--shrink-fs")
        self.assertEqual(self.size("a.img"), 100 * MIB)
        self.fsck("a.img")
        subprocess.run(["debugfs", "-R", "dump file back", "a.img"], cwd=self.folder, env=SBIN,
                       check=True, capture_output=True)
        self.same("file", "back")
        # Too small for what is in it: the file system says no, and nothing is cut.
        self.refused("failed", "resize", "a.img", f"--size={MIB}", "--shrink-fs")
        self.assertEqual(self.size("a.img"), 100 * MIB)
        self.fsck("a.img")

    def test_file_system_that_did_not_follow_does_the_next_time(self):
        self.need("mke2fs", "e2fsck", "resize2fs")
        self.ok("create", "a.img", f"--size={64 * MIB}", "--fs=ext4")
        self.ok("resize", "a.img", f"--size={128 * MIB}")
        self.ok("resize", "a.img", f"--size={128 * MIB}", "--grow-fs", "--allocation=full")
        self.assertRegex(self.fsck("a.img"), "/(131072|32768) blocks")

    def test_file_system_that_is_damaged_keeps_the_size(self):
        self.need("mke2fs", "e2fsck", "resize2fs")
        self.ok("create", "a.img", f"--size={64 * MIB}", "--fs=ext4")
        with open(self.folder / "a.img", "r+b") as image:
            for place in range(2048, 4 * MIB, 4096):  # e2fsck would have to ask
                image.seek(place)
                image.write(b"\xa5" * 2048)
        for _ in range(2):
            self.refused("failed", "resize", "a.img", f"--size={128 * MIB}", "--grow-fs")
            self.assertEqual(self.size("a.img"), 64 * MIB)

    def test_btrfs_is_not_cut(self):
        self.need("mkfs.btrfs")
        self.ok("create", "a.img", f"--size={512 * MIB}", "--fs=btrfs")
        for option in ((), ("--shrink-fs",)):
            self.refused("failed", "resize", "a.img", f"--size={256 * MIB}", *option)
        self.assertEqual(self.size("a.img"), 512 * MIB)

    def test_qcow2(self):
        self.need("mke2fs", "qemu-img", "resize2fs")
        self.ok("create", "a.qcow2", f"--size={256 * MIB}", "--fs=ext4", "--vm-type=9")
        self.ok("resize", "a.qcow2", f"--size={512 * MIB}")
        self.refused("failed", "resize", "a.qcow2", f"--size={128 * MIB}")
        done = self.ok("resize", "a.qcow2", f"--size={128 * MIB}", "--shrink-fs")
        self.assertEqual(done.keys["size"], str(128 * MIB))
        done = self.ok("convert", "a.qcow2", "--output=b.img")
        self.assertEqual((done.keys["size"], done.keys["vm_type"]), (str(128 * MIB), "9"))
        self.fsck("b.img")
        self.left("a.qcow2", "b.img")


class Locks(harness.Case):
    def test_second_operation_is_busy(self):
        self.disk("a.img", MIB)
        reader, writer = os.pipe()  # an import that waits for its bytes
        with os.fdopen(writer, "wb") as data:
            first = self.start("import", "a.img", "--vm-type=0", "--source=raw", data_fd=reader)
            os.close(reader)
            data.write(b"\0" * 300000)
            data.flush()
            self.assertTrue(first.line().startswith("progress"))
            self.refused("busy", "resize", "a.img", "--size=8192")
            self.refused("busy", "convert", "a.img", "--output=b.img")
            self.ok("create", "other.img", "--size=4096")
            first.process.terminate()
            first.wait()
        self.ok("resize", "a.img", "--size=8192")

    def test_image_of_a_vm_of_crosvm_is_busy(self):
        with open(self.disk("a.img", MIB), "rb") as vm:
            fcntl.flock(vm, fcntl.LOCK_EX)
            self.refused("busy", "resize", "a.img", "--size=8192")
            with open(os.devnull, "wb") as null:
                self.refused("busy", "export", "a.img", data_fd=null.fileno())
                self.ok("export", "a.img", "--force", data_fd=null.fileno())
            self.feed(b"PK\3\4", "a.img", "--vm-type=0", word="busy")
        self.ok("resize", "a.img", "--size=8192")

    def test_image_of_a_vm_of_qemu_is_busy_and_the_other_way_round(self):
        self.need("qemu-io")
        self.disk("a.img", MIB)
        with subprocess.Popen(["qemu-io", "-f", "raw", self.folder / "a.img"], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as vm:
            # It echoes nothing before it has opened the image.
            vm.stdin.write("length\n")
            vm.stdin.flush()
            vm.stdout.readline()
            self.refused("busy", "resize", "a.img", "--size=8192")
            with open(os.devnull, "wb") as null:
                self.refused("busy", "export", "a.img", data_fd=null.fileno())
            vm.stdin.close()
        reader, writer = os.pipe()
        with os.fdopen(writer, "wb") as data:
            first = self.start("import", "a.img", "--vm-type=0", "--source=raw", data_fd=reader)
            os.close(reader)
            data.write(b"\0" * 300000)
            data.flush()
            first.line()
            done = subprocess.run(["qemu-io", "-f", "raw", "-c", "length", self.folder / "a.img"],
                                  capture_output=True, text=True, check=False)
            self.assertIn("lock", done.stderr)
            first.process.terminate()
            first.wait()

    def test_readers_may_share(self):
        self.disk("a.img", MIB)
        with open(self.folder / "a.img", "rb") as other, open(os.devnull, "wb") as null:
            fcntl.flock(other, fcntl.LOCK_SH)
            self.ok("export", "a.img", data_fd=null.fileno())


class Names(harness.Case):
    def test_names_beneath_a_folder(self):
        (self.folder / "owner").mkdir()
        (self.folder / "out").mkdir()
        os.symlink("../out", self.folder / "owner" / "link")
        fd = os.open(self.folder / "owner", os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, fd)
        self.ok("create", "a.img", "--size=4096", dir_fd=fd)
        self.assertTrue((self.folder / "owner" / "a.img").exists())
        for name in ("../a.img", "/tmp/a.img", "link/a.img", "..", ".hidden", ".lock"):
            self.refused("failed", "create", name, "--size=4096", dir_fd=fd)
        self.assertEqual(list((self.folder / "out").iterdir()), [])

    def test_image_is_a_file_and_no_link(self):
        self.disk("a.img", MIB)
        os.symlink("a.img", self.folder / "link.img")
        (self.folder / "dir.img").mkdir()
        os.mkfifo(self.folder / "pipe.img")
        for name in ("link.img", "dir.img", "pipe.img"):
            self.refused("failed", "resize", name, "--size=8192")
            with open(os.devnull, "wb") as null:
                self.refused("failed", "export", name, data_fd=null.fileno())

    def test_wrong_words(self):
        for words in ((), ("create",), ("create", "--image=a", "b"), ("fly", "--image=a"),
                      ("export", "--image=a"), ("create", "--image=a", "--size=-1"),
                      ("create", "--image=a", "--size=9", "--format=vmdk"),
                      ("create", "--image=a", "--allocation=full"), ("convert", "--image=a"),
                      ("create", "--image=a", "--fs-option=-b4096"), ("resize", "--image=a"),
                      ("import", "--image=a", "--data-fd=0", "--vm-type=100"),
                      ("import", "--image=a", "--data-fd=0", "--digest=12"), ("--fly",)):
            done = subprocess.run([harness.PROGRAM, *words], cwd=self.folder, check=False,
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn("vm_disk --help", done.stderr)
        self.left()


if __name__ == "__main__":
    unittest.main(verbosity=2)
