#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""OpenSSL's own programs, Python's ssl and Debian's gRPC for Python, over TLS to our server and
from our client."""
import concurrent.futures
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

try:
    import google.protobuf  # noqa: F401
    import grpc
except ImportError:
    print("skipped: needs the packages python3-grpcio and python3-protobuf")
    sys.exit(77)
if not shutil.which("openssl"):
    print("skipped: needs the program openssl")
    sys.exit(77)

SOURCE = os.environ["VMT_SOURCE"]
PEER = os.path.join(os.environ["VMT_BIN"], "tls_peer")
WAIT = 60  # for what must come; a loaded machine is slow, not wrong
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
PING = b"\0\0\x08\6\0\0\0\0\0" + b"12345678"
PONG = b"\0\0\x08\6\1\0\0\0\0" + b"12345678"


def check(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def check_in(what, part, whole):
    if part not in whole:
        raise AssertionError(f"{what}: no {part!r} in {whole!r}")


# --- certificates ---

def openssl(*args, text=None):
    return subprocess.run(["openssl", *args], check=True, capture_output=True, text=True,
                          input=text).stdout


class Authority:
    def __init__(self, folder, name):
        self.cert, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={name}", "-days", "2", "-keyout", str(self.key),
                "-out", str(self.cert))

    def issue(self, folder, name, san, trust=None):
        """A folder as tls_peer wants it."""
        folder.mkdir(exist_ok=True)
        request = folder / "request.pem"
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                f"/CN={name}", "-keyout", str(folder / "key.pem"), "-out", str(request))
        (folder / "ext").write_text(f"subjectAltName={san}\n")
        openssl("x509", "-req", "-in", str(request), "-CA", str(self.cert), "-CAkey",
                str(self.key), "-CAcreateserial", "-days", "1", "-extfile", str(folder / "ext"),
                "-out", str(folder / "chain.pem"))
        shutil.copy((trust or self).cert, folder / "roots.pem")
        return folder


# --- our two halves ---

class Server:
    def __init__(self, folder, identity):
        self.proc = subprocess.Popen([PEER, "serve", str(folder), identity], text=True,
                                     stdout=subprocess.PIPE)
        word, port = self.line().split()
        check("first word", word, "ready")
        self.port = int(port)

    def line(self):
        return self.proc.stdout.readline().strip()

    def reload(self):
        self.proc.send_signal(signal.SIGHUP)
        return self.line()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.proc.terminate()
        code = self.proc.wait(WAIT)
        if not exc[0]:
            check("exit", code, 0)


def call(folder, who, port, *args):
    """Lines that our client printed."""
    run = subprocess.run([PEER, "call", str(folder), f"{who}@127.0.0.1", str(port), *args],
                         capture_output=True, text=True, timeout=WAIT, check=False)
    check("words on stderr", run.stderr, "")
    return run.stdout.splitlines()


# --- openssl s_client and s_server ---

def s_client(port, folder, *args, text=""):
    run = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile",
         str(folder / "roots.pem"), "-verify_return_error", "-ign_eof", *args],
        input=text, capture_output=True, text=True, errors="replace", timeout=WAIT, check=False)
    return run.stdout + run.stderr


def own(folder):
    return ["-cert", str(folder / "chain.pem"), "-key", str(folder / "key.pem")]


def refuses_what_it_should(server, client, stranger):
    text = s_client(server.port, client, "-tls1_2", "-alpn", "h2", *own(client))
    check_in("tls 1.2", "alert protocol version", text)
    text = s_client(server.port, client, *own(client))
    check_in("no alpn", "alert no application protocol", text)
    text = s_client(server.port, client, "-alpn", "http/1.1", *own(client))
    check_in("wrong alpn", "alert no application protocol", text)
    text = s_client(server.port, client, "-alpn", "h2")
    check_in("no certificate", "alert certificate required", text)
    text = s_client(server.port, client, "-alpn", "h2", *own(stranger))
    check_in("another authority", "alert unknown ca", text)
    with socket.create_connection(("127.0.0.1", server.port), WAIT) as plain:
        plain.sendall(PREFACE)
        got = plain.recv(100)
        if got and got[0] != 0x15:  # an alert is all that it may say
            raise AssertionError(f"plain HTTP/2 was answered: {got!r}")


def refuses_who_was_not_added(server, nobody):
    context = stock_context(nobody)
    with socket.create_connection(("127.0.0.1", server.port), WAIT) as raw, \
            context.wrap_socket(raw, server_hostname="localhost") as tls:
        try:
            check("a stranger reads", tls.recv(1), b"")
        except OSError:
            pass


def our_client_refuses(ours, theirs):
    """Servers that are not as they should be, one s_server each."""
    cases = [("no alpn", [], "h2"), ("tls 1.2", ["-tls1_2", "-alpn", "h2"], "protocol version"),
             ("no h2", ["-alpn", "http/1.1"], "no application protocol")]
    for name, args, words in cases:
        with s_server(theirs, *args) as port:
            check_in(name, words, call(ours, "spiffe://test/theirs", port, "x")[0])
    with s_server(theirs, "-alpn", "h2") as port:
        check_in("name", "ostname mismatch", call(ours, "spiffe://test/other", port, "x")[0])
    with s_server(theirs, "-alpn", "h2") as port:
        check("name", call(ours, "spiffe://test/theirs", port, "x", "timeout=100")[0],
              "server spiffe://test/theirs")


class s_server:
    def __init__(self, folder, *args):
        self.args = ["-CAfile", str(folder / "roots.pem"), "-Verify", "3",
                     "-verify_return_error", "-quiet", *own(folder), *args]

    def __enter__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.proc = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}",
                                      *self.args], stdin=subprocess.PIPE,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:  # until it listens: a connection that says nothing costs it nothing
            try:
                socket.create_connection(("127.0.0.1", port), WAIT).close()
                return port
            except ConnectionRefusedError:
                if self.proc.poll() is not None:
                    raise

    def __exit__(self, *exc):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()


# --- Python's ssl ---

def stock_context(folder):
    context = ssl.create_default_context(cafile=str(folder / "roots.pem"))
    context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    context.set_alpn_protocols(["h2"])
    context.check_hostname = False
    return context


class Http2:
    """A connection that got as far as the server's SETTINGS."""

    def __init__(self, port, folder):
        raw = socket.create_connection(("127.0.0.1", port), WAIT)
        self.tls = stock_context(folder).wrap_socket(raw, server_hostname="localhost")
        check("protocol", (self.tls.version(), self.tls.selected_alpn_protocol()),
              ("TLSv1.3", "h2"))
        self.tls.sendall(PREFACE)
        check("settings", self.tls.recv(4)[3:], b"\4")

    def names(self):
        return [value for _, value in self.tls.getpeercert()["subjectAltName"]]

    def ping(self):
        self.tls.sendall(PING)
        got = b""
        while PONG not in got:
            part = self.tls.recv(4096)
            if not part:
                raise AssertionError("closed instead of a PING's answer")
            got += part


