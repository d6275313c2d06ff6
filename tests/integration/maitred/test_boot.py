#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Boot real kernels into maitred and read the console."""
import guest

ROOT = "root=/dev/vda rootfstype=squashfs ro"
# What jobs find: type, flags of the mount, options of the file system.
CLOSED = {"rw", "nosuid", "nodev", "noexec"}
MOUNTS = {
    "/": ("overlay", {"rw"}, set()),
    "/proc": ("proc", CLOSED, set()),
    "/sys": ("sysfs", CLOSED, set()),
    "/dev": ("devtmpfs", {"rw", "nosuid"}, {"mode=755"}),
    "/dev/pts": ("devpts", {"rw", "nosuid", "noexec"}, {"gid=5", "mode=620", "ptmxmode=666"}),
    "/dev/shm": ("tmpfs", CLOSED, set()),
    "/run": ("tmpfs", CLOSED, {"mode=755"}),
    "/tmp": ("tmpfs", {"rw", "nosuid", "nodev"}, set()),
    "/mnt/external": ("tmpfs", CLOSED, {"mode=755"}),
    "/sys/fs/cgroup": ("cgroup2", CLOSED, {"nsdelegate", "memory_recursiveprot"}),
}
DONE = "jobs-are-done"
LAST_JOB = f'argv: "/bin/echo" argv: "{DONE}" use_console: true'


def show(script):
    """A job that runs a script on the console before the next one starts."""
    text = script.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'argv: "sh" argv: "-c" argv: "{text}" use_console: true wait_for_exit: true'


def the_probe_answers_and_powers_off(top):
    with guest.Qemu(top, "maitred.probe") as vm:
        assert vm.wait_off() == 0
        assert "vm_tools-probe-ok\n" in vm.console.text, vm.console.text
        assert "panic" not in vm.console.text, vm.console.text


