#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The interoperability tests on gRPC for Python.

peer_grpcio.py serve [--cert FILE --key FILE]     prints "listening on port N"
peer_grpcio.py call --port N --test_case A,B [--ca FILE --name NAME]     a line for each case

grpcio shows nobody whether a message came compressed, and its client cannot leave single
messages of a stream uncompressed: it cannot check what expect_compressed promises, nor run
client_compressed_streaming.
"""
import argparse
import concurrent.futures
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import time
import traceback

import grpc

SOURCE = pathlib.Path(__file__).resolve().parent
SERVICE = "grpc.testing.TestService"
WAIT = 60
LARGE_REQUEST, LARGE_RESPONSE = 271828, 314159
SENT = (27182, 8, 1828, 45904)
ASKED = (31415, 9, 2653, 58979)
ECHO = {"x-grpc-test-echo-initial": "test_initial_metadata_value",
        "x-grpc-test-echo-trailing-bin": b"\xab\xab\xab"}
INITIAL, TRAILING = ECHO


def load_messages(folder):
    protos = [f"grpc/testing/{name}.proto" for name in ("empty", "messages")]
    subprocess.run(["protoc", "-I", SOURCE, f"--python_out={folder}", *protos], check=True)
    # The folder grpc/ of our protos would hide the package grpc: both are one package.
    grpc.__path__.append(os.path.join(folder, "grpc"))
    from grpc.testing import empty_pb2, messages_pb2  # pylint: disable=C0415,E0611
    return empty_pb2, messages_pb2


with tempfile.TemporaryDirectory() as generated:
    EMPTY, PB = load_messages(generated)

# method -> (request, response, the client streams, the server streams)
METHODS = {
    "EmptyCall": (EMPTY.Empty, EMPTY.Empty, False, False),
    "UnaryCall": (PB.SimpleRequest, PB.SimpleResponse, False, False),
    "StreamingOutputCall": (PB.StreamingOutputCallRequest, PB.StreamingOutputCallResponse,
                            False, True),
    "StreamingInputCall": (PB.StreamingInputCallRequest, PB.StreamingInputCallResponse, True,
                           False),
    "FullDuplexCall": (PB.StreamingOutputCallRequest, PB.StreamingOutputCallResponse, True,
                       True),
    "HalfDuplexCall": (PB.StreamingOutputCallRequest, PB.StreamingOutputCallResponse, True,
                       True),
    "UnimplementedCall": (EMPTY.Empty, EMPTY.Empty, False, False),
}


def payload(size):
    return PB.Payload(body=bytes(size))


# --- server ---

def echo_metadata(context):
    sent = dict(context.invocation_metadata())
    if INITIAL in sent:
        context.send_initial_metadata(((INITIAL, sent[INITIAL]),))
    if TRAILING in sent:
        context.set_trailing_metadata(((TRAILING, sent[TRAILING]),))


def echo_status(request, context):
    if request.HasField("response_status"):
        wanted = request.response_status
        code = next(c for c in grpc.StatusCode if c.value[0] == wanted.code)
        context.abort(code, wanted.message)


def responses(request, context):
    for p in request.response_parameters:
        time.sleep(p.interval_us / 1e6)
        if not p.compressed.value:
            context.disable_next_message_compression()
        yield PB.StreamingOutputCallResponse(payload=payload(p.size))


class Service:
    @staticmethod
    def EmptyCall(_request, context):
        echo_metadata(context)
        return EMPTY.Empty()

    @staticmethod
    def UnaryCall(request, context):
        if request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        echo_metadata(context)
        echo_status(request, context)
        return PB.SimpleResponse(payload=payload(request.response_size))

    @staticmethod
    def StreamingOutputCall(request, context):
        context.set_compression(grpc.Compression.Gzip)
        yield from responses(request, context)

    @staticmethod
    def StreamingInputCall(requests, _context):
        return PB.StreamingInputCallResponse(
            aggregated_payload_size=sum(len(r.payload.body) for r in requests))

    @staticmethod
    def FullDuplexCall(requests, context):
        echo_metadata(context)
        for request in requests:
            echo_status(request, context)
            yield from responses(request, context)


def kind(client_streams, server_streams):
    return ("stream" if client_streams else "unary") + "_" + \
        ("stream" if server_streams else "unary")


def serve(options):
    handlers = {}
    for name, (request, response, *streams) in METHODS.items():
        if hasattr(Service, name):
            handlers[name] = getattr(grpc, kind(*streams) + "_rpc_method_handler")(
                getattr(Service, name), request_deserializer=request.FromString,
                response_serializer=response.SerializeToString)
    pool = concurrent.futures.ThreadPoolExecutor(16)
    server = grpc.server(pool, handlers=[
        grpc.method_handlers_generic_handler(SERVICE, handlers)])
    if options.cert:
        credentials = grpc.ssl_server_credentials(
            [(pathlib.Path(options.key).read_bytes(), pathlib.Path(options.cert).read_bytes())])
        port = server.add_secure_port("localhost:0", credentials)
    else:
        port = server.add_insecure_port("localhost:0")
    server.start()
    print("listening on port", port, flush=True)
    server.wait_for_termination()  # until the signal that ends the process


# --- client ---

def check(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def check_error(call, code, text=None):
    """The call must end with this status."""
    try:
        call()
    except grpc.RpcError as error:
        check("code", error.code(), code)
        if isinstance(text, str):
            check("text", error.details(), text)
        return
    raise AssertionError("the call succeeded")


def large_request(**fields):
    return PB.SimpleRequest(response_size=LARGE_RESPONSE, payload=payload(LARGE_REQUEST),
                            **fields)


def output_request(size, *asked):
    return PB.StreamingOutputCallRequest(
        payload=payload(size),
        response_parameters=[PB.ResponseParameters(size=a) for a in asked])


class Client:
    """One method for each case; all take no argument and raise when the case fails."""

    def __init__(self, channel):
        self.channel = channel
        for name in METHODS:
            setattr(self, name, self.stub(SERVICE, name))

    def stub(self, service, name):
        request, response, *streams = METHODS[name]
        return getattr(self.channel, kind(*streams))(
            f"/{service}/{name}", request_serializer=request.SerializeToString,
            response_deserializer=response.FromString)

    def empty_unary(self):
        check("reply", self.EmptyCall(EMPTY.Empty(), timeout=WAIT), EMPTY.Empty())

    def large_unary(self, compression=None, **fields):
        reply = self.UnaryCall(large_request(**fields), timeout=WAIT, compression=compression)
        check("payload", reply.payload, payload(LARGE_RESPONSE))

    def client_compressed_unary(self):
        yes, no = PB.BoolValue(value=True), PB.BoolValue(value=False)
        check_error(lambda: self.large_unary(expect_compressed=yes),
                    grpc.StatusCode.INVALID_ARGUMENT)
        self.large_unary(grpc.Compression.Gzip, expect_compressed=yes)
        self.large_unary(expect_compressed=no)

    def server_compressed_unary(self):
        for compressed in (True, False):
            self.large_unary(response_compressed=PB.BoolValue(value=compressed))

    def client_streaming(self):
        reply = self.StreamingInputCall(
            (PB.StreamingInputCallRequest(payload=payload(size)) for size in SENT),
            timeout=WAIT)
        check("sum", reply.aggregated_payload_size, 74922)

    def server_streaming(self):
        call = self.StreamingOutputCall(output_request(0, *ASKED), timeout=WAIT)
        check("payloads", [r.payload for r in call], [payload(size) for size in ASKED])

    def server_compressed_streaming(self):
        request = output_request(0, 31415, 92653)
        request.response_parameters[0].compressed.value = True
        request.response_parameters[1].compressed.value = False
        call = self.StreamingOutputCall(request, timeout=WAIT)
        check("payloads", [r.payload for r in call], [payload(31415), payload(92653)])

    def ping_pong(self):
        requests = queue.Queue()
        replies = self.FullDuplexCall(iter(requests.get, None), timeout=WAIT)
        for sent, asked in zip(SENT, ASKED):
            requests.put(output_request(sent, asked))
            check("payload", next(replies).payload, payload(asked))
        requests.put(None)
        check("rest", list(replies), [])

    def empty_stream(self):
        check("replies", list(self.FullDuplexCall(iter(()), timeout=WAIT)), [])

    @staticmethod
    def check_metadata(call):
        check("initial", dict(call.initial_metadata()).get(INITIAL), ECHO[INITIAL])
        check("trailing", dict(call.trailing_metadata()).get(TRAILING), ECHO[TRAILING])

    def custom_metadata(self):
        metadata = tuple(ECHO.items())
        _, call = self.UnaryCall.with_call(large_request(), timeout=WAIT, metadata=metadata)
        self.check_metadata(call)
        call = self.FullDuplexCall(iter((output_request(LARGE_REQUEST, LARGE_RESPONSE),)),
                                   timeout=WAIT, metadata=metadata)
        check("payloads", [r.payload for r in call], [payload(LARGE_RESPONSE)])
        self.check_metadata(call)

    def status_unary(self, text):
        status = PB.EchoStatus(code=2, message=text)
        check_error(lambda: self.UnaryCall(PB.SimpleRequest(response_status=status),
                                           timeout=WAIT), grpc.StatusCode.UNKNOWN, text)

    def status_code_and_message(self):
        text = "test status message"
        self.status_unary(text)
        status = PB.EchoStatus(code=2, message=text)
        request = PB.StreamingOutputCallRequest(response_status=status)
        check_error(lambda: next(self.FullDuplexCall(iter((request,)), timeout=WAIT)),
                    grpc.StatusCode.UNKNOWN, text)

    def special_status_message(self):
        self.status_unary("\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP "
                          "\U0001f608\t\n")

    def unimplemented_method(self):
        check_error(lambda: self.UnimplementedCall(EMPTY.Empty(), timeout=WAIT),
                    grpc.StatusCode.UNIMPLEMENTED)

    def unimplemented_service(self):
        call = self.stub("grpc.testing.UnimplementedService", "UnimplementedCall")
        check_error(lambda: call(EMPTY.Empty(), timeout=WAIT), grpc.StatusCode.UNIMPLEMENTED)

    def cancel_after_begin(self):
        requests = queue.Queue()
        call = self.StreamingInputCall.future(iter(requests.get, None))
        call.cancel()
        requests.put(None)
        check("cancelled", call.cancelled(), True)
        check("code", call.code(), grpc.StatusCode.CANCELLED)

    def cancel_after_first_response(self):
        requests = queue.Queue()
        call = self.FullDuplexCall(iter(requests.get, None), timeout=WAIT)
        requests.put(output_request(SENT[0], ASKED[0]))
        check("payload", next(call).payload, payload(ASKED[0]))
        call.cancel()
        check_error(lambda: next(call), grpc.StatusCode.CANCELLED)
        requests.put(None)

    def timeout_on_sleeping_server(self):
        requests = queue.Queue()
        requests.put(output_request(SENT[0]))
        call = self.FullDuplexCall(iter(requests.get, None), timeout=0.001)
        check_error(lambda: next(call), grpc.StatusCode.DEADLINE_EXCEEDED)
        requests.put(None)


def make_channel(options):
    target = f"localhost:{options.port}"
    if not options.ca:
        return grpc.insecure_channel(target)
    credentials = grpc.ssl_channel_credentials(pathlib.Path(options.ca).read_bytes())
    return grpc.secure_channel(target, credentials,
                               (("grpc.ssl_target_name_override", options.name),))


def call(options):
    failed = 0
    with make_channel(options) as channel:
        client = Client(channel)
        for case in options.test_case.split(","):
            try:
                getattr(client, case)()
                print("ok  ", case, flush=True)
            except (grpc.RpcError, AssertionError, StopIteration, AttributeError):
                print("FAIL", case, flush=True)
                traceback.print_exc()
                failed = 1
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("serve", "call"))
    for name in ("cert", "key", "ca", "name", "port", "test_case"):
        parser.add_argument("--" + name)
    options = parser.parse_args()
    return serve(options) if options.what == "serve" else call(options)


if __name__ == "__main__":
    sys.exit(main())
