#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""VMs that end: what is told of it, and which are started again."""
import json
import os
import signal
import subprocess

import harness


class Restart(harness.Case):
    followers = []

    def kill_daemon(self):
        for pid in self.world.processes("vm_concierge"):
            os.kill(pid, signal.SIGKILL)
        harness.eventually("the daemon is gone", lambda: not self.world.processes("vm_concierge"))

    def back(self, old):
        """Its info, when it runs as another process than before."""
        def look():
            p = self.world.vmc("info", "--json", "demo", check=None)
            vm = json.loads(p.stdout) if p.returncode == 0 else {}
            return vm if vm.get("state") == "running" and vm["pid"] != old["pid"] else None
        return harness.eventually("it runs again", look)

    def test_1_a_killed_vm_comes_back_and_is_told(self):
        self.world.start("--restart=on-failure:5", "demo")
        first = harness.info(self.world, "demo")
        self.assertEqual((first["restart"], first["restarts"]), ("on-failure", 0))
        watch = harness.Signals(self.world)
        waiter = subprocess.Popen([harness.BIN / "vmc", "wait", "demo"], env=self.world.env,
                                  stdout=subprocess.PIPE, text=True)
        harness.eventually("it waits", lambda: self.world.processes("vmc wait"))
        os.kill(first["pid"], signal.SIGKILL)
        self.assertIn("killed", waiter.communicate(timeout=harness.PATIENCE)[0])
        self.assertEqual(waiter.returncode, 1)
        second = self.back(first)
        self.assertEqual(second["restarts"], 1)
        self.assertGreater(second["cid"], first["cid"])
        self.assertEqual(self.world.guest("demo", "echo again"), "again")
        harness.eventually("all signals", lambda: ("VmStartedSignal",) in watch.of("demo"))
        watch.close()
        self.assertEqual(watch.of("demo"), [("VmStoppedSignal", 0), ("VmStartingUpSignal",),
                                            ("VmStartedSignal",)])

    def test_2_also_when_it_died_while_no_daemon_ran(self):
        before = harness.info(self.world, "demo")
        self.kill_daemon()
        os.kill(before["pid"], signal.SIGKILL)
        after = self.back(before)
        self.assertEqual(self.world.guest("demo", "echo again"), "again")
        self.assertGreaterEqual(after["restarts"], 1)

    def test_1b_logs_are_followed_to_the_end(self):
        follow = subprocess.Popen([harness.BIN / "vmc", "logs", "--follow", "demo"],
                                  env=self.world.env, stdout=subprocess.PIPE, text=True)
        self.world.guest("demo", "echo first-mark >/dev/ttyS0")
        for line in follow.stdout:
            if "first-mark" in line:
                break
        self.world.guest("demo", "echo second-mark >/dev/ttyS0")
        for line in follow.stdout:
            self.assertNotIn("first-mark", line)
            if "second-mark" in line:
                break
        self.followers.append(follow)

    def test_3_a_guest_that_switches_itself_off_stays_off(self):
        self.world.vmc("exec", "demo", "--", "sh", "-c", "kill -TERM 1", check=None)
        self.assertIn("poweroff", self.world.vmc("wait", "demo").stdout)
        p = self.world.vmc("info", "--json", "demo", check=3)
        end = json.loads(p.stdout)["end"]
        self.assertEqual((end["cause"], end["will_restart"]), ("poweroff", False))
        self.assertIn("poweroff", p.stderr)
        self.nothing_left()
        for follow in self.followers:  # it ended with the VM
            self.assertEqual(follow.wait(harness.PATIENCE), 0)
            follow.stdout.close()

    def test_4_a_stop_ends_the_wait_for_a_restart(self):
        self.world.start("--restart=always", "demo")
        os.kill(harness.info(self.world, "demo")["pid"], signal.SIGKILL)
        self.world.vmc("wait", "demo", check=None)
        self.world.vmc("stop", "demo")
        self.world.vmc("info", "demo", check=3)
        self.kill_daemon()
        self.assertEqual(json.loads(self.world.vmc("list", "--json").stdout), [])
        self.nothing_left()


if __name__ == "__main__":
    harness.main()
