#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks of a real VM: made, used, resized while the guest runs, exported, imported, and worked on
while the daemon dies."""
import hashlib
import json
import os
import signal
import subprocess
import threading

import harness

MIB = 1 << 20


class Disks(harness.Case):
    def disk(self, *args, **kw):
        return self.world.vmc("disk", *args, **kw)

    def rows(self):
        return {row["name"]: row for row in json.loads(self.disk("list", "--json").stdout)}

    def device(self, vm, nth):
        """The disk that was given as nth; the root image is vda."""
        return f"/dev/vd{chr(ord('b') + nth)}"

    def size_in_guest(self, vm, where):
        return int(self.world.guest(vm, f"df -B1 --output=size {where} | tail -n1"))

    def test_1_a_disk_grows_under_a_running_guest_and_travels(self):
        self.disk("create", "--size", "64M", "--fs", "ext4", "data")
        self.disk("create", "--size", "64M", "data", check=1)
        self.world.start("demo", "--disk", "data")
        dev = self.device("demo", 0)
        self.world.guest("demo", f"mkdir -p /mnt/d && mount {dev} /mnt/d && "
                                 "head -c 1000000 /dev/urandom > /mnt/d/file && sync")
        digest = self.world.guest("demo", "sha256sum < /mnt/d/file").split()[0]
        before = self.size_in_guest("demo", "/mnt/d")
        self.assertGreater(self.rows()["data"]["available_bytes"], 0)

        self.disk("resize", "--size", "256M", "data")
        self.assertGreater(self.size_in_guest("demo", "/mnt/d"), before + 150 * MIB)
        self.assertEqual(self.rows()["data"]["size_bytes"], 256 * MIB)
        self.assertTrue(self.rows()["data"]["user_chosen_size"])

        # ext4 cannot, and nothing is left half done.
        p = self.disk("resize", "--size", "128M", "data", check=1)
        self.assertIn("cannot be made smaller", p.stderr)
        self.assertEqual(self.rows()["data"]["size_bytes"], 256 * MIB)
        self.assertGreater(self.size_in_guest("demo", "/mnt/d"), before + 150 * MIB)

        out = self.world.root / "data.zst"
        p = self.disk("export", "data", out, check=1)
        self.assertIn("runs", p.stderr)
        self.assertFalse(out.exists())
        self.disk("export", "--force", "data", out)
        out.unlink()
        # The image is the hypervisor's as long as it runs.
        self.world.start("other", "--disk", "data", check=1)
        self.world.guest("demo", "umount /mnt/d")
        p = self.disk("resize", "--size", "300M", "data", check=1)
        self.assertIn("not mounted", p.stderr)
        self.assertEqual(self.rows()["data"]["size_bytes"], 256 * MIB)  # undone
        self.world.vmc("stop", "demo")

        sha = self.world.root / "data.sha256"
        self.disk("export", "--sha256", sha, "data", out)
        self.assertEqual(hashlib.sha256(out.read_bytes()).hexdigest().upper(),
                         sha.read_text().strip())
        self.disk("import", "copy", out)
        self.disk("destroy", "data")
        self.world.start("demo", "--disk", "copy")
        self.world.guest("demo", f"mkdir -p /mnt/d && mount {dev} /mnt/d")
        self.assertEqual(self.world.guest("demo", "sha256sum < /mnt/d/file").split()[0],
                         digest)
        self.disk("destroy", "copy")  # stops the VM
        self.assertEqual(self.rows(), {})
        self.assertEqual(json.loads(self.world.vmc("list", "--json").stdout), [])

    def test_2_a_btrfs_shrinks_under_a_running_guest(self):
        self.disk("create", "--size", "1G", "--fs", "btrfs", "tree")
        self.world.start("demo", "--disk", "tree")
        dev = self.device("demo", 0)
        p = self.world.vmc("exec", "demo", "--", "sh", "-c",
                           f"mkdir -p /mnt/b && mount -t btrfs {dev} /mnt/b", check=None)
        if p.returncode != 0:
            self.world.vmc("stop", "demo")
            self.disk("destroy", "tree")
            self.skipTest("the guest's kernel cannot mount btrfs: " + p.stderr)
        self.world.guest("demo", "echo kept > /mnt/b/file && sync")
        self.disk("resize", "--size", "640M", "tree", timeout=300)
        self.assertEqual(self.size_in_guest("demo", "/mnt/b"), 640 * MIB)
        self.assertEqual(self.rows()["tree"]["size_bytes"], 640 * MIB)
        self.assertEqual(self.world.guest("demo", "cat /mnt/b/file"), "kept")
        self.assertEqual(
            int(self.world.guest("demo", f"blockdev --getsize64 {dev}")), 640 * MIB)
        self.disk("destroy", "tree")

    def test_3_an_export_goes_on_when_the_daemon_dies(self):
        self.disk("create", "--size", "64M", "big")
        path = self.rows()["big"]["path"]
        with open(path, "r+b") as f:
            f.write(os.urandom(32 * MIB))
        out = self.world.root / "big.zst"
        fifo = self.world.root / "fifo"
        os.mkfifo(fifo)
        # The reader of the pipe decides when the export ends.
        exporter = subprocess.Popen([harness.BIN / "vmc", "disk", "export", "big", fifo],
                                    env=self.world.env, stderr=subprocess.PIPE, text=True)
        source = open(fifo, "rb")
        head = source.read(MIB)
        self.assertEqual(len(head), MIB)
        p = self.world.vmc("start", "--no-shell", "--disk", "big", "late", check=4)
        self.assertIn("export", p.stderr)
        for daemon in self.world.processes("vm_concierge"):
            os.kill(daemon, signal.SIGKILL)
        harness.eventually("the daemon is gone",
                           lambda: not self.world.processes("vm_concierge"))
        # The next one knows of it: by refusing, and by telling its end to who asks.
        p = self.world.vmc("disk", "destroy", "big", check=1)
        self.assertIn("export", p.stderr)

        def drain():
            with source, open(out, "wb") as f:
                f.write(head)
                while block := source.read(MIB):
                    f.write(block)

        reader = threading.Thread(target=drain)
        reader.start()
        reader.join(harness.PATIENCE)
        self.assertEqual(exporter.wait(harness.PATIENCE), 0, exporter.stderr.read())
        exporter.stderr.close()
        self.disk("import", "again", out)
        with open(path, "rb") as a, open(self.rows()["again"]["path"], "rb") as b:
            self.assertEqual(a.read(), b.read())
        self.disk("destroy", "big")
        self.disk("destroy", "again")
        self.no_trace()

    def test_4_a_killed_worker_leaves_nothing(self):
        source = self.world.root / "pipe"
        os.mkfifo(source)
        importer = subprocess.Popen(
            [harness.BIN / "vmc", "disk", "import", "--type", "baguette", "half", source],
            env=self.world.env, stderr=subprocess.PIPE, text=True)
        with open(source, "wb") as f:
            f.write(b"\x28\xb5\x2f\xfd")  # the begin of something
            f.flush()
            worker = harness.eventually("the worker runs", lambda: self.world.processes("vm_disk"))
            os.kill(worker[0], signal.SIGKILL)
            self.assertEqual(importer.wait(harness.PATIENCE), 1)
        self.assertIn("signal 9", importer.stderr.read())
        importer.stderr.close()
        self.assertEqual(self.rows(), {})
        self.no_trace()

    def no_trace(self):
        self.assertEqual(self.world.processes("vm_disk"), [])
        logs = self.world.runtime / "disk-operations"
        harness.eventually("logs of workers are gone", lambda: not os.listdir(logs))
        for folder, _, files in os.walk(self.world.root / "data" / "vm_tools" / "vms"):
            self.assertEqual([f for f in files if f != ".lock"], [], folder)


if __name__ == "__main__":
    harness.main()
