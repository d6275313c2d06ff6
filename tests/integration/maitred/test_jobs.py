#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What jobs are given, how they are limited, and what the host hears of them."""
import pathlib
import queue
import time

import guest

EXITED, SIGNALED, LAUNCHED, FAILED = range(1, 5)
ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:web:/srv:/bin/sh\n",
    "etc/group": "root:x:0:\naudio:x:29:www\nwww:x:33:\n",
    "srv/readme": "for www",
}
LAST = 'argv: "/bin/echo" argv: "jobs-are-done" use_console: true'


def script(text, more=""):
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'argv: "sh" argv: "-c" argv: "{text}" use_console: true {more}'


def group_of(vm, name, file):
    return vm.sh(f"cat /sys/fs/cgroup/guest/{name}/{file}").strip()


HOG = "exec dd if=/dev/zero of=/dev/null bs=200M count=1"


def jobs_are_given_what_their_files_say(top):
    show = ("echo user $(id -u):$(id -G) home $HOME name $USER cwd $(pwd) "
            "nofile $(ulimit -n):$(ulimit -Hn) oom $(cat /proc/self/oom_score_adj) "
            "in $(cat /proc/self/cgroup)")
    guest.make_root(f"{top}/root", {
        **ACCOUNTS,
        "etc/maitred/10-www": script(show, """wait_for_exit: true user: "www" cwd: "/srv"
            rlimits { name: "nofile" soft: 100 hard: 200 } oom_score_adj: 321"""),
        "etc/maitred/20-number": script(show, 'wait_for_exit: true user: "4000" group: "audio"'),
        "etc/maitred/30-nobody": script("echo never-seen", 'user: "nobody-knows-him"'),
        "etc/maitred/40-limited": script("echo $$ > /run/limited; exec sleep 1000", """
            limits { memory_max: 33554432 memory_high: 30000000 pids_max: 7 cpu_weight: 42
                     oom_group: true }"""),
        "etc/maitred/45/40-limited": script("exec sleep 1000", "limits { pids_max: 3 }"),
        "etc/maitred/50-skipped": script("echo never-seen", "skip: true"),
        "etc/maitred/51-left-out": script("echo never-seen"),
        "etc/maitred/60-slow": script("exec sleep 1000", "wait_for_exit: true timeout_s: 2"),
        "etc/maitred/70-restless": script("echo x >> /run/restless; [ $(wc -l < /run/restless) = 3 ]",
                                          "respawn_on_failure: true"),
        "etc/maitred/99-last": LAST})
    with guest.Guest(top, "psi=1 maitred.skip_jobs=nothing,51-left-out", f"{top}/root") as vm:
        vm.wait_ready()
        vm.console.wait("jobs-are-done")
        text = vm.console.text
        for words in ("user 33:33 29 home /srv name www cwd /srv nofile 100:200 oom 321 "
                      "in 0::/guest/job-10-www\n",
                      "user 4000:29 home name cwd / nofile 1048576:1048576 oom 0 "
                      "in 0::/guest/job-20-number\n",
                      "30-nobody: start sh: there is no user nobody-knows-him",
                      "60-slow did not end within 2000 ms"):
            assert words in text, f"{words!r} is not in:\n{text}"
        assert "never-seen" not in text, text
        report = vm.report.GetBootReport(vm.pb["vmt_agent"].BootReportRequest(),
                                         timeout=guest.PATIENCE)
        assert len(report.degraded) == 2, report
        for file, value in (("memory.max", "33554432"), ("memory.high", "29999104"),
                            ("pids.max", "7"), ("cpu.weight", "42"), ("memory.oom.group", "1")):
            assert group_of(vm, "job-40-limited", file) == value, (file, value)
        assert group_of(vm, "job-40-limited", "cgroup.procs") == vm.sh("cat /run/limited").strip()
        assert group_of(vm, "job-45_40-limited", "pids.max") == "3"
        # It failed twice, then it was content.
        vm.sh("i=0; until [ $(wc -l < /run/restless) = 3 ]; do sleep 0.2; i=$((i+1)); "
              "[ $i -lt 200 ]; done; sleep 1; [ $(wc -l < /run/restless) = 3 ]")
        # A group goes with its job, and stays as long as something is in it.
        vm.sh("i=0; while [ -e /sys/fs/cgroup/guest/job-70-restless ]; do sleep 0.2; "
              "i=$((i+1)); [ $i -lt 100 ]; done; [ ! -e /sys/fs/cgroup/guest/job-10-www ]")
        vm.sh("[ -e /sys/fs/cgroup/guest/job-60-slow ] && "
              "[ $(cat /proc/$(cat /run/limited)/oom_score_adj) = 0 ]")
        daemon = group_of(vm, "agent", "cgroup.procs").split()
        assert vm.sh(f"cat /proc/{daemon[0]}/oom_score_adj").strip() == "-900"
        limits_hold(vm)
        what_a_program_leaves_behind_stays_limited(vm)
        the_host_hears_who_was_killed(vm)
        the_host_hears_who_waits_for_memory(vm)
        calls_have_the_same_fields(vm)
        children_are_killed_before_the_next_start(vm)
        programs_are_listed_and_stopped(vm)
        assert "panic" not in vm.console.text


