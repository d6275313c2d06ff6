#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A real vm_concierge against hostile clients of another user on its socket, as a system
daemon has them. An honest client gets in at any time; after each attack the daemon is the
same process, answers, and has no more descriptors than before."""
import array
import contextlib
import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import time

BIN = os.environ.get("VMT_BIN", "build/ci/bin")
DEADLINE_S = 60
NOBODY = 65534
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION, FDS = (
    0, 1, 3, 4, 6, 7, 8, 9, 0xF6)
END_STREAM, END_HEADERS = 1, 4
SERVICE = "/vm_tools.concierge.VmConcierge/"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field without indexing and without Huffman coding (RFC 7541, 6.2.2)."""
    n, v = name.encode(), value.encode()
    assert len(n) < 127 and len(v) < 127
    return b"\0" + bytes([len(n)]) + n + bytes([len(v)]) + v


def request(stream, method, flags=END_HEADERS, extra=b"", service=SERVICE):
    fields = b"\x83\x86" + literal(":path", service + method) + literal(":authority", "a")
    fields += literal("content-type", "application/grpc") + literal("te", "trailers") + extra
    return frame(HEADERS, flags, stream, fields)


def message(stream, body=b"", flags=END_STREAM):
    return frame(DATA, flags, stream, b"\0" + struct.pack(">I", len(body)) + body)


HELLO = PREFACE + frame(SETTINGS, 0, 0)
# Of server reflection: what is there, and a name that has to be looked for.
QUESTIONS = b"".join(b"\0" + struct.pack(">I", len(q)) + q for q in (
    b"\x3a\0", b"\x22\x0avm_tools.x", b"\x2a\x02\x10\x07", b"\x32\x0avm_tools.x"))


def ask_without_reading(s, streams):
    """Health watchers, and questions without end on as many streams of reflection."""
    push(s, HELLO)
    for i in range(1, 4 * streams, 4):
        push(s, request(i, "Watch", service="/grpc.health.v1.Health/") + message(i))
        push(s, request(i + 2, "ServerReflectionInfo",
                        service="/grpc.reflection.v1.ServerReflection/"))
    for i in range(1, 4 * streams, 4):
        push_unread(s, frame(DATA, 0, i + 2, QUESTIONS * 100), 12)  # all of its window


class Daemon:
    def __init__(self, directory, *options):
        self.path = directory + "/run/vm_tools/concierge.sock"
        ready, writer = os.pipe()
        env = dict(os.environ, XDG_RUNTIME_DIR=directory + "/run", HOME=directory,
                   XDG_STATE_HOME=directory, XDG_DATA_HOME=directory, XDG_CACHE_HOME=directory)
        os.mkdir(directory + "/run", 0o700)
        self.process = subprocess.Popen(
            [BIN + "/vm_concierge", "--user", "--dbus=none", f"--ready-fd={writer}", *options],
            env=env, pass_fds=[writer], stderr=open(directory + "/log", "wb"))
        self.log = directory + "/log"
        os.close(writer)
        with os.fdopen(ready, "rb") as f:
            assert f.read(1), open(self.log).read()
        for path in (directory, directory + "/run", directory + "/run/vm_tools"):
            os.chmod(path, 0o755)
        os.chmod(self.path, 0o666)

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def connect(self, hostile=True):
        s = socket.socket(socket.AF_UNIX)
        if hostile:
            os.seteuid(NOBODY)
        try:
            s.connect(self.path) # without a timeout: it waits for room in the backlog
        finally:
            os.seteuid(0)
        s.settimeout(DEADLINE_S)
        return s

    def answers(self):
        """An honest call gets its reply."""
        with self.connect(hostile=False) as s:
            s.sendall(HELLO + request(1, "GetDnsSettings") + message(1))
            got = b""
            while True:
                while len(got) >= 9 and len(got) >= 9 + int.from_bytes(got[:3], "big"):
                    size, kind = int.from_bytes(got[:3], "big"), got[3]
                    if kind == DATA:
                        return
                    assert kind not in (GOAWAY, RST), f"the daemon sent frame {got!r}"
                    got = got[9 + size:]
                more = s.recv(65536)
                assert more, "the daemon closed an honest connection"
                got += more

    def settles_at(self, fds):
        """Wait until what was closed by us is closed by the daemon."""
        end = time.monotonic() + DEADLINE_S
        while self.fds() > fds:
            assert time.monotonic() < end, f"{self.fds()} descriptors, {fds} before"
            time.sleep(0.02)


def push(s, data):
    """Send all of it, or as much as the daemon takes before it gives the peer up."""
    with contextlib.suppress(OSError):
        s.sendall(data)


def push_unread(s, data, times):
    """Send as long as the daemon reads; never read. Ends when it stops or hangs up."""
    s.settimeout(1)
    with contextlib.suppress(OSError):
        for _ in range(times):
            s.sendall(data)


def silent_connections(d):
    held = [d.connect() for _ in range(600)]
    d.answers()
    for s in held:
        s.close()


