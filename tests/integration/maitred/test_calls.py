#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The host's calls on a real guest, by a stock gRPC client over vm_vsock."""
import socket
import statistics
import struct
import subprocess
import tempfile
import time

import guest
import tiny9p

UNKNOWN, EXITED, SIGNALED, LAUNCHED, FAILED = range(5)
RESPAWNED = "#!/bin/sh\necho run >> /run/runs\nexit 3\n"
FILES = {"usr/bin/respawned": RESPAWNED,
         **guest.with_libraries("/usr/sbin/mke2fs", "usr/sbin/mkfs.ext4"),
         "usr/bin/trouble": (guest.BIN / "maitred_guest_trouble").read_bytes(),
         "usr/bin/dial": (guest.BIN / "maitred_guest_dial").read_bytes(),
         "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
         "etc/group": "root:x:0:\naudio:x:29:\nsudo:x:27:other\n",
         "usr/share/zoneinfo/Test/Zone": "TZif2" + "0" * 60,
         "usr/share/zoneinfo/notes.txt": "no zone",
         "etc/shadow": "TZif2 but not below the zone folder"}


def address(text):
    """As the wire has it: the bytes in memory are in network order."""
    return struct.unpack("=I", socket.inet_aton(text))[0]


def processes(vm):
    pb = vm.pb["vm_guest"]
    assert vm.run("true") == (EXITED, 0)
    assert vm.run("false") == (EXITED, 1)
    assert vm.run("sh", "-c", "exit 42") == (EXITED, 42)
    assert vm.run("sh", "-c", "kill -9 $$") == (SIGNALED, 9)
    assert vm.run("/bin/not-there") == (FAILED, 0)
    assert vm.run("sh", "-c", '[ "$A" = "b=c" ] && [ -n "$PATH" ]', env={"A": "b=c"}) == (EXITED, 0)
    # Nobody reads what it writes, and who stays in the background holds nobody.
    assert vm.run("sh", "-c", "sleep 1000 & head -c 10485760 /dev/zero; echo >&2") == (EXITED, 0)
    vm.call("LaunchProcess", pb.LaunchProcessRequest(), "INVALID_ARGUMENT")
    vm.call("LaunchProcess", pb.LaunchProcessRequest(argv=["true"], respawn=True,
                                                     wait_for_exit=True), "INVALID_ARGUMENT")
    vm.call("LaunchProcess", pb.LaunchProcessRequest(argv=["true"], env={"": "x"}),
            "INVALID_ARGUMENT")
    reply = vm.call("LaunchProcess", pb.LaunchProcessRequest(argv=["sleep", "1000"]))
    assert (reply.status, reply.code) == (LAUNCHED, 0)
    # Two that wait run at the same time: the second lets the first one go on.
    first = vm.agent.LaunchProcess.future(
        pb.LaunchProcessRequest(argv=["sh", "-c", "until [ -e /run/go ]; do sleep 0.1; done"],
                                wait_for_exit=True))
    assert vm.run("touch", "/run/go") == (EXITED, 0)
    assert first.result(timeout=guest.PATIENCE).status == EXITED


def accounts_are_made(vm):
    """Without useradd: the guest has no such tool."""
    pb = vm.pb["vm_guest"]
    reply = vm.call("SetUpUser", pb.SetUpUserRequest(username="user", uid=1234,
                                                     group_names=["audio", "sudo"]))
    assert reply.success and reply.username == "user", reply
    vm.sh("grep -qx 'user:x:1234:1234::/home/user:/bin/bash' /etc/passwd")
    vm.sh("grep -qx 'audio:x:29:user' /etc/group && grep -qx 'sudo:x:27:other,user' /etc/group")
    vm.sh("grep -qx 'user:x:1234:' /etc/group && [ \"$(stat -c %u:%g:%a /home/user)\" = 1234:1234:755 ]")
    vm.sh("[ ! -e /etc/passwd.maitred ] && [ \"$(stat -c %a /etc/passwd)\" = 644 ]")
    again = vm.call("SetUpUser", pb.SetUpUserRequest(username="user", uid=1234))
    assert again.success and again.username == "user", again
    taken = vm.call("SetUpUser", pb.SetUpUserRequest(username="second", uid=1234))
    assert not taken.success and taken.username == "user" and taken.failure_reason, taken
    other = vm.call("SetUpUser", pb.SetUpUserRequest(username="user", uid=1235))
    assert not other.success and other.failure_reason, other
    for bad in (pb.SetUpUserRequest(username="Root", uid=5), pb.SetUpUserRequest(username="a b"),
                pb.SetUpUserRequest(username="-x"), pb.SetUpUserRequest(username="x" * 40),
                pb.SetUpUserRequest(username="zero", uid=0),
                pb.SetUpUserRequest(username="third", uid=3, group_names=["nogroupofours"])):
        vm.call("SetUpUser", bad, "INVALID_ARGUMENT")
    vm.sh("[ $(wc -l < /etc/passwd) = 2 ]")