def launch(vm, text, **fields):
    request = vm.pb["vm_guest"].LaunchProcessRequest(argv=["sh", "-c", text], **fields)
    return vm.call("LaunchProcess", request)


def limits_hold(vm):
    """A fork bomb and a hog of descriptors cost only themselves: the agent answers."""
    job = vm.pb["vmt_job"]
    launch(vm, "bomb() { bomb | bomb & }; bomb; exec 2>/dev/null; sleep 1000",
           limits=job.GroupLimits(pids_max=50))
    launch(vm, "i=3; while [ $i -lt 200 ]; do eval \"exec $i</dev/null\"; i=$((i+1)); done; "
               "sleep 1000", rlimits=[job.ResourceLimit(name="nofile", soft=64)])
    name = vm.sh("cd /sys/fs/cgroup/guest; grep -slx 50 */pids.max || :").strip().split("/")[0]
    vm.sh(f"i=0; while grep -qx 'max 0' /sys/fs/cgroup/guest/{name}/pids.events; do sleep 0.2; "
          "i=$((i+1)); [ $i -lt 200 ]; done")
    for _ in range(20):
        vm.call("GetKernelVersion", vm.pb["common"].EmptyMessage())
    assert int(group_of(vm, name, "pids.current")) <= 50
    vm.sh(f"echo 1 > /sys/fs/cgroup/guest/{name}/cgroup.kill")


def what_a_program_leaves_behind_stays_limited(vm):
    """Its group goes when the last one in it does."""
    job = vm.pb["vmt_job"]
    reply = launch(vm, "sleep 4242 & echo $! > /run/left", wait_for_exit=True,
                   limits=job.GroupLimits(pids_max=44))
    assert (reply.status, reply.code) == (EXITED, 0), reply
    name = vm.sh("cd /sys/fs/cgroup/guest; grep -slx 44 */pids.max || :").strip().split("/")[0]
    assert group_of(vm, name, "cgroup.procs") == vm.sh("cat /run/left").strip()
    vm.sh(f"kill $(cat /run/left); i=0; while [ -e /sys/fs/cgroup/guest/{name} ]; do sleep 0.1; "
          "i=$((i+1)); [ $i -lt 300 ]; done")


def the_host_hears_who_was_killed(vm):
    job = vm.pb["vmt_job"]
    reply = launch(vm, HOG, wait_for_exit=True,
                   limits=job.GroupLimits(memory_max=20 << 20, oom_group=True))
    assert (reply.status, reply.code) == (SIGNALED, 9), reply
    try:
        event = vm.events.get(timeout=guest.PATIENCE)
    except queue.Empty:
        raise AssertionError(f"no event:\n{vm.console.text}") from None
    assert event.WhichOneof("event") == "out_of_memory", event
    assert event.out_of_memory.killed >= 1, event
    assert event.out_of_memory.group.endswith("-sh"), event
    print(f"  the host heard: {event.out_of_memory}".replace("\n", " "))
    vm.call("GetKernelVersion", vm.pb["common"].EmptyMessage())


def the_host_hears_who_waits_for_memory(vm):
    """A program above memory_high is slowed down, and waits for most of its time."""
    job = vm.pb["vmt_job"]
    vm.sh("[ -e /proc/pressure/memory ]")
    launch(vm, HOG, limits=job.GroupLimits(memory_high=10 << 20))
    deadline = time.monotonic() + guest.PATIENCE
    while True:
        event = vm.events.get(timeout=max(0.1, deadline - time.monotonic()))
        if event.WhichOneof("event") == "memory_pressure":
            break
    assert event.memory_pressure.some_permille > 0, event
    print(f"  the host heard: {event.memory_pressure}".replace("\n", " "))
    vm.sh("cd /sys/fs/cgroup/guest; for g in call-*; do "
          "[ $(cat $g/memory.high) = 10485760 ] && echo 1 > $g/cgroup.kill; done; true")


