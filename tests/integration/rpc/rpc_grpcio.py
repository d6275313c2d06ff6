#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Debian's gRPC for Python as client of our server and as server of our client."""
import concurrent.futures
import os
import queue
import subprocess
import sys
import tempfile
import threading

try:
    import google.protobuf  # noqa: F401
    import grpc
except ImportError:
    # The distribution's package belongs to the distribution's interpreter.
    if os.path.realpath(sys.executable) != os.path.realpath("/usr/bin/python3") and \
            "VMT_REEXEC" not in os.environ:
        os.environ["VMT_REEXEC"] = "1"
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    print("skipped: needs the packages python3-grpcio and python3-protobuf")
    sys.exit(77)

SOURCE = os.environ["VMT_SOURCE"]
PEER = os.path.join(os.environ["VMT_BIN"], "rpc_peer")
SERVICE = "/vmt.rpctest.Test/"
UNICODE = "100% h\u00e9llo \u20ac \U0001f600 \"x\" \\ end"
MIB = 1024 * 1024
WAIT = 60  # for what must come; a loaded machine is slow, not wrong


def check(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def load_messages(folder):
    proto = os.path.join(SOURCE, "tests/unit/rpc")
    subprocess.run(["protoc", "-I", proto, f"--python_out={folder}", "test.proto"], check=True)
    sys.path.insert(0, folder)
    import test_pb2  # pylint: disable=import-error,import-outside-toplevel
    return test_pb2


# --- stock client, our server ---

class Stub:
    def __init__(self, channel, pb):
        for name in ("Echo", "Fail", "Hang", "Nope"):
            setattr(self, name, channel.unary_unary(
                SERVICE + name, request_serializer=pb.Request.SerializeToString,
                response_deserializer=pb.Reply.FromString))
        self.Count = channel.unary_stream(
            SERVICE + "Count", request_serializer=pb.Request.SerializeToString,
            response_deserializer=pb.Reply.FromString)
        self.Collect = channel.stream_unary(
            SERVICE + "Collect", request_serializer=pb.Request.SerializeToString,
            response_deserializer=pb.Reply.FromString)
        self.Chat = channel.stream_stream(
            SERVICE + "Chat", request_serializer=pb.Request.SerializeToString,
            response_deserializer=pb.Reply.FromString)
        self.Raw = channel.unary_unary(SERVICE + "Echo")  # bytes in, bytes out
        self.Other = channel.unary_unary("/other.Service/Echo")


def error_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("the call succeeded")


def client_unary(stub, pb):
    reply = stub.Echo(pb.Request(text=UNICODE, number=7, data=b"\0\xff"), timeout=WAIT)
    check("reply", (reply.text, reply.number, reply.data), (UNICODE, 7, b"\0\xff"))
    check("empty", stub.Echo(pb.Request(), timeout=WAIT), pb.Reply())


def client_errors(stub, pb):
    for code in grpc.StatusCode:
        number, _ = code.value
        if number:
            check(code.name, error_of(stub.Fail, pb.Request(number=number, text=UNICODE),
                                      timeout=WAIT), (code, UNICODE))
    check("empty text", error_of(stub.Fail, pb.Request(number=5), timeout=WAIT),
          (grpc.StatusCode.NOT_FOUND, ""))


def client_unknown(stub, pb):
    check("method", error_of(stub.Nope, pb.Request(), timeout=WAIT)[0],
          grpc.StatusCode.UNIMPLEMENTED)
    check("service", error_of(stub.Other, b"", timeout=WAIT)[0],
          grpc.StatusCode.UNIMPLEMENTED)
    check("garbage", error_of(stub.Raw, b"\xff\xff\xff", timeout=WAIT)[0],
          grpc.StatusCode.INVALID_ARGUMENT)


def client_deadline(stub, pb):
    check("deadline", error_of(stub.Hang, pb.Request(), timeout=0.3)[0],
          grpc.StatusCode.DEADLINE_EXCEEDED)


def client_cancel(stub, pb):
    future = stub.Hang.future(pb.Request())
    stub.Echo(pb.Request(), timeout=WAIT)  # the server has the first call by now
    future.cancel()
    stub.Echo(pb.Request(), timeout=WAIT)


def client_big(stub, pb):
    data = os.urandom(MIB)
    for _ in range(3):
        check("data", stub.Echo(pb.Request(data=data), timeout=WAIT).data, data)
    check("too big", error_of(stub.Echo, pb.Request(data=b"x" * (5 * MIB)), timeout=WAIT)[0],
          grpc.StatusCode.RESOURCE_EXHAUSTED)


def client_parallel(stub, pb):
    calls = [stub.Echo.future(pb.Request(number=i, data=b"y" * 20000), timeout=WAIT)
             for i in range(200)]
    check("numbers", [c.result().number for c in calls], list(range(200)))


def client_stream(stub, pb):
    got = [r.number for r in stub.Count(pb.Request(number=3000, data=b"z" * 500),
                                        timeout=WAIT)]
    check("stream", got, list(range(3000)))
    check("empty stream", list(stub.Count(pb.Request(), timeout=WAIT)), [])
    endless = stub.Count(pb.Request(number=5000, data=b"z" * 500), timeout=WAIT)
    check("first", next(endless).number, 0)
    endless.cancel()
    client_unary(stub, pb)


COMPRESSED = 6  # requests that client_compressed sends so


def client_compressed(stub, pb):
    text = "a" * 1000
    gzip = {"compression": grpc.Compression.Gzip, "timeout": WAIT}
    check("echo", stub.Echo(pb.Request(text=text), **gzip).text, text)
    check("too big", error_of(stub.Echo, pb.Request(data=bytes(5 * MIB)), **gzip)[0],
          grpc.StatusCode.RESOURCE_EXHAUSTED)
    sizes = iter([pb.Request(number=1, data=bytes(1000 * i)) for i in range(1, 6)])
    check("stream", stub.Collect(sizes, **gzip).text, "15000")


def client_without_gzip(path, pb):
    """One that takes no gzip gets none."""
    identity_only = [("grpc.compression_enabled_algorithms_bitset", 1)]
    with grpc.insecure_channel("unix:" + path, options=identity_only) as channel:
        check("echo", Stub(channel, pb).Echo(pb.Request(text="a" * 999), timeout=WAIT).text,
              "a" * 999)
    with grpc.insecure_channel("unix:" + path) as channel:
        check("deflate", error_of(Stub(channel, pb).Echo, pb.Request(text="a" * 999),
                                  timeout=WAIT, compression=grpc.Compression.Deflate)[0],
              grpc.StatusCode.UNIMPLEMENTED)


def client_paused(stub, pb):
    """A handler that takes nothing holds the client back, but not its other calls."""
    total, size, sent = 400, 100000, []

    def requests():
        for i in range(total):
            sent.append(i)
            yield pb.Request(number=i, data=bytes(size))
    stub.Echo(pb.Request(text="pause"), timeout=WAIT)
    call = stub.Collect.future(requests(), timeout=WAIT)
    for _ in range(30):
        check("others", len(stub.Echo(pb.Request(data=bytes(MIB)), timeout=WAIT).data), MIB)
    check("deadline", error_of(stub.Collect, (pb.Request(data=bytes(size)) for _ in range(9)),
                               timeout=0.3)[0], grpc.StatusCode.DEADLINE_EXCEEDED)
    stub.Chat(iter(()), timeout=WAIT).cancel()
    if len(sent) > 20:
        raise AssertionError(f"{len(sent)} requests were taken from the client")
    stub.Echo(pb.Request(text="resume"), timeout=WAIT)
    check("all", (call.result().number, call.result().text),
          (sum(range(total)), str(total * size)))


METADATA = (("k", "one"), ("b-bin", b"\0\xff\n,"), ("k", "two, three"), ("e-bin", b""))


def mine(metadata):
    """What the peer was given; stock peers add fields of their own."""
    return [(m.key, m.value) for m in metadata if m.key[1:] in ("", "-bin")]


def client_metadata(stub, pb):
    call = stub.Echo.future(pb.Request(), timeout=WAIT, metadata=METADATA)
    check("initial", sorted(mine(call.initial_metadata())), sorted(METADATA))
    check("trailing", sorted(mine(call.trailing_metadata())), sorted(METADATA))
    try:
        stub.Fail(pb.Request(number=5, text="no", data=b"\x08\x05\xff"), timeout=WAIT)
    except grpc.RpcError as error:
        check("details", dict(error.trailing_metadata()),
              {"grpc-status-details-bin": b"\x08\x05\xff"})
    else:
        raise AssertionError("the call succeeded")


def client_collect(stub, pb):
    reply = stub.Collect((pb.Request(number=i, data=b"z" * 5000) for i in range(1000)),
                         timeout=WAIT)
    check("sum", (reply.number, reply.text), (499500, "5000000"))
    check("nothing", stub.Collect(iter(()), timeout=WAIT).text, "0")
    stop = threading.Event()

    def slowly():
        yield pb.Request()
        stop.wait(WAIT)
    check("deadline", error_of(stub.Collect, slowly(), timeout=0.3)[0],
          grpc.StatusCode.DEADLINE_EXCEEDED)
    stop.set()


def client_chat(stub, pb):
    turns = queue.Queue()
    replies = stub.Chat(iter(turns.get, None), timeout=WAIT)
    for i in range(100):
        turns.put(pb.Request(number=i))
        check("turn", next(replies).number, i)
    turns.put(None)
    check("end", list(replies), [])
    got = stub.Chat((pb.Request(number=i, data=b"z" * 5000) for i in range(1000)),
                    timeout=WAIT)
    check("many", [r.number for r in got], list(range(1000)))


CLIENT = [client_unary, client_errors, client_unknown, client_deadline, client_cancel,
          client_big, client_parallel, client_stream, client_compressed, client_paused,
          client_metadata, client_collect, client_chat]


def test_our_server(folder, pb, *args):
    path = os.path.join(folder, "ours.sock")
    with subprocess.Popen([PEER, "serve", path, *args], stdout=subprocess.PIPE, text=True) as server:
        try:
            check("server", server.stdout.readline(), "ready\n")
            with grpc.insecure_channel("unix:" + path) as channel:
                stub = Stub(channel, pb)
                for test in CLIENT:
                    test(stub, pb)
                    print("ok   stock client, our server:", *args, test.__name__)
            client_without_gzip(path, pb)
        finally:
            server.terminate()
            last = server.stdout.read()
    check("exit", server.returncode, 0)
    check("what it saw", last.split(", ")[1:], ["2 cancelled", f"{COMPRESSED} compressed\n"])


# --- our client, stock server ---

class Service(grpc.GenericRpcHandler):
    def __init__(self, pb):
        self.pb = pb
        self.cancelled = threading.Event()

    def service(self, details):
        kind = {"Count": grpc.unary_stream_rpc_method_handler,
                "Collect": grpc.stream_unary_rpc_method_handler,
                "Chat": grpc.stream_stream_rpc_method_handler,
                }.get(details.method.rsplit("/", 1)[1], grpc.unary_unary_rpc_method_handler)
        method = getattr(self, details.method.rsplit("/", 1)[1].lower(), None)
        if not details.method.startswith(SERVICE) or not method:
            return None
        return kind(method, request_deserializer=self.pb.Request.FromString,
                    response_serializer=self.pb.Reply.SerializeToString)

    def echo(self, request, context):
        if request.text.startswith("gzip"):
            context.set_compression(grpc.Compression.Gzip)
        sent = mine(context.invocation_metadata())
        context.send_initial_metadata(sent)
        context.set_trailing_metadata(sent)
        return self.pb.Reply(text=request.text, data=request.data, number=request.number)

    def fail(self, request, context):
        if request.data:
            context.set_trailing_metadata((("grpc-status-details-bin", request.data),))
        code = next(c for c in grpc.StatusCode if c.value[0] == request.number)
        context.abort(code, request.text)

    def count(self, request, context):
        complete = []  # a cancelled generator is not asked for more, so it cannot tell
        context.add_callback(lambda: complete or self.cancelled.set())
        for i in range(request.number):
            yield self.pb.Reply(number=i, data=request.data)
        complete.append(True)

    def collect(self, requests, _context):
        number = size = 0
        for request in requests:
            number += request.number
            size += len(request.data)
        return self.pb.Reply(number=number, text=str(size))

    def chat(self, requests, _context):
        for request in requests:
            yield self.pb.Reply(number=request.number, data=request.data)

    def hang(self, _request, context):
        over = threading.Event()
        if context.add_callback(over.set):
            over.wait(WAIT)
        self.cancelled.set()
        return self.pb.Reply()


def call(path, *args):
    """Returns a list of (code, replies, bytes, number, text, status text)."""
    return [row[:6] for row in call_rows(path, *args)]


def call_rows(path, *args):
    """The same with the initial and the trailing metadata, both [KEY:HEX]."""
    run = subprocess.run([PEER, "call", path, *args], stdout=subprocess.PIPE, text=True,
                         timeout=WAIT, check=True)
    rows = [line.split("\t") for line in run.stdout.splitlines()]
    return [(r[0], int(r[1]), int(r[2]), int(r[3]), r[4], r[5], r[6].split(","),
             r[7].split(","), int(r[8])) for r in rows]


def server_unary(path, _service):
    check("reply", call(path, SERVICE + "Echo", "text=" + UNICODE, "number=7"),
          [("OK", 1, 0, 7, UNICODE, "")])


def server_errors(path, _service):
    for code in grpc.StatusCode:
        number, _ = code.value
        if number:
            check(code.name, call(path, SERVICE + "Fail", f"number={number}",
                                  "text=" + UNICODE), [(code.name, 0, 0, 0, "", UNICODE)])


def server_unknown(path, _service):
    check("method", call(path, SERVICE + "Nope")[0][0], "UNIMPLEMENTED")


def server_deadline(path, service):
    service.cancelled.clear()
    check("deadline", call(path, SERVICE + "Hang", "timeout=300")[0][0], "DEADLINE_EXCEEDED")
    if not service.cancelled.wait(WAIT):
        raise AssertionError("the server was not told of the deadline")


def server_big(path, _service):
    check("big", call(path, SERVICE + "Echo", f"size={MIB}", "count=4"),
          [("OK", 1, MIB, 0, "", "")] * 4)
    # Debian's gRPC takes 4 MiB at most, as we do.
    check("too big", call(path, SERVICE + "Echo", f"size={5 * MIB}")[0][0],
          "RESOURCE_EXHAUSTED")


def server_parallel(path, _service):
    check("parallel", call(path, SERVICE + "Echo", "count=200", "number=3", "size=20000"),
          [("OK", 1, 20000, 3, "", "")] * 200)


def server_stream(path, service):
    check("stream", call(path, SERVICE + "Count", "number=3000", "size=500"),
          [("OK", 3000, 3000 * 500, 2999, "", "")])
    service.cancelled.clear()
    check("cancel", call(path, SERVICE + "Count", "number=1000000", "size=500", "cancel=1"),
          [("cancelled here", 1, 500, 0, "", "")])
    if not service.cancelled.wait(WAIT):
        raise AssertionError("the server was not told of the cancel")


def server_metadata(path, _service):
    sent = [f"{k}:{(v if isinstance(v, bytes) else v.encode()).hex()}" for k, v in METADATA]
    row = call_rows(path, SERVICE + "Echo", *("meta=" + entry for entry in sent))[0]
    check("code", row[0], "OK")
    check("initial", sorted(row[6]), sorted(sent))
    check("trailing", sorted(row[7]), sorted(sent))
    row = call_rows(path, SERVICE + "Fail", "number=5", "size=3")[0]
    check("failed", row[0], "NOT_FOUND")
    check("details", row[7], ["grpc-status-details-bin:000000"])


def server_collect(path, _service):
    check("sum", call(path, SERVICE + "Collect", "sends=1000", "number=3", "size=5000"),
          [("OK", 1, 0, 3000, "5000000", "")])


def server_chat(path, _service):
    check("chat", call(path, SERVICE + "Chat", "sends=1000", "number=3", "size=5000"),
          [("OK", 1000, 5000000, 3, "", "")])
    check("early", call(path, SERVICE + "Nope", "sends=1000", "size=5000")[0][0],
          "UNIMPLEMENTED")


def server_compressed(path, _service):
    for gzip in "gzip=0", "gzip=1":
        for text, replies in ("gzip" + "a" * 500, 1), ("a" * 500, 0):
            row = call_rows(path, SERVICE + "Echo", "text=" + text, "size=50000", gzip)[0]
            check(gzip, (*row[:5], row[8]), ("OK", 1, 50000, 0, text, replies))
    check("collect", call(path, SERVICE + "Collect", "sends=100", "size=5000", "gzip=1"),
          [("OK", 1, 0, 0, "500000", "")])


def server_paused(path, _service):
    check("count", call(path, SERVICE + "Count", "number=300", "size=5000", "pause=1"),
          [("OK", 300, 1500000, 299, "", "")])
    check("chat", call(path, SERVICE + "Chat", "sends=100", "size=50000", "pause=1"),
          [("OK", 100, 5000000, 0, "", "")])


SERVER = [server_unary, server_errors, server_unknown, server_deadline, server_big,
          server_parallel, server_stream, server_metadata, server_collect, server_chat,
          server_compressed, server_paused]


def test_our_client(folder, pb):
    path = os.path.join(folder, "stock.sock")
    service = Service(pb)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        server = grpc.server(pool, handlers=[service])
        server.add_insecure_port("unix:" + path)
        server.start()
        try:
            for test in SERVER:
                test(path, service)
                print("ok   our client, stock server:", test.__name__)
        finally:
            server.stop(0).wait(WAIT)
    test_no_gzip(folder, service)


def test_no_gzip(folder, service):
    path = os.path.join(folder, "plain.sock")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, handlers=[service],
                             options=[("grpc.compression_enabled_algorithms_bitset", 1)])
        server.add_insecure_port("unix:" + path)
        server.start()
        try:
            check("gzip", call(path, SERVICE + "Echo", "size=5000", "gzip=1")[0][0],
                  "UNIMPLEMENTED")
        finally:
            server.stop(0).wait(WAIT)


def main():
    with tempfile.TemporaryDirectory() as folder:
        pb = load_messages(folder)
        test_our_server(folder, pb)
        test_our_server(folder, pb, "gzip")
        test_our_client(folder, pb)


if __name__ == "__main__":
    main()