def the_root_is_writable_and_the_system_complete(top):
    script = """
echo comm $(cat /proc/1/comm) $(grep Threads /proc/1/status | tr -d '\\t')
awk '$7 == "-" {print "row", $5, $8, $6, $10}' /proc/self/mountinfo
grep -q ' / overlay rw' /proc/mounts && touch /etc/new && echo root-writable
[ "$(stat -c %a /tmp)" = 1777 ] && [ -e /dev/pts/ptmx ] && echo modes-right
[ "$(readlink /dev/fd)" = /proc/self/fd ] && echo links-right
echo nofile $(ulimit -n) watches $(cat /proc/sys/fs/inotify/max_user_watches)
echo memlock $(ulimit -l) knobs $(cd /proc/sys; cat fs/inotify/max_queued_events \\
    fs/inotify/max_user_instances vm/max_map_count net/core/rmem_max)
[ "$(stat -c %a /dev/pts/ptmx)" = 666 ] && echo ptmx-for-all
echo name $(hostname) path $PATH umask $(umask)
echo fds $(ls /proc/self/fd | wc -w)
echo nice $(cut -d' ' -f19 /proc/1/stat) and $(cut -d' ' -f19 /proc/self/stat)
grep SigBlk /proc/self/status; grep SigIgn /proc/self/status
ip addr show lo | grep -q 127.0.0.1 && echo lo-up
ls -d / /.maitred /init 2>/dev/null | tr '\\n' ' '; echo seen
"""
    guest.make_root(f"{top}/root", {"etc/hostname": "# ours\n\n guest7 \n",
                                    "etc/maitred/10-show": show(script),
                                    "etc/maitred/20-last": LAST_JOB})
    with guest.Qemu(top, ROOT, f"{top}/root") as vm:
        vm.console.wait(DONE)
        text = vm.console.text
    for words in ("comm maitred Threads:1\n", "root-writable\n", "modes-right\n", "lo-up\n",
                  "links-right\n", "nofile 1048576 watches 1048576\n",
                  "memlock unlimited knobs 1048576 1048576 262144 2097152\n", "ptmx-for-all\n",
                  "name guest7 path /usr/bin:/usr/sbin:/bin:/sbin umask 0022\n",
                  "fds 4\n",  # 0 to 2 and the directory itself
                  "nice -10 and 0\n",
                  "SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "/ seen\n"):
        assert words in text, f"{words!r} is not in:\n{text}"
    rows = {words[1]: words[2:] for line in text.splitlines()
            if (words := line.split())[:1] == ["row"]}
    assert set(rows) == set(MOUNTS), rows
    for target, (kind, flags, options) in MOUNTS.items():
        assert rows[target][0] == kind, (target, rows[target])
        assert flags <= set(rows[target][1].split(",")), (target, rows[target])
        assert options <= set(rows[target][2].split(",")), (target, rows[target])
        for flag in {"nosuid", "nodev", "noexec"} - flags:
            assert flag not in rows[target][1].split(","), (target, rows[target])
    assert "degraded" not in text, text


def jobs_run_in_order_and_bad_ones_are_skipped(top):
    guest.make_root(f"{top}/root", {
        "etc/maitred/90-z": show("echo order-4"),
        "etc/maitred/100-x": show("echo order-2"),
        "etc/maitred/00-a": show("sleep 1; echo order-1"),
        "etc/maitred/20/deep": show("echo order-3"),
        "etc/maitred/30-both": 'argv: "true" respawn: true wait_for_exit: true',
        "etc/maitred/31-garbage": "argv: \x01\x02",
        "etc/maitred/32-empty": "",
        "etc/maitred/33-gone": 'argv: "/bin/not-there"',
        "etc/maitred/95-slow": 'argv: "sleep" argv: "1000" wait_for_exit: true',
        "etc/maitred/99-last": LAST_JOB})
    with guest.Qemu(top, f"{ROOT} maitred.job_timeout=5", f"{top}/root") as vm:
        vm.console.wait(DONE)
        text = vm.console.text
    at = [text.index(f"order-{i}\n") for i in (1, 2, 3, 4)]
    assert at == sorted(at), text
    for words in ("30-both: respawn and wait_for_exit", "31-garbage: line 1, column 7",
                  "32-empty: no argv", "33-gone: start /bin/not-there",
                  "95-slow did not end within 5000 ms"):
        assert words in text, f"{words!r} is not in:\n{text}"


def no_startup_processes_leaves_the_jobs_alone(top):
    guest.make_root(f"{top}/root", {"etc/maitred/10-job": LAST_JOB})
    with guest.Qemu(top, f"{ROOT} maitred.no_startup_processes maitred.shell",
                    f"{top}/root") as vm:
        vm.console.wait("# ")  # the shell on the console
        assert DONE not in vm.console.text, vm.console.text


def life_goes_on_without_a_root(top):
    with guest.Qemu(top, "root=/dev/vdz rootfstype=squashfs maitred.root_timeout=1") as vm:
        vm.console.wait("no root file system: root device /dev/vdz did not appear")
        vm.console.wait("vshd")
        assert vm.process.poll() is None
        assert "panic" not in vm.console.text, vm.console.text


def garbage_options_do_no_harm(top):
    guest.make_root(f"{top}/root", {"etc/maitred/10-job": LAST_JOB})
    options = ('maitred.listen_port=-1 maitred.port=99999999999 maitred.probe=maybe '
               'maitred.nonsense maitred.job_timeout= "maitred.root_timeout=0" '
               'maitred.poweroff=now maitred. = == "" ' + "x" * 300)
    with guest.Qemu(top, f"{ROOT} {options}", f"{top}/root") as vm:
        vm.console.wait(DONE)
        assert "panic" not in vm.console.text, vm.console.text


if __name__ == "__main__":
    guest.check_needs()
    guest.run_tests([
        the_probe_answers_and_powers_off,
        the_root_is_writable_and_the_system_complete,
        jobs_run_in_order_and_bad_ones_are_skipped,
        no_startup_processes_leaves_the_jobs_alone,
        life_goes_on_without_a_root,
        garbage_options_do_no_harm,
    ])
