# SPDX-License-Identifier: BSD-3-Clause
"""A 9P2000.L server of one folder whose files are in memory and can be written in place: enough to
see that a guest mounts it. Source: diod protocol.md."""
import socket
import struct
import threading

NAME, TEXT = "hello", b"by 9p\n" * 20000
EOPNOTSUPP, ENOENT = 95, 2
DIR = (0x80, 0, 1)  # qid: type, version, path; files have the paths from 2 on


def qid(q):
    return struct.pack("<BIQ", *q)


def text(s):
    return struct.pack("<H", len(s)) + s.encode()


class Connection(threading.Thread):
    def __init__(self, stream, server):
        super().__init__(daemon=True)
        self.stream, self.server, self.fids = stream, server, {}
        self.start()

    def take(self, n):
        data = b""
        while len(data) < n:
            part = self.stream.recv(n - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def version(self, body):
        self.server.msize = struct.unpack_from("<I", body)[0]
        return body

    def attach(self, body):
        size = struct.unpack_from("<H", body, 8)[0]  # fid, afid, uname, aname
        length = struct.unpack_from("<H", body, 10 + size)[0]
        self.server.aname = body[12 + size:12 + size + length].decode()
        self.fids[struct.unpack_from("<I", body)[0]] = DIR
        return qid(DIR)

    def walk(self, body):
        fid, new, n = struct.unpack_from("<IIH", body)
        names, at = [], 10
        for _ in range(n):
            size = struct.unpack_from("<H", body, at)[0]
            names.append(body[at + 2:at + 2 + size].decode())
            at += 2 + size
        found = self.fids[fid]
        for name in names:
            if name not in self.server.files:
                return ENOENT
            found = (0, 0, 2 + list(self.server.files).index(name))
        self.fids[new] = found
        return struct.pack("<H", n) + qid(found) * n

    def data(self, body):
        """Of the file behind the fid that a request begins with."""
        q = self.fids[struct.unpack_from("<I", body)[0]]
        return list(self.server.files.values())[q[2] - 2]

    def getattr(self, body):
        q = self.fids[struct.unpack_from("<I", body)[0]]
        mode, size = (0o40755, 0) if q == DIR else (0o100755, len(self.data(body)))
        return struct.pack("<Q", 0x7ff) + qid(q) + struct.pack(
            "<III15Q", mode, 0, 0, 1, 0, size, 4096, size // 512 + 1, *[0] * 10)

    def open(self, body):
        return qid(self.fids[struct.unpack_from("<I", body)[0]]) + struct.pack("<I", 0)

    def read(self, body):
        _, offset, count = struct.unpack_from("<IQI", body)
        data = bytes(self.data(body)[offset:offset + min(count, self.server.msize - 24)])
        return struct.pack("<I", len(data)) + data

    def write(self, body):
        _, offset, count = struct.unpack_from("<IQI", body)
        self.data(body)[offset:offset + count] = body[16:16 + count]
        return struct.pack("<I", count)

    def readdir(self, body):
        offset = struct.unpack_from("<IQ", body)[1]
        data = b""
        for i, name in enumerate(self.server.files):
            data += qid((0, 0, 2 + i)) + struct.pack("<QB", i + 1, 8) + text(name)
        return struct.pack("<I", 0 if offset else len(data)) + (b"" if offset else data)

    def statfs(self, _):
        return struct.pack("<IIQQQQQQI", 0x01021997, 4096, 2, 1, 1, 2, 0, 0, 255)

    def clunk(self, body):
        self.fids.pop(struct.unpack_from("<I", body)[0], None)
        return b""

    HANDLERS = {8: statfs, 12: open, 24: getattr, 40: readdir, 100: version, 104: attach,
                108: lambda *_: b"", 110: walk, 116: read, 118: write, 120: clunk}

    def run(self):
        try:
            while True:
                size, kind, tag = struct.unpack("<IBH", self.take(7))
                body = self.take(size - 7)
                self.server.answers.wait()
                handler = self.HANDLERS.get(kind)
                reply = handler(self, body) if handler else EOPNOTSUPP
                if isinstance(reply, int):
                    kind, reply = 6, struct.pack("<I", reply)
                self.stream.sendall(struct.pack("<IBH", len(reply) + 7, kind + 1, tag) + reply)
        except (EOFError, OSError):
            self.stream.close()


class Server(threading.Thread):
    """Serves at a unix socket until close(); without a word while answers is not set."""

    def __init__(self, path, files=None):
        """Serve files, {name: bytes}; without them NAME with TEXT."""
        super().__init__(daemon=True)
        self.files = {name: bytearray(data) for name, data in (files or {NAME: TEXT}).items()}
        self.msize, self.connections = 0, []
        self.answers = threading.Event()
        self.answers.set()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.socket.listen(4)
        self.start()

    def run(self):
        while True:
            try:
                self.connections.append(Connection(self.socket.accept()[0], self))
            except OSError:
                return

    def close(self):
        self.answers.set()
        for s in (self.socket, *[c.stream for c in self.connections]):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
