#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A channel of ours meets Debian's gRPC for Python as a server that comes, goes in peace while a
call is under way, comes again, and is killed."""
import concurrent.futures
import os
import queue
import socket
import subprocess
import sys
import threading

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

PROGRAM = os.path.join(os.environ["VMT_BIN"], "rpc_channel")
WAIT = 60  # for what must come; a loaded machine is slow, not wrong


class Server:
    """Replies with its own number; Hang only after release()."""

    def __init__(self, port, number):
        self.reply = bytes([3 << 3, number])  # field 3, varint
        self.began, self.released = threading.Event(), threading.Event()
        self.requests = 0
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "vmt.rpctest.Test", {"Echo": grpc.unary_unary_rpc_method_handler(self.echo),
                                 "Hang": grpc.unary_unary_rpc_method_handler(self.hang)}),))
        if self.server.add_insecure_port(f"127.0.0.1:{port}") != port:
            raise AssertionError(f"port {port} is taken")
        self.server.start()

    def echo(self, _request, _context):
        self.requests += 1
        return self.reply

    def hang(self, _request, _context):
        self.requests += 1
        self.began.set()
        self.released.wait(WAIT)
        return self.reply


class Channel:
    def __init__(self, port):
        self.process = subprocess.Popen([PROGRAM, str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.lines, self.seen = queue.Queue(), []
        self.calls = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def start(self, kind, method):
        self.process.stdin.write(f"{kind} {method}\n")
        self.process.stdin.flush()
        self.calls += 1
        return self.calls

    def await_line(self, prefix):
        """The first line from now on, or one put by, that begins so."""
        for line in self.seen:
            if line.startswith(prefix):
                self.seen.remove(line)
                return line
        while True:
            line = self.lines.get(timeout=WAIT)
            print(line, flush=True)
            if line.startswith(prefix):
                return line
            self.seen.append(line)

    def expect(self, call, *wanted):
        line = self.await_line(f"call {call} ")
        words = line.split(" ", 4)
        if not any(words[2:2 + len(want)] == list(want) for want in wanted):
            raise AssertionError(f"call {call}: got {line!r}, want one of {wanted}")
        return line


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def scenario(channel, port):
    # Nobody there: at once, with the reason; who waits for ready waits.
    line = channel.expect(channel.start("fast", "Echo"), ["UNAVAILABLE"])
    if "Connection refused" not in line:
        raise AssertionError(f"no reason: {line}")
    patient = channel.start("wait", "Echo")
    first = Server(port, 1)
    channel.expect(patient, ["OK", "1"])

    # It leaves in peace: the call under way ends there, the next goes to the next server.
    hangs = channel.start("fast", "Hang")
    if not first.began.wait(WAIT):
        raise AssertionError("the call did not arrive")
    first_over = first.server.stop(WAIT)
    channel.await_line("state IDLE")
    second = Server(port, 2)
    channel.expect(channel.start("wait", "Echo"), ["OK", "2"])
    first.released.set()
    channel.expect(hangs, ["OK", "1"])
    if not first_over.wait(WAIT):
        raise AssertionError("the old connection was not closed")

    # It goes at once: what was under way ends, once, and is not sent again.
    hangs = channel.start("wait", "Hang")
    if not second.began.wait(WAIT):
        raise AssertionError("the call did not arrive")
    second.server.stop(None).wait(WAIT)
    channel.expect(hangs, ["UNAVAILABLE"], ["CANCELLED"])
    second.released.set()
    third = Server(port, 3)
    channel.expect(channel.start("wait", "Echo"), ["OK", "3"])
    if (first.requests, second.requests, third.requests) != (2, 2, 1):
        raise AssertionError("a call came twice")
    third.server.stop(None).wait(WAIT)


def main():
    port = free_port()
    channel = Channel(port)
    try:
        scenario(channel, port)
        channel.process.stdin.close()
        if channel.process.wait(WAIT) != 0:
            raise AssertionError("rpc_channel failed")
    finally:
        channel.process.kill()
        channel.process.wait()


if __name__ == "__main__":
    main()