def certificates_change_while_it_serves(server, authority, folder, client):
    old = Http2(server.port, client)
    check("caller", server.line(), "caller 50 spiffe://test/client")
    check("names", old.names(), ["spiffe://test/server", "localhost", "127.0.0.1"])
    authority.issue(folder, "server", "URI:spiffe://test/second,DNS:localhost")
    check("reload", server.reload(), "reloaded")
    new = Http2(server.port, client)
    check("caller", server.line(), "caller 50 spiffe://test/client")
    check("names", new.names(), ["spiffe://test/second", "localhost"])
    old.ping()
    shutil.copy(client / "key.pem", folder / "key.pem")
    check_in("bad key", "kept: keep the old certificates", server.reload())
    (folder / "chain.pem").write_text("nonsense")
    check_in("bad chain", "no certificate", server.reload())
    third = Http2(server.port, client)
    check("caller", server.line(), "caller 50 spiffe://test/client")
    check("names", third.names(), ["spiffe://test/second", "localhost"])
    for connection in (old, new, third):
        connection.ping()
        connection.tls.close()


def read_exactly(tls, n):
    got = b""
    while len(got) < n:
        part = tls.recv(n - len(got))
        if not part:
            raise AssertionError(f"end after {got!r}")
        got += part
    return got


def our_requests_say_https(theirs, ours):
    """As RFC 9113 8.3.1 wants; some servers check."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH,
                                         cafile=str(theirs / "roots.pem"))
    context.load_cert_chain(theirs / "chain.pem", theirs / "key.pem")
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as listener, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        lines = pool.submit(call, ours, "spiffe://test/theirs", listener.getsockname()[1], "x")
        listener.settimeout(WAIT)
        raw, _ = listener.accept()
        raw.settimeout(WAIT)
        with context.wrap_socket(raw, server_side=True) as tls:
            check("preface", read_exactly(tls, 24), PREFACE[:24])
            tls.sendall(b"\0\0\0\4\0\0\0\0\0")
            kind = None
            while kind != 1:  # HEADERS
                head = read_exactly(tls, 9)
                kind, payload = head[3], read_exactly(tls, int.from_bytes(head[:3], "big"))
            # RFC 7541 A: entry 3 is :method POST, 7 is :scheme https.
            check("method and scheme", payload[:2], b"\x83\x87")
        check_in("without an answer", "UNAVAILABLE", lines.result()[1])


# --- gRPC ---

def load_messages(folder):
    proto = os.path.join(SOURCE, "tests/unit/rpc")
    subprocess.run(["protoc", "-I", proto, f"--python_out={folder}", "test.proto"], check=True)
    sys.path.insert(0, str(folder))
    import test_pb2  # pylint: disable=import-error,import-outside-toplevel
    return test_pb2


def pem(folder, name):
    return (folder / f"{name}.pem").read_bytes()


def stock_channel(port, folder):
    return grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(
        pem(folder, "roots"), pem(folder, "key"), pem(folder, "chain")))


def stock_client_calls_our_server(server, client, stranger, pb):
    data = os.urandom(1024 * 1024)
    with stock_channel(server.port, client) as channel:
        echo = channel.unary_unary("/vmt.rpctest.Test/Echo",
                                   request_serializer=pb.Request.SerializeToString,
                                   response_deserializer=pb.Reply.FromString)
        for number in range(8):
            reply = echo(pb.Request(number=number, data=data), timeout=WAIT)
            check("reply", (reply.number, reply.data == data), (number, True))
        check("caller", server.line(), "caller 50 spiffe://test/client")
    with stock_channel(server.port, stranger) as channel:
        try:
            channel.unary_unary("/vmt.rpctest.Test/Echo")(b"", timeout=WAIT)
            raise AssertionError("a stranger was served")
        except grpc.RpcError as error:
            check("stranger", error.code(), grpc.StatusCode.UNAVAILABLE)


class StockServer:
    def __init__(self, folder, pb):
        self.seen = []
        handlers = {"Echo": grpc.unary_unary_rpc_method_handler(
            self.echo, pb.Request.FromString, pb.Reply.SerializeToString)}
        self.pb = pb
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("vmt.rpctest.Test", handlers),))
        self.port = self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
            [(pem(folder, "key"), pem(folder, "chain"))], pem(folder, "roots"), True))
        self.server.start()

    def echo(self, request, context):
        self.seen.append(context.auth_context())
        return self.pb.Reply(text=request.text, number=request.number, data=request.data)


def our_client_calls_a_stock_server(theirs, ours, stranger, pb):
    stock = StockServer(theirs, pb)
    lines = call(ours, "spiffe://test/theirs", stock.port, "vmt.rpctest.Test/Echo", "text=hi",
                 "number=7", "size=300000", "count=20")
    check("server", lines[0], "server spiffe://test/theirs")
    check("replies", [line.split("\t")[:5] for line in lines[1:]],
          [["OK", "1", "300000", "7", "hi"]] * 20)
    check("who called", stock.seen[0]["x509_subject_alternative_name"],
          [b"spiffe://test/client", b"localhost"])
    lines = call(stranger, "spiffe://test/theirs", stock.port, "vmt.rpctest.Test/Echo")
    check_in("we refuse", "certificate of the peer", lines[0])
    stock.server.stop(None).wait()


def main():
    with tempfile.TemporaryDirectory(prefix="vmt-tls-") as name:
        top = pathlib.Path(name)
        authority, other = Authority(top, "authority"), Authority(top, "other")
        server = authority.issue(
            top / "server", "server", "URI:spiffe://test/server,DNS:localhost,IP:127.0.0.1")
        client = authority.issue(top / "client", "client", "URI:spiffe://test/client,DNS:localhost")
        nobody = authority.issue(top / "nobody", "nobody", "URI:spiffe://test/nobody")
        theirs = authority.issue(top / "theirs", "theirs", "URI:spiffe://test/theirs,DNS:localhost")
        stranger = other.issue(top / "stranger", "stranger", "URI:spiffe://test/client", authority)
        mistaken = other.issue(top / "mistaken", "client", "URI:spiffe://test/client")
        pb = load_messages(top)
        with Server(server, "spiffe://test/client") as ours:
            refuses_what_it_should(ours, client, stranger)
            refuses_who_was_not_added(ours, nobody)
            stock_client_calls_our_server(ours, client, stranger, pb)
            certificates_change_while_it_serves(ours, authority, server, client)
        our_client_refuses(client, theirs)
        our_requests_say_https(theirs, client)
        our_client_calls_a_stock_server(theirs, client, mistaken, pb)
    print("all of it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
