# SPDX-License-Identifier: BSD-3-Clause
"""A bus of its own with a logind that does as it is told."""
import os
import subprocess
import sys
import threading

try:
    import dbus
    import dbus.mainloop.glib
    import dbus.service
    from gi.repository import GLib
except ImportError as missing:
    print(f"python3-dbus or python3-gi is not installed: {missing}")
    sys.exit(77)

NAME, PATH = "org.freedesktop.login1", "/org/freedesktop/login1"
MANAGER = NAME + ".Manager"
BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
 <type>session</type>
 <listen>unix:path={}</listen>
 <auth>EXTERNAL</auth>
 <policy context="default">
  <allow user="*"/>
  <allow send_destination="*" eavesdrop="true"/>
  <allow eavesdrop="true"/>
  <allow own="*"/>
 </policy>
</busconfig>
"""


class Bus:
    """A private dbus-daemon."""

    def __init__(self, root):
        config = root / "bus.conf"
        config.write_text(BUS_CONFIG.format(root / "bus"))
        self.address = f"unix:path={root}/bus"
        self.process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"],
            stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class Manager(dbus.service.Object):
    """What the daemon asks of logind."""
    locks = 0  # that were given out
    lock = None  # our end of the last one: it reads as ended when the daemon lets go
    delay_us = 5000000

    @dbus.service.method(MANAGER, in_signature="ssss", out_signature="h")
    def Inhibit(self, what, _who, _why, mode):  # pylint: disable=invalid-name
        assert (what, mode) == ("sleep", "delay"), (what, mode)
        ours, theirs = os.pipe()
        if Manager.lock is not None:
            os.close(Manager.lock)
        Manager.lock = ours
        Manager.locks += 1
        fd = dbus.types.UnixFd(theirs)
        os.close(theirs)
        return fd

    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="ss", out_signature="v")
    def Get(self, _interface, name):  # pylint: disable=invalid-name
        assert name == "InhibitDelayMaxUSec", name
        return dbus.UInt64(Manager.delay_us)

    @dbus.service.signal(MANAGER, signature="b")
    def PrepareForSleep(self, start):  # pylint: disable=invalid-name
        pass


class Logind:
    """One life of logind on a bus."""

    def __init__(self, address):
        dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
        dbus.mainloop.glib.threads_init()
        self.connection = dbus.bus.BusConnection(address)
        self.name = dbus.service.BusName(NAME, self.connection)
        self.manager = Manager(self.connection, PATH)
        self.loop = GLib.MainLoop()
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    def say(self, starts):
        GLib.idle_add(lambda: self.manager.PrepareForSleep(starts) and None)

    @staticmethod
    def lock_is_held():
        """Whether the daemon still holds the last inhibitor."""
        import select
        return Manager.lock is not None and not select.select([Manager.lock], [], [], 0)[0]

    def close(self):
        self.loop.quit()
        self.thread.join()
        del self.name  # which gives it up
        self.connection.close()
