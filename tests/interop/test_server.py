#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What grpc_interop_server does that no official case looks at, asked by gRPC for Python; and what
both programs say to wrong command lines. Environment: VMT_BIN, VMT_SOURCE."""
import os
import pathlib
import subprocess
import sys
import time

from interop import find_peer, running

# As the peer itself: with the distribution's interpreter, which has grpc.
if os.path.realpath(sys.executable) != os.path.realpath(find_peer("grpcio")[0]):
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

import grpc  # noqa: E402  pylint: disable=C0413
from peer_grpcio import EMPTY, PB, Client, check, check_error, payload  # noqa: E402

BIN = pathlib.Path(os.environ["VMT_BIN"])
SERVER, CLIENT = str(BIN / "grpc_interop_server"), str(BIN / "grpc_interop_client")
WAIT = 60
MIB = 1024 * 1024
INVALID, EXHAUSTED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED


def output(*sizes, **fields):
    return PB.StreamingOutputCallRequest(
        response_parameters=[PB.ResponseParameters(size=s) for s in sizes], **fields)


def sizes(call):
    return [len(reply.payload.body) for reply in call]


def half_duplex_answers_after_the_last_request(client):
    open_until = time.monotonic() + 0.2

    def requests():
        yield output(5, 6)
        while time.monotonic() < open_until:
            time.sleep(0.02)
        yield output(7)
        requests.closed = time.monotonic()
    replies = client.HalfDuplexCall(requests(), timeout=WAIT)
    check("first size", len(next(replies).payload.body), 5)
    assert time.monotonic() >= requests.closed, "answered before the last request"
    check("rest", sizes(replies), [6, 7])


def each_response_waits_for_its_interval(client):
    request = PB.StreamingOutputCallRequest(response_parameters=[
        PB.ResponseParameters(size=1, interval_us=i) for i in (0, 50000, 70000)])
    for call in (lambda: client.StreamingOutputCall(request, timeout=WAIT),
                 lambda: client.FullDuplexCall(iter((request,)), timeout=WAIT)):
        begin = time.monotonic()
        check("sizes", sizes(call()), [1, 1, 1])
        assert time.monotonic() - begin >= 0.12, "the responses came too early"


def a_status_follows_the_responses_that_were_asked_for(client):
    status = PB.EchoStatus(code=9, message="enough")
    call = client.FullDuplexCall(iter((
        output(3, 4), PB.StreamingOutputCallRequest(response_status=status), output(5))),
        timeout=WAIT)
    check("first", len(next(call).payload.body), 3)
    check("second", len(next(call).payload.body), 4)
    check_error(lambda: next(call), grpc.StatusCode.FAILED_PRECONDITION, "enough")


def what_cannot_be_made_is_invalid(client):
    for request in (PB.SimpleRequest(response_size=-1),
                    PB.SimpleRequest(response_size=2**31 - 1),
                    PB.SimpleRequest(response_type=7, response_size=1)):
        check_error(lambda r=request: client.UnaryCall(r, timeout=WAIT), INVALID)
    check_error(lambda: sizes(client.StreamingOutputCall(output(1, -1), timeout=WAIT)), INVALID)


def a_lie_about_compression_is_invalid(client):
    lie = PB.BoolValue(value=False)
    check_error(lambda: client.UnaryCall(
        PB.SimpleRequest(expect_compressed=lie, payload=payload(1000)), timeout=WAIT,
        compression=grpc.Compression.Gzip), INVALID)
    client.UnaryCall(PB.SimpleRequest(payload=payload(1000)), timeout=WAIT,
                     compression=grpc.Compression.Gzip)


def messages_go_up_to_four_mebibytes(client):
    size = 4 * MIB - 100
    reply = client.UnaryCall(PB.SimpleRequest(payload=payload(size), response_size=size),
                             timeout=WAIT)
    check("reply", len(reply.payload.body), size)
    check_error(lambda: client.UnaryCall(PB.SimpleRequest(payload=payload(4 * MIB)),
                                         timeout=WAIT), EXHAUSTED)
    # Packed small, unpacked too large: a bomb.
    check_error(lambda: client.UnaryCall(PB.SimpleRequest(payload=payload(64 * MIB)),
                                         timeout=WAIT, compression=grpc.Compression.Gzip),
                EXHAUSTED)


def a_slow_reader_gets_all_of_it(client):
    call = client.StreamingOutputCall(output(*[MIB] * 40), timeout=WAIT)
    check("first", len(next(call).payload.body), MIB)
    time.sleep(0.2)
    check("rest", sizes(call), [MIB] * 39)


def one_server_has_one_id(client):
    ids = {client.UnaryCall(PB.SimpleRequest(fill_server_id=True), timeout=WAIT).server_id
           for _ in range(3)}
    check("number of ids", len(ids), 1)
    assert ids != {""}, "the id is empty"


def many_calls_at_once(client):
    calls = [client.UnaryCall.future(PB.SimpleRequest(response_size=i), timeout=WAIT)
             for i in range(2000)]
    check("sizes", [len(c.result().payload.body) for c in calls], list(range(2000)))


def cancelled_calls_do_not_disturb(client):
    for _ in range(3000):
        client.FullDuplexCall(iter((output(10),)), timeout=WAIT).cancel()
    check("reply", client.EmptyCall(EMPTY.Empty(), timeout=WAIT), EMPTY.Empty())


CHECKS = [half_duplex_answers_after_the_last_request, each_response_waits_for_its_interval,
          a_status_follows_the_responses_that_were_asked_for, what_cannot_be_made_is_invalid,
          a_lie_about_compression_is_invalid, messages_go_up_to_four_mebibytes,
          a_slow_reader_gets_all_of_it, one_server_has_one_id, many_calls_at_once,
          cancelled_calls_do_not_disturb]


def exits(code, *command):
    run = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)
    check(" ".join(command[1:]), run.returncode, code)
    return run.stderr + run.stdout


def check_command_lines():
    for program in (SERVER, CLIENT):
        assert "--use_tls" in exits(0, program, "--help")
        for wrong in ("--bogus=1", "--bogus", "word", "---port=1", "--use_tls=maybe"):
            assert wrong in exits(2, program, wrong)
    exits(2, SERVER, "--port=65536")
    exits(2, SERVER, "--port")
    assert "go together" in exits(1, SERVER, "--port=0", "--use_tls", "--tls_key_file=key")
    assert "no test case nope" in exits(2, CLIENT, "--test_case=nope")
    print("ok   command lines")


def check_built_in_certificates():
    """Those of the official programs, when no file is named."""
    with running([SERVER, "--port=0", "--use_tls=true", "--host=localhost"]) as port:
        client = [CLIENT, f"--server_port={port}", "--use_tls=true", "--test_case=empty_unary"]
        name = "--server_host_override=foo.test.google.fr"
        assert "ok   empty_unary" in exits(0, *client, "--use_test_ca=true", name)
        exits(1, *client, "--use_test_ca=true", "--server_host_override=foo.test.google.de")
        exits(1, *client, name)
    print("ok   built-in certificates")


def main():
    check_command_lines()
    check_built_in_certificates()
    with running([SERVER, "--port=0", "--host=localhost"]) as port:
        with grpc.insecure_channel(f"localhost:{port}", (
                ("grpc.max_receive_message_length", 8 * MIB),)) as channel:
            client = Client(channel)
            for test in CHECKS:
                test(client)
                print("ok  ", test.__name__, flush=True)


if __name__ == "__main__":
    main()
