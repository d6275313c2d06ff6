#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What cmake --install puts where, and whether unit and bus policy are what they should be."""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

BUILD = pathlib.Path(os.environ["VMT_BUILD"])
NAME = "org.chromium.VmConcierge"
USER = "vm_tools"
PATIENCE = 120

# The rules for everybody of Debian's system.conf, as far as they concern us.
BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={top}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus"
           send_interface="org.freedesktop.DBus.Introspectable"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


def run(*args, **kwargs):
    return subprocess.run([str(a) for a in args], text=True, capture_output=True, check=False,
                          timeout=PATIENCE, **kwargs)


def need(test, *programs):
    for program in programs:
        if not shutil.which(program):
            test.skipTest(f"{program} is not installed")


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # pylint: disable=consider-using-with
        cls.folder = tempfile.TemporaryDirectory(prefix="vmt-install.")
        cls.top = pathlib.Path(cls.folder.name)
        cls.top.chmod(0o755)
        cls.host = cls.install("host")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def install(cls, component):
        """Into a folder of its own; returns it."""
        to = cls.top / component
        done = run(os.environ["VMT_CMAKE"], "--install", BUILD, "--component", component,
                   "--prefix", "/usr", env={**os.environ, "DESTDIR": str(to)})
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        return to

    @staticmethod
    def files(folder):
        return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}

    def test_every_host_program_is_in_bin_and_runs(self):
        want = {"vmc", "vsh", "vm_concierge", "vm_disk", "vm_vsock"}
        self.assertEqual({p.name for p in (self.host / "usr/bin").iterdir()}, want)
        for program in want:
            done = run(self.host / "usr/bin" / program, "--version")
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_host_component_has_data_files_and_nothing_else(self):
        want = {"usr/lib/systemd/system/vm_concierge.service", "usr/lib/sysusers.d/vm_tools.conf",
                "usr/share/bash-completion/completions/vmc",
                "usr/share/bash-completion/completions/vsh",
                "usr/share/zsh/site-functions/_vmc"}
        if os.environ["VMT_BUS"] == "1":
            want.add(f"usr/share/dbus-1/system.d/{NAME}.conf")
        if os.environ["VMT_MAN"] == "1":
            want |= {f"usr/share/man/{page}" for page in
                     ("man1/vmc.1", "man1/vsh.1", "man8/vm_concierge.8", "man8/vm_disk.8",
                      "man8/vm_vsock.8")}
        there = {f for f in self.files(self.host) if not f.startswith("usr/bin/")}
        self.assertEqual(there, want)

    def test_guest_programs_are_installed_from_a_static_build_only(self):
        there = {f for f in self.files(self.install("guest")) if "share/man" not in f}
        self.assertEqual(there, set())

    def test_completion_is_shell(self):
        for program in ("vmc", "vsh"):
            script = self.host / "usr/share/bash-completion/completions" / program
            done = run("bash", "-c", f". {script} && complete -p {program}")
            self.assertEqual(done.returncode, 0, done.stderr)

    def unit(self):
        return self.host / "usr/lib/systemd/system/vm_concierge.service"

    def test_unit_starts_the_installed_program(self):
        text = self.unit().read_text()
        self.assertNotIn("@", text)
        command = re.search(r"^ExecStart=(\S+) (.*)$", text, re.M)
        # The prefix of the build tree, not that of this DESTDIR.
        self.assertEqual(command[1].rsplit("/", 2)[1:], ["bin", "vm_concierge"])
        done = run(self.host / "usr/bin/vm_concierge", *command[2].split(), "--version")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_unit_is_valid(self):
        need(self, "systemd-analyze")
        text = self.unit().read_text()
        copy = self.top / "verify" / "vm_concierge.service"
        copy.parent.mkdir()
        copy.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={self.host}/usr/bin/vm_concierge",
                               text, flags=re.M))
        done = run("systemd-analyze", "verify", "--man=no", copy)
        # DelegateSubgroup came with systemd 254; an older one says that it ignores it.
        said = [line for line in done.stderr.splitlines()
                if "vm_concierge" in line and "'DelegateSubgroup'" not in line]
        self.assertEqual((done.returncode, said), (0, []), done.stderr)
        # The same call refuses a unit with a slip in it, so it did look.
        copy.write_text(copy.read_text().replace("ExecStart=", "ExecStrat="))
        self.assertNotEqual(run("systemd-analyze", "verify", "--man=no", copy).returncode, 0)

    def test_units_of_guests_are_valid(self):
        need(self, "systemd-analyze")
        for name in ("maitred", "vshd"):
            text = (pathlib.Path(BUILD) / "packaging" / f"{name}.service").read_text()
            self.assertRegex(text, rf"\nExecStart=/\S+/lib/vm_tools/{name}\n")
            copy = self.top / "guests" / f"{name}.service"
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.M))
            done = run("systemd-analyze", "verify", "--man=no", copy)
            said = [line for line in done.stderr.splitlines() if name in line]
            self.assertEqual((done.returncode, said), (0, []), done.stderr)

    def test_user_of_the_service_is_made(self):
        need(self, "systemd-sysusers")
        done = run("systemd-sysusers", f"--root={self.host}", "--dry-run",
                   self.host / "usr/lib/sysusers.d/vm_tools.conf")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(USER, done.stdout + done.stderr)
        self.assertIn(f"User={USER}\n", self.unit().read_text())

    @contextlib.contextmanager
    def bus(self, owner):
        """A bus with our policy, in which the service's user is owner."""
        need(self, "dbus-daemon", "gdbus", "busctl")
        policy = self.host / f"usr/share/dbus-1/system.d/{NAME}.conf"
        if not policy.exists():
            self.skipTest("built without D-Bus")
        text = policy.read_text()
        self.assertEqual(text.count(f'user="{USER}"'), 1)
        with tempfile.TemporaryDirectory(prefix="vmt-bus.") as folder:
            top = pathlib.Path(folder)
            top.chmod(0o755)
            (top / "policy.conf").write_text(text.replace(f'user="{USER}"', f'user="{owner}"'))
            (top / "bus.conf").write_text(
                BUS_CONFIG.format(top=top, policy=top / "policy.conf"))
            with subprocess.Popen(
                    ["dbus-daemon", f"--config-file={top}/bus.conf", "--nofork", "--nopidfile",
                     "--print-address=1"], stdout=subprocess.PIPE, text=True) as daemon:
                try:
                    address = daemon.stdout.readline().strip()
                    self.assertTrue(address, "the bus does not take the policy")
                    yield address
                finally:
                    daemon.send_signal(signal.SIGTERM)

    @staticmethod
    def own(address, user=None):
        """What RequestName says to user: "1" is PRIMARY_OWNER, else the name of an error."""
        done = run("gdbus", "call", "--address", address, "--dest", "org.freedesktop.DBus",
                   "--object-path", "/org/freedesktop/DBus", "--method",
                   "org.freedesktop.DBus.RequestName", NAME, "uint32 4", user=user)
        found = re.search(r"uint32 (\d+)|org\.freedesktop\.DBus\.Error\.(\w+)",
                          done.stdout + done.stderr)
        return (found[1] or found[2]) if found else done.stderr

    def test_service_user_may_own_the_name(self):
        me = pwd.getpwuid(os.geteuid()).pw_name
        owner = me if os.geteuid() else "nobody"
        with self.bus(owner) as address:
            self.assertEqual(self.own(address, user=None if os.geteuid() else owner), "1")

    def test_root_may_own_the_name(self):
        if os.geteuid():
            self.skipTest("not root")
        with self.bus("nobody") as address:
            self.assertEqual(self.own(address), "1")

    def test_nobody_else_may_own_the_name(self):
        owner, other = ("nobody", None) if os.geteuid() else ("nobody", "daemon")
        with self.bus(owner) as address:
            self.assertEqual(self.own(address, user=other), "AccessDenied")

    @contextlib.contextmanager
    def daemon(self, address):
        """The installed daemon on that bus, as ourselves."""
        with tempfile.TemporaryDirectory(prefix="vmt-daemon.") as folder:
            env = {**os.environ, "HOME": folder, "XDG_RUNTIME_DIR": folder}
            for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
                env.pop(name, None)
            reader, writer = os.pipe()
            with subprocess.Popen(
                    [self.host / "usr/bin/vm_concierge", f"--dbus={address}",
                     f"--ready-fd={writer}", "--log-level=error"], env=env,
                    pass_fds=(writer,)) as process:
                os.close(writer)
                try:
                    self.assertEqual(os.read(reader, 1), b"\n")
                    yield
                finally:
                    os.close(reader)
                    process.send_signal(signal.SIGTERM)
            self.assertEqual(process.returncode, 0)

    def test_everybody_may_call_our_interfaces_and_no_other(self):
        me = pwd.getpwuid(os.geteuid()).pw_name
        refused = "AccessDenied: Rejected send message"  # by the bus
        with self.bus(me) as address, self.daemon(address):
            for method, passes in (("org.freedesktop.DBus.Introspectable.Introspect", True),
                                   ("org.freedesktop.DBus.Peer.Ping", True),
                                   (f"{NAME}.ListVms", True),
                                   ("org.example.Other.Method", False)):
                done = run("busctl", f"--address={address}", "call", NAME,
                           "/org/chromium/VmConcierge", *method.rsplit(".", 1),
                           user=None if os.geteuid() else "daemon")
                self.assertEqual("Access denied" not in done.stderr and
                                 refused not in done.stderr, passes, method + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
