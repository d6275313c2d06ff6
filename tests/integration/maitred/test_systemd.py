#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""maitred as a service of a machine that systemd has booted: Debian's own programs and units, as
they are installed here, on a real guest."""
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

import guest

EXITED, LAUNCHED = 1, 3
PACKAGES = ("systemd", "systemd-sysv", "dbus", "dbus-daemon", "dbus-system-bus-common", "dbus-bin")
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for m in $(/bin/busybox cat /lib/modules/load.list); do /bin/busybox insmod /lib/modules/$m; done
until [ -b /dev/vda ]; do /bin/busybox usleep 50000; done
/bin/busybox mount -t squashfs -o ro /dev/vda /lower
/bin/busybox mount -t tmpfs rw /rw
/bin/busybox mkdir /rw/upper /rw/work
/bin/busybox mount -t overlay root /root -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""
# What a service must not change, before it starts and as often as anybody asks.
STATE = """#!/bin/sh
cd /proc/sys
head -n 99 kernel/core_pattern kernel/core_pipe_limit kernel/hostname fs/inotify/max_user_watches \\
    vm/max_map_count net/core/rmem_max net/ipv4/ip_forward kernel/ctrl-alt-del kernel/modprobe
awk '{print $5, $6, $9, $10}' /proc/1/mountinfo | grep -v 'binfmt\\|/dev/hugepages' | sort
ls -l /etc/resolv.conf /run/resolv.conf /etc/localtime /etc/hostname 2>&1
ls /dev/disk /run/tokens 2>&1
cat /sys/class/net/lo/flags
"""
FILES = {
    "usr/bin/state": STATE,
    "etc/maitred/10-job": 'argv: "touch" argv: "/run/a-job-ran"',
    "etc/systemd/system/state.service": "[Unit]\nBefore=maitred.service\nAfter=systemd-logind.service"
        " systemd-tmpfiles-setup.service systemd-sysctl.service\n"
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'state > /run/before'\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:100:100::/:/bin/false\n"
        "systemd-network:x:998:998::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\ntty:x:5:\nmessagebus:x:100:\nsystemd-journal:x:101:\nutmp:x:43:\n"
        "adm:x:4:\nkmem:x:15:\ninput:x:102:\nnogroup:x:65534:\nsystemd-network:x:998:\n",
    "etc/hostname": "stock\n",
    "etc/os-release": 'ID=debian\nPRETTY_NAME="Debian"\n',
}
MASKED = ("systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service",
          "getty.target", "systemd-machine-id-commit.service", "systemd-firstboot.service")


def make_initrd(out):
    modules = guest.Modules()
    paths = modules.resolve(guest.FIRST, set())
    folder, program = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
    entries = [(n, folder, b"") for n in ("dev", "proc", "lib", "lib/modules", "bin", "lower", "rw",
                                          "root")]
    names = "\n".join(pathlib.PurePath(p).name for p in paths)
    entries.append(("lib/modules/load.list", stat.S_IFREG | 0o644, names.encode()))
    entries += [(f"lib/modules/{pathlib.PurePath(p).name}", stat.S_IFREG | 0o644,
                 (modules.top / p).read_bytes()) for p in paths]
    entries.append(("bin/busybox", program, pathlib.Path(shutil.which("busybox")).read_bytes()))
    entries.append(("init", program, INIT.encode()))
    guest.cpio(entries, out)


def copy(path, top):
    """A file of this machine as it is, with the libraries that it wants."""
    target = top / path.lstrip("/")
    if target.exists() or target.is_symlink() or os.path.isdir(path):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target, follow_symlinks=False)
    if target.is_symlink() or not target.read_bytes()[:4] == b"\x7fELF":
        return
    out = subprocess.run(["ldd", path], check=False, capture_output=True, text=True).stdout
    for word in out.split():
        if word[0] == "/":
            shutil.copy2(word, parent(top / word.lstrip("/")))


def parent(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def add_systemd(top):
    listed = subprocess.run(["dpkg", "-L", *PACKAGES], check=True, capture_output=True,
                            text=True).stdout.split("\n")
    for path in listed:
        if path.startswith("/") and os.path.lexists(path) and not path.startswith("/usr/share/doc"):
            copy(path, top)
    units = top / "etc/systemd/system"
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for name in ("maitred.service", "state.service"):
        (wants / name).symlink_to(f"../{name}")
    for name in MASKED:
        (units / name).symlink_to("/dev/null")
    shutil.copy(guest.MAITRED, parent(top / "usr/lib/vm_tools/maitred"))
    # As it is installed, with the prefix of packages.
    text = (guest.SOURCE / "packaging/systemd/maitred.service.in").read_text(encoding="ascii")
    (units / "maitred.service").write_text(text.replace("@CMAKE_INSTALL_PREFIX@", "/usr"),
                                           encoding="ascii")
    for name in ("root", "var/lib", "var/log", "usr/lib/vm_tools"):
        (top / name).mkdir(parents=True, exist_ok=True)
    for link, target in (("sbin/init", "../lib/systemd/systemd"), ("var/run", "../run")):
        (top / link).unlink(missing_ok=True)
        (top / link).symlink_to(target)


def add_rest(top, out):
    """The rest of make_root's root, over which the programs of the packages go."""
    guest.make_root(out, FILES, without=("init", "systemctl", "poweroff", "reboot", "halt",
                                         "runlevel", "telinit", "shutdown", "mount", "umount"))
    subprocess.run(["unsquashfs", "-d", f"{top}/rest", "-no-xattrs", "-quiet", "-no-progress", out],
                   check=True, stdout=subprocess.DEVNULL)


