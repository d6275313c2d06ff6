#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Export and import: the layout, read by an independent reader; stock peers; bad input."""
import hashlib
import io
import os
import random
import socket
import struct
import subprocess
import threading
import unittest
import zipfile

import harness
from harness import FRAME, GIB, MIB

SEEK_MAGIC = 0x184D2A5E
FOOTER_MAGIC = 0x8F92EAB1
DATA_MAGIC = 0xFD2FB528
NAME = b"CROSVMEXPMETA\0user.crostini.vm_type\0"


def unzstd(data):
    return subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=True).stdout


def rezstd(*pieces):
    """Each piece a frame of its own, by stock zstd."""
    return b"".join(subprocess.run(["zstd", "-cq"], input=p, capture_output=True,
                                   check=True).stdout for p in pieces)


def metadata(field, name=NAME):
    return struct.pack("<II", 0x184D2A55, len(name + field)) + name + field


def seek_table(entries, checksums=False):
    body = b"".join(struct.pack("<II", *e) + (b"abcd" if checksums else b"") for e in entries)
    body += struct.pack("<IBI", len(entries), 0x80 if checksums else 0, FOOTER_MAGIC)
    return struct.pack("<II", SEEK_MAGIC, len(body)) + body


class Seekable:
    """A reader of the seek table, as the format's document tells it: from the end."""

    def __init__(self, data):
        self.data = data
        count, descriptor, magic = struct.unpack("<IBI", data[-9:])
        assert magic == FOOTER_MAGIC and descriptor == 0
        start = len(data) - 9 - 8 * count - 8
        head, length = struct.unpack_from("<II", data, start)
        assert (head, length) == (SEEK_MAGIC, 8 * count + 9)
        self.entries = list(struct.iter_unpack("<II", data[start + 8:-9]))
        self.starts, at = [], 0
        for packed, _ in self.entries:
            self.starts.append(at)
            at += packed
        assert at == start, "the frames do not fill the file up to the table"

    def frame(self, i):
        return self.data[self.starts[i]:self.starts[i] + self.entries[i][0]]


class Base(harness.Case):
    def setUp(self):
        super().setUp()
        self.need("zstd")

    def noisy(self, name="a.img", size=20 * MIB + 512):
        rng = random.Random(7)
        text = b"".join(b"%d " % rng.randrange(1000) for _ in range(300000))
        return self.disk(name, size, at_0=rng.randbytes(3 * MIB), at_5000000=text,
                         at_15000000=b"x")