def half_requests(d):
    held = []
    for n in range(50):
        s = d.connect()
        whole = HELLO + request(1, "StartVm", 0) + frame(CONTINUATION, 0, 1) + message(1, b"x" * 9)
        push(s, whole[:n * len(whole) // 50])
        held.append(s)
    d.answers()
    for s in held:
        s.close()


def garbage(d):
    for data in (os.urandom(65536), HELLO + os.urandom(65536), HELLO + b"\xff" * 65536,
                 HELLO + frame(HEADERS, END_HEADERS, 1, os.urandom(500)),
                 HELLO + request(1, "StartVm") + message(1, os.urandom(5000)),
                 HELLO + request(1, "StartVm") + frame(DATA, 0, 1, b"\0\xff\xff\xff\xff" + b"x" * 9000)):
        with d.connect() as s:
            push(s, data)
            d.answers()


def endless_headers(d):
    with d.connect() as s:
        push_unread(s, HELLO + frame(HEADERS, 0, 1, b"\x83\x86"), 1)
        push_unread(s, frame(CONTINUATION, 0, 1, literal("x", "y" * 100) * 100), 2000)
        d.answers()


def floods_without_reading(d):
    before = d.rss_kib()
    streams = b"".join(request(i, "GetDnsSettings") + message(i) for i in range(1, 401, 2))
    floods = (frame(PING, 0, 0, b"12345678") * 500, frame(SETTINGS, 0, 0) * 500,
              frame(WINDOW, 0, 0, b"\0\0\0\1") * 500, streams)
    for flood in floods:
        with d.connect() as s:
            push_unread(s, HELLO, 1)
            push_unread(s, flood, 2000)
            d.answers()
    assert d.rss_kib() < before + 100 * 1024, f"from {before} to {d.rss_kib()} KiB"


def requests_that_never_end(d):
    """Small on the wire, large when parsed: a disk of nothing takes two bytes."""
    before = d.rss_kib()
    held = []
    for _ in range(4):
        s = d.connect()
        push(s, HELLO)
        for i in range(1, 201, 2):
            push(s, request(i, "StartVm") + message(i, b"\x12\x00" * 7000, flags=0))
        held.append(s)
    d.answers()
    grown = d.rss_kib() - before
    for s in held:
        s.close()
    assert grown < 300 * 1024, f"grown by {grown} KiB"


def questions_without_reading(d):
    before = d.rss_kib()
    held = [d.connect() for _ in range(8)]
    for s in held:
        ask_without_reading(s, 100)
        d.answers()
    grown = d.rss_kib() - before
    for s in held:
        s.close()
    # The address sanitizer keeps 256 MiB of what was freed; what is held is a tenth of it.
    assert grown < 300 * 1024, f"grown by {grown} KiB"


def subscribers_that_do_not_read(d):
    held = []
    for _ in range(20):
        s = d.connect()
        push(s, HELLO + b"".join(request(i, "SubscribeSignals") + message(i) for i in range(1, 401, 2)))
        held.append(s)
    with d.connect(hostile=False) as s: # root is not locked out
        s.sendall(HELLO + request(1, "SubscribeSignals") + message(1))
        got = b""
        while bytes([DATA]) not in [got[i + 3:i + 4] for i in frame_starts(got)]:
            more = s.recv(65536)
            assert more
            got += more
    d.answers()
    for s in held:
        s.close()


def frame_starts(data):
    at = 0
    while at + 9 <= len(data):
        yield at
        at += 9 + int.from_bytes(data[at:at + 3], "big")


def with_fds(s, data, fds):
    with contextlib.suppress(OSError):
        s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def descriptors_that_nobody_wants(d):
    before = d.fds()
    null = os.open("/dev/null", os.O_RDONLY)
    with d.connect() as s: # more than fit, out of the blue
        push(s, HELLO)
        with_fds(s, frame(PING, 0, 0, b"12345678"), [null] * 200)
        d.answers()
    held = []
    for _ in range(10): # announced as they should be, by calls that never end
        s = d.connect()
        push(s, HELLO)
        for i in range(1, 401, 2):
            with_fds(s, frame(FDS, 0, i, b"\x08"), [null] * 8)
            push(s, request(i, "StartVm", extra=literal("vmt-fds", "8")))
        held.append(s)
    d.answers()
    # Its own socket, what waits in it, one announcement and the calls' share of each.
    assert d.fds() <= before + 10 * (1 + 16 + 8 + 32), f"{d.fds()} descriptors, {before} before"
    for s in held:
        s.close()
    os.close(null)


ATTACKS = (silent_connections, half_requests, garbage, endless_headers, floods_without_reading,
           requests_that_never_end, questions_without_reading, subscribers_that_do_not_read, descriptors_that_nobody_wants)


def main():
    if os.getuid() != 0:
        print("missing: root, to connect as another user")
        sys.exit(77)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    if soft < want:
        resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
    with tempfile.TemporaryDirectory(prefix="vmt_abuse.") as directory:
        d = Daemon(directory)
        try:
            d.answers()
            before = d.fds() + 2 # a client that is being closed
            for attack in ATTACKS:
                print(attack.__name__, flush=True)
                attack(d)
                d.settles_at(before)
                d.answers()
                assert d.process.poll() is None
            assert os.path.getsize(d.log) < 256 * 1024, "the clients fill the log"
        except AssertionError:
            sys.stderr.write(open(d.log, errors="replace").read()[-4000:])
            raise
        finally:
            d.process.terminate()
            d.process.wait(DEADLINE_S)
    assert d.process.returncode == 0, f"the daemon ended with {d.process.returncode}"


if __name__ == "__main__":
    main()