def make_root(out):
    with tempfile.TemporaryDirectory() as tmp:
        top = pathlib.Path(tmp) / "root"
        top.mkdir()
        for program in ("/bin/mount", "/bin/umount"):
            copy(program, top)
        add_systemd(top)
        add_rest(tmp, out)
        subprocess.run(["cp", "-a", "--no-clobber", f"{tmp}/rest/.", str(top)], check=True)
        subprocess.run(["mksquashfs", top, out, "-all-root", "-noappend", "-quiet", "-no-progress"],
                       check=True, stdout=subprocess.DEVNULL)


def nothing_is_changed(vm):
    """The journal goes to the console as well, so what is compared does not."""
    vm.sh("grep -q stock /run/before && grep -q '^/proc ' /run/before")
    vm.sh("state > /run/after; diff /run/before /run/after")
    vm.sh("[ ! -e /run/a-job-ran ] && [ ! -e /run/resolv.conf ]")
    vm.sh("grep -q '^Umask:.*0022' /proc/$(pidof maitred)/status && grep -qx systemd /proc/1/comm")


def it_is_a_service_in_order(vm):
    text = vm.sh("systemctl show -p ActiveState -p SubState -p Type -p NRestarts maitred")
    assert {"ActiveState=active", "SubState=running", "Type=notify", "NRestarts=0"} \
        <= set(text.split()), text
    assert vm.run("true") == (EXITED, 0)
    empty = vm.pb["common"].EmptyMessage()
    assert vm.call("GetKernelVersion", empty).kernel_release == guest.Modules().release
    report = vm.report.GetBootReport(vm.pb["vmt_agent"].BootReportRequest(),
                                     timeout=guest.PATIENCE)
    assert report.ready_acknowledged and not report.degraded, report
    pb = vm.pb["vm_guest"]
    text = vm.call("StartTermina", pb.StartTerminaRequest(lxd_ipv4_subnet="10.0.0.1/24"),
                   "FAILED_PRECONDITION")
    assert "another init" in text, text