def it_says_what_it_serves(vm):
    """Reflection and health in bytes, as any gRPC client sends them."""
    for version in ("v1", "v1alpha"):
        ask = vm.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
        services, file = ask(iter([b"\x3a\0", b"\x22\x10vm_tools.Maitred"]), timeout=guest.PATIENCE)
        for name in (b"vm_tools.Maitred", b"vmt.Agent", b"grpc.health.v1.Health"):
            assert name in services, services
        assert b"vm_guest.proto" in file and b"common.proto" in file, file
    check = vm.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"\x0a\x10vm_tools.Maitred", timeout=guest.PATIENCE) == b"\x08\x01"


def orphans_are_reaped(vm):
    """5,000 of them, while calls are served, and without a word in the log."""
    lines = "[ $(dmesg | grep -c 'maitred:') -lt %d ]"
    said = int(vm.sh("dmesg | grep -c 'maitred:' || true"))
    busy = vm.agent.LaunchProcess.future(
        vm.pb["vm_guest"].LaunchProcessRequest(wait_for_exit=True, argv=[
            "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do trouble orphans 500 || exit 1; done"]))
    took = []
    while not busy.done():
        begun = time.monotonic()
        vm.call("GetKernelVersion", vm.pb["common"].EmptyMessage())
        took.append((time.monotonic() - begun) * 1000)
    assert (busy.result().status, busy.result().code) == (EXITED, 0), busy.result()
    vm.sh("i=0; while grep -qs '^State:.Z' /proc/[0-9]*/status; do sleep 0.2; i=$((i+1)); "
          "[ $i -lt 200 ]; done")
    vm.sh(lines % (said + 50))
    print(f"  5000 orphans: {len(took)} calls meanwhile took {statistics.median(took):.1f} ms in "
          f"the median, {max(took):.1f} ms at most")


def what_fails_all_the_time_is_given_up(vm):
    pb = vm.pb["vm_guest"]
    request = pb.LaunchProcessRequest(argv=["respawned"], respawn=True)
    assert vm.call("LaunchProcess", request).status == LAUNCHED
    # Setting the clock changes nothing about the window.
    now = pb.SetTimeRequest()
    now.time.seconds = int(time.time()) + 3600
    vm.call("SetTime", now)
    vm.console.wait("respawned ended 10 times in 30 s")
    assert vm.run("sh", "-c", '[ "$(wc -l < /run/runs)" = 10 ]') == (EXITED, 0)
    report = vm.report.GetBootReport(vm.pb["vmt_agent"].BootReportRequest(),
                                     timeout=guest.PATIENCE)
    assert "respawned does not stay up" in report.degraded, report
    assert set(vm.failures) == {"respawned"} and len(vm.failures) >= 9, vm.failures


def network(vm):
    pb = vm.pb["vm_guest"]

    def config(ip, mask, gateway):
        request = pb.NetworkConfigRequest()
        request.ipv4_config.address = address(ip)
        request.ipv4_config.netmask = address(mask)
        request.ipv4_config.gateway = address(gateway)
        return request

    for bad in (("0.0.0.0", "255.255.255.0", "10.0.2.2"), ("10.0.2.15", "0.0.0.0", "10.0.2.2"),
                ("10.0.2.15", "255.0.255.0", "10.0.2.2"),
                ("10.0.2.15", "255.255.255.0", "10.0.3.2")):
        vm.call("ConfigureNetwork", config(*bad), "INVALID_ARGUMENT")
    vm.call("ConfigureNetwork", pb.NetworkConfigRequest(), "INVALID_ARGUMENT")
    good = config("10.0.2.15", "255.255.255.0", "10.0.2.2")
    vm.call("ConfigureNetwork", config("10.0.2.99", "255.255.0.0", "10.0.2.3"))
    for _ in range(2):  # the same again is fine, another one replaces
        vm.call("ConfigureNetwork", good)
    text = vm.sh("ip -4 addr show eth0; ip route")
    assert "inet 10.0.2.15/24 brd 10.0.2.255" in text and "10.0.2.99" not in text, text
    assert text.count("default via 10.0.2.2 dev eth0") == 1 and text.count("default") == 1, text
    vm.sh("ping -c 1 -w 30 10.0.2.2")
    vm.call("OnHostNetworkChanged", vm.pb["common"].EmptyMessage())
    vm.call("ResetIPv6", vm.pb["common"].EmptyMessage())
    request = pb.SetResolvConfigRequest()
    request.resolv_config.nameservers[:] = ["10.0.2.3", "fe80::1%eth0"]
    request.resolv_config.search_domains[:] = ["lan", "example.org"]
    vm.call("SetResolvConfig", request)
    assert vm.sh("cat /etc/resolv.conf; ls /run/*resolv*").replace("\r", "") == (
        "nameserver 10.0.2.3\nnameserver fe80::1%eth0\nsearch lan example.org\n"
        "options single-request timeout:1 attempts:5\n/run/resolv.conf\n")
    request.resolv_config.search_domains[:] = ["lan\nnameserver 6.6.6.6"]
    vm.call("SetResolvConfig", request, "INVALID_ARGUMENT")


