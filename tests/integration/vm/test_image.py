#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The image commands, without building one anew."""
import json
import os
import pathlib
import subprocess

import harness


class Image(harness.Case):
    def test_1_list_and_verify(self):
        listed = json.loads(self.world.vmc("image", "list", "--json").stdout)
        self.assertEqual([i["name"] for i in listed], ["debian"])
        self.world.vmc("image", "verify", "debian")

    def test_2_the_kernel_has_a_pvh_entry(self):
        notes = subprocess.run(["readelf", "-n", harness.IMAGE / "kernel"], check=True,
                               capture_output=True, text=True).stdout
        self.assertIn("Xen", notes)

    def test_3_the_initramfs_is_small_and_ours(self):
        with open(harness.IMAGE / "initrd", "rb") as initrd:
            names = subprocess.run(["cpio", "-it", "--quiet"], check=True, capture_output=True,
                                   stdin=initrd, text=True).stdout
        self.assertIn("init\n", names)
        self.assertIn("lib/modules/load.list", names)
        self.assertLess(os.stat(harness.IMAGE / "initrd").st_size, 16 << 20)

    def test_4_the_same_inputs_give_the_same_bytes(self):
        """Two builds of the parts that need no network, from the real cache."""
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or
                             os.path.expanduser("~/.cache")) / "vm_tools"
        guest = harness.SOURCE / "build" / "guest" / "bin"
        if not list(cache.glob("base-*.tar")) or not (guest / "maitred").exists():
            self.skipTest("nothing cached: ./test builds the image first")
        digests = []
        for i in range(2):
            env = dict(self.world.env, XDG_CACHE_HOME=str(cache.parent),
                       XDG_DATA_HOME=str(self.world.root / f"data{i}"))
            subprocess.run([harness.BIN / "vmc", "image", "build", "--guest-dir", guest],
                           check=True, env=env, capture_output=True)
            manifest = self.world.root / f"data{i}/vm_tools/images/debian/manifest.json"
            digests.append(json.loads(manifest.read_text())["files"])
        self.assertEqual(digests[0], digests[1])


if __name__ == "__main__":
    harness.main()
