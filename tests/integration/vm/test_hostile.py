#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Root of a guest attacks the host's daemons from inside, while another VM works on."""
import os
import subprocess
import threading
import time

import harness

# What one daemon may grow to, sanitizers and all. What they keep of freed memory to find late
# uses would hide the rest: see setUpClass.
MEMORY_MIB = 150
# 20 without load, and for a fast guest a whole backlog (128) of connections that vm_concierge
# has not come to refuse yet.
DESCRIPTORS = 192
LOG_BYTES = 1 << 20
# Trimmed every two seconds to one MiB at most; a guest's serial port is slow.
CONSOLE_BYTES = 16 << 20
INFO_S = 5
REFUSED = {"104", "19"} # ECONNRESET by the device, ENODEV by the guest's own kernel
ATTACKS = (("garbage", "halves", "settings", "deaf_settings", "slow"),
           ("ping", "deaf_ping", "window", "empty_data", "reset"),
           ("headers", "unfinished", "ready", "abandon"),
           ("hold",))
HELD = 1000


class Watch:
    """The daemons and the other VM while something happens."""

    def __init__(self, case, what):
        self.world, self.case, self.what = case.world, case, what
        self.most = {}
        self.failures = []
        self.end = threading.Event()
        self.threads = [threading.Thread(target=f) for f in (self._measure, self._work)]

    def _top(self, key, value):
        self.most[key] = max(value, self.most.get(key, 0))

    def _daemon(self, name, pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            kib = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
        self._top(f"{name} MiB", kib // 1024)
        self._top(f"{name} fds", len(os.listdir(f"/proc/{pid}/fd")))

    def _sizes(self, key, pattern, blocks=False):
        for path in self.world.root.glob(pattern):
            status = path.stat()
            self._top(key, status.st_blocks * 512 if blocks else status.st_size)

    def _measure(self):
        while not self.end.wait(0.1):
            for name in ("vm_concierge", "vm_vsock"):
                for pid in self.world.processes(name):
                    try:
                        self._daemon(name, pid)
                    except (OSError, StopIteration):
                        continue # it ended, with its VM
            try:
                self._sizes("log", "state/vm_tools/*.log")
                self._sizes("log", "run/vm_tools/vm.*/*.log")
                self._sizes("console", "state/vm_tools/console/*", blocks=True)
            except OSError:
                continue

    def _work(self):
        try:
            while not self.end.is_set():
                begin = time.monotonic()
                harness.info(self.world, "good")
                self._top("info s", round(time.monotonic() - begin, 2))
                begin = time.monotonic()
                if self.world.guest("good", "echo ok") != "ok":
                    raise AssertionError("no answer")
                self._top("exec s", round(time.monotonic() - begin, 2))
                self._top("rounds", self.most.get("rounds", 0) + 1)
        except (AssertionError, ValueError, subprocess.TimeoutExpired) as e:
            self.failures.append(str(e))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        for t in self.threads:
            t.join()
        most = self.most
        print(f"{self.what}: {most}", flush=True)
        self.case.assertEqual(self.failures, [])
        self.case.assertGreater(most.get("rounds", 0), 0)
        self.case.assertLess(most["info s"], INFO_S)
        for name in ("vm_concierge", "vm_vsock"):
            self.case.assertLess(most[f"{name} MiB"], MEMORY_MIB, name)
            self.case.assertLess(most[f"{name} fds"], DESCRIPTORS, name)
        self.case.assertLess(most["log"], LOG_BYTES)
        self.case.assertLess(most["console"], CONSOLE_BYTES)


class Hostile(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world.env["ASAN_OPTIONS"] += ":quarantine_size_mb=8:thread_local_quarantine_size_kb=64"
        for name in ("good", "evil", "ice"):
            cls.world.start(name)
        cls.arm("evil", "guest")
        cls.arm("ice", "root")

    @classmethod
    def arm(cls, name, weapon):
        with open(harness.BIN / f"hostile_{weapon}", "rb") as program:
            cls.world.vmc("exec", name, "--", "sh", "-c", "cat >/tmp/a; chmod +x /tmp/a",
                          stdin=program)

    def apart(self, name, script):
        """Run it in the guest without waiting for it."""
        self.world.vmc("exec", name, "--", "setsid", "sh", "-c",
                       f"({script}) </dev/null >/tmp/log 2>&1 &")

    def console_has(self, words):
        return any(words in path.read_bytes()
                   for path in self.world.root.glob("state/vm_tools/console/*"))

    def evil_is_back(self):
        harness.eventually("the shell of the evil guest works", lambda: self.world.vmc(
            "exec", "evil", "--", "echo", "back", check=None).stdout == "back\n", 60)

    def test_1_a_guest_whose_pid_1_stands_still_is_stopped(self):
        self.apart("ice", "/tmp/a freeze 1")
        harness.eventually("PID 1 stands still", lambda: self.world.guest(
            "ice", "cat /tmp/log") == "frozen")
        # Asked, it does not answer, and the deadline of that passes beside all the rest.
        type(self).stop_ice = subprocess.Popen([harness.BIN / "vmc", "stop", "ice"],
                                               env=self.world.env)

    def test_2_no_port_of_the_host_is_open_but_one(self):
        with Watch(self, "ports"):
            out = self.world.guest("evil", "/tmp/a ports 1 20000")
        self.assertEqual(out, "open 7777\nrefused 19999\nsilent 0")

    def test_3_nobody_else_can_be_reached(self):
        own, other = (harness.info(self.world, n)["cid"] for n in ("evil", "good"))
        peers = [(cid, port) for cid in (0, 1, 3, own, other, 2**32 - 1)
                 for port in (7777, 8888, 9001)]
        script = "".join(f"/tmp/a knock {cid} {port};" for cid, port in peers)
        for (cid, port), line in zip(peers, self.world.guest("evil", script).split("\n")):
            code, count, _ = line.split()
            self.assertIn(code, REFUSED, (cid, port))
            self.assertEqual(count, "0", (cid, port))

    def test_4_guest_programs_do_not_speak_with_their_own_guest(self):
        own = harness.info(self.world, "evil")["cid"]
        # With this module the guest's kernel connects what asks for itself.
        self.world.guest("evil", "modprobe vsock_loopback")
        for cid in (1, own):
            for port in (8888, 9001):
                line = self.world.guest("evil", f"/tmp/a knock {cid} {port}")
                self.assertEqual(line, "0 0 closed", (cid, port))
        self.world.guest("evil", "rmmod vsock_loopback")

    def test_5_floods_do_not_disturb(self):
        for names in ATTACKS:
            with Watch(self, " ".join(names)):
                out = self.world.guest("evil", f"/tmp/a 4 {' '.join(names)}")
            done = {line.split()[0]: line for line in out.split("\n")}
            self.assertEqual(sorted(done), sorted(names))
            for line in done.values():
                self.assertNotIn(" connections=0", line)
            print(out)
        held = int(done["hold"].split("connections=")[1].split()[0])
        self.assertGreater(held, HELD, "too few to say anything")

    def test_6_a_console_flood_does_not_disturb(self):
        self.apart("evil", "head -c 67108864 /dev/zero | tr '\\0' A >/dev/ttyS0")
        with Watch(self, "console") as watch:
            harness.eventually("the log was cut",
                               lambda: watch.most.get("console", 0) > 1 << 20)
            time.sleep(6) # how long it lasts, not until something is ready
        self.world.vmc("exec", "evil", "--", "sh", "-c", "kill -9 -1", check=None)
        self.evil_is_back()

    def test_7_the_device_is_taken_away_under_load(self):
        driver = "/sys/bus/virtio/drivers/vmw_vsock_virtio_transport"
        with Watch(self, "rebind"):
            self.apart("evil", f"cd {driver}; d=$(echo virtio*); /tmp/a 4 hold window garbage "
                       "abandon & for i in 1 2 3 4 5 6; do echo $d >unbind; sleep 0.3; "
                       "echo $d >bind; sleep 0.3; done; wait; echo over >/tmp/over")
            harness.eventually("it is over", lambda: self.world.vmc(
                "exec", "evil", "--", "cat", "/tmp/over", check=None).stdout == "over\n")

    def test_8_a_driver_full_of_junk_does_not_disturb(self):
        self.world.start("poker")
        self.arm("poker", "root")
        pci = "/sys/bus/pci"
        with Watch(self, "junk rings"):
            self.world.vmc("exec", "poker", "--", "setsid", "sh", "-c",
                           f"(cd {pci}/drivers/virtio-pci; for d in 0*; do "
                           "if [ $(cat $d/device) = 0x1053 ]; then sleep 1; echo $d >unbind; "
                           f"/tmp/a poke {pci}/devices/$d 200; fi; done) </dev/null "
                           ">/dev/console 2>&1 &")
            # Or it brought its own VM down.
            harness.eventually("the driver has done its worst", lambda: self.console_has(
                b"poked 200") or self.world.vmc("info", "poker", check=None).returncode == 3)
        self.world.vmc("stop", "poker", check=None)
        self.world.vmc("info", "poker", check=3)

    def test_9_all_of_them_stop(self):
        self.apart("evil", "kill -9 $(pidof vshd) & /tmp/a squat 9001")
        harness.eventually("the shell server is a false one", lambda: "broke" in self.world.vmc(
            "exec", "evil", "--", "true", check=None).stderr)
        with Watch(self, "stop"):
            self.assertEqual(self.stop_ice.wait(harness.PATIENCE), 0)
            self.world.vmc("stop", "evil")
        self.world.vmc("stop", "good")
        self.nothing_left()


if __name__ == "__main__":
    harness.main()
