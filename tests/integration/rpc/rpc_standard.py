#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Health checking and reflection on every server of every daemon, asked by stock clients.

The questions are made from gRPC's own .proto files (package grpc-proto), never from ours; what
they bring is used like any client would: to build types, and to call methods with them.
"""
import contextlib
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(os.environ["VMT_SOURCE"])
BIN = pathlib.Path(os.environ["VMT_BIN"])
ORIGINALS = pathlib.Path("/usr/share/grpc-proto")
WAIT = 60  # for what must come; a loaded machine is slow, not wrong
STANDARD = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection"]
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
NOT_FOUND = 5

try:
    import grpc
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.descriptor_database import DescriptorDatabase
except ImportError:
    print("skipped: needs the packages python3-grpcio and python3-protobuf")
    sys.exit(77)
if not ORIGINALS.exists():
    print("skipped: needs the package grpc-proto")
    sys.exit(77)


def compiled(folder, *names):
    """What protoc makes of .proto files, with all that they import."""
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", f"-I{folder}", "-I/usr/include", "--include_imports",
                        f"--descriptor_set_out={out.name}", *names], check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out.name).read_bytes())


def message_class(pool, name):
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(name))


def original_pool():
    pool = descriptor_pool.DescriptorPool()
    for file in compiled(ORIGINALS, "grpc/health/v1/health.proto",
                         "grpc/reflection/v1/reflection.proto",
                         "grpc/reflection/v1alpha/reflection.proto").file:
        pool.Add(file)
    return pool


ORIGINAL = original_pool()


class Health:
    def __init__(self, channel):
        self.request = message_class(ORIGINAL, "grpc.health.v1.HealthCheckRequest")
        response = message_class(ORIGINAL, "grpc.health.v1.HealthCheckResponse")
        serialize = self.request.SerializeToString
        self._check = channel.unary_unary("/grpc.health.v1.Health/Check", serialize,
                                          response.FromString)
        self._watch = channel.unary_stream("/grpc.health.v1.Health/Watch", serialize,
                                           response.FromString)

    def check(self, service):
        """The status, or None for a service that is not known."""
        try:
            return self._check(self.request(service=service), timeout=WAIT).status
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.NOT_FOUND, e
            return None

    @contextlib.contextmanager
    def watch(self, service):
        """A function that waits for the next status; it raises when the call ends."""
        call, seen = self._watch(self.request(service=service)), queue.Queue()

        def read():
            try:
                for response in call:
                    seen.put(response.status)
            except grpc.RpcError as e:
                seen.put(e.code())

        threading.Thread(target=read, daemon=True).start()
        yield lambda: seen.get(timeout=WAIT)
        call.cancel()


class Reflection(DescriptorDatabase):
    """Stock types, found by asking the server; one stream for all questions."""

    def __init__(self, channel, version):
        super().__init__()
        package = f"grpc.reflection.{version}"
        self.request = message_class(ORIGINAL, f"{package}.ServerReflectionRequest")
        response = message_class(ORIGINAL, f"{package}.ServerReflectionResponse")
        self.files, self.questions = {}, queue.Queue()
        self.call = channel.stream_stream(
            f"/{package}.ServerReflection/ServerReflectionInfo",
            self.request.SerializeToString, response.FromString)(
                iter(self.questions.get, None), timeout=WAIT)

    def ask(self, **question):
        """The answer, or the code of an error."""
        request = self.request(host="a", **question)
        self.questions.put(request)
        answer = next(self.call)
        assert answer.valid_host == "a" and answer.original_request == request, answer
        kind = answer.WhichOneof("message_response")
        if kind == "error_response":
            assert answer.error_response.error_message, answer
            return answer.error_response.error_code
        if kind == "file_descriptor_response":
            files = [descriptor_pb2.FileDescriptorProto.FromString(f)
                     for f in answer.file_descriptor_response.file_descriptor_proto]
            for file in files:
                self.files[file.name] = file
            return files
        return getattr(answer, kind)

    def services(self):
        return [s.name for s in self.ask(list_services="").service]

    def FindFileByName(self, name):
        """What descriptor pools call."""
        if name not in self.files and isinstance(self.ask(file_by_filename=name), int):
            raise KeyError(name)
        return self.files[name]

    def FindFileContainingSymbol(self, symbol):
        """What descriptor pools call."""
        found = self.ask(file_containing_symbol=symbol)
        if isinstance(found, int):
            raise KeyError(symbol)
        return found[0]

    def end(self):
        self.questions.put(None)
        assert list(self.call) == []
        assert self.call.code() == grpc.StatusCode.OK, self.call.code()


class Pool:
    """The types of a server, and calls with them."""

    def __init__(self, channel, reflection):
        self.channel = channel
        self.pool = descriptor_pool.DescriptorPool(reflection)

    def call(self, service, method, **fields):
        m = self.pool.FindServiceByName(service).FindMethodByName(method)
        request = message_class(self.pool, m.input_type.full_name)
        reply = message_class(self.pool, m.output_type.full_name)
        return self.channel.unary_unary(f"/{service}/{method}", request.SerializeToString,
                                        reply.FromString)(request(**fields), timeout=WAIT)


def check_files(reflection, services, folder, name):
    """The files are those that protoc makes of our own .proto files, and no others."""
    for service in services:
        found = reflection.ask(file_containing_symbol=service)
        package = service.rpartition(".")[0]
        assert found[0].package == package, (service, found[0].name)
        for f in found:
            for dependency in f.dependency:
                assert dependency in reflection.files, (f.name, dependency)
    for file in compiled(folder, name).file:
        assert reflection.files[file.name] == file, file.name


def check_questions(reflection):
    """All kinds, beside those that building types asks."""
    health = "grpc.health.v1.HealthCheckRequest"
    assert reflection.ask(file_by_filename="none.proto") == NOT_FOUND
    assert reflection.ask(file_containing_symbol="none.None") == NOT_FOUND
    numbers = reflection.ask(all_extension_numbers_of_type=health)
    assert numbers.base_type_name == health and not numbers.extension_number
    assert reflection.ask(all_extension_numbers_of_type="none.None") == NOT_FOUND
    assert reflection.ask(file_containing_extension={
        "containing_type": health, "extension_number": 7}) == NOT_FOUND


def check_health(channel, pool, services):
    health = Health(channel)
    for service in ["", *services]:
        assert health.check(service) == SERVING, service
    assert health.check("none.None") is None
    with health.watch(services[0]) as state, health.watch("none.None") as unknown:
        assert state() == SERVING
        assert unknown() == SERVICE_UNKNOWN
    statuses = pool.call("grpc.health.v1.Health", "List").statuses
    assert {k: v.status for k, v in statuses.items()} == dict.fromkeys(["", *services], SERVING)


def check_server(path, own, folder, name):
    """One server, which has the services `own` besides the standard ones; they are in the .proto
    file `name`. Returns how to call them."""
    with grpc.insecure_channel(f"unix:{path}") as channel:
        for version in ("v1", "v1alpha"):
            reflection = Reflection(channel, version)
            services = reflection.services()
            assert services == [*own, *STANDARD], services
            pool = Pool(channel, reflection)
            check_files(reflection, services, folder, name)
            check_questions(reflection)
            check_health(channel, pool, services)
            yield pool
            reflection.end()


@contextlib.contextmanager
def running(args, ready, env=None):
    process = subprocess.Popen(args, env={**os.environ, **(env or {})})
    try:
        end = time.monotonic() + WAIT
        while not ready.exists():
            assert time.monotonic() < end and process.poll() is None, args
            time.sleep(0.02)
        yield process
    finally:
        if not getattr(process, "is_leaving", False):  # a second signal would hurry it
            process.send_signal(signal.SIGTERM)
        code = process.wait(WAIT)
    assert code == 0, (args, code)


def changes_are_seen(path, process):
    """The state of a service while a stock client watches it."""
    service = "vmt.rpctest.Test"
    with grpc.insecure_channel(f"unix:{path}") as channel:
        health = Health(channel)
        with health.watch(service) as state:
            assert state() == SERVING
            process.send_signal(signal.SIGUSR1)
            assert state() == NOT_SERVING
            assert health.check(service) == NOT_SERVING and health.check("") == SERVING
            process.send_signal(signal.SIGUSR2)
            assert state() == SERVING


def a_channel_minds_the_health(path, process):
    """gRPC's own health checking in the client: calls fail while the service is not serving."""
    service = "vmt.rpctest.Test"
    config = {"loadBalancingConfig": [{"round_robin": {}}],
              "healthCheckConfig": {"serviceName": service}}
    states = queue.Queue()
    options = [("grpc.service_config", json.dumps(config))]
    with grpc.insecure_channel(f"unix:{path}", options) as channel:
        def until(wanted):
            while states.get(timeout=WAIT) != wanted:
                pass

        def echo():
            return channel.unary_unary(f"/{service}/Echo")(b"", timeout=WAIT)

        channel.subscribe(states.put, try_to_connect=True)
        until(grpc.ChannelConnectivity.READY)
        echo()
        process.send_signal(signal.SIGUSR1)
        until(grpc.ChannelConnectivity.TRANSIENT_FAILURE)
        try:
            echo()
            raise AssertionError("the channel calls a service that is not serving")
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.UNAVAILABLE, e
        process.send_signal(signal.SIGUSR2)
        until(grpc.ChannelConnectivity.READY)
        echo()


