#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What PID 1 owes its machine: it stays alive, says why it does not, and reaps. Each test prints
what it observed."""
import queue
import subprocess
import time

import guest

UD2, LOOP = b"\x0f\x0b", b"\xeb\xfe"  # an illegal instruction; a jump to itself
COLLECTOR = """#!/bin/sh
{ echo "collector $@"; head -c 4 | od -c; cat > /dev/null; } > /dev/console
"""


def address_of(symbol):
    out = subprocess.run(["nm", guest.MAITRED], capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        if line.endswith(f" {symbol}"):
            return int(line.split()[0], 16)
    guest.skip(f"{guest.MAITRED} has no symbol {symbol}")


def break_agent(vm, code):
    """Have PID 1 run code when it reaps next: root may write to the memory of any process."""
    octal = "".join(f"\\{b:03o}" for b in code)
    place = address_of("proc_table_reap")
    script = (f"printf '{octal}' | dd of=/proc/1/mem bs=1 seek={place} conv=notrunc 2>/dev/null; "
              "true &")
    request = vm.pb["vm_guest"].LaunchProcessRequest(argv=["sh", "-c", script])
    vm.call("LaunchProcess", request)


def event(vm):
    try:
        return vm.events.get(timeout=guest.PATIENCE)
    except queue.Empty:
        raise AssertionError(f"no event:\n{vm.console.text}") from None


def a_fault_of_our_own_is_told_and_dumped(top):
    guest.make_root(f"{top}/root", {"usr/lib/vm_tools/crash_collector": COLLECTOR})
    with guest.Guest(top, "", f"{top}/root") as vm:
        vm.wait_ready()
        pattern = vm.sh("cat /proc/sys/kernel/core_pattern /proc/sys/kernel/core_pipe_limit")
        assert pattern == ("|/usr/lib/vm_tools/crash_collector --user=%P:%s:%u:%g:%f\n4\n"), pattern
        # From outside they are nothing.
        vm.sh("kill -SEGV 1; kill -ABRT 1; kill -9 1; kill -STOP 1; true")
        vm.sh("dmesg | grep -q 'fatal signal from outside ignored'")
        started = time.monotonic()
        break_agent(vm, UD2)
        assert vm.wait_off() == 0
        words = event(vm).last_words.text
        assert words.startswith("maitred: caught fatal signal 4 at 0x"), words
        assert words in vm.console.text, vm.console.text
        assert "collector --user=" in vm.console.text, vm.console.text
        assert "177   E   L   F" in vm.console.text, vm.console.text  # a core, of a copy of us
        assert "panic" not in vm.console.text, vm.console.text
        print(f"  the host heard \"{words}\", reset after {time.monotonic() - started:.1f} s")


def a_fault_may_also_power_off(top):
    guest.make_root(f"{top}/root", {})
    with guest.Guest(top, "maitred.fault=off", f"{top}/root") as vm:
        vm.wait_ready()
        assert vm.sh("cat /proc/sys/kernel/core_pattern") == "core\n"  # no collector: as it was
        break_agent(vm, UD2)
        assert vm.wait_off() == 0
        assert "reboot: Power down" in vm.console.text, vm.console.text


def a_loop_that_stops_is_ended_by_the_watchdog(top):
    guest.make_root(f"{top}/root", {})
    extra = ["-device", "i6300esb", "-action", "watchdog=reset"]
    with guest.Guest(top, "maitred.watchdog=3", f"{top}/root", extra) as vm:
        vm.wait_ready()
        vm.sh("i=0; until dmesg | grep -q 'watchdog resets the machine'; do sleep 0.2; "
              "i=$((i+1)); [ $i -lt 300 ]; done; lsmod | grep -q i6300esb")
        time.sleep(7)  # more than two timeouts: it is pinged
        vm.call("GetKernelVersion", vm.pb["common"].EmptyMessage())
        started = time.monotonic()
        break_agent(vm, LOOP)
        assert vm.wait_off() == 0  # -no-reboot: a reset ends QEMU
        assert "Power down" not in vm.console.text, vm.console.text
        print(f"  the watchdog reset the machine {time.monotonic() - started:.1f} s after the "
              "loop stopped")


def a_shutdown_is_not_cut_short_by_the_watchdog(top):
    guest.make_root(f"{top}/root", {
        "usr/bin/stubborn": "#!/bin/sh\ntrap '' TERM\ntouch /run/deaf\nwhile :; do sleep 1000; done\n"})
    with guest.Guest(top, "maitred.watchdog=3", f"{top}/root",
                     ["-device", "i6300esb", "-action", "watchdog=reset"]) as vm:
        vm.wait_ready()
        vm.sh("i=0; until dmesg | grep -q 'watchdog resets the machine'; do sleep 0.2; "
              "i=$((i+1)); [ $i -lt 300 ]; done")
        vm.call("LaunchProcess", vm.pb["vm_guest"].LaunchProcessRequest(argv=["stubborn"]))
        vm.sh("until [ -e /run/deaf ]; do sleep 0.1; done; echo 8 > /proc/sys/kernel/printk")
        vm.call("Shutdown", vm.pb["common"].EmptyMessage())  # takes ten seconds
        assert vm.wait_off() == 0
        for words in ("stubborn does not end and is killed", "reboot: Power down"):
            assert words in vm.console.text, vm.console.text


def the_image_decides_about_knobs_and_modules(top):
    show = ("argv: 'sh' argv: '-c' argv: 'cat /proc/sys/kernel/printk_ratelimit_burst; "
            "lsmod | grep -o ^dummy; ls /sys/class/net | grep -c dummy' use_console: true wait_for_exit: true")
    guest.make_root(f"{top}/root", {
        "etc/sysctl.d/10-ours.conf": "# a comment\nkernel.printk_ratelimit_burst = 77\n"
                                     "no.such.knob=1\n-vm.overcommit_memory=nonsense\n",
        "usr/lib/sysctl.d/10-ours.conf": "kernel.printk_ratelimit_burst=66\n",
        "usr/lib/sysctl.d/05-early.conf": "kernel.printk_ratelimit_burst=55\n"
                                          "vm.overcommit_memory=nonsense\n",
        "etc/modprobe.d/ours.conf": "alias our-card dummy\noptions dummy numdummies=2\n",
        "etc/maitred/10-show": show})
    with guest.Guest(top, "maitred.modules=our-card,no_such_module", f"{top}/root") as vm:
        vm.wait_ready()
        assert "77\ndummy\n2\n" in vm.console.text, vm.console.text
        machine_id = vm.sh("i=0; until [ -s /etc/machine-id ]; do sleep 0.2; i=$((i+1)); "
                           "[ $i -lt 100 ]; done; cat /etc/machine-id").strip()
        assert len(machine_id) == 32 and int(machine_id, 16) > 0, machine_id
        report = vm.report.GetBootReport(vm.pb["vmt_agent"].BootReportRequest(),
                                         timeout=guest.PATIENCE)
        text = "\n".join(report.degraded)
        assert "no_such_module" in text and "overcommit_memory, as /usr" in text, text
        assert len(report.degraded) == 2, text


def what_is_missing_is_told_and_no_more(top):
    """A root that stays read-only, no IPv6, no memory controller, a console that is not there."""
    job = ("argv: 'sleep' argv: '100000' limits { memory_max: 10000000 pids_max: 9 }")
    guest.make_root(f"{top}/root", {"etc/maitred/10-limited": job})
    append = "maitred.overlay=none ipv6.disable=1 cgroup_disable=memory console=ttyS7"
    with guest.Guest(top, append, f"{top}/root") as vm:
        vm.ready.get(timeout=guest.PATIENCE)
        report = vm.report.GetBootReport(vm.pb["vmt_agent"].BootReportRequest(),
                                         timeout=guest.PATIENCE)
        text = "\n".join(report.degraded)
        assert "memory.max" in text, text
        status = vm.run("sh", "-c", "grep -qx 9 /sys/fs/cgroup/guest/job-10-limited/pids.max && "
                                    "pidof sleep && ! touch /etc/x && ! [ -e /proc/sys/net/ipv6 ]")
        assert status == (1, 0), status
        print("  degraded: " + "; ".join(report.degraded))
        vm.call("Shutdown", vm.pb["common"].EmptyMessage())
        assert vm.wait_off() == 0


def what_was_acknowledged_is_on_the_disk(top):
    """A writer goes on until it is killed: what fsync said is there when Shutdown was answered."""
    with open(f"{top}/disk", "wb") as f:
        f.truncate(16 << 20)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", f"{top}/disk"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    guest.make_root(f"{top}/root", {})
    with guest.Guest(top, "", f"{top}/root",
                     ["-drive", f"file={top}/disk,format=raw,if=virtio"]) as vm:
        vm.wait_ready()
        pb = vm.pb["vm_guest"]
        reply = vm.call("Mount", pb.MountRequest(source="/dev/vdb", target="/mnt/d", fstype="ext4",
                                                 create_target=True))
        assert reply.error == 0
        writer = ("i=100000; while :; do i=$((i+1)); echo $i | dd of=/mnt/d/number "
                  "conv=fsync,notrunc 2>/dev/null && echo wrote-$i; done")
        vm.call("LaunchProcess", pb.LaunchProcessRequest(argv=["sh", "-c", writer],
                                                         use_console=True))
        vm.console.wait("wrote-100020\n")
        vm.call("Shutdown", vm.pb["common"].EmptyMessage())
        assert vm.wait_off() == 0
        told = [int(line[6:]) for line in vm.console.text.splitlines()
                if line.startswith("wrote-") and len(line) == 12]
    out = subprocess.run(["/usr/sbin/debugfs", "-R", "cat number", f"{top}/disk"],
                         capture_output=True, text=True, check=True).stdout
    assert int(out) >= told[-1], (out, told[-1])
    print(f"  told: {told[-1]}, on the disk: {int(out)}")


if __name__ == "__main__":
    guest.check_needs()
    guest.run_tests([
        a_fault_of_our_own_is_told_and_dumped,
        a_fault_may_also_power_off,
        a_loop_that_stops_is_ended_by_the_watchdog,
        a_shutdown_is_not_cut_short_by_the_watchdog,
        the_image_decides_about_knobs_and_modules,
        what_is_missing_is_told_and_no_more,
        what_was_acknowledged_is_on_the_disk,
    ])
