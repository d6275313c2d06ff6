#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Callers who mean harm: descriptors of all kinds, names that look like paths, messages that are
too large, and a thousand calls at once. Each gets a clear answer, and nothing is lost."""
import concurrent.futures
import os
import pathlib
import socket
import subprocess
import sys

import dbus
import grpc
import harness
import test_bus
import unittest

ME = test_bus.owner_of(os.getuid())


class Hostile(unittest.TestCase):
    start_daemon = classmethod(test_bus.BusTest.start_daemon.__func__)

    @classmethod
    def setUpClass(cls):
        test_bus.BusTest.setUpClass.__func__(cls)
        stubs = cls.world.root / "hostile-stubs"
        stubs.mkdir()
        proto = harness.SOURCE / "proto"
        subprocess.run(["protoc", f"--python_out={stubs}", "-I", proto, proto / "vmt_life.proto",
                        proto / "concierge_service.proto"], check=True)
        sys.path.insert(0, str(stubs))
        import concierge_service_pb2  # pylint: disable=import-outside-toplevel
        cls.pb = concierge_service_pb2
        cls.connection = dbus.bus.BusConnection(cls.address)

    @classmethod
    def tearDownClass(cls):
        cls.connection.close()
        test_bus.BusTest.tearDownClass.__func__(cls)

    def start(self, request, fds=()):
        """StartVm over the bus; the reply."""
        args = [dbus.ByteArray(request.SerializeToString())]
        signature = "ay"
        if fds:
            args.append(dbus.Array([dbus.types.UnixFd(fd) for fd in fds], signature="h"))
            signature += "ah"
        answer = self.connection.call_blocking(
            test_bus.NAME, test_bus.PATH, test_bus.NAME, "StartVm", signature, args,
            timeout=harness.PATIENCE, byte_arrays=True)
        return self.pb.StartVmResponse.FromString(bytes(answer))

    def request(self, name="evil", **kw):
        return self.pb.StartVmRequest(name=name, owner_id=ME, diskless=True, accel="tcg",
                                      memory_mib=64, **kw)

    def is_well(self):
        """The daemon answers, has no VM, and left nothing in its runtime directory."""
        self.assertEqual(self.socket.call("ListVms", test_bus.field(1, ME)), b"\x08\x01")
        self.assertIsNone(self.daemon.poll())
        self.assertEqual(list(self.world.runtime.glob("vm.*")), [])

    def test_descriptors_that_are_no_images(self):
        reader, writer = os.pipe()
        ours, theirs = socket.socketpair()
        path_only = os.open("/etc/passwd", os.O_PATH)
        folder = os.open("/tmp", os.O_RDONLY)
        terminal = os.open("/dev/null", os.O_RDWR)
        try:
            for fd in (reader, writer, theirs.fileno(), path_only, folder, terminal):
                for kind in ("KERNEL", "ROOTFS", "STORAGE", "INITRD"):
                    reply = self.start(self.request(fds=[kind]), [fd])
                    self.assertFalse(reply.success)
                    self.assertTrue(reply.failure_reason)
            reply = self.start(self.request(fds=["KERNEL", "ROOTFS"]), [terminal])
            self.assertIn("descriptor", reply.failure_reason)  # two named, one sent
        finally:
            for fd in (reader, writer, path_only, folder, terminal):
                os.close(fd)
            ours.close()
            theirs.close()
        self.is_well()

    def test_paths_that_are_no_images(self):
        kernel = os.open(harness.BIN / "vm_concierge", os.O_RDONLY)
        link = self.world.root / "link"
        link.symlink_to("/etc/passwd")
        fifo = self.world.root / "fifo"
        os.mkfifo(fifo)
        before = set(self.world.root.iterdir())
        for path in ("relative", "../up", "", "/no/such/file", "/tmp", "/proc/self/fd/3", str(link),
                     str(fifo), "/dev/null", "/dev/zero", "/" + "x" * 5000):
            request = self.request(fds=["KERNEL"])
            request.disks.add(path=path, writable=True)
            reply = self.start(request, [kernel])
            self.assertFalse(reply.success, path)
            self.assertTrue(reply.failure_reason, path)
        os.close(kernel)
        self.assertEqual(set(self.world.root.iterdir()), before)
        self.is_well()

    def test_names_that_look_like_paths(self):
        state = {p for p in self.world.root.rglob("*")}
        for name in ("..", ".", "a/b", "/etc/passwd", "../../x", "-rf", "a\nb", "a\x1b[2J",
                     "x" * 61, "\u00e4\u00f6" * 20, "%s%n"):
            reply = self.start(self.request(name=name))  # without a kernel
            self.assertFalse(reply.success, name)
            for method in ("GetVmLogs", "GetVmInfo", "StopVm", "SuspendVm"):
                for side in (self.bus, self.socket):
                    try:
                        side.call(method, self.pb.GetVmLogsRequest(
                            name=name, owner_id=ME).SerializeToString())
                    except test_bus.Refused as e:
                        self.assertIn(str(e), ("failed", "invalid"), (method, name))
        for owner in ("../..", "/", "0g", "00/..", "0" * 400):
            for side in (self.bus, self.socket):
                try:
                    answer = side.call("ListVms", self.pb.ListVmsRequest(
                        owner_id=owner).SerializeToString())
                    self.assertFalse(self.pb.ListVmsResponse.FromString(answer).success, owner)
                except test_bus.Refused as e:
                    self.assertIn(str(e), ("denied", "invalid"), owner)
        self.assertEqual({p for p in self.world.root.rglob("*")}, state)
        self.is_well()

    def test_messages_that_are_too_large(self):
        request = self.request()
        request.kernel_params.extend(["x" * 100000] * 60)  # 6 MB
        with self.assertRaises(grpc.RpcError) as caught:
            self.socket.channel.unary_unary("/vm_tools.concierge.VmConcierge/StartVm")(
                request.SerializeToString(), timeout=harness.PATIENCE)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        try:
            reply = self.start(request)
            self.assertFalse(reply.success)
        except dbus.DBusException as e:
            self.assertNotIn("NoReply", e.get_dbus_name())
        del request.kernel_params[3:]  # fits into a message, but into no kernel
        self.assertFalse(self.start(request).success)
        many = self.request()
        for _ in range(11):
            many.disks.add(path="/x")
        self.assertFalse(self.start(many).success)
        self.is_well()

    def test_a_thousand_calls_at_once(self):
        info = self.pb.GetVmInfoRequest(name="none", owner_id=ME).SerializeToString()
        bad = self.request().SerializeToString()  # no kernel
        self.is_well()
        before = len(list(pathlib.Path(f"/proc/{self.daemon.pid}/fd").iterdir()))
        channels = [grpc.insecure_channel(f"unix:{self.world.runtime}/concierge.sock",
                                          options=[("grpc.use_local_subchannel_pool", 1)])
                    for _ in range(20)]

        def one(n):
            channel = channels[n % len(channels)]
            method, request = (("GetVmInfo", info), ("StartVm", bad))[n % 2]
            future = channel.unary_unary(f"/vm_tools.concierge.VmConcierge/{method}").future(
                request, timeout=harness.PATIENCE)
            return method, future

        seen = {"GetVmInfo": 0, "StartVm": 0, "refused": 0}
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            for method, future in list(pool.map(one, range(1000))):
                try:
                    answer = future.result()
                    if method == "StartVm":
                        self.assertFalse(self.pb.StartVmResponse.FromString(answer).success)
                    seen[method] += 1
                except grpc.RpcError as e:
                    # Too many of one client may be told so, in words.
                    self.assertEqual(e.code(), grpc.StatusCode.RESOURCE_EXHAUSTED, e)
                    seen["refused"] += 1
        self.assertEqual(sum(seen.values()), 1000)
        self.assertGreater(seen["GetVmInfo"], 0)
        for channel in channels:
            channel.close()
        self.is_well()
        harness.eventually("all descriptors are closed", lambda: len(list(
            pathlib.Path(f"/proc/{self.daemon.pid}/fd").iterdir())) <= before, 30)

    @unittest.skipIf(os.getuid() != 0, "needs root to call as another uid")
    def test_another_user_gets_nothing_by_the_socket(self):
        script = ("import socket,sys\ns=socket.socket(socket.AF_UNIX)\n"
                  "try:\n s.connect(sys.argv[1])\nexcept PermissionError:\n sys.exit(7)")
        p = subprocess.run([sys.executable, "-c", script, self.world.runtime / "concierge.sock"],
                           user=test_bus.NOBODY, check=False, timeout=harness.PATIENCE)
        self.assertEqual(p.returncode, 7)
        self.is_well()


if __name__ == "__main__":
    harness.main()
