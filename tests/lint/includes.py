#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The arrows between the rooms, and what every source file has.

A room may include what its row allows; `core` names below mean the room core/<name>. Outside
libraries are included by the rooms that own them only.
"""
import pathlib
import re
import subprocess
import sys

# room -> rooms that it may include besides itself
CORE_ALL = ["core/base", "core/adapter", "proto"]
ROOMS = {
    "core/base": [],
    "core/adapter": ["core/base"],
    "core/rpc": CORE_ALL,
    "core/ipc": CORE_ALL,
    "core/vsh": CORE_ALL,
    "core/copy": ["core/base"],
    "core/text": CORE_ALL,
    "core/vsock": ["core/base"],
    "core/disk": ["core/base", "core/vm"],
    "core/vm": ["core/base"],
    "core/snapshot": ["core/base"],
    "core/concierge": CORE_ALL + ["core/rpc", "core/ipc", "core/vm", "core/disk",
                                  "core/snapshot"],
    "p9": ["core/base"],
    "hypervisor/qemu": ["core/base", "core/adapter"],
    "hypervisor/crosvm": ["core/base", "core/adapter"],
    "platform/linux/os": ["core/base", "core/adapter"],
    "platform/linux/copy": ["core/base", "core/copy"],
    "platform/linux/tls": ["core/base", "core/adapter", "platform/linux/os"],
}
PLATFORM_LINUX = ["core/", "p9", "proto", "platform/linux/"]
PLATFORM_GUEST = ["core/", "proto", "platform/linux/os", "platform/linux/copy", "platform/guest/"]
# header prefix -> rooms that may include it
LIBRARIES = {
    "nghttp2/": ["core/rpc", "tests/unit/rpc"],
    "dbus/": ["platform/linux/dbus", "bench/", "tests/"],
    "event2/": ["platform/", "hypervisor/", "tests/"],
    "event.h": ["platform/", "hypervisor/", "tests/"],
    "jansson.h": ["hypervisor/", "platform/linux/image", "platform/linux/vmc",
                  "platform/linux/vsh", "tests/"],
    "archive": ["platform/linux/image", "platform/linux/vm_disk", "tests/"],
    "zstd.h": ["platform/linux/vm_disk", "tests/"],
    "blkid/": ["platform/linux/vm_disk"],
    "seccomp.h": ["platform/linux/vm_disk"],
    "libkmod.h": ["platform/linux/image", "platform/guest/maitred/init"],
    "lzma.h": ["platform/linux/image"],
    "gelf.h": ["platform/linux/image", "tests/unit/image"],
    "openssl/": ["platform/", "tests/"],
    "libmnl/": ["platform/linux/net"],
    "nftables/": ["platform/linux/net"],
    "linux/": ["platform/", "hypervisor/", "tests/"],
    "sys/socket.h": ["platform/", "hypervisor/", "bench/", "tests/"],
    "cmocka.h": ["tests/"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)
TOPS = ("core/", "p9/", "hypervisor/", "platform/", "tests/", "proto/")


def room_of(path):
    for room in sorted(ROOMS, key=len, reverse=True):
        if path.startswith(room + "/"):
            return room
    return str(pathlib.PurePosixPath(path).parent)


def may_include(path, target):
    room = room_of(path)
    other = room_of(target)
    if room == other or path.startswith("tests/"):
        return True
    if room in ROOMS:
        return other in ROOMS[room] or any(
            a.endswith("/") and other.startswith(a) for a in ROOMS[room])
    allowed = PLATFORM_GUEST if path.startswith("platform/guest/") else PLATFORM_LINUX
    if other.startswith("hypervisor/"):
        return path.endswith("/main.c") or path.startswith("platform/linux/vmc/doctor")
    return any(target.startswith(a) for a in allowed)


def check(path):
    text = pathlib.Path(path).read_text()
    if "SPDX-License-Identifier: BSD-3-Clause" not in text.split("\n", 1)[0]:
        yield "first line has no SPDX identifier"
    if path.endswith(".h") and "#pragma once" not in text:
        yield "header without #pragma once"
    if re.search(r"^\s*goto\s", text, re.M):
        yield "goto"
    if ("rpc_server_new(" in text and "rpc_server_add_standard(" not in text and
            path.startswith(("core/", "platform/")) and not path.startswith("core/rpc/")):
        yield "a server without health and reflection: rpc_server_add_standard"
    if re.search(r"^\s*#\s*define\s+_(GNU|POSIX_C)_SOURCE", text, re.M):
        yield "_GNU_SOURCE is a target definition, not written in a file"
    for kind, name in INCLUDE.findall(text):
        if kind == '"' and name.startswith(TOPS):
            if not pathlib.Path(name).exists():
                yield f"includes {name}, which does not exist"
            elif not may_include(path, name):
                yield f"includes {name}: no arrow from {room_of(path)} to {room_of(name)}"
            if name.endswith("_internal.h") and room_of(path) != room_of(name) \
                    and not path.startswith("tests/unit/"):
                yield f"includes {name}, private to its room"
        for prefix, rooms in LIBRARIES.items():
            if kind == "<" and name.startswith(prefix) \
                    and not any(path.startswith(r) for r in rooms):
                yield f"includes <{name}>, which belongs to {', '.join(rooms)}"
    lines = text.count("\n")
    if lines > 1000:
        yield f"{lines} lines: split it"


def main():
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.c", "*.h"],
                           check=True, capture_output=True, text=True).stdout.split()
    bad = 0
    for path in files:
        if not pathlib.Path(path).exists():
            continue
        for problem in check(path):
            print(f"{path}: {problem}")
            bad += 1
    print(f"{len(files)} files, {bad} problems")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
