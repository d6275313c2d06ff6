#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Wall clocks that jump, on real VMs.

The daemon's clock of the day goes hours forth and back under it (wall_clock.c), while VMs run,
boot and are being stopped: no deadline and no record may go by it, for it is what an
administrator, NTP or a dead battery sets. And a guest whose clock was set wrong gets the host's
again. The clocks that count from the boot are left alone: they do not jump on one kernel."""
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest

import harness

HOUR = 3600
LIBRARY = harness.BIN / "libwall_clock.so"
NAME = "clock"


class Clock(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.offset_file = cls.world.root / "offset"
        cls.jump(0)
        env = dict(cls.world.env, LD_PRELOAD=str(LIBRARY), VMT_WALL_OFFSET=str(cls.offset_file))
        env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"  # it need not come first
        with open(cls.world.root / "daemon.log", "ab") as log:
            cls.daemon = subprocess.Popen([harness.BIN / "vm_concierge", "--user"], env=env,
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        harness.eventually("the daemon serves", cls.serves)
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
    def serves(cls):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(str(cls.world.runtime / "concierge.sock")) == 0

    @classmethod
    def jump(cls, seconds):
        """In place: the daemon has the file mapped. Its clock is off by that much from now on."""
        with open(cls.offset_file, "r+b" if cls.offset_file.exists() else "wb") as f:
            f.write(struct.pack("=q", seconds))
        cls.offset = seconds

    def tearDown(self):
        self.jump(0)
        self.world.vmc("stop", "--all", check=None)
        self.assertIsNone(self.daemon.poll(), "the daemon ended")

    def sync(self):
        call = self.channel.unary_unary("/vm_tools.concierge.VmConcierge/SyncVmTimes",
                                        request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=
                                        self.types.SyncVmTimesResponse.FromString)
        reply = call(self.empty(), timeout=harness.PATIENCE)
        self.assertEqual((reply.requests, reply.failures), (1, 0), list(reply.failure_reason))

    def guest_is_off(self):
        """Seconds by which the guest's clock is off from the host's true one."""
        return float(self.world.guest(NAME, "date +%s.%N")) - time.time()

    def expect_off(self, seconds):
        """Generous: a guest is emulated, and asking it takes a while."""
        self.assertLess(abs(self.guest_is_off() - seconds), 60)

    def test_1_vms_do_not_notice_until_they_are_told(self):
        self.world.start(NAME)
        pid = harness.info(self.world, NAME)["pid"]
        watch = harness.Signals(self.world)
        for hours in (5, -5, 30 * 24, -30 * 24, 0):
            self.jump(hours * HOUR)
            self.assertEqual(harness.info(self.world, NAME)["state"], "running")
            self.assertEqual(self.world.guest(NAME, "echo alive"), "alive")
            self.expect_off(0)
        for hours in (5, -5, 0):
            self.jump(hours * HOUR)
            self.sync()  # this is what is told: the daemon's idea of the day
            self.expect_off(hours * HOUR)
        self.assertEqual(harness.info(self.world, NAME)["pid"], pid)
        self.world.vmc("suspend", NAME)
        self.jump(-5 * HOUR)
        self.world.vmc("resume", NAME)
        self.assertEqual(self.world.guest(NAME, "echo alive"), "alive")
        self.assertEqual(watch.of(NAME), [])
        watch.close()

    def test_2_a_boot_neither_fails_nor_hangs(self):
        for hours in (5, -5):
            with self.subTest(hours=hours):
                self.jump(0)
                client = subprocess.Popen(
                    [harness.BIN / "vmc", "start", "--no-shell", "--cold", "--accel", "tcg",
                     "--cpus", "1", "--mem", "256", NAME], env=self.world.env,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                    text=True)
                harness.eventually("it boots", lambda: self.world.processes("qemu-system"))
                self.jump(hours * HOUR)
                _, words = client.communicate(timeout=harness.PATIENCE)
                self.assertEqual(client.returncode, 0, words)
                self.assertEqual(self.world.guest(NAME, "echo alive"), "alive")
                self.world.vmc("stop", NAME)
                self.nothing_left()

    def test_3_deadlines_come_when_they_are_due(self):
        """A stop that has to force a VM which stands still, with the clock gone back meanwhile:
        deadlines of the wall clock would come hours later."""
        self.world.start(NAME)
        watch = harness.Signals(self.world)
        os.kill(harness.info(self.world, NAME)["pid"], signal.SIGSTOP)
        client = subprocess.Popen([harness.BIN / "vmc", "stop", NAME], env=self.world.env,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        harness.eventually("it stops", lambda: ("VmStoppingSignal",) in watch.of(NAME))
        self.jump(-5 * HOUR)
        self.assertEqual(client.wait(harness.PATIENCE), 0)
        watch.close()
        self.nothing_left()

    def test_4_a_guest_with_a_wrong_clock_is_set_right(self):
        self.world.start(NAME)
        for wrong in ("@1000000000", "@4000000000"):
            self.world.guest(NAME, f"date -s {wrong}")
            self.assertGreater(abs(self.guest_is_off()), 1000 * HOUR)
            self.sync()
            self.expect_off(0)


if __name__ == "__main__":
    harness.require()
    if not LIBRARY.exists():
        print(f"{LIBRARY} is not built")
        sys.exit(harness.SKIP)
    unittest.main(verbosity=2)