def calls_have_the_same_fields(vm):
    job = vm.pb["vmt_job"]
    reply = launch(vm, '[ "$(id -u):$(pwd):$(ulimit -c)" = 33:/srv:0 ]', user="www", cwd="/srv",
                   rlimits=[job.ResourceLimit(name="core")], wait_for_exit=True)
    assert (reply.status, reply.code) == (EXITED, 0), reply
    reply = launch(vm, "true", user="nobody-knows-him", wait_for_exit=True)
    assert (reply.status, reply.code) == (FAILED, 0), reply
    request = vm.pb["vm_guest"].LaunchProcessRequest(argv=["true"], cwd="relative")
    vm.call("LaunchProcess", request, "INVALID_ARGUMENT")
    request = vm.pb["vm_guest"].LaunchProcessRequest(argv=["true"], respawn=True,
                                                     poweroff_on_exit=True)
    vm.call("LaunchProcess", request, "INVALID_ARGUMENT")


def children_are_killed_before_the_next_start(vm):
    launch(vm, "sleep 54321 & echo x >> /run/with-children; sleep 0.5; exit 1", respawn=True,
           kill_children=True)
    vm.sh("i=0; until [ $(wc -l < /run/with-children) -ge 3 ]; do sleep 0.2; i=$((i+1)); "
          "[ $i -lt 200 ]; done; [ $(pgrep -f 'sleep 54321' | wc -l) -le 1 ]")


def programs_are_listed_and_stopped(vm):
    agent, pb, job = vm.report, vm.pb["vmt_agent"], vm.pb["vmt_job"]

    def programs():
        reply = agent.ListPrograms(pb.ListProgramsRequest(), timeout=guest.PATIENCE)
        return {p.group: p for p in reply.programs}

    def stop(**fields):
        return agent.StopProgram(pb.StopProgramRequest(**fields), timeout=guest.PATIENCE).programs

    launch(vm, "sleep 99999 & sleep 99999", respawn=True)
    launch(vm, "sleep 99998 & sleep 99998", limits=job.GroupLimits(pids_max=20))
    found = programs()
    assert found["agent"].name == "/usr/lib/vm_tools/vshd" and found["agent"].respawn, found
    respawned = [p for p in found.values() if p.respawn and p.group != "agent"][-1]
    limited = [p for p in found.values() if p.group.startswith("call-") and not p.respawn][-1]
    assert respawned.starts >= 1 and respawned.pid > 1, respawned
    assert stop(group=respawned.group, signal=9) == 1
    assert stop(pid=limited.pid, whole_group=True) == 1
    vm.sh("i=0; while pgrep -f 'sleep 99998'; do sleep 0.2; i=$((i+1)); [ $i -lt 100 ]; done")
    assert respawned.group not in programs() and limited.group not in programs()
    for code, fields in (("NOT_FOUND", {"pid": limited.pid}), ("INVALID_ARGUMENT", {}),
                         ("INVALID_ARGUMENT", {"pid": 2, "signal": 99})):
        try:
            stop(**fields)
            raise AssertionError(f"{fields} was taken")
        except vm.grpc.RpcError as e:
            assert e.code() == getattr(vm.grpc.StatusCode, code), e


def the_end_of(top, name, job, hears=True):
    """Boot a guest with that job; what the host heard before it went off."""
    folder = f"{top}/{name}"
    pathlib.Path(folder).mkdir()
    pathlib.Path(f"{folder}/initrd").symlink_to(f"{top}/initrd")
    guest.make_root(f"{folder}/root", {"etc/maitred/50-application": job})
    vm = guest.Guest(folder, "", f"{folder}/root")
    vm.take_events = hears
    with vm:
        assert vm.wait_off() == 0
        assert "reboot: Power down" in vm.console.text, vm.console.text
        return list(vm.events.queue), vm.console.text


def the_machine_goes_off_with_its_application(top):
    more = "poweroff_on_exit: true"
    for name, job, code, sig in (
            ("status", script("exit 42", more), 42, 0),
            ("signal", script("kill -9 $$", more), 0, 9),
            ("waited", script("exit 3", more + " wait_for_exit: true"), 3, 0),
            ("late", script("sleep 3; exit 4", more + " wait_for_exit: true timeout_s: 1"), 4, 0),
            ("gone", f'argv: "/not/there" {more}', 127, 0)):
        events, _ = the_end_of(top, name, job)
        assert [e.WhichOneof("event") for e in events] == ["application_exit"], events
        end = events[0].application_exit
        assert (end.exit_code, end.signal) == (code, sig), (name, end)
        print(f"  {name}: {end}".replace("\n", " "))
    # The original's host does not know the call.
    events, text = the_end_of(top, "original", script("exit 42", more), False)
    assert not events and "sh ended: status 42" in text, text


if __name__ == "__main__":
    guest.check_needs()
    guest.run_tests([jobs_are_given_what_their_files_say,
                     the_machine_goes_off_with_its_application])
