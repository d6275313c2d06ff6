#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the seeds of corpus/disk_import and corpus/disk_content. Needs zstd."""
import io
import pathlib
import struct
import subprocess
import zipfile

HERE = pathlib.Path(__file__).parent / "corpus"
NAME = b"CROSVMEXPMETA\0user.crostini.vm_type\0"
FRAME = 131072


def zstd(data, *options):
    return subprocess.run(["zstd", "-cq", *options], input=data, capture_output=True,
                          check=True).stdout


def skippable(magic, content):
    return struct.pack("<II", magic, len(content)) + content


def table(entries, checksums=False):
    body = b"".join(struct.pack("<II", *e) + b"sum!" * checksums for e in entries)
    return body + struct.pack("<IBI", len(entries), 0x80 * checksums, 0x8F92EAB1)


def export(checksums=False, field=b"7\0\0"):
    parts = [b"\0" * FRAME, bytes(range(256)) * 4]
    frames = [(zstd(p), len(p)) for p in parts] + [(skippable(0x184D2A55, NAME + field), 0)]
    entries = [(len(f), n) for f, n in frames]
    return b"".join(f for f, _ in frames) + skippable(0x184D2A5E, table(entries, checksums))


def zipped(*entries, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            z.writestr(info, data)
    return out.getvalue()


class Pipe(io.RawIOBase):
    """Where zipfile cannot seek: sizes come after the data."""

    def __init__(self):
        super().__init__()
        self.data = b""

    def writable(self):
        return True

    def write(self, data):
        self.data += bytes(data)
        return len(data)


def zip_streamed():
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as z:
        with z.open(zipfile.ZipInfo("b.img"), "w") as f:
            f.write(b"disk" * 500)
    return pipe.data


def ext4():
    disk = bytearray(2048)
    disk[1024 + 4:1024 + 8] = struct.pack("<I", 3 << 18)
    disk[1024 + 0x18] = 2
    disk[1024 + 0x38:1024 + 0x3a] = b"\x53\xef"
    disk[1024 + 0x60] = 0x80
    return bytes(disk)


def qcow2(**fields):
    values = {"backing": 0, "length": 0, "size": 1 << 30, "crypt": 0, "incompatible": 0}
    values.update(fields)
    return struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, values["backing"],
                       values["length"], 16, values["size"], values["crypt"], 1, 0x30000,
                       0x10000, 1, 0, 0, values["incompatible"], 0, 0, 4, 104)


def main():
    whole = export()
    imports = {
        "export": b"\0" + whole, "export_slow": b"\x04" + whole,
        "export_checksums": b"\xfc" + export(True), "export_old": b"\xfc" + export(False, b"5\0\xaa"),
        "export_cut": b"\xfc" + whole[:-20], "export_no_table": b"\xfc" + whole[:whole.rfind(b"\x5e\x2a")],
        "zstd": b"\xfc" + zstd(b"text " * 1000, "-19"),
        "zstd_checked": b"\xfc" + zstd(b"text " * 1000, "--check"),
        "zstd_long": b"\xfc" + zstd(b"a" * 5000, "--long=27"),
        "zip": b"\xfd" + zipped(("b.img", b"disk" * 500)),
        "zip_stored": b"\xfd" + zipped(("b.img", b"disk" * 500), method=zipfile.ZIP_STORED),
        "zip_bzip2": b"\xfd" + zipped(("b.img", b"disk" * 500), method=zipfile.ZIP_BZIP2),
        "zip_lzma": b"\xfd" + zipped(("b.img", b"disk" * 500), method=zipfile.ZIP_LZMA),
        "zip_two": b"\xfd" + zipped(("b.img", b"disk"), ("c.img", b"disk")),
        "zip_name": b"\xfd" + zipped(("../b.img", b"disk")),
        "zip_streamed": b"\xfd" + zip_streamed(), "zip_streamed_slow": b"\x05" + zip_streamed(),
        "raw": b"\xfe" + ext4(), "detect_ext4": b"\xff" + ext4(), "detect_short": b"\xffab",
        "detect_qcow2": b"\xff" + qcow2(),
    }
    contents = {
        "ext4": ext4(), "qcow2": qcow2(), "qcow2_backing": qcow2(backing=200, length=9),
        "qcow2_data_file": qcow2(incompatible=4), "qcow2_crypt": qcow2(crypt=2),
        "btrfs": b"\0" * 65600 + b"_BHRfS_M" + b"\x05" * 48,
        "mbr": b"\0" * 510 + b"\x55\xaa", "gpt": b"\0" * 512 + b"EFI PART",
        "metadata": NAME + b"42\0", "table": table([(10, FRAME), (47, 0)]),
        "table_checksums": table([(10, FRAME)] * 3, True), "empty": b"",
        "attrs": b"user.crostini.user_chosen_size=1\nuser.crostini.vm_type=12\nnew=1",
    }
    for folder, seeds in (("disk_import", imports), ("disk_content", contents)):
        (HERE / folder).mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (HERE / folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