def leaving_is_seen(process, paths):
    """A daemon that was asked to end says so before it is gone."""
    with contextlib.ExitStack() as stack:
        states = []
        for path in paths:
            channel = stack.enter_context(grpc.insecure_channel(f"unix:{path}"))
            states.append(stack.enter_context(Health(channel).watch("")))
        assert [state() for state in states] == [SERVING] * len(states)
        process.send_signal(signal.SIGTERM)
        process.is_leaving = True
        for state in states:
            assert state() == NOT_SERVING
            assert state() == grpc.StatusCode.UNAVAILABLE


def test_peer(top):
    path = top / "peer"
    with running([BIN / "rpc_peer", "serve", path], path) as process:
        for pool in check_server(path, ["vmt.rpctest.Test"], SOURCE / "tests/unit/rpc",
                                 "test.proto"):
            assert pool.call("vmt.rpctest.Test", "Echo", text="x", number=7).number == 7
        changes_are_seen(path, process)
        a_channel_minds_the_health(path, process)


def test_maitred(top):
    path = top / "agent"
    with running([BIN / "maitred", f"--listen=unix:{path}"], path):
        for pool in check_server(path, ["vm_tools.Maitred", "vmt.Agent"], SOURCE / "proto",
                                 "vm_guest.proto"):
            reply = pool.call("vm_tools.Maitred", "GetKernelVersion")
            assert reply.kernel_release == os.uname().release, reply
            assert not pool.call("vmt.Agent", "GetBootReport").ready_acknowledged


