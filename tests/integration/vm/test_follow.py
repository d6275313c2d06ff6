#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A real guest follows the host's name servers and time zone. The host's files are copies in a mount
namespace of our own, where they are rewritten and replaced."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import harness

INSIDE = "VMT_FOLLOW_INSIDE"


def enter():
    """Start over in a mount namespace with an /etc of our own above the host's."""
    if os.environ.get(INSIDE):
        return
    top = pathlib.Path(tempfile.mkdtemp(prefix="vmt-etc-", dir="/tmp"))
    script = (f"mount -t tmpfs none {top} && mkdir {top}/up {top}/work && mount -t overlay overlay "
              f"-o lowerdir=/etc,upperdir={top}/up,workdir={top}/work /etc && "
              "exec \"$@\"")
    flags = ["-m"] if os.getuid() == 0 else ["-rm"]
    probe = subprocess.run(["unshare", *flags, "sh", "-c", script, "sh", "true"], check=False,
                           capture_output=True, text=True)
    code = harness.SKIP
    if probe.returncode:
        print(f"no overlay in a mount namespace here: {probe.stderr.strip()}")
    else:
        code = subprocess.run(["unshare", *flags, "sh", "-c", script, "sh", sys.executable,
                               *sys.argv], env={**os.environ, INSIDE: "1"},
                              check=False).returncode
    shutil.rmtree(top, ignore_errors=True)
    sys.exit(code)


def replace(path, text=None, link=None):
    """By rename, as programs do it."""
    new = path.with_name(path.name + ".new")
    if link:
        new.symlink_to(link)
    else:
        new.write_text(text)
    new.rename(path)


class Follow(harness.Case):
    RESOLV = pathlib.Path("/etc/resolv.conf")
    ZONE = pathlib.Path("/etc/localtime")

    def resolv(self):
        return self.world.guest("demo", "cat /etc/resolv.conf")

    def test_changes_of_the_host_reach_the_guest(self):
        replace(self.RESOLV, "nameserver 192.0.2.1\nsearch one.example\n")
        replace(self.ZONE, link="/usr/share/zoneinfo/Etc/UTC")
        self.world.start("demo")
        watch = harness.Signals(self.world)

        def changes():
            return sum(kind == "DnsSettingsChanged" for kind, _ in list(watch.seen))

        self.assertIn("one.example", self.resolv())
        replace(self.RESOLV, "nameserver 192.0.2.1\nsearch two.example\n")
        harness.eventually("the new domain", lambda: "two.example" in self.resolv(), 30)
        self.RESOLV.write_text("nameserver 192.0.2.2\nsearch three.example\n")
        harness.eventually("written in place", lambda: "three.example" in self.resolv(), 30)
        self.assertIn("nameserver 10.0.2.3", self.resolv())
        harness.eventually("two signals", lambda: changes() == 2, 30)
        replace(self.RESOLV, "# a comment\nnameserver 192.0.2.2\nsearch three.example\n")
        replace(self.ZONE, link="/usr/share/zoneinfo/Asia/Tokyo")
        zone = "readlink /etc/localtime; cat /etc/timezone; true"
        if "zoneinfo" in self.world.guest("demo", "ls -d /usr/share/zoneinfo/Asia/Tokyo; true"):
            harness.eventually("the zone", lambda: "Asia/Tokyo" in self.world.guest("demo", zone), 30)
        self.world.vmc("suspend", "demo")
        replace(self.RESOLV, "nameserver 192.0.2.2\nsearch four.example\n")
        harness.eventually("a third signal", lambda: changes() == 3, 30)  # not for the comment
        self.world.vmc("resume", "demo")
        harness.eventually("told after the resume", lambda: "four.example" in self.resolv(), 30)
        watch.close()
        self.world.vmc("stop", "demo")
        self.nothing_left()


if __name__ == "__main__":
    enter()
    harness.main()
