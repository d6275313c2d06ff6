#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run the interoperability tests between our programs and one stock peer.

interop.py cpp|grpcio client|server      what the peer is: the other end is ours
interop.py ours both

All cases without and with TLS. Environment: VMT_BIN, VMT_SOURCE.
"""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

BIN = pathlib.Path(os.environ["VMT_BIN"])
HERE = pathlib.Path(os.environ["VMT_SOURCE"]) / "tests/interop"
WAIT = 240  # seconds for all cases of one run
NAME = "interop.test"
CASES = [
    "empty_unary", "large_unary", "client_compressed_unary", "server_compressed_unary",
    "client_streaming", "server_streaming", "client_compressed_streaming",
    "server_compressed_streaming", "ping_pong", "empty_stream", "custom_metadata", "status_code_and_message",
    "special_status_message", "unimplemented_method", "unimplemented_service",
    "cancel_after_begin", "cancel_after_first_response", "timeout_on_sleeping_server",
]
# What a peer cannot do; peer_grpcio.py says why.
CANNOT = {
    ("grpcio", "client"): {"client_compressed_streaming"},
    ("grpcio", "server"): {"client_compressed_unary", "client_compressed_streaming"},
}


def skip(why):
    print("skipped:", why)
    sys.exit(77)


def find_peer(peer):
    """The command that the peer starts with."""
    if peer == "cpp":
        if not (BIN / "interop_peer").exists():
            skip("needs the packages g++, libgrpc++-dev and protobuf-compiler-grpc")
        return [str(BIN / "interop_peer")]
    # The distribution's packages belong to the distribution's interpreter.
    command = ["/usr/bin/python3", str(HERE / "peer_grpcio.py")]
    has = subprocess.run([command[0], "-c", "import grpc, google.protobuf"], check=False,
                         stderr=subprocess.DEVNULL)
    if has.returncode != 0 or not shutil.which("protoc"):
        skip("needs the packages python3-grpcio, python3-protobuf and protobuf-compiler")
    return command


def commands(peer, role):
    """How to start server and client: lists without the options of TLS and the port."""
    theirs = None if peer == "ours" else find_peer(peer)
    server = [str(BIN / "grpc_interop_server"), "--port=0", "--host=localhost"]
    client = [str(BIN / "grpc_interop_client"), "--server_host=localhost"]
    if theirs and role == "server":
        server = [*theirs, "serve"]
    elif theirs:
        client = [*theirs, "call"]
    return server, client


@contextlib.contextmanager
def running(command):
    """A server; gives its port, and fails unless it ends by our signal."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            found = re.fullmatch(r"listening on port (\d+)\n", line)
            if not found:
                raise AssertionError(f"{command[0]} says {line!r}")
            yield found.group(1)
            if server.poll() is not None:
                raise AssertionError(f"{command[0]} ended by itself: {server.returncode}")
        finally:
            server.terminate()
    if server.returncode not in (0, -15):
        raise AssertionError(f"{command[0]} ended with {server.returncode}")


def make_certificates(folder):
    """A root, and what it signed for NAME: root.pem, server.pem, server.key."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
           "-days", "2"]
    openssl(*new, "-subj", "/CN=interop root", "-keyout", "root.key", "-out", "root.pem")
    openssl(*new, "-subj", "/CN=interop server", "-addext", f"subjectAltName=DNS:{NAME}",
            "-addext", "basicConstraints=critical,CA:FALSE", "-CA", "root.pem", "-CAkey",
            "root.key", "-keyout", "server.key", "-out", "server.pem")


def with_tls(command, folder):
    """The command with its options of TLS."""
    chain, key, root = (os.path.join(folder, f) for f in ("server.pem", "server.key", "root.pem"))
    return [*command, *{
        "serve": [f"--cert={chain}", f"--key={key}"],
        "call": [f"--ca={root}", f"--name={NAME}"],
        "server": ["--use_tls", f"--tls_cert_file={chain}", f"--tls_key_file={key}"],
        "client": ["--use_tls=true", "--use_test_ca=true", f"--ca_file={root}",
                   f"--server_host_override={NAME}"],
    }[kind(command)]]


def kind(command):
    """serve or call for a peer, server or client for ours."""
    return command[-1] if command[-1] in ("serve", "call") else command[0].rsplit("_", 1)[1]


def run(server, client, cases):
    with running(server) as port:
        option = "--port" if "call" in client else "--server_port"
        result = subprocess.run([*client, f"{option}={port}", "--test_case=" + ",".join(cases)],
                                stdout=subprocess.PIPE, text=True, timeout=WAIT, check=False)
    print(result.stdout, end="", flush=True)
    good = re.findall(r"^ok +(\w+)$", result.stdout, re.M)
    if result.returncode != 0 or good != cases:
        raise AssertionError(f"the client ended with {result.returncode}, not ok: "
                             f"{sorted(set(cases) - set(good))}")


def main():
    peer, role = sys.argv[1:]
    cases = [c for c in CASES if c not in CANNOT.get((peer, role), ())]
    server, client = commands(peer, role)
    print(f"--- {peer}: {role}, without TLS", flush=True)
    run(server, client, cases)
    print(f"--- {peer}: {role}, with TLS", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        make_certificates(folder)
        run(with_tls(server, folder), with_tls(client, folder), cases)


if __name__ == "__main__":
    main()
