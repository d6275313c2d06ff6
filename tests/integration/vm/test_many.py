#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Four VMs at once, and twenty that come and go: none fails, and the daemon has no more memory,
descriptors, processes or files afterwards than before."""
import concurrent.futures
import os
import pathlib
import unittest

import harness

CYCLES = 20
AT_ONCE = 4
# What a daemon may keep from its first VMs on: buffers, and pages that malloc holds.
MEMORY_SLACK = 4 << 20


class Many(harness.Case):
    """One daemon for all of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # What AddressSanitizer keeps of freed memory would count as the daemon's.
        cls.world.env["ASAN_OPTIONS"] += ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"

    def daemon(self):
        pids = self.world.processes("vm_concierge")
        self.assertEqual(len(pids), 1, pids)
        return pids[0]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon()}/fd"))

    def memory(self):
        text = pathlib.Path(f"/proc/{self.daemon()}/smaps_rollup").read_text()
        return next(int(line.split()[1]) * 1024 for line in text.splitlines()
                    if line.startswith("Pss_Anon:"))

    def files(self):
        """Below our own folders, but for templates, which are meant to stay."""
        return sorted(str(p) for p in self.world.root.rglob("*")
                      if "templates" not in p.parts and "stubs" not in p.parts)

    def once(self, name):
        self.world.start(name, "--cold")
        self.assertEqual(self.world.guest(name, "echo alive"), "alive")
        self.world.vmc("stop", name)

    def rest(self):
        """Nothing is being built any more, and nothing of a VM is left."""
        self.nothing_left()

    def test_01_twenty_in_a_row_leave_nothing(self):
        for _ in range(2):  # what is made once is made
            self.once("row")
        self.rest()
        before = (self.descriptors(), self.files(), len(self.world.processes()))
        memory = self.memory()
        for _ in range(CYCLES):
            self.once("row")
        self.rest()
        after = (self.descriptors(), self.files(), len(self.world.processes()))
        self.assertEqual(before, after)
        print(f"memory of the daemon: {memory >> 10} KiB, after {CYCLES} VMs "
              f"{self.memory() >> 10} KiB")
        self.assertLess(self.memory(), memory + MEMORY_SLACK)

    def test_02_four_at_once(self):
        names = [f"vm{i}" for i in range(AT_ONCE)]
        self.rest()
        before = (self.descriptors(), len(self.world.processes()))
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for done in [pool.submit(self.world.start, n, "--cold", timeout=4 * harness.PATIENCE)
                         for n in names]:
                done.result()
            cids = {harness.info(self.world, n)["cid"] for n in names}
            self.assertEqual(len(cids), AT_ONCE)
            for done in [pool.submit(self.world.guest, n, "hostname; echo alive") for n in names]:
                self.assertIn("alive", done.result())
            for done in [pool.submit(self.world.vmc, "stop", n, timeout=4 * harness.PATIENCE)
                         for n in names]:
                done.result()
        self.rest()
        self.assertEqual(before, (self.descriptors(), len(self.world.processes())))


if __name__ == "__main__":
    harness.require()
    unittest.main(verbosity=2)
