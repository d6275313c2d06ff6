#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks that come and go while a VM runs, over the death of the daemon, and USB's refusals."""
import json
import os
import pathlib
import signal

import harness

# The guest's name of the disk with a serial, or nothing.
FIND = """find_disk() {
    for d in /sys/block/vd*; do
        [ "$(cat $d/serial 2>/dev/null)" = "$1" ] && echo /dev/${d##*/}
    done
    true
}
"""


class Hotplug(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world.start("demo")

    def guest_disk(self, serial):
        return self.world.guest("demo", FIND + f"find_disk {serial}")

    def make_image(self, name, size=32 << 20):
        path = self.world.root / name
        with path.open("wb") as f:
            f.truncate(size)
        return path

    def holders(self, path):
        """Our processes that have the file open."""
        return [pid for pid in self.world.processes()
                for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()
                if os.readlink(fd) == str(path)]

    def kill_daemon(self):
        pid, = self.world.processes("vm_concierge")
        os.kill(pid, signal.SIGKILL)
        harness.eventually("the daemon is gone",
                           lambda: not self.world.processes("vm_concierge"))

    def test_1_a_disk_is_plugged_written_and_unplugged(self):
        image = self.make_image("a.img")
        serial = self.world.vmc("attach-disk", "demo", image).stdout.strip()
        self.assertEqual(serial, "plug1")
        node = harness.eventually("the guest sees it", lambda: self.guest_disk(serial))
        self.world.guest("demo", f"mkfs.ext4 -q {node} && mkdir -p /tmp/a && mount {node} /tmp/a"
                         " && echo kept > /tmp/a/file && umount /tmp/a && sync")
        self.world.vmc("detach-disk", "demo", serial)
        self.assertEqual(self.guest_disk(serial), "")
        self.world.vmc("detach-disk", "demo", serial, check=1)
        # What the guest wrote is in the image, and nobody holds it any more.
        self.assertIn(b"kept", image.read_bytes())
        self.assertEqual(self.holders(image), [])

    def test_2_a_disk_stays_while_the_daemon_dies(self):
        image = self.make_image("b.img")
        self.world.vmc("attach-disk", "--serial", "mine", "demo", image)
        node = harness.eventually("the guest sees it", lambda: self.guest_disk("mine"))
        self.world.guest("demo", f"mkfs.ext4 -q {node}")
        self.kill_daemon()
        self.assertEqual(self.guest_disk("mine"), node)
        second = self.world.vmc("attach-disk", "--read-only", "demo", self.make_image("c.img"))
        self.world.vmc("attach-disk", "--serial", "mine", "demo", image, check=1)
        self.world.guest("demo", f"mkdir -p /tmp/b && mount {node} /tmp/b && umount /tmp/b")
        self.world.vmc("detach-disk", "demo", "mine")
        self.assertEqual(self.guest_disk("mine"), "")
        self.assertNotEqual(self.guest_disk(second.stdout.strip()), "")
        self.world.vmc("detach-disk", "demo", second.stdout.strip())

    def test_3_slots_are_given_back_and_their_end_is_told(self):
        serials = []
        for i in range(20):
            p = self.world.vmc("attach-disk", "demo", self.make_image(f"d{i}.img", 1 << 20),
                               check=None)
            if p.returncode:
                self.assertIn("no slot is free", p.stderr)
                break
            serials.append(p.stdout.strip())
        self.assertGreaterEqual(len(serials), 2)
        self.assertLess(len(serials), 20)
        for serial in serials:
            self.world.vmc("detach-disk", "demo", serial)
        again = self.world.vmc("attach-disk", "demo", self.make_image("e.img")).stdout.strip()
        self.world.vmc("detach-disk", "demo", again)

    def test_4_bad_images_are_refused(self):
        self.world.vmc("attach-disk", "demo", "/nonexistent", check=3)
        self.world.vmc("attach-disk", "demo", "/tmp", check=1)
        self.world.vmc("attach-disk", "--qcow2", "demo", self.make_image("f.img"), check=1)
        self.world.vmc("attach-disk", "nobody", self.make_image("g.img"), check=3)
        self.world.vmc("attach-disk", "demo", check=2)

    def test_5_the_guest_has_drivers_for_what_may_come(self):
        self.world.guest("demo", "modprobe -a xhci_pci usb_storage sd_mod usbhid cdc_acm")
        # Plugging is ACPI's: the ports' own services would only cost time at each boot.
        services = self.world.guest("demo", "ls /sys/bus/pci_express/devices 2>&1 | grep -c pcie || :")
        self.assertEqual(services, "0")

    def test_6_usb_takes_usb_devices_only(self):
        self.assertEqual(json.loads(self.world.vmc("usb", "list", "demo", "--json").stdout), [])
        p = self.world.vmc("usb", "attach", "demo", "/dev/null", check=1)
        self.assertIn("no USB device", p.stderr)
        p = self.world.vmc("usb", "detach", "demo", "1", check=1)
        self.assertIn("port 1 of the VM is empty", p.stderr)
        self.world.vmc("usb", "attach", "demo", check=2)
        self.world.vmc("usb", "list", "nobody", check=3)


if __name__ == "__main__":
    harness.main()
