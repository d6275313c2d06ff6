#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""vm_concierge on a private D-Bus and on its unix socket at once: both must say the same.

The bus is asked with gdbus and dbus-monitor, the socket with Debian's grpcio. With a guest
image (VMT_TEST_IMAGE) a VM is started and stopped while both are watched.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import unittest
import xml.etree.ElementTree

import harness

try:
    import dbus
except ImportError:
    print("python3-dbus is not installed")
    sys.exit(harness.SKIP)

NAME, PATH = "org.chromium.VmConcierge", "/org/chromium/VmConcierge"
NOBODY = 65534
BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
 <type>session</type>
 <listen>unix:path={}</listen>
 <auth>EXTERNAL</auth>
 <policy context="default">
  <allow user="*"/>
  <allow send_destination="*" eavesdrop="true"/>
  <allow eavesdrop="true"/>
  <allow own="*"/>
 </policy>
</busconfig>
"""


def owner_of(uid):
    return f"uid:{uid}".encode().hex()


def field(number, text):
    """A string field on the wire; everything sent here is short."""
    data = text.encode()
    return bytes([number << 3 | 2, len(data)]) + data


class Refused(Exception):
    """The call itself failed; the argument is the kind of error."""


class Bus:
    """Call methods with gdbus."""
    kinds = {"Failed": "failed", "InvalidArgs": "invalid", "AccessDenied": "denied",
             "UnknownMethod": "unknown"}

    def __init__(self, address):
        self.address = address

    def call(self, method, request=None, user=None):
        argument = []
        if request is not None:
            argument = ["@ay [" + ", ".join(map(hex, request)) + "]"]
        p = subprocess.run(
            ["gdbus", "call", "--address", self.address, "--dest", NAME, "--object-path", PATH,
             "--method", f"{NAME}.{method}", *argument], text=True, capture_output=True,
            timeout=harness.PATIENCE, check=False, user=user)
        if p.returncode:
            found = re.search(r"org\.freedesktop\.DBus\.Error\.(\w+)", p.stderr)
            raise Refused(self.kinds.get(found[1], p.stderr) if found else p.stderr)
        return bytes(int(b, 16) for b in re.findall(r"0x([0-9a-f]{2})", p.stdout))


class Socket:
    """Call methods over gRPC."""
    def __init__(self, path):
        import grpc
        self.grpc = grpc
        code = grpc.StatusCode
        self.kinds = {code.UNKNOWN: "failed", code.INVALID_ARGUMENT: "invalid",
                      code.PERMISSION_DENIED: "denied", code.UNIMPLEMENTED: "unknown"}
        self.channel = grpc.insecure_channel(f"unix:{path}")

    def call(self, method, request=None):
        try:
            return self.channel.unary_unary(f"/vm_tools.concierge.VmConcierge/{method}")(
                request or b"", timeout=harness.PATIENCE)
        except self.grpc.RpcError as e:
            raise Refused(self.kinds.get(e.code(), str(e))) from None


class BusTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = harness.World()
        cls.world.root.chmod(0o755)  # the bus is for everybody, the socket is not
        config = cls.world.root / "bus.conf"
        cls.address = f"unix:path={cls.world.root}/bus"
        config.write_text(BUS_CONFIG.format(cls.world.root / "bus"))
        cls.dbus = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile",
             "--print-address=1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        cls.dbus.stdout.readline()
        cls.daemon = cls.start_daemon()
        cls.bus = Bus(cls.address)
        cls.socket = Socket(cls.world.runtime / "concierge.sock")

    @classmethod
    def start_daemon(cls):
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [harness.BIN / "vm_concierge", "--user", f"--dbus={cls.address}",
             f"--ready-fd={writer}"], env=cls.world.env, pass_fds=(writer,),
            stderr=subprocess.PIPE, text=True)
        os.close(writer)
        ready = os.read(reader, 1)
        os.close(reader)
        if not ready:
            raise AssertionError(process.communicate()[1])
        threading.Thread(target=process.stderr.read, daemon=True).start()
        return process

    @classmethod
    def tearDownClass(cls):
        cls.socket.channel.close()
        cls.daemon.send_signal(signal.SIGTERM)
        code = cls.daemon.wait(harness.PATIENCE)
        cls.dbus.terminate()
        cls.dbus.wait(harness.PATIENCE)
        reports, stubborn = cls.world.close()
        if code or reports or stubborn:
            raise AssertionError(f"exit code {code}, left {stubborn}\n" + "\n".join(reports))

    def both(self, method, request=None):
        """The answer, or the kind of error, that bus and socket agree on."""
        answers = []
        for side in (self.bus, self.socket):
            try:
                answers.append(side.call(method, request))
            except Refused as e:
                answers.append(str(e))
        self.assertEqual(answers[0], answers[1], method)
        return answers[0]

    def test_every_member_of_the_original_is_there(self):
        table = (harness.SOURCE / "tests/data/wire/dbus.txt").read_text()
        table = table.split("## bus name, interface: org.chromium.VmConcierge")[1].split("\n## ")[0]
        want = set(re.findall(r"^(?:method|signal) (\w+):", table, re.M))
        want |= {"Version", "Capabilities"}
        text = subprocess.run(["gdbus", "introspect", "--address", self.address, "--dest", NAME,
                               "--object-path", PATH, "--xml"], capture_output=True, text=True,
                              timeout=harness.PATIENCE, check=True).stdout
        have = {m.get("name") for i in xml.etree.ElementTree.fromstring(text)
                if i.get("name") == NAME for m in i}
        # Our own carry messages of our own.
        service = (harness.SOURCE / "proto" / "vm_concierge_ipc.proto").read_text()
        ours = set(re.findall(r"rpc (\w+)\(\.vmt\.", service))
        ours |= set(re.findall(r"rpc (\w+)\([^)]*\)\s+returns \(stream \.vmt\.", service))
        self.assertEqual(want - have, set())
        self.assertEqual(have - want - ours, set())

    def methods_of_the_original(self):
        """(name, request message or None, its descriptors) of every method."""
        table = (harness.SOURCE / "tests/data/wire/dbus.txt").read_text()
        table = table.split("## bus name, interface: org.chromium.VmConcierge")[1].split("\n## ")[0]
        for name, call in re.findall(r"^method (\w+): (.+?) -> ", table, re.M):
            message = re.match(r"ay (\S+?)(;|$)", call)
            fds = re.search(r"; (ah|h) ", call)
            yield name, message and message[1], fds and fds[1]

    @staticmethod
    def request_of(message, owner):
        """One that says whose VM it is about, so that it gets past the question who may."""
        text = (harness.SOURCE / "tests/data/wire/concierge_service.txt").read_text()
        body = re.search(rf"^message {re.escape(message)}\n((?:    .*\n)*)", text, re.M)
        number = body and re.search(r"^ +(\d+) +string (?:owner_id|cryptohome_id)$", body[1], re.M)
        return field(int(number[1]), owner) if number else b""

    def call_with_fds(self, connection, name, request, kind):
        """As a client with descriptors would: the kinds of errors are those of the bus."""
        null = os.open("/dev/null", os.O_RDWR)
        args = [] if request is None else [dbus.ByteArray(request)]
        if kind == "h":
            args.append(dbus.types.UnixFd(null))
        elif kind == "ah":
            args.append(dbus.Array([dbus.types.UnixFd(null)], signature="h"))
        signature = ("ay" if request is not None else "") + (kind or "")
        try:
            connection.call_blocking(NAME, PATH, NAME, name, signature, args,
                                     timeout=harness.PATIENCE)
            return "answered"
        except dbus.DBusException as e:
            return e.get_dbus_name().rsplit(".", 1)[1]
        finally:
            os.close(null)

    def test_every_method_of_the_original_answers(self):
        """Refused or done, but never unknown, and never silent."""
        me = owner_of(os.getuid())
        connection = dbus.bus.BusConnection(self.address)
        seen = {}
        for name, message, fds in self.methods_of_the_original():
            request = self.request_of(message, me) if message else None
            seen[name] = self.call_with_fds(connection, name, request, fds)
            self.assertIn(seen[name], ("answered", "Failed", "InvalidArgs"), name)
            try:
                answer = self.socket.call(name, request or b"")
                self.assertIsInstance(answer, bytes, name)
            except Refused as e:
                self.assertIn(str(e), ("failed", "invalid"), name)
        connection.close()
        self.assertGreaterEqual(len(seen), 46)
        # Nothing that answered "Failed" does more than the original's own errors.
        self.assertEqual({n for n, r in seen.items() if r == "Failed"},
                         {"AddGroupPermissionMesa", "ArcVmCompleteBoot", "GetBaguetteImageUrl",
                          "GetVmGpuCachePath"} & set(seen))
        # The daemon is as it was: StopAllVms above was one of them.
        self.assertEqual(self.both("ListVms", field(1, me)), b"\x08\x01")

    def test_garbage_is_refused_by_every_method(self):
        """A length that goes beyond the message, as every request with fields must see."""
        for name, message, fds in self.methods_of_the_original():
            if not message or fds:
                continue
            for side in (self.bus, self.socket):
                try:
                    side.call(name, b"\x0a\x7fx")
                    self.fail(f"{name} took garbage")
                except Refused as e:
                    self.assertEqual(str(e), "invalid", name)

    def test_capabilities_are_the_same_both_ways(self):
        p = subprocess.run(
            ["busctl", f"--address={self.address}", "get-property", NAME, PATH, NAME,
             "Capabilities"], capture_output=True, text=True, timeout=harness.PATIENCE, check=True)
        have = re.findall(r'"(.+?)"', p.stdout)
        for capability in ("hypervisor:qemu", "transport:hybrid", "ipc:dbus", "method:StartVm"):
            self.assertIn(capability, have)
        self.assertNotIn("method:StartPluginVm", have)
        data = self.socket.channel.unary_unary("/vmt.Daemon/GetProperties")(
            b"", timeout=harness.PATIENCE)
        self.assertTrue(data.endswith(b"".join(field(2, c) for c in have)), data)

    def test_questions_get_the_same_answer_both_ways(self):
        me = owner_of(os.getuid())
        self.assertEqual(self.both("ListVms", field(1, me)), b"\x08\x01")
        self.assertEqual(self.both("GetVmInfo", field(1, "none") + field(2, me)), b"")
        self.both("StopVm", field(1, "none") + field(2, me))
        self.both("GetDnsSettings")
        self.both("SyncVmTimes")
        self.assertEqual(self.both("GetVmLogs", field(1, "none") + field(2, me)), "failed")

    def test_a_start_that_cannot_be_says_why(self):
        for name in ("", "x" * 61):
            answer = self.both("StartVm", field(4, name) + field(7, owner_of(os.getuid())))
            self.assertNotEqual(answer[:2], b"\x08\x01")
            self.assertIn(b"name", answer)

    def test_what_has_no_use_here_is_refused_in_words(self):
        answer = self.both("SwapVm", field(1, "x") + field(2, owner_of(os.getuid())))
        self.assertEqual(answer[:1], b"\x12")  # no success, a failure_reason
        self.assertIsInstance(self.both("StartPluginVm", b""), bytes)

    def test_bad_calls_are_told_apart(self):
        self.assertEqual(self.both("NoSuchMethod", b""), "unknown")
        self.assertEqual(self.both("ListVms", b"\x0a\x05x"), "invalid")
        self.assertEqual(self.both("InstallPflash", b""), "invalid")  # without its descriptor

    @unittest.skipIf(os.getuid() != 0, "needs root to call as another uid")
    def test_another_user_cannot_touch_what_is_not_his(self):
        def ask(method, owner):
            return self.bus.call(method, field(1, owner), user=NOBODY)

        self.assertEqual(ask("ListVms", owner_of(NOBODY)), b"\x08\x01")
        for owner in (owner_of(0), "", "00"):
            with self.assertRaisesRegex(Refused, "denied"):
                ask("ListVms", owner)
        with self.assertRaisesRegex(Refused, "denied"):
            self.bus.call("StopAllVms", user=NOBODY)

    def test_the_name_and_the_socket_belong_to_one_daemon(self):
        p = subprocess.run([harness.BIN / "vm_concierge", "--user", f"--dbus={self.address}"],
                           env=self.world.env, capture_output=True, text=True,
                           timeout=harness.PATIENCE, check=False)
        self.assertEqual(p.returncode, 1, p.stderr)
        other = dict(self.world.env, XDG_RUNTIME_DIR=str(self.world.root / "other"))
        os.mkdir(other["XDG_RUNTIME_DIR"], 0o700)
        p = subprocess.run([harness.BIN / "vm_concierge", "--user", f"--dbus={self.address}"],
                           env=other, capture_output=True, text=True,
                           timeout=harness.PATIENCE, check=False)
        self.assertEqual(p.returncode, 1, p.stderr)
        self.assertIn("somebody else owns it", p.stderr)

    @unittest.skipUnless(harness.IMAGE.name and (harness.IMAGE / "manifest.json").exists(),
                         "no guest image: VMT_TEST_IMAGE")
    def test_signals_of_a_vm_come_on_the_bus_in_order(self):
        monitor = subprocess.Popen(
            ["dbus-monitor", "--address", self.address,
             f"type='signal',interface='{NAME}'"], stdout=subprocess.PIPE, text=True)
        seen, ready = [], threading.Event()

        def read():
            for line in monitor.stdout:
                ready.set()
                found = re.search(rf"interface={re.escape(NAME)}; member=(\w+)", line)
                if found:
                    seen.append(found[1])

        threading.Thread(target=read, daemon=True).start()
        self.assertTrue(ready.wait(harness.PATIENCE))
        self.world.start("demo")
        for side in (self.bus, self.socket):  # the uptime differs from one to the next
            self.assertIn(b"demo", side.call("ListVms", field(1, owner_of(os.getuid()))))
        self.vsh_finds_it_on_the_bus()
        self.world.vmc("stop", "demo")
        harness.eventually("VmStopped", lambda: "VmStoppedSignal" in seen, 30)
        monitor.terminate()
        monitor.wait(harness.PATIENCE)
        self.assertEqual([s for s in seen if s.startswith("Vm")],
                         ["VmStartingUpSignal", "VmStartedSignal", "VmStoppingSignal",
                          "VmStoppedSignal"])

    def vsh_finds_it_on_the_bus(self):
        """As the original's does, when there is no socket to ask."""
        away = self.world.root / "nowhere"
        away.mkdir(mode=0o700, exist_ok=True)

        def vsh(*args, bus=self.address):
            env = dict(self.world.env, XDG_RUNTIME_DIR=str(away), DBUS_SYSTEM_BUS_ADDRESS=bus)
            p = subprocess.run([harness.BIN / "vsh", *args, "--", "echo", "hello"], env=env,
                               capture_output=True, text=True, stdin=subprocess.DEVNULL,
                               timeout=harness.PATIENCE, check=False)
            return p.returncode, p.stdout, p.stderr

        self.assertEqual(vsh("--vm_name=demo"), (0, "hello\n", ""))
        me = owner_of(os.getuid())
        self.assertEqual(vsh("--vm_name=demo", f"--owner_id={me}"), (0, "hello\n", ""))
        self.assertEqual(vsh("--vm_name=nobody"), (1, "", "vsh: no VM named nobody runs\n"))
        self.assertIn("vm_concierge does not run", vsh(
            "--vm_name=demo", bus=f"unix:path={away}/bus")[2])


def main():
    tools = ("dbus-daemon", "gdbus", "dbus-monitor")
    lacking = [t for t in tools if not shutil.which(t)]
    try:
        import grpc  # noqa: F401
    except ImportError:
        lacking.append("python3-grpcio")
    lacking += [p for p in ("vm_concierge", "vmc", "vsh") if not (harness.BIN / p).exists()]
    if lacking:
        print("skipped, not there:", *lacking)
        return harness.SKIP
    unittest.main(verbosity=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
