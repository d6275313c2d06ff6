#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the seeds of fuzz_rpc_server and fuzz_rpc_client into tests/fuzz/corpus.

Frames are built by hand (RFC 9113), headers as literals without indexing (RFC 7541 6.2.2), so
that each seed says one thing. Byte 0 of a seed is the size of the pieces that it arrives in, and
its high bit makes the receiver pause at each message.
"""
import gzip
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parent / "corpus"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONT = range(10)
FDS = 0xF6
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + \
        struct.pack(">I", stream) + payload


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest, out = len(raw) - 127, bytearray([127])
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    out.append(rest)
    return bytes(out) + raw


def headers(stream, fields, flags=END_HEADERS):
    block = b"".join(b"\0" + text(k) + text(v) for k, v in fields)
    return frame(HEADERS, flags, stream, block)


def message(body=b"", flag=0, length=None):
    return bytes([flag]) + struct.pack(">I", len(body) if length is None else length) + body


def request(stream, method="Echo", body=b"", extra=(), service="vmt.rpctest.Test", **kw):
    fields = [(":method", "POST"), (":scheme", "http"),
              (":path", f"/{service}/{method}"), (":authority", "a"), ("te", "trailers"),
              ("content-type", "application/grpc"), *extra]
    return headers(stream, fields) + \
        frame(DATA, END_STREAM, stream, message(body, **kw))


def health(stream, method, body=b""):
    return request(stream, method, body, service="grpc.health.v1.Health")


def ask(number, value):
    """A question of reflection: one field."""
    return bytes([number << 3 | 2]) + text_field(value)


def text_field(value):
    raw = value.encode() if isinstance(value, str) else value
    size, n = b"", len(raw)
    while n >= 128:
        size += bytes([n % 128 + 128])
        n //= 128
    return size + bytes([n]) + raw


def reflect(version, *questions, flags=END_STREAM):
    fields = [(":method", "POST"), (":scheme", "http"),
              (":path", f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"),
              ("content-type", "application/grpc")]
    body = b"".join(map(message, questions))
    pieces = [body[i:i + 16384] for i in range(0, len(body), 16384)] or [b""]
    return headers(1, fields) + b"".join(frame(DATA, 0, 1, p) for p in pieces[:-1]) + \
        frame(DATA, flags, 1, pieces[-1])


def gz(body):
    return gzip.compress(body, mtime=0)


ECHO = b"\x0a\x05hello\x18\x2a"
GZIP = [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "identity, gzip")]
SERVER = {
    "unary": request(1, body=ECHO),
    "three": b"".join(request(i, body=ECHO) for i in (1, 3, 5)),
    "last-stream": request(0x7FFFFFFF, body=ECHO),
    "left-out": request(9, body=ECHO) + request(9, body=ECHO) + request(5, body=ECHO),
    "storm": b"".join(request(i, "Hang") + frame(RST, 0, i, struct.pack(">I", 8))
                      for i in range(1, 61, 2)),
    "fail": request(1, "Fail", b"\x0a\x06a%\xe2\x82\xac\x18\x05"),
    "count": request(1, "Count", b"\x18\xc8\x01"),
    "hang-timeout": request(1, "Hang", extra=[("grpc-timeout", "5m")]),
    "hang-reset": request(1, "Hang") + frame(RST, 0, 1, struct.pack(">I", 8)),
    "bad-timeout": request(1, extra=[("grpc-timeout", "123456789S")]),
    "unknown-method": request(1, "Nope"),
    "unknown-service": request(1, service="x.Y"),
    "bad-protobuf": request(1, body=b"\x0a\xff\xff\xff\xff\x0f"),
    "empties": request(1, body=b"\x22\x00" * 3000),
    "compressed": request(1, body=ECHO, flag=1),
    "gzip": request(1, body=ECHO, flag=1, extra=GZIP),
    "gzip-good": request(1, body=gz(ECHO), flag=1, extra=GZIP),
    "gzip-members": request(1, body=gz(ECHO) + gz(b"\x18\x07"), flag=1, extra=GZIP),
    "gzip-bomb": request(1, body=gz(b"\x12\x80\x80\x40" + bytes(1 << 20)), flag=1,
                         extra=GZIP),
    "gzip-cut": request(1, body=gz(ECHO)[:-5], flag=1, extra=GZIP),
    "stream": headers(1, [(":method", "POST"), (":scheme", "http"),
                          (":path", "/vmt.rpctest.Test/Chat"),
                          ("content-type", "application/grpc")]) +
    b"".join(frame(DATA, 0, 1, message(ECHO)) for _ in range(3)) + frame(DATA, END_STREAM, 1),
    "gzip-stream": headers(1, [(":method", "POST"), (":scheme", "http"),
                               (":path", "/vmt.rpctest.Test/Chat"),
                               ("content-type", "application/grpc"), *GZIP]) +
    frame(DATA, END_STREAM, 1, message(gz(ECHO), 1) + message(ECHO) + message(gz(ECHO), 1)),
    "bad-flag": request(1, body=ECHO, flag=7),
    "too-large": request(1, body=ECHO, length=0xFFFFFFFF),
    "short": request(1, body=ECHO, length=20),
    "two-messages": headers(1, [(":method", "POST"), (":scheme", "http"),
                                (":path", "/vmt.rpctest.Test/Echo"),
                                ("content-type", "application/grpc+proto")]) +
    frame(DATA, END_STREAM, 1, message(ECHO) * 2),
    "pieces": headers(1, [(":method", "POST"), (":scheme", "http"),
                          (":path", "/vmt.rpctest.Test/Echo"),
                          ("content-type", "application/grpc;x=y")]) +
    b"".join(frame(DATA, 0, 1, bytes([b])) for b in message(ECHO)) +
    frame(DATA, END_STREAM, 1),
    "get": headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/"),
                       (":authority", "a")], END_HEADERS | END_STREAM),
    "head": headers(1, [(":method", "HEAD"), (":scheme", "http"), (":path", "/"),
                        (":authority", "a")], END_HEADERS | END_STREAM),
    "json": headers(1, [(":method", "POST"), (":scheme", "http"), (":path", "/"),
                        ("content-type", "application/json")]),
    "trailers": headers(1, [(":method", "POST"), (":scheme", "http"),
                            (":path", "/vmt.rpctest.Test/Echo"),
                            ("content-type", "application/grpc")]) +
    frame(DATA, 0, 1, message(ECHO)) + headers(1, [("x", "y")], END_HEADERS | END_STREAM),
    "fds": frame(FDS, 0, 1, b"\x02") + request(1, extra=[("vmt-fds", "2")]),
    "fds-field-only": request(1, extra=[("vmt-fds", "2")]),
    "ping": frame(PING, 0, 0, b"12345678") * 3 + request(1),
    "pings": request(1, "Hang") + frame(PING, 0, 0, b"12345678") * 5,
    "pongs": frame(PING, ACK, 0, b"goneaway") * 40 + request(1, "Hang") +
    frame(PING, ACK, 0, b"goingawy") * 3,
    "flood-settings": frame(SETTINGS, 0, 0) * 120,
    "flood-empty": request(1, "Chat")[:-14] + frame(DATA, 0, 1) * 220,
    "flood-other": frame(0x42, 0xff, 1, b"x") * 1100,
    "slow-headers": frame(HEADERS, END_STREAM, 1, b"\x83") + frame(CONT, 0, 1, b"\x86"),
    "slow-frame": frame(HEADERS, END_HEADERS, 1, b"\x83\x86\x84")[:-1],
    "continuations": frame(HEADERS, END_STREAM, 1, b"\x83") + frame(CONT, 0, 1) * 12,
    "goaway": request(1, "Hang") + frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)),
    "settings": frame(SETTINGS, 0, 0, struct.pack(">HIHI", 4, 0, 5, 16384)) + request(1) +
    frame(WINDOW, 0, 1, struct.pack(">I", 7)),
    "resets": b"".join(request(i, "Hang") + frame(RST, 0, i, struct.pack(">I", 8))
                       for i in range(1, 80, 2)),
    "many-streams": b"".join(request(i, "Hang") for i in range(1, 41, 2)),
    "large-headers": request(1, extra=[("x" * 60, "y" * 4000)] * 3),
    "push": frame(PUSH, 4, 1, struct.pack(">I", 2)),
    "health-check": health(1, "Check", b"") + health(3, "Check", b"\x0a\x01x") +
    health(5, "List"),
    "health-watch": health(1, "Watch", b"") + health(3, "Watch", b"\x0a\x01x") +
    health(5, "Watch") + frame(RST, 0, 5, struct.pack(">I", 8)),
    "health-long": health(1, "Check", b"\x0a\xac\x02" + b"x" * 300),
    "reflect-list": reflect("v1", ask(7, "")),
    "reflect-file": reflect("v1", ask(3, "test.proto"), ask(3, "test.proto"), ask(3, "x")),
    "reflect-symbol": reflect("v1alpha", ask(4, "vmt.rpctest.Test.Echo"),
                              ask(4, "vmt.rpctest.Request.text"), ask(4, "vmt.rpctest"),
                              ask(4, "grpc.health.v1.HealthCheckResponse.SERVING"), ask(4, "..")),
    "reflect-extension": reflect("v1", ask(5, b"\x0a\x01a\x10\x07"),
                                 ask(6, "vmt.rpctest.Request"), ask(6, "x")),
    "reflect-nothing": reflect("v1", b"", b"\x0a\x04host"),
    "reflect-many": reflect("v1", *[ask(7, "")] * 3000),
    "reflect-long": reflect("v1", ask(4, "x" * 5000), ask(7, "")),
    "reflect-open": reflect("v1", ask(7, ""), flags=0),
}

OK = [(":status", "200"), ("content-type", "application/grpc")]
STATUS = [("grpc-status", "0")]
END = END_HEADERS | END_STREAM
CLIENT = {
    "unary": headers(1, OK) + frame(DATA, 0, 1, message(ECHO)) + headers(1, STATUS, END),
    "all": b"".join(headers(i, OK) + frame(DATA, 0, i, message(ECHO) * (1 + i % 4 // 3)) +
                    headers(i, STATUS, END) for i in (1, 3, 5, 7)),
    "trailers-only": headers(1, OK + [("grpc-status", "5"),
                                      ("grpc-message", "%E2%82%AC 100%25 %zz")], END),
    "http-503": headers(1, [(":status", "503")], END),
    "html": headers(1, [(":status", "200"), ("content-type", "text/html")]) +
    frame(DATA, END_STREAM, 1, b"<html>"),
    "informational": headers(1, [(":status", "103")]) + headers(1, OK) +
    frame(DATA, 0, 1, message(ECHO)) + headers(1, STATUS, END),
    "no-status": headers(1, OK) + frame(DATA, END_STREAM, 1, message(ECHO)),
    "bad-status": headers(1, OK + [("grpc-status", "99x")], END),
    "reset": frame(RST, 0, 1, struct.pack(">I", 7)) + frame(RST, 0, 3, struct.pack(">I", 8)),
    "goaway": frame(GOAWAY, 0, 0, struct.pack(">II", 3, 0)) + headers(1, OK) +
    frame(DATA, 0, 1, message(ECHO)) + headers(1, STATUS, END),
    "two-replies": headers(1, OK) + frame(DATA, 0, 1, message(ECHO) * 2),
    "bad-protobuf": headers(1, OK) + frame(DATA, 0, 1, message(b"\x0a\x7f")),
    "compressed": headers(1, OK) + frame(DATA, 0, 1, message(ECHO, flag=1)),
    "gzip": headers(1, OK + GZIP[:1]) + frame(DATA, 0, 1, message(gz(ECHO), 1)) +
    headers(1, STATUS, END),
    "stream": headers(3, OK) + frame(DATA, 0, 3, message(ECHO) * 5) + headers(3, STATUS, END),
    "gzip-stream": headers(3, OK + GZIP[:1]) +
    frame(DATA, 0, 3, message(gz(ECHO), 1) + message(ECHO) + message(gz(ECHO)[:9], 1)),
    "large": headers(1, OK) + frame(DATA, 0, 1, message(ECHO, length=1 << 30)),
    "push": frame(PUSH, 4, 1, struct.pack(">I", 2)),
    "fds": frame(FDS, 0, 1, b"\x01") + headers(1, OK + [("vmt-fds", "1")]),
    "early-end": headers(3, OK + STATUS, END),
    "settings": frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 1)) + headers(1, OK + STATUS, END),
}


def write(target, seeds, start):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in seeds.items():
        (folder / name).write_bytes(b"\0" + start + body)
    (folder / "by-bytes").write_bytes(b"\1" + start + next(iter(seeds.values())))
    (folder / "paused").write_bytes(b"\x80" + start + seeds["gzip-stream"])
    (folder / "paused-pieces").write_bytes(b"\x87" + start + seeds["stream"])


write("rpc_server", SERVER, PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))
write("rpc_client", CLIENT, frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))