def clock_and_zone(vm):
    pb = vm.pb["vm_guest"]
    for seconds, nanos in ((0, 0), (1000, 0), (2000000000, -1), (2000000000, 1000000000)):
        request = pb.SetTimeRequest()
        request.time.seconds, request.time.nanos = seconds, nanos
        vm.call("SetTime", request, "INVALID_ARGUMENT")
    request.time.seconds, request.time.nanos = 2000000000, 0
    vm.call("SetTime", request)
    assert 0 <= int(vm.sh("date +%s")) - 2000000000 < 100
    assert "2033-05-18" in vm.sh("hwclock -u -r -f /dev/rtc0 || cat /sys/class/rtc/rtc0/date; "
                                 "cat /sys/class/rtc/rtc0/date")
    for name, code in (("", "INVALID_ARGUMENT"), ("../../../etc/shadow", "INVALID_ARGUMENT"),
                       ("/etc/shadow", "INVALID_ARGUMENT"), ("Test", "INVALID_ARGUMENT"),
                       ("notes.txt", "INVALID_ARGUMENT"), ("No/Where", "NOT_FOUND")):
        vm.call("SetTimezone", pb.SetTimezoneRequest(timezone_name=name), code)
    vm.call("SetTimezone", pb.SetTimezoneRequest(timezone_name="Test/Zone"))
    assert vm.sh("readlink /etc/localtime; cat /etc/timezone") == (
        "/usr/share/zoneinfo/Test/Zone\nTest/Zone\n")
    vm.call("SetTimezone", pb.SetTimezoneRequest(timezone_name="Test/Zone",
                                                 use_bind_mount=True))


def mounts(vm):
    pb = vm.pb["vm_guest"]

    def mount(**fields):
        return vm.call("Mount", pb.MountRequest(**fields)).error

    assert mount(source="t", target="/mnt/a/b", fstype="tmpfs", create_target=True,
                 permissions=0o750, options="size=1m") == 0
    assert vm.sh("stat -c %a /mnt/a/b; grep -c /mnt/a/b /proc/mounts") == "750\n1\n"
    assert mount(source="t", target="/mnt/none", fstype="tmpfs") == 2  # ENOENT
    assert mount(source="t", target="/mnt", fstype="nofs") == 19  # ENODEV
    vm.call("Mount", pb.MountRequest(source="t", target="rel", fstype="tmpfs"),
            "INVALID_ARGUMENT")
    # ext4 comes from the module folder of the root.
    error = mount(source="/dev/vdb", target="/mnt/ext4", fstype="ext4", create_target=True)
    assert error == 0, (error, vm.sh("dmesg | tail -n 20"))
    assert vm.sh("cat /mnt/ext4/hello") == "from the host\n"
    # What holds another file system is not formatted.
    vm.sh("umount /mnt/ext4")
    text = vm.call("Mount", pb.MountRequest(source="/dev/vdb", target="/mnt", fstype="squashfs",
                                            mkfs_if_needed=True), "INTERNAL")
    assert "kept" in text, text
    # A blank disk is, where there is a program for it, and mounts without it from then on.
    text = vm.call("Mount", pb.MountRequest(source="/dev/vdc", target="/mnt", fstype="vfat",
                                            mkfs_if_needed=True), "INTERNAL")
    assert "mkfs.vfat" in text, text
    for format_it in (True, False):
        assert mount(source="/dev/vdc", target="/mnt/external/0", fstype="ext4",
                     create_target=True, mkfs_if_needed=format_it, permissions=0o777) == 0
        assert vm.sh("grep -c '/dev/vdc /mnt/external/0 ext4 rw' /proc/mounts; "
                     "stat -c %a /mnt/external/0; umount /mnt/external/0") == "1\n777\n"
    text = vm.call("Mount9P", pb.Mount9PRequest(port=4444, target="/mnt/shared"), "INTERNAL")
    assert "port 4444" in text and "errno" in text, text
    vm.call("GetAvailableSpace", vm.pb["common"].EmptyMessage(), "FAILED_PRECONDITION")
    assert mount(source="t", target="/mnt/stateful", fstype="tmpfs", create_target=True,
                 options="size=8m") == 0
    space = vm.call("GetAvailableSpace", vm.pb["common"].EmptyMessage()).available_space
    assert space == 8 << 20, space
    storage_balloon(vm, mount)


