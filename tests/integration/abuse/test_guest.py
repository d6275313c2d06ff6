#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A real vm_concierge against hostile guests. Nothing is emulated: in the place of QEMU stands
a program that speaks QMP, in the place of vm_vsock one that is the guest's agent at its worst,
and the test calls the start-up listener as the guests would."""
import os
import pathlib
import re
import socket
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from test_socket import (CONTINUATION, DATA, DEADLINE_S, END_HEADERS, FDS, HEADERS, HELLO, PING,
                         SETTINGS, Daemon, ask_without_reading, frame, frame_starts, literal, message, push,
                         push_unread, request, with_fds)

READY = "/vm_tools.StartupListener/VmReady"
OWNER = "756964"


def be_qemu():
    fd = next(int(re.search(r"fd=(\d+)", a).group(1)) for a in sys.argv if a.startswith("socket,id=qmp0"))
    listener = socket.socket(fileno=fd)
    listener.setblocking(True)
    control = listener.accept()[0].makefile("rwb", buffering=0)
    control.write(b'{"QMP":{"version":{},"capabilities":[]}}\r\n')
    for line in control:
        number = re.search(rb'"id":(\d+)', line).group(1)
        control.write(b'{"return":{},"id":%s}\r\n' % number)
        if b'"quit"' in line:
            return


def says_nothing(c):
    c.recv(1)


def says_garbage(c):
    while True:
        c.sendall(os.urandom(65536))


def acknowledges_without_end(c):
    c.sendall(frame(SETTINGS, 0, 0))
    while True:
        c.sendall(frame(PING, 0, 0, b"12345678") * 1000)


def answers_headers_without_end(c):
    c.sendall(frame(SETTINGS, 0, 0) + frame(HEADERS, 0, 1, b"\x88"))
    while True:
        c.sendall(frame(CONTINUATION, 0, 1, literal("x", "y" * 100) * 100))


def answers_a_message_without_end(c):
    c.sendall(frame(SETTINGS, 0, 0))
    for stream in range(1, 40, 2):
        c.sendall(frame(HEADERS, END_HEADERS, stream, b"\x88" + literal("content-type", "application/grpc")))
        c.sendall(frame(DATA, 0, stream, b"\0\x00\x3f\xff\xff" + b"\x0a\x00" * 8000))
    c.recv(1 << 20)
    while c.recv(1 << 20):
        pass


def dribbles(c):
    for byte in frame(SETTINGS, 0, 0) * 1000:
        c.sendall(bytes([byte]))
        time.sleep(0.1)


def hangs_up(c):
    c.close()


AGENTS = (says_nothing, says_garbage, acknowledges_without_end, answers_headers_without_end,
          answers_a_message_without_end, dribbles, hangs_up)


def be_vsock():
    cid = next(int(a.split("=")[1]) for a in sys.argv if a.startswith("--guest-cid="))
    listener = socket.socket(fileno=4)
    listener.setblocking(True)

    def serve(c):
        try:
            while not c.recv(1) == b"\n":
                pass
            c.sendall(b"OK 1073741824\n")
            AGENTS[cid % len(AGENTS)](c)
        except OSError:
            pass

    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def text_field(number, value):
    tag = number << 3 | 2
    key = bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])
    return key + bytes([len(value)]) + value.encode()


def start_vm(d, name, kernel):
    """StartVm of a diskless VM; the answer comes on the connection that is returned."""
    body = text_field(4, name) + text_field(7, OWNER) + b"\x60\x01" # one cpu
    body += b"\x82\x01\x01\0" # fds: a kernel
    body += b"\xc0\x3e\x40" + b"\xc8\x3e\x01" + text_field(1003, "tcg") # 64 MiB, diskless
    s = d.connect(hostile=False)
    s.sendall(HELLO)
    with_fds(s, frame(FDS, 0, 1, b"\x01"), [kernel])
    s.sendall(request(1, "StartVm", extra=literal("vmt-fds", "1")) + message(1, body))
    return s


def answer(s):
    """What the failed start says."""
    got = b""
    while True:
        for at in frame_starts(got):
            size = int.from_bytes(got[at:at + 3], "big")
            if got[at + 3] == DATA and len(got) >= at + 9 + size:
                return got[at + 9:at + 9 + size]
        more = s.recv(65536)
        assert more, f"no answer, only {got!r}"
        got += more


def doors(d, count):
    end = time.monotonic() + DEADLINE_S
    while True:
        found = sorted(pathlib.Path(d.path).parent.glob("vm.*/vsock_7777"))
        if len(found) == count:
            return found
        assert time.monotonic() < end, f"{len(found)} of {count} guests can call"
        time.sleep(0.02)


def call_guest(door):
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(door))
    s.settimeout(DEADLINE_S)
    return s


def vm_ready(stream):
    fields = b"\x83\x86" + literal(":path", READY) + literal(":authority", "a")
    fields += literal("content-type", "application/grpc") + literal("te", "trailers")
    return frame(HEADERS, END_HEADERS, stream, fields) + message(stream)


def besiege(d, door):
    """What one guest can do on the way in; the daemon keeps four connections at most."""
    before = d.fds()
    held = [call_guest(door) for _ in range(300)]
    d.answers()
    assert d.fds() <= before + 4 + 2, f"{d.fds()} descriptors, {before} before"
    for s in held:
        push(s, HELLO + os.urandom(2000))
        s.close()
    with call_guest(door) as s:
        push_unread(s, HELLO, 1)
        push_unread(s, frame(PING, 0, 0, b"12345678") * 500, 2000)
    with call_guest(door) as s:
        push_unread(s, HELLO + frame(HEADERS, 0, 1, b"\x83\x86"), 1)
        push_unread(s, frame(CONTINUATION, 0, 1, literal("x", "y" * 100) * 100), 500)
    held = [call_guest(door) for _ in range(4)]
    for s in held:
        ask_without_reading(s, 2)
        d.answers()
    for s in held:
        s.close()
    d.answers()
    d.settles_at(before)


def run(directory):
    pathlib.Path(directory + "/kernel").write_bytes(b"\x7fELF" + bytes(4096))
    for role in ("qemu", "vsock"):
        pathlib.Path(f"{directory}/{role}").write_text(
            f'#!/bin/sh\nexec {sys.executable} {os.path.abspath(__file__)} --be-{role} "$@"\n')
        os.chmod(f"{directory}/{role}", 0o755)
    d = Daemon(directory, "--no-sandbox", f"--hypervisor-binary={directory}/qemu",
               f"--vm-vsock={directory}/vsock")
    kernel = os.open(directory + "/kernel", os.O_RDONLY)
    try:
        d.answers()
        fds, rss = d.fds() + 2, d.rss_kib()
        starts = [start_vm(d, f"vm{i}", kernel) for i in range(len(AGENTS))]
        found = doors(d, len(AGENTS))
        besiege(d, found[0])
        for door in found: # the agents come into play
            with call_guest(door) as s:
                s.sendall(HELLO + vm_ready(1))
                answer(s)
                for n in range(3, 2003, 2):
                    push(s, vm_ready(n))
            d.answers()
        for s in starts:
            assert answer(s)[5:], "the start was answered with nothing"
            s.close()
            d.answers()
        doors(d, 0)
        d.settles_at(fds)
        d.answers()
        assert d.rss_kib() < rss + 100 * 1024, f"from {rss} to {d.rss_kib()} KiB"
        assert os.path.getsize(d.log) < 64 * 1024, "the guests fill the log"
    except BaseException:
        sys.stderr.write(open(d.log, errors="replace").read()[-6000:])
        raise
    finally:
        d.process.terminate()
        d.process.wait(DEADLINE_S)
    assert d.process.returncode == 0, f"the daemon ended with {d.process.returncode}"


def main():
    roles = {"--be-qemu": be_qemu, "--be-vsock": be_vsock}
    if len(sys.argv) > 1:
        roles[sys.argv[1]]()
        return
    with tempfile.TemporaryDirectory(prefix="vmt_abuse.") as directory:
        run(directory)


if __name__ == "__main__":
    main()