class Export(Base):
    def test_layout(self):
        self.noisy()
        done = self.export("a.img", "a.zst", "--vm-type=7", digest="a.sum")
        data = (self.folder / "a.zst").read_bytes()
        self.assertEqual((self.folder / "a.sum").read_bytes(),
                         hashlib.sha256(data).hexdigest().upper().encode() + b"\n")
        self.assertEqual(done.keys["sha256"], hashlib.sha256(data).hexdigest())
        table = Seekable(data)
        raw = (self.folder / "a.img").read_bytes()
        frames = -(-len(raw) // FRAME)
        self.assertEqual(len(table.entries), frames + 1)
        self.assertEqual([e[1] for e in table.entries],
                         [FRAME] * (frames - 1) + [len(raw) - (frames - 1) * FRAME, 0])
        for i in (0, 1, 23, 38, 60, 114, frames - 1):  # each alone
            self.assertEqual(struct.unpack("<I", table.frame(i)[:4])[0], DATA_MAGIC)
            self.assertEqual(unzstd(table.frame(i)), raw[i * FRAME:(i + 1) * FRAME], i)
        self.assertEqual(table.frame(frames), metadata(b"7\0\0"))

    def test_type_of_two_digits_and_none(self):
        self.disk("a.img", 4096)
        self.export("a.img", "a.zst", "--vm-type=42")
        self.assertEqual(Seekable((self.folder / "a.zst").read_bytes()).frame(1),
                         metadata(b"42\0"))
        self.export("a.img", "a.zst")
        self.assertEqual(len(Seekable((self.folder / "a.zst").read_bytes()).entries), 1)

    def test_type_is_kept_with_the_image(self):
        self.ok("create", "a.img", "--size=4096", "--vm-type=3")
        done = self.export("a.img", "a.zst")
        self.assertEqual(done.keys["vm_type"], "3")
        self.assertEqual(self.feed("a.zst", "b.img").keys["vm_type"], "3")
        self.assertEqual(os.getxattr(self.folder / "b.img", "user.crostini.vm_type"), b"3")

    def test_stock_zstd_gives_the_raw_disk(self):
        self.noisy()
        self.export("a.img", "a.zst", "--vm-type=7")
        subprocess.check_call(["zstd", "-dq", self.folder / "a.zst", "-o", self.folder / "raw"])
        self.same("a.img", "raw")
        subprocess.check_call(["zstd", "-tq", self.folder / "a.zst"])

    def test_same_disk_same_bytes(self):
        # Holes or zeros, file or pipe, again: what is written is the same.
        self.noisy()
        full = self.folder / "full.img"
        full.write_bytes((self.folder / "a.img").read_bytes())
        sums = {self.export(name, "out.zst").keys["sha256"]
                for name in ("a.img", "full.img", "a.img")}
        running = self.start_pipe("a.img")
        sums.add(hashlib.sha256(running[1]).hexdigest())
        self.assertEqual(len(sums), 1)

    def start_pipe(self, image, *options):
        reader, writer = os.pipe()
        running = self.start("export", image, *options, data_fd=writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as data:
            got = data.read()
        return running.wait(), got

    def test_to_a_pipe_and_a_socket(self):
        self.noisy()
        self.export("a.img", "a.zst")
        want = (self.folder / "a.zst").read_bytes()
        done, got = self.start_pipe("a.img")
        self.assertEqual((done.word, got), ("ok", want))
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)  # somebody else's choice must not matter
        running = self.start("export", "a.img", data_fd=theirs.fileno())
        theirs.close()
        with ours, ours.makefile("rb") as data:
            self.assertEqual(data.read(), want)
        self.assertEqual(running.wait().word, "ok")

    def test_reader_that_goes_away(self):
        self.noisy()
        reader, writer = os.pipe()
        running = self.start("export", "a.img", data_fd=writer)
        os.close(writer)
        os.close(reader)
        self.assertEqual(running.wait().word, "failed")

    def test_holes_cost_nothing(self):
        self.disk("a.img", 64 * GIB, at_33000000000=os.urandom(MIB))
        done = self.export("a.img", "a.zst")
        self.assertEqual(done.keys["size"], str(64 * GIB))
        back = self.feed("a.zst", "b.img", "--vm-type=0")
        self.assertEqual(back.keys["size"], str(64 * GIB))
        self.assertLess(int(back.keys["allocated"]), 8 * MIB)
        for name in ("a.img", "b.img"):
            with open(self.folder / name, "rb") as f:
                f.seek(33000000000 - 5)
                part = f.read(MIB + 10)
                self.assertEqual((part[:5], part[-5:]), (b"\0" * 5, b"\0" * 5))
                self.assertNotEqual(part, b"\0" * len(part))

    def test_progress_is_monotone_and_seldom(self):
        self.noisy(size=200 * MIB)
        done = self.run_disk("export", "a.img", "--max-rate=100000000",
                             data_fd=os.open(self.folder / "o", os.O_WRONLY | os.O_CREAT))
        told = done.progress
        self.assertEqual(told, sorted(told))
        self.assertGreater(len(told), 0)
        self.assertTrue(all(d <= t == 200 * MIB for d, t in told), told)

    def test_nobody_listens(self):
        self.noisy()
        with open(os.devnull, "wb") as null:
            running = self.start("export", "a.img", f"--result-file={self.folder}/r",
                                 data_fd=null.fileno())
            running.reader.close()
            running.process.stderr.close()
            self.assertEqual(running.process.wait(timeout=harness.PATIENCE), 0)
        self.assertTrue((self.folder / "r").read_text().startswith("result ok size="))
        self.left("a.img", "r")

    def test_qcow2_is_exported_as_its_content(self):
        self.need("qemu-img")
        self.noisy(size=20 * MIB)
        self.ok("convert", "a.img", "--output=b.qcow2")
        one = self.export("a.img", "a.zst").keys["sha256"]
        self.assertEqual(self.export("b.qcow2", "b.zst").keys["sha256"], one)
        self.left("a.img", "b.qcow2", "a.zst", "b.zst")

    def test_disks_of_any_shape(self):
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        for i in range(12):
            size = rng.choice((512, FRAME, FRAME + 512, 8 * FRAME, rng.randrange(1, 9000) * 512))
            pieces = {f"at_{rng.randrange(size)}": rng.randbytes(rng.randrange(1, 3 * FRAME))
                      for _ in range(rng.randrange(4))}
            with self.subTest(seed=seed, i=i, size=size, at=list(pieces)):
                os.truncate(self.disk("a.img", size, **pieces), size)
                self.export("a.img", "a.zst", "--vm-type=1")
                data = (self.folder / "a.zst").read_bytes()
                self.assertEqual(sum(e[1] for e in Seekable(data).entries), size)
                self.assertTrue(unzstd(data) == (self.folder / "a.img").read_bytes())
                self.feed(data, "b.img")
                self.same("a.img", "b.img")

    def test_what_a_longer_file_had_is_gone(self):
        self.disk("a.img", MIB, at_0=b"x")
        want = self.export("a.img", "a.zst").keys["sha256"]
        self.disk("b.zst", MIB, at_900000=b"old")
        with open(self.folder / "b.zst", "r+b") as data:
            self.ok("export", "a.img", data_fd=data.fileno())
        self.assertEqual(hashlib.sha256((self.folder / "b.zst").read_bytes()).hexdigest(), want)

    def test_reader_of_the_progress_that_stopped_stops_nothing(self):
        self.noisy()
        self.export("a.img", "a.zst")
        want = (self.folder / "a.zst").read_bytes()
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        try:
            while os.write(writer, b"x" * 4096):
                pass
        except BlockingIOError:
            os.set_blocking(writer, True)
        data_reader, data_writer = os.pipe()
        with subprocess.Popen(
                [harness.PROGRAM, "export", f"--image={self.folder}/a.img",
                 f"--data-fd={data_writer}", f"--progress-fd={writer}"],
                pass_fds=(writer, data_writer)) as process:
            os.close(writer)
            os.close(data_writer)
            with os.fdopen(data_reader, "rb") as data:
                self.assertEqual(data.read(len(want)), want)  # only the result waits
            with os.fdopen(reader, "rb") as told:
                self.assertIn(b"result ok ", told.read())
            self.assertEqual(process.wait(timeout=harness.PATIENCE), 0)

    def test_missing_image(self):
        with open(os.devnull, "wb") as null:
            self.refused("missing", "export", "a.img", data_fd=null.fileno())


class Import(Base):
    """The same disk as above, back."""

    def packed(self):
        self.noisy()
        self.export("a.img", "a.zst", "--vm-type=7")
        return (self.folder / "a.zst").read_bytes()

    def test_round_trip_over_an_image_that_is_there(self):
        data = self.packed()
        self.disk("b.img", GIB, at_0=b"old")
        digest = hashlib.sha256(data).hexdigest().upper()
        with open(self.folder / "b.img", "rb") as before:
            self.feed(data, "b.img", f"--digest={digest}", f"--source-size={len(data)}")
            self.assertEqual(before.read(3), b"old")  # its readers keep it
        self.same("a.img", "b.img")
        st = (self.folder / "b.img").stat()
        self.assertEqual(st.st_mode & 0o7777, 0o600)
        self.assertLess(st.st_blocks * 512, 6 * MIB)
        self.assertEqual(os.getxattr(self.folder / "b.img", "user.crostini.user_chosen_size"),
                         b"1\0")
        self.left("a.img", "a.zst", "b.img")

    def test_from_a_socket(self):
        data = self.packed()
        ours, theirs = socket.socketpair()
        running = self.start("import", "b.img", data_fd=theirs.fileno())
        theirs.close()
        with ours:
            sender = threading.Thread(target=ours.sendall, args=(data,))
            sender.start()
            sender.join()
        self.assertEqual(running.wait().word, "ok")
        self.same("a.img", "b.img")

    def test_digest_must_agree(self):
        done = self.feed(self.packed(), "b.img", "--digest=" + "0" * 64, word="failed")
        self.assertIn("digest", done.text)
        self.left("a.img", "a.zst")

    def test_type_rule(self):
        known = self.packed()
        unknown = rezstd(b"\1" * 4096)
        for data, option, want in ((known, (), "ok"), (known, ("--vm-type=7",), "ok"),
                                   (known, ("--vm-type=8",), "failed"),
                                   (unknown, (), "failed"), (unknown, ("--vm-type=8",), "ok")):
            self.feed(data, "b.img", *option, word=want)

    def test_plain_zstd(self):
        raw = os.urandom(MIB) + b"\0" * MIB
        self.feed(rezstd(raw), "b.img", "--vm-type=0")
        self.assertEqual((self.folder / "b.img").read_bytes(), raw)
        self.feed(rezstd(raw[:MIB], raw[MIB:]), "b.img", "--vm-type=0")
        self.assertEqual((self.folder / "b.img").read_bytes(), raw)

    def test_exports_of_others(self):
        parts = [os.urandom(FRAME), b"a" * FRAME, b"b" * 512]
        frames = [rezstd(p) for p in parts]
        entries = [(len(f), len(p)) for f, p in zip(frames, parts)]
        meta = metadata(b"5\0\xaa")  # the byte that the original leaves
        whole = b"".join(frames) + meta
        counted = entries + [(len(meta), 0)]
        pad = struct.pack("<II", 0x184D2A50, 5000) + b"p" * 5000
        for name, data, found in (
                ("of the original", whole + seek_table(counted), "5"),
                ("with checksums", whole + seek_table(counted, True), "5"),
                ("skipped frames not counted", whole + seek_table(entries), "5"),
                ("metadata too far away",
                 whole + pad + seek_table(counted + [(len(pad), 0)]), None)):
            with self.subTest(name):
                if found:
                    self.assertEqual(self.feed(data, "b.img").keys["vm_type"], found)
                else:
                    self.feed(data, "b.img", word="failed")
                    self.feed(data, "b.img", "--vm-type=1")
                self.assertEqual((self.folder / "b.img").read_bytes(), b"".join(parts))

    def test_damaged_zstd(self):
        data = self.packed()
        table = Seekable(data)
        between = table.starts[100]
        flipped = bytearray(data)
        flipped[len(data) - 9 - 8 * 50] ^= 1  # in the seek table
        for name, bad in (("in a frame", data[:-len(data) // 3]),
                          ("between two frames", data[:between]),
                          ("before the metadata", data[:table.starts[-1]]),
                          ("in the table", data[:-20]), ("before the footer", data[:-9]),
                          ("another table", bytes(flipped)), ("more", data + b"more"),
                          ("a frame again", data + table.frame(0)),
                          ("a frame missing", table.frame(0) + data[table.starts[2]:]),
                          ("no magic", data[:table.starts[1]] + b"\0" * 40)):
            with self.subTest(name):
                self.feed(bad, "b.img", word="failed")
                self.left("a.img", "a.zst")

    def test_no_disk(self):
        self.feed(b"", "b.img", "--vm-type=0", word="badimage")
        self.feed(b"abc", "b.img", "--vm-type=0", word="badimage")
        self.feed(b"something else altogether" * 9999, "b.img", "--vm-type=0", word="badimage")
        self.feed(rezstd(b""), "b.img", "--vm-type=0", word="badimage")
        self.feed(b"\1" * 1000, "b.img", "--vm-type=0", "--source=raw", word="badimage")
        with open(self.folder / "w", "wb") as unreadable:
            self.refused("badimage", "import", "b.img", "--vm-type=0",
                         data_fd=unreadable.fileno())
        self.left("w")

    def test_bomb_ends_at_the_limit(self):
        bomb = subprocess.run("head -c 3G /dev/zero | zstd -cq -19 --long=27", shell=True,
                              capture_output=True, check=True).stdout
        self.assertLess(len(bomb), MIB)
        self.feed(bomb, "b.img", "--vm-type=0", f"--max-size={GIB}", word="failed")
        self.left()
        # More memory than anybody needs to read a stream.
        far = subprocess.run("head -c 300M /dev/zero | zstd -cq --ultra -22 --long=31",
                             shell=True, capture_output=True, check=True).stdout
        self.feed(far, "b.img", "--vm-type=0", word="failed")

    def zip(self, *entries, method=zipfile.ZIP_DEFLATED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as z:
            for name, data in entries:
                z.writestr(name, data)
        return out.getvalue()

    def test_zip(self):
        raw = os.urandom(MIB) + b"\0" * 5 * MIB + b"end" + b"\0" * 509
        for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
            done = self.feed(self.zip(("b.img", raw), method=method), "b.img", "--vm-type=1")
            self.assertEqual((self.folder / "b.img").read_bytes(), raw)
            self.assertLess(int(done.keys["allocated"]), 2 * MIB)

    def test_zip_of_stock_zip_through_a_pipe(self):
        self.need("zip")
        self.noisy("b.img")
        data = subprocess.check_output(["zip", "-q", "-", "b.img"], cwd=self.folder)
        (self.folder / "b.img").rename(self.folder / "a.img")
        self.feed(data, "b.img", "--vm-type=1")
        self.same("a.img", "b.img")

    def test_bad_zips(self):
        raw = os.urandom(MIB)
        good = self.zip(("b.img", raw))
        broken = bytearray(good)
        broken[500000] ^= 0xff
        for name, data in (("wrong name", self.zip(("c.img", raw))),
                           ("in a folder", self.zip(("x/b.img", raw))),
                           ("climbing", self.zip(("../b.img", raw))),
                           ("a folder", self.zip(("b.img/", b""))),
                           ("two", self.zip(("b.img", raw), ("c.img", raw))),
                           ("none before", self.zip(("c.img", raw), ("b.img", raw))),
                           ("cut short", good[:500000]), ("broken", bytes(broken))):
            with self.subTest(name):
                self.feed(data, "b.img", "--vm-type=1", word="failed")
                self.left()

    def test_raw_disks_that_are_known(self):
        self.need("mke2fs")
        self.ok("create", "a.img", f"--size={64 * MIB}", "--fs=ext4")
        self.feed("a.img", "b.img", "--vm-type=0")
        self.same("a.img", "b.img")
        mbr = b"\0" * 510 + b"\x55\xaa" + os.urandom(MIB)
        self.feed(mbr, "b.img", "--vm-type=0")
        self.assertEqual((self.folder / "b.img").read_bytes(), mbr)

    def test_attributes_stay_when_told(self):
        self.ok("create", "a.img", f"--size={MIB}", "--vm-type=9")
        self.noisy("new", 20 * MIB)
        self.feed("new", "a.img", "--source=raw", "--keep-attributes")
        self.same("new", "a.img")
        path = self.folder / "a.img"
        self.assertEqual({k: os.getxattr(path, k) for k in os.listxattr(path)},
                         {"user.crostini.vm_type": b"9"})
        self.feed("new", "b.img", "--source=raw", "--keep-attributes")  # none are there
        self.assertEqual(os.listxattr(self.folder / "b.img"), [])

    def test_qcow2_image_is_replaced_by_qcow2_raw_and_zstd(self):
        self.need("qemu-img")
        self.ok("create", "a.qcow2", f"--size={MIB}", "--vm-type=9")
        self.noisy("new.img", 64 * MIB)
        self.ok("convert", "new.img", "--output=new.qcow2")
        self.export("new.img", "new.zst", "--vm-type=9")
        for source, kind in (("new.qcow2", "qcow2"), ("new.img", "raw"), ("new.zst", "zstd")):
            done = self.feed(source, "a.qcow2", f"--source={kind}", "--keep-attributes")
            self.assertEqual([done.keys[k] for k in ("size", "format", "vm_type")],
                             [str(64 * MIB), "qcow2", "9"])
            self.ok("convert", "a.qcow2", "--output=back.img")
            self.same("new.img", "back.img")
            (self.folder / "back.img").unlink()
        self.left("a.qcow2", "new.img", "new.qcow2", "new.zst")

    def qcow2(self, name, *options):
        subprocess.check_call(["qemu-img", "create", "-q", "-f", "qcow2", *options,
                               self.folder / name, "64M"])

    def test_qcow2(self):
        self.need("qemu-img")
        self.noisy(size=64 * MIB)
        subprocess.check_call(["qemu-img", "convert", "-O", "qcow2", self.folder / "a.img",
                               self.folder / "a.qcow2"])
        self.feed("a.qcow2", "b.img", "--vm-type=0")
        self.same("a.img", "b.img")
        self.left("a.img", "a.qcow2", "b.img")
        self.feed("a.qcow2", "b.img", "--vm-type=0", f"--max-size={MIB}", word="failed")

    def test_qcow2_that_refers_to_others(self):
        self.need("qemu-img")
        (self.folder / "secret").write_bytes(b"secret" * 100000)
        self.qcow2("back", "-b", self.folder / "secret", "-F", "raw")
        self.qcow2("data", "-o", f"data_file={self.folder}/other,data_file_raw=on")
        for name in ("back", "data"):
            self.feed(name, "b.img", "--vm-type=0", word="badimage")
        self.left("secret", "back", "data", "other")

    def test_raw_disk_with_the_magic_of_qcow2_stays_raw_when_told(self):
        raw = b"QFI\xfb" + b"x" * 1020
        self.feed(raw, "b.img", "--vm-type=0", "--source=raw")
        self.assertEqual((self.folder / "b.img").read_bytes(), raw)
        self.feed(raw, "b.img", "--vm-type=0", word="badimage")


if __name__ == "__main__":
    unittest.main(verbosity=2)
