#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A VM from start to stop, as a user sees it."""
import hashlib
import json
import os
import subprocess

import harness


class Lifecycle(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.started = cls.world.start("demo", "--json")

    def test_01_start_tells_its_phases_and_where_the_vm_is(self):
        reply = json.loads(self.started.stdout)
        names = [p["name"] for p in reply["boot_phases"]]
        self.assertGreaterEqual(len(names), 4, names)
        self.assertTrue(all(p["duration_us"] >= 0 for p in reply["boot_phases"]))
        vm = harness.info(self.world, "demo")
        self.assertGreaterEqual(vm["cid"], 32)
        self.assertTrue(os.path.exists(f"/proc/{vm['pid']}"))
        self.assertIn("qemu", os.readlink(f"/proc/{vm['pid']}/exe"))

    def test_02_pid_1_is_ours_and_the_root_is_an_overlay_on_a_read_only_image(self):
        self.assertIn(self.world.guest("demo", "cat /proc/1/comm"), ("maitred", "init"))
        self.assertEqual(self.world.guest("demo", "grep Threads /proc/1/status").split(),
                         ["Threads:", "1"])
        mounts = self.world.guest("demo", "cat /proc/self/mounts")
        self.assertIn(" / overlay rw", mounts)
        self.assertIn("cgroup2", mounts)
        self.world.guest("demo", "echo changed >/etc/new-file && test -s /etc/new-file")

    def test_03_exit_codes_and_both_outputs_come_back(self):
        p = self.world.vmc("exec", "demo", "--", "sh", "-c", "echo out; echo err >&2; exit 42",
                           check=42)
        self.assertEqual((p.stdout, p.stderr), ("out\n", "err\n"))
        self.world.vmc("exec", "demo", "--", "/no/such/program", check=127)

    def test_04_a_megabyte_each_way_through_stdin_and_stdout_is_intact(self):
        data = os.urandom(1 << 20)
        p = subprocess.run([harness.BIN / "vmc", "exec", "demo", "--", "cat"], input=data,
                           env=self.world.env, capture_output=True, timeout=harness.PATIENCE,
                           check=True)
        self.assertEqual(hashlib.sha256(p.stdout).digest(), hashlib.sha256(data).digest())

    def test_05_a_second_start_finds_the_first(self):
        before = harness.info(self.world, "demo")
        self.world.start("demo")
        after = harness.info(self.world, "demo")
        self.assertEqual((before["cid"], before["pid"]), (after["cid"], after["pid"]))

    def test_06_list_and_logs_show_it(self):
        names = [vm["name"] for vm in json.loads(self.world.vmc("list", "--json").stdout)]
        self.assertEqual(names, ["demo"])
        self.assertIn("demo", self.world.vmc("list").stdout)
        self.assertTrue(self.world.vmc("logs", "demo").stdout.strip())

    def test_07_the_clock_and_the_resolver_are_set(self):
        host = int(subprocess.run(["date", "+%s"], capture_output=True, check=True).stdout)
        guest = int(self.world.guest("demo", "date +%s"))
        self.assertLess(abs(host - guest), 10)
        self.assertIn("nameserver 10.0.2.3", self.world.guest("demo", "cat /etc/resolv.conf"))

    def test_08_orphans_do_not_become_zombies(self):
        self.world.guest("demo", "for i in $(seq 200); do (sh -c 'true &') ; done")
        harness.eventually("no zombies", lambda: self.world.guest(
            "demo", "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l") == "0", 30)

    def test_09_stop_leaves_nothing_and_signals_come_in_order(self):
        signals = harness.Signals(self.world)
        self.world.vmc("stop", "demo")
        self.nothing_left()
        harness.eventually("VmStopped", lambda: len(signals.of("demo")) >= 2, 30)
        signals.close()
        self.assertEqual(signals.of("demo"), [("VmStoppingSignal",), ("VmStoppedSignal", 1)])
        self.assertEqual(json.loads(self.world.vmc("list", "--json").stdout), [])

    def test_10_power_off_inside_ends_it_and_is_told(self):
        signals = None
        self.world.vmc("list")  # starts the daemon if it idled away
        signals = harness.Signals(self.world)
        self.world.start("inner")
        self.world.vmc("exec", "inner", "--", "sh", "-c", "kill -TERM 1", check=None)
        harness.eventually("VmStopped", lambda: ("VmStoppedSignal", 0) in signals.of("inner"))
        signals.close()
        self.assertEqual(signals.of("inner"),
                         [("VmStartingUpSignal",), ("VmStartedSignal",), ("VmStoppedSignal", 0)])
        self.nothing_left()

    def test_11_two_at_once_do_not_meet(self):
        self.world.start("one")
        self.world.start("two")
        self.assertNotEqual(harness.info(self.world, "one")["cid"],
                            harness.info(self.world, "two")["cid"])
        self.world.guest("one", "echo one >/tmp/who")
        self.assertEqual(self.world.guest("two", "cat /tmp/who 2>/dev/null || echo none"), "none")
        self.world.vmc("stop", "--all")
        self.nothing_left()

    def test_12_the_daemon_goes_when_nobody_needs_it(self):
        harness.eventually("the idle daemon ends", lambda: not self.world.processes(), 60)
        self.assertEqual(self.world.leftovers(), {})


if __name__ == "__main__":
    harness.main()
