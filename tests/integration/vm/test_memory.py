#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Memory of a real VM: what a guest frees comes back to the host, and its balloon follows what the
host says that it has. The daemon sees a /proc/meminfo of ours, in a mount namespace of its own."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import unittest

import harness

MIB = 1 << 20
NAME = "memory"


def can_hide_meminfo():
    """Is a mount namespace possible here?"""
    return shutil.which("unshare") and subprocess.run(
        ["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


class Memory(harness.Case):
    """One VM of 1 GiB; a host of 8 GiB that is as full as the test says."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.meminfo = cls.world.root / "meminfo"
        cls.host_has(6144)
        cls.start_daemon()
        cls.world.start(NAME, "--mem", "1024")
        import grpc
        harness.Signals(cls.world).close()  # makes the stubs
        import common_pb2
        import concierge_service_pb2
        cls.types = concierge_service_pb2
        cls.empty = common_pb2.EmptyMessage
        cls.channel = grpc.insecure_channel(f"unix:{cls.world.runtime}/concierge.sock")

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        super().tearDownClass()

    @classmethod
    def host_has(cls, available_mib):
        """In place: the daemon's mount is of this very file."""
        with open(cls.meminfo, "w", encoding="ascii") as f:
            f.write(f"MemTotal:       {8192 * 1024} kB\nMemFree:        1024 kB\n"
                    f"MemAvailable:   {available_mib * 1024:8} kB\n")

    @classmethod
    def start_daemon(cls):
        script = (f"mount --bind {cls.meminfo} /proc/meminfo && "
                  f"exec {harness.BIN}/vm_concierge --user")
        with open(cls.world.root / "daemon.log", "ab") as log:
            cls.daemon = subprocess.Popen(["unshare", "-m", "sh", "-c", script], env=cls.world.env,
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        harness.eventually("the daemon serves", cls.serves)

    @classmethod
    def serves(cls):
        """Not by vmc, which would start a daemon of its own."""
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(str(cls.world.runtime / "concierge.sock")) == 0

    def call(self, method, request, reply):
        call = self.channel.unary_unary(f"/vm_tools.concierge.VmConcierge/{method}",
                                        request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=reply.FromString)
        return call(request, timeout=harness.PATIENCE, wait_for_ready=True)

    def named(self, kind, **more):
        owner = f"uid:{os.getuid()}".encode().hex()
        return kind(name=NAME, owner_id=owner, **more)

    def balloon(self):
        """The answer, once the guest's driver reports."""
        def ask():
            import grpc
            try:
                return told()
            except grpc.RpcError:  # the channel is still that of the daemon before
                return None

        def told():
            reply = self.call("GetBalloonInfo", self.named(self.types.GetBalloonInfoRequest),
                              self.types.GetBalloonInfoResponse)
            return reply.balloon_info if reply.success else None
        return harness.eventually("the balloon is told", ask)

    def resident(self):
        """Bytes of the VMM in the host's RAM."""
        pid = harness.info(self.world, NAME)["pid"]
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the VMM has no memory")

    def test_01_the_balloon_is_empty_and_the_guest_has_memory(self):
        info = self.balloon()
        self.assertEqual(info.balloon_size, 0)
        self.assertGreater(info.available_memory, 256 * MIB)
        self.assertLess(info.available_memory, 1024 * MIB)
        self.assertGreater(info.free_memory, 64 * MIB)
        self.assertEqual(harness.info(self.world, NAME)["memory_bytes"], 1024 * MIB)

    def test_02_what_a_program_in_the_guest_freed_comes_back(self):
        before = self.resident()
        # tail keeps it all, for there is no end of line.
        self.world.guest(NAME, "head -c 400M /dev/zero | tail -n 1 | wc -c >/dev/null & "
                               "wait; true")
        peak = self.resident()
        low = harness.eventually(
            f"memory comes back: {before // MIB} MiB before, {peak // MIB} then",
            lambda: (now := self.resident()) < before + 150 * MIB and now)
        print(f"resident: {before // MIB} MiB before, {peak // MIB} after the program, "
              f"{low // MIB} then")

    def test_03_a_host_in_need_gets_memory_and_gives_it_back(self):
        self.host_has(64)
        taken = harness.eventually("the balloon fills",
                                   lambda: (now := self.balloon().balloon_size) > 200 * MIB and now)
        self.assertLessEqual(taken, 768 * MIB)
        self.assertEqual(self.world.guest(NAME, "echo alive"), "alive")
        self.host_has(7000)
        harness.eventually("the balloon empties", lambda: self.balloon().balloon_size == 0)

    def test_04_a_need_that_ends_while_the_guest_still_gives_leaves_nothing_taken(self):
        self.host_has(64)
        harness.eventually("the balloon begins to fill", lambda: self.balloon().balloon_size > 0)
        self.host_has(7000)  # most likely before the daemon has looked at the guest again
        harness.eventually("the balloon empties", lambda: self.balloon().balloon_size == 0)

    def test_05_the_next_daemon_goes_on(self):
        self.host_has(64)
        harness.eventually("the balloon fills", lambda: self.balloon().balloon_size > 200 * MIB)
        pid = harness.info(self.world, NAME)["pid"]
        for daemon in self.world.processes("vm_concierge --user"):
            with contextlib.suppress(OSError):
                os.kill(daemon, signal.SIGKILL)
        self.daemon.wait(harness.PATIENCE)
        self.host_has(7000)
        self.start_daemon()
        self.assertEqual(harness.info(self.world, NAME)["pid"], pid)
        harness.eventually("the balloon empties", lambda: self.balloon().balloon_size == 0)

    def test_06_a_stopped_timer_leaves_the_balloon_alone(self):
        timer = self.types.SetBalloonTimerRequest
        answer = self.types.SuccessFailureResponse
        self.assertTrue(self.call("SetBalloonTimer", timer(timer_interval_millis=0),
                                  answer).success)
        self.host_has(64)
        for _ in range(3):
            self.assertEqual(self.balloon().balloon_size, 0)
        self.assertTrue(self.call("SetBalloonTimer", timer(timer_interval_millis=1000),
                                  answer).success)
        harness.eventually("the balloon fills", lambda: self.balloon().balloon_size > 200 * MIB)
        self.host_has(7000)

    def test_07_the_kernel_pushes_guest_memory_out_or_says_why_not(self):
        before = self.resident()
        reply = self.call("ReclaimVmMemory", self.named(self.types.ReclaimVmMemoryRequest),
                          self.types.ReclaimVmMemoryResponse)
        if reply.success:
            self.assertGreater(reply.reclaimed_bytes, 0)
            self.assertLess(self.resident(), before)
        else:
            self.assertRegex(reply.failure_reason, "swap|CAP_SYS_NICE|kernel")
        self.assertEqual(self.world.guest(NAME, "echo alive"), "alive")


if __name__ == "__main__":
    if not can_hide_meminfo():
        print("a mount namespace is not possible here (unshare -m)")
        raise SystemExit(harness.SKIP)
    harness.require()
    unittest.main(verbosity=2)
