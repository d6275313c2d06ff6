#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The echo daemon asked by programs that are not ours: tools.py unix|dbus DAEMON

dbus: gdbus, busctl and dbus-send over a private dbus-daemon. unix: Debian's grpcio.
"""
import contextlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

NAME, PATH = "org.vmt.test.Echo", "/org/vmt/test/Echo"
DEADLINE_S = 120
BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
 <type>session</type>
 <listen>unix:path={}</listen>
 <auth>EXTERNAL</auth>
 <policy context="default">
  <allow send_destination="*" eavesdrop="true"/>
  <allow eavesdrop="true"/>
  <allow own="*"/>
 </policy>
</busconfig>
"""


def check(condition, what):
    if not condition:
        raise AssertionError(what)


@contextlib.contextmanager
def started(*argv):
    """A process that has written its first line; it must end with 0 when asked to."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            check(process.stdout.read(1), f"{argv[0]} did not start")
            yield process
        finally:
            process.terminate()
            code = process.wait(DEADLINE_S)
    check(code in (0, -15), f"{argv[0]} ended with {code}")


def run(*argv, fails=None):
    """Standard output of a command; fails: the text that its failure must have instead."""
    r = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if fails:
        check(r.returncode != 0 and fails in r.stderr, f"{argv}: {r.stdout} {r.stderr}")
        return r.stderr
    check(r.returncode == 0, f"{argv}: {r.stdout} {r.stderr}")
    return r.stdout


def ask_gdbus(address):
    where = ("--address", address, "--dest", NAME, "--object-path", PATH)
    text = run("gdbus", "introspect", *where, "--xml")
    members = {m.get("name") for i in xml.etree.ElementTree.fromstring(text)
               if i.get("name") == NAME for m in i}
    check({"Echo", "Read", "Rose", "Version", "Capabilities"} <= members, members)
    out = run("gdbus", "call", *where, "--method", NAME + ".Echo", "[byte 0x0a, 0x02, 0x68, 0x69]")
    check(out.strip() == "([byte 0x0a, 0x02, 0x68, 0x69],)", out)
    run("gdbus", "call", *where, "--method", NAME + ".Echo", "[byte 0x0a, 0x05, 0x68]",
        fails="org.freedesktop.DBus.Error.InvalidArgs")
    run("gdbus", "call", *where, "--method", NAME + ".NoSuchMethod",
        fails="org.freedesktop.DBus.Error.UnknownMethod")
    check(run("gdbus", "call", *where, "--method", NAME + ".Nothing").strip() == "()", "Nothing")


def ask_busctl(address):
    bus = ("busctl", "--address=" + address)
    check(PATH in run(*bus, "tree", "--list", NAME), "tree")
    check(".Rose" in run(*bus, "introspect", NAME, PATH), "introspect")
    check(run(*bus, "get-property", NAME, PATH, NAME, "Version").startswith('s "'), "Version")
    out = run(*bus, "get-property", NAME, PATH, NAME, "Capabilities")
    check(out.strip() == 'as 2 "test:echo" "test:more"', out)
    run(*bus, "set-property", NAME, PATH, NAME, "Capabilities", "as", "0",
        fails="no property can be set")
    run(*bus, "set-property", NAME, PATH, NAME, "Size", "s", "", fails="there are only")
    ids = run(*bus, "call", NAME, PATH, "org.freedesktop.DBus.Peer", "GetMachineId")
    check(len(ids.split('"')[1]) == 32, ids)
    out = run(*bus, "call", NAME, PATH, NAME, "Echo", "ay", "4", "10", "2", "104", "105")
    check(out.strip() == "ay 4 10 2 104 105", out)
    run(*bus, "call", NAME, PATH, NAME, "Read", "ay", "0", fails="signature")
    run(*bus, "call", NAME, PATH, NAME, "Echo", "s", "hello", fails="signature")


def ask_dbus_send(address):
    send = ("dbus-send", "--bus=" + address, "--print-reply", "--dest=" + NAME)
    properties = "org.freedesktop.DBus.Properties."
    out = run(*send, PATH, properties + "Get", "string:" + NAME, "string:Version")
    check("variant" in out and "string" in out, out)
    out = run(*send, PATH, properties + "GetAll", "string:" + NAME)
    check('string "Version"' in out and 'string "test:more"' in out, out)
    run(*send, PATH, "org.example.Unknown.Method", fails="UnknownInterface")
    run(*send, PATH, "org.freedesktop.DBus.Properties.Method", fails="UnknownMethod")
    run(*send, PATH, NAME + ".Method", fails="UnknownMethod")
    check("Version" not in run(*send, PATH, properties + "GetAll", "string:org.example"), "GetAll")
    run(*send, PATH, properties + "Get", "string:" + NAME, "string:Size", fails="UnknownProperty")
    run(*send, PATH, properties + "Set", "string:" + NAME, "string:Version", "variant:string:9",
        fails="PropertyReadOnly")
    run(*send, PATH, properties + "Get", "string:" + NAME, fails="InvalidArgs")
    run(*send, PATH, "org.freedesktop.DBus.Peer.Ping")
    run(*send, "/elsewhere", NAME + ".Echo", "array:byte:10", fails="UnknownMethod")
    check('node name="org"' in run(*send, "/", "org.freedesktop.DBus.Introspectable.Introspect"),
          "root node")


def test_dbus(folder, daemon):
    config, address = folder / "bus.conf", f"unix:path={folder}/bus"
    config.write_text(BUS_CONFIG.format(folder / "bus"))
    with started("dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile",
                 "--print-address=1"), started(daemon, "dbus", address):
        ask_gdbus(address)
        ask_busctl(address)
        ask_dbus_send(address)


def ask_grpc(grpc, path):
    with grpc.insecure_channel(f"unix:{path}") as channel:
        def call(method, request=b""):
            return channel.unary_unary("/vmt.test.Echo/" + method)(request, timeout=DEADLINE_S)

        def fails(method, request, code):
            try:
                call(method, request)
            except grpc.RpcError as e:
                check(e.code() == code, f"{method}: {e.code()}")
                return e.details()
            raise AssertionError(f"{method} succeeds")

        check(call("Echo", b"\x0a\x02hi") == b"\x0a\x02hi", "Echo")
        check(call("Nothing") == b"", "Nothing")
        got = channel.unary_unary("/vmt.Daemon/GetProperties")(b"", timeout=DEADLINE_S)
        check(b"\x12\x09test:echo\x12\x09test:more" in got and got[0] == 10, got)
        fails("Echo", b"\x0a\x05h", grpc.StatusCode.INVALID_ARGUMENT)
        fails("NoSuchMethod", b"", grpc.StatusCode.UNIMPLEMENTED)
        check(fails("Fail", b"\x0a\x02no", grpc.StatusCode.UNKNOWN) == "no", "details")
        fails("Fail", b"\x0a\x02no\x12\x01\x03", grpc.StatusCode.PERMISSION_DENIED)
        fails("Read", b"", grpc.StatusCode.INVALID_ARGUMENT)  # grpcio sends no descriptors
        every = channel.unary_stream("/vmt.test.Echo/SubscribeSignals")(b"", timeout=DEADLINE_S)
        check(next(every) == b"", "the subscription stands")
        typed = channel.unary_stream("/vmt.test.Echo/Rose")(b"", timeout=DEADLINE_S)
        call("Raise", b"\x0a\x02up")
        check(next(every) == b"\x0a\x04Rose\x12\x04\x0a\x02up", "Signal")
        check(next(typed) == b"\x0a\x02up", "Rose")
        every.cancel()
        typed.cancel()
        call("Raise", b"")


def test_unix(folder, daemon):
    import grpc  # pylint: disable=import-outside-toplevel
    with started(daemon, "unix", str(folder / "sock")):
        ask_grpc(grpc, folder / "sock")


def missing(backend):
    if backend == "unix":
        try:
            import grpc  # noqa: F401 pylint: disable=import-outside-toplevel,unused-import
        except ImportError:
            return ["python3-grpcio"]
        return []
    return [t for t in ("dbus-daemon", "gdbus", "busctl", "dbus-send") if not shutil.which(t)]


def main():
    backend, daemon = sys.argv[1:]
    lacking = missing(backend)
    if lacking:
        print("skipped, not installed:", *lacking)
        return 77
    with tempfile.TemporaryDirectory(prefix="vmt_ipc.") as folder:
        {"unix": test_unix, "dbus": test_dbus}[backend](pathlib.Path(folder), daemon)
    return 0


if __name__ == "__main__":
    sys.exit(main())