def what_another_init_has_is_told(vm):
    """Control groups are systemd's: limits cannot hold, and the host can read that."""
    pb, job = vm.pb["vm_guest"], vm.pb["vmt_job"]
    vm.sh('[ -z "$NOTIFY_SOCKET" ]')  # no program of ours speaks for us
    reply = vm.call("LaunchProcess", pb.LaunchProcessRequest(
        argv=["true"], wait_for_exit=True, limits=job.GroupLimits(pids_max=5)))
    assert (reply.status, reply.code) == (EXITED, 0), reply
    report = vm.report.GetBootReport(vm.pb["vmt_agent"].BootReportRequest(),
                                     timeout=guest.PATIENCE)
    assert len(report.degraded) == 1 and "without its limits" in report.degraded[0], report


def an_account_lingers(vm):
    reply = vm.call("SetUpUser", vm.pb["vm_guest"].SetUpUserRequest(username="user", uid=1234))
    assert reply.success and reply.username == "user", reply
    vm.sh("[ -e /var/lib/systemd/linger/user ] && grep -q ^user:x:1234: /etc/passwd")


def the_application_takes_the_machine_along(vm):
    """The init is asked, which here is a program that only says so."""
    vm.sh("mkdir -p /usr/local/bin; printf '#!/bin/sh\\necho $* > /run/asked\\n' > "
          "/usr/local/bin/busctl; chmod +x /usr/local/bin/busctl")
    reply = vm.call("LaunchProcess", vm.pb["vm_guest"].LaunchProcessRequest(
        argv=["sh", "-c", "exit 5"], poweroff_on_exit=True))
    assert reply.status == LAUNCHED, reply
    event = vm.events.get(timeout=guest.PATIENCE)
    assert event.application_exit.exit_code == 5, event
    vm.sh("until grep -q PowerOff /run/asked; do sleep 0.1; done; rm /usr/local/bin/busctl")


def it_comes_back_when_it_dies(vm):
    vm.sh("sleep 100000 & echo $! > /run/child")
    vm.call("LaunchProcess", vm.pb["vm_guest"].LaunchProcessRequest(
        argv=["sh", "-c", "sleep 1; kill -9 $(pidof maitred)"]))
    vm.ready.get(timeout=guest.PATIENCE)  # the host hears of it
    vm.sh("[ $(systemctl show -P NRestarts maitred) = 1 ] && kill -0 $(cat /run/child)")


def the_init_powers_off(vm):
    before = len(vm.console.text)
    vm.call("Shutdown", vm.pb["common"].EmptyMessage())
    assert vm.wait_off() == 0
    assert "reboot: Power down" in vm.console.text, vm.console.text
    # logind was asked, and did it.
    assert "The system will power off now" in vm.console.text[before:], vm.console.text[before:]
    assert "not shut down by" not in vm.console.text, vm.console.text


def a_service_of_systemd_changes_nothing_global(top):
    make_initrd(f"{top}/initrd")
    make_root(f"{top}/root.img")
    with guest.Guest(top, "systemd.show_status=1 systemd.journald.forward_to_console=1",
                     f"{top}/root.img") as vm:
        try:
            vm.ready.get(timeout=3 * guest.PATIENCE)
        except Exception as e:
            raise AssertionError(f"no VmReady:\n{vm.console.text}") from e
        for check in (it_is_a_service_in_order, nothing_is_changed, what_another_init_has_is_told,
                      an_account_lingers,
                      the_application_takes_the_machine_along, it_comes_back_when_it_dies,
                      the_init_powers_off):
            check(vm)
            print(f"  ok {check.__name__}", flush=True)


if __name__ == "__main__":
    guest.check_needs()
    for tool in ("dpkg", "unsquashfs", "ldd"):
        guest.need(shutil.which(tool), f"{tool} is not installed")
    for name in PACKAGES:
        guest.need(subprocess.run(["dpkg", "-s", name], check=False, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL).returncode == 0,
                   f"the package {name} is not installed")
    guest.run_tests([a_service_of_systemd_changes_nothing_global])
