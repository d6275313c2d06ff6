#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Keepalive, its enforcement, age and drain between us and Debian's gRPC for Python."""
import concurrent.futures
import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time

try:
    import grpc
except ImportError:
    # The distribution's package belongs to the distribution's interpreter.
    if os.path.realpath(sys.executable) != os.path.realpath("/usr/bin/python3") and \
            "VMT_REEXEC" not in os.environ:
        os.environ["VMT_REEXEC"] = "1"
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    print("skipped: needs the package python3-grpcio")
    sys.exit(77)

PEER = os.path.join(os.environ["VMT_BIN"], "rpc_life_peer")
SERVICE = "/vmt.rpctest.Test/"
WAIT = 90  # for what must come; a loaded machine is slow, not wrong

# A client that pings as often as it is told to, not as seldom as gRPC thinks is good.
EAGER = [("grpc.keepalive_time_ms", 200), ("grpc.keepalive_timeout_ms", 60000),
         ("grpc.http2.max_pings_without_data", 0),
         ("grpc.http2.min_time_between_pings_ms", 200),
         ("grpc.http2.min_sent_ping_interval_without_data_ms", 200)]


def check(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


class Served:
    """Our server; stop() drains it and gives its last line."""

    def __init__(self, path, *words):
        self.process = subprocess.Popen([PEER, "serve", path, *words],
                                        stdout=subprocess.PIPE, text=True)
        check("server", self.process.stdout.readline(), "ready\n")

    def term(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        self.term()
        out, _ = self.process.communicate(timeout=WAIT)
        check("exit", self.process.returncode, 0)
        return out

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def echo(channel):
    return channel.unary_unary(SERVICE + "Echo")(b"", timeout=WAIT)


@contextlib.contextmanager
def errors_to(path):
    """What this process, and gRPC in it, says on its standard error."""
    saved = os.dup(2)
    with open(path, "wb") as log:
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def too_many_pings_reach_a_stock_client(path):
    with Served(path, "ping_min_ms=60000") as server:
        with errors_to(path + ".log"), \
                grpc.insecure_channel("unix:" + path, options=EAGER) as channel:
            try:
                channel.unary_unary(SERVICE + "Hang")(b"", timeout=WAIT)
                raise AssertionError("the call succeeded")
            except grpc.RpcError as error:
                check("code", error.code(), grpc.StatusCode.UNAVAILABLE)
        with open(path + ".log", encoding="utf-8") as log:
            text = log.read()
        if "ENHANCE_YOUR_CALM" not in text or "too_many_pings" not in text:
            raise AssertionError(text)
        server.stop()


def permitted_pings_keep_a_call_alive(path):
    with Served(path, "ping_min_ms=1", "server_keepalive_ms=300") as server:
        with grpc.insecure_channel("unix:" + path, options=EAGER) as channel:
            try:
                channel.unary_unary(SERVICE + "Hang")(b"", timeout=4)
                raise AssertionError("the call succeeded")
            except grpc.RpcError as error:
                check("code", error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        check("end", server.stop(), "1 connections, 1 requests\n")


def a_stock_client_never_sees_that_connections_grow_old(path):
    with Served(path, "age_ms=300", "age_grace_ms=60000") as server:
        with grpc.insecure_channel("unix:" + path) as channel:
            calls, end = 0, time.monotonic() + 4
            while time.monotonic() < end:
                check("reply", echo(channel), b"")
                calls += 1
        connections, requests = server.stop().split(", ")
        check("requests", requests, f"{calls} requests\n")
        if int(connections.split()[0]) < 3:
            raise AssertionError(connections)


def a_drain_lets_a_stock_client_finish(path):
    with Served(path) as server:
        with grpc.insecure_channel("unix:" + path) as channel:
            requests = queue.Queue()
            chat = channel.stream_stream(SERVICE + "Chat")(iter(requests.get, None),
                                                           timeout=WAIT)
            requests.put(b"\x18\x01")
            check("before", next(chat), b"\x18\x01")
            server.term()
            time.sleep(0.5)  # so that the drain has begun; right in any case
            requests.put(b"\x18\x02")
            check("after", next(chat), b"\x18\x02")
            requests.put(None)
            check("rest", list(chat), [])
            check("code", chat.code(), grpc.StatusCode.OK)
            out, _ = server.process.communicate(timeout=WAIT)
            check("end", out, "1 connections, 1 requests\n")
            check("exit", server.process.returncode, 0)


class Hang(grpc.GenericRpcHandler):
    def __init__(self):
        self.here, self.go = threading.Event(), threading.Event()

    def service(self, _details):
        return grpc.unary_unary_rpc_method_handler(self.hang)

    def hang(self, _request, _context):
        self.here.set()
        self.go.wait(WAIT)
        return b""


@contextlib.contextmanager
def stock_server(path, options=()):
    handler = Hang()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), (handler,),
                         options=list(options))
    server.add_insecure_port("unix:" + path)
    server.start()
    try:
        yield server, handler
    finally:
        handler.go.set()
        server.stop(None)


def a_stock_server_tells_us_of_too_many_pings(path):
    with stock_server(path, [("grpc.http2.min_ping_interval_without_data_ms", 60000)]):
        out = subprocess.run([PEER, "call", path, "keepalive_ms=100"], check=True,
                             timeout=WAIT, text=True, stdout=subprocess.PIPE).stdout
    if not out.startswith("goaway too_many_pings\nUNAVAILABLE: "):
        raise AssertionError(out)


def a_stock_server_that_stops_lets_us_finish(path):
    with stock_server(path) as (server, handler):
        with subprocess.Popen([PEER, "call", path], text=True,
                              stdout=subprocess.PIPE) as ours:
            if not handler.here.wait(WAIT):
                raise AssertionError("the call did not come")
            stopped = server.stop(WAIT)
            check("goaway", ours.stdout.readline(), "goaway\n")
            handler.go.set()
            check("done", ours.stdout.readline(), "OK: \n")
            stopped.wait(WAIT)
            if "closed: " not in ours.stdout.read():
                raise AssertionError("not closed")


def a_stock_server_that_stands_still_is_given_up(path):
    with subprocess.Popen([sys.executable, os.path.abspath(__file__), "serve", path],
                          stdout=subprocess.PIPE, text=True) as peer:
        try:
            check("server", peer.stdout.readline(), "ready\n")
            with subprocess.Popen([PEER, "call", path, "keepalive_ms=300",
                                   "keepalive_timeout_ms=1000"], text=True,
                                  stdout=subprocess.PIPE) as ours:
                check("call", peer.stdout.readline(), "called\n")
                peer.send_signal(signal.SIGSTOP)
                line = ours.stdout.readline()
                if not line.startswith("UNAVAILABLE: keepalive timeout"):
                    raise AssertionError(line)
        finally:
            peer.kill()


def serve(path):
    """In a process of its own, to be stopped."""
    with stock_server(path, [("grpc.http2.min_ping_interval_without_data_ms", 1)]) \
            as (_, handler):
        print("ready", flush=True)
        handler.here.wait()
        print("called", flush=True)
        handler.go.wait()


def main():
    tests = [too_many_pings_reach_a_stock_client, permitted_pings_keep_a_call_alive,
             a_stock_client_never_sees_that_connections_grow_old,
             a_drain_lets_a_stock_client_finish, a_stock_server_tells_us_of_too_many_pings,
             a_stock_server_that_stops_lets_us_finish,
             a_stock_server_that_stands_still_is_given_up]
    for number, test in enumerate(tests):
        with tempfile.TemporaryDirectory(prefix="vmt_life.") as folder:
            test(os.path.join(folder, str(number)))
        print("ok", test.__name__.replace("_", " "), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        main()
