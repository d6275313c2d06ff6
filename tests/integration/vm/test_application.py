#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""VMs that are there for one program: its exit status, what it lived in, and its memory."""
import json
import os
import pathlib
import signal
import subprocess
import sys

import harness

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "maitred"))
import guest  # pylint: disable=wrong-import-position


# What it takes to boot make_root's file system in the place of the image's.
SMALL = ["--accel", "tcg", "--cpus", "1", "--mem", "256", "--cold"]
ROOT = [*SMALL, "--kernel-param", "rootfstype=squashfs", "--rootfs"]


def job(script):
    text = script.replace('"', '\\"')
    return f'argv: "sh" argv: "-c" argv: "{text}" use_console: true poweroff_on_exit: true'


class Application(harness.Case):
    def root_with(self, script):
        """A small root whose program that is."""
        path = self.world.root / "application"
        path.unlink(missing_ok=True)
        guest.make_root(path, {"etc/maitred/50-application": job(script)})
        return path

    def start_and_wait(self, script, *args, check):
        """vmc start --wait with that program; what it printed."""
        return self.world.vmc("start", "--wait", *ROOT, self.root_with(script), *args, "app",
                              check=check).stdout

    def run_command(self, *command, check):
        return self.world.vmc("run", *SMALL, "--", *command, check=check)

    def test_1_a_vm_for_one_command_has_its_output_and_exit_code(self):
        p = self.run_command("X=from-me", "sh", "-c", "echo $X; echo oops >&2; exit 7", check=7)
        self.assertEqual((p.stdout, p.stderr), ("from-me\n", "oops\n"))
        self.assertEqual(json.loads(self.world.vmc("list", "--json").stdout), [])
        self.nothing_left()

    def test_2_a_program_that_ends_at_once_does_not_fail_the_start(self):
        for script, code, words in (("exit 42", 42, "sh: status 42"), ("exit 0", 0, "status 0"),
                                    ("kill -9 $$", 137, "sh: signal 9")):
            said = self.start_and_wait(script, check=code)
            self.assertIn("poweroff after", said)
            self.assertIn(words, said)
            print(said.strip())
        self.nothing_left()

    def test_3_the_end_is_told_to_all_who_ask(self):
        watch = harness.Signals(self.world)
        self.start_and_wait("sleep 2; exit 9", "--json", check=9)
        harness.eventually("the signal", lambda: any(
            s[0] == "VmStoppedSignal" for s in watch.of("app")))
        watch.close()
        p = self.world.vmc("info", "--json", "app", check=3)
        end = json.loads(p.stdout)["end"]
        self.assertEqual(end["application"], {"program": "sh", "exit_code": 9, "signal": 0})
        self.assertEqual(end["cause"], "poweroff")
        self.world.vmc("wait", "app", check=9)

    def test_4_a_daemon_that_dies_meanwhile_costs_nothing(self):
        """The report finds the next daemon, and what one has heard the next one knows."""
        self.world.vmc("start", "--no-shell", *ROOT, self.root_with("sleep 8; exit 5"), "app")
        for pid in self.world.processes("vm_concierge"):
            os.kill(pid, signal.SIGKILL)
        self.world.vmc("wait", "app", check=5)
        self.nothing_left()

    def test_5_a_failed_program_is_started_again_if_that_is_wanted(self):
        self.world.vmc("start", "--no-shell", "--restart=on-failure:1", *ROOT,
                       self.root_with("sleep 3; exit 6"), "again")

        def over():
            p = self.world.vmc("info", "--json", "again", check=None)
            end = json.loads(p.stdout).get("end") if p.returncode == 3 and p.stdout else None
            return end if end and not end["will_restart"] else None
        end = harness.eventually("it is given up", over)
        self.assertEqual((end["restarts"], end["application"]["exit_code"]), (1, 6))

    def test_6_memory_that_is_not_enough_is_seen_from_outside(self):
        self.world.start("demo")
        proxy = guest.Proxy(harness.info(self.world, "demo")["transport"].split(":", 1)[1], 8888)
        grpc, pb, stubs = guest.load_grpc(self.world.root)
        agent = stubs["vm_guest"].MaitredStub(grpc.insecure_channel(f"unix:{proxy.path}"))
        request = pb["vm_guest"].LaunchProcessRequest(
            argv=["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"], wait_for_exit=True,
            limits=pb["vmt_job"].GroupLimits(memory_max=20 << 20))
        reply = agent.LaunchProcess(request, timeout=harness.PATIENCE)
        self.assertEqual((reply.status, reply.code), (pb["vm_guest"].SIGNALED, 9))
        vm = harness.eventually("it is seen", lambda: (
            v := harness.info(self.world, "demo")) and v.get("oom_kills") and v)
        self.assertTrue(vm["oom_group"].endswith("-dd"), vm)
        print(f"oom_kills {vm['oom_kills']} oom_group {vm['oom_group']}")
        # One of the host's calls can be the program that the VM is there for, too.
        request = pb["vm_guest"].LaunchProcessRequest(argv=["sh", "-c", "exit 11"],
                                                      poweroff_on_exit=True)
        agent.LaunchProcess(request, timeout=harness.PATIENCE)
        self.world.vmc("wait", "demo", check=11)
        proxy.close()

    def running(self, name):
        return any(vm["name"] == name and vm["state"] == "running" for vm in json.loads(
            self.world.vmc("list", "--json").stdout))

    def test_7_a_vm_for_one_command_ends_with_whoever_wanted_it(self):
        """Also when that is killed, and when its terminal goes away while the VM starts."""
        for sig, state in ((signal.SIGKILL, "running"), (signal.SIGHUP, "starting")):
            child = subprocess.Popen([harness.BIN / "vmc", "run", *SMALL, "--name", "brief", "--",
                                      "sleep", "1000"], env=self.world.env,
                                     stdin=subprocess.DEVNULL)
            harness.eventually("it is " + state, lambda s=state: self.running("brief")
                               if s == "running" else self.world.processes("qemu"))
            child.send_signal(sig)
            child.wait(harness.PATIENCE)
            harness.eventually("the VM ends", lambda: not self.world.processes("qemu"))
            self.nothing_left()

    def test_8_a_vm_that_runs_is_not_taken_for_one_command(self):
        self.world.start("used")
        p = self.world.vmc("run", *SMALL, "--name", "used", "--", "true", check=4)
        self.assertIn("used runs already", p.stderr)
        self.assertTrue(self.running("used"))
        self.world.vmc("stop", "used")
        self.world.vmc("stop", "used")  # it is stopped; that was wanted
        self.assertEqual(self.world.vmc("stop", "usde", check=3).stdout, "")


if __name__ == "__main__":
    guest.need(os.environ.get("VMT_TEST_MODULES"), "VMT_TEST_MODULES is unset")
    harness.main()
