#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""kill -9 of each process of a running VM."""
import json
import os
import pathlib
import signal
import socket
import subprocess

import harness

# landlock_create_ruleset(2), asked for its version.
LANDLOCK = "import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(444, None, 0, 1) < 1)"


class Deaths(harness.Case):
    def one(self, *words):
        pids = self.world.processes(*words)
        self.assertEqual(len(pids), 1, f"{words}: {pids}")
        return pids[0]

    def test_1_the_death_of_the_daemon_costs_no_vm(self):
        self.world.start("keeper")
        before = harness.info(self.world, "keeper")
        os.kill(self.one("vm_concierge"), signal.SIGKILL)
        harness.eventually("the daemon is gone", lambda: not self.world.processes("vm_concierge"))
        after = harness.info(self.world, "keeper")
        self.assertEqual((before["pid"], before["cid"]), (after["pid"], after["cid"]))
        self.assertEqual(self.world.guest("keeper", "echo alive"), "alive")
        names = [vm["name"] for vm in json.loads(self.world.vmc("list", "--json").stdout)]
        self.assertEqual(names, ["keeper"])
        self.world.vmc("stop", "keeper")
        self.nothing_left()

    def test_1b_a_vmm_opens_what_it_was_given_and_no_more(self):
        self.world.start("confined")
        pid = harness.info(self.world, "confined")["pid"]
        os.kill(self.one("vm_concierge"), signal.SIGKILL)  # its control socket is free then
        secret = self.world.root / "secret"
        secret.write_bytes(bytes(4096))
        sockets = list(self.world.root.glob("run/vm_tools/vm.*/qmp.sock"))
        self.assertEqual(len(sockets), 1, sockets)

        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(harness.PATIENCE)
            control.connect(str(sockets[0]))
            words = control.makefile("rw", encoding="utf-8")

            def ask(command, **arguments):
                words.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
                words.flush()
                while True:
                    answer = json.loads(words.readline())
                    if "return" in answer or "error" in answer:
                        return answer

            self.assertIn("return", ask("qmp_capabilities"))

            def opened(path):
                return ask("blockdev-add", driver="file", filename=str(path),
                           **{"node-name": "try", "read-only": True})

            self.assertIn("return", opened(pathlib.Path("/usr/bin/env").resolve()))
            self.assertIn("return", ask("blockdev-del", **{"node-name": "try"}))
            if subprocess.run(["/usr/bin/python3", "-c", LANDLOCK], check=False).returncode:
                print("  this kernel has no Landlock: nothing is confined")
            else:
                answer = opened(secret)
                self.assertIn("Permission denied", answer["error"]["desc"])
            words.close()
        self.assertEqual(harness.info(self.world, "confined")["pid"], pid)
        self.assertEqual(self.world.guest("confined", "echo alive"), "alive")
        self.world.vmc("stop", "confined")
        self.nothing_left()

    def test_2_a_vm_that_died_with_the_daemon_is_cleaned_up(self):
        self.world.start("both")
        daemon = self.one("vm_concierge")
        vmm = harness.info(self.world, "both")["pid"]
        os.kill(daemon, signal.SIGKILL)
        os.kill(vmm, signal.SIGKILL)
        harness.eventually("both are gone", lambda: not self.world.processes("vm_concierge") and
                           not os.path.exists(f"/proc/{vmm}"))
        self.assertEqual(json.loads(self.world.vmc("list", "--json").stdout), [])
        self.nothing_left()

    def test_3_a_killed_vmm_is_told_once(self):
        self.world.start("vmm")
        watch = harness.Signals(self.world)
        os.kill(harness.info(self.world, "vmm")["pid"], signal.SIGKILL)
        harness.eventually("VmStopped", lambda: watch.of("vmm"))
        self.nothing_left()
        watch.close()
        self.assertEqual(watch.of("vmm"), [("VmStoppedSignal", 0)])
        self.world.vmc("info", "vmm", check=3)

    def test_4_a_killed_vsock_device_costs_no_vm_while_a_part_of_it_lives(self):
        self.world.start("other")
        self.world.start("device")
        cid = harness.info(self.world, "device")["cid"]

        def keeper():
            return self.one("vm_vsock", f"--guest-cid={cid}", "--vhost-fd=")

        def worker():
            return self.one("vm_vsock", f"--guest-cid={cid}", "--worker-fd=")

        def killed(pid):
            os.kill(pid, signal.SIGKILL)
            harness.eventually("it is gone", lambda: pid not in
                               self.world.processes("vm_vsock", f"--guest-cid={cid}"))

        first, kept = worker(), keeper()
        uptime = float(self.world.guest("device", "cat /proc/uptime").split()[0])
        killed(first)
        harness.eventually("the VM is reachable again", lambda: self.world.vmc(
            "exec", "device", "--", "echo", "back", check=None).stdout == "back\n", 60)
        self.assertEqual(keeper(), kept)
        killed(kept)
        self.assertEqual(self.world.guest("device", "echo alone"), "alone")
        self.assertGreater(float(self.world.guest("device", "cat /proc/uptime").split()[0]),
                           uptime)
        daemon = self.one("vm_concierge")
        os.kill(daemon, signal.SIGKILL)  # the next one finds the worker as well
        harness.eventually("the daemon is gone",
                           lambda: daemon not in self.world.processes("vm_concierge"))
        self.assertEqual(self.world.guest("device", "echo adopted"), "adopted")
        watch = harness.Signals(self.world)
        os.kill(worker(), signal.SIGKILL)
        harness.eventually("VmStopped",
                           lambda: any(s[0] == "VmStoppedSignal" for s in watch.of("device")))
        watch.close()
        self.assertEqual(self.world.guest("other", "echo alive"), "alive")
        self.world.vmc("info", "device", check=3)
        self.world.vmc("stop", "other")
        self.nothing_left()

    def test_5_a_killed_shell_server_comes_back(self):
        self.world.start("shell")
        self.world.vmc("exec", "shell", "--", "sh", "-c",
                       "for p in /proc/[0-9]*; do if [ \"$(cat $p/comm)\" = vshd ]; then "
                       "kill -9 ${p#/proc/}; fi; done", check=None)
        harness.eventually("a new shell", lambda: self.world.vmc(
            "exec", "shell", "--", "echo", "back", check=None).stdout == "back\n", 60)
        self.world.vmc("stop", "shell")
        self.nothing_left()

    def test_6_a_stop_during_the_boot_cancels_it(self):
        import time
        self.world.vmc("list")
        watch = harness.Signals(self.world)
        start = subprocess.Popen([harness.BIN / "vmc", "start", "--no-shell", "--cold", "--accel", "tcg",
                                  "--cpus", "1", "--mem", "256", "early"], env=self.world.env,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        harness.eventually("it boots", lambda: ("VmStartingUpSignal",) in watch.of("early"))
        begin = time.monotonic()
        self.world.vmc("stop", "early")
        self.assertNotEqual(start.wait(harness.PATIENCE), 0)
        start.stderr.close()
        self.nothing_left()
        watch.close()
        self.assertEqual([s[0] for s in watch.of("early")].count("VmStoppedSignal"), 1)
        self.assertNotIn(("VmStartedSignal",), watch.of("early"))
        del begin


if __name__ == "__main__":
    harness.main()