class Concierge:
    """What abuse/test_guest.py, whose VMs run without an emulator, needs to know."""
    hypervisor = SOURCE / "tests/integration/abuse/test_guest.py"

    def __init__(self, top):
        self.top = top
        self.env = {f"XDG_{name}": str(top) for name in ("STATE_HOME", "DATA_HOME", "CACHE_HOME")}
        self.env["XDG_RUNTIME_DIR"] = str(top / "run")
        self.path = str(top / "run/vm_tools/concierge.sock")
        (top / "run").mkdir(mode=0o700)
        self.options = ["--no-sandbox"]
        for role, option in (("qemu", "hypervisor-binary"), ("vsock", "vm-vsock")):
            program = top / role
            program.write_text(f'#!/bin/sh\nexec {sys.executable} {self.hypervisor} '
                               f'--be-{role} "$@"\n')
            program.chmod(0o755)
            self.options.append(f"--{option}={program}")

    def connect(self, hostile):
        assert not hostile
        s = self.abuse.socket.socket(self.abuse.socket.AF_UNIX)
        s.connect(self.path)
        return s

    @property
    def abuse(self):
        sys.path.insert(0, str(self.hypervisor.parent))
        import test_guest  # pylint: disable=import-error,import-outside-toplevel
        return test_guest


def test_concierge(top):
    """Its clients' side, and the side that its guests see."""
    c = Concierge(top)
    args = [BIN / "vm_concierge", "--user", "--dbus=none", *c.options]
    (top / "kernel").write_bytes(b"\x7fELF" + bytes(4096))
    with running(args, pathlib.Path(c.path), c.env) as process:
        for pool in check_server(c.path, ["vm_tools.concierge.VmConcierge", "vmt.Daemon"],
                                 SOURCE / "proto", "vm_concierge_ipc.proto"):
            owner = f"uid:{os.getuid()}".encode().hex()
            reply = pool.call("vm_tools.concierge.VmConcierge", "ListVms", owner_id=owner)
            assert reply.success and not reply.vms, reply
            assert pool.call("vmt.Daemon", "GetProperties").version
        kernel = os.open(top / "kernel", os.O_RDONLY)
        with c.abuse.start_vm(c, "a", kernel):
            door = c.abuse.doors(c, 1)[0]
            for pool in check_server(door, ["vm_tools.StartupListener", "vmt.GuestListener"],
                                     SOURCE / "proto", "vm_host.proto"):
                pool.call("vm_tools.StartupListener", "VmInstallStatus")
            leaving_is_seen(process, (c.path, door))
        os.close(kernel)


def main():
    for test in (test_peer, test_maitred, test_concierge):
        top = pathlib.Path(tempfile.mkdtemp(prefix="vmt-", dir="/tmp"))
        try:
            test(top)
        finally:
            shutil.rmtree(top)
        print(f"ok {test.__name__}")


if __name__ == "__main__":
    main()
