#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A VM that is suspended and goes on, with the clock of its guest."""
import os
import signal
import subprocess
import time

import harness
import logind


class Suspend(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bus = logind.Bus(cls.world.root)
        cls.world.env["DBUS_SYSTEM_BUS_ADDRESS"] = cls.bus.address
        cls.world.start("demo")

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.bus.close()

    def clock_error(self):
        """Guest minus host, seconds: bounds of it, since the asking takes time, too. The best of
        some questions to one program."""
        p = subprocess.Popen([harness.BIN / "vmc", "exec", "demo", "--", "sh", "-c",
                              "while read x; do date +%s.%N; done"], env=self.world.env, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        best = None
        for _ in range(10):
            before = time.time()
            p.stdin.write("\n")
            p.stdin.flush()
            guest = float(p.stdout.readline())
            bounds = guest - time.time(), guest - before
            if best is None or bounds[1] - bounds[0] < best[1] - best[0]:
                best = bounds
        p.stdin.close()
        p.wait(harness.PATIENCE)
        p.stdout.close()
        return best

    def state(self):
        return harness.info(self.world, "demo")["state"]

    def test_1_a_suspended_vm_stands_still_and_goes_on_with_the_right_time(self):
        pid = harness.info(self.world, "demo")["pid"]
        self.world.guest("demo", "(while :; do :; done) >/dev/null 2>&1 & echo $! >/tmp/busy")
        self.world.vmc("suspend", "demo")
        self.assertEqual(self.state(), "suspended")
        self.assertIn("suspended", self.world.vmc("list").stdout)
        # A command would wait for the end of that, without a word.
        self.assertIn("vmc resume", self.world.vmc("exec", "demo", "--", "true", check=4).stderr)

        def ticks():
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])

        before = ticks()
        time.sleep(10)  # the subject of the test: a suspension that a clock would show
        self.assertLess(ticks() - before, 100)  # a busy guest would have taken 1000
        self.world.vmc("resume", "demo")
        low, high = self.clock_error()
        self.assertEqual(self.state(), "running")
        print(f"clock error after 10 s: between {low:.3f} and {high:.3f} s")
        # Wider than what is aimed at, since the test machine may be loaded.
        self.assertLess(low, 1)
        self.assertGreater(high, -1)
        self.world.guest("demo", "kill $(cat /tmp/busy)")
        self.assertIn("nameserver 10.0.2.3", self.world.guest("demo", "cat /etc/resolv.conf"))

    def test_2_it_stays_suspended_when_the_daemon_dies(self):
        self.world.vmc("suspend", "demo")
        for pid in self.world.processes("vm_concierge"):
            os.kill(pid, signal.SIGKILL)
        harness.eventually("the daemon is gone", lambda: not self.world.processes("vm_concierge"))
        self.assertEqual(self.state(), "suspended")
        self.world.vmc("resume", "demo")
        self.assertEqual(self.state(), "running")
        self.assertEqual(self.world.guest("demo", "echo alive"), "alive")

    def test_3_what_is_not_there_is_not_suspended(self):
        self.world.vmc("suspend", "nobody", check=3)
        self.world.vmc("resume", "nobody", check=3)

    def test_4_the_sleep_of_the_host_waits_until_the_vm_is_suspended(self):
        master = logind.Logind(self.bus.address)  # it comes later than the daemon
        harness.eventually("the daemon holds an inhibitor", master.lock_is_held)
        for _ in range(2):
            locks = logind.Manager.locks
            master.say(True)
            harness.eventually("the daemon lets go", lambda: not master.lock_is_held())
            self.assertEqual(self.state(), "suspended")
            master.say(False)
            harness.eventually("the VM goes on", lambda: self.state() == "running")
            harness.eventually("there is a new inhibitor",
                               lambda n=locks: logind.Manager.locks > n and master.lock_is_held())
        master.say(True)
        harness.eventually("the daemon lets go", lambda: not master.lock_is_held())
        master.close()  # it died and will not say that the host is awake
        harness.eventually("the VM goes on", lambda: self.state() == "running")
        self.assertEqual(self.world.guest("demo", "echo alive"), "alive")

    def test_5_a_suspended_vm_is_stopped_in_order(self):
        self.world.vmc("suspend", "demo")
        self.world.vmc("stop", "demo")
        self.nothing_left()
        log = (self.world.root / "state" / "vm_tools" / "concierge.log").read_text()
        self.assertIn("the guest switched itself off", log.rsplit("resuming ->", 1)[-1])


if __name__ == "__main__":
    harness.main()
