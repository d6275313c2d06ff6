#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the seeds of fuzz_ipc, fuzz_dbus and fuzz_concierge into tests/fuzz/corpus.

Requests are built by hand, field by field, and D-Bus messages byte by byte (D-Bus specification
0.41, "Message Protocol"), so that each seed says one thing. Methods are numbered as in
core/concierge/service.c.
"""
import pathlib
import re
import struct

ROOT = pathlib.Path(__file__).resolve().parent
CORPUS = ROOT / "corpus"
SERVICE = (ROOT.parents[1] / "core" / "concierge" / "service.c").read_text()
METHODS = re.findall(r'(?:METHOD|REFUSED)\("(\w+)"', SERVICE)
NAME, PATH = "org.chromium.VmConcierge", "/org/chromium/VmConcierge"
USER = "uid:1000".encode().hex()
FIVE = "uid:5".encode().hex()


def method(name):
    return METHODS.index(name)


def varint(n):
    out = bytearray()
    while n >= 128:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*fields):
    return b"".join(field(n, v) for n, v in fields)


def start(name, owner=USER, *more):
    """Kernel and root image by descriptor, without a disk; see StartVmRequest."""
    return message((4, name), (7, owner), (1001, 1), (1000, 256), (12, 1), (1003, "tcg"), *more)


FD_KERNEL, FD_ROOT = (16, 0), (16, 1)
SPEC = (1, message((3, "dlc"), (6, "wayland")))
DISK = (2, message((1, "/d0"), (3, "ext4"), (6, 1)))


def stop(name, owner=USER):
    return message((1, name), (2, owner))


# fuzz_ipc: method, uid, number of descriptors, request
def ipc(name, request=b"", uid=1, fds=0):
    return bytes([method(name), uid, fds]) + request


ROWS = {
    "AdjustVm": message((1, "demo"), (2, FIVE), (3, "op"), (4, "value")),
    "AggressiveBalloon": message((1, FIVE), (2, 1)),
    "AttachUsbDevice": message((1, "demo"), (2, FIVE), (3, 1), (4, 2)),
    "CreateDiskImage": message((1, FIVE), (2, "demo"), (3, 1 << 30), (4, 1), (5, 1)),
    "DestroyDiskImage": message((1, FIVE), (2, "demo")),
    "DiskImageStatus": message((1, "uuid")),
    "ExportDiskImage": message((1, FIVE), (2, "demo"), (3, 1)),
    "GetVmInfo": message((1, "demo"), (2, FIVE)),
    "GetVmLaunchAllowed": message((1, "demo"), (2, FIVE)),
    "GetVmLogs": message((1, "demo"), (2, FIVE)),
    "ListVmDisks": message((1, FIVE), (2, 1), (3, 1), (4, "demo")),
    "ResizeDiskImage": message((1, FIVE), (2, "demo"), (3, 1 << 40)),
    "SetVmCpuRestriction": message((1, 1), (2, 2)),
    "StopVm": stop("demo", FIVE),
    "SuspendVm": message((1, "demo"), (2, FIVE)),
}
IPC = {f"row-{n}": ipc(n, r, uid=5) for n, r in ROWS.items()}
IPC |= {
    "start-all": ipc("StartVm", start("demo", FIVE, SPEC, DISK, DISK, FD_KERNEL, FD_ROOT,
                                      (17, "quiet"), (17, "a=b"), (20, 60), (25, "oem"),
                                      (26, "user"), (28, 3), (21, 2), (1002, "qemu")), 5, 2),
    "start-packed-fds": ipc("StartVm", start("demo", FIVE, (16, b"\0\1\3")), 5, 3),
    "start-disks": ipc("StartVm", start("demo", FIVE, *[DISK] * 40), 5),
    "nested-cut": ipc("StartVm", start("demo", FIVE) + b"\x0a\x7f\x0a\x02/k", 5),
    "group": ipc("StartVm", b"\x0b\x0c", 5),
    "wire-types": ipc("GetVmInfo", b"\x0d\1\2\3\4\x11\1\2\3\4\5\6\7\10\x18\1", 5),
    "long-varint": ipc("GetVmInfo", b"\x18" + b"\xff" * 10, 5),
    "not-utf8": ipc("GetVmInfo", message((1, b"\xff\xfe\0"), (2, FIVE)), 5),
    "daemon": ipc("StopAllVms", uid=1), "stranger": ipc("StopAllVms", uid=9),
}


# fuzz_dbus
def parts(name, argument=None, fds=0, shape=0, uid=0):
    """shape: 1 array of descriptors, 2 an argument even if it is empty, 4 no reply wanted"""
    shape |= 2 * (argument is not None)
    return bytes([1, method(name), fds, shape, uid]) + (argument or b"")


def align(data, n):
    return data + bytes(-len(data) % n)


def string(value, signature=False):
    raw = value.encode()
    return (bytes([len(raw)]) if signature else struct.pack("<I", len(raw))) + raw + b"\0"


def wire(member, body=b"", signature="", interface=NAME, path=PATH, kind=1, flags=0, fds=None,
         uid=0):
    fields = [(1, "o", string(path)), (6, "s", string(NAME)), (3, "s", string(member))]
    if interface is not None:
        fields.append((2, "s", string(interface)))
    if signature:
        fields.append((8, "g", string(signature, True)))
    if fds is not None:
        fields.append((9, "u", struct.pack("<I", fds)))
    packed = b""
    for code, kind_of, value in fields:
        packed = align(packed, 8) + bytes([code]) + string(kind_of, True)
        packed = (align(packed, 4) if kind_of != "g" else packed) + value
    head = struct.pack("<BBBBIII", ord("l"), kind, flags, 1, len(body), 77, len(packed))
    return bytes([uid << 1]) + align(head + packed, 8) + body


def array(data):
    return struct.pack("<I", len(data)) + data


PROPERTIES = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
ASKED = align(string(NAME), 4)
DBUS = {
    "start": parts("StartVm", start("demo", FIVE, FD_KERNEL, FD_ROOT), fds=2, shape=1, uid=5),
    "start-no-fds": parts("StartVm", start("demo", FIVE), uid=5),
    "start-many-fds": parts("StartVm", start("demo", FIVE), fds=18, shape=1, uid=5),
    "import": parts("ImportDiskImage", message((1, FIVE), (2, "demo")), fds=1, uid=5),
    "import-two": parts("ImportDiskImage", message((1, FIVE), (2, "demo")), fds=2, uid=5),
    "import-array": parts("ImportDiskImage", message((1, FIVE)), fds=1, shape=1, uid=5),
    "no-argument": parts("GetDnsSettings"),
    "argument-too-many": parts("GetDnsSettings", b""),
    "empty-argument": parts("ListVms", b""),
    "silent": parts("ListVms", message((1, FIVE)), shape=4, uid=5),
    "silent-refused": parts("StopAllVms", shape=4, uid=9),
    "fds-out": parts("GetVmMemoryManagementKillsConnection", b"", uid=1),
    "not-protobuf": parts("GetVmInfo", b"\xff\xff\xff", uid=5),
    "wire-list": wire("ListVms", array(message((1, FIVE))), "ay", uid=5),
    "wire-no-interface": wire("ListVms", array(message((1, FIVE))), "ay", interface=None, uid=5),
    "wire-silent": wire("ListVms", array(b""), "ay", flags=1, uid=5),
    "wire-bare": wire("StopAllVms", uid=1),
    "wire-fd-of-none": wire("ImportDiskImage", align(array(b"\x0a\0"), 4) + struct.pack("<I", 0),
                            "ayh", uid=5),
    "wire-fds-of-none": wire("StartVm", align(array(b""), 4) + array(struct.pack("<II", 0, 9)),
                             "ayah", uid=5),
    "wire-string": wire("ListVms", string("hello"), "s", uid=5),
    "wire-strings": wire("ListVms", array(align(array(b"ab"), 4)), "aay", uid=5),
    "wire-signal": wire("ListVms", array(b""), "ay", kind=4),
    "wire-return": wire("ListVms", array(b""), "ay", kind=2),
    "wire-unknown": wire("NoSuchMethod", array(b""), "ay"),
    "wire-elsewhere": wire("ListVms", array(b""), "ay", interface="org.example"),
    "introspect": wire("Introspect", interface=INTROSPECTABLE),
    "introspect-silent": wire("Introspect", interface=INTROSPECTABLE, flags=1),
    "get": wire("Get", ASKED + string("Version"), "ss", interface=PROPERTIES),
    "get-capabilities": wire("Get", ASKED + string("Capabilities"), "ss", interface=PROPERTIES),
    "get-unknown": wire("Get", ASKED + string("Size"), "ss", interface=PROPERTIES),
    "get-one": wire("Get", string(NAME), "s", interface=PROPERTIES),
    "get-all": wire("GetAll", string(NAME), "s", interface=PROPERTIES),
    "get-all-other": wire("GetAll", string("org.example"), "s", interface=PROPERTIES),
    "set": wire("Set", ASKED + align(string("Version"), 4) + string("s", True) +
                align(b"\0\0\0" + string("9"), 4), "ssv", interface=PROPERTIES),
}


# fuzz_concierge: steps
def call(name, request=b"", uid=0, fds=0):
    return bytes([0, method(name), uid | fds << 3]) + struct.pack("<H", len(request)) + request


def wait(ms):
    return bytes([1, ms // 250])


def ready(vm=0, how=0):
    return bytes([2 | how << 2, vm])


def gone(vm=0, how=0):
    return bytes([3 | how << 2, vm])


START = call("StartVm", start("demo", USER, FD_KERNEL, FD_ROOT), fds=2)
UP = START + wait(500) + ready() + wait(1000)
CONCIERGE = {f"row-{n}": UP + call(n, r) for n, r in ROWS.items()}
CONCIERGE |= {
    "start": START, "running": UP,
    "disk": call("StartVm", start("demo", USER, DISK, FD_KERNEL, FD_ROOT), fds=2) + wait(500) +
            ready(),
    "twice": START + START + wait(500),
    "other-user": call("StartVm", start("demo", FIVE, FD_KERNEL, FD_ROOT), uid=2, fds=2),
    "wrong-fds": call("StartVm", start("demo", USER, FD_KERNEL), fds=5),
    "kinds": call("StartVm", start("demo", USER, *[(16, i) for i in range(6)]), fds=6),
    "params": call("StartVm", start("demo", USER, FD_KERNEL, FD_ROOT, (17, "quiet"), (17, "a b"),
                                    (20, 5), (25, "oem")), fds=2) + wait(500) + ready(),
    "never-ready": START + wait(60000) + wait(60000),
    "stop": UP + call("StopVm", stop("demo")) + wait(1000),
    "stop-booting": START + wait(250) + call("StopVm", stop("demo")) + wait(1000),
    "stop-other": UP + call("StopVm", stop("demo", FIVE), uid=2),
    "stop-anyones": UP + call("StopVmWithoutOwnerId", message((1, "demo"))),
    "stop-all": UP + call("StopAllVms") + wait(1000),
    "deaf-guest": START + wait(500) + ready(how=6) + wait(1000) + call("StopVm", stop("demo")),
    "dies": UP + gone() + wait(1000), "dies-booting": START + wait(250) + gone(how=3),
    "panics": UP + gone(how=4) + wait(1000),
    "ready-twice": UP + ready() + wait(1000), "ready-fails": START + wait(500) + ready(how=1),
    "list": UP + call("ListVms", message((1, USER))),
    "logs": UP + call("GetVmLogs", message((1, "demo"), (2, USER))),
    "info": UP + call("GetVmInfo", message((1, "demo"), (2, USER))),
    "times": UP + call("SyncVmTimes"), "dns": call("GetDnsSettings"),
    "two": UP + call("StartVm", start("two", USER, FD_KERNEL, FD_ROOT), fds=2) + wait(500) +
           ready(1) + wait(1000) + call("StopVm", stop("demo")),
    "everything": b"".join(call(m) for m in METHODS[:32]),
    "everything-else": b"".join(call(m) for m in METHODS[32:]),
    "strangers": b"".join(call(m, uid=5) for m in METHODS[:32]),
}


def main():
    for name, seeds in (("ipc", IPC), ("dbus", DBUS), ("concierge", CONCIERGE)):
        folder = CORPUS / name
        folder.mkdir(exist_ok=True)
        for seed, data in seeds.items():
            (folder / seed).write_bytes(data)


if __name__ == "__main__":
    main()