def storage_balloon(vm, mount):
    """The guest's stateful file system has as much space as the host beyond 1 GiB."""
    pb = vm.pb["vm_guest"]

    def update(state, free):
        return vm.call("UpdateStorageBalloon", pb.UpdateStorageBalloonRequest(
            state=state, free_space_bytes=free)).result

    assert update(pb.DISK_LOW, 1 << 30) == pb.BALLOON_INFLATE_FAILED  # a tmpfs has no knob
    vm.sh("umount /mnt/stateful")
    assert mount(source="/dev/vdb", target="/mnt/stateful", fstype="ext4") == 0
    free = int(vm.sh("stat -f -c %a /mnt/stateful"))
    assert free > 1000, free
    assert update(pb.DISK_LOW, (1 << 30) + 4096 * 1024) == pb.SUCCESS
    left = int(vm.sh("stat -f -c '%a %S' /mnt/stateful").split()[0])
    assert left * int(vm.sh("stat -f -c %S /mnt/stateful")) <= 4096 * 1024, left
    assert update(pb.DISK_CRITICAL, 0) == pb.SUCCESS
    assert int(vm.sh("stat -f -c %a /mnt/stateful")) == 0
    assert update(pb.DISK_NONE, 0) == pb.SUCCESS
    assert int(vm.sh("stat -f -c %a /mnt/stateful")) == free
    vm.sh("umount /mnt/stateful")


def shares(vm):
    """Mount9P connects to the host itself; when the server dies there are errors, no hang."""
    pb = vm.pb["vm_guest"]
    server = tiny9p.Server(f"{vm.folder}/vsock_5640")
    vm.call("Mount9P", pb.Mount9PRequest(port=5640, target="shared"), "INVALID_ARGUMENT")
    assert vm.call("Mount9P", pb.Mount9PRequest(port=5640, target="/mnt/shared")).error == 0
    text = vm.sh("ls /mnt/shared; wc -c < /mnt/shared/hello; grep ' /mnt/shared ' /proc/mounts")
    assert text.startswith(f"hello\n{len(tiny9p.TEXT)}\n"), text
    for option in ("trans=fd", "msize=262144", "access=any", "nosuid", "nodev"):
        assert option in text, text
    assert server.msize == 262144, server.msize
    wishes = vm.pb["vmt_net"].ShareOptions(uid=12, gid=34, aname="/tree", uname="me", msize=65536,
                                           access="user")
    request = pb.Mount9PRequest(port=5640, target="/mnt/shared", options=wishes)
    assert vm.call("Mount9P", request).error == 0  # in place of the one before
    text = vm.sh("cat /mnt/shared/hello | wc -c; grep ' /mnt/shared ' /proc/mounts")
    assert text.count("/mnt/shared") == 1, text
    for option in ("msize=65536", "access=user", "dfltuid=12", "dfltgid=34", "aname=/tree",
                   "uname=me"):
        assert option in text, text
    assert server.aname == "/tree" and server.msize == 65536, (server.aname, server.msize)
    wishes.aname = "/tree,access=0"
    request.options.CopyFrom(wishes)
    vm.call("Mount9P", request, "INVALID_ARGUMENT")
    server.close()
    assert vm.run("cat", "/mnt/shared/hello")[0] == EXITED
    vm.call("GetKernelVersion", vm.pb["common"].EmptyMessage())


