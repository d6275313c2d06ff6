#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Starts from a template, and snapshots, on real VMs."""
import contextlib
import json
import os
import pty
import signal
import subprocess

import harness
from harness import eventually, info

WHO = "cat /proc/sys/kernel/random/boot_id /etc/machine-id; hostname; head -c 16 /dev/urandom | od -An -tx1"


class Warm(harness.Case):
    def files(self, pattern):
        return sorted((self.world.root / "state" / "vm_tools" / "templates").glob(pattern))

    def mode(self, name):
        return info(self.world, name)["start_mode"]

    def start(self, name, *args):
        p = self.world.start(name, "--json", *args, cold=False)
        vm = json.loads(p.stdout)
        self.assertEqual(vm["start_mode"], self.mode(name))
        return vm

    def make_template(self):
        """The first start boots; the template follows by itself."""
        if self.files("*/*.record"):
            return
        self.assertEqual(self.start("first")["start_mode"], "cold")
        eventually("a template is made", lambda: self.files("*/*.record"), 400)
        self.world.vmc("stop", "first")

    def test_1_later_starts_are_restored_and_are_vms_of_their_own(self):
        self.make_template()
        self.assertEqual(len(self.files("*/*.state")), 1)
        self.assertEqual(self.files("*/*.state")[0].stat().st_mode & 0o777, 0o600)
        vms, who = {}, {}
        for name in ("red", "Blue_2"):
            vms[name] = self.start(name)
            self.assertEqual(vms[name]["start_mode"], "warm")
            boot, machine, host, chance = self.world.guest(name, WHO).split("\n")
            who[name] = (vms[name]["cid"], machine, host, chance, vms[name]["mac_address"])
            self.assertRegex(machine, "^[0-9a-f]{32}$")
            mac = self.world.guest(name, "cat /sys/class/net/eth0/address")
            self.assertEqual(mac, vms[name]["mac_address"])
            # The clock is the host's, and the network works: the hypervisor's resolver answers.
            self.assertEqual(self.world.guest(name, "grep -c 10.0.2.3 /etc/resolv.conf"), "1")
        for a, b in zip(who["red"], who["Blue_2"]):
            self.assertNotEqual(a, b)
        self.assertEqual(who["red"][2], "red")
        self.assertEqual(who["Blue_2"][2], "blue-2")
        drift = float(self.world.guest("red", "date +%s.%N")) - __import__("time").time()
        self.assertLess(abs(drift), 5)
        # The hypervisor ends in order, too, by itself and when it is told to.
        self.world.guest("red", "kill -TERM 1", check=None)
        self.world.vmc("wait", "red")
        self.world.vmc("stop", "Blue_2")
        for name, cause in (("red", "poweroff"), ("Blue_2", "stopped")):
            end = json.loads(self.world.vmc("info", "--json", name, check=3).stdout)["end"]
            self.assertEqual((end["cause"], end["signal"], end["exit_code"]), (cause, 0, 0))
        self.nothing_left()

    def test_2_a_wish_or_another_size_boots(self):
        self.make_template()
        self.assertEqual(self.start("wish", "--cold")["start_mode"], "cold")
        self.world.vmc("stop", "wish")
        self.nothing_left()

    def test_3_a_disk_is_there_in_a_restored_guest(self):
        self.make_template()
        disk = self.world.root / "disk.img"
        with open(disk, "wb") as f:
            f.truncate(16 << 20)
        vm = self.start("disk", "--disk", str(disk))
        self.assertEqual(vm["start_mode"], "warm")
        self.world.guest("disk", "echo hello > /dev/vdb; sync")
        self.world.vmc("stop", "disk")
        self.assertEqual(disk.read_bytes()[:6], b"hello\n")
        self.nothing_left()

    def test_4_a_restored_vm_outlives_its_daemon(self):
        self.make_template()
        self.assertEqual(self.start("heir")["start_mode"], "warm")
        before = self.world.guest("heir", "cat /etc/machine-id")
        for pid in self.world.processes("vm_concierge"):
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(self.mode("heir"), "warm")
        self.assertEqual(self.world.guest("heir", "cat /etc/machine-id"), before)
        self.world.vmc("stop", "heir")
        self.nothing_left()

    def test_5_a_damaged_template_costs_nothing_but_time(self):
        self.make_template()
        state = self.files("*/*.state")[0]
        os.truncate(state, state.stat().st_size // 2)
        vm = self.start("after")
        self.assertEqual(vm["start_mode"], "cold")
        self.assertFalse(state.exists())
        self.world.vmc("stop", "after")
        eventually("the template is made anew", lambda: self.files("*/*.record"), 400)


class Snapshots(harness.Case):
    def snapshots(self):
        return json.loads(self.world.vmc("snapshot", "list", "--json").stdout)

    def on_a_terminal(self, *arguments):
        """Run vmc with its stderr on a terminal; what that got."""
        ours, its = pty.openpty()
        shown = b""
        with subprocess.Popen([harness.BIN / "vmc", *arguments], env=self.world.env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=its) as process:
            os.close(its)
            with contextlib.suppress(OSError), os.fdopen(ours, "rb", 0) as screen:
                while data := screen.read(4096):  # EIO: it has ended
                    shown += data
            self.assertEqual(process.wait(300), 0, shown)
        return shown.decode()

    def damage_memory(self, top):
        """Turn the bits of one byte of the memory in the only snapshot below top."""
        [state] = top.glob("*/*/state")
        with state.open("r+b", buffering=0) as file:
            at = os.lseek(file.fileno(), 64 << 20, os.SEEK_DATA) + 100
            byte = os.pread(file.fileno(), 1, at)[0]
            os.pwrite(file.fileno(), bytes([byte ^ 0xff]), at)

    def test_a_vm_goes_on_from_its_snapshot(self):
        disk = self.world.root / "disk.img"
        disk.write_bytes(b"before" + bytes((4 << 20) - 6))
        self.world.start("snap", "--disk", str(disk))
        self.world.guest("snap", "mount -t tmpfs t /mnt; echo kept > /mnt/file; "
                         "(i=0; while :; do i=$((i+1)); echo $i > /mnt/count; sleep 0.2; done) "
                         "> /dev/null 2>&1 < /dev/null &")
        shown = self.on_a_terminal("snapshot", "create", "snap", "one")
        self.assertIn("snapshot create: memory 256.0 MiB", shown)
        self.assertIn("100 %", shown)
        self.assertEqual([s["name"] for s in self.snapshots()], ["one"])
        # The VM itself goes on.
        count = int(self.world.guest("snap", "cat /mnt/count"))
        eventually("its program goes on",
                   lambda: int(self.world.guest("snap", "cat /mnt/count") or 0) > count)
        self.world.guest("snap", "echo lost > /mnt/file; printf after > /dev/vdb; sync")
        old = info(self.world, "snap")
        self.world.vmc("snapshot", "restore", "snap", "one", check=1)  # it runs
        self.world.vmc("stop", "snap")
        self.assertEqual(disk.read_bytes()[:5], b"after")
        quiet = self.world.vmc("snapshot", "restore", "snap", "one", timeout=300)
        self.assertNotIn("\r", quiet.stderr)  # it is no terminal
        self.assertEqual(info(self.world, "snap")["start_mode"], "snapshot")
        self.assertNotEqual(info(self.world, "snap")["cid"], old["cid"])
        self.assertEqual(self.world.guest("snap", "cat /mnt/file"), "kept")
        self.assertEqual(self.world.guest("snap", "head -c 6 /dev/vdb"), "before")
        count = int(self.world.guest("snap", "cat /mnt/count"))
        eventually("its program goes on",
                   lambda: int(self.world.guest("snap", "cat /mnt/count") or 0) > count)
        self.world.vmc("stop", "snap")
        self.damage_memory(self.world.root / "state" / "vm_tools" / "snapshots")
        refused = self.world.vmc("snapshot", "restore", "snap", "one", check=1, timeout=300)
        self.assertIn("damaged", refused.stderr)
        self.world.vmc("snapshot", "delete", "snap", "one")
        self.assertEqual(self.snapshots(), [])
        self.world.vmc("snapshot", "restore", "snap", "one", check=3)
        self.nothing_left()


if __name__ == "__main__":
    harness.main()