def the_rest(vm):
    pb, empty = vm.pb["vm_guest"], vm.pb["common"].EmptyMessage()
    assert vm.call("GetKernelVersion", empty).kernel_release == guest.Modules().release
    vm.call("PrepareToSuspend", empty)
    vm.call("ConfigureContainerGuest", pb.ConfigureContainerGuestRequest(container_token="t0k"))
    assert vm.sh("cat /dev/.container_token; echo") == "t0k\n"
    # This root has no programs for containers.
    text = vm.call("StartTermina", pb.StartTerminaRequest(lxd_ipv4_subnet="100.115.92.193/28"),
                   "FAILED_PRECONDITION")
    assert "lxcfs" in text, text
    report = vm.report.GetBootReport(vm.pb["vmt_agent"].BootReportRequest(),
                                     timeout=guest.PATIENCE)
    names = [p.name for p in report.phases]
    assert names[:6] == ["kernel", "modules", "root", "system", "agent", "jobs"], names
    assert "ready" in names and report.ready_acknowledged, report
    stamps = [p.at_us for p in report.phases]
    assert stamps == sorted(stamps) and stamps[0] > 0, stamps
    # The host's set-up goes first, unless the host was not heard for seconds.
    late = names.index("late") - names.index("ready") if "late" in names else 0
    assert late <= 0 or stamps[names.index("late")] >= stamps[names.index("ready")] + 150000, report


def only_the_host_gets_in(vm):
    """Who is in the guest does not pose as the host, by loopback or by its own address."""
    vm.sh("modprobe vsock_loopback")
    for cid in ("1", "own"):
        text = vm.sh(f"dial {cid} 8888")
        assert text == f"dial {cid}: closed\n", text
    vm.call("GetKernelVersion", vm.pb["common"].EmptyMessage())


def strange_bytes_and_signals_cost_nothing(vm):
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100000,
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000):
        s = guest.connect_guest(vm.folder, 8888)
        try:
            s.sendall(data)
        except OSError:
            pass
        s.close()
    open_ones = [guest.connect_guest(vm.folder, 8888) for _ in range(8)]
    vm.call("GetKernelVersion", vm.pb["common"].EmptyMessage())
    for s in open_ones:
        s.close()
    vm.sh("kill -SEGV 1; kill -ABRT 1; kill -9 1; kill -STOP 1; trouble forge")
    vm.call("GetKernelVersion", vm.pb["common"].EmptyMessage())


def make_disks(top):
    """An ext4 disk with one file, and a blank one."""
    with tempfile.TemporaryDirectory() as tmp:
        with open(f"{tmp}/hello", "w", encoding="ascii") as f:
            f.write("from the host\n")
        subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-d", tmp, f"{top}/ext4",
                        "8M"], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    with open(f"{top}/blank", "wb") as f:
        f.truncate(8 << 20)
    return [a for n in ("ext4", "blank")
            for a in ("-drive", f"file={top}/{n},format=raw,if=virtio")]


def all_calls_work_on_one_guest(top):
    guest.make_root(f"{top}/root", FILES, without=("mkfs.ext2", "mkfs.vfat"))
    extra = make_disks(top) + ["-netdev", "user,id=n,restrict=on", "-device",
                               "virtio-net-pci,netdev=n"]
    with guest.Guest(top, root=f"{top}/root", extra=extra) as vm:
        vm.wait_ready()
        for check in (network, processes, accounts_are_made, it_says_what_it_serves, orphans_are_reaped, mounts,
                      shares, the_rest, clock_and_zone, what_fails_all_the_time_is_given_up, only_the_host_gets_in,
                      strange_bytes_and_signals_cost_nothing):
            check(vm)
            print(f"  ok {check.__name__}", flush=True)
        assert "panic" not in vm.console.text


def ready_is_repeated_until_it_is_heard(top):
    guest.make_root(f"{top}/root", FILES)
    with guest.Guest(top, root=f"{top}/root", take_ready=False) as vm:
        # The agent serves although nobody hears it; then the host comes up.
        while True:
            try:
                guest.connect_guest(vm.folder, 8888).close()
                break
            except OSError:
                time.sleep(0.2)
        vm.serve_host()
        vm.wait_ready()
        vm.console.wait("ready +")


def a_machine_without_a_console_is_as_good(top):
    guest.make_root(f"{top}/root", FILES)
    with guest.Guest(top, "console=ttyS9", f"{top}/root") as vm:
        vm.ready.get(timeout=guest.PATIENCE)
        request = vm.pb["vm_guest"].LaunchProcessRequest(argv=["echo", "x"], use_console=True,
                                                         wait_for_exit=True)
        reply = vm.call("LaunchProcess", request)
        assert (reply.status, reply.code) == (EXITED, 0), reply
        report = vm.report.GetBootReport(vm.pb["vmt_agent"].BootReportRequest(),
                                         timeout=guest.PATIENCE)
        assert not report.degraded, report
        vm.call("Shutdown", vm.pb["common"].EmptyMessage())
        assert vm.wait_off() == 0


if __name__ == "__main__":
    guest.check_needs()
    guest.run_tests([all_calls_work_on_one_guest, ready_is_repeated_until_it_is_heard,
                     a_machine_without_a_console_is_as_good])
